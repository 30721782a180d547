//! A slate: what a pool has to offer under the present facts, wherever the client is, and what of
//! it is preferred in one place.

use super::plan::{Candidate, Filling, Holding, Plan, Spread, choose_pool};
use super::{Facts, Policy, Pool, PoolId, Room, Steer};
use crate::dns::Rtype;

/// What a pool has to offer.
#[derive(Debug)]
pub struct Slate<'a> {
    pool: &'a Pool,
    spread: Spread,
    /// By member; none: it is passed over.
    candidates: Box<[Option<Candidate>]>,
    /// By member: whether it goes before all that do not, however near they are.
    goes_first: Box<[bool]>,
}

/// The pool that answers where these rules hold, and its slate; none: no records.
pub fn slate_for<'a>(
    policy: &Policy,
    holding: Holding,
    facts: &Facts<'a>,
) -> Option<(PoolId, Slate<'a>)> {
    let choice = choose_pool(policy, holding, facts)?;
    let pool = choice.pool?;
    Some((pool, Slate::new(facts.pool(pool), facts, choice.failed_open)))
}

impl<'a> Slate<'a> {
    /// With `failed_open`, the pool is down and answers as if it were up.
    pub fn new(pool: &'a Pool, facts: &Facts, failed_open: bool) -> Slate<'a> {
        let spread = match pool.steer {
            Steer::Capacity | Steer::Nearest | Steer::Failover => Spread::Ordered,
            Steer::Weighted => Spread::Weighted,
            Steer::RoundRobin => Spread::Even,
            Steer::Hash => Spread::Hash,
        };
        let mut candidates = vec![None; pool.members.len()];
        for candidate in pool.candidates(facts, failed_open) {
            let member = usize::from(candidate.member);
            candidates[member] = Some(candidate);
        }
        let goes_first = pool.members.iter().map(|member| {
            pool.steer != Steer::Capacity || facts.shares.room(member.datacenter) == Room::Free
        });
        Slate { pool, spread, candidates: candidates.into(), goes_first: goes_first.collect() }
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

    /// The plan that draws from the chosen members.
    pub fn plan(&self, chosen: &[u16]) -> Plan {
        let candidates = chosen.iter().filter_map(|&it| self.candidates[usize::from(it)].clone());
        Plan {
            ttl: self.pool.ttl,
            answers: self.pool.answers,
            spread: self.spread,
            candidates: candidates.collect(),
        }
    }
}
