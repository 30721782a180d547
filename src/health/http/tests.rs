//! HTTP and HTTPS probes of real servers on loopback.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use reqwest::Method;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::health::tests::{Authority, LONG, assert_failed_with, assert_good, server_config};
use crate::health::{Pattern, TlsCheck};

/// A limit for targets that never answer.
const SHORT: Duration = Duration::from_millis(200);

/// What a server does once it has read a request.
#[derive(Clone, Copy)]
enum Manner {
    /// Answers this and closes.
    Says(&'static str),
    /// Answers this and then `x` for ever.
    SaysForEver(&'static str),
    /// Nothing, and keeps the connection.
    Silent,
}

const OK: Manner =
    Manner::Says("HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\nall good");

/// Starts a server, and returns where it listens and what it is asked. A TLS server puts the name
/// that it was sent before the request.
async fn server(
    manner: Manner,
    tls: Option<ServerConfig>,
) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
    let (asked, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, asked) = (acceptor.clone(), asked.clone());
            tokio::spawn(async move {
                let Some(acceptor) = acceptor else {
                    return converse(stream, manner, String::new(), asked).await;
                };
                if let Ok(stream) = acceptor.accept(stream).await {
                    let name = stream.get_ref().1.server_name().unwrap_or("(none)");
                    let preface = format!("SNI {name}\r\n");
                    converse(stream, manner, preface, asked).await;
                }
            });
        }
    });
    (address, requests)
}

async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    manner: Manner,
    mut request: String,
    asked: mpsc::UnboundedSender<String>,
) {
    let mut buffer = [0; 4096];
    while !request.ends_with("\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(length @ 1..) => request.push_str(&String::from_utf8_lossy(&buffer[..length])),
            _ => return,
        }
    }
    let _ = asked.send(request);
    match manner {
        Manner::Says(text) => {
            let _ = stream.write_all(text.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
        Manner::SaysForEver(text) => {
            let mut sent = stream.write_all(text.as_bytes()).await;
            while sent.is_ok() {
                sent = stream.write_all(&[b'x'; 1024]).await;
            }
        }
        // Until the other side hangs up.
        Manner::Silent => while let Ok(1..) = stream.read(&mut buffer).await {},
    }
}

fn plain() -> HttpCheck {
    HttpCheck { path: "/healthz".into(), status: vec![200], ..HttpCheck::default() }
}

fn secure(ca_file: Option<PathBuf>) -> HttpCheck {
    let tls = TlsCheck {
        server_name: Some("web.example.com".into()),
        ca_file,
        verify: true,
        min_days: None,
    };
    HttpCheck { tls: Some(tls), ..plain() }
}

async fn ask_within(limit: Duration, target: SocketAddr, check: &HttpCheck) -> ProbeResult {
    let trust = Trust::default();
    match Request::new(target, check, &trust, &Shown::default()).await {
        Ok(request) => tokio::time::timeout(limit, request.send())
            .await
            .unwrap_or_else(|_| ProbeResult::failed("timeout")),
        Err(reason) => ProbeResult::unable(reason),
    }
}

async fn ask(target: SocketAddr, check: &HttpCheck) -> ProbeResult {
    ask_within(LONG, target, check).await
}

#[tokio::test]
async fn a_wanted_status_is_good_and_the_request_is_as_configured() {
    let (target, mut requests) = server(OK, None).await;
    let check = HttpCheck { path: "/a/b?c=d".into(), ..plain() };
    assert_good(&ask(target, &check).await);
    let request = requests.recv().await.unwrap().to_ascii_lowercase();
    assert!(request.starts_with("get /a/b?c=d http/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("host: {target}\r\n")), "{request}");
}

#[tokio::test]
async fn the_host_header_is_the_one_configured() {
    let (target, mut requests) = server(OK, None).await;
    assert_good(&ask(target, &HttpCheck { host: Some("www.example.com".into()), ..plain() }).await);
    let request = requests.recv().await.unwrap().to_ascii_lowercase();
    assert_eq!(request.matches("host:").count(), 1);
    assert!(request.contains("host: www.example.com\r\n"), "{request}");
}

#[tokio::test]
async fn every_probe_is_a_connection_of_its_own() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    let (accepted, mut connections) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = accepted.send(());
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                // Answers any number of requests on one connection, if they came.
                while let Ok(1..) = stream.read(&mut buffer).await {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
                }
            });
        }
    });
    let (check, trust) = (plain(), Trust::default());
    let request = Request::new(target, &check, &trust, &Shown::default()).await.unwrap();
    assert_good(&request.send().await);
    assert_good(&request.send().await);
    for _ in 0..2 {
        tokio::time::timeout(LONG, connections.recv()).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn another_status_is_bad_and_a_redirect_is_not_followed() {
    let moved = "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n";
    let (target, mut requests) = server(Manner::Says(moved), None).await;
    assert_failed_with(&ask(target, &plain()).await, "status 302, wanted 200");
    assert_good(&ask(target, &HttpCheck { status: vec![301, 302], ..plain() }).await);
    assert!(requests.recv().await.is_some() && requests.recv().await.is_some());
    assert!(requests.try_recv().is_err(), "a third request was sent");
}

#[tokio::test]
async fn the_body_must_contain_the_text() {
    let (target, _requests) = server(OK, None).await;
    assert_good(&ask(target, &HttpCheck { contains: Some("l go".into()), ..plain() }).await);
    let check = HttpCheck { contains: Some("ready".into()), ..plain() };
    assert_failed_with(&ask(target, &check).await, "the body lacks `ready`");
}

#[tokio::test]
async fn the_body_must_match_the_expression_to_its_end() {
    let (target, _requests) = server(OK, None).await;
    let matching = |text: &str| HttpCheck { matches: Pattern::new(text).ok(), ..plain() };
    assert_good(&ask(target, &matching("^all (good|well)$")).await);
    assert_failed_with(&ask(target, &matching("^all$")).await, "the body does not match `^all$`");
    let both = HttpCheck { contains: Some("bad".into()), ..matching("good") };
    assert_failed_with(&ask(target, &both).await, "the body lacks `bad`");
}

#[tokio::test]
async fn wanted_headers_must_be_there_with_their_values() {
    let said = "HTTP/1.1 200 OK\r\nX-Ready: no\r\nX-Ready: yes\r\nContent-Length: 0\r\n\r\n";
    let (target, _requests) = server(Manner::Says(said), None).await;
    let wanting = |name: &'static str, value| HttpCheck {
        headers: vec![(HeaderName::from_static(name), HeaderValue::from_static(value))],
        ..plain()
    };
    assert_good(&ask(target, &wanting("x-ready", "yes")).await);
    let result = ask(target, &wanting("x-ready", "maybe")).await;
    assert_failed_with(&result, "header `x-ready` is `no`, wanted `maybe`");
    let result = ask(target, &wanting("x-other", "yes")).await;
    assert_failed_with(&result, "header `x-other` is missing, wanted `yes`");
}

