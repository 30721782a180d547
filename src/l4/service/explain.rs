//! What would become of a new flow, and why: the same steps, and nothing counts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use serde::Serialize;

use super::{NoBackend, Service};
use crate::l4::admission::Refusal;
use crate::l4::flow::Flow;
use crate::l4::settings::{Balance, HashOf, Protocol};
use crate::l4::table::{Table, Tier};

/// What becomes of a flow.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FlowExplained {
    /// The service that it comes to.
    pub service: String,
    /// With what.
    pub protocol: Protocol,
    /// Who comes.
    pub client: SocketAddr,
    /// Where it comes to.
    pub vip: SocketAddr,
    /// Why it is not let in, by the service or by one to which its server name leads, if it is not.
    pub refusal: Option<Refusal>,
    /// Where its server name leads to, if one is given.
    pub route: Option<RouteExplained>,
    /// The choice of a backend; none for one that is not let in.
    pub choice: Option<ChoiceExplained>,
}

/// Where a server name leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RouteExplained {
    /// The name.
    pub server_name: String,
    /// The service that carries it; none: no route has it, and the service does itself.
    pub service: Option<String>,
    /// Services that lead it on to that one, in their order.
    pub through: Vec<String>,
}

/// How a backend is chosen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChoiceExplained {
    /// The service that chooses.
    pub service: String,
    /// How it does.
    pub balance: Balance,
    /// True when the same flow comes to the same backend for as long as nothing changes; else it
    /// is that whose turn it is, or that has least to do, just now.
    pub is_lasting: bool,
    /// The port that the choice follows from was not given.
    pub wants_port: bool,
    /// The backend; none when there is none for it.
    pub backend: Option<SocketAddr>,
    /// Why there is none.
    pub none: Option<NoBackend>,
    /// All of them, in the order of the file.
    pub backends: Vec<BackendExplained>,
}

/// A backend, as the choice sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BackendExplained {
    /// Where.
    pub address: SocketAddr,
    /// Its share among its equals.
    pub weight: u32,
    /// How much of that it has now, by slow start and by what its agent advises.
    pub weight_percent: u32,
    /// Flows now.
    pub connections: u64,
    /// It is taken.
    pub is_chosen: bool,
    /// Why it does not take part, or only when others cannot.
    pub why_not: Option<&'static str>,
}

impl Service {
    /// What would become of a new flow, with this server name.
    pub fn explain(&self, flow: &Flow, server_name: Option<&str>, now: Instant) -> FlowExplained {
        let name = server_name.map(|name| name.strip_suffix('.').unwrap_or(name));
        let name = name.map(str::to_ascii_lowercase);
        let targets = name.as_deref().map(|name| self.led_to(name)).unwrap_or_default();
        // Each has a door.
        let client = flow.client.ip();
        let mut doors = std::iter::once(self).chain(targets.iter().map(Arc::as_ref));
        let refusal = doors.find_map(|service| service.would_admit(client, now).err());
        let carries = targets.last().map_or(self, Arc::as_ref);
        let choice = refusal.is_none().then(|| carries.explain_choice(flow));
        let mut through: Vec<String> = targets.iter().map(|one| one.name.clone()).collect();
        let last = through.pop();
        FlowExplained {
            service: self.name.clone(),
            protocol: flow.protocol,
            client: flow.client,
            vip: flow.vip,
            refusal,
            route: name.map(|server_name| RouteExplained { server_name, service: last, through }),
            choice,
        }
    }

    fn explain_choice(&self, flow: &Flow) -> ChoiceExplained {
        let table = self.table.load();
        let settings = &table.settings;
        let is_full = |limit| self.shared.all_flows() >= limit;
        let chosen = match settings.max_connections.is_some_and(is_full) {
            true => Err(NoBackend::Full),
            false => table.choose(flow, self.turn.load(Relaxed), &[]),
        };
        let of = match settings.balance {
            Balance::Hash { of } | Balance::Maglev { of, .. } => Some(of),
            Balance::BoundedHash { of, .. } => Some(of),
            Balance::RoundRobin | Balance::LeastConnections | Balance::TwoChoices => None,
        };
        let by_port = of.is_some_and(|of| of != HashOf::Source);
        let indices = 0..table.backends.len();
        let backends = indices.map(|index| explain_backend(&table, index, &chosen));
        ChoiceExplained {
            service: self.name.clone(),
            balance: settings.balance,
            is_lasting: of.is_some() && !matches!(settings.balance, Balance::BoundedHash { .. }),
            wants_port: by_port && flow.client.port() == 0,
            backend: chosen.ok().map(|index| table.backends[index].address),
            none: chosen.err(),
            backends: backends.collect(),
        }
    }
}

fn explain_backend(
    table: &Table,
    index: usize,
    chosen: &Result<usize, NoBackend>,
) -> BackendExplained {
    let backend = &table.backends[index];
    let status = backend.status(&table.settings.backends[index]);
    let Tier { first, second, last } = table.tier(index);
    let is_full = table.limit(index).is_some_and(|most| status.connections >= most);
    let is_chosen = *chosen == Ok(index);
    let why_not = match () {
        () if is_chosen => None,
        () if status.drained => Some("it is drained"),
        () if status.forced == Some(false) => Some("it is forced down"),
        () if status.weight == 0 => Some("its weight is 0"),
        () if status.advised_drained && !first => Some("its agent wants no new connections"),
        () if status.avoided && !first => Some("it could not be reached of late"),
        () if !status.up && last => Some("it is down: it is tried when all else fails"),
        () if !status.up && !first => Some("it is down"),
        () if is_full => Some("it has as many connections as it may"),
        () if second => Some("it is a backup: others can take the flow"),
        () => None,
    };
    BackendExplained {
        address: backend.address,
        weight: status.weight,
        weight_percent: status.weight_percent,
        connections: status.connections,
        is_chosen,
        why_not,
    }
}
