//! The backends: what they do follows from the port.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{self, RecvFlags, SendFlags};

use crate::datagrams;
use crate::poll::{Poll, accept, listen};
use crate::transfer::{discard, pour};

/// What is done with a connection.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    /// Answers once, and closes.
    Once,
    /// Sends back what comes.
    Echo,
    /// Sends for ever once anything has come.
    Source,
    /// Reads for ever.
    Sink,
}

const MANNERS: [Manner; 4] = [Manner::Once, Manner::Echo, Manner::Source, Manner::Sink];

struct Connection {
    socket: OwnedFd,
    manner: Manner,
    has_begun: bool,
}

/// Serves until it is killed.
pub fn serve(port: u16) -> io::Result<()> {
    std::thread::spawn(move || datagrams::echo(port + MANNERS.len() as u16));
    let mut poll = Poll::new()?;
    let mut listeners = Vec::new();
    for (number, _) in MANNERS.iter().enumerate() {
        let listener = listen(port + number as u16)?;
        poll.reading(&listener, number)?;
        listeners.push(listener);
    }
    let mut file = File::open("/proc/self/exe")?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut free = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    let mut ready = Vec::new();
    loop {
        ready.clear();
        ready.extend(poll.wait(None)?);
        for &number in &ready {
            let Some(&manner) = MANNERS.get(number) else {
                let index = number - MANNERS.len();
                let Some(connection) = &mut connections[index] else { continue };
                if !serve_one(connection, &mut buffer, &mut file) {
                    connections[index] = None;
                    free.push(index);
                }
                continue;
            };
            while let Some(socket) = accept(&listeners[number])? {
                let mut connection = Connection { socket, manner, has_begun: false };
                if manner == Manner::Once && !serve_one(&mut connection, &mut buffer, &mut file) {
                    continue;
                }
                let index = free.pop().unwrap_or_else(|| {
                    connections.push(None);
                    connections.len() - 1
                });
                poll.both(&connection.socket, MANNERS.len() + index)?;
                connections[index] = Some(connection);
            }
        }
    }
}

/// Does what can be done; false when the connection is at its end.
fn serve_one(connection: &mut Connection, buffer: &mut [u8], file: &mut File) -> bool {
    let socket = &connection.socket;
    match connection.manner {
        Manner::Once => match net::recv(socket, &mut *buffer, RecvFlags::empty()) {
            Ok((_, 1..)) => {
                let _ = net::send(socket, b"!", SendFlags::NOSIGNAL);
                false
            }
            Err(Errno::AGAIN) => true,
            _ => false,
        },
        Manner::Echo => loop {
            match net::recv(socket, &mut *buffer, RecvFlags::empty()) {
                Ok((_, length @ 1..)) => {
                    // Small messages always find room.
                    if net::send(socket, &buffer[..length], SendFlags::NOSIGNAL) != Ok(length) {
                        return false;
                    }
                    if length < buffer.len() {
                        return true;
                    }
                }
                Err(Errno::AGAIN) => return true,
                _ => return false,
            }
        },
        Manner::Source => {
            if !connection.has_begun {
                match net::recv(socket, &mut *buffer, RecvFlags::empty()) {
                    Ok((_, 1..)) => connection.has_begun = true,
                    Err(Errno::AGAIN) => return true,
                    _ => return false,
                }
            }
            pour(socket, file).is_ok()
        }
        Manner::Sink => discard(socket, buffer).is_some_and(|(_, is_open)| is_open),
    }
}
