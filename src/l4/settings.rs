//! What the forwarder is told to run: the shape that the configuration is compiled to.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde::Serialize;

use crate::health;

/// What the forwarder runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Threads that accept and carry; none: one a core.
    pub workers: Option<usize>,
    /// The services, with unique names and listen addresses.
    pub services: Vec<ServiceSettings>,
    /// Where a line is written for each connection that ended; none: nowhere.
    pub access_log: Option<AccessLog>,
    /// How long connections may go on in a process that another one has replaced.
    pub linger: Duration,
}

/// One service: where it listens and what stands behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceSettings {
    /// Unique.
    pub name: String,
    /// The VIPs; none for a service that only the routes of others lead to.
    pub listen: Vec<Listen>,
    /// What it carries.
    pub protocol: Protocol,
    /// How a backend is chosen for a new flow.
    pub balance: Balance,
    /// How backends are probed, and on which port (none: the backend's own).
    pub check: Option<(Arc<health::Check>, Option<u16>)>,
    /// The agents that tell the backends' weights, and their port.
    pub agent: Option<(Arc<health::Check>, u16)>,
    /// At least one.
    pub backends: Vec<BackendSettings>,
    /// What is done while no backend is healthy, the backup tier included.
    pub when_all_down: WhenAllDown,
    /// What becomes of a backend's connections when its checks say that it is down.
    pub when_down: WhenDown,
    /// A backend that comes up takes its full share after this long; zero: at once.
    pub slow_start: Duration,
    /// What this service can take with all its backends, which is the capacity it reports. None: no
    /// capacity is reported.
    pub capacity: Option<Capacity>,
    /// With fewer healthy backends than this the region is out: nothing has capacity in what is
    /// reported. 0: a service without healthy backends has none itself, and no more.
    pub min_healthy: usize,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// Flows at a time, at most; none: as many as the machine has room for.
    pub max_connections: Option<u64>,
    /// Where connections wait while every backend is at its most.
    pub queue: Queue,
    /// Who may come.
    pub access: Access,
    /// How fast they may come; none: as they like.
    pub rate_limit: Option<RateLimit>,
    /// From these sources a PROXY protocol header (v1 or v2) is expected first; none: from nobody.
    pub accept_proxy: Vec<IpNet>,
    /// The PROXY protocol header that backends are sent first; none: none.
    pub send_proxy: Option<ProxyVersion>,
    /// Backends see the client's address as the source, which takes CAP_NET_ADMIN.
    pub transparent: bool,
    /// Which server names (TLS SNI) are carried by which other service; what matches none is
    /// carried by this one.
    pub routes: Vec<Route>,
    /// Whether large transfers are moved in the kernel (splice).
    pub splice: bool,
    /// How QUIC connection ids name their backend; none: they are not looked at.
    pub quic: Option<Quic>,
}

/// One backend.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendSettings {
    /// Where.
    pub address: SocketAddr,
    /// Its share among its equals; 0 takes no new flows.
    pub weight: u32,
    /// Takes flows only while no other that is not a backup can.
    pub backup: bool,
    /// The files do not name it: it was added at run time.
    pub added: bool,
    /// Flows at a time, at most; none: no limit.
    pub max_connections: Option<u64>,
    /// What its QUIC connection ids carry.
    pub server_id: Option<Box<[u8]>>,
}

/// Addresses and ports that a service listens on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Listen {
    /// One address, or all of a prefix.
    pub addresses: IpNet,
    /// One port, or a range of them.
    pub ports: RangeInclusive<u16>,
}

/// What a service carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Connections.
    #[default]
    Tcp,
    /// Datagrams, in sessions.
    Udp,
}

