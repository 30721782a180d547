//! The running forwarder: its services, the probes of their backends, and the handle on both.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::listener;
use super::service::{Backend, Service, ServiceStatus};
use super::{ServiceSettings, Settings};
use crate::health::{Probe, Verdict, Watch};

/// What a round of probes may take beyond the longest timeout of them.
const ROUND_GRACE: Duration = Duration::from_secs(1);
/// No round is waited for longer than this.
const ROUND_AT_MOST: Duration = Duration::from_secs(10);

/// The running forwarder; clones are handles on the same one.
#[derive(Clone, Debug)]
pub struct L4 {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    watch: Watch,
    running: Mutex<Vec<Running>>,
    connections: TaskTracker,
    /// Ends the connections themselves.
    abort: CancellationToken,
}

/// A service and what accepts for it.
#[derive(Debug)]
struct Running {
    service: Arc<Service>,
    /// As configured, port 0 included.
    listen: SocketAddr,
    workers: usize,
    stop: CancellationToken,
}

/// A service whose sockets are open, and which accepts nothing yet.
struct Opened {
    running: Running,
    listeners: Vec<TcpListener>,
}

/// The load of the forwarder, for people and machines.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Load {
    /// Connections now, of the services that say what they can take.
    pub connections: u64,
    /// The most that they say they can take together; none when none says.
    pub capacity: Option<u64>,
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

/// Runs the services: the sockets open when every backend has been probed once.
pub async fn start(settings: Settings) -> Result<L4, StartError> {
    let inner = Inner {
        watch: Watch::start(Vec::new()),
        running: Mutex::default(),
        connections: TaskTracker::new(),
        abort: CancellationToken::new(),
    };
    let l4 = L4 { inner: Arc::new(inner) };
    l4.follow();
    l4.replace(settings).await?;
    Ok(l4)
}

impl L4 {
    /// Runs these services from now on, or, after an error, what ran before. Connections are not
    /// touched: those of a service or backend that is gone go on to their end.
    pub async fn replace(&self, settings: Settings) -> Result<(), StartError> {
        let workers = settings.workers.unwrap_or_else(cores);
        let opened = self.open(&settings, workers)?;
        let wanted = settings.services;
        self.inner.watch.replace(probes(&wanted));
        if opened.is_empty() {
            // Nothing waits for the verdicts of new backends: until they come these are not up.
        } else {
            self.inner.watch.first_round(round_deadline(&wanted)).await;
        }
        {
            let mut running = self.running();
            running.retain(|one| {
                let kept = wanted.iter().find(|service| one.serves(service, workers));
                match kept {
                    Some(service) => one.service.replace(service.clone()),
                    None => one.stop.cancel(),
                }
                kept.is_some()
            });
            running.extend(opened.into_iter().map(|opened| self.accept(opened)));
            // In the order of the file.
            running.sort_by_key(|one| wanted.iter().position(|s| s.name == one.service.name));
        }
        self.take_verdicts();
        Ok(())
    }

    /// Connections and capacity, in all and of each service.
    pub fn load(&self) -> Load {
        let services: Vec<_> = self.running().iter().map(|one| one.service.status()).collect();
        let capable = || services.iter().filter(|service| service.capacity.is_some());
        Load {
            connections: capable().map(|service| service.connections).sum(),
            capacity: capable()
                .map(|service| service.capacity)
                .sum::<Option<u64>>()
                .filter(|_| capable().next().is_some()),
            services,
        }
    }

    /// Whether a backend takes new connections; those it has go on.
    pub fn set_drained(
        &self,
        service: &str,
        backend: SocketAddr,
        drained: bool,
    ) -> Result<(), UnknownBackend> {
        self.backend(service, backend).map(|backend| backend.set_drained(drained))
    }

    /// A backend is up or down whatever its probe says; none takes the word back.
    pub fn force(
        &self,
        service: &str,
        backend: SocketAddr,
        up: Option<bool>,
    ) -> Result<(), UnknownBackend> {
        self.backend(service, backend).map(|backend| backend.force(up))
    }

