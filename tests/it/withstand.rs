//! What goes wrong around a server and what strangers send it: it says what is wrong, and keeps
//! serving what it knew.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use hickory_proto::op::Message;
use socket2::{Domain, Protocol, Socket, Type};

use crate::support::asker::{framed, over_tcp, over_udp, query, read_framed};
use crate::support::backend::Manner;
use crate::support::needs::not_run;
use crate::support::{Backend, Server, database, dig, needs, until};

const ZONE: &str = r#"
origin  = "example.com."
records = """
@    SOA   ns1 hostmaster 1 2h 15m 2w 5m
@    NS    ns1
ns1  A     198.51.100.53
www  A     198.51.100.80
"""
"#;

const OTHER_ZONE: &str = r#"
origin  = "example.org."
records = """
@    SOA   ns1 hostmaster 1 2h 15m 2w 5m
@    NS    ns1
ns1  A     198.51.100.53
www  A     198.51.100.81
"""
"#;

/// A name that is steered between two datacenters, of which one is in Germany.
const STEERED: &str = r#"
[pools.web]
steer   = "nearest"
members = [
  { datacenter = "fra", addresses = ["203.0.113.1"] },
  { datacenter = "iad", addresses = ["203.0.113.2"] },
]
[names.near]
pool = "web"
"#;

const DATACENTERS: &str = r#"
[datacenters.fra]
location = { country = "DE" }
[datacenters.iad]
location = { country = "US" }
"#;

/// The status of the answer for `www` in a zone.
fn served(server: &Server, origin: &str) -> String {
    dig(server.dns(), &format!("www.{origin} A")).status
}

/// What is wrong with the files, as the status says it.
fn last_error(server: &Server) -> Option<String> {
    server.api("/api/v1/status")["load"]["last_error"].as_str().map(String::from)
}

#[track_caller]
fn until_error(server: &Server, part: &str) {
    until(&format!("the status says {part}"), || {
        last_error(server).is_some_and(|error| error.contains(part))
    });
}

#[track_caller]
fn until_well(server: &Server) {
    until("all is well", || last_error(server).is_none());
}

#[test]
fn a_zone_whose_file_is_deleted_is_served_until_a_signal_confirms() {
    if !needs("deleted zone file", &["dig"]) {
        return;
    }
    let server = Server::files("")
        .zone("example.com.toml", ZONE)
        .zone("example.org.toml", OTHER_ZONE)
        .start();
    let file = server.path("zones/example.org.toml");
    fs::remove_file(&file).expect("removed");
    until_error(&server, "example.org.");
    assert_eq!(served(&server, "example.org"), "NOERROR");
    let (said, _) = server.verb(&["status"]);
    assert!(said.contains("SIGHUP"), "{said}");
    // It comes back by itself.
    server.write("zones/example.org.toml", OTHER_ZONE);
    until_well(&server);
    // Deleted by accident, and then on purpose.
    fs::remove_file(&file).expect("removed");
    until_error(&server, "example.org.");
    server.signal("HUP");
    until("the zone is gone", || served(&server, "example.org") == "REFUSED");
    until_well(&server);
    assert_eq!(served(&server, "example.com"), "NOERROR");

    // The whole directory is moved away, and comes back.
    fs::rename(server.path("zones"), server.path("away")).expect("moved");
    until_error(&server, "zones");
    assert_eq!(served(&server, "example.com"), "NOERROR");
    fs::rename(server.path("away"), server.path("zones")).expect("moved back");
    until_well(&server);
    server.write("zones/example.org.toml", OTHER_ZONE);
    until("the zone is back", || served(&server, "example.org") == "NOERROR");
    // The server's own file is deleted.
    let toml = fs::read_to_string(server.path("portolan.toml")).expect("read");
    fs::remove_file(server.path("portolan.toml")).expect("removed");
    until_error(&server, "portolan.toml");
    server.signal("HUP");
    assert_eq!(served(&server, "example.com"), "NOERROR");
    server.write("portolan.toml", &toml);
    until_well(&server);
}

