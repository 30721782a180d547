//! The DNS sockets: UDP and TCP on the same addresses, one answer engine behind both.

mod batch;
mod connections;
mod tcp;
mod transfers;
mod udp;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime};

use thiserror::Error;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::answer::{Counters, Totals};
use crate::dns;
use crate::handover::{Handed, Inherited, Name, Use};
use crate::ledger::{Ledger, Ledgers};
use crate::snapshot::Published;
use connections::Connections;
pub use tcp::TcpLimits;
pub use transfers::TransferTotals;
use transfers::TransfersOut;

/// How often a port of the kernel's choice is tried, until one is free for UDP and TCP.
const PORT_TRIES: usize = 32;

/// What to listen on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The addresses, each for UDP and TCP. Port 0 takes any port that is free.
    pub listen: Vec<SocketAddr>,
    /// The UDP threads of each address; one a core if not given.
    pub workers: Option<usize>,
    /// Limits of DNS over TCP.
    pub tcp: TcpLimits,
}

/// Why an address cannot be listened on.
#[derive(Debug, Error)]
#[error("cannot listen on {address} ({protocol}): {error}{}", way_out(error))]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// UDP or TCP.
    pub protocol: Protocol,
    /// What the system says.
    #[source]
    pub error: io::Error,
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Datagrams.
    Udp,
    /// Streams.
    Tcp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Udp => "UDP",
            Protocol::Tcp => "TCP",
        })
    }
}

fn way_out(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; a port below 1024 needs the capability CAP_NET_BIND_SERVICE: grant it in the service \
             unit or with setcap, or choose another port"
        }
        io::ErrorKind::AddrInUse => {
            "; another server, perhaps a local resolver, already listens there: `ss -lnptu` shows \
             which; stop it, or choose another address or port"
        }
        io::ErrorKind::AddrNotAvailable => {
            "; this machine has no such address: `ip address` shows those it has"
        }
        io::ErrorKind::Unsupported => "; this machine does not speak this version of IP",
        _ => "",
    }
}

/// Sockets that are bound, and not served yet.
#[derive(Debug)]
pub struct Bound {
    tcp_limits: TcpLimits,
    addresses: Vec<SocketAddr>,
    listeners: Vec<TcpListener>,
    sockets: Vec<UdpSocket>,
    announced: Option<Announced>,
}

/// Where it is told that a primary has announced a new version of a zone: the zone and who says so.
/// What finds no room there is lost; the primary will say it again, or is asked in time.
pub type Announced = mpsc::Sender<(dns::Name, IpAddr)>;

/// Binds all sockets, or none; but for those that are inherited, of which all are used, however
/// many threads are wanted.
pub fn bind(settings: &Settings, inherited: &mut Inherited) -> Result<Bound, BindError> {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let workers = settings.workers.unwrap_or_else(cores).max(1);
    let mut bound = Bound {
        tcp_limits: settings.tcp.clone(),
        addresses: Vec::new(),
        listeners: Vec::new(),
        sockets: Vec::new(),
        announced: None,
    };
    for &address in &settings.listen {
        let mut listeners = inherited.take_listeners(&Name::new(Use::DnsTcp, address));
        let sockets = inherited.take_udp(&Name::new(Use::DnsUdp, address));
        let (listener, sockets) = match listeners.pop() {
            Some(listener) if !sockets.is_empty() => (listener, sockets),
            _ => bind_both(address, workers)?,
        };
        let local = listener.local_addr();
        let of_tcp = |error| BindError { address, protocol: Protocol::Tcp, error };
        bound.addresses.push(local.map_err(of_tcp)?);
        bound.listeners.push(listener);
        bound.sockets.extend(sockets);
    }
    Ok(bound)
}

