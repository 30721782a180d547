//! The shape of an `[[l4.services]]` entry.

mod admission;
mod backends;
mod balance;
mod listen;
mod routes;
mod whole;

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;

use super::check;
use super::reader::{Table, Value};
use super::server::inline_check;
use crate::l4::settings::{
    Capacity, Listen, Protocol, ProxyVersion, Queue, Quic, ServiceSettings, Timeouts, WhenAllDown,
    WhenDown,
};

pub(super) use backends::MOST_WEIGHT;
pub(super) use routes::RouteForm;

/// What one L4 service is.
#[derive(Debug)]
pub(super) struct ServiceForm {
    pub name: Option<Spanned<String>>,
    pub listen: Vec<Spanned<Listen>>,
    /// Whether `listen` was given, well or not.
    pub has_listen: bool,
    pub routes: Vec<RouteForm>,
    /// Keys that mean something only where a service listens itself.
    pub at_the_door: Vec<Spanned<&'static str>>,
    /// Where its capacity is given.
    pub capacity_at: Option<Range<usize>>,
    /// With an empty name if that could not be made out.
    pub settings: ServiceSettings,
}

/// What only connections have.
const OF_TCP: [&str; 10] = [
    "connect_timeout",
    "total_timeout",
    "hello_timeout",
    "queue",
    "accept_proxy",
    "send_proxy",
    "transparent",
    "routes",
    "splice",
    "when_down",
];
/// What only datagrams have.
const OF_UDP: [&str; 1] = ["quic"];
/// What is looked at before it is known which service carries a connection.
const AT_THE_DOOR: [&str; 2] = ["accept_proxy", "hello_timeout"];

/// The most connections that can be named.
const MOST_CONNECTIONS: RangeInclusive<u64> = 1..=u32::MAX as u64;
/// The most that wait for a place.
const MOST_WAITING: u64 = 1_000_000;
/// The longest server id (draft-ietf-quic-load-balancers §5.2).
const MOST_SERVER_ID_BYTES: usize = 15;

/// Reads one entry.
pub(super) fn read(value: &Value<'_>) -> Option<ServiceForm> {
    let mut table = value.table("[[l4.services]]")?;
    let given = whole::Given::of(&table);
    let name = table.require("name", "\"web\"").and_then(|value| value.label());
    let has_listen = table.peek("listen").is_some();
    let listen = table.take("listen").map(|value| listen::read(&value)).unwrap_or_default();
    let protocol = match table.take("protocol") {
        Some(value) => value.word(&[("tcp", Protocol::Tcp), ("udp", Protocol::Udp)], &[]),
        None => Some(Protocol::Tcp),
    };
    refuse_of_the_other(&table, protocol);
    if let Some(mode) = table.take("mode") {
        mode.word(&[("proxy", ())], &["nat", "dsr"]);
    }
    let at_the_door = AT_THE_DOOR.into_iter().filter_map(|key| {
        let value = table.peek(key)?;
        Some(Spanned::new(value.span(), key))
    });
    let at_the_door = at_the_door.collect();
    let capacity_at = table.peek("capacity").map(|value| value.span());

    let text = name.as_ref().map_or("", |name| name.get_ref().as_str());
    let listens = listen.iter().map(|listen| listen.get_ref().clone()).collect();
    let mut settings = ServiceSettings::new(text, listens, Vec::new());
    settings.protocol = protocol.unwrap_or_default();
    if let Some(balance) = table.take("balance").and_then(|value| balance::read(&value)) {
        settings.balance = balance;
    }
    settings.check = inline_check(&mut table)
        .map(|form| (Arc::clone(&form.check), form.port.filter(|_| form.port_is_given)));
    settings.agent = table.table("agent", "`agent`").and_then(check::read_agent);
    settings.quic = table.table("quic", "`quic`").and_then(read_quic);
    settings.backends = backends::read(&mut table, protocol, settings.quic, given.has("quic"));
    read_fate(&mut table, &mut settings);
    settings.timeouts = read_timeouts(&mut table, &settings);
    settings.capacity = table.take("capacity").and_then(|value| read_capacity(&value));
    settings.max_connections = table.take("max_connections").and_then(|v| connections(&v));
    if let Some(queue) = table.table("queue", "`queue`") {
        settings.queue = read_queue(queue);
    }
    admission::read(&mut table, &mut settings);
    let versions = [("v1", ProxyVersion::V1), ("v2", ProxyVersion::V2)];
    settings.send_proxy = table.take("send_proxy").and_then(|value| value.word(&versions, &[]));
    settings.transparent = boolean(&mut table, "transparent", false);
    settings.splice = boolean(&mut table, "splice", true);
    let routes = table.take("routes").map(|value| routes::read(&value)).unwrap_or_default();
    settings.routes = routes.iter().filter_map(RouteForm::settings).collect();
    whole::check(&given, &settings, table.reader());
    table.finish();
    Some(ServiceForm { name, listen, has_listen, routes, at_the_door, capacity_at, settings })
}

