//! What changed in a zone from one version to the next, kept in memory for IXFR (RFC 1995).
//!
//! A journal begins anew with the server, and whenever the contents changed without a newer serial
//! number: who then asks for changes gets the whole zone.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use super::soa::is_newer;
use crate::zone::{Contents, Records, Zones};

/// The most versions that are remembered of a zone.
const MOST_STEPS: usize = 250;
/// The most bytes of changes that are remembered of a zone, whatever its size.
const MOST_BYTES: usize = 32 << 20;
/// Less than this is remembered of the smallest zone.
const LEAST_BYTES: usize = 64 << 10;

/// What leads from one version of a zone to the next.
#[derive(Debug)]
pub struct Difference {
    from: u32,
    /// The SOA record before.
    pub(super) old_soa: Records,
    pub(super) deleted: Records,
    /// The SOA record afterwards.
    pub(super) new_soa: Records,
    pub(super) added: Records,
}

/// The last changes of one zone, without gaps.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    /// The oldest first.
    steps: Vec<Arc<Difference>>,
}

/// The journals of all zones.
#[derive(Clone, Debug, Default)]
pub struct Journals {
    /// By origin, in lower-case wire form.
    by_origin: HashMap<Box<[u8]>, Journal>,
}

impl Difference {
    /// What leads from `old` to `new`; none if it cannot be counted.
    pub fn between(old: &Contents, new: &Contents) -> Option<Difference> {
        let (mut deleted, mut added) = (Vec::new(), Vec::new());
        let (mut olds, mut news) = (old.records().iter(), new.records().iter());
        let (mut one, mut other) = (olds.next(), news.next());
        loop {
            let order = match (&one, &other) {
                (Some(one), Some(other)) => one.order(other),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => break,
            };
            if order.is_lt() {
                deleted.extend(one);
            } else if order.is_gt() {
                added.extend(other);
            }
            if order.is_le() {
                one = olds.next();
            }
            if order.is_ge() {
                other = news.next();
            }
        }
        Some(Difference {
            from: old.serial(),
            old_soa: old.soa().clone(),
            deleted: Records::of(&deleted)?,
            new_soa: new.soa().clone(),
            added: Records::of(&added)?,
        })
    }

    /// The bytes that it takes.
    pub fn bytes(&self) -> usize {
        [&self.old_soa, &self.deleted, &self.new_soa, &self.added].iter().map(|r| r.bytes()).sum()
    }
}

impl Journal {
    /// The journal when `old` is replaced by `new`.
    pub(super) fn after(&self, old: &Contents, new: &Contents) -> Journal {
        if old == new {
            return self.clone();
        }
        if !is_newer(new.serial(), old.serial()) {
            return Journal::default();
        }
        let Some(step) = Difference::between(old, new) else { return Journal::default() };
        let mut steps = self.steps.clone();
        steps.push(Arc::new(step));
        // What is larger than the zone itself is never sent.
        let most = new.records().bytes().clamp(LEAST_BYTES, MOST_BYTES);
        let (mut bytes, mut kept) = (0, 0);
        for step in steps.iter().rev().take(MOST_STEPS) {
            bytes += step.bytes();
            if bytes > most {
                break;
            }
            kept += 1;
        }
        steps.drain(..steps.len() - kept);
        Journal { steps }
    }

    /// What leads from the version `serial` to the last one; none if that is not known.
    pub fn since(&self, serial: u32) -> Option<&[Arc<Difference>]> {
        let at = self.steps.iter().position(|step| step.from == serial)?;
        Some(&self.steps[at..])
    }
}

impl Journals {
    /// The journals when `old` zones are replaced by `new` ones.
    pub fn after(&self, old: &Zones, new: &Zones) -> Journals {
        let mut by_origin = HashMap::new();
        let before: HashMap<&[u8], &Arc<Contents>> = old
            .iter()
            .filter_map(|zone| Some((zone.origin().as_wire(), zone.contents()?)))
            .collect();
        for contents in new.iter().filter_map(|zone| zone.contents()) {
            let origin = contents.origin();
            let Some(old) = before.get(origin.as_wire()) else { continue };
            let key = origin.to_key();
            let known = self.by_origin.get(&key);
            let journal = match Arc::ptr_eq(old, contents) {
                true => known.cloned().unwrap_or_default(),
                false => known.unwrap_or(&Journal::default()).after(old, contents),
            };
            if !journal.steps.is_empty() {
                by_origin.insert(key, journal);
            }
        }
        Journals { by_origin }
    }

