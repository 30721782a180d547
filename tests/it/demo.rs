//! `portolan demo`, as somebody tries it who has just built it: every line it prints does what it
//! says.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::needs::not_run;
use crate::support::server::{http, http_get, portolan};
use crate::support::{needs, until};

/// The demo, which ends with the test, and what it printed.
pub struct Demo {
    child: Child,
    guide: Vec<String>,
    /// Its addresses are fixed: one at a time on this machine.
    _turn: std::fs::File,
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const ADMIN: ([u8; 4], u16) = ([127, 0, 0, 1], 8053);

#[test]
fn the_demo_does_what_it_says() {
    let Some(mut demo) = start("demo") else { return };

    // The dig lines: Switzerland, Canada, Japan, each to its datacenter.
    let digs = demo.lines("dig @");
    let asked = || -> Vec<String> {
        digs.iter().map(|line| run(&format!("{line} +short")).trim().to_string()).collect()
    };
    assert_eq!(asked(), ["127.0.1.1", "127.0.2.1", "127.0.3.1"]);
    let japanese = || asked()[2].clone();
    let swiss = || asked()[0].clone();

    // The curl line, the explanation, the page.
    let [follow] = &demo.lines("curl http://$")[..] else { panic!("one: {:?}", demo.guide) };
    let fetch = || run(follow);
    assert!(fetch().starts_with("nrt (Tokyo), backend "), "{}", fetch());
    let [explain] = &demo.lines("portolan explain")[..] else { panic!("one: {:?}", demo.guide) };
    let arguments = explain.split("  ").next().expect("before the remark").split(' ').skip(1);
    let output = portolan().args(arguments).current_dir(root()).output().expect("the binary runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("nrt  chosen"), "{text}");
    assert!(demo.guide.iter().any(|line| line.contains("http://127.0.0.1:8053/")));
    assert!(http_get(ADMIN.into(), "/").is_some_and(|page| page.contains("Portolan")));
    // Each datacenter has a window of its own, and reports.
    let report = http_get(([127, 0, 3, 1], 8053).into(), "/api/v1/report").expect("a report");
    assert!(report.contains("\"capacity\""), "{report}");

    // The levers.
    let levers = demo.levers();
    let [(one, one_back), (site, site_back), (fill, fill_back)] = &levers[..] else {
        panic!("three levers: {levers:?}")
    };
    // One backend: nobody notices.
    run(one);
    for _ in 0..6 {
        assert_eq!(fetch(), "nrt (Tokyo), backend 2\n");
    }
    assert_eq!(japanese(), "127.0.3.1");
    // Both: the answer moves.
    let (other, other_back) = (one.replace("/1/", "/2/"), one_back.replace("/1/", "/2/"));
    run(&other);
    until("Japan is sent elsewhere", || japanese() != "127.0.3.1");
    assert_eq!(swiss(), "127.0.1.1", "only those move that must");
    run(one_back);
    until("Japan is sent home", || japanese() == "127.0.3.1");
    assert_eq!(fetch(), "nrt (Tokyo), backend 1\n");
    run(&other_back);
    // The whole datacenter.
    run(site);
    until("Japan is sent elsewhere", || japanese() != "127.0.3.1");
    until("its report is said to be stale", || {
        let status = portolan().arg("status").current_dir(root()).output().expect("it runs");
        String::from_utf8_lossy(&status.stdout).contains("stale")
    });
    run(site_back);
    until("Japan is sent home", || japanese() == "127.0.3.1");
    // More clients come to it than it can take, and are sent on.
    let [watch] = &demo.lines("curl --no-buffer")[..] else { panic!("one: {:?}", demo.guide) };
    let watched = Watch::start(watch);
    run(fill);
    until("they come", || loads().iter().sum::<f64>() >= 60.0);
    until("some are sent elsewhere", || {
        let [fra, iad, nrt] = loads();
        (50.0..=100.0).contains(&fra) && fra + iad + nrt >= 120.0 && iad.max(nrt) <= 100.0
    });
    until("the plan says so", || {
        let plan = portolan().arg("plan").current_dir(root()).output().expect("the binary runs");
        let text = String::from_utf8_lossy(&plan.stdout);
        plan.status.success() && text.contains("CLIENT GROUPS THAT ARE SPLIT")
    });
    let seen = watched.seen();
    // How soon follows from how long the server has known its clients: that is tested elsewhere.
    assert!(seen.windows(2).any(|two| two[0][0] > 0 && two[1][1] > two[0][1]), "{seen:?}");
    run(fill_back);
    until("Switzerland is sent home", || loads() == [0.0; 3] && swiss() == "127.0.1.1");
    until("Japan stays at home", || japanese() == "127.0.3.1");
    // What is no lever is said.
    let (status, said) =
        http(([127, 0, 0, 1], 8054).into(), "POST", "/lhr/stop", "").expect("an answer");
    assert!(status == 404 && said.contains("fra, iad, nrt"), "{said}");

    // Ctrl-C ends it, and everything with it.
    let pid = demo.child.id().to_string();
    let sent = Command::new("kill").args(["-s", "INT", &pid]).status();
    assert!(sent.expect("kill runs").success());
    let mut ended = None;
    until("it ends", || {
        ended = demo.child.try_wait().expect("a child");
        ended.is_some()
    });
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}");
    assert!(addresses().iter().all(|address| !is_taken(*address)));
}

/// What is shown in another window.
struct Watch {
    curl: Child,
}

impl Watch {
    fn start(line: &str) -> Watch {
        let words = line.split(' ').skip(1).chain(["--silent"]);
        let mut curl = Command::new("curl");
        curl.args(words).stdin(Stdio::null()).stdout(Stdio::piped());
        Watch { curl: curl.spawn().expect("curl runs") }
    }

