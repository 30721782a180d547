//! What a run is judged by.

use serde::Serialize;

use super::optimum::DROPPED_MS;

/// Loads up to this much over the capacity are not called overload: it is what rounding makes.
const OVERLOAD: f64 = 1.001;
/// A dropped part above which the world has not recovered.
const RECOVERED: f64 = 0.005;
/// Seconds between two looks at how the round trips are distributed.
const LOOK_EVERY: u32 = 30;
/// Round trips are told apart by the millisecond, up to this many.
const LONGEST_MS: usize = 2_000;

/// What a run is judged by.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Score {
    /// Mean round trip of the served demand, in milliseconds.
    pub rtt_mean_ms: f64,
    /// Its median.
    pub rtt_p50_ms: f64,
    /// Its 95th percentile.
    pub rtt_p95_ms: f64,
    /// The mean that a clairvoyant without any delay reaches, the dropped at 1,000 ms.
    pub optimum_ms: f64,
    /// `rtt_mean_ms` over `optimum_ms`. It says little alone: who drops the far ones looks fast.
    pub ratio: f64,
    /// The mean with the dropped at 1,000 ms, over `optimum_ms`: 1 is perfect.
    pub score: f64,
    /// Seconds in which a live datacenter was offered more than 100.1 % of its capacity.
    pub overload_s: u32,
    /// Those of them outside the windows in which caches still hold what was right before an event.
    pub overload_outside_s: u32,
    /// The part of the demand that was not served.
    pub dropped: f64,
    /// The highest load over capacity of a live datacenter.
    pub worst_utilisation: f64,
    /// How often an hour the demand is sent elsewhere than before.
    pub churn_per_hour: f64,
    /// The longest time after an event, until the next one, with more than 0.5 % dropped; in seconds.
    pub recovery_s: f64,
    /// Queries answered.
    pub queries: u64,
    /// Mean of the TTLs given, in seconds.
    pub mean_ttl_s: f64,
}

/// One second, as it was.
pub(super) struct Second<'a> {
    /// Seconds after the beginning.
    pub(super) time: u32,
    /// By datacenter.
    pub(super) sites: &'a [SiteSecond],
}

/// One second of a datacenter.
#[derive(Clone, Debug, Default)]
pub(super) struct SiteSecond {
    /// Offered requests.
    pub(super) load: f64,
    /// What it can serve of them.
    pub(super) room: f64,
    /// It serves at all.
    pub(super) alive: bool,
    /// Sum of the offered requests' round trips.
    pub(super) rtt_sum: f64,
    /// The part of the offered requests that is served.
    pub(super) served: f64,
}

/// Adds seconds up to a score.
pub(super) struct Tally {
    forgiven: Vec<(f64, f64)>,
    starts: Vec<f64>,
    score: Score,
    offered: f64,
    served: f64,
    rtt_sum: f64,
    moved: f64,
    ttl_sum: f64,
    histogram: Vec<f64>,
}

impl Tally {
    /// `forgiven`: from each event on, until nothing from before it is in the caches.
    pub(super) fn new(forgiven: Vec<(f64, f64)>) -> Tally {
        let starts = forgiven.iter().map(|(from, _)| *from).collect();
        Tally {
            forgiven,
            starts,
            score: Score::default(),
            offered: 0.0,
            served: 0.0,
            rtt_sum: 0.0,
            moved: 0.0,
            ttl_sum: 0.0,
            histogram: vec![0.0; LONGEST_MS],
        }
    }

    /// A query was answered; `moved`: the part of all demand that goes elsewhere than before.
    pub(super) fn query(&mut self, moved: f64, ttl: f64) {
        self.score.queries += 1;
        self.moved += moved;
        self.ttl_sum += ttl;
    }

