//! How durations are spread: counted in buckets, by any thread, without a lock.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::Serialize;

/// The upper bounds of the buckets of short durations, such as connecting takes, in microseconds.
pub const SHORT_US: &[u64] = &[
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000,
];
/// The same of long ones, such as connections last.
pub const LONG_US: &[u64] = &[
    5_000,
    25_000,
    100_000,
    500_000,
    1_000_000,
    5_000_000,
    15_000_000,
    60_000_000,
    300_000_000,
    1_800_000_000,
    7_200_000_000,
];

/// Durations, counted.
#[derive(Debug)]
pub struct Histogram {
    bounds_us: &'static [u64],
    /// One for each bound, and one for what is longer than the last.
    counts: Box<[AtomicU64]>,
    sum_us: AtomicU64,
}

/// What was counted so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Durations {
    /// The upper bound of each bucket, in seconds, and how many there were in it alone. The last
    /// has none.
    pub buckets: Vec<(f64, u64)>,
    /// All of them.
    pub count: u64,
    /// Their sum, in seconds.
    pub sum_seconds: f64,
}

impl Durations {
    /// All of these together, which have the same buckets.
    pub fn sum<'a>(all: impl IntoIterator<Item = &'a Durations>) -> Durations {
        let mut all = all.into_iter();
        let mut sum = all.next().cloned().unwrap_or_default();
        for one in all {
            sum.buckets.iter_mut().zip(&one.buckets).for_each(|(sum, one)| sum.1 += one.1);
            sum.count += one.count;
            sum.sum_seconds += one.sum_seconds;
        }
        sum
    }
}

impl Histogram {
    /// Empty, with these bounds, which ascend.
    pub fn new(bounds_us: &'static [u64]) -> Histogram {
        let counts = (0..=bounds_us.len()).map(|_| AtomicU64::new(0)).collect();
        Histogram { bounds_us, counts, sum_us: AtomicU64::new(0) }
    }

    /// Counts one.
    pub fn note(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = self.bounds_us.partition_point(|bound| *bound < us);
        self.counts[bucket].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(us, Relaxed);
    }

    /// What was counted so far.
    pub fn durations(&self) -> Durations {
        let counts = self.counts.iter().map(|one| one.load(Relaxed));
        let bounds = self.bounds_us.iter().map(|bound| *bound as f64 / 1e6);
        let buckets: Vec<(f64, u64)> = bounds.chain([f64::INFINITY]).zip(counts).collect();
        Durations {
            count: buckets.iter().map(|(_, count)| count).sum(),
            buckets,
            sum_seconds: self.sum_us.load(Relaxed) as f64 / 1e6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_the_first_bucket_that_it_fits_into() {
        let histogram = Histogram::new(&[1_000, 10_000]);
        for us in [0, 1_000, 1_001, 10_000, 10_001] {
            histogram.note(Duration::from_micros(us));
        }
        let Durations { buckets, count, sum_seconds } = histogram.durations();
        assert_eq!(buckets, [(0.001, 2), (0.01, 2), (f64::INFINITY, 1)]);
        assert_eq!(count, 5);
        assert!((sum_seconds - 0.022_002).abs() < 1e-9, "{sum_seconds}");
        let twice = Durations::sum([&histogram.durations(), &histogram.durations()]);
        assert_eq!(
            (twice.buckets, twice.count),
            (vec![(0.001, 4), (0.01, 4), (f64::INFINITY, 2)], 10)
        );
        assert_eq!((twice.sum_seconds, Durations::sum([]).count), (2.0 * sum_seconds, 0));
        for bounds in [SHORT_US, LONG_US] {
            assert!(bounds.is_sorted());
        }
    }
}
