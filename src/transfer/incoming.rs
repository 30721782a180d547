//! A zone that comes from a primary: AXFR (RFC 5936) and IXFR (RFC 1995), message by message.
//!
//! Nothing of it counts until its end has come: a stream that is cut, or in which anything is odd,
//! gives an error and nothing else.

use thiserror::Error;

use super::records::{Delta, Record, Records};
use super::soa::{Soa, is_newer};
use super::wire::{Cursor, Header, WireRecord};
use crate::dns::query::{HEADER_BYTES, flags};
use crate::dns::{Class, Name, Rcode, Rtype};

/// A transfer that is under way.
#[derive(Debug)]
pub struct Incoming {
    /// The apex in lower-case wire form.
    origin: Box<[u8]>,
    id: u16,
    /// The version that we have, from which changes are wanted.
    have: Option<u32>,
    most_bytes: usize,
    state: State,
    /// Records that do not belong into the zone.
    left_out: usize,
}

/// What a transfer has brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The primary has nothing newer than what we have.
    UpToDate {
        /// What it has.
        serial: u32,
    },
    /// All records of the zone, the SOA record first.
    Whole(Records),
    /// What has changed since the version that we have.
    Changes(Vec<Delta>),
}

/// Why a transfer cannot be used.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Fault {
    /// A message that is none, or is no response to what was asked.
    #[error("a message is malformed")]
    Malformed,
    /// A response to something else.
    #[error("a message does not belong to this transfer")]
    Stranger,
    /// A response that says no.
    #[error("the primary answers {0}")]
    Refused(Rcode),
    /// The other side does not serve the zone itself.
    #[error("the primary is not authoritative for the zone")]
    NotAuthoritative,
    /// A message without records, or one that is cut.
    #[error("a message brings no records, or is truncated")]
    Empty,
    /// It does not begin with the zone's SOA record.
    #[error("the transfer does not begin with the zone's SOA record")]
    NoSoa,
    /// A SOA record stands where none, or another one, belongs.
    #[error("the versions in the transfer do not follow from each other")]
    OutOfSequence,
    /// A record follows the end.
    #[error("records follow the end of the transfer")]
    Beyond,
    /// More than is taken.
    #[error("the zone is larger than {0} bytes")]
    TooLarge(usize),
}

#[derive(Debug)]
enum State {
    /// The new SOA record comes.
    Begun,
    /// What comes next tells which kind of transfer it is.
    Headed(Head),
    /// The records of the new version come, and in the end its SOA record again.
    Whole(Head, Records),
    /// Changes come.
    Changes {
        head: Head,
        done: Vec<Delta>,
        delta: Delta,
        /// The version that `delta` leads to, once that is known: then additions come.
        to: Option<u32>,
        /// Of all deltas.
        bytes: usize,
    },
    Ended,
}

/// The SOA record of the new version.
#[derive(Clone, Debug)]
struct Head {
    ttl: u32,
    rdata: Box<[u8]>,
    serial: u32,
}

impl Incoming {
    /// A transfer of the zone `origin`; with `have`, of what has changed since that version. More
    /// than `most_bytes` bytes are not taken.
    pub fn new(origin: &Name, have: Option<u32>, id: u16, most_bytes: usize) -> Incoming {
        let (origin, state) = (origin.to_key(), State::Begun);
        Incoming { origin, id, have, most_bytes, state, left_out: 0 }
    }

    /// The request to send.
    pub fn request(&self) -> Vec<u8> {
        let counts = if self.have.is_some() { [1, 0, 1, 0] } else { [1, 0, 0, 0] };
        let mut message = Vec::with_capacity(HEADER_BYTES + 2 * self.origin.len() + 40);
        for word in [self.id, 0].into_iter().chain(counts) {
            message.extend_from_slice(&word.to_be_bytes());
        }
        message.extend_from_slice(&self.origin);
        for word in [self.qtype().0, Class::IN.0] {
            message.extend_from_slice(&word.to_be_bytes());
        }
        if let Some(serial) = self.have {
            // Of this SOA record, only the serial number counts (RFC 1995 §3).
            message.extend_from_slice(&[0xc0, HEADER_BYTES as u8]);
            for word in [Rtype::SOA.0, Class::IN.0, 0, 0, 22] {
                message.extend_from_slice(&word.to_be_bytes());
            }
            message.extend_from_slice(&[0, 0]);
            message.extend_from_slice(&serial.to_be_bytes());
            message.extend_from_slice(&[0; 16]);
        }
        message
    }

    /// Takes the next message, which is what it was before it was signed. Gives what came with the
    /// transfer once that is all there; no message may be taken afterwards.
    ///
    /// # Errors
    /// Whatever is wrong; then nothing of the transfer may be used.
    pub fn take(&mut self, message: &[u8]) -> Result<Option<Arrival>, Fault> {
        let header = Header::of_response(message, self.id)?;
        if header.rcode() != Rcode::NOERROR {
            return Err(Fault::Refused(header.rcode()));
        }
        if header.flags & flags::TC != 0 || header.answers == 0 {
            return Err(Fault::Empty);
        }
        let mut cursor = Cursor::new(message);
        // Later messages may be without (RFC 5936 §2.2.1); some servers leave it out at once.
        match header.questions {
            0 => {}
            1 => cursor.expect_question(&self.origin, self.qtype())?,
            _ => return Err(Fault::Malformed),
        }
        let mut arrival = None;
        for _ in 0..header.answers {
            let record = cursor.record().ok_or(Fault::Malformed)?;
            match arrival {
                // The one SOA record of who has nothing newer may be followed by anything.
                Some(Arrival::UpToDate { .. }) => {}
                Some(_) => return Err(Fault::Beyond),
                None => arrival = self.take_record(&record)?,
            }
        }
        Ok(arrival)
    }

