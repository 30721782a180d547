//! An explanation in words, a line a step.

use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};

use super::plan::{amount, percent};
use super::{columns, count};
use crate::admin::explain::{Explained, Link, Outcome};
use crate::admin::records::Record;
use crate::decide::explain::{
    AnswerStep, Explanation, GroupStep, MemberStep, NameStep, PoolStep, RuleOutcome, RuleStep,
    Verdict,
};
use crate::decide::{Room, Standing, Steer};
use crate::geo::Location;

/// The whole explanation.
pub fn explained(explained: &Explained) -> String {
    let Explained { name, rtype, client, resolver, note, links } = explained;
    let mut text = match client {
        Some(client) => format!("{name} {rtype} for a client in {client}, asked by {resolver}\n"),
        None => format!("{name} {rtype}, asked by {resolver} without a client subnet\n"),
    };
    if let Some(note) = note {
        let _ = writeln!(text, "note      {note}");
    }
    for link in links {
        text.push('\n');
        text.push_str(&link_text(link, rtype));
    }
    text
}

/// A label and what it is about; further lines stand under the first.
fn step(label: &str, lines: &str) -> String {
    let mut text = String::new();
    for (index, line) in lines.lines().enumerate() {
        let label = if index == 0 { label } else { "" };
        let _ = writeln!(text, "{}", format!("{label:10}{line}").trim_end());
    }
    text
}

fn link_text(link: &Link, rtype: &str) -> String {
    let name = &link.name;
    let mut text = step("name", name);
    if let Some(zone) = &link.zone {
        text += &step("zone", zone);
    }
    text += &match &link.outcome {
        Outcome::Refused => step("answer", "REFUSED: no zone here covers the name"),
        Outcome::NoZoneData { has_expired } => {
            let why = match has_expired {
                true => "the primary has not been heard of for longer than the SOA record allows",
                false => "the primary has not sent the zone yet",
            };
            step("answer", &format!("SERVFAIL: {why}"))
        }
        Outcome::Records { records } => step("answer", "the same for everybody") + &listed(records),
        Outcome::Cname { records } => {
            step("answer", "a CNAME, the same for everybody") + &listed(records)
        }
        Outcome::Dname { records, is_too_long } => {
            let answer = match is_too_long {
                true => "YXDOMAIN: a DNAME record above makes the name too long",
                false => "a CNAME that a DNAME record above makes, the same for everybody",
            };
            step("answer", answer) + &listed(records)
        }
        Outcome::Any => step("answer", "a minimal one, as ANY is asked (RFC 8482)"),
        Outcome::NoData => step("answer", &format!("no data: the name has no {rtype} records")),
        Outcome::NameError => step("answer", "NXDOMAIN: the name does not exist"),
        Outcome::Referral { name_servers, glue } => {
            step("answer", "a referral: another zone begins here")
                + &listed(name_servers)
                + &listed(glue)
        }
        Outcome::ChainTooLong => step("answer", "none: the chain of CNAMEs is too long"),
        Outcome::Steered { decision } => decided(decision),
        Outcome::Hinted { records, decisions } => {
            let hints = decisions.iter().map(|decision| match &decision.answer.rtype[..] {
                // What leads to it was told with A.
                "AAAA" => answer_text(decision),
                _ => decided(decision),
            });
            step("answer", "with address hints that are decided as A and AAAA are")
                + &listed(records)
                + &hints.collect::<String>()
        }
    };
    text
}

fn listed(records: &[Record]) -> String {
    let row = |record: &Record| {
        let Record { owner, ttl, rtype, data } = record;
        vec![owner.clone(), ttl.to_string(), rtype.clone(), data.clone()]
    };
    columns(10, &records.iter().map(row).collect::<Vec<_>>())
}

fn decided(decision: &Explanation) -> String {
    let Explanation { address, location, location_prefix, rules, pools, .. } = decision;
    let place = place(location);
    let mut text = step("location", &format!("{address} is in {place}; so is {location_prefix}"));
    if location == &Location::default() {
        text =
            step("location", &format!("nothing is known of {address}, nor of {location_prefix}"));
    }
    for (index, rule) in rules.iter().enumerate() {
        text += &step("rule", &rule_text(index, rule));
    }
    let last = pools.len().saturating_sub(1);
    for (index, pool) in pools.iter().enumerate() {
        text += &pool_text(pool, index == last && decision.failed_open);
    }
    text + &answer_text(decision)
}

