//! From samples to the agent's line: smoothed, between marks, with hysteresis. Reads no clock.

use std::fmt;
use std::time::{Duration, Instant};

use super::Sample;

/// What is made of the samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// For the processors; none: they do not count.
    pub cpu: Option<Marks>,
    /// For the memory.
    pub memory: Option<Marks>,
    /// For the load.
    pub load: Option<Marks>,
    /// The time constant of the exponential mean of the samples.
    pub smoothing: Duration,
    /// The weight of a machine that is full, in percent.
    pub least_percent: u8,
    /// After so long at a full mark, no new flows; none: never.
    pub drain_after: Option<Duration>,
    /// After so long at a full mark, down; none: never.
    pub down_after: Option<Duration>,
    /// Flows at a time that the machine can take; none: it does not say.
    pub max_connections: Option<u32>,
}

/// Where a measure begins to lower the weight, and where the machine is full by it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Marks {
    /// Up to here the machine has its whole weight.
    pub easy: f64,
    /// From here on it has the least. Greater than `easy`.
    pub full: f64,
}

/// What the agent says at the moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Gauge {
    policy: Policy,
    /// When the latest sample was taken.
    sampled: Option<Instant>,
    means: Means,
    percent: u8,
    /// Since when it has been full, without a break.
    full_since: Option<Instant>,
    /// It has been full for too long, and is not at ease yet.
    overloaded: Overloaded,
    /// The operator's word.
    is_drained: bool,
    /// `ready` is said until then, so that who has heard `drain` takes it back.
    recovering_until: Option<Instant>,
}

/// Why it takes nothing new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Overloaded {
    #[default]
    No,
    Drained,
    Down,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Means {
    cpu: Option<f64>,
    memory: Option<f64>,
    load: Option<f64>,
}

/// Weights are told in steps of so many percent: a table that is made of them should not be made
/// anew for nothing.
const STEP: u8 = 5;
/// An overload is over when the machine is no fuller than this, from 0 (easy) to 1 (full).
const RELIEVED: f64 = 0.7;
/// For how long `ready` is said when it begins and after a drain. A later one would undo what the
/// operator of the load balancer says of the machine.
const RECOVERY: Duration = Duration::from_secs(60);

impl Gauge {
    /// Before the first sample: all of its weight.
    pub fn new(policy: Policy, now: Instant) -> Gauge {
        Gauge {
            policy,
            sampled: None,
            means: Means::default(),
            percent: 100,
            full_since: None,
            overloaded: Overloaded::No,
            is_drained: false,
            recovering_until: now.checked_add(RECOVERY),
        }
    }

    /// Takes a sample in.
    pub fn take(&mut self, sample: Sample, now: Instant) {
        let passed = self.sampled.replace(now).map(|then| now.saturating_duration_since(then));
        let keep = match passed {
            Some(passed) if !self.policy.smoothing.is_zero() => {
                (-passed.as_secs_f64() / self.policy.smoothing.as_secs_f64()).exp()
            }
            _ => 0.0,
        };
        let mean = |mean: Option<f64>, sample: Option<f64>| match (mean, sample) {
            (Some(mean), Some(sample)) => Some(keep * mean + (1.0 - keep) * sample),
            // What is not known for the moment is as it was.
            (mean, sample) => sample.or(mean),
        };
        self.means = Means {
            cpu: mean(self.means.cpu, sample.cpu),
            memory: mean(self.means.memory, sample.memory),
            load: mean(self.means.load, sample.load),
        };
        self.weigh();
        self.judge(now);
    }

    /// The operator's word: no new flows, or as usual.
    pub fn set_drained(&mut self, is_drained: bool, now: Instant) {
        if self.is_drained && !is_drained {
            self.recovering_until = now.checked_add(RECOVERY);
        }
        self.is_drained = is_drained;
    }

