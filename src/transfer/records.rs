//! The records of a zone as they came, one after another in one buffer; and the text in which they
//! are kept on disk.

use std::collections::HashMap;
use std::fmt::Write;

use thiserror::Error;

use crate::dns::rrset::names_in;
use crate::dns::{Name, Rtype};

/// Records, in an order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// Owner, type, TTL, length, RDATA, and the next.
    bytes: Vec<u8>,
    count: usize,
}

/// A record of class IN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'r> {
    /// In wire form, its case as it came.
    pub owner: &'r [u8],
    /// Its type.
    pub rtype: Rtype,
    /// In seconds.
    pub ttl: u32,
    /// Uncompressed.
    pub rdata: &'r [u8],
}

/// What leads from one version of a zone to the next (RFC 1995 §4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// What is taken out, the old SOA record first.
    pub deleted: Records,
    /// What is put in, the new SOA record first.
    pub added: Records,
}

/// Why changes do not fit to a zone.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Misfit {
    /// A record is deleted that is not there.
    #[error("a record is deleted that is not there")]
    Missing,
    /// A record is added that is there already.
    #[error("a record is added that is there already")]
    Present,
    /// There is not exactly one SOA record afterwards.
    #[error("the zone would be left without a SOA record, or with several")]
    Soa,
}

impl Records {
    /// Adds a record. The owner must be a name, and the RDATA shorter than 64 KiB.
    pub fn push(&mut self, record: Record<'_>) {
        let Record { owner, rtype, ttl, rdata } = record;
        self.bytes.extend_from_slice(owner);
        self.bytes.extend_from_slice(&rtype.0.to_be_bytes());
        self.bytes.extend_from_slice(&ttl.to_be_bytes());
        self.bytes.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
        self.bytes.extend_from_slice(rdata);
        self.count += 1;
    }

    /// The records, in their order.
    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || {
            let owner = name_end(rest)?;
            let (owner, after) = rest.split_at(owner);
            let ([t0, t1, ttl @ .., l0, l1], after) = after.split_first_chunk::<8>()?;
            let (rdata, after) = after.split_at(u16::from_be_bytes([*l0, *l1]).into());
            rest = after;
            let rtype = Rtype(u16::from_be_bytes([*t0, *t1]));
            Some(Record { owner, rtype, ttl: u32::from_be_bytes(*ttl), rdata })
        })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The memory that they take, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// These records with changes made to them, one after another; the SOA record comes first.
    ///
    /// # Errors
    /// If a change does not fit, so that these are not the records that it was made for.
    pub fn changed(&self, deltas: &[Delta]) -> Result<Records, Misfit> {
        let mut touched: HashMap<Box<[u8]>, Option<Record<'_>>> = HashMap::new();
        for delta in deltas {
            let both = delta.deleted.iter().chain(delta.added.iter());
            touched.extend(both.map(|record| (record.key(), None)));
        }
        // Whether each record here is touched.
        let mut is_touched = Vec::with_capacity(self.count);
        for record in self.iter() {
            let slot = touched.get_mut(&record.key());
            is_touched.push(slot.is_some());
            if let Some(slot) = slot {
                *slot = Some(record);
            }
        }
        for delta in deltas {
            for record in delta.deleted.iter() {
                let there = touched.get_mut(&record.key()).and_then(Option::take);
                there.ok_or(Misfit::Missing)?;
            }
            for record in delta.added.iter() {
                let there = touched.insert(record.key(), Some(record)).flatten();
                there.map_or(Ok(()), |_| Err(Misfit::Present))?;
            }
        }
        let mut put_in: Vec<_> =
            touched.into_iter().filter_map(|(key, record)| Some((key, record?))).collect();
        put_in.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let kept = self.iter().zip(is_touched).filter(|(_, is_touched)| !is_touched);
        let mut all: Vec<Record<'_>> = kept.map(|(record, _)| record).collect();
        all.extend(put_in.into_iter().map(|(_, record)| record));
        // Stable: the others stay in their order.
        all.sort_by_key(|record| record.rtype != Rtype::SOA);
        if all.iter().take_while(|record| record.rtype == Rtype::SOA).count() != 1 {
            return Err(Misfit::Soa);
        }
        let mut changed = Records::default();
        all.into_iter().for_each(|record| changed.push(record));
        Ok(changed)
    }

    /// A master file (RFC 1035 §5) of these records, with all RDATA in the generic form of
    /// RFC 3597 §5.
    pub fn to_text(&self) -> String {
        let mut text = String::with_capacity(3 * self.bytes.len());
        for Record { owner, rtype, ttl, rdata } in self.iter() {
            // What was pushed is a name.
            let Ok(owner) = Name::from_wire(owner) else { continue };
            // Writing to a string cannot fail.
            let _ = write!(text, "{owner} {ttl} IN TYPE{} \\# {}", rtype.0, rdata.len());
            if !rdata.is_empty() {
                text.push(' ');
            }
            for byte in rdata {
                text.extend([byte >> 4, byte & 15].map(|digit| HEX[usize::from(digit)]));
            }
            text.push('\n');
        }
        text
    }

    /// Reads what [`to_text`](Self::to_text) wrote; lines that begin with a semicolon are left
    /// out. None when it is something else.
    pub fn from_text(text: &str) -> Option<Records> {
        let mut records = Records::default();
        for line in text.lines().filter(|line| !line.starts_with(';')) {
            let mut words = line.split(' ');
            let owner: Name = words.next()?.parse().ok()?;
            let ttl = words.next()?.parse().ok()?;
            let is_in = words.next()? == "IN";
            let rtype = Rtype(words.next()?.strip_prefix("TYPE")?.parse().ok()?);
            let is_generic = words.next()? == "\\#";
            let length: u16 = words.next()?.parse().ok()?;
            let rdata = from_hex(words.next().unwrap_or_default())?;
            let is_whole = rdata.len() == usize::from(length) && words.next().is_none();
            if !(is_in && is_generic && is_whole) {
                return None;
            }
            records.push(Record { owner: owner.as_wire(), rtype, ttl, rdata: &rdata });
        }
        Some(records)
    }
}

