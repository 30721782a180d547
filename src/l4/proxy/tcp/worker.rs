//! A worker's event loop: it accepts, asks backends, and moves bytes, all on one thread.

mod hello;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::sockopt::set_tcp_nodelay;
use rustix::net::{SocketFlags, acceptfrom_with, getsockname};

use super::Carried;
use super::connection::{Connection, Next, Stage, Time, micros};
use super::dial::{NearPorts, is_exhaustion};
use super::direction::{BUFFER_BYTES, Tools};
use super::lines::Lines;
use super::mailbox::{Mailbox, Order};
use super::pipes::Pipes;
use super::places::LOOK_FOR_PLACES;
use super::side::{BOTH, READING, Side, reset};
use super::slab::{Key, Slab};
use super::token::Token;
use super::wheel::Wheel;
use crate::l4::backend::{Backend, Place};
use crate::l4::descriptors::Claim;
use crate::l4::ending::Cause;
use crate::l4::flow::Flow;
use crate::l4::listener::{BACKLOG, Opened};
use crate::l4::service::Service;
use crate::l4::settings::{Protocol, WhenDown};

/// Events taken at a time.
const EVENTS: usize = 256;
/// Connections accepted before what they bring is looked at.
const ACCEPTS: usize = 32;
/// When descriptors have run out, accepting is tried again after this: some connections end.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
/// That it fails is said no more often than this.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// A thread's part of the plane.
#[derive(Debug)]
pub struct Worker {
    /// Which one it is.
    number: usize,
    pub(super) epoll: OwnedFd,
    pub(super) mailbox: Arc<Mailbox>,
    entrances: Slab<Entrance>,
    pub(super) connections: Slab<Connection>,
    carried: Arc<Carried>,
    /// A timer for each connection, in milliseconds.
    pub(super) wheel: Wheel,
    tools: Tools,
    /// Connections that go on without an event.
    resting: Vec<Key>,
    /// Of those that wait for a place.
    pub(super) lines: Arc<Lines>,
    /// Those for which there may be one.
    pub(super) seats: Vec<(Key, Arc<Service>)>,
    /// When the worker began.
    epoch: Instant,
    /// What the clock said last.
    pub(super) now: Time,
    /// When entrances that accept nothing for want of descriptors do so again.
    accept_again: Option<Time>,
    said: Option<Instant>,
    is_to_leave: bool,
    near_ports: NearPorts,
}

/// A socket that accepts.
#[derive(Debug)]
struct Entrance {
    /// Of all that were opened together.
    serving: u64,
    opened: Arc<Opened>,
    /// Which of this worker's sockets.
    index: usize,
    /// None where the socket is bound to no address: its connections tell.
    vip: Option<SocketAddr>,
    service: Arc<Service>,
    is_paused: bool,
}

