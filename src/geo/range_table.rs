//! A total map from addresses to numbers, stored as sorted ranges.

use std::fmt::Debug;
use std::hash::Hash;
use std::hint::black_box;

mod radix;

use radix::Radix;

/// An address as a number: `u32` for IPv4, `u128` for IPv6.
pub trait Key: Copy + Ord + Debug + Hash + Default + 'static {
    /// 32 or 128.
    const BITS: u8;
    /// The highest address.
    const LAST: Self;
    /// The `len` bits, 1 to 31, that follow the first `skip`; zeros beyond the end.
    fn slice(self, skip: u8, len: u8) -> usize;
    /// The number of leading bits that are alike.
    fn common_prefix_len(self, other: Self) -> u8;
    /// The number one less; none below zero.
    fn before(self) -> Option<Self>;
    /// The number one more; none beyond [`Key::LAST`].
    fn after(self) -> Option<Self>;
}

macro_rules! key {
    ($int:ty) => {
        impl Key for $int {
            const BITS: u8 = <$int>::BITS as u8;
            const LAST: $int = <$int>::MAX;

            fn slice(self, skip: u8, len: u8) -> usize {
                let rest = self.checked_shl(u32::from(skip)).unwrap_or(0);
                (rest >> (<$int>::BITS - u32::from(len))) as usize
            }

            fn common_prefix_len(self, other: $int) -> u8 {
                (self ^ other).leading_zeros() as u8
            }

            fn before(self) -> Option<$int> {
                self.checked_sub(1)
            }

            fn after(self) -> Option<$int> {
                self.checked_add(1)
            }
        }
    };
}

key!(u32);
key!(u128);

/// A total map from addresses to numbers: sorted, disjoint ranges that cover everything, no two
/// neighbours of which have the same value.
///
/// A radix index leaves a search among a handful of ranges, so that a look-up costs a few cache
/// lines whatever the number of ranges and wherever they crowd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeTable<K: Copy> {
    /// By start; the first is 0.
    ranges: Box<[Range<K>]>,
    index: Radix,
}

/// A range up to the start of the next. Packed, so that one cache line holds as many as can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(Rust, packed(4))]
struct Range<K: Copy> {
    start: K,
    value: u32,
}

impl<K: Key> RangeTable<K> {
    /// From ranges in rising order of their starts, the first of which starts at 0. Neighbours with
    /// equal values are merged.
    ///
    /// # Panics
    ///
    /// If the first start is not 0, or the starts do not rise.
    pub fn from_starts(from: impl IntoIterator<Item = (K, u32)>) -> RangeTable<K> {
        let from = from.into_iter();
        let mut ranges: Vec<Range<K>> = Vec::with_capacity(from.size_hint().0);
        let mut last = None;
        for (start, value) in from {
            match last {
                None => assert!(start == K::default(), "the first range starts at 0"),
                Some(last) => assert!(last < start, "ranges rise"),
            }
            last = Some(start);
            if ranges.last().is_none_or(|range| range.value != value) {
                ranges.push(Range { start, value });
            }
        }
        assert!(!ranges.is_empty(), "the table covers everything");
        let index = Radix::new(&ranges);
        RangeTable { ranges: ranges.into(), index }
    }

    /// The same value everywhere.
    pub fn constant(value: u32) -> RangeTable<K> {
        RangeTable::from_starts([(K::default(), value)])
    }

    /// The value at `key`, and the length of the widest prefix around it within which every
    /// address has this value.
    pub fn lookup(&self, key: K) -> (u32, u8) {
        let range = self.range_of(key);
        let Range { start, value } = self.ranges[range];
        let below = match start.before() {
            Some(outside) => key.common_prefix_len(outside) + 1,
            None => 0,
        };
        let above = match self.ranges.get(range + 1) {
            Some(&Range { start: outside, .. }) => key.common_prefix_len(outside) + 1,
            None => 0,
        };
        (value, below.max(above))
    }

    /// Has the processor fetch what [`lookup`](Self::lookup) reads first.
    pub fn fetch_index(&self, key: K) {
        self.index.fetch(key);
    }

    /// Has the processor fetch what it reads next, once the first is here.
    pub fn fetch_range(&self, key: K) {
        black_box(self.ranges.get(self.index.find(key).0 + 1).copied());
    }

    /// The number of ranges.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Never true: a table covers everything.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The memory it occupies, in bytes.
    #[cfg(test)]
    fn size_bytes(&self) -> usize {
        size_of_val(&*self.ranges) + self.index.size_bytes()
    }

    /// The ranges in rising order: where each starts, and its value.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = (K, u32)> + Clone {
        self.ranges.iter().map(|&Range { start, value }| (start, value))
    }

    fn range_of(&self, key: K) -> usize {
        let (first, more) = self.index.find(key);
        let candidates = &self.ranges[first + 1..][..more];
        first + candidates.partition_point(|&Range { start, .. }| start <= key)
    }
}

#[cfg(test)]
mod tests;
