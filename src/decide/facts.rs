//! The facts a decision reads besides the client: read-only tables that `control` replaces whole.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::{Datacenter, DatacenterId, GroupId, Groups, MemberId, Policy, Pool, PoolId, Steer};
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

/// The operator's word on a member, from overrides of the member, its pool or its datacenter; where
/// there is none, that of the agents of its machines.
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
    /// Fewer and fewer clients, as it is shared out: its health decides until there are none.
    Draining,
    /// Up, though its probes say that it is down: so do those of so many others that it is rather
    /// the probes that have failed.
    Doubted,
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
/// A capacity-steered pool with an allotment answers each client group as its part says. One without
/// answers with the nearest datacenter that has room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShareTable {
    room: Box<[Room]>,
    /// By pool.
    allotments: Box<[Option<Arc<Allotment>>]>,
}

/// Which members of a pool each client group is given to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Allotment {
    /// By [`GroupId`]: the index of its part. Groups beyond the end have none.
    pub by_group: Box<[u32]>,
    /// The parts; groups that are given out alike may share one.
    pub parts: Box<[Part]>,
}

/// What a client group is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Part {
    /// The members that share it, by their index in the pool, each with its weight, at least 1. One
    /// where the group is not split.
    pub weights: Box<[(u16, u32)]>,
    /// All members that stand in for them, the one that costs least first.
    pub order: Box<[u16]>,
    /// The TTL of answers, in seconds.
    pub ttl: u32,
}

impl Allotment {
    /// What that group is given.
    pub fn part(&self, GroupId(group): GroupId) -> Option<&Part> {
        self.parts.get(*self.by_group.get(group as usize)? as usize)
    }
}

impl ShareTable {
    /// By [`DatacenterId`].
    pub fn new(room: impl IntoIterator<Item = Room>) -> ShareTable {
        ShareTable { room: room.into_iter().collect(), allotments: Box::default() }
    }

    /// The same with the pools' allotments, by [`PoolId`].
    pub fn with_allotments(
        self,
        allotments: impl IntoIterator<Item = Option<Arc<Allotment>>>,
    ) -> ShareTable {
        ShareTable { allotments: allotments.into_iter().collect(), ..self }
    }

    /// What a pool's client groups are given; none: nothing is known yet.
    pub fn allotment(&self, PoolId(pool): PoolId) -> Option<&Arc<Allotment>> {
        self.allotments.get(pool as usize)?.as_ref()
    }

    /// Unknown where nothing was said.
    pub fn room(&self, datacenter: DatacenterId) -> Room {
        self.room.get(usize::from(datacenter.0)).copied().unwrap_or_default()
    }
}

/// The index of a flattened name's entry in a [`ResolvedTable`]. Members that have the same name and
/// are watched alike share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResolvedId(pub u32);

/// What is known of the names that stand for addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvedTable {
    entries: Box<[Option<Arc<Resolved>>]>,
}

/// What a name was resolved to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Its A records.
    pub v4: Found<Ipv4Addr>,
    /// Its AAAA records.
    pub v6: Found<Ipv6Addr>,
    /// When: seconds since 1970 (UTC).
    pub at: u64,
}

/// The addresses of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<A> {
    /// Each with whether it is up.
    pub addresses: Box<[(A, bool)]>,
    /// How long they may be kept.
    pub validity: Validity,
}

/// How long records may be kept by who is given them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Validity {
    /// At most so many seconds.
    pub ttl: u32,
    /// They are older than their TTL, and nothing newer is to be had (RFC 8767).
    pub is_stale: bool,
}

impl Validity {
    /// What stands in the files.
    pub const UNBOUNDED: Validity = Validity { ttl: u32::MAX, is_stale: false };
}

/// As long as wanted.
impl Default for Validity {
    fn default() -> Validity {
        Validity::UNBOUNDED
    }
}

/// None.
impl<A> Default for Found<A> {
    fn default() -> Found<A> {
        Found { addresses: Box::default(), validity: Validity::UNBOUNDED }
    }
}

impl ResolvedTable {
    /// By [`ResolvedId`]; none: nothing is known.
    pub fn new(entries: impl IntoIterator<Item = Option<Arc<Resolved>>>) -> ResolvedTable {
        ResolvedTable { entries: entries.into_iter().collect() }
    }

    /// What is known of a name; none: nothing.
    pub fn of(&self, ResolvedId(index): ResolvedId) -> Option<&Resolved> {
        self.entries.get(index as usize)?.as_deref()
    }
}

impl Resolved {
    /// True when the name has no addresses.
    pub fn is_empty(&self) -> bool {
        self.v4.addresses.is_empty() && self.v6.addresses.is_empty()
    }

    /// True when one of the addresses is up.
    pub fn is_up(&self) -> bool {
        let v4 = self.v4.addresses.iter().any(|(_, is_up)| *is_up);
        v4 || self.v6.addresses.iter().any(|(_, is_up)| *is_up)
    }

    /// True when some of the addresses are older than their TTL.
    pub fn is_stale(&self) -> bool {
        self.v4.validity.is_stale || self.v6.validity.is_stale
    }
}

/// Everything a decision reads besides the client.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The map.
    pub world: &'a World,
    /// The client groups.
    pub groups: &'a Groups,
    /// What the configuration says.
    pub steering: &'a Steering,
    /// The probes' verdicts.
    pub health: &'a HealthTable,
    /// The operator's word.
    pub standing: &'a StandingTable,
    /// The addresses behind names.
    pub resolved: &'a ResolvedTable,
    /// The datacenters' room, and what each group is given.
    pub shares: &'a ShareTable,
}

impl<'a> Facts<'a> {
    /// The datacenter of that number.
    pub fn datacenter(&self, DatacenterId(index): DatacenterId) -> &'a Datacenter {
        &self.steering.datacenters[usize::from(index)]
    }

    /// What the client groups of a pool are given, where it steers by capacity and that is known.
    pub fn allotment(&self, id: PoolId) -> Option<&'a Allotment> {
        let allotment = self.shares.allotment(id)?;
        (self.pool(id).steer == Steer::Capacity).then_some(allotment)
    }

    /// The pool of that number.
    pub fn pool(&self, PoolId(index): PoolId) -> &'a Pool {
        &self.steering.pools[index as usize]
    }
}
