//! Values in slots that are used again, each under a key that no other value ever had.

/// So many generations are told apart; a key lives for an event at most.
const GENERATIONS: u32 = 1 << 24;

/// Names a value for as long as it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The slot.
    pub index: u32,
    /// How often the slot had been used before, modulo 2^24.
    pub generation: u32,
}

/// Values under keys.
#[derive(Debug)]
pub struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slab<T> {
    /// Without values.
    pub fn new() -> Slab<T> {
        Slab { slots: Vec::new(), free: Vec::new() }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts a value, that `make` makes for its key, in a slot.
    pub fn insert(&mut self, make: impl FnOnce(Key) -> T) -> Key {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, value: None });
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        let key = Key { index, generation: slot.generation };
        slot.value = Some(make(key));
        key
    }

    /// The value under that key, if it is still there.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation == key.generation { slot.value.as_mut() } else { None }
    }

    /// The key of the value in that slot.
    pub fn key_at(&self, index: u32) -> Option<Key> {
        let slot = self.slots.get(index as usize)?;
        slot.value.is_some().then_some(Key { index, generation: slot.generation })
    }

    /// Takes the value out.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = (slot.generation + 1) % GENERATIONS;
        self.free.push(key.index);
        Some(value)
    }

    /// The keys of those values for which `is_meant` is true.
    pub fn keys(&self, is_meant: impl Fn(&T) -> bool) -> Vec<Key> {
        let slots = self.slots.iter().enumerate();
        let keys = slots.filter(|(_, slot)| slot.value.as_ref().is_some_and(&is_meant));
        keys.map(|(index, slot)| Key { index: index as u32, generation: slot.generation }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_does_not_find_the_value_that_came_after() {
        let mut slab = Slab::new();
        let first = slab.insert(|_| "first");
        assert_eq!(slab.get_mut(first), Some(&mut "first"));
        assert_eq!(slab.remove(first), Some("first"));
        assert_eq!(slab.remove(first), None);
        let second = slab.insert(|_| "second");
        assert_eq!(second.index, first.index, "the slot is used again");
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.key_at(second.index), Some(second));
        assert_eq!(slab.len(), 1);
        assert_eq!(slab.keys(|value| *value == "second"), [second]);
        assert_eq!(slab.keys(|value| *value == "first"), []);
    }
}
