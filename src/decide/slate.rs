//! A slate: what a pool has to offer under the present facts, wherever the client is, and what of
//! it is preferred in one place.

use super::plan::{Candidate, Filling, Holding, Plan, Spread, choose_pool};
use super::{Facts, Part, Policy, Pool, PoolId, Room, Steer};
use crate::dns::Rtype;

/// What a pool has to offer.
#[derive(Debug)]
pub struct Slate<'a> {
    pool: &'a Pool,
    spread: Spread,
    /// The pool whose answers are written down.
    written_down: Option<PoolId>,
    /// By member; none: it is passed over.
    candidates: Box<[Option<Candidate>]>,
    /// By member: those that the operator drains, where clients are given out.
    draining: Box<[Option<Candidate>]>,
    /// By member: whether it goes before all that do not, however near they are.
    goes_first: Box<[bool]>,
    /// Some member is a name of which nothing is known.
    is_unknown: bool,
}

/// The members that a group is given to, by their index in the pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Given {
    /// The TTL of answers, in seconds.
    pub ttl: u32,
    /// Those that share its clients, with their weights.
    pub shared: Vec<(u16, u32)>,
    /// Those that stand in for them.
    pub others: Vec<u16>,
}

/// The pool that answers where these rules hold, and its slate; none: no records.
pub fn slate_for<'a>(
    policy: &Policy,
    holding: Holding,
    facts: &Facts<'a>,
) -> Option<(PoolId, Slate<'a>)> {
    let choice = choose_pool(policy, holding, facts)?;
    let pool = choice.pool?;
    Some((pool, Slate::new(pool, facts, choice.failed_open)))
}

impl<'a> Slate<'a> {
    /// With `failed_open`, the pool is down and answers as if it were up.
    pub fn new(id: PoolId, facts: &Facts<'a>, failed_open: bool) -> Slate<'a> {
        let pool = facts.pool(id);
        let spread = match pool.steer {
            Steer::Capacity | Steer::Nearest | Steer::Failover => Spread::Ordered,
            Steer::Weighted => Spread::Weighted,
            Steer::RoundRobin => Spread::Even,
            Steer::Hash => Spread::Hash,
        };
        let by_member = |candidates: &mut dyn Iterator<Item = Candidate>| {
            let mut all = vec![None; pool.members.len()].into_boxed_slice();
            for candidate in candidates {
                let member = usize::from(candidate.member);
                all[member] = Some(candidate);
            }
            all
        };
        let candidates = by_member(&mut pool.candidates(facts, failed_open).into_iter());
        let draining = match facts.allotment(id) {
            Some(_) => by_member(&mut pool.draining(facts)),
            None => Box::default(),
        };
        let goes_first = pool.members.iter().map(|member| {
            pool.steer != Steer::Capacity || facts.shares.room(member.datacenter) == Room::Free
        });
        let goes_first = goes_first.collect();
        let written_down = (pool.steer == Steer::Capacity).then_some(id);
        let is_unknown = pool.members.iter().any(|member| member.is_unknown(facts));
        Slate { pool, spread, written_down, candidates, draining, goes_first, is_unknown }
    }

    /// Puts into `chosen` the members that answers are drawn from, the most preferred first.
    /// `members`: all of them, the nearest first, or in the order of the file.
    ///
    /// Where the first is answered, there are no more than fill an answer.
    pub fn choose(&self, members: impl Iterator<Item = u16> + Clone, chosen: &mut Vec<u16>) {
        chosen.clear();
        let answers = self.pool.answers;
        let mut a = Filling::new(answers, Rtype::A);
        let mut aaaa = Filling::new(answers, Rtype::AAAA);
        let (mut a_is_full, mut aaaa_is_full) = (false, false);
        for goes_first in [true, false] {
            for member in members.clone() {
                let index = usize::from(member);
                let Some(candidate) = &self.candidates[index] else { continue };
                if self.goes_first[index] != goes_first {
                    continue;
                }
                chosen.push(member);
                a_is_full |= a.is_full_with(candidate);
                aaaa_is_full |= aaaa.is_full_with(candidate);
                if self.spread == Spread::Ordered && a_is_full && aaaa_is_full {
                    return;
                }
            }
        }
    }

    /// The members that the clients of a group are given to: those of its part that may be answered,
    /// and after them as many as may be needed to fill an answer.
    pub fn choose_for(&self, part: &Part) -> Given {
        let mut given = Given { ttl: part.ttl, shared: Vec::new(), others: Vec::new() };
        let mut filling = [
            Filling::new(self.pool.answers, Rtype::A),
            Filling::new(self.pool.answers, Rtype::AAAA),
        ];
        let mut is_full = [false; 2];
        let mut add = |candidate: &Candidate| {
            for (filling, is_full) in filling.iter_mut().zip(&mut is_full) {
                *is_full |= filling.is_full_with(candidate);
            }
            is_full == [true; 2]
        };
        let mut enough = false;
        for &(member, weight) in part.weights.iter().filter(|(_, weight)| *weight > 0) {
            if let Some(candidate) = self.given_to(member) {
                given.shared.push((member, weight));
                enough |= add(candidate);
            }
        }
        // A member that the order forgot stands at its end: nobody goes without an answer.
        for member in part.order.iter().copied().chain(self.pool.members_in_order()) {
            if enough {
                break;
            }
            let is_known = given.shared.iter().any(|(shared, _)| *shared == member)
                || given.others.contains(&member);
            if let Some(Some(candidate)) = self.candidates.get(usize::from(member))
                && !is_known
            {
                given.others.push(member);
                enough = add(candidate);
            }
        }
        given
    }

    /// The plan that answers with the members that a group is given to.
    pub fn plan_of(&self, given: &Given) -> Plan {
        let shared = given.shared.iter().filter_map(|&(member, weight)| {
            Some(Candidate { weight, ..self.given_to(member)?.clone() })
        });
        let others = given.others.iter().filter_map(|&it| self.candidates[usize::from(it)].clone());
        let candidates: Box<[Candidate]> = shared.chain(others).collect();
        Plan {
            ttl: given.ttl,
            answers: self.pool.answers,
            spread: match given.shared.len() {
                0 | 1 => Spread::Ordered,
                among => Spread::Split { among: among as u16 },
            },
            pool: self.written_down,
            is_bounded: candidates.iter().any(Candidate::is_bounded),
            is_unknown: candidates.is_empty() && self.is_unknown,
            candidates,
        }
    }

    /// The candidate that a member is where it is given clients.
    fn given_to(&self, member: u16) -> Option<&Candidate> {
        let index = usize::from(member);
        let fit = self.candidates.get(index)?.as_ref();
        fit.or_else(|| self.draining.get(index)?.as_ref())
    }

    /// The plan that draws from the chosen members.
    pub fn plan(&self, chosen: &[u16]) -> Plan {
        let candidates = chosen.iter().filter_map(|&it| self.candidates[usize::from(it)].clone());
        let candidates: Box<[Candidate]> = candidates.collect();
        Plan {
            ttl: self.pool.ttl,
            answers: self.pool.answers,
            spread: self.spread,
            pool: self.written_down,
            is_bounded: candidates.iter().any(Candidate::is_bounded),
            is_unknown: candidates.is_empty() && self.is_unknown,
            candidates,
        }
    }
}
