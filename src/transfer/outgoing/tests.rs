//! Zones on their way out, read by an independent reader.

use hickory_proto::op::Message;
use hickory_proto::rr::{Record as HickoryRecord, RecordType};
use proptest::prelude::*;

use super::super::journal::tests::contents;
use super::*;
use crate::dns::Name;
use crate::dns::query::{NameRoom, Query};
use crate::transfer::{Algorithm, ClientSequence, Journals, Key, Keys, tsig};

const NOW: u64 = 1_790_000_000;

/// A query for example.com, with the SOA record of a version for IXFR.
fn query(name: &str, serial: Option<u32>, has_edns: bool) -> Vec<u8> {
    let qtype = if serial.is_some() { Rtype::IXFR } else { Rtype::AXFR };
    let counts = [0, u8::from(serial.is_some()), 0, u8::from(has_edns)];
    let mut packet = vec![0xab, 0xcd, 0, 0, 0, 1, 0, 0];
    packet.extend(counts);
    packet.extend(name.parse::<Name>().unwrap().as_wire());
    packet.extend([qtype.0.to_be_bytes(), [0, 1]].concat());
    if let Some(serial) = serial {
        packet.extend(b"\xc0\x0c\0\x06\0\x01\0\0\0\0\0\x16\0\0");
        packet.extend(serial.to_be_bytes());
        packet.extend([0; 16]);
    }
    if has_edns {
        packet.extend(b"\0\0\x29\x04\xd0\0\0\0\0\0\0");
    }
    packet
}

fn preamble(packet: &[u8]) -> Preamble {
    Query::parse(packet, &mut NameRoom::new()).unwrap().preamble
}

fn messages(mut outgoing: Outgoing) -> Vec<Vec<u8>> {
    let mut out = vec![0xee; MAX_MESSAGE_BYTES];
    let mut messages = Vec::new();
    while let Some(length) = outgoing.message(NOW, &mut out).unwrap() {
        messages.push(out[..length].to_vec());
    }
    messages
}

fn parsed(message: &[u8]) -> Message {
    Message::from_vec(message).unwrap_or_else(|error| panic!("{error}"))
}

/// All records of all messages, as text.
fn records(messages: &[Vec<u8>]) -> Vec<String> {
    let all = messages.iter().flat_map(|message| parsed(message).answers);
    all.map(|record: HickoryRecord| record.to_string()).collect()
}

#[test]
fn the_whole_zone_stands_between_its_soa_record_and_its_soa_record() {
    let contents = Arc::new(contents(7, &[(0, 1), (0, 2), (1, 3)]));
    for has_edns in [false, true] {
        let packet = query("example.com", None, has_edns);
        let messages = messages(Outgoing::full(&contents, &packet, &preamble(&packet)));
        assert_eq!(messages.len(), 1);
        let message = parsed(&messages[0]);
        assert!(message.metadata.authoritative && message.edns.is_some() == has_edns);
        assert_eq!(message.queries[0].query_type(), RecordType::AXFR);
        assert_eq!(
            records(&messages),
            [
                "example.com. 5 IN SOA . . 7 0 0 0 0",
                "a.example.com. 1 IN A 198.51.100.1",
                "a.example.com. 1 IN A 198.51.100.2",
                "b.example.com. 1 IN A 198.51.100.3",
                "example.com. 5 IN SOA . . 7 0 0 0 0",
            ]
        );
    }
}

#[test]
fn the_zones_own_case_is_kept_whatever_the_questions() {
    let contents = Arc::new(contents(7, &[(0, 1)]));
    let packet = query("EXAMPLE.com", None, false);
    let messages = messages(Outgoing::full(&contents, &packet, &preamble(&packet)));
    assert!(messages[0].windows(8).any(|bytes| bytes == b"\x07EXAMPLE"), "the question");
    assert!(messages[0].windows(8).any(|bytes| bytes == b"\x07example"), "the records");
}

