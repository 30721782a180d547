//! RFC 4592: wildcards. The zone of §2.2.1, and what the RFC says of it, each statement by its
//! section. (Where the RFC has 192.0.2.1, the zone here has 198.51.100.1.)

use crate::support::dig::Answer;
use crate::support::{Server, dig, needs};

const ZONE: &str = r#"
origin  = "example."
ttl     = "1h"
records = '''
@                  SOA  ns.example.com. hostmaster 1 2h 15m 2w 5m
@                  NS   ns.example.com.
@                  NS   ns.example.net.
*                  TXT  "this is a wildcard"
*                  MX   10 host1
sub.*              TXT  "this is not a wildcard"
host1              A    198.51.100.1
_ssh._tcp.host1    SRV  0 0 22 host1
_ssh._tcp.host2    SRV  0 0 22 host1
subdel             NS   ns.example.com.
subdel             NS   ns.example.net.
'''
"#;

/// Of the sections that are about other types at a wildcard.
const OTHERS: &str = r#"
origin  = "example.org."
ttl     = "1h"
records = '''
@            SOA    ns.example.com. hostmaster 1 2h 15m 2w 5m
@            NS     ns.example.com.
@            NS     ns.example.net.
a*           TXT    "no wildcard"
a.*.b        TXT    "below an asterisk"
*.alias      CNAME  target
target       A      198.51.100.1
*.loop       CNAME  x.loop
*.srv        SRV    0 0 1 target
*.outer      TXT    "outer"
*.inner.outer TXT   "inner"
*.empty      A      198.51.100.2
x.y.empty    A      198.51.100.3
'''
"#;

/// A server with both zones.
fn server() -> Option<Server> {
    let is_possible = needs("rfc4592", &["dig"]);
    is_possible.then(|| {
        Server::files("").zone("example.toml", ZONE).zone("example.org.toml", OTHERS).start()
    })
}

/// The answer has these records (the TTL left out) and no others, with authority.
#[track_caller]
fn answers(answer: &Answer, records: &[&str]) {
    let given: Vec<String> =
        answer.answer.iter().map(|record| record.replacen(" 3600 IN ", " ", 1)).collect();
    assert_eq!(given, records, "{}", answer.text);
    assert!(answer.status == "NOERROR" && answer.flags.contains(&"aa".into()), "{}", answer.text);
}

/// The answer is negative, with the SOA record: the name exists (`NOERROR`) or not (`NXDOMAIN`).
#[track_caller]
fn has_nothing(answer: &Answer, status: &str) {
    assert_eq!((answer.status.as_str(), answer.answer.len()), (status, 0), "{}", answer.text);
    assert!(answer.authority.iter().any(|record| record.contains(" SOA ")), "{}", answer.text);
}

#[test]
fn section_2_2_1_names_that_do_not_exist_are_synthesised() {
    let Some(server) = server() else { return };
    let ask = |question: &str| dig(server.dns(), question);
    answers(&ask("host3.example. MX"), &["host3.example. MX 10 host1.example."]);
    // The wildcard has no A record: the name has no data, but the wildcard stands for it.
    has_nothing(&ask("host3.example. A"), "NOERROR");
    answers(&ask("foo.bar.example. TXT"), &["foo.bar.example. TXT \"this is a wildcard\""]);
}

#[test]
fn section_2_2_1_names_that_exist_are_not_synthesised() {
    let Some(server) = server() else { return };
    let ask = |question: &str| dig(server.dns(), question);
    has_nothing(&ask("host1.example. MX"), "NOERROR");
    has_nothing(&ask("sub.*.example. MX"), "NOERROR");
    has_nothing(&ask("_telnet._tcp.host1.example. SRV"), "NXDOMAIN");
    has_nothing(&ask("ghost.*.example. MX"), "NXDOMAIN");
    let referral = ask("host.subdel.example. A");
    assert_eq!((referral.status.as_str(), referral.answer.len()), ("NOERROR", 0));
    assert!(!referral.flags.contains(&"aa".into()), "{}", referral.text);
    assert_eq!(referral.authority.len(), 2, "{}", referral.text);
    assert!(
        referral.authority.iter().all(|record| record.starts_with("subdel.example. 3600 IN NS "))
    );
}

#[test]
fn section_2_2_2_empty_non_terminals_exist() {
    let Some(server) = server() else { return };
    for name in ["_tcp.host1.example.", "_tcp.host2.example.", "host2.example."] {
        has_nothing(&dig(server.dns(), &format!("{name} TXT")), "NOERROR");
    }
}

