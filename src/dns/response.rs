//! Writes a response into a caller's buffer: names compressed, RRsets whole or not at all, and room
//! for the OPT record kept from the beginning.

mod records;

pub use records::{Owner, Records};

use arrayvec::ArrayVec;

use super::edns::{self, Edns, ExtendedError, MIN_UDP_PAYLOAD_BYTES, OPT_BYTES};
use super::name::MAX_NAME_BYTES;
use super::query::{HEADER_BYTES, Preamble, flags};
use super::rrset;
use super::{Class, OwnedRrset, Rcode, Rrset, Rtype};

/// The least buffer that a response may be given, in bytes: every response without records fits.
pub const MIN_RESPONSE_BYTES: usize = MIN_UDP_PAYLOAD_BYTES as usize;
/// A compression pointer to the question's name, which is always at the same place.
pub const QNAME_POINTER: u16 = 0xc000 | HEADER_BYTES as u16;
/// Owner pointer, type, class, TTL and RDLENGTH.
pub const RECORD_HEAD_BYTES: usize = 12;

/// The longest name server identifier: with it, too, every response without records fits.
pub const MAX_NSID_BYTES: usize = 128;

/// Code and length of an EDNS option.
const OPTION_HEAD_BYTES: usize = 4;
/// What a compression pointer can reach (RFC 1035 §4.1.4).
const MAX_POINTER: usize = 0x3fff;

/// A section behind the question. They are written in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// What was asked for.
    Answer,
    /// The SOA of a negative answer, the NS of a referral.
    Authority,
    /// Addresses of names in the other two.
    Additional,
}

/// A response that is being written.
#[derive(Debug)]
pub struct Response<'o> {
    out: &'o mut [u8],
    at: usize,
    /// Where the records must end, so that the OPT record fits behind them.
    records_end: usize,
    counts: [u16; 3],
    is_truncated: bool,
    /// A compression pointer to the zone's origin inside the question's name.
    origin: u16,
    /// Why the response is as it is, if that helps.
    extended_error: Option<ExtendedError>,
    /// Who answers, if that was asked for; room for it is kept.
    nsid: &'o [u8],
}

