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

/// Of 32 bytes where a value has 20, and never across two cache lines.
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

/// How far the search for a key in one directory is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search {
    hash: u64,
    /// How many of the entries among which the key's is are known to be others.
    skipped: u32,
}

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

    /// Begins the search for a key.
    pub(super) fn search(&self, key: &[u8]) -> Search {
        Search { hash: self.hasher.hash_one(key), skipped: 0 }
    }

    /// Ends the search: gives the value of `key`, which is that of the search, if it has one.
    pub(super) fn find(&self, search: Search, key: &[u8]) -> Option<&T> {
        let found = self.rest(&search).iter().find(|entry| {
            entry.tag == search.hash as u32
                && self.keys[entry.key_at as usize..][..entry.key_bytes.into()] == *key
        });
        found.map(|entry| &entry.value)
    }

    /// Has the processor fetch the entries where a search goes on.
    pub(super) fn fetch_entries(&self, search: &Search) {
        let entries = self.rest(search);
        black_box((entries.first().map(|entry| entry.tag), entries.last().map(|entry| entry.tag)));
    }

    /// Goes on to the entry that is most likely the key's; has the processor fetch the key there,
    /// and gives the value.
    pub(super) fn fetch_key(&self, search: &mut Search) -> Option<&T> {
        let rest = self.rest(search);
        let other = rest.iter().take_while(|entry| entry.tag != search.hash as u32).count();
        search.skipped += other as u32;
        let entry = rest.get(other)?;
        black_box(self.keys.get(entry.key_at as usize).copied());
        Some(&entry.value)
    }

    /// The value that a search has come to.
    pub(super) fn likely(&self, search: &Search) -> Option<&T> {
        self.rest(search).first().map(|entry| &entry.value)
    }

    /// The value in a place.
    pub(super) fn at(&self, place: u32) -> Option<&T> {
        self.entries.get(place as usize).map(|entry| &entry.value)
    }

    /// All values.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|entry| &entry.value)
    }

    /// The entries among which the key's is.
    fn rest(&self, search: &Search) -> &[Entry<T>] {
        let group = (search.hash >> self.shift) as usize;
        let start = self.starts[group] + search.skipped;
        &self.entries[start as usize..self.starts[group + 1] as usize]
    }
}

const _: () = assert!(size_of::<Entry<[u32; 5]>>() == 32);

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
                let mut search = directory.search(key);
                let found = directory.find(search, key);
                assert_eq!(found.map(|value| value.0), Some(index));
                assert_eq!(found, directory.at(found.unwrap().1));
                directory.fetch_entries(&search);
                assert_eq!(directory.fetch_key(&mut search), found);
                assert_eq!(directory.likely(&search), found);
                assert_eq!(directory.find(search, key), found);
            }
            assert_eq!(directory.values().count(), count);
            for stranger in [&b"name-1000"[..], b"", &[0; 255]] {
                let mut search = directory.search(stranger);
                assert_eq!(directory.find(search, stranger), None);
                directory.fetch_key(&mut search);
                assert_eq!(directory.find(search, stranger), None);
            }
        }
    }
}
