//! Responses, read back by an independent reader.

use hickory_proto::op::Message;
use proptest::prelude::*;

use super::*;
use crate::dns::query::NameRoom;
use crate::dns::{ClientSubnet, Query};

/// `www.Example.com. A`, with OPT if `edns`.
fn packet(edns: bool) -> Vec<u8> {
    let mut packet =
        b"\xab\xcd\x01\x10\0\x01\0\0\0\0\0\0\x03www\x07Example\x03com\0\0\x01\0\x01".to_vec();
    if edns {
        packet[11] = 1;
        packet.extend(b"\0\0\x29\x10\0\0\0\x80\0\0\x0b\0\x08\0\x07\0\x01\x18\0\xc6\x33\x64");
    }
    packet
}

const ORIGIN_AT: usize = HEADER_BYTES + 4;

/// `count` MX records with a hole each: `10 mail.<origin>`.
fn mail(count: usize) -> Rrset {
    let rdata = vec![&b"\0\x0a\x04mail\x01a\0"[..]; count];
    Rrset::new(Rtype::MX, 60, b"\x01a\0", rdata)
}

fn glue(count: usize) -> OwnedRrset {
    let rrset = Rrset::new(Rtype::A, 60, b"\x01a\0", vec![&b"\xc6\x33\x64\x01"[..]; count]);
    OwnedRrset { owner_prefix: b"\x04mail".as_slice().into(), rrset }
}

fn write(packet: &[u8], limit: usize, fill: impl FnOnce(&mut Response)) -> (Vec<u8>, Message) {
    let preamble = Query::parse(packet, &mut NameRoom::new()).unwrap().preamble;
    let mut out = vec![0xee; limit.max(512)];
    let mut response = Response::new(&mut out, limit, packet, &preamble);
    response.set_origin(ORIGIN_AT);
    fill(&mut response);
    let length = response.finish(&preamble, true, Rcode::NOERROR, 17);
    out.truncate(length);
    let message = Message::from_vec(&out).unwrap();
    (out, message)
}

#[test]
fn the_header_and_the_question_are_echoed_with_their_case() {
    let (out, message) = write(&packet(false), 512, |_| ());
    assert_eq!(out[12..], packet(false)[12..]);
    assert_eq!(message.id, 0xabcd);
    assert!(message.metadata.authoritative && message.metadata.recursion_desired);
    // RFC 4035 §3.1.6.
    assert!(!message.metadata.checking_disabled && !message.metadata.authentic_data);
    assert!(!message.metadata.recursion_available && !message.metadata.truncation);
}

#[test]
fn holes_are_filled_with_pointers_to_the_origin() {
    let (_, message) = write(&packet(false), 512, |response| {
        response.require(Section::Answer, QNAME_POINTER, &mail(2));
        response.offer_owned(Section::Additional, &glue(2));
    });
    let lines: Vec<String> = message.answers.iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["www.Example.com. 60 IN MX 10 mail.Example.com."; 2]);
    let lines: Vec<String> = message.additionals.iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["mail.Example.com. 60 IN A 198.51.100.1"; 2]);
}

#[test]
fn the_opt_record_echoes_the_client_subnet() {
    let (out, message) = write(&packet(true), 1232, |_| ());
    let edns = message.edns.unwrap();
    assert_eq!((edns.max_payload(), edns.version()), (1232, 0));
    assert!(edns.flags().dnssec_ok);
    assert!(out.ends_with(b"\0\x08\0\x07\0\x01\x18\x11\xc6\x33\x64"));
    let subnet = ClientSubnet { address: [198, 51, 100, 0].into(), source: 24 };
    let preamble = Query::parse(&packet(true), &mut NameRoom::new()).unwrap().preamble;
    assert_eq!(preamble.edns.unwrap().subnet, Some(subnet));
}

/// Header and question are 33 bytes, an MX record is 21, and a glue record 21 or, after the first, 16.
#[test]
fn an_rrset_is_whole_or_missing() {
    for (edns, mails, glues, answers, additionals, truncated) in [
        (false, 22, 0, 22, 0, false),
        (false, 23, 0, 0, 0, true),
        // The OPT record of 22 bytes takes the place of a record and a half, and stays.
        (true, 21, 0, 21, 0, false),
        (true, 22, 0, 0, 0, true),
        // What may be missing does not truncate.
        (false, 22, 1, 22, 0, false),
        (false, 21, 3, 21, 0, false),
        (false, 21, 2, 21, 2, false),
        // Behind a truncation nothing follows, though it would fit.
        (false, 23, 1, 0, 0, true),
    ] {
        let (out, message) = write(&packet(edns), 512, |response| {
            response.require(Section::Answer, QNAME_POINTER, &mail(mails));
            if glues > 0 {
                response.offer_owned(Section::Additional, &glue(glues));
            }
        });
        let what = format!("edns {edns}, {mails} mails, {glues} glue records");
        assert!(out.len() <= 512, "{what}");
        assert_eq!(message.answers.len(), answers, "{what}");
        assert_eq!(message.additionals.len(), additionals, "{what}");
        assert_eq!(message.metadata.truncation, truncated, "{what}");
        assert_eq!(message.edns.is_some(), edns, "{what}");
    }
}

