//! How a session comes to a backend, and from one to another.

use std::collections::HashSet;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use arrayvec::ArrayVec;
use rustix::event::epoll::{self, EventData, EventFlags};

use super::session::{self, Session};
use super::sessions::{Index, Key};
use super::token::Token;
use super::worker::{Command, LOOK, Worker};
use crate::datagram::Envelope;
use crate::l4::backend::{Backend, Identity, Place};
use crate::l4::descriptors::Claim;
use crate::l4::ending::{Cause, Ending};
use crate::l4::flow::Flow;
use crate::l4::service::{NoBackend, Service};

/// So many backends are tried for a session.
pub const TRIES: usize = 3;

/// So many workers are asked for room, one after the other, at most.
const ASKED: u8 = 16;

/// Whether there is room for a session where there was none.
enum Room {
    /// A session of this worker's has gone.
    Made,
    /// One of another worker's will.
    Coming,
    /// Nobody has one that could.
    None,
}

impl Worker {
    /// Begins a session, on a given place or on one that is chosen.
    pub(super) fn begin(
        &mut self,
        entrance_number: u32,
        key: Key,
        flow: Flow,
        place: Option<Place>,
        now: Instant,
    ) -> Option<Index> {
        let mut entrances = self.entrances.iter().flatten();
        if self.stop.is_some() || entrances.any(|one| one.is_ourselves(flow.client, flow.vip)) {
            return None;
        }
        let entrance = self.entrances.get(entrance_number as usize)?.as_ref()?;
        let number = entrance.carried;
        let to_client = Envelope::to(flow.client, entrance.leave_from(flow.vip));
        let carried = self.carried_mut(number)?;
        if let Err(refusal) = carried.service.admit(flow.client.ip(), now) {
            carried.service.note_turned_away(&Ending::at_once(flow, refusal.into()), now);
            return None;
        }
        carried.follow_settings();
        carried.service.accepted_total.fetch_add(1, Relaxed);
        // A place that is given is taken already.
        if place.is_some() && carried.service.is_overfull() {
            self.make_room(number, ASKED, now);
        }
        if self.sessions >= self.most {
            self.displace_of_the_largest(now);
        }
        let claimed = self.claim(now).ok_or(Cause::Exhausted);
        let connected =
            claimed.and_then(|claim| Ok((claim, self.connect(number, &flow, place, now)?)));
        let (claim, (socket, place)) = match connected {
            Ok(connected) => connected,
            Err(cause) => {
                self.carried_mut(number)?.service.note_end(&Ending::at_once(flow, cause));
                return None;
            }
        };
        let idle = self.carried_mut(number)?.settings.timeouts.idle;
        let epoll = &self.epoll;
        let carried = self.carried.get_mut(number as usize)?.as_mut()?;
        let session = Session::new(flow, to_client, entrance_number, (socket, place), claim, now);
        let index = carried.sessions.insert(key, session, now).ok()?;
        self.sessions += 1;
        if carried.sessions.len() == 1 {
            carried.tell_oldest();
        }
        carried.name_server(index);
        let token = EventData::new_u64(Token::Session(number, index).into());
        let added = epoll::add(epoll, &carried.sessions.get(index)?.socket, token, EventFlags::IN);
        if let Err(error) = added {
            tracing::warn!(%error, "cannot wait for a backend's datagrams");
            carried.end(index, Cause::Exhausted, now);
            self.sessions -= 1;
            return None;
        }
        let look = now + idle.min(LOOK);
        self.next_look = Some(self.next_look.map_or(look, |next| next.min(look)));
        Some(index)
    }

    /// The right to one more socket. Where connections have all of them, the session that has not
    /// been used for longest makes room.
    fn claim(&mut self, now: Instant) -> Option<Claim> {
        Claim::of_session().or_else(|| {
            self.displace_of_the_largest(now);
            Claim::of_session()
        })
    }

    /// A socket to a backend that takes the flow: the given one, or one that is chosen. Where there
    /// is no room, the session that has not been used for longest makes some.
    fn connect(
        &mut self,
        number: u32,
        flow: &Flow,
        mut given: Option<Place>,
        now: Instant,
    ) -> Result<(UdpSocket, Place), Cause> {
        let mut tried: ArrayVec<SocketAddr, TRIES> = ArrayVec::new();
        let mut cause = Cause::NoBackend;
        let mut is_beyond = false;
        for _ in 0..TRIES {
            let carried = self.carried_mut(number).ok_or(Cause::Stopped)?;
            let is_quic = carried.settings.quic.is_some();
            let chosen = match given.take() {
                Some(place) => Ok(place),
                None if is_beyond => carried.service.choose_beyond(flow, &tried),
                None => carried.service.choose(flow, &tried),
            };
            let place = match chosen {
                Ok(place) => place,
                Err(NoBackend::NoneUp) => return Err(Cause::NoBackend),
                Err(NoBackend::Full) => {
                    cause = Cause::QueueFull;
                    // Where its backends are full, only what goes at once makes room.
                    let is_all_full = !is_beyond && carried.service.is_full();
                    match self.make_room(number, if is_all_full { ASKED } else { 0 }, now) {
                        Room::Made => {}
                        Room::Coming => is_beyond = true,
                        Room::None => {
                            // It comes too late for this one, but who asks again finds it.
                            if !is_beyond {
                                self.make_room(number, ASKED, now);
                            }
                            return Err(cause);
                        }
                    }
                    continue;
                }
            };
            let address = place.backend().address;
            match session::connect(address, is_quic) {
                Ok(socket) => return Ok((socket, place)),
                // No backend's fault.
                Err(error) if is_exhaustion(&error) => {
                    cause = Cause::Exhausted;
                    given = Some(place);
                    if !self.displace_of_the_largest(now) {
                        return Err(cause);
                    }
                }
                Err(_) => {
                    place.failed();
                    tried.push(address);
                }
            }
        }
        Err(cause)
    }