#[test]
fn a_half_written_file_is_not_served() {
    if !needs("half-written file", &["dig"]) {
        return;
    }
    let zone = format!("{ZONE}{STEERED}");
    let server = Server::files(DATACENTERS).zone("example.com.toml", &zone).start();
    let path = server.path("zones/example.com.toml");
    // Every piece that ends in the middle of the records, and some others.
    for length in [0, 5, 20, 60, 120, zone.len() / 2, zone.len() - 30] {
        fs::write(&path, &zone[..length]).expect("written");
        until_error(&server, "example.com.toml");
        assert_eq!(served(&server, "example.com"), "NOERROR", "{length} bytes");
        fs::write(&path, &zone).expect("written");
        until_well(&server);
    }
    // What an editor or a broken disk may leave.
    fs::write(&path, zone.replace("198.51.100.80", "198.51.100.80\0\u{1}")).expect("written");
    until_error(&server, "example.com.toml");
    fs::write(&path, [zone.as_bytes(), &[0xff, 0xfe, 0x80]].concat()).expect("written");
    until_error(&server, "UTF-8");
    fs::remove_file(&path).expect("removed");
    fs::create_dir(&path).expect("created");
    until_error(&server, "directory");
    assert_eq!(served(&server, "example.com"), "NOERROR");
    fs::remove_dir(&path).expect("removed");
    server.write("zones/example.com.toml", &zone);
    until_well(&server);
}

#[test]
fn a_database_that_is_cut_or_gone_leaves_the_old_map() {
    if !needs("cut database", &["dig"]) {
        return;
    }
    let files = Server::files(&format!("{DATACENTERS}[geoip]\ndatabases = [\"countries.mmdb\"]\n"));
    let good = database::countries(&[("198.51.100.0/24", "US"), ("203.0.113.0/24", "DE")]);
    fs::write(files.path("countries.mmdb"), &good).expect("written");
    let server = files.zone("example.com.toml", &format!("{ZONE}{STEERED}")).start();
    let american = || dig(server.dns(), "near.example.com A +subnet=198.51.100.0/24").address();
    assert_eq!(american(), "203.0.113.2");
    let path = server.path("countries.mmdb");
    for length in [0, 1, good.len() / 4, good.len() / 2, good.len() - 40, good.len() - 1] {
        fs::write(&path, &good[..length]).expect("written");
        until_error(&server, "countries.mmdb");
        assert_eq!(american(), "203.0.113.2", "{length} of {} bytes", good.len());
        fs::write(&path, &good).expect("written");
        until_well(&server);
    }
    fs::write(&path, vec![b'x'; 100_000]).expect("written");
    until_error(&server, "countries.mmdb");
    fs::remove_file(&path).expect("removed");
    until_error(&server, "cannot read");
    assert_eq!(american(), "203.0.113.2");
    fs::write(&path, database::countries(&[("198.51.100.0/24", "DE")])).expect("written");
    until("the new map is used", || american() == "203.0.113.1");
    until_well(&server);
}

#[test]
fn targets_that_accept_and_say_nothing_are_down_and_hold_nothing_up() {
    if !needs("silent targets", &["dig"]) {
        return;
    }
    let files = Server::files(&DATACENTERS.replace(
        "{ country = \"DE\" }",
        "{ country = \"DE\" }\n\
         report = { url = \"http://{net}.13:8080/\" }",
    ));
    let net = files.addresses();
    let _silent = Backend::that_is((net.host(11), 8080), Manner::Silent);
    let babbling = Backend::that_is((net.host(12), 8080), Manner::Babbles);
    let report = Backend::that_is((net.host(13), 8080), Manner::Silent);
    let zone = format!(
        r#"{ZONE}
[checks.http]
kind     = "http"
port     = 8080
interval = "500ms"
timeout  = "500ms"
rise     = 1
[pools.web]
steer    = "failover"
check    = "http"
when_all_down = "no-data"
members  = [
  {{ datacenter = "fra", addresses = ["{}"] }},
  {{ datacenter = "iad", addresses = ["{}"] }},
]
[names.near]
pool = "web"
"#,
        net.host(11),
        net.host(12)
    );
    // That it starts is the first half of the test.
    let server = files.zone("example.com.toml", &zone).start();
    assert!(report.asked() > 0);
    let addresses = || dig(server.dns(), "near.example.com A").data("A");
    assert!(addresses().is_empty());
    assert_eq!(served(&server, "example.com"), "NOERROR");
    babbling.behave(Manner::default());
    until("the one that speaks is used", || addresses() == [net.host(12).to_string()]);
    let status = server.api("/api/v1/status");
    let said = status["probes"][0]["last_result"].as_str().unwrap_or_default().to_string();
    assert!(said.contains("no answer within"), "{said}");
}

