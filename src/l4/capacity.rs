//! What a service can take and what it is offered, as it is reported. Pure.

use serde::Serialize;

use super::backend::BackendStatus;
use super::recent::Recent;
use super::settings::{Capacity, ServiceSettings};

/// What a capacity counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// Flows at a time.
    #[serde(rename = "connections")]
    Connections,
    /// New flows a second.
    #[serde(rename = "connections/s")]
    ConnectionsPerSecond,
}

/// What a service takes of what it can take, both in `unit`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ServiceLoad {
    /// What is counted.
    pub unit: Unit,
    /// The most it says it can take, for the backends that take new connections now: 0 while fewer
    /// of them are healthy than it needs.
    pub capacity: u64,
    /// What it takes now.
    pub carried: f64,
    /// What it would take now, had it refused nothing of late.
    pub offered: f64,
}

impl Unit {
    /// As a report has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Unit::Connections => "connections",
            Unit::ConnectionsPerSecond => "connections/s",
        }
    }
}

/// How many backends are healthy and not taken out.
pub fn healthy(backends: &[BackendStatus]) -> usize {
    backends.iter().filter(|backend| takes(backend)).count()
}

/// None for a service that does not say what it can take, nor its agents.
pub fn load(
    settings: &ServiceSettings,
    backends: &[BackendStatus],
    recent: &Recent,
) -> Option<ServiceLoad> {
    let is_short = healthy(backends) < settings.min_healthy;
    let full = match settings.capacity? {
        Capacity::Connections(most) | Capacity::ConnectionsPerSecond(most) => share(most, backends),
        Capacity::Agents => told_by_agents(backends)?,
    };
    let capacity = if is_short { 0 } else { full };
    Some(match settings.capacity? {
        Capacity::Connections(_) | Capacity::Agents => {
            let carried = backends.iter().map(|backend| backend.connections).sum::<u64>() as f64;
            let offered = carried * recent.offered_per_carried();
            ServiceLoad { unit: Unit::Connections, capacity, carried, offered }
        }
        Capacity::ConnectionsPerSecond(_) => {
            let (offered, refused) = recent.per_second();
            let (unit, carried) = (Unit::ConnectionsPerSecond, offered - refused);
            ServiceLoad { unit, capacity, carried, offered }
        }
    })
}

/// Healthy, and may have new flows.
fn takes(backend: &BackendStatus) -> bool {
    backend.up && !backend.drained && !backend.advised_drained && backend.weight > 0
}

/// What the backends that take new flows can take of what all can. Configured weights count, not
/// those that agents advise for a time: those say how flows are spread, and are low where load is
/// high. Backups count while they stand in, but never for more than all others.
fn share(capacity: u64, backends: &[BackendStatus]) -> u64 {
    let weight = |of: &dyn Fn(&BackendStatus) -> bool| {
        let those = backends.iter().filter(|backend| of(backend));
        those.map(|backend| u128::from(backend.weight)).sum::<u128>()
    };
    let is_main_there = weight(&|backend| !backend.backup) > 0;
    let all = weight(&|backend| !is_main_there || !backend.backup);
    let main = weight(&|backend| takes(backend) && !backend.backup);
    let taking = if main > 0 { main } else { weight(&|backend| takes(backend) && backend.backup) };
    let share = (u128::from(capacity) * taking.min(all)).checked_div(all).unwrap_or(0);
    // It is no more than the capacity.
    share as u64
}

/// The limits of those that take new flows; none if no agent has set one.
fn told_by_agents(backends: &[BackendStatus]) -> Option<u64> {
    let limit = |backend: &BackendStatus| {
        let limit = u64::from(backend.advised_max_connections?);
        Some(backend.max_connections.map_or(limit, |most| most.min(limit)))
    };
    backends.iter().find_map(limit)?;
    let is_main_taking = backends.iter().any(|backend| takes(backend) && !backend.backup);
    let taking = backends.iter().filter(|one| takes(one) && one.backup != is_main_taking);
    Some(taking.filter_map(limit).sum())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::health::{Advice, Verdict};
    use crate::l4::backend::{Backend, Shared};
    use crate::l4::settings::BackendSettings;

    fn status(weight: u32, is_up: bool) -> BackendStatus {
        let address = "198.51.100.1:80".parse().unwrap();
        let backend = Arc::new(Backend::new(address, Arc::new(Shared::default()), false));
        backend.learn(if is_up { Verdict::Up } else { Verdict::Down });
        backend.take_advice(Advice { max_connections: Some(30), ..Advice::default() });
        backend.status(&BackendSettings::new(address, weight))
    }

    fn backup(status: BackendStatus) -> BackendStatus {
        BackendStatus { backup: true, ..status }
    }

    fn capacity(capacity: Capacity, min_healthy: usize, backends: &[BackendStatus]) -> Option<u64> {
        let mut settings = ServiceSettings::new("web", Vec::new(), Vec::new());
        settings.capacity = Some(capacity);
        settings.min_healthy = min_healthy;
        load(&settings, backends, &Recent::default()).map(|load| load.capacity)
    }

    #[test]
    fn capacity_is_that_of_the_backends_that_take_new_flows() {
        let hundred =
            |backends: &[BackendStatus]| capacity(Capacity::Connections(100), 0, backends).unwrap();
        assert_eq!(hundred(&[status(1, true), status(3, true)]), 100);
        assert_eq!(hundred(&[status(1, true), status(3, false)]), 25);
        assert_eq!(hundred(&[status(1, false)]), 0);
        let drained = BackendStatus { drained: true, ..status(3, true) };
        assert_eq!(hundred(&[status(1, true), drained]), 25);
        let paced = BackendStatus { weight_percent: 5, ..status(3, true) };
        assert_eq!(hundred(&[status(1, true), paced]), 100, "for a time only");
    }

    #[test]
    fn backups_count_while_they_stand_in() {
        let hundred =
            |backends: &[BackendStatus]| capacity(Capacity::Connections(100), 0, backends).unwrap();
        assert_eq!(hundred(&[status(2, true), backup(status(1, true))]), 100);
        assert_eq!(hundred(&[status(2, false), backup(status(1, true))]), 50);
        assert_eq!(hundred(&[status(2, false), backup(status(9, true))]), 100);
        assert_eq!(hundred(&[backup(status(2, true)), backup(status(2, false))]), 50);
    }

    #[test]
    fn a_service_with_fewer_healthy_backends_than_it_needs_has_no_capacity() {
        let two = [status(1, true), status(1, true), status(1, false)];
        assert_eq!(capacity(Capacity::Connections(90), 2, &two), Some(60));
        assert_eq!(capacity(Capacity::Connections(90), 3, &two), Some(0));
    }

    #[test]
    fn agents_tell_the_capacity_as_their_sum() {
        let silent = BackendStatus { advised_max_connections: None, ..status(1, true) };
        let limited = BackendStatus { max_connections: Some(10), ..status(1, true) };
        let of = |backends: &[BackendStatus]| capacity(Capacity::Agents, 0, backends);
        assert_eq!(of(&[status(1, true), status(9, true), limited]), Some(70));
        assert_eq!(of(&[status(1, true), status(1, false), silent.clone()]), Some(30));
        assert_eq!(of(&[status(1, false), backup(status(1, true))]), Some(30));
        assert_eq!(of(&[silent]), None, "nobody has said anything");
    }
}
