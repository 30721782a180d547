//! RFC 2181: clarifications to the DNS, by its sections, as far as an authoritative server without
//! signatures has to do with them.

use crate::support::{Answer, Server, dig, needs};

const ZONE: &str = r#"
origin  = "example.com."
ttl     = "1h"
records = '''
@            SOA    ns1 hostmaster 1 2h 15m 2w 5m
@            NS     ns1
@            NS     ns.example.net.
ns1          A      198.51.100.53
several 60   A      198.51.100.1
several 300  A      198.51.100.2
several 60   A      198.51.100.1
sub          NS     ns.sub
ns.sub       A      198.51.100.54
longest 2147483647 A 198.51.100.3
binary\000\255\.label TXT "any bytes"
'''
"#;

fn server(zone: &str) -> Option<Server> {
    needs("rfc2181", &["dig"]).then(|| Server::files("").zone("example.com.toml", zone).start())
}

fn has_flag(answer: &Answer, flag: &str) -> bool {
    answer.flags.iter().any(|given| given == flag)
}

/// What `check` says when a line is added to the zone, and its exit code.
fn checked_with(server: &Server, line: &str) -> (String, i32) {
    server.write(
        "zones/example.com.toml",
        &ZONE.replace("sub          NS", &format!("{line}\nsub          NS")),
    );
    server.verb(&["check"])
}

#[test]
fn section_5_an_rrset_is_answered_whole_each_record_once_and_with_one_ttl() {
    let Some(server) = server(ZONE) else { return };
    let mut answer = dig(server.dns(), "several.example.com A").answer;
    answer.sort();
    // §5.2: the lowest of those given.
    assert_eq!(
        answer,
        ["several.example.com. 60 IN A 198.51.100.1", "several.example.com. 60 IN A 198.51.100.2"]
    );
    let (said, code) = server.verb(&["check"]);
    assert_eq!(code, 0);
    assert!(said.contains("have different TTLs") && said.contains("the same record"), "{said}");
}

#[test]
fn section_6_1_at_a_zone_cut_only_the_child_has_authority() {
    let Some(server) = server(ZONE) else { return };
    for question in ["sub.example.com NS", "ns.sub.example.com A", "x.sub.example.com TXT"] {
        let answer = dig(server.dns(), question);
        assert!(answer.answer.is_empty() && !has_flag(&answer, "aa"), "{}", answer.text);
        assert_eq!(answer.authority, ["sub.example.com. 3600 IN NS ns.sub.example.com."]);
        assert_eq!(answer.additional, ["ns.sub.example.com. 3600 IN A 198.51.100.54"]);
    }
    let answer = dig(server.dns(), "example.com NS");
    assert!(answer.answer.len() == 2 && has_flag(&answer, "aa"), "{}", answer.text);
}

#[test]
fn section_8_a_ttl_has_31_bits() {
    let Some(server) = server(ZONE) else { return };
    let answer = dig(server.dns(), "longest.example.com A");
    assert_eq!(answer.answer, ["longest.example.com. 2147483647 IN A 198.51.100.3"]);
    let (said, code) = checked_with(&server, "long 2147483648 A 198.51.100.1");
    assert!(code == 1 && said.contains("the TTL `2147483648` is too long"), "{said}");
}

#[test]
fn section_9_tc_is_set_only_where_what_was_asked_for_is_cut() {
    let strings: String = (0..9).map(|n| format!("big TXT \"{n}{}\"\n", "x".repeat(200))).collect();
    let zone = ZONE.replace("sub          NS", &format!("{strings}sub          NS"));
    let Some(server) = server(&zone) else { return };
    let cut = dig(server.dns(), "big.example.com TXT +ignore +noedns");
    assert!(has_flag(&cut, "tc"), "{}", cut.text);
    let whole = dig(server.dns(), "big.example.com TXT +tcp");
    assert!(!has_flag(&whole, "tc") && whole.answer.len() == 9, "{}", whole.text);
    // What is left out of ADDITIONAL is not asked for.
    let small = dig(server.dns(), "example.com NS +ignore +noedns");
    assert!(!has_flag(&small, "tc"), "{}", small.text);
}

#[test]
fn section_10_1_an_alias_stands_alone() {
    let Some(server) = server(ZONE) else { return };
    for (line, wanted) in [
        ("ns1 CNAME several", "ns1.example.com. has a CNAME record and also A"),
        ("two CNAME a\ntwo CNAME b", "two.example.com. has a second CNAME record"),
    ] {
        let (said, code) = checked_with(&server, line);
        assert!(code == 1 && said.contains(wanted), "{said}");
    }
}

#[test]
fn section_10_3_ns_and_mx_records_do_not_point_at_an_alias() {
    let Some(server) = server(ZONE) else { return };
    let (said, code) = checked_with(&server, "alias CNAME several\n@ MX 10 alias\n@ NS alias");
    assert_eq!(code, 0);
    for rtype in ["MX", "NS"] {
        let wanted = format!("alias.example.com. is an alias, but {rtype} records point at it");
        assert!(said.contains(&wanted), "{said}");
    }
}

#[test]
fn section_11_any_bytes_may_stand_in_a_label() {
    let Some(server) = server(ZONE) else { return };
    let answer = dig(server.dns(), r"binary\000\255\.label.example.com TXT");
    assert_eq!(answer.data("TXT"), ["\"any bytes\""], "{}", answer.text);
    assert_eq!(dig(server.dns(), "binary.label.example.com TXT").status, "NXDOMAIN");
    // The longest name, and the longest labels.
    let label = "a".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}.example.com", "b".repeat(49));
    assert_eq!(dig(server.dns(), &format!("{longest} TXT")).status, "NXDOMAIN");
}
