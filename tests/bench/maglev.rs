//! Measures the Maglev table for 3 to 1,000 backends beside section 5.3 of its paper (Eisenbud et
//! al., NSDI 2016) and beside rendezvous hashing, and what a choice by each balance takes.
//!
//! `cargo bench --bench maglev` prints three tables: building (the paper: 1.8 ms for 65,537 entries
//! and 22.9 ms for 655,373, of 1,000 backends), evenness (the paper: entries differ by at most one),
//! and disruption; then the time of a choice.

use std::collections::HashSet;
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use portolan::l4::balance::maglev::Maglev;
use portolan::l4::service::Service;
use portolan::l4::settings::{BackendSettings, HashOf, Protocol};
use portolan::l4::{Balance, Flow, ServiceSettings};

const BACKENDS: [usize; 6] = [3, 10, 30, 100, 300, 1_000];
const SIZES: [u32; 2] = [65_537, 655_373];
/// How many times something is done, of which the fastest counts: others share the machine.
const ROUNDS: usize = 15;
/// How many sets of backends fail, one after the other, in the mean of a disruption.
const FAILURES: usize = 20;
/// So many backends fail at a time, in percent of all.
const FAILING: [f64; 3] = [0.1, 0.5, 5.0];

const RENDEZVOUS: Balance = Balance::Hash { of: HashOf::FourTuple };

fn main() {
    building();
    evenness();
    disruption();
    choices();
}

fn building() {
    println!("building a table, the fastest of {ROUNDS} (ms)");
    println!("backends      65,537     655,373   weights 1 to 4: 65,537     655,373");
    for count in BACKENDS {
        let addresses = addresses(count);
        let equal = vec![1; count];
        let unequal: Vec<u32> = (0..count as u32).map(|at| at % 4 + 1).collect();
        let build = |weights: &[u32], size| {
            millis(fastest(|| drop(black_box(Maglev::new(size, &addresses, weights)))))
        };
        println!(
            "{count:>8}  {:>10.2}  {:>10.2}  {:>23.2}  {:>10.2}",
            build(&equal, SIZES[0]),
            build(&equal, SIZES[1]),
            build(&unequal, SIZES[0]),
            build(&unequal, SIZES[1]),
        );
    }
}

fn evenness() {
    println!();
    println!(
        "parts of equal backends: least to most entries, and how far the most is above the mean"
    );
    println!("(rendezvous: of as many flows as there are entries)");
    println!("backends  Maglev 65,537            Maglev 655,373           rendezvous 65,537");
    for count in BACKENDS {
        let addresses = addresses(count);
        let weights = vec![1; count];
        let table = |size| spread(count, Maglev::new(size, &addresses, &weights).entries());
        let service = service(count, RENDEZVOUS);
        let chosen: Vec<u32> = (0..SIZES[0]).map(|flow| chosen(&service, flow)).collect();
        println!(
            "{count:>8}  {:<23}  {:<23}  {}",
            table(SIZES[0]),
            table(SIZES[1]),
            spread(count, &chosen)
        );
    }
}

fn spread(backends: usize, entries: &[u32]) -> String {
    let mut counts = vec![0u32; backends];
    entries.iter().for_each(|entry| counts[*entry as usize] += 1);
    let least = counts.iter().min().copied().unwrap_or(0);
    let most = counts.iter().max().copied().unwrap_or(0);
    let mean = entries.len() as f64 / backends as f64;
    format!("{least} to {most}, {:+.1} %", (f64::from(most) / mean - 1.0) * 100.0)
}

/// Entries that change although their backend stays. With rendezvous hashing none does.
fn disruption() {
    println!();
    println!(
        "entries that change although their backend stays (%), mean of {FAILURES}; rendezvous: 0"
    );
    println!("backends  failing      65,537     655,373");
    for count in BACKENDS {
        let mut seen = 0;
        for percent in FAILING {
            let failing = ((count as f64 * percent / 100.0).round() as usize).max(1);
            if failing == seen {
                continue;
            }
            seen = failing;
            let [small, large] = SIZES.map(|size| changed(count, failing, size));
            println!("{count:>8}  {failing:>7}  {small:>10.3}  {large:>10.3}");
        }
    }
}

