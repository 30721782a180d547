//! A service and its backends: what is known of them, and which takes a new connection.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use serde::Serialize;

use super::balance::{Chooser, Standing};
use super::refusals::Refusals;
use super::{Balance, Capacity, ServiceSettings};
use crate::health::Verdict;

/// A service that runs.
#[derive(Debug)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Replaced whole, by one writer at a time: the forwarder, under its lock.
    table: ArcSwap<Table>,
    turn: AtomicU64,
    /// Connections accepted.
    pub accepted_total: AtomicU64,
    /// Connections that no backend took.
    pub refused_total: AtomicU64,
    /// Never on the way of a connection.
    refusals: Mutex<Refusals>,
}

/// What a reload, or a change of what is known of a backend, replaces.
#[derive(Debug)]
struct Table {
    settings: Arc<ServiceSettings>,
    /// In the order of the settings.
    backends: Arc<[Arc<Backend>]>,
    /// Among those that are up and not drained.
    among_healthy: Chooser,
    /// Among all that the operator has not taken out.
    among_all: Chooser,
}

/// A backend; it stays the same over reloads for as long as its address does.
#[derive(Debug)]
pub struct Backend {
    /// Where.
    pub address: SocketAddr,
    up: AtomicBool,
    drained: AtomicBool,
    /// The operator's word on its health.
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

const NOT_FORCED: u8 = 0;
const FORCED_UP: u8 = 1;
const FORCED_DOWN: u8 = 2;

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
    /// What it would carry, had it refused nothing of late; `connections` when it has not.
    pub offered_connections: f64,
    /// The most it says it can take, for the backends that take new connections now: 0 while none
    /// does.
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
    /// With these backends, one for each of the settings'.
    pub fn new(settings: ServiceSettings, backends: Vec<Arc<Backend>>) -> Service {
        Service {
            name: settings.name.clone(),
            table: ArcSwap::from_pointee(Table::new(Arc::new(settings), backends.into())),
            turn: AtomicU64::new(0),
            accepted_total: AtomicU64::new(0),
            refused_total: AtomicU64::new(0),
            refusals: Mutex::default(),
        }
    }

    /// Looks at how many connections are refused; to be called about every second.
    pub fn note_refusals(&self, now: Instant) {
        // Those that are refused were accepted before: read in this order, there are no more.
        let refused = self.refused_total.load(Relaxed);
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.note(now, self.accepted_total.load(Relaxed), refused);
    }

    /// Takes new settings over. A backend that stays the same keeps its connections.
    pub fn replace(&self, settings: ServiceSettings, backends: Vec<Arc<Backend>>) {
        self.table.store(Arc::new(Table::new(Arc::new(settings), backends.into())));
    }

    /// To be called when the health or the operator's word of a backend may have changed.
    pub fn refresh(&self) {
        let table = self.table.load();
        if !table.is_current() {
            let (settings, backends) = (Arc::clone(&table.settings), Arc::clone(&table.backends));
            self.table.store(Arc::new(Table::new(settings, backends)));
        }
    }

    /// A place on the backend whose turn it is, but not on one of those tried. When no other is
    /// healthy, the others are tried all the same: a wrong check must not close the service.
    pub fn choose(&self, tried: &[SocketAddr]) -> Option<Place> {
        let table = self.table.load();
        let turn = self.turn.fetch_add(1, Relaxed);
        let standing = |index: usize| {
            let backend = &table.backends[index];
            Standing {
                eligible: !tried.contains(&backend.address),
                connections: backend.connections.load(Relaxed),
            }
        };
        let chosen = table.among_healthy.choose(turn, standing);
        let chosen = chosen.or_else(|| table.among_all.choose(turn, standing))?;
        Some(Place::take(Arc::clone(&table.backends[chosen])))
    }

    /// A connection attempt to a backend is given up after this.
    pub fn connect_timeout(&self) -> Duration {
        self.table.load().settings.timeouts.connect
    }

    /// A connection on which nothing moves for this long is closed.
    pub fn idle_timeout(&self) -> Duration {
        self.table.load().settings.timeouts.idle
    }

