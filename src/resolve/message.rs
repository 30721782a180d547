//! The messages of a stub resolver: a query, and what its answer says.

use std::net::IpAddr;

use domain::base::iana::{Class, Rcode, Rtype};
use domain::base::{Message, ParsedName, ToName};
use domain::rdata::{A, Aaaa, Cname, Soa};

use super::{Answer, Family, MAX_ADDRESSES};
use crate::dns::Name;

/// The largest answer over UDP: one that no network fragments (RFC 9715).
pub const UDP_PAYLOAD_BYTES: usize = 1232;

/// The CNAME records that are followed in an answer.
const MAX_ALIASES: usize = 16;
/// The records of an answer that are looked at.
const MAX_RECORDS: usize = 512;
/// For how long there are no addresses where the answer does not say, in seconds: some stubs leave
/// out the SOA record that would.
const UNSAID_TTL: u32 = 30;

/// A query that was sent.
#[derive(Clone, Debug)]
pub struct Asked {
    family: Family,
    bytes: Vec<u8>,
}

/// What a message is to who sent a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// No answer to it, or none that can be read.
    NotOurs,
    /// There is more to it over TCP.
    Truncated,
    /// The answer.
    Answer(Answer),
    /// The resolver could not answer: why.
    Failed(String),
}

impl Asked {
    /// Asks for the addresses of a family.
    pub fn new(name: &Name, family: Family, id: u16) -> Asked {
        let rtype = rtype(family);
        let mut bytes = Vec::with_capacity(12 + name.as_wire().len() + 4 + 11);
        bytes.extend(id.to_be_bytes());
        // RD; one question, and one additional record.
        bytes.extend([0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 1]);
        bytes.extend(name.as_wire());
        bytes.extend(rtype.to_int().to_be_bytes());
        bytes.extend(Class::IN.to_int().to_be_bytes());
        // OPT (RFC 6891 §6.1.2), without options.
        bytes.push(0);
        bytes.extend(Rtype::OPT.to_int().to_be_bytes());
        bytes.extend((UDP_PAYLOAD_BYTES as u16).to_be_bytes());
        bytes.extend([0; 6]);
        Asked { family, bytes }
    }

    /// The message.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads what came back.
    pub fn read(&self, response: &[u8]) -> Reading {
        let (Ok(query), Ok(message)) =
            (Message::from_slice(&self.bytes), Message::from_slice(response))
        else {
            return Reading::NotOurs;
        };
        if !message.is_answer(query) {
            return Reading::NotOurs;
        }
        if message.header().tc() {
            return Reading::Truncated;
        }
        let exists = match message.header().rcode() {
            Rcode::NOERROR => true,
            Rcode::NXDOMAIN => false,
            other => return Reading::Failed(format!("the answer is {other}")),
        };
        self.read_records(message, exists).unwrap_or(Reading::NotOurs)
    }

    /// None when a record that is needed cannot be read.
    fn read_records(&self, message: &Message<[u8]>, exists: bool) -> Option<Reading> {
        let mut owner = message.sole_question().ok()?.into_qname();
        let mut ttl = u32::MAX;
        // In whatever order they stand, each alias is passed once.
        for _ in 0..MAX_ALIASES {
            let Some((target, its_ttl)) = alias(message, &owner)? else { break };
            (owner, ttl) = (target, ttl.min(its_ttl));
        }
        let mut addresses = Vec::new();
        if exists {
            for record in message.answer().ok()?.take(MAX_RECORDS) {
                let record = record.ok()?;
                let is_wanted = record.rtype() == rtype(self.family)
                    && record.class() == Class::IN
                    && record.owner().name_eq(&owner);
                if !is_wanted {
                    continue;
                }
                addresses.push(match self.family {
                    Family::V4 => IpAddr::V4(record.to_record::<A>().ok()??.data().addr()),
                    Family::V6 => IpAddr::V6(record.to_record::<Aaaa>().ok()??.data().addr()),
                });
                ttl = ttl.min(seconds(record.ttl().as_secs()));
            }
        }
        if addresses.is_empty() {
            return self.read_negative(message, exists, ttl);
        }
        // Resolvers turn the records around from answer to answer; that is no other answer.
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(MAX_ADDRESSES);
        Some(Reading::Answer(Answer { addresses, ttl, exists }))
    }

    /// What an answer without addresses says (RFC 2308 §2). `chain_ttl`: the least of the aliases.
    fn read_negative(
        &self,
        message: &Message<[u8]>,
        exists: bool,
        chain_ttl: u32,
    ) -> Option<Reading> {
        let (mut denied, mut is_referral) = (None, false);
        for record in message.authority().ok()?.take(MAX_RECORDS) {
            let record = record.ok()?;
            match record.rtype() {
                Rtype::SOA => {
                    let soa = record.to_record::<Soa<ParsedName<&[u8]>>>().ok()??;
                    let minimum = soa.data().minimum().as_secs();
                    denied = Some(seconds(record.ttl().as_secs()).min(seconds(minimum)));
                }
                Rtype::NS => is_referral = true,
                _ => {}
            }
        }
        let ttl = match denied {
            Some(ttl) => ttl,
            None if is_referral => {
                return Some(Reading::Failed(
                    "it does not resolve: the answer is a referral".into(),
                ));
            }
            // Of a server that does not resolve, an alias that leads out of its zones says nothing.
            None if chain_ttl != u32::MAX && exists && !message.header().ra() => {
                return Some(Reading::Failed("it does not resolve: the answer is an alias".into()));
            }
            None => UNSAID_TTL,
        };
        Some(Reading::Answer(Answer { addresses: Vec::new(), ttl: ttl.min(chain_ttl), exists }))
    }
}

/// The CNAME record at a name in ANSWER: where it points, and its TTL. None outside when it cannot be
/// read.
#[allow(clippy::type_complexity)]
fn alias<'m>(
    message: &'m Message<[u8]>,
    owner: &ParsedName<&'m [u8]>,
) -> Option<Option<(ParsedName<&'m [u8]>, u32)>> {
    for record in message.answer().ok()?.take(MAX_RECORDS) {
        let record = record.ok()?;
        if record.rtype() == Rtype::CNAME
            && record.class() == Class::IN
            && record.owner().name_eq(owner)
        {
            let cname = record.to_record::<Cname<ParsedName<&[u8]>>>().ok()??;
            return Some(Some((*cname.data().cname(), seconds(record.ttl().as_secs()))));
        }
    }
    Some(None)
}

/// A TTL with its first bit set is 0 (RFC 2181 §8).
fn seconds(ttl: u32) -> u32 {
    if ttl > i32::MAX as u32 { 0 } else { ttl }
}

fn rtype(family: Family) -> Rtype {
    match family {
        Family::V4 => Rtype::A,
        Family::V6 => Rtype::AAAA,
    }
}

#[cfg(test)]
mod tests;
