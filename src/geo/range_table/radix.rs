//! The index of a range table: a radix tree whose nodes branch as widely as their part is crowded.

use std::hint::black_box;

use super::{Key, Range};

/// A leaf has at most this many range starts.
const CROWD: usize = 8;
/// The widest node, in bits.
const WIDEST: u8 = 20;

/// Finds the few ranges among which a key's is.
///
/// A node splits its part of the address space into equal slots by the next few bits. A slot with
/// few range starts is a leaf; another is a node again. Real tables crowd (a /32 with a hundred
/// thousand ranges beside an empty /8), which a flat index of fixed width serves badly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Radix {
    /// The slots of all nodes, those of the root first; none when one leaf serves all keys.
    slots: Box<[Slot]>,
    /// The width of the root in bits.
    root_bits: u8,
    /// Of the one leaf that serves all keys: the number of starts after the first.
    lone_count: u32,
}

/// What serves the keys of a slot: in the upper bits a [`NODE`]'s width or a leaf's number of
/// starts, in the lower ones an index. A node's is that of its first slot. A leaf's is that of the
/// last range that starts before the slot; the ranges to search follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot(u32);

/// Marks a slot that leads to a node.
const NODE: u32 = 1 << 31;
/// The bits of an index.
const INDEX_BITS: u32 = 26;

impl Slot {
    fn leaf(before: usize, count: usize) -> Slot {
        Slot((count as u32) << INDEX_BITS | before as u32)
    }

    fn node(first: usize, bits: u8) -> Slot {
        Slot(NODE | u32::from(bits) << INDEX_BITS | first as u32)
    }

    fn is_node(self) -> bool {
        self.0 & NODE != 0
    }

    fn upper(self) -> usize {
        ((self.0 & !NODE) >> INDEX_BITS) as usize
    }

    fn index(self) -> usize {
        (self.0 & ((1 << INDEX_BITS) - 1)) as usize
    }
}

impl Radix {
    /// The index of ranges that rise from 0.
    pub(super) fn new<K: Key>(ranges: &[Range<K>]) -> Radix {
        // The first start is at or below every key, so that only the others separate keys.
        let count = ranges.len() - 1;
        let mut slots = Vec::new();
        let root_bits = if count <= CROWD { 0 } else { width::<K>(count, 0) };
        if root_bits > 0 && count < 1 << INDEX_BITS {
            split(&mut slots, ranges, 1..ranges.len(), 0, root_bits);
        }
        if slots.len() > 1 << INDEX_BITS {
            slots.clear();
        }
        Radix { slots: slots.into(), root_bits, lone_count: count as u32 }
    }

    /// The index of a range that starts at or below `key`, and the number of ranges after it that
    /// may do so too.
    #[inline]
    pub(super) fn find<K: Key>(&self, key: K) -> (usize, usize) {
        if self.slots.is_empty() {
            return (0, self.lone_count as usize);
        }
        let (mut node, mut skip, mut bits) = (0, 0, self.root_bits);
        loop {
            let slot = self.slots[node + key.slice(skip, bits)];
            if !slot.is_node() {
                return (slot.index(), slot.upper());
            }
            node = slot.index();
            skip += bits;
            bits = slot.upper() as u8;
        }
    }

    /// Has the processor fetch the first slot that [`find`](Self::find) reads.
    #[inline]
    pub(super) fn fetch<K: Key>(&self, key: K) {
        if !self.slots.is_empty() {
            black_box(self.slots[key.slice(0, self.root_bits)]);
        }
    }

    #[cfg(test)]
    pub(super) fn size_bytes(&self) -> usize {
        size_of_val(&*self.slots)
    }
}

/// Appends the node that splits `part` of the ranges by the `bits` after the first `skip`, and all
/// below it.
fn split<K: Key>(
    slots: &mut Vec<Slot>,
    ranges: &[Range<K>],
    part: std::ops::Range<usize>,
    skip: u8,
    bits: u8,
) {
    let node = slots.len();
    slots.resize(node + (1 << bits), Slot(0));
    let mut from = part.start;
    for slot in 0..1 << bits {
        let inside = ranges[from..part.end].iter();
        let count =
            inside.take_while(|&&Range { start, .. }| start.slice(skip, bits) == slot).count();
        slots[node + slot] = if count <= CROWD {
            Slot::leaf(from - 1, count)
        } else {
            let (first, skip) = (slots.len(), skip + bits);
            let bits = width::<K>(count, skip);
            split(slots, ranges, from..from + count, skip, bits);
            Slot::node(first, bits)
        };
        from += count;
    }
}

/// The width of a node for so many starts: two to four a slot, were they spread evenly.
fn width<K: Key>(count: usize, skip: u8) -> u8 {
    let even = (count / 2).ilog2() as u8;
    even.clamp(1, WIDEST).min(K::BITS - skip)
}
