//! A world of one's own: the datacenters of a configuration, and who asks them.

use super::world::{Built, Datacenter, Group, World};
use crate::control::Settings;
use crate::decide::{DatacenterId, Pool, Steer};

/// The datacenters of a configuration, or those of one of its pools, with the pool's share of their
/// capacities.
///
/// # Errors
///
/// What the configuration lacks.
pub fn datacenters(settings: &Settings, pool: Option<&str>) -> Result<Vec<Datacenter>, String> {
    let steering = &settings.steering;
    let pool = pool.map(|name| pool_named(settings, name)).transpose()?;
    let mut own = Vec::new();
    for (index, datacenter) in steering.datacenters.iter().enumerate() {
        let is_member = |pool: &Pool| {
            pool.members.iter().any(|member| member.datacenter == DatacenterId(index as u16))
        };
        if pool.is_some_and(|pool| !is_member(pool)) {
            continue;
        }
        let name = &datacenter.name;
        let at = datacenter.location.coordinates.ok_or_else(|| {
            format!("datacenter {name} has no place: give it a `location` in the configuration")
        })?;
        let capacity = settings.capacity.get(index).copied().flatten().ok_or_else(|| {
            format!("datacenter {name} has no `capacity` in the configuration: give it one")
        })?;
        let share = pool.map_or(1.0, |pool| pool.share);
        own.push(Datacenter { name: name.clone(), at, capacity: capacity * share });
    }
    if own.is_empty() {
        return Err("there are no datacenters in the configuration".into());
    }
    Ok(own)
}

/// The least and the greatest TTL of a pool's answers, in seconds.
///
/// # Errors
///
/// There is no such pool; which there are.
pub fn ttl(settings: &Settings, pool: &str) -> Result<(u32, u32), String> {
    let pool = pool_named(settings, pool)?;
    Ok((pool.ttl_min, pool.ttl))
}

fn pool_named<'s>(settings: &'s Settings, name: &str) -> Result<&'s Pool, String> {
    let steering = &settings.steering;
    let full =
        |pool: &Pool| format!("{}/{}", pool.zone.to_string().trim_end_matches('.'), pool.name);
    let found = steering.pools.iter().find(|pool| full(pool) == name);
    found.ok_or_else(|| {
        let by_capacity = steering.pools.iter().filter(|pool| pool.steer == Steer::Capacity);
        let known: Vec<String> = by_capacity.map(full).collect();
        format!("there is no pool {name}; by capacity steer: {}", known.join(", "))
    })
}

impl World {
    /// These datacenters, and these groups in the proportions of their peaks; at the busiest hour
    /// they ask for all capacity over `headroom`.
    pub fn own(groups: Vec<Group>, own: Vec<Datacenter>, headroom: f64, seed: u64) -> World {
        let mut world = World::new(groups, own, seed);
        let busiest = world.busiest_hour();
        let demand: f64 = (0..world.groups.len()).map(|one| world.usual(one, busiest)).sum();
        let capacity: f64 = world.datacenters.iter().map(|one| one.capacity).sum();
        let factor = capacity / headroom / demand.max(f64::MIN_POSITIVE);
        world.groups.iter_mut().for_each(|group| group.peak *= factor);
        world
    }

    /// The people of the built-in world.
    pub fn people() -> Vec<Group> {
        World::built(&Built::default()).groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geo::Coordinates;

    #[test]
    fn a_world_of_ones_own_asks_for_its_capacity_over_the_headroom() {
        let at = Coordinates { latitude: 50.0, longitude: 8.0 };
        let own = |name: &str| Datacenter { name: name.into(), at, capacity: 500.0 };
        let world = World::own(World::people(), vec![own("fra"), own("iad")], 1.25, 3);
        let busiest = world.busiest_hour();
        let demand: f64 = (0..world.groups.len()).map(|one| world.usual(one, busiest)).sum();
        assert!((demand - 800.0).abs() < 1e-6, "{demand}");
    }
}
