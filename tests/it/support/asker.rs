//! Somebody who asks all the time, and counts what is not answered.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};

use super::until;

/// A query that is not answered by then was lost.
const PATIENCE: Duration = Duration::from_secs(20);
/// From one query to the next.
const PAUSE: Duration = Duration::from_millis(3);

type Exchange = fn(SocketAddr, &[u8]) -> std::io::Result<Vec<u8>>;

/// Somebody who asks over UDP and over TCP until told to stop.
pub struct Asker {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

impl Asker {
    /// Asks for the A records of `name`.
    pub fn start(server: SocketAddr, name: &str) -> Asker {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        let transports: [Exchange; 2] = [over_udp, over_tcp];
        let threads = transports.map(|exchange| {
            let (stop, count) = (Arc::clone(&stop), Arc::clone(&answered));
            let name = name.to_string();
            std::thread::spawn(move || {
                let mut lost = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    match exchange(server, &query(&name, 7)) {
                        Ok(answer) if is_good(&answer) => _ = count.fetch_add(1, Ordering::Relaxed),
                        Ok(answer) => lost.push(format!("{answer:?}")),
                        Err(error) => lost.push(error.to_string()),
                    }
                    std::thread::sleep(PAUSE);
                }
                lost
            })
        });
        Asker { stop, answered, threads: threads.into() }
    }

    /// Waits until so many more queries have been answered with NOERROR and at least one record.
    #[track_caller]
    pub fn until_answered(&self, more: usize) {
        let wanted = self.answered.load(Ordering::Relaxed) + more;
        until("more queries are answered", || self.answered.load(Ordering::Relaxed) >= wanted);
    }

    /// Stops.
    ///
    /// # Panics
    ///
    /// If a query was not answered so.
    #[track_caller]
    pub fn lost_none(self) {
        self.stop.store(true, Ordering::Relaxed);
        let threads = self.threads.into_iter();
        let lost: Vec<String> =
            threads.flat_map(|thread| thread.join().expect("asks to the end")).collect();
        let answered = self.answered.load(Ordering::Relaxed);
        assert!(lost.is_empty(), "{} lost, {answered} answered: {lost:?}", lost.len());
    }
}

/// The bytes of a query for A records.
pub fn query(name: &str, id: u16) -> Vec<u8> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), RecordType::A));
    message.to_vec().expect("a query")
}

/// Sends a query over UDP, and returns the answer.
pub fn over_udp(server: SocketAddr, query: &[u8]) -> std::io::Result<Vec<u8>> {
    let socket = UdpSocket::bind(("127.0.0.1", 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(server)?;
    socket.send(query)?;
    let mut answer = vec![0; 65535];
    let length = socket.recv(&mut answer)?;
    answer.truncate(length);
    Ok(answer)
}

/// Sends a query over a TCP connection of its own, and returns the answer.
pub fn over_tcp(server: SocketAddr, query: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&framed(query))?;
    read_framed(&mut stream)
}

/// A message with its length before it.
pub fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes(), message].concat()
}

/// The next message of a connection.
pub fn read_framed(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message)?;
    Ok(message)
}

fn is_good(answer: &[u8]) -> bool {
    Message::from_vec(answer).is_ok_and(|message| {
        message.metadata.response_code == ResponseCode::NoError && !message.answers.is_empty()
    })
}
