//! Servers of every kind, well and otherwise, on addresses of the test's own network.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use socket2::{Domain, Socket, Type};

use super::{Case, flapping};
use crate::support::peers::{Peer, PeerZone};
use crate::support::{Addresses, namespaces, until};

const HTTP: u16 = 8080;
const HTTP_LYING: u16 = 8081;
const HTTP_UNREADY: u16 = 8082;
const HTTP_WRONG: u16 = 8083;
const HTTP_2: u16 = 8084;
const HTTPS: u16 = 8443;
const HTTPS_ENDING: u16 = 8444;
const HTTPS_NAMESAKE: u16 = 8445;
const GRPC_TLS: u16 = 8446;
const GRPC_DEAD: u16 = 8447;
pub const TLS: u16 = 8448;
const GRPC: u16 = 2379;
const AGENT: u16 = 8054;
/// A port that is closed while all hang, and an address that nobody has then.
const DOOR: u16 = 8090;
const HOME: &str = "198.51.100.10";

/// A network in which packets are swallowed, and one to which no route leads.
const SWALLOWED: &str = "198.51.100.8";
const UNREACHABLE: &str = "198.51.100.9";

/// What is wanted of a name server, and of others not.
const GOOD: &str = "198.51.100.7";

const ZONE: &str = "@ 60 SOA ns1 hostmaster 1 7200 900 1209600 300\n@ 60 NS ns1\n\
                    ns1 60 A 198.51.100.53\nwww 60 A ";

/// All of them; they end when dropped.
pub struct Sites {
    directory: tempfile::TempDir,
    processes: Vec<Process>,
    bind: Peer,
    other_bind: Peer,
    nsd: Peer,
    /// Accepts, and says nothing.
    silent: SocketAddr,
    /// What comes to it is never read.
    silent_udp: UdpSocket,
    agent_down: SocketAddr,
    agent_babbling: SocketAddr,
    door: Option<Socket>,
}

/// A program that runs until dropped.
struct Process(Child);

impl Sites {
    /// Starts them, and waits until those that are well answer.
    pub fn start() -> Sites {
        namespaces::run(&format!("ip route add {SWALLOWED} dev lo"));
        let directory = tempfile::tempdir().expect("a temporary directory");
        write_certificates(directory.path());
        write_script(directory.path());
        let processes = vec![
            nginx(directory.path()),
            etcd(directory.path()),
            s_server(directory.path()),
            agent(),
        ];
        let zone = |address: &str| {
            let long: String =
                (0..8).map(|at| format!("long 60 TXT {at}{}\n", "-".repeat(200))).collect();
            let ready = if address == GOOD { "long 60 TXT ready\n" } else { "" };
            format!("{ZONE}{address}\n{long}{ready}")
        };
        let bind = |address: &str| {
            Peer::bind(&[PeerZone { origin: "example.net.", text: &zone(address) }], "", "")
        };
        let other = PeerZone { origin: "example.org.", text: &zone("198.51.100.7") };
        let mut sites = Sites {
            processes,
            bind: bind(GOOD),
            other_bind: bind("198.51.100.77"),
            nsd: Peer::nsd(Addresses::new().host(1), &[other]),
            silent: silent(),
            silent_udp: UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"),
            agent_down: says("down#maintenance\n"),
            agent_babbling: says("hello world\n"),
            door: None,
            directory,
        };
        for port in [HTTP, HTTPS, GRPC, TLS, AGENT] {
            let open = || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
            until(&format!("port {port} is open"), open);
        }
        sites.open();
        sites
    }

