//! The shape of `portolan.toml`: the server, its datacenters, and the L4 services.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use super::allocation::{self, AllocationForm};
use super::check::CheckForm;
use super::forwarder::{self, L4Form};
use super::keys::{self, KeyForm};
use super::reader::{Table, Value};
use super::values::check_label;
use crate::control::{ReportSettings, ReportSource};
use crate::dns::response::MAX_NSID_BYTES;
use crate::geo::{self, Code, Coordinates, Location};
use crate::snapshot::Identity;

/// What `portolan.toml` says, so far as it could be made out.
#[derive(Debug, Default)]
pub(super) struct ServerForm {
    pub dns: Option<DnsForm>,
    pub geoip: Option<GeoipForm>,
    pub admin: Option<AdminForm>,
    pub datacenters: Vec<DatacenterForm>,
    pub allocation: Option<AllocationForm>,
    pub l4: L4Form,
    pub keys: Vec<KeyForm>,
}

#[derive(Debug)]
pub(super) struct DnsForm {
    pub listen: Vec<Spanned<SocketAddr>>,
    pub zones: Option<Spanned<PathBuf>>,
    pub workers: Option<usize>,
    /// The directory in which zones that are taken from primaries are kept.
    pub storage: Option<Spanned<PathBuf>>,
    pub identity: Identity,
    /// Who is asked for the addresses behind names.
    pub resolvers: Vec<Spanned<SocketAddr>>,
}

#[derive(Debug)]
pub(super) struct GeoipForm {
    pub databases: Vec<Spanned<PathBuf>>,
    pub networks: Option<Spanned<PathBuf>>,
}

#[derive(Debug)]
pub(super) struct AdminForm {
    pub listen: Option<Spanned<SocketAddr>>,
    pub token_file: Option<Spanned<PathBuf>>,
    pub overrides: Option<Spanned<PathBuf>>,
    /// Where another process asks to take over.
    pub socket: Option<Spanned<PathBuf>>,
}

#[derive(Debug)]
pub(super) struct DatacenterForm {
    pub name: Spanned<String>,
    pub location: Location,
    pub capacity: Option<f64>,
    pub unit: Option<String>,
    pub bias: i8,
    pub cost_ms: f32,
    pub report: Option<ReportSettings>,
}

/// The most threads of a kind.
pub(super) const MOST_WORKERS: usize = 1024;
/// They are asked in turn, and nobody waits for more.
const MOST_RESOLVERS: usize = 4;
/// Where resolvers listen.
const DNS_PORT: u16 = 53;
/// What a datacenter's report may be waited for.
const REPORT_INTERVAL: (Duration, Duration) =
    (Duration::from_millis(100), Duration::from_secs(3600));

/// The most that a datacenter may cost; more is no cost but a prohibition.
const MOST_COST: Duration = Duration::from_secs(60);

pub(super) const CONTINENTS: [(&str, &str); 7] = [
    ("AF", "Africa"),
    ("AN", "Antarctica"),
    ("AS", "Asia"),
    ("EU", "Europe"),
    ("NA", "North America"),
    ("OC", "Oceania"),
    ("SA", "South America"),
];

/// Reads the whole file.
pub(super) fn read(mut root: Table<'_>) -> ServerForm {
    let form = ServerForm {
        dns: root.table("dns", "[dns]").map(read_dns),
        geoip: root.table("geoip", "[geoip]").map(read_geoip),
        admin: root.table("admin", "[admin]").map(read_admin),
        datacenters: root
            .named("datacenters")
            .into_iter()
            .map(|(name, value)| read_datacenter(name, &value))
            .collect(),
        keys: root.named("keys").into_iter().map(|(name, v)| keys::read(name, &v)).collect(),
        allocation: root.table("allocation", "[allocation]").map(allocation::read),
        ..ServerForm::default()
    };
    let l4 = root.table("l4", "[l4]").map(forwarder::read).unwrap_or_default();
    root.finish();
    ServerForm { l4, ..form }
}

fn read_dns(mut dns: Table<'_>) -> DnsForm {
    let listen = dns.require("listen", "[\"127.0.0.1:5353\"]");
    let zones = dns.require("zones", "\"zones\"");
    let form = DnsForm {
        listen: listen.map(|value| addresses(&value)).unwrap_or_default(),
        zones: zones.and_then(|value| value.path()),
        workers: dns.take("workers").and_then(|value| value.integer(1..=MOST_WORKERS)),
        storage: dns.take("storage").and_then(|value| value.path()),
        identity: Identity {
            name: dns.take("identity").and_then(|value| identity(&value)).unwrap_or_default(),
            version: match dns.take("version").and_then(|value| value.boolean()) {
                Some(true) => Some(concat!("Portolan ", env!("CARGO_PKG_VERSION")).into()),
                _ => None,
            },
        },
        resolvers: dns.take("resolvers").map(|value| resolvers(&value)).unwrap_or_default(),
    };
    dns.not_yet("tls");
    dns.finish();
    form
}

