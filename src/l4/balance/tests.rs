//! What each balance promises.

use std::cell::Cell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::*;
use crate::l4::settings::{HashOf, Protocol};

fn flow(client: u32) -> Flow {
    Flow {
        client: SocketAddr::new(Ipv4Addr::from_bits(0xC633_6400 + client).into(), 40_000),
        vip: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10)), 443),
        protocol: Protocol::Tcp,
    }
}

fn addresses(count: usize) -> Vec<SocketAddr> {
    let address = |n| SocketAddr::new(Ipv4Addr::from_bits(0x0A01_0000 + n as u32).into(), 8443);
    (0..count).map(address).collect()
}

fn chooser(balance: Balance, weights: &[u32]) -> Chooser {
    Chooser::new(balance, &addresses(weights.len()), weights)
}

const HASH: Balance = Balance::Hash { of: HashOf::Source };
const MAGLEV: Balance = Balance::Maglev { of: HashOf::Source, table_size: 4_093 };
const BOUNDED: Balance = Balance::BoundedHash { of: HashOf::Source, factor: 1.25 };

fn any_balance() -> impl Strategy<Value = Balance> {
    prop_oneof![
        Just(Balance::RoundRobin),
        Just(Balance::LeastConnections),
        Just(Balance::TwoChoices),
        Just(HASH),
        Just(MAGLEV),
        Just(BOUNDED),
    ]
}

/// How many of the first clients each backend is chosen for, without loads.
fn shares(chooser: &Chooser, clients: u32) -> Vec<u32> {
    let mut shares = vec![0; chooser.weights.len()];
    for client in 0..clients {
        shares[chooser.choose(&flow(client), client.into(), |_| Some(0)).unwrap()] += 1;
    }
    shares
}

/// Lets so many flows come that all stay; how many each backend has then.
fn fill(chooser: &Chooser, flows: u32) -> Vec<u64> {
    let mut loads = vec![0; chooser.weights.len()];
    for client in 0..flows {
        let chosen = chooser.choose(&flow(client), client.into(), |b| Some(loads[b])).unwrap();
        loads[chosen] += 1;
    }
    loads
}

#[test]
fn a_round_robin_is_smooth() {
    let chooser = chooser(Balance::RoundRobin, &[4, 1, 1]);
    let pick = |turn| chooser.choose(&flow(0), turn, |_| Some(0)).unwrap();
    let picks: Vec<_> = (0..6).map(pick).collect();
    assert_eq!(picks, [0, 0, 1, 0, 2, 0], "never all four of the heavy one in a row");
}

#[test]
fn the_least_loaded_for_its_weight_is_taken() {
    let chooser = chooser(Balance::LeastConnections, &[1, 2, 1]);
    let loads = [1, 2, 5];
    let flows = |b: usize| Some(loads[b]);
    assert!([0, 1].contains(&chooser.choose(&flow(0), 0, flows).unwrap()));
    let flows = |b: usize| (b != 0).then_some(loads[b]);
    assert_eq!(chooser.choose(&flow(0), 0, flows), Some(1));
}

#[test]
fn of_two_that_are_drawn_the_less_loaded_is_taken_so_that_loads_stay_close() {
    let loads = fill(&chooser(Balance::TwoChoices, &[1; 50]), 5_000);
    let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
    // Drawing one alone would leave a spread of some 4 standard deviations: 40.
    assert!(most - least <= 8, "{loads:?}");
    let loads = fill(&chooser(Balance::TwoChoices, &[1, 3]), 4_000);
    assert!(loads[0].abs_diff(1_000) < 60, "{loads:?}");
}

#[test]
fn thousands_of_backends_get_in_proportion_to_their_weights() {
    let weights: Vec<u32> = (0..10_000).map(|n| 100_000 * (n % 3 + 1) + n % 7).collect();
    let schedule = turns::schedule(&weights);
    assert!(schedule.len() as u64 <= (turns::MAX_TURNS + 1) * 10_000, "{}", schedule.len());
    let mut turns = vec![0u32; weights.len()];
    schedule.iter().for_each(|backend| turns[*backend as usize] += 1);
    for (n, turns) in turns.into_iter().enumerate() {
        assert_eq!(turns, [4, 8, 12][n % 3], "{n}");
    }
}

#[test]
fn hashes_give_each_its_weight() {
    for balance in [HASH, MAGLEV] {
        let shares = shares(&chooser(balance, &[1, 2, 0, 5]), 8_000);
        for (share, expected) in shares.iter().zip([1_000u32, 2_000, 0, 5_000]) {
            assert!(share.abs_diff(expected) < 200, "{balance:?}: {shares:?}");
        }
        assert_eq!(shares[2], 0);
    }
}

#[test]
fn a_client_stays_with_its_backend_while_it_is_there() {
    for balance in [HASH, MAGLEV, BOUNDED] {
        let chooser = chooser(balance, &[1; 7]);
        for client in 0..100 {
            let of_turn = |turn| chooser.choose(&flow(client), turn, |_| Some(3));
            assert_eq!(of_turn(0), of_turn(12_345), "{balance:?}");
        }
    }
}

