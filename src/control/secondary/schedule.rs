//! When a primary is asked again, and when a zone is given up (RFC 1035 §3.3.13, RFC 1996 §3.11):
//! pure, time is an argument.

use std::time::Duration;

use crate::transfer::soa::Soa;

/// However short the timers of a zone are, the primary is not asked more often.
const SHORTEST: Duration = Duration::from_secs(1);
/// However long they are, it is asked at least so often.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
/// As long as there is no data, each failure doubles the pause, up to this; a zone that has expired
/// is tried so often at least.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// By which part of itself a pause may be shorter, so that many zones do not ask at once.
const JITTER: f64 = 0.1;
/// From the beginning of one look to that of the next, whatever a primary announces.
const APART: Duration = Duration::from_millis(500);

/// When what is due for one zone. Times are since an origin of the caller's.
#[derive(Clone, Debug)]
pub struct Schedule {
    timers: Option<Timers>,
    /// The primary was last heard to have nothing newer than what we have.
    confirmed: Duration,
    next: Duration,
    begun: Option<Duration>,
    is_looking: bool,
    /// Something was announced while we were looking.
    is_announced: bool,
    failures: u32,
}

#[derive(Clone, Copy, Debug)]
struct Timers {
    refresh: Duration,
    retry: Duration,
    expire: Duration,
}

impl Timers {
    fn new(soa: &Soa) -> Timers {
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        let refresh = seconds(soa.refresh).clamp(SHORTEST, LONGEST);
        let retry = seconds(soa.retry).clamp(SHORTEST, LONGEST);
        // One that is shorter would give the zone up while nothing is wrong.
        let expire = seconds(soa.expire).max(refresh + retry);
        Timers { refresh, retry, expire }
    }
}

impl Schedule {
    /// Of a zone that is there with this SOA record, and was confirmed `age` ago: the primary is
    /// asked at once, as it may have changed meanwhile. Without, it is due at once, too.
    pub fn new(kept: Option<(&Soa, Duration)>, now: Duration) -> Schedule {
        let mut schedule = Schedule {
            timers: kept.map(|(soa, _)| Timers::new(soa)),
            confirmed: now,
            next: now,
            begun: None,
            is_looking: false,
            is_announced: false,
            failures: 0,
        };
        // What is older than the origin has expired, or expires so much sooner.
        if let (Some(timers), Some((_, age))) = (&mut schedule.timers, kept) {
            timers.expire = timers.expire.saturating_sub(age);
        }
        schedule
    }

    /// When to look for a newer version; none while we do.
    pub fn due(&self) -> Option<Duration> {
        (!self.is_looking).then_some(self.next)
    }

    /// When the zone is to be given up, if there is one.
    pub fn expires(&self) -> Option<Duration> {
        self.timers.map(|timers| self.confirmed + timers.expire)
    }

    /// We begin to look.
    pub fn begin(&mut self, now: Duration) {
        self.is_looking = true;
        self.is_announced = false;
        self.begun = Some(now);
    }

    /// The primary was heard: what we have, with this SOA record, is its newest version. `draw` is
    /// a random number from 0 to 1.
    pub fn succeed(&mut self, soa: &Soa, now: Duration, draw: f64) {
        let timers = Timers::new(soa);
        self.timers = Some(timers);
        self.confirmed = now;
        self.failures = 0;
        self.end(timers.refresh, now, draw);
    }

    /// No primary was heard, or what it sent could not be used.
    pub fn fail(&mut self, now: Duration, draw: f64) {
        let pause = match self.timers {
            Some(timers) if now >= self.confirmed + timers.expire => {
                timers.retry.min(LONGEST_PAUSE)
            }
            Some(timers) => timers.retry,
            None => SHORTEST.saturating_mul(1 << self.failures.min(6)).min(LONGEST_PAUSE),
        };
        self.failures += 1;
        self.end(pause, now, draw);
    }

    /// A primary says that it has a newer version.
    pub fn announce(&mut self, now: Duration) {
        if self.is_looking {
            self.is_announced = true;
        } else {
            let soonest = self.begun.map_or(now, |begun| now.max(begun + APART));
            self.next = self.next.min(soonest);
        }
    }

