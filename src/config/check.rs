//! The shape of a check, as `[checks.NAME]` of a zone file and `check` of an L4 service have it.

mod dns;
mod http;
mod tls;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;

use super::reader::{Table, Value};
use crate::health::http::unaskable;
use crate::health::{AgentCheck, Check, ExecCheck, GrpcCheck, HttpCheck, Kind};

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
    TcpHalfOpen,
    Http,
    Https,
    Tls,
    Dns,
    Grpc,
    Exec,
    Agent,
}

use Word::{Agent, Dns, Exec, Grpc, Http, Https, Icmp, Tcp, TcpHalfOpen, Tls};

const WORDS: [(&str, Word); 10] = [
    ("icmp", Icmp),
    ("tcp", Tcp),
    ("tcp-half-open", TcpHalfOpen),
    ("http", Http),
    ("https", Https),
    ("tls", Tls),
    ("dns", Dns),
    ("grpc", Grpc),
    ("exec", Exec),
    ("agent", Agent),
];
const NOT_YET: [&str; 1] = ["report"];

/// The keys that not every kind has, and which kinds have them.
const KEYS: [(&str, &[Word]); 20] = [
    ("port", &[Tcp, TcpHalfOpen, Http, Https, Tls, Dns, Grpc, Exec, Agent]),
    ("method", &[Http, Https]),
    ("path", &[Http, Https]),
    ("host", &[Http, Https]),
    ("status", &[Http, Https]),
    ("headers", &[Http, Https]),
    ("contains", &[Http, Https]),
    ("matches", &[Http, Https]),
    ("name", &[Dns]),
    ("type", &[Dns]),
    ("rcode", &[Dns]),
    ("answer", &[Dns]),
    ("service", &[Grpc]),
    ("tls", &[Grpc]),
    ("server_name", &[Https, Tls, Grpc]),
    ("ca_file", &[Https, Tls, Grpc]),
    ("verify", &[Https, Tls, Grpc]),
    ("min_days", &[Https, Tls, Grpc]),
    ("command", &[Exec]),
    ("send", &[Agent]),
];

/// What is given of those keys.
struct Given<'r>(Vec<(&'static str, Value<'r>)>);

/// Reads a check; none when its kind cannot be made out or something is missing.
pub(super) fn read(mut table: Table<'_>) -> Option<CheckForm> {
    let word = table.require("kind", "\"http\"").map(|value| value.word(&WORDS, &NOT_YET));
    let known = word.flatten();
    let named_at = table.peek("server_name").or_else(|| table.peek("host"));
    let mut given = Given(Vec::new());
    for (key, kinds) in KEYS {
        let value = match needed(known, key) {
            Some(example) => table.require(key, example),
            None => table.take(key),
        };
        let Some(value) = value else { continue };
        match known {
            Some(word) if !kinds.contains(&word) => refuse(&value, kinds),
            _ => given.0.push((key, value)),
        }
    }
    // Of whatever kind: the pace is the same.
    let paced = read_pace(&mut table, Check::new(Kind::Tcp));
    table.finish();
    // With a kind that is not known, which keys it may have is not known either.
    let word = word??;
    let port = given.take("port");
    let number = port.as_ref().and_then(|value| value.integer(1..=u16::MAX));
    let (kind, own_port) = match word {
        Icmp => (Kind::Icmp, Some(0)),
        Tcp => (Kind::Tcp, None),
        TcpHalfOpen => (Kind::TcpHalfOpen, None),
        Http => (Kind::Http(http::read(&mut given, None)), Some(80)),
        Https => {
            let tls = tls::read(&mut given);
            (Kind::Http(http::read(&mut given, Some(tls))), Some(443))
        }
        Tls => (Kind::Tls(tls::read(&mut given)), Some(443)),
        Dns => (Kind::Dns(dns::read(&mut given)?), Some(53)),
        Grpc => (Kind::Grpc(read_grpc(&mut given)), None),
        // What it asks need not have a port.
        Exec => (Kind::Exec(read_exec(&mut given)?), Some(0)),
        Agent => {
            let send = given.take("send").and_then(|value| value.filled_text());
            (Kind::Agent(AgentCheck { send: send.map(Spanned::into_inner) }), None)
        }
    };
    // Where TLS wants a server's name, not every host that can be sent is one.
    if let (Kind::Http(check), Some(value)) = (&kind, &named_at)
        && let Some(why) = unaskable(check)
    {
        let error = value.error(format!("no server can be asked by this `{}`", value.key()));
        value.reject::<()>(error.label(why));
    }
    let ca_file = match &kind {
        Kind::Http(HttpCheck { tls: Some(tls), .. })
        | Kind::Tls(tls)
        | Kind::Grpc(GrpcCheck { tls: Some(tls), .. }) => tls.ca_file.clone(),
        _ => None,
    };
    let check = Arc::new(Check { kind, ..paced });
    Some(CheckForm { check, port: number.or(own_port), port_is_given: port.is_some(), ca_file })
}

/// What to write for a key that a kind needs; none: it does without.
fn needed(word: Option<Word>, key: &str) -> Option<&'static str> {
    match (word?, key) {
        (Dns, "name") => Some("\"www.example.com\""),
        (Exec, "command") => Some("[\"/usr/local/bin/is-ready\"]"),
        _ => None,
    }
}

/// Reports a key that other kinds have.
fn refuse(value: &Value<'_>, kinds: &[Word]) {
    let name = |word: &Word| WORDS.iter().find(|(_, of)| of == word).map_or("", |(name, _)| *name);
    let names: Vec<&str> = kinds.iter().map(name).collect();
    let names = match names[..] {
        [ref first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ => names.concat(),
    };
    let error = value.error(format!("`{}` has no meaning in this check", value.key()));
    value.reject::<()>(error.label(format!("only for checks of kind {names}")));
}

impl<'r> Given<'r> {
    /// The value of a key, if it is given.
    fn take(&mut self, key: &str) -> Option<Value<'r>> {
        let at = self.0.iter().position(|(given, _)| *given == key)?;
        Some(self.0.swap_remove(at).1)
    }
}

fn read_grpc(given: &mut Given<'_>) -> GrpcCheck {
    let service = given.take("service").and_then(|value| value.text()).map(Spanned::into_inner);
    let has_tls = given.take("tls").and_then(|value| value.boolean()).unwrap_or(false);
    if !has_tls {
        for key in tls::KEYS {
            let Some(value) = given.take(key) else { continue };
            let error = value.error(format!("`{key}` has no meaning in this check"));
            value.reject::<()>(error.label("only with `tls = true`"));
        }
    }
    GrpcCheck { tls: has_tls.then(|| tls::read(given)), service: service.unwrap_or_default() }
}

/// The program and its arguments. A program that is given by a path stands beside the file, if the
/// path is relative.
fn read_exec(given: &mut Given<'_>) -> Option<ExecCheck> {
    let value = given.take("command")?;
    let words = value.one_or_more();
    let Some(program) = words.first() else {
        return value.reject(value.error("`command` is empty").label("nothing would be run"));
    };
    let mut command: Vec<String> =
        words.iter().map_while(|word| Some(word.text()?.into_inner())).collect();
    if command.len() < words.len() {
        return None;
    }
    let text = program.filled_text()?.into_inner();
    if text.contains('/') {
        let path = program.path()?.into_inner();
        if !path.is_file() {
            let error = program.error(format!("there is no program {}", path.display()));
            return program.reject(error.label("expected the path of a program, or its name"));
        }
        command[0] = path.to_str()?.to_owned();
    }
    Some(ExecCheck { command })
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
