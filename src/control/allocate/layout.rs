//! What there is to allocate: datacenters, pools and groups of clients, and what each costs where.

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_64;

use crate::decide::{DatacenterId, PoolId};

/// A cost that is not a number counts as this, in milliseconds: around the world, several times.
const UNKNOWN_COST_MS: f32 = 1_000.0;
/// The weight of a group that has none: one that nobody expects may ask all the same.
const LEAST_WEIGHT: f64 = 1e-7;

/// What there is to allocate.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// By [`DatacenterId`].
    pub datacenters: Vec<LayoutDatacenter>,
    /// The pools that steer by capacity.
    pub pools: Vec<LayoutPool>,
    /// The groups of clients, by their numbers.
    pub groups: Vec<LayoutGroup>,
    /// Groups × datacenters, a group's costs one after another: milliseconds, with everything in
    /// them that makes a datacenter dear to a client.
    pub cost_ms: Vec<f32>,
}

/// A datacenter.
#[derive(Clone, Debug, PartialEq)]
pub struct LayoutDatacenter {
    /// Its name, unique.
    pub name: String,
    /// The capacity from the configuration, in units of load.
    pub capacity: Option<f64>,
}

/// A pool that steers by capacity.
#[derive(Clone, Debug, PartialEq)]
pub struct LayoutPool {
    /// Its number.
    pub id: PoolId,
    /// Its name, unique.
    pub name: String,
    /// Its members, in the order of the file.
    pub members: Vec<LayoutMember>,
    /// The least TTL of its answers, in seconds.
    pub ttl_min: u32,
    /// The greatest TTL of its answers, in seconds.
    pub ttl_max: u32,
}

/// A datacenter's part in a pool.
#[derive(Clone, Debug, PartialEq)]
pub struct LayoutMember {
    /// Where it is.
    pub datacenter: DatacenterId,
    /// The most of the datacenter's capacity that the pool may use, as a fraction.
    pub limit: Option<f64>,
    /// Its place in rendezvous hashing: see [`rendezvous_cost`](crate::decide::rendezvous_cost).
    pub seed: u64,
}

/// A group of clients.
#[derive(Clone, Debug, PartialEq)]
pub struct LayoutGroup {
    /// Its name, unique. What stands before the first `/` is the country, if anything does.
    pub name: String,
    /// Its share of the world's demand, as far as one knows beforehand; need not sum to one.
    pub weight: f64,
    /// True for a single prefix, all clients of which get the same answer.
    pub atomic: bool,
}

/// A layout that has been checked, and what follows from it.
#[derive(Clone, Debug, Default)]
pub(super) struct Ground {
    pub layout: Layout,
    /// By the group.
    pub weights: Vec<f64>,
    /// By the group: the number of its country.
    pub countries: Vec<u32>,
    /// By the group: the nearest datacenter.
    pub regions: Vec<u32>,
    /// By the row: a key that stays the same.
    pub row_keys: Vec<u64>,
    /// What the solver calls sites: datacenters first, then entries to parts of them.
    pub entries: Vec<Entry>,
    /// By the pool: the site of each member.
    pub sites: Vec<Vec<u16>>,
    pub site_keys: Vec<u64>,
    pool_numbers: HashMap<PoolId, u32>,
}

/// The right of a pool to a part of a datacenter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub datacenter: u16,
    pub limit: f64,
}

