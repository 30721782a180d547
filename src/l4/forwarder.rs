//! The running forwarder: its services, the probes of their backends, and the handle on both.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::descriptors;
use super::listener::{self, Carriers};
use super::service::{Backend, Service, ServiceStatus};
use super::{ServiceSettings, Settings};
use crate::health::{Probe, Verdict, Verdicts, Watch};

/// How often it is looked at how many connections are refused.
const LOOK_AT_REFUSALS: Duration = Duration::from_secs(1);

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
    carriers: Carriers,
}

#[derive(Debug, Default)]
struct State {
    /// In the order of the settings.
    running: Vec<Running>,
    /// The generation of the probes, and their backends in the same order.
    probed: (u64, Vec<Arc<Backend>>),
}

/// A service, and the sockets that accept for it.
#[derive(Debug)]
struct Running {
    service: Arc<Service>,
    sockets: Arc<Sockets>,
}

/// Sockets that accept until this is dropped.
#[derive(Debug)]
struct Sockets {
    /// As configured, port 0 included.
    configured: SocketAddr,
    /// With the port that port 0 became.
    listen: SocketAddr,
    workers: usize,
    _stop: DropGuard,
}

/// A service that is to run.
struct Planned {
    settings: ServiceSettings,
    /// None: it is new.
    service: Option<Arc<Service>>,
    backends: Vec<Arc<Backend>>,
    entrance: Entrance,
}

/// Where a service that is to run will accept.
enum Entrance {
    /// Where it does.
    Kept(Arc<Sockets>),
    /// On sockets that are open, and accept nothing yet.
    Opened { listen: SocketAddr, workers: usize, listeners: Vec<TcpListener> },
}

/// The load of the forwarder, for people and machines.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Load {
    /// Connections now, of the services that say what they can take.
    pub connections: u64,
    /// What those services would carry, had they refused nothing of late.
    pub offered_connections: f64,
    /// The most that they say they can take together; none when none says.
    pub capacity: Option<u64>,
    /// What part is taken of what is scarcest, their capacity or the files that this process may
    /// have open; none without a capacity.
    pub utilisation: Option<f64>,
    /// All services.
    pub services: Vec<ServiceStatus>,
}

/// Why the forwarder does not do what the settings say.
#[derive(Debug, Error)]
#[error("service `{service}` cannot listen on {listen}: {error}")]
pub struct StartError {
    service: String,
    listen: SocketAddr,
    #[source]
    error: io::Error,
}

/// No service of that name has a backend at that address.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("no L4 service `{service}` has a backend {backend}")]
pub struct UnknownBackend {
    service: String,
    backend: SocketAddr,
}

/// Runs the services: they accept when every backend has been probed once, or could have been.
pub async fn start(settings: Settings) -> Result<L4, StartError> {
    let watch = Watch::start(Vec::new());
    let inner = Inner {
        verdicts: watch.verdicts(),
        watch,
        state: Mutex::default(),
        replacing: tokio::sync::Mutex::default(),
        carriers: Carriers { tasks: TaskTracker::new(), abort: CancellationToken::new() },
    };
    let l4 = L4 { inner: Arc::new(inner) };
    descriptors::allow_many();
    l4.follow();
    l4.replace(settings).await?;
    Ok(l4)
}

impl L4 {
    /// Runs these services from now on, or, after an error, what ran before. Connections are not
    /// touched: those of a service or backend that is gone go on to their end. A service that
    /// keeps its name keeps its numbers, a backend that keeps its address in it keeps its health
    /// and the operator's word, and sockets are kept while their address and number are.
    pub async fn replace(&self, settings: Settings) -> Result<(), StartError> {
        let _alone = self.inner.replacing.lock().await;
        let planned = self.plan(settings)?;
        self.probe(&planned);
        if planned.iter().any(|one| one.service.is_none()) {
            let watch = &self.inner.watch;
            watch.first_round(watch.round_limit()).await;
        }
        {
            let mut state = self.state();
            let running = planned.into_iter().map(|one| self.run(one)).collect();
            // What ran and has not been taken over stops to accept here.
            state.running = running;
        }
        self.take_verdicts();
        Ok(())
    }

