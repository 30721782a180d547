//! What no key of a service shows alone.

use std::net::SocketAddr;

use super::super::reader::{Reader, Table, Value};
use crate::health::Kind;
use crate::l4::settings::{Balance, Capacity, Protocol, ServiceSettings};

/// With fewer entries a backend than this, shares differ by more than a hundredth (NSDI 2016, §3.4).
const ENTRIES_A_BACKEND: usize = 100;

/// The values that are looked at together.
pub(super) struct Given<'r>(Vec<Value<'r>>);

const KEYS: [&str; 10] = [
    "agent",
    "balance",
    "capacity",
    "hello_timeout",
    "max_connections",
    "min_healthy",
    "queue",
    "quic",
    "transparent",
    "backends",
];

impl<'r> Given<'r> {
    /// Of a table of which nothing has been taken yet.
    pub fn of(table: &Table<'r>) -> Given<'r> {
        Given(KEYS.iter().filter_map(|key| table.peek(key)).collect())
    }

    /// Whether the key stands there.
    pub fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    fn value(&self, key: &str) -> Option<&Value<'r>> {
        self.0.iter().find(|value| value.key() == key)
    }
}

/// Reports what does not fit together in one service.
pub(super) fn check(given: &Given<'_>, settings: &ServiceSettings, reader: &Reader) {
    let error = |key: &'static str, message: String, label: String| {
        if let Some(value) = given.value(key) {
            reader.report(value.error(message).label(label));
        }
    };
    let warn = |key: &'static str, message: String, label: String| {
        if let Some(value) = given.value(key) {
            reader.report(reader.warning(value.span(), message).label(label));
        }
    };
    let count = settings.backends.len();
    if settings.min_healthy > count && count > 0 {
        let message = "`min_healthy` can never be reached".into();
        error("min_healthy", message, format!("there are {count} backends"));
    }
    if let Balance::Maglev { table_size, .. } = settings.balance {
        let message = || format!("{count} backends share {table_size} entries");
        if count > table_size as usize {
            error("balance", message(), "expected a greater `table_size`".into());
        } else if count * ENTRIES_A_BACKEND > table_size as usize {
            warn("balance", message(), "unevenly: take a greater `table_size`".into());
        }
    }
    let is_checked_by_agents =
        settings.check.as_ref().is_some_and(|(check, _)| matches!(check.kind, Kind::Agent(_)));
    let has_agents = given.has("agent") || is_checked_by_agents;
    if settings.capacity == Some(Capacity::Agents) && !has_agents {
        let message = "there are no agents to tell the capacity".into();
        error("capacity", message, "add `agent = { port = 8054 }`".into());
    }
    if let (Some(Capacity::Connections(capacity)), Some(most)) =
        (settings.capacity, settings.max_connections)
        && capacity > most
    {
        let message = "`capacity` is more than `max_connections`".into();
        warn("capacity", message, format!("no more than {most} are let in"));
    }
    // Agents may limit backends, too.
    let is_limited = given.has("max_connections")
        || has_agents
        || settings.backends.iter().any(|backend| backend.max_connections.is_some());
    let is_tcp = settings.protocol == Protocol::Tcp;
    if is_tcp && !is_limited {
        let label = "nobody waits: neither the service nor a backend has `max_connections`";
        warn("queue", "`queue` has no effect".into(), label.into());
    }
    if is_tcp && settings.accept_proxy.is_empty() && settings.routes.is_empty() {
        let label = "nothing is awaited: there is neither `accept_proxy` nor `routes`";
        warn("hello_timeout", "`hello_timeout` has no effect".into(), label.into());
    }
    if settings.transparent {
        check_families(settings, &error);
    }
    // What listens on the unspecified address may be beside something closer.
    let is_own = |to: SocketAddr| settings.listen.iter().any(|listen| listen.overlaps(&to.into()));
    let mut backends = settings.backends.iter().map(|backend| backend.address);
    if let Some(own) = backends.find(|address| is_own(*address)) {
        let message = format!("the backend `{own}` is where this service listens");
        error("backends", message, "every connection would come back to it".into());
    }
}

/// A client's address can be the source of connections to backends of its own family only.
fn check_families(settings: &ServiceSettings, error: &impl Fn(&'static str, String, String)) {
    for listen in &settings.listen {
        let is_other = |address: SocketAddr| address.is_ipv4() != listen.addresses.addr().is_ipv4();
        let other = settings.backends.iter().find(|backend| is_other(backend.address));
        if let Some(other) = other {
            let message = format!("`{}` cannot see the clients of `{listen}`", other.address);
            let label = "`transparent` takes backends and clients of one family";
            return error("transparent", message, label.into());
        }
    }
}
