//! The bundled L4 forwarder: listener → service → backend. It knows no DNS message.

pub mod balance;
mod connection;
mod descriptors;
mod forwarder;
mod listener;
mod refusals;
pub mod service;

pub use forwarder::{L4, Load, StartError, UnknownBackend, start};
pub use service::{BackendStatus, ServiceStatus};

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::health;

/// What the forwarder runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Acceptor threads a service; none: one a core.
    pub workers: Option<usize>,
    /// The services, with unique names and listen addresses.
    pub services: Vec<ServiceSettings>,
}

/// One service: a listen address and what stands behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceSettings {
    /// Unique.
    pub name: String,
    /// The VIP.
    pub listen: SocketAddr,
    /// How a backend is chosen for a new connection.
    pub balance: Balance,
    /// How backends are probed, and on which port (none: the backend's own).
    pub check: Option<(Arc<health::Check>, Option<u16>)>,
    /// At least one.
    pub backends: Vec<BackendSettings>,
    /// Connections this service can take with all its backends: the capacity it reports. None: no
    /// capacity is reported.
    pub capacity: Option<u64>,
    /// A connection attempt to a backend is given up after this, and another backend is tried.
    pub connect_timeout: Duration,
    /// A connection on which nothing moves for this long is closed.
    pub idle_timeout: Duration,
}

/// One backend.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendSettings {
    /// Where.
    pub address: SocketAddr,
    /// Its share among its equals; 0 takes no new connections.
    pub weight: u32,
}

/// How a backend is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// Each in turn, in proportion to the weights.
    RoundRobin,
    /// The one with the fewest connections for its weight.
    LeastConnections,
}

#[cfg(test)]
mod tests;
