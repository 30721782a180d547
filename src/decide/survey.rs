//! A survey: the world as one policy sees it, cut into cells. Clients of one cell are decided alike
//! whatever the health, the capacity and the operator's word: the same rules hold for them, and
//! the datacenters lie in the same order of distance.
//!
//! It is made once at load. When a fact changes, only the cells are planned anew. Policies that ask
//! for the same places and come to the same datacenters share a terrain.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::{DatacenterId, Groups, Match, Policy, Pool, PoolId, Steer, Steering};
use crate::geo::{RangeTable, World};

mod parcels;

pub(super) use parcels::overlaid;
pub use parcels::{District, Districts};
use parcels::{Networks, Parcels, classes, holding};

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
    /// The cells.
    pub cells: Box<[Cell]>,
    /// For each rule, whether its keys about the client hold.
    pub holds: Box<[Box<[bool]>]>,
    /// Which resolvers the rules tell apart; none when no rule asks for the resolver.
    pub resolvers: Option<Resolvers>,
    /// Where clients are given out by group; none when no pool in reach steers by capacity.
    pub districts: Option<Arc<Districts>>,
    orders: Box<[CellOrders]>,
    parcels: Parcels,
}

/// An area of clients that are decided alike, wherever nothing is given out by group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Which rules hold there, as an index of [`Terrain::holds`].
    pub holds: u32,
    /// The district that it is in, where there are districts.
    pub district: u32,
}

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
pub fn survey_all(world: &World, groups: &Groups, steering: &Steering) -> Vec<Survey> {
    let mut surveyor = Surveyor {
        world,
        groups,
        steering,
        orders: HashMap::default(),
        districts: HashMap::new(),
        terrains: HashMap::new(),
    };
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
    groups: &'w Groups,
    steering: &'w Steering,
    /// By the pool's datacenters.
    orders: HashMap<Vec<DatacenterId>, Arc<Orders>, RandomState>,
    /// By what the rules ask for.
    districts: HashMap<Vec<Match>, Arc<Districts>>,
    terrains: HashMap<Outlook, Arc<Terrain>>,
}

/// What the shape of a terrain depends on.
#[derive(PartialEq, Eq, Hash)]
struct Outlook {
    /// What the rules ask for.
    matches: Vec<Match>,
    /// Whether groups are told apart.
    by_group: bool,
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
        let matches: Vec<Match> = policy.rules.iter().map(|rule| rule.matches.clone()).collect();
        let steers_by_capacity =
            |(id, _): &(PoolId, usize)| steering.pools[id.0 as usize].steer == Steer::Capacity;
        let by_group = by_pool.iter().any(steers_by_capacity);
        let districts = by_group.then(|| {
            let known = self.districts.entry(matches.clone());
            known.or_insert_with(|| Arc::new(Districts::new(policy, self.groups, world)))
        });
        let outlook = Outlook { matches, by_group, datacenters: seen };
        let terrain = self
            .terrains
            .entry(outlook)
            .or_insert_with(|| Arc::new(Terrain::new(policy, orders, districts.cloned(), world)));
        Survey { terrain: Arc::clone(terrain), orders: by_pool.into() }
    }
}

impl Terrain {
    fn new(
        policy: &Policy,
        orders: Vec<Arc<Orders>>,
        districts: Option<Arc<Districts>>,
        world: &World,
    ) -> Terrain {
        let networks = match &districts {
            Some(districts) => Arc::clone(&districts.parcels.networks),
            None => Arc::new(Networks::new(policy, None)),
        };
        let mut holds: Interned<Box<[bool]>> = Interned::new();
        if let Some(districts) = &districts {
            // The districts' numbers are the terrain's.
            for hold in &districts.holds {
                holds.number(hold.clone());
            }
        }
        let mut cells: Interned<(u32, u32, Box<[u32]>)> = Interned::new();
        let parcels = Parcels::new(world, networks, |location, class, networks| {
            let order = orders.iter().map(|orders| orders.locations[location as usize]).collect();
            let (holds, district) = match &districts {
                Some(districts) => {
                    let district = districts.parcels.number(location, class);
                    (districts.list[district as usize].holds, district)
                }
                None => (holds.number(holding(policy, world, location, networks)), 0),
            };
            cells.number((holds, district, order))
        });
        let orders = orders.into_iter().enumerate().map(|(index, orders)| CellOrders {
            cells: cells.values.iter().map(|(.., order)| order[index]).collect(),
            orders,
        });
        let orders = orders.collect();
        let cells = cells.values.iter().map(|&(holds, district, _)| Cell { holds, district });
        let (cells, holds, resolvers) = (cells.collect(), holds.values.into(), resolvers(policy));
        Terrain { cells, holds, resolvers, districts, orders, parcels }
    }

    /// A value for every address of the world that was surveyed: that of its cell.
    pub fn spread(&self, world: &World, values: &[u32]) -> (RangeTable<u32>, RangeTable<u128>) {
        self.parcels.spread(world, |cell| values[cell as usize])
    }
}

fn resolvers(policy: &Policy) -> Option<Resolvers> {
    policy.rules.iter().any(|rule| !rule.matches.resolver.is_empty()).then(|| {
        let (v4, v6, classes) = classes(
            policy,
            |rule| &rule.resolver,
            [],
            |address| {
                let rules = policy.rules.iter();
                rules.map(|rule| rule.matches.resolver_holds(address)).collect()
            },
        );
        Resolvers { v4, v6, classes: classes.into() }
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
