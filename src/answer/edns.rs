//! What EDNS changes in an answer: its room, its client, its scope.

use super::{MAX_MESSAGE_BYTES, Request, Transport};
use crate::decide::Client;
use crate::dns::Edns;
use crate::dns::edns::{MIN_UDP_PAYLOAD_BYTES, UDP_PAYLOAD_BYTES};

/// The most bytes that a response may have.
pub(super) fn response_limit(transport: Transport, edns: Option<&Edns>) -> usize {
    match (transport, edns) {
        (Transport::Tcp, _) => MAX_MESSAGE_BYTES,
        (Transport::Udp, None) => MIN_UDP_PAYLOAD_BYTES.into(),
        (Transport::Udp, Some(edns)) => {
            edns.udp_payload.clamp(MIN_UDP_PAYLOAD_BYTES, UDP_PAYLOAD_BYTES).into()
        }
    }
}

/// For whom is decided: the client subnet, unless it is absent or says "do not use" with a prefix
/// of 0 (RFC 7871 §7.1.2); then the sender.
pub(super) fn client(request: &Request, edns: Option<&Edns>) -> Client {
    let resolver = request.source.to_canonical();
    let subnet = edns.and_then(|edns| edns.subnet).filter(|subnet| subnet.source > 0);
    let address = subnet.map_or(resolver, |subnet| subnet.address);
    Client { address, resolver, draw: request.draw }
}

/// The scope that is said to the resolver: none where its client subnet was not used.
pub(super) fn response_scope(edns: Option<&Edns>, scope: u8) -> u8 {
    match edns.and_then(|edns| edns.subnet) {
        Some(subnet) if subnet.source > 0 => scope,
        _ => 0,
    }
}
