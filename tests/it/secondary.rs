//! Portolan as a secondary: of Knot and of BIND, with pools laid over what they send.

mod primary;

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use super::support::peers::{Peer, PeerZone, write};
use super::support::server::{DNS_PORT, Files};
use super::support::{Server, dig, needs, until};
use primary::{Manner, Primary};

const SECRET: &str = "kp4/24gyYsEzbuTVJRUMoqGFmN3LYgVDzJ/3oRSP7ys=";

/// A zone with this serial number, SOA timers and records besides.
fn zone(serial: u32, timers: &str, records: &str) -> String {
    format!(
        "$ORIGIN example.com.\n$TTL 300\n@ SOA ns1 hostmaster {serial} {timers} 60\n@ NS ns1\n\
         ns1 A 198.51.100.53\nwww A 198.51.100.80\nwww AAAA 2001:db8::80\nwww TXT \"theirs\"\n\
         mail A 198.51.100.25\n{records}\n"
    )
}

/// Long: what changes within a test is announced.
const SLOW: &str = "3600 600 86400";

/// The zone file: `www` is steered, `mail` has another address here.
fn overlay(primary: &str) -> String {
    format!(
        "origin = \"example.com.\"\nprimary = {primary}\n\
         records = \"\"\"\nmail A 203.0.113.25\nhere TXT \"ours\"\n\"\"\"\n\
         [pools.web]\nsteer = \"failover\"\n\
         members = [{{ datacenter = \"fra\", addresses = [\"203.0.113.10\"] }}]\n\
         [names.www]\npool = \"web\"\n"
    )
}

const DATACENTER: &str = "[datacenters.fra]\n";

fn with_key(secret: &str) -> String {
    format!("{DATACENTER}[keys.\"xfr.example.com\"]\nsecret = \"{secret}\"\n")
}

fn serial(server: SocketAddr) -> Option<u32> {
    let soa = dig(server, "example.com. SOA +tries=1 +time=1").data("SOA");
    soa.first()?.split(' ').nth(2)?.parse().ok()
}

#[track_caller]
fn until_serial(server: &Server, wanted: u32) {
    until(&format!("serial {wanted}"), || serial(server.dns()) == Some(wanted));
}

/// What lies over what, by dig.
#[track_caller]
fn assert_laid_over(server: SocketAddr) {
    assert_eq!(dig(server, "www.example.com. A").data("A"), ["203.0.113.10"]);
    assert_eq!(dig(server, "www.example.com. AAAA").status, "NOERROR");
    assert!(dig(server, "www.example.com. AAAA").answer.is_empty(), "the pool has none");
    assert_eq!(dig(server, "www.example.com. TXT").data("TXT"), ["\"theirs\""]);
    assert_eq!(dig(server, "mail.example.com. A").data("A"), ["203.0.113.25"]);
    assert_eq!(dig(server, "here.example.com. TXT").data("TXT"), ["\"ours\""]);
    assert_eq!(dig(server, "ns1.example.com. A").data("A"), ["198.51.100.53"]);
    assert_eq!(dig(server, "none.example.com. A").status, "NXDOMAIN");
}

