//! What part of a service's connections was refused of late.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How far back is looked.
const WINDOW: Duration = Duration::from_secs(10);
/// What is offered is at most this many times what is carried: among very few connections, a part
/// says little.
const MOST: f64 = 10.0;

/// The totals of a service, as they were over the last seconds.
#[derive(Debug, Default)]
pub struct Refusals {
    /// The oldest first: when, how many had been accepted, how many of those refused.
    seen: VecDeque<(Instant, u64, u64)>,
}

impl Refusals {
    /// Notes the totals as they are now; to be called about every second.
    pub fn note(&mut self, now: Instant, accepted_total: u64, refused_total: u64) {
        let is_old = |at: Instant| now.saturating_duration_since(at) >= WINDOW;
        // One that is as old as the window is kept, to count from.
        while self.seen.get(1).is_some_and(|(at, ..)| is_old(*at)) {
            self.seen.pop_front();
        }
        self.seen.push_back((now, accepted_total, refused_total));
    }

    /// What would be carried for each connection that is, had none been refused: 1 or more. By
    /// Little's law what is carried is in proportion to what was let in, if the refused would have
    /// lasted as long as the others.
    pub fn offered_per_carried(&self) -> f64 {
        let (Some((_, accepted, refused)), Some((_, accepted_now, refused_now))) =
            (self.seen.front(), self.seen.back())
        else {
            return 1.0;
        };
        let accepted = accepted_now.saturating_sub(*accepted);
        let refused = refused_now.saturating_sub(*refused);
        // A connection may be accepted in one second and refused in a later one.
        let carried = accepted.saturating_sub(refused).max(1);
        (1.0 + refused as f64 / carried as f64).min(MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_of_late_is_counted_in_and_is_forgotten_later() {
        let start = Instant::now();
        let mut refusals = Refusals::default();
        assert_eq!(refusals.offered_per_carried(), 1.0);
        let mut note = |second, accepted, refused| {
            refusals.note(start + Duration::from_secs(second), accepted, refused);
            refusals.offered_per_carried()
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
        assert!(refusals.seen.len() < 15);
    }
}
