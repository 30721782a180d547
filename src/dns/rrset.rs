//! An RRset in the form in which it is written: one run of bytes a record, names compressed
//! against the zone's origin.

use super::Rtype;

/// An RRset, ready to be written.
///
/// A record is stored from its TYPE to the end of its RDATA. Where a name in the RDATA of a type of
/// RFC 1035 ends in the zone's origin, that ending is a *hole*: two bytes, to be filled with a
/// compression pointer to wherever the origin stands in the message (always inside the question).
/// RDLENGTH counts the two bytes, so it needs no patching.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rrset {
    /// The type of every record.
    pub rtype: Rtype,
    /// The TTL of every record, in seconds.
    pub ttl: u32,
    /// The records' bytes, one after another.
    pub bytes: Box<[u8]>,
    /// Where each record ends in `bytes`.
    pub ends: Box<[u32]>,
    /// Where the holes are in `bytes`, rising.
    pub holes: Box<[u32]>,
}

/// An RRset whose owner is not the name asked for: glue, addresses for ADDITIONAL, a delegation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedRrset {
    /// The owner's labels before the zone's origin, in wire form without a root label; empty for
    /// the apex.
    pub owner_prefix: Box<[u8]>,
    /// Its records.
    pub rrset: Rrset,
}
