//! Members that are names: elsewhere a CNAME, at the apex and where a name asks for it the addresses
//! behind it: resolved, probed, followed, and served stale where nobody tells newer ones (RFC 8767).

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::support::backend::Manner as Backends;
use crate::support::peers::{Peer, PeerZone};
use crate::support::resolver::Manner;
use crate::support::{Answer, Backend, Resolver, Server, dig, needs, until};

const ZONE: &str = r#"
origin  = "example.com."
records = """
@    SOA   ns1 hostmaster 1 2h 15m 2w 5m
@    NS    ns1
@    MX    10 mail
@    TXT   "here"
ns1  A     198.51.100.53
mail A     198.51.100.25
"""
[checks.web]
kind     = "http"
port     = 8080
interval = "1s"
fast_interval = "100ms"
timeout  = "1s"
rise     = 1
fall     = 2

[pools.cdn]
steer   = "failover"
ttl     = "60s"
{pool}
members = [
  { datacenter = "fra", cname = "www.cdn.example.net." },
  {more}
]

[names."@"]
pool = "cdn"
[names.www]
pool = "cdn"
[names.flat]
pool    = "cdn"
flatten = true
"#;

const MEMBER: &str = "www.cdn.example.net.";

/// A server whose resolver is at the second of its addresses, and that resolver, which knows what it
/// is taught. `pool`: more keys of the pool; `more`: more members.
fn serve(teach: impl FnOnce(&Resolver), pool: &str, more: &str) -> (Server, Resolver) {
    let files = Server::files("[datacenters.fra]\n[datacenters.iad]\n");
    let host = files.addresses().host(2);
    let resolver = Resolver::start(host);
    teach(&resolver);
    with_resolvers(&files, &[host]);
    let zone = ZONE.replace("{pool}", pool).replace("{more}", more);
    (files.zone("example.com.toml", &zone).start(), resolver)
}

/// Names the resolvers in the server's file.
fn with_resolvers(files: &crate::support::server::Files, resolvers: &[Ipv4Addr]) {
    let text = std::fs::read_to_string(files.path("portolan.toml")).expect("the file is there");
    let port = crate::support::resolver::PORT;
    let list: Vec<String> = resolvers.iter().map(|ip| format!("\"{ip}:{port}\"")).collect();
    let with = format!("[dns]\nresolvers = [{}]\n", list.join(", "));
    files.write("portolan.toml", &text.replacen("[dns]\n", &with, 1));
}

fn ask(server: &Server, question: &str) -> Answer {
    dig(server.dns(), question)
}

fn ttl(answer: &Answer) -> u32 {
    let record = answer.answer.first().unwrap_or_else(|| panic!("no record: {}", answer.text));
    record.split(' ').nth(1).and_then(|ttl| ttl.parse().ok()).expect("a TTL")
}

fn sorted(mut data: Vec<String>) -> Vec<String> {
    data.sort();
    data
}

fn until_apex(server: &Server, expected: &str) -> Answer {
    until(&format!("the apex is answered with {expected}"), || {
        ask(server, "example.com A").data("A") == [expected]
    });
    ask(server, "example.com A")
}

