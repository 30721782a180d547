//! The shape of `[l4]`, and what the services in it are to one another.

use std::collections::HashMap;
use std::time::Duration;

use toml::Spanned;

use super::nearest::{among, nearest};
use super::reader::{Reader, Table, Value};
use super::server::MOST_WORKERS;
use super::service::{self, ServiceForm};
use crate::l4;
use crate::l4::preface::Routes;
use crate::l4::settings::{AccessLog, Capacity, MOST_HOPS, Protocol};

/// What `[l4]` says.
#[derive(Debug, Default)]
pub(super) struct L4Form {
    pub workers: Option<usize>,
    pub access_log: Option<AccessLog>,
    pub linger: Option<Duration>,
    pub services: Vec<ServiceForm>,
}

/// The longest that connections may go on in a process that has been replaced.
const MOST_LINGER: Duration = Duration::from_secs(30 * 24 * 3600);

/// Reads `[l4]`.
pub(super) fn read(mut l4: Table<'_>) -> L4Form {
    let workers = l4.take("workers").and_then(|value| value.integer(1..=MOST_WORKERS));
    let access_log = l4.table("access_log", "`access_log`").and_then(read_access_log);
    let linger = l4.take("linger").and_then(|value| value.duration(Duration::ZERO..=MOST_LINGER));
    let services = l4.take("services").and_then(|value| value.items()).unwrap_or_default();
    let services = services.iter().filter_map(service::read).collect();
    l4.finish();
    L4Form { workers, access_log, linger, services }
}

fn read_access_log(mut table: Table<'_>) -> Option<AccessLog> {
    let path = table.require("path", "\"access.log\"").and_then(|value| value.path());
    let sample = table.take("sample").and_then(|value| value.percentage(0.001..=100.0));
    table.finish();
    Some(AccessLog { path: path.map(Spanned::into_inner)?, sample: sample.unwrap_or(1.0) })
}

/// Compiles the services; problems go to `reader`.
pub(super) fn compile(form: &L4Form, reader: &Reader) -> l4::Settings {
    let named = names(&form.services, reader);
    let ways: Vec<Way<'_>> = form.services.iter().map(|service| Way::of(service, &named)).collect();
    // A key that was not understood may have been `listen` or `routes`.
    let is_understood = !reader.has_errors();
    for (at, service) in form.services.iter().enumerate() {
        check_routes(at, &form.services, (&named, &ways), reader);
        if is_understood {
            check_reached(service, &form.services, reader);
        }
    }
    check_units(&form.services, reader);
    let services = form.services.iter().filter(|service| service.name.is_some());
    let mut settings =
        l4::Settings::new(form.workers, services.map(|service| service.settings.clone()).collect());
    settings.access_log = form.access_log.clone();
    settings.linger = form.linger.unwrap_or(settings.linger);
    settings
}

/// Which service has which name; two with the same are reported.
fn names<'f>(services: &'f [ServiceForm], reader: &Reader) -> HashMap<&'f str, usize> {
    let mut named = HashMap::new();
    for (at, service) in services.iter().enumerate() {
        let Some(name) = &service.name else { continue };
        if named.contains_key(name.get_ref().as_str()) {
            let message = format!("two services are named `{}`", name.get_ref());
            let error = reader.error(name.span(), message);
            reader.report(error.label("expected a name of its own"));
        } else {
            named.insert(name.get_ref().as_str(), at);
        }
    }
    named
}

