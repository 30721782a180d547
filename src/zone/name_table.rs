//! A hash table from names to consecutive numbers, its keys in one run of bytes.

use std::hash::BuildHasher;

use foldhash::quality::RandomState;

/// Maps keys to 0, 1, 2… in the order of their insertion.
#[derive(Debug, Default)]
pub(super) struct NameTable {
    /// Open addressing with linear probing, at most half full; a power of two, or empty.
    slots: Vec<Slot>,
    /// The keys, one after another.
    keys: Vec<u8>,
    /// Where each key ends in `keys`.
    ends: Vec<u32>,
    /// Seeded for each table, so that nobody outside can choose names that collide.
    hasher: RandomState,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Half of the hash, to spare most comparisons of keys.
    tag: u32,
    /// Which key, or [`EMPTY`].
    id: u32,
}

const EMPTY: Slot = Slot { tag: 0, id: u32::MAX };

impl NameTable {
    /// The number of `key`, if it is in the table.
    pub(super) fn find(&self, key: &[u8]) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        let (tag, mut at) = self.home(key);
        loop {
            let slot = self.slots[at];
            if slot.id == EMPTY.id {
                return None;
            }
            if slot.tag == tag && self.key(slot.id) == key {
                return Some(slot.id);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    /// Adds a key that is not in the table, and gives its number.
    pub(super) fn insert(&mut self, key: &[u8]) -> u32 {
        let id = self.ends.len() as u32;
        self.keys.extend_from_slice(key);
        self.ends.push(self.keys.len() as u32);
        if self.ends.len() * 2 > self.slots.len() {
            self.grow();
        } else {
            self.place(id);
        }
        id
    }

    /// The key with a number that [`insert`](Self::insert) gave.
    pub(super) fn key(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let start = if id == 0 { 0 } else { self.ends[id - 1] as usize };
        &self.keys[start..self.ends[id] as usize]
    }

    /// How many bytes all keys have.
    pub(super) fn bytes(&self) -> usize {
        self.keys.len()
    }

    fn home(&self, key: &[u8]) -> (u32, usize) {
        let hash = self.hasher.hash_one(key);
        ((hash >> 32) as u32, hash as usize & (self.slots.len() - 1))
    }

    fn place(&mut self, id: u32) {
        let (tag, mut at) = self.home(self.key(id));
        while self.slots[at].id != EMPTY.id {
            at = (at + 1) & (self.slots.len() - 1);
        }
        self.slots[at] = Slot { tag, id };
    }

    fn grow(&mut self) {
        self.slots = vec![EMPTY; (self.slots.len() * 2).max(8)];
        for id in 0..self.ends.len() as u32 {
            self.place(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_found_again_and_no_other() {
        let mut table = NameTable::default();
        assert_eq!(table.find(b"a"), None);
        let key = |n: u32| format!("name-{n}").into_bytes();
        for n in 0..5000 {
            assert_eq!(table.insert(&key(n)), n);
        }
        for n in 0..5000 {
            assert_eq!(table.find(&key(n)), Some(n));
            assert_eq!(table.key(n), key(n));
        }
        assert_eq!(table.find(b"name-5000"), None);
        assert_eq!(table.find(b""), None);
    }
}
