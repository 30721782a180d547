//! SVCB and HTTPS records (RFC 9460): hints that are decided per client, what comes along with
//! them, and what their text may be. A test's name begins with the section it is about.

use std::process::Command;

use crate::support::{Answer, Server, dig, dig_all, needs};

/// Who is in 203.0.113.0/25 or 2001:db8:8000::/33 is in America, everybody else is sent to fra.
const SERVER: &str = r#"
[geoip]
networks = "networks.toml"
[datacenters.fra]
location = { country = "DE" }
[datacenters.iad]
location = { country = "US" }
"#;

const NETWORKS: &str = r#"
[[networks]]
prefix  = "203.0.113.0/25"
country = "US"
[[networks]]
prefix  = "2001:db8:8000::/33"
country = "US"
[[networks]]
prefix  = "198.51.100.0/24"
country = "DE"
"#;

const ZONE: &str = r#"
origin  = "example.com."
records = """
@             SOA   ns1 hostmaster 1 2h 15m 2w 5m
@             NS    ns1
ns1           A     198.51.100.53
@             HTTPS 0 www
www           HTTPS 1 . alpn=h3,h2 port=8443 key667=x ech=AAEC
www           HTTPS 2 spread mandatory=port port=9443
*.apps        HTTPS 1 . alpn=h2
_dns.resolver SVCB  1 www alpn=dot
_8443._https.www HTTPS 1 www
shop          CNAME www
mail          MX    10 www
_imap._tcp    SRV   0 0 993 www
static        HTTPS 1 . alpn=h2 ipv4hint=198.51.100.80
static        A     198.51.100.80
none          HTTPS 0 .
far           HTTPS 0 www.example.net.
v4            HTTPS 1 .
alias-6       HTTPS 0 @
"""
[pools.web]
steer   = "nearest"
ttl     = "40s"
members = [
  { datacenter = "fra", addresses = ["203.0.113.1", "2001:db8::1"] },
  { datacenter = "iad", addresses = ["203.0.113.2", "2001:db8::2"] },
]
[pools.spread]
steer   = "weighted"
answers = 2
members = [
  { datacenter = "fra", addresses = ["203.0.113.11", "203.0.113.12", "2001:db8::11", "2001:db8::12"] },
  { datacenter = "iad", addresses = ["203.0.113.21", "203.0.113.22", "2001:db8::21", "2001:db8::22"] },
]
[pools.v4]
steer   = "nearest"
members = [
  { datacenter = "fra", addresses = ["203.0.113.31"] },
  { datacenter = "iad", addresses = ["203.0.113.32"] },
]
[pools.cdn]
steer   = "failover"
members = [{ datacenter = "fra", cname = "cdn.example.net." }]
[names.www]
pool = "web"
[names."*.apps"]
pool = "web"
[names.spread]
pool = "spread"
[names.v4]
pool = "v4"
[names.cdn]
pool = "cdn"
"#;

fn serve() -> Server {
    let files = Server::files(SERVER);
    files.write("networks.toml", NETWORKS);
    files.zone("example.com.toml", ZONE).start()
}

const FRA: &str = "+subnet=198.51.100.0/24";
const IAD: &str = "+subnet=203.0.113.0/25";

/// The comma-separated values of a parameter in one record's text.
fn values(record: &str, key: &str) -> Vec<String> {
    let found = record.split(' ').find_map(|word| word.strip_prefix(&format!("{key}=")));
    found.map(|list| list.split(',').map(String::from).collect()).unwrap_or_default()
}

/// Every hint of the record with this priority.
fn hints(answer: &Answer, priority: u16) -> Vec<String> {
    let of = |data: &String| data.split(' ').next() == Some(&priority.to_string());
    let found = answer.data("HTTPS").into_iter().chain(answer.data("SVCB")).find(of);
    let record = found.unwrap_or_else(|| panic!("no record {priority}: {}", answer.text));
    [values(&record, "ipv4hint"), values(&record, "ipv6hint")].concat()
}

#[test]
fn section_7_3_hints_are_what_a_and_aaaa_say_to_the_same_client() {
    if !needs("RFC 9460 §7.3", &["dig"]) {
        return;
    }
    let server = serve();
    let clients = [
        "203.0.113.77/32",
        "203.0.113.0/24",
        "203.0.113.128/25",
        "198.51.100.0/24",
        "2001:db8:8000::/48",
        "2001:db8::/56",
        "0.0.0.0/0",
    ];
    let names = ["www", "a.apps", "b.c.apps", "v4"];
    let cases = names.iter().flat_map(|name| clients.iter().map(move |client| (*name, *client)));
    let cases: Vec<_> = cases.collect();
    let questions = cases.iter().flat_map(|(name, client)| {
        ["A", "AAAA", "HTTPS"]
            .map(|rtype| format!("{name}.example.com {rtype} +norecurse +subnet={client}"))
    });
    let answers = dig_all(server.dns(), &questions.collect::<Vec<_>>());
    for (case, answers) in cases.iter().zip(answers.chunks(3)) {
        let [a, aaaa, https] = answers else { panic!("three answers") };
        let decided = [a.data("A"), aaaa.data("AAAA")].concat();
        assert!(!decided.is_empty(), "{case:?}");
        assert_eq!(hints(https, 1), decided, "{case:?}: {}", https.text);
        assert!(https.flags.contains(&"aa".to_string()), "{case:?}");
        if !case.1.ends_with("/0") {
            assert_eq!(https.scope(), a.scope().max(aaaa.scope()), "{case:?}");
        }
    }
}

