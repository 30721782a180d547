//! `transparent`: backends see the client's own address, in networks where answers to it come back
//! through Portolan, and a reset or an end passes as it does otherwise.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::support::namespaces::{Host, Switch, inside};

const SOON: Duration = Duration::from_secs(60);
const BACKENDS: [&str; 2] = ["198.51.100.2:80", "[2001:db8:1::2]:80"];
const VIPS: [&str; 2] = ["203.0.113.1:80", "[2001:db8:2::1]:80"];
const CLIENTS: [&str; 2] = ["203.0.113.5", "2001:db8:2::5"];

/// Says to every client at which address it sees it, and ends.
fn tell_addresses(host: &Host) {
    let namespace = host.namespace();
    let (listens, until_it_listens) = mpsc::channel();
    std::thread::spawn(move || {
        namespace.enter();
        let listeners = BACKENDS.map(|address| TcpListener::bind(address).expect("a free port"));
        listens.send(()).expect("the test waits");
        for listener in listeners {
            std::thread::spawn(move || {
                while let Ok((mut stream, from)) = listener.accept() {
                    let mut heard = [0; 5];
                    let _ = stream.read_exact(&mut heard);
                    let _ = write!(stream, "{} said {}", from.ip(), heard.escape_ascii());
                }
            });
        }
    });
    until_it_listens.recv().expect("it listens");
}

fn ask(host: &Host, vip: &str) -> std::io::Result<String> {
    let vip: SocketAddr = vip.parse().expect("an address");
    host.within(|| {
        let mut stream = TcpStream::connect_timeout(&vip, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(SOON))?;
        stream.write_all(b"hello")?;
        let mut said = String::new();
        stream.read_to_string(&mut said)?;
        Ok(said)
    })
}

#[test]
fn a_backend_sees_who_the_client_is() {
    if !inside("transparent::a_backend_sees_who_the_client_is", &[]) {
        return;
    }
    let lan = Switch::new("lan");
    let web = lan.host("web", Ipv4Addr::new(198, 51, 100, 2));
    let client = lan.host("client", Ipv4Addr::new(203, 0, 113, 5));
    let balancer = lan.host("balancer", Ipv4Addr::new(198, 51, 100, 1));
    web.ip("addr add 2001:db8:1::2/64 dev eth0 nodad");
    client.ip("addr add 2001:db8:2::5/64 dev eth0 nodad");
    balancer.ip("addr add 203.0.113.1/24 dev eth0");
    balancer.ip("addr add 2001:db8:1::1/64 dev eth0 nodad");
    balancer.ip("addr add 2001:db8:2::1/64 dev eth0 nodad");
    // What backends answer comes back to who asked in the clients' names.
    web.ip("route add default via 198.51.100.1");
    web.ip("-6 route add default via 2001:db8:1::1");
    balancer.ip("rule add from 198.51.100.2 iif eth0 lookup 100");
    balancer.ip("route add local default dev lo table 100");
    balancer.ip("-6 rule add from 2001:db8:1::2 iif eth0 lookup 100");
    balancer.ip("-6 route add local default dev lo table 100");
    tell_addresses(&web);

    let directory = tempfile::tempdir().expect("a temporary directory");
    let service = |name, vip, backend| {
        format!(
            "[[l4.services]]\nname = \"{name}\"\nlisten = \"{vip}\"\ntransparent = true\n\
             backends = [{{ address = \"{backend}\" }}]\n"
        )
    };
    let services = [service("v4", VIPS[0], BACKENDS[0]), service("v6", VIPS[1], BACKENDS[1])];
    std::fs::write(directory.path().join("portolan.toml"), services.concat()).expect("a file");
    let mut process = balancer
        .command(env!("CARGO_BIN_EXE_portolan"))
        .args(["serve", "--config", "portolan.toml"])
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .spawn()
        .expect("the binary runs");

    let deadline = Instant::now() + SOON;
    for (vip, address) in VIPS.iter().zip(CLIENTS) {
        let said = loop {
            match ask(&client, vip) {
                Ok(said) => break said,
                Err(error) => assert!(Instant::now() < deadline, "{vip}: {error}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(said, format!("{address} said hello"));
    }
    let _ = process.kill();
    let _ = process.wait();
}
