//! The plan for a cell: which pool answers there, and its candidates in the order in which they
//! are preferred.

use std::net::{Ipv4Addr, Ipv6Addr};

use xxhash_rust::xxh3::xxh3_64;

use super::slate::slate_for;
use super::{
    DatacenterId, Facts, GroupId, HealthTable, Member, Policy, Pool, PoolId, Resolved,
    ResolvedTable, Standing, Target, Validity, WhenAllDown,
};
use crate::dns::{Name, Rtype};
use crate::geo::Location;

/// How many fallback pools are followed. Cycles are refused at load; this bounds what slips in.
const MAX_FALLBACKS: usize = 8;

/// What is answered to every client of a cell, up to draws and hashes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    /// The TTL, in seconds; 0 without records.
    pub ttl: u32,
    /// The most addresses an answer carries.
    pub answers: u8,
    /// How one of the candidates comes to be chosen.
    pub spread: Spread,
    /// The pool whose answers are written down: one that steers by capacity.
    pub pool: Option<PoolId>,
    /// Some of its addresses may be kept for a certain time only.
    pub is_bounded: bool,
    /// It has no candidates because its pool's members are names of which nothing is known: that there
    /// are no records is not known either.
    pub is_unknown: bool,
    /// In the order of preference; empty: no records.
    pub candidates: Box<[Candidate]>,
}

/// How one of the candidates comes to be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Spread {
    /// The first.
    Ordered,
    /// By a draw in proportion to the weights.
    Weighted,
    /// By a draw, all alike.
    Even,
    /// By the client's prefix, in proportion to the weights.
    Hash,
    /// So among the first ones; the others stand in for them in their order.
    Split {
        /// How many share the clients, at least 2.
        among: u16,
    },
}

/// A member that may be answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Its index in the pool.
    pub member: u16,
    /// Where it is.
    pub datacenter: DatacenterId,
    /// Its share among its equals, at least 1.
    pub weight: u32,
    /// Its place in rendezvous hashing: the same on every node and in every order of the file.
    pub seed: u64,
    /// The addresses that are up.
    pub v4: Box<[Ipv4Addr]>,
    /// The addresses that are up.
    pub v6: Box<[Ipv6Addr]>,
    /// It has IPv4 addresses, and none of them is up: IPv4 clients go on to the next candidate.
    pub lost_v4: bool,
    /// It has IPv6 addresses, and none of them is up: IPv6 clients go on to the next candidate.
    pub lost_v6: bool,
    /// How long its IPv4 addresses may be kept.
    pub validity_v4: Validity,
    /// How long its IPv6 addresses may be kept.
    pub validity_v6: Validity,
    /// Instead of addresses.
    pub cname: Option<Name>,
}

/// Why a member is no candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PassedOver {
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
}

/// Which rules hold: by location and network (of the cell), and by resolver.
#[derive(Clone, Copy, Debug)]
pub struct Holding<'a> {
    /// By the rule's index.
    pub here: &'a [bool],
    /// By the rule's index.
    pub resolver: &'a [bool],
}

impl Holding<'_> {
    /// True when the rule holds for this client.
    pub fn rule(&self, index: usize) -> bool {
        self.here[index] && self.resolver[index]
    }
}

/// Which pool answers, and with what.
#[derive(Clone, Debug)]
pub struct PoolChoice {
    /// The first rule that holds, and the one whose pool answers.
    pub rule: usize,
    /// The pools on the way from the rule's pool to the one that answers.
    pub fallbacks: Vec<PoolId>,
    /// The pool that answers; none: no records.
    pub pool: Option<PoolId>,
    /// True when the pool is down and answers as if it were up.
    pub failed_open: bool,
}

