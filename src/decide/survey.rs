//! A survey: the world as one policy sees it, cut into cells. Clients of one cell are decided alike
//! whatever the health, the capacity and the operator's word: the same rules hold for them, and
//! the datacenters lie in the same order of distance.
//!
//! It is made once at load. When a fact changes, only the cells are planned anew. Policies that ask
//! for the same places and come to the same datacenters share a terrain.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::RandomState;
use ipnet::IpNet;

use super::{DatacenterId, Match, Policy, Pool, PoolId, Steering};
use crate::geo::range_table::Key;
use crate::geo::{LocationId, RangeTable, World};

/// The world as one policy sees it.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The cells.
    pub terrain: Arc<Terrain>,
    /// For each pool that steers by place, which of the terrain's orders it goes by.
    orders: Box<[(PoolId, usize)]>,
}

/// A world that is cut into cells. Which cell an address is in follows from its location, which the
/// world knows, and from the networks that the rules ask for: no table of addresses is kept.
#[derive(Debug)]
pub struct Terrain {
    /// By cell: which rules hold there, as an index of `holds`.
    pub cells: Box<[u32]>,
    /// For each rule, whether its keys about the client hold.
    pub holds: Box<[Box<[bool]>]>,
    /// Which resolvers the rules tell apart; none when no rule asks for the resolver.
    pub resolvers: Option<Resolvers>,
    orders: Box<[CellOrders]>,
    networks: Networks,
    /// By location, where the class of networks is the first; [`NO_CELL`] where no address is.
    first_class: Box<[u32]>,
    /// By location and class of networks, where it is another.
    other_classes: HashMap<(u32, u32), u32, RandomState>,
}

/// Which addresses the rules' `network` keys tell apart.
#[derive(Debug)]
struct Networks {
    /// The class of every IPv4 address.
    v4: RangeTable<u32>,
    /// The class of every IPv6 address.
    v6: RangeTable<u128>,
}

/// The number of no cell.
const NO_CELL: u32 = u32::MAX;

/// In which order some datacenters lie, seen from each cell.
#[derive(Debug)]
struct CellOrders {
    /// By cell: an index of the orders.
    cells: Box<[u32]>,
    orders: Arc<Orders>,
}

/// In which order some datacenters lie, seen from each location.
#[derive(Debug)]
struct Orders {
    /// By location: which order.
    locations: Box<[u32]>,
    /// The orders, one after the other; the datacenters are numbered as in the pool.
    members: Box<[u16]>,
    /// How many datacenters there are.
    len: usize,
}

/// Which resolvers the rules tell apart.
#[derive(Debug)]
pub struct Resolvers {
    /// The class of every IPv4 address.
    pub v4: RangeTable<u32>,
    /// The class of every IPv6 address.
    pub v6: RangeTable<u128>,
    /// By class: for each rule, whether its `resolver` key holds.
    pub classes: Box<[Box<[bool]>]>,
}

/// Surveys for all policies over one world. What policies have in common is looked at once.
pub fn survey_all(world: &World, steering: &Steering) -> Vec<Survey> {
    let mut surveyor =
        Surveyor { world, steering, orders: HashMap::default(), terrains: HashMap::new() };
    steering.policies.iter().map(|policy| surveyor.survey(policy)).collect()
}

impl Survey {
    /// The members of a pool, seen from a cell: the nearest first where the pool steers by place,
    /// else none.
    pub fn members_by_distance(&self, pool: PoolId, cell: usize) -> Option<&[u16]> {
        let (_, orders) = self.orders.iter().find(|(known, _)| *known == pool)?;
        let CellOrders { cells, orders } = &self.terrain.orders[*orders];
        Some(orders.order(cells[cell]))
    }
}

impl Orders {
    fn new(pool: &Pool, steering: &Steering, world: &World) -> Orders {
        let mut orders: Interned<Box<[u16]>> = Interned::new();
        let mut by_point: HashMap<_, u32, RandomState> = HashMap::default();
        let locations = world.locations().iter().map(|location| {
            let point = location.coordinates.map(|c| (c.latitude.to_bits(), c.longitude.to_bits()));
            *by_point.entry(point).or_insert_with(|| {
                orders.number(pool.members_by_distance(steering, location).into())
            })
        });
        let locations = locations.collect();
        Orders { locations, members: orders.values.concat().into(), len: pool.members.len() }
    }

    fn order(&self, number: u32) -> &[u16] {
        &self.members[number as usize * self.len..][..self.len]
    }
}

/// What surveys have in common.
struct Surveyor<'w> {
    world: &'w World,
    steering: &'w Steering,
    /// By the pool's datacenters.
    orders: HashMap<Vec<DatacenterId>, Arc<Orders>, RandomState>,
    terrains: HashMap<Outlook, Arc<Terrain>>,
}

/// What the shape of a terrain depends on.
#[derive(PartialEq, Eq, Hash)]
struct Outlook {
    /// What the rules ask for.
    matches: Vec<Match>,
    /// The datacenters of the pools that steer by place.
    datacenters: Vec<Vec<DatacenterId>>,
}