    pub(super) fn second(&mut self, second: &Second<'_>) {
        let (mut offered, mut served, mut overloaded) = (0.0, 0.0, false);
        for site in second.sites {
            offered += site.load;
            served += site.load * site.served;
            self.rtt_sum += site.rtt_sum * site.served;
            if site.alive {
                let utilisation = site.load / site.room;
                overloaded |= utilisation > OVERLOAD;
                self.score.worst_utilisation = self.score.worst_utilisation.max(utilisation);
            }
        }
        let time = f64::from(second.time);
        if overloaded {
            self.score.overload_s += 1;
            let forgiven = self.forgiven.iter().any(|&(from, to)| (from..=to).contains(&time));
            self.score.overload_outside_s += u32::from(!forgiven);
        }
        if offered - served > RECOVERED * offered {
            let since =
                self.starts.iter().filter(|&&start| start <= time).fold(0.0, |a, b| b.max(a));
            self.score.recovery_s = self.score.recovery_s.max(time - since);
        }
        self.offered += offered;
        self.served += served;
    }

    /// True when the distribution of round trips is wanted at that second.
    pub(super) fn looks_at(time: u32) -> bool {
        time.is_multiple_of(LOOK_EVERY)
    }

    /// So much is served with that round trip.
    pub(super) fn distribute(&mut self, rtt_ms: f64, amount: f64) {
        self.histogram[(rtt_ms as usize).min(LONGEST_MS - 1)] += amount;
    }

    pub(super) fn score(self, seconds: u32, optimum_ms: f64) -> Score {
        let rtt_mean_ms = self.rtt_sum / self.served.max(f64::MIN_POSITIVE);
        let dropped = 1.0 - self.served / self.offered.max(f64::MIN_POSITIVE);
        Score {
            rtt_mean_ms,
            rtt_p50_ms: quantile(&self.histogram, 0.5),
            rtt_p95_ms: quantile(&self.histogram, 0.95),
            optimum_ms,
            ratio: rtt_mean_ms / optimum_ms,
            score: ((1.0 - dropped) * rtt_mean_ms + dropped * DROPPED_MS) / optimum_ms,
            dropped,
            churn_per_hour: self.moved / (f64::from(seconds) / 3600.0),
            mean_ttl_s: self.ttl_sum / (self.score.queries.max(1)) as f64,
            ..self.score
        }
    }
}

/// The value below which that part of the weight lies.
fn quantile(histogram: &[f64], part: f64) -> f64 {
    let mut left = part * histogram.iter().sum::<f64>();
    for (value, weight) in histogram.iter().enumerate() {
        if *weight > 0.0 && left <= *weight {
            return value as f64 + left / weight;
        }
        left -= weight;
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(load: f64, room: f64) -> SiteSecond {
        let served = (room / load).min(1.0);
        SiteSecond { load, room, alive: room > 0.0, rtt_sum: 20.0 * load, served }
    }

    #[test]
    fn a_score_weighs_the_dropped_as_a_second_each() {
        let mut tally = Tally::new(vec![(1.0, 1.0)]);
        for time in 0..3 {
            tally.second(&Second { time, sites: &[site(50.0, 100.0), site(50.0, 40.0)] });
            tally.query(0.5, 30.0);
        }
        tally.distribute(20.0, 1.0);
        let score = tally.score(3, 16.0);
        assert!((score.dropped - 0.1).abs() < 1e-9);
        assert!((score.ratio - 1.25).abs() < 1e-9);
        assert!((score.score - (0.9 * 20.0 + 100.0) / 16.0).abs() < 1e-9);
        assert_eq!((score.overload_s, score.overload_outside_s), (3, 2));
        assert!((score.worst_utilisation - 1.25).abs() < 1e-9);
        assert!((score.churn_per_hour - 1_800.0).abs() < 1e-6);
        assert_eq!((score.recovery_s, score.queries, score.mean_ttl_s), (1.0, 3, 30.0));
    }

    #[test]
    fn a_dead_datacenter_drops_but_is_not_overloaded() {
        let mut tally = Tally::new(vec![]);
        let dead = SiteSecond { load: 10.0, ..SiteSecond::default() };
        tally.second(&Second { time: 0, sites: &[dead, site(10.0, 20.0)] });
        let score = tally.score(1, 20.0);
        assert_eq!((score.overload_s, score.dropped), (0, 0.5));
    }

    #[test]
    fn quantiles_lie_between_the_milliseconds() {
        let mut histogram = vec![0.0; 100];
        (histogram[10], histogram[20]) = (1.0, 1.0);
        assert_eq!(quantile(&histogram, 0.25), 10.5);
        assert_eq!(quantile(&histogram, 0.75), 20.5);
    }
}
