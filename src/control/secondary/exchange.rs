//! Asks a primary, over UDP and TCP, signed if there is a key; every wait has an end.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout, timeout_at};

use super::Primary;
use crate::control::status::unix_seconds;
use crate::dns::Name;
use crate::transfer::incoming::{Arrival, Fault, Incoming};
use crate::transfer::refresh::{Heard, SoaQuery};
use crate::transfer::soa::Soa;
use crate::transfer::{ClientSequence, tsig};

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Until a query over UDP is sent once more.
    pub(super) once_more: Duration,
    /// How often it is sent.
    pub(super) tries: u32,
    /// Until a connection is there.
    pub(super) connect: Duration,
    /// From one message to the next.
    pub(super) idle: Duration,
    /// For all of a transfer.
    pub(super) total: Duration,
    /// What a transfer may bring, in bytes.
    pub(super) most_bytes: usize,
}

pub(super) const LIMITS: Limits = Limits {
    once_more: Duration::from_millis(1500),
    tries: 3,
    connect: Duration::from_secs(5),
    idle: Duration::from_secs(10),
    total: Duration::from_secs(600),
    most_bytes: 256 << 20,
};

/// Why a primary told nothing that can be used.
#[derive(Debug, Error)]
pub(super) enum Failure {
    #[error("{0}: {1}")]
    Network(&'static str, io::Error),
    #[error("no answer in {0:?}")]
    Silent(Duration),
    #[error("the connection is closed before the end")]
    Closed,
    #[error("the transfer takes longer than {0:?}")]
    TooLong(Duration),
    #[error("{0}")]
    Unverified(#[from] tsig::Invalid),
    #[error("{0}")]
    Fault(#[from] Fault),
}

/// The SOA record that a primary has for a zone.
pub(super) async fn ask(primary: &Primary, origin: &Name, limits: &Limits) -> Result<Soa, Failure> {
    let mut failure = Failure::Silent(limits.once_more * limits.tries);
    for _ in 0..limits.tries {
        match ask_once(primary, origin, limits).await {
            Ok(Heard::Soa(soa)) => return Ok(soa),
            Ok(Heard::Truncated) => return ask_tcp(primary, origin, limits).await,
            Err(Failure::Silent(_)) => (),
            // Another try may well end otherwise; a clear no will not.
            Err(last @ Failure::Network(..)) => failure = last,
            Err(last) => return Err(last),
        }
    }
    Err(failure)
}

async fn ask_once(primary: &Primary, origin: &Name, limits: &Limits) -> Result<Heard, Failure> {
    let network = |what| move |error| Failure::Network(what, error);
    let any: IpAddr = match primary.address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await.map_err(network("no socket"))?;
    socket.connect(primary.address).await.map_err(network("cannot be reached"))?;
    let query = SoaQuery::new(origin, fastrand::u16(..));
    let mut request = query.request();
    let sequence = sign(primary, &mut request);
    socket.send(&request).await.map_err(network("cannot be asked"))?;
    let deadline = Instant::now() + limits.once_more;
    let mut failure = Failure::Silent(limits.once_more);
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let length = match timeout_at(deadline, socket.recv(&mut buffer)).await {
            Err(_) => return Err(failure),
            Ok(received) => received.map_err(network("cannot be reached"))?,
        };
        // Anybody may send us datagrams: what is not right is noted, and the right one waited for.
        let mut message = buffer[..length].to_vec();
        let verified = sequence.clone().map_or(Ok(()), |mut sequence| {
            sequence.response(&mut message, unix_seconds(SystemTime::now()))
        });
        match verified.map(|()| query.response(&message)) {
            Ok(Ok(heard)) => return Ok(heard),
            Ok(Err(Fault::Stranger)) => (),
            Ok(Err(fault)) => failure = fault.into(),
            Err(invalid) => failure = invalid.into(),
        }
    }
}

async fn ask_tcp(primary: &Primary, origin: &Name, limits: &Limits) -> Result<Soa, Failure> {
    let query = SoaQuery::new(origin, fastrand::u16(..));
    let mut stream = Stream::open(primary, query.request(), limits).await?;
    match query.response(&stream.next().await?)? {
        Heard::Soa(soa) => Ok(soa),
        Heard::Truncated => Err(Fault::Empty.into()),
    }
}

/// Takes a zone from a primary; with `have`, what has changed since that version.
pub(super) async fn transfer(
    primary: &Primary,
    origin: &Name,
    have: Option<u32>,
    limits: &Limits,
) -> Result<Arrival, Failure> {
    let whole = async {
        let mut incoming = Incoming::new(origin, have, fastrand::u16(..), limits.most_bytes);
        let mut stream = Stream::open(primary, incoming.request(), limits).await?;
        loop {
            if let Some(arrival) = incoming.take(&stream.next().await?)? {
                stream.finish()?;
                if incoming.left_out() > 0 {
                    let records = incoming.left_out();
                    tracing::warn!(%origin, records, "records that do not belong into the zone are left out");
                }
                return Ok(arrival);
            }
        }
    };
    timeout(limits.total, whole).await.unwrap_or(Err(Failure::TooLong(limits.total)))
}

/// A request over TCP, and the messages that answer it.
struct Stream {
    stream: TcpStream,
    sequence: Option<ClientSequence>,
    idle: Duration,
}

impl Stream {
    async fn open(
        primary: &Primary,
        mut request: Vec<u8>,
        limits: &Limits,
    ) -> Result<Stream, Failure> {
        let connected = timeout(limits.connect, TcpStream::connect(primary.address)).await;
        let connected = connected.map_err(|_| Failure::Silent(limits.connect))?;
        let mut stream = connected.map_err(|error| Failure::Network("cannot connect", error))?;
        let sequence = sign(primary, &mut request);
        let framed = [&(request.len() as u16).to_be_bytes(), &request[..]].concat();
        let sent = timeout(limits.idle, stream.write_all(&framed)).await;
        let sent = sent.map_err(|_| Failure::Silent(limits.idle))?;
        sent.map_err(|error| Failure::Network("cannot be asked", error))?;
        Ok(Stream { stream, sequence, idle: limits.idle })
    }

    /// The next message, verified, and without its signature.
    async fn next(&mut self) -> Result<Vec<u8>, Failure> {
        let read = async {
            let length = self.stream.read_u16().await?;
            let mut message = vec![0; length.into()];
            self.stream.read_exact(&mut message).await?;
            Ok(message)
        };
        let read = timeout(self.idle, read).await.map_err(|_| Failure::Silent(self.idle))?;
        let mut message = read.map_err(|error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Failure::Closed,
            _ => Failure::Network("the connection breaks", error),
        })?;
        if let Some(sequence) = &mut self.sequence {
            sequence.response(&mut message, unix_seconds(SystemTime::now()))?;
        }
        Ok(message)
    }

    /// To be called after the last message.
    fn finish(&self) -> Result<(), Failure> {
        self.sequence.as_ref().map_or(Ok(()), |sequence| Ok(sequence.finish()?))
    }
}

fn sign(primary: &Primary, request: &mut Vec<u8>) -> Option<ClientSequence> {
    let key = primary.key.as_ref()?;
    Some(ClientSequence::request(key, request, unix_seconds(SystemTime::now())))
}

#[cfg(test)]
mod tests;
