//! The running forwarder: its services, the probes of their backends, and the handle on both.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use serde_json::Value;
use thiserror::Error;
use tokio::sync::{Notify, watch};

use super::access_log::AccessLog;
use super::backend::{Backend, Word};
use super::descriptors;
use super::flow::Flow;
use super::listener::{self, Opened};
use super::load::Load;
use super::probing::{Probed, probes};
use super::proxy::{self, Proxy, Serving};
use super::service::{FlowExplained, Service};
use super::settings::{self, Listen, Protocol};
use super::{ServiceSettings, Settings};
use crate::handover::{Flows, Handed, Inherited, ServiceFlows, Use};
use crate::health::{ProbeStatus, Verdicts, Watch};

/// How often it is looked at what comes, and weights follow what is known.
const LOOK: Duration = Duration::from_secs(1);

/// The disk may take this long for the last lines of the access log.
const LOG_FLUSH: Duration = Duration::from_secs(1);

/// The running forwarder; clones are handles on the same one. It stops to accept when the last is
/// dropped.
#[derive(Clone, Debug)]
pub struct L4 {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    watch: Watch,
    verdicts: watch::Receiver<Verdicts>,
    state: Mutex<State>,
    /// Held for as long as a replacement takes.
    replacing: tokio::sync::Mutex<()>,
    proxy: Proxy,
    /// What the process before this one had open, until this one serves.
    inherited: Mutex<Inherited>,
    /// False until this process serves what it has open.
    is_serving: AtomicBool,
    log: Arc<AccessLog>,
    /// Rung when a backend cannot be reached, whatever its probe says.
    suspicion: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    /// In the order of the settings.
    running: Vec<Running>,
    probed: Probed,
    /// What processes before this one carry.
    before: Flows,
}

/// A service, and where it is reached.
#[derive(Debug)]
struct Running {
    service: Arc<Service>,
    entrances: Vec<Arc<Entrance>>,
}

/// Sockets of a service, which are served until this is dropped.
#[derive(Debug)]
struct Entrance {
    /// As configured, port 0 included.
    configured: Listen,
    // Before the sockets: what waits in them is still taken.
    serving: OnceLock<Serving>,
    opened: Arc<Opened>,
    /// What its sockets have dropped, as far as it is counted.
    drops: AtomicU32,
}

/// A service that is to run.
struct Planned {
    settings: Arc<ServiceSettings>,
    service: Arc<Service>,
    is_new: bool,
    backends: Arc<[Arc<Backend>]>,
    targets: Arc<[Weak<Service>]>,
    /// Where it is reached, and, for a place where it is already, the entrance.
    listens: Vec<(Listen, Option<Arc<Entrance>>)>,
}

/// Why the forwarder does not do what the settings say.
#[derive(Debug, Error)]
pub enum StartError {
    /// A service is not reached.
    #[error("service `{service}` cannot listen on {listen}: {error}")]
    Listen {
        /// Its name.
        service: String,
        /// Where.
        listen: Listen,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// A service cannot be carried as it is to be.
    #[error("service `{service}`: {error}")]
    Carry {
        /// Its name.
        service: String,
        /// What is missing.
        #[source]
        error: io::Error,
    },
    /// The access log is not written.
    #[error("the access log {} cannot be opened: {error}", path.display())]
    AccessLog {
        /// Its file.
        path: PathBuf,
        /// What the system says.
        #[source]
        error: io::Error,
    },
}

/// Runs the services: they accept when every backend has been probed once, or could have been.
pub async fn start(settings: Settings) -> Result<L4, StartError> {
    let l4 = prepare(settings, &mut Inherited::default()).await?;
    l4.serve()?;
    Ok(l4)
}

/// The same, on the sockets that are inherited and on others, but for the last step: nothing is
/// taken from the sockets before [`L4::serve`].
pub async fn prepare(settings: Settings, inherited: &mut Inherited) -> Result<L4, StartError> {
    let watch = Watch::start(Vec::new());
    let inner = Inner {
        verdicts: watch.verdicts(),
        watch,
        state: Mutex::default(),
        replacing: tokio::sync::Mutex::default(),
        proxy: Proxy::new(),
        inherited: Mutex::new(inherited.take_all(&[Use::L4Tcp, Use::L4Udp])),
        is_serving: AtomicBool::new(false),
        log: Arc::default(),
        suspicion: Arc::default(),
    };
    let l4 = L4 { inner: Arc::new(inner) };
    descriptors::allow_many();
    l4.follow();
    l4.replace(settings).await?;
    Ok(l4)
}

impl L4 {
    /// Serves what was prepared.
    pub fn serve(&self) -> Result<(), StartError> {
        self.inner.is_serving.store(true, Relaxed);
        // What no service wants is closed, and the process before takes what waits in it.
        *self.inherited() = Inherited::default();
        for Running { service, entrances } in &self.state().running {
            service.begin_recent(Instant::now());
            for entrance in entrances {
                let served = entrance.serve(service, &self.inner.proxy);
                let listen = &entrance.configured;
                served.map_err(|error| StartError::new(&service.settings(), listen, error))?;
            }
        }
        self.inner.proxy.forget_adopted();
        Ok(())
    }

