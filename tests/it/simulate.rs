//! `portolan simulate`: the shipped decision in simulated time, without a network.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::support::Server;
use crate::support::server::{Files, portolan};

const NETWORKS: &str = r#"
[[networks]]
prefixes = ["198.51.100.0/25", "2001:db8:1::/48"]
country  = "DE"
[[networks]]
prefixes = ["198.51.100.128/25", "2001:db8:2::/48"]
country  = "US"
region   = "VA"
[[networks]]
prefixes = ["203.0.113.0/24", "2001:db8:3::/48"]
country  = "JP"
"#;

const DATACENTERS: &str = r#"
[geoip]
networks = "networks.toml"
[datacenters.fra]
location = { latitude = 50.11, longitude = 8.68, country = "DE" }
capacity = 100
[datacenters.iad]
location = { latitude = 38.95, longitude = -77.45, country = "US" }
capacity = 100
[datacenters.nrt]
location = { latitude = 35.76, longitude = 140.39, country = "JP" }
capacity = 100
"#;

const ZONE: &str = r#"
origin  = "example.com."
records = """
@    SOA   ns1 hostmaster 1 2h 15m 2w 5m
@    NS    ns1
ns1  A     198.51.100.53
"""
[checks.web]
kind = "tcp"
port = 443
[pools.web]
steer = "capacity"
ttl   = "30s"
members = [
  { datacenter = "fra", addresses = ["203.0.113.1", "2001:db8:f::1"] },
  { datacenter = "iad", addresses = ["203.0.113.2", "2001:db8:f::2"] },
  { datacenter = "nrt", addresses = ["203.0.113.3", "2001:db8:f::3"] },
]
[pools.cdn]
steer = "nearest"
check = "web"
members = [
  { datacenter = "fra", addresses = ["203.0.113.11"] },
  { datacenter = "iad", cname = "www.cdn.example.net." },
]
[names]
www = { pool = "web" }
cdn = { pool = "cdn" }
"#;

const GERMAN: &str = "198.51.100.0/26";
const AMERICAN: &str = "198.51.100.128/26";
const JAPANESE: &str = "203.0.113.0/24";

fn files() -> Files {
    let files = Server::files(DATACENTERS);
    files.write("networks.toml", NETWORKS);
    files.zone("example.com.toml", ZONE)
}

fn query(time: f64, subnet: &str) -> Value {
    json!({"time": time, "query": {"name": "www.example.com.", "subnet": subnet}})
}

fn report(time: f64, datacenter: &str, load: f64) -> Value {
    json!({"time": time, "report": {"datacenter": datacenter, "capacity": 100, "load": load}})
}

fn health(time: f64, datacenter: &str, up: bool) -> Value {
    json!({"time": time, "health": {"datacenter": datacenter, "up": up}})
}

fn simulate(config: &Path) -> std::process::Command {
    let mut command = portolan();
    command.args(["simulate", "--drive", "--config"]).arg(config);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What comes of these lines.
fn output(files: &Files, lines: &str) -> Output {
    let mut child = simulate(&files.path("portolan.toml")).spawn().expect("the binary runs");
    let mut input = child.stdin.take().expect("a pipe");
    let lines = lines.to_string();
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    // Who does not read to the end says why.
    let _ = writer.join().expect("writes");
    output
}

/// The answers to these lines, none of which is wrong.
fn answers(files: &Files, lines: &[Value]) -> Vec<Value> {
    let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let output = output(files, &lines);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
    parsed(&output.stdout)
}

fn parsed(text: &[u8]) -> Vec<Value> {
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).expect("JSON")).collect()
}

#[test]
fn each_query_is_answered_as_the_server_would() {
    let typed = |rtype: &str, name: &str, subnet: &str| json!({"time": 12, "query": {"name": name, "type": rtype, "subnet": subnet}});
    let lines = [
        query(12.0, JAPANESE),
        typed("AAAA", "www.example.com", "198.51.100.7"),
        typed("A", "cdn.example.com.", AMERICAN),
        typed("TXT", "www.example.com.", GERMAN),
        typed("A", "none.example.com.", GERMAN),
        typed("A", "example.org.", GERMAN),
        json!({"time": 12, "query": {"name": "WWW.example.com.", "resolver": "198.51.100.200"}}),
    ];
    let answers = answers(&files(), &lines);
    let scope = &answers[0]["scope"];
    assert!(scope.as_u64().is_some_and(|scope| (1..=24).contains(&scope)), "{scope}");
    let expected = json!(
        {"addresses": ["203.0.113.3"], "datacenter": "nrt", "ttl": 30, "scope": scope}
    );
    assert_eq!(answers[0], expected);
    assert_eq!(answers[1]["addresses"], json!(["2001:db8:f::1"]));
    assert_eq!(answers[1]["datacenter"], "fra");
    assert_eq!(answers[2]["cname"], "www.cdn.example.net.");
    assert_eq!((&answers[2]["datacenter"], &answers[2]["addresses"]), (&json!("iad"), &json!([])));
    let negative = |rcode: &str| json!({"addresses": [], "rcode": rcode, "scope": 0});
    assert_eq!((&answers[3]["rcode"], &answers[3]["addresses"]), (&json!("NOERROR"), &json!([])));
    assert_eq!((&answers[4], &answers[5]), (&negative("NXDOMAIN"), &negative("REFUSED")));
    // Without a subnet there is no scope.
    let expected = json!({"addresses": ["203.0.113.2"], "datacenter": "iad", "ttl": 30});
    assert_eq!(answers[6], expected);
}