/// Reports keys that mean nothing with this protocol.
fn refuse_of_the_other(table: &Table<'_>, protocol: Option<Protocol>) {
    let (keys, expected) = match protocol {
        Some(Protocol::Tcp) => (&OF_UDP[..], "only with `protocol = \"udp\"`"),
        Some(Protocol::Udp) => (&OF_TCP[..], "only with `protocol = \"tcp\"`"),
        // It is not known what was meant.
        None => return,
    };
    for value in keys.iter().filter_map(|key| table.peek(key)) {
        let error = value.error(format!("`{}` has no meaning in this service", value.key()));
        value.reject::<()>(error.label(expected));
    }
}

/// What becomes of flows when backends go down or come up.
fn read_fate(table: &mut Table<'_>, settings: &mut ServiceSettings) {
    let words = [("try-all", WhenAllDown::TryAll), ("refuse", WhenAllDown::Refuse)];
    let when_all_down = table.take("when_all_down").and_then(|value| value.word(&words, &[]));
    settings.when_all_down = when_all_down.unwrap_or_default();
    let words = [("keep", WhenDown::Keep), ("reset", WhenDown::Reset)];
    let when_down = table.take("when_down").and_then(|value| value.word(&words, &[]));
    settings.when_down = when_down.unwrap_or_default();
    let hour = Duration::from_secs(3600);
    let slow_start = table.take("slow_start").and_then(|v| v.duration(Duration::ZERO..=hour));
    settings.slow_start = slow_start.unwrap_or_default();
    let min_healthy = table.take("min_healthy").and_then(|value| value.integer(1..=u16::MAX));
    settings.min_healthy = min_healthy.map_or(0, usize::from);
}

fn read_timeouts(table: &mut Table<'_>, settings: &ServiceSettings) -> Timeouts {
    let mut within = |key, least, most| {
        table.take(key)?.duration(Duration::from_millis(least)..=Duration::from_secs(most))
    };
    let is_dns = settings.listen.iter().all(|listen| listen.ports == (53..=53));
    let usual = match settings.protocol {
        Protocol::Tcp => Timeouts::default(),
        Protocol::Udp => Timeouts::of_udp(is_dns),
    };
    let (minute, day) = (60, 24 * 3600);
    Timeouts {
        connect: within("connect_timeout", 10, minute).unwrap_or(usual.connect),
        idle: within("idle_timeout", 10, 7 * day).unwrap_or(usual.idle),
        total: within("total_timeout", 10, 365 * day).or(usual.total),
        hello: within("hello_timeout", 10, 10 * minute).unwrap_or(usual.hello),
    }
}

/// Connections, as a number or a table, or `"agents"`.
fn read_capacity(value: &Value<'_>) -> Option<Capacity> {
    if value.as_text().is_some() {
        return value.word(&[("agents", Capacity::Agents)], &[]);
    }
    if !value.is_table() {
        return connections(value).map(Capacity::Connections);
    }
    let mut table = value.table("`capacity`")?;
    let (at_a_time, a_second) = (table.take("connections"), table.take("connections_per_second"));
    if at_a_time.is_some() == a_second.is_some() {
        let error = table.error("`capacity` is in one unit");
        table.reader().report(error.label("expected `connections` or `connections_per_second`"));
    }
    table.finish();
    let at_a_time = at_a_time.and_then(|value| connections(&value));
    let a_second = a_second.and_then(|value| connections(&value));
    at_a_time.map(Capacity::Connections).or(a_second.map(Capacity::ConnectionsPerSecond))
}

fn read_queue(mut table: Table<'_>) -> Queue {
    let usual = Queue::default();
    let length = table.take("length").and_then(|value| value.integer(0..=MOST_WAITING));
    let (least, most) = (Duration::from_millis(10), Duration::from_secs(600));
    let timeout = table.take("timeout").and_then(|value| value.duration(least..=most));
    table.finish();
    Queue { length: length.unwrap_or(usual.length), timeout: timeout.unwrap_or(usual.timeout) }
}

fn read_quic(mut table: Table<'_>) -> Option<Quic> {
    let bytes = table.require("server_id_bytes", "4");
    let bytes = bytes.and_then(|value| value.integer(1..=MOST_SERVER_ID_BYTES));
    table.finish();
    Some(Quic { server_id_bytes: bytes? })
}

/// A number of connections.
fn connections(value: &Value<'_>) -> Option<u64> {
    value.integer(MOST_CONNECTIONS)
}

fn boolean(table: &mut Table<'_>, key: &'static str, usual: bool) -> bool {
    table.take(key).and_then(|value| value.boolean()).unwrap_or(usual)
}
