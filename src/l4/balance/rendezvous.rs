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
    let mut best: Option<(usize, Candidate)> = None;
    for (backend, (&identity, &weight)) in identities.iter().zip(weights).enumerate() {
        if weight == 0 || !is_eligible(backend) {
            continue;
        }
        let candidate = Candidate { hash: mix(hash ^ identity), weight, identity };
        if best.as_ref().is_none_or(|(_, other)| candidate.is_nearer_than(other)) {
            best = Some((backend, candidate));
        }
    }
    best.map(|(backend, _)| backend)
}

struct Candidate {
    hash: u64,
    weight: u32,
    identity: u64,
}

impl Candidate {
    fn is_nearer_than(&self, other: &Candidate) -> bool {
        // Of equals the greater identity, so that the order of the list decides nothing.
        if self.weight == other.weight {
            // As the distances say, without working them out.
            return (self.hash, self.identity) > (other.hash, other.identity);
        }
        let (ours, its) = (distance(self.hash, self.weight), distance(other.hash, other.weight));
        ours < its || (ours == its && self.identity > other.identity)
    }
}

/// How far the backend is from the flow: exponentially distributed with the rate `weight`, so that
/// each is the nearest as often as its weight says.
fn distance(hash: u64, weight: u32) -> f64 {
    // The middle of one of 2^53 parts of (0, 1).
    let uniform = ((hash >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -uniform.ln() / f64::from(weight)
}
