//! A sample HTTP server, for checks and reports to meet: it can be stopped, silent, slow or wrong.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A sample server that runs until it is stopped or dropped.
pub struct Backend {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<Accepting>,
}

#[derive(Default)]
struct Shared {
    manner: Mutex<Manner>,
    asked: AtomicUsize,
}

/// How it answers.
#[derive(Clone, Debug)]
pub enum Manner {
    /// With a status and a body.
    Says(u16, String),
    /// Accepts, and says nothing for as long as the client stays.
    Silent,
    /// With bytes that are no HTTP.
    Babbles,
}

struct Accepting {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Default for Manner {
    fn default() -> Manner {
        Manner::Says(200, "ok\n".into())
    }
}

impl Backend {
    /// Listens, and answers every request with 200 and `ok`.
    pub fn start(address: impl Into<SocketAddr>) -> Backend {
        Backend::that_is(address, Manner::default())
    }

    /// Listens, and answers in that manner.
    pub fn that_is(address: impl Into<SocketAddr>, manner: Manner) -> Backend {
        let address = address.into();
        let shared = Arc::new(Shared { manner: Mutex::new(manner), asked: AtomicUsize::new(0) });
        let mut backend = Backend { address, shared, accepting: None };
        backend.resume();
        backend
    }

    /// Answers in that manner from now on.
    pub fn behave(&self, manner: Manner) {
        *self.shared.manner.lock().expect("no panic while it was held") = manner;
    }

    /// How many requests it has been sent.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }

    /// Listens no more: connections are refused.
    pub fn stop(&mut self) {
        let Some(Accepting { stop, thread }) = self.accepting.take() else { return };
        stop.store(true, Ordering::SeqCst);
        // Wakes the thread.
        let _ = TcpStream::connect(self.address);
        thread.join().expect("the thread ends");
    }

    /// Listens again.
    pub fn resume(&mut self) {
        if self.accepting.is_some() {
            return;
        }
        let listener = TcpListener::bind(self.address).expect("the address is free");
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped) = (Arc::clone(&self.shared), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&shared);
                // The client may hang up whenever it wants.
                std::thread::spawn(move || stream.and_then(|stream| answer(stream, &shared)));
            }
        });
        self.accepting = Some(Accepting { stop, thread });
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop();
    }
}

fn answer(stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line)? > 0 && !line.trim().is_empty() {
        line.clear();
    }
    shared.asked.fetch_add(1, Ordering::SeqCst);
    let manner = shared.manner.lock().expect("no panic while it was held").clone();
    match manner {
        Manner::Says(status, body) => {
            let length = body.len();
            write!(
                stream.get_mut(),
                "HTTP/1.1 {status} Said\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            )
        }
        Manner::Silent => stream.read_to_end(&mut Vec::new()).map(drop),
        Manner::Babbles => stream.get_mut().write_all(&[0x16, 3, 1, 0, 0, 0xff, b'\n', 0, 7]),
    }
}