    /// Accepts no more, and returns when all connections have ended, or `grace` has.
    pub async fn stop(&self, grace: Duration) {
        for one in self.running().drain(..) {
            one.stop.cancel();
        }
        self.inner.connections.close();
        if tokio::time::timeout(grace, self.inner.connections.wait()).await.is_err() {
            self.inner.abort.cancel();
            self.inner.connections.wait().await;
        }
    }

    /// Opens the sockets of services that are new, or listen elsewhere.
    fn open(&self, settings: &Settings, workers: usize) -> Result<Vec<Opened>, StartError> {
        let running = self.running();
        let new = settings.services.iter();
        let new = new.filter(|service| !running.iter().any(|one| one.serves(service, workers)));
        let open = |settings: &ServiceSettings| {
            let listeners = listener::bind(settings.listen, workers);
            let bound = listeners.and_then(|listeners| Ok((listeners[0].local_addr()?, listeners)));
            let (listen, listeners) = bound.map_err(|error| StartError {
                service: settings.name.clone(),
                listen: settings.listen,
                error,
            })?;
            let running = Running {
                service: Arc::new(Service::new(settings.clone(), listen)),
                listen: settings.listen,
                workers,
                stop: CancellationToken::new(),
            };
            Ok(Opened { running, listeners })
        };
        new.map(open).collect()
    }

    fn accept(&self, Opened { running, listeners }: Opened) -> Running {
        for listener in listeners {
            let service = Arc::clone(&running.service);
            let (connections, abort) = (self.inner.connections.clone(), self.inner.abort.clone());
            let stop = running.stop.clone();
            tokio::spawn(listener::accept(listener, service, connections, stop, abort));
        }
        running
    }

    /// Tells the backends what the probes say, until the last handle is gone.
    fn follow(&self) {
        let inner = Arc::downgrade(&self.inner);
        let mut verdicts = self.inner.watch.verdicts();
        tokio::spawn(async move {
            while verdicts.changed().await.is_ok() {
                let Some(inner) = inner.upgrade() else { return };
                L4 { inner }.take_verdicts();
            }
        });
    }

    fn take_verdicts(&self) {
        let running = self.running();
        // By address and service rather than by number: services come and go.
        for status in self.inner.watch.statuses() {
            let Some((service, address)) = parse_probe_name(&status.name) else { continue };
            let service = running.iter().find(|one| one.service.name == service);
            if let Some(backend) = service.and_then(|one| one.service.backend(address)) {
                backend.set_up(status.state == Verdict::Up);
            }
        }
    }

    fn backend(&self, name: &str, address: SocketAddr) -> Result<Arc<Backend>, UnknownBackend> {
        let running = self.running();
        let service = running.iter().find(|one| one.service.name == name);
        service
            .and_then(|one| one.service.backend(address))
            .ok_or_else(|| UnknownBackend { service: name.into(), backend: address })
    }

    fn running(&self) -> MutexGuard<'_, Vec<Running>> {
        // A panic elsewhere leaves a list of services that each run.
        self.inner.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// True when it can go on as this service.
    fn serves(&self, service: &ServiceSettings, workers: usize) -> bool {
        self.service.name == service.name
            && self.listen == service.listen
            && self.workers == workers
    }
}

/// The probes of all backends. Their names tell whose they are.
fn probes(services: &[ServiceSettings]) -> Vec<Probe> {
    let of_service = |service: &ServiceSettings| -> Vec<Probe> {
        let Some((check, port)) = &service.check else { return Vec::new() };
        let mut known = HashSet::new();
        let backends = service.backends.iter().filter(|backend| known.insert(backend.address));
        backends
            .map(|backend| Probe {
                name: format!("{} {}", backend.address, service.name),
                check: Arc::clone(check),
                address: backend.address.ip(),
                port: port.unwrap_or(backend.address.port()),
            })
            .collect()
    };
    services.iter().flat_map(of_service).collect()
}

fn parse_probe_name(name: &str) -> Option<(&str, SocketAddr)> {
    let (address, service) = name.split_once(' ')?;
    Some((service, address.parse().ok()?))
}

fn round_deadline(services: &[ServiceSettings]) -> Duration {
    let checks = services.iter().filter_map(|service| service.check.as_ref());
    let longest = checks.map(|(check, _)| check.timeout).max().unwrap_or_default();
    (longest + ROUND_GRACE).min(ROUND_AT_MOST)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get())
}
