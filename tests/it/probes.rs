//! Probes that the kernel must let us make: half-open TCP and ICMP, in networks of the test's own.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::support::namespaces::{Host, Switch, inside};
use crate::support::needs::not_run;
use crate::support::server::http_get;
use crate::support::{until, until_some};

const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const TARGET: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);

/// Both hosts have an IPv6 address, too.
fn hosts() -> (Host, Host) {
    let switch = Switch::new("switch");
    let hosts = [("server", SERVER), ("target", TARGET)].map(|(name, address)| {
        let host = switch.host(name, address);
        let last = address.octets()[3];
        host.ip(&format!("addr add 2001:db8::{last}/64 dev eth0 nodad"));
        host
    });
    let [server, target] = hosts;
    (server, target)
}

/// A server with one pool, whose members are the target's addresses.
struct Server<'h> {
    host: &'h Host,
    child: Child,
    directory: tempfile::TempDir,
}

impl Server<'_> {
    /// `check`: the keys of its check. `before`: what runs it.
    fn start<'h>(host: &'h Host, check: &str, before: &[&str]) -> Server<'h> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let at = |name: &str| directory.path().join(name);
        std::fs::create_dir(at("zones")).expect("a directory");
        let toml = "[dns]\nlisten = [\"127.0.0.1:5353\"]\nzones = \"zones\"\n\
                    [admin]\nlisten = \"127.0.0.1:8053\"\n[datacenters.fra]\n";
        std::fs::write(at("portolan.toml"), toml).expect("a file");
        let zone = format!(
            "origin = \"example.com.\"\nrecords = \"\"\"\n@ SOA ns1 hostmaster 1 2h 15m 2w 5m\n\
             @ NS ns1\nns1 A 198.51.100.53\n\"\"\"\n[checks.c]\n{check}\n\
             [pools.web]\nsteer = \"weighted\"\ncheck = \"c\"\n\
             members = [{{ datacenter = \"fra\", addresses = [\"{TARGET}\", \"2001:db8::2\"] }}]\n\
             [names.www]\npool = \"web\"\n"
        );
        std::fs::write(at("zones/example.com.toml"), zone).expect("a file");
        let log = std::fs::File::create(at("log")).expect("a file");
        let mut words = before.iter().copied().chain([env!("CARGO_BIN_EXE_portolan"), "serve"]);
        let mut command = host.command(words.next().expect("a program"));
        command.args(words).arg("--config").arg(at("portolan.toml"));
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().expect("the binary runs");
        Server { host, child, directory }
    }

    /// Its probes, when it knows of both what came of it.
    fn probes(&self) -> Option<[Value; 2]> {
        let status = self.host.within(|| http_get(([127, 0, 0, 1], 8053).into(), "/api/v1/status"));
        let status: Value = serde_json::from_str(&status?).expect("JSON");
        let probes: Vec<Value> = status["probes"].as_array().expect("the probes").clone();
        let probes: [Value; 2] = probes.try_into().expect("two");
        probes.iter().all(|probe| probe["last_result"].is_string()).then_some(probes)
    }

    /// Waits until both probes have found this.
    fn until_both(&self, state: &str, result: &str) {
        let found = |probe: &Value| {
            let last = probe["last_result"].as_str().expect("a result");
            probe["state"] == state && last.contains(result)
        };
        until(&format!("{state} {result}"), || {
            self.probes().is_some_and(|probes| probes.iter().all(found))
        });
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.directory.path().join("log"));
            eprintln!("--- log of the server ---\n{}", log.unwrap_or_default());
        }
    }
}

/// The flags of the TCP segments of a connection attempt at the target, as tcpdump prints them, with
/// who sent each: `server [S]`, `target [S.]`…
struct Capture {
    child: Child,
    directory: tempfile::TempDir,
}

