//! What may come over the network in place of an answer.

use std::sync::Arc;

use tokio::net::TcpListener;

use super::*;
use crate::transfer::{Algorithm, Key};

/// For a primary that answers, however busy the machine is.
const PATIENT: Limits = Limits {
    once_more: Duration::from_millis(100),
    tries: 300,
    connect: Duration::from_secs(30),
    idle: Duration::from_secs(30),
    total: Duration::from_secs(30),
    most_bytes: 10_000,
};

fn origin() -> Name {
    "a.".parse().unwrap()
}

fn unsigned(address: SocketAddr) -> Primary {
    Primary { address, key: None }
}

fn soa(serial: u8) -> Vec<u8> {
    let rdata = [&[0, 0, 0, 0, 0, serial][..], &[0; 16]].concat();
    [b"\x01a\0\0\x06\0\x01\0\0\0\0\0\x16", &rdata[..]].concat()
}

/// An answer to `request`, whose question has the type `qtype`.
fn answer(request: &[u8], flags: u16, answers: &[Vec<u8>]) -> Vec<u8> {
    let counts = [1, answers.len() as u16, 0, 0].map(u16::to_be_bytes).concat();
    [&request[..2], &flags.to_be_bytes(), &counts, &request[12..19], &answers.concat()].concat()
}

async fn udp() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// Accepts one connection, reads the request, and lets `speak` answer it.
async fn tcp<F: Future<Output = ()> + Send>(
    speak: impl FnOnce(TcpStream, Vec<u8>) -> F + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let length = stream.read_u16().await.unwrap();
        let mut request = vec![0; length.into()];
        stream.read_exact(&mut request).await.unwrap();
        speak(stream, request).await;
    });
    address
}

async fn send(stream: &mut TcpStream, message: &[u8]) -> bool {
    let framed = [&(message.len() as u16).to_be_bytes(), message].concat();
    stream.write_all(&framed).await.is_ok()
}

#[tokio::test]
async fn stray_datagrams_are_waited_out_and_lost_ones_sent_again() {
    let (socket, address) = udp().await;
    let asked = tokio::spawn(async move { ask(&unsigned(address), &origin(), &PATIENT).await });
    let mut buffer = [0; 512];
    let (_lost, _) = socket.recv_from(&mut buffer).await.unwrap();
    let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
    let request = &buffer[..length];
    let mut other = answer(request, 0x8400, &[soa(9)]);
    other[0] ^= 1;
    for bytes in [&other[..], b"", b"\xff\xff", &answer(request, 0x8400, &[soa(7)])] {
        socket.send_to(bytes, from).await.unwrap();
    }
    assert_eq!(asked.await.unwrap().unwrap().serial, 7);
}

#[tokio::test]
async fn silence_has_an_end_and_so_has_a_no() {
    let (_socket, address) = udp().await;
    let short = Limits { once_more: Duration::from_millis(60), tries: 3, ..PATIENT };
    let failure = ask(&unsigned(address), &origin(), &short).await.unwrap_err();
    assert_eq!(failure.to_string(), "no answer in 180ms");
    let (socket, address) = udp().await;
    let asked = tokio::spawn(async move { ask(&unsigned(address), &origin(), &PATIENT).await });
    let mut buffer = [0; 512];
    let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
    socket.send_to(&answer(&buffer[..length], 0x8405, &[]), from).await.unwrap();
    assert_eq!(asked.await.unwrap().unwrap_err().to_string(), "the primary answers REFUSED");
}

#[tokio::test]
async fn a_truncated_answer_leads_to_tcp() {
    let address = tcp(|mut stream, request| async move {
        send(&mut stream, &answer(&request, 0x8400, &[soa(8)])).await;
    })
    .await;
    let socket = UdpSocket::bind(address).await.unwrap();
    let asked = tokio::spawn(async move { ask(&unsigned(address), &origin(), &PATIENT).await });
    let mut buffer = [0; 512];
    let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
    socket.send_to(&answer(&buffer[..length], 0x8600, &[]), from).await.unwrap();
    assert_eq!(asked.await.unwrap().unwrap().serial, 8);
}

#[tokio::test]
async fn who_must_sign_and_does_not_is_not_believed() {
    let key = Some(Arc::new(Key::new("k.".parse().unwrap(), Algorithm::Sha256, &[1; 32])));
    let (socket, address) = udp().await;
    let primary = Primary { address, key: key.clone() };
    let asked = tokio::spawn(async move { ask(&primary, &origin(), &PATIENT).await });
    let mut buffer = [0; 512];
    let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
    socket.send_to(&answer(&buffer[..length], 0x8400, &[soa(7)]), from).await.unwrap();
    assert_eq!(asked.await.unwrap().unwrap_err().to_string(), "the response is not signed");
    let address = tcp(|mut stream, request| async move {
        send(&mut stream, &answer(&request, 0x8400, &[soa(8), soa(8)])).await;
    })
    .await;
    let failure = transfer(&Primary { address, key }, &origin(), None, &PATIENT).await.unwrap_err();
    assert_eq!(failure.to_string(), "the response is not signed");
}

