//! A server of the test's own: its files in a temporary directory, its addresses its own.

use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{Addresses, until};

/// The port of the DNS on a test's first address.
pub const DNS_PORT: u16 = 5353;
/// The port of the admin page on a test's first address.
pub const ADMIN_PORT: u16 = 8053;
/// Who does not answer an HTTP request by then does not answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server; stopped when dropped.
pub struct Server {
    child: Child,
    directory: tempfile::TempDir,
    addresses: Addresses,
    /// What its processes find in the environment.
    environment: Vec<(String, String)>,
}

/// A server's files, before it starts.
pub struct Files {
    directory: tempfile::TempDir,
    addresses: Addresses,
}

impl Server {
    /// Files with `[dns]` and `[admin]` at the test's own addresses, `rest` of `portolan.toml`, and
    /// no zones yet. In `rest`, `{net}` stands for the first three octets of the test's addresses.
    pub fn files(rest: &str) -> Files {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let addresses = Addresses::new();
        let host = addresses.host(1);
        let server = format!(
            "[dns]\nlisten = [\"{host}:{DNS_PORT}\"]\nzones = \"zones\"\n\
             [admin]\nlisten = \"{host}:{ADMIN_PORT}\"\n{rest}"
        );
        let files = Files { directory, addresses };
        std::fs::create_dir(files.path("zones")).expect("the zones directory");
        files.write("portolan.toml", &server);
        files
    }

    /// The address of the DNS.
    pub fn dns(&self) -> SocketAddr {
        (self.addresses.host(1), DNS_PORT).into()
    }

    /// The address of the admin page.
    pub fn admin(&self) -> SocketAddr {
        (self.addresses.host(1), ADMIN_PORT).into()
    }

    /// The test's own addresses.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// A file of the server's.
    pub fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    /// Writes a file of the server's, as an editor would: whole, and then renamed into place.
    pub fn write(&self, file: &str, text: &str) {
        write(self.directory.path(), file, &text.replace("{net}", &net(self.addresses)));
    }

    /// Runs a verb of the command line against this server, and returns what it printed and its
    /// exit code.
    pub fn verb(&self, arguments: &[&str]) -> (String, i32) {
        let config = self.path("portolan.toml");
        let output = portolan()
            .args(arguments)
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .output()
            .expect("the binary runs");
        let text = [output.stdout, output.stderr].concat();
        (String::from_utf8_lossy(&text).into_owned(), output.status.code().unwrap_or(-1))
    }

    /// `GET` of an admin path, as JSON.
    pub fn api(&self, path: &str) -> serde_json::Value {
        let body = http_get(self.admin(), path).expect("the admin API answers");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
    }

    /// Calls the admin API, and returns the status and the body of the answer.
    pub fn call(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let answered = http(self.admin(), method, path, body);
        answered.unwrap_or_else(|| panic!("{method} {path} is not answered: {}", self.log()))
    }

    /// Sends a signal (`HUP`, `KILL`…).
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().expect("kill runs");
        assert!(sent.success());
    }

    /// True while the process runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The process's number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Starts another process that shall take over from this one.
    pub fn successor(&self) -> Child {
        let mut command = self.serve();
        command.arg("--replace").spawn().expect("the binary runs")
    }

    /// Replaces the process, and returns the old one, which may have connections left.
    pub fn replace(&mut self) -> Child {
        let done = "handed over";
        let before = self.log().matches(done).count();
        let mut successor = self.successor();
        until("another process has taken over", || {
            if let Ok(Some(status)) = successor.try_wait() {
                panic!("it ended with {status}: {}", self.log());
            }
            self.log().matches(done).count() > before
        });
        std::mem::replace(&mut self.child, successor)
    }

    /// `serve`, with its environment and its files.
    pub fn serve(&self) -> Command {
        let mut command = serve_by(portolan(), self.directory.path());
        command.envs(self.environment.iter().cloned());
        command
    }

    /// Kills it without warning.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again from the same files, after it was killed.
    pub fn restart(&mut self) {
        self.child = self.serve().spawn().expect("the binary runs");
        self.wait_until_ready();
    }

    fn wait_until_ready(&mut self) {
        let admin = self.admin();
        until("the server is ready", || {
            if !self.is_running() {
                panic!("the server ended: {}", self.log());
            }
            http_get(admin, "/healthz").is_some()
        });
    }
}

