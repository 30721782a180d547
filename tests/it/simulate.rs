//! `portolan simulate`: the shipped decision in simulated time, without a network.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Output, Stdio};

use serde_json::{Value, json};

use crate::support::asking::{address_and_scope, ask_udp, question_for};
use crate::support::server::{Files, portolan};
use crate::support::{Server, until};

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
    let mut driven = Driven::start(&files);
    for (time, subnet, datacenter) in
        [(1.0, GERMAN, "fra"), (1.5, AMERICAN, "iad"), (9.0, JAPANESE, "nrt")]
    {
        assert_eq!(driven.ask(&query(time, subnet))["datacenter"], datacenter);
    }
    driven.finish();
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

/// A drive that is told one thing after another.
struct Driven {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Driven {
    fn start(files: &Files) -> Driven {
        let mut child = simulate(&files.path("portolan.toml")).spawn().expect("the binary runs");
        let input = child.stdin.take().expect("a pipe");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        Driven { child, input, output }
    }

    fn tell(&mut self, line: &Value) {
        writeln!(self.input, "{line}").expect("it reads");
    }

    fn ask(&mut self, line: &Value) -> Value {
        self.tell(line);
        let mut answer = String::new();
        self.output.read_line(&mut answer).expect("it answers");
        serde_json::from_str(&answer).expect("JSON")
    }

    fn finish(mut self) {
        drop(self.input);
        assert!(self.child.wait().expect("it ends").success());
    }
}

#[test]
fn more_than_a_datacenter_can_take_goes_on_to_others_when_it_reports_so() {
    // What each client of a country asks for: Germany for 160 together, more than fra can take.
    const EACH: [f64; 3] = [2.5, 0.5, 0.5];
    let files = files();
    let mut driven = Driven::start(&files);
    let clients: Vec<String> = [1, 2, 3].into_iter().flat_map(prefixes).collect();
    // Of the 192 clients a third asks every ten seconds, and keeps the answer for thirty.
    let mut sent: Vec<String> = vec![String::new(); clients.len()];
    let loads = |sent: &[String]| {
        let each = sent.iter().enumerate().map(|(client, to)| (EACH[client / 64], to));
        ["fra", "iad", "nrt"].map(|name| -> f64 {
            each.clone().filter(|(_, to)| *to == name).map(|(each, _)| each).sum()
        })
    };
    let (mut first, mut seen) = (None, Vec::new());
    for second in 0..240 {
        let time = f64::from(second);
        if second % 10 == 0 {
            for (client, sent) in
                clients.iter().zip(&mut sent).skip(second as usize / 10 % 3).step_by(3)
            {
                let answer = driven.ask(&query(time, client));
                *sent = answer["datacenter"].as_str().expect("a datacenter").to_string();
            }
        }
        if second == 20 {
            first = Some(loads(&sent));
        }
        if second >= 180 {
            seen.push(loads(&sent));
        }
        // Nobody has said anything before.
        if second > 20 && second % 2 == 0 {
            for (name, load) in ["fra", "iad", "nrt"].into_iter().zip(loads(&sent)) {
                driven.tell(&report(time + 0.5, name, load));
            }
        }
    }
    driven.finish();
    assert_eq!(first, Some([160.0, 32.0, 32.0]), "all go to the nearest");
    let means = [0, 1, 2].map(|site| {
        seen.iter().map(|loads: &[f64; 3]| loads[site]).sum::<f64>() / seen.len() as f64
    });
    let most = seen.iter().flatten().fold(0.0, |most: f64, load| most.max(*load));
    assert!((70.0..=100.0).contains(&means[0]), "{means:?}");
    assert!(means[1] < 100.0 && means[2] < 100.0 && most < 130.0, "{means:?}, {most}");
}

#[test]
fn the_answers_are_those_of_the_server_for_the_same_facts() {
    let files = Server::files(DATACENTERS);
    files.write("networks.toml", NETWORKS);
    // Nothing is probed.
    let files = files.zone("example.com.toml", &ZONE.replace("check = \"web\"", ""));
    let mut driven = Driven::start(&files);
    let server = files.start();
    let clients: Vec<String> = [1, 2, 3]
        .into_iter()
        .flat_map(prefixes)
        .chain([GERMAN, AMERICAN, JAPANESE, "198.51.100.7/32", "127.1.2.0/24"].map(String::from))
        .collect();
    let question = |client: &String| question_for("www.example.com", client.parse().expect("one"));
    let questions: Vec<Vec<u8>> = clients.iter().map(question).collect();
    let answered = || -> Vec<Option<(Ipv4Addr, u8)>> {
        let answers = ask_udp(server.dns(), &questions);
        answers.iter().map(|answer| address_and_scope(answer.as_ref()?)).collect()
    };
    let mut drive = |time: f64| -> Vec<Option<(Ipv4Addr, u8)>> {
        let answer = |client: &String| {
            let answer = driven.ask(&query(time, client));
            let address = answer["addresses"][0].as_str()?.parse().ok()?;
            Some((address, answer["scope"].as_u64()? as u8))
        };
        let answers = clients.iter().map(answer).collect();
        driven.tell(&health(time, "fra", time < 1.0));
        answers
    };
    let up = drive(0.0);
    assert!(up.iter().all(Option::is_some));
    until("both answer alike with everything up", || answered() == up);
    drive(1.0);
    let (said, code) = server.verb(&["force", "datacenter/fra", "down"]);
    assert_eq!(code, 0, "{said}");
    let down = drive(2.0);
    assert_ne!(up, down);
    until("both answer alike without fra", || answered() == down);
}

/// The verb with these arguments, and what it printed.
fn compared(files: &Files, arguments: &[&str]) -> (String, Option<i32>) {
    let config = files.path("portolan.toml");
    let mut command = portolan();
    command.arg("simulate").args(arguments).arg("--config").arg(config);
    let output = command.output().expect("the binary runs");
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8_lossy(&text).into_owned(), output.status.code())
}

