//! Which backend takes a new connection: a pure choice over weights and connections.

use std::cmp::Ordering;

use super::flow::Flow;
use super::settings::Balance;

/// The longest schedule of a round-robin; weights that need a longer one are scaled to it.
const MAX_SCHEDULE: u64 = 8_192;

/// A balance over backends of given weights.
#[derive(Clone, Debug)]
pub struct Chooser {
    balance: Balance,
    weights: Box<[u32]>,
    /// For a round-robin: each backend as often as its weight says, spread evenly; empty when all
    /// weights are 0.
    schedule: Box<[u32]>,
}

impl Chooser {
    /// For backends with these weights, in their order. One that is out for long should be given
    /// the weight 0 here: a round-robin then spreads its share over all others, where passing it
    /// over in [`Chooser::choose`] gives its share to the next in turn.
    pub fn new(balance: Balance, weights: &[u32]) -> Chooser {
        let schedule = match balance {
            Balance::RoundRobin => schedule(weights),
            _ => Box::default(),
        };
        Chooser { balance, weights: weights.into(), schedule }
    }

    /// True when that would be the same.
    pub fn is_for(&self, balance: Balance, weights: &[u32]) -> bool {
        self.balance == balance && *self.weights == *weights
    }

    /// Chooses a backend with a weight; `turn` rises by one with every choice. What `flows` says of
    /// a backend are the flows it has; none: it cannot be chosen now. None when that is so for all.
    pub fn choose(
        &self,
        _flow: &Flow,
        turn: u64,
        flows: impl Fn(usize) -> Option<u64>,
    ) -> Option<usize> {
        match self.balance {
            Balance::RoundRobin => self.next_in_turn(turn, flows),
            _ => self.least_connections(turn, flows),
        }
    }

    fn next_in_turn(&self, turn: u64, flows: impl Fn(usize) -> Option<u64>) -> Option<usize> {
        let length = self.schedule.len() as u64;
        let first = turn.checked_rem(length)? as usize;
        let ring = self.schedule[first..].iter().chain(&self.schedule[..first]);
        ring.map(|&backend| backend as usize).find(|&backend| flows(backend).is_some())
    }

    fn least_connections(&self, turn: u64, flows: impl Fn(usize) -> Option<u64>) -> Option<usize> {
        let count = self.weights.len();
        // Equals take turns.
        let first = turn.checked_rem(count as u64)? as usize;
        let ring = (first..count).chain(0..first).filter(|&backend| self.weights[backend] > 0);
        let mut best: Option<(usize, u64)> = None;
        for backend in ring {
            let Some(connections) = flows(backend) else { continue };
            let lighter = best.is_none_or(|(other, load)| {
                // a / w_a < b / w_b, without the division.
                let ours = u128::from(connections) * u128::from(self.weights[other]);
                ours.cmp(&(u128::from(load) * u128::from(self.weights[backend]))) == Ordering::Less
            });
            if lighter {
                best = Some((backend, connections));
            }
        }
        best.map(|(backend, _)| backend)
    }
}

/// The smooth weighted round-robin: at each step every backend gains its weight, and the one that
/// has gained most is taken and pays for all.
fn schedule(weights: &[u32]) -> Box<[u32]> {
    let divisor = weights.iter().fold(0, |a, &b| greatest_common_divisor(a, b));
    if divisor == 0 {
        return Box::default();
    }
    let total: u64 = weights.iter().map(|&weight| u64::from(weight / divisor)).sum();
    let scaled = |weight: u32| {
        let weight = u64::from(weight / divisor);
        let fits = total <= MAX_SCHEDULE || weight == 0;
        if fits { weight } else { (weight * MAX_SCHEDULE / total).max(1) }
    };
    let weights: Vec<i64> = weights.iter().map(|&weight| scaled(weight) as i64).collect();
    let total: i64 = weights.iter().sum();
    let mut gained = vec![0i64; weights.len()];
    let step = |_| {
        for (gained, weight) in gained.iter_mut().zip(&weights) {
            *gained += weight;
        }
        // The first of equals.
        let most = (0..gained.len()).rev().max_by_key(|&backend| gained[backend]).unwrap_or(0);
        gained[most] -= total;
        most as u32
    };
    (0..total).map(step).collect()
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};

    use proptest::prelude::*;

    use super::*;
    use crate::l4::settings::Protocol;

    const FLOW: Flow = Flow {
        client: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)), 40_000),
        vip: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10)), 443),
        protocol: Protocol::Tcp,
    };

    #[test]
    fn a_round_robin_is_smooth() {
        let chooser = Chooser::new(Balance::RoundRobin, &[4, 1, 1]);
        let picks: Vec<_> =
            (0..6).map(|turn| chooser.choose(&FLOW, turn, |_| Some(0)).unwrap()).collect();
        assert_eq!(picks, [0, 0, 1, 0, 2, 0], "never all four of the heavy one in a row");
    }

    #[test]
    fn the_least_loaded_for_its_weight_is_taken() {
        let chooser = Chooser::new(Balance::LeastConnections, &[1, 2, 1]);
        let loads = [1, 2, 5];
        let flows = |b: usize| Some(loads[b]);
        assert!([0, 1].contains(&chooser.choose(&FLOW, 0, flows).unwrap()));
        let flows = |b: usize| (b != 0).then_some(loads[b]);
        assert_eq!(chooser.choose(&FLOW, 0, flows), Some(1));
    }

    proptest! {
        #[test]
        fn what_is_not_eligible_or_has_no_weight_is_never_chosen(
            backends in proptest::collection::vec((0u32..5, any::<bool>(), 0u64..9), 0..9),
            turn in any::<u64>(),
            least in any::<bool>(),
        ) {
            let balance = if least { Balance::LeastConnections } else { Balance::RoundRobin };
            let weights: Vec<u32> = backends.iter().map(|b| b.0).collect();
            let chooser = Chooser::new(balance, &weights);
            let flows = |b: usize| backends[b].1.then_some(backends[b].2);
            let possible = backends.iter().any(|(weight, eligible, _)| *weight > 0 && *eligible);
            let chosen = chooser.choose(&FLOW, turn, flows);
            prop_assert_eq!(chosen.is_some(), possible);
            if let Some(chosen) = chosen {
                prop_assert!(backends[chosen].0 > 0 && backends[chosen].1);
            }
        }

        #[test]
        fn a_round_robin_gives_each_its_weight(
            weights in proptest::collection::vec(0u32..20, 1..9),
            first in 0u64..1000,
        ) {
            let total: u32 = weights.iter().sum();
            let chooser = Chooser::new(Balance::RoundRobin, &weights);
            let mut picks = vec![0u32; weights.len()];
            for turn in first..first + u64::from(total) {
                picks[chooser.choose(&FLOW, turn, |_| Some(0)).unwrap()] += 1;
            }
            prop_assert_eq!(picks, weights);
        }

        #[test]
        fn a_schedule_is_bounded_whatever_the_weights(
            weights in proptest::collection::vec(any::<u32>(), 1..50),
        ) {
            let schedule = schedule(&weights);
            prop_assert!(schedule.len() as u64 <= MAX_SCHEDULE + weights.len() as u64);
            for (backend, weight) in weights.iter().enumerate() {
                prop_assert_eq!(schedule.contains(&(backend as u32)), *weight > 0);
            }
        }
    }
}
