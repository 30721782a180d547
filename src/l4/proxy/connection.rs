//! One connection: to a backend that takes it, then bytes both ways until both sides are done.

use std::cell::RefCell;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, timeout_at};

use crate::l4::backend::Place;
use crate::l4::flow::Flow;
use crate::l4::service::Service;
use crate::l4::settings::Protocol;

/// The most bytes in flight a direction, besides those in the kernel.
const BUFFER_BYTES: usize = 16 * 1024;
/// A client waits no longer than this many connect timeouts for a backend.
const CONNECT_TIMEOUTS: u32 = 3;

/// Carries a client's connection to its end.
pub async fn carry(client: TcpStream, service: Arc<Service>) {
    service.accepted_total.fetch_add(1, Relaxed);
    let Some(flow) = flow(&client) else { return };
    let mut client = Side::new(client);
    let Some((backend, place)) = connect(&service, &flow).await else {
        service.refused_total.fetch_add(1, Relaxed);
        return;
    };
    let mut backend = Side::new(backend);
    let relay = Relay::new(&client.stream, &backend.stream, &place);
    if relay.run(service.settings().timeouts.idle).await.is_ok() {
        client.is_done = true;
        backend.is_done = true;
    }
}

fn flow(client: &TcpStream) -> Option<Flow> {
    let (vip, client) = (client.local_addr().ok()?, client.peer_addr().ok()?);
    Some(Flow { client, vip, protocol: Protocol::Tcp })
}

/// One end of a connection, which is reset when it is dropped before the connection was done: an
/// orderly end would tell the peer that it has got everything.
struct Side {
    stream: TcpStream,
    is_done: bool,
}

