//! Queries, whole and damaged, byte by byte.

use proptest::prelude::*;

use super::*;

/// A query with a name of its own, as rooms are of no interest here.
#[derive(Debug)]
struct Parsed {
    preamble: Preamble,
    qtype: Rtype,
    qclass: Class,
    qname: Vec<u8>,
}

fn parse(packet: &[u8]) -> Result<Parsed, Rejection> {
    let mut room = NameRoom::new();
    let Query { preamble, qtype, qclass, qname } = Query::parse(packet, &mut room)?;
    Ok(Parsed { preamble, qtype, qclass, qname: qname.to_vec() })
}

const QUESTION: &[u8] = b"\x03WwW\x07example\x03com\x00\x00\x01\x00\x01";
const OPT: &[u8] = b"\x00\x00\x29\x10\x00\x00\x00\x80\x00\x00\x00";
const A_RECORD: &[u8] = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x01\x00\x04\x7f\x00\x00\x01";

fn message(flags: u16, counts: [u16; 4], body: &[&[u8]]) -> Vec<u8> {
    let mut message = vec![0xab, 0xcd];
    message.extend(flags.to_be_bytes());
    message.extend(counts.iter().flat_map(|count| count.to_be_bytes()));
    message.extend(body.concat());
    message
}

fn error(message: &[u8]) -> (Rcode, Preamble) {
    match parse(message) {
        Err(Rejection::Error(rcode, preamble)) => (rcode, preamble),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_query_is_read_with_its_name_folded() {
    let packet = message(flags::RD, [1, 0, 0, 1], &[QUESTION, OPT]);
    let query = parse(&packet).unwrap();
    assert_eq!(query.qname, b"\x03www\x07example\x03com\x00");
    assert_eq!((query.qtype, query.qclass), (Rtype::A, Class::IN));
    assert_eq!(query.preamble.id, 0xabcd);
    assert_eq!(query.preamble.question_end, 12 + QUESTION.len());
    let edns = query.preamble.edns.unwrap();
    assert_eq!((edns.udp_payload, edns.dnssec_ok), (4096, true));
}

#[test]
fn runts_and_responses_get_no_reply() {
    let packet = message(0, [1, 0, 0, 0], &[QUESTION]);
    assert_eq!(parse(&packet[..11]).unwrap_err(), Rejection::Runt);
    assert_eq!(parse(&[]).unwrap_err(), Rejection::Runt);
    let packet = message(flags::QR | 0x7800, [9, 9, 9, 9], &[]);
    assert_eq!(parse(&packet).unwrap_err(), Rejection::Response);
}

#[test]
fn other_opcodes_are_not_implemented_whatever_follows() {
    let update = 5 << 11;
    let (rcode, preamble) = error(&message(update, [0, 0, 0, 0], &[]));
    assert_eq!((rcode, preamble.question_end), (Rcode::NOTIMP, 12));
    let (rcode, preamble) = error(&message(update, [1, 0, 0, 1], &[QUESTION, OPT]));
    assert_eq!((rcode, preamble.edns.is_some()), (Rcode::NOTIMP, true));
}

#[test]
fn malformed_messages_are_format_errors() {
    let label64 = [&[64][..], &[b'a'; 64], &[0, 0, 1, 0, 1]].concat();
    let name256 = [&[63][..], &[b'a'; 63]].concat().repeat(4);
    let name256 = [&name256[..], &[0, 0, 1, 0, 1]].concat();
    type Case<'a> = (&'a str, [u16; 4], &'a [&'a [u8]]);
    let cases: [Case; 16] = [
        ("no question", [0, 0, 0, 0], &[]),
        ("no question, but OPT", [0, 0, 0, 1], &[OPT]),
        ("two questions", [2, 0, 0, 0], &[QUESTION, QUESTION]),
        ("a question cut short", [1, 0, 0, 0], &[&QUESTION[..QUESTION.len() - 1]]),
        ("a name cut short", [1, 0, 0, 0], &[b"\x03ww"]),
        ("a compressed name", [1, 0, 0, 0], &[b"\xc0\x0c\x00\x01\x00\x01"]),
        ("a label of 64 bytes", [1, 0, 0, 0], &[&label64]),
        ("a name of 257 bytes", [1, 0, 0, 0], &[&name256]),
        ("trailing bytes", [1, 0, 0, 0], &[QUESTION, b"\x00"]),
        ("a promised record", [1, 0, 0, 1], &[QUESTION]),
        ("many promised records", [1, 65535, 65535, 65535], &[QUESTION]),
        ("two OPT records", [1, 0, 0, 2], &[QUESTION, OPT, OPT]),
        ("OPT in the answer section", [1, 1, 0, 0], &[QUESTION, OPT]),
        ("OPT with an owner", [1, 0, 0, 1], &[QUESTION, b"\x01a", OPT]),
        ("a pointer forwards", [1, 1, 0, 0], &[QUESTION, b"\xc1\x00", &A_RECORD[2..]]),
        ("RDATA past the end", [1, 1, 0, 0], &[QUESTION, &A_RECORD[..14]]),
    ];
    for (reason, counts, body) in cases {
        assert_eq!(error(&message(0, counts, body)).0, Rcode::FORMERR, "{reason}");
    }
}

