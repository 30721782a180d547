//! The examples load, everything in `tests/data/config/invalid` is refused with exactly the text
//! beside it, and garbage does no harm.

mod checks;
mod flattening;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::decide::{DatacenterId, PoolId, ProbeId, Target, WhenAllDown};
use crate::health::Kind;

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A server that names every datacenter the cases use, and no zones but those of the case.
const SERVER: &str = r#"
[dns]
listen = "127.0.0.1:0"
zones  = "zones"

[geoip]
networks = "networks.toml"

[datacenters.fra]
location = { latitude = 50.11, longitude = 8.68 }
[datacenters.iad]
location = { country = "US" }
[datacenters.nowhere]
"#;

/// Loads a directory of files, in which `portolan.toml` and `networks.toml` are added if missing.
fn load_files(files: &[(&str, &str)]) -> (tempfile::TempDir, Result<Loaded, Rejected>) {
    let directory = tempfile::tempdir().unwrap();
    let given = |name: &str| files.iter().any(|(file, _)| *file == name);
    let added = [("portolan.toml", SERVER), ("networks.toml", "")];
    fs::create_dir(directory.path().join("zones")).unwrap();
    for (file, text) in added.iter().filter(|(file, _)| !given(file)).chain(files) {
        let path = directory.path().join(file);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    }
    let loaded = load(&directory.path().join("portolan.toml"), None);
    (directory, loaded)
}

/// What is said of it, without the names of temporary directories.
fn said(directory: &Path, loaded: &Result<Loaded, Rejected>) -> String {
    let problems = match loaded {
        Ok(loaded) => &loaded.warnings,
        Err(rejected) => &rejected.diagnostics,
    };
    let text: String = problems.iter().map(Diagnostic::to_string).collect();
    text.replace(&format!("{}/", directory.display()), "")
}

fn errors(loaded: &Result<Loaded, Rejected>) -> Vec<String> {
    let diagnostics = loaded.as_ref().err().map(|rejected| rejected.diagnostics.iter());
    diagnostics.into_iter().flatten().map(|problem| problem.message.clone()).collect()
}

#[track_caller]
fn accepted(loaded: &Result<Loaded, Rejected>) -> &Loaded {
    loaded.as_ref().unwrap_or_else(|rejected| {
        panic!("{}", rejected.diagnostics.iter().map(Diagnostic::to_string).collect::<String>())
    })
}

