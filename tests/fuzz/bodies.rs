//! What is fuzzed: everything that reads bytes from the network or from a file. Each function
//! panics when something is wrong.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use domain::base::iana::{Rcode, Rtype};
use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;
use portolan::answer::{
    MAX_MESSAGE_BYTES, Outcome, Reply, Request, Transport, Verdict, respond, respond_to_stream,
};
use portolan::config::{self, Diagnostic, Loaded, Rejected};
use portolan::control::publish::{Ground, Publisher, Tables};
use portolan::decide::{Found, Resolved, ResolvedTable, Validity};
use portolan::geo;
use portolan::health::agent::Said;
use portolan::health::{DnsAnswer, DnsCheck, certificate, dns, grpc};
use portolan::l4::preface::{Awaited, Preface, Progress, proxy_header};
use portolan::l4::quic;
use portolan::l4::settings::ProxyVersion;
use portolan::resolve::message::{Asked, Reading};
use portolan::resolve::{Family, MAX_ADDRESSES};
use portolan::snapshot::Snapshot;
use portolan::transfer::incoming::{Arrival, Incoming};
use portolan::transfer::records::Records;
use portolan::transfer::tsig;
use portolan::zone::{self, Base, Place, Settings, Source};

const SERVER_FILE: &str = include_str!("world/portolan.toml");
const ZONE_FILE: &str = include_str!("world/zone.toml");
const NETWORKS_FILE: &str = include_str!("world/networks.toml");
const LATENCY_FILE: &str = include_str!("world/latency.csv");

/// A target: its name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// Every target by its name, which is also that of its seeds' directory.
#[allow(dead_code, reason = "each fuzzer runs one")]
pub const TARGETS: [Target; 14] = [
    ("message", message),
    ("signed", signed),
    ("transfer", transfer),
    ("resolver", resolver),
    ("agent", agent),
    ("checked", checked),
    ("preface", preface),
    ("quic_packet", quic_packet),
    ("master_file", master_file),
    ("server_file", server_file),
    ("zone_file", zone_file),
    ("networks_file", networks_file),
    ("latency_file", latency_file),
    ("database", database),
];

/// In seconds of Unix time: when the signed seeds were signed.
const NOW: u64 = 1_800_000_000;

static WORLD: LazyLock<Arc<Snapshot>> = LazyLock::new(|| {
    let loaded = load(SERVER_FILE, ZONE_FILE, NETWORKS_FILE, LATENCY_FILE);
    snapshot(loaded.unwrap_or_else(|rejected| panic!("{}", rejected.diagnostics[0])))
});

/// A message from anybody. A response is well-formed, not too long, and the same every time.
pub fn message(data: &[u8]) {
    for transport in [Transport::Udp, Transport::Tcp] {
        for source in ["198.51.100.7", "2001:db8:2::7"] {
            let source: IpAddr = source.parse().expect("an address");
            let request = Request { source, transport, draw: 7, unix_seconds: NOW };
            ask(&WORLD, request, data);
            if transport == Transport::Tcp {
                ask_stream(&WORLD, &request, data);
            }
        }
    }
}

/// Where the answer may be a zone: its messages can be read, and it ends.
fn ask_stream(snapshot: &Snapshot, request: &Request, packet: &[u8]) {
    let mut out = vec![0; MAX_MESSAGE_BYTES];
    let mut outgoing = match respond_to_stream(snapshot, request, packet, &mut out) {
        Reply::Message(outcome) => {
            let mut again = vec![0; MAX_MESSAGE_BYTES];
            assert_eq!(respond(snapshot, request, packet, &mut again), outcome);
            return assert_eq!(out[..outcome.length], again[..outcome.length]);
        }
        Reply::Transfer(outgoing, outcome) => {
            assert_eq!(outcome.verdict, Verdict::Transferred);
            outgoing
        }
    };
    let mut soas = 0;
    while let Some(length) = outgoing.message(NOW, &mut out).expect("no record is too long") {
        let message = Message::from_vec(&out[..length]);
        let message = message.unwrap_or_else(|error| panic!("{error}: {:02x?}", &out[..length]));
        assert_eq!(out[..2], packet[..2], "the identifier");
        assert!(!message.answers.is_empty());
        soas += message.answers.iter().filter(|one| one.record_type() == RecordType::SOA).count();
    }
    assert!(matches!(soas, 1 | 2), "{soas}");
}

