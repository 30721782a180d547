//! A policy: the rules that choose a pool for a client.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::{PoolId, Steering, WhenAllDown};
use crate::geo::{Code, Location};

/// The index of a policy in [`Steering::policies`](super::Steering::policies), over all zones.
/// Names with the same rules share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyId(pub u32);

/// What stands behind a steered name: rules, of which the first that matches and whose pool is up
/// chooses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Policy {
    /// In the order of the file.
    pub rules: Box<[Rule]>,
}

/// One rule: for whom, and from which pool.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// For whom.
    pub matches: Match,
    /// From where.
    pub pool: PoolId,
}

/// For whom a rule is: every key given must hold, and a key holds when one of its values does.
/// An empty match holds for everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Match {
    /// Continents.
    pub continent: Box<[Code]>,
    /// Countries.
    pub country: Box<[Code]>,
    /// Regions, compared without case; `US/CA` asks for the country too.
    pub region: Box<[Box<str>]>,
    /// Cities, compared without case.
    pub city: Box<[Box<str>]>,
    /// Autonomous systems.
    pub asn: Box<[u32]>,
    /// Prefixes of the client: of its subnet if the query has one, else of the resolver.
    pub network: Box<[IpNet]>,
    /// The operator's labels.
    pub tag: Box<[Box<str>]>,
    /// Prefixes of the resolver that sent the query.
    pub resolver: Box<[IpNet]>,
}

impl Policy {
    /// The pools that it can come to, by rule or by fallback.
    pub fn reach(&self, steering: &Steering) -> Vec<PoolId> {
        let mut reached = Vec::new();
        let mut open: Vec<PoolId> = self.rules.iter().map(|rule| rule.pool).collect();
        while let Some(pool) = open.pop() {
            if !reached.contains(&pool) {
                reached.push(pool);
                if let WhenAllDown::Pool(next) = steering.pools[pool.0 as usize].when_all_down {
                    open.push(next);
                }
            }
        }
        reached
    }
}

impl Match {
    /// The first of the keys about a location that does not hold; none when all do.
    pub fn location_mismatch(&self, location: &Location) -> Option<&'static str> {
        let among = |wanted: &[Code], is: Option<Code>| {
            wanted.is_empty() || is.is_some_and(|code| wanted.contains(&code))
        };
        let named = |wanted: &[Box<str>], is: &Option<Box<str>>| {
            wanted.is_empty()
                || is.as_deref().is_some_and(|is| wanted.iter().any(|w| w.eq_ignore_ascii_case(is)))
        };
        if !among(&self.continent, location.continent) {
            return Some("continent");
        }
        if !among(&self.country, location.country) {
            return Some("country");
        }
        if !(self.region.is_empty() || self.region.iter().any(|region| is_in(location, region))) {
            return Some("region");
        }
        if !named(&self.city, &location.city) {
            return Some("city");
        }
        if !(self.asn.is_empty() || location.asn.is_some_and(|asn| self.asn.contains(&asn))) {
            return Some("asn");
        }
        if !(self.tag.is_empty() || self.tag.iter().any(|tag| location.tags.contains(tag))) {
            return Some("tag");
        }
        None
    }

    /// True when the client's address is in one of the networks, or none are given.
    pub fn network_holds(&self, address: IpAddr) -> bool {
        contain(&self.network, address)
    }

    /// True when the resolver's address is in one of the prefixes, or none are given.
    pub fn resolver_holds(&self, address: IpAddr) -> bool {
        contain(&self.resolver, address)
    }

    /// True when it holds for everybody.
    pub fn is_empty(&self) -> bool {
        *self == Match::default()
    }
}

fn contain(prefixes: &[IpNet], address: IpAddr) -> bool {
    prefixes.is_empty() || prefixes.iter().any(|prefix| prefix.contains(&address))
}

/// `CA` asks for the region alone, `US/CA` for the country too.
fn is_in(location: &Location, wanted: &str) -> bool {
    let (country, region) = match wanted.split_once('/') {
        Some((country, region)) => (country.parse::<Code>().ok(), region),
        None => (None, wanted),
    };
    (country.is_none() || country == location.country)
        && location.region.as_deref().is_some_and(|is| is.eq_ignore_ascii_case(region))
}

impl fmt::Display for Match {
    /// In the words of the file: `country = DE, asn = 64500 64501`; `everybody` when empty.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn list<T: fmt::Display>(values: &[T]) -> String {
            values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        }
        let keys = [
            ("continent", list(&self.continent)),
            ("country", list(&self.country)),
            ("region", list(&self.region)),
            ("city", list(&self.city)),
            ("asn", list(&self.asn)),
            ("network", list(&self.network)),
            ("tag", list(&self.tag)),
            ("resolver", list(&self.resolver)),
        ];
        if self.is_empty() {
            return f.write_str("everybody");
        }
        let given = keys.iter().filter(|(_, values)| !values.is_empty());
        let given: Vec<String> = given.map(|(key, values)| format!("{key} = {values}")).collect();
        f.write_str(&given.join(", "))
    }
}
