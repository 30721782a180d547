//! The TSIG record on the wire (RFC 8945 §4.2), and what of it goes into a MAC (§4.3).

use std::hint::black_box;

use ring::hmac;

use super::key::Key;
use crate::dns::name;
use crate::dns::query::HEADER_BYTES;
use crate::dns::{Class, Name, Rtype};

/// Where ARCOUNT stands.
const ARCOUNT_AT: usize = 10;
/// Type, class, TTL and RDLENGTH.
const HEAD_BYTES: usize = 10;
/// Time signed, fudge, MAC size; original id, error, other length.
const FIXED_BYTES: usize = 10 + 6;

/// The errors that a TSIG record tells (RFC 8945 §3).
pub(super) mod error {
    pub(in super::super) const NONE: u16 = 0;
    pub(in super::super) const BADSIG: u16 = 16;
    pub(in super::super) const BADKEY: u16 = 17;
    pub(in super::super) const BADTIME: u16 = 18;
    pub(in super::super) const BADTRUNC: u16 = 22;
}

/// A TSIG record that was read.
#[derive(Debug)]
pub(super) struct Record<'p> {
    /// Where it begins in the message.
    pub(super) start: usize,
    /// The key's name.
    pub(super) name: Name,
    /// The algorithm's name in wire form, as it came.
    pub(super) algorithm: &'p [u8],
    pub(super) variables: Variables<'p>,
    pub(super) mac: &'p [u8],
    pub(super) original_id: u16,
}

/// What of the record is signed besides the names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variables<'p> {
    /// In seconds of Unix time; 48 bits.
    pub(super) time: u64,
    /// By how many seconds `time` may be off.
    pub(super) fudge: u16,
    pub(super) error: u16,
    pub(super) other: &'p [u8],
}

/// The length of a record in bytes, from those of its parts.
pub(super) fn bytes(name: usize, algorithm: usize, mac: usize, other: usize) -> usize {
    name + HEAD_BYTES + algorithm + FIXED_BYTES + mac + other
}

/// Where the TSIG record of a message begins, if it has one. An error if the message is
/// malformed, or if there is a TSIG record that is not the last record (RFC 8945 §5.1).
pub fn find(message: &[u8]) -> Result<Option<usize>, Malformed> {
    let header = message.first_chunk::<HEADER_BYTES>().ok_or(Malformed)?;
    let count = |at: usize| u32::from(u16::from_be_bytes([header[at], header[at + 1]]));
    let mut at = HEADER_BYTES;
    for _ in 0..count(4) {
        at = name::end_in(message, at).ok_or(Malformed)? + 4;
    }
    let others = count(6) + count(8);
    let mut found = None;
    for index in 0..others + count(ARCOUNT_AT) {
        if found.is_some() {
            return Err(Malformed);
        }
        let name_end = name::end_in(message, at).ok_or(Malformed)?;
        let head = message.get(name_end..).and_then(|rest| rest.first_chunk::<HEAD_BYTES>());
        let [t0, t1, .., l0, l1] = *head.ok_or(Malformed)?;
        if Rtype(u16::from_be_bytes([t0, t1])) == Rtype::TSIG {
            if index < others {
                return Err(Malformed);
            }
            found = Some(at);
        }
        at = name_end + HEAD_BYTES + usize::from(u16::from_be_bytes([l0, l1]));
    }
    if at == message.len() { Ok(found) } else { Err(Malformed) }
}

/// A message or a TSIG record that cannot be made out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl<'p> Record<'p> {
    /// Reads the record that begins at `start` and ends the message.
    pub(super) fn read(message: &'p [u8], start: usize) -> Option<Record<'p>> {
        let (name, name_end) = Name::read(message, start).ok()?;
        let [t0, t1, c0, c1, ttl @ .., l0, l1] =
            *message.get(name_end..)?.first_chunk::<HEAD_BYTES>()?;
        let rdata = &message[name_end + HEAD_BYTES..];
        if Rtype(u16::from_be_bytes([t0, t1])) != Rtype::TSIG
            || Class(u16::from_be_bytes([c0, c1])) != Class::ANY
            || ttl != [0; 4]
            || rdata.len() != usize::from(u16::from_be_bytes([l0, l1]))
        {
            return None;
        }
        // Not compressed, as of every type that is younger than compression (RFC 3597 §4).
        let algorithm_end = name::end_of_uncompressed(rdata, 0)?;
        let (algorithm, rest) = rdata.split_at_checked(algorithm_end)?;
        let ([h0, h1, m0, m1, m2, m3, f0, f1, s0, s1], rest) = rest.split_first_chunk()?;
        let mac_bytes = usize::from(u16::from_be_bytes([*s0, *s1]));
        let (mac, rest) = rest.split_at_checked(mac_bytes)?;
        let ([i0, i1, e0, e1, o0, o1], other) = rest.split_first_chunk()?;
        if other.len() != usize::from(u16::from_be_bytes([*o0, *o1])) {
            return None;
        }
        let variables = Variables {
            time: u64::from_be_bytes([0, 0, *h0, *h1, *m0, *m1, *m2, *m3]),
            fudge: u16::from_be_bytes([*f0, *f1]),
            error: u16::from_be_bytes([*e0, *e1]),
            other,
        };
        let original_id = u16::from_be_bytes([*i0, *i1]);
        Some(Record { start, name, algorithm, variables, mac, original_id })
    }

    /// True when the record says that it is of this key's algorithm.
    pub(super) fn is_of(&self, key: &Key) -> bool {
        self.algorithm.eq_ignore_ascii_case(key.algorithm().wire())
    }
}

