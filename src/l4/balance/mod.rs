//! Which backend takes a new flow: a pure choice over weights, flows and hashes.

mod hashing;
mod least;
pub mod maglev;
mod rendezvous;
mod turns;

use std::net::SocketAddr;

use super::flow::Flow;
use super::settings::Balance;
use hashing::mix;
use least::{Least, MANY};
use maglev::Maglev;

/// A Maglev table is searched so far from where a flow's hash points, when what stands there cannot
/// be chosen.
const MAGLEV_STEPS: usize = 256;

/// A balance over backends of given addresses and weights.
#[derive(Debug)]
pub struct Chooser {
    balance: Balance,
    addresses: Box<[SocketAddr]>,
    weights: Box<[u32]>,
    plan: Plan,
}

/// What is prepared for a balance.
#[derive(Debug)]
enum Plan {
    /// Backends, each as often as its weight says, spread evenly; none when all weights are 0.
    Turns(Box<[u32]>),
    /// Nothing: all are looked at.
    Loads,
    /// What was seen at the last look at all.
    Least(Box<Least>),
    /// What distinguishes each backend in a hash.
    Identities(Box<[u64]>),
    /// The table.
    Maglev(Maglev),
}

impl Chooser {
    /// For backends at these addresses with these weights, in their order. One that is out for long
    /// should be given the weight 0 here: its share is then spread over all others, where passing
    /// it over in [`Chooser::choose`] may give it all to one.
    pub fn new(balance: Balance, addresses: &[SocketAddr], weights: &[u32]) -> Chooser {
        let plan = match balance {
            Balance::RoundRobin | Balance::TwoChoices => Plan::Turns(turns::schedule(weights)),
            Balance::LeastConnections if weights.len() >= MANY => {
                Plan::Least(Box::new(Least::new()))
            }
            Balance::LeastConnections => Plan::Loads,
            Balance::Hash { .. } | Balance::BoundedHash { .. } => {
                Plan::Identities(addresses.iter().map(|one| hashing::identity(*one)).collect())
            }
            Balance::Maglev { table_size, .. } => {
                Plan::Maglev(Maglev::new(table_size, addresses, weights))
            }
        };
        Chooser { balance, addresses: addresses.into(), weights: weights.into(), plan }
    }

    /// True when that would be the same.
    pub fn is_for(&self, balance: Balance, addresses: &[SocketAddr], weights: &[u32]) -> bool {
        self.balance == balance && *self.addresses == *addresses && *self.weights == *weights
    }

    /// Chooses a backend with a weight; `turn` rises by one with every choice. What `flows` says of
    /// a backend are the flows it has; none: it cannot be chosen now. None when that is so for all.
    pub fn choose(
        &self,
        flow: &Flow,
        turn: u64,
        flows: impl Fn(usize) -> Option<u64>,
    ) -> Option<usize> {
        match (&self.plan, self.balance) {
            (Plan::Turns(turns), Balance::TwoChoices) => {
                let two = two_of(turns, turn)?;
                let chosen = self.least_loaded(two.into_iter(), &flows);
                chosen.or_else(|| self.least_loaded(ring(&self.weights, turn), flows))
            }
            (Plan::Turns(turns), _) => {
                let length = turns.len() as u64;
                let first = turn.checked_rem(length)? as usize;
                let ring = turns[first..].iter().chain(&turns[..first]);
                ring.map(|&backend| backend as usize).find(|&backend| flows(backend).is_some())
            }
            (Plan::Identities(ids), Balance::BoundedHash { of, factor }) => {
                let bound = Bound::new(factor, &self.weights, &flows);
                rendezvous::choose(hashing::hash(flow, of), ids, &self.weights, |backend| {
                    flows(backend).is_some_and(|flows| bound.has_room(flows, self.weights[backend]))
                })
            }
            (Plan::Identities(ids), Balance::Hash { of }) => {
                rendezvous::choose(hashing::hash(flow, of), ids, &self.weights, |backend| {
                    flows(backend).is_some()
                })
            }
            (Plan::Maglev(table), Balance::Maglev { of, .. }) => {
                let found = table.from(hashing::hash(flow, of)).take(MAGLEV_STEPS);
                let found = found.map(|backend| backend as usize).find(|&one| flows(one).is_some());
                found.or_else(|| ring(&self.weights, turn).find(|&one| flows(one).is_some()))
            }
            (Plan::Least(least), _) => self.least_of_many(least, turn, flows),
            _ => self.least_loaded(ring(&self.weights, turn), flows),
        }
    }

