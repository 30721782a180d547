//! Rendezvous hashing (Thaler and Ravishankar, 1998), weighted: a flow goes to the backend that
//! scores highest with it, and those of a backend that goes are spread over all others.

use super::hashing::mix;

/// The backend with a weight, and for which `is_eligible`, that the hash meets. `identities` and
/// `weights` are in the same order.
pub fn choose(
    hash: u64,
    identities: &[u64],
    weights: &[u32],
    is_eligible: impl Fn(usize) -> bool,
) -> Option<usize> {
    let mut best: Option<(usize, Candidate, f64)> = None;
    for (backend, (&identity, &weight)) in identities.iter().zip(weights).enumerate() {
        if weight == 0 {
            continue;
        }
        let candidate = Candidate { hash: mix(hash ^ identity), weight, identity };
        let is_nearer = match &best {
            None => true,
            Some((_, other, distance)) => candidate.is_nearer_than(other, *distance),
        };
        // Asked last, as few come so far.
        if is_nearer && is_eligible(backend) {
            best = Some((backend, candidate, candidate.distance()));
        }
    }
    best.map(|(backend, ..)| backend)
}

#[derive(Clone, Copy)]
struct Candidate {
    hash: u64,
    weight: u32,
    identity: u64,
}

impl Candidate {
    /// `its` is the other's distance.
    fn is_nearer_than(&self, other: &Candidate, its: f64) -> bool {
        // Of equals the greater identity, so that the order of the list decides nothing.
        if self.weight == other.weight {
            // As the distances say, without working them out.
            return (self.hash, self.identity) > (other.hash, other.identity);
        }
        // -ln x is never less than 1 - x, so that most are too far without the logarithm; but for
        // what rounding may do.
        const ROUNDING: f64 = 1.0 + 1e-9;
        if 1.0 - self.uniform() > its * f64::from(self.weight) * ROUNDING {
            return false;
        }
        let ours = self.distance();
        ours < its || (ours == its && self.identity > other.identity)
    }

    /// How far the backend is from the flow: exponentially distributed with the rate `weight`, so
    /// that each is the nearest as often as its weight says.
    fn distance(&self) -> f64 {
        -self.uniform().ln() / f64::from(self.weight)
    }

    /// The middle of one of 2^53 parts of (0, 1).
    fn uniform(&self) -> f64 {
        ((self.hash >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }
}
