//! Steering, as a user sees it with `dig`: every kind of pool, every key of a rule, and what is
//! answered when members are down.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::{Answer, Server, dig, dig_all, needs};

/// Where the clients of these tests are.
const NETWORKS: &str = r#"
[[networks]]
prefixes = ["198.51.100.0/26", "2001:db8:1::/48"]
country  = "DE"
region   = "HE"
city     = "Frankfurt"
asn      = 64500
tags     = ["staff", "fast"]

[[networks]]
prefixes = ["198.51.100.64/26", "2001:db8:2::/48"]
country  = "US"
region   = "CA"
city     = "San Jose"
asn      = 64501

[[networks]]
prefixes = ["198.51.100.128/26", "2001:db8:3::/48"]
country  = "JP"

# Is in California by name, and in no country.
[[networks]]
prefix = "203.0.113.0/25"
region = "CA"
"#;

const GERMAN: &str = "198.51.100.7/32";
const AMERICAN: &str = "198.51.100.77/32";
const JAPANESE: &str = "198.51.100.137/32";
const UNKNOWN: &str = "203.0.113.200/32";

const DATACENTERS: &str = r#"
[geoip]
networks = "networks.toml"

[datacenters.fra]
location = { latitude = 50.11, longitude = 8.68, country = "DE" }
[datacenters.iad]
location = { latitude = 38.95, longitude = -77.45, country = "US" }
[datacenters.nrt]
location = { latitude = 35.76, longitude = 140.39, country = "JP" }
"#;

const RECORDS: &str = r#"
origin  = "example.com."
records = """
@    SOA   ns1 hostmaster 1 2h 15m 2w 5m
@    NS    ns1
ns1  A     198.51.100.53
"""
"#;

/// Three members that are not checked.
const MEMBERS: &str = r#"members = [
  { datacenter = "fra", addresses = ["203.0.113.1", "2001:db8:f::1"] },
  { datacenter = "iad", addresses = ["203.0.113.2", "2001:db8:f::2"] },
  { datacenter = "nrt", addresses = ["203.0.113.3", "2001:db8:f::3"] },
]
"#;

const FRA: &str = "203.0.113.1";
const IAD: &str = "203.0.113.2";
const NRT: &str = "203.0.113.3";

/// A server for `example.com.`, whose zone file goes on with `steering`, where `MEMBERS` stands
/// for the three members.
fn serve(steering: &str) -> Server {
    serve_with(DATACENTERS, steering)
}

fn serve_with(datacenters: &str, steering: &str) -> Server {
    let files = Server::files(datacenters);
    files.write("networks.toml", NETWORKS);
    let zone = format!("{RECORDS}{}", steering.replace("MEMBERS\n", MEMBERS));
    files.zone("example.com.toml", &zone).start()
}

fn ask(server: &Server, name: &str, client: &str) -> Answer {
    dig(server.dns(), &format!("{name}.example.com A +subnet={client}"))
}

#[test]
fn nearest_answers_each_client_with_the_nearest_datacenter_in_both_families() {
    if !needs("nearest", &["dig"]) {
        return;
    }
    let server = serve(
        "[pools.web]\nsteer = \"nearest\"\nttl = \"45s\"\nMEMBERS\n[names.www]\npool = \"web\"\n",
    );
    for (client, host) in [
        (GERMAN, 1),
        (AMERICAN, 2),
        (JAPANESE, 3),
        ("2001:db8:1::/64", 1),
        ("2001:db8:2::/64", 2),
        ("2001:db8:3::/64", 3),
        // Of whom nothing is known: the first in the file.
        (UNKNOWN, 1),
    ] {
        let v4 = dig(server.dns(), &format!("www.example.com A +subnet={client}"));
        let v6 = dig(server.dns(), &format!("www.example.com AAAA +subnet={client}"));
        let record = format!("www.example.com. 45 IN A 203.0.113.{host}");
        assert_eq!(v4.answer, [record], "{client}");
        let record = format!("www.example.com. 45 IN AAAA 2001:db8:f::{host}");
        assert_eq!(v6.answer, [record], "{client}");
        assert!(v4.flags.contains(&"aa".into()), "{}", v4.text);
        assert_eq!(v4.scope(), v6.scope(), "{client}");
    }
    let others = dig(server.dns(), &format!("www.example.com TXT +subnet={GERMAN}"));
    assert_eq!((&others.status[..], others.answer.len()), ("NOERROR", 0));
    assert!(others.authority[0].contains(" SOA "), "{}", others.text);
}

