//! File descriptors: every connection takes two, and every session of datagrams one, and not so many
//! that nothing is left for others.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Of all that this process may have open, this part is not for what is carried: answers over TCP,
/// health checks and files need some, too.
const PART_KEPT: u64 = 8;

/// Descriptors that what is carried has.
static CLAIMED: AtomicU64 = AtomicU64::new(0);
/// Those of them that sessions have, which make room for each other.
static YIELDING: AtomicU64 = AtomicU64::new(0);
/// How many may be open, as asked once: claims are taken for every connection.
static MOST: LazyLock<u64> =
    LazyLock::new(|| getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX));

/// The right to open some; given back when dropped.
#[derive(Debug)]
pub struct Claim {
    count: u64,
    yields: bool,
}

impl Claim {
    /// For so many, if that leaves enough for others.
    pub fn take(count: u64) -> Option<Claim> {
        Claim::of(count, for_flows())
    }

    /// For the socket of a session, which ends when another needs its room.
    pub fn of_session() -> Option<Claim> {
        let mut claim = Claim::take(1)?;
        claim.yields = true;
        YIELDING.fetch_add(claim.count, Relaxed);
        Some(claim)
    }

    fn of(count: u64, most: u64) -> Option<Claim> {
        // Given back at once by being dropped, where it is too much.
        let claim = Claim { count, yields: false };
        let before = CLAIMED.fetch_add(count, Relaxed);
        (before.saturating_add(count) <= most).then_some(claim)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.yields {
            YIELDING.fetch_sub(self.count, Relaxed);
        }
        CLAIMED.fetch_sub(self.count, Relaxed);
    }
}

/// Lets the process open as many as the system allows it to; to be
/// called before any are counted. Shells start programs with far fewer,
/// for the sake of old ones; what that leaves is some five hundred connections.
pub fn allow_many() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, "only {} files can be open at a time", current.unwrap_or(u64::MAX));
    }
}

/// How many this process may have open at a time.
pub fn most() -> u64 {
    *MOST
}

/// What part connections take of the files that can be open for them at a time. Sessions make room
/// for each other, so that a crowd of them, whose sources are easily forged, makes nobody full.
pub fn taken() -> f64 {
    part_taken(CLAIMED.load(Relaxed), YIELDING.load(Relaxed), for_flows())
}

fn part_taken(claimed: u64, yielding: u64, most: u64) -> f64 {
    let room = most.saturating_sub(yielding).max(1);
    claimed.saturating_sub(yielding) as f64 / room as f64
}

/// How many may be open for what is carried.
pub fn for_flows() -> u64 {
    most() - most() / PART_KEPT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_narrow_the_room_of_connections_and_do_not_fill_it() {
        assert_eq!(part_taken(0, 0, 1_000), 0.0);
        assert_eq!(part_taken(500, 0, 1_000), 0.5);
        assert_eq!(part_taken(600, 600, 1_000), 0.0);
        assert_eq!(part_taken(700, 600, 1_000), 0.25);
        assert!(part_taken(7, 0, 0).is_finite());
    }

    #[test]
    fn a_claim_is_granted_while_there_is_room_and_given_back() {
        // Other tests have claims, too, and need room meanwhile.
        let most = CLAIMED.load(Relaxed) + 3_000;
        let first = Claim::of(2_000, most).unwrap();
        assert!(Claim::of(2_000, most).is_none());
        drop(first);
        assert!(Claim::of(2_000, most).is_some());
    }
}
