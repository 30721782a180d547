//! Who takes clients: members by their checks and the operator's word, and how the two tell it to
//! the decision and to the allocator.

use std::time::Duration;

use super::allocate::Availability;
use super::allotting::MemberAvailability;
use super::overrides::{Overrides, Target};
use super::{Action, Override};
use crate::decide::{
    DatacenterId, HealthTable, Member, PoolId, ResolvedTable, Standing, StandingTable, Steer,
    Steering,
};

/// Every member's presence.
#[derive(Clone, Debug, PartialEq)]
pub struct Members {
    /// By `MemberId`: the operator's word, or else its agents'.
    standing: Vec<Standing>,
    /// Of the members of pools that steer by capacity.
    pub availability: Vec<MemberAvailability>,
}

/// Who takes clients. `drain`: how long a datacenter may take to be emptied where clients are
/// shared out; none: there is no plan by which they are, and what is drained is empty at once.
/// `is_spent`: its agents want no new clients. `now`: seconds since 1970 (UTC).
pub fn presence(
    steering: &Steering,
    (health, resolved): (&HealthTable, &ResolvedTable),
    overrides: &Overrides,
    drain: Option<Duration>,
    is_spent: impl Fn(&Member) -> bool,
    now: u64,
) -> Members {
    let mut words = overrides.words(steering);
    let mut members = Members { standing: Vec::new(), availability: Vec::new() };
    for (id, pool) in (0..).map(PoolId).zip(&steering.pools) {
        let is_shared_out = pool.steer == Steer::Capacity;
        for (index, member) in pool.members.iter().enumerate() {
            let word = words.next().flatten();
            let drain = drain.filter(|_| is_shared_out);
            let standing = match word {
                Some(word) if is_draining(word, drain, now) => Standing::Draining,
                Some(word) => word.action.standing(),
                None if is_spent(member) => Standing::Drained,
                None => Standing::Normal,
            };
            members.standing.push(standing);
            if is_shared_out {
                let is_healthy = member.is_healthy(health, resolved);
                members.availability.push((id, index, availability(member, standing, is_healthy)));
            }
        }
    }
    members
}

impl Members {
    /// The operator's word on every member, or else its agents', and the doubt about the checks of some datacenters.
    pub fn standing(
        &self,
        steering: &Steering,
        is_doubted: impl Fn(DatacenterId) -> bool,
    ) -> StandingTable {
        let places = steering.pools.iter().flat_map(|pool| {
            let is_shared_out = pool.steer == Steer::Capacity;
            pool.members.iter().map(move |member| (is_shared_out, member.datacenter))
        });
        let standing = self.standing.iter().zip(places);
        StandingTable::new(standing.map(|(standing, (is_shared_out, datacenter))| match standing {
            Standing::Normal if is_shared_out && is_doubted(datacenter) => Standing::Doubted,
            standing => *standing,
        }))
    }
}

/// Only a whole datacenter is emptied by and by; what is said of a part of it counts at once.
fn is_draining(word: &Override, drain: Option<Duration>, now: u64) -> bool {
    let lasts = |drain: Duration| now.saturating_sub(word.since) < drain.as_secs();
    word.action == Action::Drain
        && matches!(word.target, Target::Datacenter(_))
        && drain.is_some_and(lasts)
}

fn availability(member: &Member, standing: Standing, is_healthy: bool) -> Availability {
    match standing {
        Standing::ForcedDown | Standing::Drained => Availability::Off,
        _ if member.weight == 0 => Availability::Off,
        Standing::ForcedUp | Standing::Doubted => Availability::Up,
        Standing::Normal | Standing::Draining if !is_healthy => Availability::Down,
        Standing::Normal => Availability::Up,
        Standing::Draining => Availability::Draining,
    }
}
