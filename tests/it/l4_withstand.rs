//! What strangers and backends can do to the forwarder: what it takes is bounded, and nobody else
//! notices.

use std::collections::HashSet;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread::sleep;
use std::time::{Duration, Instant};

use portolan::datagram::{Envelope, Inbox, Outbox, Wait, receive_destinations};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use socket2::SockRef;

use crate::support::asker::{over_udp, query};
use crate::support::server::http_get;
use crate::support::{Addresses, Server, until};

/// An answer that takes longer is a harm.
const PATIENCE: Duration = Duration::from_secs(20);
const MEGABYTE: u64 = 1 << 20;

/// A service at `{net}.LAST:7000`, carried by one thread together with all others, and its backend at
/// the same address and port 7001.
fn service(name: &str, last: u8, more: &str) -> String {
    format!(
        "[[l4.services]]\nname = \"{name}\"\nlisten = \"{{net}}.{last}:7000\"\n\
         backends = [{{ address = \"{{net}}.{last}:7001\" }}]\n{more}\n"
    )
}

fn vip(net: Addresses, last: u8) -> SocketAddr {
    (net.host(last), 7000).into()
}

/// A backend at such an address: each connection is given to `serve`, in a thread of its own.
fn backend(net: Addresses, last: u8, serve: fn(TcpStream) -> std::io::Result<()>) {
    let listener = TcpListener::bind((net.host(last), 7001)).expect("the address is free");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
}

fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            length => stream.write_all(&buffer[..length])?,
        }
    }
}

/// Somebody else's connection, which must go on as if nothing happened.
struct Other(TcpStream);

impl Other {
    #[track_caller]
    fn at(vip: SocketAddr) -> Other {
        let stream = TcpStream::connect_timeout(&vip, PATIENCE).expect("others can connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let mut other = Other(stream);
        other.is_well();
        other
    }

    /// Asks, and is answered.
    #[track_caller]
    fn is_well(&mut self) {
        let begin = Instant::now();
        self.0.write_all(b"ping").expect("others can write");
        let mut answer = [0; 4];
        let read = self.0.read_exact(&mut answer);
        assert!(read.is_ok() && answer == *b"ping", "{read:?} after {:?}", begin.elapsed());
    }
}

/// What a process takes.
struct Taken<'a>(&'a Server);

impl Taken<'_> {
    /// Bytes of memory.
    fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kilobytes * 1024
    }

    fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.0.pid())).expect("it runs").count()
    }

    /// Seconds of processor time.
    fn time(&self) -> f64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0.pid())).expect("it runs");
        let nanoseconds = tasks.flatten().map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            text.split(' ').next().and_then(|word| word.parse::<u64>().ok()).unwrap_or_default()
        });
        nanoseconds.sum::<u64>() as f64 / 1e9
    }
}

/// How many flows the API tells of a service.
fn flows(server: &Server, name: &str) -> u64 {
    let services = server.api("/api/v1/l4");
    let services = services.as_array().expect("services");
    let service = services.iter().find(|service| service["name"] == name).expect("the service");
    service["connections"].as_u64().expect("a number")
}

