//! How many zones go out at a time, and what became of them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::connections::client_of;

/// The most zones that go out at a time.
const MOST: usize = 300;
/// The most of them to one IPv4 address or one IPv6 /64.
const MOST_PER_CLIENT: usize = 100;

/// The zones that are on their way out, and the counts of those that were.
#[derive(Debug, Default)]
pub(super) struct TransfersOut {
    /// How many each client has.
    running: Mutex<HashMap<IpAddr, usize>>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    started_full: AtomicU64,
    started_incremental: AtomicU64,
    completed: AtomicU64,
    aborted: AtomicU64,
    busy: AtomicU64,
    messages: AtomicU64,
    bytes: AtomicU64,
}

/// What became of the zones that other servers took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TransferTotals {
    /// Whole zones that were begun to be sent, also in answer to IXFR.
    pub started_full: u64,
    /// Changes that were begun to be sent, or the word that there are none.
    pub started_incremental: u64,
    /// Of both: sent to the end.
    pub completed: u64,
    /// Of both: broken off by the client, by its slowness, or by our stop.
    pub aborted: u64,
    /// Not begun, as too many were on their way.
    pub busy: u64,
    /// The messages sent.
    pub messages: u64,
    /// The bytes sent.
    pub bytes: u64,
    /// On their way now.
    pub running: u64,
}

/// A zone on its way out; unless it is completed, it counts as broken off when this is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    transfers: Arc<TransfersOut>,
    client: IpAddr,
    is_complete: bool,
}

impl TransfersOut {
    /// Gives a transfer to `peer` its place, if there is one.
    pub(super) fn begin(self: &Arc<Self>, peer: IpAddr, is_full: bool) -> Option<Slot> {
        let client = client_of(peer);
        let mut running = self.running();
        let all: usize = running.values().sum();
        let of_client = running.entry(client).or_default();
        if all >= MOST || *of_client >= MOST_PER_CLIENT {
            if *of_client == 0 {
                running.remove(&client);
            }
            self.counts.busy.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        *of_client += 1;
        let Counts { started_full, started_incremental, .. } = &self.counts;
        let started = if is_full { started_full } else { started_incremental };
        started.fetch_add(1, Ordering::Relaxed);
        Some(Slot { transfers: Arc::clone(self), client, is_complete: false })
    }

    /// What became of all so far.
    pub(super) fn totals(&self) -> TransferTotals {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        TransferTotals {
            started_full: of(&self.counts.started_full),
            started_incremental: of(&self.counts.started_incremental),
            completed: of(&self.counts.completed),
            aborted: of(&self.counts.aborted),
            busy: of(&self.counts.busy),
            messages: of(&self.counts.messages),
            bytes: of(&self.counts.bytes),
            running: self.running().values().sum::<usize>() as u64,
        }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Counts a message that was sent.
    pub(super) fn sent(&self, bytes: usize) {
        self.transfers.counts.messages.fetch_add(1, Ordering::Relaxed);
        self.transfers.counts.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// All messages were sent.
    pub(super) fn complete(mut self) {
        self.is_complete = true;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Counts { completed, aborted, .. } = &self.transfers.counts;
        let ended = if self.is_complete { completed } else { aborted };
        ended.fetch_add(1, Ordering::Relaxed);
        let mut running = self.transfers.running();
        if let Some(of_client) = running.get_mut(&self.client) {
            *of_client -= 1;
            if *of_client == 0 {
                running.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back_and_neither_one_client_nor_all_take_more_than_there_are() {
        let transfers = Arc::new(TransfersOut::default());
        let one = IpAddr::from([198, 51, 100, 1]);
        let mut slots: Vec<Slot> =
            (0..MOST_PER_CLIENT).map(|_| transfers.begin(one, true).unwrap()).collect();
        assert!(transfers.begin(one, true).is_none());
        for n in 0..=255 {
            slots.extend(transfers.begin([203, 0, 113, n].into(), false));
        }
        assert_eq!(slots.len(), MOST);
        slots.pop().unwrap().complete();
        assert!(transfers.begin(one, true).is_none(), "the client still has its own");
        drop(slots);
        let totals = transfers.totals();
        assert_eq!((totals.running, totals.completed, totals.aborted), (0, 1, MOST as u64 - 1));
        assert_eq!(totals.started_full + totals.started_incremental, MOST as u64);
        // One for the client, one at the end, and of the others those that found no place.
        assert_eq!(totals.busy, 2 + 256 - (MOST - MOST_PER_CLIENT) as u64);
        assert!(transfers.running().is_empty());
    }
}
