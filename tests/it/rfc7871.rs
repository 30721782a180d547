//! EDNS client subnet (RFC 7871), asked with `dig`.

use std::net::Ipv4Addr;

use crate::support::{Answer, Server, dig, dig_all, needs};

/// Datacenters at the same longitude as the clients, so that who is nearest is easy to see.
const SERVER: &str = r#"
[geoip]
networks = "networks.toml"
[datacenters.fra]
location = { country = "DE" }
[datacenters.iad]
location = { country = "US" }
"#;

/// In 203.0.113.0/24, half of a half is in America, but for one address; what is not listed is
/// unknown, and goes to the first datacenter, as Germans do.
const NETWORKS: &str = r#"
[[networks]]
prefix  = "203.0.113.64/26"
country = "US"
[[networks]]
prefix  = "203.0.113.99"
country = "DE"
# Neighbours that are decided alike, though they differ.
[[networks]]
prefix  = "198.51.100.0/26"
country = "CA"
[[networks]]
prefix  = "198.51.100.64/26"
country = "US"
[[networks]]
prefix  = "198.51.100.128/25"
country = "US"
region  = "VA"
[[networks]]
prefix  = "2001:db8:8000::/33"
country = "US"
"#;

const ZONE: &str = r#"
origin  = "example.com."
records = """
@      SOA  ns1 hostmaster 1 2h 15m 2w 5m
@      NS   ns1
ns1    A    198.51.100.53
static A    198.51.100.80
shop   CNAME www
plain  CNAME static
*.wild A    198.51.100.81
sub    NS   ns.sub
ns.sub A    203.0.113.53
"""
[pools.web]
steer   = "nearest"
members = [
  { datacenter = "fra", addresses = ["203.0.113.1", "2001:db8::1"] },
  { datacenter = "iad", addresses = ["203.0.113.2"] },
]
[names.www]
pool = "web"
"#;

fn serve() -> Server {
    let files = Server::files(SERVER);
    files.write("networks.toml", NETWORKS);
    files.zone("example.com.toml", ZONE).start()
}

#[test]
fn the_option_is_answered_only_when_asked() {
    if !needs("RFC 7871: option", &["dig"]) {
        return;
    }
    let server = serve();
    for question in ["www.example.com A", "www.example.com A +noedns", "static.example.com A"] {
        let answer = dig(server.dns(), question);
        assert_eq!((&answer.status[..], answer.subnet), ("NOERROR", None), "{question}");
    }
    let answer = dig(server.dns(), "www.example.com A +subnet=203.0.113.77/32");
    // dig checks that family, source and address come back as they were sent, too.
    assert_eq!(answer.subnet.as_deref(), Some("203.0.113.77/32/27"));
    assert!(!answer.text.contains("WARNING"), "{}", answer.text);
    // Also when it is refused.
    let refused = dig(server.dns(), "www.example.net A +subnet=203.0.113.77/32");
    assert_eq!((&refused.status[..], refused.scope()), ("REFUSED", 0));
}

#[test]
fn every_malformed_option_is_a_format_error() {
    if !needs("RFC 7871: malformed", &["dig"]) {
        return;
    }
    let server = serve();
    for (what, hex) in [
        ("empty", ""),
        ("cut in the fixed part", "000118"),
        ("family 0", "00001800cb0071"),
        ("family 3", "00031800cb0071"),
        ("IPv4 prefix of 33", "00012100cb00710100"),
        ("IPv4 prefix of 255", "0001ff00cb007101"),
        ("IPv6 prefix of 129", "0002810020010db800000000000000000000000100"),
        ("address too short", "00011800cb00"),
        ("address too long", "00011800cb007100"),
        ("an address with a prefix of 0", "0001000000"),
        ("a bit beyond the prefix", "00011700cb0071"),
        ("an IPv6 bit beyond the prefix", "0002210020010db840"),
        ("a scope", "00011818cb0071"),
        ("a scope with a prefix of 0", "00010008"),
    ] {
        for name in ["www", "static", "none", "ns.sub"] {
            let question = format!("{name}.example.com A +ednsopt=8:{hex}");
            let answer = dig(server.dns(), &question);
            assert_eq!(answer.status, "FORMERR", "{what}: {question}: {}", answer.text);
            assert!(answer.answer.is_empty() && answer.authority.is_empty());
        }
    }
    for well in ["00011800cb0071", "00010000", "00020000", "00011900cb007180"] {
        let answer = dig(server.dns(), &format!("www.example.com A +ednsopt=8:{well}"));
        assert_eq!(answer.status, "NOERROR", "{well}: {}", answer.text);
    }
    // Twice is one too many.
    let twice = dig(server.dns(), "www.example.com A +ednsopt=8:00010000 +ednsopt=8:00010000");
    assert_eq!(twice.status, "FORMERR");
}

