//! Asks a server many questions at once, over UDP, and again over TCP what was truncated.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use super::questions::Question;

/// How many questions wait for an answer at once.
const WINDOW: usize = 32;
/// How long an answer may take before the question is asked again, and at last counts as dropped.
const PATIENCE: Duration = Duration::from_millis(500);
const TRIES: usize = 3;

/// The answers over UDP, in the order of the questions; none where the server gives none.
pub fn ask_udp(server: SocketAddr, questions: &[Question]) -> Vec<Option<Vec<u8>>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    socket.connect(server).expect("a loopback address");
    let mut answers = vec![None; questions.len()];
    let all: Vec<usize> = (0..questions.len()).collect();
    for _ in 0..TRIES {
        let open: Vec<usize> = all.iter().copied().filter(|at| answers[*at].is_none()).collect();
        for window in open.chunks(WINDOW) {
            ask_window(&socket, questions, window, &mut answers);
        }
    }
    answers
}

fn ask_window(
    socket: &UdpSocket,
    questions: &[Question],
    window: &[usize],
    answers: &mut [Option<Vec<u8>>],
) {
    for &at in window {
        // A refusal of the port by the kernel shows as an error: then there is no answer.
        let _ = socket.send(&questions[at].message(at as u16));
    }
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = [0; 65535];
    while window.iter().any(|at| answers[*at].is_none()) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        socket.set_read_timeout(Some(left)).expect("not zero");
        let Ok(length) = socket.recv(&mut buffer) else { continue };
        let Some(id) = buffer[..length].first_chunk() else { continue };
        let id = u16::from_be_bytes(*id);
        if let Some(&at) = window.iter().find(|at| **at as u16 == id) {
            answers[at] = Some(buffer[..length].to_vec());
        }
    }
}

/// The answer over TCP.
pub fn ask_tcp(server: SocketAddr, question: &Question) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, Duration::from_secs(5)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let message = question.message(1);
    let framed = [&(message.len() as u16).to_be_bytes(), &message[..]].concat();
    stream.write_all(&framed).ok()?;
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut answer).ok()?;
    Some(answer)
}
