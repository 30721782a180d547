//! Sessions that go from one process to the next, and perhaps back.

use std::sync::Arc;
use std::time::Instant;

use rustix::event::epoll::{self, EventData, EventFlags};

use super::Lent;
use super::entrance::Entrance;
use super::passed::Passed;
use super::token::Token;
use super::worker::Worker;
use crate::l4::ending::Cause;

impl Worker {
    /// Has the sessions of another process go on, which came by the sockets of this serving.
    pub(super) fn resume(&mut self, id: u64, sessions: Vec<Lent>, now: Instant) {
        for (passed, socket) in sessions {
            let at = passed.socket;
            let of_serving = |one: &Option<Entrance>| {
                one.as_ref().is_some_and(|one| one.id == id && one.position() == at)
            };
            let Some(number) = self.entrances.iter().position(of_serving) else { continue };
            let Some(entrance) = &self.entrances[number] else { continue };
            let (number, of) = (number as u32, entrance.carried);
            let Some(Some(carried)) = self.carried.get_mut(of as usize) else { continue };
            let service = Arc::clone(&carried.service);
            let Some((key, session, used)) =
                passed.resume(socket, &service, (number, entrance), now)
            else {
                continue;
            };
            if let Some(index) = carried.sessions.find(&key) {
                // It has come here in the meantime: its backend knows it by the other socket.
                carried.end(index, Cause::Displaced, now);
                self.sessions -= 1;
            }
            let Ok(index) = carried.sessions.insert(key, session, used) else { continue };
            self.sessions += 1;
            carried.name_server(index);
            let token = EventData::new_u64(Token::Session(of, index).into());
            let socket = carried.sessions.get(index).map(|session| &session.socket);
            if socket.is_none_or(|one| epoll::add(&self.epoll, one, token, EventFlags::IN).is_err())
            {
                carried.end(index, Cause::Exhausted, now);
                self.sessions -= 1;
            }
            if self.sessions > self.most {
                self.displace_of_the_largest(now);
            }
            self.next_look = Some(now);
        }
    }

    /// All sessions, of which nothing is read any more.
    pub(super) fn lend(&mut self, now: Instant) -> Vec<Lent> {
        self.is_lent = true;
        for entrance in self.entrances.iter().flatten() {
            let _ = epoll::delete(&self.epoll, entrance);
        }
        let mut lent = Vec::with_capacity(self.sessions);
        for carried in self.carried.iter_mut().flatten() {
            carried.sessions.each_used_since(self.last_look, |session| session.count());
            for (_, key, used, session) in carried.sessions.iter_with_keys() {
                let _ = epoll::delete(&self.epoll, &session.socket);
                let entrance =
                    self.entrances.get(session.entrance as usize).and_then(Option::as_ref);
                let position = entrance.map_or(0, Entrance::position);
                // One of which there is no duplicate ends.
                if let Ok(socket) = session.socket.try_clone() {
                    let passed = Passed::new(&carried.service, position, (key, used, session), now);
                    lent.push((passed, socket.into()));
                }
            }
        }
        lent
    }

    /// Goes on with what was lent.
    pub(super) fn take_back(&mut self) {
        self.is_lent = false;
        for (number, entrance) in self.entrances.iter().enumerate() {
            let Some(entrance) = entrance else { continue };
            if let Err(error) = self.watch_entrance(number as u32, entrance) {
                tracing::error!(%error, "cannot wait for a UDP socket");
            }
        }
        for (number, carried) in self.carried.iter().enumerate() {
            for (index, _, session) in carried.iter().flat_map(|carried| carried.sessions.iter()) {
                let token = EventData::new_u64(Token::Session(number as u32, index).into());
                let _ = epoll::add(&self.epoll, &session.socket, token, EventFlags::IN);
            }
        }
    }
}