#[test]
fn a_prefix_of_nothing_means_the_resolver_s_own_address() {
    if !needs("RFC 7871: /0", &["dig"]) {
        return;
    }
    let server = serve();
    let net = server.addresses();
    server.write(
        "networks.toml",
        &format!("{NETWORKS}\n[[networks]]\nprefix = \"{}/32\"\ncountry = \"US\"\n", net.host(9)),
    );
    server.signal("HUP");
    let asked = |host: u8, subnet: &str| {
        dig(server.dns(), &format!("www.example.com A -b {} {subnet}", net.host(host)))
    };
    crate::support::until("the networks are read", || asked(9, "").address() == "203.0.113.2");
    for subnet in ["+subnet=0", "+subnet=0.0.0.0/0", "+subnet=::/0"] {
        for (host, expected) in [(9, "203.0.113.2"), (8, "203.0.113.1")] {
            let answer = asked(host, subnet);
            assert_eq!((answer.address(), answer.scope()), (expected.into(), 0), "{subnet}");
        }
    }
    // With a subnet, the resolver's address does not matter.
    assert_eq!(asked(9, "+subnet=203.0.113.1/32").address(), "203.0.113.1");
}

#[test]
fn what_is_the_same_for_everybody_has_scope_0() {
    if !needs("RFC 7871: scope 0", &["dig"]) {
        return;
    }
    let server = serve();
    for (question, status) in [
        ("static.example.com A", "NOERROR"),
        ("static.example.com TXT", "NOERROR"),
        ("none.example.com A", "NXDOMAIN"),
        ("anything.wild.example.com A", "NOERROR"),
        ("example.com SOA", "NOERROR"),
        ("example.com NS", "NOERROR"),
        ("ns1.example.com A", "NOERROR"),
        ("www.example.com MX", "NOERROR"),
        ("www.example.com ANY", "NOERROR"),
        ("plain.example.com CNAME", "NOERROR"),
        ("host.sub.example.com A", "NOERROR"),
    ] {
        for subnet in ["203.0.113.77/32", "198.51.100.0/24", "2001:db8:8000::/56"] {
            let answer = dig(server.dns(), &format!("{question} +subnet={subnet}"));
            assert_eq!((&answer.status[..], answer.scope()), (status, 0), "{}", answer.text);
        }
    }
}

#[test]
fn that_only_some_get_nothing_has_the_scope_of_those() {
    if !needs("RFC 7871: scope of no data", &["dig"]) {
        return;
    }
    let server = serve();
    // Of the two datacenters, one has no IPv6 address.
    let ask = |subnet: &str| dig(server.dns(), &format!("www.example.com AAAA +subnet={subnet}"));
    let none = ask("203.0.113.77/32");
    assert_eq!((none.answer.len(), none.scope()), (0, 27));
    let some = ask("203.0.113.7/32");
    assert_eq!((some.data("AAAA"), some.scope()), (vec!["2001:db8::1".to_string()], 26));
}

