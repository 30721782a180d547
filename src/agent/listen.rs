//! The agent's listeners: whoever connects gets the line.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// Connections at a time; further ones wait in the kernel.
const MAX_CONNECTIONS: usize = 64;
/// No connection lasts longer.
const CONNECTION_AT_MOST: Duration = Duration::from_secs(2);
/// How long it waits after a failure to accept, such as a lack of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers with the latest line for as long as it is polled.
pub async fn answer(listener: TcpListener, line: watch::Receiver<Arc<str>>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let said = Arc::clone(&line.borrow());
                tokio::spawn(async move {
                    // Whoever does not listen is not told.
                    let _ = tokio::time::timeout(CONNECTION_AT_MOST, tell(stream, &said)).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Says the line, and hangs up when the other side does. What it sends is read and thrown away: to
/// close with unread bytes would reset the connection, and the line might be lost.
async fn tell(mut stream: TcpStream, line: &str) -> io::Result<()> {
    stream.write_all(line.as_bytes()).await?;
    stream.shutdown().await?;
    let mut thrown_away = [0; 256];
    for _ in 0..16 {
        if stream.read(&mut thrown_away).await? == 0 {
            break;
        }
    }
    Ok(())
}
