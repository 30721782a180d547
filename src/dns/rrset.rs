//! An RRset in the form in which it is written: one run of bytes a record, names compressed
//! against the zone's origin.

use std::ops::Range;

use super::name::MAX_LABEL_BYTES;
use super::{Class, Rtype};

/// The bytes of a stored record before its RDATA: TYPE, CLASS, TTL and RDLENGTH.
pub const RECORD_HEAD_BYTES: usize = 10;

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
    bytes: Bytes,
    /// None of an RRset of one record without holes, as most are.
    marks: Option<Box<Marks>>,
}

/// The records' bytes, one after another. Few stand in place, so that the RRset is read with one
/// cache line.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Bytes {
    Few { length: u8, bytes: [u8; FEW_BYTES] },
    Many(Box<[u8]>),
}

/// An AAAA record needs 26.
const FEW_BYTES: usize = 30;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Marks {
    /// Where each record ends.
    ends: Box<[u32]>,
    /// Where the holes are, rising.
    holes: Box<[u32]>,
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

impl Rrset {
    /// Builds an RRset of class IN from the uncompressed RDATA of its records, each of at most
    /// 65,535 bytes. `origin` is that of the zone, in wire form.
    pub fn new<'a>(
        rtype: Rtype,
        ttl: u32,
        origin: &[u8],
        records: impl IntoIterator<Item = &'a [u8]>,
    ) -> Rrset {
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        let mut holes = Vec::new();
        for rdata in records {
            bytes.extend_from_slice(&rtype.0.to_be_bytes());
            bytes.extend_from_slice(&Class::IN.0.to_be_bytes());
            bytes.extend_from_slice(&ttl.to_be_bytes());
            bytes.extend_from_slice(&[0, 0]);
            let start = bytes.len();
            push_rdata(rtype, rdata, origin, &mut bytes, &mut holes);
            let length = u16::try_from(bytes.len() - start).unwrap_or(u16::MAX);
            bytes[start - 2..start].copy_from_slice(&length.to_be_bytes());
            ends.push(bytes.len() as u32);
        }
        let marks = (ends.len() != 1 || !holes.is_empty())
            .then(|| Box::new(Marks { ends: ends.into(), holes: holes.into() }));
        Rrset { rtype, ttl, bytes: Bytes::from(bytes), marks }
    }

    /// How many records there are.
    pub fn count(&self) -> usize {
        self.marks.as_ref().map_or(1, |marks| marks.ends.len())
    }

    /// The records' bytes, one after another.
    pub fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Few { length, bytes } => &bytes[..usize::from(*length)],
            Bytes::Many(bytes) => bytes,
        }
    }

    /// Where each record is in [`bytes`](Self::bytes), from its TYPE to the end of its RDATA.
    pub fn records(&self) -> impl Iterator<Item = Range<usize>> {
        let lone = self.marks.is_none().then(|| self.bytes().len());
        let ends = self.marks.as_ref().map_or(&[][..], |marks| &marks.ends);
        let mut start = 0;
        ends.iter().map(|&end| end as usize).chain(lone).map(move |end| {
            let record = start..end;
            start = end;
            record
        })
    }

    /// Where the holes are in [`bytes`](Self::bytes), rising.
    pub fn holes(&self) -> &[u32] {
        self.marks.as_ref().map_or(&[], |marks| &marks.holes)
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(from: Vec<u8>) -> Bytes {
        let mut bytes = [0; FEW_BYTES];
        match bytes.get_mut(..from.len()) {
            Some(few) => few.copy_from_slice(&from),
            None => return Bytes::Many(from.into()),
        }
        Bytes::Few { length: from.len() as u8, bytes }
    }
}

/// Where the names stand in an uncompressed RDATA; empty where a type has none, or is not known
/// here, or the RDATA stops short.
pub fn names_in(rtype: Rtype, rdata: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let (mut at, count) = match rtype.0 {
        NS | MD | MF | CNAME | MB | MG | MR | PTR | NSAP_PTR | DNAME | NSEC => (Some(0), 1),
        SOA | MINFO | RP => (Some(0), 2),
        MX | AFSDB | RT | KX | LP | SVCB | HTTPS => (Some(2), 1),
        PX => (Some(2), 2),
        SRV => (Some(6), 1),
        RRSIG => (Some(18), 1),
        NAPTR => (after_naptr_strings(rdata), 1),
        _ => (None, 0),
    };
    (0..count).map_while(move |_| {
        let start = at?;
        at = name_end(rdata, start);
        at.map(|end| start..end)
    })
}

const NS: u16 = 2;
const MD: u16 = 3;
const MF: u16 = 4;
const CNAME: u16 = 5;
const SOA: u16 = 6;
const MB: u16 = 7;
const MG: u16 = 8;
const MR: u16 = 9;
const PTR: u16 = 12;
const MINFO: u16 = 14;
const MX: u16 = 15;
const RP: u16 = 17;
const AFSDB: u16 = 18;
const RT: u16 = 21;
const NSAP_PTR: u16 = 23;
const PX: u16 = 26;
const SRV: u16 = 33;
const NAPTR: u16 = 35;
const KX: u16 = 36;
const DNAME: u16 = 39;
const RRSIG: u16 = 46;
const NSEC: u16 = 47;
const SVCB: u16 = 64;
const HTTPS: u16 = 65;
const LP: u16 = 107;

/// Only the types that every implementation has always known may be compressed (RFC 3597 §4).
fn may_be_compressed(rtype: Rtype) -> bool {
    matches!(rtype.0, NS | MD | MF | CNAME | SOA | MB | MG | MR | PTR | MINFO | MX)
}

