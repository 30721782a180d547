//! A service and its backends: what is known of them, and which takes a new flow.

mod explain;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use arc_swap::ArcSwap;
use arrayvec::ArrayVec;
use serde::Serialize;
use thiserror::Error;
use tokio::sync::Notify;

use super::access_log::AccessLog;
use super::admission::{Admission, Prefixes, Refusal};
use super::backend::{Backend, BackendStatus, Place, Shared};
use super::capacity::{self, ServiceLoad};
use super::ending::{Cause, Ending, Ends};
use super::flow::Flow;
use super::hold::Asked;
use super::preface::{Awaited, Routes};
use super::recent::Recent;
use super::settings::{Balance, Listen, MOST_HOPS, ServiceSettings};
use super::table::Table;
use crate::handover::ServiceFlows;

pub use explain::{BackendExplained, ChoiceExplained, FlowExplained, RouteExplained};

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
    /// Those of them that a route has led to another service, where they count, too.
    pub routed_total: AtomicU64,
    /// Connections that no backend took.
    pub refused_total: AtomicU64,
    /// Connections that wait for a place on a backend.
    pub waiting: AtomicU64,
    /// Those that were not let in, by the access lists; they are not accepted either.
    pub denied_total: AtomicU64,
    /// The same, by the limits on their rate.
    pub limited_total: AtomicU64,
    /// Datagrams for which its sockets had no room.
    pub dropped_total: AtomicU64,
    /// What has ended flows.
    ends: Ends,
    /// Never on the way of a connection.
    recent: Mutex<Recent>,
    /// Where the ends of its flows are noted; the same for all services.
    log: Arc<AccessLog>,
}

/// Why no backend takes a flow now.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoBackend {
    /// The service, or every backend that is up, has as many flows as it may: one that waits may
    /// find a place.
    #[error("every place is taken")]
    Full,
    /// None is up that has not been tried.
    #[error("no backend is up")]
    NoneUp,
}

/// What a flow passes before a backend is chosen; a reload replaces it.
#[derive(Debug)]
struct Door {
    admission: Admission,
    /// Whose connections begin with a PROXY header.
    proxies: Prefixes,
    routes: Routes,
    /// What the settings' routes lead to, in their order.
    targets: Arc<[Weak<Service>]>,
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
    /// Connections now, those that processes before this one carry and those of backends that are
    /// gone included.
    pub connections: u64,
    /// So many of them.
    pub connections_before: u64,
    /// Connections that wait for a place on a backend, which are not among those.
    pub waiting: u64,
    /// Connections that came in each of the last seconds.
    pub connections_per_second: f64,
    /// What it takes of what it can take; none if it does not say what that is.
    pub load: Option<ServiceLoad>,
    /// Backends that take new connections.
    pub healthy_backends: usize,
    /// Those are fewer than it needs, so that the region is out.
    pub is_short: bool,
    /// Connections accepted.
    pub accepted_total: u64,
    /// Connections that no backend took.
    pub refused_total: u64,
    /// Those that the access lists did not let in.
    pub denied_total: u64,
    /// Those that came too fast.
    pub limited_total: u64,
    /// Datagrams for which its sockets had no room.
    pub dropped_total: u64,
    /// What has ended its flows, and how often.
    pub ended_total: BTreeMap<Cause, u64>,
    /// Its backends, in the order of the file.
    pub backends: Vec<BackendStatus>,
}

impl Service {
    /// Without backends, until it is given settings. What happens to them that cannot wait for the
    /// next probe rings `suspicion`; the ends of its flows are noted in the log.
    pub fn new(name: String, suspicion: Arc<Notify>, log: Arc<AccessLog>) -> Service {
        let shared = Shared { suspicion, ..Shared::default() };
        let settings = ServiceSettings::new(name.clone(), Vec::new(), Vec::new());
        Service {
            name,
            door: ArcSwap::from_pointee(Door::new(&settings, Arc::default(), None)),
            table: ArcSwap::from_pointee(Table::new(Arc::new(settings), Arc::default(), None)),
            shared: Arc::new(shared),
            turn: AtomicU64::new(0),
            accepted_total: AtomicU64::new(0),
            routed_total: AtomicU64::new(0),
            refused_total: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            denied_total: AtomicU64::new(0),
            limited_total: AtomicU64::new(0),
            dropped_total: AtomicU64::new(0),
            ends: Ends::default(),
            recent: Mutex::default(),
            log,
        }
    }

