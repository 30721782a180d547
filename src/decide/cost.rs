//! What it costs to serve a client group from a datacenter, in milliseconds: the measured latency, or
//! else one that follows from the distance, and the datacenter's own cost.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::group::{Weights, extents};
use super::survey::overlaid;
use super::{Datacenter, DatacenterId, Groups, Latencies};
use crate::geo::range_table::Key;
use crate::geo::{Location, LocationId, RangeTable, World};

/// The round trip to a place next door, in milliseconds: what the last mile takes.
const NEXT_DOOR_MS: f64 = 9.0;
/// The round trip of a kilometre as the crow flies, in milliseconds: light in fibre, along routes
/// that are 2.1 times as long (Bozkurt et al., "Why is the Internet so slow?!", PAM 2017).
const MS_PER_KM: f64 = 0.021;

/// Groups × datacenters, the costs of a group one after another, in milliseconds: the mean over the
/// group's places, weighted by addresses. Where a place is unknown, all datacenters are alike but
/// for their own costs.
pub fn costs(
    world: &World,
    groups: &Groups,
    datacenters: &[Datacenter],
    latencies: &Latencies,
) -> Vec<f32> {
    let mut sums = vec![0.0f64; groups.list().len() * datacenters.len()];
    let mut weights = vec![0.0f64; groups.list().len()];
    for (Part { group, location, prefix }, weight) in parts(world, groups, latencies) {
        weights[group as usize] += weight;
        let location = world.location(LocationId(location));
        let known = latencies.within(prefix, location);
        let row = &mut sums[group as usize * datacenters.len()..][..datacenters.len()];
        for ((sum, datacenter), id) in row.iter_mut().zip(datacenters).zip(0..) {
            let known = known.ms(DatacenterId(id));
            *sum += weight * known.map_or_else(|| estimate(datacenter, location), f64::from);
        }
    }
    let mut costs = Vec::with_capacity(sums.len());
    for (index, group) in groups.list().iter().enumerate() {
        let (sum, weight) = (&sums[index * datacenters.len()..], weights[index]);
        costs.extend(datacenters.iter().zip(sum).map(|(datacenter, sum)| {
            let there =
                if weight > 0.0 { sum / weight } else { estimate(datacenter, &group.location) };
            (there + f64::from(datacenter.cost_ms)) as f32
        }));
    }
    costs
}

/// The round trip from a location to a datacenter by the distance, in milliseconds.
pub fn estimate(datacenter: &Datacenter, location: &Location) -> f64 {
    NEXT_DOOR_MS + MS_PER_KM * datacenter.effective_distance_km(location)
}

/// A part of a group for which every latency is known, or none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Part {
    group: u32,
    location: u32,
    /// The number of the measured prefix that it is in.
    prefix: Option<u32>,
}

/// The parts of all groups with their weights, in the order of their numbers, so that sums come out
/// the same every time.
fn parts(world: &World, groups: &Groups, latencies: &Latencies) -> Vec<(Part, f64)> {
    let weights = Weights::of_world(world);
    let mut parts: HashMap<Part, f64, RandomState> = HashMap::default();
    let mut add = |location: u32, prefix: Option<u32>, weight: f64| {
        let group = groups.group_at(LocationId(location)).0;
        *parts.entry(Part { group, location, prefix }).or_default() += weight;
    };
    match latencies.prefixes() {
        None => {
            let locations = (0..).zip(world.locations());
            locations.for_each(|(location, _)| add(location, None, weights.of(location)));
        }
        Some(prefixes) => {
            let v4 = cut(world.v4(), prefixes.v4(), |first, last| f64::from(last - first) + 1.0);
            let v6 = cut(world.v6(), prefixes.v6(), |first, last| (last - first) as f64 + 1.0);
            for (shares, of_location) in [(v4, &weights.v4), (v6, &weights.v6)] {
                for ((location, number), share) in shares {
                    add(location, number.checked_sub(1), share * of_location[location as usize]);
                }
            }
        }
    }
    for (group, prefix) in groups.promoted() {
        let address = prefix.network();
        let LocationId(location) = world.locate(address).0;
        let prefix = latencies.number_of(address);
        parts.insert(Part { group: group.0, location, prefix }, 1.0);
    }
    let mut parts: Vec<(Part, f64)> = parts.into_iter().collect();
    parts.sort_unstable_by_key(|(part, _)| *part);
    parts
}

