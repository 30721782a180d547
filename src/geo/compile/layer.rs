//! A layer of the world: what one source, or several laid over each other, say of all addresses.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use foldhash::fast::RandomState;

use crate::geo::Location;
use crate::geo::range_table::Key;

/// Where each range starts and which location it has, rising from 0.
pub(super) type Ranges<K> = Vec<(K, u32)>;

/// What is said of all addresses.
pub(super) struct Layer {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
    /// Distinct; number 0 is the unknown location.
    locations: Box<[Location]>,
}

impl Layer {
    /// From ranges whose values are numbers that `locations` gave out.
    pub(super) fn new(v4: Ranges<u32>, v6: Ranges<u128>, locations: Distinct) -> Layer {
        Layer { v4, v6, locations: locations.into_locations() }
    }

    /// Nothing is said.
    pub(super) fn unknown() -> Layer {
        Layer::new(vec![(0, 0)], vec![(0, 0)], Distinct::new())
    }

    /// Whether nothing is said of any address.
    pub(super) fn is_unknown(&self) -> bool {
        self.locations.len() == 1
    }

    /// `above` laid over `below`, by `overlay(below, above)`.
    pub(super) fn combine(
        below: &Layer,
        above: &Layer,
        overlay: impl Fn(&Location, &Location) -> Location,
    ) -> Layer {
        let mut locations = Distinct::new();
        let mut pairs: HashMap<(u32, u32), u32, RandomState> = HashMap::default();
        let mut number = |low: u32, high: u32| {
            *pairs.entry((low, high)).or_insert_with(|| {
                let (low, high) = (&below.locations[low as usize], &above.locations[high as usize]);
                locations.number(overlay(low, high))
            })
        };
        let v4 = merge(&below.v4, &above.v4, &mut number);
        let v6 = merge(&below.v6, &above.v6, &mut number);
        Layer::new(v4, v6, locations)
    }

    /// The layer with every location replaced.
    pub(super) fn map(self, replace: impl Fn(Location) -> Location) -> Layer {
        let mut locations = Distinct::new();
        let numbers: Vec<u32> =
            self.locations.into_iter().map(|it| locations.number(replace(it))).collect();
        let (mut v4, mut v6) = (self.v4, self.v6);
        v4.iter_mut().for_each(|(_, value)| *value = numbers[*value as usize]);
        v6.iter_mut().for_each(|(_, value)| *value = numbers[*value as usize]);
        Layer::new(v4, v6, locations)
    }

    /// The ranges and the locations that they number.
    pub(super) fn into_parts(self) -> (Ranges<u32>, Ranges<u128>, Box<[Location]>) {
        (self.v4, self.v6, self.locations)
    }
}

/// Cuts the address space wherever either does, and numbers each pair.
fn merge<K: Key>(
    below: &[(K, u32)],
    above: &[(K, u32)],
    mut number: impl FnMut(u32, u32) -> u32,
) -> Ranges<K> {
    let mut merged = Sweep::with_capacity(below.len() + above.len());
    let (mut low, mut high) = (0, 0);
    let mut start = K::default();
    loop {
        merged.push(start, number(below[low].1, above[high].1));
        let next_low = below.get(low + 1).map(|(start, _)| *start);
        let next_high = above.get(high + 1).map(|(start, _)| *start);
        start = match (next_low, next_high) {
            (Some(a), Some(b)) => a.min(b),
            (Some(next), None) | (None, Some(next)) => next,
            (None, None) => return merged.ranges,
        };
        low += usize::from(next_low == Some(start));
        high += usize::from(next_high == Some(start));
    }
}

/// Collects ranges in rising order; equal neighbours become one, and gaps are unknown.
pub(super) struct Sweep<K> {
    ranges: Ranges<K>,
    /// The first address not yet covered; None when all are.
    next: Option<K>,
}

impl<K: Key> Sweep<K> {
    pub(super) fn with_capacity(ranges: usize) -> Sweep<K> {
        Sweep { ranges: Vec::with_capacity(ranges), next: Some(K::default()) }
    }

    /// Gives the addresses from `first` to `last`, if there are any, a value, save those below the
    /// end of an earlier call: these keep theirs.
    pub(super) fn cover(&mut self, first: K, last: K, value: u32) {
        let Some(next) = self.next else { return };
        if last < first || last < next {
            return;
        }
        if next < first {
            self.push(next, 0);
        }
        self.push(next.max(first), value);
        self.next = last.after();
    }

    /// From `start`, higher than all before, on to the next start.
    fn push(&mut self, start: K, value: u32) {
        if self.ranges.last().is_none_or(|(_, before)| *before != value) {
            self.ranges.push((start, value));
        }
    }

    /// All ranges; what is not covered is unknown.
    pub(super) fn finish(mut self) -> Ranges<K> {
        if let Some(next) = self.next {
            self.push(next, 0);
        }
        self.ranges
    }
}

/// Gives equal locations the same number; 0 is the unknown one.
pub(super) struct Distinct {
    numbers: HashMap<ByValue, u32, RandomState>,
}

impl Distinct {
    pub(super) fn new() -> Distinct {
        let mut distinct = Distinct { numbers: HashMap::default() };
        distinct.number(Location::default());
        distinct
    }

    /// The number of this location.
    pub(super) fn number(&mut self, location: Location) -> u32 {
        let next = self.numbers.len() as u32;
        *self.numbers.entry(ByValue(location)).or_insert(next)
    }

    fn into_locations(self) -> Box<[Location]> {
        let mut numbered: Vec<(u32, Location)> =
            self.numbers.into_iter().map(|(location, number)| (number, location.0)).collect();
        numbered.sort_unstable_by_key(|(number, _)| *number);
        numbered.into_iter().map(|(_, location)| location).collect()
    }
}

/// A location as a key: coordinates are compared by their bits.
struct ByValue(Location);

impl ByValue {
    fn point(&self) -> Option<(u64, u64)> {
        self.0.coordinates.map(|it| (it.latitude.to_bits(), it.longitude.to_bits()))
    }
}

impl PartialEq for ByValue {
    fn eq(&self, other: &ByValue) -> bool {
        let (a, b) = (&self.0, &other.0);
        self.point() == other.point()
            && (a.continent, a.country, a.asn) == (b.continent, b.country, b.asn)
            && (&a.region, &a.city, &a.tags) == (&b.region, &b.city, &b.tags)
    }
}

impl Eq for ByValue {}

impl Hash for ByValue {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Location { continent, country, region, city, asn, coordinates: _, tags } = &self.0;
        (self.point(), continent, country, region, city, asn, tags).hash(state);
    }
}
