//! Connections survive whatever does not force their end: 2,000 of them with heartbeats, through
//! Portolan to real backends, each on a host of its own, while everything around them changes.

mod holder;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::Value;

use crate::support::namespaces::{Host, Switch, inside};
use crate::support::server::http_get;
use crate::support::until;
use holder::{Cause, Count, Holder};

/// Connections that are held.
const CONNECTIONS: usize = 2_000;
/// Connections that are made after something has changed.
const NEW: usize = 40;
const VIP: (Ipv4Addr, u16) = (Ipv4Addr::new(198, 51, 100, 10), 80);

/// Backends, each on a host of its own: nginx, which says its own name.
struct Backends {
    hosts: BTreeMap<&'static str, (Host, Child, tempfile::TempDir)>,
}

impl Backends {
    fn start(switch: &Switch, hosts: &[(&'static str, Ipv4Addr)]) -> Backends {
        let start = |&(name, address): &(&'static str, Ipv4Addr)| {
            let host = switch.host(name, address);
            let directory = tempfile::tempdir().expect("a temporary directory");
            let at = directory.path().display();
            let conf = format!(
                "user root; daemon off; master_process off; pid {at}/pid; error_log {at}/error.log;\n\
                 worker_rlimit_nofile 8000;\n\
                 events {{ worker_connections 4000; }}\n\
                 http {{\n access_log off; keepalive_timeout 1h; keepalive_requests 1000000;\n\
                 client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f;\n\
                 uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n\
                 server {{ listen {address}:80; return 200 \"{name}\\n\"; }}\n}}\n"
            );
            std::fs::write(directory.path().join("conf"), conf).expect("a file");
            let mut command = host.command("nginx");
            command.arg("-p").arg(directory.path()).arg("-c").arg(directory.path().join("conf"));
            let child = command.stdin(Stdio::null()).spawn().expect("nginx runs");
            (name, (host, child, directory))
        };
        Backends { hosts: hosts.iter().map(start).collect() }
    }

    /// As if its process were killed.
    fn kill(&mut self, name: &str) {
        let (_, child, _) = self.hosts.get_mut(name).expect("a backend");
        child.kill().expect("it runs");
        child.wait().expect("it ends");
    }

    /// As if its host had no power.
    fn disconnect(&mut self, name: &str) {
        self.hosts[name].0.connect(false);
    }
}

impl Drop for Backends {
    fn drop(&mut self) {
        for (_, child, _) in self.hosts.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Portolan on a host of its own.
struct Balancer {
    host: Host,
    /// The process that serves, after those that it has replaced.
    processes: Vec<Child>,
    directory: tempfile::TempDir,
}

impl Balancer {
    fn start(host: Host, backends: &[(Ipv4Addr, u32)]) -> Balancer {
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(directory.path().join("portolan.toml"), configuration(backends))
            .expect("a file");
        let processes = vec![serve(&host, directory.path(), &[])];
        let balancer = Balancer { host, processes, directory };
        balancer.until_backends("they are up", backends, |backend| backend["up"] == true);
        balancer
    }

    /// Has another process take its place.
    #[track_caller]
    fn replace(&mut self) {
        self.processes.push(serve(&self.host, self.directory.path(), &["--replace"]));
        let processes = self.processes.len();
        until("the new process serves", || {
            let ended = self.processes[processes - 1].try_wait().expect("a process");
            assert!(ended.is_none(), "it ended: {}", self.log());
            self.log().matches(" serving").count() == processes
        });
    }

    /// A verb of the command line, said on its host: what it says, and whether it went well.
    fn verb(&self, words: &str) -> (String, bool) {
        let mut command = self.host.command(env!("CARGO_BIN_EXE_portolan"));
        let config = self.directory.path().join("portolan.toml");
        let output = command.args(words.split_whitespace()).arg("--config").arg(config).output();
        let output = output.expect("the binary runs");
        let text = [output.stdout, output.stderr].concat();
        (String::from_utf8_lossy(&text).into_owned(), output.status.success())
    }

    #[track_caller]
    fn told(&self, words: &str) {
        let (said, is_done) = self.verb(words);
        assert!(is_done, "{words}: {said}");
    }

    /// Changes the file, and waits until the server goes by it.
    #[track_caller]
    fn reload(&self, backends: &[(Ipv4Addr, u32)]) {
        let at = self.directory.path();
        std::fs::write(at.join("new"), configuration(backends)).expect("a file");
        std::fs::rename(at.join("new"), at.join("portolan.toml")).expect("a file");
        self.until_backends("the file is read", backends, |_| true);
    }

    /// Waits until these are the backends, and each is as wanted.
    #[track_caller]
    fn until_backends(
        &self,
        what: &str,
        wanted: &[(Ipv4Addr, u32)],
        holds: impl Fn(&Value) -> bool,
    ) {
        let of = |backend: &(Ipv4Addr, u32)| (format!("{}:80", backend.0), u64::from(backend.1));
        let wanted: BTreeMap<String, u64> = wanted.iter().map(of).collect();
        until(what, || {
            let Some(backends) = self.backends() else { return false };
            let of = |backend: &Value| {
                Some((backend["address"].as_str()?.to_string(), backend["weight"].as_u64()?))
            };
            backends.iter().filter_map(of).collect::<BTreeMap<_, _>>() == wanted
                && backends.iter().all(&holds)
        });
    }

    /// What its API tells of the backends; none while it does not run.
    fn backends(&self) -> Option<Vec<Value>> {
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, 8053));
        let text = self.host.within(|| http_get(admin, "/api/v1/l4"))?;
        let services: Value = serde_json::from_str(&text).expect("JSON");
        services[0]["backends"].as_array().cloned()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log ---\n{}", self.log());
        }
    }
}

/// `[l4]` with one service, whose backends have these addresses and weights.
fn configuration(backends: &[(Ipv4Addr, u32)]) -> String {
    let backend = |&(address, weight): &(Ipv4Addr, u32)| {
        format!("  {{ address = \"{address}:80\", weight = {weight} }},\n")
    };
    let list: String = backends.iter().map(backend).collect();
    let (vip, port) = VIP;
    format!(
        "[admin]\nlisten = \"127.0.0.1:8053\"\n[[l4.services]]\nname = \"web\"\n\
         listen = \"{vip}:{port}\"\nbalance = \"round-robin\"\nwhen_down = \"reset\"\n\
         check = {{ kind = \"http\", path = \"/\", interval = \"1s\", timeout = \"1s\", \
         rise = 1, fall = 3 }}\nbackends = [\n{list}]\n"
    )
}

fn serve(host: &Host, directory: &Path, more: &[&str]) -> Child {
    let log = std::fs::OpenOptions::new().append(true).create(true).open(directory.join("log"));
    host.command(env!("CARGO_BIN_EXE_portolan"))
        .args(["serve", "--config"])
        .arg(directory.join("portolan.toml"))
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log.expect("the log can be written"))
        .spawn()
        .expect("the binary runs")
}

