//! Every test of RFC 8906 §8, asked with `dig` as it stands there.

use crate::support::{Answer, Server, dig, needs};

const ZONE: &str = r#"
origin  = "example.com."
records = """
@      SOA    ns1 hostmaster 1 2h 15m 2w 5m
@      NS     ns1
ns1    A      198.51.100.53
@      DNSKEY 257 3 8 $KEY
@      DNSKEY 256 3 8 $KEY
"""
"#;

/// What is expected of a response.
struct Expected {
    status: &'static str,
    /// The zone's SOA record is the answer, and AA is set; else there is none, and AA is clear.
    has_soa: bool,
    /// There is an OPT record, of version 0.
    has_opt: bool,
}

const ANSWERED: Expected = Expected { status: "NOERROR", has_soa: true, has_opt: false };
const WITH_OPT: Expected = Expected { status: "NOERROR", has_soa: true, has_opt: true };
const BAD_VERSION: Expected = Expected { status: "BADVERS", has_soa: false, has_opt: true };

/// The subsection, what is asked, and what is expected.
const CASES: [(&str, &str, Expected); 16] = [
    ("8.1.1 is the server configured for the zone?", "+noedns +noad soa example.com", ANSWERED),
    ("8.1.3.1 CD=1", "+noedns +noad +cd soa example.com", ANSWERED),
    ("8.1.3.2 AD=1", "+noedns +ad soa example.com", ANSWERED),
    ("8.1.3.3 the reserved bit", "+noedns +noad +zflag soa example.com", ANSWERED),
    ("8.1.3.4 recursive queries", "+noedns +noad +rec soa example.com", ANSWERED),
    (
        "8.1.4 unknown opcodes",
        "+noedns +noad +opcode=15 +header-only",
        Expected { status: "NOTIMP", has_soa: false, has_opt: false },
    ),
    ("8.1.5 TCP", "+noedns +noad +tcp soa example.com", ANSWERED),
    ("8.2.1 minimal EDNS", "+edns=0 +noad soa example.com", WITH_OPT),
    ("8.2.2 version negotiation", "+edns=1 +noednsneg +noad soa example.com", BAD_VERSION),
    ("8.2.3 unknown options", "+edns=0 +noad +ednsopt=100 soa example.com", WITH_OPT),
    ("8.2.4 unknown flags", "+edns=0 +noad +ednsflags=0x40 soa example.com", WITH_OPT),
    (
        "8.2.5 version negotiation with unknown flags",
        "+edns=1 +noednsneg +noad +ednsflags=0x40 soa example.com",
        BAD_VERSION,
    ),
    (
        "8.2.6 version negotiation with unknown options",
        "+edns=1 +noednsneg +noad +ednsopt=100 soa example.com",
        BAD_VERSION,
    ),
    ("8.2.8 DO=1", "+edns=0 +noad +dnssec soa example.com", WITH_OPT),
    (
        "8.2.9 version negotiation with DO=1",
        "+edns=1 +noednsneg +noad +dnssec soa example.com",
        BAD_VERSION,
    ),
    (
        "8.2.10 several defined options",
        "+edns=0 +noad +cookie +nsid +expire +subnet=0.0.0.0/0 soa example.com",
        WITH_OPT,
    ),
];

fn serve() -> Server {
    let zone = ZONE.replace("$KEY", &"A".repeat(344));
    Server::files("").zone("example.com.toml", &zone).start()
}

fn has_flag(answer: &Answer, flag: &str) -> bool {
    answer.flags.iter().any(|set| set == flag)
}

fn has_opt(answer: &Answer) -> bool {
    answer.text.contains("EDNS: version: 0,")
}

#[test]
fn the_tests_of_section_8_pass() {
    if !needs("RFC 8906: section 8", &["dig"]) {
        return;
    }
    let server = serve();
    for (section, question, expected) in CASES {
        let answer = dig(server.dns(), question);
        let text = &answer.text;
        assert_eq!(answer.status, expected.status, "{section}: {text}");
        assert_eq!(answer.data("SOA").len(), usize::from(expected.has_soa), "{section}: {text}");
        assert_eq!(has_flag(&answer, "aa"), expected.has_soa, "{section}: {text}");
        assert_eq!(has_opt(&answer), expected.has_opt, "{section}: {text}");
        assert_eq!(text.contains("OPT PSEUDO"), expected.has_opt, "{section}: {text}");
        assert!(!text.contains("MBZ"), "{section}: {text}");
        assert!(!text.contains("OPT=100"), "{section}: {text}");
        // CD, too: RFC 4035 §3.1.6.
        for never in ["ad", "cd", "ra", "tc"] {
            assert!(!has_flag(&answer, never), "{section}: {never}: {text}");
        }
        assert_eq!(has_flag(&answer, "rd"), question.contains("+rec"), "{section}: {text}");
    }
}

#[test]
fn section_8_1_2_unknown_types() {
    if !needs("RFC 8906: section 8.1.2", &["dig"]) {
        return;
    }
    let answer = dig(serve().dns(), "+noedns +noad type1000 example.com");
    assert_eq!(answer.status, "NOERROR", "{}", answer.text);
    assert!(answer.answer.is_empty() && has_flag(&answer, "aa"), "{}", answer.text);
}

#[test]
fn section_8_2_7_truncated_responses() {
    if !needs("RFC 8906: section 8.2.7", &["dig"]) {
        return;
    }
    let answer = dig(serve().dns(), "+dnssec +bufsize=512 +ignore dnskey example.com");
    assert_eq!(answer.status, "NOERROR", "{}", answer.text);
    assert!(has_flag(&answer, "tc") && has_opt(&answer), "{}", answer.text);
}
