//! What resolvers said of one name: kept while it holds, and longer where they say nothing more
//! (RFC 8767).

use std::net::IpAddr;
use std::time::Duration;

use super::{NameState, NameStatus, Resolution};
use crate::control::Now;
use crate::decide::{Validity, unanswerable};
use crate::dns::Name;
use crate::resolve::Answer;

/// A shorter TTL counts as this: names are not asked for more often.
pub const LEAST_TTL: Duration = Duration::from_secs(5);
/// A longer TTL counts as this.
pub const MOST_TTL: Duration = Duration::from_secs(3600);
/// For so long after its end a TTL counts as just ending: the next answer is on its way.
const GRACE: Duration = Duration::from_secs(2);
/// From the end of a TTL, the next question is asked within this time.
const SPREAD: Duration = Duration::from_millis(500);
/// The TTL of answers with stale addresses, in seconds (RFC 8767 §4).
pub const STALE_TTL: u32 = 30;
/// How long after the end of their TTL addresses are served (RFC 8767 §5: one to three days).
pub const MOST_STALE: Duration = Duration::from_secs(3 * 24 * 3600);
/// After a failure, and at most after many, a name is asked for again.
const RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(30));
/// What remains of a TTL is rounded down to one of these, so that answers do not change each second.
const STEPS: [u64; 11] = [1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600];

/// One name.
#[derive(Clone, Debug)]
pub(super) struct Known {
    name: Name,
    v4: Option<Learned>,
    v6: Option<Learned>,
    /// When it was last told: seconds since 1970 (UTC).
    told_at: Option<u64>,
    due: Duration,
    is_asked: bool,
    /// In a row.
    failures: u32,
    error: Option<String>,
    questions_total: u64,
    failures_total: u64,
}

/// The addresses of a family.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Learned {
    /// In ascending order; empty: there are none.
    pub(super) addresses: Vec<IpAddr>,
    ends: Duration,
}

impl Known {
    pub(super) fn new(name: Name, now: Now) -> Known {
        Known {
            name,
            v4: None,
            v6: None,
            told_at: None,
            due: now.elapsed,
            is_asked: false,
            failures: 0,
            error: None,
            questions_total: 0,
            failures_total: 0,
        }
    }

    pub(super) fn due_at(&self) -> Duration {
        self.due
    }

    pub(super) fn is_asked(&self) -> bool {
        self.is_asked
    }

    pub(super) fn is_due(&self, now: Now) -> bool {
        !self.is_asked && self.due <= now.elapsed
    }

    /// Somebody asks for it now.
    pub(super) fn ask(&mut self) -> Name {
        self.is_asked = true;
        self.name.clone()
    }

    /// The operator may have repaired something: what failed is tried again now.
    pub(super) fn ask_again(&mut self, now: Now) {
        if self.error.is_some() {
            self.due = self.due.min(now.elapsed);
        }
    }

    pub(super) fn give_up(&mut self) {
        self.is_asked = false;
    }

    pub(super) fn catch_up(&mut self, other: &Known) {
        if other.questions_total > self.questions_total {
            *self = other.clone();
        }
        // Somebody still waits for that answer.
        self.is_asked = other.is_asked;
    }

    /// Returns what is new, for people.
    pub(super) fn take(&mut self, resolution: Resolution) -> Option<String> {
        let Resolution { mut v4, mut v6, at, random, .. } = resolution;
        (self.is_asked, self.questions_total) = (false, self.questions_total + 1);
        // A name that does not exist has no addresses of any family (RFC 8020).
        let denied = |one: &Result<Answer, String>| one.as_ref().is_ok_and(|answer| !answer.exists);
        if denied(&v4) && v6.is_err() {
            v6 = v4.clone();
        } else if denied(&v6) && v4.is_err() {
            v4 = v6.clone();
        }
        let before = self.addresses();
        let was_known = self.is_known();
        let (mut errors, mut told) = (Vec::new(), None::<Duration>);
        for (family, answer) in [(&mut self.v4, v4), (&mut self.v6, v6)] {
            match answer {
                Ok(answer) => {
                    let learned = Learned::new(answer, at);
                    told = Some(told.map_or(learned.ends, |told| told.min(learned.ends)));
                    *family = Some(learned);
                    self.told_at = Some(at.unix_seconds);
                }
                Err(error) => errors.push(error),
            }
        }
        errors.dedup();
        let random = if random.is_nan() { 0.0 } else { random.clamp(0.0, 1.0) };
        let ends = told.map(|ends| ends + SPREAD.mul_f64(random));
        let mut again = None;
        if errors.is_empty() {
            self.failures = 0;
        } else {
            let (least, most) = RETRY;
            let pause = least.saturating_mul(1 << self.failures.min(8)).min(most);
            again = Some(at.elapsed + pause.mul_f64(1.0 + 0.1 * random));
            self.failures = self.failures.saturating_add(1);
            self.failures_total += 1;
        }
        let next = ends.into_iter().chain(again).min();
        self.due = next.unwrap_or(at.elapsed + LEAST_TTL);
        let error = (!errors.is_empty()).then(|| errors.join("; "));
        let before_error = std::mem::replace(&mut self.error, error);
        let after = self.addresses();
        let change = match (was_known, self.is_known()) {
            (true, _) if before != after => Some(format!("{} → {}", list(&before), list(&after))),
            (false, true) => Some(format!("resolved: {}", list(&after))),
            _ => None,
        };
        match (&before_error, &self.error, change) {
            (_, None, Some(change)) => Some(change),
            (_, Some(error), Some(change)) => Some(format!("{change}; but {error}")),
            (None, Some(error), None) if was_known => {
                Some(format!("cannot be resolved, what is known is served on: {error}"))
            }
            (None, Some(error), None) => Some(format!("cannot be resolved: {error}")),
            (Some(_), None, None) => Some(format!("resolved again: {}", list(&after))),
            (Some(_), Some(_), None) | (None, None, None) => None,
        }
    }

