//! The example zone, tested by zonemaster as a registry would test it before it delegates: two
//! Portolan servers at the very addresses that the zone gives, a root and a parent zone in NSD, all
//! in a network namespace of the test's own.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::needs;
use crate::support::needs::not_run;

/// Test cases that cannot pass for an example, and why.
const LEFT_OUT: [(&str, &str); 1] =
    [("address01", "the addresses are those kept for documentation, which nobody is to use")];

const FILES: [(&str, &str); 6] = [
    ("root.zone", include_str!("zonemaster/root.zone")),
    ("com.zone", include_str!("zonemaster/com.zone")),
    ("asn.zone", include_str!("zonemaster/asn.zone")),
    ("hints", include_str!("zonemaster/hints")),
    ("nsd.conf", include_str!("zonemaster/nsd.conf")),
    ("run.sh", include_str!("zonemaster/run.sh")),
];

#[test]
fn zonemaster_finds_no_error_and_no_warning_in_the_example_zone() {
    if !needs("zonemaster", &["zonemaster-cli", "nsd", "dig", "ip", "unshare"]) {
        return;
    }
    // With a user namespace too, so that nobody needs to be root where the system allows it.
    let namespaces = ["--net", "--map-root-user"];
    let can_be = Command::new("unshare").args(namespaces).arg("true").output();
    if !can_be.is_ok_and(|output| output.status.success()) {
        return not_run("zonemaster", "no network namespace can be made");
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        std::fs::write(path, text).expect("the file can be written");
    };
    for (name, text) in FILES {
        write(name, text);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| std::fs::read_to_string(root.join(name)).expect("an example file");
    let listen = [
        ("ns1", r#"["198.51.100.53:53", "[2001:db8:1::53]:53"]"#, "127.0.0.1:8053"),
        ("ns2", r#"["203.0.113.53:53", "[2001:db8:2::53]:53"]"#, "127.0.0.2:8053"),
    ];
    for (name, listen, admin) in listen {
        let world = root.join("geoip/world.mmdb");
        let server = read("portolan.toml")
            .replace(r#"["127.0.0.1:5353"]"#, listen)
            .replace("127.0.0.1:8053", admin)
            .replace("geoip/world.mmdb", &world.to_string_lossy());
        write(&format!("{name}/portolan.toml"), &server);
        write(&format!("{name}/zones/example.com.toml"), &read("zones/example.com.toml"));
    }
    write("profile.json", &profile().to_string());

    let output = Command::new("unshare")
        .args(namespaces)
        .args(["--", "sh", "run.sh", env!("CARGO_BIN_EXE_portolan")])
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .output()
        .expect("unshare runs");
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let said: Vec<Value> =
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}\n{err}"));

    let bad: Vec<&Value> =
        said.iter().filter(|one| !["INFO", "NOTICE"].contains(&text(one, "level"))).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    // It did look: the whole of it, and at every server.
    let done: BTreeSet<&str> = said.iter().map(|one| text(one, "testcase")).collect();
    assert!(done.len() >= 40, "{done:?}");
    for case in ["CONNECTIVITY03", "CONSISTENCY05", "DELEGATION01", "NAMESERVER02", "ZONE09"] {
        assert!(done.contains(case), "{case} is not among {done:?}");
    }
    for server in ["198.51.100.53", "2001:db8:1::53", "203.0.113.53", "2001:db8:2::53"] {
        assert!(out.contains(server), "{server} was asked");
    }
}

fn text<'v>(one: &'v Value, field: &str) -> &'v str {
    one[field].as_str().unwrap_or_default()
}

/// All test cases but those left out; autonomous systems are looked up in the test's own zone.
fn profile() -> Value {
    let output = Command::new("zonemaster-cli").arg("--dump-profile").output();
    let text = output.expect("zonemaster-cli runs").stdout;
    let whole: Value = serde_json::from_slice(&text).expect("its profile");
    let mut cases = whole["test_cases"].as_array().expect("the test cases").clone();
    for (case, why) in LEFT_OUT {
        let count = cases.len();
        cases.retain(|known| known != case);
        assert!(cases.len() < count, "{case} is left out, as {why}");
    }
    json!({
        "test_cases": cases,
        "asn_db": { "style": "cymru", "sources": { "cymru": ["asn"] } },
    })
}
