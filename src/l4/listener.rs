//! The sockets of a service, one a worker, between which the kernel spreads what comes.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};

use super::settings::{Listen, Protocol};

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