impl<'o> Response<'o> {
    /// Begins a response of at most `limit` bytes to `packet` by echoing the question.
    ///
    /// # Panics
    /// If `out` or `limit` is below [`MIN_RESPONSE_BYTES`], or `preamble` is not of `packet`.
    pub fn new(
        out: &'o mut [u8],
        limit: usize,
        packet: &[u8],
        preamble: &Preamble,
    ) -> Response<'o> {
        let limit = limit.min(out.len());
        assert!(limit >= MIN_RESPONSE_BYTES, "a response needs room for question and OPT");
        let at = preamble.question_end;
        out[HEADER_BYTES..at].copy_from_slice(&packet[HEADER_BYTES..at]);
        let reserved = preamble.edns.as_ref().map_or(0, Edns::reply_bytes);
        Response {
            out: &mut out[..limit],
            at,
            records_end: limit - reserved,
            counts: [0; 3],
            is_truncated: false,
            origin: 0,
            extended_error: None,
            nsid: &[],
        }
    }

    /// Says where in the message the zone's origin stands: inside the question.
    pub fn set_origin(&mut self, offset: usize) {
        self.origin = 0xc000 | offset as u16;
    }

    /// Says why the response is as it is (RFC 8914), to those who speak EDNS, if there is room
    /// beside the records. The first reason counts.
    #[cold]
    pub fn set_extended_error(&mut self, error: ExtendedError) {
        self.extended_error.get_or_insert(error);
    }

    /// Says who answers (RFC 5001): at most [`MAX_NSID_BYTES`], before any record is written, and
    /// only to those who asked for it.
    #[cold]
    pub fn set_nsid(&mut self, nsid: &'o [u8]) {
        let nsid = &nsid[..nsid.len().min(MAX_NSID_BYTES)];
        self.records_end -= OPTION_HEAD_BYTES + nsid.len();
        self.nsid = nsid;
    }

    /// Keeps room behind the response for a signature of so many bytes, before any record is
    /// written. Question and OPT stay whatever it takes, so that with a long signature the limit
    /// may be exceeded.
    #[cold]
    pub fn reserve(&mut self, bytes: usize) {
        let opt_bytes = self.out.len() - self.records_end;
        let nsid_bytes = if opt_bytes > 0 { OPTION_HEAD_BYTES + MAX_NSID_BYTES } else { 0 };
        let least = self.at + opt_bytes + nsid_bytes;
        let end = self.out.len().saturating_sub(bytes).max(least).min(self.out.len());
        let out = std::mem::take(&mut self.out);
        self.out = &mut out[..end];
        self.records_end = end - opt_bytes;
    }

    /// True once something that must not be missing was left out.
    pub fn is_truncated(&self) -> bool {
        self.is_truncated
    }

    /// Writes an RRset that must not be missing: without room for all of it, the response is
    /// truncated and takes no more records. Gives where its first record begins.
    pub fn require(&mut self, section: Section, owner: u16, rrset: &Rrset) -> Option<usize> {
        let start = self.write_rrset(section, &[], owner, rrset);
        self.truncate_unless(start)
    }

    /// As [`require`](Self::require), for an RRset with an owner of its own.
    pub fn require_owned(&mut self, section: Section, owned: &OwnedRrset) -> Option<usize> {
        let start = self.write_rrset(section, &owned.owner_prefix, self.origin, &owned.rrset);
        self.truncate_unless(start)
    }

    /// Writes an RRset that may be missing, if there is room for all of it.
    pub fn offer_owned(&mut self, section: Section, owned: &OwnedRrset) {
        self.write_rrset(section, &owned.owner_prefix, self.origin, &owned.rrset);
    }

    /// Writes an RRset given as the RDATA of its records, which must not be missing.
    pub fn require_rdata<const N: usize>(
        &mut self,
        owner: u16,
        rtype: Rtype,
        ttl: u32,
        rdata: impl ExactSizeIterator<Item = [u8; N]>,
    ) {
        let count = rdata.len();
        let records = self.take(count * (RECORD_HEAD_BYTES + N));
        let Some(records) = records else {
            self.truncate();
            return;
        };
        let head = record_head(owner, rtype, ttl, N as u16);
        for (record, rdata) in records.chunks_exact_mut(RECORD_HEAD_BYTES + N).zip(rdata) {
            record[..RECORD_HEAD_BYTES].copy_from_slice(&head);
            record[RECORD_HEAD_BYTES..].copy_from_slice(&rdata);
        }
        self.counts[Section::Answer as usize] += count as u16;
    }

    /// Writes one record of the answer section, which must not be missing. Gives where it begins.
    pub fn require_record(
        &mut self,
        owner: u16,
        rtype: Rtype,
        ttl: u32,
        rdata: &[u8],
    ) -> Option<usize> {
        let start = self.at;
        let Some(record) = self.take(RECORD_HEAD_BYTES + rdata.len()) else {
            return self.truncate_unless(None);
        };
        let head = record_head(owner, rtype, ttl, rdata.len() as u16);
        record[..RECORD_HEAD_BYTES].copy_from_slice(&head);
        record[RECORD_HEAD_BYTES..].copy_from_slice(rdata);
        self.counts[Section::Answer as usize] += 1;
        Some(start)
    }

    /// Writes a TXT record of one string, at most 255 bytes, of class CHAOS and TTL 0, at the name
    /// asked for.
    #[cold]
    pub fn require_chaos_text(&mut self, text: &str) {
        let text = &text.as_bytes()[..text.len().min(u8::MAX.into())];
        let Some(record) = self.take(RECORD_HEAD_BYTES + 1 + text.len()) else {
            return self.truncate();
        };
        let mut head = record_head(QNAME_POINTER, Rtype::TXT, 0, 1 + text.len() as u16);
        head[4..6].copy_from_slice(&Class::CH.0.to_be_bytes());
        record[..RECORD_HEAD_BYTES].copy_from_slice(&head);
        record[RECORD_HEAD_BYTES] = text.len() as u8;
        record[RECORD_HEAD_BYTES + 1..].copy_from_slice(text);
        self.counts[Section::Answer as usize] += 1;
    }

    /// Writes the CNAME record that `dname` means for a name (RFC 6672 §3.1), which must not be
    /// missing. `owner` points to that name, of which the first `kept` bytes, whole labels, stay.
    /// Gives where the record begins.
    #[cold]
    pub fn require_synthesised(&mut self, owner: u16, kept: usize, dname: &Rrset) -> Option<usize> {
        let mut target: ArrayVec<u8, MAX_NAME_BYTES> = ArrayVec::new();
        let labels = &self.out[usize::from(owner) & MAX_POINTER..][..kept];
        let record = dname.records().next().map(|record| &dname.bytes()[record]);
        let rdata = record.and_then(|record| record.get(rrset::RECORD_HEAD_BYTES..))?;
        target.try_extend_from_slice(labels).ok()?;
        target.try_extend_from_slice(rdata).ok()?;
        self.require_record(owner, Rtype::CNAME, dname.ttl, &target)
    }

    /// Writes the OPT record, if the query had one, and the header. Gives the length in bytes.
    ///
    /// `scope` is that of the client subnet.
    pub fn finish(
        mut self,
        preamble: &Preamble,
        is_authoritative: bool,
        rcode: Rcode,
        scope: u8,
    ) -> usize {
        let mut end = self.at;
        let mut additional = self.counts[Section::Additional as usize];
        if let Some(edns) = &preamble.edns {
            end += edns.reply_bytes();
            edns.write_reply(&mut self.out[self.at..end], (rcode.0 >> 4) as u8, scope);
            additional += 1;
            if self.extended_error.is_some() || !self.nsid.is_empty() {
                end = self.append_options(end);
            }
        }
        // Not CD (RFC 4035 §3.1.6).
        let echoed = preamble.flags & (flags::OPCODE | flags::RD);
        let aa = if is_authoritative { flags::AA } else { 0 };
        let tc = if self.is_truncated { flags::TC } else { 0 };
        let questions = u16::from(preamble.question_end > HEADER_BYTES);
        let header = [
            preamble.id,
            flags::QR | echoed | aa | tc | (rcode.0 & 0xf),
            questions,
            self.counts[Section::Answer as usize],
            self.counts[Section::Authority as usize],
            additional,
        ];
        for (bytes, word) in self.out.chunks_exact_mut(2).zip(header) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        end
    }

    /// Appends the options that few responses have to the OPT record, which ends the message at
    /// `end`. Gives where it ends then.
    #[cold]
    fn append_options(&mut self, end: usize) -> usize {
        let error = self.extended_error.map(|ExtendedError(code)| code.to_be_bytes());
        let error = error.as_ref().map_or(&[][..], |code| code);
        let mut at = end;
        for (code, data) in [(edns::NSID, self.nsid), (edns::EXTENDED_ERROR, error)] {
            let next = at + OPTION_HEAD_BYTES + data.len();
            if data.is_empty() || next > self.out.len() {
                continue;
            }
            let (head, room) = self.out[at..next].split_at_mut(OPTION_HEAD_BYTES);
            head[..2].copy_from_slice(&code.to_be_bytes());
            head[2..].copy_from_slice(&(data.len() as u16).to_be_bytes());
            room.copy_from_slice(data);
            at = next;
        }
        let options = (at - self.at - OPT_BYTES) as u16;
        self.out[self.at + OPT_BYTES - 2..][..2].copy_from_slice(&options.to_be_bytes());
        at
    }

    /// Writes all records of an RRset, or none. The owner is `prefix` and a pointer.
    #[inline]
    fn write_rrset(
        &mut self,
        section: Section,
        prefix: &[u8],
        pointer: u16,
        rrset: &Rrset,
    ) -> Option<usize> {
        let start = self.at;
        let count = rrset.count();
        let (mut prefix, mut pointer) = (prefix, pointer);
        let is_first_reachable = prefix.is_empty() || start > MAX_POINTER;
        let later = if is_first_reachable { prefix } else { &[] };
        let owners = prefix.len() + later.len() * count.saturating_sub(1) + 2 * count;
        let origin = self.origin.to_be_bytes();
        let bytes = rrset.bytes();
        let mut room = self.take(owners + bytes.len())?;
        let mut holes = rrset.holes().iter();
        let mut next_hole = holes.next();
        for record in rrset.records() {
            let owner_bytes = prefix.len() + 2;
            let (here, rest) = room.split_at_mut(owner_bytes + record.len());
            let (owner, body) = here.split_at_mut(owner_bytes);
            owner[..prefix.len()].copy_from_slice(prefix);
            owner[prefix.len()..].copy_from_slice(&pointer.to_be_bytes());
            body.copy_from_slice(&bytes[record.clone()]);
            while let Some(&hole) = next_hole.filter(|&&hole| (hole as usize) < record.end) {
                let hole = hole as usize - record.start;
                body[hole..hole + 2].copy_from_slice(&origin);
                next_hole = holes.next();
            }
            if !is_first_reachable {
                (prefix, pointer) = (&[], 0xc000 | start as u16);
            }
            room = rest;
        }
        self.counts[section as usize] += count as u16;
        Some(start)
    }

    /// The next `length` bytes, if they fit.
    fn take(&mut self, length: usize) -> Option<&mut [u8]> {
        let end = self.at + length;
        if end > self.records_end {
            return None;
        }
        let taken = &mut self.out[self.at..end];
        self.at = end;
        Some(taken)
    }

    fn truncate_unless(&mut self, start: Option<usize>) -> Option<usize> {
        if start.is_none() {
            self.truncate();
        }
        start
    }

    #[cold]
    fn truncate(&mut self) {
        self.is_truncated = true;
        self.records_end = self.at;
    }
}

/// A record up to its RDATA.
fn record_head(owner: u16, rtype: Rtype, ttl: u32, rdlength: u16) -> [u8; RECORD_HEAD_BYTES] {
    let [o0, o1] = owner.to_be_bytes();
    let [t0, t1] = rtype.0.to_be_bytes();
    let [c0, c1] = Class::IN.0.to_be_bytes();
    let [l0, l1, l2, l3] = ttl.to_be_bytes();
    let [r0, r1] = rdlength.to_be_bytes();
    [o0, o1, t0, t1, c0, c1, l0, l1, l2, l3, r0, r1]
}

/// The compression pointer to the name that is a record's RDATA, if it and what it ends in can be
/// reached, for the record that continues a chain of aliases.
pub fn rdata_pointer(record_start: usize) -> Option<u16> {
    let offset = record_start + RECORD_HEAD_BYTES;
    (offset + MAX_NAME_BYTES <= MAX_POINTER).then_some(0xc000 | offset as u16)
}

#[cfg(test)]
mod tests;
