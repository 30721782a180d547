//! How a worker finds a backend for a connection, and who waits while there is no place.

use std::sync::Arc;

use rustix::event::epoll;

use super::connection::{Stage, micros};
use super::dial::{Manner, NotAsked, dial};
use super::lines::Ticket;
use super::mailbox::Order;
use super::side::{BOTH, Side};
use super::slab::Key;
use super::token::{ATTEMPTS, Token};
use super::worker::Worker;
use crate::l4::backend::Place;
use crate::l4::ending::Cause;
use crate::l4::service::{NoBackend, Service};

/// Whether there is a place for the first that waits is looked at so often, in milliseconds, besides
/// whenever one becomes free: backends come up, and settings change.
pub const LOOK_FOR_PLACES: u64 = 100;

impl Worker {
    /// Asks the backend whose turn it is.
    pub fn find_backend(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Stage::Connecting(attempts) = &connection.stage else { return };
        let place = connection.service.choose(&connection.flow, &attempts.tried);
        self.ask_backend(key, place);
    }

    /// Asks the backend on which there is a place, and others while that fails at once.
    fn ask_backend(&mut self, key: Key, mut place: Result<Place, NoBackend>) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let settings = connection.service.settings();
        let source = settings.transparent.then(|| connection.flow.client.ip());
        let has_words = connection.has_words();
        let Stage::Connecting(attempts) = &mut connection.stage else { return };
        loop {
            let taken = match place {
                Ok(place) => place,
                Err(NoBackend::Full) => return self.line_up(key),
                Err(NoBackend::NoneUp) => return self.close(key, Cause::NoBackend),
            };
            if !attempts.begin(settings.timeouts.connect, self.now) {
                drop(taken);
                return self.close(key, Cause::NoBackend);
            }
            let address = taken.backend().address;
            // A client of the other family is seen as this machine.
            let source = source.filter(|source| source.is_ipv4() == address.is_ipv4());
            connection.attempt = (connection.attempt + 1) % ATTEMPTS;
            let token = Token::Backend(key, connection.attempt);
            let asked = dial(address, Manner { has_words, source }).and_then(|socket| {
                // Not before: until then it would be told as broken.
                let added = epoll::add(&self.epoll, &socket, token.data(), BOTH);
                added.map(|()| socket).map_err(|_| NotAsked::Here)
            });
            match asked {
                Ok(socket) => {
                    self.wheel.set(key.index, attempts.deadline.div_ceil(1_000));
                    return connection.ask(Side::backend(socket), taken, &settings, self.now);
                }
                Err(NotAsked::Here) => {
                    drop(taken);
                    return self.close(key, Cause::Exhausted);
                }
                Err(NotAsked::NoPort) => {}
                Err(NotAsked::There) => taken.failed(),
            }
            // Not in its own way when the next is chosen.
            drop(taken);
            attempts.tried.push(address);
            place = connection.service.choose(&connection.flow, &attempts.tried);
        }
    }

    /// Every place is taken, or others wait for one already.
    pub fn line_up(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let service = Arc::clone(&connection.service);
        let queue = service.settings().queue;
        let tried = match &connection.stage {
            Stage::Connecting(attempts) => attempts.tried.clone(),
            _ => Vec::new(),
        };
        let ticket = Ticket { tried, ..self.ticket(key) };
        let Ok(may_have_place) = self.lines.join(&service, queue.length, ticket) else {
            return self.close(key, Cause::QueueFull);
        };
        let until = self.now.saturating_add(micros(queue.timeout));
        if let Some(connection) = self.connections.get_mut(key) {
            connection.wait(until);
        }
        let tick = self.now / 1_000 + LOOK_FOR_PLACES;
        self.wheel.set(key.index, tick.min(until.div_ceil(1_000)));
        if may_have_place {
            // One may have become free before anybody was known to wait for it.
            self.call(&service);
        }
    }

    /// There may be a place for the first that waits, which was that one.
    pub fn seat(&mut self, key: Key, service: &Arc<Service>) {
        if let Some(connection) = self.connections.get_mut(key)
            && let Stage::Waiting(attempts) = &connection.stage
        {
            let place = service.choose(&connection.flow, &attempts.tried);
            if matches!(place, Err(NoBackend::Full)) {
                // What is free may be what this one has tried.
                let ticket = Ticket { tried: attempts.tried.clone(), ..self.ticket(key) };
                return self.lead_in(self.lines.next(service, &ticket), service);
            }
            connection.stop_waiting();
            self.lines.leave(service, &self.ticket(key));
            self.ask_backend(key, place);
        }
        // There may be more than one.
        self.call(service);
    }

    /// A place may have become free: the first that waits for one is told.
    pub fn call(&mut self, service: &Arc<Service>) {
        self.lead_in(self.lines.first(service), service);
    }

    fn lead_in(&mut self, ticket: Option<Ticket>, service: &Arc<Service>) {
        let Some(Ticket { mailbox, key, .. }) = ticket else { return };
        match Arc::ptr_eq(&mailbox, &self.mailbox) {
            true => self.seats.push((key, Arc::clone(service))),
            false => mailbox.send(Order::Seat(key, Arc::clone(service))),
        }
    }

    /// Of a connection of this worker's that has tried no backend, or by which it is found.
    pub fn ticket(&self, key: Key) -> Ticket {
        Ticket { mailbox: Arc::clone(&self.mailbox), key, tried: Vec::new() }
    }
}
