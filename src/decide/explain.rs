//! A decision told step by step: which rules held, which pool answered, and why each member was
//! chosen or passed over. It is made from the pieces that charts are made from.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use super::choose::{Choice, Client, Decision};
use super::plan::{Holding, PassedOver, Plan, choose_pool};
use super::{
    Chart, Facts, GroupId, Match, Member, Part, Policy, PolicyId, Pool, Resolved, Room, Standing,
    Steer, Target,
};
use crate::dns::Rtype;
use crate::geo::Location;

/// A decision told step by step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// The address that stands for the client: the first of its subnet, else the resolver's.
    pub address: IpAddr,
    /// Who asked.
    pub resolver: IpAddr,
    /// What is known of where the client is.
    pub location: Location,
    /// The widest prefix around the client that is there as a whole.
    pub location_prefix: IpNet,
    /// The rules in order.
    pub rules: Vec<RuleStep>,
    /// The pools that were looked at, the one that answers last.
    pub pools: Vec<PoolStep>,
    /// True when nothing is up and the pool answers as if it were.
    pub failed_open: bool,
    /// What is answered.
    pub answer: AnswerStep,
}

/// One rule of the policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleStep {
    /// For whom it is, in the words of the file.
    pub matches: String,
    /// The pool it leads to.
    pub pool: String,
    /// What came of it.
    pub outcome: RuleOutcome,
}

/// What came of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "key")]
pub enum RuleOutcome {
    /// It holds, and its pool answers.
    Chosen,
    /// It does not hold: the key that does not match.
    Mismatch(&'static str),
    /// It holds, but its pool is down.
    PoolDown,
    /// It holds and its pool is down, as are those of all other rules that hold: what it does then
    /// is done.
    LastResort,
    /// An earlier rule was chosen.
    NotReached,
}

/// One pool.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PoolStep {
    /// The zone whose file defines it.
    pub zone: String,
    /// Its name.
    pub pool: String,
    /// How it chooses.
    pub steer: Steer,
    /// How many members may be answered.
    pub fit: usize,
    /// How many it needs.
    pub min_healthy: u16,
    /// True when it has enough.
    pub up: bool,
    /// What the plan gives to the client's group; none: the pool follows no plan.
    pub group: Option<GroupStep>,
    /// Its members, those that were chosen first, then in the order of preference.
    pub members: Vec<MemberStep>,
}

/// A client group in the plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupStep {
    /// Its name.
    pub name: String,
    /// The datacenters that share it, and what part each has, as a fraction.
    pub parts: Vec<(String, f64)>,
    /// What it is expected to offer, in units of load; none: not known here.
    pub demand: Option<f64>,
}

/// One member of a pool.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MemberStep {
    /// Where it is.
    pub datacenter: String,
    /// The great-circle distance from the client, in kilometres.
    pub distance_km: Option<f64>,
    /// The same with the datacenter's bias, if it has one.
    pub biased_km: Option<f64>,
    /// Its share among its equals.
    pub weight: u32,
    /// Whether its datacenter has room.
    pub room: Room,
    /// What it costs to serve the client's group there, in milliseconds; none: not known here.
    pub cost_ms: Option<f64>,
    /// What a unit more of load costs there by the plan, in milliseconds; none: not known here.
    pub price_ms: Option<f64>,
    /// The operator's word.
    pub standing: Standing,
    /// Its addresses, or the name its CNAME points to, each with whether it is up.
    pub targets: Vec<(String, bool)>,
    /// The name that its addresses stand behind; none: they are its own, or the answer is a CNAME.
    pub behind: Option<NameStep>,
    /// What came of it.
    pub verdict: Verdict,
}

/// A name that is answered with its addresses.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NameStep {
    /// The name.
    pub name: String,
    /// When it was resolved: seconds since 1970 (UTC); none: nothing is known of its addresses.
    pub resolved_at: Option<u64>,
    /// True when they are older than their TTL, and nothing newer is to be had (RFC 8767).
    pub is_stale: bool,
}

/// What came of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It is in the answer.
    Chosen,
    /// Its probes say that it is down.
    Down,
    /// The operator says that it is down.
    ForcedDown,
    /// The operator drains it.
    Drained,
    /// Its weight is 0.
    NoWeight,
    /// It is a name, and no addresses of it are known.
    Unresolved,
    /// It has no room.
    Full,
    /// It has no live report, so that its room is not known.
    NoLiveReport,
    /// Another is nearer.
    Farther,
    /// The plan gives the client's group to others.
    NotPlanned,
    /// Another stands before it in the file.
    Later,
    /// Another was drawn, by chance or by the client's prefix.
    NotDrawn,
    /// Its pool does not answer.
    PoolNotUsed,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AnswerStep {
    /// The type asked for.
    pub rtype: String,
    /// Addresses, or the name a CNAME points to.
    pub records: Vec<String>,
    /// True when the answer is a CNAME.
    pub is_cname: bool,
    /// In seconds.
    pub ttl: u32,
    /// True when some of the records are older than their TTL.
    pub is_stale: bool,
    /// True when there are no records, but neither is it known that there are none.
    pub is_unknown: bool,
    /// The widest prefix around the client within which every client is decided alike.
    pub scope: IpNet,
}

