//! DNS over TCP (RFC 7766): messages framed by their length, many on a connection, with limits on
//! how long and how many.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connections::{Connections, Place};
use super::transfers::{Slot, TransfersOut};
use super::{Announced, announce, unix_seconds};
use crate::answer::{
    Counters, Event, MAX_MESSAGE_BYTES, Outcome, Reply, Request, Transport, Verdict,
    announced_zone, respond_to_stream,
};
use crate::dns::Rcode;
use crate::ledger::Ledger;
use crate::snapshot::Published;
use crate::transfer::Outgoing;
use crate::transfer::outgoing::{Extent, TooLong};

/// How many connections the kernel completes before we accept them.
const BACKLOG: i32 = 1024;
/// How long to rest when no connection can be accepted, for instance as files run out.
const REST: Duration = Duration::from_millis(50);
/// How long a response may go on being sent once we stop.
const GRACE: Duration = Duration::from_secs(1);
/// The two bytes of length before each message.
const FRAME_BYTES: usize = 2;
/// What is kept for a connection between messages.
const BUFFER_BYTES: usize = 1024;
/// With so many bytes of responses waiting, they are sent before more queries are answered.
const FLUSH_BYTES: usize = 64 << 10;

/// Limits of DNS over TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpLimits {
    /// The most connections at a time.
    pub connections: usize,
    /// The most of them from one IPv4 address or one IPv6 /64.
    pub connections_per_client: usize,
    /// How long a new connection may take until its first message is complete.
    pub first_message: Duration,
    /// How long it may take from one message to the next.
    pub idle: Duration,
    /// How long the client may take to read the responses.
    pub write: Duration,
}

impl Default for TcpLimits {
    fn default() -> TcpLimits {
        TcpLimits {
            connections: 1000,
            connections_per_client: 200,
            first_message: Duration::from_secs(5),
            idle: Duration::from_secs(10),
            write: Duration::from_secs(10),
        }
    }
}

/// A listening socket.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A restart need not wait for the old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// What all connections share.
pub(super) struct Shared {
    pub(super) limits: TcpLimits,
    pub(super) connections: Arc<Connections>,
    pub(super) published: Published,
    pub(super) counters: Arc<Counters>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) announced: Option<Announced>,
    pub(super) transfers: Arc<TransfersOut>,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

/// Accepts connections until it is dropped.
pub(super) async fn accept(listener: tokio::net::TcpListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (place, is_crowded) = shared.connections.admit(peer.ip(), Instant::now());
                shared.counters.add(Event::TcpAccepted, 1);
                shared.counters.add(Event::TcpEvicted, is_crowded.into());
                let connection = Connection {
                    stream,
                    peer: peer.ip(),
                    place: Arc::new(place),
                    incoming: Vec::new(),
                    outgoing: Vec::new(),
                    shared: Arc::clone(&shared),
                };
                shared.tasks.spawn(connection.serve());
            }
            Err(error) => {
                tracing::debug!(%error, "cannot accept a TCP connection");
                if error.kind() == io::ErrorKind::ConnectionAborted {
                    continue;
                }
                // Most likely files ran out; a connection that is closed gives one back.
                let is_shed = shared.connections.shed();
                shared.counters.add(Event::TcpEvicted, is_shed.into());
                tokio::time::sleep(REST).await;
            }
        }
    }
}

struct Connection {
    stream: TcpStream,
    peer: IpAddr,
    place: Arc<Place>,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    shared: Arc<Shared>,
}

/// Why a connection ends; its client learns it by the end alone.
enum End {
    Closed,
    TimedOut,
}