#[test]
fn a_bias_attracts_clients() {
    if !needs("bias", &["dig"]) {
        return;
    }
    let attractive = DATACENTERS.replace("[datacenters.nrt]", "[datacenters.nrt]\nbias = 99");
    let server = serve_with(
        &attractive,
        "[pools.web]\nsteer = \"nearest\"\nMEMBERS\n[names.www]\npool = \"web\"\n",
    );
    assert_eq!(ask(&server, "www", GERMAN).address(), NRT);
    let repulsive = DATACENTERS.replace("[datacenters.fra]", "[datacenters.fra]\nbias = -99");
    server.write("portolan.toml", &portolan_toml(&server, &repulsive));
    server.signal("HUP");
    crate::support::until("the bias is in force", || {
        ask(&server, "www", GERMAN).address() == IAD
            && ask(&server, "www", JAPANESE).address() == NRT
    });
}

fn portolan_toml(server: &Server, rest: &str) -> String {
    let (dns, admin) = (server.dns(), server.admin());
    format!("[dns]\nlisten = [\"{dns}\"]\nzones = \"zones\"\n[admin]\nlisten = \"{admin}\"\n{rest}")
}

/// How often each address is answered to `client` in many queries.
fn drawn(server: &Server, name: &str, client: &str, queries: usize) -> BTreeMap<String, usize> {
    let question = format!("{name}.example.com A +subnet={client}");
    let mut count = BTreeMap::new();
    for answer in dig_all(server.dns(), &vec![question; queries]) {
        *count.entry(answer.address()).or_default() += 1;
    }
    count
}

#[test]
fn weights_and_turns_share_the_queries_out() {
    if !needs("weighted, round-robin", &["dig"]) {
        return;
    }
    let server = serve(
        r#"
[pools.weighted]
steer = "weighted"
members = [
  { datacenter = "fra", addresses = ["203.0.113.1"], weight = 3 },
  { datacenter = "iad", addresses = ["203.0.113.2"] },
  { datacenter = "nrt", addresses = ["203.0.113.3"], weight = 0 },
]
[pools.turns]
steer = "round-robin"
MEMBERS
[pools.turns-without-one]
steer = "round-robin"
members = [
  { datacenter = "fra", addresses = ["203.0.113.1"], weight = 0 },
  { datacenter = "iad", addresses = ["203.0.113.2"] },
  { datacenter = "nrt", addresses = ["203.0.113.3"], weight = 7 },
]
[names]
weighted = { pool = "weighted" }
turns = { pool = "turns" }
turns-without-one = { pool = "turns-without-one" }
"#,
    );
    // Five standard deviations to either side.
    let weighted = drawn(&server, "weighted", GERMAN, 400);
    assert!((256..=344).contains(&weighted[FRA]), "{weighted:?}");
    assert_eq!(weighted[FRA] + weighted[IAD], 400, "weight 0 gets none: {weighted:?}");
    let turns = drawn(&server, "turns", GERMAN, 300);
    assert!(turns.len() == 3 && turns.values().all(|n| (59..=141).contains(n)), "{turns:?}");
    let turns = drawn(&server, "turns-without-one", GERMAN, 100);
    assert!(!turns.contains_key(FRA) && turns.len() == 2, "{turns:?}");
    assert_eq!(ask(&server, "weighted", GERMAN).scope(), 0, "a draw is the same for everybody");
}

#[test]
fn failover_takes_the_first_that_is_up() {
    if !needs("failover pool", &["dig"]) {
        return;
    }
    let server =
        serve("[pools.main]\nsteer = \"failover\"\nMEMBERS\n[names.www]\npool = \"main\"\n");
    let asked = |expected: &str| {
        for client in [GERMAN, JAPANESE, UNKNOWN] {
            assert_eq!(ask(&server, "www", client).address(), expected);
        }
    };
    asked(FRA);
    for (verb, expected) in [
        (vec!["force", "datacenter/fra", "down"], IAD),
        (vec!["drain", "member/example.com/main/iad"], NRT),
        (vec!["clear", "member/example.com/main/iad"], IAD),
        (vec!["clear", "datacenter/fra"], FRA),
    ] {
        let (said, code) = server.verb(&verb);
        assert_eq!(code, 0, "{said}");
        asked(expected);
    }
}