#[tokio::test]
async fn a_transfer_comes_in_pieces() {
    let address = tcp(|mut stream, request| async move {
        for byte in [soa(8), soa(8)].iter().flat_map(|soa| {
            let message = answer(&request, 0x8400, std::slice::from_ref(soa));
            [&(message.len() as u16).to_be_bytes(), &message[..]].concat()
        }) {
            stream.write_all(&[byte]).await.unwrap();
        }
    })
    .await;
    let arrival = transfer(&unsigned(address), &origin(), None, &PATIENT).await.unwrap();
    let Arrival::Whole(records) = arrival else { panic!("{arrival:?}") };
    assert_eq!(records.count(), 1);
}

#[tokio::test]
async fn a_transfer_that_is_cut_stalls_or_never_ends_is_given_up() {
    let a_record = |request: &[u8]| {
        let record = b"\x01x\x01a\0\0\x01\0\x01\0\0\0\0\0\x04\xc6\x33\x64\x01".to_vec();
        answer(request, 0x8400, &vec![record; 20])
    };
    let cut = tcp(|mut stream, request| async move {
        send(&mut stream, &answer(&request, 0x8400, &[soa(8)])).await;
    })
    .await;
    let stalls = tcp(|mut stream, request| async move {
        send(&mut stream, &answer(&request, 0x8400, &[soa(8)])).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
    })
    .await;
    let endless = tcp(move |mut stream, request| async move {
        send(&mut stream, &answer(&request, 0x8400, &[soa(8)])).await;
        while send(&mut stream, &a_record(&request)).await {}
    })
    .await;
    let trickles = tcp(move |mut stream, request| async move {
        send(&mut stream, &answer(&request, 0x8400, &[soa(8)])).await;
        while send(&mut stream, &a_record(&request)).await {
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    })
    .await;
    let briefly_idle = Limits { idle: Duration::from_millis(100), ..PATIENT };
    let short = Limits { total: Duration::from_millis(500), ..PATIENT };
    for (address, limits, told) in [
        (cut, PATIENT, "the connection is closed before the end"),
        (stalls, briefly_idle, "no answer in 100ms"),
        (endless, PATIENT, "the zone is larger than 10000 bytes"),
        (trickles, short, "the transfer takes longer than 500ms"),
    ] {
        let failure = transfer(&unsigned(address), &origin(), None, &limits).await.unwrap_err();
        assert_eq!(failure.to_string(), told);
    }
}

/// A response signed at `time` with the key `k.`, whose MAC is cut to so many bytes.
fn signed(request: &[u8], time: u64, mac_bytes: usize) -> Vec<u8> {
    let keys = [Key::new("k.".parse().unwrap(), Algorithm::Sha256, &[1; 32])].into_iter().collect();
    let start = tsig::find(request).unwrap().unwrap();
    let now = unix_seconds(SystemTime::now());
    let mut verified = tsig::verify(&keys, request, start, now).unwrap();
    let mut out = answer(&verified.message, 0x8400, &[soa(8), soa(8)]);
    let length = out.len();
    out.resize(length + verified.sequence.record_bytes(), 0);
    verified.sequence.sign(&mut out, length, time);
    // Owner, head, algorithm, time and fudge stand before the size of the MAC.
    let head = length + b"\x01k\0".len();
    let size = head + 10 + b"\x0bhmac-sha256\0".len() + 8;
    let cut = 32 - mac_bytes;
    out.drain(size + 2 + mac_bytes..size + 34);
    out[size + 1] -= cut as u8;
    out[head + 9] -= cut as u8;
    out
}

#[tokio::test]
async fn a_signature_is_right_whole_and_of_now() {
    let key = Some(Arc::new(Key::new("k.".parse().unwrap(), Algorithm::Sha256, &[1; 32])));
    let now = unix_seconds(SystemTime::now());
    for (time, mac_bytes, told) in [
        (now, 32, None),
        (now - 1000, 32, Some("the clock of the other server and ours differ by 100")),
        (now + 1000, 32, Some("the clock of the other server and ours differ by ")),
        (now, 16, Some("the signature of the response is wrong")),
    ] {
        let address = tcp(move |mut stream, request| async move {
            send(&mut stream, &signed(&request, time, mac_bytes)).await;
        })
        .await;
        let primary = Primary { address, key: key.clone() };
        let taken = transfer(&primary, &origin(), None, &PATIENT).await;
        match told {
            None => assert!(taken.is_ok(), "{taken:?}"),
            Some(told) => {
                let failure = taken.unwrap_err().to_string();
                assert!(failure.starts_with(told), "{failure}");
            }
        }
    }
}
