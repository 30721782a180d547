//! Connections a second: connect, a byte there, a byte back, the end.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{self, RecvFlags, SendFlags};

use crate::poll::{Poll, connect};

struct Connection {
    socket: OwnedFd,
    is_asked: bool,
    is_answered: bool,
}

/// Keeps so many connections open at once, and prints what came of them as JSON.
pub fn run(address: SocketAddr, seconds: f64, open: usize) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut connections = Vec::new();
    let begin = Instant::now();
    let end = begin + Duration::from_secs_f64(seconds);
    for number in 0..open {
        connections.push(begin_one(&poll, address, number)?);
    }
    let (mut done, mut broken) = (0_u64, 0_u64);
    let mut ready = Vec::new();
    while Instant::now() < end {
        ready.clear();
        ready.extend(poll.wait(Some(Duration::from_millis(100)))?);
        for &number in &ready {
            match go_on(&mut connections[number]) {
                None => continue,
                Some(true) => done += 1,
                Some(false) => broken += 1,
            }
            connections[number] = begin_one(&poll, address, number)?;
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!("{{\"done\": {done}, \"failed\": {broken}, \"seconds\": {seconds:.4}}}");
    Ok(())
}

fn begin_one(poll: &Poll, address: SocketAddr, number: usize) -> io::Result<Connection> {
    let socket = connect(address)?;
    // On loopback the connection is made by now.
    let is_asked = net::send(&socket, b"?", SendFlags::NOSIGNAL) == Ok(1);
    match is_asked {
        true => poll.reading(&socket, number)?,
        false => poll.both(&socket, number)?,
    }
    Ok(Connection { socket, is_asked, is_answered: false })
}

/// Does what can be done; whether it went well, when it is at its end.
fn go_on(connection: &mut Connection) -> Option<bool> {
    if !connection.is_asked {
        match net::send(&connection.socket, b"?", SendFlags::NOSIGNAL) {
            Ok(_) => connection.is_asked = true,
            Err(Errno::AGAIN) => return None,
            Err(_) => return Some(false),
        }
    }
    let mut buffer = [0; 16];
    loop {
        match net::recv(&connection.socket, &mut buffer[..], RecvFlags::empty()) {
            Ok((_, 0)) => return Some(connection.is_answered),
            Ok(_) => connection.is_answered = true,
            Err(Errno::AGAIN) => return None,
            Err(_) => return Some(false),
        }
    }
}