#[tokio::test]
async fn another_method_is_sent_if_wanted() {
    let says = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\n";
    let (target, mut requests) = server(Manner::Says(says), None).await;
    assert_good(&ask(target, &HttpCheck { method: Method::HEAD, ..plain() }).await);
    assert!(requests.recv().await.unwrap().starts_with("HEAD /healthz HTTP/1.1"));
}

#[tokio::test]
async fn an_endless_body_is_read_no_further_than_the_limit() {
    let endless = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nready ";
    let (target, _requests) = server(Manner::SaysForEver(endless), None).await;
    assert_good(&ask(target, &plain()).await);
    assert_good(&ask(target, &HttpCheck { contains: Some("ready".into()), ..plain() }).await);
    let check = HttpCheck { contains: Some("absent".into()), ..plain() };
    assert_failed_with(&ask(target, &check).await, "the first 65536 bytes of the body lack");
    let check = HttpCheck { matches: Pattern::new("x{100}y").ok(), ..plain() };
    assert_failed_with(
        &ask(target, &check).await,
        "the first 65536 bytes of the body do not match",
    );
}

#[tokio::test]
async fn endless_headers_are_bad() {
    let (target, _requests) = server(Manner::SaysForEver("HTTP/1.1 200 OK\r\nA: "), None).await;
    assert!(matches!(ask(target, &plain()).await, ProbeResult::Failed(_)));
}

#[tokio::test]
async fn a_target_that_accepts_and_says_nothing_is_bad() {
    let (target, _requests) = server(Manner::Silent, None).await;
    assert_failed_with(&ask_within(SHORT, target, &plain()).await, "timeout");
}

#[tokio::test]
async fn a_target_that_speaks_no_http_or_refuses_is_bad() {
    let (target, _requests) = server(Manner::Says("SSH-2.0-OpenSSH_9.2\r\n"), None).await;
    assert!(matches!(ask(target, &plain()).await, ProbeResult::Failed(_)));
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_failed_with(&ask(unused, &plain()).await, "refused");
}

#[tokio::test]
async fn server_name_and_host_are_set_apart_from_each_other_and_from_the_address() {
    let authority = Authority::new();
    let (target, mut requests) = server(OK, Some(authority.server_config(|_| {}))).await;
    let check =
        HttpCheck { host: Some("other.example.com".into()), ..secure(Some(authority.file())) };
    assert_good(&ask(target, &check).await);
    let request = requests.recv().await.unwrap().to_ascii_lowercase();
    assert!(request.starts_with("sni web.example.com\r\n"), "{request}");
    assert!(request.contains("host: other.example.com\r\n"), "{request}");
}

#[tokio::test]
async fn without_a_server_name_the_host_is_verified_and_without_that_the_address() {
    let authority = Authority::new();
    let nameless = |host: Option<&str>| {
        let tls = TlsCheck {
            server_name: None,
            ca_file: Some(authority.file()),
            verify: true,
            min_days: None,
        };
        HttpCheck { tls: Some(tls), host: host.map(str::to_owned), ..plain() }
    };
    let (target, mut requests) = server(OK, Some(authority.server_config(|_| {}))).await;
    assert_good(&ask(target, &nameless(Some("web.example.com:8443"))).await);
    assert!(requests.recv().await.unwrap().starts_with("SNI web.example.com\r\n"));
    assert_failed_with(&ask(target, &nameless(None)).await, "not valid for name");

    let with_address = authority.server_config(|params| {
        params.subject_alt_names = vec![rcgen::SanType::IpAddress("127.0.0.1".parse().unwrap())];
    });
    let (target, mut requests) = server(OK, Some(with_address)).await;
    assert_good(&ask(target, &nameless(None)).await);
    assert!(requests.recv().await.unwrap().starts_with("SNI (none)\r\n"));
}

