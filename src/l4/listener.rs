//! The listening sockets of a service, one a worker, between which the kernel spreads connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection;
use super::service::Service;

/// Connections the kernel holds until they are accepted.
const BACKLOG: i32 = 4096;
/// When descriptors have run out, accepting is tried again after this: some connections end.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// Opens `workers` sockets on one address. With port 0 the first gets a port, and the others share it.
pub fn bind(address: SocketAddr, workers: usize) -> io::Result<Vec<TcpListener>> {
    let first = socket(address)?;
    let address = first.local_addr()?;
    let others = (1..workers).map(|_| socket(address));
    std::iter::once(Ok(first)).chain(others).collect()
}

fn socket(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts until `stop`; connections go on until `abort`.
pub async fn accept(
    listener: TcpListener,
    service: Arc<Service>,
    connections: TaskTracker,
    stop: CancellationToken,
    abort: CancellationToken,
) {
    let mut refused_in_a_row = 0u32;
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((client, _)) => {
                refused_in_a_row = 0;
                let carried = connection::carry(client, Arc::clone(&service));
                let abort = abort.clone();
                connections.spawn(async move { abort.run_until_cancelled(carried).await });
            }
            Err(error) if is_of_one_client(&error) => {}
            Err(error) => {
                if refused_in_a_row == 0 {
                    tracing::warn!(service = service.name, %error, "cannot accept connections");
                }
                refused_in_a_row = refused_in_a_row.saturating_add(1);
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// True when a connection was gone before it was accepted.
fn is_of_one_client(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}