#[test]
fn who_reads_nothing_holds_up_nobody_else_and_takes_no_more_than_the_kernels_buffers() {
    let text = format!("[l4]\nworkers = 1\n{}{}", service("deaf", 11, ""), service("well", 12, ""));
    let files = Server::files(&text);
    let net = files.addresses();
    backend(net, 11, |stream| {
        sleep(Duration::from_secs(600));
        drop(stream);
        Ok(())
    });
    backend(net, 12, echo);
    let server = files.start();
    let mut other = Other::at(vip(net, 12));
    let before = Taken(&server).memory();

    // Ten clients send whatever is taken, until nothing is for a while.
    let mut clients: Vec<TcpStream> = (0..10)
        .map(|_| {
            let stream = TcpStream::connect(vip(net, 11)).expect("a connection");
            stream.set_nonblocking(true).expect("a socket");
            stream
        })
        .collect();
    let piece = vec![b'x'; 256 * 1024];
    let (mut taken, mut latest) = (0, Instant::now());
    while latest.elapsed() < Duration::from_millis(500) {
        for client in &mut clients {
            match client.write(&piece) {
                Ok(length) => (taken, latest) = (taken + length, Instant::now()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
        }
        other.is_well();
        assert!(taken < 1 << 30, "somebody takes all of it");
    }
    let memory = Taken(&server).memory().saturating_sub(before);
    assert!(memory < 16 * MEGABYTE, "{memory} bytes for {taken} that nobody reads");
    until("it rests while nothing can move", || {
        let begin = Taken(&server).time();
        sleep(Duration::from_millis(500));
        Taken(&server).time() - begin < 0.2
    });
    other.is_well();
    // Who gives up is let go, whatever has not been read.
    for client in clients {
        SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("a socket");
    }
    until("they are gone", || flows(&server, "deaf") == 0);
}

#[test]
fn backends_that_send_for_ever_are_carried_beside_others() {
    let text = format!("[l4]\nworkers = 1\n{}{}", service("loud", 11, ""), service("well", 12, ""));
    let files = Server::files(&text);
    let net = files.addresses();
    backend(net, 11, |mut stream| {
        let piece = vec![b'x'; 256 * 1024];
        loop {
            stream.write_all(&piece)?;
        }
    });
    backend(net, 12, echo);
    let server = files.start();
    let mut other = Other::at(vip(net, 12));
    let before = Taken(&server).memory();

    // Four clients read all they get, and four others nothing at all.
    let connect = || TcpStream::connect(vip(net, 11)).expect("a connection");
    let mut readers: Vec<TcpStream> = (0..4).map(|_| connect()).collect();
    let idle: Vec<TcpStream> = (0..4).map(|_| connect()).collect();
    readers.iter().for_each(|reader| reader.set_nonblocking(true).expect("a socket"));
    let mut buffer = vec![0; 256 * 1024];
    let mut read = [0_u64; 4];
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(1) || read.iter().any(|read| *read < 8 * MEGABYTE) {
        for (reader, total) in readers.iter_mut().zip(&mut read) {
            match reader.read(&mut buffer) {
                Ok(0) => panic!("it ends"),
                Ok(length) => *total += length as u64,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
        }
        other.is_well();
        assert!(begin.elapsed() < Duration::from_secs(120), "{read:?} bytes in two minutes");
    }
    let memory = Taken(&server).memory().saturating_sub(before);
    assert!(memory < 16 * MEGABYTE, "{memory} bytes for {read:?} that went through");
    drop((readers, idle));
    until("they are gone", || flows(&server, "loud") == 0);
}

#[test]
fn clients_of_a_byte_a_second_are_carried_byte_by_byte_and_cost_next_to_nothing() {
    let text = format!("[l4]\nworkers = 1\n{}", service("well", 12, "idle_timeout = \"5s\""));
    let files = Server::files(&text);
    let net = files.addresses();
    backend(net, 12, echo);
    let server = files.start();
    let mut other = Other::at(vip(net, 12));
    let before = (Taken(&server).memory(), Taken(&server).time());
    let mut slow: Vec<TcpStream> = (0..200)
        .map(|_| {
            let stream = TcpStream::connect(vip(net, 12)).expect("a connection");
            stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
            stream
        })
        .collect();
    // Longer than it would take an idle connection to be ended.
    for second in 0..6_u8 {
        let begin = Instant::now();
        for stream in &mut slow {
            stream.write_all(&[second]).expect("a byte goes");
        }
        for stream in &mut slow {
            let mut answer = [0];
            stream.read_exact(&mut answer).expect("and comes back");
            assert_eq!(answer, [second]);
        }
        other.is_well();
        sleep(Duration::from_secs(1).saturating_sub(begin.elapsed()));
    }
    assert_eq!(flows(&server, "well"), 201);
    let (memory, time) = (Taken(&server).memory(), Taken(&server).time());
    assert!(memory.saturating_sub(before.0) < 4 * MEGABYTE, "{} to {memory} bytes", before.0);
    assert!(time - before.1 < 3.0, "{} s of processor time", time - before.1);
}

#[test]
fn who_does_not_come_to_the_point_is_sent_away_before_a_backend_hears_of_it() {
    let more = "accept_proxy = [\"127.0.0.0/8\"]\nhello_timeout = \"3s\"";
    let text =
        format!("[l4]\nworkers = 1\n{}{}", service("proxied", 11, more), service("well", 12, ""));
    let files = Server::files(&text);
    let net = files.addresses();
    backend(net, 11, echo);
    backend(net, 12, echo);
    let server = files.start();
    let mut other = Other::at(vip(net, 12));
    let header = b"PROXY TCP4 198.51.100.1 203.0.113.10 40000 443\r\n";
    let mut honest = TcpStream::connect(vip(net, 11)).expect("a connection");
    honest.set_read_timeout(Some(PATIENCE)).expect("a socket");
    honest.write_all(header).expect("sent");
    let mut honest = Other(honest);
    honest.is_well();

    // A byte now and then of a header that would be good, and that takes long: if each byte gave it
    // more time, it would come to its end. What never becomes one. Nothing at all.
    let mut long = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
    let filling: u16 = 2000;
    long.extend((12 + 3 + filling).to_be_bytes());
    long.extend([198, 51, 100, 1, 203, 0, 113, 10, 0x9c, 0x40, 0x01, 0xbb, 0x04]);
    long.extend(filling.to_be_bytes());
    long.resize(long.len() + usize::from(filling), 0);
    let connect = || {
        let stream = TcpStream::connect(vip(net, 11)).expect("a connection");
        stream.set_nonblocking(true).expect("a socket");
        stream
    };
    let mut clients: Vec<(usize, TcpStream)> = (0..90).map(|n| (n % 3, connect())).collect();
    let mut bytes = long.chunks(1).cycle();
    until("they are sent away", || {
        let byte = bytes.next().expect("a cycle");
        clients.retain_mut(|(manner, stream)| {
            let is_sent = match manner {
                0 => stream.write(byte),
                1 => stream.write(&[b'P'; 4096]),
                _ => Ok(0),
            };
            let is_cut = |error: &std::io::Error| error.kind() != ErrorKind::WouldBlock;
            !is_sent.as_ref().is_err_and(is_cut)
                && stream.read(&mut [0]).as_ref().is_err_and(|error| !is_cut(error))
        });
        other.is_well();
        honest.is_well();
        clients.is_empty()
    });
    until("they are forgotten", || flows(&server, "proxied") == 1);
    let services = server.api("/api/v1/l4");
    let backend = &services[0]["backends"][0];
    assert_eq!(
        (&services[0]["name"], &backend["connections_total"]),
        (&"proxied".into(), &1.into())
    );
}

#[test]
fn without_descriptors_nothing_new_is_carried_and_everything_else_goes_on() {
    let text = format!("[l4]\nworkers = 1\n{}", service("well", 12, ""));
    let files = Server::files(&text);
    let net = files.addresses();
    backend(net, 12, echo);
    let server = files.start();
    let mut others: Vec<Other> = (0..10).map(|_| Other::at(vip(net, 12))).collect();
    // As many as there are, and some forty connections.
    let most = Taken(&server).descriptors() as u64 + 80;
    let limit = Rlimit { current: Some(most), maximum: Some(most) };
    let pid = Pid::from_raw(server.pid() as i32).expect("a process");
    prlimit(Some(pid), Resource::Nofile, limit).expect("a lower limit");

    let mut crowd: Vec<TcpStream> =
        (0..200).map(|_| TcpStream::connect(vip(net, 12)).expect("the kernel accepts")).collect();
    until("there are no more", || Taken(&server).descriptors() as u64 + 2 >= most);
    let begin = Taken(&server).time();
    let lasts = Instant::now();
    while lasts.elapsed() < Duration::from_secs(1) {
        others.iter_mut().for_each(Other::is_well);
        over_udp(server.dns(), &query("www.example.com", 7)).expect("the DNS answers");
        sleep(Duration::from_millis(50));
    }
    let (spent, lasted) = (Taken(&server).time() - begin, lasts.elapsed().as_secs_f64());
    assert!(spent < 0.5 * lasted, "{spent} s of processor time in {lasted} s with nothing to do");
    // Those that were carried before are; when they go, others are again.
    crowd.drain(..).for_each(drop);
    until("there is room again", || {
        let stream = TcpStream::connect_timeout(&vip(net, 12), PATIENCE);
        let Ok(mut stream) = stream else { return false };
        let _ = stream.set_read_timeout(Some(Duration::from_millis(300)));
        let mut answer = [0];
        stream.write_all(b"!").is_ok() && stream.read_exact(&mut answer).is_ok()
    });
    others.iter_mut().for_each(Other::is_well);
}

/// Descriptors of a server that has few.
const FEW: u64 = 480;

#[test]
fn datagrams_and_connections_together_leave_descriptors_to_everything_else() {
    let services = service("udp", 12, "protocol = \"udp\"") + &service("tcp", 13, "");
    let files = Server::files(&format!("[l4]\nworkers = 1\n{services}"));
    let net = files.addresses();
    udp_echo((net.host(12), 7001).into());
    backend(net, 13, echo);
    let server = files.start_with_descriptors(FEW);
    // Those of what is carried, and a few for those who ask here.
    let most = Taken(&server).descriptors() as u64 + FEW - FEW / 8 + 4;
    // Whose datagrams they are, nobody has asked: half of all descriptors are theirs.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket");
    let mut outbox = Outbox::new(1);
    until("as many as may be have a session", || {
        for client in 0..FEW as u32 {
            let from = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 33, 0, 0)) + client);
            let envelope = Envelope::to(vip(net, 12), Some(from.into()));
            let _ = outbox.send(&socket, [(Some(&envelope), &b"?"[..])].into_iter());
        }
        flows(&server, "udp") == FEW / 2
    });
    let crowd: Vec<TcpStream> = (0..FEW / 4 + 10)
        .map(|_| TcpStream::connect(vip(net, 13)).expect("the kernel accepts"))
        .collect();
    until("there are as many as may be", || Taken(&server).descriptors() as u64 > FEW - FEW / 8);
    for _ in 0..20 {
        assert!(http_get(server.admin(), "/healthz").is_some(), "nobody is heard");
        let descriptors = Taken(&server).descriptors() as u64;
        assert!(descriptors <= most, "{descriptors} descriptors, and not {most}");
        sleep(Duration::from_millis(20));
    }
    assert!(crowd.len() as u64 > flows(&server, "tcp"));
}