#[test]
fn the_apex_has_addresses_and_other_names_a_cname() {
    let teach = |resolver: &Resolver| {
        let edge = "edge.cdn.example.net.";
        resolver.alias(MEMBER, edge, 120);
        resolver.knows(edge, &["203.0.113.1", "203.0.113.2", "2001:db8::1"], 300);
    };
    let (server, resolver) = serve(teach, "answers = 4", "");

    for owner in ["example.com", "flat.example.com"] {
        let answer = ask(&server, &format!("{owner} A"));
        assert_eq!(sorted(answer.data("A")), ["203.0.113.1", "203.0.113.2"], "{}", answer.text);
        assert!(answer.flags.contains(&"aa".into()) && ttl(&answer) == 60, "{}", answer.text);
        assert_eq!(ask(&server, &format!("{owner} AAAA")).data("AAAA"), ["2001:db8::1"]);
        let none = ask(&server, &format!("{owner} CNAME"));
        assert!(none.answer.is_empty() && none.status == "NOERROR", "{}", none.text);
    }
    let alias = ask(&server, "www.example.com A");
    assert_eq!(alias.data("CNAME"), [MEMBER], "{}", alias.text);
    assert_eq!(ttl(&alias), 60);
    for rtype in ["SOA", "NS", "MX", "TXT"] {
        assert_eq!(ask(&server, &format!("example.com {rtype}")).answer.len(), 1, "{rtype}");
    }
    assert_eq!(ask(&server, "www.example.com TXT").data("CNAME"), [MEMBER]);
    assert_eq!(ask(&server, "flat.example.com TXT").status, "NOERROR");

    let (told, code) = server.verb(&["explain", "example.com", "--client", "198.51.100.1"]);
    assert_eq!(code, 0);
    assert!(told.contains("www.cdn.example.net., resolved 20"), "{told}");
    assert!(told.contains("203.0.113.1 up"), "{told}");
    let offline = ["explain", "example.com", "--client", "198.51.100.1", "--offline"];
    let (told, _) = server.verb(&offline);
    assert!(told.contains("www.cdn.example.net., not resolved"), "{told}");
    let (told, code) = server.verb(&["check"]);
    assert_eq!(code, 0, "{told}");
    assert_eq!(resolver.asked(), 2, "once for each family, however often we are");
}

#[test]
fn changes_are_followed_when_the_ttl_ends() {
    let (server, resolver) = serve(|resolver| resolver.knows(MEMBER, &["203.0.113.1"], 5), "", "");
    let answer = ask(&server, "example.com A");
    assert_eq!(answer.address(), "203.0.113.1");
    assert!(ttl(&answer) <= 5, "{}", answer.text);
    resolver.knows(MEMBER, &["203.0.113.2"], 5);
    let changed = Instant::now();
    until_apex(&server, "203.0.113.2");
    assert!(changed.elapsed() < Duration::from_secs(20), "{:?}", changed.elapsed());
}

#[test]
fn that_a_name_is_gone_is_an_answer_too() {
    let (server, resolver) = serve(|resolver| resolver.knows(MEMBER, &["203.0.113.1"], 5), "", "");
    resolver.forgets(MEMBER);
    until("nothing is left", || ask(&server, "example.com A").answer.is_empty());
    let gone = ask(&server, "example.com A");
    assert_eq!((gone.status.as_str(), gone.authority.len()), ("NOERROR", 1), "{}", gone.text);
    resolver.knows(MEMBER, &["203.0.113.3"], 5);
    until_apex(&server, "203.0.113.3");
}

#[test]
fn when_the_resolver_dies_the_answer_is_stale_and_says_so_until_it_is_back() {
    let (server, resolver) = serve(|resolver| resolver.knows(MEMBER, &["203.0.113.1"], 5), "", "");
    let fresh = ask(&server, "example.com A");
    assert!(!fresh.text.contains("EDE"), "{}", fresh.text);
    resolver.behaves(Manner::Fails);
    until("the answer is stale", || ask(&server, "example.com A").text.contains("EDE: 3"));
    let stale = ask(&server, "example.com A");
    assert!(stale.text.contains("Stale Answer"), "{}", stale.text);
    assert_eq!((stale.address().as_str(), ttl(&stale)), ("203.0.113.1", 30), "RFC 8767 §4");
    let none = ask(&server, "example.com AAAA");
    assert!(!none.text.contains("EDE"), "there is nothing that is old: {}", none.text);
    let cname = ask(&server, "www.example.com A");
    assert!(!cname.text.contains("EDE"), "{}", cname.text);
    let plain = ask(&server, "example.com A +noedns");
    assert_eq!(plain.address(), "203.0.113.1");
    let (told, _) = server.verb(&["explain", "example.com", "--client", "198.51.100.1"]);
    assert!(told.contains("stale"), "{told}");

    resolver.knows(MEMBER, &["203.0.113.9"], 60);
    resolver.behaves(Manner::Answers);
    // Who has repaired it need not wait until it is tried again.
    server.signal("HUP");
    let again = until_apex(&server, "203.0.113.9");
    assert!(!again.text.contains("EDE"), "{}", again.text);
}

