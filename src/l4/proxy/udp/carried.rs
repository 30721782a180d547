//! A service, as one worker carries it: its sessions there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use xxhash_rust::xxh3::xxh3_64;

use super::oldest::Oldest;
use super::session::Session;
use super::sessions::{Index, Key, Sessions};
use crate::l4::backend::Place;
use crate::l4::ending::Cause;
use crate::l4::service::Service;
use crate::l4::settings::ServiceSettings;

/// A service and the sessions of it that a worker has.
#[derive(Debug)]
pub struct Carried {
    /// The service.
    pub service: Arc<Service>,
    /// As of when they were last looked at.
    pub settings: Arc<ServiceSettings>,
    /// The sessions.
    pub sessions: Sessions<Session>,
    /// Which worker this is.
    worker: usize,
    /// What is known of all workers' sessions of the service.
    oldest: Arc<Oldest>,
}

impl Carried {
    /// Without sessions.
    pub fn new(service: Arc<Service>, worker: usize, oldest: Arc<Oldest>) -> Carried {
        let settings = service.settings();
        Carried { service, settings, sessions: Sessions::default(), worker, oldest }
    }

    /// Looks whether its settings have changed.
    pub fn follow_settings(&mut self) {
        let settings = self.service.settings();
        if Arc::ptr_eq(&settings, &self.settings) {
            return;
        }
        self.settings = settings;
        let indices: Vec<Index> = self.sessions.iter().map(|(index, ..)| index).collect();
        for index in indices {
            let Some(session) = self.sessions.get_mut(index) else { continue };
            let backend = session.place.backend();
            let now_there = self.service.backend(backend.address);
            let same = now_there.filter(|one| one.identity() == backend.identity());
            session.is_orphan = same.is_none();
            same.into_iter().for_each(|backend| session.follow(backend));
            session.server_id = server_id(&self.service, &self.settings, session);
        }
    }

    /// Where QUIC connection ids can name a backend: the key of the session that a datagram with
    /// this server id belongs to (empty: it names none), where that session is, and, for a new
    /// one, its place.
    ///
    /// A client's first session is found by its address alone. Another that it has besides, since
    /// it has a connection with another backend, is found by the server id, and outlasts the first.
    pub fn find_named(&self, key: Key, id: &[u8]) -> (Key, Option<Index>, Option<Place>) {
        let main = self.sessions.find(&key);
        let session = main.and_then(|index| self.sessions.get(index));
        if id.is_empty() || session.is_some_and(|one| one.server_id.as_deref() == Some(id)) {
            return (key, main, None);
        }
        let tagged = key.tagged(tag(id));
        let besides = self.sessions.find(&tagged);
        if besides.is_some() {
            return (tagged, besides, None);
        }
        match (main, self.service.by_server_id(id)) {
            (Some(_), Some(place)) => (tagged, None, Some(place)),
            (None, place) => (key, None, place),
            (main, None) => (key, main, None),
        }
    }

    /// Lets a session know what QUIC connection ids call its backend.
    pub fn name_server(&mut self, index: Index) {
        if let Some(session) = self.sessions.get_mut(index) {
            session.server_id = server_id(&self.service, &self.settings, session);
        }
    }

    /// Ends a session; false when there is none.
    pub fn end(&mut self, index: Index, cause: Cause, now: Instant) -> bool {
        let Some(mut session) = self.sessions.remove(index) else { return false };
        session.count();
        self.service.note_end(&session.ending(cause, now));
        true
    }

    /// Ends the session that has not been used for longest, for another; false when there is none.
    pub fn displace(&mut self, now: Instant) -> bool {
        self.sessions.oldest().is_some_and(|(index, _)| self.end(index, Cause::Displaced, now))
    }

    /// Ends a session that has gone idle or is one too many; false when there is none.
    pub fn end_overdue(&mut self, now: Instant, idle: Duration) -> bool {
        let Some((index, used)) = self.sessions.oldest() else { return false };
        if now.saturating_duration_since(used) >= idle {
            return self.end(index, Cause::Idle, now);
        }
        self.service.is_overfull() && self.displace(now)
    }

    /// Lets go of the sessions by this entrance, which go on elsewhere. Gives how many.
    pub fn forget(&mut self, entrance: u32) -> usize {
        let by_it = self.sessions.iter().filter(|(.., session)| session.entrance == entrance);
        let indices: Vec<Index> = by_it.map(|(index, ..)| index).collect();
        indices.iter().filter(|index| self.sessions.remove(**index).is_some()).count()
    }

    /// The sessions by this entrance go on by another.
    pub fn rehome(&mut self, from: u32, to: u32) {
        let indices: Vec<Index> = self.sessions.iter().map(|(index, ..)| index).collect();
        for index in indices {
            if let Some(session) = self.sessions.get_mut(index)
                && session.entrance == from
            {
                session.entrance = to;
            }
        }
    }

    /// Lets the other workers know how old the oldest session is.
    pub fn tell_oldest(&self) {
        self.oldest.tell(self.worker, self.sessions.oldest().map(|(_, used)| used));
    }

    /// The worker that is to make room, where that is another: its oldest session is older than ours,
    /// and was used last then.
    pub fn ask_another(&self) -> Option<(usize, Instant)> {
        self.oldest.ask(self.worker, self.sessions.oldest().map(|(_, used)| used))
    }
}

/// A number for a server id, which is not 0.
fn tag(id: &[u8]) -> u32 {
    xxh3_64(id) as u32 | 1
}

fn server_id(
    service: &Service,
    settings: &ServiceSettings,
    session: &Session,
) -> Option<Box<[u8]>> {
    settings.quic?;
    service.server_id(session.place.backend().address)
}