    /// What the checks of every kind say of all of them.
    pub fn cases(&self) -> Vec<Case> {
        let local = |port: u16| format!("127.0.0.1:{port}");
        let silent = self.silent.to_string();
        let silent_udp = self.silent_udp.local_addr().expect("an address").to_string();
        let (well, down) = (local(HTTP), local(9));
        let (swallowed, unreachable) = (format!("{SWALLOWED}:80"), format!("{UNREACHABLE}:80"));
        let (tls, http) = (self.tls(), self.http());
        vec![
            Case::new(
                "ping",
                "kind = \"icmp\"",
                &[(&well, ""), (&swallowed, "no answer"), (&unreachable, "unreachable")],
            ),
            Case::new(
                "tcp",
                "kind = \"tcp\"",
                &[
                    (&well, ""),
                    (&silent, ""),
                    (&local(HTTP_LYING), ""),
                    (&down, "refused"),
                    (&swallowed, "no answer"),
                ],
            ),
            Case::new(
                "half",
                "kind = \"tcp-half-open\"",
                &[
                    (&well, ""),
                    (&silent, ""),
                    (&local(HTTP_LYING), ""),
                    (&down, "refused"),
                    (&swallowed, "no answer"),
                ],
            ),
            Case::new(
                "http",
                http.clone(),
                &[
                    (&well, ""),
                    (&down, "refused"),
                    (&silent, "no answer"),
                    (&local(HTTP_LYING), "status 500"),
                    (&local(HTTP_UNREADY), "header `x-ready` is `no`, wanted `yes`"),
                    (&local(HTTP_WRONG), "the body does not match"),
                ],
            ),
            Case::new(
                "https",
                http.replace("\"http\"", "\"https\"") + "\n" + &tls,
                &[
                    (&local(HTTPS), ""),
                    (&down, "refused"),
                    (&silent, "no answer"),
                    (&well, "corrupt message"),
                    (&local(HTTPS_ENDING), "expires in 5 days, wanted at least 14"),
                    (&local(HTTPS_NAMESAKE), "not valid for name"),
                ],
            ),
            Case::new(
                "tls",
                "kind = \"tls\"\n".to_owned() + &tls,
                &[
                    (&local(TLS), ""),
                    (&down, "refused"),
                    (&silent, "no answer"),
                    (&well, "corrupt message"),
                    (&local(HTTPS_ENDING), "expires in 5 days, wanted at least 14"),
                    (&local(HTTPS_NAMESAKE), "not valid for name"),
                ],
            ),
            Case::new(
                "dns",
                DNS,
                &[
                    (&self.bind.dns().to_string(), ""),
                    (&down, "refused"),
                    (&silent_udp, "no answer"),
                    (&self.nsd.dns().to_string(), "the response code is REFUSED, wanted NOERROR"),
                    (&self.other_bind.dns().to_string(), "no A record says 198.51.100.7"),
                ],
            ),
            // The answer takes more room than a datagram has.
            Case::new(
                "dns-long",
                "kind = \"dns\"\nname = \"long.example.net\"\ntype = \"TXT\"\nanswer = \"ready\"",
                &[
                    (&self.bind.dns().to_string(), ""),
                    (&self.other_bind.dns().to_string(), "no TXT record says ready"),
                ],
            ),
            Case::new(
                "grpc",
                "kind = \"grpc\"",
                &[
                    (&local(GRPC), ""),
                    (&down, "refused"),
                    (&silent, "no answer"),
                    (&local(HTTP_2), "not of type application/grpc"),
                    (&local(GRPC_DEAD), "status 502"),
                ],
            ),
            Case::new(
                "grpc-service",
                "kind = \"grpc\"\nservice = \"shop\"",
                &[(&local(GRPC), "does not know the service `shop`")],
            ),
            Case::new(
                "grpc-tls",
                "kind = \"grpc\"\ntls = true\n".to_owned() + &tls,
                &[(&local(GRPC_TLS), ""), (&local(GRPC), "handshake eof")],
            ),
            Case::new(
                "exec",
                self.exec(),
                &[
                    ("127.0.0.1:1", ""),
                    ("127.0.0.1:2", "the disk is full"),
                    ("127.0.0.1:3", "no end"),
                ],
            ),
            Case::new(
                "agent",
                "kind = \"agent\"",
                &[
                    (&local(AGENT), ""),
                    (&down, "refused"),
                    (&silent, "no answer"),
                    (&self.agent_down.to_string(), "maintenance"),
                    (&self.agent_babbling.to_string(), "hello"),
                ],
            ),
        ]
    }

    /// Of every kind the one that is well.
    pub fn well(&self) -> Vec<Case> {
        let cases = self.cases().into_iter().map(|mut case| {
            case.targets.truncate(1);
            case
        });
        cases.filter(|case| case.targets[0].1.is_empty()).collect()
    }

