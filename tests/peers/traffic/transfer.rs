//! Large transfers: sent from the page cache, and thrown away where they arrive, both without a copy.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{self, RecvFlags, SendFlags};

use crate::poll::{Poll, connect_patiently};

/// Bytes a system call moves, at most: a connection must not keep the others waiting.
const PIECE: usize = 256 << 10;

/// Sends what there is room for, and gives how much.
pub fn pour(socket: &OwnedFd, file: &mut File) -> io::Result<u64> {
    let mut total = 0;
    loop {
        let mut offset = 0;
        match rustix::fs::sendfile(socket, &*file, Some(&mut offset), PIECE) {
            Ok(sent) => total += sent as u64,
            Err(Errno::AGAIN) => return Ok(total),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Takes what is there: how much, and whether more may come. None when the connection is broken.
pub fn discard(socket: &OwnedFd, buffer: &mut [u8]) -> Option<(u64, bool)> {
    let mut total = 0;
    loop {
        match net::recv(socket, &mut *buffer, RecvFlags::TRUNC) {
            Ok((_, 0)) => return Some((total, false)),
            Ok((_, length)) => total += length as u64,
            Err(Errno::AGAIN) => return Some((total, true)),
            Err(_) => return None,
        }
    }
}

/// From the backend.
pub fn download(address: SocketAddr, seconds: f64, open: usize) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    run(address, seconds, open, |socket| discard(socket, &mut buffer).map(|(bytes, _)| bytes))
}

/// To the backend.
pub fn upload(address: SocketAddr, seconds: f64, open: usize) -> io::Result<()> {
    let mut file = File::open("/proc/self/exe")?;
    run(address, seconds, open, |socket| pour(socket, &mut file).ok())
}

fn run(
    address: SocketAddr,
    seconds: f64,
    open: usize,
    mut carry: impl FnMut(&OwnedFd) -> Option<u64>,
) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut sockets = Vec::new();
    for number in 0..open {
        let socket = connect_patiently(address)?;
        net::send(&socket, b"?", SendFlags::NOSIGNAL)?;
        poll.both(&socket, number)?;
        sockets.push(socket);
    }
    let begin = Instant::now();
    let end = begin + Duration::from_secs_f64(seconds);
    let (mut bytes, mut broken) = (0_u64, 0_u64);
    while Instant::now() < end {
        for number in poll.wait(Some(Duration::from_millis(100)))? {
            match carry(&sockets[number]) {
                Some(moved) => bytes += moved,
                None => broken += 1,
            }
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!("{{\"done\": {bytes}, \"failed\": {broken}, \"seconds\": {seconds:.4}}}");
    Ok(())
}