fn place(location: &Location) -> String {
    let mut parts: Vec<String> = Vec::new();
    parts.extend(location.city.iter().chain(&location.region).map(ToString::to_string));
    parts.extend(location.country.iter().chain(&location.continent).map(ToString::to_string));
    parts.extend(location.asn.map(|asn| format!("AS{asn}")));
    parts.extend(location.tags.iter().map(|tag| format!("tag {tag}")));
    if let Some(at) = location.coordinates {
        parts.push(format!("at {:.2}, {:.2}", at.latitude, at.longitude));
    }
    parts.join(", ")
}

fn rule_text(index: usize, rule: &RuleStep) -> String {
    let RuleStep { matches, pool, outcome } = rule;
    let outcome = match outcome {
        RuleOutcome::Chosen => "holds: chosen".into(),
        RuleOutcome::Mismatch(key) => format!("does not hold: {key} differs"),
        RuleOutcome::PoolDown => "holds, but its pool is down".into(),
        RuleOutcome::LastResort => {
            "holds; its pool is down, and no other pool is up: what it does then is done".into()
        }
        RuleOutcome::NotReached => "not reached".into(),
    };
    format!("{}. {matches} → {pool}: {outcome}", index + 1)
}

fn pool_text(pool: &PoolStep, failed_open: bool) -> String {
    let state = match (pool.up, failed_open) {
        (true, _) => "up",
        (false, true) => "down, answers as if all were up",
        (false, false) => "down",
    };
    let how = if pool.group.is_some() { "by the plan" } else { steer(pool.steer) };
    let line = format!(
        "{} of {} ({how}) is {state}: {} of {} may be answered, {} needed",
        pool.pool,
        pool.zone,
        pool.fit,
        count(pool.members.len(), "member"),
        pool.min_healthy,
    );
    let rows: Vec<_> = pool.members.iter().map(|member| member_row(pool.steer, member)).collect();
    let group = pool.group.as_ref().map(|group| step("group", &group_text(group)));
    group.unwrap_or_default() + &step("pool", &line) + &columns(10, &rows)
}

fn group_text(group: &GroupStep) -> String {
    let GroupStep { name, parts, demand } = group;
    let demand = demand.map(|demand| format!("; its demand is {}", amount(demand)));
    let parts = parts.iter().map(|(datacenter, share)| match parts.len() {
        1 => datacenter.clone(),
        _ => format!("{datacenter} {}", percent(*share)),
    });
    let parts = parts.collect::<Vec<_>>().join(", ");
    format!("{name} is given to {parts}{}", demand.unwrap_or_default())
}

fn steer(steer: Steer) -> &'static str {
    match steer {
        Steer::Capacity => "the nearest with room",
        Steer::Nearest => "the nearest",
        Steer::Weighted => "drawn by weight for each query",
        Steer::RoundRobin => "each in turn",
        Steer::Failover => "the first that is up",
        Steer::Hash => "drawn by the client's prefix",
    }
}

/// Of what is known of a member, what its pool's way of choosing looks at.
fn member_row(steer: Steer, member: &MemberStep) -> Vec<String> {
    let mut row = vec![member.datacenter.clone(), verdict(member.verdict).into()];
    if matches!(steer, Steer::Capacity | Steer::Nearest) {
        row.push(match (member.distance_km, member.biased_km) {
            (Some(km), Some(biased)) => format!("{km:.0} km, with its bias {biased:.0} km"),
            (Some(km), None) => format!("{km:.0} km"),
            (None, _) => "distance unknown".into(),
        });
    }
    if matches!(steer, Steer::Capacity) {
        row.push(match member.room {
            Room::Free => "has room".into(),
            Room::Full => "full".into(),
            Room::Unknown => "no live report".into(),
        });
    }
    if let Some(cost) = member.cost_ms {
        let price = member.price_ms.map(|price| format!(" and a price of {price:.1} ms"));
        row.push(format!("{cost:.1} ms{}", price.unwrap_or_default()));
    }
    if matches!(steer, Steer::Weighted | Steer::Hash) {
        row.push(format!("weight {}", member.weight));
    }
    // The other words of the operator are verdicts.
    let standing = if member.standing == Standing::ForcedUp { "forced up; " } else { "" };
    let health = |up: &bool| if *up { "up" } else { "down" };
    let targets = member.targets.iter().map(|(target, up)| format!("{target} {}", health(up)));
    let behind = member.behind.as_ref();
    let behind =
        behind.map(|behind| name_text(behind, !member.targets.is_empty())).unwrap_or_default();
    row.push(format!("{standing}{behind}{}", targets.collect::<Vec<_>>().join(", ")));
    row
}

