//! A service and its backends: what is known of them, and which takes a new flow.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use arc_swap::ArcSwap;
use serde::Serialize;
use thiserror::Error;
use tokio::sync::Notify;

use super::admission::{Admission, Refusal};
use super::backend::{Backend, BackendStatus, Place, Shared};
use super::balance::Chooser;
use super::ending::Ending;
use super::flow::Flow;
use super::preface::Routes;
use super::refusals::Refusals;
use super::settings::{BackendSettings, Balance, Capacity, Listen, ServiceSettings, WhenAllDown};

/// So many attempts in a row that fail make a backend without a check suspect.
const SUSPECT_AFTER: u32 = 3;
/// A choice is made again when others take what was chosen at the same moment, but not for ever.
const CHOICES: usize = 4;

/// A service that runs.
#[derive(Debug)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Replaced whole, by one writer at a time: the forwarder, under its lock.
    table: ArcSwap<Table>,
    /// Replaced together with it, by the same.
    door: ArcSwap<Door>,
    shared: Arc<Shared>,
    turn: AtomicU64,
    /// Connections accepted.
    pub accepted_total: AtomicU64,
    /// Connections that no backend took.
    pub refused_total: AtomicU64,
    /// Those that were not let in, by the access lists; they are not accepted either.
    pub denied_total: AtomicU64,
    /// The same, by the limits on their rate.
    pub limited_total: AtomicU64,
    /// Never on the way of a connection.
    refusals: Mutex<Refusals>,
}

/// Why no backend takes a flow now.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum NoBackend {
    /// The service, or every backend that is up, has as many flows as it may: one that waits may
    /// find a place.
    #[error("every place is taken")]
    Full,
    /// None is up that has not been tried.
    #[error("no backend is up")]
    NoneUp,
}

/// What a reload, or a change of what is known of a backend, replaces.
#[derive(Debug)]
struct Table {
    settings: Arc<ServiceSettings>,
    /// In the order of the settings.
    backends: Arc<[Arc<Backend>]>,
    tiers: Tiers,
    /// Among the first tier.
    chooser: Arc<Chooser>,
    /// Which backends were up.
    up: Box<[bool]>,
}

/// What a flow passes before a backend is chosen; a reload replaces it.
#[derive(Debug)]
struct Door {
    admission: Admission,
    routes: Routes,
    /// What the settings' routes lead to, in their order.
    targets: Arc<[Weak<Service>]>,
}

/// The weights of backends, in the order of the settings; 0 for one that a tier has not.
#[derive(Debug, PartialEq)]
struct Tiers {
    /// Those that take flows.
    first: Box<[u32]>,
    /// Those that take what none of the first can: the backups, if they are not the first.
    second: Box<[u32]>,
    /// Those that are tried when all else has failed.
    last: Box<[u32]>,
}

/// What is known of a service, for people and machines.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// Its VIPs.
    pub listen: Vec<Listen>,
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
    /// Those that the access lists did not let in.
    pub denied_total: u64,
    /// Those that came too fast.
    pub limited_total: u64,
    /// Its backends, in the order of the file.
    pub backends: Vec<BackendStatus>,
}

