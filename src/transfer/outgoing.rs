//! A zone on its way out: AXFR (RFC 5936) and IXFR (RFC 1995), one message after another, written
//! only when the one before is gone.

use std::sync::Arc;

use super::ServerSequence;
use super::journal::{Difference, Journal};
use super::soa::{Soa, is_newer};
use super::wire::Cursor;
use crate::dns::query::{HEADER_BYTES, Preamble, flags};
use crate::dns::{Class, Edns, Rcode, Rtype};
use crate::zone::contents::Record;
use crate::zone::{Contents, Records};

/// The bytes of a message, unless one record needs more: compression pointers reach no farther.
const MESSAGE_BYTES: usize = 16 << 10;
/// The longest message, in bytes.
const MAX_MESSAGE_BYTES: usize = 65535;
/// Type, class, TTL and RDLENGTH.
const RECORD_HEAD_BYTES: usize = 10;
/// Where the name of the question stands.
const QNAME_AT: usize = HEADER_BYTES;
/// What a compression pointer can reach.
const MAX_POINTER: usize = 0x3fff;

/// A zone on its way out. It holds what it sends, whatever is published meanwhile.
#[derive(Debug)]
pub struct Outgoing {
    preamble: Preamble,
    /// As it was asked.
    question: Box<[u8]>,
    contents: Arc<Contents>,
    kind: Kind,
    signer: Option<ServerSequence>,
    /// The part that comes next, and the record in it.
    next: (usize, usize),
    messages: u64,
}

/// What is sent.
#[derive(Debug)]
enum Kind {
    /// The SOA record alone: there is nothing newer, or not by this way.
    Current,
    /// Everything, between the SOA record and the SOA record.
    Full,
    /// The changes.
    Incremental(Box<[Arc<Difference>]>),
}

/// Which of them it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The SOA record alone.
    Current,
    /// The whole zone.
    Full,
    /// The changes since a version.
    Incremental,
}

/// The serial number of the version that an IXFR query's client has: that of the SOA record in the
/// authority section (RFC 1995 §3). None if there is none, or the message is malformed.
pub fn serial_asked(packet: &[u8]) -> Option<u32> {
    let counts = packet.first_chunk::<HEADER_BYTES>()?;
    let count = |at: usize| u16::from_be_bytes([counts[at], counts[at + 1]]);
    let mut cursor = Cursor::new(packet);
    for _ in 0..count(4) {
        cursor.question()?;
    }
    for _ in 0..count(6) {
        cursor.record()?;
    }
    let record = (count(8) > 0).then(|| cursor.record()).flatten()?;
    let is_soa = record.rtype == Rtype::SOA && record.class == Class::IN;
    is_soa.then(|| Soa::read(record.rdata)).flatten().map(|soa| soa.serial)
}

