//! What a process still carries after another has taken over: told to whichever process serves, by
//! service and backend, over a socket that goes from each process to the next.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};
use tokio::net::UnixDatagram;

use super::Broken;

/// The most backends that one message tells of: it is always taken whole, or not at all.
const MOST_BACKENDS: usize = 256;
/// The longest message, in bytes; names of services are far shorter than what is left in it.
const MOST_BYTES: usize = 64 * 1024;
/// The most services that another process is believed to have.
const MOST_SERVICES: usize = 1 << 16;

/// Flows at a time, by service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flows {
    /// Only services that have some.
    pub services: BTreeMap<String, ServiceFlows>,
}

/// Those of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceFlows {
    /// All of them, those to backends that it has no more included.
    pub all: u64,
    /// Those to backends that it has; only backends that have some.
    pub backends: HashMap<SocketAddr, u64>,
}

/// What has changed of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Change {
    service: String,
    all: u64,
    /// Those that have changed; not more than [`MOST_BACKENDS`].
    backends: Vec<(SocketAddr, u64)>,
}

/// What the process that serves says to one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// The access log has been moved away, and is to be opened again.
    ReopenLogs,
}

/// The end of a process that carries flows, and tells how many.
#[derive(Debug)]
pub struct Teller {
    socket: UnixDatagram,
    told: Flows,
}

/// A process before this one that still carries flows.
#[derive(Debug)]
pub struct Elder {
    /// Its number.
    pub pid: u32,
    socket: UnixDatagram,
    known: Mutex<Flows>,
}

impl Flows {
    /// These, too.
    pub fn add(&mut self, other: &Flows) {
        for (service, flows) in &other.services {
            let sum = self.services.entry(service.clone()).or_default();
            sum.all = sum.all.saturating_add(flows.all);
            for (backend, flows) in &flows.backends {
                let sum = sum.backends.entry(*backend).or_default();
                *sum = sum.saturating_add(*flows);
            }
        }
    }

    /// What makes `before` the same as this.
    pub(super) fn changes_since(&self, before: &Flows) -> Vec<Change> {
        let none = ServiceFlows::default();
        let gone = before.services.keys().filter(|service| !self.services.contains_key(*service));
        let mut changes = Vec::new();
        for service in self.services.keys().chain(gone) {
            let now = self.services.get(service).unwrap_or(&none);
            let then = before.services.get(service).unwrap_or(&none);
            if now == then {
                continue;
            }
            let of = |flows: &ServiceFlows, backend| flows.backends.get(backend).copied();
            let known = now.backends.keys();
            let known = known.chain(then.backends.keys().filter(|one| of(now, one).is_none()));
            let other = known.filter(|one| of(now, one) != of(then, one));
            let backends: Vec<_> =
                other.map(|one| (*one, of(now, one).unwrap_or_default())).collect();
            let change = |backends| Change { service: service.clone(), all: now.all, backends };
            match backends.is_empty() {
                true => changes.push(change(backends)),
                false => {
                    changes.extend(backends.chunks(MOST_BACKENDS).map(|some| change(some.to_vec())))
                }
            }
        }
        changes
    }

    /// Takes a change over.
    pub(super) fn apply(&mut self, change: Change) {
        let Change { service, all, backends } = change;
        if self.services.len() >= MOST_SERVICES && !self.services.contains_key(&service) {
            return;
        }
        let flows = self.services.entry(service.clone()).or_default();
        flows.all = all;
        for (backend, count) in backends {
            match count {
                0 => _ = flows.backends.remove(&backend),
                _ => _ = flows.backends.insert(backend, count),
            }
        }
        if *flows == ServiceFlows::default() {
            self.services.remove(&service);
        }
    }
}

impl Teller {
    /// Both ends, for this process, which has these flows now.
    pub fn pair(now: Flows) -> io::Result<(Teller, Elder)> {
        // Of messages, whose other end is noticed when it closes.
        let (ours, theirs) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None)?;
        let elder = Elder::new(std::process::id(), theirs.into(), now.clone())?;
        Ok((Teller { socket: of_messages(ours.into())?, told: now }, elder))
    }

    /// Tells what has changed since this was last told. An error means that nobody listens any more.
    pub async fn tell(&mut self, now: &Flows) -> Result<(), Broken> {
        for change in now.changes_since(&self.told) {
            let message = serde_json::to_vec(&change).map_err(io::Error::other)?;
            self.socket.send(&message).await.map_err(Broken::of)?;
            self.told.apply(change);
        }
        Ok(())
    }

    /// What the process that serves wants next.
    pub async fn asked(&self) -> Result<Request, Broken> {
        let mut room = [0; 256];
        let length = self.socket.recv(&mut room).await.map_err(Broken::of)?;
        match serde_json::from_slice(&room[..length]) {
            _ if length == 0 => Err(Broken::Gone),
            Ok(request) => Ok(request),
            Err(error) => Err(Broken::Strange(error.to_string())),
        }
    }
}

impl Elder {
    /// The process of that number, at the other end of that socket.
    pub(super) fn new(pid: u32, socket: OwnedFd, known: Flows) -> io::Result<Elder> {
        Ok(Elder { pid, socket: of_messages(socket)?, known: Mutex::new(known) })
    }

    /// What it carries, as far as is known.
    pub fn flows(&self) -> Flows {
        self.known().clone()
    }

    /// Waits until it tells something, and takes over what it has told. An error means that it has
    /// gone, or cannot be understood: it counts for nothing then. Nothing is lost when this is
    /// dropped half-way.
    pub async fn hear(&self) -> Result<(), Broken> {
        let mut room = vec![0; MOST_BYTES];
        let length = self.socket.recv(&mut room).await.map_err(Broken::of)?;
        // From here on nothing is waited for.
        match serde_json::from_slice(&room[..length]) {
            _ if length == 0 => Err(Broken::Gone),
            Ok(change) => {
                self.known().apply(change);
                Ok(())
            }
            Err(error) => Err(Broken::Strange(error.to_string())),
        }
    }

    /// Wants something of it. What finds no room in the socket is not said.
    pub fn ask(&self, request: Request) {
        // A few plain words, which JSON has; and who has gone needs not be asked.
        let Ok(message) = serde_json::to_vec(&request) else { return };
        let _ = self.socket.try_send(&message);
    }

    /// Takes a change over that was told on another way.
    pub(super) fn learn(&self, change: Change) {
        self.known().apply(change);
    }

    fn known(&self) -> MutexGuard<'_, Flows> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for Elder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Of one end of a pair of sockets: what is sent arrives whole, and an empty message is its end.
fn of_messages(socket: OwnedFd) -> io::Result<UnixDatagram> {
    let socket = net::UnixDatagram::from(socket);
    socket.set_nonblocking(true)?;
    UnixDatagram::from_std(socket)
}

#[cfg(test)]
mod tests;
