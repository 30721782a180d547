//! What must hold of compiled databases and networks.

mod damage;
mod encode;
mod model;
mod shipped;

use std::net::IpAddr;

use serde_json::{Value, json};

use super::*;
use crate::geo::Coordinates;

fn code(text: &str) -> Option<Code> {
    Some(text.parse().unwrap())
}

fn point(latitude: f64, longitude: f64) -> Option<Coordinates> {
    Coordinates::new(latitude, longitude)
}

fn network(prefix: &str, location: Location) -> Network {
    Network { prefix: prefix.parse().unwrap(), location }
}

/// A database with these networks.
fn database(networks: &[(&str, Value)]) -> (String, Vec<u8>) {
    let parsed: Vec<(IpNet, Value)> =
        networks.iter().map(|(prefix, value)| (prefix.parse().unwrap(), value.clone())).collect();
    ("test.mmdb".to_owned(), encode::database(6, 24, &parsed))
}

fn at<'a>(world: &'a World, address: &str) -> (&'a Location, u8) {
    let (id, len) = world.locate(address.parse::<IpAddr>().unwrap());
    (world.location(id), len)
}

/// What is read of a record.
fn read(record: Value) -> Location {
    let world = compile(&[database(&[("2001:db8::/32", record)])], &[]).unwrap();
    at(&world, "2001:db8::1").0.clone()
}

#[test]
fn nothing_given_is_a_world_of_which_nothing_is_known() {
    let world = compile(&[], &[]).unwrap();
    assert_eq!(at(&world, "203.0.113.1"), (&Location::default(), 0));
    assert_eq!(at(&world, "2001:db8::1"), (&Location::default(), 0));
}

#[test]
fn nested_records_are_read() {
    let location = read(json!({
        "city": {"geoname_id": 1, "names": {"de": "Genf", "en": "Geneva", "fr": "Genève"}},
        "continent": {"code": "EU", "names": {"en": "Europe"}},
        "country": {"iso_code": "CH", "is_in_european_union": false, "names": {"en": "Switzerland"}},
        "location": {"accuracy_radius": 20, "latitude": 46.2, "longitude": 6.14, "time_zone": "x"},
        "registered_country": {"iso_code": "FR"},
        "subdivisions": [{"iso_code": "GE", "names": {"en": "Geneva"}}, {"iso_code": "XX"}],
        "autonomous_system_number": 64500,
    }));
    let expected = Location {
        continent: code("EU"),
        country: code("CH"),
        region: Some("GE".into()),
        city: Some("Geneva".into()),
        asn: Some(64500),
        coordinates: point(46.2, 6.14),
        tags: Box::default(),
    };
    assert_eq!(location, expected);
    let registered = read(json!({"registered_country": {"iso_code": "FR"}}));
    assert_eq!(registered.country, code("FR"));
    let named = read(json!({"subdivisions": [{"names": {"en": "Hesse"}}]}));
    assert_eq!(named.region.as_deref(), Some("Hesse"));
}

#[test]
fn flat_records_are_read() {
    let dbip = json!({
        "country_code": "JP", "state1": "Tokyo", "state2": "", "city": "Chiyoda", "postcode": "",
        "latitude": "35.69", "longitude": 139.75, "timezone": "",
    });
    let expected = Location {
        continent: code("AS"),
        country: code("JP"),
        region: Some("Tokyo".into()),
        city: Some("Chiyoda".into()),
        coordinates: point(35.69, 139.75),
        ..Location::default()
    };
    assert_eq!(read(dbip), expected);
    let ipinfo = json!({
        "asn": "AS64500", "as_name": "Example", "continent": "North America",
        "continent_code": "NA", "country": "Canada", "country_code": "CA", "region": "Ontario",
        "city": "", "loc": "43.66, -79.40",
    });
    let expected = Location {
        continent: code("NA"),
        country: code("CA"),
        region: Some("Ontario".into()),
        asn: Some(64500),
        coordinates: point(43.66, -79.40),
        ..Location::default()
    };
    assert_eq!(read(ipinfo), expected);
    let short = read(json!({"country": "de", "lat": "50.1", "lng": "8.7"}));
    assert_eq!((short.country, short.coordinates), (code("DE"), point(50.1, 8.7)));
}