/// A message from somebody who has a key and signs whatever it is. What is answered to a query is
/// signed, and its signature is right.
pub fn signed(data: &[u8]) {
    // What has a signature, or is no message, cannot be signed.
    if !matches!(tsig::find(data), Ok(None)) || data.len() > 60_000 {
        return;
    }
    let key = WORLD.keys.iter().next().expect("the world has a key");
    let mut packet = data.to_vec();
    let mut sequence = tsig::ClientSequence::request(key, &mut packet, NOW - 5);
    let source = IpAddr::from([198, 51, 100, 7]);
    for transport in [Transport::Udp, Transport::Tcp] {
        let request = Request { source, transport, draw: 7, unix_seconds: NOW };
        let mut out = vec![0; MAX_MESSAGE_BYTES];
        let outcome = respond(&WORLD, &request, &packet, &mut out);
        out.truncate(outcome.length);
        let is_answer = ANSWERS.contains(&outcome.verdict);
        if is_answer || matches!(tsig::find(&out), Ok(Some(_))) {
            let verified = sequence.clone().response(&mut out, NOW + 5);
            assert_eq!(verified, Ok(()), "{:?} {out:02x?}", outcome.verdict);
            assert!(Message::from_vec(&out).is_ok(), "{out:02x?}");
        }
    }
    // In a response the same bytes mean nothing.
    assert!(sequence.response(&mut data.to_vec(), NOW).is_err());
}

/// What a primary sends: messages, each with its length before it; the first bit says whether a
/// whole zone was asked for or changes. What is taken can be kept, read again, and served.
pub fn transfer(data: &[u8]) {
    const MOST_BYTES: usize = 20_000;
    const HAVE: &str = "example.com. 60 IN TYPE6 \\# 28 036e7331000168000000000500000e1000000384\
                        001275000000003c\n\
                        example.com. 60 IN TYPE2 \\# 10 036e7331047465737400\n\
                        www.example.com. 60 IN TYPE1 \\# 4 c6336401\n";
    let Some((&kind, mut stream)) = data.split_first() else { return };
    let have = (kind & 1 != 0).then_some(5);
    let mut incoming =
        Incoming::new(&"example.com.".parse().expect("a name"), have, 0x0102, MOST_BYTES);
    let arrival = loop {
        let Some((length, rest)) = stream.split_first_chunk::<2>() else { return };
        let (message, rest) = rest.split_at(rest.len().min(u16::from_be_bytes(*length).into()));
        stream = rest;
        match incoming.take(message) {
            Ok(None) => (),
            Ok(Some(arrival)) => break arrival,
            Err(fault) => return assert!(!fault.to_string().is_empty()),
        }
    };
    let records = match arrival {
        Arrival::UpToDate { .. } => return,
        Arrival::Whole(records) => records,
        Arrival::Changes(deltas) => {
            match Records::from_text(HAVE).expect("records").changed(&deltas) {
                Ok(records) => records,
                Err(_) => return,
            }
        }
    };
    assert!(records.bytes() <= 2 * MOST_BYTES, "{} bytes", records.bytes());
    let text = records.to_text();
    assert_eq!(Records::from_text(&text), Some(records), "{text}");
    let own =
        Source { file: "zone".into(), text: "www A 198.51.100.9\n".into(), included_by: None };
    let theirs = Source { file: "transferred".into(), text, included_by: None };
    serve(vec![own, theirs], Base::Transferred);
}

