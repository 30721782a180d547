//! TCP: a task for each socket that accepts, and one for each connection.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::connection;
use crate::l4::backend::Backend;
use crate::l4::listener::{BACKLOG, Opened};
use crate::l4::service::Service;

/// When descriptors have run out, accepting is tried again after this: some connections end.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
/// That it fails is said no more often than this.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// What the connections run in.
#[derive(Debug)]
pub struct Plane {
    carriers: Carriers,
}

/// Accepts until it is dropped.
#[derive(Debug)]
pub struct Serving {
    _stop: DropGuard,
}

#[derive(Clone, Debug)]
struct Carriers {
    /// The tasks, one a connection.
    tasks: TaskTracker,
    /// Ends them.
    abort: CancellationToken,
}

impl Plane {
    /// Without connections.
    pub fn new() -> Plane {
        Plane { carriers: Carriers { tasks: TaskTracker::new(), abort: CancellationToken::new() } }
    }

    /// Accepts on these sockets from now on.
    pub fn serve(&self, service: Arc<Service>, opened: Arc<Opened>) -> io::Result<Serving> {
        let stop = CancellationToken::new();
        let listeners: io::Result<Vec<TcpListener>> = opened
            .workers
            .iter()
            .flatten()
            .map(|socket| TcpListener::from_std(socket.try_clone()?.into()))
            .collect();
        for listener in listeners? {
            let service = Arc::clone(&service);
            let accept = accept(listener, service, self.carriers.clone(), stop.clone());
            self.carriers.tasks.spawn(accept);
        }
        Ok(Serving { _stop: stop.drop_guard() })
    }

    /// A backend was up, and is not any more.
    pub fn went_down(&self, _backend: &Arc<Backend>) {}

    /// Returns when all connections have ended; those that have not when `grace` is over are reset.
    pub async fn stop(&self, grace: Duration) {
        let Carriers { tasks, abort } = &self.carriers;
        tasks.close();
        if tokio::time::timeout(grace, tasks.wait()).await.is_err() {
            abort.cancel();
            tasks.wait().await;
        }
    }
}

impl Carriers {
    fn carry(&self, client: TcpStream, service: &Arc<Service>) {
        let carried = connection::carry(client, Arc::clone(service));
        let abort = self.abort.clone();
        self.tasks.spawn(async move { abort.run_until_cancelled(carried).await });
    }
}

/// Accepts until `stop`, whatever errors come.
async fn accept(
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
