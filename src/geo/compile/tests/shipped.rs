//! The database in `geoip/` against networks whose place is publicly known.

use std::path::Path;
use std::sync::LazyLock;

use super::*;

fn shipped() -> (String, Vec<u8>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("geoip/world.mmdb");
    ("geoip/world.mmdb".to_owned(), std::fs::read(path).unwrap())
}

fn world() -> &'static World {
    static WORLD: LazyLock<World> = LazyLock::new(|| compile(&[shipped()], &[]).unwrap());
    &WORLD
}

/// Of a line of the table: prefix, country, place if it is one, whose.
fn well_known_networks() -> Vec<(IpNet, Option<Code>, Option<Coordinates>, &'static str)> {
    include_str!("../../../../tests/data/geo/well_known_networks.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let fields: Vec<_> = line.split('\t').collect();
            let &[prefix, country, latitude, longitude, _nearest, whose] = &fields[..] else {
                panic!("six fields: {line}")
            };
            let place = (latitude != "-")
                .then(|| point(latitude.parse().unwrap(), longitude.parse().unwrap()).unwrap());
            (prefix.parse().unwrap(), code(country), place, whose)
        })
        .collect()
}

/// Addresses spread evenly over the prefix.
fn sample(prefix: IpNet) -> impl Iterator<Item = IpAddr> {
    (0..32).map(move |i: u128| match prefix.network() {
        IpAddr::V4(first) => {
            let size = 1u128 << (32 - prefix.prefix_len());
            IpAddr::V4((u32::from(first) + (size * (2 * i + 1) / 64) as u32).into())
        }
        IpAddr::V6(first) => {
            let size = 1u128 << (128 - prefix.prefix_len());
            IpAddr::V6((u128::from(first) + size / 64 * (2 * i + 1)).into())
        }
    })
}

#[test]
fn the_shipped_database_knows_where_well_known_networks_are() {
    let world = world();
    let (mut placed, mut near) = (0, 0);
    for (prefix, country, place, whose) in well_known_networks() {
        for address in sample(prefix) {
            let (id, _) = world.locate(address);
            let location = world.location(id);
            assert_eq!(location.country, country, "{address} in {prefix}: {whose}");
            assert!(location.continent.is_some() && location.coordinates.is_some(), "{address}");
            if let Some(place) = place {
                let found = location.coordinates.expect("each record has coordinates");
                assert!(found.distance_km(place) < 1_500.0, "{address}: {whose}");
                placed += 1;
                near += u32::from(found.distance_km(place) < 150.0);
            }
        }
    }
    assert!(placed > 2_000 && near * 10 > placed * 9, "{near} of {placed} within 150 km");
}

#[test]
fn the_shipped_database_leaves_special_addresses_unknown() {
    let world = world();
    for address in [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "64:ff9b::1",
        "2001::1",
        "2001:db8::1",
        "2002:cb00:7101::1",
        "fd00::1",
        "fe80::1",
        "ff02::1",
    ] {
        assert_eq!(at(world, address).0, &Location::default(), "{address}");
    }
}

#[test]
fn the_shipped_database_is_refused_when_cut() {
    let (name, bytes) = shipped();
    for part in 0..16 {
        let cut = bytes[..bytes.len() * part / 16].to_vec();
        let error = compile(&[(name.clone(), cut)], &[]).unwrap_err();
        assert!(matches!(error, CompileError::Unreadable { .. }));
    }
}
