//! A sample backend: a small HTTP server that says where it stands, and that can be killed.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A client that sends no request is let go after this; `fill` holds connections for as long.
const PATIENCE: Duration = Duration::from_secs(600);
/// Of a request, no more than this is read.
const MAX_REQUEST_LINES: usize = 100;

/// A sample backend that runs; dropped, it closes its connections at once.
#[derive(Debug)]
pub struct Backend {
    _connections: JoinSet<()>,
}

impl Backend {
    /// Listens, and greets every request with `greeting`.
    pub async fn start(address: SocketAddr, greeting: String) -> std::io::Result<Backend> {
        let listener = TcpListener::bind(address).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, greeting));
        Ok(Backend { _connections: tasks })
    }
}

async fn accept(listener: TcpListener, greeting: String) {
    // Ends with this task, and so with the backend.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let greeting = greeting.clone();
                    connections.spawn(tokio::time::timeout(PATIENCE, greet(stream, greeting)));
                }
                // Out of descriptors, most likely: some come back when connections end.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn greet(stream: TcpStream, greeting: String) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    for _ in 0..MAX_REQUEST_LINES {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        if line.trim().is_empty() {
            let response = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n\
                 Content-Length: {}\r\nConnection: close\r\n\r\n{greeting}",
                greeting.len()
            );
            stream.write_all(response.as_bytes()).await?;
            return stream.shutdown().await;
        }
    }
    Ok(())
}
