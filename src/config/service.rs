//! The shape of an `[[l4.services]]` entry.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;

use super::check::CheckForm;
use super::reader::{Reader, Table, Value};
use super::server::{inline_check, socket_address};
use crate::l4::{self, BackendSettings, Balance};

/// What one L4 service is.
#[derive(Debug)]
pub(super) struct ServiceForm {
    pub name: Option<Spanned<String>>,
    pub listen: Option<Spanned<SocketAddr>>,
    pub balance: Balance,
    pub check: Option<CheckForm>,
    pub backends: Vec<Spanned<BackendSettings>>,
    pub capacity: Option<u64>,
    pub connect_timeout: Duration,
    pub idle_timeout: Duration,
}

const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// The greatest weight of a backend or a member.
pub(super) const MOST_WEIGHT: u32 = 1_000_000;

/// Reads one entry.
pub(super) fn read(value: &Value<'_>) -> Option<ServiceForm> {
    let mut table = value.table("[[l4.services]]")?;
    let name = table.require("name", "\"web\"").and_then(|value| value.label());
    let listen = table.require("listen", "\"203.0.113.10:443\"");
    let listen = listen.and_then(|value| socket_address(&value));
    if let Some(protocol) = table.take("protocol") {
        protocol.word(&[("tcp", ())], &["udp"]);
    }
    if let Some(mode) = table.take("mode") {
        mode.word(&[("proxy", ())], &["nat", "dsr"]);
    }
    let balance = table.take("balance").and_then(|value| {
        let known = [
            ("round-robin", Balance::RoundRobin),
            ("least-connections", Balance::LeastConnections),
        ];
        value.word(&known, &["source-hash", "maglev", "two-choices"])
    });
    let within = |table: &mut Table<'_>, key, most| {
        let value = table.take(key)?;
        value.duration(Duration::from_millis(10)..=Duration::from_secs(most))
    };
    let form = ServiceForm {
        name,
        listen,
        balance: balance.unwrap_or(Balance::RoundRobin),
        check: inline_check(&mut table),
        backends: read_backends(&mut table),
        capacity: table.take("capacity").and_then(|value| value.integer(1..=u64::from(u32::MAX))),
        connect_timeout: within(&mut table, "connect_timeout", 60)
            .unwrap_or(DEFAULT_CONNECT_TIMEOUT),
        idle_timeout: within(&mut table, "idle_timeout", 7 * 24 * 3600)
            .unwrap_or(DEFAULT_IDLE_TIMEOUT),
    };
    table.finish();
    Some(form)
}

/// Compiles the services; problems go to `reader`.
pub(super) fn compile(
    workers: Option<usize>,
    forms: &[ServiceForm],
    reader: &Reader,
) -> l4::Settings {
    let mut names: Vec<&str> = Vec::new();
    let mut services = Vec::new();
    for service in forms {
        if let Some(name) = &service.name {
            if names.contains(&name.get_ref().as_str()) {
                let message = format!("two services are named `{}`", name.get_ref());
                let error = reader.error(name.span(), message);
                reader.report(error.label("expected a name of its own"));
            }
            names.push(name.get_ref());
        }
        let Some((name, listen)) = service.name.as_ref().zip(service.listen.as_ref()) else {
            continue;
        };
        let backends = service.backends.iter().map(|b| b.get_ref().clone()).collect();
        let listen = vec![(*listen.get_ref()).into()];
        let mut settings = l4::ServiceSettings::new(name.get_ref(), listen, backends);
        settings.balance = service.balance;
        settings.check = service
            .check
            .as_ref()
            .map(|form| (Arc::clone(&form.check), form.port.filter(|_| form.port_is_given)));
        settings.capacity = service.capacity.map(l4::Capacity::Connections);
        settings.timeouts.connect = service.connect_timeout;
        settings.timeouts.idle = service.idle_timeout;
        services.push(settings);
    }
    l4::Settings { workers, services, access_log: None }
}

fn read_backends(table: &mut Table<'_>) -> Vec<Spanned<BackendSettings>> {
    let Some(value) = table.require("backends", "[{ address = \"10.1.0.11:8443\" }]") else {
        return Vec::new();
    };
    let Some(items) = value.items() else { return Vec::new() };
    if items.is_empty() {
        value.reject::<()>(value.error("`backends` is empty").label("expected at least one"));
    }
    let mut backends: Vec<Spanned<BackendSettings>> = Vec::new();
    for item in &items {
        let Some(backend) = read_backend(item) else { continue };
        let address = backend.get_ref().address;
        if backends.iter().any(|other| other.get_ref().address == address) {
            let error = table.reader().error(backend.span(), "the backend is given twice");
            table.reader().report(error.label("give it once, with more weight"));
        } else {
            backends.push(backend);
        }
    }
    if !backends.is_empty() && backends.iter().all(|backend| backend.get_ref().weight == 0) {
        let warning = table.reader().warning(value.span(), "every backend has weight 0");
        table.reader().report(warning.label("no connection will be accepted by any"));
    }
    backends
}

fn read_backend(value: &Value<'_>) -> Option<Spanned<BackendSettings>> {
    let mut table = value.table("a backend")?;
    let address = table.require("address", "\"10.1.0.11:8443\"");
    let address = address.and_then(|value| backend_address(&value));
    let weight = table.take("weight").and_then(|value| value.integer(0..=MOST_WEIGHT)).unwrap_or(1);
    table.finish();
    let address = address?;
    let span = address.span();
    Some(Spanned::new(span, BackendSettings::new(address.into_inner(), weight)))
}

fn backend_address(value: &Value<'_>) -> Option<Spanned<SocketAddr>> {
    let address = socket_address(value)?;
    let to = address.get_ref();
    if to.port() == 0 || to.ip().is_unspecified() || to.ip().is_multicast() {
        let error = value.error(format!("no connection can be made to `{to}`"));
        return value.reject(error.label("expected the address and port of one host"));
    }
    Some(address)
}