    fn end(&mut self, pause: Duration, now: Duration, draw: f64) {
        self.is_looking = false;
        self.next = now + pause.mul_f64(1.0 - JITTER * draw);
        if std::mem::take(&mut self.is_announced) {
            self.announce(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SOA: Soa = Soa { serial: 1, refresh: 100, retry: 10, expire: 1000 };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_zone_is_refreshed_retried_and_given_up() {
        let mut schedule = Schedule::new(None, at(5));
        assert_eq!((schedule.due(), schedule.expires()), (Some(at(5)), None));
        schedule.begin(at(5));
        assert_eq!(schedule.due(), None);
        schedule.succeed(&SOA, at(6), 0.0);
        assert_eq!((schedule.due(), schedule.expires()), (Some(at(106)), Some(at(1006))));
        schedule.begin(at(106));
        schedule.fail(at(107), 0.0);
        assert_eq!((schedule.due(), schedule.expires()), (Some(at(117)), Some(at(1006))));
        schedule.begin(at(117));
        schedule.succeed(&SOA, at(117), 1.0);
        assert_eq!((schedule.due(), schedule.expires()), (Some(at(207)), Some(at(1117))));
    }

    #[test]
    fn what_was_kept_is_as_old_as_it_is() {
        let schedule = Schedule::new(Some((&SOA, at(400))), at(5));
        assert_eq!((schedule.due(), schedule.expires()), (Some(at(5)), Some(at(605))));
        let schedule = Schedule::new(Some((&SOA, at(4000))), at(5));
        assert_eq!(schedule.expires(), Some(at(5)));
    }

    #[test]
    fn timers_out_of_sense_are_bounded() {
        let zero = Soa { serial: 1, refresh: 0, retry: 0, expire: 0 };
        let mut schedule = Schedule::new(None, at(0));
        schedule.succeed(&zero, at(0), 0.0);
        assert_eq!((schedule.due(), schedule.expires()), (Some(at(1)), Some(at(2))));
        schedule.fail(at(0), 0.0);
        assert_eq!(schedule.due(), Some(at(1)));
        let most = Soa { serial: 1, refresh: u32::MAX, retry: u32::MAX, expire: u32::MAX };
        schedule.succeed(&most, at(0), 0.0);
        assert_eq!(schedule.due(), Some(LONGEST));
    }

    #[test]
    fn without_data_each_failure_doubles_the_pause() {
        let mut schedule = Schedule::new(None, at(0));
        let pauses = [1, 2, 4, 8, 16, 32, 60, 60].map(at);
        for pause in pauses {
            schedule.fail(at(0), 0.0);
            assert_eq!(schedule.due(), Some(pause));
        }
        for _ in 0..100 {
            schedule.fail(at(0), 0.0);
        }
        assert_eq!(schedule.due(), Some(LONGEST_PAUSE));
    }

    #[test]
    fn a_zone_that_has_expired_is_tried_often() {
        let slow = Soa { serial: 1, refresh: 7200, retry: 3600, expire: 20_000 };
        let mut schedule = Schedule::new(Some((&slow, at(0))), at(0));
        schedule.begin(at(19_999));
        schedule.fail(at(19_999), 0.0);
        assert_eq!(schedule.due(), Some(at(19_999 + 3600)));
        schedule.begin(at(23_599));
        schedule.fail(at(23_599), 0.0);
        assert_eq!(schedule.due(), Some(at(23_599 + 60)));
    }

    #[test]
    fn an_announcement_is_followed_at_once_but_not_too_often() {
        let mut schedule = Schedule::new(Some((&SOA, at(0))), at(0));
        schedule.begin(at(0));
        schedule.succeed(&SOA, at(0), 0.0);
        schedule.announce(at(50));
        assert_eq!(schedule.due(), Some(at(50)));
        schedule.announce(at(51));
        assert_eq!(schedule.due(), Some(at(50)), "the first counts");
        schedule.begin(at(51));
        schedule.announce(at(51));
        schedule.announce(at(51));
        assert_eq!(schedule.due(), None);
        schedule.succeed(&SOA, at(51), 0.0);
        assert_eq!(schedule.due(), Some(at(51) + APART), "once more, afterwards");
        schedule.begin(at(52));
        schedule.succeed(&SOA, at(52), 0.0);
        assert_eq!(schedule.due(), Some(at(152)));
    }

    proptest! {
        #[test]
        fn whatever_happens_the_primary_is_asked_again_and_not_too_often(
            (refresh, retry, expire) in any::<(u32, u32, u32)>(),
            events in proptest::collection::vec((0..4_u8, 0..100_000_u64, 0.0..=1.0_f64), 1..30),
        ) {
            let soa = Soa { serial: 1, refresh, retry, expire };
            let mut schedule = Schedule::new(None, Duration::ZERO);
            let (mut now, mut last) = (Duration::ZERO, None);
            for (event, millis, draw) in events {
                now += Duration::from_millis(millis);
                match (event, schedule.due()) {
                    (0, _) => schedule.announce(now),
                    (_, None) if event == 1 => schedule.fail(now, draw),
                    (_, None) => schedule.succeed(&soa, now, draw),
                    (_, Some(due)) => {
                        now = now.max(due);
                        prop_assert!(last.is_none_or(|last| now >= last + APART));
                        schedule.begin(now);
                        last = Some(now);
                    }
                }
                if let Some(due) = schedule.due() {
                    prop_assert!(due <= now + LONGEST);
                }
            }
        }
    }
}