#[test]
fn what_must_not_be_missing_truncates_in_every_section() {
    let (_, message) = write(&packet(false), 512, |response| {
        response.require_owned(Section::Authority, &glue(20));
        response.require_owned(Section::Additional, &glue(20));
    });
    assert_eq!((message.authorities.len(), message.additionals.len()), (20, 0));
    assert!(message.metadata.truncation);
    let (_, message) = write(&packet(false), 512, |response| {
        response.require_rdata(QNAME_POINTER, Rtype::A, 60, [[198, 51, 100, 1]; 50].into_iter());
        assert_eq!(response.require_record(QNAME_POINTER, Rtype::TXT, 60, b"\x01a"), None);
    });
    assert!(message.metadata.truncation && message.answers.is_empty());
}

#[test]
fn an_owner_out_of_reach_of_pointers_is_repeated() {
    let (_, message) = write(&packet(false), 65535, |response| {
        response.require(Section::Answer, QNAME_POINTER, &mail(900));
        response.require_owned(Section::Additional, &glue(3));
    });
    assert!(!message.metadata.truncation);
    assert!(message.additionals.iter().all(|record| record.name.to_ascii() == "mail.Example.com."));
}

#[test]
fn an_alias_continues_at_its_target() {
    let (_, message) = write(&packet(false), 512, |response| {
        let target = b"\x01a\x07example\x03net\0";
        let start = response.require_record(QNAME_POINTER, Rtype::CNAME, 60, target).unwrap();
        let owner = rdata_pointer(start).unwrap();
        response.require_rdata(owner, Rtype::A, 30, [[198, 51, 100, 7]].into_iter());
    });
    let lines: Vec<String> = message.answers.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        ["www.Example.com. 60 IN CNAME a.example.net.", "a.example.net. 30 IN A 198.51.100.7",]
    );
    assert_eq!(rdata_pointer(0x3fff), None);
}

proptest! {
    #[test]
    fn whatever_is_written_stays_within_the_limit_and_can_be_read(
        edns: bool, limit in 512usize..1300, sizes in prop::collection::vec((0u8..4, 1usize..40), 0..12),
    ) {
        let (out, message) = write(&packet(edns), limit, |response| {
            for (kind, count) in sizes {
                match kind {
                    0 => drop(response.require(Section::Answer, QNAME_POINTER, &mail(count))),
                    1 => drop(response.require_owned(Section::Answer, &glue(count))),
                    2 => response.offer_owned(Section::Answer, &glue(count)),
                    _ => {
                        let rdata = (0..count).map(|_| [127, 0, 0, 1]);
                        response.require_rdata(QNAME_POINTER, Rtype::A, 1, rdata);
                    }
                }
            }
        });
        prop_assert!(out.len() <= limit);
        prop_assert_eq!(message.edns.is_some(), edns);
    }
}

#[test]
fn an_extended_error_takes_no_room_from_records() {
    for (edns, mails, answers, said) in [
        (true, 1, 1, true),
        (false, 1, 1, false),
        // 21 records leave 16 bytes, enough for an option of 6.
        (true, 21, 21, true),
        (true, 22, 0, true),
    ] {
        let (out, message) = write(&packet(edns), 512, |response| {
            response.require(Section::Answer, QNAME_POINTER, &mail(mails));
            response.set_extended_error(ExtendedError::STALE_ANSWER);
        });
        assert_eq!(message.answers.len(), answers);
        assert_eq!(out.ends_with(&[0, 15, 0, 2, 0, 3]), said, "edns {edns}, {mails} mails");
    }
}

#[test]
fn where_there_is_no_room_an_extended_error_is_left_out() {
    // Header, question, 21 MX records and OPT, and room for one byte less than the option.
    let limit = 33 + 21 * 25 + 22;
    for (spare, said) in [(5, false), (6, true)] {
        let (out, message) = write(&packet(true), limit + spare, |response| {
            response.require(Section::Answer, QNAME_POINTER, &mail(25));
            response.set_extended_error(ExtendedError::NOT_READY);
        });
        assert_eq!(message.answers.len(), 25, "{spare}");
        assert_eq!(out.ends_with(&[0, 15, 0, 2, 0, 14]), said, "{spare}");
    }
}

#[test]
fn the_name_server_identifier_has_its_room_kept() {
    for (nsid, answers) in [(&b"one"[..], 21), (b"a-longer-name", 0)] {
        let preamble = Query::parse(&packet(true), &mut NameRoom::new()).unwrap().preamble;
        let mut out = vec![0xee; 512];
        let mut response = Response::new(&mut out, 512, &packet(true), &preamble);
        response.set_origin(ORIGIN_AT);
        response.set_nsid(nsid);
        response.require(Section::Answer, QNAME_POINTER, &mail(21));
        response.set_extended_error(ExtendedError::NOT_READY);
        let length = response.finish(&preamble, true, Rcode::NOERROR, 0);
        let message = Message::from_vec(&out[..length]).unwrap();
        assert_eq!(message.answers.len(), answers);
        let option = [&[0, 3, 0, nsid.len() as u8], nsid, &[0, 15, 0, 2, 0, 14]].concat();
        assert!(out[..length].ends_with(&option), "{nsid:?}");
    }
}
