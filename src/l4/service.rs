//! A service and its backends: what is known of them, and which takes a new connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwap;
use serde::Serialize;

use super::balance::{Chooser, Standing};
use super::{Balance, ServiceSettings};

/// A service that runs.
#[derive(Debug)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Its VIP, with the port that port 0 became.
    pub listen: SocketAddr,
    /// Replaced whole on a reload.
    table: ArcSwap<Table>,
    turn: AtomicU64,
    /// Connections accepted.
    pub accepted_total: AtomicU64,
    /// Connections that no backend took.
    pub refused_total: AtomicU64,
}

/// What a reload may replace of a service.
#[derive(Debug)]
pub struct Table {
    /// What the configuration says.
    pub settings: ServiceSettings,
    backends: Vec<Arc<Backend>>,
    chooser: Chooser,
}

/// A backend; it stays the same over reloads for as long as its address does.
#[derive(Debug)]
pub struct Backend {
    /// Where.
    pub address: SocketAddr,
    up: AtomicBool,
    drained: AtomicBool,
    /// The operator's word: 0 none, 1 up, 2 down.
    forced: AtomicU8,
    connections: AtomicU64,
    connections_total: AtomicU64,
    /// Connection attempts that failed.
    pub connect_failures_total: AtomicU64,
    /// Bytes from clients.
    pub bytes_to_backend_total: AtomicU64,
    /// Bytes to clients.
    pub bytes_to_client_total: AtomicU64,
}

/// A place on a backend: taken when it is chosen, given back when dropped.
#[derive(Debug)]
pub struct Place {
    /// Whose.
    pub backend: Arc<Backend>,
}

/// What is known of a service, for people and machines.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// Its VIP.
    pub listen: SocketAddr,
    /// How a backend is chosen.
    pub balance: Balance,
    /// Connections now.
    pub connections: u64,
    /// The most it says it can take; 0 while no backend is up.
    pub capacity: Option<u64>,
    /// Connections accepted.
    pub accepted_total: u64,
    /// Connections that no backend took.
    pub refused_total: u64,
    /// Its backends, in the order of the file.
    pub backends: Vec<BackendStatus>,
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
    /// Connection attempts that failed.
    pub connect_failures_total: u64,
    /// Bytes from clients.
    pub bytes_to_backend_total: u64,
    /// Bytes to clients.
    pub bytes_to_client_total: u64,
}

impl Service {
    /// Listens at `listen`; backends of `previous` at the same addresses are kept.
    pub fn new(settings: ServiceSettings, listen: SocketAddr) -> Service {
        Service {
            name: settings.name.clone(),
            listen,
            table: ArcSwap::from_pointee(Table::new(settings, &[])),
            turn: AtomicU64::new(0),
            accepted_total: AtomicU64::new(0),
            refused_total: AtomicU64::new(0),
        }
    }

    /// Takes new settings over; backends at the same addresses keep their state.
    pub fn replace(&self, settings: ServiceSettings) {
        let table = Table::new(settings, &self.table.load().backends);
        self.table.store(Arc::new(table));
    }