#[test]
fn a_name_of_255_bytes_is_the_longest() {
    let label = [&[61][..], &[b'a'; 61]].concat();
    let name = [&label.repeat(4)[..], b"\x05aaaaa\x00"].concat();
    assert_eq!(name.len(), 255);
    let packet = message(0, [1, 0, 0, 0], &[&name, b"\x00\x01\x00\x01"]);
    assert_eq!(parse(&packet).unwrap().qname, name);
}

#[test]
fn records_in_other_sections_are_skipped() {
    let packet = message(0, [1, 1, 1, 3], &[QUESTION, A_RECORD, A_RECORD, A_RECORD, OPT, A_RECORD]);
    assert!(parse(&packet).unwrap().preamble.edns.is_some());
}

#[test]
fn a_question_that_was_read_is_echoed_by_errors_behind_it() {
    let (_, preamble) = error(&message(0, [1, 0, 0, 1], &[QUESTION, OPT, b"\x00"]));
    assert_eq!(preamble.question_end, 12 + QUESTION.len());
    assert!(preamble.edns.is_some());
}

#[test]
fn where_one_opt_record_was_read_the_response_has_one_whatever_is_wrong_behind_it() {
    let cut = &A_RECORD[..A_RECORD.len() - 1];
    for (what, counts, body) in [
        ("two OPT records", [1, 0, 0, 2], [QUESTION, OPT, OPT]),
        ("a record cut short", [1, 0, 0, 2], [QUESTION, OPT, cut]),
        ("trailing bytes", [1, 0, 0, 1], [QUESTION, OPT, b"\x00"]),
    ] {
        let (rcode, preamble) = error(&message(0, counts, &body));
        assert_eq!((rcode, preamble.edns.is_some()), (Rcode::FORMERR, true), "{what}");
    }
}

#[test]
fn an_unknown_version_of_edns_is_said() {
    let opt = b"\x00\x00\x29\x10\x00\x00\x01\x00\x00\x00\x00";
    let (rcode, preamble) = error(&message(0, [1, 0, 0, 1], &[QUESTION, opt]));
    assert_eq!((rcode, preamble.edns.unwrap().version), (Rcode::BADVERS, 1));
}

#[test]
fn malformed_options_are_a_format_error_with_opt_in_the_response() {
    let opt = b"\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x07\x00\x08\x00\x03\x00\x01\x08";
    let (rcode, preamble) = error(&message(0, [1, 0, 0, 1], &[QUESTION, opt]));
    assert_eq!((rcode, preamble.edns.unwrap().subnet), (Rcode::FORMERR, None));
}

#[test]
fn a_signed_query_is_to_be_verified_and_the_signature_comes_last() {
    let tsig = b"\x03key\x00\x00\xfa\x00\xff\x00\x00\x00\x00\x00\x00";
    let packet = message(0, [1, 0, 0, 2], &[QUESTION, OPT, tsig]);
    let at = packet.len() - tsig.len();
    assert!(matches!(parse(&packet), Err(Rejection::Signed { tsig, .. }) if tsig == at));
    let packet = message(0, [1, 0, 0, 2], &[QUESTION, tsig, OPT]);
    assert_eq!(error(&packet).0, Rcode::FORMERR);
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(packet: Vec<u8>) {
        let _ = parse(&packet);
    }

    #[test]
    fn no_damage_to_a_query_makes_the_parser_panic(
        at in 0usize..100, byte: u8, length in 0usize..100,
    ) {
        let mut packet = message(0, [1, 1, 0, 2], &[QUESTION, A_RECORD, OPT, A_RECORD]);
        let at = at % packet.len();
        packet[at] = byte;
        packet.truncate(length.max(1));
        let _ = parse(&packet);
    }
}
