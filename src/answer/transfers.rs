//! Zone transfers out: who may have which zone, and in what form (RFC 5936, RFC 1995).

use std::net::IpAddr;
use std::sync::Arc;

use super::{Asked, Outcome, Request, Transport, Verdict, edns, refuse, signed};
use crate::dns::query::NameRoom;
use crate::dns::{Class, ExtendedError, Query, Rcode, Rejection, Rtype};
use crate::snapshot::Snapshot;
use crate::transfer::outgoing::{Outgoing, serial_asked};
use crate::transfer::{Key, ServerSequence};
use crate::zone::{Condition, Contents};

/// What becomes of a message that came in a stream.
#[derive(Debug)]
pub enum Reply {
    /// One message, or none.
    Message(Outcome),
    /// A zone, in as many messages as it takes. The outcome stands for all of them.
    Transfer(Box<Outgoing>, Outcome),
}

/// Why a zone is not transferred.
struct Denial {
    rcode: Rcode,
    error: Option<ExtendedError>,
}

/// Answers one message that came in a stream, where an answer may be a whole zone.
///
/// # Panics
/// As [`respond`](super::respond).
pub fn respond_to_stream(
    snapshot: &Snapshot,
    request: &Request,
    packet: &[u8],
    out: &mut [u8],
) -> Reply {
    let mut room = NameRoom::new();
    let asked = Asked::read(snapshot, request, packet, &mut room);
    match &asked.query {
        Ok(query) if is_transfer(query) => begin(snapshot, request, query, packet, None, out),
        Err(Rejection::Signed { tsig, preamble }) => {
            signed::answer_to_stream(snapshot, request, *tsig, preamble, packet, out)
        }
        _ => Reply::Message(asked.answer(packet, out)),
    }
}

/// True when a zone is asked for.
pub(super) fn is_transfer(query: &Query<'_>) -> bool {
    matches!(query.qtype, Rtype::AXFR | Rtype::IXFR) && query.qclass == Class::IN
}

/// Answers a query for a zone that came in a stream, and was signed as `signer` says.
#[cold]
pub(super) fn begin(
    snapshot: &Snapshot,
    request: &Request,
    query: &Query<'_>,
    packet: &[u8],
    signer: Option<ServerSequence>,
    out: &mut [u8],
) -> Reply {
    let key = signer.as_ref().map(|signer| &**signer.key());
    let outgoing = match outgoing(snapshot, request.source, query, packet, key) {
        Ok(outgoing) => outgoing.signed(signer),
        Err(denial) => {
            let mut outcome = denial.answer(snapshot, query, packet, out);
            if let Some(mut signer) = signer {
                outcome.length = signer.sign(out, outcome.length, request.unix_seconds);
            }
            return Reply::Message(outcome);
        }
    };
    Reply::Transfer(Box::new(outgoing), outcome(query, 0))
}

/// Answers a query for a zone that came in a datagram: the changes, if they fit, or what tells the
/// client to come by TCP (RFC 1995 §2, RFC 5936 §4.2).
#[cold]
pub(super) fn answer_datagram(
    asked: &Asked<'_, '_>,
    query: &Query<'_>,
    packet: &[u8],
    out: &mut [u8],
) -> Outcome {
    let (snapshot, source) = (asked.snapshot, asked.client.resolver);
    let key = asked.signer.map(|signer| &**signer.key());
    match outgoing(snapshot, source, query, packet, key) {
        Ok(_) if query.qtype == Rtype::AXFR || asked.transport == Transport::Tcp => {
            let denial = Denial::new(Rcode::REFUSED, Some(ExtendedError::NOT_SUPPORTED));
            denial.answer(snapshot, query, packet, out)
        }
        Ok(outgoing) => {
            let limit = edns::response_limit(asked.transport, query.preamble.edns.as_ref());
            let signature = asked.signer.map_or(0, ServerSequence::record_bytes);
            let limit = limit.min(out.len()).saturating_sub(signature);
            match outgoing.datagram(&mut out[..limit]) {
                Some(length) => outcome(query, length),
                // Not even the SOA record fits beside the signature.
                None => {
                    let denial = Denial::new(Rcode::SERVFAIL, None);
                    denial.answer(snapshot, query, packet, out)
                }
            }
        }
        Err(denial) => denial.answer(snapshot, query, packet, out),
    }
}

/// The zone that is asked for, in the form in which it is asked for, if it may be had.
fn outgoing(
    snapshot: &Snapshot,
    source: IpAddr,
    query: &Query<'_>,
    packet: &[u8],
    key: Option<&Key>,
) -> Result<Outgoing, Denial> {
    let contents = granted(snapshot, source, query.qname, key)?;
    if query.qtype == Rtype::AXFR {
        return Ok(Outgoing::full(contents, packet, &query.preamble));
    }
    let serial = serial_asked(packet).ok_or(Denial::new(Rcode::FORMERR, None))?;
    let journal = snapshot.journals.of(query.qname);
    Ok(Outgoing::since(serial, contents, journal, packet, &query.preamble))
}

fn granted<'s>(
    snapshot: &'s Snapshot,
    source: IpAddr,
    qname: &[u8],
    key: Option<&Key>,
) -> Result<&'s Arc<Contents>, Denial> {
    let zone = snapshot.zones.find(qname, Rtype::SOA);
    let zone = zone.filter(|zone| zone.origin_len() == qname.len());
    // RFC 5936 §2.2.1.
    let zone = zone.ok_or(Denial::new(Rcode::NOTAUTH, Some(ExtendedError::NOT_AUTHORITATIVE)))?;
    let transfer = snapshot.transfers.of(qname);
    if !transfer.is_some_and(|transfer| transfer.access.permits(source, key)) {
        return Err(Denial::new(Rcode::REFUSED, Some(ExtendedError::PROHIBITED)));
    }
    match (zone.contents(), zone.condition()) {
        (Some(contents), _) => Ok(contents),
        (None, Condition::Expired) => {
            Err(Denial::new(Rcode::SERVFAIL, Some(ExtendedError::INVALID_DATA)))
        }
        (None, _) => Err(Denial::new(Rcode::SERVFAIL, Some(ExtendedError::NOT_READY))),
    }
}

impl Denial {
    fn new(rcode: Rcode, error: Option<ExtendedError>) -> Denial {
        Denial { rcode, error }
    }

    fn answer(
        &self,
        snapshot: &Snapshot,
        query: &Query<'_>,
        packet: &[u8],
        out: &mut [u8],
    ) -> Outcome {
        refuse(snapshot, self.rcode, self.error, &query.preamble, packet, out)
    }
}

fn outcome(query: &Query<'_>, length: usize) -> Outcome {
    let edns = query.preamble.edns;
    Outcome {
        verdict: Verdict::Transferred,
        length,
        has_edns: edns.is_some(),
        has_subnet: edns.is_some_and(|edns| edns.subnet.is_some()),
        ..Outcome::dropped(Verdict::Transferred)
    }
}
