//! Extended errors (RFC 8914), asked with `dig`.

use crate::support::{Server, dig, needs};

const ZONE: &str = r#"
origin  = "example.com."
records = """
@ SOA ns1 hostmaster 1 2h 15m 2w 5m
@ NS  ns1
ns1 A 198.51.100.53
"""
"#;

#[test]
fn a_refusal_says_why_to_those_who_speak_edns() {
    if !needs("RFC 8914", &["dig"]) {
        return;
    }
    let server = Server::files("").zone("example.com.toml", ZONE).start();
    for (question, status, error) in [
        ("www.example.net A", "REFUSED", Some("EDE: 20 (Not Authoritative)")),
        ("www.example.net A +tcp", "REFUSED", Some("EDE: 20 (Not Authoritative)")),
        ("www.example.net A +noedns", "REFUSED", None),
        ("example.com SOA +opcode=3", "NOTIMP", Some("EDE: 21 (Not Supported)")),
        ("example.com SOA", "NOERROR", None),
        ("none.example.com A", "NXDOMAIN", None),
        ("example.com SOA +edns=1 +noednsneg", "BADVERS", None),
    ] {
        let answer = dig(server.dns(), question);
        assert_eq!(answer.status, status, "{question}: {}", answer.text);
        let said = answer.text.lines().find_map(|line| line.strip_prefix("; EDE"));
        let said = said.map(|rest| format!("EDE{rest}"));
        assert_eq!(said.as_deref(), error, "{question}: {}", answer.text);
    }
}
