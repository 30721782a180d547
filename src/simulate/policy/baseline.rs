//! The policies that look at health and place alone.

use super::super::lots::Lots;
use super::super::world::World;
use super::{Asker, Knowledge, Policy, ascending, first_up, orders};

/// Round robin, weighted, nearest, latency table.
pub(in super::super) struct Baseline {
    pub(super) up: Vec<bool>,
    choice: Choice,
}

enum Choice {
    /// A draw with these weights.
    Drawn(Vec<f64>, Lots),
    /// The first that is up, by group.
    Ordered(Vec<Vec<usize>>),
}

impl Baseline {
    pub(super) fn new(policy: &Policy, world: &World, seed: u64) -> Baseline {
        let capacity = |one: &super::super::world::Datacenter| one.capacity;
        let drawn = |weights| Choice::Drawn(weights, Lots::new(seed, 6));
        let choice = match policy {
            Policy::RoundRobin => drawn(vec![1.0; world.datacenters.len()]),
            Policy::Weighted => drawn(world.datacenters.iter().map(capacity).collect()),
            Policy::Latency => Choice::Ordered(by_country(world)),
            _ => Choice::Ordered(orders(world, Knowledge::Geo)),
        };
        Baseline { up: vec![true; world.datacenters.len()], choice }
    }

    pub(super) fn answer(&mut self, asker: Asker) -> usize {
        match &mut self.choice {
            Choice::Ordered(orders) => first_up(&orders[asker.group], &self.up),
            Choice::Drawn(weights, lots) => {
                let none_up = !self.up.contains(&true);
                let weight = |dc: usize| if self.up[dc] || none_up { weights[dc] } else { 0.0 };
                let mut left = lots.uniform() * (0..weights.len()).map(weight).sum::<f64>();
                let taken = (0..weights.len()).find(|&dc| {
                    left -= weight(dc);
                    left < 0.0
                });
                taken.unwrap_or(0)
            }
        }
    }
}

/// The order of the mean round trips of a group's country.
fn by_country(world: &World) -> Vec<Vec<usize>> {
    let mean = |country: &str| {
        let mut sum = vec![0.0; world.datacenters.len()];
        let mut all = 0.0;
        for (index, group) in
            world.groups.iter().enumerate().filter(|(_, group)| group.country == country)
        {
            all += group.peak;
            sum.iter_mut().zip(world.rtt(index)).for_each(|(sum, rtt)| *sum += group.peak * rtt);
        }
        sum.iter().map(|sum| sum / all).collect::<Vec<f64>>()
    };
    let mut known = std::collections::HashMap::new();
    let order = |group: &super::super::world::Group| {
        known
            .entry(group.country.clone())
            .or_insert_with(|| ascending(&mean(&group.country)))
            .clone()
    };
    world.groups.iter().map(order).collect()
}
