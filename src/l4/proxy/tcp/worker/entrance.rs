//! Where connections come in: the sockets of a worker that accept.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::sockopt::set_tcp_nodelay;
use rustix::net::{SocketFlags, acceptfrom_with, getsockname};
use socket2::SockRef;

use super::super::Lease;
use super::super::connection::{Connection, micros};
use super::super::deaf::deafen;
use super::super::dial::is_exhaustion;
use super::super::side::{READING, Side, reset};
use super::super::slab::Key;
use super::super::token::Token;
use super::{ACCEPT_AGAIN, Worker};
use crate::l4::descriptors::{self, Claim};
use crate::l4::ending::{Cause, Ending};
use crate::l4::flow::Flow;
use crate::l4::listener::{BACKLOG, Opened};
use crate::l4::service::Service;
use crate::l4::settings::Protocol;

/// Connections accepted before what they bring is looked at.
pub const ACCEPTS: usize = 32;
/// A handshake takes no longer, or is one of few: its last segment has come by then.
const LEAVE: Duration = Duration::from_millis(500);
/// Of the files that can be open for what is carried, those that are still to say whom they stand
/// for, or whom they ask for, have one in so many, at most.
const PART_OF_HELLOS: u64 = 4;
/// A connection has so many.
const FILES: u64 = 2;
/// That it fails is said no more often than this.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// A socket that accepts.
#[derive(Debug)]
pub struct Entrance {
    /// Of all that were opened together.
    pub serving: u64,
    opened: Arc<Opened>,
    /// Which of this worker's sockets.
    index: usize,
    /// None where the socket is bound to no address: its connections tell.
    vip: Option<SocketAddr>,
    service: Arc<Service>,
    is_paused: bool,
    /// It takes no more than what has begun.
    is_left: bool,
}

impl Worker {
    pub(super) fn serve(&mut self, serving: u64, opened: &Arc<Opened>, service: &Arc<Service>) {
        let count = opened.workers.get(self.number).map_or(0, Vec::len);
        let part = PART_OF_HELLOS * FILES * opened.workers.len().max(1) as u64;
        let most = usize::try_from(descriptors::for_flows() / part).unwrap_or(usize::MAX);
        self.hellos.most = most.max(1);
        for index in 0..count {
            let socket = &opened.workers[self.number][index];
            let vip = getsockname(socket).ok().and_then(|vip| SocketAddr::try_from(vip).ok());
            let vip = vip.filter(|vip| !vip.ip().is_unspecified());
            // The sockets that it accepts have it from it.
            let _ = set_tcp_nodelay(socket, true);
            let key = self.entrances.insert(|_| Entrance {
                serving,
                opened: Arc::clone(opened),
                index,
                vip,
                service: Arc::clone(service),
                is_paused: false,
                is_left: false,
            });
            let data = Token::Entrance(key).data();
            if let Err(error) = epoll::add(&self.epoll, socket, data, epoll::EventFlags::IN) {
                tracing::error!(service = service.name, %error, "cannot accept connections");
                self.entrances.remove(key);
            }
        }
    }

    /// Closes an entrance a little later, so that handshakes that have begun come to their end; false
    /// where that cannot be.
    pub(super) fn leave(&mut self, key: Key) -> bool {
        let Some(entrance) = self.entrances.get_mut(key) else { return false };
        if deafen(entrance.socket(self.number)).is_err() {
            return false;
        }
        entrance.is_left = true;
        self.leaving.push_back((self.now + micros(LEAVE), key, Lease::new(&self.carried)));
        true
    }

    /// For their clients, those that wait to be accepted stand already: closing would reset them.
    pub(super) fn close_entrance(&mut self, key: Key) {
        self.accept(key, BACKLOG as usize);
        if let Some(entrance) = self.entrances.remove(key) {
            // Another process may have the socket too, and then it does not go by being closed.
            let _ = epoll::delete(&self.epoll, entrance.socket(self.number));
        }
    }