/// What comes back from a resolver.
pub fn resolver(data: &[u8]) {
    let name = "www.example.net.".parse().expect("a name");
    for family in [Family::V4, Family::V6] {
        match Asked::new(&name, family, 0x0102).read(data) {
            Reading::NotOurs | Reading::Truncated => (),
            Reading::Failed(why) => assert!(!why.is_empty()),
            Reading::Answer(answer) => {
                assert!(answer.addresses.len() <= MAX_ADDRESSES);
                assert!(answer.addresses.is_sorted());
                let is_of_family = |address: &IpAddr| address.is_ipv4() == (family == Family::V4);
                assert!(answer.addresses.iter().all(is_of_family));
                assert!(answer.exists || answer.addresses.is_empty());
            }
        }
    }
}

/// What a client's side says before a backend is chosen: a PROXY header, a ClientHello. It is the
/// same in whatever pieces it comes, and a header can be written and read again.
pub fn preface(data: &[u8]) {
    for (proxy_header, server_name) in [(true, false), (false, true), (true, true)] {
        let new = || Preface::new(Awaited { proxy_header, server_name });
        let mut in_pieces = new();
        let mut pieces = data.chunks(7).map(|piece| in_pieces.take(piece));
        let in_pieces = pieces.find(|progress| !matches!(progress, Ok(Progress::Waits)));
        match (new().take(data), in_pieces.unwrap_or(Ok(Progress::Waits))) {
            (Err(_), Err(_)) | (Ok(Progress::Waits), Ok(Progress::Waits)) => (),
            (Ok(Progress::Done(whole)), Ok(Progress::Done(in_pieces))) => {
                assert_eq!(
                    (&whole.header, &whole.server_name),
                    (&in_pieces.header, &in_pieces.server_name)
                );
                assert!(data.ends_with(&whole.bytes) && whole.bytes.starts_with(&in_pieces.bytes));
                let Some(endpoints) = whole.header.endpoints else { continue };
                let mut written = Vec::new();
                proxy_header::write(ProxyVersion::V2, &endpoints, &whole.header.tlvs, &mut written);
                let length = written.len();
                assert_eq!(proxy_header::read(&written), Ok(Some((whole.header, length))));
            }
            differ => panic!("at once and in pieces: {differ:?}"),
        }
    }
}

/// A datagram for a QUIC service. The server id that it names stands where RFC 8999 §5 and the form of
/// the connection ids say, and is whole.
pub fn quic_packet(data: &[u8]) {
    for bytes in 1..=16 {
        let Some(id) = quic::server_id(data, bytes) else { continue };
        let is_long = data[0] & 0x80 != 0;
        let connection_id = if is_long { &data[6..][..data[5].into()] } else { &data[1..] };
        assert!(connection_id[0] < 0xe0, "it says that it names no server");
        assert_eq!(id, &connection_id[1..=bytes]);
    }
}

/// What a server that is checked says: the first byte says in which protocol.
pub fn checked(data: &[u8]) {
    let Some((kind, said)) = data.split_first() else { return };
    match kind {
        b'c' => drop(certificate::not_after(said)),
        b'g' => drop(grpc::message::status(said)),
        _ => {
            for (rtype, answer) in [
                (Rtype::A, DnsAnswer::Address(IpAddr::from([198, 51, 100, 7]))),
                (Rtype::NS, DnsAnswer::Name("ns1.example.net.".parse().expect("a name"))),
                (Rtype::TXT, DnsAnswer::Text("ready".into())),
            ] {
                let name = "www.example.net.".parse().expect("a name");
                let (rcode, answer) = (Rcode::NOERROR, Some(answer));
                let check = DnsCheck { name, rtype, rcode, answer };
                let query = dns::query(&check, 0x0102);
                if let Some(dns::Judged::Wrong(why)) = dns::judge(&check, &query, said) {
                    assert!(!why.is_empty());
                }
            }
        }
    }
}

const ANSWERS: [Verdict; 5] =
    [Verdict::Positive, Verdict::NoData, Verdict::NxDomain, Verdict::YxDomain, Verdict::Referral];

