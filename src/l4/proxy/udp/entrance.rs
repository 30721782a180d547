//! An entrance: a socket at which clients of a service arrive, and from which they are answered.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Instant;

use socket2::Socket;

use crate::datagram::{self, Envelope};
use crate::l4::listener::Opened;

/// Room for a burst, in bytes; the kernel gives less if its limit is lower.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;
/// The fewest datagrams that are asked for.
const MIN_WINDOW: usize = 8;

/// Sets up sockets for datagrams.
pub fn prepare(opened: &Opened, is_quic: bool) -> io::Result<()> {
    for socket in opened.workers.iter().flatten() {
        socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
        socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
        let bound = local(socket)?;
        if bound.ip().is_unspecified() {
            datagram::receive_destinations(socket, bound.is_ipv6())?;
        }
        if is_quic {
            datagram::never_fragment(socket, bound.is_ipv6())?;
        }
    }
    Ok(())
}

fn local(socket: &Socket) -> io::Result<SocketAddr> {
    let unspecific = || io::Error::new(io::ErrorKind::Unsupported, "not an internet socket");
    socket.local_addr()?.as_socket().ok_or_else(unspecific)
}

/// One socket of a worker's.
#[derive(Debug)]
pub struct Entrance {
    /// By which serving it came.
    pub id: u64,
    /// The service, among those that the worker carries.
    pub carried: u32,
    /// So many datagrams are asked for next.
    pub window: usize,
    /// It is left, and closed then at the latest.
    pub leaves: Option<Instant>,
    is_outlet: bool,
    opened: Arc<Opened>,
    /// Which socket of these.
    at: (usize, usize),
    /// Where it is bound.
    bound: SocketAddr,
}

impl Entrance {
    /// The sockets of one worker. One that has none, since there were more workers before, gets
    /// those of another as outlets for the replies to its sessions.
    pub fn of(
        opened: &Arc<Opened>,
        worker: usize,
        id: u64,
        carried: u32,
    ) -> io::Result<Vec<Entrance>> {
        let whose = worker % opened.workers.len().max(1);
        let sockets = opened.workers.get(whose).into_iter().flatten().enumerate();
        let entrance = |(number, socket)| {
            let (opened, at) = (Arc::clone(opened), (whose, number));
            Ok(Entrance {
                id,
                carried,
                window: MIN_WINDOW,
                leaves: None,
                is_outlet: worker != whose,
                opened,
                at,
                bound: local(socket)?,
            })
        };
        sockets.map(entrance).collect()
    }

    /// True for one by which nobody comes: another worker reads from it.
    pub fn is_outlet(&self) -> bool {
        self.is_outlet
    }

    /// Which of all sockets that were opened together it is.
    pub fn position(&self) -> usize {
        let (worker, number) = self.at;
        self.opened.workers.iter().take(worker).map(Vec::len).sum::<usize>() + number
    }

    /// To which address a datagram came; none if that cannot be told.
    pub fn vip(&self, envelope: &mut Envelope) -> Option<SocketAddr> {
        if !self.is_wildcard() {
            return Some(self.bound);
        }
        Some(SocketAddr::new(envelope.destination()?, self.bound.port()))
    }

    /// Whether what comes to that address is for this entrance's service: sockets that are bound to
    /// no address share what comes to their port, whatever services they are of.
    pub fn is_for(&self, vip: SocketAddr) -> bool {
        let is_near = self.is_wildcard() && self.bound.port() == vip.port();
        self.bound == vip || is_near && self.opened.listen.contains(vip)
    }

    /// True when a client at that address, who asks this VIP, would be ourselves: a source is easily
    /// forged, and backends that answer each other by us would never end.
    pub fn is_ourselves(&self, client: SocketAddr, vip: SocketAddr) -> bool {
        let is_here = match self.is_wildcard() {
            false => client.ip() == self.bound.ip(),
            true => client.ip() == vip.ip() || self.opened.listen.contains(client),
        };
        client.port() == self.bound.port() && is_here
    }

    /// What replies leave from where the socket does not say it.
    pub fn leave_from(&self, vip: SocketAddr) -> Option<IpAddr> {
        self.is_wildcard().then_some(vip.ip())
    }

    /// True when what came by that one, which is left, may go on by this one.
    pub fn inherits(&self, other: &Entrance) -> bool {
        self.id != other.id
            && self.leaves.is_none()
            && self.carried == other.carried
            && self.bound == other.bound
            && self.opened.listen == other.opened.listen
    }

    /// So many came of those that were asked for.
    pub fn note_received(&mut self, received: usize, most: usize) {
        self.window = (2 * received).clamp(MIN_WINDOW, most);
    }

    fn is_wildcard(&self) -> bool {
        self.bound.ip().is_unspecified()
    }
}

impl AsFd for Entrance {
    fn as_fd(&self) -> BorrowedFd<'_> {
        let (worker, number) = self.at;
        self.opened.workers[worker][number].as_fd()
    }
}