    /// By second, the connections at each datacenter.
    fn seen(mut self) -> Vec<[u32; 3]> {
        self.curl.kill().expect("it runs");
        let output = self.curl.wait_with_output().expect("what it printed");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = |line: &str| {
            let counts =
                line.split("   ").skip(1).filter_map(|part| part.split_whitespace().nth(1));
            let counts: Vec<u32> = counts.filter_map(|count| count.parse().ok()).collect();
            counts.try_into().unwrap_or_else(|_| panic!("three counts: {line}"))
        };
        text.lines().map(line).collect()
    }
}

impl Demo {
    /// The lines of the guide that begin so.
    fn lines(&self, begin: &str) -> Vec<String> {
        let lines = self.guide.iter().map(|line| line.trim());
        lines.filter(|line| line.starts_with(begin)).map(String::from).collect()
    }

    /// The commands that pull a lever, each with the one that pushes it back.
    fn levers(&self) -> Vec<(String, String)> {
        let pulls = self.lines("curl -X POST");
        let lever = |line: &String| {
            let (pull, back) = line.split_once("and back: …/").expect("a way back");
            let (site, _) = pull.trim().rsplit_once('/').expect("a path");
            (pull.trim().to_string(), format!("{site}/{}", back.trim()))
        };
        pulls.iter().map(lever).collect()
    }
}

/// Starts it in the repository, and returns when it has printed what to try. None when it cannot
/// run here, which is then on record.
pub fn start(test: &str) -> Option<Demo> {
    if !needs(test, &["dig", "curl", "sh"]) {
        return None;
    }
    let turn = std::env::temp_dir().join("portolan-demo.lock");
    let turn = std::fs::File::create(turn).and_then(|file| file.lock().map(|()| file));
    let turn = turn.expect("the demo's turn");
    if let Some(taken) = addresses().into_iter().find(|address| is_taken(*address)) {
        not_run(test, &format!("{taken} is taken"));
        return None;
    }
    if root().join("overrides.json").exists() {
        not_run(test, "overrides.json holds overrides of an earlier run");
        return None;
    }
    let mut child = portolan()
        .arg("demo")
        .current_dir(root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let out = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut demo = Demo { child, guide: Vec::new(), _turn: turn };
    for line in out.lines() {
        let line = line.expect("text");
        let is_last = line.contains("Ctrl-C");
        demo.guide.push(line);
        if is_last {
            return Some(demo);
        }
    }
    panic!("it ended before it said what to try: {:?}", demo.guide)
}

/// Runs a line as a shell does, and returns what it printed.
#[track_caller]
fn run(line: &str) -> String {
    let line = line.replace("curl ", "curl --silent --show-error --fail --max-time 20 ");
    let output = Command::new("sh").args(["-c", &line]).output().expect("sh runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{line}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What the datacenters report to be offered: fra, iad, nrt.
fn loads() -> [f64; 3] {
    let status = http_get(ADMIN.into(), "/api/v1/status").expect("the status");
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    [0, 1, 2].map(|site: usize| status["datacenters"][site]["load"].as_f64().unwrap_or(f64::NAN))
}

/// All that it listens on.
fn addresses() -> Vec<SocketAddr> {
    let sites =
        [1, 2, 3].map(|site| [8080, 8053, 9001, 9002].map(|port| ([127, 0, site, 1], port)));
    let here = [5353, 8053, 8054].map(|port| ([127, 0, 0, 1], port));
    sites.into_iter().flatten().chain(here).map(SocketAddr::from).collect()
}

fn is_taken(address: SocketAddr) -> bool {
    TcpListener::bind(address).is_err()
        || (address.port() == 5353 && UdpSocket::bind(address).is_err())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).into()
}