/// A generator of numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize
    }

    fn below(&mut self, limit: usize) -> usize {
        self.next() % limit
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// Bytes at random, or a query with something wrong in it.
    fn garbage(&mut self) -> Vec<u8> {
        if self.below(4) == 0 {
            let length = self.below(300);
            return self.bytes(length);
        }
        let mut packet = self.query();
        for _ in 0..=self.below(4) {
            let at = self.below(packet.len().max(1));
            match self.below(6) {
                0 => packet.truncate(at),
                1 => packet.extend(self.bytes(1 + at)),
                2 if !packet.is_empty() => drop(packet.remove(at)),
                3 if !packet.is_empty() => packet.insert(at, self.next() as u8),
                // A pointer, perhaps to itself.
                4 if !packet.is_empty() => {
                    let pointer = [0xc0, self.below(packet.len()) as u8];
                    packet.splice(at..at, pointer);
                }
                _ if !packet.is_empty() => packet[at] ^= 1 << self.below(8),
                _ => {}
            }
        }
        packet
    }

    /// A query that is good, of some kind.
    fn query(&mut self) -> Vec<u8> {
        let names =
            ["www.example.com.", "near.example.com.", "none.example.com.", "example.net.", "."];
        let mut packet = query(names[self.below(names.len())], self.next() as u16);
        let length = packet.len();
        packet[length - 3] = [1, 2, 6, 28, 250, 252, 255][self.below(7)];
        if self.below(2) == 0 {
            packet[11] = 1;
            packet.extend([0, 0, 41, 4, 208, 0, 0, 0, 0]);
            match self.below(3) {
                0 => packet.extend([0, 0]),
                _ => packet.extend([0, 11, 0, 8, 0, 7, 0, 1, 24, 0, 198, 51, 100]),
            }
        }
        packet
    }
}

/// How many messages were received by each transport, and what became of them.
fn counted(server: &Server) -> (u64, u64, u64) {
    let dns = server.api("/api/v1/status")["dns"].clone();
    let by = |transport: &str| dns["received_by"][transport].as_u64().expect("a count");
    let outcomes = dns["outcomes"].as_object().expect("outcomes");
    let outcomes = outcomes.values().map(|count| count.as_u64().expect("a count")).sum();
    assert_eq!(
        dns["received"].as_u64(),
        Some(outcomes),
        "every message ends in one outcome: {dns}"
    );
    (by("udp"), by("tcp"), outcomes)
}

#[test]
fn a_hundred_thousand_garbage_packets_harm_nobody() {
    let mut server =
        Server::files(DATACENTERS).zone("example.com.toml", &format!("{ZONE}{STEERED}")).start();
    const PACKETS: usize = 100_000;
    /// After so many, an answer is waited for, so that the kernel need not drop any.
    const BURST: usize = 200;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    socket.connect(server.dns()).expect("a loopback address");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("not zero");
    let mut numbers = Numbers(0x5eed_0f9a_11ad_beef);
    let good = query("www.example.com.", 0);
    let (mut buffer, mut marks) = ([0; 65535], 0u64);
    for packet in 0..PACKETS {
        socket.send(&numbers.garbage()).expect("sent");
        if packet % BURST < BURST - 1 {
            continue;
        }
        // The ID marks the end of the burst; garbage with the same ID is not answered so.
        let mark = [&(marks as u16).to_be_bytes(), &good[2..]].concat();
        socket.send(&mark).expect("sent");
        marks += 1;
        loop {
            let length = socket.recv(&mut buffer).expect("an answer after garbage");
            let answer = &buffer[..length];
            assert!(length <= 1232 && answer[2] & 0x80 != 0, "{answer:?}");
            let parsed = Message::from_vec(answer);
            let parsed = parsed.unwrap_or_else(|error| panic!("{error}: {answer:?}"));
            if answer[..2] == mark[..2]
                && parsed.answers.len() == 1
                && answer[12..] == *rest_of_answer(&good, &parsed)
            {
                break;
            }
        }
    }
    assert!(server.is_running());
    let (udp, _, all) = counted(&server);
    assert_eq!((udp, all), (PACKETS as u64 + marks, PACKETS as u64 + marks));

    // Over TCP, whole frames of garbage; whatever has an ID and is no response is answered.
    let mut stream = TcpStream::connect(server.dns()).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("not zero");
    for _ in 0..20 {
        let frames: Vec<u8> = (0..100).flat_map(|_| framed(&numbers.garbage())).collect();
        stream.write_all(&frames).expect("taken");
        stream.write_all(&framed(&good)).expect("taken");
        while read_framed(&mut stream).expect("an answer")[..2] != [0, 0] {}
    }
    until("all of it is counted", || {
        let (_, tcp, all) = counted(&server);
        (tcp, all) == (2020, udp + 2020)
    });
    assert!(!server.log().contains("panic"), "{}", server.log());
}

