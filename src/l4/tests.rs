//! The forwarder over loopback: real sockets, and backends that behave and misbehave.

mod datagrams;
mod door;
mod lifecycle;
mod limits;
mod listens;
mod relay;
mod steering;
mod turmoil;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use super::{BackendSettings, Balance, Capacity, L4, ServiceSettings, Settings, Word, start};

/// Whatever a test waits for has come by then, or never will.
const SOON: Duration = Duration::from_secs(20);

impl L4 {
    /// The operator drains a backend, or has it take new connections again.
    fn set_drained(&self, service: &str, backend: SocketAddr, drained: bool) {
        self.say(service, backend, |word| Word { drained, ..word });
    }

    /// The operator's word on a backend's health.
    fn force(&self, service: &str, backend: SocketAddr, forced: Option<bool>) {
        self.say(service, backend, |word| Word { forced, ..word });
    }

    fn say(&self, service: &str, backend: SocketAddr, new: impl Fn(Word) -> Word) {
        self.heed(|name, one| match name == service && one.address == backend {
            true => new(one.word()),
            false => one.word(),
        });
    }
}

/// A backend in this process; it dies when dropped.
struct Backend {
    address: SocketAddr,
    task: AbortHandle,
}

impl Backend {
    /// Lets `serve` have every connection.
    async fn start<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Backend
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Backend::start_at(TcpListener::bind("127.0.0.1:0").await.unwrap(), serve)
    }

    fn start_at<F>(
        listener: TcpListener,
        serve: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> Backend
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let address = listener.local_addr().unwrap();
        let accept = async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream));
            }
        };
        Backend { address, task: tokio::spawn(accept).abort_handle() }
    }

    /// Says its name, one byte, and then what it is told.
    async fn named(name: u8) -> Backend {
        Backend::named_at(name, TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn named_at(name: u8, listener: TcpListener) -> Backend {
        let serve = move |mut stream: TcpStream| async move {
            let _ = stream.write_all(&[name]).await;
            echo(stream).await;
        };
        Backend::start_at(listener, serve)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn echo(mut stream: TcpStream) {
    let (mut from, mut to) = stream.split();
    if tokio::io::copy(&mut from, &mut to).await.is_ok() {
        let _ = to.shutdown().await;
    }
}

/// A port at which connections are refused for as long as it is held.
struct Closed {
    address: SocketAddr,
    socket: Socket,
}

impl Closed {
    fn new() -> Closed {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        Closed { address, socket }
    }

    /// A backend of that name listens there from now on.
    async fn opens(self, name: u8) -> Backend {
        self.socket.listen(128).unwrap();
        self.socket.set_nonblocking(true).unwrap();
        Backend::named_at(name, TcpListener::from_std(self.socket.into()).unwrap())
    }
}

/// A service of these backends, each with its weight, on a port of its own.
fn service(name: &str, backends: &[(SocketAddr, u32)]) -> ServiceSettings {
    let backend = |&(address, weight): &(SocketAddr, u32)| BackendSettings::new(address, weight);
    let listen = SocketAddr::from(([127, 0, 0, 1], 0)).into();
    let backends = backends.iter().map(backend).collect();
    let mut service = ServiceSettings::new(name, vec![listen], backends);
    service.timeouts.connect = Duration::from_secs(5);
    service.timeouts.idle = Duration::from_secs(60);
    service
}

fn settings(services: impl IntoIterator<Item = ServiceSettings>) -> Settings {
    let services = services.into_iter().collect();
    Settings::new(Some(2), services)
}

async fn run(service: ServiceSettings) -> L4 {
    start(settings([service])).await.unwrap()
}

fn vip(l4: &L4) -> SocketAddr {
    l4.load().services[0].listen[0].single().unwrap()
}

async fn connect(l4: &L4) -> TcpStream {
    soon(TcpStream::connect(vip(l4))).await.unwrap()
}

/// A connection through the first service to a named backend, and the name.
async fn reach(l4: &L4) -> (TcpStream, u8) {
    let mut stream = connect(l4).await;
    let name = soon(stream.read_u8()).await.unwrap();
    (stream, name)
}

/// The names that so many connections reach, one after the other, each closed before the next.
async fn names(l4: &L4, count: usize) -> Vec<u8> {
    let mut names = Vec::new();
    for _ in 0..count {
        names.push(reach(l4).await.1);
    }
    names
}

/// Says something and hears it back.
async fn talk(stream: &mut TcpStream) {
    stream.write_all(b"hello").await.unwrap();
    let mut heard = [0; 5];
    soon(stream.read_exact(&mut heard)).await.unwrap();
    assert_eq!(&heard, b"hello");
}

/// What a connection that breaks says next.
async fn end(stream: &mut TcpStream) -> io::Result<usize> {
    soon(stream.read(&mut [0; 1])).await
}

/// Nobody takes a connection: it is reset as soon as it is there, or a little later.
async fn assert_refused(l4: &L4) {
    match soon(TcpStream::connect(vip(l4))).await {
        Ok(mut stream) => assert_reset(&mut stream).await,
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
    }
}

async fn assert_reset(stream: &mut TcpStream) {
    let error = end(stream).await.expect_err("a reset, no orderly end");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, what).await.expect("nothing came")
}

/// A range of so many ports that nobody has at any address, below those that the system gives out to
/// whoever connects.
fn free_ports(count: u16) -> RangeInclusive<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let socket = |port| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from(([0, 0, 0, 0], port)).into())?;
        io::Result::Ok(socket)
    };
    let begin = 11_000 + (std::process::id() % 1000) as u16 * 20;
    loop {
        let first = begin + NEXT.fetch_add(count, Ordering::Relaxed) % 500;
        let ports = first..=first + count - 1;
        if ports.clone().map(socket).collect::<io::Result<Vec<Socket>>>().is_ok() {
            return ports;
        }
    }
}

/// Waits until that is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !is_so() {
        assert!(Instant::now() < deadline, "not before the deadline: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