    /// Connections and capacity, in all and of each service.
    pub fn load(&self) -> Load {
        let status = |one: &Running| one.service.status(one.sockets.listen);
        let services: Vec<ServiceStatus> = self.state().running.iter().map(status).collect();
        let with_capacity = || services.iter().filter(|service| service.capacity.is_some());
        let connections = with_capacity().map(|service| service.connections).sum();
        let offered_connections = with_capacity().map(|one| one.offered_connections).sum();
        let capacity = with_capacity().filter_map(|one| one.capacity).reduce(u64::saturating_add);
        let all = services.iter().map(|service| service.connections).sum();
        let utilisation = capacity
            .filter(|capacity| *capacity > 0)
            .map(|capacity| (connections as f64 / capacity as f64).max(descriptors::taken_by(all)));
        Load { connections, offered_connections, capacity, utilisation, services }
    }

    /// Whether a backend takes no new connections; those it has go on.
    pub fn set_drained(
        &self,
        service: &str,
        backend: SocketAddr,
        drained: bool,
    ) -> Result<(), UnknownBackend> {
        self.tell(service, backend, |backend| backend.set_drained(drained))
    }

    /// A backend is up or down whatever its probe says; none takes the word back.
    pub fn force(
        &self,
        service: &str,
        backend: SocketAddr,
        up: Option<bool>,
    ) -> Result<(), UnknownBackend> {
        self.tell(service, backend, |backend| backend.force(up))
    }

    /// Accepts no more, and returns when all connections have ended; those that have not when
    /// `grace` is over are reset.
    pub async fn stop(&self, grace: Duration) {
        let _alone = self.inner.replacing.lock().await;
        self.state().running.clear();
        let Carriers { tasks, abort } = &self.inner.carriers;
        tasks.close();
        if tokio::time::timeout(grace, tasks.wait()).await.is_err() {
            abort.cancel();
            tasks.wait().await;
        }
    }

    /// Finds what runs already of these services, and opens sockets for the others.
    fn plan(&self, settings: Settings) -> Result<Vec<Planned>, StartError> {
        let workers = settings.workers.unwrap_or_else(cores);
        let mut claimed = HashSet::new();
        let state = self.state();
        let plan = |settings: ServiceSettings| {
            let listen = first(&settings);
            let running = state.running(&settings.name);
            let kept = running.map(|one| &one.sockets);
            let entrance = match kept.filter(|kept| kept.serve(listen, workers)) {
                _ if listen.port() != 0 && !claimed.insert(listen) => {
                    Err(io::ErrorKind::AddrInUse.into())
                }
                Some(kept) => Ok(Entrance::Kept(Arc::clone(kept))),
                None => state.open(listen, workers),
            };
            let entrance = entrance.map_err(|error| StartError {
                service: settings.name.clone(),
                listen,
                error,
            })?;
            let service = running.map(|one| Arc::clone(&one.service));
            let known = |address| service.as_ref().and_then(|service| service.backend(address));
            let backends = settings.backends.iter().map(|backend| {
                let address = backend.address;
                known(address).unwrap_or_else(|| Arc::new(Backend::new(address)))
            });
            let backends = backends.collect();
            Ok(Planned { settings, service, backends, entrance })
        };
        settings.services.into_iter().map(plan).collect()
    }

    /// From now on, probes the backends of these services.
    fn probe(&self, planned: &[Planned]) {
        let (probes, backends) = planned.iter().flat_map(Planned::probes).unzip();
        {
            let mut state = self.state();
            state.probed = (self.inner.watch.replace(probes), backends);
        }
        self.take_verdicts();
    }

