//! Zones in a stream: beside other messages, to clients that read slowly or not at all.

use std::sync::LazyLock;

use super::*;
use crate::dns::Rcode;
use crate::snapshot::Snapshot;
use crate::transfer::{Access, Transfers, ZoneTransfer};
use crate::zone::{Base, Source, compile};

/// So many records are more than what sockets hold for a client that does not read.
const LONG: usize = 25_000;

/// A query for all of `example.com.`.
const AXFR: &[u8] = b"\xab\xcd\0\0\0\x01\0\0\0\0\0\0\x07example\x03com\0\0\xfc\0\x01";

/// A zone of so many long records, which anybody nearby may take.
fn published_zone(records: usize) -> Published {
    static LONG_ZONE: LazyLock<Arc<Snapshot>> = LazyLock::new(|| Arc::new(zone_of(LONG)));
    match records {
        LONG => Arc::new(ArcSwap::from(Arc::clone(&LONG_ZONE))),
        _ => Arc::new(ArcSwap::from_pointee(zone_of(records))),
    }
}

fn zone_of(records: usize) -> Snapshot {
    let records = (0..records).map(|n| format!("t{n} TXT \"{}\"\n", "x".repeat(250)));
    let text = "@ SOA ns h 7 2h 15m 2w 5m\n@ NS ns\nns A 198.51.100.1\nwww A 198.51.100.2\n"
        .to_string()
        + &records.collect::<String>();
    let origin: crate::dns::Name = "example.com.".parse().unwrap();
    let zone = crate::zone::Settings {
        origin: origin.clone(),
        default_ttl: 300,
        sources: vec![Source { file: "zone".into(), text, included_by: None }],
        steered: Vec::new(),
        base: Base::Nothing,
        is_transferred: true,
    };
    let allow = Box::new(["127.0.0.0/8".parse().unwrap()]);
    let access = Access { allow, key: None };
    let transfers: Transfers =
        [(origin, ZoneTransfer { access, notify: Box::default() })].into_iter().collect();
    let zones = Arc::new(compile(&[zone]).0.unwrap());
    let transfers = Arc::new(transfers);
    Snapshot { zones, transfers, ..snapshot() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_is_under_way_is_not_mixed_with_what_is_published_meanwhile() {
    let published = published_zone(LONG);
    let running = bind(&settings("127.0.0.1:0"), &mut Inherited::default())
        .unwrap()
        .serve(Arc::clone(&published))
        .unwrap();
    let mut client = lazy_client(running.local_addrs()[0]);
    client.write_all(&framed(AXFR)).unwrap();
    read_framed(&mut client);
    published.store(published_zone(3).load_full());
    // The SOA record has come with the first message.
    let mut rest = 0;
    loop {
        let message = read_framed(&mut client);
        let message = hickory_proto::op::Message::from_vec(&message).unwrap();
        rest += message.answers.len();
        let last = message.answers.last().unwrap();
        if last.record_type() == hickory_proto::rr::RecordType::SOA {
            break;
        }
    }
    assert!(rest > LONG - 1000, "{rest}");
    client.write_all(&framed(AXFR)).unwrap();
    assert_eq!(read_zone(&mut client), 8, "what is asked now gets what is published now");
    running.stop().await;
}

fn serve_zone(records: usize, tcp: TcpLimits) -> (Running, SocketAddr) {
    let settings = Settings { tcp, ..settings("127.0.0.1:0") };
    let running =
        bind(&settings, &mut Inherited::default()).unwrap().serve(published_zone(records)).unwrap();
    let address = running.local_addrs()[0];
    (running, address)
}

fn limits() -> TcpLimits {
    TcpLimits { first_message: PATIENCE, idle: PATIENCE, ..TcpLimits::default() }
}

/// One whose system takes little for it.
fn lazy_client(server: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&server.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// How many records messages have, until the zone's SOA record comes for the second time.
fn read_zone(stream: &mut TcpStream) -> usize {
    let (mut records, mut soas) = (0, 0);
    while soas < 2 {
        let message = read_framed(stream);
        assert_eq!(&message[..2], b"\xab\xcd");
        let message = hickory_proto::op::Message::from_vec(&message).unwrap();
        let is_soa = |record: &&hickory_proto::rr::Record| {
            record.record_type() == hickory_proto::rr::RecordType::SOA
        };
        soas += message.answers.iter().filter(is_soa).count();
        records += message.answers.len();
    }
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_and_what_is_asked_behind_it_come_in_order() {
    let (running, address) = serve_zone(2000, limits());
    let mut client = tcp_client(address);
    let all = [framed(&query(1)), framed(AXFR), framed(&query(2)), framed(AXFR)].concat();
    client.write_all(&all).unwrap();
    assert_eq!(read_framed(&mut client)[..2], [0, 1]);
    assert_eq!(read_zone(&mut client), 2005);
    assert_eq!(read_framed(&mut client)[..2], [0, 2]);
    assert_eq!(read_zone(&mut client), 2005);
    let totals = running.counters();
    assert_eq!((totals.verdict(Verdict::Transferred), totals.received()), (2, 4));
    until("both are counted", || running.tally().transfers().completed == 2);
    let transfers = running.tally().transfers();
    assert_eq!((transfers.started_full, transfers.aborted, transfers.running), (2, 0, 0));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_given_up_and_others_are_served_meanwhile() {
    let write = Duration::from_millis(300);
    let (running, address) = serve_zone(LONG, TcpLimits { write, ..limits() });
    let mut lazy = lazy_client(address);
    lazy.write_all(&framed(AXFR)).unwrap();
    until("it is begun", || running.tally().transfers().running == 1);
    let mut other = tcp_client(address);
    other.write_all(&framed(QUERY)).unwrap();
    assert!(!read_framed(&mut other).is_empty());
    until("it is given up", || running.tally().transfers().aborted == 1);
    assert_eq!(running.tally().transfers().running, 0);
    assert_eq!(running.counters().event(Event::TcpTimedOut), 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_so_many_at_a_time_a_client_is_asked_to_come_again_and_a_stop_waits_for_none() {
    let (running, address) = serve_zone(LONG, limits());
    let mut clients: Vec<TcpStream> = (0..100).map(|_| lazy_client(address)).collect();
    for client in &mut clients {
        client.write_all(&framed(AXFR)).unwrap();
    }
    until("all are begun", || running.tally().transfers().running == 100);
    let mut late = tcp_client(address);
    late.write_all(&framed(AXFR)).unwrap();
    let refused = read_framed(&mut late);
    assert_eq!(u16::from(refused[3] & 0xf), Rcode::SERVFAIL.0);
    assert_eq!(running.tally().transfers().busy, 1);
    let totals = running.counters();
    assert_eq!(totals.verdict(Verdict::ServFail), 1);
    assert_eq!(totals.verdict(Verdict::Transferred), 100);
    let tally = running.tally();
    tokio::time::timeout(PATIENCE, running.stop()).await.expect("a stop is soon over");
    assert_eq!(tally.transfers().aborted, 100);
}
