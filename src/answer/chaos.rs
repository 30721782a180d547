//! What the server says of itself: class CHAOS (RFC 4892) and the name server identifier (RFC 5001).

use super::{Outcome, Verdict, edns, refuse};
use crate::dns::response::MIN_RESPONSE_BYTES;
use crate::dns::{Class, ExtendedError, Preamble, Query, Rcode, Response, Rtype};
use crate::snapshot::{Identity, Snapshot};

/// Answers a question that is not of the Internet class.
#[cold]
pub(super) fn answer(
    snapshot: &Snapshot,
    query: &Query<'_>,
    packet: &[u8],
    out: &mut [u8],
) -> Outcome {
    let preamble = &query.preamble;
    let Some(text) = text(&snapshot.identity, query) else {
        let error = Some(ExtendedError::NOT_AUTHORITATIVE);
        return refuse(snapshot, Rcode::REFUSED, error, preamble, packet, out);
    };
    let mut response = Response::new(out, MIN_RESPONSE_BYTES, packet, preamble);
    identify(&mut response, &snapshot.identity, preamble);
    response.require_chaos_text(text);
    let scope = edns::response_scope(preamble.edns.as_ref(), 0);
    Outcome {
        verdict: Verdict::Positive,
        has_edns: preamble.edns.is_some(),
        has_subnet: preamble.edns.is_some_and(|edns| edns.subnet.is_some()),
        is_truncated: response.is_truncated(),
        is_steered: false,
        answered: None,
        length: response.finish(preamble, true, Rcode::NOERROR, scope),
    }
}

/// Says who answers, to those who asked for it.
#[cold]
pub(super) fn identify<'o>(
    response: &mut Response<'o>,
    identity: &'o Identity,
    preamble: &Preamble,
) {
    if preamble.edns.is_some_and(|edns| edns.wants_nsid) && !identity.name.is_empty() {
        response.set_nsid(identity.name.as_bytes());
    }
}

/// The text that answers a question of class CHAOS, if there is one.
fn text<'i>(identity: &'i Identity, query: &Query<'_>) -> Option<&'i str> {
    if query.qclass != Class::CH || !matches!(query.qtype, Rtype::TXT | Rtype::ANY) {
        return None;
    }
    match query.qname {
        b"\x02id\x06server\0" | b"\x08hostname\x04bind\0" => {
            Some(&*identity.name).filter(|name| !name.is_empty())
        }
        b"\x07version\x04bind\0" | b"\x07version\x06server\0" => identity.version.as_deref(),
        _ => None,
    }
}