#[test]
fn what_is_resolved_is_probed_and_answered_only_where_it_is_up() {
    let files = Server::files("[datacenters.fra]\n[datacenters.iad]\n");
    let net = files.addresses();
    let host = |last| net.host(last).to_string();
    let resolver = Resolver::start(net.host(2));
    resolver.knows(MEMBER, &[&host(11), &host(12)], 5);
    with_resolvers(&files, &[net.host(2)]);
    let first = Backend::start((net.host(11), 8080));
    let zone = ZONE.replace("{pool}", "check = \"web\"").replace(
        "{more}",
        "{ datacenter = \"iad\", addresses = [\"203.0.113.200\"], probe = \"{net}.13\" }",
    );
    let last = Backend::start((net.host(13), 8080));
    let server = files.zone("example.com.toml", &zone).start();
    // From the first answer on: the other one does not listen.
    for _ in 0..20 {
        assert_eq!(ask(&server, "example.com A").address(), host(11));
    }
    first.behave(Backends::Says(500, String::new()));
    until_apex(&server, "203.0.113.200");
    let second = Backend::start((net.host(12), 8080));
    until_apex(&server, &host(12));

    // Nobody is sent to an address before it has been probed.
    resolver.knows(MEMBER, &[&host(14)], 5);
    until("the new address is passed over", || {
        let address = ask(&server, "example.com A").address();
        assert_ne!(address, host(14), "nothing listens there");
        address == "203.0.113.200"
    });
    let third = Backend::start((net.host(14), 8080));
    until_apex(&server, &host(14));
    drop((second, third, last));
}

