//! Connecting to a backend, without waiting for it.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::sockopt::set_tcp_quickack;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, connect, getsockname, socket_with,
};
use socket2::SockRef;

/// How a backend is asked.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// It will be told something as soon as it takes the connection.
    pub has_words: bool,
    /// It is to see this address as the source.
    pub source: Option<IpAddr>,
}

/// Why a backend was not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAsked {
    /// For want of something here: another would not be asked either.
    Here,
    /// No port is left from which to reach this one, which is not its fault.
    NoPort,
    /// It does not take connections.
    There,
}

/// Begins to connect to a backend. An event tells of how that goes.
pub fn dial(address: SocketAddr, manner: Manner) -> Result<OwnedFd, NotAsked> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, None);
    let socket = socket.map_err(|_| NotAsked::Here)?;
    if manner.has_words {
        // The last segment of the handshake goes with the first words.
        let _ = set_tcp_quickack(&socket, false);
    }
    if let Some(source) = manner.source {
        allow_any_source(&socket).map_err(|_| NotAsked::Here)?;
        bind(&socket, &SocketAddr::new(source, 0)).map_err(|_| NotAsked::NoPort)?;
    }
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(Errno::ADDRNOTAVAIL) => Err(NotAsked::NoPort),
        Err(error) if is_exhaustion(error) => Err(NotAsked::Here),
        Err(_) => Err(NotAsked::There),
    }
}

/// Lets a socket have an address that is not this machine's, which takes CAP_NET_ADMIN.
pub fn allow_any_source(socket: impl AsFd) -> std::io::Result<()> {
    // One flag for both families: an IPv6 socket takes it, too.
    SockRef::from(&socket).set_ip_transparent_v4(true)
}

/// True when descriptors or memory have run out.
pub fn is_exhaustion(error: Errno) -> bool {
    matches!(error, Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::NOSPC)
}

/// The ports that the system chooses from for the near end of a connection.
#[derive(Debug)]
pub struct NearPorts(RangeInclusive<u16>);

impl NearPorts {
    /// All, where the system does not say.
    pub fn read() -> NearPorts {
        let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
        let text = text.unwrap_or_default();
        let mut ports = text.split_whitespace().map(str::parse);
        match (ports.next(), ports.next()) {
            (Some(Ok(first)), Some(Ok(last))) => NearPorts(first..=last),
            _ => NearPorts(0..=u16::MAX),
        }
    }

    /// True for what TCP makes of a connection to a port of this machine at which nobody listens,
    /// when that port happens to be chosen as the near one too: a socket that is its own peer.
    pub fn are_to_itself(&self, socket: &OwnedFd, far: SocketAddr) -> bool {
        self.0.contains(&far.port())
            && getsockname(socket).is_ok_and(|near| SocketAddr::try_from(near) == Ok(far))
    }
}
