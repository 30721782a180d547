//! Which worker has the session of a service that has not been used for longest: that one makes room
//! for a new one, at whichever worker it comes.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What the workers have said of their sessions of one service. Asked and told when sessions begin
/// where there is no room, and about every second; never for a datagram.
#[derive(Debug, Default)]
pub struct Oldest {
    /// Of each worker: when its oldest session was used last. None: it has none, or is to end it.
    used: Mutex<Vec<Option<Instant>>>,
}

impl Oldest {
    /// A worker says when its oldest session was used last, if it has any.
    pub fn tell(&self, worker: usize, used: Option<Instant>) {
        let mut all = self.used();
        if all.len() <= worker {
            all.resize(worker + 1, None);
        }
        all[worker] = used;
    }

    /// The worker that is to end its oldest session, and when that was used last, if there is one
    /// that was used before `own`, the oldest of the one that asks. Nobody is sent there again until
    /// that worker tells anew.
    pub fn ask(&self, worker: usize, own: Option<Instant>) -> Option<(usize, Instant)> {
        let mut all = self.used();
        let others = all.iter().enumerate().filter(|(other, _)| *other != worker);
        let oldest = others.filter_map(|(other, used)| Some((other, (*used)?)));
        let (other, used) = oldest.min_by_key(|(_, used)| *used)?;
        if own.is_some_and(|own| own <= used) {
            return None;
        }
        all[other] = None;
        Some((other, used))
    }

    fn used(&self) -> MutexGuard<'_, Vec<Option<Instant>>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_worker_with_the_oldest_is_asked_once_and_only_if_it_is_another() {
        let begin = Instant::now();
        let at = |seconds| Some(begin + Duration::from_secs(seconds));
        let oldest = Oldest::default();
        assert_eq!(oldest.ask(0, None), None);
        for (worker, seconds) in [(2, 3), (0, 5), (1, 4)] {
            oldest.tell(worker, at(seconds));
        }
        assert_eq!(oldest.ask(2, at(3)), None, "it has the oldest itself");
        assert_eq!(oldest.ask(0, at(5)), at(3).map(|used| (2, used)));
        assert_eq!(oldest.ask(0, at(5)), at(4).map(|used| (1, used)), "the other is asked already");
        assert_eq!(oldest.ask(0, at(5)), None);
        oldest.tell(2, at(9));
        assert_eq!(oldest.ask(0, at(5)), None);
        assert_eq!(oldest.ask(0, None), at(9).map(|used| (2, used)), "it has none itself");
    }
}
