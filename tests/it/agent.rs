//! Agents: HAProxy takes the word of `portolan agent`, and Portolan that of agents of any make.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::support::backend::Manner;
use crate::support::peers::{Peer, write};
use crate::support::server::{http_get, portolan};
use crate::support::{Addresses, Backend, Server, dig, needs, until};

const AGENT_PORT: u16 = 8054;

/// `portolan agent` on a machine whose measures are the test's to set.
struct OwnAgent {
    child: Child,
    directory: tempfile::TempDir,
}

impl OwnAgent {
    /// By memory alone: easy to the half, and full at 90 %.
    fn start(address: impl Into<SocketAddr>, arguments: &[&str]) -> OwnAgent {
        let directory = tempfile::tempdir().expect("a temporary directory");
        write(directory.path(), "cpu.stat", "usage_usec 0\n");
        write(directory.path(), "memory.max", "1000\n");
        let address: SocketAddr = address.into();
        let mut agent = portolan();
        agent.args(["agent", "--interval", "100ms", "--smoothing", "0s", "--cpu", "off"]);
        agent.args(["--memory", "50-90", "--least", "10", "--listen", &address.to_string()]);
        agent.arg("--cgroup").arg(directory.path());
        agent.arg("--drain-file").arg(directory.path().join("drain")).args(arguments);
        let quiet = agent.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let agent = OwnAgent { child: quiet.spawn().expect("the binary runs"), directory };
        agent.use_memory(0);
        until("the agent listens", || said(address).is_some());
        agent
    }

    /// So many thousandths of the memory are in use from now on.
    fn use_memory(&self, thousandths: u32) {
        write(self.directory.path(), "new", &format!("{thousandths}\n"));
        let path = |name| self.directory.path().join(name);
        std::fs::rename(path("new"), path("memory.current")).expect("the file can be put in place");
    }

    fn drain(&self, is_drained: bool) {
        let file = self.directory.path().join("drain");
        match is_drained {
            true => std::fs::write(file, "").expect("a file"),
            false => std::fs::remove_file(file).expect("it was there"),
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().expect("kill runs");
        assert!(sent.success());
    }
}

impl Drop for OwnAgent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The line of the agent there.
fn said(agent: SocketAddr) -> Option<String> {
    let mut stream = std::net::TcpStream::connect(agent).ok()?;
    let mut line = String::new();
    stream.read_to_string(&mut line).ok()?;
    Some(line)
}

/// An agent of another make, which says what the test gives it to say.
struct ScriptedAgent {
    line: Arc<Mutex<String>>,
}

impl ScriptedAgent {
    fn start(address: impl Into<SocketAddr>, line: &str) -> ScriptedAgent {
        let listener = TcpListener::bind(address.into()).expect("the address is free");
        let line = Arc::new(Mutex::new(format!("{line}\n")));
        let says = Arc::clone(&line);
        // It ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let line = says.lock().expect("no panic").clone();
                let _ = (&stream).write_all(line.as_bytes());
            }
        });
        ScriptedAgent { line }
    }

    /// It hangs up on whoever asks.
    fn is_silent(&self) {
        self.line.lock().expect("no panic").clear();
    }

    fn says(&self, line: &str) {
        *self.line.lock().expect("no panic") = format!("{line}\n");
    }
}

/// What HAProxy says of its one server.
#[derive(Debug, PartialEq)]
struct Row {
    status: String,
    weight: String,
    limit: String,
}

fn haproxys_view(socket: &Path) -> Option<Row> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.write_all(b"show stat\n").ok()?;
    let mut table = String::new();
    stream.read_to_string(&mut table).ok()?;
    let names: Vec<&str> = table.lines().next()?.trim_start_matches("# ").split(',').collect();
    let row = table.lines().find(|line| line.starts_with("web,one,"))?;
    let row: Vec<&str> = row.split(',').collect();
    let field = |name| {
        let column = names.iter().position(|known| *known == name)?;
        row.get(column).map(|text| (*text).to_owned())
    };
    Some(Row { status: field("status")?, weight: field("weight")?, limit: field("slim")? })
}

