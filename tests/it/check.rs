//! `portolan check` and `portolan explain --offline`, on files alone.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::support::server::portolan;

const SERVER: &str = r#"
[dns]
listen = ["127.0.0.1:0"]
zones = "zones"
[admin]
listen = "127.0.0.1:1"
[geoip]
networks = "networks.toml"
[datacenters.fra]
location = { country = "DE" }
[datacenters.nrt]
location = { country = "JP" }
"#;

const ZONE: &str = r#"
origin = "example.com."
records = """
@ SOA ns1 hostmaster 1 2h 15m 2w 5m
@ NS ns1
@ NS ns2.example.net.
ns1 A 198.51.100.53
alias CNAME www
"""
[pools.web]
steer = "nearest"
members = [
  { datacenter = "fra", addresses = ["203.0.113.1"] },
  { datacenter = "nrt", addresses = ["203.0.113.2"] },
]
[names.www]
pool = "web"
"#;

const NETWORKS: &str = "[[networks]]\nprefix = \"198.51.100.0/24\"\ncountry = \"KR\"\n";

/// A directory of files that are right, but for those given.
fn files(given: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let put = |file: &str, text: &str| {
        std::fs::write(directory.path().join(file), text).expect("a file can be written");
    };
    std::fs::create_dir(directory.path().join("zones")).expect("a directory");
    put("portolan.toml", SERVER);
    put("zones/example.com.toml", ZONE);
    put("networks.toml", NETWORKS);
    given.iter().for_each(|(file, text)| put(file, text));
    directory
}

/// What a verb prints when it runs in the directory, and its exit code.
fn run(directory: &Path, arguments: &[&str]) -> (String, String, i32) {
    let output = portolan().current_dir(directory).args(arguments).output();
    let Output { stdout, stderr, status } = output.expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (text(stdout), text(stderr), status.code().expect("an exit code"))
}

/// Files in which much is wrong.
const WRONG: [(&str, &str); 4] = [
    (
        "portolan.toml",
        r#"
[dns]
lsten = ["127.0.0.1:0"]
zones = "zones"
[geoip]
databases = ["cut.mmdb", "missing.mmdb"]
networks = "networks.toml"
[datacenters.fra]
location = { latitude = 150.11, longitude = 8.68 }
"#,
    ),
    ("cut.mmdb", "the beginning of a database"),
    ("networks.toml", "[[networks]]\nprefix = \"203.0.113.0/24\"\ncountry = \"UK\"\n"),
    ("zones/example.org.toml", "origin = \"example.org.\"\nrecords = \"@ SOA ns1\n"),
];

/// A zone in which much is wrong, in the records and around them.
const WRONG_ZONE: &str = r#"
origin = "example.com."
records = """
@    SOA   ns1 hostmaster 1 2h 15m 2w 5m
@    NS    ns1
ns1  A     198.51.100.300
www  CNAME ns1
www  TXT   "both"
"""
[pools.web]
steer = "neerest"
members = [{ datacenter = "far", addresses = ["203.0.113.1"] }]
[names.app]
pool = "wbe"
"#;

/// Where each problem is, what the message has of it, and the nearest known word.
const PROBLEMS: [(&str, u64, u64, &str, &str); 11] = [
    ("portolan.toml", 3, 1, "`lsten`", "`listen`"),
    ("portolan.toml", 6, 14, "cut.mmdb", ""),
    ("portolan.toml", 6, 26, "missing.mmdb", ""),
    ("portolan.toml", 9, 25, "`latitude`", "-90 to 90"),
    ("zones/example.com.toml", 6, 12, "198.51.100.300", "IPv4"),
    ("zones/example.com.toml", 7, 1, "CNAME", "alone"),
    ("zones/example.com.toml", 11, 9, "`neerest`", "\"nearest\""),
    ("zones/example.com.toml", 12, 27, "`far`", "\"fra\""),
    ("zones/example.com.toml", 14, 8, "`wbe`", "\"web\""),
    ("zones/example.org.toml", 2, 21, "not TOML", ""),
    ("networks.toml", 3, 11, "`UK`", "\"GB\""),
];

