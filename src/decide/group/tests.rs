//! What must hold for client groups.

use proptest::prelude::*;

use super::*;
use crate::geo::RangeTable;

fn place(country: &str, region: &str, asn: Option<u32>, latitude: f64, longitude: f64) -> Location {
    Location {
        continent: country.parse().ok().and_then(|code| Some(super::country(code)?.continent)),
        country: country.parse().ok(),
        region: (!region.is_empty()).then(|| region.into()),
        asn,
        coordinates: Coordinates::new(latitude, longitude),
        ..Location::default()
    }
}

/// A world of IPv4 ranges one after the other: the address that each ends before, and what is there.
fn world(ranges: &[(u32, Location)]) -> World {
    let mut locations = vec![Location::default()];
    locations.extend(ranges.iter().map(|(_, location)| location.clone()));
    let mut starts = Vec::new();
    let mut start = 0;
    for ((end, _), number) in ranges.iter().zip(1..) {
        if *end > start {
            starts.push((start, number));
            start = *end;
        }
    }
    starts.push((start, 0));
    World::new(RangeTable::from_starts(starts), RangeTable::constant(0), locations.into())
}

/// So many addresses that a test's ranges are all small enough to count in full.
const UNIT: u32 = 1 << 14;

/// The address that so many units are before.
fn at(units: u32) -> IpAddr {
    IpAddr::V4((units * UNIT).into())
}

fn names(groups: &Groups) -> Vec<String> {
    groups.list().iter().map(|group| group.name.to_string()).collect()
}

fn americas() -> World {
    world(&[
        (10 * UNIT, place("US", "CA", Some(64500), 37.0, -120.0)),
        (20 * UNIT, place("US", "CA", Some(64501), 35.0, -118.0)),
        (50 * UNIT, place("US", "TX", None, 31.0, -99.0)),
        (60 * UNIT, place("US", "", None, 39.0, -98.0)),
        (80 * UNIT, place("DE", "", None, 51.0, 10.0)),
    ])
}

#[test]
fn a_region_a_system_and_the_rest_of_a_country_are_groups() {
    let world = americas();
    let groups = Groups::form(&world, 100, &[]);
    let expected = ["world", "DE", "US", "US/CA/AS64500", "US/CA/AS64501", "US/TX"];
    assert_eq!(names(&groups), expected);
    let name = |address: IpAddr| groups.group(groups.group_of(&world, address)).name.to_string();
    assert_eq!(name(at(11)), "US/CA/AS64501");
    assert_eq!(name("::ffff:0.7.128.0".parse().unwrap()), "US/TX", "30 units");
    assert_eq!(name("203.0.113.1".parse().unwrap()), "world");
    assert_eq!(name("2001:db8::1".parse().unwrap()), "world");
    let total: f64 = groups.list().iter().map(|group| group.weight).sum();
    assert!((total - 1.0).abs() < 1e-9, "{total}");
    let texas = groups.group(groups.group_of(&world, at(30)));
    assert!((texas.weight - 30.0 / 80.64).abs() < 0.001, "{}", texas.weight);
}

#[test]
fn with_too_many_the_smallest_join_the_rest_of_their_country_then_of_their_continent() {
    let world = americas();
    let formed = |most| names(&Groups::form(&world, most, &[]));
    assert_eq!(formed(5), ["world", "DE", "US", "US/CA", "US/TX"]);
    assert_eq!(formed(3), ["world", "US", "US/TX"]);
    assert_eq!(formed(2), ["world", "US"]);
    assert_eq!(formed(1), ["world"]);
    assert_eq!(formed(0), ["world"]);
}

#[test]
fn the_middle_of_a_group_is_weighted_and_crosses_the_date_line() {
    let world = world(&[
        (30 * UNIT, place("FJ", "", None, -17.0, 179.0)),
        (60 * UNIT, place("FJ", "", None, -17.0, -179.0)),
        (70 * UNIT, place("JP", "", None, 30.0, 130.0)),
        (100 * UNIT, place("JP", "", None, 40.0, 130.0)),
    ]);
    let groups = Groups::form(&world, 100, &[]);
    let middle = |units: u32| {
        let id = groups.group_of(&world, at(units));
        groups.group(id).location.coordinates.unwrap()
    };
    assert!((middle(20).longitude.abs() - 180.0).abs() < 1e-6);
    assert!((middle(80).latitude - 37.5).abs() < 0.1, "{:?}", middle(80));
}