impl Plan {
    /// The plan for one place: the whole decision, but for draws and hashes.
    pub fn new(
        policy: &Policy,
        holding: Holding,
        location: &Location,
        group: GroupId,
        facts: &Facts,
    ) -> Plan {
        let Some((id, slate)) = slate_for(policy, holding, facts) else {
            return Plan::no_data();
        };
        if let Some(part) = facts.allotment(id).and_then(|allotment| allotment.part(group)) {
            return slate.plan_of(&slate.choose_for(part));
        }
        let pool = facts.pool(id);
        let members = match pool.steers_by_place() {
            true => pool.members_by_distance(facts.steering, location),
            false => pool.members_in_order().collect(),
        };
        let mut chosen = Vec::new();
        slate.choose(members.into_iter(), &mut chosen);
        slate.plan(&chosen)
    }

    /// No records.
    pub fn no_data() -> Plan {
        let (spread, candidates) = (Spread::Ordered, Box::default());
        let (is_bounded, is_unknown) = (false, false);
        Plan { ttl: 0, answers: 1, spread, pool: None, is_bounded, is_unknown, candidates }
    }

    /// The same plan without what makes no difference to its answers, which must not keep
    /// neighbours apart: where a candidate comes from, and its share where nothing is shared.
    pub fn simplified(mut self) -> Plan {
        if self.candidates.is_empty() {
            return Plan { is_unknown: self.is_unknown, ..Plan::no_data() };
        }
        if self.candidates.len() == 1 {
            self.spread = Spread::Ordered;
        }
        let shared = match self.spread {
            Spread::Ordered => 0,
            Spread::Split { among } => usize::from(among),
            Spread::Weighted | Spread::Even | Spread::Hash => usize::MAX,
        };
        for (index, candidate) in self.candidates.iter_mut().enumerate() {
            candidate.member = 0;
            if self.pool.is_none() {
                candidate.datacenter = DatacenterId(0);
            }
            if index >= shared {
                (candidate.weight, candidate.seed) = (1, 0);
            }
        }
        self
    }
}

/// The pool of the first rule that holds and whose pool is up; else what the pool of the first
/// rule that holds does when it is down. None when no rule holds.
pub fn choose_pool(policy: &Policy, holding: Holding, facts: &Facts) -> Option<PoolChoice> {
    let mut holds = (0..policy.rules.len()).filter(|&rule| holding.rule(rule)).peekable();
    let first = *holds.peek()?;
    let pool_of = |rule: usize| policy.rules[rule].pool;
    if let Some(rule) = holds.find(|&rule| facts.pool(pool_of(rule)).is_up(facts)) {
        let pool = Some(pool_of(rule));
        return Some(PoolChoice { rule, fallbacks: Vec::new(), pool, failed_open: false });
    }
    let mut choice =
        PoolChoice { rule: first, fallbacks: Vec::new(), pool: None, failed_open: false };
    let mut down = pool_of(first);
    while choice.fallbacks.len() <= MAX_FALLBACKS {
        match facts.pool(down).when_all_down {
            WhenAllDown::NoData => return Some(choice),
            WhenAllDown::AnswerAll => {
                choice.pool = Some(down);
                choice.failed_open = true;
                return Some(choice);
            }
            WhenAllDown::Pool(next) => {
                choice.fallbacks.push(next);
                if facts.pool(next).is_up(facts) {
                    choice.pool = Some(next);
                    return Some(choice);
                }
                down = next;
            }
        }
    }
    Some(choice)
}

impl Pool {
    /// The members that the operator drains and that would else be answered. They take clients as
    /// long as they are given any.
    pub fn draining(&self, facts: &Facts) -> impl Iterator<Item = Candidate> {
        let members = self.members.iter().enumerate().filter(|(_, member)| {
            facts.standing.of(member.id) == Standing::Drained
                && member.weight > 0
                && member.is_healthy(facts.health, facts.resolved)
                && member.has_answers(facts)
        });
        members.map(|(index, member)| self.candidate(index, member, facts, false))
    }

    /// True when enough members may be answered.
    pub fn is_up(&self, facts: &Facts) -> bool {
        let fit = self.members.iter().filter(|member| member.passed_over(facts).is_none());
        fit.count() >= usize::from(self.min_healthy.max(1))
    }

