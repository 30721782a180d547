//! The TLS probe: a handshake is made, with a certificate that is good for long enough.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::ProbeResult;

/// Connects, shakes hands and hangs up. The caller bounds the time.
pub async fn probe(
    target: SocketAddr,
    name: ServerName<'static>,
    config: ClientConfig,
) -> ProbeResult {
    let start = Instant::now();
    let shaken = async {
        let stream = TcpStream::connect(target).await?;
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    };
    match shaken.await {
        Ok(mut stream) => {
            let took = start.elapsed();
            // It is well already; that it is told so is a courtesy.
            let _ = stream.shutdown().await;
            ProbeResult::Good(took)
        }
        Err(error) => ProbeResult::from_error(&error),
    }
}

#[cfg(test)]
mod tests;
