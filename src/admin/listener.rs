//! The connections to the admin listener: how many at a time, how long, and how they end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections at a time; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 256;
/// The head of a request must be complete by then; an idle connection is closed by then.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest head of a request, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// How long answers under way may take once the server is told to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);
/// How long calls that have just come may take to be read, once no more are accepted.
const LAST_CALLS: Duration = Duration::from_millis(200);
/// How long to wait when accepting fails, for instance for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who is at the other end of a connection; every request carries it as an extension.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Serves `router` on `listener` until `stop`, then lets the answers under way finish.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    let end = CancellationToken::new();
    while let Some(Ok(slot)) = stop.run_until_cancelled(slots.clone().acquire_owned()).await {
        match stop.run_until_cancelled(listener.accept()).await {
            None => break,
            Some(Err(error)) => {
                tracing::warn!(%error, "the admin listener cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            Some(Ok((stream, peer))) => {
                let connection = converse(stream, peer, router.clone(), end.clone());
                let cut = cut.clone();
                connections.spawn(async move {
                    cut.run_until_cancelled(connection).await;
                    drop(slot);
                });
            }
        }
    }
    drop(listener);
    connections.close();
    let _ = tokio::time::timeout(LAST_CALLS, connections.wait()).await;
    end.cancel();
    if tokio::time::timeout(STOP_TIMEOUT, connections.wait()).await.is_err() {
        tracing::info!("admin connections that did not end in time are cut");
        cut.cancel();
        connections.wait().await;
    }
}

async fn converse(stream: TcpStream, peer: SocketAddr, router: Router, stop: CancellationToken) {
    // Small answers should not wait for each other; without it they are only later.
    let _ = stream.set_nodelay(true);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_header_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "an admin connection ended early");
    }
}