#[test]
fn a_scope_is_as_wide_as_the_decision_allows() {
    if !needs("RFC 7871: width", &["dig"]) {
        return;
    }
    let server = serve();
    for (client, address, scope) in [
        // America is 64 to 127, but for 99.
        ("203.0.113.64/32", "203.0.113.2", 27),
        ("203.0.113.95/32", "203.0.113.2", 27),
        ("203.0.113.96/32", "203.0.113.2", 31),
        ("203.0.113.98/32", "203.0.113.2", 32),
        ("203.0.113.99/32", "203.0.113.1", 32),
        ("203.0.113.100/32", "203.0.113.2", 30),
        ("203.0.113.127/32", "203.0.113.2", 28),
        ("203.0.113.128/32", "203.0.113.1", 25),
        ("203.0.113.0/32", "203.0.113.1", 26),
        // Three networks that are decided alike are one.
        ("198.51.100.1/32", "203.0.113.2", 24),
        ("198.51.100.130/32", "203.0.113.2", 24),
        ("198.51.100.0/24", "203.0.113.2", 24),
        ("198.51.101.0/24", "203.0.113.1", 24),
        // The question is narrower than the answer needs.
        ("203.0.113.128/25", "203.0.113.1", 25),
        // It is wider: the answer is for its first address, and tells how much should be asked.
        ("203.0.113.64/26", "203.0.113.2", 27),
        ("203.0.113.0/24", "203.0.113.1", 26),
        ("203.0.112.0/21", "203.0.113.1", 24),
    ] {
        let answer = dig(server.dns(), &format!("www.example.com A +subnet={client}"));
        assert_eq!((&answer.address()[..], answer.scope()), (address, scope), "{client}");
        let alias = dig(server.dns(), &format!("shop.example.com A +subnet={client}"));
        assert_eq!(alias.scope(), scope, "through an alias: {client}");
    }
    for (client, scope) in
        [("2001:db8:8000::/56", 33), ("2001:db8::/56", 33), ("2001:db9::/48", 32)]
    {
        let answer = dig(server.dns(), &format!("www.example.com A +subnet={client}"));
        assert_eq!(answer.scope(), scope, "{client}");
    }
}

#[test]
fn within_a_scope_every_client_gets_the_same_answer() {
    if !needs("RFC 7871: scopes hold", &["dig"]) {
        return;
    }
    let server = serve();
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 16) as u32
    };
    // Where something is decided, and anywhere.
    let clients: Vec<Ipv4Addr> = (0..60)
        .map(|n| match n % 3 {
            0 => Ipv4Addr::from(u32::from(Ipv4Addr::new(203, 0, 113, 0)) | next() & 0xff),
            1 => Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 51, 100, 0)) | next() & 0x1ff),
            _ => Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 0, 0, 0)) | next() & 0xff_ffff),
        })
        .collect();
    let question = |client: &Ipv4Addr| format!("www.example.com A +subnet={client}/32");
    let asked = |clients: &[Ipv4Addr]| -> Vec<Answer> {
        dig_all(server.dns(), &clients.iter().map(question).collect::<Vec<_>>())
    };
    let answers = asked(&clients);
    let mut neighbours = Vec::new();
    for (client, answer) in clients.iter().zip(&answers) {
        let below = u32::MAX.checked_shr(answer.scope().into()).unwrap_or(0);
        let first = u32::from(*client) & !below;
        let inside = [first, first | below, first | next() & below, first | next() & below];
        neighbours.extend(inside.map(|address| (Ipv4Addr::from(address), answer)));
    }
    let addresses: Vec<Ipv4Addr> = neighbours.iter().map(|(address, _)| *address).collect();
    for ((neighbour, answer), other) in neighbours.iter().zip(asked(&addresses)) {
        assert_eq!(other.answer, answer.answer, "{neighbour} in the scope of {:?}", answer.subnet);
        assert_eq!(other.scope(), answer.scope(), "{neighbour} and {:?}", answer.subnet);
    }
}
