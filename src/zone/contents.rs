//! Everything that a zone holds, as it is sent to other servers: records in one order, compact.

use std::cmp::Ordering;

use super::Steered;
use super::service;
use super::tree::{NONE, Tree};
use crate::decide::{DefaultAnswer, DefaultRecords};
use crate::dns::{Name, Rtype};

/// Everything that a zone holds, what is at and below its cuts included, and of its steered names
/// the default answers.
#[derive(Debug, PartialEq, Eq)]
pub struct Contents {
    origin: Name,
    serial: u32,
    /// The SOA record alone.
    soa: Records,
    /// All others.
    records: Records,
}

/// Records in the order of their owners, types and data, each once. One is written as the length of
/// its owner's labels before the origin, these labels, and its type, TTL, RDLENGTH and RDATA.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    bytes: Vec<u8>,
    /// Where each record begins.
    starts: Vec<u32>,
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'c> {
    /// The owner's labels before the origin, in wire form without a root label; empty for the apex.
    pub owner_prefix: &'c [u8],
    /// Its type.
    pub rtype: Rtype,
    /// Its TTL, in seconds.
    pub ttl: u32,
    /// Its data; names in it are not compressed.
    pub rdata: &'c [u8],
}

/// Type, TTL and RDLENGTH.
const HEAD_BYTES: usize = 8;

impl Contents {
    /// From records in any order, those of one owner and type with one TTL (RFC 2181 §5.2). None
    /// without exactly one SOA record, or if the SOA is too short to have a serial number.
    pub fn new<'r>(
        origin: Name,
        records: impl IntoIterator<Item = Record<'r>>,
    ) -> Option<Contents> {
        let mut all: Vec<Record<'r>> = records.into_iter().collect();
        all.sort_unstable_by(Record::order);
        all.dedup_by(|a, b| a.order(b) == Ordering::Equal);
        let (soa, others): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|record| record.rtype == Rtype::SOA);
        let [record] = soa[..] else { return None };
        let serial = record.rdata.len().checked_sub(20).map(|at| &record.rdata[at..]);
        let serial = u32::from_be_bytes(*serial?.first_chunk()?);
        let (soa, records) = (Records::of(&[record])?, Records::of(&others)?);
        Some(Contents { origin, serial, soa, records })
    }

    /// Of a zone's tree, with the default answers of its steered names.
    pub(super) fn of(tree: &Tree, steered: &[Steered]) -> Option<Contents> {
        let defaults: Vec<Default> = steered.iter().map(Default::of).collect();
        let hinted = service::by_default(tree, steered);
        let mut all = Vec::with_capacity(tree.records.len());
        for (index, node) in tree.nodes.iter().enumerate() {
            let owner_prefix = tree.given_prefix(index as u32);
            for group in tree.rrsets_at(index as u32) {
                let records = tree.records_of(group);
                let sent =
                    records.iter().zip(group.records.clone()).map(|(record, number)| match hinted
                        .get(&number)
                    {
                        Some((ttl, rdata)) => (*ttl, &rdata[..]),
                        None => (record.ttl, tree.rdata(record)),
                    });
                let ttl = sent.clone().map(|(ttl, _)| ttl).min().unwrap_or(0);
                let rtype = group.rtype;
                all.extend(sent.map(|(_, rdata)| Record { owner_prefix, rtype, ttl, rdata }));
            }
            // What a cut hides is not steered.
            if let Some(default) = defaults.get(node.steered as usize)
                && (node.cut, node.dname) == (NONE, NONE)
            {
                all.extend(default.records.iter().map(|(rtype, rdata)| Record {
                    owner_prefix,
                    rtype: *rtype,
                    ttl: default.ttl,
                    rdata,
                }));
            }
        }
        Contents::new(tree.origin.clone(), all)
    }

    /// The apex.
    pub fn origin(&self) -> &Name {
        &self.origin
    }

    /// The serial number of the SOA record.
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// The SOA record.
    pub fn soa(&self) -> &Records {
        &self.soa
    }

    /// All records but the SOA.
    pub fn records(&self) -> &Records {
        &self.records
    }
}

