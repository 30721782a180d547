//! The sockets of a service, one a worker, between which the kernel spreads what comes.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};

use super::settings::{Listen, Protocol};
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
    let address = single(listen)?;
    let first = bound(address, protocol)?;
    let address = first.local_addr()?.as_socket().unwrap_or(address);
    let others = (1..workers).map(|_| bound(address, protocol));
    let sockets: io::Result<Vec<Socket>> = std::iter::once(Ok(first)).chain(others).collect();
    let workers = sockets?.into_iter().map(|socket| vec![socket]).collect();
    Ok(Opened { listen: address.into(), protocol, workers })
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
    // Of each address, every worker has its part.
    let mut workers: Vec<Vec<Socket>> = (0..workers.max(1)).map(|_| Vec::new()).collect();
    let mut seen: HashMap<SocketAddr, usize> = HashMap::new();
    for socket in sockets {
        let address = socket.local_addr().ok().and_then(|address| address.as_socket())?;
        let turn = seen.entry(address).or_default();
        let worker = *turn % workers.len();
        *turn += 1;
        workers[worker].push(socket);
    }
    Some(Opened { listen: listen.clone(), protocol, workers })
}

/// Fails when somebody listens there: sockets that share a port would not notice, and take some of
/// his connections.
pub fn check_free(listen: &Listen, protocol: Protocol) -> io::Result<()> {
    let address = single(listen)?;
    socket(address, protocol)?.bind(&address.into())
}

fn single(listen: &Listen) -> io::Result<SocketAddr> {
    listen
        .single()
        .ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "more than one address and port"))
}

fn bound(address: SocketAddr, protocol: Protocol) -> io::Result<Socket> {
    let socket = socket(address, protocol)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    if protocol == Protocol::Tcp {
        socket.listen(BACKLOG)?;
    }
    Ok(socket)
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