    /// The backend at that address.
    pub fn backend(&self, address: SocketAddr) -> Option<Arc<Backend>> {
        self.table.load().backends.iter().find(|backend| backend.address == address).cloned()
    }

    /// What is known of it, which listens there.
    pub fn status(&self, listen: SocketAddr) -> ServiceStatus {
        let table = self.table.load();
        let weights = table.settings.backends.iter().map(|backend| backend.weight);
        let backends: Vec<BackendStatus> =
            table.backends.iter().zip(weights).map(|(b, weight)| b.status(weight)).collect();
        let connections = backends.iter().map(|backend| backend.connections).sum();
        let refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        ServiceStatus {
            name: self.name.clone(),
            listen,
            balance: table.settings.balance,
            connections,
            offered_connections: connections as f64 * refusals.offered_per_carried(),
            capacity: match table.settings.capacity {
                Some(Capacity::Connections(capacity)) => Some(share(capacity, &backends)),
                _ => None,
            },
            accepted_total: self.accepted_total.load(Relaxed),
            refused_total: self.refused_total.load(Relaxed),
            backends,
        }
    }
}

impl Table {
    fn new(settings: Arc<ServiceSettings>, backends: Arc<[Arc<Backend>]>) -> Table {
        let chooser = |of| Chooser::new(settings.balance, &weights(&settings, &backends, of));
        let (among_healthy, among_all) = (chooser(Backend::is_healthy), chooser(Backend::is_in));
        Table { settings, backends, among_healthy, among_all }
    }

    /// False when backends are now eligible that were not, or the other way round.
    fn is_current(&self) -> bool {
        let same = |chooser: &Chooser, of| {
            chooser.is_for(self.settings.balance, &weights(&self.settings, &self.backends, of))
        };
        same(&self.among_healthy, Backend::is_healthy) && same(&self.among_all, Backend::is_in)
    }
}

/// What the backends that take new connections can take of what all can.
fn share(capacity: u64, backends: &[BackendStatus]) -> u64 {
    let weight = |of: fn(&BackendStatus) -> bool| {
        let those = backends.iter().filter(|backend| of(backend));
        those.map(|backend| u128::from(backend.weight)).sum::<u128>()
    };
    let (taking, all) = (weight(|backend| backend.up && !backend.drained), weight(|_| true));
    let share = (u128::from(capacity) * taking).checked_div(all).unwrap_or(0);
    // It is no more than the capacity.
    share as u64
}

/// The weights of those backends for which `eligible` is true; 0 for the others.
fn weights(
    settings: &ServiceSettings,
    backends: &[Arc<Backend>],
    eligible: fn(&Backend) -> bool,
) -> Vec<u32> {
    let pairs = settings.backends.iter().zip(backends);
    pairs.map(|(settings, backend)| if eligible(backend) { settings.weight } else { 0 }).collect()
}

impl Backend {
    /// Not known to be up.
    pub fn new(address: SocketAddr) -> Backend {
        Backend {
            address,
            up: AtomicBool::new(false),
            drained: AtomicBool::new(false),
            forced: AtomicU8::new(NOT_FORCED),
            connections: AtomicU64::new(0),
            connections_total: AtomicU64::new(0),
            connect_failures_total: AtomicU64::new(0),
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

    /// A connection to it stands.
    pub fn note_connected(&self) {
        self.connections_total.fetch_add(1, Relaxed);
    }

    /// Takes new connections.
    fn is_healthy(&self) -> bool {
        self.is_up() && self.is_in()
    }

    /// Not taken out by the operator's word: takes new connections when no backend is healthy.
    fn is_in(&self) -> bool {
        !self.drained.load(Relaxed) && self.forced.load(Relaxed) != FORCED_DOWN
    }

    fn is_up(&self) -> bool {
        match self.forced.load(Relaxed) {
            NOT_FORCED => self.up.load(Relaxed),
            forced => forced == FORCED_UP,
        }
    }

    fn status(&self, weight: u32) -> BackendStatus {
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