impl Records {
    /// Records in this order; none if they are too many to be counted.
    pub fn of(records: &[Record<'_>]) -> Option<Records> {
        let mut written = Records::default();
        let bytes =
            |record: &Record<'_>| 1 + record.owner_prefix.len() + HEAD_BYTES + record.rdata.len();
        let total: usize = records.iter().map(bytes).sum();
        u32::try_from(total).ok()?;
        written.bytes.reserve_exact(total);
        written.starts.reserve_exact(records.len());
        for record in records {
            written.starts.push(written.bytes.len() as u32);
            let bytes = &mut written.bytes;
            bytes.push(record.owner_prefix.len() as u8);
            bytes.extend_from_slice(record.owner_prefix);
            bytes.extend_from_slice(&record.rtype.0.to_be_bytes());
            bytes.extend_from_slice(&record.ttl.to_be_bytes());
            bytes.extend_from_slice(&(record.rdata.len() as u16).to_be_bytes());
            bytes.extend_from_slice(record.rdata);
        }
        Some(written)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The bytes that they take.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The record with this number.
    pub fn get(&self, index: usize) -> Option<Record<'_>> {
        let record = self.bytes.get(*self.starts.get(index)? as usize..)?;
        let (&length, rest) = record.split_first()?;
        let (owner_prefix, rest) = rest.split_at_checked(length.into())?;
        let ([t0, t1, ttl @ .., l0, l1], rest) = rest.split_first_chunk::<HEAD_BYTES>()?;
        let rdata = rest.get(..u16::from_be_bytes([*l0, *l1]).into())?;
        let rtype = Rtype(u16::from_be_bytes([*t0, *t1]));
        Some(Record { owner_prefix, rtype, ttl: u32::from_be_bytes(*ttl), rdata })
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

impl Record<'_> {
    /// The order in which records stand. Owners that differ in case alone are equal.
    pub fn order(&self, other: &Record<'_>) -> Ordering {
        let (ours, theirs) = (self.owner_prefix, other.owner_prefix);
        let owners = if ours == theirs {
            Ordering::Equal
        } else {
            let folded = theirs.iter().map(u8::to_ascii_lowercase);
            ours.iter().map(u8::to_ascii_lowercase).cmp(folded)
        };
        owners
            .then_with(|| self.rtype.cmp(&other.rtype))
            .then_with(|| self.rdata.cmp(other.rdata))
            .then_with(|| self.ttl.cmp(&other.ttl))
    }
}

/// The records of a default answer.
struct Default {
    ttl: u32,
    records: Vec<(Rtype, Vec<u8>)>,
}

impl Default {
    fn of(steered: &Steered) -> Default {
        let Some(DefaultAnswer { ttl, records }) = &steered.default else {
            return Default { ttl: 0, records: Vec::new() };
        };
        let records = match records {
            DefaultRecords::Addresses { v4, v6 } => {
                let v4 = v4.iter().map(|address| (Rtype::A, address.octets().to_vec()));
                let v6 = v6.iter().map(|address| (Rtype::AAAA, address.octets().to_vec()));
                v4.chain(v6).collect()
            }
            DefaultRecords::Cname(name) => vec![(Rtype::CNAME, name.as_wire().to_vec())],
        };
        Default { ttl: *ttl, records }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::compile::tests::{compiled, example, steered};

    /// As lines: owner prefix, TTL, type, RDATA in hexadecimal.
    fn lines(records: &Records) -> Vec<String> {
        let owner = |prefix: &[u8]| {
            let wire = [prefix, &[0]].concat();
            Name::from_wire(&wire).unwrap().to_string()
        };
        let line = |record: Record<'_>| {
            let rdata: String = record.rdata.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{} {} {} {rdata}", owner(record.owner_prefix), record.ttl, record.rtype)
        };
        records.iter().map(line).collect()
    }

    #[test]
    fn glue_and_what_cuts_hide_is_there_and_owners_keep_their_case() {
        let mut settings = example(
            "sub NS ns.Sub\nns.sub A 198.51.100.1\nhidden.sub TXT x\nWWW 60 A 198.51.100.3\nwww 30 A 198.51.100.2\n\
             d DNAME elsewhere.example.\nbelow.d A 198.51.100.9\n",
        );
        settings.is_transferred = true;
        let zones = compiled(settings);
        let contents = zones.iter().next().unwrap().contents().unwrap();
        assert_eq!(contents.serial(), 1);
        assert_eq!(contents.soa().len(), 1);
        let lines = lines(contents.records());
        for wanted in [
            "ns.sub. 300 A c6336401",
            "hidden.sub. 300 TXT 0178",
            "below.d. 300 A c6336409",
            "WWW. 30 A c6336402",
            "WWW. 30 A c6336403",
            "sub. 300 NS 026e7303537562076578616d706c6503636f6d00",
        ] {
            assert!(lines.iter().any(|line| line == wanted), "{wanted}: {lines:#?}");
        }
        assert_eq!(lines.len(), 9);
    }

    #[test]
    fn a_steered_name_goes_out_as_its_default_answer() {
        let default = |records| Some(DefaultAnswer { ttl: 20, records });
        let mut geo = steered("geo", false);
        let (v4, v6) = (vec![[198, 51, 100, 7].into()], vec!["2001:db8::7".parse().unwrap()]);
        geo.default = default(DefaultRecords::Addresses { v4, v6 });
        let mut far = steered("far", true);
        far.default = default(DefaultRecords::Cname("a.".parse().unwrap()));
        let mut settings = example(
            "geo TXT y\ngeo HTTPS 1 . port=1 ipv4hint=198.51.100.9 ech=AAEC\n\
             geo 5 HTTPS 2 far mandatory=ipv6hint ipv6hint=2001:db8::1\n",
        );
        settings.steered = vec![geo, far, steered("nobody", false)];
        settings.is_transferred = true;
        let zones = compiled(settings);
        let contents = zones.iter().next().unwrap().contents().unwrap();
        assert_eq!(
            lines(contents.records())[2..],
            [
                "far. 20 CNAME 016100",
                "geo. 20 A c6336407",
                "geo. 300 TXT 0179",
                "geo. 20 AAAA 20010db8000000000000000000000007",
                "geo. 5 HTTPS 00010000030002000100040004c63364070005000300010200060010\
                 20010db8000000000000000000000007",
                "geo. 5 HTTPS 000203666172076578616d706c6503636f6d00",
            ]
        );
    }

    #[test]
    fn a_zone_that_nobody_takes_keeps_no_second_copy() {
        assert!(compiled(example("")).iter().next().unwrap().contents().is_none());
    }
}
