//! The fuzz targets without a fuzzer: over their seeds, and for a second over random mutations of
//! them. `PORTOLAN_SEED` chooses other mutations, `PORTOLAN_SECONDS` more of them.

use std::path::Path;
use std::time::{Duration, Instant};

use fastrand::Rng;

#[path = "../fuzz/bodies.rs"]
mod bodies;

/// For mutations, a target.
const SECONDS: u64 = 1;

#[test]
fn nothing_breaks_on_the_seeds_of_the_fuzz_targets_nor_near_them() {
    let seeds_of = |target: &str| {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(target);
        let files = std::fs::read_dir(directory).expect("seeds");
        let mut paths: Vec<_> = files.map(|file| file.expect("a seed").path()).collect();
        paths.sort();
        let seeds: Vec<Vec<u8>> =
            paths.iter().map(|path| std::fs::read(path).expect("a seed")).collect();
        assert!(!seeds.is_empty(), "{target} has seeds");
        seeds
    };
    std::thread::scope(|scope| {
        for (target, body) in bodies::TARGETS {
            let seeds = seeds_of(target);
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

/// A seed with a few bytes changed, cut, doubled, or replaced by a part of another seed.
fn mutated(seeds: &[Vec<u8>], lots: &mut Rng) -> Vec<u8> {
    let mut data = seeds[lots.usize(..seeds.len())].clone();
    for _ in 0..lots.usize(1..6) {
        let at = lots.usize(..=data.len());
        let end = (at + lots.usize(..=16)).min(data.len());
        match lots.u8(..6) {
            0 if at < data.len() => data[at] = [0, 1, 0x7f, 0xc0, 0xff, b'"'][lots.usize(..6)],
            1 if at < data.len() => data[at] ^= 1 << lots.u8(..8),
            2 => drop(data.drain(at..end)),
            3 => drop(data.splice(at..at, data[at..end].to_vec())),
            4 => data.insert(at, lots.u8(..)),
            _ => {
                let other = &seeds[lots.usize(..seeds.len())];
                let from = lots.usize(..=other.len());
                let to = (from + lots.usize(..=64)).min(other.len());
                drop(data.splice(at..end, other[from..to].iter().copied()));
            }
        }
    }
    data
}
