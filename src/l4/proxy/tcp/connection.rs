//! A connection: what is known of its two sides, and the bytes between them.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;

use super::direction::{Direction, Outcome, Tools};
use super::side::{Side, reset};
use crate::l4::backend::Place;
use crate::l4::descriptors::Claim;
use crate::l4::ending::{Cause, Ending};
use crate::l4::flow::Flow;
use crate::l4::preface::proxy_header::Malformed;
use crate::l4::preface::{Awaited, Preface, Progress};
use crate::l4::service::Service;
use crate::l4::settings::ServiceSettings;

/// Bytes are added to a backend's counters when they are this many, and at the end.
const COUNT_BYTES: u64 = 64 * 1024;
/// A client waits no longer than this many connect timeouts for a backend.
const CONNECT_TIMEOUTS: u32 = 3;

/// Microseconds since the worker began.
pub type Time = u64;

/// A client's connection.
#[derive(Debug)]
pub struct Connection {
    /// Whose client it is.
    pub service: Arc<Service>,
    /// Who came, and to which address.
    pub flow: Flow,
    /// How far it has come.
    pub stage: Stage,
    /// The descriptors of its two sides.
    _claim: Claim,
    client: Side,
    /// Backends asked so far, modulo 64: an event of an earlier one is not taken for one of the
    /// last.
    pub attempt: u8,
    /// None until one is chosen.
    backend: Option<(Side, Place)>,
    to_backend: Direction,
    to_client: Direction,
    /// Of the bytes moved, those in the backend's counters already: to it, and from it.
    counted: (u64, u64),
    /// When it was accepted.
    began: Time,
    /// When bytes moved last, or the backend was asked.
    latest: Time,
    may_splice: bool,
    /// From when it was accepted to when it had a backend.
    connected_after: Option<Duration>,
    /// It stands in the worker's list of those that go on without an event.
    pub is_resting: bool,
}

/// How far a connection has come.
#[derive(Debug)]
pub enum Stage {
    /// It is not known yet whom the client stands for, or which service carries it.
    Hello(Box<Greeting>),
    /// Every place is taken.
    Waiting(Attempts),
    /// A backend has been asked, and has not answered.
    Connecting(Attempts),
    /// Bytes are passed on.
    Relaying,
}

/// What the client says before a backend is chosen.
#[derive(Debug)]
pub struct Greeting {
    /// So far.
    pub preface: Preface,
    /// It tells whom it stands for.
    pub is_proxied: bool,
    /// It must have been said by then.
    pub deadline: Time,
}

/// Attempts to connect to a backend.
#[derive(Debug, Default)]
pub struct Attempts {
    /// Backends that did not take the connection.
    pub tried: Vec<SocketAddr>,
    /// The present one, or the wait for a place, is given up then.
    pub deadline: Time,
    /// No other is made after that; none before the first.
    pub last: Option<Time>,
}

/// What is to be done with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It waits for an event.
    Wait,
    /// It goes on when others have had their turn.
    Rest,
    /// It is over.
    End(Cause),
}

impl Connection {
    /// One that was accepted just now.
    pub fn new(
        client: Side,
        claim: Claim,
        flow: Flow,
        service: Arc<Service>,
        now: Time,
    ) -> Connection {
        Connection {
            _claim: claim,
            service,
            flow,
            stage: Stage::Connecting(Attempts::default()),
            client,
            attempt: 0,
            backend: None,
            to_backend: Direction::default(),
            to_client: Direction::default(),
            counted: (0, 0),
            began: now,
            latest: now,
            may_splice: false,
            connected_after: None,
            is_resting: false,
        }
    }

    /// The client is heard before a backend is chosen.
    pub fn await_hello(&mut self, awaited: Awaited, deadline: Time) {
        let (preface, is_proxied) = (Preface::new(awaited), awaited.proxy_header);
        self.stage = Stage::Hello(Box::new(Greeting { preface, is_proxied, deadline }));
    }