    /// Duplicates of all sockets that listen, for another process.
    pub fn handed(&self) -> io::Result<Vec<Handed>> {
        let mut all = Vec::new();
        for entrance in self.state().running.iter().flat_map(|one| &one.entrances) {
            all.extend(entrance.opened.handed()?);
        }
        Ok(all)
    }

    /// The sessions of datagrams, each with a duplicate of its socket, for another process. Until
    /// they are taken back nothing is read from them, or from those sockets that listen: it waits
    /// for whichever process goes on with them.
    pub async fn lend(&self) -> Vec<(Value, OwnedFd)> {
        let sessions = self.inner.proxy.lend().await.into_iter();
        let said = sessions
            .filter_map(|(session, socket)| Some((serde_json::to_value(session).ok()?, socket)));
        said.collect()
    }

    /// The other process did not take over.
    pub fn take_back(&self) {
        self.inner.proxy.take_back();
    }

    /// Has the sessions of another process go on here, from [`L4::serve`] on. One that cannot be
    /// read ends.
    pub fn adopt(&self, sessions: Vec<(Value, OwnedFd)>) {
        let sessions = sessions.into_iter();
        let read = sessions
            .filter_map(|(session, socket)| Some((serde_json::from_value(session).ok()?, socket)));
        self.inner.proxy.adopt(read.collect());
    }

    /// The flows that stay in this process when another serves: sessions of datagrams go there.
    pub fn flows(&self) -> Flows {
        let state = self.state();
        let services = state.running.iter().map(|one| &one.service);
        let staying = services.filter(|one| one.settings().protocol == Protocol::Tcp);
        let flows = staying.map(|one| (one.name.clone(), one.flows()));
        Flows { services: flows.filter(|(_, flows)| flows.all > 0).collect() }
    }

    /// Processes before this one carry these flows: they count here for limits, for the choice of
    /// backends, and for what is reported.
    pub fn count_before(&self, flows: Flows) {
        let mut state = self.state();
        state.before = flows;
        state.count_before();
    }

    /// Opens the access log again: it may have been moved away.
    pub fn reopen_log(&self) -> Result<(), StartError> {
        let log = self.inner.log.settings();
        self.follow_log(log.as_ref())
    }

    /// Takes nothing new from now on, as another process does; what flows goes on.
    pub async fn retire(&self) {
        let _alone = self.inner.replacing.lock().await;
        self.state().running.iter_mut().for_each(|one| one.entrances.clear());
    }

    /// Returns when all connections have ended, after [`L4::retire`]; those that have not when
    /// `grace` is over are reset. Backends are probed on: what goes down is still left.
    pub async fn ended(&self, grace: Duration) {
        self.inner.proxy.stop(grace).await;
    }