impl Ground {
    pub fn new(mut layout: Layout) -> Ground {
        let datacenters = layout.datacenters.len();
        layout.cost_ms.resize(layout.groups.len() * datacenters, UNKNOWN_COST_MS);
        for cost in &mut layout.cost_ms {
            if !cost.is_finite() {
                *cost = UNKNOWN_COST_MS;
            }
        }
        for pool in &mut layout.pools {
            pool.members.retain(|member| usize::from(member.datacenter.0) < datacenters);
            pool.ttl_max = pool.ttl_max.max(pool.ttl_min);
        }
        let positive = |weight: f64| if weight.is_finite() && weight > 0.0 { weight } else { 0.0 };
        let total: f64 = layout.groups.iter().map(|group| positive(group.weight)).sum();
        let share = |group: &LayoutGroup| match total > 0.0 {
            true => (positive(group.weight) / total).max(LEAST_WEIGHT),
            false => 1.0 / layout.groups.len().max(1) as f64,
        };
        let weights = layout.groups.iter().map(share).collect();
        let mut names = HashMap::new();
        let countries = layout.groups.iter().map(|group| {
            let country = group.name.split('/').next().unwrap_or_default();
            let next = names.len() as u32;
            *names.entry(country).or_insert(next)
        });
        let countries = countries.collect();
        let regions = (0..layout.groups.len()).map(|group| {
            let costs = &layout.cost_ms[group * datacenters..][..datacenters];
            let nearest = (0u32..).zip(costs).min_by(|a, b| a.1.total_cmp(b.1));
            nearest.map_or(0, |(datacenter, _)| datacenter)
        });
        let regions = regions.collect();
        let row_keys = layout.pools.iter().flat_map(|pool| {
            let key =
                |group: &LayoutGroup| xxh3_64(format!("{}\0{}", pool.name, group.name).as_bytes());
            layout.groups.iter().map(key)
        });
        let row_keys = row_keys.collect();
        let mut site_keys: Vec<u64> =
            layout.datacenters.iter().map(|dc| xxh3_64(dc.name.as_bytes())).collect();
        let mut entries = Vec::new();
        let sites = layout.pools.iter().map(|pool| {
            let site = |member: &LayoutMember| {
                let whole = member.datacenter.0;
                let Some(limit) = member.limit.filter(|limit| (0.0..1.0).contains(limit)) else {
                    return whole;
                };
                let site = datacenters + entries.len();
                let Ok(number) = u16::try_from(site) else { return whole };
                entries.push(Entry { datacenter: whole, limit });
                let name = &layout.datacenters[usize::from(whole)].name;
                site_keys.push(xxh3_64(format!("{}\0{name}", pool.name).as_bytes()));
                number
            };
            pool.members.iter().map(site).collect()
        });
        let sites = sites.collect();
        let pool_numbers = (0..).zip(&layout.pools).map(|(n, pool)| (pool.id, n)).collect();
        Ground {
            weights,
            countries,
            regions,
            row_keys,
            entries,
            sites,
            site_keys,
            pool_numbers,
            layout,
        }
    }

    pub fn groups(&self) -> usize {
        self.layout.groups.len()
    }

    pub fn datacenters(&self) -> usize {
        self.layout.datacenters.len()
    }

    /// The pools' rows, one pool after another.
    pub fn rows(&self) -> usize {
        self.layout.pools.len() * self.groups()
    }

    pub fn row(&self, pool: PoolId, group: u32) -> Option<u32> {
        let pool = *self.pool_numbers.get(&pool)?;
        if group as usize >= self.groups() {
            return None;
        }
        Some(pool * self.groups() as u32 + group)
    }

    pub fn pool_number(&self, pool: PoolId) -> Option<usize> {
        self.pool_numbers.get(&pool).map(|number| *number as usize)
    }

    pub fn pool_of(&self, row: usize) -> usize {
        row / self.groups().max(1)
    }

    pub fn group_of(&self, row: usize) -> usize {
        row % self.groups().max(1)
    }

    /// What a group's clients cost everywhere, by the datacenter.
    pub fn costs(&self, group: usize) -> &[f32] {
        &self.layout.cost_ms[group * self.datacenters()..][..self.datacenters()]
    }

    /// For each row of the layout before, the row with the same names.
    pub fn rows_of(&self, before: &Ground) -> Vec<Option<u32>> {
        let now: HashMap<u64, u32> = self.row_keys.iter().copied().zip(0..).collect();
        before.row_keys.iter().map(|key| now.get(key).copied()).collect()
    }

    /// For each datacenter of the layout before, the one with the same name.
    pub fn datacenters_of(&self, before: &Ground) -> Vec<Option<u16>> {
        let number = |name: &String| {
            let found = self.layout.datacenters.iter().position(|dc| dc.name == *name);
            found.and_then(|index| u16::try_from(index).ok())
        };
        before.layout.datacenters.iter().map(|dc| number(&dc.name)).collect()
    }
}