/// A record that is longer than any message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl Outgoing {
    /// The whole zone, as the answer to `packet`.
    pub fn full(contents: &Arc<Contents>, packet: &[u8], preamble: &Preamble) -> Outgoing {
        Outgoing::new(contents, packet, preamble, Kind::Full)
    }

    /// What changed since the version `serial`; the whole zone if that is not known or not less.
    pub fn since(
        serial: u32,
        contents: &Arc<Contents>,
        journal: Option<&Journal>,
        packet: &[u8],
        preamble: &Preamble,
    ) -> Outgoing {
        let changes = journal.and_then(|journal| journal.since(serial)).filter(|changes| {
            let bytes: usize = changes.iter().map(|change| change.bytes()).sum();
            bytes <= contents.records().bytes()
        });
        let kind = match changes {
            _ if !is_newer(contents.serial(), serial) => Kind::Current,
            Some(changes) => Kind::Incremental(changes.into()),
            None => Kind::Full,
        };
        Outgoing::new(contents, packet, preamble, kind)
    }

    fn new(contents: &Arc<Contents>, packet: &[u8], preamble: &Preamble, kind: Kind) -> Outgoing {
        Outgoing {
            preamble: *preamble,
            question: packet[HEADER_BYTES..preamble.question_end].into(),
            contents: Arc::clone(contents),
            kind,
            signer: None,
            next: (0, 0),
            messages: 0,
        }
    }

    /// The same, every message of it signed.
    pub fn signed(mut self, signer: Option<ServerSequence>) -> Outgoing {
        self.signer = signer;
        self
    }

    /// What is sent.
    pub fn extent(&self) -> Extent {
        match self.kind {
            Kind::Current => Extent::Current,
            Kind::Full => Extent::Full,
            Kind::Incremental(_) => Extent::Incremental,
        }
    }

    /// The zone.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Writes the next message into `out`, which has the room of the longest message, and gives its
    /// length; none when all of the zone is sent. `now` is in seconds of Unix time.
    pub fn message(&mut self, now: u64, out: &mut [u8]) -> Result<Option<usize>, TooLong> {
        if self.part(self.next.0).is_none() {
            return Ok(None);
        }
        let reserved = self.signer.as_ref().map_or(0, ServerSequence::record_bytes);
        let mut length = self.write(&mut out[..MESSAGE_BYTES - reserved]);
        if length.is_none() {
            length = self.write(&mut out[..MAX_MESSAGE_BYTES - reserved]);
        }
        let length = length.ok_or(TooLong)?;
        self.messages += 1;
        Ok(Some(match &mut self.signer {
            Some(signer) => signer.sign(out, length, now),
            None => length,
        }))
    }

    /// Writes all of it in one message of at most `out`, unsigned; if it does not fit there, the
    /// SOA record alone, so that the client comes back over TCP (RFC 1995 §2). None if not even
    /// that fits.
    pub fn datagram(mut self, out: &mut [u8]) -> Option<usize> {
        if !matches!(self.kind, Kind::Full) {
            let length = self.write(out);
            if length.is_some() && self.part(self.next.0).is_none() {
                return length;
            }
        }
        (self.kind, self.next) = (Kind::Current, (0, 0));
        self.write(out)
    }

    /// A response without records in the place of all of it, signed as it would be.
    pub fn refuse(mut self, rcode: Rcode, now: u64, out: &mut [u8]) -> usize {
        let (at, opt_bytes) = self.begin(out);
        let length = self.end(at, (0, opt_bytes), rcode, out);
        match &mut self.signer {
            Some(signer) => signer.sign(out, length, now),
            None => length,
        }
    }

    /// The records that follow one another.
    fn part(&self, number: usize) -> Option<&Records> {
        let (soa, records) = (self.contents.soa(), self.contents.records());
        match &self.kind {
            Kind::Current => [soa].get(number).copied(),
            Kind::Full => [soa, records, soa].get(number).copied(),
            Kind::Incremental(changes) => match number.checked_sub(1) {
                None => Some(soa),
                Some(number) => match changes.get(number / 4) {
                    Some(change) => {
                        let Difference { old_soa, deleted, new_soa, added, .. } = &**change;
                        [old_soa, deleted, new_soa, added].get(number % 4).copied()
                    }
                    None => (number == 4 * changes.len()).then_some(soa),
                },
            },
        }
    }

    /// Writes as many records as fit into `out`; none if not one does.
    fn write(&mut self, out: &mut [u8]) -> Option<usize> {
        if out.len() < HEADER_BYTES + self.question.len() {
            return None;
        }
        let (start, opt_bytes) = self.begin(out);
        let room = out.len().checked_sub(opt_bytes)?;
        let mut names = Names::new(self.contents.origin().as_wire());
        if start > HEADER_BYTES {
            names.learn_origin(&out[..start]);
        }
        let (mut part, mut index) = self.next;
        let (mut at, mut count) = (start, 0);
        while let Some(records) = self.part(part) {
            let Some(record) = records.get(index) else {
                (part, index) = (part + 1, 0);
                continue;
            };
            let Some(end) = names.put(&record, &mut out[..room], at) else { break };
            (at, index, count) = (end, index + 1, count + 1);
        }
        if count == 0 {
            return None;
        }
        // Parts without records must not make a message of their own.
        while self.part(part).is_some_and(|records| index >= records.len()) {
            (part, index) = (part + 1, 0);
        }
        self.next = (part, index);
        Some(self.end(at, (count, opt_bytes), Rcode::NOERROR, out))
    }

    /// Writes the question into the first message. Gives where records begin, and the bytes of the
    /// OPT record that follows them.
    fn begin(&self, out: &mut [u8]) -> (usize, usize) {
        if self.messages > 0 {
            return (HEADER_BYTES, 0);
        }
        let at = HEADER_BYTES + self.question.len();
        out[HEADER_BYTES..at].copy_from_slice(&self.question);
        (at, self.preamble.edns.as_ref().map_or(0, Edns::reply_bytes))
    }

    /// Writes the OPT record and the header; gives the length of the message.
    fn end(
        &self,
        mut at: usize,
        (count, opt_bytes): (u16, usize),
        rcode: Rcode,
        out: &mut [u8],
    ) -> usize {
        let mut additional = 0;
        if let (Some(edns), 1..) = (&self.preamble.edns, opt_bytes) {
            edns.write_reply(&mut out[at..at + opt_bytes], 0, 0);
            (at, additional) = (at + opt_bytes, 1);
        }
        let echoed = self.preamble.flags & flags::RD;
        let aa = if rcode == Rcode::NOERROR { flags::AA } else { 0 };
        let questions = u16::from(self.messages == 0);
        let flags = flags::QR | aa | echoed | (rcode.0 & 0xf);
        let header = [self.preamble.id, flags, questions, count, 0, additional];
        for (bytes, word) in out.chunks_exact_mut(2).zip(header) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        at
    }
}