    /// What is said, with its end.
    pub fn line(&self, now: Instant) -> Line<'_> {
        let is_recovering = self.recovering_until.is_some_and(|until| now < until);
        Line { gauge: self, is_recovering }
    }

    fn weigh(&mut self) {
        let least = self.policy.least_percent.min(100);
        let (fullness, _) = self.fullest();
        let exact = 100.0 - fullness.clamp(0.0, 1.0) * f64::from(100 - least);
        // It must have moved by more than a step; but it may always come to an end of the scale.
        let rounded = ((exact / f64::from(STEP)).round() as u8).saturating_mul(STEP);
        let rounded = match fullness {
            fullness if fullness <= 0.0 => 100,
            fullness if fullness >= 1.0 => least,
            _ => rounded.clamp(least, 100),
        };
        let is_an_end = fullness <= 0.0 || fullness >= 1.0;
        if is_an_end || (exact - f64::from(self.percent)).abs() >= 1.5 * f64::from(STEP) {
            self.percent = rounded;
        }
    }

    fn judge(&mut self, now: Instant) {
        let (fullness, _) = self.fullest();
        if fullness >= 1.0 {
            let since = *self.full_since.get_or_insert(now);
            let full_for = now.saturating_duration_since(since);
            let is_over = |limit: Option<Duration>| limit.is_some_and(|limit| full_for >= limit);
            if is_over(self.policy.down_after) {
                self.overloaded = Overloaded::Down;
            } else if is_over(self.policy.drain_after) && self.overloaded == Overloaded::No {
                self.overloaded = Overloaded::Drained;
            }
            return;
        }
        self.full_since = None;
        if fullness <= RELIEVED {
            self.overloaded = Overloaded::No;
        }
    }

    /// The fullest measure: how full, from 0 (easy) to 1 (full) and beyond, and in words.
    fn fullest(&self) -> (f64, String) {
        let Policy { cpu, memory, load, .. } = self.policy;
        let measures = [
            ("cpu", cpu, self.means.cpu, true),
            ("memory", memory, self.means.memory, true),
            ("load", load, self.means.load, false),
        ];
        let known = measures.into_iter().filter_map(|(name, marks, mean, is_share)| {
            let (marks, mean) = (marks?, mean?);
            let span = (marks.full - marks.easy).max(f64::EPSILON);
            Some(((mean - marks.easy) / span, name, mean, is_share))
        });
        let fullest = known.max_by(|one, other| one.0.total_cmp(&other.0));
        match fullest {
            Some((full, name, mean, true)) => (full, format!("{name} {:.0} %", mean * 100.0)),
            Some((full, name, mean, false)) => (full, format!("{name} {mean:.1} a processor")),
            None => (0.0, String::new()),
        }
    }
}

