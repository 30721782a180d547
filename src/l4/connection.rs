//! One connection: to a backend that takes it, then bytes both ways until both sides are done.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::{Instant, timeout};

use super::service::{Place, Service, Table};

/// Bytes in flight a direction.
const BUFFER_BYTES: usize = 16 * 1024;

/// Carries a client's connection to its end.
pub async fn carry(client: TcpStream, service: Arc<Service>) {
    service.accepted_total.fetch_add(1, Relaxed);
    // A connection keeps to the settings it began with.
    let table = service.table();
    let Some((backend, place)) = connect(&service, &table).await else {
        service.refused_total.fetch_add(1, Relaxed);
        reset(&client);
        return;
    };
    let _ = client.set_nodelay(true);
    let _ = backend.set_nodelay(true);
    relay(client, backend, &place, table.settings.idle_timeout).await;
}

/// Connects to the backend whose turn it is, and to others while that fails: no byte of the
/// client's has been read yet, so that it does not notice.
async fn connect(service: &Service, table: &Table) -> Option<(TcpStream, Place)> {
    let mut tried: Vec<SocketAddr> = Vec::new();
    while let Some(place) = service.choose(table, &tried) {
        let address = place.backend.address;
        match timeout(table.settings.connect_timeout, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                place.backend.note_connected();
                return Some((stream, place));
            }
            Ok(Err(_)) | Err(_) => {
                place.backend.connect_failures_total.fetch_add(1, Relaxed);
                tried.push(address);
            }
        }
    }
    None
}

/// Copies both ways. The end of one direction is passed on, and the other goes on; a reset of one
/// side resets the other.
async fn relay(mut client: TcpStream, mut backend: TcpStream, place: &Place, idle: Duration) {
    let began = Instant::now();
    let latest = AtomicU64::new(0);
    let finished = {
        let (from_client, to_client) = client.split();
        let (from_backend, to_backend) = backend.split();
        let (inward, outward) =
            (&place.backend.bytes_to_backend_total, &place.backend.bytes_to_client_total);
        let moved = |total: &AtomicU64, bytes: usize| {
            total.fetch_add(bytes as u64, Relaxed);
            latest.store(began.elapsed().as_millis() as u64, Relaxed);
        };
        let both = async {
            tokio::try_join!(
                copy(from_client, to_backend, |bytes| moved(inward, bytes)),
                copy(from_backend, to_client, |bytes| moved(outward, bytes)),
            )
        };
        tokio::select! {
            done = both => done.is_ok(),
            () = idle_for(idle, began, &latest) => false,
        }
    };
    if !finished {
        reset(&client);
        reset(&backend);
    }
}

/// Copies until the end, and passes the end on.
async fn copy(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    moved: impl Fn(usize),
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let bytes = from.read(&mut buffer).await?;
        if bytes == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..bytes]).await?;
        moved(bytes);
    }
}

/// Returns when nothing has moved for `idle`. `latest` is in milliseconds since `began`.
async fn idle_for(idle: Duration, began: Instant, latest: &AtomicU64) {
    loop {
        let deadline = began + Duration::from_millis(latest.load(Relaxed)) + idle;
        if deadline <= Instant::now() {
            return;
        }
        tokio::time::sleep_until(deadline).await;
    }
}

/// Closes with a reset when dropped, as a side that did not end in order shall be seen by the other.
fn reset(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
