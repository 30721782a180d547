//! The table of Maglev (Eisenbud et al., NSDI 2016, section 3.4): each backend fills it in an order
//! of its own, in turns, so that all have equal parts and few entries move when one comes or goes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;

use super::hashing::{identity, mix};
use super::turns::greatest_common_divisor;

/// A lookup table. It is the same whatever the order of the backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maglev {
    /// Places in the list of backends; empty if none has a weight.
    entries: Box<[u32]>,
}

/// The order in which a backend prefers entries, and how far it has come.
struct Preference {
    next: u32,
    skip: u32,
}

impl Maglev {
    /// With `size` entries, a prime, for the backends at these addresses, with these weights in the
    /// same order. A backend without a weight has no entries; the others have in proportion to
    /// their weights, those of equal weights as many but for one.
    pub fn new(size: u32, addresses: &[SocketAddr], weights: &[u32]) -> Maglev {
        let with_weight = addresses.iter().zip(weights).enumerate();
        let with_weight = with_weight.filter(|(_, (_, weight))| **weight > 0);
        let mut backends: Vec<(SocketAddr, u32, u32)> =
            with_weight.map(|(at, (address, weight))| (*address, *weight, at as u32)).collect();
        backends.sort_unstable();
        if backends.is_empty() {
            return Maglev { entries: Box::default() };
        }
        let mut filling = Filling {
            entries: vec![0; size as usize].into(),
            taken: vec![0; (size as usize).div_ceil(64)].into(),
            preferences: backends.iter().map(|one| Preference::of(one.0, size)).collect(),
        };
        let takes = 0..size;
        if backends.iter().all(|one| one.1 == backends[0].1) {
            let turns = (0..backends.len()).cycle();
            takes.zip(turns).for_each(|(_, turn)| filling.take(turn, backends[turn].2));
        } else {
            let divisor = backends.iter().fold(0, |a, one| greatest_common_divisor(a, one.1));
            let mut turns = Turns::new(backends.iter().map(|one| one.1 / divisor));
            for _ in takes {
                let turn = turns.next();
                filling.take(turn, backends[turn].2);
            }
        }
        Maglev { entries: filling.entries }
    }

    /// The backends from where this hash points on, once round.
    pub fn from(&self, hash: u64) -> impl Iterator<Item = u32> {
        let at = ((u128::from(hash) * self.entries.len() as u128) >> 64) as usize;
        self.entries[at..].iter().chain(&self.entries[..at]).copied()
    }

    /// All of it.
    pub fn entries(&self) -> &[u32] {
        &self.entries
    }
}

struct Filling {
    entries: Box<[u32]>,
    /// A bit for each entry. Most looks find one that is taken: this stays in the cache.
    taken: Box<[u64]>,
    preferences: Box<[Preference]>,
}

impl Filling {
    /// The backend takes the free entry that it likes best: there is one, and it comes to every
    /// entry, since the size is a prime.
    fn take(&mut self, turn: usize, backend: u32) {
        let size = self.entries.len() as u32;
        let Preference { next, skip } = &mut self.preferences[turn];
        loop {
            let entry = *next as usize;
            *next += *skip;
            if *next >= size {
                *next -= size;
            }
            let (word, bit) = (&mut self.taken[entry / 64], 1 << (entry % 64));
            if *word & bit == 0 {
                *word |= bit;
                self.entries[entry] = backend;
                return;
            }
        }
    }
}

impl Preference {
    fn of(address: SocketAddr, size: u32) -> Preference {
        let identity = identity(address);
        let (first, second) = (mix(identity), mix(!identity));
        let next = (first % u64::from(size)) as u32;
        let skip = (second % u64::from(size.max(2) - 1)) as u32 + 1;
        Preference { next, skip }
    }
}

/// Turns in proportion to weights: a backend's k-th is at k divided by its weight.
struct Turns {
    /// When, and who: the lower weight later, of equals the first of the list first.
    due: BinaryHeap<Reverse<(u64, usize)>>,
    /// From one turn to the next.
    every: Vec<u64>,
}

impl Turns {
    fn new(weights: impl Iterator<Item = u32>) -> Turns {
        // Weights are below 2^32 and turns below 2^20, so that no sum overflows.
        let every: Vec<u64> = weights.map(|weight| (1 << 43) / u64::from(weight)).collect();
        let due = every.iter().enumerate().map(|(backend, every)| Reverse((*every, backend)));
        Turns { due: due.collect(), every }
    }

    fn next(&mut self) -> usize {
        let Some(mut first) = self.due.peek_mut() else { return 0 };
        let Reverse((at, backend)) = *first;
        *first = Reverse((at + self.every[backend], backend));
        backend
    }
}

#[cfg(test)]
mod tests;