    /// Lets go of what is older than it may be served; true when there was such.
    pub(super) fn forget(&mut self, now: Now) -> bool {
        let mut has_forgotten = false;
        for family in [&mut self.v4, &mut self.v6] {
            if family.as_ref().is_some_and(|one| one.ends + MOST_STALE <= now.elapsed) {
                *family = None;
                has_forgotten = true;
            }
        }
        has_forgotten
    }

    /// True when a resolver has told of one family at least.
    pub(super) fn is_known(&self) -> bool {
        self.v4.is_some() || self.v6.is_some()
    }

    /// Those of both families.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        let families = [&self.v4, &self.v6].into_iter().flatten();
        families.flat_map(|one| one.addresses.iter().copied()).collect()
    }

    /// When it was last told: seconds since 1970 (UTC).
    pub(super) fn told_at(&self) -> Option<u64> {
        self.told_at
    }

    /// How long the addresses of each family may be kept by who is given them.
    pub(super) fn validity(&self, now: Now) -> (Validity, Validity) {
        let of = |family: &Option<Learned>| {
            family.as_ref().map_or(Validity::UNBOUNDED, |one| one.validity(now))
        };
        (of(&self.v4), of(&self.v6))
    }

    pub(super) fn status(&self, now: Now) -> NameStatus {
        let families = || [&self.v4, &self.v6].into_iter().flatten();
        let addresses = self.addresses();
        let is_stale = families().any(|one| !one.addresses.is_empty() && one.is_stale(now));
        let state = match (self.is_known(), addresses.is_empty()) {
            (false, _) => NameState::Unknown,
            (true, true) => NameState::Empty,
            _ if is_stale => NameState::Stale,
            _ => NameState::Fresh,
        };
        let ends = families().map(|one| one.ends.saturating_sub(now.elapsed).as_secs()).min();
        NameStatus {
            name: self.name.to_string(),
            state,
            addresses: addresses.iter().map(IpAddr::to_string).collect(),
            resolved_at: self.told_at,
            valid_for: ends,
            last_error: self.error.clone(),
            questions_total: self.questions_total,
            failures_total: self.failures_total,
        }
    }
}

impl Learned {
    fn new(answer: Answer, at: Now) -> Learned {
        let Answer { mut addresses, ttl, .. } = answer;
        addresses.retain(|address| unanswerable(*address).is_none());
        let holds = Duration::from_secs(ttl.into()).clamp(LEAST_TTL, MOST_TTL);
        Learned { addresses, ends: at.elapsed + holds }
    }

    fn is_stale(&self, now: Now) -> bool {
        self.ends + GRACE <= now.elapsed
    }

    fn validity(&self, now: Now) -> Validity {
        if self.is_stale(now) {
            return Validity { ttl: STALE_TTL, is_stale: !self.addresses.is_empty() };
        }
        let remains = self.ends.saturating_sub(now.elapsed).as_secs();
        let step = STEPS.iter().rev().find(|step| **step <= remains);
        Validity { ttl: step.map_or(1, |step| *step as u32), is_stale: false }
    }
}

fn list(addresses: &[IpAddr]) -> String {
    match addresses {
        [] => "no addresses".into(),
        _ => addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", "),
    }
}
