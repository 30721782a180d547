//! A pool: members that serve the same thing, and how one is chosen.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{DatacenterId, ProbeId, ResolvedId, Steering};
use crate::dns::Name;
use crate::geo::Location;
use std::borrow::Cow;

/// The index of a pool in [`Steering::pools`](super::Steering::pools), over all zones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolId(pub u32);

/// The number of a member, unique over all pools; members of one pool are consecutive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberId(pub u32);

/// A pool: members that serve the same thing, and how one is chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// The origin of the zone whose file defines it.
    pub zone: Name,
    /// Its name in that file.
    pub name: String,
    /// It stands beside the pool of that name, and answers with the addresses behind names where
    /// that one answers with CNAMEs. A pool that only ever answers so does not stand twice.
    pub is_twin: bool,
    /// How a member is chosen.
    pub steer: Steer,
    /// The TTL of answers, in seconds; the longest of one that adapts.
    pub ttl: u32,
    /// The shortest TTL of answers, in seconds; `ttl` itself unless it adapts.
    pub ttl_min: u32,
    /// The part of each of its datacenters' capacity that is the pool's, above 0 and up to 1.
    pub share: f64,
    /// The most addresses an answer carries, at least 1.
    pub answers: u8,
    /// With fewer healthy members than this, at least 1, the pool counts as down.
    pub min_healthy: u16,
    /// What is answered when the pool is down.
    pub when_all_down: WhenAllDown,
    /// In the order of the file; at most one a datacenter.
    pub members: Box<[Member]>,
}

impl Pool {
    /// What it is called where its twin is listed beside it.
    pub fn title(&self) -> Cow<'_, str> {
        match self.is_twin {
            true => format!("{} (flattened)", self.name).into(),
            false => self.name.as_str().into(),
        }
    }

    /// True when the choice depends on where the client is.
    pub fn steers_by_place(&self) -> bool {
        matches!(self.steer, Steer::Nearest | Steer::Capacity)
    }

    /// The members' indices, in the order of the file.
    pub fn members_in_order(&self) -> impl Iterator<Item = u16> + Clone {
        // A pool has one member a datacenter at most, and datacenters have 16 bits.
        (0..).take(self.members.len())
    }

    /// The members' indices, the nearest first; of equally near ones, in the order of the file.
    pub fn members_by_distance(&self, steering: &Steering, location: &Location) -> Vec<u16> {
        let mut order: Vec<u16> = self.members_in_order().collect();
        order.sort_by_cached_key(|&member| {
            let DatacenterId(datacenter) = self.members[usize::from(member)].datacenter;
            steering.datacenters[usize::from(datacenter)].distance_rank(location)
        });
        order
    }
}

/// How a member of a pool is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Steer {
    /// The nearest datacenter with room.
    Capacity,
    /// The least great-circle distance, adjusted by the datacenters' bias.
    Nearest,
    /// At random, in proportion to the weights.
    Weighted,
    /// All in turn.
    RoundRobin,
    /// The first healthy one in the order of the file.
    Failover,
    /// By a weighted rendezvous hash of the client's /24 or /56.
    Hash,
}

/// What is answered when a pool is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenAllDown {
    /// As if all were up (fail open).
    AnswerAll,
    /// No records.
    NoData,
    /// As this pool would.
    Pool(PoolId),
}

/// One datacenter's part in a pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Its number.
    pub id: MemberId,
    /// Where it is.
    pub datacenter: DatacenterId,
    /// Its share among its equals; 0 takes no new clients.
    pub weight: u32,
    /// What is answered.
    pub target: Target,
}

/// Why an address can be no client's destination.
pub fn unanswerable(address: IpAddr) -> Option<&'static str> {
    match address {
        _ if address.is_unspecified() => Some("it is the unspecified address"),
        _ if address.is_multicast() => Some("it is a multicast address"),
        IpAddr::V4(v4) if v4.is_broadcast() => Some("it is the broadcast address"),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Some("write it as an IPv4 address"),
        _ => None,
    }
}

/// What an answer that chose a member carries.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// A and AAAA records.
    Addresses {
        /// Each with the probe that watches it, if any.
        v4: Box<[(Ipv4Addr, Option<ProbeId>)]>,
        /// Each with the probe that watches it, if any.
        v6: Box<[(Ipv6Addr, Option<ProbeId>)]>,
    },
    /// A CNAME record.
    Cname {
        /// What it points to.
        name: Name,
        /// The probe that watches it, if any.
        probe: Option<ProbeId>,
    },
    /// The A and AAAA records of another name.
    Flattened {
        /// The name.
        name: Name,
        /// What it was resolved to.
        resolved: ResolvedId,
        /// The probe that watches all of it, if one was given; else each address is watched.
        probe: Option<ProbeId>,
    },
}
