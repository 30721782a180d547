//! Streams of every kind, cut, split and damaged.

use proptest::prelude::*;

use super::*;
use crate::transfer::records::Misfit;

const ID: u16 = 0x1234;
const ROOM: usize = 1 << 20;

fn origin() -> Name {
    "example.com.".parse().unwrap()
}

fn incoming(have: Option<u32>) -> Incoming {
    Incoming::new(&origin(), have, ID, ROOM)
}

/// A record below `example.com.`, or elsewhere if it ends in a dot.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    owner: Name,
    rtype: Rtype,
    rdata: Vec<u8>,
}

fn line(owner: &str, rtype: Rtype, rdata: &[u8]) -> Line {
    let owner = Name::parse_relative(owner, &origin()).unwrap();
    Line { owner, rtype, rdata: rdata.to_vec() }
}

fn a(owner: &str, last: u8) -> Line {
    line(owner, Rtype::A, &[198, 51, 100, last])
}

fn soa(serial: u32) -> Line {
    let rdata = [&[0, 0][..], &serial.to_be_bytes(), &[0; 16]].concat();
    line("@", Rtype::SOA, &rdata)
}

fn records<'l>(lines: impl IntoIterator<Item = &'l Line>) -> Records {
    let mut records = Records::default();
    for Line { owner, rtype, rdata } in lines {
        records.push(Record { owner: owner.as_wire(), rtype: *rtype, ttl: 300, rdata });
    }
    records
}

/// A message with the question if asked for, and owners that point into it.
fn message(qtype: Option<Rtype>, lines: &[Line]) -> Vec<u8> {
    let questions = u16::from(qtype.is_some());
    let mut message: Vec<u8> = [ID, flags::QR | flags::AA, questions, lines.len() as u16, 0, 0]
        .into_iter()
        .flat_map(u16::to_be_bytes)
        .collect();
    if let Some(qtype) = qtype {
        message.extend_from_slice(origin().as_wire());
        message.extend([qtype.0.to_be_bytes(), [0, 1]].concat());
    }
    for Line { owner, rtype, rdata } in lines {
        let wire = owner.as_wire();
        match wire.strip_suffix(origin().as_wire()).filter(|_| qtype.is_some()) {
            Some(prefix) => message.extend([prefix, &[0xc0, 12]].concat()),
            None => message.extend_from_slice(wire),
        }
        message.extend([&rtype.0.to_be_bytes()[..], &[0, 1, 0, 0, 1, 44]].concat());
        message.extend((rdata.len() as u16).to_be_bytes());
        message.extend_from_slice(rdata);
    }
    message
}

/// The stream in messages of so many records; only the first repeats the question.
fn messages(qtype: Rtype, lines: &[Line], sizes: &[usize]) -> Vec<Vec<u8>> {
    let mut sizes = sizes.iter().copied().chain(std::iter::repeat(3));
    let (mut rest, mut messages) = (lines, Vec::new());
    while !rest.is_empty() {
        let (now, later) = rest.split_at(sizes.next().unwrap().clamp(1, rest.len()));
        messages.push(message(messages.is_empty().then_some(qtype), now));
        rest = later;
    }
    messages
}

fn run(incoming: &mut Incoming, messages: &[Vec<u8>]) -> Result<Option<Arrival>, Fault> {
    for (index, message) in messages.iter().enumerate() {
        if let Some(arrival) = incoming.take(message)? {
            assert_eq!(index + 1, messages.len(), "the end comes with the last message");
            return Ok(Some(arrival));
        }
    }
    Ok(None)
}

fn axfr(lines: &[Line]) -> Result<Option<Arrival>, Fault> {
    run(&mut incoming(None), &messages(Rtype::AXFR, lines, &[]))
}

fn ixfr(have: u32, lines: &[Line]) -> Result<Option<Arrival>, Fault> {
    run(&mut incoming(Some(have)), &messages(Rtype::IXFR, lines, &[]))
}

