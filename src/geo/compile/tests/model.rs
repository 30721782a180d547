//! The compiled world against a plain reading of the rules: a linear search for the longest prefix.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

/// What each source says, from the lowest: prefixes and locations.
type Sources = Vec<Vec<(IpNet, Location)>>;

/// A prefix among a few crowded bits, so that many overlap.
fn prefix() -> impl Strategy<Value = IpNet> {
    let v4 = (0u32..64, 24u8..=32).prop_map(|(low, len)| {
        let address = Ipv4Addr::from(0xcb00_7100 | low << 2);
        IpNet::new(address.into(), len).unwrap().trunc()
    });
    let v6 = (any::<u16>(), 28u8..=128).prop_map(|(bits, len)| {
        let address = Ipv6Addr::from(
            0x2001_0db8 << 96 | u128::from(bits & 0xf00f) << 80 | u128::from(bits >> 4),
        );
        IpNet::new(address.into(), len).unwrap().trunc()
    });
    prop_oneof![v4, v6]
}

fn location() -> impl Strategy<Value = Location> {
    let country = proptest::option::of(prop_oneof![Just("DE"), Just("CL"), Just("JP")]);
    let city = proptest::option::of(prop_oneof![Just("Kiel"), Just("Lima")]);
    let asn = proptest::option::of(64500u32..64503);
    (country, city, asn).prop_map(|(country, city, asn)| Location {
        country: country.and_then(code),
        city: city.map(Into::into),
        asn,
        ..Location::default()
    })
}

fn source() -> impl Strategy<Value = Vec<(IpNet, Location)>> {
    proptest::collection::vec((prefix(), location()), 0..12)
}

/// The record that says this.
fn record(location: &Location) -> Value {
    let mut record = json!({});
    if let Some(country) = location.country {
        record["country_code"] = json!(country.as_str());
    }
    if let Some(city) = &location.city {
        record["city"] = json!(city);
    }
    if let Some(asn) = location.asn {
        record["asn"] = json!(asn);
    }
    record
}

/// The location of an address by the rules: of each database the longest prefix (of equal ones the
/// later), and over them what the networks around the address say, from the widest.
fn locate(databases: &Sources, networks: &[(IpNet, Location)], address: IpAddr) -> Location {
    let mut location = Location::default();
    for database in databases {
        let around = database.iter().filter(|(prefix, _)| prefix.contains(&address));
        if let Some((_, said)) = around.max_by_key(|(prefix, _)| prefix.prefix_len()) {
            location = overlay(&location, said);
        }
    }
    let mut around: Vec<_> =
        networks.iter().filter(|(prefix, _)| prefix.contains(&address)).collect();
    around.sort_by_key(|(prefix, _)| prefix.prefix_len());
    let own = around.iter().fold(Location::default(), |below, (_, said)| overlay(&below, said));
    conclude(overlay(&location, &own))
}

/// Where anything may change: the first address of every prefix, the one after, and one inside.
fn places(prefixes: impl Iterator<Item = IpNet>) -> Vec<IpAddr> {
    let mut places = Vec::new();
    for prefix in prefixes {
        places.push(prefix.network());
        match prefix.broadcast() {
            IpAddr::V4(last) => {
                places.push(last.into());
                places.push(Ipv4Addr::from(u32::from(last).wrapping_add(1)).into());
            }
            IpAddr::V6(last) => {
                places.push(last.into());
                places.push(Ipv6Addr::from(u128::from(last).wrapping_add(1)).into());
            }
        }
    }
    places
}

proptest! {
    #[test]
    fn the_world_agrees_with_a_linear_search_and_its_prefixes_are_the_widest(
        databases in proptest::collection::vec(source(), 0..4),
        networks in source(),
        record_bits in prop_oneof![Just(24u32), Just(28), Just(32)],
    ) {
        let says_something =
            |source: &Vec<(IpNet, Location)>| source.iter().any(|(_, it)| *it != Location::default());
        let databases: Sources = databases.into_iter().filter(says_something).collect();
        let encoded: Vec<(String, Vec<u8>)> = databases.iter().map(|source| {
            let records: Vec<_> = source.iter().map(|(p, it)| (*p, record(it))).collect();
            ("model.mmdb".to_owned(), encode::database(6, record_bits, &records))
        }).collect();
        let own: Vec<Network> = networks
            .iter()
            .map(|(prefix, location)| Network { prefix: *prefix, location: location.clone() })
            .collect();
        let world = match compile(&encoded, &own) {
            Ok(world) => world,
            // All that a database says may be hidden under narrower networks that say nothing.
            Err(CompileError::NothingKnown { .. }) => return Ok(()),
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        let all = databases.iter().flatten().chain(&networks).map(|(prefix, _)| *prefix);
        let places = places(all);
        for &address in &places {
            let (id, len) = world.locate(address);
            let location = world.location(id);
            prop_assert_eq!(location, &locate(&databases, &networks, address));
            let uniform = |len: u8| {
                let scope = IpNet::new(address, len).unwrap().trunc();
                let mut inside = places.iter().filter(|place| scope.contains(*place));
                locate(&databases, &networks, scope.network()) == *location
                    && inside.all(|place| locate(&databases, &networks, *place) == *location)
            };
            prop_assert!(uniform(len), "{}/{}", address, len);
            prop_assert!(len == 0 || !uniform(len - 1), "{}/{} could be wider", address, len);
        }
    }
}
