//! A hash table from names to what is known of them, made once: a look-up reads two or three cache
//! lines, whatever the number of names, and they can be fetched ahead.

use std::hash::BuildHasher;
use std::hint::black_box;

use foldhash::quality::RandomState;

/// Values by keys of at most 255 bytes.
#[derive(Debug)]
pub(super) struct Directory<T> {
    /// In the order of their hashes.
    entries: Box<[Entry<T>]>,
    /// For each group of hashes with the same upper bits, where in `entries` it begins; and the
    /// end of the last.
    starts: Box<[u32]>,
    /// What a hash is shifted by to leave the upper bits.
    shift: u32,
    /// The keys, in the order of the entries.
    keys: Box<[u8]>,
    /// Seeded for each directory, so that nobody outside can choose names that collide.
    hasher: RandomState,
}

/// Never across two cache lines.
#[derive(Debug)]
#[repr(align(32))]
struct Entry<T> {
    /// Half of the hash, to spare most comparisons of keys.
    tag: u32,
    /// Where its key begins.
    key_at: u32,
    key_bytes: u8,
    value: T,
}

/// A key's hash in one directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hash(u64);

impl<T> Directory<T> {
    /// From distinct keys. `value` gives that of the key with this index; it is told, by index,
    /// the places in which the values will be.
    pub(super) fn new<'k>(
        keys: impl Iterator<Item = &'k [u8]>,
        mut value: impl FnMut(usize, &[u32]) -> T,
    ) -> Directory<T> {
        let hasher = RandomState::default();
        let keys: Vec<&[u8]> = keys.collect();
        let hashes: Vec<u64> = keys.iter().map(|key| hasher.hash_one(key)).collect();
        let mut order: Vec<usize> = (0..keys.len()).collect();
        order.sort_unstable_by_key(|&index| hashes[index]);
        let mut places = vec![0; keys.len()];
        for (place, &index) in order.iter().enumerate() {
            places[index] = place as u32;
        }
        let mut all_keys = Vec::with_capacity(keys.iter().map(|key| key.len()).sum());
        let entry = |&index: &usize| {
            let key_at = all_keys.len() as u32;
            all_keys.extend_from_slice(keys[index]);
            let key_bytes = keys[index].len() as u8;
            Entry { tag: hashes[index] as u32, key_at, key_bytes, value: value(index, &places) }
        };
        let entries = order.iter().map(entry).collect();
        // One or two entries a group.
        let group_bits = keys.len().max(2).ilog2();
        let shift = u64::BITS - group_bits;
        let before = |group: u64| order.partition_point(|&index| hashes[index] >> shift < group);
        let starts = (0..=1 << group_bits).map(|group| before(group) as u32).collect();
        Directory { entries, starts, shift, keys: all_keys.into(), hasher }
    }

    /// What [`find`](Self::find) needs to know of a key.
    pub(super) fn hash(&self, key: &[u8]) -> Hash {
        Hash(self.hasher.hash_one(key))
    }

    /// The value of `key`, whose hash is given, if it has one.
    pub(super) fn find(&self, hash: Hash, key: &[u8]) -> Option<&T> {
        let found = self.group(hash).iter().find(|entry| {
            entry.tag == hash.0 as u32
                && self.keys[entry.key_at as usize..][..entry.key_bytes.into()] == *key
        });
        found.map(|entry| &entry.value)
    }

    /// Has the processor fetch the entry that [`find`](Self::find) will read.
    pub(super) fn fetch_entry(&self, hash: Hash) {
        black_box(self.group(hash).first().map(|entry| entry.tag));
    }

    /// Has the processor fetch the key that [`find`](Self::find) will compare. Gives the value
    /// that it will most likely find.
    pub(super) fn fetch_key(&self, hash: Hash) -> Option<&T> {
        let entry = self.group(hash).iter().find(|entry| entry.tag == hash.0 as u32)?;
        black_box(self.keys.get(entry.key_at as usize).copied());
        Some(&entry.value)
    }

    /// The value in a place.
    pub(super) fn at(&self, place: u32) -> Option<&T> {
        self.entries.get(place as usize).map(|entry| &entry.value)
    }

    /// All values.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|entry| &entry.value)
    }

    /// The entries among which that of a hash is.
    fn group(&self, hash: Hash) -> &[Entry<T>] {
        let group = (hash.0 >> self.shift) as usize;
        &self.entries[self.starts[group] as usize..self.starts[group + 1] as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_its_value_in_its_place_and_no_other_key_has_one() {
        for count in [0, 1, 2, 3, 1000] {
            let keys: Vec<_> = (0..count).map(|n| format!("name-{n}").into_bytes()).collect();
            let directory = Directory::new(keys.iter().map(|key| &key[..]), |index, places| {
                (index, places[index])
            });
            for (index, key) in keys.iter().enumerate() {
                let hash = directory.hash(key);
                directory.fetch_entry(hash);
                assert_eq!(directory.fetch_key(hash).map(|value| value.0), Some(index));
                let found = directory.find(hash, key);
                assert_eq!(found.map(|value| value.0), Some(index));
                assert_eq!(found, directory.at(found.unwrap().1));
            }
            assert_eq!(directory.values().count(), count);
            for stranger in [&b"name-1000"[..], b"", &[0; 255]] {
                assert_eq!(directory.find(directory.hash(stranger), stranger), None);
            }
        }
    }
}