    /// Lets a service run, with its backends and sockets. To be called under the lock.
    fn run(&self, planned: Planned) -> Running {
        let Planned { settings, service, backends, entrance } = planned;
        if settings.check.is_none() {
            // Nothing will ever say so.
            backends.iter().for_each(|backend| backend.learn(Verdict::Up));
        }
        let configured = first(&settings);
        let service = match service {
            Some(service) => {
                service.replace(settings, backends);
                service
            }
            None => Arc::new(Service::new(settings, backends)),
        };
        let sockets = match entrance {
            Entrance::Kept(sockets) => sockets,
            Entrance::Opened { listen, workers, listeners } => {
                let stop = CancellationToken::new();
                let carriers = &self.inner.carriers;
                for listener in listeners {
                    let service = Arc::clone(&service);
                    let accept =
                        listener::accept(listener, service, carriers.clone(), stop.clone());
                    carriers.tasks.spawn(accept);
                }
                Arc::new(Sockets { configured, listen, workers, _stop: stop.drop_guard() })
            }
        };
        Running { service, sockets }
    }

    /// Tells the backends what the probes say, and looks at what is refused, until the last handle
    /// is gone.
    fn follow(&self) {
        let inner = Arc::downgrade(&self.inner);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(LOOK_AT_REFUSALS);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                let now = ticks.tick().await.into_std();
                let Some(inner) = inner.upgrade() else { return };
                let l4 = L4 { inner };
                l4.state().running.iter().for_each(|one| one.service.note_refusals(now));
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
        let state = self.state();
        let verdicts = self.inner.verdicts.borrow().clone();
        let (generation, backends) = &state.probed;
        if verdicts.generation == *generation {
            for (backend, verdict) in backends.iter().zip(&*verdicts.verdicts) {
                backend.learn(*verdict);
            }
        }
        state.running.iter().for_each(|one| one.service.refresh());
    }

    fn tell(
        &self,
        service: &str,
        backend: SocketAddr,
        word: impl FnOnce(&Backend),
    ) -> Result<(), UnknownBackend> {
        let state = self.state();
        let running = state.running(service);
        let told = running.and_then(|one| Some((one, one.service.backend(backend)?)));
        let Some((one, told)) = told else {
            return Err(UnknownBackend { service: service.into(), backend });
        };
        word(&told);
        one.service.refresh();
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves a list of services that each run.
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn running(&self, service: &str) -> Option<&Running> {
        self.running.iter().find(|one| one.service.name == service)
    }

    fn open(&self, listen: SocketAddr, workers: usize) -> io::Result<Entrance> {
        // Our own sockets may be there, until the service takes these.
        let is_ours = |one: &Running| one.sockets.listen.port() == listen.port();
        if !self.running.iter().any(is_ours) {
            listener::check_free(listen)?;
        }
        let listeners = listener::bind(listen, workers)?;
        let listen = listeners.first().map_or(Ok(listen), TcpListener::local_addr)?;
        Ok(Entrance::Opened { listen, workers, listeners })
    }
}

impl Sockets {
    fn serve(&self, listen: SocketAddr, workers: usize) -> bool {
        self.configured == listen && self.workers == workers
    }
}

impl Planned {
    /// The probe of each backend, if they are probed.
    fn probes(&self) -> Vec<(Probe, Arc<Backend>)> {
        let Some((check, port)) = &self.settings.check else { return Vec::new() };
        let probe = |backend: &Arc<Backend>| {
            let port = match check.kind.has_port() {
                true => port.unwrap_or(backend.address.port()),
                false => 0,
            };
            let probe = Probe {
                name: format!("l4/{}/{}", self.settings.name, backend.address),
                check: Arc::clone(check),
                address: backend.address.ip(),
                port,
            };
            (probe, Arc::clone(backend))
        };
        self.backends.iter().map(probe).collect()
    }
}

/// The one address that it listens on.
fn first(settings: &ServiceSettings) -> SocketAddr {
    let listen = settings.listen.first().and_then(|listen| listen.single());
    listen.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get())
}
