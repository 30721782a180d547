//! A session: a client at a VIP, and the socket by which a backend knows it.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use socket2::{Domain, Protocol, Socket, Type};

use crate::datagram::{self, Envelope};
use crate::l4::backend::{Backend, Place};
use crate::l4::descriptors::Claim;
use crate::l4::ending::{Cause, Ending};
use crate::l4::flow::Flow;

/// When no other backend took a session, that is tried again after this.
const MOVE_AGAIN: Duration = Duration::from_secs(1);
/// So many backends that refuse a session are remembered.
const REMEMBERED: usize = 4;
/// A backend that is in the settings no more, and does not answer for so long, is given up.
const SILENT: Duration = Duration::from_secs(3);

/// One session.
#[derive(Debug)]
pub struct Session {
    /// Whose.
    pub flow: Flow,
    /// From the VIP to the client.
    pub to_client: Envelope,
    /// The entrance by which the client came, and replies go.
    pub entrance: u32,
    /// Connected to the backend.
    pub socket: UdpSocket,
    /// The right to have it open; held, no more.
    _claim: Claim,
    /// On the backend.
    pub place: Place,
    /// What QUIC connection ids call the backend.
    pub server_id: Option<Box<[u8]>>,
    /// The backend is in the settings no more.
    pub is_orphan: bool,
    /// So many datagrams are asked for when the backend has sent something.
    pub window: u8,
    /// Bytes from the client.
    pub bytes_to_backend: u64,
    /// Bytes to the client.
    pub bytes_to_client: u64,
    /// What of these has been counted for the backend.
    counted: (u64, u64),
    /// When its first datagram came.
    began: Instant,
    /// When it came to this backend.
    since: Instant,
    /// When a backend had sent something for the first time, since it began.
    connected_after: Option<Duration>,
    /// The backend has sent something.
    is_answered: bool,
    /// Since when the client has asked and not been answered.
    asked: Option<Instant>,
    /// These have refused it since then.
    refused: ArrayVec<SocketAddr, REMEMBERED>,
    /// It is not moved before then.
    stays_until: Instant,
}

/// A socket that is connected to a backend. One for QUIC sends nothing in fragments.
pub fn connect(backend: SocketAddr, is_quic: bool) -> io::Result<UdpSocket> {
    let kind = Type::DGRAM.nonblocking();
    let socket = Socket::new(Domain::for_address(backend), kind, Some(Protocol::UDP))?;
    if is_quic {
        datagram::never_fragment(&socket, backend.is_ipv6())?;
    }
    socket.connect(&backend.into())?;
    Ok(socket.into())
}

/// How far a session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// When its first datagram came.
    pub began: Instant,
    /// Its backend has sent something.
    pub is_answered: bool,
    /// Bytes from the client.
    pub bytes_to_backend: u64,
    /// Bytes to the client.
    pub bytes_to_client: u64,
}

impl Session {
    /// Begins now.
    pub fn new(
        flow: Flow,
        to_client: Envelope,
        entrance: u32,
        (socket, place): (UdpSocket, Place),
        claim: Claim,
        now: Instant,
    ) -> Session {
        Session {
            flow,
            to_client,
            entrance,
            socket,
            _claim: claim,
            place,
            server_id: None,
            is_orphan: false,
            window: 1,
            bytes_to_backend: 0,
            bytes_to_client: 0,
            counted: (0, 0),
            began: now,
            since: now,
            connected_after: None,
            is_answered: false,
            asked: None,
            refused: ArrayVec::new(),
            stays_until: now,
        }
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        Progress {
            began: self.began,
            is_answered: self.is_answered,
            bytes_to_backend: self.bytes_to_backend,
            bytes_to_client: self.bytes_to_client,
        }
    }

    /// It has come as far elsewhere, where that has been counted.
    pub fn go_on(&mut self, progress: Progress) {
        (self.began, self.is_answered) = (progress.began, progress.is_answered);
        self.bytes_to_backend = progress.bytes_to_backend;
        self.bytes_to_client = progress.bytes_to_client;
        self.counted = (self.bytes_to_backend, self.bytes_to_client);
    }

    /// The client has sent something.
    pub fn note_question(&mut self, bytes: usize, now: Instant) {
        self.bytes_to_backend += bytes as u64;
        if self.asked.is_none() {
            self.asked = Some(now);
        }
    }

    /// The backend has sent something.
    pub fn note_answer(&mut self, bytes: usize, now: Instant) {
        self.bytes_to_client += bytes as u64;
        self.asked = None;
        if !self.is_answered {
            self.is_answered = true;
            self.place.connected(now.saturating_duration_since(self.since));
            self.connected_after.get_or_insert(now.saturating_duration_since(self.began));
            self.refused.clear();
        }
    }

    /// The network says that nobody listens there.
    pub fn note_refusal(&mut self) {
        self.place.failed();
        let address = self.place.backend().address;
        if !self.refused.contains(&address) {
            // With this many, the first may be asked again.
            if self.refused.is_full() {
                self.refused.remove(0);
            }
            self.refused.push(address);
        }
    }

    /// True when it should be with another backend: this one is down, or is there no more.
    pub fn should_move(&self, now: Instant) -> bool {
        let is_lost = !self.place.backend().is_up() || self.is_orphan && self.is_unanswered(now);
        is_lost && self.may_move(now)
    }

    /// False for a while after it could not be moved.
    pub fn may_move(&self, now: Instant) -> bool {
        now >= self.stays_until
    }

    /// No other backend takes it.
    pub fn stay(&mut self, now: Instant) {
        self.refused.clear();
        self.stays_until = now + MOVE_AGAIN;
    }

    /// The backends that a new one should not be.
    pub fn tried(&self) -> ArrayVec<SocketAddr, { REMEMBERED + 1 }> {
        let mut tried = ArrayVec::from_iter(self.refused.iter().copied());
        let address = self.place.backend().address;
        if !tried.contains(&address) {
            tried.push(address);
        }
        tried
    }

    /// It goes on with another backend.
    pub fn move_to(&mut self, socket: UdpSocket, place: Place, now: Instant) {
        self.count();
        (self.socket, self.place) = (socket, place);
        (self.since, self.is_answered, self.asked) = (now, false, None);
        (self.is_orphan, self.server_id) = (false, None);
    }

    /// Its backend may have been taken away and have come back: what is known of it is known there.
    pub fn follow(&mut self, backend: Arc<Backend>) {
        if !Arc::ptr_eq(&backend, self.place.backend()) {
            self.count();
            self.place = Place::take_always(backend);
        }
    }

    /// Adds to the backend's numbers what has moved since the last time.
    pub fn count(&mut self) {
        let (to_backend, to_client) = (self.bytes_to_backend, self.bytes_to_client);
        let (counted_to_backend, counted_to_client) = self.counted;
        let backend = self.place.backend();
        backend.bytes_to_backend_total.fetch_add(to_backend - counted_to_backend, Relaxed);
        backend.bytes_to_client_total.fetch_add(to_client - counted_to_client, Relaxed);
        self.counted = (to_backend, to_client);
    }

    /// What there was of it, when it ends now.
    pub fn ending(&self, cause: Cause, now: Instant) -> Ending {
        Ending {
            flow: self.flow,
            backend: Some(self.place.backend().address),
            cause,
            lasted: now.saturating_duration_since(self.began),
            connected_after: self.connected_after,
            bytes_to_backend: self.bytes_to_backend,
            bytes_to_client: self.bytes_to_client,
        }
    }

    fn is_unanswered(&self, now: Instant) -> bool {
        self.asked.is_some_and(|asked| now.saturating_duration_since(asked) >= SILENT)
    }
}
