//! The allocator that is shipped, fed with what the simulated world tells it.

use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use super::super::plant::Report;
use super::super::run::Ttl;
use super::super::world::World;
use super::{Asker, Knowledge, costs, orders};
use crate::control::allocate::{
    Allocator, Answered, Availability, Layout, LayoutDatacenter, LayoutGroup, LayoutMember,
    LayoutPool, SiteReport, Tuning,
};
use crate::decide::{Allotment, DatacenterId, PoolId, rendezvous_cost};

/// The one pool there is.
const POOL: PoolId = PoolId(0);

/// The shipped allocator at work, as one DNS server.
pub(in super::super) struct Ours {
    allocator: Allocator,
    allotment: Option<Arc<Allotment>>,
    /// The nearest, by group: until there is an allotment.
    nearest: Vec<usize>,
    up: Vec<bool>,
    /// Who is said to be down and not believed to be.
    doubted: Vec<bool>,
    now: f64,
    ttl: Ttl,
}

impl Ours {
    pub(super) fn new(world: &World, knowledge: Knowledge, ttl: Ttl, tuning: Tuning) -> Ours {
        let members = (0..world.datacenters.len() as u16).map(|number| LayoutMember {
            datacenter: DatacenterId(number),
            limit: None,
            seed: seed(number),
        });
        let pool = LayoutPool {
            id: POOL,
            name: "world".to_string(),
            members: members.collect(),
            ttl_min: ttl.min,
            ttl_max: ttl.max,
        };
        let datacenter = |one: &super::super::world::Datacenter| LayoutDatacenter {
            name: one.name.clone(),
            capacity: Some(one.capacity),
        };
        // Nothing is known beforehand of who asks how much.
        let group = |one: &super::super::world::Group| LayoutGroup {
            name: one.name.clone(),
            weight: 1.0,
            atomic: false,
        };
        let layout = Layout {
            datacenters: world.datacenters.iter().map(datacenter).collect(),
            pools: vec![pool],
            groups: world.groups.iter().map(group).collect(),
            cost_ms: costs(world, knowledge).iter().map(|ms| *ms as f32).collect(),
        };
        let nearest = orders(world, knowledge).iter().map(|order| order[0]).collect();
        let allocator = Allocator::new(layout, tuning, Duration::ZERO);
        let up = vec![true; world.datacenters.len()];
        let doubted = vec![false; world.datacenters.len()];
        Ours { allocator, allotment: None, nearest, up, doubted, now: 0.0, ttl }
    }

    pub(super) fn health(&mut self, datacenter: usize, is_up: bool) {
        self.up[datacenter] = is_up;
        let is = if is_up { Availability::Up } else { Availability::Down };
        let now = Duration::from_secs_f64(self.now);
        self.allocator.availability(now, POOL, datacenter, is);
        if !is_up && let Some(outcome) = self.allocator.lost(now, DatacenterId(datacenter as u16)) {
            self.publish(&outcome.allocation.pools);
        }
    }

    pub(super) fn report(&mut self, report: &Report) {
        let told = SiteReport {
            capacity: Some(report.capacity),
            load: report.load,
            rejected: report.rejected,
            utilisation: Some(report.utilisation),
        };
        let age = Duration::from_secs_f64((self.now - report.measured).max(0.0));
        let now = Duration::from_secs_f64(self.now);
        self.allocator.report(now, DatacenterId(report.datacenter as u16), &told, age);
    }

    pub(super) fn begin(&mut self, time: f64) {
        self.now = time;
    }

    pub(super) fn tick(&mut self) {
        self.doubted = self.allocator.disbelieved(Duration::from_secs_f64(self.now));
        if let Some(outcome) = self.allocator.tick(Duration::from_secs_f64(self.now)) {
            self.publish(&outcome.allocation.pools);
        }
    }

    /// As the decision on the hot path: by the shares among those that are up; if none of them is,
    /// the first that is in the group's order.
    pub(super) fn answer(&mut self, asker: Asker, time: f64) -> (usize, u32) {
        let (datacenter, ttl) = match &self.allotment {
            None => (self.nearest[asker.group], self.ttl.min),
            Some(allotment) => {
                let part = &allotment.parts[allotment.by_group[asker.group] as usize];
                let none_up = !self.up.contains(&true);
                let usable = |dc: usize| self.up[dc] || none_up || self.doubted[dc];
                let weights = part.weights.iter().filter(|(dc, _)| usable(usize::from(*dc)));
                let cost = |&(dc, weight): &(u16, u32)| {
                    rendezvous_cost(asker.unit as u64, seed(dc), weight)
                };
                let best = weights.min_by(|a, b| cost(a).total_cmp(&cost(b))).map(|(dc, _)| *dc);
                let first = || part.order.iter().copied().find(|dc| usable(usize::from(*dc)));
                (best.or_else(first).map_or(0, usize::from), part.ttl)
            }
        };
        let answered = Answered {
            key: asker.unit as u64,
            pool: POOL,
            group: asker.group as u32,
            datacenter: DatacenterId(datacenter as u16),
            ttl,
        };
        self.allocator.answered(Duration::from_secs_f64(time), &answered);
        (datacenter, ttl)
    }

    fn publish(&mut self, pools: &[(PoolId, Arc<Allotment>)]) {
        self.allotment = pools.first().map(|(_, allotment)| allotment.clone());
    }
}

/// A datacenter's place in rendezvous hashing.
fn seed(datacenter: u16) -> u64 {
    xxh3_64(&datacenter.to_be_bytes())
}