/// The records of a transfer.
fn transferred(server: SocketAddr, kind: &str) -> Vec<String> {
    let text = dig(server, &format!("example.com. {kind}")).text;
    let records = text.lines().filter(|line| !line.is_empty() && !line.starts_with(';'));
    records.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// Knot with the zone, which it announces to `secondary`; a zone file that changes gives a
/// journal from which changes are sent.
struct Knot {
    peer: Peer,
    address: Ipv4Addr,
}

impl Knot {
    fn start(address: Ipv4Addr, secondary: SocketAddr, text: &str) -> Knot {
        Knot::start_with(address, secondary, text, "")
    }

    /// With more that its zone is told.
    fn start_with(address: Ipv4Addr, secondary: SocketAddr, text: &str, more: &str) -> Knot {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let at = directory.path().display();
        let conf = format!(
            "server:\n  rundir: \"{at}\"\n  listen: {address}@{DNS_PORT}\n  udp-workers: 1\n\
             \x20 tcp-workers: 1\n  background-workers: 1\n\
             control:\n  listen: \"{at}/control\"\n\
             log:\n  - target: stderr\n    any: info\n\
             database:\n  storage: \"{at}/db\"\n\
             key:\n  - id: xfr.example.com\n    algorithm: hmac-sha256\n    secret: {SECRET}\n\
             remote:\n  - id: portolan\n    address: {}@{}\n    via: {address}\n\
             \x20   key: xfr.example.com\n\
             acl:\n  - id: take\n    key: xfr.example.com\n    action: transfer\n\
             zone:\n  - domain: example.com.\n    file: \"{at}/zone\"\n    storage: \"{at}\"\n\
             \x20   zonefile-sync: -1\n    zonefile-load: difference\n\
             \x20   journal-content: changes\n    notify: portolan\n    acl: take\n{more}",
            secondary.ip(),
            secondary.port(),
        );
        std::fs::create_dir(directory.path().join("db")).expect("a directory");
        write(directory.path(), "knot.conf", &conf);
        write(directory.path(), "zone", text);
        let listens = (address, DNS_PORT).into();
        let peer = Peer::spawn(directory, listens, "knotd", &["-c", "knot.conf"]);
        let zones = [PeerZone { origin: "example.com.", text }];
        Knot { peer: peer.wait_for(&zones), address }
    }

    fn change(&self, text: &str) {
        write(self.peer.path(), "zone", text);
        let reloaded = Command::new("knotc")
            .arg("-s")
            .arg(self.peer.path().join("control"))
            .args(["zone-reload", "example.com."])
            .output()
            .expect("knotc runs");
        assert!(reloaded.status.success(), "{reloaded:?}");
    }

    fn as_primary(&self) -> String {
        let Knot { address, .. } = self;
        format!("{{ address = \"{address}:{DNS_PORT}\", key = \"xfr.example.com\" }}")
    }
}

/// The files of a server, and where it will answer.
fn files(rest: &str) -> (Files, SocketAddr) {
    let files = Server::files(rest);
    let dns = (files.addresses().host(1), DNS_PORT).into();
    (files, dns)
}

#[test]
fn of_knot_changes_arrive_as_they_are_announced_and_a_restart_needs_no_primary() {
    if !needs("a secondary of Knot", &["knotd", "knotc", "dig"]) {
        return;
    }
    let (files, dns) = files(&with_key(SECRET));
    let knot = Knot::start(files.addresses().host(2), dns, &zone(1, SLOW, ""));
    let overlay = overlay(&knot.as_primary()) + "[transfer]\nallow = [\"127.0.0.0/8\"]\n";
    let mut server = files.zone("example.com.toml", &overlay).start();
    // Before the first question is answered.
    assert_eq!(serial(dns), Some(1));
    assert_laid_over(dns);
    for n in 2..8 {
        let added: String =
            (0..n).map(|host| format!("host-{host} A 198.51.100.{host}\n")).collect();
        knot.change(&zone(n, SLOW, &added));
        until_serial(&server, n);
        let last = format!("host-{}.example.com. A", n - 1);
        assert_eq!(dig(dns, &last).data("A"), [format!("198.51.100.{}", n - 1)]);
    }
    let changes = transferred(dns, "IXFR=6");
    assert!(changes.len() > 4 && changes[1].contains(" 6 3600"), "{changes:?}");
    knot.change(&zone(20, SLOW, "last TXT \"x\"\n"));
    until_serial(&server, 20);
    assert_eq!(dig(dns, "host-1.example.com. A").status, "NXDOMAIN");
    assert_laid_over(dns);
    let log = server.log();
    assert!(!log.contains("the whole zone is asked for"), "changes were enough: {log}");
    // Others take from here what lies here, with the default answers of what is steered.
    let whole = transferred(dns, "AXFR");
    let has = |record: &str| whole.iter().any(|line| line.ends_with(record));
    assert!(has("A 203.0.113.10") && has("A 203.0.113.25") && has("TXT \"theirs\""), "{whole:?}");
    assert!(!has("A 198.51.100.80") && !has("A 198.51.100.25"), "{whole:?}");
    drop(knot);
    server.kill();
    server.restart();
    assert_eq!(serial(dns), Some(20));
    assert_eq!(dig(dns, "last.example.com. TXT").data("TXT"), ["\"x\""]);
    assert_laid_over(dns);
    // What lies over it can be changed then, too.
    let more = overlay + "[names.more]\npool = \"web\"\n";
    server.write("zones/example.com.toml", &more);
    until("another name is steered", || dig(dns, "more.example.com. A").status == "NOERROR");
    assert_eq!(dig(dns, "more.example.com. A").address(), "203.0.113.10");
    assert_eq!(serial(dns), Some(20));
    assert_laid_over(dns);
    let (told, code) = server.verb(&["check"]);
    assert!(code == 0 && told.contains("hide what the primary has: mail.example.com. A"), "{told}");
}

#[test]
fn of_bind_changes_arrive_by_dynamic_updates() {
    if !needs("a secondary of BIND", &["named", "nsupdate", "dig"]) {
        return;
    }
    let (files, dns) = files(&with_key(SECRET));
    let text = zone(1, SLOW, "");
    let zones = [PeerZone { origin: "example.com.", text: &text }];
    let key = format!("key \"xfr.example.com\" {{ algorithm hmac-sha256; secret \"{SECRET}\"; }};");
    let bind = Peer::bind(
        &zones,
        &key,
        &format!(
            "allow-update {{ key xfr.example.com; }}; allow-transfer {{ key xfr.example.com; }};\n\
             notify-delay 0; notify-source 127.0.0.1;\n\
             also-notify {{ {} port {} key xfr.example.com; }};",
            dns.ip(),
            dns.port()
        ),
    );
    let primary = format!("{{ address = \"{}\", key = \"xfr.example.com\" }}", bind.dns());
    let server = files.zone("example.com.toml", &overlay(&primary)).start();
    assert_eq!(serial(dns), Some(1));
    assert_laid_over(dns);
    for n in 2..6 {
        let update = format!(
            "update add host-{n}.example.com. 60 A 198.51.100.{n}\n\
             update delete host-{}.example.com.\n\
             update add www.example.com. 300 A 198.51.100.{n}",
            n - 1
        );
        nsupdate(bind.dns(), &update);
        until(&format!("host-{n}"), || {
            let answer = dig(dns, &format!("host-{n}.example.com. A"));
            answer.data("A") == [format!("198.51.100.{n}")]
        });
        assert_eq!(dig(dns, &format!("host-{}.example.com. A", n - 1)).status, "NXDOMAIN");
        assert_eq!(serial(dns), serial(bind.dns()));
        assert_laid_over(dns);
    }
    assert!(!server.log().contains("the whole zone is asked for"), "changes were enough");
}

fn nsupdate(server: SocketAddr, update: &str) {
    use std::io::Write;
    let mut child = Command::new("nsupdate")
        .args(["-y", &format!("hmac-sha256:xfr.example.com:{SECRET}")])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("nsupdate runs");
    let commands =
        format!("server {} {}\nzone example.com.\n{update}\nsend\n", server.ip(), server.port());
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(commands.as_bytes()).expect("nsupdate listens");
    drop(stdin);
    assert!(child.wait().expect("nsupdate ends").success());
}

/// The zone file of a zone that the test's own primary has.
fn plain(primary: SocketAddr) -> String {
    format!("origin = \"example.com.\"\nprimary = \"{primary}\"\n")
}

const FAST: [u32; 3] = [1, 1, 86400];

fn own_primary(files: &Files, timers: [u32; 3]) -> Primary {
    Primary::start((files.addresses().host(2), DNS_PORT).into(), 1, timers)
}

#[track_caller]
fn assert_version(dns: SocketAddr, wanted: u32) {
    assert_eq!(serial(dns), Some(wanted));
    let address = format!("198.51.100.{wanted}");
    assert_eq!(dig(dns, "www.example.com. A").data("A"), [address]);
}

#[test]
fn a_transfer_that_goes_wrong_changes_nothing() {
    if !needs("transfers that go wrong", &["dig"]) {
        return;
    }
    let (files, dns) = files("");
    let primary = own_primary(&files, FAST);
    let server = files.zone("example.com.toml", &plain(primary.address())).start();
    assert_version(dns, 1);
    let mut good = 1;
    for (version, manner) in (1..).map(|n| 10 * n).zip([
        Manner::Cuts,
        Manner::CutsMessages,
        Manner::Garbles,
        Manner::SendsAnother,
        Manner::Changes,
        Manner::HasNoSoa,
    ]) {
        primary.turn(manner, version);
        // However often it is announced: the second comes when the first has failed.
        until(&format!("{manner:?}"), || {
            assert_eq!(primary.announce(dns), Some(0xa400));
            primary.asked() > 1
        });
        assert_version(dns, good);
        let log = server.log();
        assert!(log.contains("the zone cannot be refreshed"), "{manner:?}: {log}");
    }
    // Once it is whole, it is taken by the timers alone.
    good = 100;
    primary.turn(Manner::Good, good);
    until_serial(&server, good);
    assert_version(dns, good);
    // Where changes cannot be had, the whole is taken.
    for (version, manner) in [(101, Manner::KnowsNoChanges), (102, Manner::Misfits)] {
        primary.turn(manner, version);
        until_serial(&server, version);
        assert_version(dns, version);
        assert_eq!(primary.asked(), 2, "{manner:?}");
    }
    // What is odd costs itself.
    primary.turn(Manner::IsOdd, 103);
    until_serial(&server, 103);
    assert_version(dns, 103);
    assert_eq!(dig(dns, "two.example.com. TXT").data("TXT"), ["\"x\""]);
    assert_eq!(dig(dns, "short.example.com. A").status, "NXDOMAIN");
}

#[test]
fn a_zone_expires_and_comes_back() {
    if !needs("a zone that expires", &["dig"]) {
        return;
    }
    let (files, dns) = files("");
    let primary = own_primary(&files, [1, 1, 5]);
    // The first of the primaries is never there.
    let dead = SocketAddr::from((files.addresses().host(9), DNS_PORT));
    let primaries = format!("[\"{dead}\", \"{}\"]", primary.address());
    let zone = format!("origin = \"example.com.\"\nprimary = {primaries}\n");
    let mut server = files.zone("example.com.toml", &zone).start();
    assert_version(dns, 1);
    primary.turn(Manner::Refuses, 1);
    let fails = || dig(dns, "www.example.com. A").status == "SERVFAIL";
    until("the zone expires", fails);
    assert!(dig(dns, "www.example.com. A").text.contains("EDE: 24"));
    // It has not been forgotten that it expired.
    server.kill();
    server.restart();
    assert!(fails());
    primary.turn(Manner::Good, 1);
    until("the zone comes back", || serial(dns) == Some(1));
    assert_version(dns, 1);
    assert_eq!(primary.asked(), 0, "what was kept is served again");
    // Nothing was lost on the way.
    primary.turn(Manner::Good, 2);
    until_serial(&server, 2);
}

#[test]
fn a_reload_does_not_take_a_zone_away_of_which_nothing_is_kept_any_more() {
    if !needs("a zone of which nothing is kept", &["dig"]) {
        return;
    }
    let (files, dns) = files("");
    let primary = own_primary(&files, FAST);
    let zone = plain(primary.address());
    let server = files.zone("example.com.toml", &zone).start();
    assert_version(dns, 1);
    primary.turn(Manner::Refuses, 1);
    std::fs::remove_dir_all(server.path("transferred")).expect("removed");
    server.write("zones/example.com.toml", &format!("{zone}# changed\n"));
    until("the change is refused", || server.log().contains("gone or cannot be read"));
    assert_version(dns, 1);
    assert!(server.api("/api/v1/status")["load"]["last_error"].is_string());
    // Whoever insists is believed.
    server.signal("HUP");
    until("the primary is asked", || dig(dns, "www.example.com. A").status == "SERVFAIL");
    primary.turn(Manner::Good, 1);
    until_serial(&server, 1);
}

#[test]
fn a_zone_that_never_came_fails_until_it_does() {
    if !needs("a zone that never came", &["dig"]) {
        return;
    }
    let (files, dns) = files("");
    let primary = own_primary(&files, FAST);
    primary.turn(Manner::Refuses, 1);
    let other =
        "origin = \"example.net.\"\nrecords = \"@ SOA ns h 1 2h 15m 2w 5m\\n@ NS ns.example.org.\"";
    let files = files.zone("example.net.toml", other);
    let server = files.zone("example.com.toml", &plain(primary.address())).start();
    let answer = dig(dns, "www.example.com. A");
    assert_eq!(answer.status, "SERVFAIL");
    assert!(answer.text.contains("EDE: 14"), "{}", answer.text);
    assert_eq!(dig(dns, "example.net. SOA").status, "NOERROR");
    primary.turn(Manner::Good, 1);
    until_serial(&server, 1);
    assert_version(dns, 1);
}

#[test]
fn a_transfer_that_is_not_signed_as_it_must_be_is_not_believed() {
    if !needs("transfers that are not signed", &["knotd", "knotc", "dig"]) {
        return;
    }
    let (files, dns) = files(&with_key("AAAA24gyYsEzbuTVJRUMoqGFmN3LYgVDzJ/3oRSP7ys="));
    let knot = Knot::start(files.addresses().host(2), dns, &zone(1, SLOW, ""));
    let unsigned = Primary::start((files.addresses().host(3), DNS_PORT).into(), 7, FAST);
    let key = ", key = \"xfr.example.com\"";
    let unsigned = format!("{{ address = \"{}\"{key} }}", unsigned.address());
    let primaries = format!("[{}, {unsigned}]", knot.as_primary());
    let server = files.zone("example.com.toml", &overlay(&primaries)).start();
    assert_eq!(dig(dns, "www.example.com. A").status, "SERVFAIL");
    let log = server.log();
    assert!(log.contains("signature is wrong") && log.contains("is not signed"), "{log}");
    // The right secret, and all is well.
    let config = std::fs::read_to_string(server.path("portolan.toml")).expect("our own file");
    server.write("portolan.toml", &config.replace("AAAA24gyYs", &SECRET[..10]));
    until_serial(&server, 1);
    assert_laid_over(dns);
}

#[test]
fn a_signed_zone_is_served_unsigned_and_check_says_so() {
    if !needs("a secondary of a signed zone", &["knotd", "knotc", "dig"]) {
        return;
    }
    let (files, dns) = files(&with_key(SECRET));
    let knot = Knot::start_with(
        files.addresses().host(2),
        dns,
        &zone(1, SLOW, &format!("sub NS ns.example.net.\nsub DS 1 8 2 {}\n", "ab".repeat(32))),
        "    dnssec-signing: on\n",
    );
    let server = files.zone("example.com.toml", &overlay(&knot.as_primary())).start();
    until("the zone is there", || serial(dns).is_some());
    assert_laid_over(dns);
    for (question, status) in [
        ("example.com. DNSKEY +dnssec", "NOERROR"),
        ("example.com. NSEC +dnssec", "NOERROR"),
        ("www.example.com. RRSIG +dnssec", "NOERROR"),
    ] {
        let answer = dig(dns, question);
        assert_eq!((answer.status.as_str(), answer.answer.len()), (status, 0), "{question}");
        assert!(answer.authority.iter().all(|record| record.contains(" SOA ")), "{question}");
    }
    let ds = dig(dns, "sub.example.com. DS");
    assert_eq!(ds.answer.len(), 1, "{}", ds.text);
    let (told, _) = server.verb(&["check"]);
    assert!(told.contains("the primary signs example.com."), "{told}");
}