/// Reports routes of a service that lead nowhere, or back.
fn check_routes(
    at: usize,
    services: &[ServiceForm],
    (named, ways): (&HashMap<&str, usize>, &[Way<'_>]),
    reader: &Reader,
) {
    for route in &services[at].routes {
        let Some(to) = &route.service else { continue };
        let name = to.get_ref().as_str();
        let refuse = |message: String, label: &str| {
            reader.report(reader.error(to.span(), message).label(label));
        };
        let Some(&there) = named.get(name) else {
            let mut error = reader.error(to.span(), format!("no service is named `{name}`"));
            if let Some(near) = nearest(name, named.keys().copied()) {
                error = error.label(format!("did you mean `{near}`?"));
            }
            let mut known: Vec<&str> = named.keys().copied().collect();
            known.sort_unstable();
            reader.report(error.help(format!("services: {}", among(&known))));
            continue;
        };
        if there == at {
            let message = format!("`{name}` routes to itself");
            refuse(message, "remove it: what matches no route is its own");
        } else if services[there].settings.protocol == Protocol::Udp {
            refuse(format!("`{name}` carries datagrams"), "expected a service for tcp");
        } else {
            for server_name in &route.names {
                let refuse = |message: String, label: String| {
                    reader.report(reader.error(server_name.span(), message).label(label));
                };
                let passed = way(server_name.get_ref(), at, ways);
                let is_circle = passed.len() > 1 && passed.last() == Some(&at);
                if is_circle {
                    let label = described(&passed, services);
                    refuse(format!("`{}` is routed in a circle", server_name.get_ref()), label);
                } else if passed.len() > MOST_HOPS + 1 {
                    let message = format!("`{}` is routed too often", server_name.get_ref());
                    refuse(
                        message,
                        format!("expected at most {MOST_HOPS} services after this one"),
                    );
                }
            }
        }
    }
}

/// Where a service leads names to.
struct Way<'f> {
    routes: Routes,
    service: &'f ServiceForm,
    named: &'f HashMap<&'f str, usize>,
}

impl<'f> Way<'f> {
    fn of(service: &'f ServiceForm, named: &'f HashMap<&'f str, usize>) -> Way<'f> {
        Way { routes: Routes::new(&service.settings.routes), service, named }
    }

    fn next(&self, name: &str) -> Option<usize> {
        let route = self.service.settings.routes.get(self.routes.find(name)?)?;
        self.named.get(route.service.as_str()).copied()
    }
}

/// The services that a name of one at `first` passes, from that one on: until it is carried, is back
/// where it was, or has passed too many.
///
/// In any circle, names that one of its services has in its routes go round: those with most labels.
/// So it is enough to follow each service's own, and of `*.` any name below that no route has.
fn way(server_name: &str, first: usize, ways: &[Way<'_>]) -> Vec<usize> {
    let name = server_name.strip_prefix('*').unwrap_or(server_name);
    let mut passed = vec![first];
    while let Some(next) = passed.last().and_then(|at| ways.get(*at)?.next(name))
        && passed.len() <= MOST_HOPS + 1
    {
        let is_back = passed.contains(&next);
        passed.push(next);
        if is_back {
            break;
        }
    }
    passed
}

/// `web`, then `api`, then `web`.
fn described(passed: &[usize], services: &[ServiceForm]) -> String {
    let name = |at: &usize| format!("`{}`", services[*at].settings.name);
    passed.iter().map(name).collect::<Vec<_>>().join(", then ")
}

/// Reports a service that no connection comes to, and what has no meaning where nothing is
/// listened on.
fn check_reached(service: &ServiceForm, services: &[ServiceForm], reader: &Reader) {
    let Some(name) = service.name.as_ref().filter(|_| !service.has_listen) else { return };
    let leads_here =
        |to: &Option<Spanned<String>>| to.as_ref().is_some_and(|to| to.get_ref() == name.get_ref());
    let mut others = services.iter().filter(|other| !std::ptr::eq(*other, service));
    if !others.any(|other| other.routes.iter().any(|route| leads_here(&route.service))) {
        let message = format!("no connection comes to `{}`", name.get_ref());
        let error = reader.error(name.span(), message);
        let error = error.label("it has no `listen`, and no other service's `routes` name it");
        reader.report(error.help("add `listen = \"203.0.113.10:443\"`"));
    }
    for key in &service.at_the_door {
        let message = format!("`{}` has no meaning in this service", key.get_ref());
        let error = reader.error(key.span(), message);
        reader.report(error.label("it has no `listen`: expected in the service that routes to it"));
    }
}

/// Reports capacities in different units: what is reported is their sum.
fn check_units(services: &[ServiceForm], reader: &Reader) {
    let counted = services.iter().filter_map(|service| {
        let is_rate = match service.settings.capacity? {
            Capacity::Connections(_) | Capacity::Agents => false,
            Capacity::ConnectionsPerSecond(_) => true,
        };
        Some((is_rate, service.capacity_at.clone()?, &service.settings.name))
    });
    let counted: Vec<_> = counted.collect();
    let Some((first, _, its)) = counted.first() else { return };
    if let Some((_, at, _)) = counted.iter().find(|(is_rate, ..)| is_rate != first) {
        let unit = if *first { "connections a second" } else { "connections" };
        let error = reader.error(at.clone(), "two services count their capacity differently");
        let error = error.label(format!("`{its}` counts {unit}"));
        reader.report(error.help("a site reports one number for all: give all in one unit"));
    }
}

/// Reads a list of which there is one table an item.
pub(super) fn tables<'r>(value: &Value<'r>, name: &str) -> Vec<Table<'r>> {
    let items = value.items().unwrap_or_default();
    items.iter().filter_map(|item| item.table(name)).collect()
}
