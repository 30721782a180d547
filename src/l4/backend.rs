//! A backend: what is known and counted of it, and a place on it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Notify;

use crate::health::Verdict;

/// A backend of one service; it stays the same over reloads for as long as its address does.
#[derive(Debug)]
pub struct Backend {
    /// Where.
    pub address: SocketAddr,
    service: Arc<Shared>,
    up: AtomicBool,
    drained: AtomicBool,
    /// The operator's word on its health.
    forced: AtomicU8,
    connections: AtomicU64,
    connections_total: AtomicU64,
    connect_us_total: AtomicU64,
    connect_failures_total: AtomicU64,
    /// Connection attempts that failed since the last that did not.
    failures_in_a_row: AtomicU32,
    /// Bytes from clients.
    pub bytes_to_backend_total: AtomicU64,
    /// Bytes to clients.
    pub bytes_to_client_total: AtomicU64,
}

/// What the backends of a service share with it.
#[derive(Debug, Default)]
pub struct Shared {
    /// The flows of all of them, those that a reload took away included.
    pub flows: AtomicU64,
    /// So many attempts in a row that fail make a backend suspect; 0: never.
    pub suspect_after: AtomicU32,
    /// Rung when one has become so; the same for all services.
    pub suspicion: Arc<Notify>,
}

const NOT_FORCED: u8 = 0;
const FORCED_UP: u8 = 1;
const FORCED_DOWN: u8 = 2;

/// A place on a backend: taken when it is chosen, given back when dropped.
#[derive(Debug)]
pub struct Place {
    backend: Arc<Backend>,
}

/// What is known of a backend, for people and machines.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BackendStatus {
    /// Where.
    pub address: SocketAddr,
    /// Its share among its equals.
    pub weight: u32,
    /// Healthy, or up by the operator's word.
    pub up: bool,
    /// True when it takes no new connections by the operator's word.
    pub drained: bool,
    /// The operator's word on its health.
    pub forced: Option<bool>,
    /// Connections now.
    pub connections: u64,
    /// Connections it was chosen for and that were established.
    pub connections_total: u64,
    /// How long those took to be established, in microseconds, together.
    pub connect_us_total: u64,
    /// Connection attempts that failed.
    pub connect_failures_total: u64,
    /// Bytes from clients.
    pub bytes_to_backend_total: u64,
    /// Bytes to clients.
    pub bytes_to_client_total: u64,
}

impl Backend {
    /// Not known to be up.
    pub fn new(address: SocketAddr, service: Arc<Shared>) -> Backend {
        Backend {
            address,
            service,
            up: AtomicBool::new(false),
            drained: AtomicBool::new(false),
            forced: AtomicU8::new(NOT_FORCED),
            connections: AtomicU64::new(0),
            connections_total: AtomicU64::new(0),
            connect_us_total: AtomicU64::new(0),
            connect_failures_total: AtomicU64::new(0),
            failures_in_a_row: AtomicU32::new(0),
            bytes_to_backend_total: AtomicU64::new(0),
            bytes_to_client_total: AtomicU64::new(0),
        }
    }

    /// What its probe says; a probe that has said nothing yet changes nothing.
    pub fn learn(&self, verdict: Verdict) {
        match verdict {
            Verdict::Up => self.up.store(true, Relaxed),
            Verdict::Down => self.up.store(false, Relaxed),
            Verdict::Unknown => {}
        }
    }

    /// Whether it takes new connections.
    pub fn set_drained(&self, drained: bool) {
        self.drained.store(drained, Relaxed);
    }

    /// Up or down whatever its probe says; none takes the word back.
    pub fn force(&self, up: Option<bool>) {
        let forced = match up {
            None => NOT_FORCED,
            Some(true) => FORCED_UP,
            Some(false) => FORCED_DOWN,
        };
        self.forced.store(forced, Relaxed);
    }

    /// Healthy, or up by the operator's word. Cheap enough to be asked for every packet.
    pub fn is_up(&self) -> bool {
        match self.forced.load(Relaxed) {
            NOT_FORCED => self.up.load(Relaxed),
            forced => forced == FORCED_UP,
        }
    }

    /// Not taken out by the operator's word: takes new connections when no backend is healthy.
    pub fn is_in(&self) -> bool {
        !self.drained.load(Relaxed) && self.forced.load(Relaxed) != FORCED_DOWN
    }

    /// Flows now.
    pub fn connections(&self) -> u64 {
        self.connections.load(Relaxed)
    }

    /// What is known of it, which has this weight.
    pub fn status(&self, weight: u32) -> BackendStatus {
        BackendStatus {
            address: self.address,
            weight,
            up: self.is_up(),
            drained: self.drained.load(Relaxed),
            forced: match self.forced.load(Relaxed) {
                NOT_FORCED => None,
                forced => Some(forced == FORCED_UP),
            },
            connections: self.connections.load(Relaxed),
            connections_total: self.connections_total.load(Relaxed),
            connect_us_total: self.connect_us_total.load(Relaxed),
            connect_failures_total: self.connect_failures_total.load(Relaxed),
            bytes_to_backend_total: self.bytes_to_backend_total.load(Relaxed),
            bytes_to_client_total: self.bytes_to_client_total.load(Relaxed),
        }
    }
}

impl Place {
    /// A place, unless the backend has `limit` flows already.
    pub fn take(backend: &Arc<Backend>, limit: Option<u64>) -> Option<Place> {
        // Counted first and looked at then: of several that take the last place at once, one gets
        // it.
        let place = Place::take_always(Arc::clone(backend));
        match limit {
            Some(limit) if backend.connections() > limit => None,
            _ => Some(place),
        }
    }

    /// A place, however many flows the backend has.
    pub fn take_always(backend: Arc<Backend>) -> Place {
        backend.connections.fetch_add(1, Relaxed);
        backend.service.flows.fetch_add(1, Relaxed);
        Place { backend }
    }

    /// Where it is.
    pub fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }

    /// The connection to the backend stands, this long after it was begun.
    pub fn connected(&self, after: Duration) {
        self.backend.connections_total.fetch_add(1, Relaxed);
        let us = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        self.backend.connect_us_total.fetch_add(us, Relaxed);
        self.backend.failures_in_a_row.store(0, Relaxed);
    }

    /// The backend could not be reached.
    pub fn failed(&self) {
        let Backend { service, connect_failures_total, failures_in_a_row, .. } = &*self.backend;
        connect_failures_total.fetch_add(1, Relaxed);
        let row = failures_in_a_row.fetch_add(1, Relaxed).saturating_add(1);
        if row == service.suspect_after.load(Relaxed) {
            service.suspicion.notify_one();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.backend.connections.fetch_sub(1, Relaxed);
        self.backend.service.flows.fetch_sub(1, Relaxed);
    }
}