    /// Runs these services from now on, or, after an error, what ran before. Connections are not
    /// touched: those of a service or backend that is gone go on to their end. A service that
    /// keeps its name keeps its numbers, a backend that keeps its address in it keeps its health
    /// and the operator's word, and sockets are kept while their address and number are.
    pub async fn replace(&self, settings: Settings) -> Result<(), StartError> {
        let _alone = self.inner.replacing.lock().await;
        let workers = settings.workers.unwrap_or_else(cores);
        let log = settings.access_log.clone();
        let planned = self.plan(settings, workers)?;
        self.probe(planned.iter().map(|one| (&*one.settings, &*one.backends)));
        if planned.iter().any(|one| one.is_new) {
            let watch = &self.inner.watch;
            watch.first_round(watch.round_limit()).await;
        }
        self.take_verdicts();
        // Only now, so that nobody waits at a service of whose backends nothing is known.
        let entered: Result<Vec<_>, StartError> =
            planned.iter().map(|one| self.enter(one, workers)).collect();
        // Last of what may fail.
        let entered = entered.and_then(|entered| {
            self.follow_log(log.as_ref())?;
            Ok(entered)
        });
        let entered = match entered {
            Ok(entered) => entered,
            Err(error) => {
                let of = |one: &Running| (one.service.settings(), one.service.backends());
                let running: Vec<_> = self.state().running.iter().map(of).collect();
                self.probe(running.iter().map(|(settings, backends)| (&**settings, &**backends)));
                return Err(error);
            }
        };
        {
            let mut state = self.state();
            let running = planned.into_iter().zip(entered).map(|(one, entrances)| {
                one.service.replace(one.settings, one.backends, one.targets);
                Running { service: one.service, entrances }
            });
            // What ran and has not been taken over is not served any more from here on.
            let before = std::mem::replace(&mut state.running, running.collect());
            for entrance in before.iter().flat_map(|one| &one.entrances) {
                let Opened { listen, protocol, .. } = &*entrance.opened;
                if Arc::strong_count(entrance) == 1 && state.is_near(listen, *protocol) {
                    entrance.serving.get().into_iter().for_each(Serving::await_the_last);
                }
            }
            state.count_before();
        }
        self.take_verdicts();
        Ok(())
    }

    /// Connections and capacity, in all and of each service.
    pub fn load(&self) -> Load {
        let status = |one: &Running| {
            let listens = one.entrances.iter().map(|entrance| entrance.opened.listen.clone());
            one.service.status(listens.collect())
        };
        let services = self.state().running.iter().map(status).collect();
        Load::of(services)
    }

    /// What is known of the probes of the backends, which are named `l4/SERVICE/ADDRESS`.
    pub fn probe_statuses(&self) -> Vec<ProbeStatus> {
        self.inner.watch.statuses()
    }

    /// Lines of the access log that were lost: the disk was too slow, or full.
    pub fn log_lines_lost(&self) -> u64 {
        self.inner.log.lost()
    }

    /// What would become of a new flow of this client's to a service; at its first address, if none
    /// is given. None: there is no such service.
    pub fn explain(
        &self,
        service: &str,
        client: SocketAddr,
        vip: Option<SocketAddr>,
        server_name: Option<&str>,
    ) -> Option<FlowExplained> {
        let state = self.state();
        let running = state.running(service)?;
        let first = running.entrances.first().map(|entrance| {
            let Listen { addresses, ports } = &entrance.opened.listen;
            SocketAddr::new(addresses.addr(), *ports.start())
        });
        let none = SocketAddr::from(([0, 0, 0, 0], 0));
        let vip = vip.or(first).unwrap_or(none);
        let protocol = running.service.settings().protocol;
        let flow = Flow { client, vip, protocol };
        Some(running.service.explain(&flow, server_name, Instant::now()))
    }

    /// Has every backend of every service heed what the operator says of it now.
    pub fn heed(&self, word: impl Fn(&str, &Backend) -> Word) {
        let (state, now) = (self.state(), Instant::now());
        let heed = |one: &&Running| {
            let backends = one.service.backends();
            // All of them: each is to hear it.
            backends.iter().filter(|one_of| one_of.heed(word(&one.service.name, one_of))).count()
                > 0
        };
        self.refresh(state.running.iter().filter(heed), false, now);
    }

    /// Accepts no more, and returns when all connections have ended; those that have not when
    /// `grace` is over are reset.
    pub async fn stop(&self, grace: Duration) {
        let _alone = self.inner.replacing.lock().await;
        self.state().running.clear();
        self.inner.proxy.stop(grace).await;
        let log = Arc::clone(&self.inner.log);
        let _ = tokio::task::spawn_blocking(move || log.flush(LOG_FLUSH)).await;
    }