#[test]
fn when_a_backend_goes_no_other_client_of_a_rendezvous_moves_and_few_of_a_maglev_table() {
    for (balance, most) in [(HASH, 0), (MAGLEV, 200)] {
        let (all, without) =
            (chooser(balance, &[1; 10]), chooser(balance, &[1, 1, 1, 0, 1, 1, 1, 1, 1, 1]));
        let mut moved = 0;
        let mut taken_by: HashMap<usize, u32> = HashMap::new();
        for client in 0..5_000 {
            let at = |chooser: &Chooser| chooser.choose(&flow(client), 0, |_| Some(0)).unwrap();
            match (at(&all), at(&without)) {
                (3, other) => *taken_by.entry(other).or_default() += 1,
                (before, after) => moved += u32::from(before != after),
            }
        }
        assert!(moved <= most, "{balance:?} moved {moved}");
        assert_eq!(taken_by.len(), 9, "all others take some of its clients");
    }
}

#[test]
fn bounded_loads_are_bounded_and_most_clients_stay() {
    let weights = [1, 1, 1, 1, 4];
    let bounded = chooser(BOUNDED, &weights);
    let unbounded = chooser(HASH, &weights);
    let mut loads = [0; 5];
    let mut at_home = 0;
    // A hundred clients, of whom a few come again and again.
    for turn in 0..4_000u32 {
        let flow = flow(if turn % 2 == 0 { 7 } else { turn % 100 });
        let chosen = bounded.choose(&flow, turn.into(), |b| Some(loads[b])).unwrap();
        at_home += u32::from(unbounded.choose(&flow, 0, |_| Some(0)) == Some(chosen));
        loads[chosen] += 1;
        let total: u64 = loads.iter().sum();
        for (load, weight) in loads.iter().zip(weights) {
            let most = (1.25 * total as f64 * f64::from(weight) / 8.0).ceil() as u64;
            assert!(*load <= most, "{loads:?}");
        }
    }
    assert!(at_home > 1_000, "{at_home}");
    // None is the client's own any more: it goes to another, as do all that find theirs full.
    let home = unbounded.choose(&flow(7), 0, |_| Some(0)).unwrap();
    let other = bounded.choose(&flow(7), 0, |b| Some(if b == home { 1_000 } else { 10 }));
    assert!(other.is_some_and(|other| other != home));
}

#[test]
fn of_thousands_the_least_loaded_is_found_without_a_look_at_each_for_every_flow() {
    let weights: Vec<u32> = (0..10_000).map(|n| n % 4).collect();
    let chooser = chooser(Balance::LeastConnections, &weights);
    let loads: Vec<Cell<u64>> = weights.iter().map(|_| Cell::default()).collect();
    let looks = Cell::new(0u64);
    const FLOWS: u64 = 5_000;
    for turn in 0..FLOWS {
        let look = |backend: usize| {
            looks.set(looks.get() + 1);
            Some(loads[backend].get())
        };
        let chosen = chooser.choose(&flow(0), turn, look).unwrap();
        assert_ne!(weights[chosen], 0);
        loads[chosen].set(loads[chosen].get() + 1);
    }
    // Each look at all is good for as many flows as are kept in mind, each of which is looked at.
    let most = FLOWS * (10_000 / least::FEW as u64 + 2 * least::FEW as u64);
    assert!(looks.get() < most, "{}", looks.get());
    // No flow has ended, so that each choice was the best: none could have one flow less and
    // another one more.
    let with = |n: usize, more: u64| (loads[n].get() + more) as f64 / f64::from(weights[n]);
    let chosen = (0..10_000).filter(|n| loads[*n].get() > 0);
    let most = chosen.map(|n| (loads[n].get() - 1) as f64 / f64::from(weights[n]));
    let least = (0..10_000).filter(|n| weights[*n] > 0).map(|n| with(n, 0));
    assert!(most.fold(0.0, f64::max) <= least.fold(f64::INFINITY, f64::min));
}

#[test]
fn of_thousands_those_that_cannot_be_chosen_are_not_and_flows_that_end_are_seen_soon() {
    let chooser = chooser(Balance::LeastConnections, &[1; 1_000]);
    let at = |turn, free: usize| {
        chooser.choose(&flow(0), turn, |b| if b == 7 { None } else { Some(u64::from(b != free)) })
    };
    assert_eq!(at(0, 500), Some(500));
    assert_ne!(at(1, 7), Some(7));
    // All of its flows have ended since.
    let soon = (2..2 + 2 * least::FEW as u64).any(|turn| at(turn, 900) == Some(900));
    assert!(soon);
    assert_eq!(chooser.choose(&flow(0), 0, |b| (b == 3).then_some(9)), Some(3));
    assert_eq!(chooser.choose(&flow(0), 0, |_| None), None);
}

