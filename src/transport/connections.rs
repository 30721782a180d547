//! Who is connected over TCP: caps for all and for each client, kept by closing the connection that
//! has been idle for longest, so that nobody keeps others out by holding connections open.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio_util::sync::CancellationToken;

/// All connections that are open.
#[derive(Debug)]
pub(super) struct Connections {
    begin: Instant,
    limit: usize,
    limit_per_client: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    open: HashMap<u64, Entry>,
    /// How many of them each client has.
    clients: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Entry {
    client: IpAddr,
    activity: Arc<Activity>,
}

#[derive(Debug)]
struct Activity {
    /// In milliseconds since the beginning.
    last: AtomicU64,
    evicted: CancellationToken,
}

/// A connection's place among the others; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    connections: Arc<Connections>,
    number: u64,
    activity: Arc<Activity>,
}

impl Connections {
    /// For at most so many connections, of which each client may have so many.
    pub(super) fn new(limit: usize, limit_per_client: usize, now: Instant) -> Connections {
        let table = Mutex::default();
        Connections {
            begin: now,
            limit: limit.max(1),
            limit_per_client: limit_per_client.max(1),
            table,
        }
    }

    /// Gives a new connection a place. Where there is none free, another connection loses its own:
    /// the longest idle of this client if it has too many, or else the longest idle of all. Also
    /// says whether one did.
    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr, now: Instant) -> (Place, bool) {
        let client = client_of(peer);
        let activity = Arc::new(Activity {
            last: AtomicU64::new(self.since_begin(now)),
            evicted: CancellationToken::new(),
        });
        let mut table = self.table();
        let of_client = table.clients.get(&client).copied().unwrap_or(0);
        let is_crowded = if of_client >= self.limit_per_client {
            table.evict_longest_idle(|entry| entry.client == client)
        } else if table.open.len() >= self.limit {
            table.evict_longest_idle(|_| true)
        } else {
            false
        };
        let number = table.next;
        table.next += 1;
        table.open.insert(number, Entry { client, activity: Arc::clone(&activity) });
        *table.clients.entry(client).or_default() += 1;
        (Place { connections: Arc::clone(self), number, activity }, is_crowded)
    }

    /// Closes the connection that has been idle for longest, if there is one.
    pub(super) fn shed(&self) -> bool {
        self.table().evict_longest_idle(|_| true)
    }

    /// How many are open.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.table().open.len()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn since_begin(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.begin).as_millis() as u64
    }
}

impl Table {
    fn evict_longest_idle(&mut self, among: impl Fn(&Entry) -> bool) -> bool {
        let candidates = self.open.iter().filter(|(_, entry)| among(entry));
        // Of equally idle ones the first that came: numbers rise.
        let longest_idle = candidates
            .min_by_key(|(number, entry)| (entry.activity.last.load(Ordering::Relaxed), **number))
            .map(|(number, entry)| (*number, entry.activity.evicted.clone()));
        let Some((number, evicted)) = longest_idle else { return false };
        evicted.cancel();
        self.remove(number);
        true
    }

    fn remove(&mut self, number: u64) {
        let Some(Entry { client, .. }) = self.open.remove(&number) else { return };
        if let Some(count) = self.clients.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                self.clients.remove(&client);
            }
        }
    }
}

impl Place {
    /// Notes that a query was answered.
    pub(super) fn touch(&self, now: Instant) {
        self.activity.last.store(self.connections.since_begin(now), Ordering::Relaxed);
    }

    /// Resolves when the place was given to another connection.
    pub(super) async fn evicted(&self) {
        self.activity.evicted.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.table().remove(self.number);
    }
}

/// Who counts as one client: an IPv4 address, or the /64 that an IPv6 host has for itself.
pub(super) fn client_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(connections: &Connections, seconds: u64) -> Instant {
        connections.begin + Duration::from_secs(seconds)
    }

    fn client(number: u8) -> IpAddr {
        IpAddr::from([198, 51, 100, number])
    }

    #[test]
    fn at_the_cap_the_longest_idle_gives_way() {
        let all = Arc::new(Connections::new(2, 2, Instant::now()));
        let (first, _) = all.admit(client(1), at(&all, 1));
        let (second, crowded) = all.admit(client(2), at(&all, 2));
        assert!(!crowded);
        first.touch(at(&all, 3));
        let (_third, crowded) = all.admit(client(3), at(&all, 4));
        assert!(crowded);
        assert!(second.activity.evicted.is_cancelled());
        assert!(!first.activity.evicted.is_cancelled());
        assert_eq!(all.count(), 2);
        drop(second);
        assert_eq!(all.count(), 2);
    }

    #[test]
    fn a_client_with_too_many_loses_its_own() {
        let all = Arc::new(Connections::new(10, 2, Instant::now()));
        let (other, _) = all.admit(client(9), at(&all, 0));
        let (first, _) = all.admit("2001:db8::1".parse().unwrap(), at(&all, 1));
        let (_second, _) = all.admit("2001:db8::2".parse().unwrap(), at(&all, 2));
        let (_third, crowded) = all.admit("2001:db8::3".parse().unwrap(), at(&all, 3));
        assert!(crowded);
        assert!(first.activity.evicted.is_cancelled());
        assert!(!other.activity.evicted.is_cancelled());
    }

    #[test]
    fn one_can_be_shed_until_none_is_left() {
        let all = Arc::new(Connections::new(5, 5, Instant::now()));
        let (first, _) = all.admit(client(1), at(&all, 1));
        let (second, _) = all.admit(client(2), at(&all, 2));
        assert!(all.shed());
        assert!(first.activity.evicted.is_cancelled() && !second.activity.evicted.is_cancelled());
        assert!(all.shed() && !all.shed());
    }

    #[test]
    fn a_place_is_free_when_its_connection_ends() {
        let all = Arc::new(Connections::new(1, 1, Instant::now()));
        drop(all.admit(client(1), at(&all, 0)));
        let (_place, crowded) = all.admit(client(1), at(&all, 1));
        assert!(!crowded);
        assert_eq!(all.table().clients.len(), 1);
    }
}
