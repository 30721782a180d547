//! The shape of a check, as `[checks.NAME]` of a zone file and `check` of an L4 service have it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use toml::Spanned;

use super::diagnostic::Diagnostic;
use super::reader::{Table, Value};
use super::source::{ReadError, Source};
use crate::health::{AgentCheck, Check, HttpCheck, Kind, TlsCheck};

/// How something is probed, and where.
#[derive(Clone, Debug)]
pub(super) struct CheckForm {
    /// What is done.
    pub check: Arc<Check>,
    /// The port given, or the kind's own; none if it has none, as `tcp`.
    pub port: Option<u16>,
    /// Whether the port was given.
    pub port_is_given: bool,
    /// A file it needs.
    pub ca_file: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Icmp,
    Tcp,
    Http,
    Https,
}

const WORDS: [(&str, Word); 4] =
    [("icmp", Word::Icmp), ("tcp", Word::Tcp), ("http", Word::Http), ("https", Word::Https)];
const NOT_YET: [&str; 6] = ["tcp-half-open", "dns", "grpc", "exec", "agent", "report"];

/// Keys that are of use to an HTTP(S) check, and to an HTTPS check, only.
const HTTP_KEYS: [&str; 4] = ["path", "host", "status", "contains"];
const TLS_KEYS: [&str; 3] = ["server_name", "ca_file", "verify"];

/// Reads a check; none when its kind cannot be made out or something is missing.
pub(super) fn read(mut table: Table<'_>) -> Option<CheckForm> {
    let word = table.require("kind", "\"http\"").map(|value| value.word(&WORDS, &NOT_YET));
    let port = table.take("port");
    let number = port.as_ref().and_then(|value| value.integer(1..=u16::MAX));
    let http = HTTP_KEYS.map(|key| table.take(key));
    let tls = TLS_KEYS.map(|key| table.take(key));
    // Of whatever kind: the pace is the same.
    let paced = read_pace(&mut table, Check::new(Kind::Tcp));
    table.finish();
    // With a kind that is not known, which keys it may have is not known either.
    let word = word??;
    let refuse = |value: &Option<Value<'_>>, kinds: &str| {
        if let Some(value) = value {
            let message = format!("`{}` has no meaning in this check", value.key());
            value.reject::<()>(value.error(message).label(format!("only for {kinds}")));
        }
    };
    if word == Word::Icmp {
        refuse(&port, "checks of kind tcp, http and https");
    }
    if matches!(word, Word::Icmp | Word::Tcp) {
        http.iter().for_each(|value| refuse(value, "checks of kind http and https"));
    }
    if word != Word::Https {
        tls.iter().for_each(|value| refuse(value, "checks of kind https"));
    }
    let tls = (word == Word::Https).then(|| read_tls(tls));
    let ca_file = tls.as_ref().and_then(|tls| tls.ca_file.clone());
    let (kind, own_port) = match word {
        Word::Icmp => (Kind::Icmp, Some(0)),
        Word::Tcp => (Kind::Tcp, None),
        Word::Http => (Kind::Http(read_http(http, None)), Some(80)),
        Word::Https => (Kind::Http(read_http(http, tls)), Some(443)),
    };
    let check = Arc::new(Check { kind, ..paced });
    Some(CheckForm { check, port: number.or(own_port), port_is_given: port.is_some(), ca_file })
}

/// Reads how the agents of an L4 service are asked, and on which port.
pub(super) fn read_agent(mut table: Table<'_>) -> Option<(Arc<Check>, u16)> {
    let port = table.require("port", "8054").and_then(|value| value.integer(1..=u16::MAX));
    let send = table.take("send").and_then(|value| value.filled_text()).map(Spanned::into_inner);
    let usual = Check::new(Kind::Agent(AgentCheck { send }));
    let check = read_pace(&mut table, usual);
    table.finish();
    Some((Arc::new(check), port?))
}