impl Files {
    /// One of the files.
    pub fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    /// The test's own addresses.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Adds a file; `{net}` stands for the first three octets of the test's addresses.
    pub fn write(&self, file: &str, text: &str) -> &Files {
        write(self.directory.path(), file, &text.replace("{net}", &net(self.addresses)));
        self
    }

    /// Adds a zone file.
    pub fn zone(self, file: &str, text: &str) -> Files {
        self.write(&format!("zones/{file}"), text);
        self
    }

    /// Replaces `old` by `new` in a file.
    pub fn replacing(self, file: &str, old: &str, new: &str) -> Files {
        let text = std::fs::read_to_string(self.path(file)).expect("the file");
        self.write(file, &text.replacen(old, new, 1));
        self
    }

    /// Starts the server, and waits until it answers.
    pub fn start(self) -> Server {
        self.start_by(portolan(), &[])
    }

    /// The same, but the server may have no more than so many descriptors.
    pub fn start_with_descriptors(self, most: u64) -> Server {
        let mut limited = Command::new("prlimit");
        limited.arg(format!("--nofile={most}")).arg(portolan().get_program());
        self.start_by(limited, &[])
    }

    /// The same, and the server and those that replace it find this in the environment.
    pub fn start_in(self, environment: &[(&str, &str)]) -> Server {
        self.start_by(portolan(), environment)
    }

    fn start_by(self, program: Command, environment: &[(&str, &str)]) -> Server {
        let mut command = serve_by(program, self.directory.path());
        let child = command.envs(environment.iter().copied()).spawn().expect("the binary runs");
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let environment = environment.iter().map(own).collect();
        let Files { directory, addresses } = self;
        let mut server = Server { child, directory, addresses, environment };
        server.wait_until_ready();
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the server ---\n{}", self.log());
        }
    }
}

/// The binary under test.
pub fn portolan() -> Command {
    Command::new(env!("CARGO_BIN_EXE_portolan"))
}

fn serve_by(mut command: Command, directory: &Path) -> Command {
    let log = std::fs::OpenOptions::new().append(true).create(true).open(directory.join("log"));
    command
        .arg("serve")
        .arg("--config")
        .arg(directory.join("portolan.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log.expect("the log can be written"));
    command
}

fn net(addresses: Addresses) -> String {
    let octets = addresses.host(0).octets();
    format!("{}.{}.{}", octets[0], octets[1], octets[2])
}

fn write(directory: &Path, file: &str, text: &str) {
    let path = directory.join(file);
    let new = directory.join(".being-written");
    std::fs::write(&new, text).expect("the file can be written");
    std::fs::rename(&new, path).expect("the file can be put in place");
}

/// `GET`, for tests that wait; none unless the status is 200.
pub fn http_get(address: SocketAddr, path: &str) -> Option<String> {
    http(address, "GET", path, "").filter(|(status, _)| *status == 200).map(|(_, body)| body)
}

/// The status and the body of an HTTP answer; none without one. A body that is sent is JSON.
pub fn http(address: SocketAddr, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    use std::io::Write;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let host = IpAddr::to_string(&address.ip());
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    if !body.is_empty() {
        let length = body.len();
        request += &format!("Content-Type: application/json\r\nContent-Length: {length}\r\n");
    }
    write!(stream, "{request}\r\n{body}").ok()?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response).ok()?;
    let response = String::from_utf8_lossy(&response);
    let (head, body) = response.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    match head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        true => Some((status, unchunked(body))),
        false => Some((status, body.to_string())),
    }
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let Ok(length) = usize::from_str_radix(length.trim(), 16) else { break };
        if length == 0 || rest.len() < length {
            break;
        }
        whole.push_str(&rest[..length]);
        body = rest[length..].trim_start_matches("\r\n");
    }
    whole
}