impl Connection {
    async fn serve(mut self) {
        // The messages are small and complete.
        let _ = self.stream.set_nodelay(true);
        let shared = Arc::clone(&self.shared);
        let stopped = async {
            shared.stop.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        let place = Arc::clone(&self.place);
        let end = tokio::select! {
            end = self.converse() => end,
            () = place.evicted() => End::Closed,
            () = stopped => End::Closed,
        };
        if let End::TimedOut = end {
            shared.counters.add(Event::TcpTimedOut, 1);
        }
    }

    /// Reads, answers all that is complete, sends, and again. Responses are in the order of the
    /// queries.
    async fn converse(&mut self) -> End {
        let mut deadline = tokio::time::Instant::now() + self.shared.limits.first_message;
        loop {
            if let Err(end) = self.read(deadline).await {
                return end;
            }
            let mut done = 0;
            let mut was_answered = false;
            while let Some(message) = complete_message(&self.incoming[done..]) {
                let transfer = self.shared.answer(self.peer, message, &mut self.outgoing);
                done += FRAME_BYTES + message.len();
                if let Some((outgoing, slot)) = transfer {
                    was_answered = true;
                    if let Err(end) = self.transfer(*outgoing, slot).await {
                        return end;
                    }
                }
                if self.outgoing.len() >= FLUSH_BYTES {
                    was_answered = true;
                    if let Err(end) = self.flush().await {
                        return end;
                    }
                }
            }
            self.incoming.drain(..done);
            self.incoming.shrink_to(BUFFER_BYTES);
            was_answered |= !self.outgoing.is_empty();
            if was_answered {
                if let Err(end) = self.flush().await {
                    return end;
                }
                // Only answers buy time: bytes that lead to none do not keep a connection open.
                deadline = tokio::time::Instant::now() + self.shared.limits.idle;
                self.place.touch(Instant::now());
            }
        }
    }

    async fn read(&mut self, deadline: tokio::time::Instant) -> Result<(), End> {
        self.incoming.reserve(BUFFER_BYTES);
        tokio::select! {
            read = timeout_at(deadline, self.stream.read_buf(&mut self.incoming)) => match read {
                Err(_) => Err(End::TimedOut),
                Ok(Ok(1..)) => Ok(()),
                Ok(Ok(0) | Err(_)) => Err(End::Closed),
            },
            () = self.shared.stop.cancelled() => Err(End::Closed),
        }
    }

    /// Sends a zone, message by message, each written when the client has taken the one before.
    async fn transfer(&mut self, mut outgoing: Outgoing, slot: Slot) -> Result<(), End> {
        loop {
            self.flush().await?;
            self.place.touch(Instant::now());
            let written = ROOM.with_borrow_mut(|room| {
                let length = outgoing.message(unix_seconds(), room)?;
                if let Some(length) = length {
                    push_message(&room[..length], &mut self.outgoing);
                }
                Ok(length)
            });
            match written {
                Ok(Some(length)) => slot.sent(length),
                Ok(None) => {
                    slot.complete();
                    return Ok(());
                }
                Err(TooLong) => {
                    let origin = outgoing.contents().origin();
                    tracing::warn!(%origin, "a record is too long to be transferred");
                    return Err(End::Closed);
                }
            }
        }
    }

    async fn flush(&mut self) -> Result<(), End> {
        match timeout(self.shared.limits.write, self.stream.write_all(&self.outgoing)).await {
            Ok(Ok(())) => {
                self.outgoing.clear();
                self.outgoing.shrink_to(BUFFER_BYTES);
                Ok(())
            }
            Ok(Err(_)) => Err(End::Closed),
            Err(_) => Err(End::TimedOut),
        }
    }
}

/// The first message in `bytes`, without its length, if all of it is there.
fn complete_message(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.get(..u16::from_be_bytes(*length).into())
}

thread_local! {
    /// Room for the longest response; only what was written is copied to a connection.
    static ROOM: RefCell<Box<[u8]>> = RefCell::new(vec![0; MAX_MESSAGE_BYTES].into());
}

/// Appends a message, preceded by its length.
fn push_message(message: &[u8], outgoing: &mut Vec<u8>) {
    outgoing.extend_from_slice(&(message.len() as u16).to_be_bytes());
    outgoing.extend_from_slice(message);
}

impl Shared {
    /// Answers a message, and appends the response with its length; or gives the zone that is the
    /// response.
    fn answer(
        &self,
        peer: IpAddr,
        message: &[u8],
        outgoing: &mut Vec<u8>,
    ) -> Option<(Box<Outgoing>, Slot)> {
        let request = Request {
            source: peer,
            transport: Transport::Tcp,
            draw: fastrand::u64(..),
            unix_seconds: unix_seconds(),
        };
        let snapshot = self.published.load();
        ROOM.with_borrow_mut(|room| {
            let reply = respond_to_stream(&snapshot, &request, message, room);
            let (outcome, transfer) = match reply {
                Reply::Message(outcome) => (outcome, None),
                Reply::Transfer(outgoing, outcome) => self.begin(peer, outgoing, outcome, room),
            };
            self.counters.record_shared(Transport::Tcp, &outcome);
            if outcome.verdict == Verdict::Announced {
                announce(self.announced.as_ref(), announced_zone(message), peer);
            }
            if let Some(answered) = outcome.answered {
                self.ledger.write_shared(answered);
            }
            if outcome.length > 0 {
                push_message(&room[..outcome.length], outgoing);
            }
            transfer
        })
    }

    /// Gives a zone its place among those that go out. Without one the client is told SERVFAIL, not
    /// REFUSED: it is welcome to try again.
    fn begin(
        &self,
        peer: IpAddr,
        outgoing: Box<Outgoing>,
        outcome: Outcome,
        room: &mut [u8],
    ) -> (Outcome, Option<(Box<Outgoing>, Slot)>) {
        match self.transfers.begin(peer, outgoing.extent() == Extent::Full) {
            Some(slot) => (outcome, Some((outgoing, slot))),
            None => {
                let length = outgoing.refuse(Rcode::SERVFAIL, unix_seconds(), room);
                (Outcome { verdict: Verdict::ServFail, length, ..outcome }, None)
            }
        }
    }
}