impl Variables<'_> {
    /// True when the time signed is near enough (RFC 8945 §5.2.3).
    pub(super) fn is_timely(&self, now: u64) -> bool {
        self.time.abs_diff(now) <= self.fudge.into()
    }

    /// Adds them all to a MAC, as it is for the first message of an exchange.
    pub(super) fn sign(&self, key: &Key, context: &mut hmac::Context) {
        context.update(key.canonical_name());
        context.update(&Class::ANY.0.to_be_bytes());
        context.update(&[0; 4]);
        context.update(key.algorithm().wire());
        self.sign_timers(context);
        context.update(&self.error.to_be_bytes());
        context.update(&(self.other.len() as u16).to_be_bytes());
        context.update(self.other);
    }

    /// Adds the times alone, as it is for the later messages of a stream (RFC 8945 §5.3.1).
    pub(super) fn sign_timers(&self, context: &mut hmac::Context) {
        context.update(&time_bytes(self.time));
        context.update(&self.fudge.to_be_bytes());
    }
}

/// Adds a MAC, preceded by its length, to the MAC of what follows it.
pub(super) fn sign_mac(mac: &[u8], context: &mut hmac::Context) {
    context.update(&(mac.len() as u16).to_be_bytes());
    context.update(mac);
}

/// Adds a received message to a MAC, as it was before its TSIG record was added.
pub(super) fn sign_received(message: &[u8], record: &Record<'_>, context: &mut hmac::Context) {
    let mut header = [0; HEADER_BYTES];
    header.copy_from_slice(&message[..HEADER_BYTES]);
    header[..2].copy_from_slice(&record.original_id.to_be_bytes());
    count_additional(&mut header, -1);
    context.update(&header);
    context.update(&message[HEADER_BYTES..record.start]);
}

/// Adds one to ARCOUNT, or takes one away.
pub(super) fn count_additional(message: &mut [u8], change: i16) {
    let count = u16::from_be_bytes([message[ARCOUNT_AT], message[ARCOUNT_AT + 1]]);
    let count = count.wrapping_add_signed(change);
    message[ARCOUNT_AT..ARCOUNT_AT + 2].copy_from_slice(&count.to_be_bytes());
}

/// The id of a message.
pub(super) fn id_of(message: &[u8]) -> u16 {
    u16::from_be_bytes([message[0], message[1]])
}

/// A record in wire form.
pub(super) fn write(
    name: &[u8],
    algorithm: &[u8],
    variables: &Variables<'_>,
    mac: &[u8],
    original_id: u16,
) -> Vec<u8> {
    let whole = bytes(name.len(), algorithm.len(), mac.len(), variables.other.len());
    let rdata = whole - name.len() - HEAD_BYTES;
    let mut record = Vec::with_capacity(whole);
    record.extend_from_slice(name);
    record.extend_from_slice(&Rtype::TSIG.0.to_be_bytes());
    record.extend_from_slice(&Class::ANY.0.to_be_bytes());
    record.extend_from_slice(&[0; 4]);
    record.extend_from_slice(&(rdata as u16).to_be_bytes());
    record.extend_from_slice(algorithm);
    record.extend_from_slice(&time_bytes(variables.time));
    record.extend_from_slice(&variables.fudge.to_be_bytes());
    record.extend_from_slice(&(mac.len() as u16).to_be_bytes());
    record.extend_from_slice(mac);
    record.extend_from_slice(&original_id.to_be_bytes());
    record.extend_from_slice(&variables.error.to_be_bytes());
    record.extend_from_slice(&(variables.other.len() as u16).to_be_bytes());
    record.extend_from_slice(variables.other);
    record
}

/// A time in 48 bits.
pub(super) fn time_bytes(time: u64) -> [u8; 6] {
    let [_, _, bytes @ ..] = time.to_be_bytes();
    bytes
}

/// Compares the beginning of the right MAC with one that came, in a time that does not tell where
/// they differ.
pub(super) fn is_beginning(right: &[u8], came: &[u8]) -> bool {
    let differences = right.iter().zip(came).fold(0, |all, (a, b)| black_box(all | (a ^ b)));
    came.len() <= right.len() && differences == 0
}
