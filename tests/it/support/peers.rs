//! Other servers to compare with: each runs as the current user, on addresses of the test's own,
//! with all its state in a temporary directory.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::server::DNS_PORT;
use super::{Addresses, dig, until};

/// A peer that has been asked to end, and has not by then, is killed.
const ENDS_WITHIN: Duration = Duration::from_secs(20);

/// A running server of another make; stopped when dropped.
pub struct Peer {
    child: Child,
    directory: tempfile::TempDir,
    address: SocketAddr,
}

/// A zone for a peer.
#[derive(Clone, Copy)]
pub struct PeerZone<'a> {
    /// With the final dot.
    pub origin: &'a str,
    /// In master-file form.
    pub text: &'a str,
}

/// A datacenter.
pub struct Site {
    pub name: &'static str,
    /// In degrees.
    pub latitude: f64,
    /// In degrees.
    pub longitude: f64,
    /// What is answered.
    pub address: Ipv4Addr,
}

impl Peer {
    /// NLnet Labs' NSD.
    pub fn nsd(address: Ipv4Addr, zones: &[PeerZone<'_>]) -> Peer {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let at = directory.path().display();
        let mut conf = format!(
            "server:\n server-count: 1\n ip-address: {address}@{DNS_PORT}\n username: \"\"\n\
             \x20chroot: \"\"\n zonesdir: \"{at}\"\n database: \"\"\n pidfile: \"{at}/pid\"\n\
             \x20xfrdfile: \"{at}/xfrd\"\n zonelistfile: \"{at}/zonelist\"\n rrl-ratelimit: 0\n\
             \x20minimal-responses: yes\n\
             \x20cookie-secret-file: \"{at}/cookies\"\nremote-control:\n control-enable: no\n"
        );
        for file in write_zones(directory.path(), zones) {
            conf += &format!("zone:\n name: \"{}\"\n zonefile: \"{}\"\n", file.0, file.1);
        }
        write(directory.path(), "nsd.conf", &conf);
        Peer::spawn(directory, (address, DNS_PORT).into(), "nsd", &["-d", "-c", "nsd.conf"])
            .wait_for(zones)
    }

    /// CZ.NIC's Knot DNS.
    pub fn knot(address: Ipv4Addr, zones: &[PeerZone<'_>]) -> Peer {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let at = directory.path().display();
        let mut conf = format!(
            "server:\n  rundir: \"{at}\"\n  listen: {address}@{DNS_PORT}\n  udp-workers: 1\n\
             \x20 tcp-workers: 1\n  background-workers: 1\n\
             log:\n  - target: stderr\n    any: info\n\
             database:\n  storage: \"{at}/db\"\n\
             template:\n  - id: default\n    storage: \"{at}\"\n    journal-content: none\n\
             \x20   zonefile-sync: -1\n    semantic-checks: off\nzone:\n"
        );
        for (origin, file) in write_zones(directory.path(), zones) {
            conf += &format!("  - domain: \"{origin}\"\n    file: \"{file}\"\n");
        }
        write(directory.path(), "knot.conf", &conf);
        Peer::spawn(directory, (address, DNS_PORT).into(), "knotd", &["-c", "knot.conf"])
            .wait_for(zones)
    }

    /// ISC's BIND, on a port of its own, as it listens only on addresses that an interface has.
    /// `statements` are added to its configuration, `in_zone` to that of each zone.
    pub fn bind(zones: &[PeerZone<'_>], statements: &str, in_zone: &str) -> Peer {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let address = Addresses::free_port();
        let mut conf = format!(
            "options {{\n directory \".\"; pid-file none; session-keyfile none;\n\
             \x20listen-on port {} {{ {}; }}; listen-on-v6 {{ none; }};\n\
             \x20recursion no; dnssec-validation no; empty-zones-enable no; notify explicit;\n\
             \x20minimal-responses no-auth; zero-no-soa-ttl no;\n\
             \x20check-names primary ignore; check-integrity no;\n}};\n\
             controls {{ }};\n{statements}\n",
            address.port(),
            address.ip()
        );
        for (origin, file) in write_zones(directory.path(), zones) {
            conf += &format!("zone \"{origin}\" {{ type primary; file \"{file}\"; {in_zone} }};\n");
        }
        write(directory.path(), "named.conf", &conf);
        let arguments = ["-g", "-4", "-n", "1", "-c", "named.conf"];
        Peer::spawn(directory, address, "named", &arguments).wait_for(zones)
    }

    /// gdnsd with the zone `example.com`, in which `www` is answered with the address of the nearest
    /// of `sites`.
    pub fn gdnsd(address: Ipv4Addr, database: &Path, sites: &[Site]) -> Peer {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let at = directory.path().display();
        let list =
            |item: &dyn Fn(&Site) -> String| sites.iter().map(item).collect::<Vec<_>>().join(", ");
        let names = list(&|site| site.name.to_string());
        let coordinates =
            list(&|site| format!("{} => [{}, {}]", site.name, site.latitude, site.longitude));
        let addresses = list(&|site| format!("{} => {}", site.name, site.address));
        let conf = format!(
            "options => {{ listen => {address}, dns_port => {DNS_PORT}, udp_threads => 1,\n\
             tcp_threads => 1, run_dir => {at}/run, state_dir => {at}/state }}\n\
             plugins => {{ geoip => {{\n\
             maps => {{ all => {{ geoip2_db => {}, datacenters => [{names}],\n\
             auto_dc_coords => {{ {coordinates} }} }} }}\n\
             resources => {{ web => {{ map => all, dcmap => {{ {addresses} }} }} }} }} }}\n",
            database.display()
        );
        write(directory.path(), "config", &conf);
        for name in ["run", "state", "zones"] {
            std::fs::create_dir(directory.path().join(name)).expect("a directory");
        }
        let zone = "@ SOA ns1 hostmaster 1 7200 900 1209600 300\n@ NS ns1\n\
                    ns1 A 198.51.100.53\nwww 30 DYNA geoip!web\n";
        write(&directory.path().join("zones"), "example.com", zone);
        let mut peer =
            Peer::spawn(directory, (address, DNS_PORT).into(), "gdnsd", &["-c", ".", "start"]);
        peer.wait_for_answer("www.example.com A");
        peer
    }

    /// Unbound, a resolver that asks `server` for all of `example.com`, and tells it the /24 or the
    /// /56 of the client.
    pub fn unbound(address: Ipv4Addr, server: SocketAddr) -> Peer {
        Peer::unbound_for(address, "example.com", server)
    }

    /// The same for all of another zone, in which there is `ns1`.
    pub fn unbound_for(address: Ipv4Addr, origin: &str, server: SocketAddr) -> Peer {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let at = directory.path().display();
        let conf = format!(
            "server:\n interface: {address}@{DNS_PORT}\n username: \"\"\n chroot: \"\"\n\
             \x20directory: \"{at}\"\n pidfile: \"{at}/pid\"\n use-syslog: no\n num-threads: 1\n\
             \x20access-control: 127.0.0.0/8 allow\n do-not-query-localhost: no\n\
             \x20qname-minimisation: no\n module-config: \"subnetcache iterator\"\n\
             \x20send-client-subnet: {}\n client-subnet-always-forward: yes\n\
             \x20max-client-subnet-ipv4: 24\n max-client-subnet-ipv6: 56\n\
             remote-control:\n control-enable: no\n\
             stub-zone:\n name: \"{origin}\"\n stub-addr: {}@{}\n",
            server.ip(),
            server.ip(),
            server.port()
        );
        write(directory.path(), "unbound.conf", &conf);
        let arguments = ["-d", "-c", "unbound.conf"];
        let mut peer = Peer::spawn(directory, (address, DNS_PORT).into(), "unbound", &arguments);
        peer.wait_for_answer(&format!("ns1.{origin} A +recurse"));
        peer
    }

    /// A program that is given its files; `start` must wait until it answers.
    pub fn spawn(
        directory: tempfile::TempDir,
        address: SocketAddr,
        program: &str,
        arguments: &[&str],
    ) -> Peer {
        let log = std::fs::File::create(directory.path().join("log")).expect("a log");
        let path = std::env::var("PATH").unwrap_or_default();
        let child = Command::new(program)
            .args(arguments)
            .env("PATH", format!("{path}:/usr/sbin:/sbin"))
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        Peer { child, directory, address }
    }

    /// Waits until it answers with the SOA records of all `zones`.
    pub fn wait_for(mut self, zones: &[PeerZone<'_>]) -> Peer {
        for zone in zones {
            self.wait_for_answer(&format!("{} SOA", zone.origin));
        }
        self
    }

    /// Waits until the question has an answer.
    pub fn wait_for_answer(&mut self, question: &str) {
        let address = self.dns();
        until("the peer is ready", || {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("{status}: {}", self.log());
            }
            !dig(address, &format!("{question} +tries=1 +time=1")).answer.is_empty()
        });
    }

    /// The directory with its files.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Where it answers.
    pub fn dns(&self) -> SocketAddr {
        self.address
    }

    /// The process's number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Asked to end, it also ends the processes it has started; if it can.
        let pid = self.child.id().to_string();
        let asked = Command::new("kill").args(["-s", "TERM", &pid]).status();
        let deadline = Instant::now() + ENDS_WITHIN;
        while asked.as_ref().is_ok_and(|status| status.success())
            && matches!(self.child.try_wait(), Ok(None))
            && Instant::now() < deadline
        {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of a peer ---\n{}", self.log());
        }
    }
}

/// Writes a file for a peer.
pub fn write(directory: &Path, file: &str, text: &str) {
    std::fs::write(directory.join(file), text).expect("the file can be written");
}

/// Origins and file names.
fn write_zones<'z>(directory: &Path, zones: &[PeerZone<'z>]) -> Vec<(&'z str, String)> {
    let write_zone = |(index, zone): (usize, &PeerZone<'z>)| {
        let file = format!("{index}.zone");
        write(directory, &file, zone.text);
        (zone.origin, file)
    };
    zones.iter().enumerate().map(write_zone).collect()
}