fn ask(snapshot: &Snapshot, request: Request, packet: &[u8]) {
    let mut out = vec![0; MAX_MESSAGE_BYTES];
    let outcome = respond(snapshot, &request, packet, &mut out);
    let mut again = vec![0xff; MAX_MESSAGE_BYTES];
    assert_eq!(respond(snapshot, &request, packet, &mut again), outcome);
    assert_eq!(out[..outcome.length], again[..outcome.length], "the same every time");

    let Outcome { verdict, length, has_edns, .. } = outcome;
    let is_response = packet.len() >= 3 && packet[2] & 0x80 != 0;
    if packet.len() < 12 || is_response {
        assert_eq!(length, 0, "runts and responses get no response");
    }
    if length == 0 {
        assert!(matches!(verdict, Verdict::DroppedRunt | Verdict::DroppedResponse), "{verdict:?}");
        return;
    }
    let response = &out[..length];
    assert_eq!(response[..2], packet[..2], "the identifier");
    assert_eq!(response[2] & 0xf8, packet[2] & 0x78 | 0x80, "a response of the same opcode");
    if request.transport == Transport::Udp {
        assert!(length <= if has_edns { 1232 } else { 512 }, "{length} bytes");
    }
    if ANSWERS.contains(&verdict) {
        let read = Message::from_vec(response);
        let read = read.unwrap_or_else(|error| panic!("{error}: {response:02x?}"));
        assert_eq!(read.queries.len(), 1);
        assert_eq!(read.edns.is_some(), has_edns);
    }
}

/// The line of an agent. What it advises is within bounds, and it advises the same behind blanks.
pub fn agent(data: &[u8]) {
    let line = String::from_utf8_lossy(data);
    let said = Said::read(&line);
    assert!(said.advice.weight_percent.is_none_or(|percent| percent <= 1_000));
    assert!(!said.to_string().contains('\n'));
    assert_eq!(Said::read(&format!(" ,\t{line}")), said);
}

/// A zone's text, and behind a NUL the one that it includes wherever it includes one. What is said
/// of them points into them; a zone that is taken answers.
pub fn master_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (text, included) = text.split_once('\0').unwrap_or((text, ""));
    let mut sources = vec![Source { file: "zone".into(), text: text.into(), included_by: None }];
    for (path, span) in zone::includes(text).into_iter().take(9) {
        let included_by = Some(zone::Inclusion { source: 0, span });
        sources.push(Source { file: path, text: included.into(), included_by });
    }
    serve(sources, Base::Nothing);
}

/// What is said of a zone's texts points into them; a zone that is taken answers.
fn serve(sources: Vec<Source>, base: Base) {
    let texts: Vec<String> = sources.iter().map(|source| source.text.clone()).collect();
    let (zones, problems) = zone::compile(&[Settings {
        origin: "example.com.".parse().expect("a name"),
        default_ttl: 300,
        sources,
        steered: Vec::new(),
        base,
        is_transferred: false,
    }]);
    for problem in &problems {
        if let Place::Source { source, span } = &problem.place {
            assert!(texts[*source].get(span.clone()).is_some(), "{problem:?}");
        }
        assert!(!problem.message.is_empty() && !problem.message.contains('\n'), "{problem:?}");
    }
    assert_eq!(zones.is_none(), problems.iter().any(|problem| !problem.is_warning));
    let Some(zones) = zones else { return };
    static EMPTY: LazyLock<Snapshot> = LazyLock::new(|| {
        let loaded = load("[dns]\nlisten = \"127.0.0.1:0\"\nzones = \"zones\"\n", "", "", "");
        let nothing = loaded.map(snapshot);
        Snapshot::clone(&nothing.unwrap_or_else(|rejected| panic!("{}", rejected.diagnostics[0])))
    });
    ask_of_all_types(&Snapshot { zones: Arc::new(zones), ..EMPTY.clone() });
}

/// `portolan.toml`.
pub fn server_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    read(load(text, ZONE_FILE, NETWORKS_FILE, LATENCY_FILE));
}

/// A file of `zones/`.
pub fn zone_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    read(load(SERVER_FILE, text, NETWORKS_FILE, LATENCY_FILE));
}

/// The operator's networks.
pub fn networks_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    read(load(SERVER_FILE, ZONE_FILE, text, LATENCY_FILE));
}