    /// Accepts at most so many connections that wait.
    pub(super) fn accept(&mut self, key: Key, most: usize) {
        for _ in 0..most {
            let Some(entrance) = self.entrances.get_mut(key) else { return };
            let Some(claim) = Claim::take(FILES) else { return self.pause(key, Errno::MFILE) };
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            match acceptfrom_with(entrance.socket(self.number), flags) {
                Ok((socket, client)) => {
                    if entrance.is_left {
                        // It has what the socket has.
                        let _ = SockRef::from(&socket).detach_filter();
                    }
                    let client = client.and_then(|client| SocketAddr::try_from(client).ok());
                    let at = match entrance.vip {
                        Some(vip) => Some((vip, Arc::clone(&entrance.service))),
                        None => self.owner(key, &socket),
                    };
                    let Some((client, (vip, service))) = client.zip(at) else { continue };
                    let flow = Flow { client, vip, protocol: Protocol::Tcp };
                    self.welcome(socket, claim, flow, service);
                }
                Err(Errno::AGAIN) => return,
                // It was gone before it was accepted, or the network has something to say of it
                // (accept(2)).
                Err(error) if is_of_one_client(error) => {}
                Err(error) => return self.pause(key, error),
            }
        }
    }

    /// Where a connection came to whose socket was bound to no address, and whose it is. The
    /// kernel spreads such connections over all sockets of a port, whatever services they are of.
    fn owner(&mut self, key: Key, socket: &OwnedFd) -> Option<(SocketAddr, Arc<Service>)> {
        let vip = SocketAddr::try_from(getsockname(socket).ok()?).ok()?;
        let is_owner = |one: &Entrance| one.vip.is_none() && one.opened.listen.contains(vip);
        let is_owner_still = |one: &Entrance| is_owner(one) && !one.is_left;
        let own = self.entrances.get_mut(key).filter(|own| is_owner(own));
        if let Some(own) = own {
            return Some((vip, Arc::clone(&own.service)));
        }
        let key = self.entrances.keys(is_owner_still).first().copied();
        let owner = key.and_then(|key| self.entrances.get_mut(key));
        if owner.is_none() {
            // At an address where nobody listens.
            reset(socket);
        }
        owner.map(|owner| (vip, Arc::clone(&owner.service)))
    }

    /// Accepts nothing for a while.
    fn pause(&mut self, key: Key, error: Errno) {
        let Some(entrance) = self.entrances.get_mut(key) else { return };
        if self.said.is_none_or(|said| said.elapsed() > SAY_AGAIN) {
            tracing::warn!(service = entrance.service.name, %error, "cannot accept connections");
            self.said = Some(Instant::now());
        }
        entrance.is_paused = true;
        let none = epoll::EventFlags::empty();
        let data = Token::Entrance(key).data();
        let _ = epoll::modify(&self.epoll, entrance.socket(self.number), data, none);
        self.accept_again = Some(self.now + micros(ACCEPT_AGAIN));
    }

    pub(super) fn resume(&mut self) {
        self.accept_again = None;
        for key in self.entrances.keys(|entrance| entrance.is_paused) {
            let Some(entrance) = self.entrances.get_mut(key) else { continue };
            entrance.is_paused = false;
            let data = Token::Entrance(key).data();
            let socket = entrance.socket(self.number);
            let _ = epoll::modify(&self.epoll, socket, data, epoll::EventFlags::IN);
        }
    }

    /// A client has come.
    fn welcome(&mut self, socket: OwnedFd, claim: Claim, flow: Flow, service: Arc<Service>) {
        let awaited = service.awaited(flow.client.ip());
        // A proxy's clients are asked for when it has said who they are.
        if !awaited.proxy_header
            && let Err(refusal) = service.admit(flow.client.ip(), self.instant())
        {
            // Before the client hears of it.
            let ending = Ending::at_once(flow, refusal.into());
            service.note_turned_away(&ending, self.instant());
            return reset(&socket);
        }
        service.accepted_total.fetch_add(1, Relaxed);
        let client = Side::client(socket);
        let now = self.now;
        let key = self.connections.insert(|_| Connection::new(client, claim, flow, service, now));
        self.carried.begin();
        let data = Token::Client(key).data();
        let Some(connection) = self.connections.get_mut(key) else { return };
        if epoll::add(&self.epoll, connection.client_socket(), data, READING).is_err() {
            return self.close(key, Cause::Exhausted);
        }
        self.begin(key, awaited);
    }
}

impl Entrance {
    fn socket(&self, worker: usize) -> &socket2::Socket {
        &self.opened.workers[worker][self.index]
    }
}

fn is_of_one_client(error: Errno) -> bool {
    !is_exhaustion(error) && !matches!(error, Errno::BADF | Errno::INVAL | Errno::NOTSOCK)
}
