//! Networks of a test's own: the test runs again in namespaces in which it may do what root may.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::needs;
use super::needs::not_run;

/// Set in the process in which a test runs again.
const INSIDE: &str = "PORTOLAN_TEST_INSIDE";

/// True inside: the test may go on. Outside it is run again in namespaces of its own, its output and
/// its outcome are passed on, and there is nothing left to do. `test` is its path, as in
/// `survival::a_backend_is_killed`.
///
/// # Panics
///
/// If it fails inside.
#[track_caller]
pub fn inside(test: &str, programs: &[&str]) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        prepare();
        return true;
    }
    let programs = [programs, &["ip", "unshare", "mount"]].concat();
    if !needs(test, &programs) {
        return false;
    }
    let mut unshare = vec!["--net", "--mount", "--pid", "--fork", "--kill-child"];
    if !rustix::process::geteuid().is_root() {
        // Nobody needs to be root where the system allows it.
        unshare.push("--map-root-user");
    }
    let can_be = Command::new("unshare").args(&unshare).arg("true").output();
    if !can_be.is_ok_and(|output| output.status.success()) {
        not_run(test, "no network namespace can be made");
        return false;
    }
    let status = Command::new("unshare")
        .args(&unshare)
        .arg(std::env::current_exe().expect("the test's own binary"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .status()
        .expect("unshare runs");
    assert!(status.success(), "{test} fails in its namespaces, see above");
    false
}

/// `/run` and `/proc` of our own, for `ip netns` and for who looks up processes.
fn prepare() {
    run("mount -t tmpfs tmpfs /run");
    run("mount -t proc proc /proc");
    run("ip link set lo up");
}

/// Runs a command.
///
/// # Panics
///
/// If it fails.
#[track_caller]
pub fn run(command: &str) {
    let mut words = command.split_whitespace();
    let program = words.next().expect("a program");
    let output = Command::new(program).args(words).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command}: {error}"));
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A switch to which hosts are connected, in the namespace of the process.
pub struct Switch {
    name: &'static str,
}

/// A host with a network stack of its own; removed when dropped.
pub struct Host {
    name: String,
}

/// The network of a host.
pub struct Namespace(File);

impl Namespace {
    /// Moves the thread that calls this there: so are the sockets that it makes from then on.
    pub fn enter(&self) {
        move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("a thread may move");
    }
}

impl Switch {
    pub fn new(name: &'static str) -> Switch {
        run(&format!("ip link add {name} type bridge"));
        run(&format!("ip link set {name} up"));
        Switch { name }
    }

    /// Connects a new host with that address, of a /24, and none but the switch beyond.
    pub fn host(&self, name: &str, address: Ipv4Addr) -> Host {
        run(&format!("ip netns add {name}"));
        run(&format!("ip link add {name} type veth peer name eth0 netns {name}"));
        run(&format!("ip link set {name} master {} up", self.name));
        let host = Host { name: name.into() };
        host.ip(&format!("addr add {address}/24 dev eth0"));
        host.ip("link set lo up");
        host.ip("link set eth0 up");
        host
    }
}

impl Host {
    /// `ip` in the host's network.
    pub fn ip(&self, arguments: &str) {
        run(&format!("ip -n {} {arguments}", self.name));
    }

    /// A command that runs on this host.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program.as_ref());
        command
    }

    /// Its network, for a thread to enter.
    pub fn namespace(&self) -> Namespace {
        let file = File::open(Path::new("/run/netns").join(&self.name));
        Namespace(file.expect("the namespace is there"))
    }

    /// Does something in its network.
    pub fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let namespace = self.namespace();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                namespace.enter();
                act()
            });
            thread.join().expect("no panic")
        })
    }

    /// Pulls the cable, or puts it back.
    pub fn connect(&self, is_connected: bool) {
        let state = if is_connected { "up" } else { "down" };
        run(&format!("ip link set {} {state}", self.name));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).output();
    }
}