/// The question and the rest of the answer to `good`, as it must be.
fn rest_of_answer(good: &[u8], parsed: &Message) -> Vec<u8> {
    let mut whole = good[12..].to_vec();
    assert_eq!(parsed.answers[0].to_string(), "www.example.com. 300 IN A 198.51.100.80");
    whole.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 198, 51, 100, 80]);
    whole
}

/// A UDP header and its payload; a checksum of 0 is none.
fn datagram(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len()) as u16;
    let header = [from, to, length, 0].map(u16::to_be_bytes).concat();
    [header, payload.to_vec()].concat()
}

#[test]
fn a_datagram_from_port_0_or_from_ourselves_gets_no_reply() {
    let raw = match Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP)) {
        Ok(raw) => raw,
        Err(error) => return not_run("datagrams from port 0", &format!("no raw socket: {error}")),
    };
    let server = Server::files("").zone("example.com.toml", ZONE).start();
    // The datagrams come from the server's own address.
    raw.bind(&SocketAddr::new(server.dns().ip(), 0).into()).expect("a loopback address");
    let to = server.dns();
    let dropped = || {
        let dns = server.api("/api/v1/status")["dns"].clone();
        let count = |name: &str| dns["outcomes"][name].as_u64().expect("a count");
        (count("dropped_source"), dns["received"].as_u64().expect("a count"))
    };
    let query = query("www.example.com.", 1);
    let mut response = query.clone();
    response[2] |= 0x80;
    for (number, (from, payload)) in
        [(0, &query), (to.port(), &query), (to.port(), &response)].into_iter().enumerate()
    {
        raw.send_to(&datagram(from, to.port(), payload), &to.into()).expect("sent");
        let number = number as u64 + 1;
        until("it is counted", || dropped().0 == number);
    }
    assert_eq!(over_udp(to, &query).expect("an answer").len(), query.len() + 16);
    // None of them went to and fro.
    assert_eq!(dropped(), (3, 4));
}

/// A TCP connection from a loopback address of one's choice.
fn connect(from: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.connect_timeout(&to.into(), Duration::from_secs(5))?;
    Ok(socket.into())
}

#[test]
fn a_thousand_idle_connections_keep_nobody_out() {
    let server = Server::files("").zone("example.com.toml", ZONE).start();
    let net = server.addresses();
    let query = query("www.example.com.", 1);
    let mut idle = Vec::new();
    for number in 0..1200u32 {
        // Half of them from one address, the others from many.
        let from = if number % 2 == 0 { 100 } else { 101 + (number / 2 % 100) as u8 };
        match connect(net.host(from), server.dns()) {
            Ok(stream) => idle.push(stream),
            Err(error) if error.raw_os_error() == Some(24) => {
                return not_run("a thousand idle connections", "too few open files are allowed");
            }
            Err(error) => panic!("connection {number}: {error}"),
        }
        // Those who ask are answered all the while.
        if number % 100 == 99 {
            over_tcp(server.dns(), &query).expect("an answer beside idle connections");
        }
    }
    let begin = Instant::now();
    over_tcp(server.dns(), &query).expect("an answer beside idle connections");
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    over_udp(server.dns(), &query).expect("an answer over UDP");
    // The API, too; it has fewer places, as strangers have no business there.
    let api: Vec<_> = (0..200).map(|_| TcpStream::connect(server.admin())).collect();
    assert_eq!(server.call("GET", "/healthz", "").0, 200, "beside {} connections", api.len());
}

#[test]
fn without_descriptors_for_more_connections_what_is_open_goes_on() {
    if !needs("too many open files", &["prlimit"]) {
        return;
    }
    let server = Server::files("").zone("example.com.toml", ZONE).start();
    let net = server.addresses();
    let query = query("www.example.com.", 1);
    let open = fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("listed").count();
    let limit = format!("--nofile={0}:{0}", open + 20);
    let prlimit = std::process::Command::new("prlimit")
        .args([&format!("--pid={}", server.pid()), &limit])
        .status();
    assert!(prlimit.expect("prlimit runs").success());
    let mut first = connect(net.host(50), server.dns()).expect("connected");
    first.set_read_timeout(Some(Duration::from_secs(10))).expect("not zero");
    let mut ask = || first.write_all(&framed(&query)).and_then(|()| read_framed(&mut first));
    ask().expect("an answer");
    let crowd: Vec<_> = (0..60)
        .map(|n| connect(net.host(60 + n), server.dns()).expect("in the kernel's queue"))
        .collect();
    over_udp(server.dns(), &query).expect("an answer over UDP");
    drop(crowd);
    until("new connections are taken again", || over_tcp(server.dns(), &query).is_ok());
    assert_eq!(server.call("GET", "/healthz", "").0, 200);
}