const HEX: [char; 16] =
    ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |[high, low]: &[u8; 2]| Some((digit(*high)? << 4 | digit(*low)?) as u8);
    rest.is_empty().then(|| pairs.iter().map(byte).collect()).flatten()
}

impl Record<'_> {
    /// Equal for records that are the same but for their TTL and case (RFC 4034 §6.2).
    fn key(&self) -> Box<[u8]> {
        let mut key = self.owner.to_ascii_lowercase();
        key.extend_from_slice(&self.rtype.0.to_be_bytes());
        let start = key.len();
        key.extend_from_slice(self.rdata);
        for name in names_in(self.rtype, self.rdata) {
            key[start..][name].make_ascii_lowercase();
        }
        key.into()
    }
}

/// Where the uncompressed name at the beginning of `bytes` ends.
fn name_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1 + length;
        if length == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn records(list: &[(&str, u16, u32, &[u8])]) -> Records {
        let mut records = Records::default();
        for (owner, rtype, ttl, rdata) in list {
            let owner: Name = owner.parse().unwrap();
            records.push(Record { owner: owner.as_wire(), rtype: Rtype(*rtype), ttl: *ttl, rdata });
        }
        records
    }

    #[test]
    fn changes_that_fit_are_made_and_others_are_refused() {
        let old = records(&[("a.", 6, 1, b"1"), ("x.a.", 1, 5, b"1"), ("y.a.", 1, 5, b"1")]);
        let delta = |deleted: &[(&str, u16, u32, &[u8])], added: &[(&str, u16, u32, &[u8])]| {
            Delta { deleted: records(deleted), added: records(added) }
        };
        let first = delta(&[("a.", 6, 1, b"1"), ("Y.A.", 1, 9, b"1")], &[("a.", 6, 1, b"2")]);
        // Another TTL: out, and in again.
        let second = delta(
            &[("a.", 6, 1, b"2"), ("x.a.", 1, 5, b"1")],
            &[("a.", 6, 1, b"3"), ("x.a.", 1, 6, b"1"), ("z.a.", 1, 5, b"1")],
        );
        let new = old.changed(&[first.clone(), second.clone()]).unwrap();
        assert_eq!(new, records(&[("a.", 6, 1, b"3"), ("x.a.", 1, 6, b"1"), ("z.a.", 1, 5, b"1")]));
        assert_eq!(old.changed(&[second]), Err(Misfit::Missing));
        let twice = delta(&[], &[("X.a.", 1, 7, b"1")]);
        assert_eq!(old.changed(&[twice]), Err(Misfit::Present));
        let none = delta(&[("a.", 6, 1, b"1")], &[]);
        assert_eq!(old.changed(&[none]), Err(Misfit::Soa));
        let two = delta(&[], &[("a.", 6, 1, b"2")]);
        assert_eq!(old.changed(&[two]), Err(Misfit::Soa));
        assert_eq!(old.changed(&[]), Ok(old));
    }

    #[test]
    fn a_text_that_is_not_ours_is_not_read() {
        for text in [
            "a. 1 IN TYPE1 \\# 1",
            "a. 1 IN TYPE1 \\# 1 0",
            "a. 1 IN TYPE1 \\# 1 0g",
            "a. 1 IN TYPE1 \\# 1 00 00",
            "a. 1 IN A 198.51.100.1",
            "a. 1 CH TYPE1 \\# 1 00",
            "a. 1 IN TYPE1",
            "",
        ] {
            let is_empty = text.is_empty();
            assert_eq!(Records::from_text(text).is_some(), is_empty, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_kept_comes_back(
            list in proptest::collection::vec(
                (proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..9), 0..4),
                 any::<u16>(), any::<u32>(), proptest::collection::vec(any::<u8>(), 0..40)), 0..20)
        ) {
            let mut records = Records::default();
            for (labels, rtype, ttl, rdata) in &list {
                let mut owner: Vec<u8> = Vec::new();
                for label in labels {
                    owner.push(label.len() as u8);
                    owner.extend(label);
                }
                owner.push(0);
                records.push(Record { owner: &owner, rtype: Rtype(*rtype), ttl: *ttl, rdata });
            }
            prop_assert_eq!(records.iter().count(), records.count());
            let text = format!("; a word\n{}", records.to_text());
            prop_assert_eq!(Records::from_text(&text), Some(records));
        }
    }
}