impl Worker {
    /// The worker of that number, which is told what to do through the mailbox.
    pub fn new(
        number: usize,
        mailbox: Arc<Mailbox>,
        lines: Arc<Lines>,
        carried: Arc<Carried>,
    ) -> io::Result<Worker> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &mailbox.bell, Token::Bell.data(), epoll::EventFlags::IN)?;
        Ok(Worker {
            number,
            epoll,
            mailbox,
            entrances: Slab::new(),
            connections: Slab::new(),
            carried,
            wheel: Wheel::new(),
            tools: Tools { buffer: vec![0; BUFFER_BYTES].into(), pipes: Pipes::default() },
            resting: Vec::new(),
            lines,
            seats: Vec::new(),
            epoch: Instant::now(),
            now: 0,
            accept_again: None,
            said: None,
            is_to_leave: false,
            near_ports: NearPorts::read(),
        })
    }

    /// Works until it is told to leave and the last connection has ended.
    pub fn run(mut self) {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS);
        while !self.is_to_leave || !self.connections.is_empty() || !self.entrances.is_empty() {
            let timeout = self.timeout();
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => {
                    // None that a running epoll can give; but nothing may spin.
                    tracing::error!(%error, "the forwarder cannot wait for events");
                    std::thread::sleep(ACCEPT_AGAIN);
                }
            }
            self.now = micros(self.epoch.elapsed());
            for event in &events {
                let (data, flags) = (event.data, event.flags);
                match Token::read(data) {
                    Token::Bell => self.take_orders(),
                    Token::Entrance(key) => self.accept(key, ACCEPTS),
                    Token::Client(key) => self.hear_client(key, flags),
                    Token::Backend(key, attempt) => self.hear_backend(key, attempt, flags),
                }
            }
            for key in std::mem::take(&mut self.resting) {
                if let Some(connection) = self.connections.get_mut(key) {
                    connection.is_resting = false;
                    self.go_on(key);
                }
            }
            self.see_to_timers();
            while let Some((key, service)) = self.seats.pop() {
                self.seat(key, &service);
            }
        }
    }

    /// How long may be waited for events.
    fn timeout(&self) -> Option<Timespec> {
        if !self.resting.is_empty() {
            return Some(Timespec::default());
        }
        let timer = self.wheel.next().map(|tick| tick.saturating_mul(1_000));
        let next = [timer, self.accept_again].into_iter().flatten().min()?;
        let now = micros(self.epoch.elapsed());
        Timespec::try_from(Duration::from_micros(next.saturating_sub(now))).ok()
    }

    fn take_orders(&mut self) {
        for order in self.mailbox.take() {
            match order {
                Order::Serve(serving, opened, service) => self.serve(serving, &opened, &service),
                Order::Close(serving, _lease) => {
                    for key in self.entrances.keys(|entrance| entrance.serving == serving) {
                        self.close_entrance(key);
                    }
                }
                Order::Seat(key, service) => self.seats.push((key, service)),
                Order::WentDown(backend) => self.leave_backend(&backend),
                Order::Abort => {
                    for key in self.connections.keys(|_| true) {
                        self.close(key, Cause::Stopped);
                    }
                }
                Order::Leave => self.is_to_leave = true,
            }
        }
    }

    fn serve(&mut self, serving: u64, opened: &Arc<Opened>, service: &Arc<Service>) {
        let count = opened.workers.get(self.number).map_or(0, Vec::len);
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
            });
            let data = Token::Entrance(key).data();
            if let Err(error) = epoll::add(&self.epoll, socket, data, epoll::EventFlags::IN) {
                tracing::error!(service = service.name, %error, "cannot accept connections");
                self.entrances.remove(key);
            }
        }
    }

    /// For their clients, those that wait to be accepted stand already: closing would reset them.
    fn close_entrance(&mut self, key: Key) {
        self.accept(key, BACKLOG as usize);
        if let Some(entrance) = self.entrances.remove(key) {
            // Another process may have the socket too, and then it does not go by being closed.
            let _ = epoll::delete(&self.epoll, entrance.socket(self.number));
        }
    }

    /// Accepts at most so many connections that wait.
    fn accept(&mut self, key: Key, most: usize) {
        for _ in 0..most {
            let Some(entrance) = self.entrances.get_mut(key) else { return };
            let Some(claim) = Claim::take(2) else { return self.pause(key, Errno::MFILE) };
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            match acceptfrom_with(entrance.socket(self.number), flags) {
                Ok((socket, client)) => {
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
        let own = self.entrances.get_mut(key).filter(|own| is_owner(own));
        if let Some(own) = own {
            return Some((vip, Arc::clone(&own.service)));
        }
        let key = self.entrances.keys(is_owner).first().copied();
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

    fn resume(&mut self) {
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
        if !awaited.proxy_header && service.admit(flow.client.ip(), self.instant()).is_err() {
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

    /// The time of the worker's clock.
    fn instant(&self) -> Instant {
        self.epoch + Duration::from_micros(self.now)
    }

    fn hear_client(&mut self, key: Key, events: epoll::EventFlags) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.note_client(events);
        match connection.stage {
            Stage::Relaying => self.go_on(key),
            Stage::Hello(_) => self.hear_hello(key),
            _ if connection.client_is_gone() => self.close(key, Cause::Client),
            _ => {}
        }
    }

    fn hear_backend(&mut self, key: Key, attempt: u8, events: epoll::EventFlags) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.attempt != attempt {
            return;
        }
        if let Stage::Connecting(_) = connection.stage {
            if events.intersects(epoll::EventFlags::ERR | epoll::EventFlags::HUP)
                || connection.backend().is_some_and(|(side, place)| {
                    self.near_ports.are_to_itself(&side.socket, place.backend().address)
                })
            {
                return self.try_another(key);
            }
            connection.relay(self.now);
            let settings = connection.service.settings();
            let deadline = connection.deadline(&settings).0.div_ceil(1_000);
            // One that is later is set when the present one has gone off.
            if self.wheel.deadline(key.index).is_none_or(|set| deadline < set) {
                self.wheel.set(key.index, deadline);
            }
        }
        connection.note_backend(events);
        self.go_on(key);
    }

    fn try_another(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.give_up_backend();
        let service = Arc::clone(&connection.service);
        self.find_backend(key);
        self.call(&service);
    }

    fn go_on(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        match connection.run(self.now, &mut self.tools) {
            Next::Wait if connection.needs_room() => {
                let data = Token::Client(key).data();
                let asked = epoll::modify(&self.epoll, connection.client_socket(), data, BOTH);
                match asked {
                    Ok(()) => connection.ask_for_room(),
                    Err(_) => self.close(key, Cause::Exhausted),
                }
            }
            Next::Wait => {}
            Next::Rest if connection.is_resting => {}
            Next::Rest => {
                connection.is_resting = true;
                self.resting.push(key);
            }
            Next::End(cause) => self.close(key, cause),
        }
    }

    fn see_to_timers(&mut self) {
        if self.accept_again.is_some_and(|at| at <= self.now) {
            self.resume();
        }
        while let Some(index) = self.wheel.expired(self.now / 1_000) {
            let Some(key) = self.connections.key_at(index) else { continue };
            let Some(connection) = self.connections.get_mut(key) else { continue };
            let (deadline, cause) = connection.deadline(&connection.service.settings());
            match connection.stage {
                Stage::Hello(_) if deadline <= self.now => self.end_hello(key),
                Stage::Connecting(_) if deadline <= self.now => self.try_another(key),
                _ if deadline <= self.now => self.close(key, cause),
                Stage::Waiting(_) => {
                    let service = Arc::clone(&connection.service);
                    let tick = self.now / 1_000 + LOOK_FOR_PLACES;
                    self.wheel.set(index, tick.min(deadline.div_ceil(1_000)));
                    if self.lines.first(&service).is_some_and(|first| first.is(&self.ticket(key))) {
                        self.seats.push((key, service));
                    }
                }
                _ => self.wheel.set(index, deadline.div_ceil(1_000)),
            }
        }
    }

    /// A backend is down: those that ask it ask another, and those that it has end, if their service
    /// wants that.
    fn leave_backend(&mut self, backend: &Arc<Backend>) {
        let is_there = |connection: &Connection| {
            connection.backend().is_some_and(|(_, place)| Arc::ptr_eq(place.backend(), backend))
        };
        for key in self.connections.keys(is_there) {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            match connection.stage {
                Stage::Connecting(_) => self.try_another(key),
                _ if connection.service.settings().when_down == WhenDown::Reset => {
                    self.close(key, Cause::BackendDown);
                }
                _ => {}
            }
        }
    }

    /// It is over.
    pub fn close(&mut self, key: Key, cause: Cause) {
        let Some(connection) = self.connections.remove(key) else { return };
        self.wheel.clear(key.index);
        let service = Arc::clone(&connection.service);
        if matches!(connection.stage, Stage::Waiting(_)) {
            self.lines.leave(&service, &self.ticket(key));
        }
        // Before the client hears of it.
        service.note_end(&connection.ending(cause, self.now));
        connection.close(cause, &mut self.tools);
        self.carried.end();
        self.call(&service);
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