const B1: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 11);
const B2: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 12);
const B3: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 13);
const B4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 14);

/// Goes through what happens, and holds what is broken against what may be.
struct Story<'a> {
    holder: &'a Holder,
    count: Count,
}

impl Story<'_> {
    /// Every connection has had a heartbeat since, and none is broken.
    #[track_caller]
    fn nothing_broke(&mut self, when: &str) {
        let count = self.holder.settled();
        println!("{when}: {:?}, broken {:?}", count.held, count.broken);
        assert_eq!((&count.held, &count.broken), (&self.count.held, &self.count.broken), "{when}");
    }

    /// Those of that backend broke, for one of these causes, and no others.
    #[track_caller]
    fn all_broke(&mut self, name: &str, causes: &[Cause], when: &str) {
        let begin = Instant::now();
        let mut wanted = self.count.held.clone();
        let lost = wanted.remove(name).expect("it has some");
        until("they are gone", || self.holder.settled().on(name) == 0);
        let count = self.holder.settled();
        let after = begin.elapsed();
        println!("{when}: {:?}, broken {:?}, after {after:.1?}", count.held, count.broken);
        assert_eq!(count.held, wanted, "{when}");
        let new: BTreeMap<_, _> = count
            .broken
            .iter()
            .filter(|(which, _)| !self.count.broken.contains_key(which))
            .collect();
        assert_eq!(new.values().copied().sum::<usize>(), lost, "{when}: {count:?}");
        for (cause, backend) in new.keys() {
            assert!(backend == name && causes.contains(cause), "{when}: {count:?}");
        }
        self.count = count;
    }

    /// New connections come to that backend, or do not; all of them come somewhere.
    #[track_caller]
    fn new_ones(&mut self, name: &str, do_come: bool) {
        self.holder.open(NEW);
        let count = self.holder.settled();
        assert_eq!(count.broken, self.count.broken, "{count:?}");
        assert_eq!(count.all(), self.count.all() + NEW, "{count:?}");
        assert_eq!(count.on(name) > self.count.on(name), do_come, "{name}: {count:?}");
        self.count = count;
    }
}

