//! A backend: what is known and counted of it, and a place on it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::Notify;

use super::histogram::{Durations, Histogram, LONG_US, SHORT_US};
use super::hold::{Asked, Hold};
use super::pace::{FULL, Measure, Pace};
use super::settings::BackendSettings;
use crate::health::{Advice, Verdict};

/// A backend of one service; it stays the same over reloads for as long as its address does.
#[derive(Debug)]
pub struct Backend {
    /// Where.
    pub address: SocketAddr,
    service: Arc<Shared>,
    up: AtomicBool,
    /// Its agent says that it is down.
    advised_out: AtomicBool,
    /// It could not be reached, and is left alone for a while.
    avoided: AtomicBool,
    /// As its agent advises; [`NO_LIMIT`]: no limit.
    advised_limit: AtomicU64,
    drained: AtomicBool,
    /// The operator's word on its health.
    forced: AtomicU8,
    /// Those included that it had before it was taken away and came back, and still has.
    connections: Arc<AtomicU64>,
    /// Those that processes before this one carry.
    before: AtomicU64,
    connections_total: AtomicU64,
    connect_failures_total: AtomicU64,
    /// How long it takes to connect, and how long flows last.
    connect: Histogram,
    lasted: Histogram,
    /// Connection attempts that failed since the last that did not.
    failures_in_a_row: AtomicU32,
    /// It was reached since it was last given up.
    is_reached: AtomicBool,
    /// Bytes from clients.
    pub bytes_to_backend_total: AtomicU64,
    /// Bytes to clients.
    pub bytes_to_client_total: AtomicU64,
    /// Never on the way of a flow.
    course: Mutex<Course>,
}

/// Tells backends apart while there are any flows of theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity(*const AtomicU64);

/// What decides how much of its weight a backend has.
#[derive(Debug)]
struct Course {
    pace: Pace,
    advice: Advice,
    hold: Hold,
}

/// What the backends of a service share with it.
#[derive(Debug, Default)]
pub struct Shared {
    /// The flows of all of them, those that a reload took away included.
    pub flows: AtomicU64,
    /// Those that processes before this one carry.
    pub before: AtomicU64,
    /// So many attempts in a row that fail make a backend suspect; 0: never.
    pub suspect_after: AtomicU32,
    /// Rung when one has become so; the same for all services.
    pub suspicion: Arc<Notify>,
    /// The flows at each address: they outlast their backend's time in the settings.
    pub(super) flows_at: Mutex<HashMap<SocketAddr, Weak<AtomicU64>>>,
}

const NOT_FORCED: u8 = 0;
const FORCED_UP: u8 = 1;
const FORCED_DOWN: u8 = 2;
const NO_LIMIT: u64 = u64::MAX;

/// What the operator says of a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// It takes no new connections; those it has go on.
    pub drained: bool,
    /// It is up or down whatever its probe says; none: as its probe says.
    pub forced: Option<bool>,
}

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
    /// How much of that it has now, by slow start and by what its agent advises.
    pub weight_percent: u32,
    /// Takes flows only while no other that is not a backup can.
    pub backup: bool,
    /// The files do not name it: it was added at run time.
    pub added: bool,
    /// Flows at a time, at most, as configured or advised by its agent.
    pub max_connections: Option<u64>,
    /// What its agent advises of that.
    pub advised_max_connections: Option<u32>,
    /// True when its agent wants no new flows.
    pub advised_drained: bool,
    /// Healthy, or up by the operator's word.
    pub up: bool,
    /// It is left alone for a while, as connections to it fail.
    pub avoided: bool,
    /// True when it takes no new connections by the operator's word.
    pub drained: bool,
    /// The operator's word on its health.
    pub forced: Option<bool>,
    /// Connections now, those that processes before this one carry included.
    pub connections: u64,
    /// So many of them.
    pub connections_before: u64,
    /// Connections it was chosen for and that were established.
    pub connections_total: u64,
    /// How long it took to connect to it.
    #[serde(skip)]
    pub connect_durations: Durations,
    /// How long flows lasted.
    #[serde(skip)]
    pub flow_durations: Durations,
    /// Connection attempts that failed.
    pub connect_failures_total: u64,
    /// Bytes from clients.
    pub bytes_to_backend_total: u64,
    /// Bytes to clients.
    pub bytes_to_client_total: u64,
}