#[test]
fn requests_are_what_the_standards_ask_for() {
    let request = incoming(None).request();
    assert_eq!(request[..12], [0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(request[12..], *b"\x07example\x03com\0\0\xfc\0\x01");
    let request = incoming(Some(7)).request();
    let message = hickory_proto::op::Message::from_vec(&request).unwrap();
    assert_eq!(message.queries[0].query_type(), hickory_proto::rr::RecordType::IXFR);
    let record = message.authorities[0].to_string();
    assert!(record.starts_with("example.com. 0 IN SOA . . 7 "), "{record}");
}

#[test]
fn a_zone_comes_whole() {
    let lines = [soa(5), a("x", 1), line("@", Rtype::NS, b"\x01x\0"), soa(5)];
    assert_eq!(axfr(&lines), Ok(Some(Arrival::Whole(records(&lines[..3])))));
    // The smallest zone there can be.
    assert_eq!(axfr(&[soa(5), soa(5)]), Ok(Some(Arrival::Whole(records(&[soa(5)])))));
    // In place of changes.
    assert_eq!(ixfr(3, &lines), Ok(Some(Arrival::Whole(records(&lines[..3])))));
}

#[test]
fn nothing_newer_is_one_soa_record() {
    assert_eq!(ixfr(5, &[soa(5)]), Ok(Some(Arrival::UpToDate { serial: 5 })));
    assert_eq!(ixfr(5, &[soa(4)]), Ok(Some(Arrival::UpToDate { serial: 4 })));
    assert_eq!(ixfr(5, &[soa(4), a("x", 1)]), Ok(Some(Arrival::UpToDate { serial: 4 })));
    // One that is newer only begins the stream.
    assert_eq!(ixfr(5, &[soa(6)]), Ok(None));
}

#[test]
fn changes_come_one_after_another_or_condensed() {
    let stream = [soa(9), soa(5), a("x", 1), soa(7), a("y", 1), soa(7), soa(9), a("z", 1), soa(9)];
    let first = Delta { deleted: records(&stream[1..3]), added: records(&stream[3..5]) };
    let second = Delta { deleted: records(&stream[5..6]), added: records(&stream[6..8]) };
    assert_eq!(ixfr(5, &stream), Ok(Some(Arrival::Changes(vec![first, second]))));
}

#[test]
fn versions_follow_from_each_other() {
    for stream in [
        // Another version in the end.
        &[soa(9), a("x", 1), soa(8)][..],
        &[soa(9), soa(5), soa(9), soa(8)],
        // A gap.
        &[soa(9), soa(5), soa(7), soa(8), soa(9), soa(9)],
        // Backwards, and on the spot.
        &[soa(9), soa(5), soa(4)],
        &[soa(9), soa(5), soa(5)],
        // From a version that we do not have.
        &[soa(9), soa(6), soa(9), soa(9)],
    ] {
        assert_eq!(ixfr(5, stream), Err(Fault::OutOfSequence), "{stream:?}");
    }
    assert_eq!(axfr(&[soa(9), a("x", 1), soa(8)]), Err(Fault::OutOfSequence));
}

#[test]
fn what_is_not_of_the_zone_is_left_out() {
    let lines = [
        soa(5),
        a("x", 1),
        a("example.net.", 1),
        a("badexample.com.", 1),
        a("com.", 1),
        line("x", Rtype::OPT, b""),
        line("x", Rtype::ANY, b""),
        line("x", Rtype::SOA, &soa(5).rdata),
        soa(5),
    ];
    let mut incoming = incoming(None);
    let arrival = run(&mut incoming, &messages(Rtype::AXFR, &lines, &[]));
    assert_eq!(arrival, Ok(Some(Arrival::Whole(records(&lines[..2])))));
    assert_eq!(incoming.left_out(), 6);
}

#[test]
fn a_stream_begins_with_the_soa_record_and_ends_with_it() {
    assert_eq!(axfr(&[a("x", 1), soa(5)]), Err(Fault::NoSoa));
    assert_eq!(axfr(&[line("x", Rtype::SOA, &soa(5).rdata)]), Err(Fault::NoSoa));
    let bytes = message(Some(Rtype::AXFR), &[soa(5), a("x", 1), soa(5), a("y", 1)]);
    assert_eq!(incoming(None).take(&bytes), Err(Fault::Beyond));
    let mut over = incoming(None);
    assert!(over.take(&message(None, &[soa(5), soa(5)])).unwrap().is_some());
    assert_eq!(over.take(&message(None, &[a("x", 1)])), Err(Fault::Beyond));
}

#[test]
fn messages_of_others_are_refused() {
    let good = message(Some(Rtype::AXFR), &[soa(5), soa(5)]);
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        incoming(None).take(&bytes)
    };
    assert_eq!(with(1, 0), Err(Fault::Stranger), "the id");
    assert_eq!(with(2, 0), Err(Fault::Stranger), "a query");
    assert_eq!(with(2, 0xa4), Err(Fault::Stranger), "a NOTIFY");
    assert_eq!(with(13, b'x'), Err(Fault::Stranger), "another zone");
    assert_eq!(with(26, 251), Err(Fault::Stranger), "another type");
    assert_eq!(with(28, 3), Err(Fault::Stranger), "another class");
    assert_eq!(with(3, 5), Err(Fault::Refused(Rcode::REFUSED)));
    assert_eq!(with(2, 0x86), Err(Fault::Empty), "truncated");
    assert_eq!(with(7, 0), Err(Fault::Empty));
    assert_eq!(with(5, 2), Err(Fault::Malformed));
    assert_eq!(with(7, 3), Err(Fault::Malformed));
    assert_eq!(incoming(None).take(&good[..11]), Err(Fault::Malformed));
    assert!(with(14, b'X').unwrap().is_some(), "case does not count");
}

#[test]
fn a_stream_without_end_meets_the_limit() {
    let mut whole = Incoming::new(&origin(), None, ID, 1000);
    let mut changes = Incoming::new(&origin(), Some(1), ID, 1000);
    assert_eq!(whole.take(&message(None, &[soa(5)])), Ok(None));
    assert_eq!(changes.take(&message(None, &[soa(5), soa(1)])), Ok(None));
    for incoming in [&mut whole, &mut changes] {
        let endless = message(None, &[a("x", 1), a("y", 1)]);
        let fault = (0..100).find_map(|_| incoming.take(&endless).err());
        assert_eq!(fault, Some(Fault::TooLarge(1000)));
    }
}

#[test]
fn versions_without_end_meet_the_limit() {
    let mut changes = Incoming::new(&origin(), Some(1), ID, 1000);
    // Each leads on to the next, past the one that was announced, and nothing changes.
    assert_eq!(changes.take(&message(None, &[soa(2), soa(1)])), Ok(None));
    let fault = (3..100).find_map(|n| changes.take(&message(None, &[soa(n), soa(n)])).err());
    assert_eq!(fault, Some(Fault::TooLarge(1000)));
}

/// Names and data of few kinds, so that changes meet.
fn any_line() -> impl Strategy<Value = Line> {
    let owner = prop_oneof!["[a-c]", "[a-b]\\.[a-b]", Just("@".to_string())];
    let data = prop_oneof![
        (0..4_u8).prop_map(|last| (Rtype::A, vec![198, 51, 100, last])),
        (0..2_u8).prop_map(|n| (Rtype::MX, vec![0, n, 1, b'm', 0])),
        (0..3_u8).prop_map(|n| (Rtype(65300), vec![n; n.into()])),
    ];
    (owner, data).prop_map(|(owner, (rtype, rdata))| line(&owner, rtype, &rdata))
}

fn sorted(records: &Records) -> Vec<String> {
    let mut lines: Vec<String> = records.iter().map(|record| format!("{record:?}")).collect();
    lines.sort();
    lines
}

fn without_repeats(lines: Vec<Line>) -> Vec<Line> {
    let mut kept: Vec<Line> = Vec::new();
    for line in lines {
        if !kept.contains(&line) {
            kept.push(line);
        }
    }
    kept
}

proptest! {
    #[test]
    fn however_it_is_split_a_zone_arrives_whole_or_not_at_all(
        lines in proptest::collection::vec(any_line(), 0..30).prop_map(without_repeats),
        sizes in proptest::collection::vec(1..6_usize, 0..20),
        have in proptest::option::of(Just(1)),
    ) {
        let stream = [&[soa(2)], &lines[..], &[soa(2)]].concat();
        let qtype = if have.is_some() { Rtype::IXFR } else { Rtype::AXFR };
        let messages = messages(qtype, &stream, &sizes);
        let arrival = run(&mut incoming(have), &messages);
        let whole = records(&stream[..stream.len() - 1]);
        prop_assert_eq!(arrival, Ok(Some(Arrival::Whole(whole))));
        for cut in 0..messages.len() {
            prop_assert_eq!(run(&mut incoming(have), &messages[..cut]), Ok(None));
        }
        let last = messages.last().unwrap();
        let mut cut = messages.clone();
        for length in 0..last.len() {
            *cut.last_mut().unwrap() = last[..length].to_vec();
            prop_assert!(run(&mut incoming(have), &cut).is_err());
        }
    }

    #[test]
    fn however_a_zone_has_changed_the_changes_lead_to_what_it_is(
        versions in proptest::collection::vec(
            proptest::collection::vec(any_line(), 0..12).prop_map(without_repeats), 2..5),
        sizes in proptest::collection::vec(1..6_usize, 0..20),
    ) {
        let newest = versions.len() as u32;
        let mut stream = vec![soa(newest)];
        for (serial, pair) in (1..).zip(versions.windows(2)) {
            let [old, new] = pair else { unreachable!() };
            stream.push(soa(serial));
            stream.extend(old.iter().filter(|line| !new.contains(line)).cloned());
            stream.push(soa(serial + 1));
            stream.extend(new.iter().filter(|line| !old.contains(line)).cloned());
        }
        stream.push(soa(newest));
        let messages = messages(Rtype::IXFR, &stream, &sizes);
        let Ok(Some(Arrival::Changes(deltas))) = run(&mut incoming(Some(1)), &messages) else {
            panic!("no changes")
        };
        let base = records([&[soa(1)], &versions[0][..]].concat().iter());
        let made = base.changed(&deltas).unwrap();
        prop_assert_eq!(made.iter().next().map(|soa| soa.rtype), Some(Rtype::SOA));
        let last = versions.last().unwrap();
        let wanted = records([&[soa(newest)], &last[..]].concat().iter());
        prop_assert_eq!(sorted(&made), sorted(&wanted));
        // They fit to nothing else.
        prop_assert!(made.changed(&deltas).is_err());
        prop_assert_eq!(Records::default().changed(&deltas), Err(Misfit::Missing));
    }

    #[test]
    fn no_bytes_do_harm(
        have in proptest::option::of(any::<u32>()),
        head in any::<bool>(),
        mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut incoming = incoming(have);
        if head {
            let good = [ID, flags::QR, 0, 9, 0, 0].into_iter().flat_map(u16::to_be_bytes);
            bytes = good.chain(bytes).collect();
            let _ = incoming.take(&message(None, &[soa(5)]));
        }
        let _ = incoming.take(&bytes);
    }

    #[test]
    fn one_damaged_byte_does_no_more_than_change_data(
        lines in proptest::collection::vec(any_line(), 0..10),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let stream = [&[soa(2)], &lines[..], &[soa(2)]].concat();
        let mut bytes = message(Some(Rtype::AXFR), &stream);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(Some(Arrival::Whole(records))) = incoming(None).take(&bytes) {
            prop_assert!(records.count() <= stream.len());
            prop_assert_eq!(Records::from_text(&records.to_text()), Some(records));
        }
    }
}
