//! Signed queries (RFC 8945): verified, answered like others, and the answer signed.

use super::{Asked, Outcome, Request, notify, refuse};
use crate::dns::edns::UDP_PAYLOAD_BYTES;
use crate::dns::query::NameRoom;
use crate::dns::{Preamble, Rcode, Rejection};
use crate::snapshot::Snapshot;
use crate::transfer::tsig;

/// Answers a message whose TSIG record begins at `start`.
#[cold]
pub(super) fn answer(
    snapshot: &Snapshot,
    request: &Request,
    start: usize,
    preamble: &Preamble,
    packet: &[u8],
    out: &mut [u8],
) -> Outcome {
    // Question, OPT and signature always fit into what UDP gives.
    if out.len() < UDP_PAYLOAD_BYTES.into() {
        return refuse(snapshot, Rcode::REFUSED, None, preamble, packet, out);
    }
    let now = request.unix_seconds;
    let (message, mut sequence) = match tsig::verify(&snapshot.keys, packet, start, now) {
        Ok(verified) => (verified.message, verified.sequence),
        Err(refused) => {
            let mut outcome = refuse(snapshot, refused.rcode(), None, preamble, packet, out);
            outcome.length = refused.complete(out, outcome.length);
            return outcome;
        }
    };
    let mut room = NameRoom::new();
    let mut asked = Asked::read(snapshot, request, &message, &mut room);
    asked.signature_bytes = sequence.record_bytes();
    let mut outcome = match asked.query {
        Err(Rejection::Notify(preamble)) => {
            let (source, key) = (request.source, Some(&**sequence.key()));
            notify::answer(snapshot, source, key, &preamble, &message, out)
        }
        _ => asked.answer(&message, out),
    };
    if outcome.length > 0 {
        outcome.length = sequence.sign(out, outcome.length, now);
    }
    outcome
}

#[cfg(test)]
mod tests;
