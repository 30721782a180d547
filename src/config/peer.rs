//! Another name server, as it stands in a zone file: `"203.0.113.5"` or
//! `{ address = "203.0.113.5:5353", key = "xfr.example.com" }`.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;

use super::keys::KeyForm;
use super::nearest::nearest;
use super::reader::{Reader, Value};
use crate::dns::Name;
use crate::transfer::{Key, Keys};

/// Another name server.
#[derive(Debug)]
pub(super) struct PeerForm {
    pub span: Range<usize>,
    pub address: SocketAddr,
    /// The name of the key that is shared with it.
    pub key: Option<Spanned<String>>,
}

/// Where name servers answer unless something else is said.
const DNS_PORT: u16 = 53;

/// One or more of them.
pub(super) fn read_all(value: &Value<'_>) -> Vec<PeerForm> {
    let items = value.one_or_more();
    if items.is_empty() {
        let error = value.error(format!("`{}` is empty", value.key()));
        value.reject::<()>(error.label("expected at least one, such as \"203.0.113.5\""));
    }
    items.iter().filter_map(read).collect()
}

fn read(value: &Value<'_>) -> Option<PeerForm> {
    if !value.is_table() {
        return Some(PeerForm { span: value.span(), address: address(value)?, key: None });
    }
    let mut table = value.table(&format!("`{}`", value.key()))?;
    let address = table.require("address", "\"203.0.113.5\"").and_then(|value| address(&value));
    let key = table.take("key").and_then(|value| value.filled_text());
    table.finish();
    Some(PeerForm { span: value.span(), address: address?, key })
}

/// An address, with a port or without.
fn address(value: &Value<'_>) -> Option<SocketAddr> {
    let expected = "an address, with a port or without: \"203.0.113.5\", \"[2001:db8::5]:5353\"";
    let text = value.text()?;
    let text = text.get_ref();
    let address = match text.parse::<IpAddr>() {
        Ok(address) => Some(SocketAddr::new(address, DNS_PORT)),
        Err(_) => text.parse().ok(),
    };
    match address {
        Some(address) if address.port() != 0 && !address.ip().is_unspecified() => Some(address),
        _ => value.unreadable(text, expected),
    }
}

/// The key of that name; none when there is none, and that was reported.
pub(super) fn key(
    name: &Spanned<String>,
    keys: &Keys,
    forms: &[KeyForm],
    reader: &Reader,
) -> Option<Arc<Key>> {
    let text = name.get_ref();
    let key = text.parse::<Name>().ok().and_then(|name| keys.find(&name.to_key()).cloned());
    let given = forms.iter().map(|form| form.name.get_ref().as_str());
    // One that is there, but not in order, was reported where it stands.
    if key.is_none() && !given.clone().any(|given| given == text) {
        let error = reader.error(name.span(), format!("unknown key `{text}`"));
        reader.report(match nearest(text, given) {
            Some(near) => error.label(format!("did you mean \"{near}\"?")),
            None => error
                .label("there is no such key")
                .help(format!("add [keys.\"{text}\"] to portolan.toml")),
        });
    }
    key
}