/// A zone of text records, each of that many bytes.
fn texts(sizes: &[u16]) -> Arc<Contents> {
    let names: Vec<Vec<u8>> =
        (0..sizes.len()).map(|n| [&[5][..], format!("{n:05}").as_bytes()].concat()).collect();
    let data: Vec<Vec<u8>> = sizes.iter().map(|size| vec![0; usize::from(*size)]).collect();
    let record = |(owner_prefix, rdata)| Record { owner_prefix, rtype: Rtype::TXT, ttl: 9, rdata };
    let all = names.iter().map(|name| &name[..]).zip(data.iter().map(|data| &data[..]));
    let soa = [&[0, 0][..], &7_u32.to_be_bytes(), &[0; 16]].concat();
    let soa = Record { owner_prefix: &[], rtype: Rtype::SOA, ttl: 9, rdata: &soa };
    let origin: Name = "example.com.".parse().unwrap();
    Arc::new(Contents::new(origin, all.map(record).chain([soa])).unwrap())
}

#[test]
fn a_record_that_fits_into_no_message_ends_the_transfer_and_a_long_one_has_its_own() {
    let packet = query("example.com", None, false);
    let mut outgoing = Outgoing::full(&texts(&[1, 65_000, 1]), &packet, &preamble(&packet));
    let mut out = vec![0; MAX_MESSAGE_BYTES];
    let lengths: Vec<usize> =
        std::iter::from_fn(|| outgoing.message(NOW, &mut out).unwrap()).collect();
    assert_eq!(lengths.len(), 2, "{lengths:?}");
    assert!(lengths[1] > 65_000);
    let mut outgoing = Outgoing::full(&texts(&[65_535]), &packet, &preamble(&packet));
    assert!(outgoing.message(NOW, &mut out).is_ok());
    assert_eq!(outgoing.message(NOW, &mut out), Err(TooLong));
}

fn changes(versions: &[Contents]) -> Journal {
    versions.windows(2).fold(Journal::default(), |journal, pair| journal.after(&pair[0], &pair[1]))
}

fn ixfr(serial: u32, current: &Contents, journal: Option<&Journal>) -> (Extent, Vec<String>) {
    let packet = query("example.com", Some(serial), false);
    assert_eq!(serial_asked(&packet), Some(serial));
    let current = Arc::new(super::super::journal::tests::copy(current));
    let outgoing = Outgoing::since(serial, &current, journal, &packet, &preamble(&packet));
    (outgoing.extent(), records(&messages(outgoing)))
}

#[test]
fn of_a_known_version_the_changes_are_sent_one_after_another() {
    let many: Vec<(u8, u8)> = (0..60).map(|n| (9, n)).collect();
    let version = |serial, more: &[(u8, u8)]| contents(serial, &[&many[..], more].concat());
    let versions = [version(1, &[(0, 1)]), version(2, &[(0, 2)]), version(4, &[(0, 2), (1, 3)])];
    let journal = changes(&versions);
    let (extent, records) = ixfr(1, &versions[2], Some(&journal));
    assert_eq!(extent, Extent::Incremental);
    assert_eq!(
        records,
        [
            "example.com. 5 IN SOA . . 4 0 0 0 0",
            "example.com. 5 IN SOA . . 1 0 0 0 0",
            "a.example.com. 1 IN A 198.51.100.1",
            "example.com. 5 IN SOA . . 2 0 0 0 0",
            "a.example.com. 1 IN A 198.51.100.2",
            "example.com. 5 IN SOA . . 2 0 0 0 0",
            "example.com. 5 IN SOA . . 4 0 0 0 0",
            "b.example.com. 1 IN A 198.51.100.3",
            "example.com. 5 IN SOA . . 4 0 0 0 0",
        ]
    );
    assert_eq!(ixfr(2, &versions[2], Some(&journal)).1.len(), 5);
    for (serial, extent, count) in [
        // Current; newer than ours, as after a restore; unknown.
        (4, Extent::Current, 1),
        (5, Extent::Current, 1),
        (3, Extent::Full, 64),
        (0, Extent::Full, 64),
    ] {
        let (is, records) = ixfr(serial, &versions[2], Some(&journal));
        assert_eq!((is, records.len()), (extent, count), "{serial}");
    }
    assert_eq!(ixfr(1, &versions[2], None).0, Extent::Full, "after a restart");
}

#[test]
fn changes_that_are_more_than_the_zone_are_not_sent() {
    let versions = [contents(1, &[(0, 1), (1, 1), (2, 1)]), contents(2, &[(0, 2), (1, 2)])];
    assert_eq!(ixfr(1, &versions[1], Some(&changes(&versions))).0, Extent::Full);
}