#[test]
fn every_error_in_every_file_is_told_at_once_with_its_place_and_a_way_out() {
    let mut given = WRONG.to_vec();
    given.push(("zones/example.com.toml", WRONG_ZONE));
    let directory = files(&given);
    let (text, _, code) = run(directory.path(), &["check"]);
    assert_eq!(code, 1);
    assert!(text.ends_with("11 errors, 0 warnings\n"), "{text}");
    for (file, line, column, what, way_out) in PROBLEMS {
        let place = format!("─ {file}:{line}:{column}\n");
        let problem = text.split("\n\n").find(|problem| problem.contains(&place));
        let problem = problem.unwrap_or_else(|| panic!("nothing at {place} in:\n{text}"));
        assert!(problem.contains(what) && problem.contains(way_out), "{problem}");
        assert!(problem.contains('^'), "it is underlined: {problem}");
    }

    let (json, _, code) = run(directory.path(), &["check", "--json"]);
    assert_eq!(code, 1);
    let told: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&told["errors"], &told["contents"]), (&11.into(), &Value::Null));
    let told = told["diagnostics"].as_array().expect("a list");
    let places: Vec<_> = told
        .iter()
        .map(|problem| {
            (problem["file"].as_str(), problem["line"].as_u64(), problem["column"].as_u64())
        })
        .collect();
    assert_eq!(
        places,
        PROBLEMS.map(|(file, line, column, ..)| (Some(file), Some(line), Some(column)))
    );
}

#[test]
fn what_is_right_or_only_doubtful_passes() {
    let directory = files(&[]);
    let (text, _, code) = run(directory.path(), &["check"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("1 zone, 1 steered name, 1 pool, 2 datacenters"), "{text}");
    assert!(text.ends_with("0 errors, 0 warnings\n"), "{text}");

    let doubtful = ZONE.replace("\"203.0.113.1\"", "\"203.0.113.1\", \"2001:db8::1\"");
    let directory = files(&[("zones/example.com.toml", &doubtful)]);
    let (text, _, code) = run(directory.path(), &["check"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("no IPv6 address") && text.ends_with("0 errors, 1 warning\n"), "{text}");
    let (json, _, _) = run(directory.path(), &["check", "--json"]);
    let told: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&told["warnings"], &told["contents"]["pools"]), (&1.into(), &1.into()));
}

#[test]
fn the_examples_pass_without_a_warning() {
    let (text, _, code) = run(Path::new(env!("CARGO_MANIFEST_DIR")), &["check"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.ends_with("0 errors, 0 warnings\n"), "{text}");
}

#[test]
fn a_missing_file_is_an_error_and_a_mistaken_command_line_another() {
    let directory = files(&[]);
    let (text, _, code) = run(directory.path(), &["check", "--config", "nope.toml"]);
    assert_eq!(code, 1);
    assert!(text.contains("cannot read nope.toml"), "{text}");
    let (_, said, code) = run(directory.path(), &["check", "--confg", "portolan.toml"]);
    assert_eq!(code, 2);
    assert!(said.contains("--config"), "{said}");
}

#[test]
fn a_decision_is_explained_from_the_files_alone() {
    let directory = files(&[]);
    let explain = |arguments: &str| {
        let arguments: Vec<&str> = ["explain"].into_iter().chain(arguments.split(' ')).collect();
        run(directory.path(), &arguments)
    };
    let (text, _, code) = explain("alias.example.com --client 198.51.100.7/24 --offline");
    assert_eq!(code, 0, "{text}");
    let steps = [
        "decided from the files alone",
        "a CNAME",
        "198.51.100.0 is in",
        "KR",
        "everybody → web",
        "nrt  chosen",
        "fra  passed over: another is nearer",
        "A 203.0.113.2; TTL",
        "198.51.100.0/24",
    ];
    let mut rest = &text[..];
    for step in steps {
        let (_, after) = rest.split_once(step).unwrap_or_else(|| panic!("no {step} in:\n{text}"));
        rest = after;
    }

    let (json, _, code) = explain("www.example.com AAAA --client 2001:db8::/56 --offline --json");
    assert_eq!(code, 0);
    let told: Value = serde_json::from_str(&json).expect("JSON");
    let decided = &told["links"][0]["outcome"];
    assert_eq!((&told["type"], &decided["kind"]), (&"AAAA".into(), &"steered".into()));
    assert_eq!(decided["answer"]["records"], Value::Array(Vec::new()));

    let (_, said, code) = explain("www.example.com --client nowhere --offline");
    assert_eq!(code, 2);
    assert!(said.contains("`nowhere` is not a client"), "{said}");
    let (_, said, code) = explain("www.example.com --client 198.51.100.7");
    assert_eq!(code, 3);
    assert!(said.contains("--offline"), "no server runs, and this says what can be done: {said}");
    let (_, said, code) = run(directory.path(), &["plan"]);
    assert_eq!(code, 3);
    assert!(said.contains("portolan serve"), "{said}");

    let directory = files(&[("networks.toml", "[[network]]\n")]);
    let arguments = ["explain", "www.example.com", "--client", "198.51.100.7", "--offline"];
    let (_, said, code) = run(directory.path(), &arguments);
    assert_eq!(code, 1);
    assert!(said.contains("`portolan check`"), "{said}");
}
