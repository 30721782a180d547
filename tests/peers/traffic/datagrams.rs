//! Datagrams: many clients that have one under way each, in one socket with many addresses.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use portolan::datagram::{Envelope, Inbox, Outbox, Wait, receive_destinations};

/// Datagrams that a system call moves, at most.
const BATCH: usize = 64;
/// The longest datagram.
const LONGEST: usize = 1500;
/// A client whose datagram has not come back by then sends another.
const PATIENCE: Duration = Duration::from_millis(100);

/// A socket at all addresses, and room for what arrives there.
struct Everywhere {
    socket: UdpSocket,
    inbox: Inbox<[u8; LONGEST]>,
    outbox: Outbox,
}

impl Everywhere {
    fn new(port: u16) -> io::Result<Everywhere> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        receive_destinations(&socket, false)?;
        let inbox = Inbox::new((0..BATCH).map(|_| [0; _]));
        Ok(Everywhere { socket, inbox, outbox: Outbox::new(BATCH) })
    }

    /// Waits for datagrams, sends each back from where it arrived, and tells how many there were.
    fn send_back(&mut self, mut see: impl FnMut(&[u8])) -> io::Result<usize> {
        let received = match self.inbox.receive(&self.socket, 0, BATCH, Wait::ForOne) {
            Ok(received) => received,
            // Nobody listened where we sent to.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(0),
            Err(error) => return Err(error),
        };
        for index in 0..received {
            let slot = self.inbox.slot(index);
            slot.envelope.destination();
            see(slot.packet());
        }
        let slots = &self.inbox.slots()[..received];
        // What finds no room is lost, and told as lost.
        let _ = self
            .outbox
            .send(&self.socket, slots.iter().map(|slot| (Some(&slot.envelope), slot.packet())));
        Ok(received)
    }
}

/// Prints what came of it as JSON.
pub fn run(server: SocketAddr, seconds: f64, clients: u16, bytes: usize) -> io::Result<()> {
    let mut everywhere = Everywhere::new(0)?;
    let begin = Instant::now();
    let end = begin + Duration::from_secs_f64(seconds);
    let mut seen = vec![None; clients.into()];
    let mut swept = None;
    let (mut answered, mut lost) = (0, 0_u64);
    let mut payload = vec![0; bytes.clamp(2, LONGEST)];
    loop {
        let now = Instant::now();
        if now >= end {
            break;
        }
        if swept.is_none_or(|swept| now > swept + PATIENCE) {
            swept = Some(now);
            for (client, seen) in (0_u16..).zip(&mut seen) {
                if seen.is_some_and(|seen| now < seen + PATIENCE) {
                    continue;
                }
                lost += u64::from(seen.is_some());
                *seen = Some(now);
                payload[..2].copy_from_slice(&client.to_be_bytes());
                let [high, low] = client.to_be_bytes();
                let from = Ipv4Addr::new(127, 10, high, low);
                let envelope = Envelope::to(server, Some(from.into()));
                let one = [(Some(&envelope), &payload[..])];
                everywhere.outbox.send(&everywhere.socket, one.into_iter())?;
            }
        }
        answered += everywhere.send_back(|packet| {
            let client = usize::from(u16::from_be_bytes([packet[0], packet[1]]));
            if let Some(seen) = seen.get_mut(client) {
                *seen = Some(now);
            }
        })?;
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!("{{\"done\": {answered}, \"failed\": {lost}, \"seconds\": {seconds:.4}}}");
    Ok(())
}

/// Sends back what comes, from the address that it came to.
pub fn echo(port: u16) -> io::Result<()> {
    let mut everywhere = Everywhere::new(port)?;
    loop {
        everywhere.send_back(|_| {})?;
    }
}
