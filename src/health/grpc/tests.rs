//! Probes of a real HTTP/2 server on loopback, which answers as it is told.

use hyper::Response;
use rustls::ServerConfig;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::health::TlsCheck;
use crate::health::tests::{Authority, LONG, assert_failed_with, assert_good};
use crate::health::trust::{Shown, Trust};

/// How a server answers.
#[derive(Clone, Debug)]
struct Manner {
    status: u16,
    content_type: &'static str,
    /// Among the headers.
    headers: Vec<(&'static str, &'static str)>,
    body: Vec<u8>,
    trailers: Option<Vec<(&'static str, &'static str)>>,
}

/// One that says this number.
fn says(status: u8) -> Manner {
    Manner {
        status: 200,
        content_type: "application/grpc+proto",
        headers: vec![],
        body: vec![0, 0, 0, 0, 2, 8, status],
        trailers: Some(vec![("grpc-status", "0")]),
    }
}

async fn server(manner: Manner, tls: Option<ServerConfig>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, manner) = (acceptor.clone(), manner.clone());
            tokio::spawn(async move {
                match acceptor {
                    None => serve(stream, manner).await,
                    Some(acceptor) => serve(acceptor.accept(stream).await?, manner).await,
                }
            });
        }
    });
    address
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, manner: Manner) -> Result<(), Reason> {
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(request) = connection.accept().await {
        let (mut request, mut respond) = request?;
        assert_eq!(request.uri().path(), PATH);
        assert_eq!(request.headers()[TE], "trailers");
        let asked = request.body_mut().data().await.unwrap()?;
        assert_eq!(asked, message::request("web"));
        let mut response =
            Response::builder().status(manner.status).header(CONTENT_TYPE, manner.content_type);
        for (name, value) in &manner.headers {
            response = response.header(*name, *value);
        }
        let mut stream = respond.send_response(response.body(())?, false)?;
        stream.send_data(manner.body.clone().into(), manner.trailers.is_none())?;
        // It hangs up as soon as it has answered.
        connection.graceful_shutdown();
        let Some(trailers) = &manner.trailers else { continue };
        let trailers = trailers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
        stream.send_trailers(trailers.collect())?;
    }
    Ok(())
}

fn about_web(tls: Option<TlsCheck>) -> GrpcCheck {
    GrpcCheck { tls, service: "web".into() }
}

async fn ask(target: SocketAddr, check: &GrpcCheck) -> ProbeResult {
    let trust = Trust::default();
    let tls = match &check.tls {
        None => None,
        Some(tls) => {
            Some(trust.client(tls, target.ip(), &["h2"], &Shown::default()).await.unwrap())
        }
    };
    tokio::time::timeout(LONG, probe(target, check, tls)).await.unwrap()
}

async fn ask_plain(manner: Manner) -> ProbeResult {
    ask(server(manner, None).await, &about_web(None)).await
}

#[tokio::test]
async fn only_who_says_that_it_serves_is_good() {
    assert_good(&ask_plain(says(1)).await);
    for (status, words) in
        [(0, "UNKNOWN"), (2, "NOT_SERVING"), (3, "SERVICE_UNKNOWN"), (9, "wanted 1 (SERVING)")]
    {
        assert_failed_with(&ask_plain(says(status)).await, words);
    }
}

#[tokio::test]
async fn an_error_is_told_whether_it_comes_in_headers_or_in_trailers() {
    for (status, words) in [
        ("5", "does not know the service `web`"),
        ("12", "has no health service"),
        ("14", "gRPC status 14: restarting"),
    ] {
        let said = vec![("grpc-status", status), ("grpc-message", "restarting")];
        let early = Manner { headers: said.clone(), body: vec![], trailers: None, ..says(1) };
        assert_failed_with(&ask_plain(early).await, words);
        assert_failed_with(&ask_plain(Manner { trailers: Some(said), ..says(1) }).await, words);
    }
}

#[tokio::test]
async fn what_is_no_grpc_is_bad() {
    for (manner, words) in [
        (Manner { status: 503, ..says(1) }, "status 503"),
        (Manner { content_type: "text/html", ..says(1) }, "not of type application/grpc"),
        (Manner { trailers: None, ..says(1) }, "no gRPC status"),
        (Manner { body: vec![], ..says(1) }, "no message"),
        (Manner { body: vec![0; 100_000], ..says(1) }, "longer than 1024 bytes"),
    ] {
        assert_failed_with(&ask_plain(manner).await, words);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let result = ask(target, &about_web(None)).await;
    assert!(matches!(result, ProbeResult::Failed(_)), "{result:?}");
    // And who hangs up without a word.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let result = ask(target, &about_web(None)).await;
    assert!(matches!(result, ProbeResult::Failed(_)), "{result:?}");
}

#[tokio::test]
async fn over_tls_the_certificate_counts_too() {
    let authority = Authority::new();
    let mut config = authority.server_config(|_| {});
    config.alpn_protocols = vec![b"h2".to_vec()];
    let target = server(says(1), Some(config)).await;
    let mut tls = TlsCheck {
        server_name: Some("web.example.com".into()),
        ca_file: Some(authority.file()),
        verify: true,
        min_days: None,
    };
    assert_good(&ask(target, &about_web(Some(tls.clone()))).await);
    tls.server_name = Some("mail.example.com".into());
    assert_failed_with(&ask(target, &about_web(Some(tls.clone()))).await, "not valid for name");
    let by_address = TlsCheck { server_name: Some("2001:db8::1".into()), verify: false, ..tls };
    assert_good(&ask(target, &about_web(Some(by_address))).await);
}