impl Service {
    /// Without backends, until it is given settings. What happens to them that cannot wait for the
    /// next probe rings `suspicion`.
    pub fn new(name: String, suspicion: Arc<Notify>) -> Service {
        let shared = Shared { suspicion, ..Shared::default() };
        let settings = ServiceSettings::new(name.clone(), Vec::new(), Vec::new());
        Service {
            name,
            door: ArcSwap::from_pointee(Door::new(&settings, Arc::default(), None)),
            table: ArcSwap::from_pointee(Table::new(Arc::new(settings), Arc::default(), None)),
            shared: Arc::new(shared),
            turn: AtomicU64::new(0),
            accepted_total: AtomicU64::new(0),
            refused_total: AtomicU64::new(0),
            denied_total: AtomicU64::new(0),
            limited_total: AtomicU64::new(0),
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

    /// The backends that settings speak of: those that are there already, and new ones.
    pub fn backends_for(&self, settings: &ServiceSettings) -> Arc<[Arc<Backend>]> {
        let new = |address| Arc::new(Backend::new(address, Arc::clone(&self.shared)));
        let known = |address| self.backend(address).unwrap_or_else(|| new(address));
        settings.backends.iter().map(|backend| known(backend.address)).collect()
    }

    /// Takes new settings over, with their backends and what their routes lead to. A backend that
    /// stays the same keeps its connections.
    pub fn replace(
        &self,
        settings: Arc<ServiceSettings>,
        backends: Arc<[Arc<Backend>]>,
        targets: Arc<[Weak<Service>]>,
    ) {
        let suspect_after = settings.check.as_ref().map_or(SUSPECT_AFTER, |(check, _)| check.fall);
        self.shared.suspect_after.store(suspect_after, Relaxed);
        let old = self.table.load();
        let before = self.door.load();
        self.door.store(Arc::new(Door::new(&settings, targets, Some(&before.admission))));
        self.table.store(Arc::new(Table::new(settings, backends, Some(&old))));
    }

    /// To be called when the health or the operator's word of a backend may have changed. Returns
    /// those that were up and are not any more.
    pub fn refresh(&self) -> Vec<Arc<Backend>> {
        let old = self.table.load();
        if old.is_current() {
            return Vec::new();
        }
        let Table { settings, backends, .. } = &**old;
        let new = Table::new(Arc::clone(settings), Arc::clone(backends), Some(&old));
        let was_up = old.up.iter().zip(&new.up);
        let went_down = was_up.zip(&**backends).filter(|((was, is), _)| **was && !**is);
        let went_down = went_down.map(|(_, backend)| Arc::clone(backend)).collect();
        self.table.store(Arc::new(new));
        went_down
    }

    /// A flow of its has ended.
    pub fn note_end(&self, ending: &Ending) {
        if ending.cause.is_refusal() {
            self.refused_total.fetch_add(1, Relaxed);
        }
    }

    /// What it was told.
    pub fn settings(&self) -> Arc<ServiceSettings> {
        Arc::clone(&self.table.load().settings)
    }

    /// A place for a flow, but not on one of those tried.
    pub fn choose(&self, flow: &Flow, tried: &[SocketAddr]) -> Result<Place, NoBackend> {
        let table = self.table.load();
        let limit = table.settings.max_connections;
        if limit.is_some_and(|limit| self.shared.flows.load(Relaxed) >= limit) {
            return Err(NoBackend::Full);
        }
        let turn = self.turn.fetch_add(1, Relaxed);
        for _ in 0..CHOICES {
            let index = table.choose(flow, turn, tried)?;
            let limit = table.settings.backends[index].max_connections;
            if let Some(place) = Place::take(&table.backends[index], limit) {
                return Ok(place);
            }
        }
        Err(NoBackend::Full)
    }

    /// A place on the backend that QUIC connection ids call so, if it is up: flows that it has
    /// already come to it even if it is drained or full.
    pub fn by_server_id(&self, id: &[u8]) -> Option<Place> {
        let table = self.table.load();
        let is_it = |one: &BackendSettings| one.server_id.as_deref() == Some(id);
        let index = table.settings.backends.iter().position(is_it)?;
        let backend = &table.backends[index];
        backend.is_up().then(|| Place::take_always(Arc::clone(backend)))
    }

    /// Lets a new flow of this source in, or not, and counts it. To be asked before anything is
    /// made of the flow; when a PROXY header is awaited from its peer, when that has come.
    pub fn admit(&self, source: IpAddr, now: Instant) -> Result<(), Refusal> {
        let admitted = self.door.load().admission.admit(source, now);
        match admitted {
            Ok(()) => {}
            Err(Refusal::Denied) => _ = self.denied_total.fetch_add(1, Relaxed),
            Err(_) => _ = self.limited_total.fetch_add(1, Relaxed),
        }
        admitted
    }

    /// Whether a new flow of this source would be let in; it does not count.
    pub fn would_admit(&self, source: IpAddr, now: Instant) -> Result<(), Refusal> {
        self.door.load().admission.would_admit(source, now)
    }

    /// The service that carries connections to this server name, if a route says so: that of the
    /// very name, else of the longest `*.`. `name` is in lower case.
    pub fn route(&self, name: &str) -> Option<Arc<Service>> {
        let door = self.door.load();
        let route = door.routes.find(name)?;
        door.targets.get(route)?.upgrade()
    }

    /// The backend at that address.
    pub fn backend(&self, address: SocketAddr) -> Option<Arc<Backend>> {
        self.table.load().backends.iter().find(|backend| backend.address == address).cloned()
    }

    /// All of them, in the order of the settings.
    pub fn backends(&self) -> Arc<[Arc<Backend>]> {
        Arc::clone(&self.table.load().backends)
    }

    /// What is known of it, which listens there.
    pub fn status(&self, listen: Vec<Listen>) -> ServiceStatus {
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
            denied_total: self.denied_total.load(Relaxed),
            limited_total: self.limited_total.load(Relaxed),
            backends,
        }
    }
}

impl Door {
    fn new(
        settings: &ServiceSettings,
        targets: Arc<[Weak<Service>]>,
        before: Option<&Admission>,
    ) -> Door {
        let admission = Admission::new(settings, before);
        Door { admission, routes: Routes::new(&settings.routes), targets }
    }
}

impl Table {
    /// What can be taken from an old one is.
    fn new(
        settings: Arc<ServiceSettings>,
        backends: Arc<[Arc<Backend>]>,
        old: Option<&Table>,
    ) -> Table {
        let tiers = Tiers::of(&settings, &backends);
        let addresses: Box<[_]> = backends.iter().map(|backend| backend.address).collect();
        let same = old.map(|old| &old.chooser).filter(|chooser| {
            // A large table is not made again for other things' sake.
            chooser.is_for(settings.balance, &addresses, &tiers.first)
        });
        let chooser = same
            .cloned()
            .unwrap_or_else(|| Arc::new(Chooser::new(settings.balance, &addresses, &tiers.first)));
        let up = backends.iter().map(|backend| backend.is_up()).collect();
        Table { settings, backends, tiers, chooser, up }
    }