#[test]
fn haproxy_takes_weight_limit_drain_and_down_from_portolans_agent() {
    if !needs("agents for HAProxy", &["haproxy"]) {
        return;
    }
    let net = Addresses::new();
    let start = |arguments: &[&str]| OwnAgent::start((net.host(2), AGENT_PORT), arguments);
    let agent = start(&["--maxconn", "30", "--drain-after", "100ms"]);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let socket: PathBuf = directory.path().join("stats");
    write(
        directory.path(),
        "haproxy.cfg",
        &format!(
            "global\n stats socket {}\n\
             defaults\n mode tcp\n timeout connect 1s\n timeout client 5s\n timeout server 5s\n\
             listen web\n bind {}:8080\n\
             server one {}:9001 weight 200 maxconn 100 \
             agent-check agent-addr {} agent-port {AGENT_PORT} agent-inter 50ms\n",
            socket.display(),
            net.host(1),
            net.host(2),
            net.host(2)
        ),
    );
    let address = (net.host(1), 8080).into();
    let _haproxy = Peer::spawn(directory, address, "haproxy", &["-db", "-f", "haproxy.cfg"]);
    let sees = |what: &str, wanted: &dyn Fn(&Row) -> bool| {
        let mut seen = None;
        until(what, || {
            seen = haproxys_view(&socket);
            seen.as_ref().is_some_and(wanted)
        });
    };
    let is_up = |row: &Row| row.status == "UP" || row.status == "no check";
    sees("its limit", &|row| is_up(row) && row.weight == "200" && row.limit == "30");
    agent.use_memory(700);
    sees("half of the way, a weight of 55 %", &|row| is_up(row) && row.weight == "110");
    agent.use_memory(0);
    sees("the whole weight", &|row| is_up(row) && row.weight == "200");
    agent.drain(true);
    sees("drained by the file", &|row| row.status.starts_with("DRAIN"));
    agent.drain(false);
    sees("ready again", &is_up);
    agent.signal("USR1");
    sees("drained by the signal", &|row| row.status.starts_with("DRAIN"));
    agent.signal("USR2");
    sees("ready once more", &is_up);
    agent.use_memory(890);
    sees("all but full: the least weight", &|row| is_up(row) && row.weight == "20");
    agent.use_memory(990);
    sees("full for too long: no new connections", &|row| is_up(row) && row.weight == "0");
    agent.use_memory(0);
    sees("relieved", &|row| is_up(row) && row.weight == "200");
    drop(agent);
    let agent = start(&["--down-after", "100ms"]);
    agent.use_memory(990);
    sees("full for too long: down", &|row| row.status.starts_with("DOWN"));
    agent.use_memory(0);
    sees("relieved again", &|row| is_up(row) && row.weight == "200");
}

#[test]
fn the_agent_says_its_line_once_to_whoever_only_wants_to_see_it() {
    let output = portolan()
        .args(["agent", "--once", "--interval", "100ms", "--maxconn", "7", "--drain"])
        .output()
        .expect("the binary runs");
    let line = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(line.starts_with("up drain ") && line.ends_with("% maxconn:7\n"), "{line}");
    let wrong = portolan().args(["agent", "--once", "--cgroup", "/nonexistent"]).output();
    let wrong = wrong.expect("the binary runs");
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("/nonexistent"), "{wrong:?}");
}

const ZONE: &str = r#"
origin  = "example.com."
records = """
@    SOA   ns1 hostmaster 1 2h 15m 2w 5m
@    NS    ns1
ns1  A     198.51.100.53
"""
[checks.agent]
kind     = "agent"
port     = 8054
interval = "100ms"
rise     = 1
fall     = 3
[pools.web]
steer = "failover"
check = "agent"
members = [
  { datacenter = "fra", addresses = ["{net}.11"] },
  { datacenter = "iad", addresses = ["{net}.12"] },
]
[names.www]
pool = "web"
"#;