    /// Finds what runs already of these services, and whether there is room for the others.
    fn plan(&self, settings: Settings, workers: usize) -> Result<Vec<Planned>, StartError> {
        let mut claimed = HashSet::new();
        let state = self.state();
        let named = state.running.iter().map(|one| (one.service.name.as_str(), one));
        let named: HashMap<&str, &Running> = named.collect();
        let mut planned = Vec::new();
        for settings in settings.services {
            proxy::check(&settings).map_err(|error| {
                let service = settings.name.clone();
                StartError::Carry { service, error }
            })?;
            let running = named.get(settings.name.as_str()).copied();
            let mut entrances = running.map_or_else(Vec::new, |one| one.entrances.clone());
            let mut listens = Vec::new();
            for listen in &settings.listen {
                let is_free = *listen.ports.start() == 0
                    || claimed.insert((settings.protocol, listen.clone()));
                let is_kept = |one: &Arc<Entrance>| one.is_for(listen, settings.protocol, workers);
                let kept = entrances.iter().position(is_kept);
                let inherited = listener::name(listen, settings.protocol);
                let checked = match kept {
                    _ if !is_free => Err(io::ErrorKind::AddrInUse.into()),
                    None if self.inherited().has(&inherited) => Ok(()),
                    None if !state.is_near(listen, settings.protocol) => {
                        listener::check_free(listen, settings.protocol)
                    }
                    // Our own sockets may be there, until the service takes these.
                    _ => Ok(()),
                };
                checked.map_err(|error| StartError::new(&settings, listen, error))?;
                listens.push((listen.clone(), kept.map(|kept| entrances.swap_remove(kept))));
            }
            let service = running.map_or_else(
                || {
                    let suspicion = Arc::clone(&self.inner.suspicion);
                    let log = Arc::clone(&self.inner.log);
                    Arc::new(Service::new(settings.name.clone(), suspicion, log))
                },
                |one| Arc::clone(&one.service),
            );
            let backends = service.backends_for(&settings);
            planned.push(Planned {
                settings: Arc::new(settings),
                service,
                is_new: running.is_none(),
                backends,
                targets: Arc::default(),
                listens,
            });
        }
        let services = planned.iter().map(|one| (one.settings.name.as_str(), &one.service));
        let services: HashMap<&str, &Arc<Service>> = services.collect();
        let target =
            |name: &str| services.get(name).map_or_else(Weak::new, |to| Arc::downgrade(to));
        let targets: Vec<Arc<[Weak<Service>]>> = planned
            .iter()
            .map(|one| one.settings.routes.iter().map(|route| target(&route.service)).collect())
            .collect();
        for (one, targets) in planned.iter_mut().zip(targets) {
            one.targets = targets;
            if one.is_new {
                let (settings, backends) = (Arc::clone(&one.settings), Arc::clone(&one.backends));
                one.service.replace(settings, backends, Arc::clone(&one.targets));
            }
        }
        Ok(planned)
    }

    /// From now on, probes these backends of these services.
    fn probe<'a>(&self, services: impl Iterator<Item = (&'a ServiceSettings, &'a [Arc<Backend>])>) {
        let probes = services.flat_map(|(settings, backends)| probes(settings, backends));
        let (probes, watched) = probes.unzip();
        {
            let mut state = self.state();
            state.probed = Probed { generation: self.inner.watch.replace(probes), watched };
        }
        self.take_verdicts();
    }

    /// Lets a service be reached where it is to be, besides where it is already.
    fn enter(&self, planned: &Planned, workers: usize) -> Result<Vec<Arc<Entrance>>, StartError> {
        let Planned { settings, service, listens, .. } = planned;
        if planned.is_new {
            service.refresh(true, Instant::now());
        }
        let enter = |(listen, kept): &(Listen, Option<Arc<Entrance>>)| {
            if let Some(kept) = kept {
                return Ok(Arc::clone(kept));
            }
            let open = || {
                let protocol = settings.protocol;
                let inherited = listener::inherit(listen, protocol, workers, &mut self.inherited());
                let opened = match inherited {
                    Some(opened) => opened,
                    None => listener::open(listen, protocol, workers)?,
                };
                let entrance = Entrance::new(listen.clone(), opened);
                if self.inner.is_serving.load(Relaxed) {
                    entrance.serve(service, &self.inner.proxy)?;
                }
                Ok(Arc::new(entrance))
            };
            open().map_err(|error| StartError::new(settings, listen, error))
        };
        listens.iter().map(enter).collect()
    }

    fn follow_log(&self, log: Option<&settings::AccessLog>) -> Result<(), StartError> {
        let path = log.map(|log| log.path.clone()).unwrap_or_default();
        self.inner.log.follow(log).map_err(|error| StartError::AccessLog { path, error })
    }

