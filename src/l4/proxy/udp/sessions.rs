//! A table of sessions: found by who talks to which VIP, ordered by when they were last used,
//! bounded. Pure: it opens nothing and reads no clock.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use foldhash::fast::RandomState;

/// Who talks to which VIP, in few words, as it is hashed for every datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    client: u128,
    vip: u128,
    /// Both ports, and the tag.
    ports: u64,
    /// Of a link-local client.
    interface: u32,
}

impl Key {
    /// The key of a client's session with a VIP.
    pub fn new(client: SocketAddr, vip: SocketAddr) -> Key {
        let interface = match client {
            SocketAddr::V4(_) => 0,
            SocketAddr::V6(client) => client.scope_id(),
        };
        let ports = u64::from(client.port()) << 16 | u64::from(vip.port());
        Key { client: bits(client.ip()), vip: bits(vip.ip()), ports, interface }
    }

    /// What tells it from other sessions of the same client with the same VIP.
    pub fn tag(&self) -> u32 {
        (self.ports >> 32) as u32
    }

    /// The key of another session of the same client with the same VIP.
    pub fn tagged(self, tag: u32) -> Key {
        Key { ports: self.ports & u64::from(u32::MAX) | u64::from(tag) << 32, ..self }
    }
}

/// The two families do not meet in one service's VIP, so that an IPv4 address may stand for itself.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// Where a session stands in its table, for as long as it is there.
pub type Index = u32;

const NONE: Index = Index::MAX;

/// Sessions of type `S`.
#[derive(Debug)]
pub struct Sessions<S> {
    /// Seeded, as strangers choose the keys.
    by_key: HashMap<Key, Index, RandomState>,
    entries: Vec<Entry<S>>,
    /// The first of the entries that are vacant, which are linked by `newer`.
    vacant: Index,
    oldest: Index,
    newest: Index,
}

#[derive(Debug)]
struct Entry<S> {
    key: Key,
    used: Instant,
    /// Neighbours in the order of use.
    older: Index,
    newer: Index,
    session: Option<S>,
}

impl<S> Default for Sessions<S> {
    fn default() -> Sessions<S> {
        let by_key = HashMap::default();
        Sessions { by_key, entries: Vec::new(), vacant: NONE, oldest: NONE, newest: NONE }
    }
}

