use std::net::IpAddr;

use super::*;
use crate::geo::Code;

fn code(text: &str) -> Option<Code> {
    Some(text.parse().unwrap())
}

fn network(prefix: &str, location: Location) -> Network {
    Network { prefix: prefix.parse().unwrap(), location }
}

fn at<'a>(world: &'a World, address: &str) -> (&'a Location, u8) {
    let (id, len) = world.locate(address.parse::<IpAddr>().unwrap());
    (world.location(id), len)
}

#[test]
fn nothing_given_is_a_world_of_which_nothing_is_known() {
    let world = compile(&[], &[]).unwrap();
    assert_eq!(at(&world, "203.0.113.1"), (&Location::default(), 0));
    assert_eq!(at(&world, "2001:db8::1"), (&Location::default(), 0));
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
