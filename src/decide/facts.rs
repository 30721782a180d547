//! The facts a decision reads besides the client: read-only tables that `control` replaces whole.

use std::fmt;

use super::{Datacenter, DatacenterId, MemberId, Policy, Pool, PoolId};
use crate::geo::World;

/// The index of a probe's verdict in a [`HealthTable`]. Members that are watched by the same check
/// at the same address share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProbeId(pub u32);

/// What the configuration says of steering: datacenters, pools and policies, by their numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Steering {
    /// By [`DatacenterId`].
    pub datacenters: Box<[Datacenter]>,
    /// By [`PoolId`].
    pub pools: Box<[Pool]>,
    /// By [`PolicyId`](super::PolicyId).
    pub policies: Box<[Policy]>,
}

/// The verdict of every probe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthTable {
    up: Box<[bool]>,
}

impl HealthTable {
    /// From the verdicts, by [`ProbeId`].
    pub fn new(up: impl IntoIterator<Item = bool>) -> HealthTable {
        HealthTable { up: up.into_iter().collect() }
    }

    /// What is watched by no probe is up.
    pub fn is_up(&self, probe: Option<ProbeId>) -> bool {
        probe.is_none_or(|ProbeId(index)| self.up.get(index as usize).copied().unwrap_or(true))
    }
}

/// The operator's word on a member, from overrides of the member, its pool or its datacenter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// None: its health decides.
    #[default]
    Normal,
    /// Up, whatever its probes say.
    ForcedUp,
    /// Down, whatever its probes say.
    ForcedDown,
    /// No new clients.
    Drained,
}

/// The operator's word on every member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StandingTable {
    standing: Box<[Standing]>,
}

impl StandingTable {
    /// By [`MemberId`].
    pub fn new(standing: impl IntoIterator<Item = Standing>) -> StandingTable {
        StandingTable { standing: standing.into_iter().collect() }
    }

    /// Normal where nothing was said.
    pub fn of(&self, member: MemberId) -> Standing {
        self.standing.get(member.0 as usize).copied().unwrap_or_default()
    }
}

/// What is known of a datacenter's room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Room {
    /// No live report: never reported, or stale.
    #[default]
    Unknown,
    /// A live report under its capacity.
    Free,
    /// A live report at or over its capacity.
    Full,
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Room::Unknown => "no live report",
            Room::Free => "room",
            Room::Full => "full",
        })
    }
}

/// What the allocator lets each datacenter take.
///
/// A capacity-steered pool gives a client group to the nearest datacenter with room; the room of
/// every datacenter is all that this rule needs to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShareTable {
    room: Box<[Room]>,
}

impl ShareTable {
    /// By [`DatacenterId`].
    pub fn new(room: impl IntoIterator<Item = Room>) -> ShareTable {
        ShareTable { room: room.into_iter().collect() }
    }

    /// Unknown where nothing was said.
    pub fn room(&self, datacenter: DatacenterId) -> Room {
        self.room.get(usize::from(datacenter.0)).copied().unwrap_or_default()
    }
}

/// Everything a decision reads besides the client.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The map.
    pub world: &'a World,
    /// What the configuration says.
    pub steering: &'a Steering,
    /// The probes' verdicts.
    pub health: &'a HealthTable,
    /// The operator's word.
    pub standing: &'a StandingTable,
    /// The datacenters' room.
    pub shares: &'a ShareTable,
}

impl<'a> Facts<'a> {
    /// The datacenter of that number.
    pub fn datacenter(&self, DatacenterId(index): DatacenterId) -> &'a Datacenter {
        &self.steering.datacenters[usize::from(index)]
    }

    /// The pool of that number.
    pub fn pool(&self, PoolId(index): PoolId) -> &'a Pool {
        &self.steering.pools[index as usize]
    }
}