/// A case is a directory, or one file: `NAME.zone.toml` a zone file, `NAME.networks.toml` a networks
/// file, other `NAME.toml` a `portolan.toml`. `NAME.expected` is what is said of it; it is written
/// anew when `UPDATE_EXPECTED` is set.
#[test]
fn what_is_wrong_or_doubtful_is_said_in_exactly_these_words() {
    let cases = repository().join("tests/data/config/invalid");
    let mut wrong = Vec::new();
    let mut paths: Vec<PathBuf> =
        fs::read_dir(&cases).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        if name.ends_with(".expected") {
            continue;
        }
        let is = if path.is_dir() {
            said(&path, &load(&path.join("portolan.toml"), None))
        } else {
            let text = fs::read_to_string(&path).unwrap();
            let file = match name.split('.').collect::<Vec<_>>()[..] {
                [_, "zone", _] => "zones/example.com.toml",
                [_, "networks", _] => "networks.toml",
                _ => "portolan.toml",
            };
            let (directory, loaded) = load_files(&[(file, &text)]);
            said(directory.path(), &loaded)
        };
        let stem = name.split('.').next().unwrap();
        let expected = cases.join(format!("{stem}.expected"));
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(&expected, &is).unwrap();
        }
        let wanted = fs::read_to_string(&expected).unwrap_or_default();
        if is != wanted {
            wrong.push(format!("== {name}\n-- expected:\n{wanted}\n-- is:\n{is}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_examples_load_as_they_stand_without_a_warning() {
    let loaded = load(&repository().join("portolan.toml"), None);
    let loaded = accepted(&loaded);
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings[0]);
    let names: Vec<&str> =
        loaded.settings.control.steering.datacenters.iter().map(|d| d.name.as_str()).collect();
    assert_eq!(names, ["fra", "iad", "nrt"]);
}

const ZONE: &str = r#"
origin = "example.com"
records = """
@ SOA ns1 hostmaster 1 2h 15m 2w 5m
@ NS ns1
ns1 A 198.51.100.53
"""
[checks.web]
kind = "https"
host = "www.example.com"
status = [200, "3xx", "404-405"]
interval = "1m"
jitter = "5%"
[checks.alike]
kind = "https"
host = "www.example.com"
status = [200, "3xx", "404-405"]
interval = "1m"
jitter = "5%"
[pools.a]
steer = "nearest"
check = "web"
when_all_down = { pool = "b" }
members = [
  { datacenter = "fra", addresses = ["203.0.113.1", "2001:db8::1"] },
  { datacenter = "iad", addresses = ["203.0.113.2", "203.0.113.3"], probe = ["198.51.100.2", "198.51.100.3:8443"] },
]
[pools.b]
steer = "weighted"
check = "alike"
ttl = "10s"
members = [
  { datacenter = "fra", addresses = "203.0.113.1", weight = 0 },
  { datacenter = "iad", cname = "elsewhere", probe = "198.51.100.2" },
]
[names.www]
pool = "a"
[names.WEB]
rules = [{ pool = "a" }]
[names.app]
rules = [{ match = { country = "de", asn = [64500] }, pool = "b" }, { pool = "a" }]
"#;

#[test]
fn a_zone_file_becomes_pools_policies_and_probes() {
    let (_directory, loaded) = load_files(&[("zones/example.com.toml", ZONE)]);
    let control = &accepted(&loaded).settings.control;
    let pools = &control.steering.pools;
    assert_eq!((pools[0].name.as_str(), pools[1].name.as_str()), ("a", "b"));
    assert_eq!(pools[0].when_all_down, WhenAllDown::Pool(PoolId(1)));
    assert_eq!(pools[1].ttl, 10);
    let ids: Vec<u32> =
        pools.iter().flat_map(|pool| &pool.members).map(|member| member.id.0).collect();
    assert_eq!(ids, [0, 1, 2, 3]);
    assert_eq!(pools[1].members[1].datacenter, DatacenterId(1));
    let Target::Cname { name, .. } = &pools[1].members[1].target else { panic!("a cname") };
    assert_eq!(name.to_string(), "elsewhere.example.com.");
    // `www` and `web` are decided alike.
    assert_eq!(control.steering.policies.len(), 2);
}

#[test]
fn members_watched_alike_share_a_probe() {
    let (_directory, loaded) = load_files(&[("zones/example.com.toml", ZONE)]);
    let control = &accepted(&loaded).settings.control;
    let targets: Vec<(String, u16)> =
        control.probes.iter().map(|probe| (probe.address.to_string(), probe.port)).collect();
    let expected =
        [("203.0.113.1", 443), ("2001:db8::1", 443), ("198.51.100.2", 443), ("198.51.100.3", 8443)];
    assert_eq!(targets, expected.map(|(address, port)| (address.to_string(), port)));
    assert_eq!(control.probes[0].name, "example.com/a/fra 203.0.113.1");
    let Kind::Http(http) = &control.probes[0].check.kind else { panic!("http") };
    assert_eq!(http.status.len(), 103);
    let Target::Addresses { v4, .. } = &control.steering.pools[1].members[0].target else {
        panic!("addresses")
    };
    assert_eq!(v4[0].1, Some(ProbeId(0)));
}

const WHOLE: &str = r#"
[dns]
listen  = ["127.0.0.1:0", "[::1]:0"]
zones   = "zones"
workers = 3
[admin]
listen     = "127.0.0.1:8053"
token_file = "token"
[datacenters.fra]
location = { country = "DE", city = "Frankfurt" }
capacity = 40_000
unit     = "requests/s"
bias     = -20
report   = { url = "http://127.0.1.1:8053/api/v1/report", interval = "5s" }
[datacenters.iad]
report = { stale_after = "1m" }
[datacenters.nrt]
capacity = 0.5
[l4]
workers = 2
[[l4.services]]
name     = "web"
listen   = "127.0.0.1:8080"
protocol = "tcp"
mode     = "proxy"
balance  = "least-connections"
capacity = 20_000
check    = { kind = "tcp", interval = "2s", timeout = "1s" }
backends = [{ address = "127.0.0.1:8081", weight = 2 }, { address = "[::1]:8081" }]
connect_timeout = "500ms"
"#;

#[test]
fn a_server_file_becomes_the_settings_of_every_floor() {
    let (directory, loaded) = load_files(&[("portolan.toml", WHOLE), ("token", " secret\n")]);
    let settings = &accepted(&loaded).settings;
    assert_eq!(
        settings.dns.as_ref().map(|dns| (dns.listen.len(), dns.workers)),
        Some((2, Some(3)))
    );
    assert_eq!(settings.admin.as_ref().and_then(|admin| admin.token.as_deref()), Some("secret"));
    assert_eq!(settings.overrides, directory.path().join("overrides.json"));
    let control = &settings.control;
    let fra = &control.steering.datacenters[0];
    assert_eq!((fra.bias, fra.location.continent.map(|c| c.to_string())), (-20, Some("EU".into())));
    assert!(fra.location.coordinates.is_some(), "those of the country");
    assert_eq!(control.capacity, [Some(40_000.0), None, Some(0.5)]);
    let stale: Vec<Option<u64>> =
        control.reports.iter().map(|r| r.as_ref().map(|r| r.stale_after.as_secs())).collect();
    assert_eq!(stale, [Some(15), Some(60), None]);
    assert!(control.reports[1].as_ref().is_some_and(|report| report.source.is_none()));
    let service = &settings.l4.services[0];
    assert_eq!(service.balance, crate::l4::Balance::LeastConnections);
    assert_eq!(service.check.as_ref().map(|(_, port)| *port), Some(None));
    assert_eq!(service.backends[1].weight, 1);
    assert_eq!(service.timeouts.connect.as_millis(), 500);
}

#[test]
fn the_example_of_the_forwarder_loads_without_its_comment_signs() {
    let example = fs::read_to_string(repository().join("portolan.toml")).unwrap();
    let (_, l4) = example.split_once("# [l4]\n").unwrap();
    let plain: String = l4.lines().map(|line| format!("{}\n", &line[1..])).collect();
    let (_directory, loaded) = load_files(&[("portolan.toml", &format!("[l4]\n{plain}"))]);
    let loaded = accepted(&loaded);
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings[0]);
    let [web, api, quic] = &loaded.settings.l4.services[..] else { panic!("three services") };
    assert_eq!((web.routes[0].service.as_str(), api.name.as_str()), ("api", "api"));
    assert!(api.listen.is_empty());
    assert_eq!(quic.backends[1].server_id.as_deref(), Some(&[0x0a, 0x02][..]));
    assert_eq!((web.min_healthy, web.backends[2].backup, web.splice), (2, true, false));
    assert_eq!(web.rate_limit.map(|limit| limit.burst_seconds), Some(2.0));
}