    /// The members that may be answered, in the order of the file. With `failed_open`, health does
    /// not count; and where the operator's word or the weights leave nobody, they do not either. A
    /// pool that fails open does so for a family of addresses of which none is up anywhere, too.
    pub fn candidates(&self, facts: &Facts, failed_open: bool) -> Vec<Candidate> {
        let taken = |keep: &dyn Fn(&Member) -> bool| -> Vec<Candidate> {
            let members = self.members.iter().enumerate().filter(|(_, member)| keep(member));
            members.map(|(i, member)| self.candidate(i, member, facts, failed_open)).collect()
        };
        if !failed_open {
            let mut fit = taken(&|member| member.passed_over(facts).is_none());
            if self.when_all_down == WhenAllDown::AnswerAll {
                self.open_lost_families(&mut fit, facts);
            }
            return fit;
        }
        let willing =
            taken(&|member| matches!(member.passed_over(facts), None | Some(PassedOver::Down)));
        if willing.is_empty() { taken(&|member| member.has_answers(facts)) } else { willing }
    }

    /// The place in rendezvous hashing of the pool's member in a datacenter: the same on every node
    /// and in every order of the file.
    pub fn rendezvous_seed(&self, datacenter: &str) -> u64 {
        let identity = format!("{}/{}/{datacenter}", self.zone, self.name);
        xxh3_64(identity.to_ascii_lowercase().as_bytes())
    }

    fn candidate(&self, index: usize, member: &Member, facts: &Facts, all: bool) -> Candidate {
        let standing = facts.standing.of(member.id);
        let all = all || matches!(standing, Standing::ForcedUp | Standing::Doubted);
        let (mut has_v4, mut has_v6) = (false, false);
        let (mut validity_v4, mut validity_v6) = Default::default();
        let (v4, v6, cname) = match &member.target {
            Target::Addresses { v4, v6 } => {
                let is_up = |probe| all || facts.health.is_up(probe);
                (has_v4, has_v6) = (!v4.is_empty(), !v6.is_empty());
                let v4: Box<[Ipv4Addr]> =
                    v4.iter().filter(|(_, probe)| is_up(*probe)).map(|(a, _)| *a).collect();
                let v6: Box<[Ipv6Addr]> =
                    v6.iter().filter(|(_, probe)| is_up(*probe)).map(|(a, _)| *a).collect();
                (v4, v6, None)
            }
            Target::Cname { name, .. } => (Box::default(), Box::default(), Some(name.clone())),
            Target::Flattened { resolved, probe, .. } => match facts.resolved.of(*resolved) {
                Some(Resolved { v4, v6, .. }) => {
                    let all_up = facts.health.is_up(*probe);
                    let is_up = |is_up| all || (all_up && is_up);
                    (has_v4, has_v6) = (!v4.addresses.is_empty(), !v6.addresses.is_empty());
                    (validity_v4, validity_v6) = (v4.validity, v6.validity);
                    let v4 = v4.addresses.iter().filter(|(_, up)| is_up(*up)).map(|(a, _)| *a);
                    let v6 = v6.addresses.iter().filter(|(_, up)| is_up(*up)).map(|(a, _)| *a);
                    (v4.collect(), v6.collect(), None)
                }
                None => Default::default(),
            },
        };
        Candidate {
            member: index as u16,
            datacenter: member.datacenter,
            weight: member.weight.max(1),
            seed: self.rendezvous_seed(&facts.datacenter(member.datacenter).name),
            lost_v4: has_v4 && v4.is_empty(),
            lost_v6: has_v6 && v6.is_empty(),
            v4,
            v6,
            validity_v4,
            validity_v6,
            cname,
        }
    }

    fn open_lost_families(&self, fit: &mut [Candidate], facts: &Facts) {
        let is_dark_v4 = fit.iter().all(|candidate| candidate.v4.is_empty());
        let is_dark_v6 = fit.iter().all(|candidate| candidate.v6.is_empty());
        for one in fit {
            let (open_v4, open_v6) = (is_dark_v4 && one.lost_v4, is_dark_v6 && one.lost_v6);
            if !(open_v4 || open_v6) {
                continue;
            }
            let member = usize::from(one.member);
            let open = self.candidate(member, &self.members[member], facts, true);
            if open_v4 {
                (one.v4, one.lost_v4) = (open.v4, false);
            }
            if open_v6 {
                (one.v6, one.lost_v6) = (open.v6, false);
            }
        }
    }
}

