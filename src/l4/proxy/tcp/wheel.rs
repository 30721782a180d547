//! A hierarchical timer wheel over slots of a slab, at one timer a slot: setting and clearing take
//! constant time (Varghese and Lauck, SOSP 1987, scheme 7).

/// Slots of a level.
const SLOTS: usize = 64;
const BITS: u32 = SLOTS.trailing_zeros();
/// So many that every number of ticks has its place.
const LEVELS: usize = u64::BITS.div_ceil(BITS) as usize;
const NONE: u32 = u32::MAX;
/// The place of a timer that is not set.
const NOWHERE: u16 = u16::MAX;

/// Timers that go off at a tick; what a tick is, its user decides.
#[derive(Debug)]
pub struct Wheel {
    /// What has gone off is before or at this.
    now: u64,
    /// The first timer of each slot of each level.
    heads: Box<[u32]>,
    /// A bit for each slot of a level that has timers.
    occupied: [u64; LEVELS],
    timers: Vec<Timer>,
}

#[derive(Clone, Copy, Debug)]
struct Timer {
    deadline: u64,
    next: u32,
    previous: u32,
    place: u16,
}

impl Wheel {
    /// At tick 0, with no timer set.
    pub fn new() -> Wheel {
        Wheel {
            now: 0,
            heads: vec![NONE; SLOTS * LEVELS].into(),
            occupied: [0; LEVELS],
            timers: Vec::new(),
        }
    }

    /// Lets the timer of that index go off at that tick, and not when it was set to before.
    pub fn set(&mut self, index: u32, deadline: u64) {
        let unset = Timer { deadline: 0, next: NONE, previous: NONE, place: NOWHERE };
        if self.timers.len() <= index as usize {
            self.timers.resize(index as usize + 1, unset);
        }
        self.clear(index);
        self.link(index, deadline.max(self.now));
    }

    /// When it will go off.
    pub fn deadline(&self, index: u32) -> Option<u64> {
        let timer = self.timers.get(index as usize)?;
        (timer.place != NOWHERE).then_some(timer.deadline)
    }

    /// It does not go off any more.
    pub fn clear(&mut self, index: u32) {
        let Some(timer) = self.timers.get_mut(index as usize) else { return };
        let Timer { next, previous, place, .. } = *timer;
        if place == NOWHERE {
            return;
        }
        timer.place = NOWHERE;
        match previous {
            NONE => {
                self.heads[usize::from(place)] = next;
                if next == NONE {
                    let place = usize::from(place);
                    self.occupied[place / SLOTS] &= !(1 << (place % SLOTS));
                }
            }
            previous => self.timers[previous as usize].next = next,
        }
        if next != NONE {
            self.timers[next as usize].previous = previous;
        }
    }

    /// When [`Wheel::expired`] should be asked next; none when no timer is set. A timer may go off
    /// later than that, never earlier.
    pub fn next(&self) -> Option<u64> {
        self.first().map(|(_, at)| at)
    }

    /// A timer that goes off by `now`; to be called until there is none.
    pub fn expired(&mut self, now: u64) -> Option<u32> {
        while let Some((place, at)) = self.first().filter(|(_, at)| *at <= now) {
            self.now = self.now.max(at);
            if place < SLOTS {
                let index = self.heads[place];
                self.clear(index);
                return Some(index);
            }
            // Nearer now, all of them go to lower levels.
            while self.heads[place] != NONE {
                let index = self.heads[place];
                self.clear(index);
                self.link(index, self.timers[index as usize].deadline);
            }
        }
        self.now = self.now.max(now);
        None
    }

    fn link(&mut self, index: u32, deadline: u64) {
        // The level is that of the highest digit in which the deadline differs from now.
        let level = (u64::BITS - 1 - ((deadline ^ self.now) | 1).leading_zeros()) / BITS;
        let slot = (deadline >> (level * BITS)) as usize % SLOTS;
        let place = level as usize * SLOTS + slot;
        let next = std::mem::replace(&mut self.heads[place], index);
        if next != NONE {
            self.timers[next as usize].previous = index;
        }
        self.timers[index as usize] = Timer { deadline, next, previous: NONE, place: place as u16 };
        self.occupied[level as usize] |= 1 << slot;
    }

    /// The place of the timers that are nearest, and the tick at which that place is due.
    fn first(&self) -> Option<(usize, u64)> {
        // All of a lower level are nearer than any of a higher one.
        let level = self.occupied.iter().position(|&slots| slots != 0)?;
        // None is set for before now, so that the lowest is the next.
        let slot = self.occupied[level].trailing_zeros() as usize;
        let shift = level as u32 * BITS;
        let above = self.now.checked_shr(shift + BITS).unwrap_or(0);
        let at = above.checked_shl(shift + BITS).unwrap_or(0) | (slot as u64) << shift;
        Some((level * SLOTS + slot, at))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_timer_that_is_set_again_goes_off_once_and_later() {
        let mut wheel = Wheel::new();
        wheel.set(3, 100);
        wheel.set(3, 5_000);
        assert_eq!(wheel.deadline(3), Some(5_000));
        assert_eq!(wheel.expired(4_999), None);
        assert_eq!(wheel.expired(5_000), Some(3));
        assert_eq!(wheel.expired(u64::MAX), None);
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn a_timer_for_what_is_over_goes_off_at_once() {
        let mut wheel = Wheel::new();
        assert_eq!(wheel.expired(1_000), None);
        wheel.set(0, 7);
        assert_eq!(wheel.expired(1_000), Some(0));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Set(u32, u64),
        Clear(u32),
        Pass(u64),
    }

    fn span() -> impl Strategy<Value = u64> {
        prop_oneof![0u64..3, 0u64..200, 0u64..100_000, any::<u64>().prop_map(|ticks| ticks >> 8)]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0u32..20, span()).prop_map(|(index, ticks)| Step::Set(index, ticks)),
            (0u32..20).prop_map(Step::Clear),
            span().prop_map(Step::Pass),
        ]
    }

    proptest! {
        #[test]
        fn every_timer_goes_off_when_it_is_due_and_not_before(
            steps in proptest::collection::vec(step(), 0..80),
        ) {
            let mut wheel = Wheel::new();
            let mut set = BTreeMap::new();
            let mut now = 0u64;
            for step in steps {
                match step {
                    Step::Set(index, ticks) => {
                        wheel.set(index, now.saturating_add(ticks));
                        set.insert(index, now.saturating_add(ticks));
                    }
                    Step::Clear(index) => {
                        wheel.clear(index);
                        set.remove(&index);
                    }
                    Step::Pass(ticks) => {
                        now = now.saturating_add(ticks);
                        let mut gone = Vec::new();
                        while let Some(index) = wheel.expired(now) {
                            gone.push(index);
                        }
                        gone.sort_unstable();
                        let due: Vec<u32> =
                            set.iter().filter(|(_, at)| **at <= now).map(|(i, _)| *i).collect();
                        prop_assert_eq!(gone, due);
                        set.retain(|_, at| *at > now);
                    }
                }
                let nearest = set.values().min().copied();
                prop_assert_eq!(wheel.next().is_some(), nearest.is_some());
                prop_assert!(wheel.next() <= nearest, "asked in time");
                for index in 0..20 {
                    prop_assert_eq!(wheel.deadline(index), set.get(&index).copied());
                }
            }
        }
    }
}