    fn least_of_many(
        &self,
        least: &Least,
        turn: u64,
        flows: impl Fn(usize) -> Option<u64>,
    ) -> Option<usize> {
        let is_least = |&backend: &usize| {
            flows(backend).is_some_and(|load| least.is_least(load, self.weights[backend]))
        };
        let chosen = self.least_loaded(least.few(turn), &flows).filter(is_least);
        chosen.or_else(|| {
            let all = || ring(&self.weights, turn);
            let seen = all().filter_map(|one| Some((one, flows(one)?, self.weights[one])));
            if !least.look(seen) {
                return None;
            }
            let chosen = self.least_loaded(least.few(turn), &flows);
            // Others may have taken all that the few were good for.
            chosen.or_else(|| self.least_loaded(all(), &flows))
        })
    }

    /// That with the fewest flows for its weight; the first of equals.
    fn least_loaded(
        &self,
        backends: impl Iterator<Item = usize>,
        flows: impl Fn(usize) -> Option<u64>,
    ) -> Option<usize> {
        let mut best: Option<(usize, u64)> = None;
        for backend in backends {
            let Some(load) = flows(backend) else { continue };
            let is_lighter = best.is_none_or(|(other, most)| {
                // a / w_a < b / w_b, without the division.
                u128::from(load) * u128::from(self.weights[other])
                    < u128::from(most) * u128::from(self.weights[backend])
            });
            if is_lighter {
                best = Some((backend, load));
            }
        }
        best.map(|(backend, _)| backend)
    }
}

/// All with a weight, beginning with another one each turn, so that equals take turns.
pub fn ring(weights: &[u32], turn: u64) -> impl Iterator<Item = usize> {
    let first = turn.checked_rem(weights.len() as u64).unwrap_or(0) as usize;
    (first..weights.len()).chain(0..first).filter(|&backend| weights[backend] > 0)
}

/// Two different ones of the list, drawn evenly; but one, if others do not come up soon.
fn two_of(turns: &[u32], turn: u64) -> Option<[usize; 2]> {
    /// A second draw that gives the same as the first is made again so often.
    const DRAWS: u64 = 8;
    let draw = |n: u64| {
        let random = mix(turn.wrapping_mul(DRAWS).wrapping_add(n));
        // Scaled, not divided: (0..2^64) to (0..length).
        let index = (u128::from(random) * turns.len() as u128) >> 64;
        turns.get(index as usize).map(|&backend| backend as usize)
    };
    let first = draw(0)?;
    let second = (1..DRAWS).filter_map(draw).find(|&second| second != first).unwrap_or(first);
    Some([first, second])
}

/// How many flows a backend may have where loads are bounded: the mean for its weight, this many
/// times (Mirrokni, Thorup and Zadimoghaddam, SODA 2018).
struct Bound {
    flows_per_weight: f64,
}

impl Bound {
    fn new(factor: f64, weights: &[u32], flows: impl Fn(usize) -> Option<u64>) -> Bound {
        let mut sum = (0u64, 0u64);
        for (backend, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0) {
            if let Some(flows) = flows(backend) {
                sum = (sum.0.saturating_add(flows), sum.1 + u64::from(*weight));
            }
        }
        // With the one that comes.
        let (flows, weights) = (sum.0 as f64 + 1.0, sum.1.max(1) as f64);
        Bound { flows_per_weight: factor.max(1.0) * flows / weights }
    }

    fn has_room(&self, flows: u64, weight: u32) -> bool {
        (flows as f64) < (self.flows_per_weight * f64::from(weight)).ceil()
    }
}

#[cfg(test)]
mod tests;