impl Capture {
    /// None where tcpdump cannot run: it wants to change its groups, which no user namespace allows.
    fn start(host: &Host) -> Option<Capture> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = |name| std::fs::File::create(directory.path().join(name)).expect("a file");
        let mut command = host.command("tcpdump");
        command.args(["-i", "eth0", "-n", "-l", "--immediate-mode", "-Z", "root"]);
        command.args(["tcp", "port", "8080"]);
        let command = command.stdin(Stdio::null()).stdout(file("segments")).stderr(file("log"));
        let mut capture = Capture { child: command.spawn().expect("tcpdump runs"), directory };
        let mut is_over = false;
        until("tcpdump listens", || {
            is_over = !matches!(capture.child.try_wait(), Ok(None));
            is_over || capture.read("log").contains("listening on")
        });
        (!is_over).then_some(capture)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(name)).unwrap_or_default()
    }

    fn segments(&self, of: &str) -> Vec<String> {
        let (server, target) = match of {
            "IP" => (SERVER.to_string(), TARGET.to_string()),
            _ => ("2001:db8::1".into(), "2001:db8::2".into()),
        };
        let text = self.read("segments");
        // `12:00:00.000000 IP 198.51.100.1.40000 > 198.51.100.2.8080: Flags [S], seq …`
        let segment = |line: &str| {
            let (_, rest) = line.split_once(&format!(" {of} "))?;
            let (from, rest) = rest.split_once(" > ")?;
            let (_, rest) = rest.split_once("Flags ")?;
            let (flags, _) = rest.split_once(',')?;
            let host = from.rsplit_once('.')?.0;
            let who = if host == server { "server" } else { "target" };
            (host == server || host == target).then(|| format!("{who} {flags}"))
        };
        text.lines().filter_map(segment).collect()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_half_open_check_is_syn_syn_ack_and_rst_and_nothing_is_accepted() {
    let name = "probes::a_half_open_check_is_syn_syn_ack_and_rst_and_nothing_is_accepted";
    if !inside(name, &["tcpdump"]) {
        return;
    }
    let (server, target) = hosts();
    let listener = target.within(|| TcpListener::bind("[::]:8080").expect("the port is free"));
    listener.set_nonblocking(true).expect("a socket");
    let Some(capture) = Capture::start(&target) else {
        return not_run(name, "tcpdump cannot run where nobody is root");
    };
    let check = "kind = \"tcp-half-open\"\nport = 8080\ninterval = \"24h\"\ntimeout = \"30s\"";
    let server = Server::start(&server, check, &[]);
    server.until_both("up", "ok");
    let probes = server.probes().expect("they were sent");
    assert!(probes.iter().all(|probe| probe["kind"] == "tcp-half-open"), "{probes:?}");
    let expected = ["server [S]", "target [S.]", "server [R]"];
    for of in ["IP", "IP6"] {
        until(&format!("three packets of {of}"), || capture.segments(of).len() >= 3);
        assert_eq!(capture.segments(of), expected, "{of}");
    }
    // The program behind the port has nothing to accept, and its kernel holds nothing half open.
    let accepted = listener.accept().map_err(|error| error.kind());
    assert!(matches!(accepted, Err(io::ErrorKind::WouldBlock)), "{accepted:?}");
    let table = target.within(|| {
        ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"]
            .map(|path| std::fs::read_to_string(path).expect("the kernel's table"))
            .concat()
    });
    const SYN_RECEIVED: &str = " 03 ";
    assert!(table.contains(":1F90 ") && !table.contains(SYN_RECEIVED), "{table}");
}

#[test]
fn a_half_open_check_follows_a_port_that_closes_and_a_host_that_is_gone() {
    let name = "probes::a_half_open_check_follows_a_port_that_closes_and_a_host_that_is_gone";
    if !inside(name, &[]) {
        return;
    }
    let (server, target) = hosts();
    let listen = || target.within(|| TcpListener::bind("[::]:8080").expect("the port is free"));
    let listener = listen();
    let check = "kind = \"tcp-half-open\"\nport = 8080\ninterval = \"300ms\"\n\
                 timeout = \"200ms\"\nrise = 1\nfall = 2";
    let server = Server::start(&server, check, &[]);
    server.until_both("up", "ok");
    drop(listener);
    server.until_both("down", "connection refused");
    let _listener = listen();
    server.until_both("up", "ok");
    target.connect(false);
    server.until_both("down", "");
    target.connect(true);
    server.until_both("up", "ok");
}

#[test]
fn icmp_needs_a_raw_socket_or_the_group_and_half_open_a_raw_socket_and_both_say_so() {
    let name =
        "probes::icmp_needs_a_raw_socket_or_the_group_and_half_open_a_raw_socket_and_both_say_so";
    if !inside(name, &["setpriv"]) {
        return;
    }
    let check = |kind: &str| {
        format!(
            "kind = \"{kind}\"\ninterval = \"300ms\"\ntimeout = \"200ms\"\nrise = 1\nfall = 2\n"
        )
    };
    let (server, target) = hosts();
    {
        // A new network lets no group have a ping socket: this one is raw.
        let privileged = Server::start(&server, &check("icmp"), &[]);
        privileged.until_both("up", "ok");
        target.connect(false);
        privileged.until_both("down", "");
        target.connect(true);
    }
    let unprivileged = ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw"];
    {
        let half_open = check("tcp-half-open") + "port = 8080";
        let cannot = Server::start(&server, &half_open, &unprivileged);
        cannot.until_both("unknown", "could not be probed: half-open checks are not permitted");
    }
    let by_group = Server::start(&server, &check("icmp"), &unprivileged);
    by_group.until_both("unknown", "could not be probed: ICMP is not permitted");
    let mut allow = server.command("sh");
    allow.args(["-c", "echo 0 0 > /proc/sys/net/ipv4/ping_group_range"]);
    assert!(allow.status().expect("sh runs").success());
    by_group.until_both("up", "ok");
}

#[test]
fn the_programs_of_exec_checks_end_with_the_server() {
    let zone = |command: &str| {
        format!(
            "origin = \"example.com.\"\nrecords = \"\"\"\n@ SOA ns1 hostmaster 1 2h 15m 2w 5m\n\
             @ NS ns1\nns1 A 198.51.100.53\n\"\"\"\n\
             [checks.c]\nkind = \"exec\"\ninterval = \"1h\"\ntimeout = \"1h\"\n\
             command = [\"/bin/sh\", \"-c\", \"{command}\"]\n\
             [pools.web]\nsteer = \"weighted\"\ncheck = \"c\"\n\
             members = [{{ datacenter = \"fra\", addresses = [\"198.51.100.7\"] }}]\n\
             [names.www]\npool = \"web\"\n"
        )
    };
    let files = crate::support::Server::files("[datacenters.fra]\n");
    let mut server = files.zone("example.com.toml", &zone("exit 0")).start();
    let id = server.path("id");
    let sleeper = format!("sleep 3600 & echo $! > {0}.new; mv {0}.new {0}; wait", id.display());
    server.write("zones/example.com.toml", &zone(&sleeper));
    server.signal("HUP");
    let id = until_some("its program runs", || std::fs::read_to_string(&id).ok());
    // Gone, or a zombie that nobody has reaped.
    let stat = Path::new("/proc").join(id.trim()).join("stat");
    let lives = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
    assert!(lives());
    server.signal("TERM");
    until("the server has ended", || !server.is_running());
    until("its program, too", || !lives());
}
