//! What comes before a backend is chosen: access lists, rates, PROXY headers, server names.

use std::net::Ipv4Addr;

use tokio::net::TcpSocket;

use super::*;
use crate::l4::preface::proxy_header::{self, Header};
use crate::l4::settings::{Access, AccessLog, ProxyVersion, RateLimit, Route};

const LINE: &[u8] = b"PROXY TCP4 198.51.100.7 203.0.113.10 51234 443\r\n";
/// A ClientHello with the server name `a.example`.
const HELLO: &[u8] = b"\x16\x03\x01\0\x41\x01\0\0\x3d\x03\x03\
    ................................\0\0\x02\x13\x01\x01\0\0\x12\0\0\0\x0e\0\x0c\0\0\x09a.example";

/// A connection from this address of the loopback network.
async fn from(l4: &L4, host: u8) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::new(127, 0, 0, host), 0).into()).unwrap();
    soon(socket.connect(vip(l4))).await
}

/// Lets the connection come to a backend that says `name`, and talks to it.
async fn comes_to(name: u8, mut stream: TcpStream, first: &[u8]) {
    assert_eq!(soon(stream.read_u8()).await.unwrap() as char, name as char);
    let mut heard = vec![0; first.len()];
    soon(stream.read_exact(&mut heard)).await.unwrap();
    assert_eq!(heard.escape_ascii().to_string(), first.escape_ascii().to_string());
    talk(&mut stream).await;
}

async fn is_turned_away(stream: io::Result<TcpStream>) {
    match stream {
        Ok(mut stream) => assert_reset(&mut stream).await,
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
    }
}

fn loopback() -> Vec<ipnet::IpNet> {
    vec!["127.0.0.0/8".parse().unwrap()]
}

/// What an echoing backend was told first, after its name.
async fn header_of(stream: &mut TcpStream) -> Header {
    assert_eq!(soon(stream.read_u8()).await.unwrap(), b'a');
    let mut bytes = Vec::new();
    loop {
        bytes.push(soon(stream.read_u8()).await.unwrap());
        if let Some((header, length)) = proxy_header::read(&bytes).unwrap() {
            assert_eq!(length, bytes.len());
            return header;
        }
    }
}

