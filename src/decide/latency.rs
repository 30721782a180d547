//! Measured latencies from clients to datacenters, for a prefix, a region, an autonomous system or a
//! country.

use std::collections::HashMap;
use std::net::IpAddr;

use foldhash::fast::RandomState;
use ipnet::IpNet;

use super::DatacenterId;
use super::prefixes::{Prefixes, canonical};
use crate::geo::{Code, Location};

/// Whose latency was measured.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Of the clients in a prefix.
    Prefix(IpNet),
    /// Of those in a region of a country; its name is compared without case.
    Region(Code, Box<str>),
    /// Of those in an autonomous system.
    Asn(u32),
    /// Of those in a country.
    Country(Code),
}

/// Measured latencies: what is known of a narrower scope goes before what is known of a wider one.
#[derive(Clone, Debug, PartialEq)]
pub struct Latencies {
    prefixes: Prefixes,
    /// By the number of the prefix.
    of_prefixes: Vec<Row>,
    regions: HashMap<(Code, Box<str>), Row, RandomState>,
    systems: HashMap<u32, Row, RandomState>,
    countries: HashMap<Code, Row, RandomState>,
}

/// By rising datacenter: milliseconds.
type Row = Vec<(DatacenterId, f32)>;

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies::new(Vec::new())
    }
}

impl Latencies {
    /// From milliseconds, 0 or more; what is no such number is passed over. Of two for the same
    /// scope and datacenter, the later counts.
    pub fn new(entries: Vec<(Scope, DatacenterId, f32)>) -> Latencies {
        let mut rows: HashMap<IpNet, Row> = HashMap::new();
        let mut regions: HashMap<_, Row, _> = HashMap::default();
        let mut systems: HashMap<_, Row, _> = HashMap::default();
        let mut countries: HashMap<_, Row, _> = HashMap::default();
        for (scope, datacenter, ms) in entries {
            if !(ms.is_finite() && ms >= 0.0) {
                continue;
            }
            let row = match scope {
                Scope::Prefix(prefix) => rows.entry(canonical(prefix)).or_default(),
                Scope::Region(country, name) => {
                    regions.entry((country, name.to_lowercase().into())).or_default()
                }
                Scope::Asn(asn) => systems.entry(asn).or_default(),
                Scope::Country(country) => countries.entry(country).or_default(),
            };
            set(row, datacenter, ms);
        }
        let mut rows: Vec<(IpNet, Row)> = rows.into_iter().collect();
        rows.sort_unstable_by_key(|(prefix, _)| (prefix.network(), prefix.prefix_len()));
        inherit(&mut rows);
        let prefixes = Prefixes::new(rows.iter().map(|(prefix, _)| *prefix).zip(0..));
        let of_prefixes = rows.into_iter().map(|(_, row)| row).collect();
        Latencies { prefixes, of_prefixes, regions, systems, countries }
    }

    /// True when nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.of_prefixes.is_empty()
            && self.regions.is_empty()
            && self.systems.is_empty()
            && self.countries.is_empty()
    }

    /// The milliseconds from a client at that address and location to a datacenter.
    pub fn ms(&self, address: IpAddr, at: &Location, datacenter: DatacenterId) -> Option<f32> {
        self.within(self.prefixes.find(address), at).ms(datacenter)
    }

    /// What is known of clients at that location, in a measured prefix of that number if in one.
    pub(super) fn within(&self, prefix: Option<u32>, at: &Location) -> Known<'_> {
        let region = at.country.zip(at.region.as_deref()).filter(|_| !self.regions.is_empty());
        let region = region.map(|(country, name)| (country, name.to_lowercase().into()));
        Known([
            prefix.and_then(|number| self.of_prefixes.get(number as usize)),
            region.and_then(|region| self.regions.get(&region)),
            at.asn.and_then(|asn| self.systems.get(&asn)),
            at.country.and_then(|country| self.countries.get(&country)),
        ])
    }

    /// The number of the longest measured prefix around an address.
    pub(super) fn number_of(&self, address: IpAddr) -> Option<u32> {
        self.prefixes.find(address)
    }

    /// The measured prefixes, if there are any.
    pub(super) fn prefixes(&self) -> Option<&Prefixes> {
        (!self.of_prefixes.is_empty()).then_some(&self.prefixes)
    }
}

