//! Client groups: the units in which demand is counted and capacity is given out. Each holds the
//! clients of a region, a country, an autonomous system in it, or one prefix.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;

use super::prefixes::{Prefixes, canonical};
use crate::geo::country::country;
use crate::geo::range_table::Key;
use crate::geo::{Code, Coordinates, Location, LocationId, World};

/// The index of a group in [`Groups::list`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(pub u32);

/// The most groups that have numbers wherever they are written down.
pub const MOST_GROUPS: usize = u16::MAX as usize;

/// As many as a world has by default: the regions of all countries, most of them unjoined.
pub const USUAL_GROUPS: usize = 4_000;

/// The clients of one place or prefix.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Unique, and the same after every reload: `US/CA`, `US/CA/AS64500`, `DE`, `Europe`, `world`,
    /// or a prefix.
    pub name: Box<str>,
    /// What all its clients have in common. The coordinates are the mean of their places, weighted
    /// by addresses, on the sphere.
    pub location: Location,
    /// Its share of the world's addresses, 0–1: what is taken for its share of the demand before
    /// anything else is known.
    pub weight: f64,
    /// The prefix that is a group of its own.
    pub prefix: Option<IpNet>,
}

/// All groups. Every client is in exactly one.
#[derive(Clone, Debug, PartialEq)]
pub struct Groups {
    list: Box<[Group]>,
    /// By location: the group of those that are in no prefix of their own.
    by_location: Box<[GroupId]>,
    /// Those that are groups of their own, with the groups' numbers.
    prefixes: Prefixes,
}

/// A system with at least this share of the world's addresses in one region is a group of its own.
const LEAST_SYSTEM: f64 = 1e-3;
/// What IPv6 counts beside IPv4: its networks say less of how many clients there are.
const V6_PART: f64 = 0.2;
/// What a range of IPv4 addresses at one place counts at most, a /12: larger ones were given out when
/// there were plenty, and are hardly in use.
const MOST_V4: f64 = 1_048_576.0;
/// What one of IPv6 counts at most, in /48s: a /32, what the smallest provider has.
const MOST_V6_SITES: f64 = 65_536.0;
/// What an address counts of which nobody knows where it is: most of them are in no use.
const UNKNOWN_PART: f64 = 0.01;

impl Groups {
    /// The groups of a world, at most so many (but one at least) and one for each prefix of
    /// `promoted`: of nested ones, a client is in the longest.
    ///
    /// Regions, and systems that have a large part of one, are groups; with too many, the smallest
    /// are joined with the rest of their country, and small countries with the rest of their
    /// continent.
    pub fn form(world: &World, most: usize, promoted: &[IpNet]) -> Groups {
        let weights = Weights::of_world(world);
        let places = places(world, &weights, most.clamp(1, MOST_GROUPS));
        let numbers: HashMap<&Place, u32> = places.keys().zip(0..).collect();
        let by_location = world.locations().iter().map(|location| {
            let mut place = Place::of(location);
            loop {
                match (numbers.get(&place), place.wider()) {
                    (Some(&number), _) => return GroupId(number),
                    (None, Some(wider)) => place = wider,
                    (None, None) => return GroupId(0),
                }
            }
        });
        let by_location: Box<[GroupId]> = by_location.collect();
        let mut means = vec![Mean::default(); places.len()];
        for (id, location) in (0..).zip(world.locations()) {
            let GroupId(group) = by_location[id as usize];
            means[group as usize].add(location, weights.of(id));
        }
        let mut list: Vec<Group> = places
            .keys()
            .zip(&means)
            .map(|(place, mean)| Group {
                name: place.to_string().into(),
                location: place.location(mean.coordinates()),
                weight: mean.weight,
                prefix: None,
            })
            .collect();
        let mut prefixes: Vec<IpNet> = promoted.iter().copied().map(canonical).collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        prefixes.truncate(MOST_GROUPS - list.len());
        let first = list.len() as u32;
        list.extend(prefixes.iter().map(|&prefix| promoted_group(world, &weights, prefix)));
        let prefixes = Prefixes::new(prefixes.into_iter().zip(first..));
        Groups { list: list.into(), by_location, prefixes }
    }

    /// By [`GroupId`]: those of places in the order of their names' parts, then those of prefixes.
    pub fn list(&self) -> &[Group] {
        &self.list
    }

    /// The group of that number.
    pub fn group(&self, GroupId(index): GroupId) -> &Group {
        &self.list[index as usize]
    }

    /// The group that an address is in.
    pub fn group_of(&self, world: &World, address: IpAddr) -> GroupId {
        let own = self.promoted_around(address);
        own.unwrap_or_else(|| self.group_at(world.locate(address).0))
    }

