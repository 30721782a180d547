//! What the forwarder carries, in all: what a site reports.

use serde::Serialize;

use super::capacity::Unit;
use super::descriptors;
use super::service::ServiceStatus;

/// The load of the forwarder, for people and machines.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Load {
    /// What is counted in `carried`, `offered` and `capacity`; none: connections.
    pub unit: Option<Unit>,
    /// What the services that say what they can take carry now.
    pub carried: f64,
    /// What those services would carry, had they refused nothing of late.
    pub offered: f64,
    /// The most that they say they can take together; none when none says. 0 when a service is
    /// short of healthy backends.
    pub capacity: Option<u64>,
    /// What part is taken of what is scarcest, their capacity or the files that this process may
    /// have open; none without a capacity.
    pub utilisation: Option<f64>,
    /// All services.
    pub services: Vec<ServiceStatus>,
}

impl Load {
    /// Of all services together.
    pub fn of(services: Vec<ServiceStatus>) -> Load {
        let unit = services.iter().find_map(|service| service.load).map(|load| load.unit);
        // The configuration has one unit for all.
        let loads = || {
            let loads = services.iter().filter_map(|service| service.load);
            loads.filter(|load| Some(load.unit) == unit)
        };
        let (carried, offered) = loads().fold((0.0, 0.0), |(carried, offered), load| {
            (carried + load.carried, offered + load.offered)
        });
        let is_out = services.iter().any(|service| service.is_short);
        let capacity = loads().map(|load| load.capacity).reduce(u64::saturating_add);
        let capacity = if is_out { Some(0) } else { capacity };
        let utilisation = capacity
            .filter(|capacity| *capacity > 0)
            .map(|capacity| (carried / capacity as f64).max(descriptors::taken()));
        Load { unit, carried, offered, capacity, utilisation, services }
    }
}
