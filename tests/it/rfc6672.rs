//! Redirection of names by DNAME records (RFC 6672), asked with `dig`; each case with its section.

use crate::asking::ask_udp;
use crate::support::{Answer, Server, dig, dig_all, needs};

const SERVER: &str = "[datacenters.fra]\nlocation = { country = \"DE\" }\n";

const ZONE: &str = r#"
origin  = "example.com."
records = """
$TTL 300
@        SOA   ns1 hostmaster 1 2h 15m 2w 5m
@        NS    ns1
ns1      A     198.51.100.53
b        DNAME example.net.
x        DNAME example.net.
y        DNAME y.example.net.
c        DNAME c
d        DNAME c.d
here 60  DNAME there
here     TXT   "the owner itself"
here     MX    10 mail.there
www.here A     198.51.100.80
sub.here NS    ns.sub.here
*.wild.here A  198.51.100.81
www.there  A   198.51.100.82
*.wild.there A 198.51.100.83
alias.there CNAME www.here
sub.there  NS  ns.sub.there
ns.sub.there A 198.51.100.54
to-here  CNAME www.here
one      DNAME two
two      DNAME there
*.star   DNAME there
far      DNAME a-label-that-makes-it-long.example.com.
hint     A     198.51.100.84
"""
[pools.web]
steer   = "failover"
members = [{ datacenter = "fra", addresses = ["203.0.113.1"] }]
[names."www.steered.there"]
pool = "web"
"#;

const WHOLE: &str = r#"
origin  = "example.org."
records = """
@ 300 SOA ns.example.net. hostmaster 1 2h 15m 2w 5m
@ 300 NS  ns.example.net.
@ 300 MX  10 mail.example.net.
@ 300 DNAME example.com.
"""
"#;

const ROOTWARDS: &str = r#"
origin  = "x."
records = """
@ 300 SOA ns.example.net. hostmaster.example.net. 1 2h 15m 2w 5m
@ 300 NS  ns.example.net.
@ 300 DNAME .
"""
"#;

fn serve() -> Server {
    let files = Server::files(SERVER).zone("example.com.toml", ZONE);
    files.zone("example.org.toml", WHOLE).zone("x.toml", ROOTWARDS).start()
}

/// Where the first synthesised CNAME record leads.
fn led(answer: &Answer) -> Option<String> {
    answer.data("CNAME").first().cloned()
}

/// The status, and owner, type and data of every record in ANSWER.
fn told(answer: &Answer) -> (&str, Vec<String>) {
    let line = |record: &String| {
        let mut words: Vec<&str> = record.split(' ').collect();
        words.drain(1..3);
        words.join(" ")
    };
    (&answer.status, answer.answer.iter().map(line).collect())
}

#[test]
fn section_2_2_names_below_the_owner_are_substituted() {
    if !needs("RFC 6672: section 2.2", &["dig"]) {
        return;
    }
    let server = serve();
    let cases = [
        ("example.com", None),
        ("x.example.com", None),
        ("a.x.example.com", Some("a.example.net.")),
        ("a.b.x.example.com", Some("a.b.example.net.")),
        ("ab.example.com", None),
        ("foo.x.example.com", Some("foo.example.net.")),
        ("a.y.example.com", Some("a.y.example.net.")),
        ("cyc.c.example.com", Some("cyc.c.example.com.")),
        ("cyc.d.example.com", Some("cyc.c.d.example.com.")),
        ("shortloop.x.x", Some("shortloop.x.")),
        ("shortloop.x", Some("shortloop.")),
    ];
    let questions: Vec<String> = cases.iter().map(|(name, _)| format!("{name} A")).collect();
    for ((name, expected), answer) in cases.iter().zip(dig_all(server.dns(), &questions)) {
        assert_eq!(led(&answer).as_deref(), *expected, "{name}: {}", answer.text);
    }
    let answer = dig(server.dns(), "shortloop.x.x A");
    assert_eq!(
        told(&answer),
        (
            "NOERROR",
            ["x. DNAME .", "shortloop.x.x. CNAME shortloop.x.", "shortloop.x. CNAME shortloop."]
                .map(String::from)
                .to_vec()
        )
    );
}