#[test]
fn a_promoted_prefix_is_a_group_of_its_own_and_the_numbers_of_places_stay() {
    let world = americas();
    let prefix = |text: &str| text.parse::<IpNet>().unwrap();
    let plain = Groups::form(&world, 100, &[]);
    let promoted = [
        prefix("203.0.113.0/24"),
        prefix("2001:db8::/56"),
        prefix("0.2.192.0/18"),
        prefix("0.2.193.0/24"),
    ];
    let groups = Groups::form(&world, 100, &promoted);
    assert_eq!(groups.list()[..plain.list().len()], *plain.list());
    let of = |address: &str| {
        let group = groups.group(groups.group_of(&world, address.parse().unwrap()));
        group.prefix.map_or_else(|| "none".into(), |prefix| prefix.to_string())
    };
    assert_eq!(of("0.2.193.200"), "0.2.193.0/24", "the longest");
    assert_eq!(of("0.2.194.0"), "0.2.192.0/18");
    assert_eq!(of("0.3.0.0"), "none");
    assert_eq!(of("203.0.113.255"), "203.0.113.0/24");
    assert_eq!(of("2001:db8:0:ff::1"), "2001:db8::/56");
    assert_eq!(of("2001:db8:0:100::1"), "none");
    assert_eq!(groups.promoted().count(), 4);
}

#[test]
fn a_continent_and_a_country_of_the_same_code_have_different_names() {
    let asia = Location { continent: "AS".parse().ok(), ..Location::default() };
    let world = world(&[(UNIT, asia), (2 * UNIT, place("AS", "", None, -14.3, -170.7))]);
    assert_eq!(names(&Groups::form(&world, 9, &[])), ["world", "Asia", "AS"]);
}

prop_compose! {
    /// Places in a few countries, each with some addresses.
    fn any_ranges()(
        sizes in proptest::collection::vec((1u32..1000, 0u8..4, 0u8..12, 0u8..3), 1..80),
    ) -> Vec<(u32, Location)> {
        let mut end = 0;
        sizes.into_iter().map(|(size, country, region, asn)| {
            end += size << 8;
            let country = ["US", "DE", "JP", "BR"][usize::from(country)];
            let region = if region == 0 { String::new() } else { format!("R{region}") };
            let asn = (asn > 0).then_some(64500 + u32::from(asn));
            (end, place(country, &region, asn, f64::from(size % 90), f64::from(size % 180)))
        }).collect()
    }
}

proptest! {
    #[test]
    fn every_client_is_in_one_group_and_there_are_no_more_than_asked_for(
        ranges in any_ranges(),
        most in 0usize..60,
        addresses in proptest::collection::vec(any::<u32>(), 20),
    ) {
        let world = world(&ranges);
        let groups = Groups::form(&world, most, &[]);
        prop_assert!(groups.list().len() <= most.max(1));
        let total: f64 = groups.list().iter().map(|group| group.weight).sum();
        prop_assert!((total - 1.0).abs() < 1e-9);
        for address in addresses {
            let address = IpAddr::V4((address % (1 << 22)).into());
            let location = world.location(world.locate(address).0);
            let group = groups.group(groups.group_of(&world, address));
            if group.location.country.is_some() {
                prop_assert_eq!(group.location.country, location.country);
            }
            if group.location.region.is_some() {
                prop_assert_eq!(&group.location.region, &location.region);
            }
        }
        let mut names = names(&groups);
        names.sort();
        names.dedup();
        prop_assert_eq!(names.len(), groups.list().len());
    }

    #[test]
    fn a_slightly_different_database_has_the_same_groups(
        mut ranges in any_ranges(),
        moved in proptest::collection::vec((any::<proptest::sample::Index>(), 1u32..255), 1..4),
        most in 4usize..60,
    ) {
        // A system that is close to its bound may come and go.
        ranges.iter_mut().for_each(|(_, location)| location.asn = None);
        let mut changed = ranges.clone();
        for (index, addresses) in &moved {
            // A few addresses go from one place to the one before it.
            changed[index.index(ranges.len())].0 += addresses;
        }
        changed.sort_by_key(|(end, _)| *end);
        let all = Groups::form(&world(&ranges), MOST_GROUPS, &[]);
        let (before, after) =
            (names(&Groups::form(&world(&ranges), most, &[])), names(&Groups::form(&world(&changed), most, &[])));
        let gone = before.iter().filter(|name| !after.contains(name)).count();
        prop_assert!(gone <= 2 * moved.len() + 1, "{:?} {:?}", before, after);
        if all.list().len() <= most {
            prop_assert_eq!(before, after);
        }
    }
}

#[test]
fn the_world_that_comes_with_it_has_a_group_for_every_region() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("geoip/world.mmdb");
    let world =
        crate::geo::compile(&[("world".into(), std::fs::read(path).unwrap())], &[]).unwrap();
    let groups = Groups::form(&world, USUAL_GROUPS, &[]);
    let mut list: Vec<&Group> = groups.list().iter().collect();
    list.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    assert!((2_000..USUAL_GROUPS).contains(&list.len()), "{}", list.len());
    assert!(list[0].weight < 0.05, "{:?}", list[0]);
    let largest: f64 = list.iter().take(500).map(|group| group.weight).sum();
    assert!(largest > 0.95, "{largest}");
    let california = list.iter().find(|group| &*group.name == "US/California").unwrap();
    let fresno = Coordinates::new(36.7, -119.8).unwrap();
    assert!(california.location.coordinates.unwrap().distance_km(fresno) < 150.0);
    let few = names(&Groups::form(&world, 200, &[]));
    assert_eq!(few.len(), 200);
    assert!(few.contains(&"US/California".into()) && few.contains(&"Europe".into()));
}