    /// Looks at how many connections come and are refused; to be called about every second.
    pub fn note_recent(&self, now: Instant) {
        // Those that are refused were accepted before: read in this order, there are no more.
        let refused = self.refused_total.load(Relaxed);
        // Who goes on to another service, or turns out not to be let in, is no load of this one.
        let turned_away =
            [Cause::NoHello, Cause::Denied, Cause::Limited].map(|cause| self.ends.of(cause));
        let others = self.routed_total.load(Relaxed) + turned_away.iter().sum::<u64>();
        let accepted = self.accepted_total.load(Relaxed).saturating_sub(others);
        self.recent().note(now, accepted, refused);
    }

    /// From now on it is looked at what comes.
    pub fn begin_recent(&self, now: Instant) {
        *self.recent() = Recent::default();
        self.note_recent(now);
    }

    /// The backends that settings speak of: those that are there already, and new ones.
    pub fn backends_for(&self, settings: &ServiceSettings) -> Arc<[Arc<Backend>]> {
        let table = self.table.load();
        let is_joining = !table.backends.is_empty();
        let new = |address| Arc::new(Backend::new(address, Arc::clone(&self.shared), is_joining));
        let known = |address| table.at(address).map_or_else(|| new(address), Arc::clone);
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

    /// To be called when the health or the operator's word of a backend may have changed, and once
    /// a second (`is_due`), when weights may follow what their agents say. Returns those that were
    /// up and are down now by their checks, their agents or the operator's word.
    pub fn refresh(&self, is_due: bool, now: Instant) -> Vec<Arc<Backend>> {
        let old = self.table.load();
        let Table { settings, backends, .. } = &**old;
        for backend in &**backends {
            backend.keep_pace(settings.slow_start, is_due, now);
        }
        if old.is_current() {
            return Vec::new();
        }
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
        self.ends.note(ending.cause);
        if let Some(address) = ending.backend {
            let table = self.table.load();
            table.at(address).into_iter().for_each(|backend| backend.note_end(ending.lasted));
        }
        self.log.note(&self.name, ending);
    }

    /// A flow was not let in, of which nothing was made.
    pub fn note_turned_away(&self, ending: &Ending, now: Instant) {
        self.log.note_turned_away(&self.name, ending, now);
    }

    /// Leaves backends alone for a while that are not checked and could not be reached.
    pub fn avoid_suspects(&self, now: Instant) {
        let table = self.table.load();
        if table.settings.check.is_none() {
            let suspects = table.backends.iter().filter(|backend| backend.take_suspicion());
            suspects.for_each(|backend| backend.give_up(Asked::Nobody, now));
        }
    }

    /// What it was told.
    pub fn settings(&self) -> Arc<ServiceSettings> {
        Arc::clone(&self.table.load().settings)
    }

    /// A place for a flow, but not on one of those tried.
    pub fn choose(&self, flow: &Flow, tried: &[SocketAddr]) -> Result<Place, NoBackend> {
        let table = self.table.load();
        self.choose_of(&table, flow, tried, table.settings.max_connections)
    }

    /// The same where another flow makes room in the service for this one, and goes soon.
    pub fn choose_beyond(&self, flow: &Flow, tried: &[SocketAddr]) -> Result<Place, NoBackend> {
        self.choose_of(&self.table.load(), flow, tried, None)
    }

    fn choose_of(
        &self,
        table: &Table,
        flow: &Flow,
        tried: &[SocketAddr],
        of_all: Option<u64>,
    ) -> Result<Place, NoBackend> {
        let turn = self.turn.fetch_add(1, Relaxed);
        for _ in 0..CHOICES {
            if of_all.is_some_and(|most| self.shared.all_flows() >= most) {
                break;
            }
            let index = table.choose(flow, turn, tried)?;
            let place = Place::take(&table.backends[index], table.limit(index), of_all);
            if let Some(place) = place {
                return Ok(place);
            }
        }
        Err(NoBackend::Full)
    }

    /// True when it has as many flows as it may have, whatever its backends may.
    pub fn is_full(&self) -> bool {
        let most = self.table.load().settings.max_connections;
        most.is_some_and(|most| self.shared.all_flows() >= most)
    }

    /// True when it has more flows than it may have.
    pub fn is_overfull(&self) -> bool {
        let most = self.table.load().settings.max_connections;
        most.is_some_and(|most| self.shared.flows.load(Relaxed) > most)
    }

    /// A place on the backend that QUIC connection ids call so, if it is up: flows that it has
    /// already come to it even if it is drained or full.
    pub fn by_server_id(&self, id: &[u8]) -> Option<Place> {
        let table = self.table.load();
        let backend = table.called(id)?;
        backend.is_up().then(|| Place::take_always(Arc::clone(backend)))
    }

    /// What QUIC connection ids call the backend at that address.
    pub fn server_id(&self, address: SocketAddr) -> Option<Box<[u8]>> {
        self.table.load().server_id(address).map(Box::from)
    }

    /// What is awaited of a connection of this peer before a backend is chosen.
    pub fn awaited(&self, peer: IpAddr) -> Awaited {
        let door = self.door.load();
        Awaited {
            proxy_header: door.proxies.contains(peer.to_canonical()),
            server_name: !door.targets.is_empty(),
        }
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

    /// The service that gets connections to this server name, if a route says so: that of the very
    /// name, else of the longest `*.`. `name` is in lower case.
    fn route(&self, name: &str) -> Option<Arc<Service>> {
        let door = self.door.load();
        let route = door.routes.find(name)?;
        door.targets.get(route)?.upgrade()
    }

    /// The services to which this server name is led, one after the other; the last carries its
    /// connections. There are none where no route has the name.
    pub fn led_to(&self, name: &str) -> ArrayVec<Arc<Service>, MOST_HOPS> {
        // While a reload replaces one after the other, they might lead in a circle.
        let services = std::iter::successors(self.route(name), |service| service.route(name));
        services.take(MOST_HOPS).collect()
    }

    /// The backend at that address.
    pub fn backend(&self, address: SocketAddr) -> Option<Arc<Backend>> {
        self.table.load().at(address).cloned()
    }

    /// All of them, in the order of the settings.
    pub fn backends(&self) -> Arc<[Arc<Backend>]> {
        Arc::clone(&self.table.load().backends)
    }

    /// The flows that it has in this process.
    pub fn flows(&self) -> ServiceFlows {
        let backends = self.backends();
        let counts = backends.iter().map(|one| (one.address, one.own_connections()));
        let all = self.shared.flows.load(Relaxed);
        ServiceFlows { all, backends: counts.filter(|(_, flows)| *flows > 0).collect() }
    }

    /// Processes before this one carry these flows.
    pub fn count_before(&self, flows: &ServiceFlows) {
        self.shared.before.store(flows.all, Relaxed);
        for backend in &*self.backends() {
            backend.count_before(flows.backends.get(&backend.address).copied().unwrap_or_default());
        }
    }

    /// What is known of it, which listens there.
    pub fn status(&self, listen: Vec<Listen>) -> ServiceStatus {
        let table = self.table.load();
        let pairs = table.backends.iter().zip(&table.settings.backends);
        let backends: Vec<BackendStatus> =
            pairs.map(|(backend, settings)| backend.status(settings)).collect();
        let recent = self.recent();
        let healthy = capacity::healthy(&backends);
        ServiceStatus {
            name: self.name.clone(),
            listen,
            balance: table.settings.balance,
            connections: self.shared.all_flows(),
            connections_before: self.shared.before.load(Relaxed),
            waiting: self.waiting.load(Relaxed),
            connections_per_second: recent.per_second().0,
            load: capacity::load(&table.settings, &backends, &recent),
            healthy_backends: healthy,
            is_short: healthy < table.settings.min_healthy,
            accepted_total: self.accepted_total.load(Relaxed),
            refused_total: self.refused_total.load(Relaxed),
            denied_total: self.denied_total.load(Relaxed),
            limited_total: self.limited_total.load(Relaxed),
            dropped_total: self.dropped_total.load(Relaxed),
            ended_total: self.ends.totals(),
            backends,
        }
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Door {
    fn new(
        settings: &ServiceSettings,
        targets: Arc<[Weak<Service>]>,
        before: Option<&Admission>,
    ) -> Door {
        let admission = Admission::new(settings, before);
        let proxies = Prefixes::new(&settings.accept_proxy);
        Door { admission, proxies, routes: Routes::new(&settings.routes), targets }
    }
}

#[cfg(test)]
mod tests;
