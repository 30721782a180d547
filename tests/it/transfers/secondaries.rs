//! NSD and Knot as secondaries of Portolan, through a hundred random changes.

use std::net::{Ipv4Addr, SocketAddr};

use hickory_proto::op::Message;
use hickory_proto::rr::RData;

use super::super::asking::ask_udp;
use super::super::support::peers::{Peer, write};
use super::super::support::server::DNS_PORT;
use super::super::support::{Server, needs, until};
use super::{SECRET, rest, taken, zone};

/// NSD as a secondary of `primary`.
fn nsd(address: Ipv4Addr, primary: SocketAddr) -> Peer {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let at = directory.path().display();
    let from = format!("{}@{}", primary.ip(), primary.port());
    let conf = format!(
        "server:\n server-count: 1\n ip-address: {address}@{DNS_PORT}\n username: \"\"\n\
         \x20chroot: \"\"\n zonesdir: \"{at}\"\n database: \"\"\n pidfile: \"{at}/pid\"\n\
         \x20xfrdfile: \"{at}/xfrd\"\n zonelistfile: \"{at}/zonelist\"\n rrl-ratelimit: 0\n\
         \x20xfrd-reload-timeout: 0\n verbosity: 2\n\
         \x20cookie-secret-file: \"{at}/cookies\"\nremote-control:\n control-enable: no\n\
         key:\n name: \"xfr.example.com\"\n algorithm: hmac-sha256\n secret: \"{SECRET}\"\n\
         zone:\n name: \"example.com\"\n zonefile: \"taken\"\n\
         \x20request-xfr: {from} xfr.example.com\n\
         \x20allow-notify: 127.0.0.0/8 xfr.example.com\n provide-xfr: 127.0.0.0/8 NOKEY\n"
    );
    write(directory.path(), "nsd.conf", &conf);
    Peer::spawn(directory, (address, DNS_PORT).into(), "nsd", &["-d", "-c", "nsd.conf"])
}

/// Knot as a secondary of `primary`.
fn knot(address: Ipv4Addr, primary: SocketAddr) -> Peer {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let at = directory.path().display();
    let conf = format!(
        "server:\n  rundir: \"{at}\"\n  listen: {address}@{DNS_PORT}\n  udp-workers: 1\n\
         \x20 tcp-workers: 1\n  background-workers: 1\n\
         log:\n  - target: stderr\n    any: info\n\
         database:\n  storage: \"{at}/db\"\n\
         key:\n  - id: xfr.example.com\n    algorithm: hmac-sha256\n    secret: {SECRET}\n\
         remote:\n  - id: portolan\n    address: {}@{}\n    key: xfr.example.com\n\
         acl:\n  - id: told\n    key: xfr.example.com\n    action: notify\n\
         \x20 - id: take\n    address: 127.0.0.0/8\n    action: transfer\n\
         zone:\n  - domain: example.com.\n    master: portolan\n    storage: \"{at}\"\n\
         \x20   zonefile-sync: -1\n    zonefile-load: none\n    journal-content: all\n\
         \x20   semantic-checks: off\n    acl: [told, take]\n",
        primary.ip(),
        primary.port(),
    );
    std::fs::create_dir(directory.path().join("db")).expect("a directory");
    write(directory.path(), "knot.conf", &conf);
    Peer::spawn(directory, (address, DNS_PORT).into(), "knotd", &["-c", "knot.conf"])
}

fn serial(server: SocketAddr) -> Option<u32> {
    let question = b"\x09\x09\0\0\0\x01\0\0\0\0\0\0\x07example\x03com\0\0\x06\0\x01";
    let answer = ask_udp(server, &[question.to_vec()]).pop()??;
    let answer = Message::from_vec(&answer).ok()?;
    match &answer.answers.first()?.data {
        RData::SOA(soa) => Some(soa.serial),
        _ => None,
    }
}

/// All records that a server has, in lower case, as NSD keeps them.
fn records(server: SocketAddr, more: &[&str]) -> Vec<String> {
    let mut records = taken(server, "axfr", more).expect("a transfer");
    records.iter_mut().for_each(|record| record.make_ascii_lowercase());
    records.sort();
    records
}

/// Records and members of the pool that change at random.
struct Changing {
    lots: fastrand::Rng,
    hosts: Vec<String>,
    addresses: Vec<u8>,
}

