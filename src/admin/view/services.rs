//! The L4 services: their connections, and their backends.

use std::net::SocketAddr;

use serde::Serialize;

use super::pools::TargetState;
use crate::l4::Balance;

/// A service.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServiceView {
    /// Its name.
    pub name: String,
    /// The VIP.
    pub listen: SocketAddr,
    /// How a backend is chosen.
    pub balance: Balance,
    /// Connections now.
    pub connections: u64,
    /// Connections it can take.
    pub capacity: Option<u64>,
    /// What stands behind it.
    pub backends: Vec<BackendView>,
}

/// A backend.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BackendView {
    /// Where.
    pub address: SocketAddr,
    /// What an override of it names.
    pub target: String,
    /// Its share among its equals.
    pub weight: u32,
    /// Whether it takes new connections.
    pub state: TargetState,
    /// Why not.
    pub reason: Option<String>,
    /// Connections now.
    pub connections: u64,
}