/// Reads how often and how long; what is not given stays as it is in `check`.
fn read_pace(table: &mut Table<'_>, check: Check) -> Check {
    let (least, most) = (Duration::from_millis(100), Duration::from_secs(24 * 3600));
    let interval = table.take("interval").and_then(|value| value.duration(least..=most));
    let interval = interval.unwrap_or(check.interval);
    let within_interval = |value: Option<Value<'_>>, least| {
        let value = value?;
        let given = value.duration(least..=most)?;
        if given > interval {
            let error = value.error(format!("`{}` is longer than `interval`", value.key()));
            let interval = humantime::format_duration(interval);
            value.reject::<()>(error.label(format!("expected at most {interval}")));
        }
        Some(given.min(interval))
    };
    let fast_interval = within_interval(table.take("fast_interval"), least);
    let jitter = table.take("jitter").and_then(|value| value.percentage(0.0..=50.0));
    let timeout = within_interval(table.take("timeout"), least / 10);
    let count = |table: &mut Table<'_>, key| table.take(key).and_then(|v| v.integer(1..=1000));
    Check {
        kind: check.kind,
        interval,
        fast_interval,
        jitter: jitter.unwrap_or(check.jitter),
        timeout: timeout.unwrap_or(check.timeout.min(interval)),
        rise: count(table, "rise").unwrap_or(check.rise),
        fall: count(table, "fall").unwrap_or(check.fall),
    }
}

fn read_http(
    [path, host, status, contains]: [Option<Value<'_>>; 4],
    tls: Option<TlsCheck>,
) -> HttpCheck {
    let text = |value: Option<Value<'_>>| Some(value?.filled_text()?.into_inner());
    HttpCheck {
        tls,
        path: path.and_then(|value| http_path(&value)).unwrap_or_else(|| "/".into()),
        host: host.and_then(|value| http_host(&value)),
        status: status.map_or_else(|| vec![200], |value| statuses(&value)),
        contains: text(contains),
        ..HttpCheck::default()
    }
}

fn http_path(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    let visible = text.get_ref().bytes().all(|byte| byte.is_ascii_graphic());
    if !text.get_ref().starts_with('/') || !visible {
        return value.unreadable(text.get_ref(), "a path that begins with `/`, without spaces");
    }
    Some(text.into_inner())
}

fn http_host(value: &Value<'_>) -> Option<String> {
    let text = value.filled_text()?;
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    if !text.get_ref().bytes().all(good) {
        return value.unreadable(text.get_ref(), "a host name, such as \"www.example.com\"");
    }
    Some(text.into_inner())
}

/// Numbers, classes such as "2xx", and ranges such as "200-299".
fn statuses(value: &Value<'_>) -> Vec<u16> {
    let mut statuses: Vec<u16> = value.one_or_more().iter().filter_map(status).flatten().collect();
    statuses.sort_unstable();
    statuses.dedup();
    if value.one_or_more().is_empty() {
        value.reject::<()>(value.error("`status` is empty").label("no answer would be good"));
    }
    statuses
}

fn status(value: &Value<'_>) -> Option<std::ops::RangeInclusive<u16>> {
    const VALID: std::ops::RangeInclusive<u16> = 100..=599;
    if value.is_integer() {
        return value.integer(VALID).map(|status| status..=status);
    }
    let text = value.text()?;
    let range = match text.get_ref().split_once('-') {
        Some((first, last)) => first.parse().ok().zip(last.parse().ok()),
        None => {
            let class = text.get_ref().strip_suffix("xx").and_then(|class| class.parse().ok());
            class.filter(|class| (1..=5u16).contains(class)).map(|c| (c * 100, c * 100 + 99))
        }
    };
    let valid =
        |(first, last): &(u16, u16)| first <= last && VALID.contains(first) && VALID.contains(last);
    match range.filter(valid) {
        Some((first, last)) => Some(first..=last),
        None => value.unreadable(text.get_ref(), "a status: 200, \"2xx\" or \"200-299\""),
    }
}

fn read_tls([server_name, ca_file, verify]: [Option<Value<'_>>; 3]) -> TlsCheck {
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
        min_days: None,
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
