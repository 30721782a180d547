//! The fuzz targets without a fuzzer: over their seeds, and for a second over random mutations of
//! them. `PORTOLAN_SEED` chooses other mutations, `PORTOLAN_SECONDS` more of them.

use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::support::mutation::{mutated, seeds};

#[path = "../fuzz/bodies.rs"]
mod bodies;

/// For mutations, a target.
const SECONDS: u64 = 1;

#[test]
fn nothing_breaks_on_the_seeds_of_the_fuzz_targets_nor_near_them() {
    std::thread::scope(|scope| {
        for (target, body) in bodies::TARGETS {
            let seeds = seeds(target);
            std::thread::Builder::new()
                .name(format!("fuzz target {target}"))
                .spawn_scoped(scope, move || run(body, &seeds))
                .expect("a thread");
        }
    });
}

fn run(body: fn(&[u8]), seeds: &[Vec<u8>]) {
    seeds.iter().for_each(|data| tried(body, data));
    let variable = |name: &str| std::env::var(name).ok()?.parse().ok();
    let seed = variable("PORTOLAN_SEED").unwrap_or(seeds.len() as u64);
    let time = Duration::from_secs(variable("PORTOLAN_SECONDS").unwrap_or(SECONDS));
    let (begin, mut lots, mut tries) = (Instant::now(), Rng::with_seed(seed), 0);
    while begin.elapsed() < time {
        tried(body, &mutated(seeds, &mut lots));
        tries += 1;
    }
    let target = std::thread::current();
    eprintln!("{}: {tries} mutations with seed {seed}", target.name().unwrap_or_default());
}

/// Runs a target; prints what it broke on.
fn tried(body: fn(&[u8]), data: &[u8]) {
    if let Err(panic) = std::panic::catch_unwind(|| body(data)) {
        eprintln!("this broke it: \"{}\"", data.escape_ascii());
        std::panic::resume_unwind(panic);
    }
}
