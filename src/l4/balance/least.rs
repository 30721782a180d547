//! The least loaded of very many, without a look at all of them for every flow.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// So many of the least loaded are kept in mind.
pub const FEW: usize = 64;
/// Of fewer backends than this, all are looked at every time.
pub const MANY: usize = 4 * FEW;

/// The few with the fewest flows for their weights, as they were at the last look at all. They are
/// chosen from until one of the others would be as good, and for no more than [`FEW`] flows: of
/// others, flows may have ended. Threads that look at the same time may mix what they find, which
/// makes a choice no worse than an old look would.
#[derive(Debug)]
pub struct Least {
    few: [AtomicU32; FEW],
    /// How many flows they are still good for.
    left: AtomicU32,
    /// The least load of any other, for its weight: an `f64`.
    others: AtomicU64,
}

/// What is no backend.
const NONE: u32 = u32::MAX;

impl Least {
    /// Nothing is known yet.
    pub fn new() -> Least {
        Least {
            few: [const { AtomicU32::new(NONE) }; FEW],
            left: AtomicU32::new(0),
            others: AtomicU64::new(0),
        }
    }

    /// The few, beginning with another one each turn; none when it is time to look at all again.
    pub fn few(&self, turn: u64) -> impl Iterator<Item = usize> {
        let is_good = self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
        let count = if is_good { FEW } else { 0 };
        let few =
            (0..count).map(move |at| self.few[(at + turn as usize % FEW) % FEW].load(Relaxed));
        few.filter(|backend| *backend != NONE).map(|backend| backend as usize)
    }

    /// Whether none but these few has less for its weight.
    pub fn is_least(&self, load: u64, weight: u32) -> bool {
        ratio(load, weight) <= f64::from_bits(self.others.load(Relaxed))
    }

    /// Takes in all that can be chosen, with their loads and weights; false if there are none.
    pub fn look(&self, all: impl Iterator<Item = (usize, u64, u32)>) -> bool {
        let mut few = [(f64::INFINITY, NONE); FEW];
        let (mut worst, mut others) = (0, f64::INFINITY);
        for (backend, load, weight) in all {
            let ratio = ratio(load, weight);
            if ratio >= few[worst].0 {
                others = others.min(ratio);
                continue;
            }
            others = others.min(few[worst].0);
            few[worst] = (ratio, backend as u32);
            worst =
                (0..FEW).fold(worst, |worst, at| if few[at].0 > few[worst].0 { at } else { worst });
        }
        self.few.iter().zip(few).for_each(|(place, (_, backend))| place.store(backend, Relaxed));
        self.others.store(others.to_bits(), Relaxed);
        self.left.store(FEW as u32, Relaxed);
        few.iter().any(|(_, backend)| *backend != NONE)
    }
}

fn ratio(load: u64, weight: u32) -> f64 {
    load as f64 / f64::from(weight)
}
