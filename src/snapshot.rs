//! Everything the hot path reads: immutable, published as one, each part behind its own `Arc` so
//! that a health flip replaces a table and not a zone.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::decide::{
    Chart, Facts, Groups, HealthTable, ResolvedTable, ShareTable, StandingTable, Steering,
};
use crate::geo::World;
use crate::transfer::announcers::Announcers;
use crate::transfer::{Journals, Keys, Transfers};
use crate::zone::Zones;

/// How many epochs there are before they begin anew.
pub const EPOCHS: u8 = 128;

/// What the server says of itself to those who ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The name of this one of several servers at one address, of at most
    /// [`MAX_NSID_BYTES`](crate::dns::response::MAX_NSID_BYTES); empty: it is not told.
    pub name: Box<str>,
    /// The program and its version; none: it is not told.
    pub version: Option<Box<str>>,
}

/// Everything the hot path reads.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Rises by one with every publication.
    pub generation: u64,
    /// Another one whenever pools, groups or datacenters have other numbers than before: what was
    /// written down under one epoch must not be read under another. 0 to 127, then 0 again.
    pub epoch: u8,
    /// The zones.
    pub zones: Arc<Zones>,
    /// What the server says of itself.
    pub identity: Arc<Identity>,
    /// Who may announce new versions of zones.
    pub announcers: Arc<Announcers>,
    /// The keys of those who sign their queries.
    pub keys: Arc<Keys>,
    /// Who may take the zones.
    pub transfers: Arc<Transfers>,
    /// What changed in them.
    pub journals: Arc<Journals>,
    /// Datacenters, pools and policies.
    pub steering: Arc<Steering>,
    /// The map.
    pub world: Arc<World>,
    /// The client groups.
    pub groups: Arc<Groups>,
    /// The probes' verdicts.
    pub health: Arc<HealthTable>,
    /// The operator's word.
    pub standing: Arc<StandingTable>,
    /// The addresses behind names.
    pub resolved: Arc<ResolvedTable>,
    /// The datacenters' room, and what each group is given.
    pub shares: Arc<ShareTable>,
    /// For each policy, by `PolicyId`, what it decides everywhere.
    pub charts: Box<[Arc<Chart>]>,
}

impl Snapshot {
    /// What a decision reads.
    pub fn facts(&self) -> Facts<'_> {
        Facts {
            world: &self.world,
            groups: &self.groups,
            steering: &self.steering,
            health: &self.health,
            standing: &self.standing,
            resolved: &self.resolved,
            shares: &self.shares,
        }
    }
}

/// The place where the current snapshot is found.
pub type Published = Arc<ArcSwap<Snapshot>>;
