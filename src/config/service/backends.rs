//! The backends of a service.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use toml::Spanned;

use super::super::reader::{Table, Value};
use super::super::server::socket_address;
use super::connections;
use crate::l4::settings::{BackendSettings, Protocol, Quic};

/// The greatest weight of a backend or a member.
pub(in super::super) const MOST_WEIGHT: u32 = 1_000_000;

/// Reads `backends`. What is wrong with server ids is told only where it is known how long they are,
/// or that there should be none.
pub(super) fn read(
    table: &mut Table<'_>,
    protocol: Option<Protocol>,
    quic: Option<Quic>,
    has_quic: bool,
) -> Vec<BackendSettings> {
    let Some(value) = table.require("backends", "[{ address = \"10.1.0.11:8443\" }]") else {
        return Vec::new();
    };
    let Some(items) = value.items() else { return Vec::new() };
    if items.is_empty() {
        value.reject::<()>(value.error("`backends` is empty").label("expected at least one"));
    }
    let reader = table.reader();
    let mut backends: Vec<Spanned<BackendSettings>> = Vec::new();
    let mut addresses = HashSet::new();
    let mut server_ids: HashMap<Box<[u8]>, SocketAddr> = HashMap::new();
    for item in &items {
        let Some((address, backend)) = read_backend(item, protocol, quic, has_quic) else {
            continue;
        };
        let Some(address) = address else { continue };
        let span = address.span();
        if !addresses.insert(backend.address) {
            let error = reader.error(span, "the backend is given twice");
            reader.report(error.label("give it once, with more weight"));
            continue;
        }
        let other = backend.server_id.clone();
        let other = other.and_then(|id| server_ids.insert(id, backend.address));
        if let Some(other) = other {
            let error = reader.error(span.clone(), "two backends have the same `server_id`");
            reader.report(error.label(format!("`{other}` has it too")));
        }
        backends.push(Spanned::new(span, backend));
    }
    let all = |of: fn(&BackendSettings) -> bool| {
        !backends.is_empty() && backends.iter().all(|backend| of(backend.get_ref()))
    };
    if all(|backend| backend.weight == 0) {
        let warning = reader.warning(value.span(), "every backend has weight 0");
        reader.report(warning.label("no connection will be accepted by any"));
    }
    if all(|backend| backend.backup) {
        let error = reader.error(value.span(), "every backend is a backup");
        reader.report(error.label("expected at least one without `backup = true`"));
    }
    let without = backends.iter().find(|backend| backend.get_ref().server_id.is_none());
    if let Some(without) = without.filter(|_| quic.is_some() && !reader.has_errors()) {
        let message = format!("`{}` has no `server_id`", without.get_ref().address);
        let warning = reader.warning(without.span(), message);
        let label = "its clients lose their connection when their address changes";
        reader.report(warning.label(label));
    }
    backends.into_iter().map(Spanned::into_inner).collect()
}

fn read_backend(
    value: &Value<'_>,
    protocol: Option<Protocol>,
    quic: Option<Quic>,
    has_quic: bool,
) -> Option<(Option<Spanned<SocketAddr>>, BackendSettings)> {
    let mut table = value.table("a backend")?;
    let address = table.require("address", "\"10.1.0.11:8443\"");
    let address = address.and_then(|value| backend_address(&value));
    let weight = table.take("weight").and_then(|value| value.integer(0..=MOST_WEIGHT)).unwrap_or(1);
    let backup = table.take("backup").and_then(|value| value.boolean()).unwrap_or(false);
    let most = table.take("max_connections");
    if let (Some(value), Some(Protocol::Udp)) = (&most, protocol) {
        let error = value.error("`max_connections` has no meaning in this backend");
        let error = error.label("only with `protocol = \"tcp\"`");
        value.reject::<()>(error.help("`max_connections` of the service limits its sessions"));
    }
    let server_id = table.take("server_id");
    if let (Some(value), false) = (&server_id, has_quic) {
        let error = value.error("`server_id` has no meaning in this backend");
        value.reject::<()>(error.label("only in a service with `quic`"));
    }
    table.finish();
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let mut backend =
        BackendSettings::new(address.as_ref().map_or(nowhere, |to| *to.get_ref()), weight);
    backend.backup = backup;
    backend.max_connections = most.and_then(|value| connections(&value));
    backend.server_id = server_id.and_then(|value| read_server_id(&value, quic));
    Some((address, backend))
}

/// Bytes in hexadecimal.
fn read_server_id(value: &Value<'_>, quic: Option<Quic>) -> Option<Box<[u8]>> {
    let text = value.text()?;
    let text = text.get_ref();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    let bytes: Option<Box<[u8]>> = text.as_bytes().chunks(2).map(byte).collect();
    let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) else {
        return value.unreadable(text, "bytes in hexadecimal, such as \"0a1b\"");
    };
    if let Some(Quic { server_id_bytes }) = quic
        && bytes.len() != server_id_bytes
    {
        let error = value.error(format!("`server_id` is of {} bytes", bytes.len()));
        let label = format!("expected {server_id_bytes}, as `quic.server_id_bytes` says");
        return value.reject(error.label(label));
    }
    Some(bytes)
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