#[test]
fn what_a_record_says_in_an_odd_form_is_unknown() {
    let odd = read(json!({
        "country": {"iso_code": 49, "names": {"fr": "Allemagne"}}, "asn": "none", "city": true,
        "latitude": 91.5, "longitude": 8.0, "location": [1.5], "subdivisions": [],
        "continent": {"code": "Middle-earth"}, "state1": "Hesse",
    }));
    assert_eq!(odd, Location { region: Some("Hesse".into()), ..Location::default() });
    let lost = read(json!({"country_code": "DE", "latitude": 0.0, "longitude": 0.0}));
    assert_eq!(lost.coordinates, country("DE".parse().unwrap()).map(|country| country.centre));
}

#[test]
fn codes_that_are_no_countries_are_none() {
    let european = read(json!({"country_code": "EU"}));
    assert_eq!((european.continent, european.country), (code("EU"), None));
    let nowhere = read(json!({"country_code": "ZZ", "asn": 64500}));
    assert_eq!((nowhere.continent, nowhere.country), (None, None));
}

#[test]
fn databases_complete_each_other_and_the_later_wins() {
    let city = database(&[
        ("203.0.113.0/24", json!({"country_code": "DE", "city": "Kiel", "asn": 64500})),
        ("198.51.100.0/24", json!({"country_code": "DE", "city": "Kiel"})),
    ]);
    let asn = database(&[("203.0.113.128/25", json!({"asn": 64501}))]);
    let abroad = database(&[("198.51.100.0/25", json!({"country_code": "CL"}))]);
    let world = compile(&[city, asn, abroad], &[]).unwrap();
    let (low, len) = at(&world, "203.0.113.1");
    assert_eq!((low.city.as_deref(), low.asn, len), (Some("Kiel"), Some(64500), 25));
    let (high, len) = at(&world, "203.0.113.129");
    assert_eq!((high.city.as_deref(), high.asn, len), (Some("Kiel"), Some(64501), 25));
    let (moved, _) = at(&world, "198.51.100.1");
    assert_eq!((moved.country, moved.city.as_deref()), (code("CL"), None), "no Kiel in Chile");
    assert_eq!(moved.continent, code("SA"));
}

#[test]
fn a_network_that_names_another_continent_leaves_the_country_unknown() {
    let db = database(&[("203.0.113.0/24", json!({"country_code": "DE", "asn": 64500}))]);
    let asia = Location { continent: code("AS"), ..Location::default() };
    let world = compile(&[db], &[network("203.0.113.0/25", asia)]).unwrap();
    let (location, _) = at(&world, "203.0.113.1");
    assert_eq!((location.country, location.asn), (None, Some(64500)));
    assert_eq!(at(&world, "203.0.113.129").0.country, code("DE"));
}

#[test]
fn databases_written_by_others_are_read() {
    let file = |name: &str| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/geo/maxmind/");
        (name.to_owned(), std::fs::read(format!("{folder}{name}")).unwrap())
    };
    let databases = [file("GeoIP2-City-Test.mmdb"), file("GeoLite2-ASN-Test.mmdb")];
    let world = compile(&databases, &[]).unwrap();
    let linkoping = Location {
        continent: code("EU"),
        country: code("SE"),
        region: Some("E".into()),
        city: Some("Linköping".into()),
        asn: Some(29518),
        coordinates: point(58.4167, 15.6167),
        tags: Box::default(),
    };
    assert_eq!(at(&world, "89.160.20.112").0, &linkoping);
    assert_eq!(at(&world, "::ffff:89.160.20.112").0, &linkoping);
    assert_eq!(at(&world, "2001:480:10::1").0.city.as_deref(), Some("San Diego"));
    assert_eq!(at(&world, "1.128.0.0").0, &Location { asn: Some(1221), ..Location::default() });
}

