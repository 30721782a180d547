//! What strangers send to a server that has keys, gives zones away and takes one: damaged messages of
//! every kind, transfers that they do not read, floods of notifications.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fastrand::Rng;

use crate::support::asker::{framed, over_tcp, over_udp, query, read_framed};
use crate::support::mutation::{mutated, seeds};
use crate::support::server::DNS_PORT;
use crate::support::{Server, until};

/// The key of the fuzz targets' world, so that some of their seeds are signed with it.
const KEY: &str =
    "[keys.\"fuzz.example\"]\nsecret = \"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\"\n";

/// A server with a zone that anybody here may take, one that needs a key, and one whose primary is
/// the test's eighth address.
fn start(records: &str) -> Server {
    let head = "@ 300 SOA ns1 hostmaster 1 2h 15m 2w 60\n@ 300 NS ns1\nns1 300 A 198.51.100.53\n";
    let open = format!(
        "origin = \"example.com.\"\nrecords = \"\"\"\n{head}www 300 A 198.51.100.80\n\
         moved 60 DNAME w\n*.w 60 TXT \"wild\"\n@ 60 HTTPS 1 www alpn=h2\n{records}\"\"\"\n\
         [transfer]\nallow = [\"127.0.0.0/8\"]\n"
    );
    let keyed = format!(
        "origin = \"keyed.example.\"\nrecords = \"\"\"\n{head}\"\"\"\n\
         [transfer]\nkey = \"fuzz.example\"\n"
    );
    let files = Server::files(KEY);
    let primary = (files.addresses().host(8), DNS_PORT);
    let taken = format!(
        "origin = \"second.example.\"\nprimary = {{ address = \"{}:{}\" }}\n",
        primary.0, primary.1
    );
    files.zone("open.toml", &open).zone("keyed.toml", &keyed).zone("taken.toml", &taken).start()
}

#[track_caller]
fn assert_serves(server: &mut Server) {
    let good = query("www.example.com.", 1);
    for answer in [over_udp(server.dns(), &good), over_tcp(server.dns(), &good)] {
        assert_eq!(answer.expect("an answer").len(), good.len() + 16);
    }
    assert!(server.is_running());
    assert!(!server.log().contains("panic"), "{}", server.log());
}

/// True when each message that was received ended in one outcome.
fn all_is_counted(server: &Server) -> bool {
    let dns = server.api("/api/v1/status")["dns"].clone();
    let outcomes = dns["outcomes"].as_object().expect("outcomes").values();
    let sum: u64 = outcomes.map(|count| count.as_u64().expect("a count")).sum();
    dns["received"].as_u64() == Some(sum)
}

#[test]
fn damaged_messages_of_every_kind_leave_the_server_serving() {
    const ROUNDS: usize = 15;
    let mut server = start("");
    let seeds: Vec<Vec<u8>> = ["message", "signed"].into_iter().flat_map(seeds).collect();
    let mut lots = Rng::with_seed(8945);
    let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("a socket");
    socket.connect(server.dns()).expect("a loopback address");
    for _ in 0..ROUNDS {
        for _ in 0..200 {
            // What is longer than a datagram cannot be sent.
            let _ = socket.send(&mutated(&seeds, &mut lots));
        }
        // They fill the server's socket: what comes before it has read them finds no room.
        until("they are read", || over_udp(server.dns(), &query("www.example.com.", 2)).is_ok());
        // Messages in good frames and bad ones; the answers are left.
        for is_damaged in [false, true] {
            let mut stream = TcpStream::connect(server.dns()).expect("connected");
            let frames = (0..30).flat_map(|_| framed(&mutated(&seeds, &mut lots))).collect();
            let bytes = if is_damaged { mutated(&[frames], &mut lots) } else { frames };
            let _ = stream.write_all(&bytes);
        }
        assert_serves(&mut server);
    }
    until("all of it is counted", || all_is_counted(&server));
}

#[test]
fn who_does_not_read_a_transfer_keeps_nobody_else_from_it() {
    // Five times what a socket holds.
    let text = "x".repeat(200);
    let records: String = (0..60_000).map(|n| format!("h{n} TXT \"{text}\"\n")).collect();
    let mut server = start(&records);
    let mut request = query("example.com.", 7);
    let length = request.len();
    request[length - 4..length - 2].copy_from_slice(&252u16.to_be_bytes());
    let ask = |request: &[u8]| {
        let mut stream = TcpStream::connect(server.dns()).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("not zero");
        stream.write_all(&framed(request)).expect("taken");
        stream
    };
    let unread: Vec<TcpStream> = (0..60).map(|_| ask(&request)).collect();
    let mut read = ask(&request);
    let mut records = 0;
    while records < 60_000 {
        let message = read_framed(&mut read).expect("a message of the transfer");
        records += usize::from(u16::from_be_bytes([message[6], message[7]]));
    }
    drop(unread);
    assert_serves(&mut server);
}

#[test]
fn a_flood_of_notifications_is_no_flood_of_questions_to_the_primary() {
    let mut server = start("");
    let primary: SocketAddr = (server.addresses().host(8), DNS_PORT).into();
    let listener = TcpListener::bind(primary).expect("the primary's address");
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    // Takes each request, and hangs up.
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            count.fetch_add(1, Ordering::Relaxed);
            let _ = stream.read(&mut [0; 100]);
        }
    });
    let socket = UdpSocket::bind((primary.ip(), 0)).expect("a socket");
    socket.connect(server.dns()).expect("a loopback address");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("not zero");
    let mut notify = query("second.example.", 0);
    let length = notify.len();
    notify[2] = 0x24;
    notify[length - 4..length - 2].copy_from_slice(&6u16.to_be_bytes());
    for _ in 0..3000 {
        socket.send(&notify).expect("sent");
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer).expect("an answer");
        assert_eq!((length >= 12, answer[3] & 0xf), (true, 0), "{:?}", &answer[..length]);
    }
    until("the primary is asked", || asked.load(Ordering::Relaxed) > 0);
    assert!(asked.load(Ordering::Relaxed) < 50, "{asked:?} times");
    assert_serves(&mut server);
}