/// Writes records, and knows which names of the message others can point to.
struct Names<'z> {
    origin: &'z [u8],
    /// Where the origin stands, in its own case.
    origin_at: Option<u16>,
    /// The last owner's labels before the origin, and where it stands.
    owner: Option<(&'z [u8], u16)>,
}

impl<'z> Names<'z> {
    fn new(origin: &'z [u8]) -> Names<'z> {
        Names { origin, origin_at: None, owner: None }
    }

    /// The question's name is the origin, but perhaps in another case.
    fn learn_origin(&mut self, begun: &[u8]) {
        if begun[QNAME_AT..].starts_with(self.origin) {
            self.origin_at = Some(QNAME_AT as u16);
        }
    }

    /// Writes a record at `at`, if it fits; gives where it ends.
    fn put<'r>(&mut self, record: &Record<'r>, out: &mut [u8], at: usize) -> Option<usize>
    where
        'r: 'z,
    {
        let prefix = record.owner_prefix;
        let pointed = match (self.owner, self.origin_at) {
            (Some((owner, pointer)), _) if owner == prefix => Some((0, pointer)),
            (_, Some(pointer)) => Some((prefix.len(), pointer)),
            _ => None,
        };
        let (labels, ending) = match pointed {
            Some((labels, _)) => (labels, 2),
            None => (prefix.len(), self.origin.len()),
        };
        let head_at = at + labels + ending;
        let rdata_at = head_at + RECORD_HEAD_BYTES;
        let end = rdata_at + record.rdata.len();
        let room = out.get_mut(at..end)?;
        room[..labels].copy_from_slice(&prefix[..labels]);
        match pointed {
            Some((_, pointer)) => {
                room[labels..labels + 2].copy_from_slice(&(0xc000 | pointer).to_be_bytes());
            }
            None => room[labels..labels + ending].copy_from_slice(self.origin),
        }
        let head = &mut room[labels + ending..][..RECORD_HEAD_BYTES];
        head[..2].copy_from_slice(&record.rtype.0.to_be_bytes());
        head[2..4].copy_from_slice(&Class::IN.0.to_be_bytes());
        head[4..8].copy_from_slice(&record.ttl.to_be_bytes());
        head[8..].copy_from_slice(&(record.rdata.len() as u16).to_be_bytes());
        room[labels + ending + RECORD_HEAD_BYTES..].copy_from_slice(record.rdata);
        if pointed.is_none() && at + labels <= MAX_POINTER {
            self.origin_at = Some((at + labels) as u16);
        }
        if !matches!(pointed, Some((0, _))) && at <= MAX_POINTER {
            self.owner = Some((prefix, at as u16));
        }
        Some(end)
    }
}

#[cfg(test)]
mod tests;
