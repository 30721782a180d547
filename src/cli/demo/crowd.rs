//! Clients of the demo: each asks the DNS where to go, holds a connection there for as long as the
//! answer is good, and asks again.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::site::VIP_PORT;
use crate::dns::Name;

/// The name that they ask for.
const NAME: &str = "www.example.com.";
/// Where they ask, as `portolan.toml` has it.
const DNS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5353);
/// The first come as soon as they can, and fill a part of what there is.
const AT_ONCE: u8 = 60;
/// The others come one after another, slowly enough to be watched.
const COMES_AFTER: Duration = Duration::from_secs(1);
/// After an answer that did not come, or a connection that was refused.
const TRIES_AGAIN: Duration = Duration::from_secs(1);

/// Clients; dropped, they go.
#[derive(Debug)]
pub struct Crowd {
    clients: JoinSet<()>,
}

impl Crowd {
    /// So many clients, each in a /24 of its own of `network`, a /16.
    pub fn gather(network: Ipv4Addr, clients: u8) -> Crowd {
        let [a, b, ..] = network.octets();
        let mut tasks = JoinSet::new();
        for number in 0..clients {
            tasks.spawn(async move {
                sleep(COMES_AFTER * u32::from(number.saturating_sub(AT_ONCE))).await;
                visit([a, b, number]).await;
            });
        }
        Crowd { clients: tasks }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.clients.len()
    }
}

/// Goes where the DNS says, again and again.
async fn visit(subnet: [u8; 3]) {
    let mut held: Option<(Ipv4Addr, TcpStream)> = None;
    loop {
        let answer = timeout(TRIES_AGAIN, ask(subnet)).await.ok().and_then(Result::ok).flatten();
        let Some((address, ttl)) = answer else {
            sleep(TRIES_AGAIN).await;
            continue;
        };
        if held.as_ref().is_none_or(|(at, stream)| *at != address || is_closed(stream)) {
            drop(held.take());
            let connecting = timeout(TRIES_AGAIN, TcpStream::connect((address, VIP_PORT))).await;
            let Ok(Ok(stream)) = connecting else {
                sleep(TRIES_AGAIN).await;
                continue;
            };
            held = Some((address, stream));
        }
        sleep(Duration::from_secs(u64::from(ttl.max(1)))).await;
    }
}

/// True when the other side has hung up: it never says anything of its own accord.
fn is_closed(stream: &TcpStream) -> bool {
    let would_block = |error: std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
    !stream.try_read(&mut [0]).is_err_and(would_block)
}

/// The first A record for a client in this /24, and its TTL in seconds.
async fn ask([a, b, c]: [u8; 3]) -> std::io::Result<Option<(Ipv4Addr, u32)>> {
    let name: Name = NAME.parse().expect("a name");
    let mut query = vec![a, c, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    query.extend(name.as_wire());
    query.extend([0, 1, 0, 1]);
    let question_end = query.len();
    // OPT (RFC 6891 §6.1.2) with a client subnet (RFC 7871 §6).
    query.extend([0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 11, 0, 8, 0, 7, 0, 1, 24, 0, a, b, c]);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    socket.connect(DNS).await?;
    socket.send(&query).await?;
    let mut answer = [0; 1232];
    let length = socket.recv(&mut answer).await?;
    // The owner is a pointer to the question: 2 bytes; then type, class, TTL, length, address.
    let record = answer[..length].get(question_end..question_end + 16);
    Ok(record.and_then(|record| match *record {
        [_, _, 0, 1, 0, 1, t0, t1, t2, t3, 0, 4, a, b, c, d] => {
            Some((Ipv4Addr::new(a, b, c, d), u32::from_be_bytes([t0, t1, t2, t3])))
        }
        _ => None,
    }))
}