#[test]
fn a_problem_is_told_to_machines_with_its_place_in_lines_and_characters() {
    let zone = "origin = \"example.com.\"\nttl = \"é\" # ü\nrecords = 1\n";
    let (_directory, loaded) = load_files(&[("zones/example.com.toml", zone)]);
    let rejected = loaded.unwrap_err();
    let problem = serde_json::to_value(&rejected.diagnostics[0]).unwrap();
    assert_eq!(problem["severity"], "error");
    assert_eq!((&problem["line"], &problem["column"]), (&2.into(), &7.into()));
    assert_eq!(problem["end"], serde_json::json!({ "line": 2, "column": 10 }));
    assert_eq!(problem["text"], "\"é\"");
    assert_eq!(problem["message"], "bad value `é` for `ttl`");
    assert_eq!(problem["expected"], "expected a duration with a unit, such as \"30s\"");
    assert_eq!(problem["help"], serde_json::json!([]));
}

#[test]
fn a_syntax_error_in_one_file_does_not_hide_the_errors_in_others() {
    let server = format!("{SERVER}\n[l4\n");
    let zone = "origin = \"example.com.\"\nrecord = \"\"\n";
    let (_directory, loaded) = load_files(&[
        ("portolan.toml", &server),
        ("zones/a.toml", "origin = \n"),
        ("zones/b.toml", zone),
    ]);
    let Err(rejected) = &loaded else { panic!("rejected") };
    let files: Vec<_> =
        rejected.diagnostics.iter().map(|p| p.file().file_name().unwrap()).collect();
    for file in ["portolan.toml", "a.toml", "b.toml"] {
        assert!(files.iter().any(|f| *f == file), "{file} in {files:?}");
    }
    assert!(errors(&loaded).contains(&"unknown key `record` in this zone file".to_string()));
}

