//! The shape of a zone file: records, checks, pools and steered names.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use toml::Spanned;

use super::check::{self, CheckForm};
use super::peer::{self, PeerForm};
use super::reader::{Table, Value};
use super::server::{continent, country};
use super::service::MOST_WEIGHT;
use super::transfer::{self, TransferForm};
use super::values::{TtlBounds, check_label};
use crate::decide::{MAX_ANSWERS, Match, Steer, unanswerable};
use crate::dns::Name;

/// What a zone file says, so far as it could be made out.
#[derive(Debug)]
pub(super) struct ZoneForm {
    pub origin: Option<Spanned<Name>>,
    pub ttl: u32,
    pub records: Option<Spanned<String>>,
    pub records_file: Option<Spanned<PathBuf>>,
    /// Where the zone is taken from; empty: from nowhere.
    pub primaries: Vec<PeerForm>,
    pub checks: Vec<(Spanned<String>, Option<CheckForm>)>,
    pub pools: Vec<PoolForm>,
    pub names: Vec<NameForm>,
    pub transfer: Option<TransferForm>,
}

#[derive(Debug)]
pub(super) struct PoolForm {
    pub name: Spanned<String>,
    pub steer: Steer,
    pub ttl: Option<Spanned<TtlBounds>>,
    /// Its part of each of its datacenters, as a fraction.
    pub capacity: Option<Spanned<f64>>,
    pub answers: u8,
    pub check: Option<Spanned<String>>,
    pub min_healthy: Option<Spanned<u16>>,
    pub when_all_down: WhenAllDownForm,
    pub members: Vec<MemberForm>,
    /// The array of members, or the pool if there is none.
    pub members_span: std::ops::Range<usize>,
}

#[derive(Debug)]
pub(super) enum WhenAllDownForm {
    AnswerAll,
    NoData,
    Pool(Spanned<String>),
}

#[derive(Debug)]
pub(super) struct MemberForm {
    pub span: std::ops::Range<usize>,
    pub datacenter: Option<Spanned<String>>,
    pub target: Option<TargetForm>,
    pub weight: u32,
    /// Empty: the addresses themselves are probed.
    pub probe: Vec<Spanned<ProbeAddress>>,
}

#[derive(Debug)]
pub(super) enum TargetForm {
    Addresses(Vec<Spanned<IpAddr>>),
    /// Relative to the origin unless it ends in a dot.
    Cname(Spanned<String>),
}

/// Where a probe is sent, if not to the address that is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProbeAddress {
    pub address: IpAddr,
    /// None: the check's.
    pub port: Option<u16>,
}

#[derive(Debug)]
pub(super) struct NameForm {
    /// As written: relative to the origin, or `@`.
    pub owner: Spanned<String>,
    /// Whether the addresses behind `cname` members are answered; none: at the origin alone.
    pub flatten: Option<Spanned<bool>>,
    pub rules: Vec<RuleForm>,
}

#[derive(Debug)]
pub(super) struct RuleForm {
    pub span: std::ops::Range<usize>,
    pub matches: Match,
    pub pool: Option<Spanned<String>>,
}

const DEFAULT_ZONE_TTL: u32 = 300;
/// Of a pool that gives none, in seconds.
pub(super) const DEFAULT_POOL_TTL: u32 = 30;

const STEERS: [(&str, Steer); 6] = [
    ("capacity", Steer::Capacity),
    ("nearest", Steer::Nearest),
    ("weighted", Steer::Weighted),
    ("round-robin", Steer::RoundRobin),
    ("failover", Steer::Failover),
    ("hash", Steer::Hash),
];

/// Reads the whole file.
pub(super) fn read(mut root: Table<'_>) -> ZoneForm {
    let origin = root.require("origin", "\"example.com.\"");
    let origin = origin.and_then(|value| value.name());
    let ttl = root.take("ttl").and_then(|value| value.ttl()).unwrap_or(DEFAULT_ZONE_TTL);
    let records = root.take("records").and_then(|value| value.text());
    let records_file = root.take("records_file").and_then(|value| value.path());
    let primaries = root.take("primary").map(|value| peer::read_all(&value)).unwrap_or_default();
    let reader = root.reader();
    let read_check = |(name, value): (Spanned<String>, Value<'_>)| {
        check_label(reader, &name);
        let title = format!("[checks.{}]", name.get_ref());
        let form = value.table(&title).and_then(check::read);
        (name, form)
    };
    let checks = root.named("checks").into_iter().map(read_check).collect();
    let pools = root.named("pools").into_iter().map(|(name, v)| read_pool(name, &v)).collect();
    let names = root.named("names").into_iter().map(|(name, v)| read_name(name, &v)).collect();
    let transfer = root.table("transfer", "[transfer]").map(transfer::read);
    root.finish();
    ZoneForm { origin, ttl, records, records_file, primaries, checks, pools, names, transfer }
}

