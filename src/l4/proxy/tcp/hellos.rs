//! Those that have not said yet whom they stand for or whom they ask for: who says nothing costs
//! descriptors, so that their number is bounded, and the oldest makes room.

use std::collections::VecDeque;

use super::slab::Key;

/// So many keys of connections that wait no more may be there besides as many as wait.
const SPARE: usize = 64;

/// Connections of a worker of which something is awaited.
#[derive(Debug)]
pub struct Hellos {
    /// In the order in which they came. Some may be awaited no more.
    keys: VecDeque<Key>,
    awaited: usize,
    /// So many are awaited at a time.
    pub most: usize,
}

impl Hellos {
    /// Of none, and without a bound.
    pub fn new() -> Hellos {
        Hellos { keys: VecDeque::new(), awaited: 0, most: usize::MAX }
    }

    /// One more, after which one may be too many: the oldest of those of which that is true.
    pub fn begin(&mut self, key: Key, mut is_awaited: impl FnMut(Key) -> bool) -> Option<Key> {
        self.keys.push_back(key);
        self.awaited += 1;
        if self.keys.len() > 2 * self.awaited + SPARE {
            self.keys.retain(|key| is_awaited(*key));
        }
        if self.awaited <= self.most {
            return None;
        }
        while let Some(oldest) = self.keys.pop_front() {
            if is_awaited(oldest) {
                return Some(oldest);
            }
        }
        None
    }

    /// One less is awaited.
    pub fn end(&mut self) {
        self.awaited = self.awaited.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_more_are_awaited_than_may_be_and_those_that_came_first_go(
            most in 1..20usize,
            steps in prop::collection::vec(prop::option::of(0..30usize), 0..2_000),
        ) {
            let mut hellos = Hellos { most, ..Hellos::new() };
            let mut awaited = BTreeSet::new();
            for (number, step) in (0..).zip(steps) {
                match step {
                    // Some are heard, in any order.
                    Some(at) => {
                        let heard = awaited.iter().nth(at).copied();
                        if heard.is_some_and(|one| awaited.remove(&one)) {
                            hellos.end();
                        }
                    }
                    None => {
                        awaited.insert(number);
                        let key = Key { index: number, generation: 0 };
                        let gone = hellos.begin(key, |key| awaited.contains(&key.index));
                        if let Some(gone) = gone {
                            prop_assert_eq!(Some(gone.index), awaited.pop_first());
                            hellos.end();
                        }
                        prop_assert!(awaited.len() <= most);
                    }
                }
                prop_assert!(hellos.keys.len() <= 2 * most + SPARE + 2);
            }
        }
    }
}