#[test]
fn more_datacenters_than_there_are_numbers_are_refused() {
    let tables = |count| (0..count).map(|i| format!("[datacenters.d{i}]\n")).collect::<String>();
    let of = |count| load_files(&[("portolan.toml", &tables(count))]).1;
    assert!(of(65_535).is_ok());
    assert_eq!(errors(&of(70_000)), ["there are more than 65535 datacenters"]);
}

#[test]
fn the_map_is_compiled_anew_only_when_its_sources_change() {
    let (directory, first) = load_files(&[("networks.toml", "")]);
    let path = directory.path().join("portolan.toml");
    let first = accepted(&first).clone();
    fs::write(directory.path().join("zones/example.com.toml"), ZONE).unwrap();
    let second = load(&path, Some(&first)).unwrap();
    assert!(std::sync::Arc::ptr_eq(&first.settings.control.world, &second.settings.control.world));
    let networks = "[[networks]]\nprefix = \"198.51.100.0/24\"\ncountry = \"DE\"\n";
    fs::write(directory.path().join("networks.toml"), networks).unwrap();
    let third = load(&path, Some(&second)).unwrap();
    assert!(!std::sync::Arc::ptr_eq(&second.settings.control.world, &third.settings.control.world));
}

#[test]
fn every_file_that_was_looked_at_is_named_even_if_it_is_not_there() {
    let zone = "origin = \"example.com.\"\nrecords_file = \"missing.zone\"\n";
    let (directory, loaded) =
        load_files(&[("zones/example.com.toml", zone), ("zones/.b.toml", "?")]);
    let Err(rejected) = loaded else { panic!("rejected") };
    let mut files: Vec<String> = rejected
        .files
        .iter()
        .map(|file| file.strip_prefix(directory.path()).unwrap().display().to_string())
        .collect();
    files.sort();
    let expected =
        ["networks.toml", "portolan.toml", "zones", "zones/example.com.toml", "zones/missing.zone"];
    assert_eq!(files, expected);
}

#[test]
fn a_relative_configuration_path_needs_no_directory() {
    let rejected = load(Path::new("there-is-no-such.toml"), None).unwrap_err();
    assert_eq!(
        rejected.diagnostics[0].message,
        "cannot read there-is-no-such.toml: there is no such file or directory"
    );
}

const ALLOCATION: &str = r#"
[allocation]
interval = "10s"
drain = "1m"
slow_start = "0s"
latency = "latency.csv"
"#;

#[test]
fn what_is_said_of_capacity_reaches_the_allocator() {
    let server = SERVER.replace("8.68 }\n", "8.68 }\ncost = \"2500us\"\n") + ALLOCATION;
    let zone =
        ZONE.replace("steer = \"nearest\"", "steer = \"capacity\"\ncapacity = \"30%\"").replace(
            "check = \"web\"\nwhen",
            "ttl = { min = \"15s\", max = \"60s\" }\ncheck = \"web\"\nwhen",
        );
    let (directory, loaded) = load_files(&[
        ("portolan.toml", &server),
        ("zones/example.com.toml", &zone),
        ("latency.csv", "client,iad\nDE,90\n"),
    ]);
    let loaded = accepted(&loaded);
    let control = &loaded.settings.control;
    let [web, other] = &control.steering.pools[..] else { panic!("two pools") };
    assert_eq!((web.ttl_min, web.ttl, web.share), (15, 60, 0.3));
    assert_eq!((other.ttl_min, other.ttl, other.share), (10, 10, 1.0));
    let costs: Vec<f32> = control.steering.datacenters.iter().map(|one| one.cost_ms).collect();
    assert_eq!(costs, [2.5, 0.0, 0.0]);
    let allocation = control.allocation;
    assert_eq!((allocation.interval.as_secs(), allocation.drain.as_secs()), (10, 60));
    assert!(allocation.slow_start.is_zero());
    let german = crate::geo::Location { country: "DE".parse().ok(), ..Default::default() };
    let from = "203.0.113.1".parse().unwrap();
    assert_eq!(control.latencies.ms(from, &german, DatacenterId(1)), Some(90.0));
    assert!(loaded.files.contains(&directory.path().join("latency.csv")), "it is watched");
}

