//! Whole prefixes and ranges of ports: whoever comes to one of them is served, and nobody else.

use std::ops::RangeInclusive;

use super::*;
use crate::l4::preface::proxy_header;
use crate::l4::settings::{Listen, Protocol, ProxyVersion};

fn listen(addresses: &str, ports: &RangeInclusive<u16>) -> Listen {
    Listen { addresses: addresses.parse().unwrap(), ports: ports.clone() }
}

/// A service on these, the backends of which are told whom they answer for.
fn told(name: &str, backend: &Backend, listens: &[Listen]) -> ServiceSettings {
    let mut service = service(name, &[(backend.address, 1)]);
    service.listen = listens.to_vec();
    service.send_proxy = Some(ProxyVersion::V1);
    service
}

/// The name of the backend that is reached there, which must be told of that very address.
async fn reached(at: &str, port: u16) -> char {
    let at = SocketAddr::new(at.parse().unwrap(), port);
    let mut stream = soon(TcpStream::connect(at)).await.unwrap();
    let name = soon(stream.read_u8()).await.unwrap();
    let mut bytes = Vec::new();
    loop {
        bytes.push(soon(stream.read_u8()).await.unwrap());
        if let Some((header, _)) = proxy_header::read(&bytes).unwrap() {
            assert_eq!(header.endpoints.unwrap().destination, at);
            return name.into();
        }
    }
}

async fn assert_reset_at(at: &str, port: u16) {
    match soon(TcpStream::connect((at, port))).await {
        Ok(mut stream) => assert_reset(&mut stream).await,
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
    }
}

async fn is_closed(at: &str, port: u16) -> bool {
    soon(TcpStream::connect((at, port))).await.is_err()
}

#[tokio::test]
async fn every_address_and_port_of_a_small_prefix_is_served_and_no_other() {
    let backend = Backend::named(b'a').await;
    let ports = free_ports(3);
    let service = told("web", &backend, &[listen("127.88.1.4/30", &ports)]);
    let l4 = run(service).await;
    for host in 4..8 {
        for port in ports.clone() {
            assert_eq!(reached(&format!("127.88.1.{host}"), port).await, 'a');
        }
    }
    assert!(is_closed("127.88.1.8", *ports.start()).await);
    assert!(is_closed("127.88.1.3", *ports.start()).await);
    assert_eq!(
        l4.load().services[0].listen[0].to_string(),
        format!("127.88.1.4/30:{}-{}", ports.start(), ports.end())
    );
}

#[tokio::test]
async fn large_prefixes_share_a_port_and_single_addresses_go_before_them() {
    let [a, b, c] =
        [Backend::named(b'a').await, Backend::named(b'b').await, Backend::named(b'c').await];
    let ports = free_ports(2);
    let port = *ports.start();
    let large = told("a", &a, &[listen("127.96.0.0/12", &ports)]);
    let two = [listen("127.112.0.0/12", &ports), listen("127.80.0.0/14", &ports)];
    let other = told("b", &b, &two);
    let single = told("c", &c, &[listen("127.91.0.1/32", &(port..=port))]);
    let l4 = start(settings([large.clone(), other.clone(), single])).await.unwrap();
    // Often enough for every socket of the port to have had some.
    for host in 0..32 {
        let at = |net: &str| format!("{net}.{host}.7");
        assert_eq!(reached(&at("127.100"), port).await, 'a');
        assert_eq!(reached(&at("127.120"), port + 1).await, 'b');
        assert_eq!(reached(&at("127.83"), port).await, 'b');
        assert_eq!(reached("127.91.0.1", port).await, 'c');
    }
    assert_reset_at("127.91.0.2", port).await;

    // One goes, and what comes is still told apart.
    l4.replace(settings([other])).await.unwrap();
    assert_eq!(reached("127.120.0.7", port).await, 'b');
    assert_reset_at("127.100.0.7", port).await;
}

/// A connection of which the last segment of the handshake goes with its first words, or a little
/// later: until then it stands for its client alone.
async fn begin_to_connect(at: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    rustix::net::sockopt::set_tcp_quickack(&socket, false).unwrap();
    let connect = move || {
        socket.connect(&at.into()).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    };
    let socket = soon(tokio::task::spawn_blocking(connect)).await.unwrap();
    TcpStream::from_std(socket.into()).unwrap()
}

