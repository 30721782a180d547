//! What is said to other servers when a zone has changed (RFC 1996), and how often.

use std::sync::Arc;
use std::time::Duration;

use super::tsig::Invalid;
use super::{ClientSequence, Key};
use crate::dns::query::{HEADER_BYTES, flags};
use crate::dns::{Class, Opcode, Rcode, Rtype};
use crate::zone::Contents;

/// How often it is said to one who does not answer.
pub const TRIES: u32 = 5;
/// How long the first answer is waited for; each next one twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(2);

/// How long the answer to a try is waited for; the first is number 0.
pub fn wait(number: u32) -> Duration {
    FIRST_WAIT * 2_u32.saturating_pow(number)
}

/// What is said of one zone to one server.
#[derive(Debug)]
pub struct Announcement {
    id: u16,
    message: Vec<u8>,
    sequence: Option<ClientSequence>,
}

/// What a message says that came from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It is no answer to this.
    Nothing,
    /// It knows.
    Acknowledged,
    /// It does not want to know.
    Refused(Rcode),
    /// It may come from somebody else, as its signature cannot be verified.
    Unverified(Invalid),
}

impl Announcement {
    /// Says which version of a zone there is now, under a random `id`. `now` is in seconds of Unix
    /// time.
    pub fn new(contents: &Contents, id: u16, key: Option<&Arc<Key>>, now: u64) -> Announcement {
        let origin = contents.origin().as_wire();
        let flags = u16::from(Opcode::NOTIFY.0) << 11 | flags::AA;
        let mut message = Vec::with_capacity(HEADER_BYTES + 2 * origin.len() + 512);
        for word in [id, flags, 1, contents.soa().len() as u16, 0, 0] {
            message.extend_from_slice(&word.to_be_bytes());
        }
        message.extend_from_slice(origin);
        for word in [Rtype::SOA.0, Class::IN.0] {
            message.extend_from_slice(&word.to_be_bytes());
        }
        for soa in contents.soa().iter() {
            message.extend_from_slice(&(0xc000 | HEADER_BYTES as u16).to_be_bytes());
            message.extend_from_slice(&soa.rtype.0.to_be_bytes());
            message.extend_from_slice(&Class::IN.0.to_be_bytes());
            message.extend_from_slice(&soa.ttl.to_be_bytes());
            message.extend_from_slice(&(soa.rdata.len() as u16).to_be_bytes());
            message.extend_from_slice(soa.rdata);
        }
        let sequence = key.map(|key| ClientSequence::request(key, &mut message, now));
        Announcement { id, message, sequence }
    }

    /// The message to send.
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// What came back. `now` is in seconds of Unix time.
    pub fn hear(&self, response: &[u8], now: u64) -> Heard {
        let Some(&[i0, i1, f0, f1, ..]) = response.first_chunk::<HEADER_BYTES>() else {
            return Heard::Nothing;
        };
        let flags = u16::from_be_bytes([f0, f1]);
        let opcode = (flags & flags::OPCODE) >> 11;
        let is_response = flags & flags::QR != 0 && opcode == u16::from(Opcode::NOTIFY.0);
        if !is_response || u16::from_be_bytes([i0, i1]) != self.id {
            return Heard::Nothing;
        }
        if let Some(sequence) = &self.sequence
            && let Err(why) = sequence.clone().response(&mut response.to_vec(), now)
        {
            return Heard::Unverified(why);
        }
        match Rcode(flags & 0xf) {
            Rcode::NOERROR => Heard::Acknowledged,
            rcode => Heard::Refused(rcode),
        }
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Message, OpCode};

    use super::super::journal::tests::contents;
    use super::*;
    use crate::transfer::{Algorithm, Keys, tsig};

    const NOW: u64 = 1_790_000_000;

    fn answer(to: &Announcement, flags: u16) -> Vec<u8> {
        let mut response = to.message().to_vec();
        response[2..4].copy_from_slice(&flags.to_be_bytes());
        response
    }

    #[test]
    fn it_names_the_zone_and_its_version() {
        let said = Announcement::new(&contents(7, &[(1, 1)]), 99, None, NOW);
        let message = Message::from_vec(said.message()).unwrap();
        assert_eq!((message.id, message.metadata.op_code), (99, OpCode::Notify));
        assert!(message.metadata.authoritative);
        assert_eq!(message.queries[0].to_string(), "example.com. IN SOA");
        assert_eq!(message.answers[0].to_string(), "example.com. 5 IN SOA . . 7 0 0 0 0");
    }

    #[test]
    fn only_an_answer_to_it_ends_the_waiting() {
        let said = Announcement::new(&contents(7, &[]), 99, None, NOW);
        for (flags, heard) in [
            (0xa000, Heard::Acknowledged),
            (0xa400, Heard::Acknowledged),
            (0xa005, Heard::Refused(Rcode::REFUSED)),
            (0x2000, Heard::Nothing),
            (0x8000, Heard::Nothing),
        ] {
            assert_eq!(said.hear(&answer(&said, flags), NOW), heard, "{flags:x}");
        }
        let mut other = answer(&said, 0xa000);
        other[1] = 98;
        assert_eq!(said.hear(&other, NOW), Heard::Nothing);
        assert_eq!(said.hear(&other[..11], NOW), Heard::Nothing);
    }

    #[test]
    fn what_is_signed_must_be_answered_under_a_signature() {
        let key = || Key::new("k.".parse().unwrap(), Algorithm::Sha256, b"secret");
        let said = Announcement::new(&contents(7, &[]), 99, Some(&Arc::new(key())), NOW);
        let start = tsig::find(said.message()).unwrap().unwrap();
        let keys: Keys = [key()].into_iter().collect();
        let mut verified = tsig::verify(&keys, said.message(), start, NOW).unwrap();
        let mut response = verified.message.clone();
        response[2] |= 0x80;
        let unsigned = said.hear(&response, NOW);
        assert_eq!(unsigned, Heard::Unverified(Invalid::Unsigned));
        let length = response.len();
        response.resize(length + verified.sequence.record_bytes(), 0);
        verified.sequence.sign(&mut response, length, NOW);
        assert_eq!(said.hear(&response, NOW), Heard::Acknowledged);
    }

    #[test]
    fn each_wait_is_twice_as_long() {
        assert_eq!((0..TRIES).map(|n| wait(n).as_secs()).sum::<u64>(), 62);
    }
}