/// What the agent says: one line of HAProxy's agent-check protocol.
#[derive(Clone, Copy, Debug)]
pub struct Line<'g> {
    gauge: &'g Gauge,
    is_recovering: bool,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Gauge { policy, percent, overloaded, is_drained, .. } = self.gauge;
        // What an overload has it say is taken back by every line after it: whoever asks may miss
        // any of them. So a drain for it is a weight, as `drain` would last until `ready` is heard.
        let (health, percent) = match overloaded {
            Overloaded::No => ("up", *percent),
            Overloaded::Drained => ("up", 0),
            Overloaded::Down => ("down", *percent),
        };
        let administrative = match is_drained {
            true => "drain ",
            false if self.is_recovering => "ready ",
            false => "",
        };
        write!(f, "{health} {administrative}{percent}%")?;
        if let Some(limit) = policy.max_connections {
            write!(f, " maxconn:{limit}")?;
        }
        if *overloaded == Overloaded::Down {
            write!(f, " # {}", self.gauge.fullest().1)?;
        }
        f.write_str("\n")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy() -> Policy {
        Policy {
            cpu: Some(Marks { easy: 0.6, full: 0.9 }),
            memory: Some(Marks { easy: 0.8, full: 1.0 }),
            load: None,
            smoothing: Duration::ZERO,
            least_percent: 5,
            drain_after: None,
            down_after: None,
            max_connections: None,
        }
    }

    fn cpu(cpu: f64) -> Sample {
        Sample { cpu: Some(cpu), memory: Some(0.1), load: Some(50.0) }
    }

    const SECOND: Duration = Duration::from_secs(1);

    /// What is said after each of these samples, a second apart, long after the beginning.
    fn said(policy: Policy, samples: &[f64]) -> Vec<String> {
        let mut now = Instant::now();
        let mut gauge = Gauge::new(policy, now);
        now += RECOVERY;
        let said = samples.iter().map(|sample| {
            now += SECOND;
            gauge.take(cpu(*sample), now);
            gauge.line(now).to_string().trim_end().to_owned()
        });
        said.collect()
    }

    #[test]
    fn the_weight_falls_from_the_easy_mark_to_the_full_one() {
        let said = said(policy(), &[0.0, 0.6, 0.75, 0.9, 1.0, 0.6]);
        assert_eq!(said, ["up 100%", "up 100%", "up 55%", "up 5%", "up 5%", "up 100%"]);
    }

    #[test]
    fn the_fullest_measure_decides_and_what_has_no_marks_does_not_count() {
        let now = Instant::now();
        let mut gauge = Gauge::new(policy(), now);
        gauge.take(Sample { cpu: Some(0.65), memory: Some(0.95), load: Some(99.0) }, now);
        assert_eq!(gauge.line(now).to_string(), "up ready 30%\n");
    }

    #[test]
    fn a_weight_that_trembles_is_not_told_anew() {
        let said = said(policy(), &[0.75, 0.76, 0.74, 0.76, 0.74, 0.77, 0.76]);
        assert_eq!(said[..5], ["up 55%"; 5]);
        assert_eq!(said[5..], ["up 45%"; 2]);
    }

    #[test]
    fn samples_are_smoothed_over_the_time_constant() {
        let smooth = Policy { smoothing: 10 * SECOND, ..policy() };
        let mut samples = vec![0.5];
        samples.extend([1.0; 60]);
        let said = said(smooth, &samples);
        assert_eq!(said[1], "up 100%", "one second of ten");
        assert!(said[10..15].iter().all(|line| line != "up 100%" && line != "up 5%"), "{said:?}");
        assert_eq!(said[60], "up 5%");
    }

    #[test]
    fn who_is_full_for_long_drains_then_is_down_and_any_line_after_it_takes_that_back() {
        let policy =
            Policy { drain_after: Some(2 * SECOND), down_after: Some(4 * SECOND), ..policy() };
        // 0.85 is no longer full, and yet no relief.
        let mut samples = vec![0.95, 0.95, 0.95, 0.95, 0.96, 0.85, 0.95];
        samples.resize(120, 0.7);
        let said = said(policy, &samples);
        let mut expected = vec![
            "up 5%",
            "up 5%",
            "up 0%",
            "up 0%",
            "down 5% # cpu 96 %",
            "down 20% # cpu 85 %",
            "down 5% # cpu 95 %",
        ];
        // For as long as anybody may have missed it.
        expected.resize(120, "up 70%");
        assert_eq!(said, expected);
    }

    #[test]
    fn ready_is_said_for_a_while_at_first_and_after_a_drain_and_then_no_more() {
        let mut now = Instant::now();
        let mut gauge = Gauge::new(Policy { max_connections: Some(30), ..policy() }, now);
        assert_eq!(gauge.line(now).to_string(), "up ready 100% maxconn:30\n");
        now += RECOVERY;
        assert_eq!(gauge.line(now).to_string(), "up 100% maxconn:30\n");
        gauge.set_drained(true, now);
        assert_eq!(gauge.line(now).to_string(), "up drain 100% maxconn:30\n");
        now += 2 * RECOVERY;
        gauge.set_drained(false, now);
        assert_eq!(gauge.line(now).to_string(), "up ready 100% maxconn:30\n");
        now += RECOVERY;
        gauge.set_drained(false, now);
        assert_eq!(gauge.line(now).to_string(), "up 100% maxconn:30\n");
    }

    #[test]
    fn what_is_not_known_for_a_moment_is_as_it_was() {
        let now = Instant::now();
        let mut gauge = Gauge::new(policy(), now);
        gauge.take(cpu(0.9), now);
        gauge.take(Sample::default(), now + SECOND);
        assert_eq!(gauge.line(now).to_string(), "up ready 5%\n");
    }

    proptest! {
        #[test]
        fn a_line_says_a_weight_between_the_least_and_the_whole(
            samples in proptest::collection::vec((-1.0..3.0, 0..100_000_u64), 1..50), least in 0..100_u8,
        ) {
            let mut now = Instant::now();
            let policy = Policy { least_percent: least, smoothing: SECOND, ..policy() };
            let mut gauge = Gauge::new(policy, now);
            now += RECOVERY;
            for (sample, passed) in samples {
                now += Duration::from_millis(passed);
                gauge.take(cpu(sample), now);
                let line = gauge.line(now).to_string();
                let percent = line.strip_prefix("up ").and_then(|rest| rest.strip_suffix("%\n"));
                let percent: u8 = percent.unwrap().parse().unwrap();
                prop_assert!((least..=100).contains(&percent), "{}", line);
            }
        }
    }
}