impl Surveyor<'_> {
    fn survey(&mut self, policy: &Policy) -> Survey {
        let (world, steering) = (self.world, self.steering);
        let mut seen: Vec<Vec<DatacenterId>> = Vec::new();
        let mut orders: Vec<Arc<Orders>> = Vec::new();
        let mut by_pool = Vec::new();
        for id in policy.reach(steering) {
            let pool = &steering.pools[id.0 as usize];
            if !pool.steers_by_place() {
                continue;
            }
            let datacenters: Vec<_> = pool.members.iter().map(|it| it.datacenter).collect();
            let at = seen.iter().position(|known| *known == datacenters).unwrap_or_else(|| {
                let known = self.orders.entry(datacenters.clone());
                let known = known.or_insert_with(|| Arc::new(Orders::new(pool, steering, world)));
                orders.push(Arc::clone(known));
                seen.push(datacenters);
                seen.len() - 1
            });
            by_pool.push((id, at));
        }
        let matches = policy.rules.iter().map(|rule| rule.matches.clone()).collect();
        let outlook = Outlook { matches, datacenters: seen };
        let terrain = self
            .terrains
            .entry(outlook)
            .or_insert_with(|| Arc::new(Terrain::new(policy, orders, world)));
        Survey { terrain: Arc::clone(terrain), orders: by_pool.into() }
    }
}

impl Terrain {
    fn new(policy: &Policy, orders: Vec<Arc<Orders>>, world: &World) -> Terrain {
        let (v4, v6, memberships) =
            classes(policy, |rule| &rule.network, |rule, address| rule.network_holds(address));
        let networks = Networks { v4, v6 };
        let mut holds: Interned<Box<[bool]>> = Interned::new();
        let mut cells: Interned<(u32, Box<[u32]>)> = Interned::new();
        let mut cell_of = |location: u32, class: u32| {
            let here = world.location(LocationId(location));
            let in_network = &memberships[class as usize];
            let rules = policy.rules.iter().zip(in_network);
            let hold = rules
                .map(|(rule, &inside)| inside && rule.matches.location_mismatch(here).is_none())
                .collect();
            let order = orders.iter().map(|orders| orders.locations[location as usize]);
            cells.number((holds.number(hold), order.collect()))
        };
        let mut first_class = vec![NO_CELL; world.locations().len()].into_boxed_slice();
        let mut other_classes = HashMap::default();
        let mut see = |location: u32, class: u32| match class {
            0 => {
                let cell = &mut first_class[location as usize];
                if *cell == NO_CELL {
                    *cell = cell_of(location, class);
                }
            }
            _ => {
                let cell = other_classes.entry((location, class));
                cell.or_insert_with(|| cell_of(location, class));
            }
        };
        overlaid(world.v4(), &networks.v4).for_each(|(_, location, class)| see(location, class));
        overlaid(world.v6(), &networks.v6).for_each(|(_, location, class)| see(location, class));
        let orders = orders.into_iter().enumerate().map(|(index, orders)| CellOrders {
            cells: cells.values.iter().map(|(_, order)| order[index]).collect(),
            orders,
        });
        let orders = orders.collect();
        let cells = cells.values.into_iter().map(|(hold, _)| hold).collect();
        let (holds, resolvers) = (holds.values.into(), resolvers(policy));
        Terrain { cells, holds, resolvers, orders, networks, first_class, other_classes }
    }

    /// A value for every address of the world that was surveyed: that of its cell.
    pub fn spread(&self, world: &World, values: &[u32]) -> (RangeTable<u32>, RangeTable<u128>) {
        let value = |location: u32, class: u32| {
            let cell = match class {
                0 => self.first_class[location as usize],
                _ => self.other_classes[&(location, class)],
            };
            values[cell as usize]
        };
        (table(world.v4(), &self.networks.v4, value), table(world.v6(), &self.networks.v6, value))
    }
}

fn resolvers(policy: &Policy) -> Option<Resolvers> {
    policy.rules.iter().any(|rule| !rule.matches.resolver.is_empty()).then(|| {
        let (v4, v6, classes) =
            classes(policy, |rule| &rule.resolver, |rule, address| rule.resolver_holds(address));
        Resolvers { v4, v6, classes: classes.into() }
    })
}

/// Cuts the address space at the bounds of the prefixes that rules ask for; each class is one set
/// of rules whose key holds.
fn classes(
    policy: &Policy,
    prefixes: impl Fn(&Match) -> &[IpNet],
    holds: impl Fn(&Match, IpAddr) -> bool,
) -> (RangeTable<u32>, RangeTable<u128>, Vec<Box<[bool]>>) {
    let mut starts_v4 = vec![0u32];
    let mut starts_v6 = vec![0u128];
    for prefix in policy.rules.iter().flat_map(|rule| prefixes(&rule.matches)) {
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
    let mut class = |address: IpAddr| {
        classes.number(policy.rules.iter().map(|rule| holds(&rule.matches, address)).collect())
    };
    let v4 = from_bounds(starts_v4, |start| class(IpAddr::V4(start.into())));
    let v6 = from_bounds(starts_v6, |start| class(IpAddr::V6(start.into())));
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
pub(super) fn overlaid<K: Key>(
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

/// Numbers for distinct values, in the order in which they are first seen.
pub(super) struct Interned<T> {
    numbers: HashMap<T, u32, RandomState>,
    pub(super) values: Vec<T>,
}

impl<T: Clone + Eq + Hash> Interned<T> {
    pub(super) fn new() -> Interned<T> {
        Interned { numbers: HashMap::default(), values: Vec::new() }
    }

    pub(super) fn number(&mut self, value: T) -> u32 {
        if let Some(&number) = self.numbers.get(&value) {
            return number;
        }
        let number = self.values.len() as u32;
        self.values.push(value.clone());
        self.numbers.insert(value, number);
        number
    }
}