/// The /56 prefixes of a country's /48.
fn prefixes(country: usize) -> impl Iterator<Item = String> {
    (0..64).map(move |n| format!("2001:db8:{country}:{:x}::/56", n << 8))
}

/// A minute of everybody's queries, every 20 s, and of reports, every 2 s.
fn minute(begin: f64, loads: [f64; 3]) -> Vec<Value> {
    let mut lines = Vec::new();
    for second in 0..60 {
        let time = begin + f64::from(second);
        if second % 2 == 0 {
            let named = ["fra", "iad", "nrt"].into_iter().zip(loads);
            lines.extend(named.map(|(name, load)| report(time, name, load)));
        }
        if second % 20 == 0 {
            lines.extend([1, 2, 3].into_iter().flat_map(prefixes).map(|one| query(time, &one)));
        }
    }
    lines
}

/// How many of the answers send to each datacenter.
fn counted(answers: &[Value]) -> BTreeMap<&str, usize> {
    let mut count = BTreeMap::new();
    for answer in answers {
        *count.entry(answer["datacenter"].as_str().expect("a datacenter")).or_default() += 1;
    }
    count
}

#[test]
fn the_same_lines_have_the_same_answers() {
    let mut lines = minute(0.0, [90.0, 40.0, 30.0]);
    lines.push(health(60.0, "nrt", false));
    lines.extend(minute(60.5, [99.0, 60.0, 0.0]));
    assert_eq!(answers(&files(), &lines), answers(&files(), &lines));
}

#[test]
fn nobody_is_sent_to_a_datacenter_that_is_down_and_all_go_back_to_it_when_it_is_up() {
    let mut lines = minute(0.0, [30.0; 3]);
    let before = lines.iter().filter(|line| line.get("query").is_some()).count();
    lines.push(health(60.0, "fra", false));
    lines.extend(minute(60.0, [0.0, 45.0, 45.0]));
    let during = lines.iter().filter(|line| line.get("query").is_some()).count();
    lines.push(health(120.0, "fra", true));
    // A checked pool's datacenter is the same: its probes are never sent.
    let cdn = json!({"name": "cdn.example.com.", "subnet": GERMAN});
    lines.push(json!({"time": 120, "query": cdn}));
    lines.extend((0..10).flat_map(|n| minute(120.0 + 60.0 * f64::from(n), [5.0, 30.0, 30.0])));
    let answers = answers(&files(), &lines);
    assert!(counted(&answers[..before])["fra"] > 0);
    assert!(!counted(&answers[before..during]).contains_key("fra"));
    assert_eq!(answers[during]["datacenter"], "fra");
    let last = &answers[answers.len() - 192..];
    assert_eq!(counted(last)["fra"], 64, "{:?}", counted(last));
}

#[test]
fn a_driver_that_waits_for_each_answer_gets_it() {
    let files = files();
    let mut child = simulate(&files.path("portolan.toml")).spawn().expect("the binary runs");
    let mut input = child.stdin.take().expect("a pipe");
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    for (time, subnet, datacenter) in
        [(1.0, GERMAN, "fra"), (1.5, AMERICAN, "iad"), (9.0, JAPANESE, "nrt")]
    {
        writeln!(input, "{}", query(time, subnet)).expect("it reads");
        let mut answer = String::new();
        output.read_line(&mut answer).expect("it answers");
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        assert_eq!(answer["datacenter"], datacenter);
    }
    drop(input);
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn a_bad_line_is_told_with_its_number_and_counts_for_nothing_and_the_driver_stays_in_step() {
    let lines = format!(
        "{}\n\n{}\nhello\n{}\n{}\n{}\n{}\n{}\n{}\n",
        query(5.0, GERMAN),
        report(5.0, "far", 1.0),
        query(4.0, GERMAN),
        query(6.0, "198.51.100.0/33"),
        json!({"time": 6, "health": {"datacenter": "fra", "up": "no"}}),
        "x".repeat(70_000),
        query(9e9, GERMAN),
        query(6.0, GERMAN),
    );
    let output = output(&files(), &lines);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = said.lines().collect();
    for (said, wanted) in said.iter().zip([
        "error: line 3: there is no datacenter far; there are: fra, iad, nrt",
        "error: line 4: column 1: no JSON object: expected value; expected `time` and one of",
        "error: line 5: `time` is 4, and was 5 before: it never goes back",
        "error: line 6: `198.51.100.0/33` is not a subnet: expected one like",
        "error: line 7: column 39: invalid type: string \"no\", expected a boolean",
        "error: line 8: longer than 65536 bytes",
        "error: line 9: `time` is 9000000000, more than a day after the 6 before",
    ]) {
        assert!(said.starts_with(wanted), "{said}\nwanted: {wanted}");
    }
    assert_eq!(said.len(), 7, "{said:?}");
    let answers = parsed(&output.stdout);
    let lines = [None, Some(4), Some(5), Some(6), Some(8), Some(9), None];
    assert_eq!(answers.len(), lines.len());
    for (answer, line) in answers.iter().zip(lines) {
        match line {
            None => assert_eq!(answer["datacenter"], "fra"),
            Some(line) => {
                let error = answer["error"].as_str().expect("an error");
                assert!(error.starts_with(&format!("line {line}: ")), "{error}");
            }
        }
    }
}
