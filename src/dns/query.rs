//! Reads a query from a packet (RFC 1035 §4.1), in the order of checks that keeps a stranger's
//! bytes harmless.

use super::edns::Edns;
use super::name::{MAX_LABEL_BYTES, MAX_NAME_BYTES};
use super::{Class, Opcode, Rcode, Rtype};

/// The length of the header, in bytes.
pub const HEADER_BYTES: usize = 12;
/// Type, class, TTL and RDLENGTH of a record.
const RECORD_HEAD_BYTES: usize = 10;

/// The flag bits of the header.
pub mod flags {
    /// This is a response.
    pub const QR: u16 = 0x8000;
    /// The answer is authoritative.
    pub const AA: u16 = 0x0400;
    /// The answer is truncated.
    pub const TC: u16 = 0x0200;
    /// Recursion is desired.
    pub const RD: u16 = 0x0100;
    /// The operation code.
    pub const OPCODE: u16 = 0x7800;
}

/// What a response of any kind takes from the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preamble {
    /// The message's id.
    pub id: u16,
    /// The flags of the header.
    pub flags: u16,
    /// Where the question ends in the packet; [`HEADER_BYTES`] when none is to be echoed.
    pub question_end: usize,
    /// The OPT record, if there is one.
    pub edns: Option<Edns>,
}

/// Room for the name of a query, so that it need not be moved once it is read.
#[derive(Debug)]
pub struct NameRoom([u8; MAX_NAME_BYTES]);

impl NameRoom {
    /// Empty.
    pub fn new() -> NameRoom {
        NameRoom([0; MAX_NAME_BYTES])
    }
}

impl Default for NameRoom {
    fn default() -> NameRoom {
        NameRoom::new()
    }
}

/// A well-formed query.
#[derive(Clone, Debug)]
pub struct Query<'r> {
    /// What the response takes from it.
    pub preamble: Preamble,
    /// The type asked for.
    pub qtype: Rtype,
    /// The class asked for.
    pub qclass: Class,
    /// The name asked for, in lower-case wire form.
    pub qname: &'r [u8],
}

/// Why there is no query to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// Too short to be a message: no response.
    Runt,
    /// A response: no response, or two servers could talk for ever.
    Response,
    /// A response with this code and no records.
    Error(Rcode, Preamble),
    /// No query, but a well-formed NOTIFY message (RFC 1996).
    Notify(Preamble),
    /// No response before the signature is verified (RFC 8945 §5.2): there is a TSIG record.
    Signed {
        /// Where it begins. It is the last record.
        tsig: usize,
        /// What the response takes from the query.
        preamble: Preamble,
    },
}

/// Why a message is not read to its end.
enum Fault {
    Error(Rcode),
    Signed(usize),
}

impl From<Rcode> for Fault {
    fn from(rcode: Rcode) -> Fault {
        Fault::Error(rcode)
    }
}

