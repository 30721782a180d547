//! The listening sockets of a service, one a worker, between which the kernel spreads connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection;
use super::service::Service;

/// Connections the kernel holds until they are accepted.
const BACKLOG: i32 = 4096;
/// When descriptors have run out, accepting is tried again after this: some connections end.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
/// That it fails is said no more often than this.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// Opens `workers` sockets on one address. With port 0 the first gets a port, and the others share
/// it.
pub fn bind(address: SocketAddr, workers: usize) -> io::Result<Vec<TcpListener>> {
    let first = listen(address)?;
    let address = first.local_addr()?;
    let others = (1..workers).map(|_| listen(address));
    std::iter::once(Ok(first)).chain(others).collect()
}

/// Fails when somebody listens there: sockets that share a port would not notice, and take some of
/// his connections.
pub fn check_free(address: SocketAddr) -> io::Result<()> {
    socket(address)?.bind(&address.into())
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of an earlier process that are not quite over do not matter.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// What the connections that are accepted run in.
#[derive(Clone, Debug)]
pub struct Carriers {
    /// The tasks, one a connection.
    pub tasks: TaskTracker,
    /// Ends them.
    pub abort: CancellationToken,
}

impl Carriers {
    fn carry(&self, client: TcpStream, service: &Arc<Service>) {
        let carried = connection::carry(client, Arc::clone(service));
        let abort = self.abort.clone();
        self.tasks.spawn(async move { abort.run_until_cancelled(carried).await });
    }
}

/// Accepts until `stop`, whatever errors come.
pub async fn accept(
    listener: TcpListener,
    service: Arc<Service>,
    carriers: Carriers,
    stop: CancellationToken,
) {
    let mut said: Option<Instant> = None;
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((client, _)) => carriers.carry(client, &service),
            Err(error) if is_of_one_client(&error) => {}
            Err(error) => {
                if said.is_none_or(|said| said.elapsed() > SAY_AGAIN) {
                    tracing::warn!(service = service.name, %error, "cannot accept connections");
                    said = Some(Instant::now());
                }
                stop.run_until_cancelled(tokio::time::sleep(ACCEPT_AGAIN)).await;
            }
        }
    }
    for client in waiting(listener) {
        carriers.carry(client, &service);
    }
}

/// The connections that wait to be accepted when accepting ends: for their clients they stand
/// already, and closing the socket would reset them.
fn waiting(listener: TcpListener) -> impl Iterator<Item = TcpStream> {
    // The system's own, as tokio's says there are none until it has been told of them.
    let listener = listener.into_std();
    let accept = move || {
        let (client, _) = listener.as_ref().ok()?.accept().ok()?;
        client.set_nonblocking(true).ok()?;
        TcpStream::from_std(client).ok()
    };
    std::iter::from_fn(accept).take(BACKLOG as usize)
}

/// True when a connection was gone before it was accepted.
fn is_of_one_client(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}