    /// Tells the backends what the probes say, and looks at what is refused, until the last handle
    /// is gone.
    fn follow(&self) {
        let inner = Arc::downgrade(&self.inner);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(LOOK);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                let now = ticks.tick().await.into_std();
                let Some(inner) = inner.upgrade() else { return };
                let l4 = L4 { inner };
                let state = l4.state();
                for Running { service, entrances } in &state.running {
                    let drops = entrances.iter().map(|entrance| u64::from(entrance.new_drops()));
                    service.dropped_total.fetch_add(drops.sum(), Relaxed);
                    service.note_recent(now);
                }
                l4.refresh(state.running.iter(), true, now);
            }
        });
        let inner = Arc::downgrade(&self.inner);
        let suspicion = Arc::clone(&self.inner.suspicion);
        tokio::spawn(async move {
            loop {
                // So that this ends with the forwarder, too.
                let _ = tokio::time::timeout(LOOK, suspicion.notified()).await;
                let Some(inner) = inner.upgrade() else { return };
                L4 { inner }.take_suspicions(Instant::now());
            }
        });
        let inner = Arc::downgrade(&self.inner);
        let mut verdicts = self.inner.verdicts.clone();
        tokio::spawn(async move {
            while verdicts.changed().await.is_ok() {
                let Some(inner) = inner.upgrade() else { return };
                L4 { inner }.take_verdicts();
            }
        });
    }

    fn take_verdicts(&self) {
        let (state, now) = (self.state(), Instant::now());
        let verdicts = self.inner.verdicts.borrow().clone();
        state.probed.learn(&verdicts);
        self.refresh(state.running.iter(), false, now);
    }

    fn take_suspicions(&self, now: Instant) {
        let state = self.state();
        state.probed.suspect(&self.inner.watch, now);
        state.running.iter().for_each(|one| one.service.avoid_suspects(now));
        self.refresh(state.running.iter(), false, now);
    }

    /// Takes what is known of their backends over to services. To be called under the lock.
    fn refresh<'a>(&self, services: impl Iterator<Item = &'a Running>, is_due: bool, now: Instant) {
        let down: Vec<_> = services.flat_map(|one| one.service.refresh(is_due, now)).collect();
        if !down.is_empty() {
            self.inner.proxy.went_down(&down.into());
        }
    }

    fn inherited(&self) -> MutexGuard<'_, Inherited> {
        // A panic elsewhere leaves sockets that are each whole.
        self.inner.inherited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves a list of services that each run.
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn count_before(&self) {
        let none = ServiceFlows::default();
        for Running { service, .. } in &self.running {
            service.count_before(self.before.services.get(&service.name).unwrap_or(&none));
        }
    }

    fn running(&self, service: &str) -> Option<&Running> {
        self.running.iter().find(|one| one.service.name == service)
    }

    /// True when sockets of ours are where those would be.
    fn is_near(&self, listen: &Listen, protocol: Protocol) -> bool {
        let mut opened = self.running.iter().flat_map(|one| &one.entrances).map(|one| &one.opened);
        opened.any(|one| one.protocol == protocol && listener::meet(&one.listen, listen))
    }
}

impl Entrance {
    fn new(configured: Listen, opened: Opened) -> Entrance {
        // What sockets have dropped that another process has opened, it has counted.
        let drops = AtomicU32::new(opened.drops());
        Entrance { configured, serving: OnceLock::new(), opened: Arc::new(opened), drops }
    }

    /// What its sockets have dropped since this was asked last; one asks at a time.
    fn new_drops(&self) -> u32 {
        let drops = self.opened.drops();
        drops.wrapping_sub(self.drops.swap(drops, Relaxed))
    }

    /// Carries what comes from now on.
    fn serve(&self, service: &Arc<Service>, proxy: &Proxy) -> io::Result<()> {
        if self.serving.get().is_none() {
            // Nobody else is about to do it.
            let _ = self.serving.set(proxy.serve(service, &self.opened)?);
        }
        Ok(())
    }

    fn is_for(&self, listen: &Listen, protocol: Protocol, workers: usize) -> bool {
        let Opened { protocol: ours, workers: sockets, .. } = &*self.opened;
        self.configured == *listen && *ours == protocol && sockets.len() == workers
    }
}

impl StartError {
    fn new(settings: &ServiceSettings, listen: &Listen, error: io::Error) -> StartError {
        let (service, listen) = (settings.name.clone(), listen.clone());
        StartError::Listen { service, listen, error }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get())
}
