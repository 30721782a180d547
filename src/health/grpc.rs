//! The gRPC probe: the standard health service (`grpc.health.v1.Health`) says that it serves.

pub mod message;

use std::error::Error;
use std::io::Cursor;
use std::net::{Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use h2::RecvStream;
use h2::client::SendRequest;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TE, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use self::message::Status;
use super::{GrpcCheck, ProbeResult};

const PATH: &str = "/grpc.health.v1.Health/Check";
/// The most that is read of a response: its message is a few bytes long.
const MAX_RESPONSE_BYTES: usize = 1 << 10;
const MAX_HEADER_BYTES: u32 = 16 << 10;

/// Why the target is not known to serve.
type Reason = Box<dyn Error + Send + Sync>;

/// Asks once, over a connection of its own. The caller bounds the time.
pub async fn probe(
    target: SocketAddr,
    check: &GrpcCheck,
    tls: Option<(ServerName<'static>, ClientConfig)>,
) -> ProbeResult {
    let start = Instant::now();
    let name = check.tls.as_ref().and_then(|tls| tls.server_name.as_deref());
    let authority = name.map_or_else(|| target.to_string(), authority_of);
    let asked = async {
        let stream = TcpStream::connect(target).await?;
        stream.set_nodelay(true)?;
        match tls {
            None => ask(stream, "http", &authority, &check.service).await,
            Some((name, config)) => {
                let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
                ask(stream, "https", &authority, &check.service).await
            }
        }
    };
    match asked.await {
        Ok(()) => ProbeResult::Good(start.elapsed()),
        Err(reason) => ProbeResult::from_error(&*reason),
    }
}

/// The name or address as a URI has it.
fn authority_of(name: &str) -> String {
    match name.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => name.to_owned(),
    }
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    scheme: &str,
    authority: &str,
    service: &str,
) -> Result<(), Reason> {
    let mut http = h2::client::Builder::new();
    http.enable_push(false).max_header_list_size(MAX_HEADER_BYTES).max_concurrent_reset_streams(1);
    let (client, connection) = http.handshake(stream).await?;
    let mut asked = pin!(exchange(client, scheme, authority, service));
    tokio::select! {
        asked = &mut asked => asked,
        // Whatever has come before its end is still there to be read.
        _ = connection => asked.await,
    }
}

async fn exchange(
    client: SendRequest<Cursor<Vec<u8>>>,
    scheme: &str,
    authority: &str,
    service: &str,
) -> Result<(), Reason> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("{scheme}://{authority}{PATH}"))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .header(USER_AGENT, "portolan-health-check")
        .body(())?;
    let (response, mut body) = client.ready().await?.send_request(request, false)?;
    body.send_data(Cursor::new(message::request(service)), true)?;
    let response = response.await?;
    if response.status() != StatusCode::OK {
        return Err(format!("status {}: not a gRPC server", response.status().as_u16()).into());
    }
    if !is_grpc(response.headers()) {
        return Err("the response is not of type application/grpc".into());
    }
    // An error comes without a message, its status among the headers.
    check_status(response.headers(), service)?;
    let mut body = response.into_body();
    let bytes = read(&mut body).await?;
    match body.trailers().await? {
        Some(trailers) => check_status(&trailers, service)?,
        None => return Err("the response has no gRPC status".into()),
    }
    match message::status(&bytes)? {
        Status::Serving => Ok(()),
        other => Err(other.to_string().into()),
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let of_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    of_type.is_some_and(|of_type| of_type.starts_with(b"application/grpc"))
}

async fn read(body: &mut RecvStream) -> Result<Vec<u8>, Reason> {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        if bytes.len() + chunk.len() > MAX_RESPONSE_BYTES {
            return Err(format!("the response is longer than {MAX_RESPONSE_BYTES} bytes").into());
        }
        bytes.extend_from_slice(&chunk);
        body.flow_control().release_capacity(chunk.len())?;
    }
    Ok(bytes)
}

/// Fails with what a gRPC status other than 0 says; one that is not there says nothing.
fn check_status(headers: &HeaderMap, service: &str) -> Result<(), Reason> {
    let Some(status) = headers.get("grpc-status") else { return Ok(()) };
    let said = headers.get("grpc-message").map(|said| String::from_utf8_lossy(said.as_bytes()));
    let said = said.filter(|said| !said.is_empty());
    match (status.as_bytes(), said) {
        (b"0", _) => Ok(()),
        (b"5", _) => Err(format!("the server does not know the service `{service}`").into()),
        (b"12", _) => Err("the server has no health service (gRPC status 12)".into()),
        (status, said) => {
            let status = String::from_utf8_lossy(status);
            Err(match said {
                Some(said) => format!("gRPC status {status}: {said}"),
                None => format!("gRPC status {status}"),
            }
            .into())
        }
    }
}

#[cfg(test)]
mod tests;
