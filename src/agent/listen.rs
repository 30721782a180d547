//! The agent's listeners: whoever connects gets the line.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// Connections that are waited for to end; beyond them, one is closed as soon as it has been told.
const MAX_WAITED_FOR: usize = 256;
/// No connection lasts longer.
const CONNECTION_AT_MOST: Duration = Duration::from_secs(2);
/// How long it waits after a failure to accept, such as a lack of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers with the latest line for as long as it is polled.
pub async fn answer(listener: TcpListener, line: watch::Receiver<Arc<str>>) {
    let places = Arc::new(Semaphore::new(MAX_WAITED_FOR));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // It always fits into what the kernel holds for a new connection.
                let told = stream.try_write(line.borrow().as_bytes());
                if let (Ok(_), Ok(place)) = (told, Arc::clone(&places).try_acquire_owned()) {
                    tokio::spawn(async move {
                        let _ = tokio::time::timeout(CONNECTION_AT_MOST, hang_up(stream)).await;
                        drop(place);
                    });
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Hangs up when the other side does. What it sends is read and thrown away: to close with unread
/// bytes would reset the connection, and the line might be lost.
async fn hang_up(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    let mut thrown_away = [0; 256];
    for _ in 0..16 {
        if stream.read(&mut thrown_away).await? == 0 {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    async fn asked(agent: std::net::SocketAddr, words: &[u8]) -> String {
        let mut stream = TcpStream::connect(agent).await.unwrap();
        stream.write_all(words).await.unwrap();
        let mut line = String::new();
        stream.read_to_string(&mut line).await.unwrap();
        line
    }

    #[tokio::test]
    async fn whoever_asks_hears_the_latest_line_and_those_who_stay_keep_nobody_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let agent = listener.local_addr().unwrap();
        let (line, lines) = watch::channel(Arc::from("100%\n"));
        tokio::spawn(answer(listener, lines));
        assert_eq!(asked(agent, b"").await, "100%\n");
        line.send_replace("up 75%\n".into());
        assert_eq!(asked(agent, b"web\n").await, "up 75%\n");
        let begin = Instant::now();
        let mut who_stay = Vec::new();
        for _ in 0..2 * MAX_WAITED_FOR {
            who_stay.push(TcpStream::connect(agent).await.unwrap());
        }
        assert_eq!(asked(agent, b"").await, "up 75%\n");
        // They would be waited for one after another.
        assert!(begin.elapsed() < 10 * CONNECTION_AT_MOST);
        drop(who_stay);
    }
}
