//! How long answers may be kept: short where much may change soon, long in calm.

use super::tuning::Tuning;

/// What a TTL depends on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Calm {
    /// The row has just been moved or split otherwise, in seconds ago.
    pub changed_ago: Option<f64>,
    /// The datacenter it has, or would rather have, is near its wall, down or on its way.
    pub is_near: bool,
}

/// The TTL for a row, within the pool's bounds, in seconds.
pub(super) fn ttl(calm: Calm, (min, max): (u32, u32), tuning: &Tuning) -> u32 {
    let is_new = calm.changed_ago.is_some_and(|ago| ago < tuning.ttl_after_s);
    if is_new || calm.is_near { min } else { max }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_kept_long_in_calm_and_short_near_a_wall_or_after_a_change() {
        let tuning = Tuning::default();
        let of = |changed_ago, is_near| ttl(Calm { changed_ago, is_near }, (15, 60), &tuning);
        assert_eq!(of(None, false), 60);
        assert_eq!(of(Some(1e6), false), 60);
        assert_eq!(of(Some(1.0), false), 15);
        assert_eq!(of(None, true), 15);
    }
}