/// Tells how `policy` decides for `client`. `chart` must have been made from the same facts.
pub fn explain(
    policy: PolicyId,
    client: &Client,
    rtype: Rtype,
    chart: &Chart,
    facts: &Facts,
) -> Explanation {
    let policy = &facts.steering.policies[policy.0 as usize];
    let decision = chart.decide(client, rtype);
    let asked_for = client.address;
    let (client, mapped_len) = &client.canonical();
    let (location_id, prefix_len) = facts.world.locate(client.address);
    let location = facts.world.location(location_id);
    let here: Vec<bool> = policy
        .rules
        .iter()
        .map(|rule| {
            rule.matches.location_mismatch(location).is_none()
                && rule.matches.network_holds(client.address)
        })
        .collect();
    let resolver: Vec<bool> =
        policy.rules.iter().map(|rule| rule.matches.resolver_holds(client.resolver)).collect();
    let holding = Holding { here: &here, resolver: &resolver };
    let choice = choose_pool(policy, holding, facts);

    let chosen_rule = choice.as_ref().map(|choice| choice.rule);
    let answers = choice.as_ref().and_then(|choice| choice.pool);
    let by_rule = choice.as_ref().is_some_and(|choice| choice.fallbacks.is_empty());
    let failed_open = choice.as_ref().is_some_and(|choice| choice.failed_open);
    let rules = rule_steps(
        policy,
        chosen_rule,
        by_rule && !failed_open && answers.is_some(),
        holding,
        client,
        location,
        facts,
    );

    let mut looked_at: Vec<_> = Vec::new();
    if let Some(choice) = &choice {
        let tried = (0..policy.rules.len())
            .filter(|&rule| holding.rule(rule) && (rule <= choice.rule || failed_open))
            .map(|rule| policy.rules[rule].pool);
        looked_at.extend(tried.chain(choice.fallbacks.iter().copied()));
        looked_at.retain(|pool| Some(*pool) != answers);
        looked_at.dedup();
        looked_at.extend(answers);
    }
    let group = facts.groups.group_of(facts.world, client.address);
    let plan = Plan::new(policy, holding, location, group, facts);
    let pools = looked_at
        .into_iter()
        .map(|id| {
            let used = (Some(id) == answers).then_some((&plan, &decision));
            let part = facts.allotment(id).and_then(|allotment| allotment.part(group));
            let planned = part.map(|part| (group, part));
            pool_step(facts.pool(id), used, planned, location, facts)
        })
        .collect();
    Explanation {
        address: asked_for,
        resolver: client.resolver,
        location: location.clone(),
        location_prefix: prefix(asked_for, mapped_len + prefix_len),
        rules,
        pools,
        failed_open,
        answer: answer_step(&decision, asked_for, rtype),
    }
}

fn rule_steps(
    policy: &Policy,
    chosen: Option<usize>,
    pool_is_up: bool,
    holding: Holding,
    client: &Client,
    location: &Location,
    facts: &Facts,
) -> Vec<RuleStep> {
    let outcome = |index: usize, matches: &Match| {
        if let Some(key) = matches.location_mismatch(location) {
            RuleOutcome::Mismatch(key)
        } else if !matches.network_holds(client.address) {
            RuleOutcome::Mismatch("network")
        } else if !holding.resolver[index] {
            RuleOutcome::Mismatch("resolver")
        } else if chosen == Some(index) {
            if pool_is_up { RuleOutcome::Chosen } else { RuleOutcome::LastResort }
        } else if pool_is_up && chosen.is_some_and(|chosen| chosen < index) {
            RuleOutcome::NotReached
        } else {
            RuleOutcome::PoolDown
        }
    };
    let steps = policy.rules.iter().enumerate().map(|(index, rule)| RuleStep {
        matches: rule.matches.to_string(),
        pool: facts.pool(rule.pool).title().into_owned(),
        outcome: outcome(index, &rule.matches),
    });
    steps.collect()
}

