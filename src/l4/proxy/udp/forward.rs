//! What a worker does with a datagram: from a client to its session's backend, and back.

use std::io;
use std::ops::Range;
use std::time::Instant;

use arrayvec::ArrayVec;

use super::placing::{TRIES, is_refusal};
use super::session::Session;
use super::sessions::{Index, Key};
use super::worker::{BATCH, REST, Reply, Worker};
use crate::datagram::{self, Slot, Wait};
use crate::l4::flow::Flow;
use crate::l4::quic;
use crate::l4::settings::Protocol;

/// So many batches of one entrance before others have their turn.
const BATCHES: usize = 4;
/// The most datagrams that are taken from one backend's socket before others have their turn.
const MAX_WINDOW: u8 = 32;

/// Datagrams of a batch that go to the same session.
struct Run {
    carried: u32,
    session: Index,
    slots: Range<usize>,
}

impl Worker {
    /// Takes what clients have sent to an entrance, and sends it on.
    pub(super) fn forward(&mut self, number: u32, now: Instant) {
        for _ in 0..BATCHES {
            let Some(Some(entrance)) = self.entrances.get_mut(number as usize) else { return };
            let asked = entrance.window;
            let received = match self.inbox.receive(entrance, 0, asked, Wait::Never) {
                Ok(received) => received,
                Err(error) => {
                    tracing::debug!(%error, "cannot receive from a UDP socket");
                    // It may come again at once.
                    std::thread::sleep(REST);
                    return;
                }
            };
            entrance.note_received(received, BATCH);
            let mut run: Option<Run> = None;
            for slot in 0..received {
                let Some((carried, session)) = self.session_for(number, slot, &mut run, now) else {
                    continue;
                };
                match &mut run {
                    Some(run)
                        if (run.carried, run.session) == (carried, session)
                            && run.slots.end == slot =>
                    {
                        run.slots.end = slot + 1;
                    }
                    _ => {
                        let next = Run { carried, session, slots: slot..slot + 1 };
                        self.pass_on(run.replace(next), now);
                    }
                }
            }
            self.pass_on(run, now);
            if received < asked {
                return;
            }
        }
    }

    /// The session of the datagram in that slot, which may be new. The run before is sent on before
    /// anything is changed that it may need.
    fn session_for(
        &mut self,
        number: u32,
        slot: usize,
        run: &mut Option<Run>,
        now: Instant,
    ) -> Option<(u32, Index)> {
        let entrance = self.entrances.get(number as usize)?.as_ref()?;
        let slot = self.inbox.slot(slot);
        let client = slot.envelope.source();
        if client.port() == 0 {
            // Nobody could be answered there.
            return None;
        }
        let vip = entrance.vip(&mut slot.envelope)?;
        let (number, entrance) = match entrance.is_for(vip) {
            true => (number, entrance),
            false => {
                let mut entrances = (0..).zip(&self.entrances);
                entrances.find_map(|(number, one)| {
                    let one = one.as_ref().filter(|one| one.is_for(vip))?;
                    Some((number, one))
                })?
            }
        };
        let flow = Flow { client, vip, protocol: Protocol::Udp };
        let key = Key::new(client, vip);
        let number_carried = entrance.carried;
        let carried = self.carried.get_mut(number_carried as usize)?.as_mut()?;
        let mut place = None;
        let (key, found) = match carried.settings.quic {
            None => (key, carried.sessions.find(&key)),
            Some(quic) => {
                let id = quic::server_id(slot.packet(), quic.server_id_bytes).unwrap_or_default();
                let (key, found, named) = carried.find_named(key, id);
                place = named;
                (key, found)
            }
        };
        if let Some(index) = found
            && let Some(session) = carried.sessions.touch(index, now)
        {
            if session.should_move(now) {
                self.pass_on(run.take(), now);
                self.move_session(number_carried, index, now);
            }
            return Some((number_carried, index));
        }
        self.pass_on(run.take(), now);
        let index = self.begin(number, key, flow, place, now)?;
        Some((number_carried, index))
    }

