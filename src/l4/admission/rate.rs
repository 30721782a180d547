//! How many new flows come in a second: token buckets, one for all and one a source, in a table of
//! a fixed size.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::Refusal;
use crate::l4::settings::RateLimit;

/// Sources that share a lock; a source that is new takes the place of one that has been silent.
const WAYS: usize = 8;
/// Sets of sources: 65,536 sources in about a megabyte.
const SETS: usize = 8 * 1024;

/// The buckets of a service.
#[derive(Debug)]
pub struct Rate {
    limit: RateLimit,
    began: Instant,
    total: Option<(Pace, AtomicU64)>,
    sources: Option<(Pace, Sources)>,
}

/// How fast a bucket fills, and how far. Instead of tokens it holds the time at which it will be
/// full, which is the same and takes one number (ITU-T I.371, the virtual scheduling algorithm).
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// From token to token.
    interval_ns: u64,
    /// From the last token but one to a full bucket.
    tolerance_ns: u64,
}

#[derive(Debug)]
struct Sources {
    sets: Box<[Mutex<[Bucket; WAYS]>]>,
    hash: RandomState,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// The hash of its source; strangers cannot choose it.
    source: u64,
    full_at_ns: u64,
}

impl Rate {
    /// All buckets are full.
    pub fn new(limit: RateLimit) -> Rate {
        let pace = |rate| Pace::new(rate, limit.burst_seconds);
        Rate {
            limit,
            began: Instant::now(),
            total: limit.total.map(|rate| (pace(rate), AtomicU64::new(0))),
            sources: limit.per_source.map(|rate| (pace(rate), Sources::new())),
        }
    }

    /// What it was made of.
    pub fn limit(&self) -> RateLimit {
        self.limit
    }

    /// Takes a token for this source and one of all. A source that has none left takes none of all.
    pub fn take(&self, source: IpAddr, now: Instant) -> Result<(), Refusal> {
        let now = self.nanoseconds(now);
        if let Some((pace, sources)) = &self.sources {
            sources
                .with(source, now, |bucket| {
                    pace.take(bucket.full_at_ns, now).map(|at| {
                        bucket.full_at_ns = at;
                    })
                })
                .ok_or(Refusal::TooManyOfSource)?;
        }
        if let Some((pace, full_at)) = &self.total {
            let taken = full_at.fetch_update(Relaxed, Relaxed, |full_at| pace.take(full_at, now));
            taken.map_err(|_| Refusal::TooMany)?;
        }
        Ok(())
    }

    /// Whether there are tokens; takes none.
    pub fn look(&self, source: IpAddr, now: Instant) -> Result<(), Refusal> {
        let now = self.nanoseconds(now);
        if let Some((pace, sources)) = &self.sources {
            let full_at = sources.full_at(source);
            pace.take(full_at, now).ok_or(Refusal::TooManyOfSource)?;
        }
        if let Some((pace, full_at)) = &self.total {
            pace.take(full_at.load(Relaxed), now).ok_or(Refusal::TooMany)?;
        }
        Ok(())
    }

    fn nanoseconds(&self, now: Instant) -> u64 {
        // Enough for 584 years.
        now.saturating_duration_since(self.began).as_nanos() as u64
    }
}

impl Pace {
    fn new(per_second: f64, burst_seconds: f64) -> Pace {
        // A bucket that never held a whole token would let nobody in.
        let tokens = (per_second * burst_seconds).max(1.0);
        // Casts saturate: what is out of range is as good as for ever.
        Pace {
            interval_ns: (1e9 / per_second).max(1.0) as u64,
            tolerance_ns: ((tokens - 1.0) * 1e9 / per_second) as u64,
        }
    }

    /// When a bucket is full again after a token has been taken; none if it has none.
    fn take(self, full_at: u64, now: u64) -> Option<u64> {
        let is_there = full_at.saturating_sub(now) <= self.tolerance_ns;
        is_there.then(|| full_at.max(now).saturating_add(self.interval_ns))
    }
}

impl Sources {
    fn new() -> Sources {
        let sets = (0..SETS).map(|_| Mutex::default()).collect();
        Sources { sets, hash: RandomState::new() }
    }

    /// Does something with the bucket of a source. One that is not there yet takes the place of the
    /// fullest, which is full if its source has been silent, and as good as gone.
    fn with<T>(&self, source: IpAddr, now: u64, then: impl FnOnce(&mut Bucket) -> T) -> T {
        let (source, set) = self.place(source);
        let mut buckets = set.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.iter_mut().find(|bucket| bucket.source == source) {
            return then(bucket);
        }
        let fullest = buckets.iter_mut().min_by_key(|bucket| bucket.full_at_ns);
        let Some(bucket) = fullest else { return then(&mut Bucket::default()) };
        *bucket = Bucket { source, full_at_ns: now };
        then(bucket)
    }

    fn full_at(&self, source: IpAddr) -> u64 {
        let (source, set) = self.place(source);
        let buckets = set.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.iter().find(|bucket| bucket.source == source).map_or(0, |b| b.full_at_ns)
    }

    fn place(&self, source: IpAddr) -> (u64, &Mutex<[Bucket; WAYS]>) {
        // An IPv6 host has a /64 to choose its address from.
        let hash = match source {
            IpAddr::V4(address) => self.hash.hash_one(address.octets()),
            IpAddr::V6(address) => self.hash.hash_one(&address.octets()[..8]),
        };
        (hash, &self.sets[hash as usize % SETS])
    }
}

#[cfg(test)]
mod tests;