/// What a name is that is answered with its addresses, before these.
fn name_text(behind: &NameStep, has_addresses: bool) -> String {
    let NameStep { name, resolved_at, is_stale } = behind;
    let Some(at) = resolved_at else { return format!("{name}, not resolved") };
    let at = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(*at));
    let stale = if *is_stale { ", stale since then" } else { "" };
    let what = if has_addresses { ": " } else { ", no addresses" };
    format!("{name}, resolved {at}{stale}{what}")
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Chosen => "chosen",
        Verdict::Down => "passed over: its checks fail",
        Verdict::ForcedDown => "passed over: forced down by the operator",
        Verdict::Drained => "passed over: drained by the operator or its agent",
        Verdict::NoWeight => "passed over: its weight is 0",
        Verdict::Unresolved => "passed over: no addresses of its name are known",
        Verdict::Full => "passed over: full",
        Verdict::NoLiveReport => "passed over: no live report of its load",
        Verdict::Farther => "passed over: another is nearer",
        Verdict::NotPlanned => "passed over: the plan gives the group to others",
        Verdict::Later => "passed over: another stands before it",
        Verdict::NotDrawn => "passed over: another was drawn",
        Verdict::PoolNotUsed => "not asked: its pool does not answer",
    }
}

fn answer_text(decision: &Explanation) -> String {
    let AnswerStep { rtype, records, is_cname, ttl, is_stale, is_unknown, scope } =
        &decision.answer;
    let within = if scope.prefix_len() == 0 { String::new() } else { format!(" in {scope}") };
    if *is_unknown {
        let why = "the addresses behind the names in the pool are not known";
        return step("answer", &format!("SERVFAIL: {why}"));
    }
    if records.is_empty() {
        let whom = format!("the same for everybody{within}");
        return step("answer", &format!("no data: nothing of type {rtype}; {whom}"));
    }
    let rtype = if *is_cname { "CNAME" } else { rtype };
    let lines = records.iter().map(|record| format!("{rtype} {record}"));
    let what = lines.collect::<Vec<_>>().join(", ");
    // The pool that answers is the last.
    let is_drawn = decision.pools.last().is_some_and(|pool| {
        matches!(pool.steer, Steer::Weighted | Steer::RoundRobin) && pool.fit != 1
    });
    let whom = if is_drawn { "drawn anew for each query" } else { "the same for everybody" };
    let stale = if *is_stale { ", stale" } else { "" };
    step("answer", &format!("{what}; TTL {ttl} s{stale}; {whom}{within}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(steer: Steer, fit: usize, records: &[&str]) -> String {
        let address = "203.0.113.7".parse().unwrap();
        let pool = PoolStep {
            zone: "example.com.".into(),
            pool: "web".into(),
            steer,
            fit,
            min_healthy: 1,
            up: true,
            group: None,
            members: Vec::new(),
        };
        answer_text(&Explanation {
            address,
            resolver: address,
            location: Location::default(),
            location_prefix: "203.0.113.0/24".parse().unwrap(),
            rules: Vec::new(),
            pools: vec![pool],
            failed_open: false,
            answer: AnswerStep {
                rtype: "A".into(),
                records: records.iter().map(ToString::to_string).collect(),
                is_cname: false,
                ttl: 30,
                is_stale: false,
                is_unknown: false,
                scope: "203.0.113.0/24".parse().unwrap(),
            },
        })
    }

    #[test]
    fn a_group_is_told_with_its_shares() {
        let parts = vec![("fra".into(), 0.75), ("iad".into(), 0.25)];
        let mut group = GroupStep { name: "US/CA".into(), parts, demand: Some(1250.0) };
        let told = "US/CA is given to fra 75 %, iad 25 %; its demand is 1,250";
        assert_eq!(group_text(&group), told);
        group.parts.truncate(1);
        group.demand = None;
        assert_eq!(group_text(&group), "US/CA is given to fra");
    }

    #[test]
    fn an_answer_says_for_whom_it_holds() {
        let one = ["198.51.100.1"];
        let said = |steer, fit| answered(steer, fit, &one).trim_end().to_owned();
        let the_same =
            "answer    A 198.51.100.1; TTL 30 s; the same for everybody in 203.0.113.0/24";
        let drawn =
            "answer    A 198.51.100.1; TTL 30 s; drawn anew for each query in 203.0.113.0/24";
        assert_eq!(
            (said(Steer::Nearest, 2), said(Steer::Hash, 2)),
            (the_same.into(), the_same.into())
        );
        assert_eq!(
            (said(Steer::Weighted, 2), said(Steer::RoundRobin, 3)),
            (drawn.into(), drawn.into())
        );
        assert_eq!(said(Steer::Weighted, 1), the_same);
        assert_eq!(
            answered(Steer::Weighted, 2, &[]),
            "answer    no data: nothing of type A; the same for everybody in 203.0.113.0/24\n"
        );
    }
}
