//! Announcements of new versions (NOTIFY, RFC 1996): answered here, followed by control.

use std::net::IpAddr;

use super::{Outcome, Verdict, refuse};
use crate::dns::query::HEADER_BYTES;
use crate::dns::response::MIN_RESPONSE_BYTES;
use crate::dns::{Class, Name, Preamble, Rcode, Response, Rtype};
use crate::snapshot::Snapshot;
use crate::transfer::Key;

/// Type and class.
const BYTES_AFTER_NAME: usize = 4;

/// Answers a well-formed NOTIFY message from `source`, signed with `key`. A zone of which nothing
/// may be announced to us is refused, one that is not here at all is not our concern.
#[cold]
pub(super) fn answer(
    snapshot: &Snapshot,
    source: IpAddr,
    key: Option<&Key>,
    preamble: &Preamble,
    packet: &[u8],
    out: &mut [u8],
) -> Outcome {
    let refused = |rcode, out| refuse(snapshot, rcode, None, preamble, packet, out);
    let (name, question) = packet[HEADER_BYTES..preamble.question_end]
        .split_at(preamble.question_end - HEADER_BYTES - BYTES_AFTER_NAME);
    let wanted = [Rtype::SOA.0, Class::IN.0].map(u16::to_be_bytes);
    if question != wanted.as_flattened() {
        return refused(Rcode::FORMERR, out);
    }
    let name = name.to_ascii_lowercase();
    let source = source.to_canonical();
    match snapshot.announcers.may_announce(&name, source, key) {
        Some(true) => (),
        Some(false) => return refused(Rcode::REFUSED, out),
        None => {
            let zone = snapshot.zones.find(&name, Rtype::SOA);
            let is_ours = zone.is_some_and(|zone| *zone.origin().to_key() == *name);
            let rcode = if is_ours { Rcode::REFUSED } else { Rcode::NOTAUTH };
            return refused(rcode, out);
        }
    }
    let response = Response::new(out, MIN_RESPONSE_BYTES, packet, preamble);
    Outcome {
        has_edns: preamble.edns.is_some(),
        has_subnet: preamble.edns.is_some_and(|edns| edns.subnet.is_some()),
        length: response.finish(preamble, true, Rcode::NOERROR, 0),
        ..Outcome::dropped(Verdict::Announced)
    }
}

/// The zone of an announcement: a message whose verdict is [`Verdict::Announced`].
pub fn announced_zone(packet: &[u8]) -> Option<Name> {
    let name = packet.get(HEADER_BYTES..)?;
    let mut end = 0;
    loop {
        let length = usize::from(*name.get(end)?);
        end += 1 + length;
        if length == 0 {
            return Name::from_wire(&name[..end]).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::answer::tests::fixture;
    use crate::answer::{Request, Transport, respond};
    use crate::transfer::announcers::{Announcer, Announcers};
    use crate::transfer::{Algorithm, ClientSequence};

    const PRIMARY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 5));
    const NOW: u64 = 1_800_000_000;

    fn key(name: &str) -> Arc<Key> {
        Arc::new(Key::new(name.parse().unwrap(), Algorithm::Sha256, &[7; 32]))
    }

    /// `example.com.` may be announced unsigned, `child.example.com.` with a key.
    fn snapshot() -> Snapshot {
        let zone = |name: &str| name.parse::<Name>().unwrap();
        let (parent, child) = (zone("Example.com."), zone("child.example.com."));
        let announcer = |key| [Announcer { address: PRIMARY, key }].into();
        let announcers: Announcers =
            [(&parent, announcer(None)), (&child, announcer(Some(key("k."))))]
                .into_iter()
                .collect();
        let keys = [Key::new(zone("k."), Algorithm::Sha256, &[7; 32])].into_iter().collect();
        let (announcers, keys) = (Arc::new(announcers), Arc::new(keys));
        Snapshot { announcers, keys, ..fixture::snapshot() }
    }

    fn message(name: &str, rtype: Rtype) -> Vec<u8> {
        let header = [9, 0x2400, 1, 0, 0, 0].map(u16::to_be_bytes).concat();
        let name: Name = name.parse().unwrap();
        [&header, name.as_wire(), &rtype.0.to_be_bytes(), &[0, 1]].concat()
    }

    fn answered(source: IpAddr, packet: &[u8]) -> (Verdict, u16, Vec<u8>) {
        let mut out = vec![0; 4096];
        let request = Request { source, transport: Transport::Udp, draw: 1, unix_seconds: NOW };
        let outcome = respond(&snapshot(), &request, packet, &mut out);
        out.truncate(outcome.length);
        (outcome.verdict, u16::from_be_bytes([out[2], out[3]]), out)
    }

    #[test]
    fn a_primary_is_thanked_with_its_question() {
        let packet = message("EXAMPLE.com.", Rtype::SOA);
        let (verdict, flags, out) = answered(PRIMARY, &packet);
        assert_eq!((verdict, flags), (Verdict::Announced, 0xa400));
        assert_eq!(out[12..], packet[12..]);
        assert_eq!(announced_zone(&packet), "example.com.".parse().ok());
        // With a SOA record as a hint (RFC 1996 §3.7).
        let mut hinted = packet.clone();
        hinted[7] = 1;
        hinted.extend(b"\xc0\x0c\0\x06\0\x01\0\0\0\0\0\x16\0\0\0\0\0\x01");
        hinted.extend([0; 16]);
        assert_eq!(answered(PRIMARY, &hinted).0, Verdict::Announced);
    }

    #[test]
    fn others_are_not() {
        let soa = |name| message(name, Rtype::SOA);
        let stranger = "203.0.113.6".parse().unwrap();
        for (source, packet, verdict, flags) in [
            (stranger, soa("example.com."), Verdict::Refused, 0xa005),
            (PRIMARY, soa("expired.example.com."), Verdict::Refused, 0xa005),
            (PRIMARY, soa("www.example.com."), Verdict::NotAuth, 0xa009),
            (PRIMARY, soa("example.net."), Verdict::NotAuth, 0xa009),
            (PRIMARY, message("example.com.", Rtype::A), Verdict::FormErr, 0xa001),
            (PRIMARY, soa("example.com.")[..20].to_vec(), Verdict::FormErr, 0xa001),
            // A key is asked for.
            (PRIMARY, soa("child.example.com."), Verdict::Refused, 0xa005),
        ] {
            let (found, answer, _) = answered(source, &packet);
            assert_eq!((found, answer), (verdict, flags), "{packet:?}");
        }
    }

    #[test]
    fn who_must_sign_is_believed_when_he_does() {
        for (key, source, verdict) in [
            (key("k."), PRIMARY, Verdict::Announced),
            (key("k."), "203.0.113.6".parse().unwrap(), Verdict::Refused),
            (key("other."), PRIMARY, Verdict::NotAuth),
        ] {
            let mut packet = message("child.example.com.", Rtype::SOA);
            let mut sequence = ClientSequence::request(&key, &mut packet, NOW);
            let (found, _, mut out) = answered(source, &packet);
            assert_eq!(found, verdict);
            assert_eq!(sequence.response(&mut out, NOW).is_ok(), verdict != Verdict::NotAuth);
        }
    }
}
