//! The DNS probe: a query is answered with the response code, and the record, that are wanted.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use domain::base::iana::{Class, Rtype};
use domain::base::{Message, ParsedName, ToName};
use domain::rdata::{A, Aaaa, Cname, Ns, Ptr, Txt};
use tokio::net::UdpSocket;

use super::{DnsAnswer, DnsCheck, ProbeResult};

/// The largest response that is asked for: one that no network fragments (RFC 9715).
const UDP_PAYLOAD_BYTES: u16 = 1232;
/// The longest that is read: some ignore what they are told.
const MAX_RESPONSE_BYTES: usize = 4096;
/// The records of a response that are looked at.
const MAX_RECORDS: usize = 512;

/// Asks once, and waits for the response. The caller bounds the time.
pub async fn probe(target: SocketAddr, check: &DnsCheck) -> ProbeResult {
    let start = Instant::now();
    match ask(target, check).await {
        Ok(Ok(())) => ProbeResult::Good(start.elapsed()),
        Ok(Err(reason)) => ProbeResult::failed(reason),
        Err(error) => ProbeResult::from_io(&error),
    }
}

async fn ask(target: SocketAddr, check: &DnsCheck) -> io::Result<Result<(), String>> {
    let any: SocketAddr = match target {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    // A port of its own for each probe, and only the target is heard.
    let socket = UdpSocket::bind(any).await?;
    socket.connect(target).await?;
    let query = query(check, fastrand::u16(..));
    socket.send(&query).await?;
    let mut response = [0; MAX_RESPONSE_BYTES];
    loop {
        let length = socket.recv(&mut response).await?;
        if let Some(judged) = judge(check, &query, response.get(..length).unwrap_or_default()) {
            return Ok(judged);
        }
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

/// Whether a response is as wanted, or what is wrong. None: it is no response to this query.
pub fn judge(check: &DnsCheck, query: &[u8], response: &[u8]) -> Option<Result<(), String>> {
    let query = Message::from_slice(query).ok()?;
    let response = Message::from_slice(response).ok()?;
    if !response.is_answer(query) {
        return None;
    }
    let rcode = response.header().rcode();
    if rcode != check.rcode {
        return Some(Err(format!("the response code is {rcode}, wanted {}", check.rcode)));
    }
    let Some(wanted) = &check.answer else { return Some(Ok(())) };
    let (rtype, is_cut) = (check.rtype, response.header().tc());
    Some(match has_answer(response, rtype, wanted) {
        Some(Found::Yes) => Ok(()),
        // Over UDP, as it is asked, there is no more.
        _ if is_cut => Err(format!("the response is truncated, and lacks {rtype} {wanted}")),
        Some(Found::Others) => Err(format!("no {rtype} record says {wanted}")),
        Some(Found::None) => Err(format!("the response has no {rtype} record")),
        None => Err("the response cannot be read".into()),
    })
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
    for record in response.answer().ok()?.take(MAX_RECORDS) {
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
