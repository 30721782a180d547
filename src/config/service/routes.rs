//! Which server names (TLS SNI) another service carries.

use std::collections::HashSet;
use std::net::IpAddr;

use toml::Spanned;

use super::super::forwarder::tables;
use super::super::reader::Value;
use crate::l4::settings::Route;

/// A route, so far as it could be made out.
#[derive(Debug)]
pub(in super::super) struct RouteForm {
    /// In lower case.
    pub names: Vec<Spanned<String>>,
    pub service: Option<Spanned<String>>,
}

impl RouteForm {
    /// The route, if it leads somewhere.
    pub(super) fn settings(&self) -> Option<Route> {
        let names = self.names.iter().map(|name| name.get_ref().clone()).collect();
        Some(Route { names, service: self.service.as_ref()?.get_ref().clone() })
    }
}

/// The longest name without its final dot (RFC 1035 §2.3.4).
const MOST_NAME_BYTES: usize = 253;

/// Reads the list.
pub(super) fn read(value: &Value<'_>) -> Vec<RouteForm> {
    let mut seen = HashSet::new();
    let mut forms = Vec::new();
    for mut table in tables(value, "a route") {
        let names = table.require("server_name", "\"api.example.com\"");
        let items = names.as_ref().map(Value::one_or_more).unwrap_or_default();
        if let Some(value) = names.filter(|_| items.is_empty()) {
            let error = value.error("`server_name` is empty");
            value.reject::<()>(error.label("expected at least one, such as \"api.example.com\""));
        }
        let names: Vec<Spanned<String>> = items.iter().filter_map(server_name).collect();
        for name in &names {
            if !seen.insert(name.get_ref().clone()) {
                let message = format!("`{}` is routed twice", name.get_ref());
                let error = table.reader().error(name.span(), message);
                table.reader().report(error.label("a route above has it too"));
            }
        }
        let service = table.require("service", "\"api\"").and_then(|value| value.filled_text());
        table.finish();
        forms.push(RouteForm { names, service });
    }
    forms
}

/// A host name, or `*.` and one, in lower case.
fn server_name(value: &Value<'_>) -> Option<Spanned<String>> {
    let text = value.text()?;
    let given = text.get_ref();
    let name = given.strip_suffix('.').unwrap_or(given).to_ascii_lowercase();
    if name.parse::<IpAddr>().is_ok() {
        let error = value.error(format!("`{given}` is an address"));
        return value.reject(error.label("clients send no addresses as names (RFC 6066 §3)"));
    }
    if !is_host_name(name.strip_prefix("*.").unwrap_or(&name)) {
        let expected = "a host name in ASCII, such as \"api.example.com\" or \"*.example.com\"";
        return value.unreadable(given, expected);
    }
    Some(Spanned::new(text.span(), name))
}

fn is_host_name(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(good);
    name.len() <= MOST_NAME_BYTES && name.split('.').all(is_label)
}
