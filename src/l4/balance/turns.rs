//! Smooth weighted turns: each backend as often as its weight says, and spread as evenly as can be.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

/// A schedule is no longer than this, or than [`MAX_TURNS`] for each backend if there are many, but
/// for one turn for each; weights that need a longer one are scaled to it.
pub const MAX_SCHEDULE: u64 = 8_192;
/// See [`MAX_SCHEDULE`].
pub const MAX_TURNS: u64 = 8;

/// At each step every backend gains its weight, and the one that has gained most is taken and pays
/// for all. Empty when all weights are 0.
pub fn schedule(weights: &[u32]) -> Box<[u32]> {
    let divisor = weights.iter().fold(0, |a, &b| greatest_common_divisor(a, b));
    if divisor == 0 {
        return Box::default();
    }
    let total: u64 = weights.iter().map(|&weight| u64::from(weight / divisor)).sum();
    let most = MAX_SCHEDULE.max(MAX_TURNS * weights.len() as u64);
    let scaled = |weight: u32| {
        let weight = u64::from(weight / divisor);
        let fits = total <= most || weight == 0;
        if fits { weight } else { ((weight * most + total / 2) / total).max(1) }
    };
    let mut ranks: BTreeMap<u64, Rank> = BTreeMap::new();
    for (backend, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0) {
        let rank = ranks.entry(scaled(*weight)).or_default();
        rank.queue.push_back((0, backend as u32));
    }
    let mut ranks: Vec<Rank> =
        ranks.into_iter().map(|(weight, rank)| Rank { weight: weight as i64, ..rank }).collect();
    let total: i64 = ranks.iter().map(|rank| rank.weight * rank.queue.len() as i64).sum();
    let step = |_| {
        ranks.iter_mut().for_each(|rank| rank.gained += rank.weight);
        // The first of equals.
        let most = ranks.iter_mut().max_by_key(|rank| rank.first()).map(|rank| rank.take(total));
        most.unwrap_or(0)
    };
    (0..total).map(step).collect()
}

/// Backends of one weight. They gain alike, so that one after the other is the one that has gained
/// most of them: only that one need be looked at.
#[derive(Debug, Default)]
struct Rank {
    weight: i64,
    /// What each has gained, without what it has paid.
    gained: i64,
    /// What each has paid, and who it is: who has paid least is first, of equals the first.
    queue: VecDeque<(i64, u32)>,
}

impl Rank {
    /// What the first of them has gained, and then the lower number.
    fn first(&self) -> (i64, Reverse<u32>) {
        match self.queue.front() {
            Some((paid, backend)) => (self.gained - paid, Reverse(*backend)),
            None => (i64::MIN, Reverse(0)),
        }
    }

    /// The first pays, and is the last now.
    fn take(&mut self, price: i64) -> u32 {
        let Some((paid, backend)) = self.queue.pop_front() else { return 0 };
        self.queue.push_back((paid + price, backend));
        backend
    }
}

/// Of 0 and another, the other.
pub fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