/// `used`: the plan and what was answered, when this pool answers; `planned`: the client's group and
/// what it is given.
fn pool_step(
    pool: &Pool,
    used: Option<(&Plan, &Decision)>,
    planned: Option<(GroupId, &Part)>,
    location: &Location,
    facts: &Facts,
) -> PoolStep {
    let steps = pool.members.iter().enumerate().map(|(index, member)| {
        let rank = used.and_then(|(plan, _)| {
            plan.candidates.iter().position(|candidate| usize::from(candidate.member) == index)
        });
        let in_answer = used.is_some_and(|(_, decision)| is_in_answer(member, decision, facts))
            && rank.is_some();
        let verdict = match used {
            Some(_) if in_answer => Verdict::Chosen,
            Some((_, decision)) if has_lost(member, decision, facts) => Verdict::Down,
            _ => why_not(pool, index, used.is_some(), planned.map(|(_, part)| part), facts),
        };
        let step = member_step(member, verdict, location, facts);
        let place = planned.and_then(|(_, part)| {
            part.order.iter().position(|member| usize::from(*member) == index)
        });
        let distance = order_of_distance(pool, &step);
        let rank = rank.or(place).unwrap_or(usize::MAX);
        let order = (!in_answer, rank, distance, index);
        (order, step)
    });
    let mut steps: Vec<_> = steps.collect();
    steps.sort_by_key(|(order, _)| *order);
    let fit = pool.members.iter().filter(|member| member.passed_over(facts).is_none()).count();
    PoolStep {
        zone: pool.zone.to_string(),
        pool: pool.title().into_owned(),
        steer: pool.steer,
        fit,
        min_healthy: pool.min_healthy,
        up: pool.is_up(facts),
        group: planned.map(|(group, part)| group_step(pool, group, part, facts)),
        members: steps.into_iter().map(|(_, step)| step).collect(),
    }
}

fn group_step(pool: &Pool, group: GroupId, part: &Part, facts: &Facts) -> GroupStep {
    let total: f64 = part.weights.iter().map(|(_, weight)| f64::from(*weight)).sum();
    let parts = part.weights.iter().filter_map(|&(member, weight)| {
        let datacenter = pool.members.get(usize::from(member))?.datacenter;
        Some((facts.datacenter(datacenter).name.clone(), f64::from(weight) / total.max(1.0)))
    });
    let name = facts.groups.group(group).name.to_string();
    GroupStep { name, parts: parts.collect(), demand: None }
}

fn order_of_distance(pool: &Pool, step: &MemberStep) -> u64 {
    match pool.steer {
        Steer::Nearest | Steer::Capacity => {
            (step.biased_km.or(step.distance_km).unwrap_or(0.0) * 1e3) as u64
        }
        _ => 0,
    }
}

fn why_not(
    pool: &Pool,
    index: usize,
    used: bool,
    planned: Option<&Part>,
    facts: &Facts,
) -> Verdict {
    let member = &pool.members[index];
    match member.passed_over(facts) {
        Some(PassedOver::Down) => return Verdict::Down,
        Some(PassedOver::ForcedDown) => return Verdict::ForcedDown,
        Some(PassedOver::Drained) => return Verdict::Drained,
        Some(PassedOver::NoWeight) => return Verdict::NoWeight,
        Some(PassedOver::Unresolved) => return Verdict::Unresolved,
        None if !used => return Verdict::PoolNotUsed,
        None => {}
    }
    if let Some(part) = planned {
        return match part.weights.iter().any(|(given, _)| usize::from(*given) == index) {
            true => Verdict::NotDrawn,
            false => Verdict::NotPlanned,
        };
    }
    match (pool.steer, facts.shares.room(member.datacenter)) {
        (Steer::Capacity, Room::Full) => Verdict::Full,
        (Steer::Capacity, Room::Unknown) if room_is_known_somewhere(pool, facts) => {
            Verdict::NoLiveReport
        }
        (Steer::Capacity | Steer::Nearest, _) => Verdict::Farther,
        (Steer::Failover, _) => Verdict::Later,
        (Steer::Weighted | Steer::RoundRobin | Steer::Hash, _) => Verdict::NotDrawn,
    }
}

/// True when all of its addresses of the family that is answered are down.
fn has_lost(member: &Member, decision: &Decision, facts: &Facts) -> bool {
    if !matches!(facts.standing.of(member.id), Standing::Normal | Standing::Draining) {
        return false;
    }
    match (&member.target, &decision.choice) {
        (Target::Addresses { v4, .. }, Choice::V4(_)) => {
            !v4.is_empty() && v4.iter().all(|(_, probe)| !facts.health.is_up(*probe))
        }
        (Target::Addresses { v6, .. }, Choice::V6(_)) => {
            !v6.is_empty() && v6.iter().all(|(_, probe)| !facts.health.is_up(*probe))
        }
        (Target::Flattened { resolved, .. }, choice) => {
            match (facts.resolved.of(*resolved), choice) {
                (Some(Resolved { v4, .. }), Choice::V4(_)) => {
                    !v4.addresses.is_empty() && v4.addresses.iter().all(|(_, is_up)| !is_up)
                }
                (Some(Resolved { v6, .. }), Choice::V6(_)) => {
                    !v6.addresses.is_empty() && v6.addresses.iter().all(|(_, is_up)| !is_up)
                }
                _ => false,
            }
        }
        _ => false,
    }
}

