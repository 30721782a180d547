//! The fuzz targets' seeds, and what is near them.

use std::path::Path;

use fastrand::Rng;

/// The seeds of a fuzz target, always in the same order.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(target);
    let files = std::fs::read_dir(directory).expect("seeds");
    let mut paths: Vec<_> = files.map(|file| file.expect("a seed").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{target} has seeds");
    paths.iter().map(|path| std::fs::read(path).expect("a seed")).collect()
}

/// A seed with a few bytes changed, cut, doubled, or replaced by a part of another seed.
pub fn mutated(seeds: &[Vec<u8>], lots: &mut Rng) -> Vec<u8> {
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