#[test]
fn of_very_many_addresses_some_are_taken() {
    let many: Vec<String> = (1..=150).map(|last| format!("203.0.113.{last}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    // Too many for a datagram: they are fetched over TCP.
    let (server, _resolver) =
        serve(|resolver| resolver.knows(MEMBER, &many, 300), "answers = 16", "");
    let answer = ask(&server, "example.com A");
    assert_eq!(answer.data("A").len(), 16, "{}", answer.text);
    let known = |address: &String| {
        let last: u8 = address.rsplit('.').next().and_then(|last| last.parse().ok()).unwrap();
        (1..=32).contains(&last)
    };
    assert!(answer.data("A").iter().all(known), "the first 32: {}", answer.text);
}

#[test]
fn another_resolver_is_asked_when_one_talks_nonsense() {
    for manner in [Manner::Babbles, Manner::Lies, Manner::Silent] {
        let files = Server::files("[datacenters.fra]\n[datacenters.iad]\n");
        let (one, other) = (files.addresses().host(2), files.addresses().host(3));
        let (bad, good) = (Resolver::start(one), Resolver::start(other));
        bad.knows(MEMBER, &["203.0.113.66"], 60);
        bad.behaves(manner);
        good.knows(MEMBER, &["203.0.113.1"], 60);
        with_resolvers(&files, &[one, other]);
        let zone = ZONE.replace("{pool}", "").replace("{more}", "");
        let server = files.zone("example.com.toml", &zone).start();
        assert_eq!(ask(&server, "example.com A").address(), "203.0.113.1", "{manner:?}");
    }
}

#[test]
fn after_a_restart_without_a_resolver_the_other_members_answer() {
    let more = "{ datacenter = \"iad\", addresses = [\"203.0.113.200\"] }";
    let (mut server, resolver) =
        serve(|resolver| resolver.knows(MEMBER, &["203.0.113.1"], 60), "", more);
    assert_eq!(ask(&server, "example.com A").address(), "203.0.113.1");
    server.kill();
    resolver.behaves(Manner::Fails);
    server.restart();
    assert_eq!(ask(&server, "example.com A").address(), "203.0.113.200");
    resolver.behaves(Manner::Answers);
    until_apex(&server, "203.0.113.1");
}

#[test]
fn what_was_never_resolved_is_not_said_to_be_nothing() {
    let teach = |resolver: &Resolver| {
        resolver.knows(MEMBER, &["203.0.113.1"], 60);
        resolver.behaves(Manner::Fails);
    };
    let (server, resolver) = serve(teach, "", "");
    let unknown = ask(&server, "example.com A");
    assert_eq!(unknown.status, "SERVFAIL", "nobody keeps it: {}", unknown.text);
    assert!(unknown.text.contains("EDE: 14") && unknown.answer.is_empty(), "{}", unknown.text);
    assert_eq!(ask(&server, "example.com SOA").answer.len(), 1);
    assert_eq!(ask(&server, "www.example.com A").data("CNAME"), [MEMBER]);
    let (told, _) = server.verb(&["explain", "example.com", "--client", "198.51.100.1"]);
    assert!(told.contains("SERVFAIL"), "{told}");
    resolver.behaves(Manner::Answers);
    until_apex(&server, "203.0.113.1");
}

#[test]
fn a_reload_serves_new_names_once_they_are_resolved_and_probed() {
    let files = Server::files("[datacenters.fra]\n[datacenters.iad]\n");
    let net = files.addresses();
    let resolver = Resolver::start(net.host(2));
    let address = net.host(11).to_string();
    resolver.knows(MEMBER, &["203.0.113.1"], 60);
    resolver.knows("new.cdn.example.net.", &[&address], 60);
    with_resolvers(&files, &[net.host(2)]);
    let _backend = Backend::start((net.host(11), 8080));
    let zone = ZONE.replace("{pool}", "").replace("{more}", "");
    let server = files.zone("example.com.toml", &zone).start();
    assert_eq!(ask(&server, "new.example.com A").status, "NXDOMAIN");

    let more = r#"
[pools.new]
steer   = "failover"
check   = "web"
members = [{ datacenter = "fra", cname = "new.cdn.example.net." }]
[names.new]
pool    = "new"
flatten = true
[names.new-too]
pool    = "new"
"#;
    server.write("zones/example.com.toml", &format!("{zone}{more}"));
    until("the new name is there", || {
        let answer = ask(&server, "new.example.com A");
        assert!(matches!(&answer.status[..], "NXDOMAIN" | "NOERROR"), "{}", answer.text);
        answer.status == "NOERROR"
    });
    // From the first answer on, and what was known is known.
    assert_eq!(ask(&server, "new.example.com A").address(), address);
    assert_eq!(ask(&server, "new-too.example.com A").data("CNAME"), ["new.cdn.example.net."]);
    assert_eq!(ask(&server, "example.com A").address(), "203.0.113.1");
    assert_eq!(resolver.asked(), 4, "each name once for each family");

    // What is said of the pool counts for both ways to answer, and each is listed.
    let (told, code) = server.verb(&["force", "pool/example.com/new", "down"]);
    assert_eq!(code, 0, "{told}");
    let metrics = server.call("GET", "/metrics", "").1;
    for pool in ["new", "new (flattened)"] {
        let line = format!("portolan_pool_up{{zone=\"example.com.\",pool=\"{pool}\"}} 0");
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
}

#[test]
fn unbound_resolves_for_us() {
    if !needs("flatten through unbound", &["unbound", "nsd", "dig"]) {
        return;
    }
    let files = Server::files("[datacenters.fra]\n[datacenters.iad]\n");
    let net = files.addresses();
    // A chain that goes through a zone of somebody else's.
    let text = "@ 60 SOA ns1 hostmaster 1 2h 15m 2w 60\n@ 60 NS ns1\nns1 60 A 198.51.100.53\n\
                www.cdn 60 CNAME edge\nedge 60 A 203.0.113.7\nedge 60 AAAA 2001:db8::7\n";
    let zone = PeerZone { origin: "example.net.", text };
    let nsd = Peer::nsd(net.host(3), &[zone]);
    let unbound = Peer::unbound_for(net.host(2), "example.net", nsd.dns());
    let resolvers = format!("[dns]\nresolvers = [\"{}\"]\n", unbound.dns());
    let text = std::fs::read_to_string(files.path("portolan.toml")).unwrap();
    files.write("portolan.toml", &text.replacen("[dns]\n", &resolvers, 1));
    let zone = ZONE.replace("{pool}", "").replace("{more}", "");
    let server = files.zone("example.com.toml", &zone).start();
    assert_eq!(ask(&server, "example.com A").address(), "203.0.113.7");
    assert_eq!(ask(&server, "example.com AAAA").data("AAAA"), ["2001:db8::7"]);
}
