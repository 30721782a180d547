//! A worker's event loop: it accepts, asks backends, and moves bytes, all on one thread.

mod entrance;
mod hello;

use std::collections::{HashSet, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use super::connection::{Connection, Next, Stage, Time, micros};
use super::dial::NearPorts;
use super::direction::{BUFFER_BYTES, Tools};
use super::hellos::Hellos;
use super::lines::Lines;
use super::mailbox::{Mailbox, Order};
use super::pipes::Pipes;
use super::places::LOOK_FOR_PLACES;
use super::side::BOTH;
use super::slab::{Key, Slab};
use super::token::Token;
use super::wheel::Wheel;
use super::{Carried, Lease};
use crate::l4::backend::{Backend, Identity};
use crate::l4::ending::Cause;
use crate::l4::service::Service;
use crate::l4::settings::WhenDown;
use entrance::{ACCEPTS, Entrance};

/// Events taken at a time.
const EVENTS: usize = 256;
/// When descriptors have run out, accepting is tried again after this: some connections end.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// A thread's part of the plane.
#[derive(Debug)]
pub struct Worker {
    /// Which one it is.
    number: usize,
    pub(super) epoll: OwnedFd,
    pub(super) mailbox: Arc<Mailbox>,
    entrances: Slab<Entrance>,
    /// Those that are left, each until when; each counts as a connection.
    leaving: VecDeque<(Time, Key, Lease)>,
    pub(super) connections: Slab<Connection>,
    hellos: Hellos,
    carried: Arc<Carried>,
    /// A timer for each connection, in milliseconds.
    pub(super) wheel: Wheel,
    tools: Tools,
    /// Connections that go on without an event.
    resting: Vec<Key>,
    /// Those whose turn it is; empty between turns.
    rested: Vec<Key>,
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
    /// It panicked, and has not begun anew.
    is_broken: bool,
    near_ports: NearPorts,
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
            leaving: VecDeque::new(),
            connections: Slab::new(),
            hellos: Hellos::new(),
            carried,
            wheel: Wheel::new(),
            tools: Tools { buffer: vec![0; BUFFER_BYTES].into(), pipes: Pipes::default() },
            resting: Vec::new(),
            rested: Vec::new(),
            lines,
            seats: Vec::new(),
            epoch: Instant::now(),
            now: 0,
            accept_again: None,
            said: None,
            is_to_leave: false,
            is_broken: false,
            near_ports: NearPorts::read(),
        })
    }

    /// Works until it is told to leave and the last connection has ended.
    pub fn run(mut self) {
        // A socket whose thread died would go on being given its share of the connections.
        while catch_unwind(AssertUnwindSafe(|| self.work_until_left())).is_err() {
            tracing::error!(
                "a TCP worker of the forwarder panicked and begins anew; please report this"
            );
            self.is_broken = true;
        }
    }

    fn work_until_left(&mut self) {
        if std::mem::take(&mut self.is_broken) {
            self.begin_anew();
        }
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
            std::mem::swap(&mut self.resting, &mut self.rested);
            while let Some(key) = self.rested.pop() {
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

    /// Ends all connections: nobody knows how far those have come that were being carried.
    fn begin_anew(&mut self) {
        self.wheel = Wheel::new();
        self.resting.clear();
        self.rested.clear();
        self.seats.clear();
        for key in self.connections.keys(|_| true) {
            self.close(key, Cause::Stopped);
        }
        // One that was in use may not have been given back.
        self.tools.pipes = Pipes::default();
    }

    /// How long may be waited for events.
    fn timeout(&self) -> Option<Timespec> {
        if !self.resting.is_empty() {
            return Some(Timespec::default());
        }
        let timer = self.wheel.next().map(|tick| tick.saturating_mul(1_000));
        let left = self.leaving.front().map(|(until, ..)| *until);
        let next = [timer, self.accept_again, left].into_iter().flatten().min()?;
        let now = micros(self.epoch.elapsed());
        Timespec::try_from(Duration::from_micros(next.saturating_sub(now))).ok()
    }

    fn take_orders(&mut self) {
        for order in self.mailbox.take() {
            match order {
                Order::Serve(serving, opened, service) => self.serve(serving, &opened, &service),
                Order::Close(serving, is_awaiting, _lease) => {
                    for key in self.entrances.keys(|entrance| entrance.serving == serving) {
                        if !is_awaiting || !self.leave(key) {
                            self.close_entrance(key);
                        }
                    }
                }
                Order::Seat(key, service) => self.seats.push((key, service)),
                Order::WentDown(backends) => self.leave_backends(&backends),
                Order::Abort => {
                    for key in self.connections.keys(|_| true) {
                        self.close(key, Cause::Stopped);
                    }
                }
                Order::Leave => self.is_to_leave = true,
            }
        }
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
        let next = connection.run(self.now, &mut self.tools);
        // One that rests may do so for long, for the sake of what the client sends.
        if matches!(next, Next::Wait | Next::Rest) && connection.needs_room() {
            let data = Token::Client(key).data();
            if epoll::modify(&self.epoll, connection.client_socket(), data, BOTH).is_err() {
                return self.close(key, Cause::Exhausted);
            }
            connection.ask_for_room();
        }
        match next {
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
        while let Some((_, key, _lease)) =
            self.leaving.pop_front_if(|(until, ..)| *until <= self.now)
        {
            self.close_entrance(key);
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

    /// Backends are down: those that ask them ask others, and those that they have end, if their
    /// service wants that.
    fn leave_backends(&mut self, backends: &[Arc<Backend>]) {
        let down: HashSet<Identity> = backends.iter().map(|one| one.identity()).collect();
        let is_there = |connection: &Connection| {
            connection
                .backend()
                .is_some_and(|(_, place)| down.contains(&place.backend().identity()))
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
        // Whatever comes of the rest, it is carried no more after it.
        let _carried = Lease { carried: Arc::clone(&self.carried) };
        self.wheel.clear(key.index);
        let service = Arc::clone(&connection.service);
        match connection.stage {
            Stage::Hello(_) => self.hellos.end(),
            Stage::Waiting(_) => self.lines.leave(&service, &self.ticket(key)),
            Stage::Connecting(_) | Stage::Relaying => {}
        }
        // Before the client hears of it.
        service.note_end(&connection.ending(cause, self.now));
        connection.close(cause, &mut self.tools);
        self.call(&service);
    }
}

#[cfg(test)]
mod tests;