impl<S> Sessions<S> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Where the session with this key stands.
    pub fn find(&self, key: &Key) -> Option<Index> {
        self.by_key.get(key).copied()
    }

    /// The session that stands there.
    pub fn get(&self, index: Index) -> Option<&S> {
        self.entries.get(index as usize)?.session.as_ref()
    }

    /// The session that stands there.
    pub fn get_mut(&mut self, index: Index) -> Option<&mut S> {
        self.entries.get_mut(index as usize)?.session.as_mut()
    }

    /// The session that stands there, which is used now.
    pub fn touch(&mut self, index: Index, now: Instant) -> Option<&mut S> {
        let entry = self.entries.get_mut(index as usize)?;
        entry.session.as_ref()?;
        entry.used = now;
        if self.newest != index {
            self.unlink(index);
            self.link(index);
        }
        self.get_mut(index)
    }

    /// Adds a session, which is used now. One with the same key must not be there. Gives where it
    /// stands, and none (the session back) when the table is as full as indices go.
    pub fn insert(&mut self, key: Key, session: S, now: Instant) -> Result<Index, S> {
        debug_assert!(self.find(&key).is_none());
        let entry = Entry { key, used: now, older: NONE, newer: NONE, session: Some(session) };
        let index = match self.vacant {
            NONE => {
                if self.entries.len() >= NONE as usize {
                    return entry.session.map_or(Ok(NONE), Err);
                }
                self.entries.push(entry);
                (self.entries.len() - 1) as Index
            }
            vacant => {
                let place = &mut self.entries[vacant as usize];
                self.vacant = place.newer;
                *place = entry;
                vacant
            }
        };
        self.by_key.insert(key, index);
        self.link(index);
        Ok(index)
    }

    /// Takes a session out.
    pub fn remove(&mut self, index: Index) -> Option<S> {
        let session = self.entries.get_mut(index as usize)?.session.take()?;
        self.unlink(index);
        let entry = &mut self.entries[index as usize];
        entry.newer = self.vacant;
        self.vacant = index;
        self.by_key.remove(&entry.key);
        Some(session)
    }

    /// The session that has not been used for longest, and when it was.
    pub fn oldest(&self) -> Option<(Index, Instant)> {
        let entry = self.entries.get(self.oldest as usize)?;
        Some((self.oldest, entry.used))
    }

    /// All of them, from the one that has not been used for longest to the one that was used last.
    pub fn iter(&self) -> impl Iterator<Item = (Index, Instant, &S)> {
        self.iter_with_keys().map(|(index, _, used, session)| (index, used, session))
    }

    /// The same, with their keys.
    pub fn iter_with_keys(&self) -> impl Iterator<Item = (Index, &Key, Instant, &S)> {
        let mut next = self.oldest;
        std::iter::from_fn(move || {
            let entry = self.entries.get(next as usize)?;
            let index = std::mem::replace(&mut next, entry.newer);
            Some((index, &entry.key, entry.used, entry.session.as_ref()?))
        })
    }

    /// Does something to each that has been used since then.
    pub fn each_used_since(&mut self, since: Instant, mut what: impl FnMut(&mut S)) {
        let mut next = self.newest;
        while let Some(entry) = self.entries.get_mut(next as usize)
            && entry.used >= since
        {
            next = entry.older;
            entry.session.iter_mut().for_each(&mut what);
        }
    }

    /// Puts an entry, which is nowhere, at the end.
    fn link(&mut self, index: Index) {
        let before = std::mem::replace(&mut self.newest, index);
        match self.entries.get_mut(before as usize) {
            Some(entry) => entry.newer = index,
            None => self.oldest = index,
        }
        let entry = &mut self.entries[index as usize];
        (entry.older, entry.newer) = (before, NONE);
    }

    fn unlink(&mut self, index: Index) {
        let Entry { older, newer, .. } = self.entries[index as usize];
        match self.entries.get_mut(older as usize) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
        match self.entries.get_mut(newer as usize) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn key(client: u8, vip: u8) -> Key {
        Key::new(([198, 51, 100, client], 5000).into(), ([203, 0, 113, vip], 53).into())
    }

    #[test]
    fn clients_vips_ports_interfaces_and_tags_make_different_sessions() {
        let address = |text: &str| -> SocketAddr { text.parse().unwrap() };
        let keys = [
            ("198.51.100.1:1", "203.0.113.1:1"),
            ("198.51.100.2:1", "203.0.113.1:1"),
            ("198.51.100.1:2", "203.0.113.1:1"),
            ("198.51.100.1:1", "203.0.113.2:1"),
            ("198.51.100.1:1", "203.0.113.1:2"),
            ("[2001:db8::1]:1", "[2001:db8::2]:1"),
            ("[fe80::1%1]:1", "[2001:db8::2]:1"),
            ("[fe80::1%2]:1", "[2001:db8::2]:1"),
        ];
        let keys = keys.map(|(client, vip)| Key::new(address(client), address(vip)));
        let all: std::collections::HashSet<Key> =
            keys.iter().flat_map(|key| [*key, key.tagged(1), key.tagged(u32::MAX)]).collect();
        assert_eq!(all.len(), 3 * keys.len());
        assert_eq!(keys[0].tagged(7).tagged(0), keys[0]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Use(u8),
        Remove(u8),
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (0u8..12).prop_map(Step::Use),
            1 => (0u8..12).prop_map(Step::Remove),
                3 => (0u64..10).prop_map(Step::Wait),
        ]
    }

    proptest! {
        /// Beside a list in the order of use, which is right by its plainness.
        #[test]
        fn the_least_recently_used_goes_first_and_nothing_else_is_lost(
            steps in proptest::collection::vec(step(), 0..200),
            most in 1usize..8,
        ) {
            let begin = Instant::now();
            let mut now = begin;
            let mut table: Sessions<u8> = Sessions::default();
            let mut model: Vec<(u8, Instant)> = Vec::new();
            for step in steps {
                match step {
                    Step::Use(client) => {
                        let known = model.iter().position(|(other, _)| *other == client);
                        match table.find(&key(client, 1)) {
                            Some(index) => {
                                prop_assert_eq!(table.touch(index, now), Some(&mut { client }));
                                model.remove(known.unwrap());
                            }
                            None => {
                                prop_assert_eq!(known, None);
                                if table.len() >= most {
                                    let (oldest, _) = table.oldest().unwrap();
                                    prop_assert_eq!(table.remove(oldest), Some(model.remove(0).0));
                                }
                                let index = table.insert(key(client, 1), client, now).unwrap();
                                prop_assert!((index as usize) < most, "vacant places are used first");
                            }
                        }
                        model.push((client, now));
                    }
                    Step::Remove(client) => {
                        let removed = table.find(&key(client, 1)).and_then(|index| table.remove(index));
                        let known = model.iter().position(|(other, _)| *other == client);
                        prop_assert_eq!(removed, known.map(|at| model.remove(at).0));
                    }
                    Step::Wait(seconds) => now += Duration::from_secs(seconds),
                }
                prop_assert!(table.len() <= most);
                let order: Vec<(u8, Instant)> =
                    table.iter().map(|(_, used, client)| (*client, used)).collect();
                prop_assert_eq!(&order, &model);
                let since = now.checked_sub(Duration::from_secs(5)).unwrap_or(begin);
                let mut late = Vec::new();
                table.each_used_since(since, |client| late.push(*client));
                let expected = model.iter().rev().filter(|(_, used)| *used >= since);
                prop_assert_eq!(late, expected.map(|(client, _)| *client).collect::<Vec<u8>>());
                prop_assert_eq!(table.oldest().map(|(_, used)| used), model.first().map(|one| one.1));
            }
        }
    }
}