    /// The settings in force.
    pub fn table(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// A place on the backend whose turn it is, but not on one of those tried. With no backend up,
    /// those that are not known to be up are tried too: a wrong check must not close the service.
    pub fn choose(&self, table: &Table, tried: &[SocketAddr]) -> Option<Place> {
        let turn = self.turn.fetch_add(1, Relaxed);
        let choose = |eligible: fn(&Backend) -> bool| {
            let standing = |index: usize| {
                let backend = &table.backends[index];
                Standing {
                    eligible: eligible(backend) && !tried.contains(&backend.address),
                    connections: backend.connections.load(Relaxed),
                }
            };
            table.chooser.choose(turn, standing)
        };
        let chosen = choose(|backend| backend.is_up() && !backend.is_drained())
            .or_else(|| choose(|backend| !backend.is_drained()))?;
        Some(Place::take(Arc::clone(&table.backends[chosen])))
    }

    /// The backend at that address.
    pub fn backend(&self, address: SocketAddr) -> Option<Arc<Backend>> {
        self.table.load().backends.iter().find(|backend| backend.address == address).cloned()
    }

    /// What is known of it.
    pub fn status(&self) -> ServiceStatus {
        let table = self.table.load();
        let weights = table.settings.backends.iter().map(|backend| backend.weight);
        let backends: Vec<BackendStatus> =
            table.backends.iter().zip(weights).map(|(b, weight)| b.status(weight)).collect();
        let alive = backends.iter().any(|backend| backend.up && backend.weight > 0);
        ServiceStatus {
            name: self.name.clone(),
            listen: self.listen,
            balance: table.settings.balance,
            connections: backends.iter().map(|backend| backend.connections).sum(),
            capacity: table.settings.capacity.map(|capacity| if alive { capacity } else { 0 }),
            accepted_total: self.accepted_total.load(Relaxed),
            refused_total: self.refused_total.load(Relaxed),
            backends,
        }
    }
}

impl Table {
    fn new(settings: ServiceSettings, previous: &[Arc<Backend>]) -> Table {
        let is_checked = settings.check.is_some();
        let backends = settings.backends.iter().map(|backend| {
            let known = previous.iter().find(|known| known.address == backend.address);
            let kept = known.cloned();
            kept.unwrap_or_else(|| Arc::new(Backend::new(backend.address, !is_checked)))
        });
        let backends: Vec<_> = backends.collect();
        if !is_checked {
            backends.iter().for_each(|backend| backend.set_up(true));
        }
        let weights: Vec<u32> = settings.backends.iter().map(|backend| backend.weight).collect();
        let chooser = Chooser::new(settings.balance, &weights);
        Table { settings, backends, chooser }
    }
}

impl Backend {
    fn new(address: SocketAddr, up: bool) -> Backend {
        Backend {
            address,
            up: AtomicBool::new(up),
            drained: AtomicBool::new(false),
            forced: AtomicU8::new(0),
            connections: AtomicU64::new(0),
            connections_total: AtomicU64::new(0),
            connect_failures_total: AtomicU64::new(0),
            bytes_to_backend_total: AtomicU64::new(0),
            bytes_to_client_total: AtomicU64::new(0),
        }
    }

    /// What its probe says.
    pub fn set_up(&self, up: bool) {
        self.up.store(up, Relaxed);
    }

    /// Whether it takes new connections.
    pub fn set_drained(&self, drained: bool) {
        self.drained.store(drained, Relaxed);
    }

    /// Up or down whatever its probe says; none takes the word back.
    pub fn force(&self, up: Option<bool>) {
        let forced = match up {
            None => 0,
            Some(true) => 1,
            Some(false) => 2,
        };
        self.forced.store(forced, Relaxed);
    }

    /// A connection to it stands.
    pub fn note_connected(&self) {
        self.connections_total.fetch_add(1, Relaxed);
    }

    fn is_up(&self) -> bool {
        match self.forced.load(Relaxed) {
            0 => self.up.load(Relaxed),
            forced => forced == 1,
        }
    }

    /// Taken out by the operator's word.
    fn is_drained(&self) -> bool {
        self.drained.load(Relaxed) || self.forced.load(Relaxed) == 2
    }

    fn status(&self, weight: u32) -> BackendStatus {
        BackendStatus {
            address: self.address,
            weight,
            up: self.is_up(),
            drained: self.drained.load(Relaxed),
            forced: match self.forced.load(Relaxed) {
                0 => None,
                forced => Some(forced == 1),
            },
            connections: self.connections.load(Relaxed),
            connections_total: self.connections_total.load(Relaxed),
            connect_failures_total: self.connect_failures_total.load(Relaxed),
            bytes_to_backend_total: self.bytes_to_backend_total.load(Relaxed),
            bytes_to_client_total: self.bytes_to_client_total.load(Relaxed),
        }
    }
}

impl Place {
    fn take(backend: Arc<Backend>) -> Place {
        backend.connections.fetch_add(1, Relaxed);
        Place { backend }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.backend.connections.fetch_sub(1, Relaxed);
    }
}
