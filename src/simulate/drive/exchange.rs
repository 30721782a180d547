//! The messages of the DNS: a query written as a resolver would, and what a response says.

use std::net::IpAddr;

use domain::base::iana::Rtype as RecordType;
use domain::base::{Message, ParsedName};
use domain::rdata::{A, Aaaa, Cname};
use ipnet::IpNet;

use super::line::Query;
use crate::dns::edns::UDP_PAYLOAD_BYTES;
use crate::dns::{Class, Name, Rtype};

/// Option code of the client subnet (RFC 7871 §6).
const CLIENT_SUBNET: u16 = 8;

/// What a response says.
#[derive(Debug, PartialEq)]
pub(super) struct Reply {
    pub(super) addresses: Vec<IpAddr>,
    /// Where the last CNAME points.
    pub(super) cname: Option<String>,
    pub(super) rcode: String,
    /// The least of its answers.
    pub(super) ttl: Option<u32>,
    pub(super) scope: Option<u8>,
}

impl Reply {
    /// True when it names no place to go to.
    pub(super) fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.cname.is_none()
    }
}

/// Writes the query; returns who sends it, and whether it has a client subnet.
pub(super) fn ask(query: &Query<'_>, packet: &mut Vec<u8>) -> Result<(IpAddr, bool), String> {
    let name: Name = query
        .name
        .parse()
        .map_err(|error| format!("`{}` is not a domain name: {error}", query.name))?;
    let rtype = match query.rtype.as_deref() {
        None => Rtype::A,
        Some(text) => Rtype::from_mnemonic(text).ok_or_else(|| {
            format!("`{text}` is not a record type: expected A, AAAA, MX, TYPE65280")
        })?,
    };
    let subnet = query.subnet.as_deref().map(subnet).transpose()?;
    let client = subnet.filter(|subnet| subnet.prefix_len() > 0).map(|subnet| subnet.addr());
    let source = query.resolver.or(client).ok_or(
        "who asks? a query has a `subnet` like 203.0.113.0/24, a `resolver` like 203.0.113.53, or \
         both",
    )?;
    packet.clear();
    // One question, one additional record.
    packet.extend([0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    packet.extend(name.as_wire());
    packet.extend(rtype.0.to_be_bytes());
    packet.extend(Class::IN.0.to_be_bytes());
    // OPT: root, type, the largest payload, no flags.
    packet.extend([0, 0, 41]);
    packet.extend(UDP_PAYLOAD_BYTES.to_be_bytes());
    packet.extend([0; 4]);
    let Some(subnet) = subnet else {
        packet.extend([0, 0]);
        return Ok((source, false));
    };
    let mut octets = [0; 16];
    let family: u16 = match subnet.addr() {
        IpAddr::V4(address) => {
            octets[..4].copy_from_slice(&address.octets());
            1
        }
        IpAddr::V6(address) => {
            octets = address.octets();
            2
        }
    };
    let octets = &octets[..usize::from(subnet.prefix_len()).div_ceil(8)];
    // At most 20 bytes.
    let length = 4 + octets.len() as u16;
    packet.extend((length + 4).to_be_bytes());
    packet.extend(CLIENT_SUBNET.to_be_bytes());
    packet.extend(length.to_be_bytes());
    packet.extend(family.to_be_bytes());
    packet.extend([subnet.prefix_len(), 0]);
    packet.extend(octets);
    Ok((source, true))
}

/// An address or a subnet; an address alone is the subnet of just that.
fn subnet(text: &str) -> Result<IpNet, String> {
    let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    net.map(|net| net.trunc()).map_err(|_| {
        format!("`{text}` is not a subnet: expected one like 203.0.113.0/24 or 2001:db8::/56")
    })
}

/// Reads a response; none where there is none.
pub(super) fn read(response: &[u8]) -> Option<Reply> {
    let message = Message::from_slice(response).ok()?;
    let mut reply = Reply {
        addresses: Vec::new(),
        cname: None,
        rcode: message.opt_rcode().to_string(),
        ttl: None,
        scope: None,
    };
    for record in message.answer().ok()?.flatten() {
        let ttl = record.ttl().as_secs();
        reply.ttl = Some(reply.ttl.map_or(ttl, |least| least.min(ttl)));
        match record.rtype() {
            RecordType::A => {
                let data = record.to_record::<A>().ok()??;
                reply.addresses.push(data.data().addr().into());
            }
            RecordType::AAAA => {
                let data = record.to_record::<Aaaa>().ok()??;
                reply.addresses.push(data.data().addr().into());
            }
            RecordType::CNAME => {
                let data = record.to_record::<Cname<ParsedName<&[u8]>>>().ok()??;
                reply.cname = Some(format!("{}.", data.data().cname()));
            }
            _ => {}
        }
    }
    let subnet = message.opt().and_then(|opt| opt.opt().client_subnet());
    reply.scope = subnet.map(|subnet| subnet.scope_prefix_len());
    Some(reply)
}
