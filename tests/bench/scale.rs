//! Measures what a service costs its forwarder's control threads by its backends, up to 10,000.
//!
//! `cargo bench --bench scale` prints, in milliseconds: a second in which nothing happens, one in
//! which a backend goes down, one of a slow start of all, and a reload that changes nothing.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use portolan::health::Verdict;
use portolan::l4::service::Service;
use portolan::l4::settings::{BackendSettings, HashOf};
use portolan::l4::{Balance, ServiceSettings};

const BACKENDS: [usize; 3] = [100, 1_000, 10_000];
/// How many times something is done, of which the slowest counts.
const ROUNDS: u32 = 10;
const SLOW_START: Duration = Duration::from_secs(60);

fn main() {
    let of = HashOf::Source;
    let balances = [
        ("round-robin", Balance::RoundRobin),
        ("least-connections", Balance::LeastConnections),
        ("two-choices", Balance::TwoChoices),
        ("rendezvous", Balance::Hash { of }),
        ("Maglev 65,537", Balance::Maglev { of, table_size: 65_537 }),
        ("Maglev 655,373", Balance::Maglev { of, table_size: 655_373 }),
    ];
    println!("the slowest of {ROUNDS} (ms)");
    println!("balance            backends     quiet  goes down  slow start    reload");
    for (name, balance) in balances {
        for count in BACKENDS {
            let [quiet, down, start, reload] = measure(settings(count, balance));
            println!("{name:<18} {count:>8} {quiet:>9.2} {down:>10.2} {start:>11.2} {reload:>9.2}");
        }
    }
}

fn measure(settings: ServiceSettings) -> [f64; 4] {
    let service = Service::new("web".into(), Arc::default(), Arc::default());
    let mut now = Instant::now();
    let replace = || {
        let backends = service.backends_for(&settings);
        service.replace(Arc::new(settings.clone()), backends, Arc::default());
    };
    replace();
    service.backends().iter().for_each(|backend| backend.learn(Verdict::Up));
    service.refresh(true, now);
    let mut second = |also: &dyn Fn(u32)| {
        let rounds = (0..ROUNDS).map(|round| {
            also(round);
            now += Duration::from_secs(1);
            millis(|| drop(black_box(service.refresh(true, now))))
        });
        rounds.fold(0.0, f64::max)
    };
    let quiet = second(&|_| {});
    let down = second(&|round| service.backends()[round as usize].learn(Verdict::Down));
    let backends = service.backends();
    backends.iter().for_each(|backend| backend.learn(Verdict::Down));
    second(&|_| {});
    // They come up one after the other, so that each stands somewhere else.
    let start = second(&|round| {
        let part = backends.len().div_ceil(ROUNDS as usize);
        let these = backends.chunks(part).nth(round as usize).unwrap_or_default();
        these.iter().for_each(|backend| backend.learn(Verdict::Up));
    });
    let reload = (0..ROUNDS).map(|_| millis(replace)).fold(0.0, f64::max);
    [quiet, down, start, reload]
}

/// Of so many backends, of three weights.
fn settings(count: usize, balance: Balance) -> ServiceSettings {
    let backends = (0..count as u32).map(|at| {
        let address = SocketAddr::new(Ipv4Addr::from_bits(0x0A01_0000 + at).into(), 8443);
        BackendSettings::new(address, at % 3 + 1)
    });
    let mut settings = ServiceSettings::new("web", Vec::new(), backends.collect());
    settings.balance = balance;
    settings.slow_start = SLOW_START;
    settings
}

fn millis(work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_secs_f64() * 1e3
}