    /// The group of one prefix that an address is in.
    pub fn promoted_around(&self, address: IpAddr) -> Option<GroupId> {
        self.prefixes.find(address).map(GroupId)
    }

    /// The group of the clients at a location that are in no prefix of their own.
    pub fn group_at(&self, LocationId(location): LocationId) -> GroupId {
        self.by_location[location as usize]
    }

    /// The prefixes that are groups of their own.
    pub fn promoted(&self) -> impl Iterator<Item = (GroupId, IpNet)> + Clone {
        let numbered = (0..).map(GroupId).zip(&self.list);
        numbered.filter_map(|(id, group)| Some((id, group.prefix?)))
    }
}

/// A place that may be a group: each part that is known narrows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Place {
    continent: Option<Code>,
    country: Option<Code>,
    region: Option<Box<str>>,
    asn: Option<u32>,
}

impl Place {
    /// The narrowest around a location.
    fn of(location: &Location) -> Place {
        // A country is in one continent, whatever databases say of some of its addresses.
        let continent = match location.country {
            Some(code) => country(code).map(|country| country.continent),
            None => location.continent,
        };
        Place {
            continent,
            country: location.country,
            region: location.region.clone().filter(|_| location.country.is_some()),
            asn: location.asn,
        }
    }

    /// The next wider one; none around the world.
    fn wider(&self) -> Option<Place> {
        let mut wider = self.clone();
        let narrowed = wider.asn.take().is_some()
            || wider.region.take().is_some()
            || wider.country.take().is_some()
            || wider.continent.take().is_some();
        narrowed.then_some(wider)
    }

    fn location(&self, coordinates: Option<Coordinates>) -> Location {
        Location {
            continent: self.continent,
            country: self.country,
            region: self.region.clone(),
            asn: self.asn,
            coordinates,
            ..Location::default()
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts: Vec<String> = Vec::new();
        // Some continents have the codes of countries: AF, AS, NA, SA.
        match (self.country, self.continent) {
            (Some(code), _) => parts.push(code.to_string()),
            (None, Some(code)) => parts.push(continent_name(code)),
            (None, None) => {}
        }
        parts.extend(self.region.as_deref().map(str::to_owned));
        parts.extend(self.asn.map(|asn| format!("AS{asn}")));
        if parts.is_empty() {
            return f.write_str("world");
        }
        f.write_str(&parts.join("/"))
    }
}

fn continent_name(code: Code) -> String {
    match code.as_str() {
        "AF" => "Africa".into(),
        "AN" => "Antarctica".into(),
        "AS" => "Asia".into(),
        "EU" => "Europe".into(),
        "NA" => "North America".into(),
        "OC" => "Oceania".into(),
        "SA" => "South America".into(),
        other => format!("continent {other}"),
    }
}

/// The places that are groups, with their weights.
fn places(world: &World, weights: &Weights, most: usize) -> BTreeMap<Place, f64> {
    let mut narrowest: BTreeMap<Place, f64> = BTreeMap::new();
    for (id, location) in (0..).zip(world.locations()) {
        *narrowest.entry(Place::of(location)).or_default() += weights.of(id);
    }
    let mut places: BTreeMap<Place, f64> = BTreeMap::new();
    for (place, weight) in narrowest {
        let whole = if place.asn.is_some() && weight < LEAST_SYSTEM { place.wider() } else { None };
        *places.entry(whole.unwrap_or(place)).or_default() += weight;
    }
    join_smallest(&mut places, most);
    places
}

/// Joins the smallest with the next wider until there are no more than so many. A place is joined
/// after all that are within it.
fn join_smallest(places: &mut BTreeMap<Place, f64>, most: usize) {
    let mut within: HashMap<Place, u32> = HashMap::new();
    let around = |place: &Place| std::iter::successors(place.wider(), Place::wider);
    for place in places.keys() {
        for wider in around(place) {
            *within.entry(wider).or_default() += 1;
        }
    }
    let rank = |place: &Place, weight: f64| Reverse(((weight * 1e15) as u64, place.clone()));
    let is_innermost =
        |within: &HashMap<Place, u32>, place: &Place| within.get(place).is_none_or(|n| *n == 0);
    let innermost = places.iter().filter(|(place, _)| is_innermost(&within, place));
    let mut smallest: BinaryHeap<_> = innermost.map(|(place, w)| rank(place, *w)).collect();
    while places.len() > most {
        let Some(Reverse((_, place))) = smallest.pop() else { return };
        let Some(wider) = place.wider() else { continue };
        let weight = places.remove(&place).unwrap_or_default();
        let is_new = !places.contains_key(&wider);
        *places.entry(wider.clone()).or_default() += weight;
        for (index, one) in around(&place).enumerate() {
            // Further out there is one less only where `wider` was there before.
            if index == 0 || !is_new {
                within.entry(one).and_modify(|count| *count -= 1);
            }
        }
        if is_innermost(&within, &wider) {
            smallest.push(rank(&wider, places[&wider]));
        }
    }
}

/// How much of the world's addresses is where, as a share.
pub(super) struct Weights {
    /// By location: that of the IPv4 addresses.
    pub(super) v4: Vec<f64>,
    /// By location: that of the IPv6 addresses.
    pub(super) v6: Vec<f64>,
    /// Of one IPv4 address.
    v4_address: f64,
}

impl Weights {
    pub(super) fn of_world(world: &World) -> Weights {
        let known: Vec<bool> = world
            .locations()
            .iter()
            .map(|location| location.country.is_some() || location.continent.is_some())
            .collect();
        let mut v4 = vec![0.0; known.len()];
        for (first, last, location) in extents(world.v4().ranges()) {
            let part = if known[location as usize] { 1.0 } else { UNKNOWN_PART };
            v4[location as usize] += part * (f64::from(last - first) + 1.0).min(MOST_V4);
        }
        let mut v6 = vec![0.0; known.len()];
        for (first, last, location) in extents(world.v6().ranges()) {
            if known[location as usize] {
                // Networks of every size are given out to those who have one or many clients: the
                // root keeps the few that have most of the space from counting for most of the
                // world.
                let sites = (last - first) as f64 / (1u128 << 80) as f64;
                v6[location as usize] += sites.min(MOST_V6_SITES).sqrt();
            }
        }
        let (sum_v4, sum_v6): (f64, f64) = (v4.iter().sum(), v6.iter().sum());
        // There is always some IPv4, known or not.
        let per_v4 = if sum_v6 > 0.0 { (1.0 - V6_PART) / sum_v4 } else { 1.0 / sum_v4 };
        let per_v6 = if sum_v6 > 0.0 { V6_PART / sum_v6 } else { 0.0 };
        v4.iter_mut().for_each(|weight| *weight *= per_v4);
        v6.iter_mut().for_each(|weight| *weight *= per_v6);
        Weights { v4, v6, v4_address: per_v4 }
    }

