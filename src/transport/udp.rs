//! DNS over UDP: a thread a core, each with a socket of its own on the same address, between which
//! the kernel spreads the clients (SO_REUSEPORT).

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::Cache;
use arrayvec::ArrayVec;
use socket2::{Domain, Protocol, Socket, Type};

use super::batch::{BATCH, Batch};
use super::{Announced, announce, unix_seconds};
use crate::answer::{Asked, Counters, Event, Outcome, Request, Transport, Verdict, announced_zone};
use crate::datagram;
use crate::dns::query::NameRoom;
use crate::ledger::Ledger;
use crate::snapshot::Published;

/// How long a worker waits before it looks whether it shall stop.
const WAKE_UP: Duration = Duration::from_millis(200);
/// How long a worker rests after an error that may come again at once.
const REST: Duration = Duration::from_millis(20);
/// Room for a burst, in bytes; the kernel gives less if its limit is lower.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// A socket on an address that others may share.
pub(super) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_read_timeout(Some(WAKE_UP))?;
    let socket = UdpSocket::from(socket);
    datagram::ignore_path_mtu(&socket, address.is_ipv6())?;
    if address.ip().is_unspecified() {
        datagram::receive_destinations(&socket, address.is_ipv6())?;
    }
    Ok(socket)
}

/// A thread that answers what arrives at one socket.
pub(super) struct Worker {
    pub(super) socket: Arc<UdpSocket>,
    /// All addresses that we listen on.
    pub(super) ours: Arc<[SocketAddr]>,
    pub(super) published: Published,
    pub(super) counters: Arc<Counters>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) announced: Option<Announced>,
    pub(super) stop: Arc<AtomicBool>,
}

impl Worker {
    /// Answers until it is told to stop.
    pub(super) fn run(self) {
        // A socket whose thread died would go on receiving its share of the queries.
        while catch_unwind(AssertUnwindSafe(|| self.answer_until_stopped())).is_err() {
            tracing::error!("a UDP worker panicked and begins anew; please report this");
        }
    }

    fn answer_until_stopped(&self) {
        let mut batch = Batch::new();
        let mut rooms: Box<[NameRoom]> = (0..BATCH).map(|_| NameRoom::new()).collect();
        let mut published = Cache::new(&*self.published);
        let mut lots = fastrand::Rng::new();
        while !self.stop.load(Ordering::Relaxed) {
            let received = batch.receive(&self.socket).unwrap_or_else(|error| {
                tracing::warn!(%error, "cannot receive from a UDP socket");
                std::thread::sleep(REST);
                0
            });
            let snapshot = published.load();
            let unix_seconds = unix_seconds();
            let mut asked: ArrayVec<_, BATCH> = ArrayVec::new();
            for (index, room) in rooms.iter_mut().enumerate().take(received) {
                let (slot, _) = batch.slot(index);
                let (source, destination) = (slot.envelope.source(), slot.envelope.destination());
                if self.is_forged(source, destination) {
                    self.counters.record(Transport::Udp, &Outcome::dropped(Verdict::DroppedSource));
                    continue;
                }
                let request = Request {
                    source: source.ip(),
                    transport: Transport::Udp,
                    draw: lots.u64(..),
                    unix_seconds,
                };
                asked.push((index, Asked::read(snapshot, &request, slot.packet(), room)));
            }
            for step in 0..Asked::FETCHES {
                asked.iter_mut().for_each(|(_, asked)| asked.fetch(step));
            }
            for (index, asked) in asked {
                let (slot, out) = batch.slot(index);
                let outcome = asked.answer(slot.packet(), out);
                self.counters.record(Transport::Udp, &outcome);
                if outcome.verdict == Verdict::Announced {
                    let zone = announced_zone(slot.packet());
                    announce(self.announced.as_ref(), zone, slot.envelope.source().ip());
                }
                if let Some(answered) = outcome.answered {
                    self.ledger.write(answered);
                }
                if outcome.length > 0 {
                    batch.reply(index, outcome.length);
                }
            }
            let dropped = batch.send(&self.socket);
            if dropped > 0 {
                self.counters.add(Event::SendFailed, dropped);
            }
        }
    }

    /// True when a reply would reach nobody (port 0), or ourselves.
    pub(super) fn is_forged(&self, source: SocketAddr, destination: Option<IpAddr>) -> bool {
        let is_ours = |ours: &SocketAddr| {
            ours.port() == source.port()
                && (ours.ip() == source.ip()
                    || (ours.ip().is_unspecified() && destination == Some(source.ip())))
        };
        source.port() == 0 || self.ours.iter().any(is_ours)
    }
}