    /// Of the kinds that a process that hangs does not concern, what there is only while none does.
    pub fn doors(&self) -> Vec<Case> {
        let door = format!("127.0.0.1:{DOOR}");
        vec![
            Case::new("tcp-door", "kind = \"tcp\"", &[(&door, "")]),
            Case::new("half-door", "kind = \"tcp-half-open\"", &[(&door, "")]),
            Case::new("home", "kind = \"icmp\"", &[(&format!("{HOME}:80"), "")]),
        ]
    }

    /// Of every kind that talks one that is well, behind something that lets every second probe pass.
    pub fn flapping(&self) -> Vec<Case> {
        let mut cases = self.well();
        // What takes too long for a datagram would be asked for twice.
        cases.retain(|case| !matches!(case.name, "tcp" | "half" | "ping" | "dns-long"));
        for Case { name, targets, .. } in &mut cases {
            let target = &mut targets[0].0;
            let through = |relay: fn(SocketAddr) -> SocketAddr| relay(target.parse().expect("one"));
            *target = match *name {
                // The script flaps by itself.
                "exec" => "127.0.0.1:4".into(),
                "dns" => through(flapping::queries).to_string(),
                _ => through(flapping::connections).to_string(),
            };
        }
        cases
    }

    /// All that are well hang from now on: their processes do nothing, and the doors are closed.
    pub fn hang(&mut self) {
        std::fs::write(self.hang_file(), "").expect("a file");
        self.signal("STOP");
        self.door = None;
        namespaces::run(&format!("ip address delete {HOME}/32 dev lo"));
    }

    /// They go on.
    pub fn wake(&mut self) {
        std::fs::remove_file(self.hang_file()).expect("the file is there");
        self.signal("CONT");
        self.open();
    }

    fn open(&mut self) {
        namespaces::run(&format!("ip address add {HOME}/32 dev lo"));
        let door = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        door.set_reuse_address(true).expect("an option");
        door.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, DOOR)).into()).expect("a free port");
        // Nobody is let in: they wait in line, all that come.
        door.listen(4096).expect("a socket that listens");
        self.door = Some(door);
    }

    fn signal(&self, name: &str) {
        let ids = self.processes.iter().map(|process| process.0.id()).chain([self.bind.pid()]);
        let ids = ids.map(|id| id.to_string());
        let sent = Command::new("kill").args(["-s", name]).args(ids).status().expect("kill runs");
        assert!(sent.success());
    }

    fn hang_file(&self) -> PathBuf {
        self.directory.path().join("hang")
    }

    fn http(&self) -> String {
        "kind = \"http\"\npath = \"/healthz\"\nheaders = { X-Ready = \"yes\" }\n\
         matches = '^ready\\s*$'"
            .into()
    }

    fn tls(&self) -> String {
        let ca = self.directory.path().join("ca.pem");
        format!("server_name = \"web.example.com\"\nca_file = {ca:?}\nmin_days = 14")
    }

    fn exec(&self) -> String {
        let script = self.directory.path().join("script");
        format!("kind = \"exec\"\ncommand = [\"/bin/sh\", {script:?}]")
    }
}

const DNS: &str = "kind = \"dns\"\nname = \"www.example.net\"\nanswer = \"198.51.100.7\"";

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn spawn(command: &mut Command, log: &Path) -> Process {
    let log = std::fs::File::create(log).expect("a log");
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin")).stdin(Stdio::null());
    let command = command.stdout(log.try_clone().expect("a second handle")).stderr(log);
    Process(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
}

fn nginx(at: &Path) -> Process {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|of| format!("{of}_temp_path {}/{of};\n", at.display()))
        .concat();
    let ready = "location / { add_header X-Ready yes; return 200 \"ready\\n\"; }";
    let tls = |name: &str| format!("ssl_certificate {name}.pem; ssl_certificate_key {name}.key;");
    let server = |listen: String, rest: String| {
        format!("server {{ listen 127.0.0.1:{listen}; default_type text/plain; {rest} }}\n")
    };
    let servers = [
        server(HTTP.to_string(), ready.into()),
        server(HTTP_LYING.to_string(), "return 500;".into()),
        server(HTTP_UNREADY.to_string(), ready.replace("yes", "no")),
        server(HTTP_WRONG.to_string(), ready.replace("ready", "not ready")),
        server(format!("{HTTP_2} http2"), ready.into()),
        server(format!("{HTTPS} ssl"), tls("web") + ready),
        server(format!("{HTTPS_ENDING} ssl"), tls("ending") + ready),
        server(format!("{HTTPS_NAMESAKE} ssl"), tls("namesake") + ready),
        server(
            format!("{GRPC_TLS} ssl http2"),
            tls("web") + &format!("location / {{ grpc_pass grpc://127.0.0.1:{GRPC}; }}"),
        ),
        server(format!("{GRPC_DEAD} http2"), "location / { grpc_pass grpc://127.0.0.1:9; }".into()),
    ]
    .concat();
    let conf = format!(
        "daemon off; master_process off; pid {0}/pid; error_log {0}/error.log;\n\
         events {{ }}\nhttp {{\n access_log off;\n{temporary}{servers}}}\n",
        at.display()
    );
    // As root it would be another user, who may not read what is ours.
    let conf =
        if rustix::process::geteuid().is_root() { format!("user root;\n{conf}") } else { conf };
    std::fs::write(at.join("nginx.conf"), conf).expect("a file");
    let mut command = Command::new("nginx");
    command.arg("-p").arg(at).arg("-c").arg(at.join("nginx.conf"));
    spawn(&mut command, &at.join("nginx.log"))
}

