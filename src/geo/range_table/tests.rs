//! What must hold of range tables.

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

#[test]
fn a_small_table_is_small() {
    let table = RangeTable::<u32>::from_starts((0..9).map(|i| (i << 28, i)));
    assert!(table.size_bytes() <= 9 * 8);
    let table = RangeTable::<u128>::from_starts((0..1000).map(|i: u128| (i << 100, i as u32)));
    assert!(table.size_bytes() <= 1000 * 40);
}

#[test]
fn ranges_that_crowd_cost_memory_in_proportion() {
    // Every address of one /112, and nothing else: the worst for an index by leading bits.
    let crowd = (0..0xffff_u128).map(|i| (1 << 100 | i, i as u32 % 2 + 1));
    let table = RangeTable::<u128>::from_starts(std::iter::once((0, 0)).chain(crowd));
    assert!(table.size_bytes() < 0xffff * 60, "{}", table.size_bytes());
    assert_eq!(table.lookup(1 << 100 | 0x1234), (1, 128));
    assert_eq!(table.lookup(1 << 100 | 0x1235), (2, 128));
}

#[test]
fn equal_neighbours_are_one_range() {
    let table = RangeTable::<u32>::from_starts([(0, 1), (10, 1), (20, 2)]);
    assert_eq!(table.ranges().collect::<Vec<_>>(), [(0, 1), (20, 2)]);
}

/// Starts that crowd at a few places as well as spread.
fn crowded_starts() -> impl Strategy<Value = Vec<u32>> {
    let spread = proptest::collection::vec(any::<u32>(), 0..60);
    let crowds = proptest::collection::vec((any::<u32>(), 0u32..6, 0u32..80), 0..4);
    (spread, crowds).prop_map(|(mut starts, crowds)| {
        for (base, step_bits, count) in crowds {
            starts.extend((0..count).map(|i| base.wrapping_add(i << step_bits)));
        }
        starts.sort_unstable();
        starts.dedup();
        starts
    })
}

/// The same for a wide key: the narrow one in the upper half, its bits again in the lower.
fn widen(key: u32) -> u128 {
    u128::from(key) << 96 | u128::from(key & 0xff)
}

fn agrees_with_a_linear_scan<K: Key>(
    ranges: &[(K, u32)],
    keys: &[K],
    around: impl Fn(K, u8) -> (K, K),
) -> Result<(), TestCaseError> {
    let table = RangeTable::from_starts(ranges.iter().copied());
    let scan = |key: K| ranges.iter().rev().find(|(start, _)| *start <= key).unwrap().1;
    let uniform = |key: K, len: u8| {
        let (first, last) = around(key, len);
        let inside = ranges.iter().filter(|(start, _)| (first..=last).contains(start));
        inside.map(|(_, value)| *value).all(|value| value == scan(key)) && scan(first) == scan(key)
    };
    for &key in keys {
        let (value, len) = table.lookup(key);
        prop_assert_eq!(value, scan(key));
        prop_assert!(uniform(key, len));
        prop_assert!(len == 0 || !uniform(key, len - 1));
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_lookup_agrees_with_a_linear_scan_and_its_scope_is_right_and_widest(
        starts in crowded_starts(),
        values in proptest::collection::vec(0u32..3, 400),
        keys in proptest::collection::vec(any::<u32>(), 1..40),
    ) {
        let starts = std::iter::once(0).chain(starts.into_iter().filter(|start| *start > 0));
        let ranges: Vec<(u32, u32)> = starts.zip(values).collect();
        let mut keys = keys;
        keys.extend(ranges.iter().flat_map(|(start, _)| [*start, start.wrapping_sub(1)]));
        agrees_with_a_linear_scan(&ranges, &keys, |key, len| {
            let host = u32::MAX.checked_shr(u32::from(len)).unwrap_or(0);
            (key & !host, key | host)
        })?;
        let ranges: Vec<(u128, u32)> = ranges.iter().map(|(s, v)| (widen(*s), *v)).collect();
        let keys: Vec<u128> = keys.iter().map(|key| widen(*key)).collect();
        agrees_with_a_linear_scan(&ranges, &keys, |key, len| {
            let host = u128::MAX.checked_shr(u32::from(len)).unwrap_or(0);
            (key & !host, key | host)
        })?;
    }
}