fn read_pool(name: Spanned<String>, value: &Value<'_>) -> PoolForm {
    let mut pool = PoolForm {
        steer: Steer::RoundRobin,
        ttl: None,
        capacity: None,
        answers: 1,
        check: None,
        min_healthy: None,
        when_all_down: WhenAllDownForm::AnswerAll,
        members: Vec::new(),
        members_span: value.span(),
        name,
    };
    let title = format!("[pools.{}]", pool.name.get_ref());
    let Some(mut table) = value.table(&title) else { return pool };
    check_label(table.reader(), &pool.name);
    let steer = table.require("steer", "\"capacity\"").and_then(|value| value.word(&STEERS, &[]));
    pool.steer = steer.unwrap_or(pool.steer);
    pool.ttl =
        table.take("ttl").and_then(|value| Some(Spanned::new(value.span(), value.ttl_bounds()?)));
    if let Some(value) = table.take("capacity") {
        pool.capacity = read_capacity(&value, steer);
    }
    let answers = table.take("answers").and_then(|value| value.integer(1..=MAX_ANSWERS as u8));
    pool.answers = answers.unwrap_or(pool.answers);
    pool.check = table.take("check").and_then(|value| value.text());
    pool.min_healthy = table
        .take("min_healthy")
        .and_then(|value| Some(Spanned::new(value.span(), value.integer(1..=u16::MAX)?)));
    if let Some(value) = table.take("when_all_down") {
        pool.when_all_down = read_when_all_down(&value).unwrap_or(WhenAllDownForm::AnswerAll);
    }
    if let Some(value) = table.require("members", "[{ datacenter = \"…\", addresses = [\"…\"] }]")
    {
        let items = value.items();
        if items.as_ref().is_some_and(Vec::is_empty) {
            let error = value.error(format!("{title} has no members"));
            value.reject::<()>(error.label("expected at least one"));
        }
        pool.members_span = value.span();
        pool.members = items.iter().flatten().filter_map(read_member).collect();
    }
    table.finish();
    pool
}

/// A pool's part of each of its datacenters; `steer` is known unless it was refused.
fn read_capacity(value: &Value<'_>, steer: Option<Steer>) -> Option<Spanned<f64>> {
    if steer.is_some_and(|steer| steer != Steer::Capacity) {
        let error = value.error("`capacity` has no meaning in this pool");
        return value.reject(error.label("only for pools with `steer = \"capacity\"`"));
    }
    Some(Spanned::new(value.span(), value.percentage(1.0..=100.0)?))
}

fn read_when_all_down(value: &Value<'_>) -> Option<WhenAllDownForm> {
    if value.is_table() {
        let mut table = value.table("`when_all_down`")?;
        let pool = table.require("pool", "\"sorry\"").and_then(|value| value.text());
        table.finish();
        return pool.map(WhenAllDownForm::Pool);
    }
    let answer_all = value.word(&[("answer-all", true), ("no-data", false)], &[])?;
    Some(if answer_all { WhenAllDownForm::AnswerAll } else { WhenAllDownForm::NoData })
}

fn read_member(value: &Value<'_>) -> Option<MemberForm> {
    let mut table = value.table("a member")?;
    let datacenter = table.require("datacenter", "\"fra\"").and_then(|value| value.text());
    let addresses = table.take("addresses");
    let cname = table.take("cname");
    let target = match (addresses, cname) {
        (Some(addresses), None) => Some(TargetForm::Addresses(read_addresses(&addresses))),
        (None, Some(cname)) => cname.filled_text().map(TargetForm::Cname),
        (Some(_), Some(cname)) => {
            let error = cname.error("a member has either `addresses` or `cname`, not both");
            cname.reject(error.label("remove one of them"))
        }
        (None, None) => {
            let error = table.error("a member lacks what to answer");
            let error = error.label("expected `addresses` or `cname`");
            table.reader().report(error.help("add `addresses = [\"203.0.113.10\"]`"));
            None
        }
    };
    let weight = table.take("weight").and_then(|value| value.integer(0..=MOST_WEIGHT)).unwrap_or(1);
    let probe = table.take("probe").map(|value| value.one_or_more()).unwrap_or_default();
    let probe = probe.iter().filter_map(read_probe_address).collect();
    table.finish();
    Some(MemberForm { span: value.span(), datacenter, target, weight, probe })
}

fn read_addresses(value: &Value<'_>) -> Vec<Spanned<IpAddr>> {
    let items = value.one_or_more();
    if items.is_empty() {
        let error = value.error("a member has no addresses");
        value.reject::<()>(error.label("expected at least one"));
    }
    let mut addresses: Vec<Spanned<IpAddr>> = Vec::new();
    for item in &items {
        let Some(address) = item.parsed::<IpAddr>("an IPv4 or IPv6 address") else { continue };
        if let Some(reason) = unanswerable(*address.get_ref()) {
            let error = item.error(format!("`{}` cannot be answered", address.get_ref()));
            item.reject::<()>(error.label(reason));
        } else if addresses.iter().any(|other| other.get_ref() == address.get_ref()) {
            item.reject::<()>(item.error("the address is given twice").label("remove it"));
        } else {
            addresses.push(address);
        }
    }
    addresses
}