/// The measured latencies.
pub fn latency_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    read(load(SERVER_FILE, ZONE_FILE, NETWORKS_FILE, text));
}

/// A MaxMind-format database. What is read of it covers all addresses.
pub fn database(data: &[u8]) {
    let Ok(world) = geo::compile(&[("test.mmdb".into(), data.to_vec())], &[]) else { return };
    for address in ["0.0.0.0", "20.0.0.1", "203.0.113.9", "::", "2001:db8::1", "ffff::"] {
        let address: IpAddr = address.parse().expect("an address");
        let (id, prefix_len) = world.locate(address);
        assert!(prefix_len <= if address.is_ipv4() { 32 } else { 128 });
        if let Some(point) = world.location(id).coordinates {
            assert!(point.latitude.abs() <= 90.0 && point.longitude.abs() <= 180.0, "{point:?}");
        }
    }
}

/// What is said of files can be printed; files that are taken can be served.
fn read(loaded: Result<Loaded, Rejected>) {
    let said = match &loaded {
        Ok(loaded) => &loaded.warnings,
        Err(rejected) => &rejected.diagnostics,
    };
    for problem in said {
        assert!(!Diagnostic::to_string(problem).is_empty());
        serde_json::to_string(problem).expect("JSON");
    }
    match loaded {
        Ok(loaded) => ask_of_all_types(&snapshot(loaded)),
        Err(_) => assert!(!said.is_empty(), "a refusal has a reason"),
    }
}

fn load(server: &str, zone: &str, networks: &str, latency: &str) -> Result<Loaded, Rejected> {
    thread_local! {
        static DIRECTORY: tempfile::TempDir = tempfile::tempdir().expect("a temporary directory");
    }
    DIRECTORY.with(|directory| {
        let write = |file: &str, text: &str| {
            let path = directory.path().join(file);
            if std::fs::read(&path).is_ok_and(|is| is == text.as_bytes()) {
                return;
            }
            std::fs::write(path, text).expect("a file can be written");
        };
        let zones = directory.path().join("zones");
        std::fs::create_dir_all(&zones).expect("a directory");
        write("portolan.toml", server);
        write("networks.toml", networks);
        write("latency.csv", latency);
        match zone {
            "" => drop(std::fs::remove_file(zones.join("zone.toml"))),
            text => write("zones/zone.toml", text),
        }
        config::load(&directory.path().join("portolan.toml"), None)
    })
}

fn snapshot(loaded: Loaded) -> Arc<Snapshot> {
    // Names that stand for addresses have some, which are old.
    let validity = Validity { ttl: 30, is_stale: true };
    let found = Found { addresses: [([203, 0, 113, 9].into(), true)].into(), validity };
    let one = Arc::new(Resolved { v4: found, ..Resolved::default() });
    let names = loaded.settings.control.flattened.iter().map(|_| Some(Arc::clone(&one)));
    let tables = Tables { resolved: ResolvedTable::new(names), ..Tables::default() };
    let ground = Ground::new(Arc::new(loaded.settings.control), &[], None);
    Publisher::new(ground, tables).published().load_full()
}

/// Asks for a few names, with a client subnet.
fn ask_of_all_types(snapshot: &Snapshot) {
    let names: [&[u8]; 4] = [b"", b"\x03www", b"\x01a\x01b\x04wild", b"\x07no-such\x01*"];
    for name in names {
        for rtype in [1u8, 2, 5, 6, 15, 16, 28, 255] {
            let mut packet = vec![1, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
            packet.extend(name);
            packet.extend(b"\x07example\x03com\x00");
            packet.extend([0, rtype, 0, 1]);
            packet
                .extend([0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 11, 0, 8, 0, 7, 0, 1, 24, 0, 203, 0, 113]);
            let source = IpAddr::from([198, 51, 100, 7]);
            ask(
                snapshot,
                Request { source, transport: Transport::Udp, draw: 3, unix_seconds: 0 },
                &packet,
            );
        }
    }
}