#[test]
fn a_hash_keeps_clients_and_moves_only_those_that_must_move() {
    if !needs("hash pool", &["dig"]) {
        return;
    }
    let server = serve("[pools.main]\nsteer = \"hash\"\nMEMBERS\n[names.www]\npool = \"main\"\n");
    // A /24 stays together, also when each of its addresses is asked for.
    let questions: Vec<String> = (0..200)
        .map(|n| format!("www.example.com A +subnet=127.9.{}.{}/32", n / 2, n * 61 % 256))
        .collect();
    let asked = || -> Vec<String> {
        let answers = dig_all(server.dns(), &questions);
        assert!(answers.iter().all(|answer| answer.scope() == 24));
        answers.iter().map(Answer::address).collect()
    };
    let before = asked();
    assert!(before.chunks(2).all(|pair| pair[0] == pair[1]), "{before:?}");
    assert_eq!(before, asked());
    let share = |address: &str| before.iter().filter(|a| *a == address).count() / 2;
    for address in [FRA, IAD, NRT] {
        assert!((10..=57).contains(&share(address)), "{address}: {}", share(address));
    }
    server.verb(&["drain", "datacenter/iad"]);
    let after = asked();
    for (before, after) in before.iter().zip(&after) {
        assert!(after != IAD && (before == after || before == IAD), "{before} moved to {after}");
    }
    server.verb(&["clear", "datacenter/iad"]);
    assert_eq!(before, asked());
    let v6 = dig(server.dns(), "www.example.com AAAA +subnet=2001:db8:7:7700::/64");
    assert_eq!((v6.scope(), v6.data("AAAA").len()), (56, 1));
}

#[test]
fn an_answer_carries_as_many_addresses_as_it_is_told() {
    if !needs("answers", &["dig"]) {
        return;
    }
    let server = serve(
        r#"
[pools.near]
steer = "nearest"
answers = 2
MEMBERS
[pools.hash]
steer = "hash"
answers = 2
MEMBERS
[pools.turns]
steer = "round-robin"
answers = 16
MEMBERS
[pools.many]
steer = "nearest"
answers = 2
members = [
  { datacenter = "fra", addresses = ["203.0.113.11", "203.0.113.12", "203.0.113.13"] },
  { datacenter = "iad", addresses = ["203.0.113.21"] },
]
[names]
near = { pool = "near" }
hash = { pool = "hash" }
turns = { pool = "turns" }
many = { pool = "many" }
"#,
    );
    let addresses = |name, client| ask(&server, name, client).data("A");
    assert_eq!(addresses("near", GERMAN), [FRA, IAD]);
    assert_eq!(addresses("near", JAPANESE)[0], NRT);
    assert_eq!(addresses("near", JAPANESE).len(), 2);
    let hashed = addresses("hash", GERMAN);
    assert!(hashed.len() == 2 && hashed[0] != hashed[1], "{hashed:?}");
    assert_eq!(hashed, addresses("hash", GERMAN));
    let turns: BTreeSet<String> = addresses("turns", GERMAN).into_iter().collect();
    assert_eq!(turns.len(), 3);
    // From one datacenter where it has enough; in the end, all of its addresses are used.
    let question = format!("many.example.com A +subnet={GERMAN}");
    let mut seen = BTreeSet::new();
    for answer in dig_all(server.dns(), &vec![question; 60]) {
        assert_eq!(answer.data("A").len(), 2, "{}", answer.text);
        seen.extend(answer.data("A"));
    }
    assert_eq!(Vec::from_iter(seen), ["203.0.113.11", "203.0.113.12", "203.0.113.13"]);
    let far = addresses("many", AMERICAN);
    assert!(far.len() == 2 && far[0] == "203.0.113.21", "{far:?}");
}

