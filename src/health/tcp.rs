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

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_listener_is_good_and_none_is_bad() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            // A machine without IPv6 has nothing to show here.
            let Ok(listener) = TcpListener::bind(address).await else { continue };
            let target = listener.local_addr().unwrap();
            assert!(matches!(probe(target).await, ProbeResult::Good(_)));
            drop(listener);
            match probe(target).await {
                ProbeResult::Failed(reason) => assert!(reason.contains("refused"), "{reason}"),
                other => panic!("{other:?}"),
            }
        }
    }
}
