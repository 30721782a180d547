//! The sockets of a service: of each address and port one a worker, between which the kernel spreads
//! what comes.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

use super::settings::{Listen, Protocol};
use crate::datagram;
use crate::handover::{Handed, Inherited, Name, Use};

/// Connections the kernel holds until they are accepted.
pub const BACKLOG: i32 = 4096;

/// Open sockets.
#[derive(Debug)]
pub struct Opened {
    /// Where, with the port that port 0 became.
    pub listen: Listen,
    /// For what.
    pub protocol: Protocol,
    /// Each worker's, non-blocking. TCP ones listen.
    pub workers: Vec<Vec<Socket>>,
}

impl Opened {
    /// Datagrams that the kernel has dropped as the sockets had no room for them, modulo 2^32.
    pub fn drops(&self) -> u32 {
        let sockets = self.workers.iter().flatten().filter(|_| self.protocol == Protocol::Udp);
        sockets.fold(0, |sum, socket| sum.wrapping_add(datagram::drops(socket).unwrap_or(0)))
    }

    /// Duplicates of the sockets, by the name under which another process finds them.
    pub fn handed(&self) -> io::Result<Vec<Handed>> {
        let name = name(&self.listen, self.protocol);
        let sockets = self.workers.iter().flatten();
        let handed =
            |socket: &Socket| Ok(Handed { name: name.clone(), socket: socket.try_clone()?.into() });
        sockets.map(handed).collect()
    }
}

/// Opens sockets for so many workers.
pub fn open(listen: &Listen, protocol: Protocol, workers: usize) -> io::Result<Opened> {
    let mut opened: Vec<Vec<Socket>> = (0..workers.max(1)).map(|_| Vec::new()).collect();
    let mut listen = listen.clone();
    for place in places(&listen)? {
        let first = bound(place, &listen, protocol)?;
        let address = first.local_addr()?.as_socket().unwrap_or(place);
        if listen.single().is_some() {
            // With the port that the system has chosen, if it had to.
            listen = address.into();
        }
        opened[0].push(first);
        for worker in &mut opened[1..] {
            worker.push(bound(address, &listen, protocol)?);
        }
    }
    Ok(Opened { listen, protocol, workers: opened })
}

/// What these sockets are called when they go from process to process.
pub fn name(listen: &Listen, protocol: Protocol) -> Name {
    let of = match protocol {
        Protocol::Tcp => Use::L4Tcp,
        Protocol::Udp => Use::L4Udp,
    };
    Name::new(of, listen)
}

/// Sockets that another process has opened, for so many workers; none if it has none there.
pub fn inherit(
    listen: &Listen,
    protocol: Protocol,
    workers: usize,
    inherited: &mut Inherited,
) -> Option<Opened> {
    let name = name(listen, protocol);
    let sockets: Vec<Socket> = match protocol {
        Protocol::Tcp => inherited.take_listeners(&name).into_iter().map(Socket::from).collect(),
        Protocol::Udp => inherited.take_udp(&name).into_iter().map(Socket::from).collect(),
    };
    if sockets.is_empty() {
        return None;
    }
    let address = |socket: &Socket| socket.local_addr().ok()?.as_socket();
    let addresses: Vec<SocketAddr> = sockets.iter().map(address).collect::<Option<_>>()?;
    let mut of_address: HashMap<SocketAddr, usize> = HashMap::new();
    addresses.iter().for_each(|address| *of_address.entry(*address).or_default() += 1);
    // Of each address, every worker has its part, in the order in which they came: sessions are
    // handed over with the number of their socket.
    let mut workers: Vec<Vec<Socket>> = (0..workers.max(1)).map(|_| Vec::new()).collect();
    let mut seen: HashMap<SocketAddr, usize> = HashMap::new();
    for (socket, address) in sockets.into_iter().zip(addresses) {
        let turn = seen.entry(address).or_default();
        let parts = of_address[&address].max(workers.len());
        let worker = *turn * workers.len() / parts;
        *turn += 1;
        workers[worker].push(socket);
    }
    Some(Opened { listen: listen.clone(), protocol, workers })
}

/// Fails when somebody listens there: sockets that share a port would not notice, and take some of
/// his connections.
pub fn check_free(listen: &Listen, protocol: Protocol) -> io::Result<()> {
    for place in places(listen)? {
        bind(&socket(place, protocol)?, place, listen)?;
    }
    Ok(())
}

/// True when sockets of both may be bound to the same address and port: those of a large prefix are
/// bound to all.
pub fn meet(one: &Listen, other: &Listen) -> bool {
    let is_bound_to_all =
        |listen: &Listen| listen.addresses.addr().is_unspecified() || !listen.has_own_sockets();
    let (ports, others) = (&one.ports, &other.ports);
    one.addresses.addr().is_ipv4() == other.addresses.addr().is_ipv4()
        && ports.start() <= others.end()
        && others.start() <= ports.end()
        && (is_bound_to_all(one) || is_bound_to_all(other) || one.overlaps(other))
}

/// Where sockets are bound. The kernel has none for a prefix: a few addresses get one each, and
/// for many there is one at all addresses, which is told at which of them somebody came. That one
/// comes last for the kernel: whoever listens at a single address gets what comes there.
fn places(listen: &Listen) -> io::Result<Vec<SocketAddr>> {
    let ports = listen.ports.clone();
    if *ports.start() == 0 && listen.single().is_none() {
        let message = "only a single address can have any free port";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let first = listen.addresses.network();
    let addresses: Vec<IpAddr> = match listen.has_own_sockets() {
        true => (0..listen.address_count()).map(|number| nth(first, number)).collect(),
        false if first.is_ipv4() => vec![Ipv4Addr::UNSPECIFIED.into()],
        false => vec![Ipv6Addr::UNSPECIFIED.into()],
    };
    let at = |address| ports.clone().map(move |port| SocketAddr::new(address, port));
    Ok(addresses.into_iter().flat_map(at).collect())
}

/// An address so many after the first; there is one.
fn nth(first: IpAddr, number: u128) -> IpAddr {
    match first {
        IpAddr::V4(first) => Ipv4Addr::from(first.to_bits().wrapping_add(number as u32)).into(),
        IpAddr::V6(first) => Ipv6Addr::from(first.to_bits().wrapping_add(number)).into(),
    }
}

fn bound(address: SocketAddr, listen: &Listen, protocol: Protocol) -> io::Result<Socket> {
    let socket = socket(address, protocol)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    bind(&socket, address, listen)?;
    if protocol == Protocol::Tcp {
        socket.listen(BACKLOG)?;
    }
    Ok(socket)
}

fn bind(socket: &Socket, address: SocketAddr, listen: &Listen) -> io::Result<()> {
    if listen.single().is_some() {
        return socket.bind(&address.into());
    }
    // The addresses of a prefix come by a route; most are no interface's.
    match address {
        SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) => socket.set_freebind_v6(true)?,
    }
    let bound = socket.bind(&address.into());
    bound.map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))
}

fn socket(address: SocketAddr, protocol: Protocol) -> io::Result<Socket> {
    let kind = match protocol {
        Protocol::Tcp => Type::STREAM,
        Protocol::Udp => Type::DGRAM,
    };
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    if protocol == Protocol::Tcp {
        // Connections of an earlier process that are not quite over do not matter. With UDP it
        // would let two share an address.
        socket.set_reuse_address(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}
