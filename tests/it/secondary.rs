//! Portolan as a secondary: of Knot and of BIND, with pools laid over what they send.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use super::support::peers::{Peer, PeerZone, write};
use super::support::server::{DNS_PORT, Files};
use super::support::{Server, dig, needs, until};

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

/// Knot with the zone, which it announces to `secondary`; a zone file that changes gives a
/// journal from which changes are sent.
struct Knot {
    peer: Peer,
    address: Ipv4Addr,
}

impl Knot {
    fn start(address: Ipv4Addr, secondary: SocketAddr, text: &str) -> Knot {
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
             \x20   journal-content: changes\n    notify: portolan\n    acl: take\n",
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
    let mut server = files.zone("example.com.toml", &overlay(&knot.as_primary())).start();
    // Before the first question is answered.
    assert_eq!(serial(dns), Some(1));
    assert_laid_over(dns);
    for n in 2..12 {
        let added: String = (0..n).map(|host| format!("host-{host} A 198.51.100.{n}\n")).collect();
        knot.change(&zone(n, SLOW, &added));
        until_serial(&server, n);
        let last = format!("host-{}.example.com. A", n - 1);
        assert_eq!(dig(dns, &last).data("A"), [format!("198.51.100.{n}")]);
    }
    knot.change(&zone(20, SLOW, "last TXT \"x\"\n"));
    until_serial(&server, 20);
    assert_eq!(dig(dns, "host-1.example.com. A").status, "NXDOMAIN");
    assert_laid_over(dns);
    let log = server.log();
    assert!(!log.contains("the whole zone is asked for"), "changes were enough: {log}");
    drop(knot);
    server.kill();
    server.restart();
    assert_eq!(serial(dns), Some(20));
    assert_eq!(dig(dns, "last.example.com. TXT").data("TXT"), ["\"x\""]);
    assert_laid_over(dns);
}