#[test]
fn messages_that_come_in_pieces_or_not_to_their_end_are_borne() {
    /// So long nobody would be let drip.
    const LONG: Duration = Duration::from_secs(60);
    let server = Server::files("").zone("example.com.toml", ZONE).start();
    let query = query("www.example.com.", 1);
    let open = || {
        let stream = TcpStream::connect(server.dns()).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("not zero");
        stream.set_nodelay(true).expect("set");
        stream
    };
    // A byte at a time is a query, too.
    let mut pieces = open();
    for byte in framed(&query) {
        pieces.write_all(&[byte]).expect("taken");
    }
    assert_eq!(read_framed(&mut pieces).expect("an answer").len(), query.len() + 16);
    // One whose end never comes: the client goes, or closes its side.
    for cut in [1, 2, 3, 14, query.len()] {
        let mut stream = open();
        stream.write_all(&framed(&query)[..cut]).expect("taken");
        stream.shutdown(std::net::Shutdown::Write).expect("shut down");
        assert_eq!(stream.read(&mut [0; 10]).expect("closed"), 0, "{cut} bytes");
    }
    // A frame of nothing before a good one.
    let mut stream = open();
    stream.write_all(&[&[0, 0][..], &framed(&query)].concat()).expect("taken");
    let answer = read_framed(&mut stream).expect("an answer to the good one");
    assert_eq!(answer[..2], query[..2]);
    // Somebody who sends a byte now and then is let go in the end, and others are served meanwhile.
    let mut slow = open();
    let mut dripping = slow.try_clone().expect("cloned");
    let drip = std::thread::spawn(move || {
        let begin = Instant::now();
        while begin.elapsed() < LONG && dripping.write_all(&[2]).is_ok() {
            std::thread::sleep(Duration::from_millis(300));
        }
        begin.elapsed()
    });
    over_tcp(server.dns(), &query).expect("an answer meanwhile");
    assert!(matches!(slow.read(&mut [0; 10]), Ok(0) | Err(_)));
    drop(slow);
    assert!(drip.join().expect("dripped") < LONG, "nobody lets it go");
}

#[test]
fn one_query_has_one_answer() {
    let server = Server::files("").zone("example.com.toml", ZONE).start();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    socket.connect(server.dns()).expect("a loopback address");
    for id in 0..50 {
        socket.send(&query("www.example.com.", id)).expect("sent");
    }
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("not zero");
    for answer in 0..50 {
        socket.recv(&mut [0; 2000]).unwrap_or_else(|error| panic!("after {answer}: {error}"));
    }
    socket.set_read_timeout(Some(Duration::from_millis(700))).expect("not zero");
    assert!(socket.recv(&mut [0; 2000]).is_err(), "an answer too many");
}

#[test]
fn a_server_that_waits_for_new_checks_can_be_stopped() {
    let files = Server::files(DATACENTERS);
    let silent = Backend::that_is((files.addresses().host(9), 8080), Manner::Silent);
    let mut server = files.zone("example.com.toml", ZONE).start();
    let check =
        "[checks.web]\nkind = \"http\"\nport = 8080\ninterval = \"90s\"\ntimeout = \"90s\"\n";
    let pool = "[pools.web]\nsteer = \"failover\"\ncheck = \"web\"\n\
                members = [{ datacenter = \"fra\", addresses = [\"{net}.9\"] }]\n\
                [names.near]\npool = \"web\"\n";
    server.write("zones/example.com.toml", &format!("{ZONE}{check}{pool}"));
    until("the new target is checked", || silent.asked() > 0);
    let told = Instant::now();
    server.signal("TERM");
    until("the server has ended", || !server.is_running());
    assert!(told.elapsed() < Duration::from_secs(45), "it waited for the check: {}", server.log());
}

