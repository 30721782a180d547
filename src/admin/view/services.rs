//! The L4 services: their connections, and their backends.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::pools::MemberState;
use crate::control::{Aspect, Override, Target};
use crate::l4::capacity::Unit;
use crate::l4::ending::Cause;
use crate::l4::{BackendStatus, Balance, Listen, Load, ServiceStatus};

/// A service.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServiceView {
    /// Its name.
    pub name: String,
    /// The VIPs.
    pub listen: Vec<Listen>,
    /// How a backend is chosen.
    pub balance: Balance,
    /// Connections now, those that processes before this one carry included.
    pub connections: u64,
    /// So many of them.
    pub connections_before: u64,
    /// Connections that wait for a place on a backend.
    pub waiting: u64,
    /// Connections that came in each of the last seconds.
    pub connections_per_second: f64,
    /// What it can take, in `capacity_unit`.
    pub capacity: Option<u64>,
    /// What `capacity` counts.
    pub capacity_unit: Option<Unit>,
    /// Backends that take new connections.
    pub healthy_backends: usize,
    /// Those are fewer than `min_healthy`, so that the site reports no capacity.
    pub is_short: bool,
    /// Connections accepted.
    pub accepted_total: u64,
    /// Connections that no backend took.
    pub refused_total: u64,
    /// Connections that the access lists did not let in.
    pub denied_total: u64,
    /// Connections that came too fast to be let in.
    pub limited_total: u64,
    /// Datagrams for which its sockets had no room.
    pub dropped_total: u64,
    /// What has ended its flows, and how often.
    pub ended_total: BTreeMap<Cause, u64>,
    /// What stands behind it.
    pub backends: Vec<BackendView>,
}

/// A backend.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BackendView {
    /// What an override of it names.
    pub target: String,
    /// Whether it takes new connections.
    pub state: MemberState,
    /// The operator's word on whether it is up and takes new connections.
    #[serde(rename = "override")]
    pub over: Option<Override>,
    /// What else is said of it: that it was added, or has another weight than the files say.
    pub changes: Vec<Override>,
    /// What is counted of it.
    #[serde(flatten)]
    pub status: BackendStatus,
}

impl ServiceView {
    /// All services, with the overrides that name their backends.
    pub fn all(load: Load, overrides: &[Override]) -> Vec<ServiceView> {
        let mut said: HashMap<&Target, Vec<&Override>> = HashMap::new();
        overrides.iter().for_each(|over| said.entry(&over.target).or_default().push(over));
        load.services.into_iter().map(|service| ServiceView::of(service, &said)).collect()
    }

    fn of(service: ServiceStatus, said: &HashMap<&Target, Vec<&Override>>) -> ServiceView {
        let name = service.name.clone();
        let backend = |status: BackendStatus| {
            let backend = status.address.to_string();
            let target = Target::L4 { service: name.clone(), backend };
            let said = said.get(&target).into_iter().flatten().map(|over| (*over).clone());
            let (standing, changes): (Vec<_>, _) =
                said.partition(|over| over.action.aspect() == Aspect::Standing);
            BackendView {
                target: target.to_string(),
                state: state(&status),
                over: standing.into_iter().next(),
                changes,
                status,
            }
        };
        ServiceView {
            listen: service.listen,
            balance: service.balance,
            connections: service.connections,
            connections_before: service.connections_before,
            waiting: service.waiting,
            connections_per_second: service.connections_per_second,
            capacity: service.load.map(|load| load.capacity),
            capacity_unit: service.load.map(|load| load.unit),
            healthy_backends: service.healthy_backends,
            is_short: service.is_short,
            accepted_total: service.accepted_total,
            refused_total: service.refused_total,
            denied_total: service.denied_total,
            limited_total: service.limited_total,
            dropped_total: service.dropped_total,
            ended_total: service.ended_total,
            backends: service.backends.into_iter().map(backend).collect(),
            name: service.name,
        }
    }
}

fn state(backend: &BackendStatus) -> MemberState {
    match backend.forced {
        _ if backend.drained => MemberState::Drained,
        Some(true) => MemberState::ForcedUp,
        Some(false) => MemberState::ForcedDown,
        None if backend.advised_drained && backend.up => MemberState::Drained,
        None if backend.weight == 0 => MemberState::NoWeight,
        None if backend.up => MemberState::Up,
        None => MemberState::Down,
    }
}