#[tokio::test]
async fn who_is_about_to_connect_is_served_though_a_service_at_the_same_port_goes() {
    let [a, b] = [Backend::named(b'a').await, Backend::named(b'b').await];
    let ports = free_ports(1);
    let mut goes = service("a", &[(a.address, 1)]);
    goes.listen = vec![listen("127.96.0.0/12", &ports)];
    let mut stays = service("b", &[(b.address, 1)]);
    stays.listen = vec![listen("127.112.0.0/12", &ports)];
    let l4 = start(settings([goes, stays.clone()])).await.unwrap();
    let at = |host: u8| SocketAddr::from(([127, 120, 0, host], *ports.start()));
    let mut streams = Vec::new();
    for host in 0..40 {
        streams.push(begin_to_connect(at(host)).await);
    }
    l4.replace(settings([stays])).await.unwrap();
    // And who comes now, to whichever of the sockets.
    let later = (40..60).map(|host| tokio::spawn(begin_to_connect(at(host))));
    for later in later.collect::<Vec<_>>() {
        streams.push(soon(later).await.unwrap());
    }
    for mut stream in streams {
        stream.write_all(b"hello").await.unwrap();
        let mut heard = [0; 6];
        soon(stream.read_exact(&mut heard)).await.unwrap();
        assert_eq!(&heard, b"bhello");
    }
}

#[tokio::test]
async fn what_is_at_no_interface_is_listened_on_all_the_same_and_what_is_taken_is_not() {
    let backend = Backend::named(b'a').await;
    let ports = free_ports(1);
    let away = [listen("203.0.113.0/30", &ports), listen("2001:db8::/126", &ports)];
    let l4 = run(told("web", &backend, &away)).await;
    assert_eq!(l4.load().services[0].listen, away);

    let other = free_ports(1);
    let taken = TcpListener::bind(("127.88.2.1", *other.start())).await.unwrap();
    for addresses in ["127.88.2.0/30", "127.80.0.0/12"] {
        let settings = settings([told("web", &backend, &[listen(addresses, &other)])]);
        let error = start(settings).await.unwrap_err().to_string();
        assert!(error.contains(addresses) && error.contains("in use"), "{error}");
    }
    drop(taken);
}

/// An echo of datagrams with a name before.
async fn echo_of_datagrams(name: u8) -> SocketAddr {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 100];
        while let Ok((length, from)) = socket.recv_from(&mut buffer[1..]).await {
            buffer[0] = name;
            let _ = socket.send_to(&buffer[..=length], from).await;
        }
    });
    address
}

/// The name of who answers datagrams there, from there.
async fn answers(at: &str, port: u16) -> char {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    // A connected socket hears that address and no other.
    socket.connect((at, port)).await.unwrap();
    socket.send(b"hello").await.unwrap();
    let mut answer = [0; 10];
    let length = soon(socket.recv(&mut answer)).await.unwrap();
    assert_eq!(&answer[1..length], b"hello");
    answer[0].into()
}

#[tokio::test]
async fn datagrams_to_any_address_of_a_prefix_are_answered_from_it() {
    let (a, b) = (echo_of_datagrams(b'a').await, echo_of_datagrams(b'b').await);
    let ports = free_ports(2);
    let port = *ports.start();
    let udp = |name, backend, addresses| {
        let mut service = service(name, &[(backend, 1)]);
        service.protocol = Protocol::Udp;
        service.listen = vec![listen(addresses, &ports)];
        service
    };
    let small = start(settings([udp("small", a, "127.88.3.0/30")])).await.unwrap();
    for host in 0..4 {
        assert_eq!(answers(&format!("127.88.3.{host}"), port).await, 'a');
        assert_eq!(answers(&format!("127.88.3.{host}"), port + 1).await, 'a');
    }
    small.stop(Duration::ZERO).await;
    drop(small);
    let large = [udp("a", a, "127.96.0.0/12"), udp("b", b, "127.112.0.0/12")];
    let _large = start(settings(large)).await.unwrap();
    for host in 0..16 {
        assert_eq!(answers(&format!("127.100.0.{host}"), port).await, 'a');
        assert_eq!(answers(&format!("127.120.0.{host}"), port + 1).await, 'b');
    }
}