#[test]
fn a_server_that_was_killed_starts_again_at_once() {
    let mut server = Server::files(DATACENTERS).zone("example.com.toml", ZONE).start();
    let query = query("www.example.com.", 1);
    for _ in 0..3 {
        // With connections open, whose ends the kernel keeps for a while.
        let mut stream = TcpStream::connect(server.dns()).expect("connected");
        stream.write_all(&framed(&query)).expect("taken");
        read_framed(&mut stream).expect("an answer");
        server.kill();
        server.restart();
        over_udp(server.dns(), &query).expect("an answer over UDP");
        over_tcp(server.dns(), &query).expect("an answer over TCP");
    }
    // One that was killed in the middle of writing the overrides left half a file beside it.
    fs::write(server.path("overrides.json.new"), "{\"version\": 1, \"overr").expect("written");
    assert_eq!(server.verb(&["drain", "datacenter/fra"]).1, 0);
    server.kill();
    server.restart();
    assert_eq!(server.api("/api/v1/overrides").as_array().map(Vec::len), Some(1));
    assert!(server.log().contains("an override from before this start is in force"));
    // And one whose file was destroyed starts without, and says so.
    fs::write(server.path("overrides.json"), "{\"version\": 1, \"overr").expect("written");
    server.kill();
    server.restart();
    assert_eq!(server.api("/api/v1/overrides").as_array().map(Vec::len), Some(0));
    assert!(server.log().contains("overrides.json.bad"), "{}", server.log());
}

#[test]
fn on_a_full_disk_overrides_hold_and_their_loss_is_foretold() {
    if !needs("full disk", &["dig"]) {
        return;
    }
    let mut server =
        Server::files(DATACENTERS).zone("example.com.toml", &format!("{ZONE}{STEERED}")).start();
    let address = |server: &Server| dig(server.dns(), "near.example.com A").address();
    assert_eq!(server.verb(&["drain", "datacenter/fra"]).1, 0);
    assert_eq!(address(&server), "203.0.113.2");
    // Whoever writes the new file finds no space left.
    let fill = |server: &Server| {
        let new = server.path("overrides.json.new");
        std::os::unix::fs::symlink("/dev/full", new).expect("linked");
    };
    fill(&server);
    let (said, code) = server.verb(&["clear", "datacenter/fra"]);
    assert!(code == 0 && said.contains("restart"), "{code}: {said}");
    assert_eq!(address(&server), "203.0.113.1", "it holds all the same");
    server.kill();
    server.restart();
    assert_eq!(address(&server), "203.0.113.2", "what was written before is whole");
    fill(&server);
    let (said, code) = server.verb(&["force", "datacenter/iad", "down", "--json"]);
    assert!(code == 0 && said.contains("warning") && said.contains("space"), "{code}: {said}");
    // There is space again: the next change is kept.
    let (said, code) = server.verb(&["clear", "datacenter/fra"]);
    assert!(code == 0 && !said.contains("restart"), "{said}");
    server.kill();
    server.restart();
    assert_eq!(address(&server), "203.0.113.1");
    assert_eq!(server.api("/api/v1/overrides").as_array().map(Vec::len), Some(1));
}

#[test]
fn a_server_that_is_told_to_stop_stops_whoever_is_connected() {
    let files = Server::files(
        "[[l4.services]]\nname = \"web\"\nlisten = \"{net}.11:8080\"\n\
         backends = [{ address = \"{net}.12:9000\" }]\n",
    );
    let net = files.addresses();
    let _silent = Backend::that_is((net.host(12), 9000), Manner::Silent);
    let mut server = files.zone("example.com.toml", ZONE).start();
    // Idle, in the middle of a message, listening to events, and through the forwarder.
    let _idle = TcpStream::connect(server.dns()).expect("connected");
    let mut half = TcpStream::connect(server.dns()).expect("connected");
    half.write_all(&[0, 40, 1]).expect("taken");
    let mut events = TcpStream::connect(server.admin()).expect("connected");
    events.write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("taken");
    events.read_exact(&mut [0; 12]).expect("an answer");
    let mut through = TcpStream::connect((net.host(11), 8080)).expect("connected");
    through.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("taken");
    let begin = Instant::now();
    server.signal("TERM");
    until("it ends", || !server.is_running());
    assert!(begin.elapsed() < Duration::from_secs(40), "{:?}", begin.elapsed());
    assert!(server.log().contains("stopping"));
}

#[test]
fn colours_stay_out_of_what_is_no_terminal() {
    let server = Server::files(DATACENTERS).zone("example.com.toml", ZONE).start();
    assert!(server.log().contains("INFO"), "{}", server.log());
    let (checked, _) = server.verb(&["check"]);
    for text in [server.log(), checked] {
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
}
