//! For how long a backend is left alone that connections do not reach: longer each time, until one
//! does. Pure.

use std::time::{Duration, Instant};

/// The first time.
const SHORTEST: Duration = Duration::from_secs(10);
/// However often.
const LONGEST: Duration = Duration::from_secs(60);
/// Who is not given up for so long has been reached, though it may be that nothing shows it: of
/// datagrams that nobody answers one hears only when they fail.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(300);
/// What fails so soon after it was given up had begun before: it says nothing new.
const SAME: Duration = Duration::from_secs(1);

/// What is held against one backend.
#[derive(Debug, Default)]
pub struct Hold {
    /// How often it was given up since it was reached.
    times: u32,
    /// When that was last.
    given_up: Option<Instant>,
    /// Until when it is left alone.
    until: Option<Instant>,
}

/// Who says when a backend can be reached again that was given up for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Its check, which looks at the same port.
    ItsCheck,
    /// Nobody: it has no check, or that looks elsewhere.
    Nobody,
}

impl Hold {
    /// It is given up, as connections to it have failed again and again. The first time its check
    /// is asked, if there is one that can tell; if that is soon content, and it is given up again,
    /// its check is not believed for a while.
    pub fn give_up(&mut self, asked: Asked, now: Instant) {
        let soon = |given_up| now.saturating_duration_since(given_up) < SAME;
        if self.is_on(now) || self.given_up.is_some_and(soon) {
            return;
        }
        let free_since = self.given_up.max(self.until);
        let is_long_ago = |then| now.saturating_duration_since(then) >= FORGOTTEN_AFTER;
        if free_since.is_some_and(is_long_ago) {
            self.forget();
        }
        self.given_up = Some(now);
        let before = self.times;
        self.times = before.saturating_add(1);
        let doublings = match asked {
            Asked::Nobody => before,
            Asked::ItsCheck if before > 0 => before - 1,
            Asked::ItsCheck => return,
        };
        let times = 2u32.saturating_pow(doublings);
        self.until = now.checked_add(SHORTEST.saturating_mul(times).min(LONGEST));
    }

    /// A connection reached it since it was given up: what was before is forgotten.
    pub fn forget(&mut self) {
        self.times = 0;
    }

    /// A connection has reached it since, as happens where no other is up and all are tried: it is
    /// left alone for no longer than the first time.
    pub fn reached(&mut self, now: Instant) {
        let is_over = |given_up| now.saturating_duration_since(given_up) >= SHORTEST;
        if self.given_up.is_some_and(is_over) {
            self.until = None;
        }
    }

    /// Whether it is left alone.
    pub fn is_on(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// For how many seconds each time, where it is given up again as soon as it is not left alone.
    fn lengths(asked: Asked, forgotten_before: usize) -> Vec<u64> {
        let (mut hold, mut now) = (Hold::default(), Instant::now());
        let each = (0..6).map(|time| {
            if time == forgotten_before {
                hold.forget();
            }
            now += SAME;
            hold.give_up(asked, now);
            let begin = now;
            while hold.is_on(now) {
                now += Duration::from_secs(1);
            }
            (now - begin).as_secs()
        });
        each.collect()
    }

    #[test]
    fn it_is_left_alone_for_longer_each_time_until_it_is_reached() {
        assert_eq!(lengths(Asked::Nobody, 9), [10, 20, 40, 60, 60, 60]);
        assert_eq!(lengths(Asked::Nobody, 3), [10, 20, 40, 10, 20, 40]);
    }

    #[test]
    fn its_check_is_believed_once() {
        assert_eq!(lengths(Asked::ItsCheck, 9), [0, 10, 20, 40, 60, 60]);
        assert_eq!(lengths(Asked::ItsCheck, 4), [0, 10, 20, 40, 0, 10]);
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let (mut hold, start) = (Hold::default(), Instant::now());
        hold.give_up(Asked::Nobody, start);
        let later = start + SHORTEST + FORGOTTEN_AFTER - SAME;
        hold.give_up(Asked::Nobody, later);
        assert!(hold.is_on(later + 2 * SHORTEST - SAME));
        let later = later + 2 * SHORTEST + FORGOTTEN_AFTER;
        hold.give_up(Asked::Nobody, later);
        assert!(hold.is_on(later + SHORTEST - SAME) && !hold.is_on(later + SHORTEST));
    }

    #[test]
    fn what_fails_at_the_same_time_is_one_failure() {
        let (mut hold, now) = (Hold::default(), Instant::now());
        for late in 0..10 {
            hold.give_up(Asked::ItsCheck, now + SAME.mul_f64(0.09) * late);
        }
        assert!(!hold.is_on(now + SAME));
        hold.give_up(Asked::ItsCheck, now + SAME);
        assert!(hold.is_on(now + SAME));
    }

    #[derive(Clone, Debug)]
    enum Event {
        GivenUp(Asked),
        Reached,
    }

    fn event() -> impl Strategy<Value = (u64, Event)> {
        let event = prop_oneof![
            6 => Just(Event::GivenUp(Asked::ItsCheck)),
            6 => Just(Event::GivenUp(Asked::Nobody)),
            1 => Just(Event::Reached),
        ];
        (0u64..30_000, event)
    }

    proptest! {
        #[test]
        fn whatever_happens_it_is_tried_again_within_a_minute_and_never_again_and_again(
            events in prop::collection::vec(event(), 1..60),
        ) {
            let (mut hold, mut now) = (Hold::default(), Instant::now());
            // Since it was last reached: how often it was given up that had not been left alone
            // just then, and when first.
            let (mut tries, mut first) = (0u32, now);
            for (after_ms, event) in events {
                now += Duration::from_millis(after_ms);
                match event {
                    Event::Reached => {
                        hold.forget();
                        tries = 0;
                    }
                    Event::GivenUp(asked) => {
                        let was_on = hold.is_on(now);
                        let last = hold.given_up;
                        hold.give_up(asked, now);
                        if was_on {
                            prop_assert_eq!(hold.given_up, last, "what fails meanwhile is no news");
                        } else if hold.given_up == Some(now) && last != Some(now) {
                            first = if tries == 0 { now } else { first };
                            tries += 1;
                        }
                        // One is free, and the others come further and further apart.
                        let holds = tries.saturating_sub(2);
                        let least = (0..holds).map(|n| (SHORTEST * 2u32.pow(n.min(4))).min(LONGEST));
                        prop_assert!(now - first >= least.sum::<Duration>(), "{} tries", tries);
                    }
                }
                prop_assert!(!hold.is_on(now + LONGEST), "it is tried again");
            }
        }
    }
}