/// How the addresses of each location divide by a second table: by location and second value, the
/// share of the location's addresses.
fn cut<K: Key>(
    locations: &RangeTable<K>,
    second: &RangeTable<K>,
    size: impl Fn(K, K) -> f64,
) -> HashMap<(u32, u32), f64, RandomState> {
    let mut sizes: HashMap<(u32, u32), f64, RandomState> = HashMap::default();
    let mut whole: HashMap<u32, f64, RandomState> = HashMap::default();
    let both =
        overlaid(locations, second).map(|(start, location, value)| (start, (location, value)));
    for (first, last, (location, value)) in extents(both) {
        *sizes.entry((location, value)).or_default() += size(first, last);
        *whole.entry(location).or_default() += size(first, last);
    }
    sizes.iter_mut().for_each(|((location, _), size)| *size /= whole[location]);
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::latency::Scope;
    use crate::geo::Coordinates;

    const FRA: DatacenterId = DatacenterId(0);
    const IAD: DatacenterId = DatacenterId(1);

    fn datacenters() -> [Datacenter; 2] {
        [("fra", 50.11, 8.68), ("iad", 38.95, -77.45)].map(|(name, latitude, longitude)| {
            Datacenter {
                name: name.into(),
                location: Location {
                    coordinates: Coordinates::new(latitude, longitude),
                    ..Location::default()
                },
                bias: 0,
                cost_ms: 0.0,
            }
        })
    }

    /// The lower half of 0.0.0.0/1 is in Frankfurt, the upper in Washington, both in DE; the rest is
    /// unknown.
    fn world() -> World {
        let place = |of: usize, asn| Location {
            country: "DE".parse().ok(),
            coordinates: datacenters()[of].location.coordinates,
            asn: Some(asn),
            ..Location::default()
        };
        let locations = Box::new([Location::default(), place(0, 64500), place(1, 64501)]);
        let v4 = [(0, 1), (1 << 30, 2), (1 << 31, 0)];
        World::new(RangeTable::from_starts(v4), RangeTable::constant(0), locations)
    }

    /// The costs of the country and of what is unknown.
    fn of(datacenters: &[Datacenter], latencies: Vec<(Scope, DatacenterId, f32)>) -> [Vec<f32>; 2] {
        let world = world();
        let groups = Groups::form(&world, 2, &[]);
        assert_eq!(groups.list().len(), 2);
        let costs = costs(&world, &groups, datacenters, &Latencies::new(latencies));
        ["1.0.0.1", "203.0.113.1"].map(|address| {
            let group = groups.group_of(&world, address.parse().unwrap()).0 as usize;
            costs[group * 2..][..2].to_vec()
        })
    }

    fn near(is: &[f32], wanted: [f64; 2]) {
        let far = is.iter().zip(wanted).any(|(is, wanted)| (f64::from(*is) - wanted).abs() > 0.1);
        assert!(!far, "{is:?} {wanted:?}");
    }

    #[test]
    fn a_cost_is_the_mean_of_the_places_and_the_datacenters_own() {
        let [fra, iad] = datacenters();
        let between = fra.distance_km(&iad.location).unwrap();
        let mean = 9.0 + 0.021 * between / 2.0;
        near(&of(&[fra.clone(), iad.clone()], vec![])[0], [mean, mean]);
        let dear = Datacenter { cost_ms: 7.5, bias: 50, ..fra };
        near(&of(&[dear, iad], vec![])[0], [9.0 + 0.021 * between / 4.0 + 7.5, mean]);
    }

    #[test]
    fn where_nothing_is_known_all_datacenters_are_alike() {
        near(&of(&datacenters(), vec![])[1], [9.0, 9.0]);
    }

    #[test]
    fn measured_latencies_stand_in_for_distances_by_the_addresses_that_they_are_of() {
        let [fra, iad] = datacenters();
        let far = 9.0 + 0.021 * fra.distance_km(&iad.location).unwrap();
        let country = |ms, id| (Scope::Country("DE".parse().unwrap()), id, ms);
        near(&of(&datacenters(), vec![country(30.0, FRA)])[0], [30.0, 9.0 + (far - 9.0) / 2.0]);
        let all = vec![
            country(30.0, FRA),
            country(50.0, IAD),
            // A quarter of the first half, and nobody who counts.
            (Scope::Prefix("0.0.0.0/4".parse().unwrap()), FRA, 70.0),
            (Scope::Prefix("2001:db8::/32".parse().unwrap()), FRA, 500.0),
            (Scope::Asn(64501), IAD, 10.0),
        ];
        near(&of(&datacenters(), all)[0], [35.0, 30.0]);
    }

    #[test]
    fn a_promoted_prefix_costs_what_its_first_address_does() {
        let world = world();
        let prefix = "64.0.0.0/24".parse().unwrap();
        let groups = Groups::form(&world, 9, &[prefix]);
        let latencies = vec![(Scope::Prefix("64.0.0.0/10".parse().unwrap()), FRA, 80.0)];
        let costs = costs(&world, &groups, &datacenters(), &Latencies::new(latencies));
        near(&costs[costs.len() - 2..], [80.0, 9.0]);
    }
}