#[test]
fn connections_break_where_something_forces_it_and_nowhere_else() {
    let test = "survival::connections_break_where_something_forces_it_and_nowhere_else";
    if !inside(test, &["nginx"]) {
        return;
    }
    allow_many_files();
    let switch = Switch::new("lan");
    let mut backends = Backends::start(&switch, &[("b1", B1), ("b2", B2), ("b3", B3), ("b4", B4)]);
    let mut balancer = Balancer::start(switch.host("lb", VIP.0), &[(B1, 1), (B2, 1), (B3, 1)]);
    let client = switch.host("client", Ipv4Addr::new(198, 51, 100, 2));
    let holder = Holder::on(&client, VIP.into());
    holder.open(CONNECTIONS);
    let first = holder.settled();
    assert_eq!(first.all(), CONNECTIONS, "{first:?}");
    assert!(first.on("b1") > CONNECTIONS / 4 && first.on("b4") == 0, "{first:?}");
    let mut story = Story { holder: &holder, count: first };

    let four = [(B1, 1), (B2, 1), (B3, 1), (B4, 1)];
    balancer.reload(&four);
    balancer.until_backends("the new one is up", &four, |backend| backend["up"] == true);
    story.nothing_broke("a backend is added");
    story.new_ones("b4", true);

    balancer.reload(&[(B1, 5), (B2, 1), (B3, 0), (B4, 2)]);
    story.nothing_broke("weights are changed");
    story.new_ones("b3", false);

    balancer.told(&format!("drain l4/web/{B2}:80 --reason maintenance"));
    story.nothing_broke("a backend is drained");
    story.new_ones("b2", false);
    balancer.told(&format!("clear l4/web/{B2}:80"));
    story.nothing_broke("it is no longer drained");
    story.new_ones("b2", true);

    balancer.reload(&[(B1, 1), (B2, 1), (B3, 1)]);
    story.nothing_broke("a backend is removed");
    story.new_ones("b4", false);

    // The same without the files.
    balancer.told(&format!("backend add web {B4}:80"));
    balancer.until_backends("it is up", &four, |backend| backend["up"] == true);
    story.nothing_broke("a backend is added at run time");
    story.new_ones("b4", true);
    balancer.told(&format!("backend weight web {B1}:80 0"));
    story.nothing_broke("a weight is changed at run time");
    story.new_ones("b1", false);
    balancer.told(&format!("backend remove web {B4}:80"));
    story.nothing_broke("a backend is removed at run time");
    story.new_ones("b4", false);
    balancer.told(&format!("clear l4/web/{B1}:80"));
    story.new_ones("b1", true);

    for round in 0..4_u32 {
        let begin = Instant::now();
        balancer.reload(&[(B1, 1 + round % 2), (B2, 1), (B3, 2 - round % 2)]);
        std::thread::sleep(Duration::from_secs(1).saturating_sub(begin.elapsed()));
    }
    story.nothing_broke("the configuration is reloaded every second");

    balancer.replace();
    story.nothing_broke("the process is replaced");
    story.new_ones("b2", true);

    backends.kill("b2");
    // The end of a connection on which a request has not been read is a reset.
    story.all_broke("b2", &[Cause::Ended, Cause::Reset], "a backend is killed");
    story.new_ones("b2", false);

    backends.disconnect("b3");
    story.all_broke("b3", &[Cause::Reset], "a backend's host is lost");
    story.new_ones("b3", false);
}

/// As many as the system lets.
fn allow_many_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("up to the hard limit");
}
