//! One of the two sockets of a connection, and what is known of it without asking.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll::EventFlags;
use rustix::net::sockopt::{set_socket_linger, set_tcp_nodelay};
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};

/// What a client is registered for: the kernel then tells of changes only.
pub const READING: EventFlags =
    EventFlags::IN.union(EventFlags::RDHUP).union(EventFlags::PRI).union(EventFlags::ET);
/// What a backend is registered for, and a client that has not taken everything at once.
pub const BOTH: EventFlags = READING.union(EventFlags::OUT);

/// A connected socket.
#[derive(Debug)]
pub struct Side {
    /// It does not block.
    pub socket: OwnedFd,
    /// There may be something to read.
    pub readable: bool,
    /// There may be room to write.
    pub writable: bool,
    /// The peer has said all; what it said may still be there to read.
    pub has_ended: bool,
    /// It broke; what came before may still be there to read.
    pub has_failed: bool,
    /// An event will tell of room to write.
    pub asks_for_room: bool,
    /// Urgent data came, at which a read stops short, and a splice does not go on at all.
    pub stops_short: bool,
    /// Small segments are sent at once.
    is_prompt: bool,
    has_written: bool,
}

impl Side {
    /// A client's, which has TCP_NODELAY from the socket that accepted it.
    pub fn client(socket: OwnedFd) -> Side {
        Side { is_prompt: true, ..Side::backend(socket) }
    }

    /// A backend's.
    pub fn backend(socket: OwnedFd) -> Side {
        Side {
            socket,
            readable: false,
            writable: true,
            has_ended: false,
            has_failed: false,
            asks_for_room: false,
            stops_short: false,
            is_prompt: false,
            has_written: false,
        }
    }

    /// Takes in what epoll tells.
    pub fn note(&mut self, events: EventFlags) {
        let any = |flags| events.intersects(flags);
        let ended = any(EventFlags::RDHUP | EventFlags::HUP);
        self.readable |= ended || any(EventFlags::IN | EventFlags::PRI | EventFlags::ERR);
        self.writable |= any(EventFlags::OUT);
        self.has_ended |= ended;
        self.has_failed |= any(EventFlags::ERR);
        self.stops_short |= any(EventFlags::PRI);
    }

    /// Reads; 0 at the end.
    pub fn read(&mut self, buffer: &mut [u8]) -> rustix::io::Result<usize> {
        let room = buffer.len();
        let (_, read) = recv(&self.socket, buffer, RecvFlags::empty())?;
        if read < room && !self.stops_short && !self.has_ended {
            // That was all; an event will tell of more.
            self.readable = false;
        }
        Ok(read)
    }

    /// True when the peer had said all before a read that came short, or not.
    pub fn is_read_out(&self, came_short: bool) -> bool {
        came_short && self.has_ended && !self.stops_short
    }

    /// Writes. With the last bytes, the kernel waits for the end that is told next, to send both in
    /// one segment.
    pub fn write(&mut self, bytes: &[u8], are_last: bool) -> rustix::io::Result<usize> {
        self.be_prompt();
        let more = if are_last { SendFlags::MORE } else { SendFlags::empty() };
        let written = send(&self.socket, bytes, SendFlags::NOSIGNAL | more)?;
        // Of the rest an event will tell.
        self.writable = written == bytes.len();
        Ok(written)
    }

    /// To be called before every write: bytes are passed on as they come, as who sent them has
    /// decided what belongs together. The first bytes are never held back, so that a connection of
    /// one question needs no call for it.
    pub fn be_prompt(&mut self) {
        if self.has_written && !self.is_prompt {
            let _ = set_tcp_nodelay(&self.socket, true);
            self.is_prompt = true;
        }
        self.has_written = true;
    }

    /// Tells the peer that this was all.
    pub fn end(&self) -> rustix::io::Result<()> {
        shutdown(&self.socket, Shutdown::Write)
    }
}

/// Lets the peer see a reset instead of an orderly end, when the socket is closed: an orderly end
/// would tell it that it has got everything.
pub fn reset(socket: impl AsFd) {
    let _ = set_socket_linger(socket, Some(Duration::ZERO));
}