#[test]
fn a_datagram_has_all_changes_or_the_soa_record_alone() {
    let many: Vec<(u8, u8)> = (0..60).map(|n| (9, n)).collect();
    let versions = [contents(1, &many), contents(2, &many[5..])];
    let journal = changes(&versions);
    let packet = query("example.com", Some(1), true);
    let current = Arc::new(super::super::journal::tests::copy(&versions[1]));
    let make = || Outgoing::since(1, &current, Some(&journal), &packet, &preamble(&packet));
    for (room, count) in [(1232, 9), (200, 1)] {
        let mut out = vec![0; room];
        let length = make().datagram(&mut out).unwrap();
        let message = parsed(&out[..length]);
        assert_eq!(message.answers.len(), count);
        assert!(message.edns.is_some() && !message.metadata.truncation);
    }
    for room in [60, 20, 0] {
        assert_eq!(make().datagram(&mut vec![0; room]), None);
    }
    let full = Outgoing::since(0, &current, Some(&journal), &packet, &preamble(&packet));
    let mut out = vec![0; 1232];
    let length = full.datagram(&mut out).unwrap();
    assert_eq!(parsed(&out[..length]).answers.len(), 1);
}

proptest! {
    #[test]
    fn every_message_of_any_zone_can_be_read_and_verified_and_nothing_is_lost(
        sizes in prop::collection::vec(1u16..3000, 0..60), is_signed: bool, has_edns: bool,
    ) {
        let contents = texts(&sizes);
        let mut packet = query("example.com", None, has_edns);
        let preamble = preamble(&packet);
        let outgoing = Outgoing::full(&contents, &packet, &preamble);
        let key = || Key::new("k.".parse().unwrap(), Algorithm::Sha512, b"secret");
        let mut client = None;
        let outgoing = if is_signed {
            let keys: Keys = [key()].into_iter().collect();
            client = Some(ClientSequence::request(&Arc::new(key()), &mut packet, NOW));
            let start = tsig::find(&packet).unwrap().unwrap();
            let verified = tsig::verify(&keys, &packet, start, NOW).unwrap();
            outgoing.signed(Some(verified.sequence))
        } else {
            outgoing
        };
        let mut messages = messages(outgoing);
        for (n, message) in messages.iter_mut().enumerate() {
            prop_assert!(message.len() <= MESSAGE_BYTES);
            if let Some(client) = &mut client {
                prop_assert_eq!(client.response(message, NOW), Ok(()));
            }
            prop_assert_eq!(parsed(message).queries.len(), usize::from(n == 0));
        }
        let all: Vec<HickoryRecord> =
            messages.iter().flat_map(|message| parsed(message).answers).collect();
        prop_assert_eq!(all.len(), sizes.len() + 2);
        prop_assert_eq!(all[0].record_type(), RecordType::SOA);
        prop_assert_eq!(all.last().unwrap().record_type(), RecordType::SOA);
    }

    #[test]
    fn no_bytes_make_the_reading_of_a_serial_number_panic(packet: Vec<u8>) {
        let _ = serial_asked(&packet);
    }
}

#[test]
fn journals_follow_the_zones_by_origin() {
    use crate::zone::compile;
    use crate::zone::{Base, Settings, Source};
    let zones = |serial: u32, text: &str| {
        let text = format!("@ SOA a. b. {serial} 2h 15m 2w 5m\n@ NS a.\n{text}");
        let sources = vec![Source { file: "zone".into(), text, included_by: None }];
        let zone = |origin: &str, is_transferred| Settings {
            origin: origin.parse().unwrap(),
            default_ttl: 300,
            sources: sources.clone(),
            steered: Vec::new(),
            base: Base::Nothing,
            is_transferred,
        };
        compile(&[zone("a.example.", true), zone("b.example.", false)]).0.unwrap()
    };
    let (one, two) = (zones(1, "www TXT one"), zones(2, "www TXT two"));
    let journals = Journals::default().after(&one, &two);
    let origin = |text: &str| text.parse::<Name>().unwrap().to_key();
    assert!(journals.of(&origin("A.example.")).unwrap().since(1).is_some());
    assert!(journals.of(&origin("b.example.")).is_none());
    assert!(journals.after(&two, &zones(2, "www TXT three")).of(&origin("a.example.")).is_none());
}