/// etcd has the standard health service.
fn etcd(at: &Path) -> Process {
    let (clients, peers) = (format!("http://127.0.0.1:{GRPC}"), "http://127.0.0.1:2380");
    let mut command = Command::new("etcd");
    command.arg("--data-dir").arg(at.join("etcd")).args(["--log-level", "error"]);
    command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
    command.args(["--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers]);
    command.args(["--initial-cluster", &format!("default={peers}")]);
    spawn(&mut command, &at.join("etcd.log"))
}

fn s_server(at: &Path) -> Process {
    let mut command = Command::new("openssl");
    command.args(["s_server", "-www", "-quiet", "-accept", &format!("127.0.0.1:{TLS}")]);
    command.arg("-cert").arg(at.join("web.pem")).arg("-key").arg(at.join("web.key"));
    spawn(&mut command, &at.join("s_server.log"))
}

fn agent() -> Process {
    let mut command = crate::support::server::portolan();
    command.args(["agent", "--listen", &format!("127.0.0.1:{AGENT}")]);
    command.args(["--cpu", "off", "--memory", "off", "--load", "off"]);
    spawn(&mut command, Path::new("/dev/null"))
}

/// It is well on port 1, says what is wrong on port 2, takes for ever on port 3, and is well every
/// second time on port 4.
fn write_script(at: &Path) {
    let script = format!(
        "[ -e {0}/hang ] && sleep 60\ncase $PORTOLAN_ADDRESS:$PORTOLAN_PORT in\n\
         127.0.0.1:1) exit 0;;\n127.0.0.1:2) echo the disk is full >&2; exit 3;;\n\
         127.0.0.1:4) rm {0}/odd 2>/dev/null && exit 1; : >{0}/odd; exit 0;;\n*) sleep 60;;\nesac\n",
        at.display()
    );
    std::fs::write(at.join("script"), script).expect("a file");
}

/// An authority, and its certificates for the server, for that same one but soon over, and for
/// another.
fn write_certificates(at: &Path) {
    let write = |name: &str, text: String| std::fs::write(at.join(name), text).expect("a file");
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
    write("ca.pem", issuer.pem());
    for (name, host, days) in [
        ("web", "web.example.com", 90),
        ("ending", "web.example.com", 5),
        ("namesake", "mail.example.com", 90),
    ] {
        let mut params = CertificateParams::new([host.into()]).expect("a name");
        let now = std::time::SystemTime::now();
        let now = now.duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        let hour = Duration::from_secs(3600);
        let day = |at: Duration| rcgen::date_time_ymd(1970, 1, 1) + at;
        (params.not_before, params.not_after) =
            (day(now - hour), day(now + hour * (24 * days + 12)));
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        write(&format!("{name}.pem"), certificate.pem());
        write(&format!("{name}.key"), key.serialize_pem());
    }
}

/// Accepts, and says nothing for as long as the test runs.
fn silent() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || listener.incoming().flatten().collect::<Vec<_>>());
    address
}

/// Says that to everybody, for as long as the test runs.
fn says(text: &'static str) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(text.as_bytes());
        }
    });
    address
}