#[test]
fn policies_are_compared_with_ones_own_datacenters_and_queries() {
    let files = files();
    let mut log = String::from("time,subnet,name\n");
    for (country, queries) in [(1, 40), (2, 20), (3, 10)] {
        for number in 0..queries {
            log +=
                &format!("{number}.5,2001:db8:{country}:{:x}::/56,www.example.com\n", number << 8);
        }
    }
    log += "1,127.0.0.1,www.example.com\n";
    let put = |name: &str| files.path(name).to_str().expect("a path").to_string();
    std::fs::write(put("queries.csv"), log).expect("a file");
    let (queries, scores, drawn) = (put("queries.csv"), put("scores.json"), put("load.svg"));
    let arguments = [
        "--queries",
        &queries,
        "--policy",
        "ours,nearest,weighted",
        "--headroom",
        "1.15",
        "--fail",
        "iad@10m..20m",
        "--surge",
        "JP=2@25m..30m",
        "--duration",
        "40m",
        "--ttl",
        "15s..30s",
        "--seeds",
        "1,2",
        "--json",
        &scores,
        "--svg",
        &drawn,
    ];
    let (said, code) = compared(&files, &arguments);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("1 of 71 queries are of clients whose place is not known"), "{said}");
    assert!(said.contains("3 groups of clients, 3 datacenters; steady, 40m"), "{said}");
    let scores = std::fs::read_to_string(&scores).expect("a file");
    let told: Value = serde_json::from_str(&scores).expect("JSON");
    let rows = told["rows"].as_array().expect("rows");
    let titles: Vec<&str> = rows.iter().filter_map(|row| row["title"].as_str()).collect();
    assert_eq!(titles, ["ours", "nearest", "weighted"]);
    let over = |row: &Value| row["scores"][0]["overload_s"].as_u64().expect("a number");
    assert!(2 * over(&rows[0]) < over(&rows[1]), "{said}");
    assert_eq!(told["series"].as_array().expect("series").len(), 6);
    let drawn = std::fs::read_to_string(&drawn).expect("a file");
    assert_eq!(drawn.matches("<g ").count(), 3);
    assert!(drawn.contains("iad dies") && drawn.contains("JP × 2"), "{drawn}");
    // Chance comes from the seeds alone.
    assert_eq!(compared(&files, &arguments).0, said);
}

#[test]
fn what_cannot_be_simulated_is_told() {
    let files = files();
    for (arguments, code, wanted) in [
        (&["--fail", "lhr@1m"][..], 1, "there is no datacenter lhr; there are: fra, iad, nrt"),
        (&["--scenario", "mix"], 1, "there is no datacenter frankfurt; there are: fra, iad, nrt"),
        (&["--fail", "fra@4h"], 1, "but it all lasts 10800 s: see --duration"),
        (
            &["--pool", "example.com/no"],
            1,
            "there is no pool example.com/no; by capacity steer: example.com/web",
        ),
        (&["--queries", "/nowhere/log"], 1, "/nowhere/log: No such file"),
        (&["--fail", "fra"], 2, "expected NAME@FROM..TO like fra@30m..60m"),
        (&["--policy", "best"], 2, "no such policy; there are: "),
        (&["--drive", "--ttl", "7s"], 2, "cannot be used with"),
    ] {
        let (said, exit) = compared(&files, arguments);
        assert!(exit == Some(code) && said.contains(wanted), "{arguments:?}: {exit:?}: {said}");
    }
}
