//! The world cut into areas: by what the rules ask for, by the networks that they name, and by client
//! groups.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::RandomState;
use ipnet::IpNet;

use super::Interned;
use crate::decide::{GroupId, Groups, Match, Policy};
use crate::geo::range_table::Key;
use crate::geo::{LocationId, RangeTable, World};

/// The world as cut by rules and client groups, and nothing else. Terrains whose rules ask for the
/// same places share it, and so do all their charts: when clients are given out anew, what changes
/// is the plan of a district, not who is in it.
#[derive(Debug)]
pub struct Districts {
    /// The districts.
    pub list: Box<[District]>,
    pub(super) holds: Vec<Box<[bool]>>,
    /// The district of every IPv4 address.
    pub v4: RangeTable<u32>,
    /// The district of every IPv6 address.
    pub v6: RangeTable<u128>,
    pub(super) parcels: Parcels,
}

/// The clients of one group for whom the same rules hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct District {
    /// Which rules hold there, as an index of [`Terrain::holds`](super::Terrain::holds).
    pub holds: u32,
    /// The group.
    pub group: GroupId,
}

/// A number for each combination of a location and a class of networks in which there are addresses.
#[derive(Debug)]
pub(super) struct Parcels {
    pub(super) networks: Arc<Networks>,
    /// By location, where the class is the first; [`NO_NUMBER`] where no address is.
    first_class: Box<[u32]>,
    /// By location and class, where it is another.
    other_classes: HashMap<(u32, u32), u32, RandomState>,
}

/// Which addresses are told apart by the rules' `network` keys and by groups of one prefix.
#[derive(Debug)]
pub(super) struct Networks {
    /// The class of every IPv4 address.
    v4: RangeTable<u32>,
    /// The class of every IPv6 address.
    v6: RangeTable<u128>,
    classes: Vec<NetworkClass>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct NetworkClass {
    /// By rule: whether its `network` key holds.
    hold: Box<[bool]>,
    /// The group of one prefix, if it is in one and they are told apart.
    group: Option<GroupId>,
}

const NO_NUMBER: u32 = u32::MAX;

impl Districts {
    pub(super) fn new(policy: &Policy, groups: &Groups, world: &World) -> Districts {
        let mut holds: Interned<Box<[bool]>> = Interned::new();
        let mut list: Interned<(u32, GroupId)> = Interned::new();
        let networks = Arc::new(Networks::new(policy, Some(groups)));
        let parcels = Parcels::new(world, networks, |location, _, networks| {
            let group = networks.group.unwrap_or(groups.group_at(LocationId(location)));
            list.number((holds.number(holding(policy, world, location, networks)), group))
        });
        let (v4, v6) = parcels.spread(world, |district| district);
        let list = list.values.into_iter().map(|(holds, group)| District { holds, group });
        Districts { list: list.collect(), holds: holds.values, v4, v6, parcels }
    }
}

/// By rule: whether its keys about the client hold there.
pub(super) fn holding(
    policy: &Policy,
    world: &World,
    location: u32,
    networks: &NetworkClass,
) -> Box<[bool]> {
    let here = world.location(LocationId(location));
    let rules = policy.rules.iter().zip(&networks.hold);
    rules.map(|(rule, &inside)| inside && rule.matches.location_mismatch(here).is_none()).collect()
}

impl Parcels {
    pub(super) fn new(
        world: &World,
        networks: Arc<Networks>,
        mut number: impl FnMut(u32, u32, &NetworkClass) -> u32,
    ) -> Parcels {
        let mut first_class = vec![NO_NUMBER; world.locations().len()].into_boxed_slice();
        let mut other_classes = HashMap::default();
        let mut see = |location: u32, class: u32| {
            let of_class = &networks.classes[class as usize];
            match class {
                0 => {
                    let known = &mut first_class[location as usize];
                    if *known == NO_NUMBER {
                        *known = number(location, class, of_class);
                    }
                }
                _ => {
                    let known = other_classes.entry((location, class));
                    known.or_insert_with(|| number(location, class, of_class));
                }
            }
        };
        overlaid(world.v4(), &networks.v4).for_each(|(_, location, class)| see(location, class));
        overlaid(world.v6(), &networks.v6).for_each(|(_, location, class)| see(location, class));
        Parcels { networks, first_class, other_classes }
    }

