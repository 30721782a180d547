//! A survey: the world as one policy sees it, cut into cells. Clients of one cell are decided alike
//! whatever the health, the capacity and the operator's word: the same rules hold for them, and
//! the datacenters lie in the same order of distance.
//!
//! It is made once at load. When a fact changes, only the cells are planned anew.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use ipnet::IpNet;

use super::{Match, Policy, Pool, PoolId, Steer, Steering};
use crate::geo::range_table::Key;
use crate::geo::{Location, LocationId, RangeTable, World};

/// The world as one policy sees it.
#[derive(Debug)]
pub struct Survey {
    /// By the numbers in the tables.
    pub cells: Box<[Cell]>,
    /// The cell of every IPv4 address.
    pub v4: RangeTable<u32>,
    /// The cell of every IPv6 address.
    pub v6: RangeTable<u128>,
    /// Which resolvers the rules tell apart; none when no rule asks for the resolver.
    pub resolvers: Option<Resolvers>,
}

/// Clients that are decided alike.
#[derive(Clone, Debug)]
pub struct Cell {
    /// One of its locations; any other gives the same plan.
    pub location: LocationId,
    /// For each rule, whether its keys about the client hold here.
    pub holds: Box<[bool]>,
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

/// Surveys for all policies over one world. Distances are ordered once a pool, not once a policy.
pub fn survey_all(world: &World, steering: &Steering) -> Vec<Survey> {
    let mut orders = Orders { world, steering, by_pool: HashMap::new() };
    steering.policies.iter().map(|policy| Survey::new(policy, &mut orders)).collect()
}

impl Survey {
    fn new(policy: &Policy, orders: &mut Orders) -> Survey {
        let world = orders.world;
        let pools = pools_that_steer_by_place(policy, orders.steering);
        for &pool in &pools {
            orders.compute(pool);
        }
        let (networks_v4, networks_v6, memberships) =
            classes(policy, |rule| &rule.network, |rule, address| rule.network_holds(address));
        let mut cells = Vec::new();
        let mut kinds = Interned::new();
        let mut known: HashMap<(u32, u32), u32> = HashMap::new();
        let orders = &*orders;
        let mut cell_of = |location: u32, membership: u32| {
            *known.entry((location, membership)).or_insert_with(|| {
                let here = world.location(LocationId(location));
                let in_network = &memberships[membership as usize];
                let rules = policy.rules.iter().zip(in_network);
                let holds: Box<[bool]> = rules
                    .map(|(rule, &inside)| inside && rule.matches.location_mismatch(here).is_none())
                    .collect();
                let order: Vec<u32> = pools.iter().map(|pool| orders.of(*pool, location)).collect();
                let kind = kinds.number((holds.clone(), order));
                if kind as usize == cells.len() {
                    cells.push(Cell { location: LocationId(location), holds });
                }
                kind
            })
        };
        let v4 = overlay(world.v4(), &networks_v4, &mut cell_of);
        let v6 = overlay(world.v6(), &networks_v6, &mut cell_of);
        Survey { cells: cells.into(), v4, v6, resolvers: resolvers(policy) }
    }
}

fn resolvers(policy: &Policy) -> Option<Resolvers> {
    policy.rules.iter().any(|rule| !rule.matches.resolver.is_empty()).then(|| {
        let (v4, v6, classes) =
            classes(policy, |rule| &rule.resolver, |rule, address| rule.resolver_holds(address));
        Resolvers { v4, v6, classes: classes.into() }
    })
}

/// The pools that a policy can come to whose choice depends on distance.
fn pools_that_steer_by_place(policy: &Policy, steering: &Steering) -> Vec<PoolId> {
    let mut pools = policy.reach(steering);
    pools.retain(|pool| {
        matches!(steering.pools[pool.0 as usize].steer, Steer::Nearest | Steer::Capacity)
    });
    pools
}

/// For each pool that steers by distance, the number of the order of its members at each location.
struct Orders<'w> {
    world: &'w World,
    steering: &'w Steering,
    by_pool: HashMap<PoolId, Vec<u32>>,
}

impl Orders<'_> {
    fn compute(&mut self, pool: PoolId) {
        if self.by_pool.contains_key(&pool) {
            return;
        }
        let members = &self.steering.pools[pool.0 as usize];
        let mut orders = Interned::new();
        let mut by_point: HashMap<Option<(u64, u64)>, u32> = HashMap::new();
        let locations = self.world.locations().iter().map(|location| {
            let point = location.coordinates.map(|c| (c.latitude.to_bits(), c.longitude.to_bits()));
            *by_point.entry(point).or_insert_with(|| {
                orders.number(members_by_distance(members, self.steering, location))
            })
        });
        let locations = locations.collect();
        self.by_pool.insert(pool, locations);
    }

    fn of(&self, pool: PoolId, location: u32) -> u32 {
        self.by_pool[&pool][location as usize]
    }
}

fn members_by_distance(pool: &Pool, steering: &Steering, location: &Location) -> Vec<u16> {
    let mut order: Vec<u16> = (0..pool.members.len() as u16).collect();
    order.sort_by_cached_key(|&member| {
        let datacenter = pool.members[usize::from(member)].datacenter;
        steering.datacenters[usize::from(datacenter.0)].distance_rank(location)
    });
    order
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
    let v4 = table(starts_v4, |start| class(IpAddr::V4(start.into())));
    let v6 = table(starts_v6, |start| class(IpAddr::V6(start.into())));
    (v4, v6, classes.values)
}

fn table<K: Key>(mut starts: Vec<K>, mut value: impl FnMut(K) -> u32) -> RangeTable<K> {
    starts.sort_unstable();
    starts.dedup();
    RangeTable::from_starts(starts.into_iter().map(|start| (start, value(start))))
}

/// Walks two tables together; `combine` gives the value where both meet.
fn overlay<K: Key>(
    a: &RangeTable<K>,
    b: &RangeTable<K>,
    mut combine: impl FnMut(u32, u32) -> u32,
) -> RangeTable<K> {
    let (mut a, mut b) = (a.ranges().peekable(), b.ranges().peekable());
    let mut values = (0, 0);
    RangeTable::from_starts(std::iter::from_fn(|| {
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
        Some((start, combine(values.0, values.1)))
    }))
}

/// Numbers for distinct values, in the order in which they are first seen.
pub(super) struct Interned<T> {
    numbers: HashMap<T, u32>,
    pub(super) values: Vec<T>,
}

impl<T: Clone + Eq + Hash> Interned<T> {
    pub(super) fn new() -> Interned<T> {
        Interned { numbers: HashMap::new(), values: Vec::new() }
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
