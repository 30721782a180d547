//! The sockets, asked over loopback.

mod transfers;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::*;
use crate::answer::tests::fixture::snapshot;
use crate::answer::{Event, Verdict};

const PATIENCE: Duration = Duration::from_secs(30);
/// `www.Example.com. A`.
const QUERY: &[u8] = b"\xab\xcd\x01\0\0\x01\0\0\0\0\0\0\x03www\x07Example\x03com\0\0\x01\0\x01";

fn published() -> Published {
    Arc::new(ArcSwap::from_pointee(snapshot()))
}

fn settings(address: &str) -> Settings {
    Settings {
        listen: vec![address.parse().unwrap()],
        workers: Some(2),
        tcp: TcpLimits { first_message: PATIENCE, idle: PATIENCE, ..TcpLimits::default() },
    }
}

fn serve(settings: &Settings) -> (Running, SocketAddr) {
    let running = bind(settings, &mut Inherited::default()).unwrap().serve(published()).unwrap();
    let address = running.local_addrs()[0];
    (running, address)
}

/// With another id.
fn query(id: u16) -> Vec<u8> {
    [&id.to_be_bytes(), &QUERY[2..]].concat()
}

fn udp_client(server: SocketAddr) -> UdpSocket {
    let any: IpAddr = if server.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let socket = UdpSocket::bind((any, 0)).unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Asks over UDP; a reply from another address than was asked is never received.
fn ask(server: SocketAddr, query: &[u8]) -> Vec<u8> {
    let socket = udp_client(server);
    socket.send(query).unwrap();
    let mut reply = [0; 2048];
    let length = socket.recv(&mut reply).expect("a reply from the address that was asked");
    reply[..length].to_vec()
}

fn tcp_client(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes(), message].concat()
}

fn read_framed(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message).unwrap();
    message
}

fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 16]) {
        Ok(length) => length == 0,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    }
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn udp_answers_many_clients() {
    let (running, address) = serve(&settings("127.0.0.1:0"));
    let clients: Vec<UdpSocket> = (0..20).map(|_| udp_client(address)).collect();
    for client in &clients {
        for id in 0..50 {
            client.send(&query(id)).unwrap();
        }
    }
    for client in &clients {
        let mut ids: Vec<u16> = (0..50)
            .map(|_| {
                let mut reply = [0; 2048];
                let length = client.recv(&mut reply).unwrap();
                assert_eq!(reply[6..8], [0, 2], "two answers");
                assert_eq!(reply[12..QUERY.len()], QUERY[12..], "the question, its case kept");
                assert!(length > QUERY.len());
                u16::from_be_bytes([reply[0], reply[1]])
            })
            .collect();
        ids.sort();
        assert_eq!(ids, (0..50).collect::<Vec<u16>>());
    }
    let totals = running.counters();
    assert_eq!((totals.received(), totals.event(Event::ReceivedUdp)), (1000, 1000));
    assert_eq!(totals.verdict(Verdict::Positive), 1000);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_wildcard_address_the_reply_comes_from_the_address_that_was_asked() {
    let (running, address) = serve(&settings("0.0.0.0:0"));
    for last in [1, 2, 77] {
        let asked = (Ipv4Addr::new(127, 0, 3, last), address.port()).into();
        assert_eq!(ask(asked, QUERY)[..2], QUERY[..2]);
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ipv6_is_served_beside_ipv4_on_the_same_port() {
    let (running, address) = serve(&settings("0.0.0.0:0"));
    let settings = settings(&format!("[::]:{}", address.port()));
    let (running6, _) = serve(&settings);
    for asked in ["127.0.0.1", "::1"] {
        let asked = SocketAddr::new(asked.parse().unwrap(), address.port());
        assert_eq!(ask(asked, QUERY)[..2], QUERY[..2]);
    }
    assert_eq!(running.counters().received(), 1);
    assert_eq!(running6.counters().received(), 1);
    running.stop().await;
    running6.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_gets_no_reply_is_counted_all_the_same() {
    let (running, address) = serve(&settings("127.0.0.1:0"));
    let client = udp_client(address);
    client.send(b"").unwrap();
    client.send(b"short").unwrap();
    client.send(&[&QUERY[..2], &[0x81], &QUERY[3..]].concat()).unwrap();
    client.send(&vec![0; 5000]).unwrap();
    until("four messages are counted", || running.counters().received() == 4);
    let totals = running.counters();
    assert_eq!(totals.verdict(Verdict::DroppedRunt), 2);
    assert_eq!(totals.verdict(Verdict::DroppedResponse), 1);
    assert_eq!(totals.verdict(Verdict::FormErr), 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_answered_once_however_long_nothing_else_comes() {
    let (_running, server) = serve(&settings("127.0.0.1:0"));
    let socket = udp_client(server);
    socket.send(QUERY).unwrap();
    let mut reply = [0; 2048];
    socket.recv(&mut reply).expect("a reply");
    // A worker wakes up meanwhile, more than once.
    socket.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
    assert!(socket.recv(&mut reply).is_err(), "the same reply again");
}

#[test]
fn port_0_and_ourselves_are_forged_sources() {
    let worker = |ours: &str| udp::Worker {
        socket: Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap()),
        ours: [ours.parse().unwrap()].into(),
        published: published(),
        counters: Arc::default(),
        announced: None,
        ledger: Arc::default(),
        stop: Arc::default(),
    };
    let one = worker("198.51.100.1:53");
    let all = worker("0.0.0.0:53");
    let here = Some(IpAddr::from([198, 51, 100, 1]));
    for (source, destination, forged_for_one, forged_for_all) in [
        ("198.51.100.9:0", here, true, true),
        ("198.51.100.9:53", here, false, false),
        ("198.51.100.1:53", here, true, true),
        ("198.51.100.1:1053", here, false, false),
        ("198.51.100.1:53", None, true, false),
    ] {
        let source = source.parse().unwrap();
        assert_eq!(one.is_forged(source, destination), forged_for_one, "{source}");
        assert_eq!(all.is_forged(source, destination), forged_for_all, "{source}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tcp_answers_pipelined_queries_in_order_however_they_are_cut() {
    let (running, address) = serve(&settings("127.0.0.1:0"));
    let mut client = tcp_client(address);
    let queries: Vec<u8> = (0..300).flat_map(|id| framed(&query(id))).collect();
    for piece in queries.chunks(997) {
        client.write_all(piece).unwrap();
    }
    for id in 0..300u16 {
        assert_eq!(read_framed(&mut client)[..2], id.to_be_bytes());
    }
    // A message that gets no reply does not end the connection.
    client.write_all(&[framed(b"short"), framed(QUERY)].concat()).unwrap();
    assert_eq!(read_framed(&mut client)[..2], QUERY[..2]);
    assert_eq!(running.counters().event(Event::ReceivedTcp), 302);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tcp_answers_what_was_asked_before_the_client_closed_its_side() {
    let (running, address) = serve(&settings("127.0.0.1:0"));
    let mut client = tcp_client(address);
    client.write_all(&framed(QUERY)).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(read_framed(&mut client)[..2], QUERY[..2]);
    assert!(is_closed(&mut client));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_tcp_connection_is_closed_and_bytes_without_a_query_buy_no_time() {
    let mut settings = settings("127.0.0.1:0");
    settings.tcp.first_message = Duration::from_secs(1);
    settings.tcp.idle = Duration::from_millis(50);
    let (running, address) = serve(&settings);
    let mut silent = tcp_client(address);
    let mut begun = tcp_client(address);
    let mut asked = tcp_client(address);
    begun.write_all(&framed(QUERY)[..9]).unwrap();
    asked.write_all(&framed(QUERY)).unwrap();
    read_framed(&mut asked);
    for client in [&mut silent, &mut begun, &mut asked] {
        assert!(is_closed(client));
    }
    assert_eq!(running.counters().event(Event::TcpTimedOut), 3);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_tcp_connections_keep_nobody_out() {
    let mut settings = settings("127.0.0.1:0");
    settings.tcp.connections = 8;
    let (running, address) = serve(&settings);
    let mut idle: Vec<TcpStream> = (0..100).map(|_| tcp_client(address)).collect();
    let mut client = tcp_client(address);
    client.write_all(&framed(QUERY)).unwrap();
    assert_eq!(read_framed(&mut client)[..2], QUERY[..2]);
    assert!(idle[..92].iter_mut().all(is_closed));
    let totals = running.counters();
    assert_eq!(totals.event(Event::TcpAccepted), 101);
    assert_eq!(totals.event(Event::TcpEvicted), 93);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_snapshot_is_answered_from_without_new_sockets() {
    let published = published();
    let running = bind(&settings("127.0.0.1:0"), &mut Inherited::default())
        .unwrap()
        .serve(Arc::clone(&published))
        .unwrap();
    let address = running.local_addrs()[0];
    assert_eq!(ask(address, QUERY)[3] & 0xf, 0);
    let mut tcp = tcp_client(address);
    let empty = crate::snapshot::Snapshot { zones: Arc::default(), ..snapshot() };
    let old = published.swap(Arc::new(empty));
    assert_eq!(ask(address, QUERY)[3] & 0xf, 5);
    tcp.write_all(&framed(QUERY)).unwrap();
    assert_eq!(read_framed(&mut tcp)[3] & 0xf, 5);
    until("the workers let go of the old snapshot", || Arc::strong_count(&old) == 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn to_stop_is_prompt_and_frees_the_address() {
    let (running, address) = serve(&settings("127.0.0.1:0"));
    let mut idle = tcp_client(address);
    let begin = Instant::now();
    running.stop().await;
    assert!(begin.elapsed() < PATIENCE / 2);
    assert!(is_closed(&mut idle));
    let again = bind(&settings(&address.to_string()), &mut Inherited::default()).unwrap();
    assert_eq!(again.local_addrs(), [address]);
}

#[test]
fn an_address_that_is_taken_is_named_with_a_way_out() {
    let bound = bind(&settings("127.0.0.1:0"), &mut Inherited::default()).unwrap();
    let address = bound.local_addrs()[0];
    let error =
        bind(&settings(&address.to_string()), &mut Inherited::default()).unwrap_err().to_string();
    assert!(error.contains(&address.to_string()), "{error}");
    assert!(error.contains("`ss -lnptu` shows which"), "{error}");
    let error =
        bind(&settings("198.51.100.1:0"), &mut Inherited::default()).unwrap_err().to_string();
    assert!(error.contains("this machine has no such address"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_out_is_written_down_over_udp_and_tcp() {
    let (mut running, server) = serve(&settings("127.0.0.1:0"));
    let mut ledgers = running.take_ledgers();
    let query = b"\xab\xcd\x01\0\0\x01\0\0\0\0\0\0\x07by-load\x07example\x03com\0\0\x01\0\x01";
    ask(server, query);
    let mut stream = tcp_client(server);
    stream.write_all(&framed(query)).unwrap();
    read_framed(&mut stream);
    ask(server, QUERY);
    let mut records = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while records.len() < 2 && Instant::now() < deadline {
        // UDP replies are sent after their records are written, and so are those over TCP.
        ledgers.drain(10, |record| records.push((record.prefix().to_string(), record.pool().0)));
    }
    let expected = ("127.0.0.0/24".to_string(), 4);
    assert_eq!(records, [expected.clone(), expected]);
    assert_eq!(ledgers.dropped(), 0);
    running.stop().await;
}
