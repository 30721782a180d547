//! What `tests/peers/run` needs besides the servers: a sender of questions, and an echo to show what
//! receiving and sending alone cost.
//!
//! `load ask ADDRESS SECONDS names ORIGIN COUNT`: A of `n0` to `nCOUNT` of the origin, at random.
//! `load ask ADDRESS SECONDS subnets NAME`: A of the name, each time for another random /24.
//! `load echo ADDRESS`: sends back what it receives, with the sockets' code of the server.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

#[path = "../../src/transport/batch.rs"]
mod batch;

// What `batch` imports.
use portolan::datagram;
mod dns {
    pub mod edns {
        pub use portolan::dns::edns::UDP_PAYLOAD_BYTES;
    }
}

/// How many questions are open at once: fewer than fill a socket's default buffer.
const WINDOW: usize = 128;
/// After this time without an answer, the open questions count as lost.
const PATIENCE: Duration = Duration::from_millis(200);
/// QR of an answer, in the third byte.
const QR: u8 = 0x80;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["echo", address] => echo(parse(address)),
        ["ask", address, seconds, "names", origin, count] => {
            let names = (0..parse(count)).map(|n: u32| question(&format!("n{n}.{origin}"), &[]));
            ask(parse(address), parse(seconds), &mut Names(names.collect()))
        }
        ["ask", address, seconds, "subnets", name] => {
            ask(parse(address), parse(seconds), &mut Subnets(question(name, &SUBNET)))
        }
        _ => panic!("usage: see the first lines of tests/peers/load.rs"),
    };
    done.expect("the sockets work");
}

fn parse<T: std::str::FromStr>(text: &str) -> T {
    text.parse().ok().unwrap_or_else(|| panic!("`{text}` is not what was expected here"))
}

/// Where the questions come from.
trait Questions {
    fn next(&mut self) -> &[u8];
}

struct Names(Vec<Vec<u8>>);

impl Questions for Names {
    fn next(&mut self) -> &[u8] {
        let at = fastrand::usize(..self.0.len());
        &self.0[at]
    }
}

struct Subnets(Vec<u8>);

/// An EDNS client subnet of an IPv4 /24, with its three octets at the end (RFC 7871 §6).
const SUBNET: [u8; 11] = [0, 8, 0, 7, 0, 1, 24, 0, 0, 0, 0];

impl Questions for Subnets {
    fn next(&mut self) -> &[u8] {
        let end = self.0.len();
        let octets = [fastrand::u8(1..224), fastrand::u8(..), fastrand::u8(..)];
        self.0[end - 3..].copy_from_slice(&octets);
        &self.0
    }
}

/// A query for A, with EDNS and these options.
fn question(name: &str, options: &[u8]) -> Vec<u8> {
    let mut message = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        message.push(label.len() as u8);
        message.extend(label.bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    message.extend([0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, options.len() as u8]);
    message.extend(options);
    message
}

/// Keeps a window of questions open, and prints what came of them as JSON. For each answer another
/// question is sent back, in batches, so that the server is what has most to do.
fn ask(server: SocketAddr, seconds: f64, questions: &mut dyn Questions) -> io::Result<()> {
    let socket = UdpSocket::bind(("127.0.0.1", 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let begin = Instant::now();
    let end = begin + Duration::from_secs_f64(seconds);
    let (mut answered, mut good, mut lost) = (0_u64, 0_u64, 0_u64);
    let mut batch = batch::Batch::new();
    let mut open = 0;
    loop {
        let is_over = Instant::now() >= end;
        if open == 0 {
            if is_over {
                break;
            }
            for _ in 0..WINDOW {
                socket.send_to(questions.next(), server)?;
            }
            open = WINDOW;
        }
        let received = batch.receive(&socket)?;
        if received == 0 {
            lost += open as u64;
            open = 0;
        }
        for index in 0..received {
            let (answer, out) = batch.slot(index);
            answered += 1;
            good += u64::from(is_positive(answer.packet()));
            if is_over {
                open = open.saturating_sub(1);
                continue;
            }
            let question = questions.next();
            out[..question.len()].copy_from_slice(question);
            batch.reply(index, question.len());
        }
        batch.send(&socket);
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "{{\"answered\": {answered}, \"good\": {good}, \"lost\": {lost}, \"seconds\": {seconds:.3}}}"
    );
    Ok(())
}

/// NOERROR, and an answer.
fn is_positive(message: &[u8]) -> bool {
    message.len() > 12 && message[2] & QR != 0 && message[3] & 0x0f == 0 && message[7] > 0
}

fn echo(address: SocketAddr) -> io::Result<()> {
    let socket = UdpSocket::bind(address)?;
    let mut batch = batch::Batch::new();
    loop {
        let received = batch.receive(&socket)?;
        for index in 0..received {
            let (slot, out) = batch.slot(index);
            let packet = slot.packet();
            let length = packet.len();
            out[..length].copy_from_slice(packet);
            out[2] |= QR;
            // Looks like an answer, so that it counts as one.
            out[7] = 1;
            batch.reply(index, length);
        }
        batch.send(&socket);
    }
}
