//! Reads a response and its records, with all names uncompressed.

use super::incoming::Fault;
use crate::dns::name::{MAX_LABEL_BYTES, MAX_NAME_BYTES};
use crate::dns::query::{HEADER_BYTES, flags};
use crate::dns::{Class, Opcode, Rcode, Rtype};

/// The header of a response to a query of ours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) flags: u16,
    /// How many questions are echoed.
    pub(super) questions: u16,
    /// How many records there are in the answer section.
    pub(super) answers: u16,
}

impl Header {
    /// Of the response to the query with this id; anything else is a stranger's.
    pub(super) fn of_response(message: &[u8], id: u16) -> Result<Header, Fault> {
        let header = message.first_chunk::<HEADER_BYTES>().ok_or(Fault::Malformed)?;
        let word = |at: usize| u16::from_be_bytes([header[2 * at], header[2 * at + 1]]);
        let flags = word(1);
        let is_query = flags & flags::OPCODE == u16::from(Opcode::QUERY.0) << 11;
        if word(0) != id || flags & flags::QR == 0 || !is_query {
            return Err(Fault::Stranger);
        }
        Ok(Header { flags, questions: word(2), answers: word(3) })
    }

    pub(super) fn rcode(&self) -> Rcode {
        Rcode(self.flags & 0xf)
    }
}

/// A record that was read; what it borrows is overwritten by the next.
#[derive(Debug)]
pub(super) struct WireRecord<'b> {
    /// In wire form.
    pub(super) owner: &'b [u8],
    pub(super) rtype: Rtype,
    pub(super) class: Class,
    /// In seconds.
    pub(super) ttl: u32,
    /// Uncompressed.
    pub(super) rdata: &'b [u8],
}

/// Reads one thing after another from a message.
#[derive(Debug)]
pub(super) struct Cursor<'m> {
    message: &'m [u8],
    at: usize,
    owner: Vec<u8>,
    rdata: Vec<u8>,
}

impl<'m> Cursor<'m> {
    /// Behind the header.
    pub(super) fn new(message: &'m [u8]) -> Cursor<'m> {
        Cursor { message, at: HEADER_BYTES, owner: Vec::new(), rdata: Vec::new() }
    }

    /// Reads over the next question, which is to be this one.
    pub(super) fn expect_question(&mut self, qname: &[u8], qtype: Rtype) -> Result<(), Fault> {
        let (name, rtype, class) = self.question().ok_or(Fault::Malformed)?;
        let is_ours = name.eq_ignore_ascii_case(qname) && rtype == qtype && class == Class::IN;
        if is_ours { Ok(()) } else { Err(Fault::Stranger) }
    }

    /// The next question: name, type and class.
    pub(super) fn question(&mut self) -> Option<(&[u8], Rtype, Class)> {
        self.owner.clear();
        self.at = expand(self.message, self.at, &mut self.owner)?;
        let [t0, t1, c0, c1] = *self.message.get(self.at..)?.first_chunk()?;
        self.at += 4;
        let class = Class(u16::from_be_bytes([c0, c1]));
        Some((&self.owner, Rtype(u16::from_be_bytes([t0, t1])), class))
    }

    /// The next record.
    pub(super) fn record(&mut self) -> Option<WireRecord<'_>> {
        self.owner.clear();
        self.rdata.clear();
        let at = expand(self.message, self.at, &mut self.owner)?;
        let [t0, t1, c0, c1, ttl @ .., l0, l1] = *self.message.get(at..)?.first_chunk::<10>()?;
        let start = at + 10;
        let end = start + usize::from(u16::from_be_bytes([l0, l1]));
        // Nothing of the record is behind its end, but names point to what was before it.
        let message = self.message.get(..end)?;
        let rtype = Rtype(u16::from_be_bytes([t0, t1]));
        let names = expand_names(rtype, message, start, &mut self.rdata)?;
        self.rdata.extend_from_slice(&message[names..]);
        if self.rdata.len() > usize::from(u16::MAX) {
            return None;
        }
        self.at = end;
        let ttl = u32::from_be_bytes(ttl);
        Some(WireRecord {
            owner: &self.owner,
            rtype,
            class: Class(u16::from_be_bytes([c0, c1])),
            // RFC 2181 §8.
            ttl: if ttl > i32::MAX as u32 { 0 } else { ttl },
            rdata: &self.rdata,
        })
    }
}