    /// Sends datagrams on to their session's backend.
    fn pass_on(&mut self, run: Option<Run>, now: Instant) {
        let Some(Run { carried: number, session: index, slots: mut rest }) = run else { return };
        let (mut refusals, mut one_by_one) = (0, false);
        while !rest.is_empty() {
            let Some(Some(carried)) = self.carried.get_mut(number as usize) else { return };
            let Some(session) = carried.sessions.get_mut(index) else { return };
            let slots = &self.inbox.slots()[rest.clone()];
            let alike = if one_by_one { 1 } else { datagram::alike(slots) };
            let sent = match slots {
                [slot] => session.socket.send(slot.packet()).map(|_| 1),
                slots if alike > 1 => {
                    let message = std::iter::once((None, &slots[..alike]));
                    self.outbox.send_alike(&session.socket, message).map(|sent| sent * alike)
                }
                slots => {
                    let datagrams = slots.iter().map(|slot| (None, slot.packet()));
                    self.outbox.send(&session.socket, datagrams)
                }
            };
            match sent {
                Ok(0) => return,
                Ok(sent) => {
                    let bytes = slots[..sent].iter().map(|slot| slot.packet().len()).sum();
                    session.note_question(bytes, now);
                    rest.start += sent;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if is_refusal(&error) && refusals < TRIES => {
                    // One that was sent before was refused; this one was not sent.
                    refusals += 1;
                    self.note_refusal(number, index, now);
                }
                // There are ways on which they are not cut.
                Err(_) if alike > 1 => one_by_one = true,
                // This one cannot be sent, for instance as it is too long; the next may.
                Err(_) => rest.start += 1,
            }
        }
    }

    /// Takes what a backend has sent to a session, to be sent on to its client.
    pub(super) fn take_replies(&mut self, number: u32, index: Index, now: Instant) {
        if self.replies.len() >= BATCH {
            self.send_replies();
        }
        let first = self.replies.len();
        let Some(Some(carried)) = self.carried.get_mut(number as usize) else { return };
        let Some(session) = carried.sessions.get_mut(index) else { return };
        let asked = usize::from(session.window);
        match self.inbox.receive(&session.socket, first, asked, Wait::Never) {
            Ok(0) => {}
            Ok(received) => {
                let taken = first..first + received;
                let slots = &self.inbox.slots()[taken.clone()];
                session.note_answer(slots.iter().map(|slot| slot.packet().len()).sum(), now);
                session.window = ((2 * received) as u8).clamp(1, MAX_WINDOW);
                carried.sessions.touch(index, now);
                let reply = |slot| Reply { slot: slot as u16, carried: number, session: index };
                self.replies.extend(taken.map(reply));
            }
            Err(error) if is_refusal(&error) => self.note_refusal(number, index, now),
            Err(error) => tracing::debug!(%error, "cannot receive from a backend"),
        }
    }

    /// Sends to the clients what has been taken for them.
    pub(super) fn send_replies(&mut self) {
        let (carried, inbox) = (&self.carried, &self.inbox);
        let session_of = |reply: &Reply| -> Option<&Session> {
            carried.get(reply.carried as usize)?.as_ref()?.sessions.get(reply.session)
        };
        let entrance = |reply: &Reply| session_of(reply).map_or(u32::MAX, |one| one.entrance);
        self.replies.sort_unstable_by_key(|reply| (entrance(reply), reply.slot));
        let by_entrance = self.replies.chunk_by(|a, b| entrance(a) == entrance(b));
        for mut rest in by_entrance {
            let number = rest.first().map_or(u32::MAX, entrance);
            let Some(Some(socket)) = self.entrances.get(number as usize) else { continue };
            let mut one_by_one = false;
            while !rest.is_empty() {
                let mut lengths: ArrayVec<usize, BATCH> = ArrayVec::new();
                let mut from = 0;
                let messages = std::iter::from_fn(|| {
                    let (first, count) = message(&rest[from..], inbox.slots(), one_by_one)?;
                    from += count;
                    lengths.try_push(count).ok()?;
                    let slot = usize::from(first.slot);
                    let to_client = session_of(first).map(|session| &session.to_client)?;
                    Some((Some(to_client), &inbox.slots()[slot..slot + count]))
                });
                match self.outbox.send_alike(socket, messages) {
                    Ok(0) => break,
                    Ok(sent) => {
                        let gone = lengths.iter().take(sent).sum();
                        rest = rest.get(gone..).unwrap_or_default();
                    }
                    // Whoever cares asks again, but would not wait for us.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // There are ways on which they are not cut.
                    Err(_) if lengths.first().is_some_and(|first| *first > 1) => one_by_one = true,
                    // This one cannot be sent, for instance as there is no route; the next may.
                    Err(_) => rest = &rest[1..],
                }
            }
        }
        self.replies.clear();
    }
}

/// The first of these replies, and how many from it on are for the same client and may go as one.
fn message<'a, B: AsRef<[u8]>>(
    replies: &'a [Reply],
    slots: &[Slot<B>],
    one_by_one: bool,
) -> Option<(&'a Reply, usize)> {
    let first = replies.first()?;
    if one_by_one {
        return Some((first, 1));
    }
    let is_next = |(number, reply): &(usize, &Reply)| {
        usize::from(reply.slot) == usize::from(first.slot) + number
            && (reply.carried, reply.session) == (first.carried, first.session)
    };
    let same = replies.iter().enumerate().take_while(is_next).count();
    let slot = usize::from(first.slot);
    Some((first, datagram::alike(&slots[slot..slot + same])))
}