#[test]
fn every_key_of_a_rule_chooses() {
    if !needs("match keys", &["dig"]) {
        return;
    }
    let keys = [
        // Key and value, who matches, who does not.
        (r#"continent = "EU""#, vec![GERMAN], vec![AMERICAN, JAPANESE, UNKNOWN]),
        (r#"continent = ["AS", "NA"]"#, vec![AMERICAN, JAPANESE], vec![GERMAN, UNKNOWN]),
        (r#"country = ["JP", "KR"]"#, vec![JAPANESE], vec![GERMAN, AMERICAN, UNKNOWN]),
        (r#"region = "ca""#, vec![AMERICAN, "203.0.113.7/32"], vec![GERMAN, JAPANESE]),
        (r#"region = "US/CA""#, vec![AMERICAN], vec!["203.0.113.7/32", GERMAN]),
        (r#"city = "san jose""#, vec![AMERICAN, "2001:db8:2::/56"], vec![GERMAN, UNKNOWN]),
        ("asn = 64500", vec![GERMAN], vec![AMERICAN, UNKNOWN]),
        ("asn = [64499, 64501]", vec![AMERICAN], vec![GERMAN, UNKNOWN]),
        (
            r#"network = ["198.51.100.32/28", "2001:db8:1:8000::/49"]"#,
            vec!["198.51.100.40/32", "2001:db8:1:9000::/64"],
            vec!["198.51.100.31/32", "198.51.100.48/32", "2001:db8:1:7000::/64"],
        ),
        (r#"tag = "staff""#, vec![GERMAN], vec![AMERICAN, UNKNOWN]),
        (r#"tag = ["slow", "fast"]"#, vec![GERMAN, "2001:db8:1::/64"], vec![AMERICAN]),
        // All of them together.
        (
            r#"country = "DE", tag = "staff", network = "198.51.100.0/28""#,
            vec!["198.51.100.15/32"],
            vec!["198.51.100.16/32", AMERICAN],
        ),
    ];
    let mut steering = String::from(
        "[pools.special]\nsteer = \"failover\"\n\
         members = [{ datacenter = \"fra\", addresses = [\"203.0.113.1\", \"2001:db8:f::1\"] }]\n\
         [pools.other]\nsteer = \"failover\"\n\
         members = [{ datacenter = \"iad\", addresses = [\"203.0.113.2\", \"2001:db8:f::2\"] }]\n",
    );
    for (index, (key, ..)) in keys.iter().enumerate() {
        steering += &format!(
            "[names.k{index}]\nrules = [{{ match = {{ {key} }}, pool = \"special\" }}, \
             {{ pool = \"other\" }}]\n"
        );
    }
    let server = serve(&steering);
    for (index, (key, inside, outside)) in keys.iter().enumerate() {
        for (clients, expected) in [(inside, FRA), (outside, IAD)] {
            for client in clients {
                let answer = ask(&server, &format!("k{index}"), client);
                assert_eq!(answer.address(), expected, "{key} for {client}");
            }
        }
    }
}

#[test]
fn rules_can_ask_for_the_resolver() {
    if !needs("match resolver", &["dig"]) {
        return;
    }
    let server = serve(
        r#"
[pools.special]
steer = "failover"
members = [{ datacenter = "fra", addresses = ["203.0.113.1"] }]
[pools.other]
steer = "nearest"
MEMBERS
[names.www]
rules = [{ match = { resolver = "{net}.64/26" }, pool = "special" }, { pool = "other" }]
"#,
    );
    let from = |last: u8, more: &str| {
        let source = server.addresses().host(last);
        dig(server.dns(), &format!("www.example.com A -b {source} {more}"))
    };
    assert_eq!(from(64, "").address(), FRA);
    assert_eq!(from(127, "+subnet=198.51.100.137/32").address(), FRA);
    assert_eq!(from(128, "+subnet=198.51.100.137/32").address(), NRT);
    assert_eq!(from(63, "+subnet=198.51.100.77/32").address(), IAD);
    // What one resolver is told holds for all of its clients.
    assert_eq!(from(64, "+subnet=198.51.100.137/32").scope(), 0);
    assert_ne!(from(63, "+subnet=198.51.100.137/32").scope(), 0);
}

#[test]
fn a_rule_whose_pool_is_down_falls_through() {
    if !needs("fallthrough", &["dig"]) {
        return;
    }
    let server = serve(
        r#"
[pools.asia]
steer = "failover"
members = [{ datacenter = "nrt", addresses = ["203.0.113.3"] }]
[pools.europe]
steer = "failover"
members = [{ datacenter = "fra", addresses = ["203.0.113.1"] }]
[pools.world]
steer = "failover"
members = [{ datacenter = "iad", addresses = ["203.0.113.2"] }]
[names.www]
rules = [
  { match = { country = "JP" }, pool = "asia" },
  { match = { continent = ["AS", "EU"] }, pool = "europe" },
  { pool = "world" },
]
[names.only]
rules = [{ match = { country = "JP" }, pool = "asia" }]
"#,
    );
    let asked = |client| ask(&server, "www", client).address();
    assert_eq!(
        (asked(JAPANESE), asked(GERMAN), asked(AMERICAN)),
        (NRT.into(), FRA.into(), IAD.into())
    );
    server.verb(&["force", "pool/example.com/asia", "down"]);
    assert_eq!((asked(JAPANESE), asked(GERMAN)), (FRA.into(), FRA.into()));
    server.verb(&["force", "pool/example.com/europe", "down"]);
    assert_eq!((asked(JAPANESE), asked(GERMAN)), (IAD.into(), IAD.into()));
    // With all of them down, the first rule that holds has the last word: it answers all it has.
    server.verb(&["force", "datacenter/iad", "down"]);
    assert_eq!(
        (asked(JAPANESE), asked(GERMAN), asked(AMERICAN)),
        (NRT.into(), FRA.into(), IAD.into())
    );
    // For whom no rule holds, there is nothing; but the name exists, and others get an address.
    let nobody = ask(&server, "only", GERMAN);
    assert_eq!((&nobody.status[..], nobody.answer.len()), ("NOERROR", 0));
    assert!(nobody.scope() > 0, "{}", nobody.text);
}

#[test]
fn what_is_answered_when_all_are_down_is_what_the_file_says() {
    if !needs("when_all_down", &["dig"]) {
        return;
    }
    // Nothing listens where these are probed.
    let server = serve(
        r#"
[checks.tcp]
kind = "tcp"
port = 9
interval = "1s"
[pools.open]
steer = "nearest"
check = "tcp"
members = [
  { datacenter = "fra", addresses = ["{net}.11"] },
  { datacenter = "iad", addresses = ["{net}.12"] },
]
[pools.closed]
steer = "nearest"
check = "tcp"
ttl = "7s"
when_all_down = "no-data"
members = [{ datacenter = "fra", addresses = ["{net}.11"] }]
[pools.instead]
steer = "nearest"
check = "tcp"
when_all_down = { pool = "sorry" }
members = [{ datacenter = "fra", addresses = ["{net}.11"] }]
[pools.instead-of-instead]
steer = "nearest"
check = "tcp"
when_all_down = { pool = "instead" }
members = [{ datacenter = "fra", addresses = ["{net}.11"] }]
[pools.sorry]
steer = "failover"
members = [{ datacenter = "iad", addresses = ["203.0.113.99"] }]
[pools.too-few]
steer = "failover"
check = "tcp"
min_healthy = 2
when_all_down = { pool = "sorry" }
members = [
  { datacenter = "fra", addresses = ["203.0.113.1"], probe = "{net}.11" },
  { datacenter = "iad", addresses = ["203.0.113.2"], probe = "{net}.1:8053" },
]
[pools.enough]
steer = "failover"
check = "tcp"
min_healthy = 1
members = [
  { datacenter = "fra", addresses = ["203.0.113.1"], probe = "{net}.11" },
  { datacenter = "iad", addresses = ["203.0.113.2"], probe = "{net}.1:5353" },
]
[pools.one-address]
steer = "failover"
check = "tcp"
members = [{ datacenter = "fra", addresses = ["203.0.113.1", "203.0.113.2"], probe = ["{net}.11", "{net}.13"] }]
[names]
open = { pool = "open" }
closed = { pool = "closed" }
instead = { pool = "instead" }
instead2 = { pool = "instead-of-instead" }
too-few = { pool = "too-few" }
enough = { pool = "enough" }
one-address = { pool = "one-address" }
"#,
    );
    let net = server.addresses();
    // As if all were up: to each the nearest.
    assert_eq!(ask(&server, "open", GERMAN).address(), net.host(11).to_string());
    assert_eq!(ask(&server, "open", AMERICAN).address(), net.host(12).to_string());
    let closed = ask(&server, "closed", GERMAN);
    assert_eq!((&closed.status[..], closed.answer.len()), ("NOERROR", 0));
    // The SOA says how long that may be kept: no longer than the records would have been.
    assert!(closed.authority[0].starts_with("example.com. 7 IN SOA"), "{}", closed.text);
    assert_eq!(ask(&server, "instead", GERMAN).address(), "203.0.113.99");
    assert_eq!(ask(&server, "instead2", GERMAN).address(), "203.0.113.99");
    // One of two is up while the DNS and the admin page listen; but they do not before the first
    // round, so that the next rounds find them.
    crate::support::until("one of two is up", || {
        ask(&server, "enough", GERMAN).address() == "203.0.113.2"
    });
    assert_eq!(ask(&server, "too-few", GERMAN).address(), "203.0.113.99");
    let all = ask(&server, "one-address", GERMAN).address();
    assert!(["203.0.113.1", "203.0.113.2"].contains(&&all[..]), "{all}");
    // Forced up, they are answered whatever their probes say.
    server.verb(&["force", "member/example.com/closed/fra", "up"]);
    assert_eq!(ask(&server, "closed", GERMAN).address(), net.host(11).to_string());
    server.verb(&["force", "datacenter/fra", "up"]);
    // The other of the two is up once its next round has found the admin page.
    crate::support::until("two of two are up", || {
        ask(&server, "too-few", GERMAN).address() == "203.0.113.1"
    });
}

#[test]
fn where_one_family_is_down_its_clients_go_to_the_next_datacenter() {
    if !needs("one family down", &["dig"]) {
        return;
    }
    // The IPv4 address of fra is probed where nothing listens.
    let server = serve(
        r#"
[checks.tcp]
kind = "tcp"
port = 9
interval = "300ms"
timeout = "200ms"
[pools.web]
steer = "nearest"
check = "tcp"
members = [
  { datacenter = "fra", addresses = ["203.0.113.1", "2001:db8:f::1"], probe = ["{net}.9", "{net}.1:5353"] },
  { datacenter = "iad", addresses = ["203.0.113.2", "2001:db8:f::2"], probe = "{net}.1:5353" },
]
[names.www]
pool = "web"
"#,
    );
    // The DNS itself plays what is up; it listens after the first round of checks.
    server.verb(&["force", "member/example.com/web/iad", "up"]);
    crate::support::until("the IPv6 address of fra is up", || {
        let status = server.api("/api/v1/status");
        status["pools"][0]["members"][0]["state"] == "degraded"
    });
    let asked = |rtype: &str| {
        dig(server.dns(), &format!("www.example.com {rtype} +subnet={GERMAN}")).data(rtype)
    };
    assert_eq!(
        (asked("A"), asked("AAAA")),
        (vec![IAD.to_string()], vec!["2001:db8:f::1".to_string()])
    );
    let (said, _) = server.verb(&["explain", "www.example.com", "--client", "198.51.100.7"]);
    assert!(said.contains("fra  passed over: its checks fail"), "{said}");
    let (said, _) =
        server.verb(&["explain", "www.example.com", "AAAA", "--client", "198.51.100.7"]);
    assert!(said.contains("fra  chosen"), "{said}");
}

#[test]
fn members_may_be_names_and_aliases_lead_to_steered_names() {
    if !needs("cname members", &["dig"]) {
        return;
    }
    let records = RECORDS.replace(
        "ns1  A",
        "shop CNAME www\nfar CNAME elsewhere\n*.wild CNAME www\ntxt TXT \"here\"\nns1  A",
    );
    let files = Server::files(DATACENTERS);
    files.write("networks.toml", NETWORKS);
    let steering = r#"
[pools.web]
steer = "nearest"
ttl = "20s"
MEMBERS
[pools.cdn]
steer = "nearest"
ttl = "40s"
members = [
  { datacenter = "fra", cname = "www" },
  { datacenter = "iad", cname = "www.cdn.example.net." },
  { datacenter = "nrt", cname = "txt" },
]
[names.www]
pool = "web"
[names."@"]
pool = "web"
[names.elsewhere]
pool = "cdn"
"#;
    let zone = format!("{records}{}", steering.replace("MEMBERS\n", MEMBERS));
    let server = files.zone("example.com.toml", &zone).start();

    let shop = ask(&server, "shop", JAPANESE);
    assert_eq!(
        shop.answer,
        ["shop.example.com. 300 IN CNAME www.example.com.", "www.example.com. 20 IN A 203.0.113.3"]
    );
    assert_eq!(shop.scope(), ask(&server, "www", JAPANESE).scope());
    assert!(shop.scope() > 0);
    let wild = ask(&server, "any.wild", AMERICAN);
    assert_eq!(wild.answer[1], "www.example.com. 20 IN A 203.0.113.2");
    assert_eq!(dig(server.dns(), &format!("example.com A +subnet={GERMAN}")).address(), FRA);
    // An alias asked for as such brings addresses with it, which are the client's.
    let alias = dig(server.dns(), &format!("shop.example.com CNAME +subnet={JAPANESE}"));
    assert_eq!(alias.answer, shop.answer[..1]);
    assert_eq!((&alias.additional[..1], alias.scope()), (&shop.answer[1..], shop.scope()));
    let alias = dig(server.dns(), &format!("far.example.com CNAME +subnet={JAPANESE}"));
    assert_eq!((alias.answer.len(), alias.additional.len()), (1, 0));

    let near = ask(&server, "elsewhere", GERMAN);
    assert_eq!(
        near.answer,
        [
            "elsewhere.example.com. 40 IN CNAME www.example.com.",
            "www.example.com. 20 IN A 203.0.113.1"
        ]
    );
    let abroad = ask(&server, "elsewhere", AMERICAN);
    assert_eq!(abroad.answer, ["elsewhere.example.com. 40 IN CNAME www.cdn.example.net."]);
    let nothing = ask(&server, "elsewhere", JAPANESE);
    assert_eq!(nothing.answer, ["elsewhere.example.com. 40 IN CNAME txt.example.com."]);
    assert!(nothing.scope() > 0 && nothing.authority[0].contains(" SOA "), "{}", nothing.text);
    // Every type gets the alias.
    let txt = dig(server.dns(), &format!("elsewhere.example.com TXT +subnet={JAPANESE}"));
    assert_eq!(txt.data("TXT"), ["\"here\""]);
    let chain = ask(&server, "far", GERMAN);
    assert_eq!(chain.answer.len(), 3, "{}", chain.text);
    assert!(chain.scope() > 0);
}

#[test]
fn the_case_and_the_class_of_a_steered_name_are_those_of_any_name() {
    if !needs("case of a steered name", &["dig"]) {
        return;
    }
    let server = serve("[pools.web]\nsteer = \"nearest\"\nMEMBERS\n[names.Www]\npool = \"web\"\n");
    let answer = dig(server.dns(), &format!("wWW.eXample.COM A +subnet={JAPANESE}"));
    assert_eq!(answer.answer, [format!("wWW.eXample.COM. 30 IN A {NRT}")]);
    assert_eq!(dig(server.dns(), "-c CH www.example.com A").status, "REFUSED");
    let any = dig(server.dns(), "www.example.com ANY");
    assert_eq!(any.data("HINFO"), ["\"RFC8482\" \"\""]);
    let below = dig(server.dns(), "below.www.example.com A");
    assert_eq!(below.status, "NXDOMAIN");
    let tcp = dig(server.dns(), &format!("+tcp www.example.com AAAA +subnet={AMERICAN}"));
    assert_eq!(tcp.data("AAAA"), ["2001:db8:f::2"]);
}

#[test]
fn what_is_explained_is_what_is_answered() {
    if !needs("explain", &["dig"]) {
        return;
    }
    let records = RECORDS.replace(
        "ns1  A",
        "shop CNAME www\nfar CNAME elsewhere\n*.static A 198.51.100.9\nsub NS ns.sub\nns.sub A 198.51.100.54\nns1  A",
    );
    let files = Server::files(DATACENTERS);
    files.write("networks.toml", NETWORKS);
    let steering = r#"
[checks.tcp]
kind = "tcp"
port = 9
interval = "10s"
[pools.web]
steer = "nearest"
answers = 2
MEMBERS
[pools.sticky]
steer = "hash"
MEMBERS
[pools.down]
steer = "failover"
check = "tcp"
members = [{ datacenter = "iad", addresses = ["{net}.9"] }]
[pools.instead]
steer = "capacity"
check = "tcp"
when_all_down = { pool = "sticky" }
members = [{ datacenter = "iad", addresses = ["{net}.9"] }]
[pools.cdn]
steer = "nearest"
members = [
  { datacenter = "fra", cname = "a.wild" },
  { datacenter = "iad", cname = "www.cdn.example.net." },
  { datacenter = "nrt", cname = "instead" },
]
[names.www]
rules = [
  { match = { country = "US" }, pool = "down" },
  { match = { continent = "AS", network = "198.51.100.128/27" }, pool = "sticky" },
  { match = { tag = "staff" }, pool = "cdn" },
  { pool = "web" },
]
[names.elsewhere]
pool = "cdn"
[names.instead]
pool = "instead"
[names.down]
pool = "down"
[names."*.wild"]
pool = "web"
"#;
    let zone = format!("{records}{}", steering.replace("MEMBERS\n", MEMBERS));
    let server = files.zone("example.com.toml", &zone).start();
    let clients = [
        GERMAN,
        AMERICAN,
        JAPANESE,
        UNKNOWN,
        "198.51.100.170/32",
        "198.51.100.128/25",
        "203.0.113.7/24",
        "2001:db8:2::/56",
        "2001:db8:3:100::/40",
        "127.4.5.0/24",
        "0.0.0.0/0",
    ];
    let names = [
        "www",
        "shop",
        "far",
        "elsewhere",
        "instead",
        "down",
        "a.wild",
        "a.b.wild",
        "a.static",
        "none",
        "ns1",
        "host.sub",
        "@",
    ];
    for name in names {
        let name = format!("{name}.example.com").replace("@.", "");
        for rtype in ["A", "AAAA", "TXT"] {
            for client in clients {
                let answer =
                    dig(server.dns(), &format!("{name} {rtype} -b 127.0.0.1 +subnet={client}"));
                let path = format!(
                    "/api/v1/explain?name={name}&type={rtype}&client={client}&resolver=127.0.0.1"
                );
                let (explained, scope) = explained(&server.api(&path));
                let mut answered: Vec<String> = answer
                    .answer
                    .iter()
                    .map(|line| line.splitn(5, ' ').skip(3).collect::<Vec<_>>().join(" "))
                    .collect();
                answered.sort();
                assert_eq!(explained, answered, "{path}: {}", answer.text);
                if !client.ends_with("/0") {
                    assert_eq!(scope, answer.scope(), "{path}: {}", answer.text);
                }
            }
        }
    }
}

/// The types and data of all records that an explanation comes to, sorted, and the most specific
/// scope of them.
fn explained(explained: &serde_json::Value) -> (Vec<String>, u8) {
    let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_string();
    let (mut records, mut scope) = (Vec::new(), 0);
    for link in explained["links"].as_array().expect("links") {
        let outcome = &link["outcome"];
        for record in outcome["records"].as_array().into_iter().flatten() {
            records.push(format!("{} {}", word(&record["type"]), word(&record["data"])));
        }
        let answer = &outcome["answer"];
        let rtype = match answer["is_cname"] == true {
            true => "CNAME".to_string(),
            false => word(&answer["rtype"]),
        };
        for record in answer["records"].as_array().into_iter().flatten() {
            records.push(format!("{rtype} {}", word(record)));
        }
        let prefix = answer["scope"].as_str().and_then(|prefix| prefix.split_once('/'));
        scope = scope.max(prefix.map_or(0, |(_, length)| length.parse().expect("a length")));
    }
    records.sort();
    (records, scope)
}