fn identity(value: &Value<'_>) -> Option<Box<str>> {
    let text = value.filled_text()?;
    let name = text.get_ref();
    if name.len() > MAX_NSID_BYTES || !name.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        let expected = format!("at most {MAX_NSID_BYTES} visible ASCII characters");
        return value.unreadable(name, &expected);
    }
    Some(name.as_str().into())
}

fn addresses(value: &Value<'_>) -> Vec<Spanned<SocketAddr>> {
    let items = value.one_or_more();
    if items.is_empty() {
        let error = value.error("there is no address to listen on");
        value.reject::<()>(error.label("expected at least one, such as \"127.0.0.1:5353\""));
    }
    items.iter().filter_map(socket_address).collect()
}

/// Addresses of resolvers; the port is 53 unless given.
fn resolvers(value: &Value<'_>) -> Vec<Spanned<SocketAddr>> {
    let items = value.one_or_more();
    if items.is_empty() {
        let error = value.error("there is no resolver");
        value.reject::<()>(error.label("expected at least one, such as \"127.0.0.53:53\""));
    }
    if let Some(one_more) = items.get(MOST_RESOLVERS) {
        let error = one_more.error(format!("there are more than {MOST_RESOLVERS} resolvers"));
        one_more.reject::<()>(error.label("they are asked in turn: the later ones, hardly ever"));
    }
    items.iter().filter_map(resolver).collect()
}

fn resolver(value: &Value<'_>) -> Option<Spanned<SocketAddr>> {
    let text = value.text()?;
    let given = text.get_ref();
    let address = given.parse::<SocketAddr>().ok();
    let address = address.or_else(|| Some(SocketAddr::new(given.parse().ok()?, DNS_PORT)));
    let usable = address.filter(|to| to.port() != 0 && !to.ip().is_unspecified());
    match usable {
        Some(address) => Some(Spanned::new(text.span(), address)),
        None => value.unreadable(given, "a resolver's address, such as \"127.0.0.53:53\""),
    }
}

/// An address with its port.
pub(super) fn socket_address(value: &Value<'_>) -> Option<Spanned<SocketAddr>> {
    value.parsed("an address with its port, such as \"127.0.0.1:5353\" or \"[::1]:5353\"")
}

fn read_geoip(mut geoip: Table<'_>) -> GeoipForm {
    let databases = geoip.take("databases").map(|value| value.one_or_more()).unwrap_or_default();
    let form = GeoipForm {
        databases: databases.iter().filter_map(Value::path).collect(),
        networks: geoip.take("networks").and_then(|value| value.path()),
    };
    if databases.is_empty() && form.networks.is_none() {
        let reader = geoip.reader();
        let warning = reader.warning(geoip.span(), "[geoip] names no database and no networks");
        let warning = warning.label("every client's location will be unknown");
        reader.report(warning.help("add `databases = [\"geoip/world.mmdb\"]`"));
    }
    geoip.finish();
    form
}

fn read_admin(mut admin: Table<'_>) -> AdminForm {
    let listen = admin.require("listen", "\"127.0.0.1:8053\"");
    let form = AdminForm {
        listen: listen.and_then(|value| socket_address(&value)),
        token_file: admin.take("token_file").and_then(|value| value.path()),
        overrides: admin.take("overrides").and_then(|value| value.path()),
        socket: admin.take("socket").and_then(|value| value.path()),
    };
    admin.finish();
    form
}

fn read_datacenter(name: Spanned<String>, value: &Value<'_>) -> DatacenterForm {
    let mut form = DatacenterForm {
        location: Location::default(),
        capacity: None,
        unit: None,
        bias: 0,
        cost_ms: 0.0,
        report: None,
        name,
    };
    let title = format!("[datacenters.{}]", form.name.get_ref());
    let Some(mut table) = value.table(&title) else { return form };
    check_label(table.reader(), &form.name);
    if let Some(location) = table.table("location", "`location`") {
        form.location = read_location(location);
    }
    let capacity = table.take("capacity");
    form.capacity = capacity.and_then(|v| v.number(f64::MIN_POSITIVE..=1e18, "a number above 0"));
    form.unit = table.take("unit").and_then(|v| v.filled_text()).map(Spanned::into_inner);
    form.bias = table.take("bias").and_then(|v| v.integer(-99..=99)).unwrap_or(0);
    form.cost_ms = table.take("cost").and_then(|value| cost_ms(&value)).unwrap_or(0.0);
    form.report = table.table("report", "`report`").and_then(read_report);
    table.finish();
    form
}

/// What it costs to send a client somewhere, in milliseconds.
fn cost_ms(value: &Value<'_>) -> Option<f32> {
    if value.as_text().is_some_and(|text| text.trim_start().starts_with('-')) {
        let error = value.error("`cost` is below zero");
        let error = error.label("expected a duration, such as \"5ms\"");
        return value
            .reject(error.help("to attract clients, give the others a cost, or use `bias`"));
    }
    if value.is_integer() {
        let error = value.error("the duration `cost` has no unit");
        return value.reject(error.label("expected a duration, such as \"5ms\""));
    }
    value.duration(Duration::ZERO..=MOST_COST).map(|cost| cost.as_secs_f32() * 1e3)
}

