//! Signed queries (RFC 8945): verified, answered like others, and the answer signed.

use super::transfers::{self, Reply};
use super::{Asked, Outcome, Request, notify, refuse};
use crate::dns::edns::UDP_PAYLOAD_BYTES;
use crate::dns::query::NameRoom;
use crate::dns::{Preamble, Rcode, Rejection};
use crate::snapshot::Snapshot;
use crate::transfer::tsig::{self, Verified};

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
    match verify(snapshot, request, start, preamble, packet, out) {
        Ok(verified) => answer_verified(snapshot, request, verified, out),
        Err(outcome) => outcome,
    }
}

/// As [`answer`], where the answer may be a whole zone.
#[cold]
pub(super) fn answer_to_stream(
    snapshot: &Snapshot,
    request: &Request,
    start: usize,
    preamble: &Preamble,
    packet: &[u8],
    out: &mut [u8],
) -> Reply {
    let verified = match verify(snapshot, request, start, preamble, packet, out) {
        Ok(verified) => verified,
        Err(outcome) => return Reply::Message(outcome),
    };
    let mut room = NameRoom::new();
    let asked = Asked::read(snapshot, request, &verified.message, &mut room);
    match &asked.query {
        Ok(query) if transfers::is_transfer(query) => {
            let Verified { message, sequence } = &verified;
            transfers::begin(snapshot, request, query, message, Some(sequence.clone()), out)
        }
        _ => Reply::Message(answer_verified(snapshot, request, verified, out)),
    }
}

/// The message without its signature, or the answer that refuses it.
fn verify(
    snapshot: &Snapshot,
    request: &Request,
    start: usize,
    preamble: &Preamble,
    packet: &[u8],
    out: &mut [u8],
) -> Result<Verified, Outcome> {
    // Question, OPT and signature always fit into what UDP gives.
    if out.len() < UDP_PAYLOAD_BYTES.into() {
        return Err(refuse(snapshot, Rcode::REFUSED, None, preamble, packet, out));
    }
    tsig::verify(&snapshot.keys, packet, start, request.unix_seconds).map_err(|refused| {
        let mut outcome = refuse(snapshot, refused.rcode(), None, preamble, packet, out);
        outcome.length = refused.complete(out, outcome.length);
        outcome
    })
}

fn answer_verified(
    snapshot: &Snapshot,
    request: &Request,
    verified: Verified,
    out: &mut [u8],
) -> Outcome {
    let Verified { message, mut sequence } = verified;
    let mut room = NameRoom::new();
    let mut asked = Asked::read(snapshot, request, &message, &mut room);
    asked.signer = Some(&sequence);
    let mut outcome = match asked.query {
        Err(Rejection::Notify(preamble)) => {
            let (source, key) = (request.source, Some(&**sequence.key()));
            notify::answer(snapshot, source, key, &preamble, &message, out)
        }
        _ => asked.answer(&message, out),
    };
    if outcome.length > 0 {
        outcome.length = sequence.sign(out, outcome.length, request.unix_seconds);
    }
    outcome
}

#[cfg(test)]
mod tests;