proptest! {
    #[test]
    fn a_rendezvous_is_with_the_nearest_of_those_that_can_be_chosen(
        backends in proptest::collection::vec((0u32..9, any::<bool>()), 1..60),
        client in 0u32..250,
    ) {
        let weights: Vec<u32> = backends.iter().map(|b| b.0).collect();
        let hash = hashing::hash(&flow(client), HashOf::Source);
        let distance = |n: usize, address: SocketAddr| {
            let met = mix(hash ^ hashing::identity(address));
            -(((met >> 11) as f64 + 0.5) / (1u64 << 53) as f64).ln() / f64::from(weights[n])
        };
        let all = addresses(weights.len()).into_iter().enumerate();
        let possible = all.filter(|(n, _)| weights[*n] > 0 && backends[*n].1);
        let nearest = possible.min_by(|a, b| distance(a.0, a.1).total_cmp(&distance(b.0, b.1)));
        let chosen = chooser(HASH, &weights).choose(&flow(client), 0, |b| backends[b].1.then_some(0));
        prop_assert_eq!(chosen, nearest.map(|(n, _)| n));
    }

    #[test]
    fn what_cannot_be_chosen_or_has_no_weight_is_never_chosen(
        backends in proptest::collection::vec((0u32..5, any::<bool>(), 0u64..9), 0..9),
        client in 0u32..250,
        turn in any::<u64>(),
        balance in any_balance(),
    ) {
        let weights: Vec<u32> = backends.iter().map(|b| b.0).collect();
        let chooser = chooser(balance, &weights);
        let flows = |b: usize| backends[b].1.then_some(backends[b].2);
        let possible = backends.iter().any(|(weight, eligible, _)| *weight > 0 && *eligible);
        let chosen = chooser.choose(&flow(client), turn, flows);
        prop_assert_eq!(chosen.is_some(), possible);
        if let Some(chosen) = chosen {
            prop_assert!(backends[chosen].0 > 0 && backends[chosen].1);
        }
    }

    #[test]
    fn a_hash_does_not_see_the_order_of_the_configuration(
        weights in proptest::collection::vec(0u32..4, 2..12),
        by in 1usize..11,
        client in 0u32..250,
        balance in prop_oneof![Just(HASH), Just(MAGLEV), Just(BOUNDED)],
    ) {
        let addresses = addresses(weights.len());
        let by = by % weights.len();
        let (mut turned_addresses, mut turned_weights) = (addresses.clone(), weights.clone());
        turned_addresses.rotate_left(by);
        turned_weights.rotate_left(by);
        let choose = |addresses: &[SocketAddr], weights: &[u32]| {
            let chooser = Chooser::new(balance, addresses, weights);
            chooser.choose(&flow(client), 0, |_| Some(1)).map(|chosen| addresses[chosen])
        };
        prop_assert_eq!(
            choose(&addresses, &weights),
            choose(&turned_addresses, &turned_weights)
        );
    }

    #[test]
    fn a_round_robin_gives_each_its_weight(
        weights in proptest::collection::vec(0u32..20, 1..9),
        first in 0u64..1000,
    ) {
        let total: u32 = weights.iter().sum();
        let chooser = chooser(Balance::RoundRobin, &weights);
        let mut picks = vec![0u32; weights.len()];
        for turn in first..first + u64::from(total) {
            picks[chooser.choose(&flow(0), turn, |_| Some(0)).unwrap()] += 1;
        }
        prop_assert_eq!(picks, weights);
    }

    #[test]
    fn a_schedule_is_what_the_steps_say_that_look_at_every_backend(
        weights in proptest::collection::vec(0i64..30, 1..20),
    ) {
        let total: i64 = weights.iter().sum();
        let mut gained = vec![0; weights.len()];
        let mut steps = Vec::new();
        for _ in 0..total {
            gained.iter_mut().zip(&weights).for_each(|(gained, weight)| *gained += weight);
            let mut most = 0;
            for backend in 0..weights.len() {
                if gained[backend] > gained[most] {
                    most = backend;
                }
            }
            gained[most] -= total;
            steps.push(most as u32);
        }
        let schedule = turns::schedule(&weights.iter().map(|w| *w as u32).collect::<Vec<_>>());
        // The same again and again, as often as the weights have a common divisor.
        let again = schedule.iter().cycle().take(steps.len()).copied().collect::<Vec<_>>();
        prop_assert_eq!(again, steps);
    }

    #[test]
    fn a_schedule_is_bounded_whatever_the_weights(
        weights in proptest::collection::vec(any::<u32>(), 1..50),
    ) {
        let schedule = turns::schedule(&weights);
        prop_assert!(schedule.len() as u64 <= turns::MAX_SCHEDULE + weights.len() as u64);
        for (backend, weight) in weights.iter().enumerate() {
            prop_assert_eq!(schedule.contains(&(backend as u32)), *weight > 0);
        }
    }
}
