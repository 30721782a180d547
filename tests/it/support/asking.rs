//! Many questions at once, over UDP or TCP, as messages in wire form.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use hickory_proto::op::Message;
use hickory_proto::rr::RData;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use ipnet::IpNet;

/// How many questions wait for an answer at once.
const WINDOW: usize = 32;
/// How long an answer may take before the question is asked again, and at last counts as dropped.
const PATIENCE: Duration = Duration::from_secs(1);
const TRIES: usize = 3;

/// The answers over UDP, in the order of the questions; none where the server gives none. The IDs
/// of the questions are replaced.
pub fn ask_udp(server: SocketAddr, questions: &[Vec<u8>]) -> Vec<Option<Vec<u8>>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    socket.connect(server).expect("a loopback address");
    let mut answers = vec![None; questions.len()];
    for _ in 0..TRIES {
        let open = |at: &usize| answers[*at].is_none();
        let open: Vec<usize> = (0..questions.len()).filter(open).collect();
        for window in open.chunks(WINDOW) {
            ask_window(&socket, questions, window, &mut answers);
        }
    }
    answers
}

fn ask_window(
    socket: &UdpSocket,
    questions: &[Vec<u8>],
    window: &[usize],
    answers: &mut [Option<Vec<u8>>],
) {
    for &at in window {
        // A refusal of the port by the kernel shows as an error: then there is no answer.
        let _ = socket.send(&with_id(&questions[at], at as u16));
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

fn with_id(question: &[u8], id: u16) -> Vec<u8> {
    [&id.to_be_bytes(), &question[2..]].concat()
}

/// The answer over TCP.
pub fn ask_tcp(server: SocketAddr, question: &[u8]) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, Duration::from_secs(20)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    let framed = [&(question.len() as u16).to_be_bytes(), question].concat();
    stream.write_all(&framed).ok()?;
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut answer).ok()?;
    Some(answer)
}

/// A question for the A records of a name, on behalf of a client.
pub fn question_for(name: &str, client: IpNet) -> Vec<u8> {
    let client = client.trunc();
    let (family, octets) = match client.addr() {
        IpAddr::V4(address) => (1, address.octets().to_vec()),
        IpAddr::V6(address) => (2, address.octets().to_vec()),
    };
    let octets = &octets[..usize::from(client.prefix_len()).div_ceil(8)];
    let mut message = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        message.push(label.len() as u8);
        message.extend(label.bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    let length = 4 + octets.len() as u8;
    message.extend([0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 4 + length]);
    message.extend([0, 8, 0, length, 0, family, client.prefix_len(), 0]);
    message.extend(octets);
    message
}

/// The one A record of an answer, and the scope of its client subnet.
pub fn address_and_scope(answer: &[u8]) -> Option<(Ipv4Addr, u8)> {
    let message = Message::from_vec(answer).ok()?;
    let [record] = &message.answers[..] else { return None };
    let RData::A(address) = &record.data else { return None };
    let edns = message.edns.as_ref()?;
    let EdnsOption::Subnet(subnet) = edns.option(EdnsCode::Subnet)? else { return None };
    Some((address.0, subnet.scope_prefix()))
}
