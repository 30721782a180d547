//! A service on whole prefixes that come by a route and are no interface's addresses, of both
//! families, for connections and datagrams.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use crate::support::Server;
use crate::support::namespaces::{inside, run};

const PORT: u16 = 7000;

/// For each connection, what it is told first goes back.
fn reflector() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut first = Vec::new();
            let _ = BufReader::new(&stream).read_until(b'\n', &mut first);
            let _ = std::io::Write::write_all(&mut &stream, &first);
        }
    });
    address
}

fn echo() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = socket.local_addr().expect("its address");
    std::thread::spawn(move || {
        let mut packet = [0; 100];
        while let Ok((length, from)) = socket.recv_from(&mut packet) {
            let _ = socket.send_to(&packet[..length], from);
        }
    });
    address
}

#[test]
fn addresses_that_only_a_route_brings_are_served_and_answer_for_themselves() {
    let test = "prefixes::addresses_that_only_a_route_brings_are_served_and_answer_for_themselves";
    if !inside(test, &[]) {
        return;
    }
    run("ip route add local 203.0.113.0/24 dev lo");
    run("ip route add local 198.51.100.0/28 dev lo");
    run("ip -6 route add local 2001:db8:5::/64 dev lo");
    let listen = "listen = [\"203.0.113.0/24:7000-7001\", \"198.51.100.0/28:7000-7001\", \
                  \"[2001:db8:5::]/64:7000-7001\"]";
    let _server = Server::files(&format!(
        "[[l4.services]]\nname = \"tcp\"\n{listen}\nsend_proxy = \"v1\"\n\
         backends = [{{ address = \"{}\" }}]\n\
         [[l4.services]]\nname = \"udp\"\nprotocol = \"udp\"\n{listen}\n\
         backends = [{{ address = \"{}\" }}]\n",
        reflector(),
        echo(),
    ))
    .start();
    let addresses = ["203.0.113.0", "203.0.113.77", "203.0.113.255", "198.51.100.0"];
    let addresses = addresses.into_iter().chain(["198.51.100.15", "2001:db8:5::"]);
    for address in addresses.chain(["2001:db8:5::53", "2001:db8:5:0:ffff:ffff:ffff:ffff"]) {
        for port in [PORT, PORT + 1] {
            let vip = SocketAddr::new(address.parse::<IpAddr>().expect("an address"), port);
            let stream = TcpStream::connect(vip).unwrap_or_else(|error| panic!("{vip}: {error}"));
            let mut told = String::new();
            BufReader::new(&stream).read_line(&mut told).expect("what the backend was told");
            let words: Vec<&str> = told.split_whitespace().collect();
            assert_eq!((words[3], words[5]), (address, &*port.to_string()), "{told}");

            let near = if vip.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
            let socket = UdpSocket::bind(near).expect("a socket");
            socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
            // It hears who it asked, and nobody else.
            socket.connect(vip).expect("an address to ask");
            socket.send(b"hello").expect("a datagram goes");
            let mut answer = [0; 100];
            let length = socket.recv(&mut answer).unwrap_or_else(|error| panic!("{vip}: {error}"));
            assert_eq!(&answer[..length], b"hello");
        }
    }
}