/// Where a datacenter is; what is not given follows from the country.
fn read_location(mut table: Table<'_>) -> Location {
    let coordinates = read_coordinates(&mut table);
    let continent = table.take("continent").and_then(|value| continent(&value));
    let country = table.take("country").and_then(|value| country(&value));
    let whole = country.and_then(geo::country);
    let location = Location {
        coordinates: coordinates.or(whole.map(|whole| whole.centre)),
        continent: continent.or(whole.map(|whole| whole.continent)),
        country,
        region: table.take("region").and_then(|v| v.filled_text()).map(boxed),
        city: table.take("city").and_then(|v| v.filled_text()).map(boxed),
        ..Location::default()
    };
    table.finish();
    location
}

fn boxed(text: Spanned<String>) -> Box<str> {
    text.into_inner().into()
}

/// `latitude` and `longitude`, which come as a pair or not at all.
pub(super) fn read_coordinates(table: &mut Table<'_>) -> Option<Coordinates> {
    let latitude = table.take("latitude");
    let longitude = table.take("longitude");
    if latitude.is_some() != longitude.is_some() {
        let (given, missing) = match latitude {
            Some(_) => ("latitude", "longitude"),
            None => ("longitude", "latitude"),
        };
        let error = table.error(format!("`{given}` is given without `{missing}`"));
        table.reader().report(error.label("expected both, or neither"));
        return None;
    }
    let latitude = latitude?.number(-90.0..=90.0, "degrees north, from -90 to 90");
    let longitude = longitude?.number(-180.0..=180.0, "degrees east, from -180 to 180");
    Coordinates::new(latitude?, longitude?)
}

/// A continent's code.
pub(super) fn continent(value: &Value<'_>) -> Option<Code> {
    let text = value.text()?;
    let given = text.get_ref().to_ascii_uppercase();
    if let Some((code, _)) = CONTINENTS.iter().find(|(code, _)| *code == given) {
        return code.parse().ok();
    }
    let listed: Vec<String> =
        CONTINENTS.iter().map(|(code, name)| format!("{code} ({name})")).collect();
    let error = value.error(format!("`{}` is not a continent", text.get_ref()));
    let named = CONTINENTS.iter().find(|(_, name)| name.eq_ignore_ascii_case(text.get_ref()));
    let label = named.map_or("expected a continent's code".into(), |(code, _)| {
        format!("did you mean \"{code}\"?")
    });
    value.reject(error.label(label).help(format!("continents: {}", listed.join(", "))))
}

/// A country's ISO 3166-1 alpha-2 code.
pub(super) fn country(value: &Value<'_>) -> Option<Code> {
    let text = value.text()?;
    let expected = "a country's two-letter code (ISO 3166-1), such as \"DE\"";
    let Ok(code) = text.get_ref().parse::<Code>() else {
        return value.unreadable(text.get_ref(), expected);
    };
    if geo::country(code).is_none() {
        let error = value.error(format!("`{code}` is no country's code (ISO 3166-1)"));
        // Often taken for codes.
        let label = match code.as_str() {
            "UK" => "did you mean \"GB\"?".to_string(),
            "EL" => "did you mean \"GR\"?".to_string(),
            _ => format!("expected {expected}"),
        };
        return value.reject(error.label(label));
    }
    Some(code)
}

fn read_report(mut table: Table<'_>) -> Option<ReportSettings> {
    let (least, most) = REPORT_INTERVAL;
    let url = table.take("url");
    let interval = table.take("interval");
    let stale_after = table.take("stale_after");
    if url.is_none() && stale_after.is_none() {
        let error = table.error("`report` has neither `url` nor `stale_after`");
        let error = error.label("expected `url` if it is polled, `stale_after` if it is pushed");
        table.reader().report(error);
    } else if let (None, Some(interval)) = (&url, &interval) {
        let error = interval.error("`interval` is given without `url`");
        table.reader().report(error.label("only a report that is polled has an interval"));
    }
    let has_url = url.is_some();
    let url = url.and_then(|value| http_url(&value));
    let period = interval.and_then(|v| v.duration(least..=most)).unwrap_or(Duration::from_secs(2));
    let default = Duration::from_secs(10).max(period * 3);
    let given = stale_after.as_ref().and_then(|v| v.duration(least..=24 * most));
    if let (true, Some(value), Some(given)) = (has_url, &stale_after, given)
        && given <= period
    {
        let error = value.error("`stale_after` is not longer than `interval`");
        let error = error.label("every report would be stale before the next one");
        table.reader().report(error);
    }
    table.finish();
    let source = url.map(|url| ReportSource { url, interval: period });
    Some(ReportSettings { source, stale_after: given.unwrap_or(default) })
}

fn http_url(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    let url = reqwest::Url::parse(text.get_ref()).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    match url {
        Some(_) => Some(text.into_inner()),
        None => value.unreadable(text.get_ref(), "an http or https URL"),
    }
}

/// A check, where one stands in the place of its use.
pub(super) fn inline_check(table: &mut Table<'_>) -> Option<CheckForm> {
    table.table("check", "`check`").and_then(super::check::read)
}
