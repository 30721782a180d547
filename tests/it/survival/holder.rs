//! Somebody who holds connections: each asks its backend for its name at every heartbeat, and what
//! breaks is counted by cause and by the backend that it was on.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::namespaces::Host;
use crate::support::until;

/// Between two heartbeats of a connection.
const BEAT: Duration = Duration::from_millis(500);
/// A heartbeat that is not answered by then is a broken connection.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the connections are looked at.
const TICK: Duration = Duration::from_millis(5);
const HEARTBEAT: &[u8] = b"GET / HTTP/1.1\r\nHost: heart\r\n\r\n";

/// Why a connection is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// It could not be made.
    Refused,
    /// It was reset.
    Reset,
    /// It was ended in order, without a reason.
    Ended,
    /// A heartbeat was not answered.
    Silent,
    /// The answer was not the backend's name, or another backend's.
    Strange,
}

/// What is known of the connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// By backend.
    pub held: BTreeMap<String, usize>,
    /// By cause, and by the backend that it was on.
    pub broken: BTreeMap<(Cause, String), usize>,
    /// Those whose first heartbeat is not answered yet.
    new: usize,
    /// The time at which the oldest of the heartbeats began that were answered last.
    since: Option<Instant>,
}

impl Count {
    /// How many are held.
    pub fn all(&self) -> usize {
        self.held.values().sum()
    }

    /// How many are held on that backend.
    pub fn on(&self, backend: &str) -> usize {
        self.held.get(backend).copied().unwrap_or_default()
    }
}

/// Holds connections until it is dropped.
pub struct Holder {
    orders: Option<Sender<usize>>,
    count: Arc<Mutex<Count>>,
    thread: Option<JoinHandle<()>>,
}

impl Holder {
    /// Holds connections to `vip` from that host; none yet.
    pub fn on(host: &Host, vip: SocketAddr) -> Holder {
        let (orders, ordered) = channel();
        let count = Arc::default();
        let namespace = host.namespace();
        let shared = Arc::clone(&count);
        let thread = std::thread::spawn(move || {
            namespace.enter();
            hold(vip, &ordered, &shared);
        });
        Holder { orders: Some(orders), count, thread: Some(thread) }
    }

    /// Opens so many more, and waits until each has had an answer.
    #[track_caller]
    pub fn open(&self, more: usize) {
        let before = self.count();
        let total = |count: &Count| {
            count.held.values().sum::<usize>() + count.broken.values().sum::<usize>()
        };
        self.orders.as_ref().expect("it runs").send(more).expect("it runs");
        until("the connections are made", || total(&self.count()) >= total(&before) + more);
    }

    /// Waits until every connection has had a heartbeat from now on, and tells what there is.
    #[track_caller]
    pub fn settled(&self) -> Count {
        let now = Instant::now();
        until("every heart has beaten", || self.count().since.is_some_and(|since| since >= now));
        self.count()
    }

    fn count(&self) -> Count {
        self.count.lock().expect("no panic while it was held").clone()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.orders = None;
        let ended = self.thread.take().expect("it runs").join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

struct Held {
    stream: TcpStream,
    backend: Option<String>,
    /// When the heartbeat that is under way began, and what of its answer has come.
    asked: Option<(Instant, Vec<u8>)>,
    /// When the last heartbeat began that was answered.
    answered: Instant,
}

fn hold(vip: SocketAddr, orders: &Receiver<usize>, count: &Mutex<Count>) {
    let mut all: Vec<Held> = Vec::new();
    let mut broken = BTreeMap::new();
    loop {
        match orders.recv_timeout(TICK) {
            Ok(more) => {
                for _ in 0..more {
                    match connect(vip) {
                        Ok(held) => all.push(held),
                        Err(cause) => *broken.entry((cause, String::new())).or_default() += 1,
                    }
                }
            }
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return,
        }
        all.retain_mut(|held| match held.beat() {
            Ok(()) => true,
            Err(cause) => {
                let backend = held.backend.take().unwrap_or_default();
                *broken.entry((cause, backend)).or_default() += 1;
                false
            }
        });
        let mut now = Count { broken: broken.clone(), ..Count::default() };
        for held in &all {
            match &held.backend {
                Some(name) => *now.held.entry(name.clone()).or_default() += 1,
                None => now.new += 1,
            }
        }
        now.since = Some(all.iter().map(|held| held.answered).min().unwrap_or_else(Instant::now));
        *count.lock().expect("no panic while it was held") = now;
    }
}

fn connect(vip: SocketAddr) -> Result<Held, Cause> {
    let stream = TcpStream::connect_timeout(&vip, PATIENCE).map_err(|_| Cause::Refused)?;
    stream.set_nonblocking(true).expect("a socket");
    stream.set_nodelay(true).expect("a socket");
    let now = Instant::now();
    Ok(Held { stream, backend: None, asked: None, answered: now - BEAT })
}

impl Held {
    /// Begins a heartbeat that is due, or reads the answer.
    fn beat(&mut self) -> Result<(), Cause> {
        let now = Instant::now();
        let Some((began, answer)) = &mut self.asked else {
            if now >= self.answered + BEAT {
                match self.stream.write(HEARTBEAT) {
                    Ok(length) if length == HEARTBEAT.len() => {}
                    Ok(_) => return Err(Cause::Silent),
                    Err(error) => return Err(cause_of(error.kind())),
                }
                self.asked = Some((now, Vec::new()));
            }
            return Ok(());
        };
        let mut buffer = [0; 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => return Err(Cause::Ended),
            Ok(length) => answer.extend(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return if now > *began + PATIENCE { Err(Cause::Silent) } else { Ok(()) };
            }
            Err(error) => return Err(cause_of(error.kind())),
        }
        let text = String::from_utf8_lossy(answer);
        let Some(name) = text.split("\r\n\r\n").nth(1).and_then(|body| body.strip_suffix('\n'))
        else {
            return Ok(());
        };
        if self.backend.as_deref().is_some_and(|backend| backend != name) {
            return Err(Cause::Strange);
        }
        self.backend = Some(name.to_string());
        self.answered = *began;
        self.asked = None;
        Ok(())
    }
}

fn cause_of(kind: ErrorKind) -> Cause {
    match kind {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Cause::Reset,
        _ => Cause::Strange,
    }
}