    /// Hears what the client says first; an error is one that ends the connection.
    pub fn hear(&mut self, buffer: &mut [u8]) -> Result<Progress, Malformed> {
        let Stage::Hello(greeting) = &mut self.stage else { return Ok(Progress::Waits) };
        while self.client.readable {
            match self.client.read(buffer) {
                // Nothing more comes.
                Ok(0) => return greeting.preface.give_up().map(Progress::Done),
                Ok(read) => match greeting.preface.take(&buffer[..read])? {
                    Progress::Waits => {}
                    done => return Ok(done),
                },
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.client.readable = false,
                Err(_) => return Err(Malformed::Absent),
            }
        }
        Ok(Progress::Waits)
    }

    /// A backend is chosen from now on, which is given these bytes before others.
    pub fn go_to_backend(&mut self, bytes: Vec<u8>) {
        self.stage = Stage::Connecting(Attempts::default());
        if !bytes.is_empty() {
            self.to_backend.hold(bytes.into());
        }
    }

    /// Reads what the client has said already; false when it is gone.
    pub fn read_ahead(&mut self, tools: &mut Tools) -> bool {
        self.to_backend.read_ahead(&mut self.client, tools).is_ok()
    }

    /// The backend will be told something as soon as it has taken the connection.
    pub fn has_words(&self) -> bool {
        self.to_backend.holds()
    }

    /// A backend is asked from now on.
    pub fn ask(&mut self, backend: Side, place: Place, settings: &ServiceSettings, now: Time) {
        self.backend = Some((backend, place));
        self.may_splice = settings.splice;
        self.latest = now;
    }

    /// The backend that was asked last does not take the connection.
    pub fn give_up_backend(&mut self) {
        let Some((_, place)) = self.backend.take() else { return };
        place.failed();
        if let Stage::Connecting(attempts) = &mut self.stage {
            attempts.tried.push(place.backend().address);
        }
    }

    /// The backend has taken the connection.
    pub fn relay(&mut self, now: Time) {
        self.stage = Stage::Relaying;
        if let Some((_, place)) = &self.backend {
            place.connected(Duration::from_micros(now.saturating_sub(self.latest)));
        }
        self.connected_after = Some(Duration::from_micros(now.saturating_sub(self.began)));
        self.latest = now;
    }

    /// It waits for a place, at most until then.
    pub fn wait(&mut self, until: Time) {
        if let Stage::Connecting(attempts) = &mut self.stage {
            let attempts = Attempts { deadline: until, ..std::mem::take(attempts) };
            self.stage = Stage::Waiting(attempts);
        }
    }

    /// It waits no more. The time for attempts, of which waiting was none, begins anew.
    pub fn stop_waiting(&mut self) {
        if let Stage::Waiting(attempts) = &mut self.stage {
            let attempts = Attempts { last: None, ..std::mem::take(attempts) };
            self.stage = Stage::Connecting(attempts);
        }
    }

    /// The socket to the backend, and the place on it.
    pub fn backend(&self) -> Option<&(Side, Place)> {
        self.backend.as_ref()
    }

    /// The client's socket.
    pub fn client_socket(&self) -> &OwnedFd {
        &self.client.socket
    }

    /// Takes in what epoll tells of the client.
    pub fn note_client(&mut self, events: EventFlags) {
        self.client.note(events);
    }

    /// Takes in what epoll tells of the backend.
    pub fn note_backend(&mut self, events: EventFlags) {
        if let Some((side, _)) = &mut self.backend {
            side.note(events);
        }
    }

    /// True when the client does not take what is there for it, and epoll has not been told that
    /// this is of interest.
    pub fn needs_room(&self) -> bool {
        !self.client.writable && !self.client.asks_for_room
    }

    /// An event will tell of room to write to the client.
    pub fn ask_for_room(&mut self) {
        self.client.asks_for_room = true;
    }

    /// The client has broken the connection off.
    pub fn client_is_gone(&self) -> bool {
        self.client.has_failed
    }