impl Changing {
    fn change(&mut self) {
        for _ in 0..self.lots.usize(1..4) {
            match self.lots.u8(..5) {
                0 | 1 => {
                    let (n, x) = (self.lots.u16(..200), self.lots.u8(..));
                    let record = match self.lots.u8(..5) {
                        0 => format!("h{n} 60 A 198.51.100.{x}"),
                        1 => format!("h{n} 60 AAAA 2001:db8::{x:x}"),
                        2 => format!("Text{n}.Deep 300 TXT \"{}\"", "x".repeat(usize::from(x))),
                        3 => format!("*.w{n} 300 MX {x} mail{x}"),
                        _ => format!(
                            "cut{n} 3600 NS ns{x}.cut{n}\nns{x}.cut{n} 3600 A 198.51.100.{x}"
                        ),
                    };
                    if !self.hosts.contains(&record) {
                        self.hosts.push(record);
                    }
                }
                2 if self.hosts.len() > 20 => {
                    let at = self.lots.usize(..self.hosts.len());
                    self.hosts.swap_remove(at);
                }
                3 => {
                    let at = self.lots.usize(..self.addresses.len());
                    self.addresses[at] = self.lots.u8(1..);
                }
                _ => self.addresses.rotate_left(1),
            }
        }
    }

    fn zone(&self, serial: u32, transfer: &str) -> String {
        let members = ["fra", "iad"].iter().zip(&self.addresses).map(|(datacenter, address)| {
            format!("{{ datacenter = \"{datacenter}\", addresses = [\"203.0.113.{address}\"] }}")
        });
        let members = members.collect::<Vec<_>>().join(", ");
        zone(serial, &self.hosts.join("\n"), &members, transfer)
    }
}

#[test]
fn nsd_and_knot_follow_a_hundred_random_changes_by_what_changed() {
    if !needs("NSD and Knot as secondaries", &["dig", "nsd", "knotd"]) {
        return;
    }
    const SERIALS: u32 = 100;
    const BATCH: u32 = 5;
    let files = Server::files(&rest());
    let addresses = files.addresses();
    let secondaries = [addresses.host(2), addresses.host(3)];
    let notify = secondaries.map(|address| {
        format!("{{ address = \"{address}:{DNS_PORT}\", key = \"xfr.example.com\" }}")
    });
    let transfer = format!(
        "allow = [\"127.0.0.0/8\"]\nkey = \"xfr.example.com\"\nnotify = [{}]",
        notify.join(", ")
    );
    let seed = 7;
    let hosts = (0..100).map(|n| format!("fixed{n} 300 A 198.51.100.{n}")).collect();
    let mut changing =
        Changing { lots: fastrand::Rng::with_seed(seed), hosts, addresses: vec![10, 20] };
    // Near the end of the numbers: they go around (RFC 1982).
    let first = 0_u32.wrapping_sub(SERIALS / 2);
    files.write("zones/example.com.toml", &changing.zone(first, &transfer));
    let server = files.start();
    let ours = server.dns();
    let peers = [nsd(secondaries[0], ours), knot(secondaries[1], ours)];
    let until_all = |wanted: u32| {
        for peer in &peers {
            until(&format!("serial {wanted} at {}", peer.dns()), || {
                serial(peer.dns()) == Some(wanted)
            });
        }
    };
    until_all(first);
    let key = format!("hmac-sha256:xfr.example.com:{SECRET}");
    for n in 1..=SERIALS {
        let number = first.wrapping_add(n);
        changing.change();
        server.write("zones/example.com.toml", &changing.zone(number, &transfer));
        server.signal("HUP");
        until(&format!("our serial {number}"), || serial(ours) == Some(number));
        if number == u32::MAX {
            // NSD 4.6 compares the serial numbers within one transfer as if they did not go around:
            // the step to 0 it has to take alone.
            until_all(number);
        }
        if n % BATCH == 0 {
            until_all(number);
            let expected = records(ours, &["-y", &key]);
            for peer in &peers {
                assert_eq!(records(peer.dns(), &[]), expected, "{} at {number}", peer.dns());
            }
        }
    }
    let transfers = &server.api("/api/v1/status")["transfers"];
    let count = |name: &str| transfers["out"][name].as_u64().unwrap();
    // One whole zone for each at the beginning, and those that were compared; on a busy machine one
    // more may be asked for before the first has come.
    let whole = 2 + u64::from(SERIALS / BATCH);
    assert!((whole..=whole + 2).contains(&count("started_full")), "{transfers}");
    assert!(count("started_incremental") >= 2 * u64::from(SERIALS / BATCH), "{transfers}");
    assert_eq!((count("aborted"), count("busy")), (0, 0));
    until("both know of the last", || {
        let status = server.api("/api/v1/status");
        let notify = status["transfers"]["notify"].as_array().unwrap().clone();
        notify.len() == 2 && notify.iter().all(|one| one["state"] == "acknowledged")
    });
}
