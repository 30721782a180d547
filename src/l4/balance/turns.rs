//! Smooth weighted turns: each backend as often as its weight says, and spread as evenly as can be.

/// The longest schedule; weights that need a longer one are scaled to it.
pub const MAX_SCHEDULE: u64 = 8_192;

/// At each step every backend gains its weight, and the one that has gained most is taken and pays
/// for all. Empty when all weights are 0.
pub fn schedule(weights: &[u32]) -> Box<[u32]> {
    let divisor = weights.iter().fold(0, |a, &b| greatest_common_divisor(a, b));
    if divisor == 0 {
        return Box::default();
    }
    let total: u64 = weights.iter().map(|&weight| u64::from(weight / divisor)).sum();
    let scaled = |weight: u32| {
        let weight = u64::from(weight / divisor);
        let fits = total <= MAX_SCHEDULE || weight == 0;
        if fits { weight } else { (weight * MAX_SCHEDULE / total).max(1) }
    };
    let weights: Vec<i64> = weights.iter().map(|&weight| scaled(weight) as i64).collect();
    let total: i64 = weights.iter().sum();
    if weights.iter().all(|weight| *weight == weights[0]) {
        // What comes out of the steps below, without making them.
        return (0..weights.len() as u32).collect();
    }
    let mut gained = vec![0i64; weights.len()];
    let step = |_| {
        for (gained, weight) in gained.iter_mut().zip(&weights) {
            *gained += weight;
        }
        // The first of equals.
        let most = (0..gained.len()).rev().max_by_key(|&backend| gained[backend]).unwrap_or(0);
        gained[most] -= total;
        most as u32
    };
    (0..total).map(step).collect()
}

/// Of 0 and another, the other.
pub fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