/// Appends one RDATA, a hole in place of the origin at the end of each name that may have one.
fn push_rdata(
    rtype: Rtype,
    rdata: &[u8],
    origin: &[u8],
    bytes: &mut Vec<u8>,
    holes: &mut Vec<u32>,
) {
    let mut copied = 0;
    // A pointer to the root would be longer than the root.
    if may_be_compressed(rtype) && origin.len() > 1 {
        for name in names_in(rtype, rdata) {
            if let Some(prefix) = prefix_above(&rdata[name.clone()], origin) {
                bytes.extend_from_slice(&rdata[copied..name.start + prefix]);
                holes.push(bytes.len() as u32);
                bytes.extend_from_slice(&[0, 0]);
                copied = name.end;
            }
        }
    }
    bytes.extend_from_slice(&rdata[copied..]);
}

/// How many bytes of `name` stand before `origin`, if it is at or below it.
fn prefix_above(name: &[u8], origin: &[u8]) -> Option<usize> {
    let mut at = 0;
    while name.len() - at > origin.len() {
        at += 1 + usize::from(name[at]);
    }
    name.get(at..)?.eq_ignore_ascii_case(origin).then_some(at)
}

/// Where the name that begins at `at` ends; none when it is cut short or compressed.
fn name_end(wire: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let length = usize::from(*wire.get(at)?);
        if length > MAX_LABEL_BYTES {
            return None;
        }
        at += 1 + length;
        if length == 0 {
            return (at <= wire.len()).then_some(at);
        }
    }
}

/// Behind order, preference and three character strings (RFC 3403 §4.1).
fn after_naptr_strings(rdata: &[u8]) -> Option<usize> {
    (0..3).try_fold(4, |at: usize, _| Some(at + 1 + usize::from(*rdata.get(at)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Name;

    fn wire(name: &str) -> Vec<u8> {
        name.parse::<Name>().unwrap().as_wire().to_vec()
    }

    #[test]
    fn a_name_in_an_old_type_gets_a_hole_where_the_origin_stood() {
        let mx = [&[0, 10][..], &wire("mail.Example.COM.")].concat();
        let rrset = Rrset::new(Rtype::MX, 300, &wire("example.com."), [&mx[..]]);
        assert_eq!(rrset.bytes(), b"\0\x0f\0\x01\0\0\x01\x2c\0\x09\0\x0a\x04mail\0\0");
        assert_eq!(rrset.records().next(), Some(0..19));
        assert_eq!(rrset.count(), 1);
        assert_eq!(rrset.holes(), &[17]);
    }

    #[test]
    fn a_soa_has_two_holes_and_keeps_its_numbers() {
        let soa = [&wire("ns1.example.com.")[..], &wire("example.com."), &[7; 20]].concat();
        let rrset = Rrset::new(Rtype::SOA, 0, &wire("example.com."), [&soa[..]]);
        assert_eq!(
            &rrset.bytes()[RECORD_HEAD_BYTES..],
            [b"\x03ns1\0\0\0\0".as_slice(), &[7; 20]].concat()
        );
        assert_eq!(rrset.holes(), &[14, 16]);
        assert_eq!(rrset.bytes()[9], 28);
    }

    #[test]
    fn newer_types_and_names_elsewhere_stay_whole() {
        let origin = wire("example.com.");
        let srv = [&[0; 6][..], &wire("a.example.com.")].concat();
        for (rtype, rdata) in [
            (Rtype::SRV, srv),
            (Rtype::DNAME, wire("a.example.com.")),
            (Rtype::NS, wire("ns.example.net.")),
            (Rtype::NS, wire("badexample.com.")),
            (Rtype::NS, wire("com.")),
        ] {
            let rrset = Rrset::new(rtype, 0, &origin, [&rdata[..]]);
            assert_eq!(&rrset.bytes()[RECORD_HEAD_BYTES..], &rdata[..]);
            assert!(rrset.holes().is_empty());
        }
        let rrset = Rrset::new(Rtype::NS, 0, &wire("."), [&wire("a.")[..]]);
        assert!(rrset.holes().is_empty());
    }

    #[test]
    fn records_come_back_one_by_one() {
        let rrset = Rrset::new(Rtype::A, 60, &wire("a."), [&[1, 2, 3, 4][..], &[5, 6, 7, 8]]);
        let record = |range: Range<usize>| &rrset.bytes()[range][RECORD_HEAD_BYTES..];
        let records: Vec<_> = rrset.records().map(record).collect();
        assert_eq!(records, [[1, 2, 3, 4], [5, 6, 7, 8]]);
        assert_eq!(rrset.count(), 2);
    }

    #[test]
    fn names_are_found_in_every_type_that_has_them() {
        let names = |rtype, rdata: &[u8]| {
            names_in(rtype, rdata).map(|range| rdata[range].to_vec()).collect::<Vec<_>>()
        };
        let naptr = [b"\0\x01\0\x02\x01u\x03SIP\0".as_slice(), &wire("a.b.")].concat();
        assert_eq!(names(Rtype::NAPTR, &naptr), [wire("a.b.")]);
        let rp = [wire("a."), wire("b.")].concat();
        assert_eq!(names(Rtype::RP, &rp), [wire("a."), wire("b.")]);
        assert!(names(Rtype::A, &[1, 2, 3, 4]).is_empty());
        assert!(names(Rtype::NS, b"\x05ab").is_empty());
        assert!(names(Rtype::NS, b"\xc0\x0c").is_empty());
    }
}
