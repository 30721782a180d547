//! Datagrams: many clients that have one under way each, in one socket with many addresses.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::batch::{Batch, receive_destinations};

/// A client whose datagram has not come back by then sends another.
const PATIENCE: Duration = Duration::from_millis(100);
/// An address that sends us nothing.
const NOBODY: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(127, 255, 255, 1)), 1);

/// Prints what came of it as JSON.
pub fn run(server: SocketAddr, seconds: f64, clients: u16, bytes: usize) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    receive_destinations(&socket, false)?;
    let port = socket.local_addr()?.port();
    let begin = Instant::now();
    let end = begin + Duration::from_secs_f64(seconds);
    let mut seen = vec![None; clients.into()];
    let mut swept = begin;
    let (mut answered, mut lost) = (0_u64, 0_u64);
    let mut batch = Batch::new();
    let mut payload = vec![0; bytes.max(2)];
    loop {
        let now = Instant::now();
        if now >= end {
            break;
        }
        if swept == begin || now > swept + PATIENCE {
            swept = now;
            for (client, seen) in (0_u16..).zip(&mut seen) {
                if seen.is_some_and(|seen| now < seen + PATIENCE) {
                    continue;
                }
                lost += u64::from(seen.is_some());
                *seen = Some(now);
                payload[..2].copy_from_slice(&client.to_be_bytes());
                send_from(address_of(client), port, server, &payload)?;
            }
        }
        let received = match batch.receive(&socket) {
            Ok(received) => received,
            // Somebody's port is closed.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            Err(error) => return Err(error),
        };
        let now = Instant::now();
        for index in 0..received {
            let slot = batch.slot(index);
            slot.destination();
            let (packet, out) = slot.buffers();
            let length = packet.len();
            out[..length].copy_from_slice(packet);
            let client = usize::from(u16::from_be_bytes([packet[0], packet[1]]));
            if let Some(seen) = seen.get_mut(client) {
                *seen = Some(now);
            }
            answered += 1;
            batch.reply(index, length);
        }
        batch.send(&socket);
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!("{{\"done\": {answered}, \"failed\": {lost}, \"seconds\": {seconds:.4}}}");
    Ok(())
}

fn address_of(client: u16) -> Ipv4Addr {
    let [high, low] = client.to_be_bytes();
    Ipv4Addr::new(127, 10, high, low)
}

/// Sends one from there, but leaves the answer to the socket that has the port at all addresses.
fn send_from(source: Ipv4Addr, port: u16, server: SocketAddr, payload: &[u8]) -> io::Result<()> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((source, port)).into())?;
    socket.connect(&NOBODY.into())?;
    socket.send_to(payload, &server.into())?;
    Ok(())
}

/// Sends back what comes, from the address that it came to.
pub fn echo(port: u16) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
    receive_destinations(&socket, false)?;
    let mut batch = Batch::new();
    loop {
        let received = batch.receive(&socket)?;
        for index in 0..received {
            let slot = batch.slot(index);
            slot.destination();
            let (packet, out) = slot.buffers();
            let length = packet.len();
            out[..length].copy_from_slice(packet);
            batch.reply(index, length);
        }
        batch.send(&socket);
    }
}
