//! The datagrams of a batch of queries, and the replies to them.

use std::io;
use std::net::UdpSocket;

use crate::datagram::{Inbox, Outbox, Slot, Wait};
use crate::dns::edns::UDP_PAYLOAD_BYTES;

/// The most datagrams a system call moves.
pub(super) const BATCH: usize = 64;
/// The fewest that are asked for.
const MIN_WINDOW: usize = 8;

/// We announce that we take no larger datagrams, and we send none.
const DATAGRAM_BYTES: usize = UDP_PAYLOAD_BYTES as usize;

type Buffer = [u8; DATAGRAM_BYTES];

/// Room for a batch of datagrams and the replies to them, allocated once.
pub(super) struct Batch {
    requests: Inbox<Buffer>,
    responses: Box<[Buffer]>,
    outbox: Outbox,
    /// How many datagrams are asked for next: twice what came last, as there is no use in preparing
    /// for many where few come.
    window: usize,
    /// Which slots are to be sent, and how many bytes of each.
    replies: Vec<(u16, u16)>,
}

impl Batch {
    pub(super) fn new() -> Batch {
        Batch {
            requests: Inbox::new((0..BATCH).map(|_| [0; _])),
            responses: vec![[0; _]; BATCH].into(),
            outbox: Outbox::new(BATCH),
            window: MIN_WINDOW,
            replies: Vec::with_capacity(BATCH),
        }
    }

    /// Waits for a datagram, for as long as the socket's receive timeout, and takes as many as are
    /// there. Gives how many.
    pub(super) fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        // Also when nothing comes: what was sent must not be sent again.
        self.replies.clear();
        let received = self.requests.receive(socket, 0, self.window, Wait::ForOne)?;
        if received > 0 {
            self.window = (2 * received).clamp(MIN_WINDOW, BATCH);
        }
        Ok(received)
    }

    /// A datagram of the batch, and room for the reply.
    pub(super) fn slot(&mut self, index: usize) -> (&mut Slot<Buffer>, &mut [u8]) {
        (self.requests.slot(index), &mut self.responses[index])
    }

    /// Has the first `length` bytes of the slot's response sent with the batch.
    pub(super) fn reply(&mut self, index: usize, length: usize) {
        self.replies.push((index as u16, length.min(DATAGRAM_BYTES) as u16));
    }

    /// Sends the replies. What the socket does not take at once is dropped, as a resolver asks
    /// again but would not wait for us. Gives how many were dropped.
    pub(super) fn send(&mut self, socket: &UdpSocket) -> u64 {
        let (requests, responses) = (self.requests.slots(), &self.responses);
        let datagram = |&(index, length): &(u16, u16)| {
            let index = usize::from(index);
            (Some(&requests[index].envelope), &responses[index][..usize::from(length)])
        };
        let (mut rest, mut dropped) = (&*self.replies, 0);
        while !rest.is_empty() {
            let gone = match self.outbox.send(socket, rest.iter().map(datagram)) {
                Ok(sent) => sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return dropped + rest.len() as u64;
                }
                // This one cannot be sent, for instance as there is no route; the next may.
                Err(_) => {
                    dropped += 1;
                    1
                }
            };
            rest = &rest[gone..];
        }
        dropped
    }
}