#[test]
fn section_7_3_a_member_is_not_torn_apart_where_it_is_drawn() {
    if !needs("RFC 9460 §7.3: draws", &["dig"]) {
        return;
    }
    let server = serve();
    let questions = vec!["www.example.com HTTPS +norecurse".to_string(); 40];
    let mut seen = std::collections::HashSet::new();
    for answer in dig_all(server.dns(), &questions) {
        let hints = hints(&answer, 2);
        let all = |fourth: &str, last: &str| {
            let is_there = |hint: &String| hint.contains(fourth) || hint.contains(last);
            hints.len() == 4 && hints.iter().all(is_there)
        };
        let (is_fra, is_iad) = (all(".113.1", "::1"), all(".113.2", "::2"));
        // Two addresses of each family are enough, so that one datacenter gives them all.
        assert!(is_fra || is_iad, "{hints:?}");
        seen.insert(is_fra);
    }
    assert_eq!(seen.len(), 2, "both are drawn");
}

#[test]
fn section_2_2_parameters_stand_in_order_around_the_hints() {
    if !needs("RFC 9460 §2.2", &["dig", "kdig"]) {
        return;
    }
    let server = serve();
    let answer = dig(server.dns(), &format!("www.example.com HTTPS {FRA}"));
    let [first, second] = &answer.data("HTTPS")[..] else { panic!("{}", answer.text) };
    let keys = |record: &str| -> Vec<String> {
        let words = record.split(' ').skip(2);
        words.map(|word| word.split('=').next().unwrap_or(word).to_string()).collect()
    };
    assert_eq!(keys(first), ["alpn", "port", "ipv4hint", "ech", "ipv6hint", "key667"]);
    assert_eq!(keys(second), ["mandatory", "port", "ipv4hint", "ipv6hint"]);
    assert_eq!(hints(&answer, 1), ["203.0.113.1", "2001:db8::1"]);
    // An independent reader sees well-formed records, too.
    let output = Command::new("kdig")
        .arg(format!("@{}", server.dns().ip()))
        .args(["-p", &server.dns().port().to_string(), "www.example.com", "HTTPS"])
        .output()
        .expect("kdig runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("ipv4hint=203.0.113.1 ech="), "{text}");
    assert!(!text.to_lowercase().contains("malformed"), "{text}");
}

#[test]
fn section_2_5_a_target_is_the_name_itself_or_another_steered_one() {
    if !needs("RFC 9460 §2.5", &["dig"]) {
        return;
    }
    let server = serve();
    for question in ["_dns.resolver.example.com SVCB", "_8443._https.www.example.com HTTPS"] {
        for (client, expected) in
            [(FRA, ["203.0.113.1", "2001:db8::1"]), (IAD, ["203.0.113.2", "2001:db8::2"])]
        {
            let answer = dig(server.dns(), &format!("{question} {client}"));
            assert_eq!(hints(&answer, 1), expected, "{question} {client}");
            let a = dig(server.dns(), &format!("www.example.com A {client}"));
            assert_eq!(answer.scope(), a.scope(), "{question} {client}");
        }
    }
    // A CNAME leads to the same.
    let answer = dig(server.dns(), &format!("shop.example.com HTTPS {IAD}"));
    assert_eq!(answer.data("CNAME"), ["www.example.com."]);
    assert_eq!(hints(&answer, 1), ["203.0.113.2", "2001:db8::2"]);
    // What is not steered stays as it is written.
    let answer = dig(server.dns(), &format!("static.example.com HTTPS {IAD}"));
    assert_eq!((hints(&answer, 1), answer.scope()), (vec!["198.51.100.80".to_string()], 0));
}

#[test]
fn section_2_4_2_an_alias_stays_and_comes_with_what_it_leads_to() {
    if !needs("RFC 9460 §2.4.2", &["dig"]) {
        return;
    }
    let server = serve();
    let answer = dig(server.dns(), &format!("example.com HTTPS {IAD}"));
    assert_eq!(answer.data("HTTPS"), ["0 www.example.com."]);
    let of = |start: &str| answer.additional.iter().filter(|line| line.starts_with(start)).count();
    assert_eq!(of("www.example.com. 30 IN HTTPS "), 2, "{}", answer.text);
    assert_eq!(of("www.example.com. 40 IN A 203.0.113.2"), 1);
    assert_eq!(of("www.example.com. 40 IN AAAA 2001:db8::2"), 1);
    assert!(answer.scope() >= 24);
    // An alias of an alias.
    let answer = dig(server.dns(), "alias-6.example.com HTTPS");
    assert_eq!(answer.data("HTTPS"), ["0 example.com."]);
    assert!(answer.additional.contains(&"example.com. 300 IN HTTPS 0 www.example.com.".into()));
    // Out of the zone, or to nothing, nothing comes along.
    for name in ["far", "none"] {
        let answer = dig(server.dns(), &format!("{name}.example.com HTTPS"));
        assert_eq!((answer.answer.len(), answer.additional.len()), (1, 0), "{}", answer.text);
    }
}

#[test]
fn section_4_1_addresses_of_targets_are_additional_and_make_the_scope() {
    if !needs("RFC 9460 §4.1", &["dig"]) {
        return;
    }
    let server = serve();
    let expected =
        ["www.example.com. 40 IN A 203.0.113.2", "www.example.com. 40 IN AAAA 2001:db8::2"];
    for question in [
        "_8443._https.www.example.com HTTPS",
        "_dns.resolver.example.com SVCB",
        // As for other types that point at names.
        "mail.example.com MX",
        "_imap._tcp.example.com SRV",
        "shop.example.com CNAME",
    ] {
        let answer = dig(server.dns(), &format!("{question} {IAD}"));
        assert_eq!(answer.additional, expected, "{question}");
        let a = dig(server.dns(), &format!("www.example.com A {IAD}"));
        assert_eq!(answer.scope(), a.scope(), "{question}");
    }
    let answer = dig(server.dns(), "static.example.com HTTPS");
    assert_eq!(answer.additional, ["static.example.com. 300 IN A 198.51.100.80"]);
    // What has no room is left out, without truncation.
    let answer = dig(server.dns(), "www.example.com HTTPS +noedns +ignore");
    assert!(!answer.flags.contains(&"tc".to_string()), "{}", answer.text);
    assert_eq!(answer.data("HTTPS").len(), 2);
}

#[test]
fn section_2_a_name_that_is_a_cname_has_no_services() {
    if !needs("RFC 9460 §2", &["dig"]) {
        return;
    }
    let server = serve();
    let answer = dig(server.dns(), "cdn.example.com HTTPS");
    assert_eq!(answer.data("CNAME"), ["cdn.example.net."]);
    assert!(answer.data("HTTPS").is_empty());
    server.write("zones/example.com.toml", &ZONE.replace("v4            HTTPS", "cdn HTTPS"));
    let (said, code) = server.verb(&["check"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("may be answered by a CNAME, but has HTTPS records"), "{said}");
}

#[test]
fn section_2_1_what_is_wrong_in_a_text_is_told_with_its_place() {
    let server = serve();
    for (text, said) in [
        ("alpn", "`alpn` has no value"),
        ("key123=abc key123=def", "`key123` stands twice"),
        ("no-default-alpn", "`no-default-alpn` without `alpn`"),
        ("mandatory=key123", "`mandatory` lists `key123`, which is not there"),
    ] {
        let zone = ZONE.replace("key667=x ech=AAEC", text).replace("alpn=h3,h2 ", "");
        server.write("zones/example.com.toml", &zone);
        let (output, code) = server.verb(&["check"]);
        assert_eq!(code, 1, "{output}");
        assert!(output.contains(said) && output.contains("example.com.toml:"), "{output}");
    }
    server.write("zones/example.com.toml", ZONE);
    let (output, code) = server.verb(&["check"]);
    assert_eq!(code, 0, "{output}");
}

#[test]
fn the_hints_are_explained() {
    let server = serve();
    let arguments = ["explain", "www.example.com", "HTTPS", "--client", "203.0.113.0/25"];
    let (said, code) = server.verb(&arguments);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("ipv4hint=203.0.113.2 ipv6hint=2001:db8::2"), "{said}");
    assert!(said.contains("AAAA 2001:db8::2; TTL 40 s"), "{said}");
    let explained = server.api(
        "/api/v1/explain?name=www.example.com&type=HTTPS&client=203.0.113.0/25&resolver=127.0.0.1",
    );
    let outcome = &explained["links"][0]["outcome"];
    assert_eq!(outcome["kind"], "hinted", "{explained}");
    assert_eq!(outcome["records"].as_array().map(Vec::len), Some(2));
    let types = |index: usize| outcome["decisions"][index]["answer"]["rtype"].clone();
    assert_eq!([types(0), types(1)], ["A", "AAAA"], "{explained}");
}
