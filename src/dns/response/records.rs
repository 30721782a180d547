//! RRsets whose records are put together from pieces while they are written.

use super::{MAX_POINTER, RECORD_HEAD_BYTES, Response, Section, record_head};
use crate::dns::{Rrset, Rtype};

/// The owner of an RRset: labels, and a compression pointer to the rest of the name.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'n> {
    labels: &'n [u8],
    pointer: u16,
}

impl Owner<'_> {
    /// The name at which a compression pointer points.
    pub fn at(pointer: u16) -> Owner<'static> {
        Owner { labels: &[], pointer }
    }
}

/// An RRset that is being written. It counts only once [`offer`](Self::offer) or
/// [`require`](Self::require) is called.
#[derive(Debug)]
pub struct Records<'r, 'o> {
    response: &'r mut Response<'o>,
    /// Where the first record begins.
    start: usize,
    labels: &'r [u8],
    pointer: u16,
    rtype: Rtype,
    ttl: u32,
    count: u16,
    has_room: bool,
}

impl<'o> Response<'o> {
    /// The owner whose labels before the zone's origin, in wire form without a root label, are
    /// these.
    pub fn below_origin<'n>(&self, labels: &'n [u8]) -> Owner<'n> {
        Owner { labels, pointer: self.origin }
    }

    /// Writes an RRset that may be missing, if there is room for all of it.
    pub fn offer(&mut self, section: Section, owner: Owner<'_>, rrset: &Rrset) {
        self.write_rrset(section, owner.labels, owner.pointer, rrset);
    }

    /// Begins an RRset.
    pub fn begin<'r>(&'r mut self, owner: Owner<'r>, rtype: Rtype, ttl: u32) -> Records<'r, 'o> {
        let (start, Owner { labels, pointer }) = (self.at, owner);
        Records { response: self, start, labels, pointer, rtype, ttl, count: 0, has_room: true }
    }
}

impl Records<'_, '_> {
    /// Adds a record; its RDATA are these pieces, one after another.
    pub fn push(&mut self, rdata: &[&[u8]]) {
        let (labels, at) = (self.labels, self.response.at);
        if !self.has_room {
            return;
        }
        let rdlength: usize = rdata.iter().map(|piece| piece.len()).sum();
        let length = labels.len() + RECORD_HEAD_BYTES + rdlength;
        let Some(room) = self.response.take(length) else {
            self.has_room = false;
            return;
        };
        let (owner, rest) = room.split_at_mut(labels.len());
        owner.copy_from_slice(labels);
        // What fits into a message has a length of 16 bits.
        let head = record_head(self.pointer, self.rtype, self.ttl, rdlength as u16);
        let (start, mut rest) = rest.split_at_mut(RECORD_HEAD_BYTES);
        start.copy_from_slice(&head);
        for piece in rdata {
            let (here, behind) = rest.split_at_mut(piece.len());
            here.copy_from_slice(piece);
            rest = behind;
        }
        self.count += 1;
        if !labels.is_empty() && at <= MAX_POINTER {
            (self.labels, self.pointer) = (&[], 0xc000 | at as u16);
        }
    }

    /// Ends an RRset that may be missing: there it is, or nothing of it.
    pub fn offer(self, section: Section) {
        if self.has_room {
            self.response.counts[section as usize] += self.count;
        } else {
            self.response.at = self.start;
        }
    }

    /// Ends an RRset that must not be missing: without room for all of it, the response is
    /// truncated and takes no more records.
    pub fn require(self, section: Section) {
        if self.has_room {
            self.response.counts[section as usize] += self.count;
        } else {
            self.response.at = self.start;
            self.response.truncate();
        }
    }
}