    /// Moves what can be moved. The end of one direction is passed on, and the other goes on; when
    /// one side breaks, so does the other, after it was given what the broken one had sent.
    pub fn run(&mut self, now: Time, tools: &mut Tools) -> Next {
        let Some((backend, _)) = &mut self.backend else { return Next::Wait };
        let before = self.to_backend.moved + self.to_client.moved;
        let mut next = Next::Wait;
        for is_to_backend in [true, false] {
            let (direction, other, from, to) = match is_to_backend {
                true => (&mut self.to_backend, &self.to_client, &mut self.client, &mut *backend),
                false => (&mut self.to_client, &self.to_backend, &mut *backend, &mut self.client),
            };
            if direction.is_over {
                continue;
            }
            let mut outcome = direction.run(from, to, self.may_splice, tools);
            // Where both have ended, closing tells.
            if outcome == Outcome::Ended && !other.is_over && to.end().is_err() {
                outcome = Outcome::CannotWrite;
            }
            match outcome {
                Outcome::Waits => {}
                Outcome::Rests => next = Next::Rest,
                Outcome::Ended => direction.is_over = true,
                Outcome::CannotRead => {
                    next = Next::End(if is_to_backend { Cause::Client } else { Cause::Backend });
                    break;
                }
                Outcome::CannotWrite => {
                    // What it has said before it broke is still passed on.
                    direction.is_over = true;
                    direction.drop_held(tools);
                    to.has_failed = true;
                    to.readable = true;
                    next = Next::Rest;
                }
            }
        }
        // Of a side that broke, nothing is left but what is still to be read.
        if self.to_client.is_over && backend.has_failed {
            next = Next::End(Cause::Backend);
        } else if self.to_backend.is_over && self.client.has_failed {
            next = Next::End(Cause::Client);
        } else if self.to_backend.is_over && self.to_client.is_over {
            next = Next::End(Cause::Done);
        }
        if self.to_backend.moved + self.to_client.moved != before {
            self.latest = now;
            self.count(COUNT_BYTES);
        }
        next
    }

    /// When it is over for lack of movement, or of time, and what that is called then. Movement and
    /// settings may change it.
    pub fn deadline(&self, settings: &ServiceSettings) -> (Time, Cause) {
        match &self.stage {
            Stage::Hello(greeting) => (greeting.deadline, Cause::NoHello),
            Stage::Waiting(attempts) => (attempts.deadline, Cause::QueueTimeout),
            Stage::Connecting(attempts) => (attempts.deadline, Cause::NoBackend),
            Stage::Relaying => {
                let idle = self.latest.saturating_add(micros(settings.timeouts.idle));
                let total = settings.timeouts.total.map(micros);
                match total.map(|total| self.began.saturating_add(total)) {
                    Some(total) if total < idle => (total, Cause::TooLong),
                    _ => (idle, Cause::Idle),
                }
            }
        }
    }

    /// How it ends, for this cause.
    pub fn ending(&self, cause: Cause, now: Time) -> Ending {
        Ending {
            flow: self.flow,
            backend: self.backend.as_ref().map(|(_, place)| place.backend().address),
            cause,
            lasted: Duration::from_micros(now.saturating_sub(self.began)),
            connected_after: self.connected_after,
            bytes_to_backend: self.to_backend.moved,
            bytes_to_client: self.to_client.moved,
        }
    }

    /// Gives back what it has of the worker, and closes it: with a reset, unless all was said.
    pub fn close(mut self, cause: Cause, tools: &mut Tools) {
        self.count(0);
        self.to_backend.drop_held(tools);
        self.to_client.drop_held(tools);
        if cause != Cause::Done {
            reset(&self.client.socket);
            if let Some((backend, _)) = &self.backend {
                reset(&backend.socket);
            }
        }
    }

    /// Adds to the backend's counters, if there is more than `least` to add.
    fn count(&mut self, least: u64) {
        let Some((_, place)) = &self.backend else { return };
        let new = (self.to_backend.moved - self.counted.0, self.to_client.moved - self.counted.1);
        if new.0 + new.1 > least {
            place.backend().bytes_to_backend_total.fetch_add(new.0, Relaxed);
            place.backend().bytes_to_client_total.fetch_add(new.1, Relaxed);
            self.counted = (self.to_backend.moved, self.to_client.moved);
        }
    }
}

impl Attempts {
    /// Another is made, if there is time for one, which may last that long.
    pub fn begin(&mut self, limit: Duration, now: Time) -> bool {
        let all = now.saturating_add(micros(limit * CONNECT_TIMEOUTS));
        let last = *self.last.get_or_insert(all);
        self.deadline = last.min(now.saturating_add(micros(limit)));
        now < last
    }
}

/// A duration as the worker's clock counts.
pub fn micros(duration: Duration) -> Time {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
