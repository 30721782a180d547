//! TLS probes of real servers on loopback.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::CertificateParams;
use rustls::ServerConfig;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::health::TlsCheck;
use crate::health::tests::{Authority, LONG, assert_failed_with, assert_good};
use crate::health::trust::{Shown, Trust};

async fn server(config: ServerConfig) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    let _ = stream.read(&mut [0; 16]).await;
                }
            });
        }
    });
    address
}

async fn ask(target: SocketAddr, check: &TlsCheck) -> ProbeResult {
    ask_and_note(target, check, &Shown::default()).await
}

async fn ask_and_note(target: SocketAddr, check: &TlsCheck, shown: &Shown) -> ProbeResult {
    let trust = Trust::default();
    match trust.client(check, target.ip(), &[], shown).await {
        Ok((name, config)) => {
            tokio::time::timeout(LONG, probe(target, name, config)).await.unwrap()
        }
        Err(reason) => ProbeResult::unable(reason),
    }
}

fn wanted(authority: &Authority, min_days: Option<u32>) -> TlsCheck {
    TlsCheck {
        server_name: Some("web.example.com".into()),
        ca_file: Some(authority.file()),
        verify: true,
        min_days,
    }
}

/// Good from long ago until some days ahead or ago, and half a day.
fn good_for(ahead: u32, ago: u32) -> impl FnOnce(&mut CertificateParams) {
    move |params| {
        let half_a_day = Duration::from_secs(12 * 3600);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let day = Duration::from_secs(24 * 3600);
        let end = now + half_a_day + day * ahead - day * ago;
        let end = rcgen::date_time_ymd(1970, 1, 1) + end;
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(2019, 1, 1), end);
    }
}

#[tokio::test]
async fn a_handshake_is_good_and_a_certificate_for_another_name_is_bad_unless_any_is_accepted() {
    let authority = Authority::new();
    let target = server(authority.server_config(|_| {})).await;
    let mut check = wanted(&authority, None);
    assert_good(&ask(target, &check).await);
    check.server_name = None;
    assert_failed_with(&ask(target, &check).await, "not valid for name");
    check.verify = false;
    assert_good(&ask(target, &check).await);
}

#[tokio::test]
async fn a_certificate_that_ends_soon_is_bad_if_so_wanted_even_where_it_is_not_verified() {
    let authority = Authority::new();
    let target = server(authority.server_config(good_for(10, 0))).await;
    for (min_days, words) in
        [(None, None), (Some(10), None), (Some(11), Some("expires in 10 days, wanted at least 11"))]
    {
        for verify in [true, false] {
            let result = ask(target, &TlsCheck { verify, ..wanted(&authority, min_days) }).await;
            match words {
                None => assert_good(&result),
                Some(words) => assert_failed_with(&result, words),
            }
        }
    }
    let expired = server(authority.server_config(good_for(0, 3))).await;
    let mut check = TlsCheck { verify: false, ..wanted(&authority, Some(1)) };
    assert_failed_with(&ask(expired, &check).await, "expired 2 days ago");
    check.min_days = None;
    assert_good(&ask(expired, &check).await);
}

#[tokio::test]
async fn when_the_certificate_ends_is_noted_also_of_one_that_is_not_good_for_long_enough() {
    let authority = Authority::new();
    let target = server(authority.server_config(good_for(10, 0))).await;
    for (min_days, is_good) in [(None, true), (Some(30), false)] {
        let shown = Shown::default();
        let result = ask_and_note(target, &wanted(&authority, min_days), &shown).await;
        assert_eq!(matches!(result, ProbeResult::Good(_)), is_good, "{result:?}");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let days = (shown.certificate_ends().unwrap() - now) / (24 * 3600);
        assert_eq!(days, 10);
        let strange = TlsCheck { server_name: None, ..wanted(&authority, None) };
        ask_and_note(target, &strange, &shown).await;
        assert_eq!(shown.certificate_ends(), None, "what is not trusted is not believed");
    }
}

#[tokio::test]
async fn who_speaks_no_tls_or_refuses_is_bad() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"220 mail.example.com ESMTP\r\n").await;
            let _ = stream.shutdown().await;
            while let Ok(1..) = stream.read(&mut [0; 1024]).await {}
        }
    });
    let check = TlsCheck { server_name: None, ca_file: None, verify: false, min_days: None };
    assert!(matches!(ask(target, &check).await, ProbeResult::Failed(_)));
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_failed_with(&ask(unused, &check).await, "refused");
}