/// How a backend is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Balance {
    /// Each in turn, in proportion to the weights, smoothly.
    RoundRobin,
    /// The one with the fewest flows for its weight.
    LeastConnections,
    /// The one with fewer flows for its weight of two that are drawn by weight.
    TwoChoices,
    /// By a hash, by rendezvous: what is not on a backend that goes stays where it is.
    Hash {
        /// Of what.
        #[serde(rename = "hash")]
        of: HashOf,
    },
    /// By a hash and a Maglev table (Eisenbud et al., NSDI 2016, §3.4).
    Maglev {
        /// Of what.
        #[serde(rename = "hash")]
        of: HashOf,
        /// Its entries: one of [`MAGLEV_SIZES`].
        table_size: u32,
    },
    /// By a hash, but no backend has more than this many times the mean of flows for its weight
    /// (Mirrokni, Thorup and Zadimoghaddam, 2018).
    BoundedHash {
        /// Of what.
        #[serde(rename = "hash")]
        of: HashOf,
        /// Greater than 1.
        factor: f64,
    },
}

/// The sizes of a Maglev table: primes.
pub const MAGLEV_SIZES: [u32; 4] = [4_093, 16_381, 65_537, 655_373];

/// What of a flow is hashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum HashOf {
    /// The client's address.
    #[default]
    #[serde(rename = "source")]
    Source,
    /// The addresses and ports of the client and of the VIP.
    #[serde(rename = "4-tuple")]
    FourTuple,
    /// Those, and the protocol.
    #[serde(rename = "5-tuple")]
    FiveTuple,
}

/// What is done while no backend is healthy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenAllDown {
    /// All that the operator has not taken out are tried: a wrong check must not close the service.
    #[default]
    TryAll,
    /// New flows are refused.
    Refuse,
}

/// What becomes of the connections of a backend that goes down. UDP sessions are always moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenDown {
    /// They go on for as long as the backend lets them.
    #[default]
    Keep,
    /// They are reset, so that clients come again.
    Reset,
}

/// What a service says it can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capacity {
    /// So many flows at a time.
    Connections(u64),
    /// So many new flows a second.
    ConnectionsPerSecond(u64),
    /// As many flows at a time as the backends' agents say that each can take (`maxconn`).
    Agents,
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// A connection attempt to a backend is given up after this, and another backend is tried.
    pub connect: Duration,
    /// A flow on which nothing moves for this long ends.
    pub idle: Duration,
    /// A connection ends after this long whatever moves on it; none: never.
    pub total: Option<Duration>,
    /// A PROXY header or a ClientHello must have come by then.
    pub hello: Duration,
}

/// Connections that wait for a place on a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// So many at a time; further ones are refused.
    pub length: u64,
    /// None waits longer.
    pub timeout: Duration,
}

/// Which clients may come: none that is denied, and, if any are listed as allowed, only those.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// These alone, if there are any.
    pub allow: Vec<IpNet>,
    /// Not these.
    pub deny: Vec<IpNet>,
}

/// How many new flows are let in, by token buckets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateLimit {
    /// New flows a second of one source: an IPv4 address, or an IPv6 /64. None: no limit.
    pub per_source: Option<f64>,
    /// New flows a second of all. None: no limit.
    pub total: Option<f64>,
    /// How many may come at once, as seconds' worth of the rate.
    pub burst_seconds: f64,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary; TLVs that came with the client's are passed on.
    V2,
}

/// Server names that another service carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// In lower case; one that begins with `*.` stands for every name below the rest.
    pub names: Vec<String>,
    /// The other service's name.
    pub service: String,
}

/// A connection is led from service to service by its name at most so often.
pub const MOST_HOPS: usize = 8;

/// Where the server id stands in a QUIC connection id: after its first byte, in the clear
/// (draft-ietf-quic-load-balancers, the plaintext algorithm).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quic {
    /// How long server ids are.
    pub server_id_bytes: usize,
}

/// Where the ends of connections are noted.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessLog {
    /// The file; it is opened again on a reload, for log rotation.
    pub path: PathBuf,
    /// Which part of the connections, 0 to 1.
    pub sample: f64,
}

impl Settings {
    /// These services, and what is usual where nothing is said.
    pub fn new(workers: Option<usize>, services: Vec<ServiceSettings>) -> Settings {
        Settings { workers, services, access_log: None, linger: Duration::from_secs(3600) }
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings::new(None, Vec::new())
    }
}