#[test]
fn section_2_3_at_the_apex_and_2_4_what_stands_beside_and_below() {
    if !needs("RFC 6672: sections 2.3 and 2.4", &["dig"]) {
        return;
    }
    let server = serve();
    for (question, status, expected) in [
        // SOA, NS and others stand beside it, at an apex too.
        ("example.org SOA", "NOERROR", 1),
        ("example.org MX", "NOERROR", 1),
        ("example.org DNAME", "NOERROR", 1),
        ("example.org A", "NOERROR", 0),
        ("here.example.com TXT", "NOERROR", 1),
        ("here.example.com A", "NOERROR", 0),
        ("here.example.com DS", "NOERROR", 0),
    ] {
        let answer = dig(server.dns(), question);
        let what = format!("{question}: {}", answer.text);
        assert_eq!((&answer.status[..], answer.answer.len()), (status, expected), "{what}");
        assert_eq!(led(&answer), None, "{what}");
        assert_eq!(answer.authority.len(), usize::from(expected == 0), "{what}");
    }
    assert_eq!(led(&dig(server.dns(), "www.example.org A")).as_deref(), Some("www.example.com."));
    // What stands below the owner is hidden: a record, a zone cut, a wildcard, an empty name.
    for (name, address) in
        [("www.here.example.com", "198.51.100.82"), ("a.wild.here.example.com", "198.51.100.83")]
    {
        let answer = dig(server.dns(), &format!("{name} A"));
        assert_eq!(answer.address(), address, "{}", answer.text);
    }
    let answer = dig(server.dns(), "sub.here.example.com A");
    assert_eq!(led(&answer).as_deref(), Some("sub.there.example.com."));
    let answer = dig(server.dns(), "wild.here.example.com A");
    assert_eq!(led(&answer).as_deref(), Some("wild.there.example.com."));
    let (said, code) = server.verb(&["check"]);
    assert_eq!(code, 0, "{said}");
    for hidden in ["www.here", "sub.here", "*.wild.here"] {
        let line = format!("{hidden}.example.com. is below the DNAME record at here.example.com.");
        assert!(said.contains(&line), "{said}");
    }
}

#[test]
fn section_2_5_the_target_is_not_compressed() {
    let server = serve();
    let mut question =
        b"\0\0\0\0\0\x01\0\0\0\0\0\0\x01a\x01c\x07example\x03com\0\0\x01\0\x01".to_vec();
    question[1] = 1;
    let answer = ask_udp(server.dns(), &[question]).remove(0).expect("an answer");
    let target = b"\x01c\x07example\x03com\0";
    let dname = [&[0, 39, 0, 1, 0, 0, 1, 44, 0, target.len() as u8][..], target].concat();
    assert!(answer.windows(dname.len()).any(|bytes| bytes == dname), "{answer:?}");
}

#[test]
fn section_3_1_the_cname_is_synthesised_with_the_ttl_of_the_dname() {
    if !needs("RFC 6672: section 3.1", &["dig"]) {
        return;
    }
    let server = serve();
    let answer = dig(server.dns(), "www.here.example.com A");
    assert_eq!(
        answer.answer,
        [
            "here.example.com. 60 IN DNAME there.example.com.",
            "www.here.example.com. 60 IN CNAME www.there.example.com.",
            "www.there.example.com. 300 IN A 198.51.100.82",
        ]
    );
    assert!(answer.flags.contains(&"aa".to_string()));
    for question in ["www.here.example.com A +noedns", "www.here.example.com A +tcp"] {
        assert_eq!(dig(server.dns(), question).answer, answer.answer, "{question}");
    }
}