    /// Makes room for a session of a service: of all workers' sessions, that goes which has not been
    /// used for longest. So many workers may be asked for it, one after the other.
    fn make_room(&mut self, number: u32, asked: u8, now: Instant) -> Room {
        let Some(Some(carried)) = self.carried.get_mut(number as usize) else { return Room::None };
        if let Some(more) = asked.checked_sub(1)
            && let Some((other, used)) = carried.ask_another()
            && let Some(other) = self.others.get(other)
        {
            let service = Arc::clone(&carried.service);
            other.send(Command::MakeRoom { service, used, more });
            return Room::Coming;
        }
        if !carried.displace(now) {
            return Room::None;
        }
        carried.tell_oldest();
        self.sessions -= 1;
        Room::Made
    }

    /// Another worker needs room for a session of that service.
    pub(super) fn make_room_for(
        &mut self,
        service: &Arc<Service>,
        used: Instant,
        more: u8,
        now: Instant,
    ) {
        let Some(number) = self.number_of(service) else { return };
        let Some(Some(carried)) = self.carried.get(number) else { return };
        carried.tell_oldest();
        let is_it = carried.sessions.oldest().is_some_and(|(_, latest)| latest <= used);
        // What others know of the oldest here was late; what is known here of theirs may be, too.
        self.make_room(number as u32, if is_it { 0 } else { more }, now);
    }

    /// The network says that nobody listens where a session's backend is.
    pub(super) fn note_refusal(&mut self, number: u32, index: Index, now: Instant) {
        let Some(carried) = self.carried_mut(number) else { return };
        let Some(session) = carried.sessions.get_mut(index) else { return };
        session.note_refusal();
        if session.may_move(now) {
            self.move_session(number, index, now);
        }
    }

    /// Has a session go on with another backend that is up, if there is one.
    pub(super) fn move_session(&mut self, number: u32, index: Index, now: Instant) {
        let Some(Some(carried)) = self.carried.get_mut(number as usize) else { return };
        let Some(session) = carried.sessions.get_mut(index) else { return };
        let mut tried = session.tried();
        let is_quic = carried.settings.quic.is_some();
        let Some(session) = carried.sessions.get_mut(index) else { return };
        for _ in 0..TRIES {
            // The place that it has is given back.
            let chosen = carried.service.choose_beyond(&session.flow, &tried);
            let Some(place) = chosen.ok().filter(|place| place.backend().is_up()) else { break };
            let address = place.backend().address;
            let token = EventData::new_u64(Token::Session(number, index).into());
            let connected = session::connect(address, is_quic);
            let moved = connected.and_then(|socket| {
                epoll::add(&self.epoll, &socket, token, EventFlags::IN)?;
                Ok(socket)
            });
            match moved {
                Ok(socket) => {
                    session.move_to(socket, place, now);
                    carried.name_server(index);
                    return;
                }
                Err(error) if is_exhaustion(&error) => break,
                Err(_) => {
                    place.failed();
                    if tried.try_push(address).is_err() {
                        break;
                    }
                }
            }
        }
        session.stay(now);
    }

    /// Has the sessions of backends that are down go on with others.
    pub(super) fn leave_backends(&mut self, backends: &[Arc<Backend>], now: Instant) {
        let down: HashSet<Identity> = backends.iter().map(|one| one.identity()).collect();
        for number in 0..self.carried.len() as u32 {
            let Some(carried) = self.carried_mut(number) else { continue };
            let is_there = |session: &Session| down.contains(&session.place.backend().identity());
            let sessions = carried.sessions.iter().filter(|(.., session)| is_there(session));
            let sessions: Vec<Index> = sessions.map(|(index, ..)| index).collect();
            for index in sessions {
                self.move_session(number, index, now);
            }
        }
    }

    /// Ends the session that has not been used for longest of the service that has most of them,
    /// so that a crowd at one service makes room for itself. False when there are none.
    pub(super) fn displace_of_the_largest(&mut self, now: Instant) -> bool {
        let largest = self.carried.iter_mut().flatten().max_by_key(|one| one.sessions.len());
        let has_ended = largest.is_some_and(|one| one.displace(now));
        self.sessions -= usize::from(has_ended);
        has_ended
    }
}

/// True when nobody listens there, the network does not reach it, or a firewall prohibits it (EACCES
/// over IPv6).
pub fn is_refusal(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable, PermissionDenied};
    let kind = error.kind();
    matches!(kind, ConnectionRefused | HostUnreachable | NetworkUnreachable | PermissionDenied)
}

/// True when this machine has no room: descriptors, memory, or ports.
fn is_exhaustion(error: &io::Error) -> bool {
    let errors = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::EAGAIN];
    error.raw_os_error().is_some_and(|error| errors.contains(&error))
}
