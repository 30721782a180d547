//! Who answers: the name server identifier (RFC 5001) and class CHAOS (RFC 4892), asked with `dig`.

use crate::support::{Answer, Server, dig, needs, until};

const SERVER: &str = "[datacenters.fra]\nlocation = { country = \"DE\" }\n";

const ZONE: &str = r#"
origin  = "example.com."
records = """
@ SOA ns1 hostmaster 1 2h 15m 2w 5m
@ NS  ns1
ns1 A 198.51.100.53
"""
[pools.web]
steer   = "failover"
members = [{ datacenter = "fra", addresses = ["203.0.113.1"] }]
[names.www]
pool = "web"
"#;

/// The server's files, with these lines in `[dns]`.
fn serve(lines: &str) -> Server {
    let files = Server::files(SERVER).zone("example.com.toml", ZONE);
    let path = files.path("portolan.toml");
    let text = std::fs::read_to_string(path).expect("the file is there");
    files.write("portolan.toml", &text.replace("[dns]\n", &format!("[dns]\n{lines}\n")));
    files.start()
}

fn nsid(answer: &Answer) -> Option<&str> {
    let line = answer.text.lines().find_map(|line| line.strip_prefix("; NSID: "))?;
    line.split('"').nth(1)
}

fn chaos(server: &Server, name: &str) -> (String, Vec<String>) {
    let answer = dig(server.dns(), &format!("{name} CH TXT"));
    (answer.status, answer.answer)
}

#[test]
fn who_asks_for_the_identifier_gets_it_and_others_do_not() {
    if !needs("RFC 5001", &["dig"]) {
        return;
    }
    let server = serve("identity = \"fra-1\"");
    for question in [
        "example.com SOA",
        "www.example.com A",
        "www.example.com A +subnet=203.0.113.0/24",
        "none.example.com A",
        "www.example.net A",
        "example.com SOA +tcp",
    ] {
        let asked = dig(server.dns(), &format!("{question} +nsid"));
        assert_eq!(nsid(&asked), Some("fra-1"), "{question}: {}", asked.text);
        // What stands in the option does not matter.
        let asked = dig(server.dns(), &format!("{question} +ednsopt=3:0102"));
        assert_eq!(nsid(&asked), Some("fra-1"), "{question}: {}", asked.text);
        let unasked = dig(server.dns(), question);
        assert!(!unasked.text.contains("NSID"), "{question}: {}", unasked.text);
    }
    let nameless = serve("");
    assert_eq!(nsid(&dig(nameless.dns(), "example.com SOA +nsid")), None);
}

#[test]
fn in_class_chaos_the_identity_is_told_and_the_version_if_the_operator_says_so() {
    if !needs("RFC 4892", &["dig"]) {
        return;
    }
    let version = format!("\"Portolan {}\"", env!("CARGO_PKG_VERSION"));
    let refused = || ("REFUSED".to_string(), Vec::new());
    let told =
        |name: &str, text: &str| ("NOERROR".to_string(), vec![format!("{name}. 0 CH TXT {text}")]);
    let server = serve("identity = \"fra-1\"\nversion = true");
    for name in ["id.server", "hostname.bind"] {
        assert_eq!(chaos(&server, name), told(name, "\"fra-1\""));
    }
    for name in ["version.bind", "version.server"] {
        assert_eq!(chaos(&server, name), told(name, &version));
    }
    for name in ["authors.bind", "example.com"] {
        assert_eq!(chaos(&server, name), refused());
    }
    let silent = serve("");
    for name in ["id.server", "hostname.bind", "version.bind", "version.server"] {
        assert_eq!(chaos(&silent, name), refused());
    }
    // Neither takes a restart.
    let text = std::fs::read_to_string(silent.path("portolan.toml")).expect("the file is there");
    silent.write("portolan.toml", &text.replace("[dns]\n", "[dns]\nidentity = \"iad-2\"\n"));
    until("the identity is told", || chaos(&silent, "id.server") == told("id.server", "\"iad-2\""));
}
