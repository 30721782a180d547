//! The DNS probe: a query is answered with the response code, and the record, that are wanted; over
//! TCP where the answer does not fit into a datagram.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use domain::base::iana::{Class, Rtype};
use domain::base::{Message, ParsedName, ToName};
use domain::rdata::{A, Aaaa, Cname, Ns, Ptr, Txt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::{DnsAnswer, DnsCheck, ProbeResult};

/// The largest response that is asked for: one that no network fragments (RFC 9715).
const UDP_PAYLOAD_BYTES: u16 = 1232;
/// The longest that is read: some ignore what they are told.
const MAX_DATAGRAM_BYTES: usize = 4096;

/// What a response says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It is as wanted.
    Good,
    /// It is not: why.
    Wrong(String),
    /// What is wanted may be in what was cut off (RFC 2181 §9).
    Truncated,
}

/// Asks once, and waits for the response, which may have to be fetched over TCP. The caller bounds
/// the time.
pub async fn probe(target: SocketAddr, check: &DnsCheck) -> ProbeResult {
    let start = Instant::now();
    let query = query(check, fastrand::u16(..));
    let judged = match over_udp(target, check, &query).await {
        Ok(Judged::Truncated) => over_tcp(target, check, &query).await,
        judged => judged,
    };
    match judged {
        Ok(Judged::Good) => ProbeResult::Good(start.elapsed()),
        Ok(Judged::Wrong(reason)) => ProbeResult::failed(reason),
        Ok(Judged::Truncated) => ProbeResult::failed("the response is truncated even over TCP"),
        Err(error) => ProbeResult::from_io(&error),
    }
}

async fn over_udp(target: SocketAddr, check: &DnsCheck, query: &[u8]) -> io::Result<Judged> {
    let any: SocketAddr = match target {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    // A port of its own for each probe, and only the target is heard.
    let socket = UdpSocket::bind(any).await?;
    socket.connect(target).await?;
    socket.send(query).await?;
    let mut response = [0; MAX_DATAGRAM_BYTES];
    loop {
        let length = socket.recv(&mut response).await?;
        if let Some(judged) = judge(check, query, response.get(..length).unwrap_or_default()) {
            return Ok(judged);
        }
    }
}

/// One message, with its length before it (RFC 1035 §4.2.2, RFC 7766 §8).
async fn over_tcp(target: SocketAddr, check: &DnsCheck, query: &[u8]) -> io::Result<Judged> {
    let mut response = Vec::new();
    let exchanged = async {
        let mut stream = TcpStream::connect(target).await?;
        let length = (query.len() as u16).to_be_bytes();
        stream.write_all(&[&length, query].concat()).await?;
        let length = stream.read_u16().await?;
        response.resize(usize::from(length), 0);
        stream.read_exact(&mut response).await?;
        Ok(())
    };
    match exchanged.await {
        Ok(()) => {
            let other = || Judged::Wrong("over TCP another query is answered".into());
            Ok(judge(check, query, &response).unwrap_or_else(other))
        }
        Err(error) => match ProbeResult::from_io(&error) {
            ProbeResult::Unable(_) => Err(error),
            _ => Ok(Judged::Wrong(format!("the response is truncated, and over TCP: {error}"))),
        },
    }
}

/// The query: with RD, for resolvers, and with OPT, for long answers.
pub fn query(check: &DnsCheck, id: u16) -> Vec<u8> {
    let name = check.name.as_slice();
    let mut bytes = Vec::with_capacity(12 + name.len() + 4 + 11);
    bytes.extend(id.to_be_bytes());
    bytes.extend([0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 1]);
    bytes.extend(name);
    bytes.extend(check.rtype.to_int().to_be_bytes());
    bytes.extend(Class::IN.to_int().to_be_bytes());
    // OPT (RFC 6891 §6.1.2), without options.
    bytes.push(0);
    bytes.extend(Rtype::OPT.to_int().to_be_bytes());
    bytes.extend(UDP_PAYLOAD_BYTES.to_be_bytes());
    bytes.extend([0; 6]);
    bytes
}

/// What a response says. None: it is no response to this query.
pub fn judge(check: &DnsCheck, query: &[u8], response: &[u8]) -> Option<Judged> {
    let query = Message::from_slice(query).ok()?;
    let response = Message::from_slice(response).ok()?;
    if !response.is_answer(query) {
        return None;
    }
    Some(match wrong(check, response) {
        None => Judged::Good,
        Some(_) if response.header().tc() => Judged::Truncated,
        Some(reason) => Judged::Wrong(reason),
    })
}

/// What is wrong with a response, if anything is.
fn wrong(check: &DnsCheck, response: &Message<[u8]>) -> Option<String> {
    let rcode = response.header().rcode();
    if rcode != check.rcode {
        return Some(format!("the response code is {rcode}, wanted {}", check.rcode));
    }
    let (rtype, wanted) = (check.rtype, check.answer.as_ref()?);
    match has_answer(response, rtype, wanted) {
        Some(Found::Yes) => None,
        Some(Found::Others) => Some(format!("no {rtype} record says {wanted}")),
        Some(Found::None) => Some(format!("the response has no {rtype} record")),
        None => Some("the response cannot be read".into()),
    }
}

enum Found {
    Yes,
    /// Records of the type, but with something else.
    Others,
    None,
}

/// Looks for a record in the answer section, of whatever owner: an alias may have led to it. None
/// when it cannot be read.
fn has_answer(response: &Message<[u8]>, rtype: Rtype, wanted: &DnsAnswer) -> Option<Found> {
    let mut found = Found::None;
    for record in response.answer().ok()? {
        let record = record.ok()?;
        if record.rtype() != rtype || record.class() != Class::IN {
            continue;
        }
        type Alias<'m> = ParsedName<&'m [u8]>;
        let is_wanted = match wanted {
            DnsAnswer::Address(wanted) if rtype == Rtype::A => {
                *wanted == record.to_record::<A>().ok()??.data().addr()
            }
            DnsAnswer::Address(wanted) => {
                *wanted == record.to_record::<Aaaa>().ok()??.data().addr()
            }
            DnsAnswer::Name(wanted) if rtype == Rtype::CNAME => {
                record.to_record::<Cname<Alias<'_>>>().ok()??.data().cname().name_eq(wanted)
            }
            DnsAnswer::Name(wanted) if rtype == Rtype::NS => {
                record.to_record::<Ns<Alias<'_>>>().ok()??.data().nsdname().name_eq(wanted)
            }
            DnsAnswer::Name(wanted) => {
                record.to_record::<Ptr<Alias<'_>>>().ok()??.data().ptrdname().name_eq(wanted)
            }
            DnsAnswer::Text(wanted) => {
                let text: Vec<u8> = record.to_record::<Txt<&[u8]>>().ok()??.data().text();
                text == wanted.as_bytes()
            }
        };
        if is_wanted {
            return Some(Found::Yes);
        }
        found = Found::Others;
    }
    Some(found)
}

#[cfg(test)]
mod tests;
