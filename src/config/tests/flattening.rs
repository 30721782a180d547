//! Pools of members that are names: as they stand in the file, and as flattened names come to them.

use super::*;
use crate::control::Settings;
use crate::decide::{PolicyId, Pool};

const SERVER: &str = r#"
[dns]
listen    = ["127.0.0.1:5353"]
zones     = "zones"
resolvers = ["127.0.0.53", "[::1]:5300"]
[datacenters.fra]
[datacenters.iad]
"#;

const ZONE: &str = r#"
origin = "example.com"
records = """
@ SOA ns1 hostmaster 1 2h 15m 2w 5m
@ NS ns1
ns1 A 198.51.100.53
"""
[checks.web]
kind = "http"
[checks.same]
kind = "http"
[pools.plain]
steer = "failover"
members = [{ datacenter = "fra", addresses = ["203.0.113.1"] }]
[pools.apex]
steer = "failover"
check = "web"
when_all_down = { pool = "both" }
members = [{ datacenter = "fra", cname = "a.example.net." }]
[pools.both]
steer = "failover"
check = "same"
when_all_down = { pool = "plain" }
members = [
  { datacenter = "iad", cname = "A.example.net." },
  { datacenter = "fra", cname = "b.example.net.", probe = "198.51.100.9" },
]
[pools.www]
steer = "failover"
when_all_down = { pool = "both" }
members = [{ datacenter = "fra", addresses = ["203.0.113.2"] }]
[names."@"]
pool = "apex"
[names.www]
pool = "www"
[names.flat]
pool = "www"
flatten = true
[names.plain]
pool = "plain"
[names.plain-too]
pool = "plain"
flatten = true
"#;

fn settings() -> Settings {
    let files = [("portolan.toml", SERVER), ("zones/example.com.toml", ZONE)];
    let (_directory, loaded) = load_files(&files);
    accepted(&loaded).settings.control.clone()
}

/// The kinds of the members, and the pool that stands in.
fn is(pool: &Pool) -> (Vec<&'static str>, WhenAllDown) {
    let kind = |target: &Target| match target {
        Target::Addresses { .. } => "addresses",
        Target::Cname { .. } => "cname",
        Target::Flattened { .. } => "flattened",
    };
    (pool.members.iter().map(|member| kind(&member.target)).collect(), pool.when_all_down)
}

#[test]
fn a_pool_stands_twice_where_it_is_answered_in_both_ways_and_else_once() {
    let settings = settings();
    let pools = &settings.steering.pools;
    let titles: Vec<_> = pools.iter().map(|pool| pool.title().into_owned()).collect();
    let twins = ["both (flattened)", "www (flattened)"];
    assert_eq!(titles, [&["plain", "apex", "both", "www"][..], &twins].concat());
    let stands_in = |pool| WhenAllDown::Pool(PoolId(pool));
    assert_eq!(is(&pools[1]), (vec!["flattened"], stands_in(4)));
    assert_eq!(is(&pools[2]), (vec!["cname", "cname"], stands_in(0)));
    assert_eq!(is(&pools[3]), (vec!["addresses"], stands_in(2)));
    assert_eq!(is(&pools[4]), (vec!["flattened", "flattened"], stands_in(0)));
    assert_eq!(is(&pools[5]), (vec!["addresses"], stands_in(4)));
    let ids = pools.iter().flat_map(|pool| &pool.members).map(|member| member.id.0);
    assert!(ids.eq(0..8), "members are numbered in the order of the pools");
}

#[test]
fn each_name_comes_to_the_pool_that_answers_as_it_shall() {
    let settings = settings();
    let policy = |owner: &str| {
        let owner: crate::dns::Name = owner.parse().unwrap();
        let zone = settings.zones.iter().next().unwrap();
        match zone.lookup(&owner.to_key(), crate::dns::Rtype::A) {
            crate::zone::Lookup::Steered { policy: PolicyId(policy), .. } => {
                settings.steering.policies[policy as usize].rules[0].pool.0
            }
            other => panic!("{owner}: {other:?}"),
        }
    };
    assert_eq!(policy("example.com."), 1);
    assert_eq!(policy("www.example.com."), 3);
    assert_eq!(policy("flat.example.com."), 5);
    assert_eq!((policy("plain.example.com."), policy("plain-too.example.com.")), (0, 0));
}

#[test]
fn a_name_that_is_watched_alike_is_resolved_for_all_and_one_with_a_probe_is_watched_by_that() {
    let settings = settings();
    let names: Vec<_> = settings
        .flattened
        .iter()
        .map(|one| (one.name.to_string(), one.watch.as_ref().map(|watch| watch.port)))
        .collect();
    assert_eq!(names, [("a.example.net.".into(), Some(80)), ("b.example.net.".into(), None)]);
    let probed: Vec<String> = settings.probes.iter().map(|it| it.address.to_string()).collect();
    assert_eq!(probed, ["198.51.100.9"]);
    let Target::Flattened { probe, .. } = &settings.steering.pools[4].members[1].target else {
        panic!("flattened")
    };
    assert_eq!(*probe, Some(ProbeId(0)));
    let resolvers: Vec<String> = settings.resolvers.iter().map(ToString::to_string).collect();
    assert_eq!(resolvers, ["127.0.0.53:53", "[::1]:5300"]);
}
