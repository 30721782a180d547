//! What is fuzzed: everything that reads bytes from the network or from a file. Each function
//! panics when something is wrong.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use hickory_proto::op::Message;
use portolan::answer::{MAX_MESSAGE_BYTES, Outcome, Request, Transport, Verdict, respond};
use portolan::config::{self, Diagnostic, Loaded, Rejected};
use portolan::control::publish::{Ground, Publisher, Tables};
use portolan::geo;
use portolan::snapshot::Snapshot;
use portolan::zone::{self, Base, Place, Settings, Source};

const SERVER_FILE: &str = include_str!("world/portolan.toml");
const ZONE_FILE: &str = include_str!("world/zone.toml");
const NETWORKS_FILE: &str = include_str!("world/networks.toml");
const LATENCY_FILE: &str = include_str!("world/latency.csv");

/// A target: its name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// Every target by its name, which is also that of its seeds' directory.
#[allow(dead_code, reason = "each fuzzer runs one")]
pub const TARGETS: [Target; 7] = [
    ("message", message),
    ("master_file", master_file),
    ("server_file", server_file),
    ("zone_file", zone_file),
    ("networks_file", networks_file),
    ("latency_file", latency_file),
    ("database", database),
];

/// A message from anybody. A response is well-formed, not too long, and the same every time.
pub fn message(data: &[u8]) {
    static SNAPSHOT: LazyLock<Arc<Snapshot>> = LazyLock::new(|| {
        let loaded = load(SERVER_FILE, ZONE_FILE, NETWORKS_FILE, LATENCY_FILE);
        snapshot(loaded.unwrap_or_else(|rejected| panic!("{}", rejected.diagnostics[0])))
    });
    for transport in [Transport::Udp, Transport::Tcp] {
        for source in ["198.51.100.7", "2001:db8:2::7"] {
            let source: IpAddr = source.parse().expect("an address");
            ask(&SNAPSHOT, Request { source, transport, draw: 7, unix_seconds: 0 }, data);
        }
    }
}

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
    let answers = [Verdict::Positive, Verdict::NoData, Verdict::NxDomain, Verdict::Referral];
    if answers.contains(&verdict) {
        let read = Message::from_vec(response);
        let read = read.unwrap_or_else(|error| panic!("{error}: {response:02x?}"));
        assert_eq!(read.queries.len(), 1);
        assert_eq!(read.edns.is_some(), has_edns);
    }
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
    let texts: Vec<String> = sources.iter().map(|source| source.text.clone()).collect();
    let (zones, problems) = zone::compile(&[Settings {
        origin: "example.com.".parse().expect("a name"),
        default_ttl: 300,
        sources,
        steered: Vec::new(),
        base: Base::Nothing,
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
    let ground = Ground::new(Arc::new(loaded.settings.control), &[], None);
    Publisher::new(ground, Tables::default()).published().load_full()
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
