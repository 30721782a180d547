//! Datagrams through the forwarder: real resolvers' questions, and hosts of their own.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::support::namespaces::{Host, Switch, inside};
use crate::support::peers::{Peer, PeerZone};
use crate::support::server::http_get;
use crate::support::{Server, dig, needs, until};

const PORT: u16 = 7000;
/// An answer that has not come by then does not come.
const PATIENCE: Duration = Duration::from_secs(10);
/// Where answers may be lost, a client asks again after that.
const ASKS_AGAIN: Duration = Duration::from_millis(100);

#[test]
fn questions_through_the_forwarder_are_answered_by_real_servers_while_there_is_one() {
    if !needs("questions through the forwarder", &["nsd", "dig"]) {
        return;
    }
    let files = Server::files(
        "[[l4.services]]\nname = \"dns\"\nlisten = \"{net}.20:5353\"\nprotocol = \"udp\"\n\
         idle_timeout = \"5s\"\n\
         check = { kind = \"dns\", name = \"example.net\", type = \"SOA\", interval = \"1s\", \
         fast_interval = \"100ms\", timeout = \"1s\", rise = 1, fall = 2 }\n\
         backends = [{ address = \"{net}.21:5353\" }, { address = \"{net}.22:5353\" }]\n",
    );
    let net = files.addresses();
    let text = "$TTL 60\n@ SOA ns1 hostmaster 1 7200 900 1209600 300\n@ NS ns1\n\
                ns1 A 198.51.100.53\nlarge TXT ";
    // An answer that fills a datagram as large as a resolver takes.
    let text = format!("{text}{}\n", format!("\"{}\" ", "x".repeat(200)).repeat(5));
    let zone = PeerZone { origin: "example.net.", text: &text };
    let one = Peer::nsd(net.host(21), &[zone]);
    let _other = Peer::nsd(net.host(22), &[zone]);
    let server = files.start();
    let service = || server.api("/api/v1/l4")[0].clone();
    let is_up = |backend: usize| service()["backends"][backend]["up"] == true;
    until("both are up", || is_up(0) && is_up(1));

    let vip: SocketAddr = (net.host(20), 5353).into();
    let ask = || {
        assert_eq!(dig(vip, "ns1.example.net A").data("A"), ["198.51.100.53"]);
        let large = dig(vip, "large.example.net TXT +bufsize=1232 +ignore");
        assert!(large.text.contains("flags: qr aa;"), "whole: {}", large.text);
    };
    (0..10).for_each(|_| ask());
    let counted = |backend: usize| service()["backends"][backend]["connections_total"].as_u64();
    assert!(counted(0) > Some(0) && counted(1) > Some(0), "{}", service());
    drop(one);
    until("it is found dead", || !is_up(0));
    (0..10).for_each(|_| ask());
}

