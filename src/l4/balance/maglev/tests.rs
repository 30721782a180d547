//! Evenness, order and disruption.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::l4::settings::MAGLEV_SIZES;

fn addresses(count: usize) -> Vec<SocketAddr> {
    let address = |n| SocketAddr::new(Ipv4Addr::from_bits(0x0A01_0000 + n as u32).into(), 443);
    (0..count).map(address).collect()
}

/// The entries of each backend.
fn counts(table: &Maglev, backends: usize) -> Vec<u32> {
    let mut counts = vec![0; backends];
    table.entries().iter().for_each(|entry| counts[*entry as usize] += 1);
    counts
}

/// The addresses that stand in the entries.
fn filled(size: u32, backends: &[(SocketAddr, u32)]) -> Vec<SocketAddr> {
    let (addresses, weights): (Vec<_>, Vec<_>) = backends.iter().copied().unzip();
    let table = Maglev::new(size, &addresses, &weights);
    table.entries().iter().map(|entry| addresses[*entry as usize]).collect()
}

#[test]
fn entries_of_equal_weights_differ_by_at_most_one_in_every_size() {
    for size in MAGLEV_SIZES {
        for backends in [1, 2, 3, 10, 100, 1_000] {
            let table = Maglev::new(size, &addresses(backends), &vec![5; backends]);
            let counts = counts(&table, backends);
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            assert!(most - least <= 1, "{backends} backends in {size}: {least} to {most}");
            assert_eq!(counts.iter().sum::<u32>(), size);
        }
    }
}

#[test]
fn entries_follow_the_weights_to_one_entry() {
    for weights in [&[1, 2, 3, 10][..], &[1, 1_000_000], &[20, 19, 20, 20, 3]] {
        let table = Maglev::new(65_537, &addresses(weights.len()), weights);
        let total: u32 = weights.iter().sum();
        for (count, weight) in counts(&table, weights.len()).into_iter().zip(weights) {
            let exact = 65_537.0 * f64::from(*weight) / f64::from(total);
            assert!((f64::from(count) - exact).abs() <= 1.5, "{count} for {exact}");
        }
    }
}

#[test]
fn without_weights_there_is_nothing() {
    assert_eq!(Maglev::new(4_093, &addresses(2), &[0, 0]).from(u64::MAX).next(), None);
    assert_eq!(Maglev::new(4_093, &[], &[]).from(7).next(), None);
}

#[test]
fn a_table_is_the_same_in_every_version() {
    let table = Maglev::new(4_093, &addresses(5), &[1, 1, 2, 1, 1]);
    let bytes: Vec<u8> = table.entries().iter().flat_map(|entry| entry.to_be_bytes()).collect();
    assert_eq!(xxhash_rust::xxh3::xxh3_64(&bytes), 1_586_502_236_171_664_764);
}

/// Of the entries that need not change when one of so many backends goes, the part that does.
fn disruption(backends: usize, size: u32) -> f64 {
    let all: Vec<_> = addresses(backends).into_iter().map(|address| (address, 1)).collect();
    let gone = all[backends / 2].0;
    let without: Vec<_> = all.iter().copied().filter(|(address, _)| *address != gone).collect();
    let (before, after) = (filled(size, &all), filled(size, &without));
    let others = before.iter().zip(&after).filter(|(before, _)| **before != gone);
    others.filter(|(before, after)| before != after).count() as f64 / f64::from(size)
}

#[test]
fn few_entries_change_that_need_not() {
    assert!(disruption(3, 65_537) < 0.12);
    assert!(disruption(100, 65_537) < 0.06);
    assert!(disruption(100, 655_373) < disruption(100, 65_537) * 1.5);
}

proptest! {
    #[test]
    fn the_order_of_the_backends_makes_no_difference(
        weights in proptest::collection::vec(0u32..5, 1..20),
        seed in any::<u64>(),
    ) {
        let mut backends: Vec<(SocketAddr, u32)> =
            addresses(weights.len()).into_iter().zip(weights).collect();
        let before = filled(4_093, &backends);
        backends.sort_by_key(|(address, _)| mix(seed ^ u64::from(address.port()) ^ identity(*address)));
        prop_assert_eq!(before, filled(4_093, &backends));
    }
}