#[tokio::test]
async fn an_address_may_be_verified_that_is_not_the_one_probed() {
    let authority = Authority::new();
    let with_address = authority.server_config(|params| {
        params.subject_alt_names = vec![rcgen::SanType::IpAddress("203.0.113.10".parse().unwrap())];
    });
    let (target, _requests) = server(OK, Some(with_address)).await;
    let check = HttpCheck {
        tls: Some(TlsCheck {
            server_name: None,
            ca_file: Some(authority.file()),
            verify: true,
            min_days: None,
        }),
        host: Some("203.0.113.10".into()),
        ..plain()
    };
    assert_good(&ask(target, &check).await);
}

#[tokio::test]
async fn a_certificate_for_another_name_or_out_of_date_is_bad_unless_any_is_accepted() {
    let authority = Authority::new();
    let another = authority.server_config(|params| {
        params.subject_alt_names =
            vec![rcgen::SanType::DnsName("mail.example.com".try_into().unwrap())];
    });
    let expired = authority.server_config(|params| {
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    for (config, words) in [(another, "not valid for name"), (expired, "expired")] {
        let (target, _requests) = server(OK, Some(config)).await;
        let mut check = secure(Some(authority.file()));
        assert_failed_with(&ask(target, &check).await, words);
        check.tls.as_mut().unwrap().verify = false;
        assert_good(&ask(target, &check).await);
    }
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_bad() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (target, _requests) = server(OK, Some(authority.server_config(|_| {}))).await;
    assert_failed_with(&ask(target, &secure(Some(stranger.file()))).await, "UnknownIssuer");
}

#[tokio::test]
async fn a_self_signed_certificate_is_bad_unless_it_is_trusted_itself() {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["web.example.com".into()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    let authority = Authority::new();
    let (target, _requests) = server(OK, Some(server_config(certificate.clone(), key))).await;
    assert_failed_with(&ask(target, &secure(Some(authority.file()))).await, "UnknownIssuer");
    fs::write(authority.file(), certificate).unwrap();
    assert_good(&ask(target, &secure(Some(authority.file()))).await);
}

#[tokio::test]
async fn authorities_that_cannot_be_read_are_not_the_targets_fault() {
    let authority = Authority::new();
    let (target, _requests) = server(OK, Some(authority.server_config(|_| {}))).await;
    for (file, words) in [("absent.pem", "No such file"), ("empty.pem", "holds no certificate")] {
        fs::write(authority.beside("empty.pem"), "").unwrap();
        let check = secure(Some(authority.beside(file)));
        match ask(target, &check).await {
            ProbeResult::Unable(reason) => assert!(reason.contains(words), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_changed_authority_file_is_read_again_and_a_broken_one_leaves_the_old() {
    let (old, new) = (Authority::new(), Authority::new());
    let trust = Trust::default();
    let check = secure(Some(old.file()));
    let (old_target, _requests) = server(OK, Some(old.server_config(|_| {}))).await;
    let (new_target, _requests) = server(OK, Some(new.server_config(|_| {}))).await;
    let asked = async |target| {
        Request::new(target, &check, &trust, &Shown::default()).await.unwrap().send().await
    };
    assert_good(&asked(old_target).await);
    fs::write(old.file(), "-----BEGIN CERTIFICATE-----\nhalf").unwrap();
    assert_good(&asked(old_target).await);
    fs::write(old.file(), format!("{}\n", new.issuer.pem())).unwrap();
    assert_good(&asked(new_target).await);
    assert_failed_with(&asked(old_target).await, "UnknownIssuer");
}

#[tokio::test]
async fn the_systems_authorities_do_not_trust_a_stranger() {
    let authority = Authority::new();
    let (target, _requests) = server(OK, Some(authority.server_config(|_| {}))).await;
    match ask(target, &secure(None)).await {
        ProbeResult::Failed(reason) => assert!(reason.contains("UnknownIssuer"), "{reason}"),
        // A machine without a list of authorities.
        ProbeResult::Unable(reason) => assert!(reason.contains("ca-certificates"), "{reason}"),
        ProbeResult::Good(_) => panic!("a stranger was trusted"),
    }
}

#[test]
fn the_host_of_a_host_header_is_found() {
    for (header, host) in [
        ("www.example.com", "www.example.com"),
        ("www.example.com:8443", "www.example.com"),
        ("198.51.100.7:8443", "198.51.100.7"),
        ("[2001:db8::7]:8443", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("2001:db8::7", "2001:db8::7"),
    ] {
        assert_eq!(host_of(header), host);
    }
}