    /// That of the zone with an origin in lower-case wire form, if there is anything in it.
    pub fn of(&self, origin: &[u8]) -> Option<&Journal> {
        self.by_origin.get(origin)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dns::{Name, Rtype};
    use crate::zone::contents::Record;

    /// A zone with a serial number and, for each number, a record.
    pub fn contents(serial: u32, records: &[(u8, u8)]) -> Contents {
        let soa = [&[0, 0][..], &serial.to_be_bytes(), &[0; 16]].concat();
        let owners: Vec<Vec<u8>> =
            records.iter().map(|(owner, _)| vec![1, b'a' + owner % 26]).collect();
        let data: Vec<[u8; 4]> = records.iter().map(|(_, data)| [198, 51, 100, *data]).collect();
        let record =
            |(owner, rdata)| Record { owner_prefix: owner, rtype: Rtype::A, ttl: 1, rdata };
        let others = owners.iter().map(|owner| &owner[..]).zip(data.iter().map(|data| &data[..]));
        let soa = Record { owner_prefix: &[], rtype: Rtype::SOA, ttl: 5, rdata: &soa };
        let origin: Name = "example.com.".parse().unwrap();
        Contents::new(origin, others.map(record).chain([soa])).unwrap()
    }

    /// The same zone once more.
    pub fn copy(of: &Contents) -> Contents {
        let all: Vec<Record<'_>> = of.soa().iter().chain(of.records().iter()).collect();
        Contents::new(of.origin().clone(), all).unwrap()
    }

    /// What becomes of a zone's records by these changes; each must fit.
    fn apply(steps: &[Arc<Difference>], old: &Contents) -> (Vec<Vec<u8>>, Records) {
        let bytes = |record: Record<'_>| format!("{record:?}").into_bytes();
        let mut all: Vec<Vec<u8>> = old.records().iter().map(bytes).collect();
        let mut soa = old.soa().clone();
        for step in steps {
            assert_eq!(step.old_soa, soa);
            for record in step.deleted.iter() {
                let at = all.iter().position(|known| *known == bytes(record));
                all.remove(at.expect("what is deleted is there"));
            }
            for record in step.added.iter() {
                assert!(!all.contains(&bytes(record)), "what is added is new");
                all.push(bytes(record));
            }
            soa = step.new_soa.clone();
        }
        all.sort();
        (all, soa)
    }

    proptest! {
        #[test]
        fn the_changes_applied_to_the_old_zone_make_the_new_one(
            versions in prop::collection::vec(prop::collection::vec((0u8..9, 0u8..9), 0..40), 2..8),
            first: u32,
        ) {
            let version = |(n, records): (u32, &Vec<_>)| contents(first.wrapping_add(n), records);
            let versions: Vec<Contents> = (0..).zip(&versions).map(version).collect();
            let mut journal = Journal::default();
            for pair in versions.windows(2) {
                journal = journal.after(&pair[0], &pair[1]);
            }
            let last = versions.last().unwrap();
            let bytes = |record: Record<'_>| format!("{record:?}").into_bytes();
            let mut expected: Vec<Vec<u8>> = last.records().iter().map(bytes).collect();
            expected.sort();
            for old in &versions[..versions.len() - 1] {
                let steps = journal.since(old.serial()).unwrap();
                let (records, soa) = apply(steps, old);
                prop_assert_eq!(&records, &expected);
                prop_assert_eq!(&soa, last.soa());
            }
            prop_assert!(journal.since(last.serial()).is_none());
        }
    }

    #[test]
    fn a_change_without_a_newer_serial_number_begins_the_journal_anew() {
        let journal = Journal::default().after(&contents(1, &[(1, 1)]), &contents(2, &[(1, 2)]));
        assert!(journal.since(1).is_some());
        let old = contents(2, &[(1, 2)]);
        assert!(journal.after(&old, &old).since(1).is_some(), "nothing changed");
        for serial in [2, 1, 2 + (1 << 31)] {
            assert!(journal.after(&old, &contents(serial, &[(1, 3)])).since(1).is_none());
        }
    }

    #[test]
    fn a_journal_is_bounded_in_number_and_size() {
        let mut journal = Journal::default();
        let mut old = contents(0, &[]);
        for serial in 1..1000 {
            let new = contents(serial, &[(1, serial as u8)]);
            journal = journal.after(&old, &new);
            old = new;
        }
        assert_eq!(journal.steps.len(), MOST_STEPS);
        assert!(journal.since(998).is_some() && journal.since(1).is_none());
        let many: Vec<(u8, u8)> = (0..=255).map(|n| (0, n)).collect();
        for n in 0..100 {
            let new = contents(old.serial() + 1, if n % 2 == 0 { &many } else { &[] });
            journal = journal.after(&old, &new);
            old = new;
        }
        let bytes: usize = journal.steps.iter().map(|step| step.bytes()).sum();
        assert!(bytes <= LEAST_BYTES && !journal.steps.is_empty(), "{bytes}");
    }
}