/// What is told of the latencies, and how many there are.
fn latencies(csv: &str) -> (String, usize) {
    let server = format!("{SERVER}[allocation]\nlatency = \"latency.csv\"\n");
    let files = [("portolan.toml", server.as_str()), ("latency.csv", csv)];
    let (directory, loaded) = load_files(&files);
    let count = loaded.as_ref().map_or(0, |loaded| loaded.contents.latencies);
    (said(directory.path(), &loaded), count)
}

#[test]
fn latencies_are_read_from_a_table_of_which_only_what_was_measured_counts() {
    let csv = "\u{feff}# measured in May\r\nclient, \"iad\",fra\r\n198.51.100.0/24,,12.5\r\n\
               # more\r\n198.51.100.7,90,\n\"US/New York, NY\",1,2\nAS64500,0,60000\nde,,\n";
    let (said, count) = latencies(csv);
    assert_eq!(count, 6, "{said}");
    assert_eq!(latencies("client,fra\n").1, 0);
    assert!(latencies("client,fra\n").0.contains("nothing in the table"));
    assert!(latencies("# none\n").0.contains("expected a header"));
}

#[test]
fn a_table_that_is_all_wrong_is_not_told_to_the_end() {
    let (said, _) = latencies(&format!("client,fra\n{}", "DE,fast\n".repeat(100)));
    assert_eq!(said.matches("error: ").count(), 21, "{said}");
    assert!(said.contains("the rest was not looked at"), "{said}");
}

/// Fragments that are likely to meet in odd ways.
fn fragments() -> impl Strategy<Value = String> {
    let words = [
        "[dns]",
        "[l4]",
        "[[l4.services]]",
        "[pools.web]",
        "[names.\"@\"]",
        "[checks.a]",
        "\n",
        "\n",
        "=",
        "=",
        "{",
        "}",
        "[",
        "]",
        ",",
        ".",
        "\"",
        "'''",
        "\"\"\"",
        "\\",
        "origin",
        "records",
        "listen",
        "members",
        "rules",
        "match",
        "kind",
        "\"http\"",
        "\"1s\"",
        "1",
        "-1",
        "1e999",
        "0x_f",
        "true",
        "1979-05-27",
        "é",
        "\u{0}",
        "\r",
        "#",
        "datacenter",
        "check",
        "pool",
        "\"203.0.113.1\"",
        "addresses",
        "location",
        "a.b",
        "interval",
        "status",
        "\"9999-1\"",
    ];
    let word = prop_oneof![8 => proptest::sample::select(words.to_vec()).prop_map(String::from), 1 => ".{0,6}"];
    prop::collection::vec(word, 0..60).prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn garbage_in_any_file_is_refused_or_understood_and_its_problems_can_be_shown(
        server in fragments(), zone in fragments(), networks in fragments()
    ) {
        for files in [
            &[("portolan.toml", server.as_str())][..],
            &[("zones/example.com.toml", &zone), ("networks.toml", &networks)],
        ] {
            let (directory, loaded) = load_files(files);
            said(directory.path(), &loaded);
            if let Err(rejected) = &loaded {
                prop_assert!(!rejected.diagnostics.is_empty());
                serde_json::to_string(&rejected.diagnostics).unwrap();
            }
        }
    }

    #[test]
    fn any_table_of_latencies_is_refused_or_understood(
        csv in "(client,fra|client|AS1|DE|US/CA|::/0|203.0.113.0/24|[,\"#\r\n ]|1.5|é|[\\PC]{0,3}){0,40}"
    ) {
        for csv in [&csv, &format!("client,iad,fra\n{csv}")] {
            latencies(csv);
        }
    }

    #[test]
    fn a_good_zone_file_cut_or_bent_anywhere_does_no_harm(
        at in 0..ZONE.len(), bytes in 0..40usize, insert in "[\\PC\n]{0,3}"
    ) {
        let end = (at + bytes).min(ZONE.len());
        let zone = format!("{}{insert}{}", &ZONE[..at], &ZONE[end..]);
        let (directory, loaded) = load_files(&[("zones/example.com.toml", &zone)]);
        said(directory.path(), &loaded);
    }
}
