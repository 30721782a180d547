//! How much of its weight a backend has now: slow start and what its agent advises, in steps, so
//! that what is made of weights does not change with every breath. Pure.

use std::time::{Duration, Instant};

/// A whole weight, in steps of 5 %.
pub const FULL: u32 = 20;

/// The pace of one backend.
#[derive(Debug)]
pub struct Pace {
    was_up: Option<bool>,
    /// When the slow start began that is not over.
    began: Option<Instant>,
    steps: u32,
}

/// By what a pace is set.
#[derive(Clone, Copy, Debug)]
pub struct Measure {
    /// From nothing to a whole weight; zero: at once.
    pub slow_start: Duration,
    /// What its agent says, in percent of its weight.
    pub percent: Option<u16>,
}

impl Pace {
    /// Of a backend that is there from the beginning: if it is up, it is not started slowly.
    pub fn at_start() -> Pace {
        Pace { was_up: None, began: None, steps: FULL }
    }

    /// Of a backend that comes to a service that runs.
    pub fn joining() -> Pace {
        Pace { was_up: Some(false), ..Pace::at_start() }
    }

    /// Notes whether it is up. When it comes up its slow start begins, and its steps change at
    /// once: nobody is sent to it yet.
    pub fn note(&mut self, is_up: bool, measure: Measure, now: Instant) {
        let was_up = self.was_up.replace(is_up);
        if !is_up {
            self.began = None;
        } else if was_up == Some(false) && !measure.slow_start.is_zero() {
            self.began = Some(now);
            self.adapt(measure, now);
        }
    }

    /// Takes the steps that it should have now; to be called once a second.
    pub fn adapt(&mut self, measure: Measure, now: Instant) {
        let passed = self.began.map(|began| now.saturating_duration_since(began));
        let risen = passed.map_or(1.0, |passed| {
            if measure.slow_start.is_zero() {
                1.0
            } else {
                passed.div_duration_f64(measure.slow_start)
            }
        });
        if risen >= 1.0 {
            self.began = None;
        }
        let percent = f64::from(measure.percent.unwrap_or(100));
        let steps = f64::from(FULL) * percent / 100.0 * risen.min(1.0);
        // One that has no weight left is drained, which is not for the pace to say.
        self.steps = (steps.round() as u32).max(1);
    }

    /// How many of [`FULL`] steps of its weight it has; more if its agent says so, and at least 1.
    pub fn steps(&self) -> u32 {
        self.steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOWLY: Measure = Measure { slow_start: Duration::from_secs(10), percent: None };

    #[test]
    fn what_comes_up_takes_its_share_step_by_step() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut pace = Pace::at_start();
        pace.note(true, SLOWLY, start);
        assert_eq!(pace.steps(), FULL, "it was up from the beginning");
        pace.note(false, SLOWLY, at(1));
        pace.note(true, SLOWLY, at(100));
        let steps: Vec<u32> = (100..=111)
            .map(|second| {
                pace.note(true, SLOWLY, at(second));
                pace.adapt(SLOWLY, at(second));
                pace.steps()
            })
            .collect();
        assert_eq!(steps, [1, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 20]);
        // Down and up again: from the beginning.
        pace.note(false, SLOWLY, at(112));
        pace.note(true, SLOWLY, at(113));
        assert_eq!(pace.steps(), 1);
    }

    #[test]
    fn what_joins_starts_slowly_unless_nothing_is_to() {
        let now = Instant::now();
        let mut pace = Pace::joining();
        pace.note(true, SLOWLY, now);
        assert_eq!(pace.steps(), 1);
        let mut pace = Pace::joining();
        pace.note(true, Measure { slow_start: Duration::ZERO, percent: None }, now);
        assert_eq!(pace.steps(), FULL);
    }

    #[test]
    fn an_agent_changes_the_weight_in_steps_of_five_percent() {
        let now = Instant::now();
        let mut pace = Pace::at_start();
        let mut steps = |percent| {
            pace.adapt(Measure { slow_start: Duration::ZERO, percent }, now);
            pace.steps()
        };
        assert_eq!(steps(Some(75)), 15);
        assert_eq!(steps(Some(77)), 15);
        assert_eq!(steps(Some(78)), 16);
        assert_eq!(steps(Some(1)), 1);
        assert_eq!(steps(Some(0)), 1);
        assert_eq!(steps(Some(200)), 40);
        assert_eq!(steps(None), 20);
    }

    #[test]
    fn a_slow_start_and_an_agent_multiply() {
        let start = Instant::now();
        let measure = Measure { percent: Some(50), ..SLOWLY };
        let mut pace = Pace::joining();
        pace.note(true, measure, start);
        pace.adapt(measure, start + Duration::from_secs(5));
        assert_eq!(pace.steps(), 5);
    }
}
