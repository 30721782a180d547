//! Asking a primary for the serial number of a zone: the SOA query of a secondary
//! (RFC 1034 §4.3.5).

use super::incoming::Fault;
use super::soa::Soa;
use super::wire::{Cursor, Header};
use crate::dns::query::flags;
use crate::dns::{Class, Name, Rcode, Rtype};

/// A query for the SOA record of a zone.
#[derive(Clone, Debug)]
pub struct SoaQuery {
    origin: Box<[u8]>,
    id: u16,
}

/// What a response to it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The primary has this SOA record.
    Soa(Soa),
    /// It must be asked over TCP.
    Truncated,
}

impl SoaQuery {
    /// Of this zone.
    pub fn new(origin: &Name, id: u16) -> SoaQuery {
        SoaQuery { origin: origin.to_key(), id }
    }

    /// The message to send.
    pub fn request(&self) -> Vec<u8> {
        let header = [self.id, 0, 1, 0, 0, 0].map(u16::to_be_bytes).concat();
        let question = [Rtype::SOA.0, Class::IN.0].map(u16::to_be_bytes).concat();
        [&header, &*self.origin, &question].concat()
    }

    /// Reads a response, which is what it was before it was signed.
    ///
    /// # Errors
    /// If it is no response to this query, or says that the primary does not serve the zone.
    pub fn response(&self, message: &[u8]) -> Result<Heard, Fault> {
        let header = Header::of_response(message, self.id)?;
        let mut cursor = Cursor::new(message);
        let rcode = header.rcode();
        match header.questions {
            1 => cursor.expect_question(&self.origin, Rtype::SOA)?,
            // Some servers leave it out where they say no.
            0 if rcode != Rcode::NOERROR => (),
            _ => return Err(Fault::Malformed),
        }
        if rcode != Rcode::NOERROR {
            return Err(Fault::Refused(rcode));
        }
        if header.flags & flags::TC != 0 {
            return Ok(Heard::Truncated);
        }
        // Who is not authoritative has it from somewhere else, or not at all.
        if header.flags & flags::AA == 0 {
            return Err(Fault::NotAuthoritative);
        }
        for _ in 0..header.answers {
            let record = cursor.record().ok_or(Fault::Malformed)?;
            if record.rtype == Rtype::SOA && record.owner.eq_ignore_ascii_case(&self.origin) {
                return Soa::read(record.rdata).map(Heard::Soa).ok_or(Fault::Malformed);
            }
        }
        Err(Fault::NoSoa)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query() -> SoaQuery {
        SoaQuery::new(&"a.".parse().unwrap(), 7)
    }

    fn response(flags: u16, owner: &[u8]) -> Vec<u8> {
        let header = [7, flags, 1, 1, 0, 0].map(u16::to_be_bytes).concat();
        let soa = [1, 2, 3, 4, 5_u32].map(u32::to_be_bytes).concat();
        let head = b"\x01a\0\0\x06\0\x01";
        [&header, &head[..], owner, b"\0\x06\0\x01\0\0\0\0\0\x16\0\0", &soa].concat()
    }

    #[test]
    fn the_query_is_read_by_others_and_its_response_here() {
        let message = hickory_proto::op::Message::from_vec(&query().request()).unwrap();
        assert_eq!(message.queries[0].to_string(), "a. IN SOA");
        let soa = Soa { serial: 1, refresh: 2, retry: 3, expire: 4 };
        assert_eq!(query().response(&response(0x8400, b"\xc0\x0c")), Ok(Heard::Soa(soa)));
        assert_eq!(query().response(&response(0x8600, b"\xc0\x0c")), Ok(Heard::Truncated));
    }

    #[test]
    fn other_responses_say_nothing_of_the_zone() {
        for (flags, owner, fault) in [
            (0x8000, &b"\xc0\x0c"[..], Fault::NotAuthoritative),
            (0x8405, b"\xc0\x0c", Fault::Refused(Rcode::REFUSED)),
            (0x0400, b"\xc0\x0c", Fault::Stranger),
            (0x8400, b"\x01b\0", Fault::NoSoa),
            (0x8400, b"\x01b", Fault::Malformed),
        ] {
            assert_eq!(query().response(&response(flags, owner)), Err(fault), "{flags:x}");
        }
        let good = response(0x8400, b"\xc0\x0c");
        let other = SoaQuery::new(&"a.".parse().unwrap(), 8);
        assert_eq!(other.response(&good), Err(Fault::Stranger));
        let other = SoaQuery::new(&"b.".parse().unwrap(), 7);
        assert_eq!(other.response(&good), Err(Fault::Stranger));
        for cut in 0..good.len() {
            assert!(query().response(&good[..cut]).is_err());
        }
    }
}