    pub(super) fn of(&self, location: u32) -> f64 {
        self.v4[location as usize] + self.v6[location as usize]
    }
}

/// Ranges that cover everything, given by their starts: the first and last address, and the value.
pub(super) fn extents<K: Key, V>(
    ranges: impl Iterator<Item = (K, V)>,
) -> impl Iterator<Item = (K, K, V)> {
    let mut ranges = ranges.peekable();
    std::iter::from_fn(move || {
        let (first, value) = ranges.next()?;
        let next = ranges.peek().and_then(|(start, _)| start.before());
        Some((first, next.unwrap_or(K::LAST), value))
    })
}

/// A mean of points on the sphere.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    weight: f64,
    vector: [f64; 3],
    /// Where places without weight are.
    fallback: Option<Coordinates>,
}

impl Mean {
    fn add(&mut self, location: &Location, weight: f64) {
        self.weight += weight;
        let Some(point) = location.coordinates else { return };
        self.fallback = self.fallback.or(Some(point));
        let (latitude, longitude) = (point.latitude.to_radians(), point.longitude.to_radians());
        let unit =
            [latitude.cos() * longitude.cos(), latitude.cos() * longitude.sin(), latitude.sin()];
        self.vector.iter_mut().zip(unit).for_each(|(sum, part)| *sum += weight * part);
    }

    fn coordinates(&self) -> Option<Coordinates> {
        let [x, y, z] = self.vector;
        let length = (x * x + y * y + z * z).sqrt();
        if length <= self.weight * 1e-9 {
            return self.fallback;
        }
        Coordinates::new((z / length).clamp(-1.0, 1.0).asin().to_degrees(), y.atan2(x).to_degrees())
    }
}

/// The group of one prefix.
fn promoted_group(world: &World, weights: &Weights, prefix: IpNet) -> Group {
    let (id, _) = world.locate(prefix.network());
    let location = Location { city: None, ..world.location(id).clone() };
    let weight = match prefix {
        IpNet::V4(v4) => weights.v4_address * f64::from(32 - v4.prefix_len()).exp2(),
        // As much as a /24: what it has beyond its place's prior is learned from its queries.
        IpNet::V6(_) => weights.v4_address * 256.0,
    };
    Group { name: prefix.to_string().into(), location, weight, prefix: Some(prefix) }
}

#[cfg(test)]
mod tests;
