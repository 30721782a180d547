//! Minimal answers to ANY (RFC 8482), asked with `dig`.

use crate::support::{Server, dig, needs};

const SERVER: &str = "[datacenters.fra]\nlocation = { country = \"DE\" }\n";

const ZONE: &str = r#"
origin  = "example.com."
records = """
@        SOA   ns1 hostmaster 1 2h 15m 2w 5m
@        NS    ns1
ns1      A     198.51.100.53
www      A     198.51.100.80
www      TXT   "one" "two"
alias    CNAME www
host     HINFO "a CPU" "an OS"
*.wild   A     198.51.100.81
a.empty  A     198.51.100.82
sub      NS    ns.sub
ns.sub   A     198.51.100.54
"""
[pools.web]
steer   = "failover"
members = [{ datacenter = "fra", addresses = ["203.0.113.1"] }]
[names.steered]
pool = "web"
"#;

#[test]
fn section_4_2_any_gets_one_hinfo_record_that_says_so_over_udp_and_tcp() {
    if !needs("RFC 8482: section 4.2", &["dig"]) {
        return;
    }
    let server = Server::files(SERVER).zone("example.com.toml", ZONE).start();
    for transport in ["+notcp", "+tcp"] {
        for name in ["www", "alias", "x.wild", "steered", "ns1"] {
            let answer = dig(server.dns(), &format!("{name}.example.com ANY {transport}"));
            let what = format!("{name}: {}", answer.text);
            let line = format!("{name}.example.com. 3600 IN HINFO \"RFC8482\" \"\"");
            assert_eq!((&answer.status[..], answer.answer), ("NOERROR", vec![line]), "{what}");
            assert!(answer.authority.is_empty() && answer.additional.is_empty(), "{what}");
        }
    }
}

#[test]
fn where_there_is_nothing_any_is_answered_as_other_types_are() {
    if !needs("RFC 8482: negative answers", &["dig"]) {
        return;
    }
    let server = Server::files(SERVER).zone("example.com.toml", ZONE).start();
    for (name, status, authority) in [
        ("none", "NXDOMAIN", "SOA"),
        ("empty", "NOERROR", "SOA"),
        ("wild", "NOERROR", "SOA"),
        ("a.sub", "NOERROR", "NS"),
    ] {
        let answer = dig(server.dns(), &format!("{name}.example.com ANY +notcp"));
        let what = format!("{name}: {}", answer.text);
        assert_eq!(answer.status, status, "{what}");
        assert!(answer.answer.is_empty(), "{what}");
        let types: Vec<&str> =
            answer.authority.iter().filter_map(|r| r.split(' ').nth(3)).collect();
        assert_eq!(types, [authority], "{what}");
    }
}
