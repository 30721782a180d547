//! Exchanges with resolvers: over UDP, each in turn, and over TCP where an answer is too long.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::message::{Asked, Reading};
use super::{Answer, Family};
use crate::dns::Name;

/// A datagram is waited for no longer than this.
const UDP_TIMEOUT: Duration = Duration::from_millis(1500);
/// An exchange over TCP takes no longer than this.
const TCP_TIMEOUT: Duration = Duration::from_secs(3);
/// How often all of them are asked.
const ROUNDS: usize = 2;
/// No question takes longer than this.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(6);
/// The longest message that is read from a datagram: some ignore what they are told of sizes.
const MAX_DATAGRAM_BYTES: usize = 4096;

/// Asks some resolvers, the one that answered last first.
#[derive(Debug)]
pub struct Resolver {
    servers: Box<[SocketAddr]>,
    /// The index of the one that answered last.
    preferred: AtomicUsize,
    /// A key that nobody knows, and a counter, make the numbers of queries.
    key: RandomState,
    count: AtomicU64,
}

/// Whether another resolver, or the same later, may do better.
enum Failure {
    /// It said so.
    Refused(String),
    /// It said nothing that can be used.
    Silent(String),
}

impl Resolver {
    /// Asks these.
    pub fn new(servers: &[SocketAddr]) -> Resolver {
        Resolver {
            servers: servers.into(),
            preferred: AtomicUsize::new(0),
            key: RandomState::new(),
            count: AtomicU64::new(0),
        }
    }

    /// The addresses behind a name; the error says why there is no answer.
    pub async fn addresses(&self, name: &Name, family: Family) -> Result<Answer, String> {
        let asked = timeout(QUESTION_TIMEOUT, self.ask_all(name, family)).await;
        asked.unwrap_or_else(|_| Err(format!("no answer within {QUESTION_TIMEOUT:?}")))
    }

    async fn ask_all(&self, name: &Name, family: Family) -> Result<Answer, String> {
        let first = self.preferred.load(Ordering::Relaxed);
        let order = (0..self.servers.len()).map(|n| (first + n) % self.servers.len());
        let mut failures: Vec<Option<Failure>> = self.servers.iter().map(|_| None).collect();
        for _ in 0..ROUNDS {
            for index in order.clone() {
                if matches!(failures[index], Some(Failure::Refused(_))) {
                    continue;
                }
                let asked = Asked::new(name, family, self.id());
                match exchange(self.servers[index], &asked).await {
                    Ok(answer) => {
                        self.preferred.store(index, Ordering::Relaxed);
                        return Ok(answer);
                    }
                    Err(failure) => failures[index] = Some(failure),
                }
            }
        }
        let told =
            self.servers.iter().zip(failures).filter_map(|(server, failure)| match failure? {
                Failure::Refused(why) | Failure::Silent(why) => Some(format!("{server}: {why}")),
            });
        let told = told.collect::<Vec<_>>().join("; ");
        Err(if told.is_empty() { "there is no resolver".into() } else { told })
    }

    /// The number of the next query, which nobody can foretell (RFC 5452 §9.2).
    fn id(&self) -> u16 {
        self.key.hash_one(self.count.fetch_add(1, Ordering::Relaxed)) as u16
    }
}

async fn exchange(server: SocketAddr, asked: &Asked) -> Result<Answer, Failure> {
    let silent = |error: io::Error| Failure::Silent(in_words(&error));
    let over_udp = timeout(UDP_TIMEOUT, over_udp(server, asked)).await;
    let over_udp = over_udp.map_err(|_| no_answer(UDP_TIMEOUT))?;
    match over_udp.map_err(silent)? {
        Reading::Truncated => {}
        reading => return settled(reading),
    }
    let over_tcp = timeout(TCP_TIMEOUT, over_tcp(server, asked)).await;
    settled(over_tcp.map_err(|_| no_answer(TCP_TIMEOUT))?.map_err(silent)?)
}

fn settled(reading: Reading) -> Result<Answer, Failure> {
    match reading {
        Reading::Answer(answer) => Ok(answer),
        Reading::Failed(why) => Err(Failure::Refused(why)),
        Reading::NotOurs | Reading::Truncated => {
            Err(Failure::Silent("the answer cannot be read".into()))
        }
    }
}

/// From a port of its own, and only what comes from that server (RFC 5452 §9).
async fn over_udp(server: SocketAddr, asked: &Asked) -> io::Result<Reading> {
    let any = match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(asked.as_bytes()).await?;
    let mut datagram = vec![0; MAX_DATAGRAM_BYTES];
    loop {
        let length = socket.recv(&mut datagram).await?;
        match asked.read(&datagram[..length]) {
            // Somebody guesses, or it is late.
            Reading::NotOurs => {}
            reading => return Ok(reading),
        }
    }
}

async fn over_tcp(server: SocketAddr, asked: &Asked) -> io::Result<Reading> {
    let mut stream = TcpStream::connect(server).await?;
    let length = (asked.as_bytes().len() as u16).to_be_bytes();
    stream.write_all(&[&length, asked.as_bytes()].concat()).await?;
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(asked.read(&message))
}

fn no_answer(limit: Duration) -> Failure {
    Failure::Silent(format!("no answer within {limit:?}"))
}

/// Without the number of the system's error.
fn in_words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests;
