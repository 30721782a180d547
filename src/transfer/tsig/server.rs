//! The server's side: requests are verified, responses signed.

use std::sync::Arc;

use ring::hmac;

use super::record::{
    self, Record, Variables, count_additional, error, id_of, is_beginning, sign_mac, sign_received,
    time_bytes,
};
use super::{FUDGE, Key, Keys};
use crate::dns::query::HEADER_BYTES;
use crate::dns::{Name, Rcode};

/// A request whose signature is right.
#[derive(Debug)]
pub struct Verified {
    /// The request without its TSIG record.
    pub message: Vec<u8>,
    /// Signs what is answered.
    pub sequence: ServerSequence,
}

/// Signs the responses to a request: one, or a stream of them.
#[derive(Clone, Debug)]
pub struct ServerSequence {
    key: Arc<Key>,
    /// Of the request, then of the response before.
    mac: Box<[u8]>,
    is_first: bool,
}

/// Why a signed request is refused, and what its response says of it (RFC 8945 §5.2, §5.3.2).
#[derive(Debug)]
pub struct Refused {
    rcode: Rcode,
    record: Option<ErrorRecord>,
}

/// The TSIG record of a response that refuses a request.
#[derive(Debug)]
enum ErrorRecord {
    Unsigned { name: Name, algorithm: Box<[u8]>, time: u64, fudge: u16, error: u16 },
    Signed { sequence: ServerSequence, time: u64, fudge: u16, error: u16, other: Option<[u8; 6]> },
}

/// Verifies a request whose TSIG record begins at `start` and is its last record. `now` is in
/// seconds of Unix time.
///
/// The checks come in the order of RFC 8945 §5.2, so that a stranger who knows no key's name costs
/// no cryptography.
pub fn verify(keys: &Keys, message: &[u8], start: usize, now: u64) -> Result<Verified, Refused> {
    let malformed = Refused { rcode: Rcode::FORMERR, record: None };
    if start < HEADER_BYTES {
        return Err(malformed);
    }
    let Some(record) = Record::read(message, start) else { return Err(malformed) };
    let key = keys.find(&record.name.to_key()).filter(|key| record.is_of(key));
    let Some(key) = key else { return Err(Refused::unsigned(&record, error::BADKEY)) };

    let algorithm = key.algorithm();
    if !(algorithm.least_mac_bytes()..=algorithm.mac_bytes()).contains(&record.mac.len()) {
        return Err(malformed);
    }
    let mut context = key.context();
    sign_received(message, &record, &mut context);
    record.variables.sign(key, &mut context);
    if !is_beginning(context.sign().as_ref(), record.mac) {
        return Err(Refused::unsigned(&record, error::BADSIG));
    }
    let sequence = ServerSequence { key: Arc::clone(key), mac: record.mac.into(), is_first: true };
    if !record.variables.is_timely(now) {
        let (time, fudge) = (record.variables.time, record.variables.fudge);
        let other = Some(time_bytes(now));
        return Err(Refused::signed(sequence, time, fudge, error::BADTIME, other));
    }
    // We take no MAC that is cut short: nobody needs to send one.
    if record.mac.len() < algorithm.mac_bytes() {
        return Err(Refused::signed(sequence, now, FUDGE, error::BADTRUNC, None));
    }
    let mut message = message[..start].to_vec();
    count_additional(&mut message, -1);
    Ok(Verified { message, sequence })
}

impl ServerSequence {
    /// The key of the request.
    pub fn key(&self) -> &Arc<Key> {
        &self.key
    }

    /// The bytes by which [`sign`](Self::sign) lengthens a message.
    pub fn record_bytes(&self) -> usize {
        self.key.record_bytes()
    }

    /// Signs the next response, which is the first `length` bytes of `out`; gives its new length.
    ///
    /// # Panics
    /// If `out` has no room for [`record_bytes`](Self::record_bytes) more, or `length` is less than that of a header.
    pub fn sign(&mut self, out: &mut [u8], length: usize, now: u64) -> usize {
        let variables = Variables { time: now, fudge: FUDGE, error: error::NONE, other: &[] };
        let record = self.record(&out[..length], &variables);
        append(out, length, &record)
    }

    fn record(&mut self, message: &[u8], variables: &Variables<'_>) -> Vec<u8> {
        let mut context = self.key.context();
        sign_mac(&self.mac, &mut context);
        context.update(message);
        if self.is_first {
            variables.sign(&self.key, &mut context);
        } else {
            variables.sign_timers(&mut context);
        }
        let mac: hmac::Tag = context.sign();
        self.is_first = false;
        self.mac = mac.as_ref().into();
        let (name, algorithm) = (self.key.name().as_wire(), self.key.algorithm().wire());
        record::write(name, algorithm, variables, mac.as_ref(), id_of(message))
    }
}

impl Refused {
    fn unsigned(record: &Record<'_>, error: u16) -> Refused {
        let (time, fudge) = (record.variables.time, record.variables.fudge);
        let (name, algorithm) = (record.name.clone(), record.algorithm.into());
        let record = ErrorRecord::Unsigned { name, algorithm, time, fudge, error };
        Refused { rcode: Rcode::NOTAUTH, record: Some(record) }
    }

    fn signed(
        sequence: ServerSequence,
        time: u64,
        fudge: u16,
        error: u16,
        other: Option<[u8; 6]>,
    ) -> Refused {
        let record = ErrorRecord::Signed { sequence, time, fudge, error, other };
        Refused { rcode: Rcode::NOTAUTH, record: Some(record) }
    }

    /// The response's code.
    pub fn rcode(&self) -> Rcode {
        self.rcode
    }

    /// Adds what is due to a response with this code, which is the first `length` bytes of `out`;
    /// gives its new length. Without room for it, the response stays as it is.
    pub fn complete(self, out: &mut [u8], length: usize) -> usize {
        let message = &out[..length];
        let record = match self.record {
            None => return length,
            Some(ErrorRecord::Unsigned { name, algorithm, time, fudge, error }) => {
                let variables = Variables { time, fudge, error, other: &[] };
                record::write(name.as_wire(), &algorithm, &variables, &[], id_of(message))
            }
            Some(ErrorRecord::Signed { mut sequence, time, fudge, error, other }) => {
                let other = other.as_ref().map_or(&[][..], |time| time);
                sequence.record(message, &Variables { time, fudge, error, other })
            }
        };
        if out.len() - length < record.len() {
            return length;
        }
        append(out, length, &record)
    }
}

fn append(out: &mut [u8], length: usize, record: &[u8]) -> usize {
    let end = length + record.len();
    out[length..end].copy_from_slice(record);
    count_additional(out, 1);
    end
}