/// Appends RDATA up to the end of its last name that may be compressed (RFC 3597 §4), and gives
/// where that is. Whether what follows belongs to such a record is not asked here.
fn expand_names(rtype: Rtype, message: &[u8], start: usize, out: &mut Vec<u8>) -> Option<usize> {
    let (fixed, names) = match rtype.0 {
        // NS, MD, MF, CNAME, MB, MG, MR, PTR, NSAP-PTR, NXT, DNAME
        2 | 3 | 4 | 5 | 7 | 8 | 9 | 12 | 23 | 30 | 39 => (0, 1),
        // SOA, MINFO, RP
        6 | 14 | 17 => (0, 2),
        // MX, AFSDB, RT, KX
        15 | 18 | 21 | 36 => (2, 1),
        // PX
        26 => (2, 2),
        // SRV
        33 => (6, 1),
        // SIG
        24 => (18, 1),
        // NAPTR: order, preference, and three strings
        35 => {
            let string = |at: usize| Some(at + 1 + usize::from(*message.get(at)?));
            ((0..3).try_fold(start + 4, |at, _| string(at))? - start, 1)
        }
        _ => return Some(start),
    };
    let mut at = start + fixed;
    out.extend_from_slice(message.get(start..at)?);
    for _ in 0..names {
        at = expand(message, at, out)?;
    }
    Some(at)
}

/// Appends the name that begins at `start`, and gives where it ends there. Each pointer must lead
/// before the labels that it ends, so that there is no way in a circle.
fn expand(message: &[u8], start: usize, out: &mut Vec<u8>) -> Option<usize> {
    let begun = out.len();
    let (mut at, mut limit, mut end) = (start, start, None);
    loop {
        let length = usize::from(*message.get(at)?);
        match length {
            0..=MAX_LABEL_BYTES => {
                let next = at + 1 + length;
                out.extend_from_slice(message.get(at..next)?);
                if out.len() - begun > MAX_NAME_BYTES {
                    return None;
                }
                if length == 0 {
                    return Some(end.unwrap_or(next));
                }
                at = next;
            }
            0xc0.. => {
                let target = (length & 0x3f) << 8 | usize::from(*message.get(at + 1)?);
                if !(HEADER_BYTES..limit).contains(&target) {
                    return None;
                }
                end = end.or(Some(at + 2));
                (at, limit) = (target, target);
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: &[u8]) -> Vec<u8> {
        [&[0; HEADER_BYTES][..], body].concat()
    }

    #[test]
    fn names_are_expanded_where_they_may_be_compressed() {
        // At 12: the question a.b. SOA; at 19: a record of a.b., MX 1 m.a.b.; then the same as TXT.
        let body = b"\x01a\x01b\0\0\x06\0\x01\
            \xc0\x0c\0\x0f\0\x01\0\0\0\x05\0\x06\0\x01\x01m\xc0\x0c\
            \xc0\x0c\0\x10\0\x01\x80\0\0\x05\0\x06\0\x01\x01m\xc0\x0c";
        let message = message(body);
        let mut cursor = Cursor::new(&message);
        let (name, rtype, class) = cursor.question().unwrap();
        assert_eq!((name, rtype, class), (&b"\x01a\x01b\0"[..], Rtype::SOA, Class::IN));
        let mx = cursor.record().unwrap();
        assert_eq!((mx.owner, mx.ttl), (&b"\x01a\x01b\0"[..], 5));
        assert_eq!(mx.rdata, b"\0\x01\x01m\x01a\x01b\0");
        let txt = cursor.record().unwrap();
        assert_eq!((txt.rdata, txt.ttl), (&b"\0\x01\x01m\xc0\x0c"[..], 0));
        assert!(cursor.record().is_none());
    }

    #[test]
    fn names_that_never_end_or_end_outside_are_refused() {
        for body in [
            // To itself, forward, into the header, and an unknown kind of label.
            &b"\xc0\x0c\0\x01\0\x01\0\0\0\0\0\0"[..],
            b"\xc0\x0e\0\x01\0\x01\0\0\0\0\0\0",
            b"\xc0\x00\0\x01\0\x01\0\0\0\0\0\0",
            b"\x40\0\0\x01\0\x01\0\0\0\0\0\0",
            // A label and a pointer back to it.
            b"\x01a\xc0\x0c\0\x01\0\x01\0\0\0\0\0\0",
            // An NS record whose name goes on behind its end.
            b"\0\0\x02\0\x01\0\0\0\0\0\x01\x01a\0",
            // RDATA cut short.
            b"\0\0\x01\0\x01\0\0\0\0\0\x04\x01",
        ] {
            assert!(Cursor::new(&message(body)).record().is_none(), "{body:?}");
        }
    }
}