    /// The number of a combination in which there are addresses.
    pub(super) fn number(&self, location: u32, class: u32) -> u32 {
        match class {
            0 => self.first_class[location as usize],
            _ => self.other_classes[&(location, class)],
        }
    }

    /// A value for every address: that of its number.
    pub(super) fn spread(
        &self,
        world: &World,
        value: impl Fn(u32) -> u32,
    ) -> (RangeTable<u32>, RangeTable<u128>) {
        let value = |location: u32, class: u32| value(self.number(location, class));
        (table(world.v4(), &self.networks.v4, value), table(world.v6(), &self.networks.v6, value))
    }
}

impl Networks {
    /// With `groups`, those of one prefix are told apart.
    pub(super) fn new(policy: &Policy, groups: Option<&Groups>) -> Networks {
        let promoted = groups.into_iter().flat_map(Groups::promoted).map(|(_, prefix)| prefix);
        let (v4, v6, classes) = classes(
            policy,
            |rule| &rule.network,
            promoted,
            |address| {
                let rules = policy.rules.iter();
                NetworkClass {
                    hold: rules.map(|rule| rule.matches.network_holds(address)).collect(),
                    group: groups.and_then(|groups| groups.promoted_around(address)),
                }
            },
        );
        Networks { v4, v6, classes }
    }
}

/// Cuts the address space at the bounds of the prefixes that rules ask for, and of others; what is
/// the same on both sides of a bound is one class.
pub(super) fn classes<C: Clone + Eq + Hash>(
    policy: &Policy,
    prefixes: impl Fn(&Match) -> &[IpNet],
    others: impl IntoIterator<Item = IpNet>,
    class: impl Fn(IpAddr) -> C,
) -> (RangeTable<u32>, RangeTable<u128>, Vec<C>) {
    let mut starts_v4 = vec![0u32];
    let mut starts_v6 = vec![0u128];
    let asked_for = policy.rules.iter().flat_map(|rule| prefixes(&rule.matches)).copied();
    for prefix in asked_for.chain(others) {
        match prefix {
            IpNet::V4(v4) => {
                starts_v4.push(v4.network().into());
                starts_v4.extend(u32::from(v4.broadcast()).checked_add(1));
            }
            IpNet::V6(v6) => {
                starts_v6.push(v6.network().into());
                starts_v6.extend(u128::from(v6.broadcast()).checked_add(1));
            }
        }
    }
    let mut classes = Interned::new();
    let mut number = |address: IpAddr| classes.number(class(address));
    let v4 = from_bounds(starts_v4, |start| number(IpAddr::V4(start.into())));
    let v6 = from_bounds(starts_v6, |start| number(IpAddr::V6(start.into())));
    (v4, v6, classes.values)
}

fn from_bounds<K: Key>(mut starts: Vec<K>, mut value: impl FnMut(K) -> u32) -> RangeTable<K> {
    starts.sort_unstable();
    starts.dedup();
    RangeTable::from_starts(starts.into_iter().map(|start| (start, value(start))))
}

/// The table of what follows from a location and a class of networks.
fn table<K: Key>(
    locations: &RangeTable<K>,
    networks: &RangeTable<K>,
    value: impl Fn(u32, u32) -> u32,
) -> RangeTable<K> {
    let both = overlaid(locations, networks);
    RangeTable::from_starts(both.map(|(start, location, class)| (start, value(location, class))))
}

/// Walks two tables together: where either has a new range, its start, and the values of both.
pub(in crate::decide) fn overlaid<K: Key>(
    a: &RangeTable<K>,
    b: &RangeTable<K>,
) -> impl Iterator<Item = (K, u32, u32)> {
    let (mut a, mut b) = (a.ranges().peekable(), b.ranges().peekable());
    let mut values = (0, 0);
    std::iter::from_fn(move || {
        let start = match (a.peek(), b.peek()) {
            (None, None) => return None,
            (Some(&(at, _)), None) | (None, Some(&(at, _))) => at,
            (Some(&(at_a, _)), Some(&(at_b, _))) => at_a.min(at_b),
        };
        if let Some((_, value)) = a.next_if(|&(at, _)| at == start) {
            values.0 = value;
        }
        if let Some((_, value)) = b.next_if(|&(at, _)| at == start) {
            values.1 = value;
        }
        Some((start, values.0, values.1))
    })
}
