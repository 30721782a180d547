//! Negative answers (RFC 2308), asked with `dig`; each case with its section.

use crate::support::{Server, dig, needs};

const ZONE: &str = r#"
origin  = "example.com."
records = """
$TTL 1h
@        7200 SOA ns1 hostmaster 1 2h 15m 2w 600
@        NS    ns1
ns1      A     198.51.100.53
www      A     198.51.100.80
to-www   CNAME www
to-none  CNAME none
out      CNAME none.example.net.
*.wild   A     198.51.100.81
a.empty  A     198.51.100.82
*.alias  CNAME none
sub      NS    ns.sub
ns.sub   A     198.51.100.54
"""
"#;

/// The SOA record's TTL is the least that it may be: of a zone with a short one.
const SHORT: &str = r#"
origin  = "example.org."
records = """
@   60 SOA ns.example.com. hostmaster 1 2h 15m 2w 1h
@   60 NS  ns1.example.com.
www 60 A   198.51.100.80
"""
"#;

const SOA: &str =
    "example.com. 600 IN SOA ns1.example.com. hostmaster.example.com. 1 7200 900 1209600 600";

fn serve() -> Server {
    Server::files("").zone("example.com.toml", ZONE).zone("example.org.toml", SHORT).start()
}

#[test]
fn sections_2_and_3_a_negative_answer_has_its_rcode_and_the_soa_record_and_nothing_else() {
    if !needs("RFC 2308: sections 2 and 3", &["dig"]) {
        return;
    }
    let server = serve();
    for (question, status, aliases) in [
        // §2.1: name errors, also at the end of an alias.
        ("none.example.com A", "NXDOMAIN", 0),
        ("a.www.example.com A", "NXDOMAIN", 0),
        ("to-none.example.com A", "NXDOMAIN", 1),
        ("x.alias.example.com A", "NXDOMAIN", 1),
        ("none.example.com ANY +notcp", "NXDOMAIN", 0),
        // §2.2: no data, the same.
        ("www.example.com MX", "NOERROR", 0),
        ("to-www.example.com MX", "NOERROR", 1),
        ("empty.example.com A", "NOERROR", 0),
        ("x.wild.example.com MX", "NOERROR", 0),
        ("wild.example.com A", "NOERROR", 0),
        ("example.com DS", "NOERROR", 0),
        ("sub.example.com DS", "NOERROR", 0),
    ] {
        for more in ["", "+noedns", "+tcp", "+dnssec"] {
            let answer = dig(server.dns(), &format!("{question} {more}"));
            let what = format!("{question} {more}: {}", answer.text);
            assert_eq!(answer.status, status, "{what}");
            assert_eq!(answer.data("CNAME").len(), aliases, "{what}");
            assert_eq!(answer.answer.len(), aliases, "{what}");
            assert_eq!(answer.authority, [SOA], "{what}");
            assert!(answer.additional.is_empty(), "{what}");
            assert!(answer.flags.contains(&"aa".to_string()), "{what}");
        }
    }
}

#[test]
fn section_2_1_an_alias_that_leaves_our_zones_is_no_negative_answer() {
    if !needs("RFC 2308: aliases that lead elsewhere", &["dig"]) {
        return;
    }
    let answer = dig(serve().dns(), "out.example.com A");
    assert_eq!((&answer.status[..], answer.answer.len()), ("NOERROR", 1), "{}", answer.text);
    assert!(answer.authority.is_empty(), "{}", answer.text);
}

#[test]
fn section_5_the_ttl_is_the_lesser_of_the_soa_records_and_of_its_minimum() {
    if !needs("RFC 2308: section 5", &["dig"]) {
        return;
    }
    let server = serve();
    let ttl = |question: &str| {
        let answer = dig(server.dns(), question);
        let soa = answer.authority.first().or(answer.answer.first()).expect("a SOA record").clone();
        soa.split(' ').nth(1).map(String::from)
    };
    assert_eq!(ttl("none.example.com A").as_deref(), Some("600"));
    assert_eq!(ttl("none.example.org A").as_deref(), Some("60"));
    // Who asks for the record itself gets its own TTL.
    assert_eq!(ttl("example.com SOA").as_deref(), Some("7200"));
}