#[test]
fn section_2_1_1_only_the_leftmost_label_that_is_an_asterisk_makes_a_wildcard() {
    let Some(server) = server() else { return };
    let ask = |question: &str| dig(server.dns(), question);
    has_nothing(&ask("ab.example.org. TXT"), "NXDOMAIN");
    answers(&ask("a*.example.org. TXT"), &["a*.example.org. TXT \"no wildcard\""]);
    // An asterisk further right is a label as others, and the name with it alone a wildcard without
    // data (§2.1.3, §4.8).
    answers(&ask("a.*.b.example.org. TXT"), &["a.*.b.example.org. TXT \"below an asterisk\""]);
    has_nothing(&ask("a.x.b.example.org. TXT"), "NOERROR");
}

#[test]
fn section_2_3_a_wildcard_asked_for_by_its_name_is_data_as_any_other() {
    let Some(server) = server() else { return };
    let ask = |question: &str| dig(server.dns(), question);
    answers(&ask("*.example. MX"), &["*.example. MX 10 host1.example."]);
    has_nothing(&ask("*.example. A"), "NOERROR");
    answers(&ask("sub.*.example. TXT"), &["sub.*.example. TXT \"this is not a wildcard\""]);
}

/// The table of closest enclosers and sources of synthesis.
#[test]
fn section_3_3_1_the_closest_encloser_decides_which_wildcard_is_the_source() {
    let Some(server) = server() else { return };
    let text = |name: &str| dig(server.dns(), &format!("{name} TXT"));
    for name in ["host3.example.", "_telnet._tcp.host3.example.", "_chat._udp.host3.example."] {
        answers(&text(name), &[&format!("{name} TXT \"this is a wildcard\"")]);
    }
    for name in ["_telnet._tcp.host1.example.", "_dns._udp.host2.example.", "foobar.*.example."] {
        has_nothing(&text(name), "NXDOMAIN");
    }
}

#[test]
fn section_3_3_1_a_wildcard_does_not_reach_below_a_name_that_exists() {
    let Some(server) = server() else { return };
    let text = |name: &str| dig(server.dns(), &format!("{name} TXT"));
    answers(&text("x.outer.example.org."), &["x.outer.example.org. TXT \"outer\""]);
    answers(&text("x.inner.outer.example.org."), &["x.inner.outer.example.org. TXT \"inner\""]);
    has_nothing(&text("inner.outer.example.org."), "NOERROR");
    let address = |name: &str| dig(server.dns(), &format!("{name} A"));
    answers(&address("y.z.empty.example.org."), &["y.z.empty.example.org. A 198.51.100.2"]);
    has_nothing(&address("z.y.empty.example.org."), "NXDOMAIN");
}

/// What a wildcard would delegate is not defined, so it is refused when the zone is read.
#[test]
fn section_4_2_ns_records_at_a_wildcard_are_refused() {
    let Some(server) = server() else { return };
    let with = OTHERS.replace("*.alias      CNAME  target", "*.alias NS ns.example.com.");
    server.write("zones/example.org.toml", &with);
    let (said, code) = server.verb(&["check"]);
    assert_eq!(code, 1);
    assert!(said.contains("an NS record at the wildcard *.alias.example.org."), "{said}");
}

#[test]
fn section_4_3_a_cname_at_a_wildcard_is_synthesised_and_followed() {
    let Some(server) = server() else { return };
    let ask = |question: &str| dig(server.dns(), question);
    answers(
        &ask("any.thing.alias.example.org. A"),
        &[
            "any.thing.alias.example.org. CNAME target.example.org.",
            "target.example.org. A 198.51.100.1",
        ],
    );
    answers(
        &ask("x.alias.example.org. CNAME"),
        &["x.alias.example.org. CNAME target.example.org."],
    );
    // One that leads back to itself comes to an end.
    let answer = ask("y.loop.example.org. A");
    assert_eq!(answer.answer[0], "y.loop.example.org. 3600 IN CNAME x.loop.example.org.");
    assert!(answer.answer.len() <= 20, "{}", answer.text);
}

#[test]
fn section_4_5_srv_records_at_a_wildcard_are_synthesised_with_addresses() {
    let Some(server) = server() else { return };
    let answer = dig(server.dns(), "_x._tcp.srv.example.org. SRV");
    answers(&answer, &["_x._tcp.srv.example.org. SRV 0 0 1 target.example.org."]);
    assert!(answer.additional.contains(&"target.example.org. 3600 IN A 198.51.100.1".into()));
}

#[test]
fn section_3_3_3_the_owner_is_the_name_asked_for_in_its_case() {
    let Some(server) = server() else { return };
    let answer = dig(server.dns(), "HoSt3.eXample. TXT");
    answers(&answer, &["HoSt3.eXample. TXT \"this is a wildcard\""]);
}