    /// How many records were left out, as they do not belong into the zone.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    fn qtype(&self) -> Rtype {
        if self.have.is_some() { Rtype::IXFR } else { Rtype::AXFR }
    }

    fn take_record(&mut self, record: &WireRecord<'_>) -> Result<Option<Arrival>, Fault> {
        if record.class != Class::IN {
            return Err(Fault::Malformed);
        }
        let is_apex = record.owner.eq_ignore_ascii_case(&self.origin);
        let soa = match record.rtype == Rtype::SOA && is_apex {
            true => Some(Soa::read(record.rdata).ok_or(Fault::Malformed)?),
            false => None,
        };
        let state = std::mem::replace(&mut self.state, State::Ended);
        let (state, arrival) = match (state, soa) {
            (State::Begun, None) => return Err(Fault::NoSoa),
            (State::Begun, Some(soa)) => {
                let head = Head { ttl: record.ttl, rdata: record.rdata.into(), serial: soa.serial };
                match self.have {
                    Some(have) if !is_newer(head.serial, have) => {
                        (State::Ended, Some(Arrival::UpToDate { serial: head.serial }))
                    }
                    _ => (State::Headed(head), None),
                }
            }
            (State::Headed(head), Some(soa)) if self.have == Some(soa.serial) => {
                let mut delta = Delta::default();
                delta.deleted.push(kept(record));
                (State::Changes { head, done: Vec::new(), delta, to: None, bytes: 0 }, None)
            }
            (State::Headed(head), soa) => {
                let mut records = Records::default();
                let Head { ttl, rdata, .. } = &head;
                let owner = &self.origin;
                records.push(Record { owner, rtype: Rtype::SOA, ttl: *ttl, rdata });
                self.take_of_whole(head, records, record, soa)?
            }
            (State::Whole(head, records), soa) => self.take_of_whole(head, records, record, soa)?,
            (State::Changes { head, done, delta, to, bytes }, None) => {
                let mut delta = delta;
                if self.belongs(record) {
                    let list = if to.is_some() { &mut delta.added } else { &mut delta.deleted };
                    list.push(kept(record));
                    self.check_size(bytes + delta.deleted.bytes() + delta.added.bytes())?;
                }
                (State::Changes { head, done, delta, to, bytes }, None)
            }
            (State::Changes { head, mut done, mut delta, to, bytes }, Some(soa)) => match to {
                None => {
                    let from = delta.deleted.iter().next().and_then(|soa| Soa::read(soa.rdata));
                    if !from.is_some_and(|from| is_newer(soa.serial, from.serial)) {
                        return Err(Fault::OutOfSequence);
                    }
                    delta.added.push(kept(record));
                    let to = Some(soa.serial);
                    (State::Changes { head, done, delta, to, bytes }, None)
                }
                Some(to) if to != soa.serial => return Err(Fault::OutOfSequence),
                Some(to) => {
                    let bytes = bytes + delta.deleted.bytes() + delta.added.bytes();
                    self.check_size(bytes)?;
                    done.push(delta);
                    if to == head.serial {
                        (State::Ended, Some(Arrival::Changes(done)))
                    } else {
                        let mut delta = Delta::default();
                        delta.deleted.push(kept(record));
                        (State::Changes { head, done, delta, to: None, bytes }, None)
                    }
                }
            },
            (State::Ended, _) => return Err(Fault::Beyond),
        };
        self.state = state;
        Ok(arrival)
    }

    fn take_of_whole(
        &mut self,
        head: Head,
        mut records: Records,
        record: &WireRecord<'_>,
        soa: Option<Soa>,
    ) -> Result<(State, Option<Arrival>), Fault> {
        match soa {
            Some(soa) if soa.serial == head.serial => {
                return Ok((State::Ended, Some(Arrival::Whole(records))));
            }
            Some(_) => return Err(Fault::OutOfSequence),
            None if self.belongs(record) => {
                records.push(kept(record));
                self.check_size(records.bytes())?;
            }
            None => {}
        }
        Ok((State::Whole(head, records), None))
    }

    /// Whether a record, which is not the zone's SOA record, can be one of the zone. What stands
    /// elsewhere, and types that are not those of records, are counted and left out: they must not
    /// cost more than themselves.
    fn belongs(&mut self, record: &WireRecord<'_>) -> bool {
        let mut rest = record.owner;
        while rest.len() > self.origin.len() {
            rest = &rest[1 + usize::from(rest[0])..];
        }
        let is_data = !matches!(record.rtype, Rtype(0) | Rtype::OPT | Rtype(128..=255));
        let belongs =
            rest.eq_ignore_ascii_case(&self.origin) && is_data && record.rtype != Rtype::SOA;
        self.left_out += usize::from(!belongs);
        belongs
    }

    fn check_size(&self, bytes: usize) -> Result<(), Fault> {
        let most = self.most_bytes;
        if bytes > most { Err(Fault::TooLarge(most)) } else { Ok(()) }
    }
}

fn kept<'b>(record: &WireRecord<'b>) -> Record<'b> {
    Record { owner: record.owner, rtype: record.rtype, ttl: record.ttl, rdata: record.rdata }
}

#[cfg(test)]
mod tests;