impl Backend {
    /// Not known to be up. `is_joining`: it comes to a service that runs.
    pub fn new(address: SocketAddr, service: Arc<Shared>, is_joining: bool) -> Backend {
        let pace = if is_joining { Pace::joining() } else { Pace::at_start() };
        let course = Course { pace, advice: Advice::default(), hold: Hold::default() };
        Backend {
            address,
            connections: service.flows_of(address),
            service,
            course: Mutex::new(course),
            up: AtomicBool::new(false),
            advised_out: AtomicBool::new(false),
            avoided: AtomicBool::new(false),
            advised_limit: AtomicU64::new(NO_LIMIT),
            drained: AtomicBool::new(false),
            forced: AtomicU8::new(NOT_FORCED),
            before: AtomicU64::new(0),
            connections_total: AtomicU64::new(0),
            connect_failures_total: AtomicU64::new(0),
            connect: Histogram::new(SHORT_US),
            lasted: Histogram::new(LONG_US),
            failures_in_a_row: AtomicU32::new(0),
            is_reached: AtomicBool::new(false),
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

    /// What its agents say of it, all in all.
    pub fn take_advice(&self, advice: Advice) {
        self.course().advice = advice;
        self.advised_out.store(advice.is_out(), Relaxed);
        self.advised_limit.store(advice.limit().map_or(NO_LIMIT, u64::from), Relaxed);
    }

    /// Whether it has become suspect since this was last asked.
    pub fn take_suspicion(&self) -> bool {
        let suspect_after = self.service.suspect_after.load(Relaxed);
        let is_suspect = suspect_after > 0 && self.failures_in_a_row.load(Relaxed) >= suspect_after;
        if is_suspect {
            self.failures_in_a_row.store(0, Relaxed);
        }
        is_suspect
    }

    /// It has become suspect, and may be left alone for a while.
    pub fn give_up(&self, asked: Asked, now: Instant) {
        let mut course = self.course();
        if self.is_reached.swap(false, Relaxed) {
            course.hold.forget();
        }
        course.hold.give_up(asked, now);
        self.avoided.store(course.hold.is_on(now), Relaxed);
    }

    /// Notes how things stand; once a second (`is_due`) its weight may follow.
    pub fn keep_pace(&self, slow_start: Duration, is_due: bool, now: Instant) {
        let mut course = self.course();
        if self.is_reached.load(Relaxed) {
            course.hold.reached(now);
        }
        self.avoided.store(course.hold.is_on(now), Relaxed);
        let measure = Measure { slow_start, percent: course.advice.weight_percent };
        course.pace.note(self.is_up(), measure, now);
        if is_due {
            course.pace.adapt(measure, now);
        }
    }

    /// What is left of this weight now, in steps of `FULL` for each unit of it.
    pub fn paced(&self, weight: u32) -> u32 {
        weight.saturating_mul(self.course().pace.steps())
    }

    /// Takes the operator's word on it; true if it was another.
    pub fn heed(&self, word: Word) -> bool {
        let forced = match word.forced {
            None => NOT_FORCED,
            Some(true) => FORCED_UP,
            Some(false) => FORCED_DOWN,
        };
        let was_drained = self.drained.swap(word.drained, Relaxed);
        let was_forced = self.forced.swap(forced, Relaxed);
        (was_drained, was_forced) != (word.drained, forced)
    }

    /// The operator's word on it.
    pub fn word(&self) -> Word {
        let forced = match self.forced.load(Relaxed) {
            NOT_FORCED => None,
            forced => Some(forced == FORCED_UP),
        };
        Word { drained: self.drained.load(Relaxed), forced }
    }

    /// Healthy, or up by the operator's word. Cheap enough to be asked for every packet.
    pub fn is_up(&self) -> bool {
        self.is_said_up() && (!self.avoided.load(Relaxed) || self.forced.load(Relaxed) == FORCED_UP)
    }

    /// The same, though it may not have been reached of late: that says nothing of the flows that it
    /// has.
    pub fn is_said_up(&self) -> bool {
        match self.forced.load(Relaxed) {
            NOT_FORCED => self.up.load(Relaxed) && !self.advised_out.load(Relaxed),
            forced => forced == FORCED_UP,
        }
    }

    /// Not taken out by the operator's word: takes new connections when no backend is healthy.
    pub fn is_in(&self) -> bool {
        !self.drained.load(Relaxed) && self.forced.load(Relaxed) != FORCED_DOWN
    }

    /// Takes new connections as long as others do.
    pub fn is_healthy(&self) -> bool {
        self.is_up() && self.is_in() && !self.course().advice.is_drained()
    }

    /// The flows that it may have at a time, where this many are configured; none: no limit.
    pub fn limit(&self, configured: Option<u64>) -> Option<u64> {
        let limit = configured.unwrap_or(NO_LIMIT).min(self.advised_limit.load(Relaxed));
        (limit != NO_LIMIT).then_some(limit)
    }

    /// A flow has ended that it had.
    pub fn note_end(&self, lasted: Duration) {
        self.lasted.note(lasted);
    }

    /// Flows now, those that processes before this one carry included.
    pub fn connections(&self) -> u64 {
        self.own_connections().saturating_add(self.before.load(Relaxed))
    }

    /// Flows of this process now.
    pub fn own_connections(&self) -> u64 {
        self.connections.load(Relaxed)
    }

    /// Processes before this one carry so many flows to it.
    pub fn count_before(&self, flows: u64) {
        self.before.store(flows, Relaxed);
    }

    /// What is known of it, of which this is configured.
    pub fn status(&self, settings: &BackendSettings) -> BackendStatus {
        let Course { advice, pace, .. } = &*self.course();
        let before = self.before.load(Relaxed);
        let Word { drained, forced } = self.word();
        BackendStatus {
            address: self.address,
            weight: settings.weight,
            weight_percent: pace.steps() * 100 / FULL,
            backup: settings.backup,
            added: settings.added,
            max_connections: self.limit(settings.max_connections),
            advised_max_connections: advice.limit(),
            advised_drained: advice.is_drained(),
            up: self.is_up(),
            avoided: self.avoided.load(Relaxed),
            drained,
            forced,
            connections: self.own_connections().saturating_add(before),
            connections_before: before,
            connections_total: self.connections_total.load(Relaxed),
            connect_durations: self.connect.durations(),
            flow_durations: self.lasted.durations(),
            connect_failures_total: self.connect_failures_total.load(Relaxed),
            bytes_to_backend_total: self.bytes_to_backend_total.load(Relaxed),
            bytes_to_client_total: self.bytes_to_client_total.load(Relaxed),
        }
    }

    /// What it has in common with what it was before it was taken away and came back, and with no
    /// other.
    pub fn identity(&self) -> Identity {
        Identity(Arc::as_ptr(&self.connections))
    }

    fn course(&self) -> MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let mut all = self.service.flows_at();
        // None has come in its place that counts on.
        if Arc::strong_count(&self.connections) == 1 {
            all.remove(&self.address);
        }
    }
}

impl Shared {
    /// The count of the flows at that address.
    fn flows_of(&self, address: SocketAddr) -> Arc<AtomicU64> {
        let mut all = self.flows_at();
        if let Some(count) = all.get(&address).and_then(Weak::upgrade) {
            return count;
        }
        let count = Arc::default();
        all.insert(address, Arc::downgrade(&count));
        count
    }

