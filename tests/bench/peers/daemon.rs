//! A running server, and the datacenters that it watches.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{Peer, Setting, ask, gdnsd, powerdns};

/// How long a server may take to start, or to notice a change.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is asked whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Why a server gave no answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// This program is not installed.
    NotInstalled(&'static str),
    /// It runs, or should, and does not answer as it must.
    Mute(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NotInstalled(program) => write!(f, "not run: {program} is not installed"),
            Failure::Mute(what) => write!(f, "not run: {what}"),
        }
    }
}

impl std::error::Error for Failure {}

/// How a server learns which datacenters are up.
pub(super) enum Watch {
    /// It reads a file.
    File(std::path::PathBuf),
    /// It connects to this port of each datacenter's address; there is a listener where one is up.
    Port(u16, Vec<Option<TcpListener>>),
}

/// A server's files, and how it is started.
pub(super) struct Ready {
    pub(super) program: &'static str,
    pub(super) arguments: Vec<String>,
    pub(super) watch: Watch,
}

/// A running server; stopped when dropped.
pub(super) struct Daemon {
    child: Child,
    directory: tempfile::TempDir,
    dns: SocketAddr,
    watch: Watch,
    /// The datacenters' addresses.
    sites: Vec<Ipv4Addr>,
}

impl Daemon {
    /// Starts it and waits until it has seen all datacenters up.
    pub(super) fn start(peer: Peer, setting: &Setting) -> Result<Daemon, Failure> {
        let directory = tempfile::tempdir().map_err(cannot("a temporary directory"))?;
        let dns = free_port(setting.host(254)).map_err(cannot("a free port"))?;
        std::fs::write(directory.path().join("city.mmdb"), setting.database())
            .map_err(cannot("the database"))?;
        let prepare = match peer {
            Peer::GdnsdGeoip | Peer::GdnsdWeighted => gdnsd::prepare,
            Peer::PowerdnsClosest | Peer::PowerdnsHashed | Peer::PowerdnsRandom => {
                powerdns::prepare
            }
        };
        let ready = prepare(setting, directory.path(), dns).map_err(cannot("its files"))?;
        let child = spawn(&ready, directory.path())?;
        let sites = (0..setting.sites.len()).map(|site| setting.address(site)).collect();
        let mut daemon = Daemon { child, directory, dns, watch: ready.watch, sites };
        daemon.wait_for(&[])?;
        Ok(daemon)
    }

    /// Where it answers.
    pub(super) fn dns(&self) -> SocketAddr {
        self.dns
    }

    /// Takes these datacenters down and all others up, and waits until the server has noticed.
    pub(super) fn set_down(&mut self, down: &[usize]) -> Result<(), Failure> {
        match &mut self.watch {
            Watch::File(file) => {
                let text = gdnsd::states(&self.sites, down);
                std::fs::write(file, text).map_err(cannot("the file of states"))?;
            }
            Watch::Port(port, listeners) => {
                for (site, listener) in listeners.iter_mut().enumerate() {
                    if down.contains(&site) {
                        *listener = None;
                    } else if listener.is_none() {
                        *listener = Some(listen(self.sites[site], *port)?);
                    }
                }
            }
        }
        self.wait_for(down)
    }

    /// Waits until the server says that all are up but these.
    fn wait_for(&mut self, down: &[usize]) -> Result<(), Failure> {
        let begin = Instant::now();
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(Failure::Mute(format!("{status}: {}", self.last_words())));
            }
            if self.sees_down(down) {
                return Ok(());
            }
            if begin.elapsed() > PATIENCE {
                let what = format!("it does not see that {down:?} are down: {}", self.last_words());
                return Err(Failure::Mute(what));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// True if the server now says that all are up but these.
    pub(super) fn sees_down(&self, down: &[usize]) -> bool {
        if let Watch::Port(_, listeners) = &self.watch {
            listeners.iter().flatten().for_each(hang_up);
        }
        let up = self.sites.iter().enumerate().filter(|(site, _)| !down.contains(site));
        let mut up: Vec<Ipv4Addr> = up.map(|(_, address)| *address).collect();
        up.sort_unstable();
        ask::all_addresses(self.dns, "live").is_some_and(|live| live == up)
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Asked to end, it also ends the processes it has started.
        if kill_process(Pid::from_child(&self.child), Signal::TERM).is_err() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

fn spawn(ready: &Ready, directory: &Path) -> Result<Child, Failure> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let is_there = |directory: &str| Path::new(directory).join(ready.program).is_file();
    if !path.split(':').any(is_there) {
        return Err(Failure::NotInstalled(ready.program));
    }
    let log = std::fs::File::create(directory.join("log")).map_err(cannot("a log"))?;
    let second = log.try_clone().map_err(cannot("a log"))?;
    Command::new(ready.program)
        .args(&ready.arguments)
        .env("PATH", path)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(second)
        .spawn()
        .map_err(cannot(ready.program))
}

/// A port of that address that is free for both UDP and TCP.
pub(super) fn free_port(address: Ipv4Addr) -> std::io::Result<SocketAddr> {
    let udp = UdpSocket::bind((address, 0))?;
    let free = udp.local_addr()?;
    TcpListener::bind(free)?;
    Ok(free)
}

pub(super) fn listen(address: Ipv4Addr, port: u16) -> Result<TcpListener, Failure> {
    let listener = TcpListener::bind((address, port)).map_err(cannot("a datacenter's port"))?;
    listener.set_nonblocking(true).map_err(cannot("a datacenter's port"))?;
    Ok(listener)
}

/// Takes the connections that wait: a check wants no more than to be connected.
fn hang_up(listener: &TcpListener) {
    while listener.accept().is_ok() {}
}

fn cannot(what: &str) -> impl Fn(std::io::Error) -> Failure {
    move |error| Failure::Mute(format!("{what}: {error}"))
}
