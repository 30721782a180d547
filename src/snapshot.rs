//! Everything the hot path reads: immutable, published as one, each part behind its own `Arc` so
//! that a health flip replaces a table and not a zone.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::decide::{Chart, Facts, HealthTable, ShareTable, StandingTable, Steering};
use crate::geo::World;
use crate::zone::Zones;

/// Everything the hot path reads.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Rises by one with every publication.
    pub generation: u64,
    /// The zones.
    pub zones: Arc<Zones>,
    /// Datacenters, pools and policies.
    pub steering: Arc<Steering>,
    /// The map.
    pub world: Arc<World>,
    /// The probes' verdicts.
    pub health: Arc<HealthTable>,
    /// The operator's word.
    pub standing: Arc<StandingTable>,
    /// The datacenters' room.
    pub shares: Arc<ShareTable>,
    /// For each policy, by `PolicyId`, what it decides everywhere.
    pub charts: Box<[Arc<Chart>]>,
}

impl Snapshot {
    /// What a decision reads.
    pub fn facts(&self) -> Facts<'_> {
        Facts {
            world: &self.world,
            steering: &self.steering,
            health: &self.health,
            standing: &self.standing,
            shares: &self.shares,
        }
    }
}

/// The place where the current snapshot is found.
pub type Published = Arc<ArcSwap<Snapshot>>;