impl Candidate {
    /// True when its addresses may be kept for a certain time only.
    pub fn is_bounded(&self) -> bool {
        self.validity_v4 != Validity::UNBOUNDED || self.validity_v6 != Validity::UNBOUNDED
    }

    /// True when it cannot answer this type now, but otherwise would.
    pub fn has_lost(&self, rtype: Rtype) -> bool {
        match rtype {
            Rtype::A => self.lost_v4,
            Rtype::AAAA => self.lost_v6,
            _ => false,
        }
    }
}

impl Member {
    /// Why it may not be answered now, if so.
    pub fn passed_over(&self, facts: &Facts) -> Option<PassedOver> {
        match facts.standing.of(self.id) {
            Standing::ForcedDown => Some(PassedOver::ForcedDown),
            Standing::Drained => Some(PassedOver::Drained),
            _ if self.weight == 0 => Some(PassedOver::NoWeight),
            _ if !self.has_answers(facts) => Some(PassedOver::Unresolved),
            Standing::ForcedUp | Standing::Doubted => None,
            Standing::Normal | Standing::Draining => {
                let is_healthy = self.is_healthy(facts.health, facts.resolved);
                (!is_healthy).then_some(PassedOver::Down)
            }
        }
    }

    /// True when there is something to answer with: up or down.
    pub fn has_answers(&self, facts: &Facts) -> bool {
        match &self.target {
            Target::Flattened { resolved, .. } => {
                facts.resolved.of(*resolved).is_some_and(|resolved| !resolved.is_empty())
            }
            Target::Addresses { .. } | Target::Cname { .. } => true,
        }
    }

    /// True when it is a name of which nothing is known.
    pub fn is_unknown(&self, facts: &Facts) -> bool {
        match &self.target {
            Target::Flattened { resolved, .. } => facts.resolved.of(*resolved).is_none(),
            Target::Addresses { .. } | Target::Cname { .. } => false,
        }
    }

    /// True when at least one of its addresses is up.
    pub fn is_healthy(&self, health: &HealthTable, resolved: &ResolvedTable) -> bool {
        match &self.target {
            Target::Addresses { v4, v6 } => {
                v4.iter().any(|(_, probe)| health.is_up(*probe))
                    || v6.iter().any(|(_, probe)| health.is_up(*probe))
            }
            Target::Cname { probe, .. } => health.is_up(*probe),
            Target::Flattened { resolved: id, probe, .. } => {
                health.is_up(*probe) && resolved.of(*id).is_some_and(Resolved::is_up)
            }
        }
    }
}

/// How many of the candidates an answer of `answers` addresses draws on.
#[inline(always)]
pub fn enough<'a>(
    mut candidates: impl Iterator<Item = &'a Candidate>,
    answers: u8,
    rtype: Rtype,
) -> usize {
    let mut filling = Filling::new(answers, rtype);
    let last = candidates.position(|candidate| filling.is_full_with(candidate));
    last.map_or(usize::MAX, |last| last + 1)
}

/// How far candidates fill an answer of some type. But for those that have lost this type, it is
/// the same for both families, so that a client is not sent to two datacenters by asking for A and
/// AAAA.
#[derive(Clone, Copy, Debug)]
pub struct Filling {
    answers: usize,
    rtype: Rtype,
    v4: usize,
    v6: usize,
}

impl Filling {
    /// Of an answer of so many addresses, without any candidate yet.
    pub fn new(answers: u8, rtype: Rtype) -> Filling {
        Filling { answers: usize::from(answers), rtype, v4: 0, v6: 0 }
    }

    /// Adds the next candidate; true when no more are needed.
    pub fn is_full_with(&mut self, candidate: &Candidate) -> bool {
        if candidate.has_lost(self.rtype) {
            return false;
        }
        self.v4 += candidate.v4.len();
        self.v6 += candidate.v6.len();
        candidate.cname.is_some() || self.v4.max(self.v6) >= self.answers
    }
}
