//! The rise/fall machine of one probe: results in, verdicts and the next probe's moment out. It
//! does no I/O and reads no clock.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::Check;

/// What the results so far say of a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// No result yet.
    #[default]
    Unknown,
    /// The latest run of successes was long enough, and no run of failures since.
    Up,
    /// The latest run of failures was long enough, and no run of successes since.
    Down,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Verdict::Unknown => "unknown",
            Verdict::Up => "up",
            Verdict::Down => "down",
        })
    }
}

const MIN_INTERVAL: Duration = Duration::from_millis(20);
/// However often traffic fails, probes start no closer to each other than this.
const HURRY: Duration = Duration::from_millis(100);

/// The state of one probe.
///
/// The first result decides at once, so that one round of probes is enough to know where
/// everything stands; from then on `rise` successes in a row make up and `fall` failures in a row
/// make down. While the latest results speak against the verdict, and until it has been confirmed
/// once, probes come at the fast interval.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    rise: u32,
    fall: u32,
    interval: Duration,
    fast_interval: Duration,
    jitter: f64,
    verdict: Verdict,
    /// The latest result, and how many like it came in a row.
    run: Option<(bool, u32)>,
    results: u64,
    /// When the latest probe was started.
    started: Option<Instant>,
    /// Traffic has failed since.
    hurried: bool,
}

impl Machine {
    /// Before the first probe.
    pub fn new(check: &Check) -> Machine {
        // Whatever the configuration says, no probe may spin.
        let interval = check.interval.max(MIN_INTERVAL);
        let fast_interval = check.fast_interval.unwrap_or(interval);
        Machine {
            rise: check.rise,
            fall: check.fall,
            interval,
            fast_interval: fast_interval.clamp(MIN_INTERVAL, interval),
            jitter: share(check.jitter, 0.5),
            verdict: Verdict::Unknown,
            run: None,
            results: 0,
            started: None,
            hurried: false,
        }
    }

    /// A probe starts now.
    pub fn start(&mut self, now: Instant) {
        self.started = Some(now);
        self.hurried = false;
    }

    /// A probe ended well or badly; returns the new verdict if this changed it.
    pub fn result(&mut self, good: bool) -> Option<Verdict> {
        let length = match self.run {
            Some((same, length)) if same == good => length.saturating_add(1),
            _ => 1,
        };
        self.run = Some((good, length));
        self.results += 1;
        let (needed, verdict) =
            if good { (self.rise, Verdict::Up) } else { (self.fall, Verdict::Down) };
        let decided = self.verdict == Verdict::Unknown || length >= needed;
        if !decided || self.verdict == verdict {
            return None;
        }
        self.verdict = verdict;
        Some(verdict)
    }

    /// Traffic to the target failed, which counts as a failed probe and makes the next one due at
    /// once. It is no first result: what was never probed is not down for it.
    pub fn traffic_failed(&mut self) -> Option<Verdict> {
        self.hurried = true;
        if self.verdict == Verdict::Unknown { None } else { self.result(false) }
    }

    /// When the next probe is due: never before `now`, and never later than one and a half
    /// intervals after it. `random` is drawn evenly from 0 to 1.
    ///
    /// Probes that were first sent together spread: the second comes at a random moment of the
    /// second half of the interval, and the jitter does the rest. Probes that were missed, because
    /// the machine slept, are not made up for.
    pub fn next_probe_at(&self, now: Instant, random: f64) -> Instant {
        let Some(started) = self.started else { return now };
        if self.hurried {
            let pause = HURRY.min(self.fast_interval);
            return started.checked_add(pause).unwrap_or(now).clamp(now, now + pause);
        }
        let random = share(random, 1.0);
        let share = match self.results {
            0 | 1 => 0.5 + 0.5 * random,
            _ => 1.0 + self.jitter * (2.0 * random - 1.0),
        };
        let interval = if self.is_settled() { self.interval } else { self.fast_interval };
        let pause = interval.mul_f64(share);
        let due = started.checked_add(pause).unwrap_or(now);
        due.clamp(now, now.checked_add(pause).unwrap_or(now))
    }

    /// The latest results agree with the verdict, and one more has come than it took.
    fn is_settled(&self) -> bool {
        match (self.run, self.verdict) {
            (Some((true, length)), Verdict::Up) => length > self.rise,
            (Some((false, length)), Verdict::Down) => length > self.fall,
            _ => false,
        }
    }

    /// What the results so far say.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// How many results in a row were like the latest one.
    pub fn consecutive(&self) -> u32 {
        self.run.map_or(0, |(_, length)| length)
    }
}

/// The number, from 0 to `most` whatever it is.
fn share(number: f64, most: f64) -> f64 {
    if number.is_nan() { 0.0 } else { number.clamp(0.0, most) }
}

#[cfg(test)]
mod tests;
