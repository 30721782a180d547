//! What there is to allocate, from what the files say and the groups that the map forms.

use super::Settings;
use super::allocate::{Layout, LayoutDatacenter, LayoutGroup, LayoutMember, LayoutPool};
use crate::decide::cost::costs;
use crate::decide::group::USUAL_GROUPS;
use crate::decide::{Group, Groups, Pool, Steer, Steering};

/// The rows, pools times groups, that there shall be at most; with more pools, groups are wider.
const MOST_ROWS: usize = 100_000;
/// However many pools there are, there are so many groups: about a country each.
const LEAST_GROUPS: usize = 200;

/// How many groups there shall be at most.
pub fn most_groups(steering: &Steering) -> usize {
    let pools = steered_by_capacity(steering).count().max(1);
    (MOST_ROWS / pools).clamp(LEAST_GROUPS, USUAL_GROUPS)
}

/// What there is to allocate; nothing where no pool steers by capacity.
pub fn layout(settings: &Settings, groups: &Groups) -> Layout {
    let steering = &settings.steering;
    let pools: Vec<LayoutPool> = steered_by_capacity(steering).collect();
    if pools.is_empty() {
        return Layout::default();
    }
    let datacenters = steering.datacenters.iter().enumerate();
    let datacenters = datacenters.map(|(index, datacenter)| LayoutDatacenter {
        name: datacenter.name.clone(),
        capacity: settings.capacity.get(index).copied().flatten(),
    });
    let group = |group: &Group| LayoutGroup {
        name: group.name.to_string(),
        weight: group.weight,
        atomic: group.prefix.is_some(),
    };
    Layout {
        datacenters: datacenters.collect(),
        pools,
        groups: groups.list().iter().map(group).collect(),
        cost_ms: costs(&settings.world, groups, &steering.datacenters, &settings.latencies),
    }
}

fn steered_by_capacity(steering: &Steering) -> impl Iterator<Item = LayoutPool> {
    let numbered = (0..).map(crate::decide::PoolId).zip(&steering.pools);
    let steered = numbered.filter(|(_, pool)| pool.steer == Steer::Capacity);
    steered.map(move |(id, pool)| LayoutPool {
        id,
        name: name(pool),
        members: pool
            .members
            .iter()
            .map(|member| LayoutMember {
                datacenter: member.datacenter,
                limit: (pool.share < 1.0).then_some(pool.share),
                seed: pool
                    .rendezvous_seed(&steering.datacenters[usize::from(member.datacenter.0)].name),
            })
            .collect(),
        ttl_min: pool.ttl_min,
        ttl_max: pool.ttl,
    })
}

/// A pool's name among those of all zones.
fn name(pool: &Pool) -> String {
    format!("{}/{}", pool.zone, pool.title())
}
