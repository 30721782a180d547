//! Which certificate a check over TLS wants.

use std::path::PathBuf;

use rustls::pki_types::ServerName;

use super::super::diagnostic::Diagnostic;
use super::super::reader::Value;
use super::super::source::{ReadError, Source};
use super::Given;
use crate::health::TlsCheck;

/// The keys that are read here.
pub(super) const KEYS: [&str; 4] = ["server_name", "ca_file", "verify", "min_days"];
/// No certificate is given out for longer.
const MOST_DAYS: u32 = 36_500;

/// Reads the keys of a check over TLS.
pub(super) fn read(given: &mut Given<'_>) -> TlsCheck {
    let [server_name, ca_file, verify, min_days] = KEYS.map(|key| given.take(key));
    TlsCheck {
        server_name: server_name.and_then(|value| {
            let text = value.text()?;
            match ServerName::try_from(text.get_ref().as_str()) {
                Ok(_) => Some(text.into_inner()),
                Err(_) => value.unreadable(text.get_ref(), "a host name or an address"),
            }
        }),
        ca_file: ca_file.and_then(|value| certificates(&value)),
        verify: verify.and_then(|value| value.boolean()).unwrap_or(true),
        min_days: min_days.and_then(|value| value.integer(1..=MOST_DAYS)),
    }
}

/// A file that holds certificates in PEM.
fn certificates(value: &Value<'_>) -> Option<PathBuf> {
    const LIMIT: u64 = 16 << 20;
    let path = value.path()?.into_inner();
    match Source::read(&path, LIMIT) {
        Ok(source) if source.text().contains("-----BEGIN CERTIFICATE-----") => Some(path),
        Ok(_) => {
            let error = value.error(format!("{} holds no certificate", path.display()));
            value.reject(error.label("expected a file with certificates in PEM"))
        }
        Err(ReadError::Unreadable(why)) => {
            value.reject(value.error(format!("cannot read {}: {why}", path.display())))
        }
        Err(ReadError::NotUtf8(source, byte)) => value.reject(Diagnostic::not_utf8(&source, byte)),
    }
}