fn changed(count: usize, failing: usize, size: u32) -> f64 {
    let addresses = addresses(count);
    let before = Maglev::new(size, &addresses, &vec![1; count]);
    let mut changed = 0;
    for round in 0..FAILURES {
        // Spread over the list, and others each time.
        let gone = |at: usize| (round * 7_919 + at * 104_729) % count;
        let gone: HashSet<usize> = (0..failing).map(gone).collect();
        let weights: Vec<u32> = (0..count).map(|at| u32::from(!gone.contains(&at))).collect();
        let after = Maglev::new(size, &addresses, &weights);
        let pairs = before.entries().iter().zip(after.entries());
        let stays = pairs.filter(|(before, _)| !gone.contains(&(**before as usize)));
        changed += stays.filter(|(before, after)| before != after).count();
    }
    100.0 * changed as f64 / FAILURES as f64 / f64::from(size)
}

fn choices() {
    const FLOWS: u32 = 20_000;
    println!();
    println!("a choice and the end of its flow (ns)");
    print!("backends");
    let balances = [
        ("round-robin", Balance::RoundRobin),
        ("least-conn.", Balance::LeastConnections),
        ("two-choices", Balance::TwoChoices),
        ("rendezvous", RENDEZVOUS),
        ("Maglev", Balance::Maglev { of: HashOf::FourTuple, table_size: SIZES[0] }),
        ("bounded", Balance::BoundedHash { of: HashOf::FourTuple, factor: 1.25 }),
    ];
    balances.iter().for_each(|(name, _)| print!("  {name:>11}"));
    println!();
    for count in BACKENDS.into_iter().chain([10_000]) {
        print!("{count:>8}");
        for (_, balance) in balances {
            let service = service(count, balance);
            let all = fastest(|| (0..FLOWS).for_each(|flow| _ = black_box(chosen(&service, flow))));
            print!("  {:>11.0}", all.as_nanos() as f64 / f64::from(FLOWS));
        }
        println!();
    }
}

/// A service of so many backends that are all up.
fn service(count: usize, balance: Balance) -> Service {
    let backends = addresses(count).into_iter().map(|one| BackendSettings::new(one, 1));
    let mut settings = ServiceSettings::new("web", Vec::new(), backends.collect());
    settings.balance = balance;
    let service = Service::new("web".into(), Arc::default(), Arc::default());
    let backends = service.backends_for(&settings);
    backends.iter().for_each(|backend| backend.learn(portolan::health::Verdict::Up));
    service.replace(Arc::new(settings), backends, Arc::default());
    service.refresh(true, Instant::now());
    service
}

/// The place in the list of the backend that a flow is given.
fn chosen(service: &Service, flow: u32) -> u32 {
    let client = SocketAddr::new(Ipv4Addr::from_bits(0xC633_6400 + flow / 7).into(), flow as u16);
    let vip = SocketAddr::from(([203, 0, 113, 10], 443));
    let flow = Flow { client, vip, protocol: Protocol::Tcp };
    let place = service.choose(&flow, &[]).expect("all backends are up");
    let SocketAddr::V4(address) = place.backend().address else { unreachable!("all are IPv4") };
    address.ip().to_bits() - FIRST
}

const FIRST: u32 = 0x0A01_0000;

fn addresses(count: usize) -> Vec<SocketAddr> {
    let address = |at| SocketAddr::new(Ipv4Addr::from_bits(FIRST + at as u32).into(), 8443);
    (0..count).map(address).collect()
}

fn fastest(mut work: impl FnMut()) -> Duration {
    let times = (0..ROUNDS).map(|_| {
        let begun = Instant::now();
        work();
        begun.elapsed()
    });
    times.min().unwrap_or_default()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