    /// False when backends are now eligible that were not, or the other way round.
    fn is_current(&self) -> bool {
        self.backends.iter().zip(&self.up).all(|(backend, up)| backend.is_up() == *up)
            && Tiers::of(&self.settings, &self.backends) == self.tiers
    }

    fn choose(&self, flow: &Flow, turn: u64, tried: &[SocketAddr]) -> Result<usize, NoBackend> {
        let is_any_full = Cell::new(false);
        let flows = |index: usize| {
            let backend = &self.backends[index];
            if tried.contains(&backend.address) {
                return None;
            }
            let flows = backend.connections();
            let is_full =
                self.settings.backends[index].max_connections.is_some_and(|most| flows >= most);
            is_any_full.set(is_any_full.get() || is_full);
            (!is_full).then_some(flows)
        };
        let next = |tier: &[u32]| {
            let first = turn.checked_rem(tier.len() as u64)? as usize;
            let ring = (first..tier.len()).chain(0..first).filter(|&index| tier[index] > 0);
            ring.filter_map(|index| flows(index).map(|_| index)).next()
        };
        let chosen = self.chooser.choose(flow, turn, flows).or_else(|| next(&self.tiers.second));
        if let Some(index) = chosen {
            return Ok(index);
        }
        if is_any_full.get() {
            // Rather wait for one that is up than try one that is not.
            return Err(NoBackend::Full);
        }
        let last = next(&self.tiers.last);
        let none = if is_any_full.get() { NoBackend::Full } else { NoBackend::NoneUp };
        last.ok_or(none)
    }
}

impl Tiers {
    fn of(settings: &ServiceSettings, backends: &[Arc<Backend>]) -> Tiers {
        let weights = |of: &dyn Fn(&BackendSettings, &Backend) -> bool| -> Box<[u32]> {
            let pairs = settings.backends.iter().zip(backends);
            pairs.map(|(set, backend)| if of(set, backend) { set.weight } else { 0 }).collect()
        };
        let is_some = |tier: &[u32]| tier.iter().any(|weight| *weight > 0);
        let none = || weights(&|_, _| false);
        let in_two = |is_eligible: fn(&Backend) -> bool| {
            let main = weights(&|set, backend| !set.backup && is_eligible(backend));
            let backups = weights(&|set, backend| set.backup && is_eligible(backend));
            if is_some(&main) { (main, backups) } else { (backups, none()) }
        };
        let (first, second) = in_two(|backend| backend.is_up() && backend.is_in());
        match settings.when_all_down {
            WhenAllDown::TryAll if is_some(&first) => {
                Tiers { first, second, last: weights(&|_, backend| backend.is_in()) }
            }
            // As if all were up: a wrong check changes no more than it must.
            WhenAllDown::TryAll => {
                let (first, second) = in_two(Backend::is_in);
                Tiers { first, second, last: none() }
            }
            WhenAllDown::Refuse => Tiers { first, second, last: none() },
        }
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