fn room_is_known_somewhere(pool: &Pool, facts: &Facts) -> bool {
    pool.members.iter().any(|member| facts.shares.room(member.datacenter) == Room::Free)
}

fn member_step(
    member: &Member,
    verdict: Verdict,
    location: &Location,
    facts: &Facts,
) -> MemberStep {
    let datacenter = facts.datacenter(member.datacenter);
    let distance_km = datacenter.distance_km(location);
    let targets = match &member.target {
        Target::Addresses { v4, v6 } => {
            let v4 = v4.iter().map(|(a, probe)| (a.to_string(), facts.health.is_up(*probe)));
            let v6 = v6.iter().map(|(a, probe)| (a.to_string(), facts.health.is_up(*probe)));
            v4.chain(v6).collect()
        }
        Target::Cname { name, probe } => vec![(name.to_string(), facts.health.is_up(*probe))],
        Target::Flattened { resolved, probe, .. } => match facts.resolved.of(*resolved) {
            Some(Resolved { v4, v6, .. }) => {
                let all_up = facts.health.is_up(*probe);
                let v4 = v4.addresses.iter().map(|(a, is_up)| (a.to_string(), all_up && *is_up));
                let v6 = v6.addresses.iter().map(|(a, is_up)| (a.to_string(), all_up && *is_up));
                v4.chain(v6).collect()
            }
            None => Vec::new(),
        },
    };
    let behind = match &member.target {
        Target::Flattened { name, resolved, .. } => {
            let resolved = facts.resolved.of(*resolved);
            Some(NameStep {
                name: name.to_string(),
                resolved_at: resolved.map(|resolved| resolved.at),
                is_stale: resolved.is_some_and(Resolved::is_stale),
            })
        }
        Target::Addresses { .. } | Target::Cname { .. } => None,
    };
    MemberStep {
        datacenter: datacenter.name.clone(),
        distance_km,
        biased_km: (datacenter.bias != 0 && distance_km.is_some())
            .then(|| datacenter.effective_distance_km(location)),
        weight: member.weight,
        room: facts.shares.room(member.datacenter),
        cost_ms: None,
        price_ms: None,
        standing: facts.standing.of(member.id),
        targets,
        behind,
        verdict,
    }
}

fn is_in_answer(member: &Member, decision: &Decision, facts: &Facts) -> bool {
    match (&member.target, &decision.choice) {
        (Target::Addresses { v4, .. }, Choice::V4(chosen)) => {
            v4.iter().any(|(address, _)| chosen.contains(address))
        }
        (Target::Addresses { v6, .. }, Choice::V6(chosen)) => {
            v6.iter().any(|(address, _)| chosen.contains(address))
        }
        (Target::Cname { name, .. }, Choice::Cname(chosen)) => name == *chosen,
        (Target::Flattened { resolved, .. }, choice) => {
            facts.resolved.of(*resolved).is_some_and(|Resolved { v4, v6, .. }| match choice {
                Choice::V4(chosen) => v4.addresses.iter().any(|(a, _)| chosen.contains(a)),
                Choice::V6(chosen) => v6.addresses.iter().any(|(a, _)| chosen.contains(a)),
                Choice::Cname(_) | Choice::NoData => false,
            })
        }
        _ => false,
    }
}

fn answer_step(decision: &Decision, asked_for: IpAddr, rtype: Rtype) -> AnswerStep {
    let records = match &decision.choice {
        Choice::V4(chosen) => chosen.iter().map(ToString::to_string).collect(),
        Choice::V6(chosen) => chosen.iter().map(ToString::to_string).collect(),
        Choice::Cname(name) => vec![name.to_string()],
        Choice::NoData => Vec::new(),
    };
    AnswerStep {
        rtype: rtype.to_string(),
        records,
        is_cname: matches!(decision.choice, Choice::Cname(_)),
        ttl: decision.ttl,
        is_stale: decision.is_stale,
        is_unknown: decision.is_unknown,
        scope: prefix(asked_for, decision.scope),
    }
}

fn prefix(address: IpAddr, prefix_len: u8) -> IpNet {
    IpNet::new(address, prefix_len).map(|net| net.trunc()).unwrap_or_else(|_| address.into())
}
