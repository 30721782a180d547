//! The index of a range table: a radix tree whose nodes branch as widely as their part is crowded.

use super::Key;

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
    /// The slots of all nodes; the root's come first.
    slots: Box<[Slot]>,
    /// The width of the root in bits; 0 when the root is a leaf.
    root_bits: u8,
    /// Whether a lone leaf serves all keys: the number of its starts.
    root_more: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    /// Of a leaf: the index of the last range that starts at or below the slot's first address, or
    /// of the one before, where the next starts exactly there. Of a node: its first slot.
    at: u32,
    /// Of a leaf: the number of starts to search after `at`, up to [`CROWD`]. Of a node: its width
    /// in bits, plus [`NODE`].
    kind: u8,
}

/// Marks the kind of a slot that leads to a node.
const NODE: u8 = 0x80;

impl Radix {
    /// The index of ranges that start at `starts`, rising from 0.
    pub(super) fn new<K: Key>(starts: &[K]) -> Radix {
        // The first start is at or below every key, so that only the others separate keys.
        if starts.len() - 1 <= CROWD {
            let root_more = (starts.len() - 1) as u8;
            return Radix { slots: Box::new([]), root_bits: 0, root_more };
        }
        let mut slots = Vec::new();
        let root_bits = width::<K>(starts.len() - 1, 0);
        split(&mut slots, starts, 1..starts.len(), 0, root_bits);
        Radix { slots: slots.into(), root_bits, root_more: 0 }
    }

    /// The index of a range that starts at or below `key`, and the number of ranges after it that
    /// may do so too.
    #[inline]
    pub(super) fn find<K: Key>(&self, key: K) -> (usize, usize) {
        if self.root_bits == 0 {
            return (0, usize::from(self.root_more));
        }
        let (mut node, mut skip, mut bits) = (0, 0, self.root_bits);
        loop {
            let slot = self.slots[node + key.slice(skip, bits)];
            if slot.kind & NODE == 0 {
                return (slot.at as usize, usize::from(slot.kind));
            }
            node = slot.at as usize;
            skip += bits;
            bits = slot.kind & !NODE;
        }
    }

    pub(super) fn size_bytes(&self) -> usize {
        size_of_val(&*self.slots)
    }
}

/// Appends the node that splits `part` of the starts by the `bits` after the first `skip`, and all
/// below it.
fn split<K: Key>(
    slots: &mut Vec<Slot>,
    starts: &[K],
    part: std::ops::Range<usize>,
    skip: u8,
    bits: u8,
) {
    let node = slots.len();
    slots.resize(node + (1 << bits), Slot { at: 0, kind: 0 });
    let mut from = part.start;
    for slot in 0..1 << bits {
        let inside = starts[from..part.end].iter();
        let count = inside.take_while(|start| start.slice(skip, bits) == slot).count();
        let filled = if count <= CROWD {
            Slot { at: (from - 1) as u32, kind: count as u8 }
        } else {
            let (at, skip) = (slots.len() as u32, skip + bits);
            let bits = width::<K>(count, skip);
            split(slots, starts, from..from + count, skip, bits);
            Slot { at, kind: NODE | bits }
        };
        slots[node + slot] = filled;
        from += count;
    }
}

/// The width of a node for so many starts: two to four a slot, were they spread evenly.
fn width<K: Key>(count: usize, skip: u8) -> u8 {
    let even = (count / 2).ilog2() as u8;
    even.clamp(1, WIDEST).min(K::BITS - skip)
}
