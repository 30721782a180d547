//! What came to a service of late, and what part of it was refused.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How far back is looked.
const WINDOW: Duration = Duration::from_secs(10);
/// What is offered is at most this many times what is carried: among very few connections, a part
/// says little.
const MOST: f64 = 10.0;

/// The totals of a service, as they were over the last seconds.
#[derive(Debug, Default)]
pub struct Recent {
    /// The oldest first.
    seen: VecDeque<Totals>,
}

#[derive(Clone, Copy, Debug)]
struct Totals {
    at: Instant,
    accepted: u64,
    refused: u64,
}

impl Recent {
    /// Notes the totals as they are now; to be called about every second.
    pub fn note(&mut self, at: Instant, accepted_total: u64, refused_total: u64) {
        let is_old = |then: &Totals| at.saturating_duration_since(then.at) >= WINDOW;
        // One that is as old as the window is kept, to count from.
        while self.seen.get(1).is_some_and(is_old) {
            self.seen.pop_front();
        }
        self.seen.push_back(Totals { at, accepted: accepted_total, refused: refused_total });
    }

    /// What would be carried for each connection that is, had none been refused: 1 or more. By
    /// Little's law what is carried is in proportion to what was let in, if the refused would have
    /// lasted as long as the others.
    pub fn offered_per_carried(&self) -> f64 {
        let Some((_, accepted, refused)) = self.since_first() else { return 1.0 };
        // A connection may be accepted in one second and refused in a later one.
        let carried = accepted.saturating_sub(refused).max(1);
        (1.0 + refused as f64 / carried as f64).min(MOST)
    }

    /// New connections a second, and how many of them were refused.
    pub fn per_second(&self) -> (f64, f64) {
        match self.since_first() {
            Some((seconds, accepted, refused)) if seconds > 0.0 => {
                (accepted as f64 / seconds, refused.min(accepted) as f64 / seconds)
            }
            _ => (0.0, 0.0),
        }
    }

    /// In how many seconds how many were accepted, and how many refused.
    fn since_first(&self) -> Option<(f64, u64, u64)> {
        let (first, last) = (self.seen.front()?, self.seen.back()?);
        let seconds = last.at.saturating_duration_since(first.at).as_secs_f64();
        let accepted = last.accepted.saturating_sub(first.accepted);
        Some((seconds, accepted, last.refused.saturating_sub(first.refused)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_of_late_is_counted_in_and_is_forgotten_later() {
        let start = Instant::now();
        let mut recent = Recent::default();
        assert_eq!(recent.offered_per_carried(), 1.0);
        let mut note = |second, accepted, refused| {
            recent.note(start + Duration::from_secs(second), accepted, refused);
            recent.offered_per_carried()
        };
        assert_eq!(note(0, 1000, 900), 1.0, "what was before the first look is not known");
        assert_eq!(note(1, 1100, 900), 1.0);
        assert_eq!(note(2, 1200, 1000), 2.0, "200 came, and 100 were refused");
        assert_eq!(note(3, 1400, 1000), 4.0 / 3.0);
        for second in 4..13 {
            note(second, 1400, 1000);
        }
        assert_eq!(note(13, 1400, 1000), 1.0, "ten seconds later");
        assert_eq!(note(14, 1500, 1100), MOST, "all are refused");
        assert!(recent.seen.len() < 15);
    }

    #[test]
    fn rates_are_means_over_the_window() {
        let start = Instant::now();
        let mut recent = Recent::default();
        let mut note = |second, accepted, refused| {
            recent.note(start + Duration::from_secs(second), accepted, refused);
            recent.per_second()
        };
        assert_eq!(note(0, 5_000, 100), (0.0, 0.0), "nothing has been measured");
        assert_eq!(note(1, 5_100, 100), (100.0, 0.0));
        assert_eq!(note(2, 5_100, 150), (50.0, 25.0));
        for second in 3..20 {
            note(second, 5_100, 150);
        }
        assert_eq!(note(20, 5_200, 150), (10.0, 0.0));
    }
}