impl<'r> Query<'r> {
    /// Reads a query; `room` takes its name.
    ///
    /// A message with a TSIG record is rejected: it has to be verified, and to come again without
    /// that record.
    pub fn parse(packet: &[u8], room: &'r mut NameRoom) -> Result<Query<'r>, Rejection> {
        let [i0, i1, f0, f1, counts @ ..] =
            packet.first_chunk::<HEADER_BYTES>().ok_or(Rejection::Runt)?;
        let flags = u16::from_be_bytes([*f0, *f1]);
        if flags & flags::QR != 0 {
            return Err(Rejection::Response);
        }
        let count = |at: usize| u16::from_be_bytes([counts[at], counts[at + 1]]);
        let counts = Counts {
            questions: count(0),
            skipped: u32::from(count(2)) + u32::from(count(4)),
            additional: count(6),
        };
        let mut query = Query {
            preamble: Preamble {
                id: u16::from_be_bytes([*i0, *i1]),
                flags,
                question_end: HEADER_BYTES,
                edns: None,
            },
            qtype: Rtype(0),
            qclass: Class(0),
            qname: &[],
        };
        let read = query.read(packet, counts, room);
        let opcode = Opcode(((flags & flags::OPCODE) >> 11) as u8);
        match (read, opcode) {
            (Err(Fault::Signed(tsig)), _) => {
                Err(Rejection::Signed { tsig, preamble: query.preamble })
            }
            (Ok(()), Opcode::QUERY) => Ok(query),
            (Ok(()), Opcode::NOTIFY) => Err(Rejection::Notify(query.preamble)),
            (Err(Fault::Error(rcode)), Opcode::QUERY | Opcode::NOTIFY) => {
                Err(Rejection::Error(rcode, query.preamble))
            }
            _ => Err(Rejection::Error(Rcode::NOTIMP, query.preamble)),
        }
    }

    /// Everything behind the header. What was read before a fault stays, for the response.
    fn read(&mut self, packet: &[u8], counts: Counts, room: &'r mut NameRoom) -> Result<(), Fault> {
        if counts.questions != 1 {
            return Err(Rcode::FORMERR.into());
        }
        let mut at = self.read_question(packet, room).ok_or(Rcode::FORMERR)?;
        self.preamble.question_end = at;
        for _ in 0..counts.skipped {
            let record = Record::read(packet, at).ok_or(Rcode::FORMERR)?;
            if matches!(record.rtype, Rtype::OPT | Rtype::TSIG) {
                return Err(Rcode::FORMERR.into());
            }
            at = record.end;
        }
        let (mut edns, mut tsig) = (None, None);
        for _ in 0..counts.additional {
            let record = Record::read(packet, at).ok_or(Rcode::FORMERR)?;
            if tsig.is_some() {
                // TSIG is the last record (RFC 8945 §5.1).
                return Err(Rcode::FORMERR.into());
            }
            match record.rtype {
                Rtype::OPT if edns.is_some() || !record.is_at_root => {
                    return Err(Rcode::FORMERR.into());
                }
                Rtype::TSIG => tsig = Some(at),
                _ => (),
            }
            at = record.end;
            if record.rtype == Rtype::OPT {
                // At once: whatever is wrong behind it, the response has one, too.
                edns = Some(self.read_edns(&record));
            }
        }
        let is_whole = at == packet.len();
        match tsig {
            // Whatever is wrong with the options, whoever signs it is told so under a signature.
            Some(tsig) if is_whole => Err(Fault::Signed(tsig)),
            _ => {
                edns.unwrap_or(Ok(()))?;
                if is_whole { Ok(()) } else { Err(Rcode::FORMERR.into()) }
            }
        }
    }

    /// Where the question ends.
    fn read_question(&mut self, packet: &[u8], room: &'r mut NameRoom) -> Option<usize> {
        let name_end = end_of_uncompressed_name(packet, HEADER_BYTES)?;
        let [t0, t1, c0, c1] = *packet.get(name_end..)?.first_chunk()?;
        let name = &packet[HEADER_BYTES..name_end];
        let qname = &mut room.0[..name.len()];
        qname.copy_from_slice(name);
        // The length bytes are below any letter, so that the whole can be folded at once.
        qname.make_ascii_lowercase();
        self.qname = qname;
        self.qtype = Rtype(u16::from_be_bytes([t0, t1]));
        self.qclass = Class(u16::from_be_bytes([c0, c1]));
        Some(name_end + 4)
    }

    fn read_edns(&mut self, opt: &Record) -> Result<(), Rcode> {
        match Edns::parse(opt.class, opt.ttl, opt.rdata) {
            Ok(edns) => {
                let is_known = edns.version == 0;
                self.preamble.edns = Some(edns);
                if is_known { Ok(()) } else { Err(Rcode::BADVERS) }
            }
            Err(_) => {
                // The response says that we speak EDNS, whatever is wrong with the options.
                self.preamble.edns = Edns::parse(opt.class, opt.ttl, &[]).ok();
                Err(Rcode::FORMERR)
            }
        }
    }
}

struct Counts {
    questions: u16,
    /// Answers and authority.
    skipped: u32,
    additional: u16,
}

/// A record of the sections behind the question.
struct Record<'p> {
    is_at_root: bool,
    rtype: Rtype,
    class: u16,
    ttl: u32,
    rdata: &'p [u8],
    end: usize,
}

impl Record<'_> {
    fn read(packet: &[u8], at: usize) -> Option<Record<'_>> {
        let name_end = end_of_name(packet, at)?;
        let head = packet.get(name_end..)?.first_chunk::<RECORD_HEAD_BYTES>()?;
        let [t0, t1, c0, c1, ttl @ .., l0, l1] = *head;
        let rdata_at = name_end + RECORD_HEAD_BYTES;
        let end = rdata_at + usize::from(u16::from_be_bytes([l0, l1]));
        Some(Record {
            is_at_root: name_end == at + 1,
            rtype: Rtype(u16::from_be_bytes([t0, t1])),
            class: u16::from_be_bytes([c0, c1]),
            ttl: u32::from_be_bytes(ttl),
            rdata: packet.get(rdata_at..end)?,
            end,
        })
    }
}

/// Where a name ends that must not be compressed, as there is nothing before it to point to.
fn end_of_uncompressed_name(packet: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        let length = usize::from(*packet.get(at)?);
        if length > MAX_LABEL_BYTES {
            return None;
        }
        at += 1 + length;
        if at - start > MAX_NAME_BYTES {
            return None;
        }
        if length == 0 {
            return Some(at);
        }
    }
}

/// Where a name ends that is only skipped: a compression pointer ends it, and is not followed.
fn end_of_name(packet: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        let length = usize::from(*packet.get(at)?);
        match length {
            0 => return Some(at + 1),
            1..=MAX_LABEL_BYTES => at += 1 + length,
            0xc0.. => {
                let target = (length & 0x3f) << 8 | usize::from(*packet.get(at + 1)?);
                return (HEADER_BYTES..at).contains(&target).then_some(at + 2);
            }
            _ => return None,
        }
        if at - start >= MAX_NAME_BYTES {
            return None;
        }
    }
}

#[cfg(test)]
mod tests;