#[test]
fn of_nested_networks_the_longest_that_has_a_field_wins_and_tags_add_up() {
    let wide = Location {
        country: code("DE"),
        asn: Some(64500),
        tags: ["office".into()].into(),
        ..Location::default()
    };
    let narrow = Location {
        city: Some("Kiel".into()),
        asn: Some(64501),
        tags: ["office".into(), "lab".into()].into(),
        ..Location::default()
    };
    let networks = [network("203.0.113.64/26", narrow), network("203.0.113.0/24", wide)];
    let world = compile(&[], &networks).unwrap();
    let (outside, len) = at(&world, "203.0.113.1");
    assert_eq!((outside.city.as_deref(), outside.asn, len), (None, Some(64500), 26));
    let (inside, len) = at(&world, "203.0.113.65");
    assert_eq!((inside.city.as_deref(), inside.asn, len), (Some("Kiel"), Some(64501), 26));
    assert_eq!(inside.country, code("DE"));
    assert_eq!(inside.continent, code("EU"), "concluded from the country");
    assert!(inside.coordinates.is_some(), "concluded from the country");
    assert_eq!(*inside.tags, [Box::from("office"), Box::from("lab")]);
    assert_eq!(at(&world, "203.0.112.255"), (&Location::default(), 24));
}

#[test]
fn networks_may_reach_to_the_ends_of_the_address_space() {
    let tagged = |tag: &str| Location { tags: [tag.into()].into(), ..Location::default() };
    let networks = [
        network("0.0.0.0/0", tagged("all")),
        network("0.0.0.0/32", tagged("first")),
        network("255.255.255.255/32", tagged("last")),
        network("::/0", tagged("all6")),
        network("ffff::/16", tagged("last6")),
        network("::ffff:203.0.113.0/120", tagged("mapped")),
    ];
    let world = compile(&[], &networks).unwrap();
    let tags = |address: &str| at(&world, address).0.tags.join(" ");
    assert_eq!(tags("0.0.0.0"), "all first");
    assert_eq!(tags("255.255.255.255"), "all last");
    assert_eq!(tags("203.0.113.7"), "all mapped");
    assert_eq!(tags("::ffff:203.0.113.7"), "all mapped");
    assert_eq!(tags("203.0.114.0"), "all");
    assert_eq!(tags("ffff::"), "all6 last6");
    assert_eq!(tags("::"), "all6");
}

#[test]
fn equal_neighbours_are_merged_to_the_widest_prefix() {
    let record = json!({"country_code": "DE"});
    let halves = [("203.0.113.0/25", record.clone()), ("203.0.113.128/25", record.clone())];
    let world = compile(&[database(&halves)], &[]).unwrap();
    assert_eq!(at(&world, "203.0.113.1").1, 24);
    assert_eq!(world.locations().len(), 2);
}

#[test]
fn ipv4_is_found_in_a_database_without_a_tree_of_its_own() {
    let everywhere = database(&[("::/8", json!({"country_code": "DE"}))]);
    let world = compile(&[everywhere], &[]).unwrap();
    assert_eq!(at(&world, "203.0.113.1").0.country, code("DE"));
    assert_eq!(at(&world, "1::").0.country, code("DE"));
    assert_eq!(at(&world, "2001:db8::").0.country, None);
}

#[test]
fn a_database_that_knows_no_places_is_refused_by_its_name() {
    let useless = database(&[("2001:db8::/32", json!({"is_anonymous": true}))]);
    let message = compile(&[useless], &[]).unwrap_err().to_string();
    assert!(message.starts_with("test.mmdb: a database of type \"Test-City\""), "{message}");
    let text = ("notes.txt".to_owned(), b"no database".to_vec());
    let message = compile(&[text], &[]).unwrap_err().to_string();
    assert!(message.starts_with("notes.txt: not a readable MaxMind-format database"), "{message}");
}
