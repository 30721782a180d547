//! Under a supervisor that speaks systemd's notify protocol (sd_notify(3)), for which a socket of the
//! test's own stands.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::support::server::http_get;
use crate::support::{Server, until};

/// What the supervisor is told next.
fn told(socket: &UnixDatagram) -> String {
    let mut message = [0; 4096];
    let length = socket.recv(&mut message).expect("a message");
    String::from_utf8(message[..length].to_vec()).expect("text")
}

/// Reads on to a message that begins like that; what else is said is of reloads.
fn until_told(socket: &UnixDatagram, beginning: &str) -> String {
    loop {
        let said = told(socket);
        if said.starts_with(beginning) {
            return said;
        }
        let is_of_reload = said.starts_with("RELOADING=1\n") || said.starts_with("READY=1\n");
        assert!(is_of_reload, "{said} before {beginning}");
    }
}

fn microseconds() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000
}

fn tells_it(socket: &UnixDatagram, name: &str) {
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket option");
    let before = microseconds();
    let mut server = Server::files("").start_in(&[("NOTIFY_SOCKET", name)]);
    assert_eq!(told(socket), "READY=1\nSTATUS=serving");

    server.signal("HUP");
    let said = told(socket);
    let at = said.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").map(str::parse);
    let at: u64 = at.expect("a reload").expect("a number");
    assert!((before..=microseconds()).contains(&at), "{at}");
    assert_eq!(told(socket), "READY=1\nSTATUS=serving");

    server.write("zones/bad.toml", "origin = 7");
    until_told(socket, "RELOADING=1\n");
    let said = until_told(socket, "READY=1\nSTATUS=the old facts serve on: ");
    assert!(said.contains("bad.toml"), "{said}");
    std::fs::remove_file(server.path("zones/bad.toml")).expect("it was there");
    until_told(socket, "READY=1\nSTATUS=serving");

    let mut old = server.replace();
    until_told(socket, &format!("MAINPID={}", server.pid()));
    until_told(socket, "READY=1\nSTATUS=serving");
    until("the old process ends", || old.try_wait().expect("a child").is_some());

    server.signal("TERM");
    until_told(socket, "STOPPING=1");
    until("it stops", || !server.is_running());
}

#[test]
fn the_supervisor_is_told_of_the_start_reloads_the_next_process_and_the_end() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a path of the test's");
    tells_it(&socket, path.to_str().expect("text"));
}

#[test]
fn the_supervisor_may_listen_at_a_name_that_is_in_no_file_system() {
    let name = format!("portolan-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a short name");
    let socket = UnixDatagram::bind_addr(&address).expect("a name of the test's");
    tells_it(&socket, &format!("@{name}"));
}

#[test]
fn a_detached_replacement_comes_back_when_it_serves_or_with_its_error() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a path of the test's");
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket option");
    let name = path.to_str().expect("text");
    let mut server = Server::files("").start_in(&[("NOTIFY_SOCKET", name)]);
    let _detached = Detached(server.path("portolan.toml"));
    let replaced = |server: &Server| -> ExitStatus {
        let mut command = server.serve();
        command.args(["--replace", "--detach"]).status().expect("the binary runs")
    };
    assert!(replaced(&server).success());
    let said = until_told(&socket, "MAINPID=");
    assert_ne!(said, format!("MAINPID={}", server.pid()));
    until("the old process ends", || !server.is_running());
    until("the new one answers", || http_get(server.admin(), "/healthz").is_some());

    server.write("portolan.toml", "nonsense = 1");
    assert_eq!(replaced(&server).code(), Some(1));
    assert!(server.log().contains("nonsense"), "{}", server.log());
    until("the detached one serves on", || http_get(server.admin(), "/healthz").is_some());
}

/// Servers of this file that are nobody's children; they are killed at the end.
struct Detached(PathBuf);

impl Drop for Detached {
    fn drop(&mut self) {
        for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            if line.split(|byte| *byte == 0).any(|word| word == self.0.as_os_str().as_bytes()) {
                let pid = process.file_name();
                let mut kill = Command::new("kill");
                let _ = kill.args(["-s", "KILL"]).arg(pid).stderr(Stdio::null()).status();
            }
        }
    }
}