fn read_probe_address(value: &Value<'_>) -> Option<Spanned<ProbeAddress>> {
    let text = value.text()?;
    let given = text.get_ref();
    let with_port = given.parse::<std::net::SocketAddr>().ok().filter(|to| to.port() != 0);
    let probe = match with_port {
        Some(to) => Some(ProbeAddress { address: to.ip(), port: Some(to.port()) }),
        None => given.parse().ok().map(|address| ProbeAddress { address, port: None }),
    };
    match probe {
        Some(probe) => Some(Spanned::new(text.span(), probe)),
        None => value.unreadable(given, "an address, with a port or without: \"10.1.0.2:8080\""),
    }
}

fn read_name(owner: Spanned<String>, value: &Value<'_>) -> NameForm {
    let mut name = NameForm { rules: Vec::new(), flatten: None, owner };
    let title = format!("[names.{}]", name.owner.get_ref());
    let Some(mut table) = value.table(&title) else { return name };
    let pool = table.take("pool");
    let rules = table.take("rules");
    name.flatten =
        table.take("flatten").and_then(|value| Some(Spanned::new(value.span(), value.boolean()?)));
    match (pool, rules) {
        (Some(pool), None) => {
            let (span, matches) = (pool.span(), Match::default());
            name.rules.push(RuleForm { span, matches, pool: pool.text() });
        }
        (None, Some(rules)) => {
            let items = rules.items();
            if items.as_ref().is_some_and(Vec::is_empty) {
                let error = rules.error(format!("{title} has no rules"));
                rules.reject::<()>(error.label("expected at least one, or `pool` instead"));
            }
            name.rules = items.iter().flatten().filter_map(read_rule).collect();
        }
        (Some(_), Some(rules)) => {
            let error = rules.error(format!("{title} has both `pool` and `rules`"));
            rules.reject::<()>(error.label("make the pool the last rule: `{ pool = \"…\" }`"));
        }
        (None, None) => {
            let error = table.error(format!("{title} lacks what decides"));
            let error = error.label("expected `pool` or `rules`");
            table.reader().report(error.help("add `pool = \"…\"`"));
        }
    }
    table.finish();
    name
}

fn read_rule(value: &Value<'_>) -> Option<RuleForm> {
    let mut table = value.table("a rule")?;
    let matches = table.table("match", "`match`").map(read_match).unwrap_or_default();
    let pool = table.require("pool", "\"…\"").and_then(|value| value.text());
    table.finish();
    Some(RuleForm { span: value.span(), matches, pool })
}

fn read_match(mut table: Table<'_>) -> Match {
    let names = |value: &Value<'_>| Some(value.filled_text()?.into_inner().into_boxed_str());
    let matches = Match {
        continent: values(&mut table, "continent", continent),
        country: values(&mut table, "country", country),
        region: values(&mut table, "region", names),
        city: values(&mut table, "city", names),
        asn: values(&mut table, "asn", |value| asn(value)),
        network: values(&mut table, "network", prefix),
        tag: values(&mut table, "tag", names),
        resolver: values(&mut table, "resolver", prefix),
    };
    table.finish();
    matches
}

/// One or more values under a key; an empty list would match nobody.
fn values<'r, T>(
    table: &mut Table<'r>,
    key: &'static str,
    read: impl Fn(&Value<'r>) -> Option<T>,
) -> Box<[T]> {
    let Some(value) = table.take(key) else { return Box::default() };
    let items = value.one_or_more();
    if items.is_empty() {
        let error = value.error(format!("`{key}` is empty, so that the rule matches nobody"));
        value.reject::<()>(error.label("expected at least one value, or no such key"));
    }
    items.iter().filter_map(read).collect()
}

/// The number of an autonomous system.
pub(super) fn asn(value: &Value<'_>) -> Option<u32> {
    if !value.is_integer()
        && let Some(text) = value.as_text()
        && let Some(number) = text.trim_start_matches(['A', 'S', 'a', 's']).parse::<u32>().ok()
    {
        let error = value.error(format!("`{}` is a string", value.key()));
        return value.reject(error.label("expected a number").help(format!("write {number}")));
    }
    value.integer(1..=u32::MAX)
}

/// A prefix whose host bits are zero; a single address is a prefix of its full length.
pub(super) fn prefix(value: &Value<'_>) -> Option<IpNet> {
    let text = value.text()?;
    let given = text.get_ref();
    if let Ok(address) = given.parse::<IpAddr>() {
        return Some(IpNet::from(address));
    }
    let Ok(prefix) = given.parse::<IpNet>() else {
        return value
            .unreadable(given, "a prefix, such as \"198.51.100.0/24\" or \"2001:db8::/32\"");
    };
    if prefix.trunc() != prefix {
        let error = value.error(format!("`{given}` has bits set beyond its length"));
        return value.reject(error.label(format!("did you mean \"{}\"?", prefix.trunc())));
    }
    Some(prefix)
}