/// TCP comes first: its socket is not shared, so that a second server on the same address is
/// noticed, where UDP sockets would silently divide the queries between the two.
fn bind_both(
    address: SocketAddr,
    workers: usize,
) -> Result<(TcpListener, Vec<UdpSocket>), BindError> {
    let of = |protocol| move |error| BindError { address, protocol, error };
    let mut tries = if address.port() == 0 { PORT_TRIES } else { 1 };
    loop {
        let listener = tcp::bind(address).map_err(of(Protocol::Tcp))?;
        let local = listener.local_addr().map_err(of(Protocol::Tcp))?;
        let sockets: io::Result<Vec<UdpSocket>> = (0..workers).map(|_| udp::bind(local)).collect();
        tries -= 1;
        match sockets {
            Ok(sockets) => return Ok((listener, sockets)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries > 0 => (),
            Err(error) => return Err(of(Protocol::Udp)(error)),
        }
    }
}

impl Bound {
    /// The addresses, with the ports that were chosen.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Tells of announcements (RFC 1996).
    pub fn tell(&mut self, announced: Announced) {
        self.announced = Some(announced);
    }

    /// Begins to answer from what is published, now and later.
    ///
    /// # Errors
    /// If the system gives no threads.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn serve(self, published: Published) -> io::Result<Running> {
        let mut running = Running {
            addresses: self.addresses,
            counters: Vec::new(),
            ledgers: Vec::new(),
            transfers: Arc::default(),
            threads: Vec::new(),
            sockets: Vec::new(),
            listeners: Vec::new(),
            stop_threads: Arc::default(),
            stop_accepting: CancellationToken::new(),
            stop_tasks: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let ours: Arc<[SocketAddr]> = running.addresses.as_slice().into();
        for (index, socket) in self.sockets.into_iter().enumerate() {
            let socket = Arc::new(socket);
            running.sockets.push(Arc::clone(&socket));
            let worker = udp::Worker {
                socket,
                ours: Arc::clone(&ours),
                published: Arc::clone(&published),
                counters: running.new_counters(),
                ledger: running.new_ledger(),
                announced: self.announced.clone(),
                stop: Arc::clone(&running.stop_threads),
            };
            let thread = std::thread::Builder::new().name(format!("dns-udp-{index}"));
            running.threads.push(thread.spawn(|| worker.run())?);
        }
        let limits = self.tcp_limits;
        let connections =
            Connections::new(limits.connections, limits.connections_per_client, Instant::now());
        let shared = Arc::new(tcp::Shared {
            limits,
            connections: Arc::new(connections),
            published,
            counters: running.new_counters(),
            ledger: running.new_ledger(),
            announced: self.announced,
            transfers: Arc::clone(&running.transfers),
            stop: running.stop_tasks.clone(),
            tasks: running.tasks.clone(),
        });
        for listener in self.listeners {
            running.listeners.push(listener.try_clone()?);
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let accept = tcp::accept(listener, Arc::clone(&shared));
            let stop = running.stop_accepting.clone();
            running.tasks.spawn(async move { stop.run_until_cancelled(accept).await });
        }
        Ok(running)
    }
}

/// Passes on who has announced which zone.
#[cold]
fn announce(announced: Option<&Announced>, zone: Option<dns::Name>, source: IpAddr) {
    if let (Some(announced), Some(zone)) = (announced, zone) {
        // Whoever listens has enough to do.
        let _ = announced.try_send((zone, source.to_canonical()));
    }
}

/// The time, in seconds since 1970.
fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Sockets that are served. The snapshot they answer from changes without them.
#[derive(Debug)]
pub struct Running {
    addresses: Vec<SocketAddr>,
    counters: Vec<Arc<Counters>>,
    ledgers: Vec<Arc<Ledger>>,
    transfers: Arc<TransfersOut>,
    /// As the threads have them, and duplicates of those that accept: to be handed over.
    sockets: Vec<Arc<UdpSocket>>,
    listeners: Vec<TcpListener>,
    threads: Vec<JoinHandle<()>>,
    stop_threads: Arc<AtomicBool>,
    stop_accepting: CancellationToken,
    stop_tasks: CancellationToken,
    tasks: TaskTracker,
}

impl Running {
    /// The addresses, with the ports that were chosen.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What was counted so far, over all workers.
    pub fn counters(&self) -> Totals {
        self.tally().totals()
    }

    /// A way to read the counters from elsewhere.
    pub fn tally(&self) -> Tally {
        let transfers = Arc::clone(&self.transfers);
        Tally { counters: self.counters.as_slice().into(), transfers }
    }

    /// What the workers write down. Records have one reader: a second call's ledgers are empty.
    pub fn take_ledgers(&mut self) -> Ledgers {
        Ledgers::new(self.ledgers.drain(..))
    }

    /// Duplicates of the sockets, by the names under which another process finds them.
    ///
    /// # Errors
    /// If descriptors run out.
    pub fn handed(&self) -> io::Result<Vec<Handed>> {
        let udp = self.sockets.iter().map(|socket| {
            let name = Name::new(Use::DnsUdp, socket.local_addr()?);
            Ok(Handed { name, socket: socket.try_clone()?.into() })
        });
        let tcp = self.listeners.iter().map(|listener| {
            let name = Name::new(Use::DnsTcp, listener.local_addr()?);
            Ok(Handed { name, socket: listener.try_clone()?.into() })
        });
        udp.chain(tcp).collect()
    }

    /// Takes nothing new, as another process does; connections go on.
    pub async fn retire(&mut self) {
        self.stop_threads.store(true, Ordering::Relaxed);
        self.stop_accepting.cancel();
        self.join_threads().await;
        self.sockets.clear();
        self.listeners.clear();
    }

    /// Returns when no connection is left, after [`Running::retire`].
    pub async fn connections_ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Finishes what is being answered, and closes the sockets.
    pub async fn stop(mut self) {
        self.tell_to_stop();
        self.tasks.close();
        self.join_threads().await;
        self.tasks.wait().await;
    }

    async fn join_threads(&mut self) {
        let threads = std::mem::take(&mut self.threads);
        let joined = tokio::task::spawn_blocking(|| {
            for thread in threads {
                // It ends by a return alone: panics are caught inside.
                let _ = thread.join();
            }
        });
        let _ = joined.await;
    }

    fn tell_to_stop(&self) {
        self.stop_threads.store(true, Ordering::Relaxed);
        self.stop_accepting.cancel();
        self.stop_tasks.cancel();
    }

    fn new_ledger(&mut self) -> Arc<Ledger> {
        let ledger = Arc::<Ledger>::default();
        self.ledgers.push(Arc::clone(&ledger));
        ledger
    }

    fn new_counters(&mut self) -> Arc<Counters> {
        let counters = Arc::<Counters>::default();
        self.counters.push(Arc::clone(&counters));
        counters
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tell_to_stop();
    }
}

/// Reads the counters of all workers.
#[derive(Clone, Debug)]
pub struct Tally {
    counters: Arc<[Arc<Counters>]>,
    transfers: Arc<TransfersOut>,
}

impl Tally {
    /// What was counted so far.
    pub fn totals(&self) -> Totals {
        Totals::of(self.counters.iter().map(|counters| &**counters))
    }

    /// What became of the zones that other servers took.
    pub fn transfers(&self) -> TransferTotals {
        self.transfers.totals()
    }
}

#[cfg(test)]
mod tests;