impl Side {
    fn new(stream: TcpStream) -> Side {
        // Bytes are passed on as they come; who sent them has decided what belongs together.
        let _ = stream.set_nodelay(true);
        Side { stream, is_done: false }
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        if !self.is_done {
            let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
    }
}

/// Connects to the backend whose turn it is, and to others while that fails: no byte of the
/// client's has been read yet, so that it does not notice.
async fn connect(service: &Service, flow: &Flow) -> Option<(TcpStream, Place)> {
    let limit = service.settings().timeouts.connect;
    let last = Instant::now() + limit * CONNECT_TIMEOUTS;
    let mut tried: Vec<SocketAddr> = Vec::new();
    while Instant::now() < last {
        let place = service.choose(flow, &tried).ok()?;
        let address = place.backend().address;
        let begun = Instant::now();
        let deadline = last.min(Instant::now() + limit);
        match timeout_at(deadline, TcpStream::connect(address)).await {
            Ok(Ok(stream)) if !is_to_itself(&stream) => {
                place.connected(begun.elapsed());
                return Some((stream, place));
            }
            // No backend's fault, and the next one would fail as well.
            Ok(Err(error)) if is_exhaustion(&error) => return None,
            Ok(_) | Err(_) => {
                place.failed();
                tried.push(address);
            }
        }
    }
    None
}

/// True for what TCP makes of a connection to a port of this machine at which nobody listens, when
/// that port happens to be chosen as the near one too: a socket that is its own peer.
fn is_to_itself(stream: &TcpStream) -> bool {
    matches!((stream.local_addr(), stream.peer_addr()), (Ok(near), Ok(far)) if near == far)
}

fn is_exhaustion(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// Copies both ways. The end of one direction is passed on, and the other goes on; when one side
/// breaks, so does the other, after it was given what the broken one had sent.
struct Relay<'a> {
    client: &'a TcpStream,
    backend: &'a TcpStream,
    place: &'a Place,
    began: Instant,
    /// When bytes moved last, in milliseconds since `began`.
    latest: AtomicU64,
    /// One side takes nothing any more.
    is_broken: AtomicBool,
}

/// The connection did not come to an orderly end.
struct Broken;

/// Where one direction broke.
enum Fault {
    Reading,
    Writing,
}

impl<'a> Relay<'a> {
    fn new(client: &'a TcpStream, backend: &'a TcpStream, place: &'a Place) -> Relay<'a> {
        let (latest, is_broken) = (AtomicU64::new(0), AtomicBool::new(false));
        Relay { client, backend, place, began: Instant::now(), latest, is_broken }
    }

    async fn run(&self, idle: Duration) -> Result<(), Broken> {
        let backend = self.place.backend();
        let both = async {
            tokio::try_join!(
                self.copy(self.client, self.backend, &backend.bytes_to_backend_total),
                self.copy(self.backend, self.client, &backend.bytes_to_client_total),
            )
        };
        tokio::select! {
            ended = both => ended.map(|_| ())?,
            () = self.idle_for(idle) => return Err(Broken),
        }
        if self.is_broken.load(Relaxed) { Err(Broken) } else { Ok(()) }
    }

    /// An error is one of `from`. One of `to` ends this direction only: the other passes on what
    /// `to` had sent before, and then ends too.
    async fn copy(
        &self,
        from: &TcpStream,
        to: &TcpStream,
        total: &AtomicU64,
    ) -> Result<(), Broken> {
        match self.copy_to_end(from, to, total).await {
            Ok(()) => Ok(()),
            Err(Fault::Reading) => Err(Broken),
            Err(Fault::Writing) => {
                self.is_broken.store(true, Relaxed);
                Ok(())
            }
        }
    }

    async fn copy_to_end(
        &self,
        from: &TcpStream,
        to: &TcpStream,
        total: &AtomicU64,
    ) -> Result<(), Fault> {
        loop {
            // A side that always has more must not keep other connections waiting.
            consume_budget().await;
            from.readable().await.map_err(|_| Fault::Reading)?;
            let Some(rest) = self.pass(from, to, total)? else { break };
            self.write(&rest, from, to, total).await?;
        }
        if self.is_broken.load(Relaxed) {
            // The end of a broken side is no end that the other should be told of as one.
            return Ok(());
        }
        SockRef::from(to).shutdown(Shutdown::Write).map_err(|_| Fault::Writing)
    }

    /// Passes on what there is to read, and returns what `to` did not take at once; none at the
    /// end. The buffer is the thread's, so that a connection that waits needs none.
    fn pass(
        &self,
        from: &TcpStream,
        to: &TcpStream,
        total: &AtomicU64,
    ) -> Result<Option<Vec<u8>>, Fault> {
        thread_local! {
            static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER_BYTES].into());
        }
        BUFFER.with_borrow_mut(|buffer| {
            let bytes = match from.try_read(buffer) {
                Ok(0) => return Ok(None),
                Ok(bytes) => &buffer[..bytes],
                Err(error) if is_not_now(&error) => return Ok(Some(Vec::new())),
                Err(_) => return Err(Fault::Reading),
            };
            let taken = self.try_write(bytes, to, total)?;
            Ok(Some(bytes[taken..].to_vec()))
        })
    }

    /// Writes what has been read, which may take its time.
    async fn write(
        &self,
        mut bytes: &[u8],
        from: &TcpStream,
        to: &TcpStream,
        total: &AtomicU64,
    ) -> Result<(), Fault> {
        while !bytes.is_empty() {
            tokio::select! {
                ready = to.writable() => ready.map_err(|_| Fault::Writing)?,
                // Nothing is read meanwhile, which would tell.
                _ = from.ready(Interest::ERROR) => return Err(Fault::Reading),
            }
            let taken = self.try_write(bytes, to, total)?;
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    /// Returns how many bytes were taken, which may be none.
    fn try_write(&self, bytes: &[u8], to: &TcpStream, total: &AtomicU64) -> Result<usize, Fault> {
        match to.try_write(bytes) {
            Ok(taken) => {
                total.fetch_add(taken as u64, Relaxed);
                self.latest.store(self.began.elapsed().as_millis() as u64, Relaxed);
                Ok(taken)
            }
            Err(error) if is_not_now(&error) => Ok(0),
            Err(_) => Err(Fault::Writing),
        }
    }

    /// Returns when nothing has moved for that long.
    async fn idle_for(&self, idle: Duration) {
        loop {
            let deadline = self.began + Duration::from_millis(self.latest.load(Relaxed)) + idle;
            if deadline <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(deadline).await;
        }
    }
}

fn is_not_now(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