/// What is known of some clients, the narrowest scope first.
pub(super) struct Known<'l>([Option<&'l Row>; 4]);

impl Known<'_> {
    pub(super) fn ms(&self, datacenter: DatacenterId) -> Option<f32> {
        self.0.iter().flatten().find_map(|row| find(row, datacenter))
    }
}

fn set(row: &mut Row, datacenter: DatacenterId, ms: f32) {
    match row.binary_search_by_key(&datacenter, |(known, _)| *known) {
        Ok(at) => row[at].1 = ms,
        Err(at) => row.insert(at, (datacenter, ms)),
    }
}

fn find(row: &Row, datacenter: DatacenterId) -> Option<f32> {
    let at = row.binary_search_by_key(&datacenter, |(known, _)| *known).ok()?;
    Some(row[at].1)
}

/// Gives every prefix what is known of the next wider one around it. Prefixes rise, and a wider one
/// stands before those in it.
fn inherit(rows: &mut [(IpNet, Row)]) {
    let mut around: Vec<usize> = Vec::new();
    for index in 0..rows.len() {
        let (before, rest) = rows.split_at_mut(index);
        let (prefix, row) = &mut rest[0];
        while around.last().is_some_and(|wider| !before[*wider].0.contains(&*prefix)) {
            around.pop();
        }
        if let Some(&wider) = around.last() {
            let mut whole = before[wider].1.clone();
            row.iter().for_each(|&(datacenter, ms)| set(&mut whole, datacenter, ms));
            *row = whole;
        }
        around.push(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRA: DatacenterId = DatacenterId(0);
    const IAD: DatacenterId = DatacenterId(1);

    fn prefix(text: &str) -> Scope {
        Scope::Prefix(text.parse().unwrap())
    }

    fn at() -> Location {
        Location {
            country: "US".parse().ok(),
            region: Some("California".into()),
            asn: Some(64500),
            ..Location::default()
        }
    }

    #[test]
    fn the_narrowest_scope_that_knows_a_datacenter_tells_its_latency() {
        let us = "US".parse().unwrap();
        let all = [
            (Scope::Country(us), FRA, 1.0),
            (Scope::Country(us), IAD, 2.0),
            (Scope::Asn(64500), FRA, 3.0),
            (Scope::Region(us, "california".into()), FRA, 4.0),
            (prefix("198.51.100.0/22"), FRA, 5.0),
            (prefix("198.51.100.0/22"), IAD, 6.0),
            (prefix("198.51.100.0/24"), FRA, 7.0),
        ];
        let ask = |known: usize, address: &str, datacenter| {
            Latencies::new(all[..known].to_vec()).ms(address.parse().unwrap(), &at(), datacenter)
        };
        let inside = "198.51.100.1";
        assert_eq!(ask(0, inside, FRA), None);
        for (known, ms) in [(1, 1.0), (2, 1.0), (3, 3.0), (4, 4.0), (6, 5.0), (7, 7.0)] {
            assert_eq!(ask(known, inside, FRA), Some(ms), "{known}");
        }
        assert_eq!(ask(4, inside, IAD), Some(2.0));
        assert_eq!(ask(7, inside, IAD), Some(6.0), "from the wider prefix");
        assert_eq!(ask(7, "203.0.113.1", IAD), Some(2.0));
        assert_eq!(ask(7, "::ffff:198.51.100.1", FRA), Some(7.0));
    }

    #[test]
    fn what_is_no_latency_is_passed_over_and_the_later_of_two_counts() {
        let entries = [1.0, 9.0, f32::NAN, -1.0].map(|ms| (Scope::Asn(64500), FRA, ms));
        let latencies = Latencies::new(entries.to_vec());
        assert_eq!(latencies.ms("203.0.113.1".parse().unwrap(), &at(), FRA), Some(9.0));
        assert!(Latencies::default().is_empty() && !latencies.is_empty());
    }
}