/// UDP clients.
const CLIENTS: u32 = 100_000;
/// Sessions at a time.
const SESSIONS: u64 = 2_000;
/// Datagrams under way: fewer than fill a socket's default buffer.
const WINDOW: usize = 64;

/// Sends back what comes, for as long as the test runs.
fn udp_echo(address: SocketAddr) {
    let socket = UdpSocket::bind(address).expect("the address is free");
    std::thread::spawn(move || {
        let mut inbox = Inbox::new((0..WINDOW).map(|_| [0; 64]));
        let mut outbox = Outbox::new(WINDOW);
        loop {
            let Ok(received) = inbox.receive(&socket, 0, WINDOW, Wait::ForOne) else { continue };
            let slots = &inbox.slots()[..received];
            let replies = slots.iter().map(|slot| (Some(&slot.envelope), slot.packet()));
            let _ = outbox.send(&socket, replies);
        }
    });
}

#[test]
fn a_hundred_thousand_udp_clients_are_answered_and_no_more_are_kept_than_may_be() {
    let more = format!("protocol = \"udp\"\nmax_connections = {SESSIONS}\nidle_timeout = \"10m\"");
    let files = Server::files(&format!("[l4]\nworkers = 1\n{}", service("udp", 12, &more)));
    let net = files.addresses();
    udp_echo((net.host(12), 7001).into());
    let server = files.start();
    let vip = vip(net, 12);
    let steady = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    steady.connect(vip).expect("an address");
    steady.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let before = Taken(&server).memory();

    // One socket with many addresses: as many clients.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(1))).expect("a socket");
    receive_destinations(&socket, false).expect("an option");
    let mut inbox = Inbox::new((0..WINDOW).map(|_| [0; 64]));
    let mut outbox = Outbox::new(WINDOW);
    let mut missing: HashSet<u32> = (0..CLIENTS).collect();
    let mut answers = 0;
    let mut most = 0;
    let begin = Instant::now();
    for round in 0..3 {
        let clients: Vec<u32> = missing.iter().copied().collect();
        for (number, some) in clients.chunks(WINDOW).enumerate() {
            let datagrams: Vec<(Envelope, [u8; 4])> = some
                .iter()
                .map(|client| {
                    let from = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 32, 0, 0)) + client);
                    (Envelope::to(vip, Some(from.into())), client.to_be_bytes())
                })
                .collect();
            let sent = datagrams.iter().map(|(envelope, client)| (Some(envelope), &client[..]));
            outbox.send(&socket, sent).expect("the kernel takes them");
            let mut open = some.len();
            while open > 0 {
                let received = inbox.receive(&socket, 0, WINDOW, Wait::ForOne).expect("a socket");
                if received == 0 {
                    break;
                }
                open = open.saturating_sub(received);
                answers += received;
                for slot in &inbox.slots()[..received] {
                    let client = slot.packet().try_into().map(u32::from_be_bytes);
                    missing.remove(&client.expect("what was sent"));
                }
            }
            if number % 32 == 0 {
                // Who speaks all the time keeps its session.
                steady.send(b"ping").expect("sent");
                assert!(matches!(steady.recv(&mut [0; 16]), Ok(4)), "round {round}, {number}");
                most = most.max(flows(&server, "udp"));
            }
        }
    }
    let took = begin.elapsed();
    println!("{answers} answers in {took:.1?}, {} without, {most} sessions", missing.len());
    // A machine that is too busy may lose some.
    assert!(missing.len() < CLIENTS as usize / 1000, "{} have no answer", missing.len());
    assert!((SESSIONS / 2..=SESSIONS).contains(&most), "{most} sessions");
    let descriptors = Taken(&server).descriptors();
    assert!(descriptors < SESSIONS as usize + 100, "{descriptors} descriptors");
    let memory = Taken(&server).memory().saturating_sub(before);
    assert!(memory < 32 * MEGABYTE, "{memory} bytes for {SESSIONS} sessions");
}