#[tokio::test]
async fn who_is_denied_or_comes_too_fast_is_reset_and_counted_and_others_are_not() {
    let backend = Backend::named(b'a').await;
    let mut service = service("web", &[(backend.address, 1)]);
    service.access = Access { allow: loopback(), deny: vec!["127.0.0.66/32".parse().unwrap()] };
    service.rate_limit =
        Some(RateLimit { per_source: Some(0.001), total: None, burst_seconds: 2000.0 });
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let log = Some(AccessLog { path: path.clone(), sample: 1.0 });
    let l4 = start(Settings { access_log: log, ..settings([service.clone()]) }).await.unwrap();
    is_turned_away(from(&l4, 66).await).await;
    for _ in 0..2 {
        comes_to(b'a', from(&l4, 7).await.unwrap(), b"").await;
    }
    is_turned_away(from(&l4, 7).await).await;
    comes_to(b'a', from(&l4, 8).await.unwrap(), b"").await;
    let status = &l4.load().services[0];
    assert_eq!((status.accepted_total, status.denied_total, status.limited_total), (3, 1, 1));
    let noted = || std::fs::read_to_string(&path).unwrap();
    let of = |cause: &str| noted().lines().filter(|line| line.contains(cause)).count();
    until("they are in the access log", || of("denied") + of("limited") == 2).await;
    assert_eq!(of(r#""client":"127.0.0.66:"#), of(r#""cause":"denied""#));

    service.access.deny = vec!["127.0.0.8/32".parse().unwrap()];
    l4.replace(settings([service])).await.unwrap();
    comes_to(b'a', from(&l4, 66).await.unwrap(), b"").await;
    is_turned_away(from(&l4, 8).await).await;
    is_turned_away(from(&l4, 7).await).await;
}

#[tokio::test]
async fn backends_are_told_who_comes_before_anything_else() {
    let backend = Backend::named(b'a').await;
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let mut service = service("web", &[(backend.address, 1)]);
        service.send_proxy = Some(version);
        let l4 = run(service).await;
        let mut stream = from(&l4, 7).await.unwrap();
        let endpoints = header_of(&mut stream).await.endpoints.unwrap();
        assert_eq!(endpoints.source, stream.local_addr().unwrap());
        assert_eq!(endpoints.destination, vip(&l4));
        talk(&mut stream).await;
    }
}

#[tokio::test]
async fn whom_a_proxy_speaks_for_is_who_is_let_in_and_whom_backends_are_told_of() {
    let backend = Backend::named(b'a').await;
    let mut service = service("web", &[(backend.address, 1)]);
    service.accept_proxy = vec!["127.0.0.7/32".parse().unwrap()];
    service.send_proxy = Some(ProxyVersion::V2);
    service.access = Access { allow: vec!["198.51.100.7/32".parse().unwrap()], deny: Vec::new() };
    let l4 = run(service).await;

    let mut stream = from(&l4, 7).await.unwrap();
    stream.write_all(&LINE[..9]).await.unwrap();
    tokio::task::yield_now().await;
    stream.write_all(&LINE[9..]).await.unwrap();
    let header = header_of(&mut stream).await;
    assert_eq!(Some(header), proxy_header::read(LINE).unwrap().map(|(header, _)| header));
    talk(&mut stream).await;

    let mut bytes = Vec::new();
    let endpoints = proxy_header::read(LINE).unwrap().unwrap().0.endpoints.unwrap();
    proxy_header::write(ProxyVersion::V2, &endpoints, b"\xea\0\x03abc", &mut bytes);
    let mut stream = from(&l4, 7).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    stream.write_all(b"first").await.unwrap();
    let header = header_of(&mut stream).await;
    assert_eq!((header.endpoints, &*header.tlvs), (Some(endpoints), &b"\xea\0\x03abc"[..]));
    let mut heard = [0; 5];
    soon(stream.read_exact(&mut heard)).await.unwrap();
    assert_eq!(&heard, b"first");

    for line in [&b"PROXY TCP4 198.51.100.8 203.0.113.10 51234 443\r\n"[..], b"PROXY UNKNOWN\r\n"] {
        let mut stream = from(&l4, 7).await.unwrap();
        stream.write_all(line).await.unwrap();
        assert_reset(&mut stream).await;
    }
    is_turned_away(from(&l4, 8).await).await;
    assert_eq!(l4.load().services[0].denied_total, 3);
}

#[tokio::test]
async fn who_owes_a_header_and_says_something_else_or_nothing_is_reset() {
    let backend = Backend::named(b'a').await;
    let mut service = service("web", &[(backend.address, 1)]);
    service.accept_proxy = loopback();
    service.timeouts.hello = Duration::from_secs(1);
    let l4 = run(service).await;
    for first in [&b"GET / HTTP/1.1\r\n\r\n"[..], &LINE[..20], b""] {
        let mut stream = connect(&l4).await;
        stream.write_all(first).await.unwrap();
        assert_reset(&mut stream).await;
    }
    let mut stream = connect(&l4).await;
    stream.write_all(&LINE[..20]).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_reset(&mut stream).await;
    let mut stream = connect(&l4).await;
    stream.write_all(LINE).await.unwrap();
    comes_to(b'a', stream, b"").await;
}

/// A service with a route to another, and who is behind them: `d` and `a`.
async fn routed(hello: Duration) -> (L4, [Backend; 2]) {
    let (default, api) = (Backend::named(b'd').await, Backend::named(b'a').await);
    let mut web = service("web", &[(default.address, 1)]);
    web.routes = vec![Route { names: vec!["a.example".into()], service: "api".into() }];
    web.timeouts.hello = hello;
    let mut target = service("api", &[(api.address, 1)]);
    target.listen.clear();
    (start(settings([web, target])).await.unwrap(), [default, api])
}

#[tokio::test]
async fn a_connection_goes_where_its_server_name_says_and_the_hello_with_it() {
    let (l4, _backends) = routed(SOON).await;
    let mut stream = connect(&l4).await;
    for piece in HELLO.chunks(7) {
        stream.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    comes_to(b'a', stream, HELLO).await;

    let other = String::from_utf8_lossy(HELLO).replace("a.example", "b.example").into_bytes();
    for first in [&other[..], b"GET / HTTP/1.1\r\n\r\n"] {
        let mut stream = connect(&l4).await;
        stream.write_all(first).await.unwrap();
        comes_to(b'd', stream, first).await;
    }
    let load = l4.load();
    let accepted: Vec<u64> = load.services.iter().map(|service| service.accepted_total).collect();
    assert_eq!(accepted, [3, 1]);
}

#[tokio::test]
async fn a_connection_is_led_on_until_no_route_has_its_name() {
    let backends = [b'w', b'm', b'a'].map(Backend::named);
    let [web, middle, api] = backends;
    let (web, middle, api) = (web.await, middle.await, api.await);
    let route = |name: &str, service: &str| {
        vec![Route { names: vec![name.into()], service: service.into() }]
    };
    let mut services = [("web", &web), ("middle", &middle), ("api", &api)]
        .map(|(name, backend)| service(name, &[(backend.address, 1)]));
    services[0].routes = route("*.example", "middle");
    services[1].routes = route("a.example", "api");
    services[1..].iter_mut().for_each(|one| one.listen.clear());
    let l4 = start(settings(services.clone())).await.unwrap();
    let other = String::from_utf8_lossy(HELLO).replace("a.example", "b.example").into_bytes();
    for (name, hello) in [(b'a', HELLO), (b'm', &other)] {
        let mut stream = connect(&l4).await;
        stream.write_all(hello).await.unwrap();
        comes_to(name, stream, hello).await;
    }
    let accepted: Vec<u64> = l4.load().services.iter().map(|one| one.accepted_total).collect();
    assert_eq!(accepted, [2, 2, 1]);

    // Each has a door.
    services[1].access.deny = loopback();
    l4.replace(settings(services)).await.unwrap();
    let mut stream = connect(&l4).await;
    stream.write_all(HELLO).await.unwrap();
    assert_reset(&mut stream).await;
    let denied: Vec<u64> = l4.load().services.iter().map(|one| one.denied_total).collect();
    assert_eq!(denied, [0, 1, 0]);
}

#[tokio::test]
async fn who_says_nothing_of_a_server_goes_to_the_default_in_the_end() {
    let (l4, _backends) = routed(Duration::from_millis(50)).await;
    comes_to(b'd', connect(&l4).await, b"").await;
    let mut stream = connect(&l4).await;
    stream.write_all(&HELLO[..30]).await.unwrap();
    comes_to(b'd', stream, &HELLO[..30]).await;

    let (l4, _backends) = routed(SOON).await;
    let mut stream = connect(&l4).await;
    stream.write_all(&HELLO[..30]).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut heard = Vec::new();
    soon(stream.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(heard, [b"d", &HELLO[..30]].concat(), "its end is passed on, too");
}
