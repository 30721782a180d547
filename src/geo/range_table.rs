//! A total map from addresses to numbers, stored as sorted ranges.

use std::fmt::Debug;
use std::hash::Hash;

/// An address as a number: `u32` for IPv4, `u128` for IPv6.
pub trait Key: Copy + Ord + Debug + Hash + Default + 'static {
    /// 32 or 128.
    const BITS: u8;
    /// The most significant 16 bits.
    fn top16(self) -> u16;
    /// The number of leading bits that are alike.
    fn common_prefix_len(self, other: Self) -> u8;
    /// The number one less; none below zero.
    fn before(self) -> Option<Self>;
}

macro_rules! key {
    ($int:ty) => {
        impl Key for $int {
            const BITS: u8 = <$int>::BITS as u8;

            fn top16(self) -> u16 {
                (self >> (<$int>::BITS - 16)) as u16
            }

            fn common_prefix_len(self, other: $int) -> u8 {
                (self ^ other).leading_zeros() as u8
            }

            fn before(self) -> Option<$int> {
                self.checked_sub(1)
            }
        }
    };
}

key!(u32);
key!(u128);

/// A total map from addresses to numbers: sorted, disjoint ranges that cover everything, no two
/// neighbours of which have the same value.
///
/// An index on the top 16 bits leaves a short binary search, so that a look-up costs a few cache
/// lines whatever the number of ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeTable<K> {
    /// Where each range starts; the first is 0.
    starts: Box<[K]>,
    values: Box<[u32]>,
    /// For each top-16-bit value t, the index of the last range that starts at or below t‖0…0.
    index: Box<[u32]>,
}

impl<K: Key> RangeTable<K> {
    /// From ranges in rising order of their starts, the first of which starts at 0. Neighbours with
    /// equal values are merged.
    ///
    /// # Panics
    ///
    /// If the first start is not 0, or the starts do not rise.
    pub fn from_starts(ranges: impl IntoIterator<Item = (K, u32)>) -> RangeTable<K> {
        let mut starts = Vec::new();
        let mut values: Vec<u32> = Vec::new();
        for (start, value) in ranges {
            match starts.last() {
                None => assert!(start == K::default(), "the first range starts at 0"),
                Some(&last) => assert!(last < start, "ranges rise"),
            }
            if values.last() != Some(&value) {
                starts.push(start);
                values.push(value);
            }
        }
        assert!(!starts.is_empty(), "the table covers everything");
        let mut index = vec![0u32; 1 << 16];
        let mut range = 0;
        for (top, slot) in index.iter_mut().enumerate() {
            while range + 1 < starts.len() && is_at_or_below_block(starts[range + 1], top as u16) {
                range += 1;
            }
            *slot = range as u32;
        }
        RangeTable { starts: starts.into(), values: values.into(), index: index.into() }
    }

    /// The same value everywhere.
    pub fn constant(value: u32) -> RangeTable<K> {
        RangeTable::from_starts([(K::default(), value)])
    }

    /// The value at `key`, and the length of the widest prefix around it within which every
    /// address has this value.
    pub fn lookup(&self, key: K) -> (u32, u8) {
        let range = self.range_of(key);
        let below = match self.starts[range].before() {
            Some(outside) => key.common_prefix_len(outside) + 1,
            None => 0,
        };
        let above = match self.starts.get(range + 1) {
            Some(&outside) => key.common_prefix_len(outside) + 1,
            None => 0,
        };
        (self.values[range], below.max(above))
    }

    /// The number of ranges.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Never true: a table covers everything.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The ranges in rising order: where each starts, and its value.
    pub fn ranges(&self) -> impl Iterator<Item = (K, u32)> {
        self.starts.iter().copied().zip(self.values.iter().copied())
    }

    /// The table with every value replaced; neighbours that become equal are merged.
    pub fn map(&self, mut replace: impl FnMut(u32) -> u32) -> RangeTable<K> {
        RangeTable::from_starts(self.ranges().map(|(start, value)| (start, replace(value))))
    }

    fn range_of(&self, key: K) -> usize {
        let top = usize::from(key.top16());
        let first = self.index[top] as usize;
        let last = match self.index.get(top + 1) {
            Some(&next) => next as usize,
            None => self.starts.len() - 1,
        };
        first + self.starts[first + 1..=last].partition_point(|&start| start <= key)
    }
}

fn is_at_or_below_block<K: Key>(start: K, top: u16) -> bool {
    // A start lies at or below the first address of the block when its own block is a lower one,
    // or the same and it is that very address (no bit set below the top sixteen).
    start.top16() < top || (start.top16() == top && start.before().is_none_or(|b| b.top16() != top))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_scope_is_the_widest_prefix_with_one_value() {
        let table = RangeTable::<u32>::from_starts([(0, 1), (0x8000_0000, 2), (0xc000_0000, 1)]);
        assert_eq!(table.lookup(0x1234_5678), (1, 1));
        assert_eq!(table.lookup(0x8000_0000), (2, 2));
        assert_eq!(table.lookup(0xffff_ffff), (1, 2));
        assert_eq!(RangeTable::<u128>::constant(7).lookup(42), (7, 0));
    }

    proptest! {
        #[test]
        fn a_lookup_agrees_with_a_linear_scan_and_its_scope_is_right_and_widest(
            cuts in proptest::collection::btree_map(any::<u32>(), 0u32..3, 0..60),
            keys in proptest::collection::vec(any::<u32>(), 1..40),
        ) {
            let mut ranges = vec![(0u32, 0u32)];
            ranges.extend(cuts.iter().filter(|(start, _)| **start > 0).map(|(s, v)| (*s, *v)));
            let table = RangeTable::from_starts(ranges.iter().copied());
            let scan = |key: u32| ranges.iter().rev().find(|(start, _)| *start <= key).unwrap().1;
            let uniform = |key: u32, len: u8| {
                let mask = if len == 0 { 0 } else { u32::MAX << (32 - len) };
                let (first, last) = (key & mask, key | !mask);
                let inside = ranges.iter().filter(|(s, _)| (first..=last).contains(s));
                inside.map(|(_, v)| *v).all(|v| v == scan(key)) && scan(first) == scan(key)
            };
            for key in keys.into_iter().chain(cuts.keys().copied()) {
                let (value, len) = table.lookup(key);
                prop_assert_eq!(value, scan(key));
                prop_assert!(uniform(key, len));
                prop_assert!(len == 0 || !uniform(key, len - 1));
            }
        }
    }
}