#[test]
fn what_agents_say_decides_which_members_the_dns_answers() {
    let files =
        Server::files("[datacenters.fra]\n[datacenters.iad]\n").zone("example.com.toml", ZONE);
    let net = files.addresses();
    let first = ScriptedAgent::start((net.host(11), AGENT_PORT), "up ready 100%");
    let second = OwnAgent::start((net.host(12), AGENT_PORT), &[]);
    let server = files.start();
    let answers = |what: &str, host: u8| {
        let wanted = net.host(host).to_string();
        until(what, || dig(server.dns(), "www.example.com A").address() == wanted);
    };
    answers("the first", 11);
    // Each is taken back by what comes next.
    for line in ["drain", "ready down # disk full", "up 0%", "100% MAINT", "stopped,ready", "fail"]
    {
        first.says(line);
        answers(&format!("the second: the first says {line:?}"), 12);
        first.says("up ready 100%");
        answers(&format!("the first again, after {line:?}"), 11);
    }
    first.says("drain");
    answers("the second", 12);
    first.says("75%");
    second.drain(true);
    until("both want no new clients", || {
        let status = server.api("/api/v1/status").to_string();
        status.matches(r#""administrative":"drain""#).count() == 2
    });
    let log = server.log();
    assert!(log.contains("an agent wants no new clients"), "{log}");
    second.drain(false);
    answers("only `ready` ends a drain", 12);
    first.says("ready");
    answers("the first", 11);
    let (text, _) = server.verb(&["explain", "www.example.com", "--client", "198.51.100.1"]);
    assert!(text.contains("fra"), "{text}");
    drop(second);
    until("who does not answer is down", || {
        let status = http_get(server.admin(), "/api/v1/status").expect("the admin API answers");
        status.contains("Connection refused")
    });
}

const SERVICE: &str = r#"
[[l4.services]]
name     = "web"
listen   = "{net}.10:8080"
capacity = "agents"
check    = { kind = "tcp", interval = "100ms", rise = 1, fall = 1 }
agent    = { port = 8054, interval = "100ms" }
backends = [{ address = "{net}.11:9001" }, { address = "{net}.12:9001" }]
"#;

#[test]
fn what_agents_say_decides_which_backends_take_connections_and_silence_changes_nothing() {
    let files = Server::files(SERVICE);
    let net = files.addresses();
    let [first, _second] = [11, 12]
        .map(|host| ScriptedAgent::start((net.host(host), AGENT_PORT), "up ready 100% maxconn:40"));
    let _backends = [(11, "one\n"), (12, "two\n")].map(|(host, name)| {
        Backend::that_is((net.host(host), 9001), Manner::Says(200, name.into()))
    });
    let server = files.start();
    let vip = (net.host(10), 8080).into();
    let taken_by = || -> BTreeSet<String> {
        (0..6).filter_map(|_| http_get(vip, "/")).map(|name| name.trim().into()).collect()
    };
    let take = |what: &str, wanted: &[&str]| {
        until(what, || taken_by().iter().eq(wanted));
    };
    let report = |wanted: f64| {
        until(&format!("a capacity of {wanted}"), || {
            server.api("/api/v1/report")["capacity"] == wanted
        });
    };
    take("both", &["one", "two"]);
    report(80.0);
    for (line, back) in [
        ("drain", "ready"),
        ("maint # new disk", "ready"),
        ("down # disk full", "up"),
        ("0%", "100%"),
    ] {
        first.says(line);
        take(&format!("the second alone: the first says {line:?}"), &["two"]);
        report(40.0);
        first.says(back);
        take(&format!("both: the first says {back:?}"), &["one", "two"]);
    }
    first.says("25% maxconn:20");
    report(60.0);
    until("its weight", || server.api("/api/v1/l4")[0]["backends"][0]["weight_percent"] == 25);
    // It hangs up without a word, as if it had been stopped.
    first.is_silent();
    until("it is seen that it is silent", || server.log().contains("no whole line"));
    assert_eq!(taken_by().len(), 2);
    report(60.0);
}