impl ServiceSettings {
    /// A TCP service with what is usual where nothing is said.
    pub fn new(
        name: impl Into<String>,
        listen: Vec<Listen>,
        backends: Vec<BackendSettings>,
    ) -> ServiceSettings {
        ServiceSettings {
            name: name.into(),
            listen,
            protocol: Protocol::Tcp,
            balance: Balance::RoundRobin,
            check: None,
            agent: None,
            backends,
            when_all_down: WhenAllDown::default(),
            when_down: WhenDown::default(),
            slow_start: Duration::ZERO,
            capacity: None,
            min_healthy: 0,
            timeouts: Timeouts::default(),
            max_connections: None,
            queue: Queue::default(),
            access: Access::default(),
            rate_limit: None,
            accept_proxy: Vec::new(),
            send_proxy: None,
            transparent: false,
            routes: Vec::new(),
            splice: true,
            quic: None,
        }
    }
}

impl BackendSettings {
    /// A backend of this weight, without limits.
    pub fn new(address: SocketAddr, weight: u32) -> BackendSettings {
        BackendSettings {
            address,
            weight,
            backup: false,
            added: false,
            max_connections: None,
            server_id: None,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            connect: Duration::from_secs(2),
            idle: Duration::from_secs(300),
            total: None,
            hello: Duration::from_secs(3),
        }
    }
}

impl Timeouts {
    /// What is usual for datagrams: DNS clients do not wait for answers any longer.
    pub fn of_udp(is_dns: bool) -> Timeouts {
        Timeouts { idle: Duration::from_secs(if is_dns { 5 } else { 60 }), ..Timeouts::default() }
    }
}

impl Default for Queue {
    fn default() -> Queue {
        Queue { length: 1_024, timeout: Duration::from_secs(2) }
    }
}

/// With more addresses and ports than this, a listen has sockets for its ports only.
const MOST_OWN_SOCKETS: u128 = 256;

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Listen {
        Listen { addresses: address.ip().into(), ports: address.port()..=address.port() }
    }
}

impl Listen {
    /// True for an address and port that are listened on; the unspecified address is all of them.
    pub fn contains(&self, vip: SocketAddr) -> bool {
        let (addresses, ip) = (&self.addresses, vip.ip());
        let is_any =
            addresses.addr().is_unspecified() && addresses.addr().is_ipv4() == ip.is_ipv4();
        (is_any || addresses.contains(&ip)) && self.ports.contains(&vip.port())
    }

    /// How many addresses there are, or as many as can be counted.
    pub fn address_count(&self) -> u128 {
        let bits = self.addresses.max_prefix_len() - self.addresses.prefix_len();
        1u128.checked_shl(bits.into()).unwrap_or(u128::MAX)
    }

    /// True when each address and port has sockets of its own; otherwise each port has some that
    /// are bound to no address.
    pub fn has_own_sockets(&self) -> bool {
        let ports = self.ports.len() as u128;
        self.address_count().saturating_mul(ports) <= MOST_OWN_SOCKETS || self.address_count() == 1
    }

    /// True when some address and port belong to both.
    pub fn overlaps(&self, other: &Listen) -> bool {
        let (one, two) = (&self.addresses, &other.addresses);
        (one.contains(two) || two.contains(one))
            && self.ports.start() <= other.ports.end()
            && other.ports.start() <= self.ports.end()
    }

    /// The one address it is, if it is one.
    pub fn single(&self) -> Option<SocketAddr> {
        let is_one = self.addresses.prefix_len() == self.addresses.max_prefix_len()
            && self.ports.start() == self.ports.end();
        is_one.then(|| SocketAddr::new(self.addresses.addr(), *self.ports.start()))
    }
}

impl Serialize for Listen {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_prefix = self.addresses.prefix_len() < self.addresses.max_prefix_len();
        match (self.addresses.addr(), is_prefix) {
            (IpAddr::V4(address), false) => write!(f, "{address}")?,
            (IpAddr::V6(address), false) => write!(f, "[{address}]")?,
            (IpAddr::V4(_), true) => write!(f, "{}", self.addresses)?,
            (IpAddr::V6(address), true) => {
                write!(f, "[{address}]/{}", self.addresses.prefix_len())?;
            }
        }
        match self.ports.start() == self.ports.end() {
            true => write!(f, ":{}", self.ports.start()),
            false => write!(f, ":{}-{}", self.ports.start(), self.ports.end()),
        }
    }
}
