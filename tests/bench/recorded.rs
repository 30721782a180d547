//! Policies that are other servers' answers.

use std::sync::atomic::{AtomicU8, Ordering};

use portolan::simulate::{Experiment, Policy, Questions, Recording, questions};

use crate::peers::{Failure, Peer, Setting, Site, record};

/// The policy of the server of that name, which has not been asked yet.
pub fn named(name: &str) -> Option<Policy> {
    let peer = Peer::named(name)?;
    Some(Policy::Recorded(Recording { name: peer.name().to_string(), ..Recording::default() }))
}

/// If the policy is a server's that has not been asked yet: asks it for every client of the
/// experiment, in every state of health that it comes to.
///
/// # Errors
///
/// Why there are no answers.
pub fn ask(experiment: &mut Experiment) -> Result<(), Failure> {
    let Policy::Recorded(recording) = &experiment.policy else { return Ok(()) };
    let Some(peer) = Peer::named(&recording.name) else { return Ok(()) };
    let Questions { groups, states } = questions(experiment);
    let world = &experiment.world;
    let sites = world.datacenters.iter().map(|site| Site { at: site.at, weight: site.capacity });
    let setting = Setting {
        clients: groups.iter().map(|&group| world.groups[group].at).collect(),
        sites: sites.collect(),
        network: network(),
    };
    let answers = record(peer, &setting, &states)?;
    experiment.policy = Policy::Recorded(Recording { name: peer.name().to_string(), answers });
    Ok(())
}

/// Loopback addresses for one server.
fn network() -> [u8; 3] {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    [127, 64 + (std::process::id() % 128) as u8, NEXT.fetch_add(1, Ordering::Relaxed)]
}
