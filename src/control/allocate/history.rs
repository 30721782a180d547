//! The last minutes: where the clients were, and what was thought of their demand. Reports are late,
//! and are compared with what was so when they were measured.

use std::collections::VecDeque;

use super::demand::Demand;
use super::keys::{Held, Sample};

/// How far back it reaches, in seconds: no report that is learned from is older.
const REACH_S: f64 = 120.0;
/// From one remembered sample to the next, in seconds; the latest may come sooner.
const SAMPLE_EVERY_S: f64 = 0.9;
/// From one remembered state of the demand to the next, in seconds.
const DEMAND_EVERY_S: f64 = 5.0;
/// How far ahead a plan must see: until its answers are in the caches, and the load they bring is
/// reported. In seconds.
const HORIZON_S: f64 = 40.0;

#[derive(Clone, Debug, Default)]
pub(super) struct History {
    samples: VecDeque<Sample>,
    demands: VecDeque<Foreseen>,
}

/// What was thought at a time.
#[derive(Clone, Debug)]
struct Foreseen {
    at: f64,
    rows: Vec<f32>,
    unexplained: Vec<f64>,
}

impl History {
    pub fn push(&mut self, sample: Sample) {
        let oldest = sample.at - REACH_S;
        if let [.., before, last] = self.samples.make_contiguous()
            && last.at - before.at < SAMPLE_EVERY_S
        {
            *last = sample;
        } else {
            self.samples.push_back(sample);
        }
        while self.samples.len() > 2 && self.samples[1].at < oldest {
            self.samples.pop_front();
        }
    }

    pub fn keep_demand(&mut self, now: f64, demand: &Demand) {
        if self.demands.back().is_some_and(|last| now - last.at < DEMAND_EVERY_S) {
            return;
        }
        self.demands.push_back(Foreseen {
            at: now,
            rows: demand.rows.iter().map(|row| row.demand as f32).collect(),
            unexplained: demand.sites.iter().map(|site| site.load).collect(),
        });
        while self.demands.front().is_some_and(|first| first.at < now - REACH_S) {
            self.demands.pop_front();
        }
    }

    pub fn horizon(&self) -> f64 {
        HORIZON_S
    }

    /// Where the clients are, as far as is known.
    pub fn latest(&self) -> &[Held] {
        self.samples.back().map_or(&[], |sample| &sample.held)
    }

    /// The rows' shares that a datacenter held at a time, by row; between two looks, in between.
    pub fn held(&self, datacenter: usize, at: f64) -> Vec<(u32, f64)> {
        let after = self.samples.partition_point(|sample| sample.at < at);
        let (Some(later), Some(earlier)) = (
            self.samples.get(after).or(self.samples.back()),
            self.samples.get(after.saturating_sub(1)),
        ) else {
            return Vec::new();
        };
        let span = later.at - earlier.at;
        let weight = if span > 0.0 { ((at - earlier.at) / span).clamp(0.0, 1.0) } else { 1.0 };
        let of = |sample: &'_ Sample, weight: f64| -> Vec<(u32, f64)> {
            let here = sample.held.iter().filter(|held| usize::from(held.datacenter) == datacenter);
            here.map(|held| (held.row, weight * f64::from(held.share))).collect()
        };
        if weight >= 1.0 {
            return of(later, 1.0);
        }
        merged(&of(earlier, 1.0 - weight), &of(later, weight))
    }

    /// What a load would have been expected to be by what was thought of the demand at a time; none
    /// where that is not remembered.
    pub fn load_as_foreseen(&self, datacenter: usize, at: f64, held: &[(u32, f64)]) -> Option<f64> {
        let after = self.demands.partition_point(|foreseen| foreseen.at <= at);
        let foreseen = self.demands.get(after.checked_sub(1)?)?;
        let rows = held
            .iter()
            .filter_map(|&(row, share)| Some(f64::from(*foreseen.rows.get(row as usize)?) * share));
        Some(foreseen.unexplained.get(datacenter)? + rows.sum::<f64>())
    }
}

/// The sums of two lists by row.
fn merged(a: &[(u32, f64)], b: &[(u32, f64)]) -> Vec<(u32, f64)> {
    let mut sums = Vec::with_capacity(a.len().max(b.len()));
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    loop {
        match (a.peek(), b.peek()) {
            (Some(&&(row_a, share_a)), Some(&&(row_b, share_b))) if row_a == row_b => {
                sums.push((row_a, share_a + share_b));
                a.next();
                b.next();
            }
            (Some(&&one), Some(&&(row_b, _))) if one.0 < row_b => {
                sums.push(one);
                a.next();
            }
            (_, Some(&&one)) => {
                sums.push(one);
                b.next();
            }
            (Some(&&one), None) => {
                sums.push(one);
                a.next();
            }
            (None, None) => return sums,
        }
    }
}
