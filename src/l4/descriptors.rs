//! File descriptors: every connection takes two.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Lets the process open as many as the system allows it to. Shells start programs with far fewer,
/// for the sake of old ones; what that leaves is some five hundred connections.
pub fn allow_many() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, "only {} files can be open at a time", current.unwrap_or(u64::MAX));
    }
}

/// How many this process may have open at a time.
pub fn most() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// What part these connections take of the files that can be open at a time.
pub fn taken_by(connections: u64) -> f64 {
    match getrlimit(Resource::Nofile).current {
        Some(most) if most > 0 => 2.0 * connections as f64 / most as f64,
        _ => 0.0,
    }
}