    fn flows_at(&self) -> MutexGuard<'_, HashMap<SocketAddr, Weak<AtomicU64>>> {
        self.flows_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The flows of all backends, those that processes before this one carry included.
    pub fn all_flows(&self) -> u64 {
        self.flows.load(Relaxed).saturating_add(self.before.load(Relaxed))
    }
}

impl Place {
    /// A place, unless the backend has `limit` flows already, or all of its service have `of_all`.
    pub fn take(backend: &Arc<Backend>, limit: Option<u64>, of_all: Option<u64>) -> Option<Place> {
        // Counted first and looked at then: of several that take the last place at once, one gets
        // it.
        let place = Place { backend: Arc::clone(backend) };
        let here = backend.connections.fetch_add(1, Relaxed);
        let all_here = backend.service.flows.fetch_add(1, Relaxed);
        let is_room = |here: u64, elsewhere: &AtomicU64, limit: Option<u64>| {
            limit.is_none_or(|limit| here.saturating_add(elsewhere.load(Relaxed)) < limit)
        };
        let is_room_here = is_room(here, &backend.before, limit);
        (is_room_here && is_room(all_here, &backend.service.before, of_all)).then_some(place)
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
        self.backend.connect.note(after);
        self.backend.failures_in_a_row.store(0, Relaxed);
        self.backend.is_reached.store(true, Relaxed);
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