#[test]
fn section_3_2_the_new_name_is_looked_up_and_the_last_name_gives_the_rcode() {
    if !needs("RFC 6672: section 3.2", &["dig"]) {
        return;
    }
    let server = serve();
    for (question, status, records, authority) in [
        ("www.here.example.com A", "NOERROR", 3, 0),
        ("www.here.example.com TXT", "NOERROR", 2, 1),
        ("none.here.example.com A", "NXDOMAIN", 2, 1),
        // What is synthesised is what was asked for.
        ("www.here.example.com CNAME", "NOERROR", 2, 0),
        ("www.here.example.com DNAME", "NOERROR", 2, 1),
        ("www.here.example.com DS", "NOERROR", 2, 1),
        ("www.here.example.com ANY +notcp", "NOERROR", 3, 0),
        // Through CNAME and DNAME in either order, and through two DNAMEs.
        ("to-here.example.com A", "NOERROR", 4, 0),
        ("www.one.example.com A", "NOERROR", 5, 0),
        // The DNAME stands once, though the chain comes to it again: to the CNAME, back to `here`.
        ("alias.here.example.com A", "NOERROR", 5, 0),
        // Out of the zone, or to another of ours.
        ("a.x.example.com A", "NOERROR", 2, 0),
        ("www.example.org A", "NOERROR", 2, 0),
        // To a delegation.
        ("a.sub.here.example.com A", "NOERROR", 2, 1),
        // To a steered name.
        ("www.steered.here.example.com A", "NOERROR", 3, 0),
        // Loops end.
        ("cyc.c.example.com A", "NOERROR", 2, 0),
    ] {
        let answer = dig(server.dns(), question);
        let what = format!("{question}: {}", answer.text);
        assert_eq!(answer.status, status, "{what}");
        assert_eq!(answer.answer.len(), records, "{what}");
        assert_eq!(answer.authority.len(), authority, "{what}");
        assert!(answer.flags.contains(&"aa".to_string()), "{what}");
    }
    let answer = dig(server.dns(), "cyc.d.example.com A");
    assert_eq!(answer.data("DNAME").len(), 1, "{}", answer.text);
    assert!(answer.data("CNAME").len() <= 16, "{}", answer.text);
}

#[test]
fn section_3_2_a_name_that_gets_too_long_is_yxdomain_with_the_dname() {
    if !needs("RFC 6672: section 3.2, YXDOMAIN", &["dig"]) {
        return;
    }
    let server = serve();
    // Three labels of 64 bytes, one more, and 17 bytes of `far.example.com.`; 40 of the target's.
    let name = |last: usize| format!("{0}.{0}.{0}.{1}.far", "x".repeat(63), "y".repeat(last));
    let answer = dig(server.dns(), &format!("{}.example.com A", name(255 - 192 - 40 - 1)));
    assert_eq!(answer.status, "NXDOMAIN", "{}", answer.text);
    let answer = dig(server.dns(), &format!("{}.example.com A", name(255 - 192 - 40)));
    assert_eq!(answer.status, "YXDOMAIN", "{}", answer.text);
    let (_, records) = told(&answer);
    assert_eq!(records, ["far.example.com. DNAME a-label-that-makes-it-long.example.com."]);
    assert!(answer.flags.contains(&"aa".to_string()) && answer.authority.is_empty());
}

#[test]
fn section_3_3_at_a_wildcard_it_redirects_nothing() {
    if !needs("RFC 6672: section 3.3", &["dig"]) {
        return;
    }
    let server = serve();
    let answer = dig(server.dns(), "a.star.example.com A");
    assert_eq!((&answer.status[..], answer.answer.len()), ("NOERROR", 0), "{}", answer.text);
    let answer = dig(server.dns(), "a.star.example.com DNAME");
    assert_eq!(answer.data("DNAME"), ["there.example.com."]);
    let (said, _) = server.verb(&["check"]);
    assert!(said.contains("a DNAME record at the wildcard *.star.example.com."), "{said}");
}
