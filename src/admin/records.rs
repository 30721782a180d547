//! Compiled records in the words of a master file.

use std::ops::Range;

use domain::base::Rtype as AnyRtype;
use domain::base::name::ParsedName;
use domain::base::rdata::ParseAnyRecordData;
use domain::base::zonefile_fmt::{DisplayKind, ZonefileFmt};
use domain::dep::octseq::Parser;
use domain::rdata::AllRecordData;
use serde::Serialize;

use crate::dns::{Name, OwnedRrset, Rrset};

/// A record in the words of a master file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Record {
    /// The name it stands at.
    pub owner: String,
    /// In seconds.
    pub ttl: u32,
    /// Its type.
    #[serde(rename = "type")]
    pub rtype: String,
    /// Its data.
    pub data: String,
}

/// The bytes before RDATA: TYPE, CLASS, TTL and RDLENGTH (RFC 1035 §4.1.3).
const FIXED_BYTES: usize = 10;

/// The records of an RRset of the zone `origin`, which stands at `owner`.
pub fn records(owner: &Name, rrset: &Rrset, origin: &Name) -> Vec<Record> {
    let record = |at: Range<usize>| Record {
        owner: owner.to_string(),
        ttl: rrset.ttl,
        rtype: rrset.rtype.to_string(),
        data: data(rrset, at, origin),
    };
    rrset.records().map(record).collect()
}

/// The records of an RRset that carries its own owner.
pub fn owned_records(owned: &OwnedRrset, origin: &Name) -> Vec<Record> {
    let mut wire = owned.owner_prefix.to_vec();
    wire.extend_from_slice(origin.as_wire());
    // A compiled name is never too long; if it were, the origin would stand for it.
    let owner = Name::from_wire(&wire).unwrap_or_else(|_| origin.clone());
    records(&owner, &owned.rrset, origin)
}

fn data(rrset: &Rrset, record: Range<usize>, origin: &Name) -> String {
    let rdata = uncompressed(rrset, record.start + FIXED_BYTES..record.end, origin);
    let rtype = AnyRtype::from_int(rrset.rtype.0);
    let mut parser = Parser::from_ref(&rdata[..]);
    match AllRecordData::<&[u8], ParsedName<&[u8]>>::parse_any_rdata(rtype, &mut parser) {
        Ok(data) => data.display_zonefile(DisplayKind::Simple).to_string(),
        Err(_) => unknown(&rdata),
    }
}

/// RDATA with the origin where the holes are.
fn uncompressed(rrset: &Rrset, range: Range<usize>, origin: &Name) -> Vec<u8> {
    let mut rdata = Vec::new();
    let mut at = range.start;
    for hole in rrset.holes().iter().map(|hole| *hole as usize) {
        if range.contains(&hole) {
            rdata.extend_from_slice(&rrset.bytes()[at..hole]);
            rdata.extend_from_slice(origin.as_wire());
            at = hole + 2;
        }
    }
    rdata.extend_from_slice(&rrset.bytes()[at..range.end]);
    rdata
}

/// The form for what nobody knows (RFC 3597 §5).
fn unknown(rdata: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = format!(r"\# {} ", rdata.len());
    for byte in rdata {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Rtype;

    fn rrset(rtype: Rtype, rdata: &[&[u8]]) -> Rrset {
        Rrset::new(rtype, 300, b"\x07example\x03com\0", rdata.iter().copied())
    }

    fn data(rrset: &Rrset) -> Vec<String> {
        let origin = "example.com.".parse().unwrap();
        records(&origin, rrset, &origin).into_iter().map(|record| record.data).collect()
    }

    #[test]
    fn records_are_told_in_the_words_of_a_master_file() {
        let a = rrset(Rtype::A, &[&[198, 51, 100, 1], &[198, 51, 100, 2]]);
        assert_eq!(data(&a), ["198.51.100.1", "198.51.100.2"]);
        let mx = rrset(Rtype::MX, &[b"\0\x0a\x04mail\x07example\x03com\0"]);
        assert_eq!(data(&mx), ["10 mail.example.com."]);
        let txt = rrset(Rtype::TXT, &[b"\x05a\"b c"]);
        assert_eq!(data(&txt), [r#""a\"b c""#]);
        assert_eq!(data(&rrset(Rtype(65280), &[&[1, 0xab]])), [r"\# 2 01 ab"]);
        assert_eq!(data(&rrset(Rtype::A, &[&[1, 0xab]])), [r"\# 2 01ab"]);
    }

    #[test]
    fn an_owner_is_its_prefix_and_the_origin() {
        let a = rrset(Rtype::A, &[&[198, 51, 100, 1]]);
        let owned = OwnedRrset { owner_prefix: (*b"\x02ns\x01a").into(), rrset: a };
        let records = owned_records(&owned, &"example.com.".parse().unwrap());
        assert_eq!(records[0].owner, "ns.a.example.com.");
    }
}