/// Answers each datagram with its name and the port that it came from, until it is dropped.
struct Backend {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Backend {
    fn on(host: &Host, name: u8) -> Backend {
        let ends = Arc::new(AtomicBool::new(false));
        let (over, namespace) = (Arc::clone(&ends), host.namespace());
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            namespace.enter();
            let socket = UdpSocket::bind(("0.0.0.0", PORT)).expect("the port is free");
            socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a socket");
            ready.send(()).expect("somebody waits");
            let mut packet = [0; 2048];
            while !over.load(Relaxed) {
                let Ok((_, from)) = socket.recv_from(&mut packet) else { continue };
                let [high, low] = from.port().to_be_bytes();
                let _ = socket.send_to(&[name, high, low], from);
            }
        });
        is_ready.recv().expect("it listens");
        Backend { ends, thread: Some(thread) }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.ends.store(true, Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A client that hears only the VIP that it asks.
struct Client(UdpSocket);

impl Client {
    fn on(host: &Host, vip: Ipv4Addr) -> Client {
        let socket = host.within(|| UdpSocket::bind("0.0.0.0:0").expect("a socket"));
        socket.connect((vip, PORT)).expect("there is a route");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
        Client(socket)
    }

    /// The backend's name, and the port by which it knows this client.
    fn ask(&self) -> Option<(u8, u16)> {
        self.0.send(b"?").ok()?;
        let mut answer = [0; 3];
        self.0.recv(&mut answer).ok()?;
        Some((answer[0], u16::from_be_bytes([answer[1], answer[2]])))
    }

    #[track_caller]
    fn asks_until_it_hears(&self, name: u8) {
        self.0.set_read_timeout(Some(ASKS_AGAIN)).expect("a socket");
        until("the other backend answers", || self.ask().is_some_and(|(by, _)| by == name));
    }
}

fn serve(host: &Host, directory: &Path, more: &[&str]) -> Child {
    let log = std::fs::OpenOptions::new().append(true).create(true).open(directory.join("log"));
    host.command(env!("CARGO_BIN_EXE_portolan"))
        .args(["serve", "--config"])
        .arg(directory.join("portolan.toml"))
        .args(more)
        .stdin(Stdio::null())
        .stderr(log.expect("the log can be written"))
        .spawn()
        .expect("the binary runs")
}

const CONFIGURATION: &str = r#"
[admin]
listen = "127.0.0.1:8053"
[l4]
workers = 2
[[l4.services]]
name     = "any"
listen   = "0.0.0.0:7000"
protocol = "udp"
check    = { kind = "icmp", interval = "1s", fast_interval = "100ms", timeout = "1s", rise = 1, fall = 2 }
backends = [{ address = "198.51.100.21:7000" }, { address = "198.51.100.22:7000" }]
"#;

#[test]
fn clients_of_several_vips_keep_their_backend_while_it_lives() {
    let test = "l4_datagrams::clients_of_several_vips_keep_their_backend_while_it_lives";
    if !inside(test, &[]) {
        return;
    }
    let vips = [10, 11, 12].map(|last| Ipv4Addr::new(198, 51, 100, last));
    let switch = Switch::new("switch");
    let clients = switch.host("clients", Ipv4Addr::new(198, 51, 100, 1));
    let balancer = switch.host("balancer", vips[0]);
    vips[1..].iter().for_each(|vip| balancer.ip(&format!("addr add {vip}/32 dev lo")));
    let hosts = [21, 22]
        .map(|last| switch.host(&format!("backend{last}"), Ipv4Addr::new(198, 51, 100, last)));
    let [one, mut other] =
        [(&hosts[0], b'1'), (&hosts[1], b'2')].map(|(host, name)| Some(Backend::on(host, name)));

    let directory = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(directory.path().join("portolan.toml"), CONFIGURATION).expect("a file");
    let mut old = serve(&balancer, directory.path(), &[]);
    let log = || std::fs::read_to_string(directory.path().join("log")).unwrap_or_default();
    let services = || {
        let api = || http_get(([127, 0, 0, 1], 8053).into(), "/api/v1/l4").unwrap_or_default();
        serde_json::from_str(&balancer.within(api)).unwrap_or(serde_json::Value::Null)
    };
    let is_up = |backend: usize| services()[0]["backends"][backend]["up"] == true;
    until("both are up", || is_up(0) && is_up(1));

    // A connected socket hears nobody but whom it asked.
    let held: Vec<Client> = (0..30).map(|n| Client::on(&clients, vips[n % 3])).collect();
    let known: Vec<(u8, u16)> =
        held.iter().map(|client| client.ask().expect("an answer")).collect();
    assert!([b'1', b'2'].iter().all(|name| known.iter().any(|(by, _)| by == name)), "{known:?}");
    let same = || held.iter().zip(&known).all(|(client, known)| client.ask() == Some(*known));
    assert!(same());

    // Another process takes over, and neither side notices.
    let mut new = serve(&balancer, directory.path(), &["--replace"]);
    until("the new process serves", || {
        assert!(new.try_wait().expect("a process").is_none(), "{}", log());
        old.try_wait().expect("a process").is_some()
    });
    assert!(same(), "{}", log());

    // The program of a backend ends: its host says so, and the sessions go on with the other.
    drop(other.take());
    held.iter().for_each(|client| client.asks_until_it_hears(b'1'));

    // It comes back; then the cable of the other is pulled, of which its host cannot tell.
    other = Some(Backend::on(&hosts[1], b'2'));
    hosts[0].connect(false);
    until("it is found dead", || !is_up(0));
    held.iter().for_each(|client| client.asks_until_it_hears(b'2'));
    drop((one, other));
    let _ = (new.kill(), new.wait());
}
