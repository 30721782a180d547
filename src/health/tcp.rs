//! The TCP probe: a connection is accepted.

use std::net::SocketAddr;
use std::time::Instant;

use tokio::net::TcpStream;

use super::ProbeResult;

/// Connects and hangs up. The caller bounds the time.
pub async fn probe(target: SocketAddr) -> ProbeResult {
    let start = Instant::now();
    match TcpStream::connect(target).await {
        Ok(_) => ProbeResult::Good(start.elapsed()),
        Err(error) => ProbeResult::from_io(&error),
    }
}
