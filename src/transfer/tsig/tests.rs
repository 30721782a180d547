//! TSIG against another implementation, and against what goes wrong.

use std::sync::Arc;

use domain::base::{Message, MessageBuilder, Name as DomainName, Rtype as DomainRtype};
use domain::rdata::tsig::Time48;
use domain::tsig as judge;
use proptest::prelude::*;

use super::record::{Record, count_additional, error};
use super::*;
use crate::dns::{Name, Rcode};

const NOW: u64 = 1_790_000_000;
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn key(algorithm: Algorithm) -> Key {
    Key::new("Xfr.Example.COM.".parse::<Name>().unwrap(), algorithm, SECRET)
}

fn keys(algorithm: Algorithm) -> Keys {
    [key(algorithm)].into_iter().collect()
}

fn judges_key(algorithm: Algorithm) -> judge::Key {
    let name = "xfr.example.com.".parse().unwrap();
    let algorithm = algorithm.label().parse().unwrap();
    judge::Key::new(algorithm, SECRET, name, None, None).unwrap()
}

fn judges_time(seconds: u64) -> Time48 {
    Time48::from_u64(seconds)
}

/// A query, or the response to it, with this many bytes behind the question.
fn message(id: u16, flags: u16) -> Vec<u8> {
    let mut message = Vec::new();
    for word in [id, flags, 1, 0, 0, 0] {
        message.extend_from_slice(&word.to_be_bytes());
    }
    message.extend_from_slice(b"\x07example\x03com\0\0\x06\0\x01");
    message
}

/// Signs a response as the server does.
fn signed(sequence: &mut ServerSequence, response: &[u8], now: u64) -> Vec<u8> {
    let mut out = response.to_vec();
    out.resize(response.len() + sequence.record_bytes(), 0);
    let length = sequence.sign(&mut out, response.len(), now);
    assert_eq!(length, out.len());
    out
}

fn verified(keys: &Keys, packet: &[u8], now: u64) -> Result<Verified, Refused> {
    let start = find(packet).unwrap().unwrap();
    verify(keys, packet, start, now)
}

/// The error in the TSIG record of a refusal, and how long its MAC is.
fn error_of(refused: Refused, query: &[u8]) -> (Rcode, u16, usize) {
    let rcode = refused.rcode();
    let response = message(u16::from_be_bytes([query[0], query[1]]), 0x8000 | rcode.0);
    let mut out = [response.clone(), vec![0; 600]].concat();
    let length = refused.complete(&mut out, response.len());
    out.truncate(length);
    let start = find(&out).unwrap().unwrap();
    let record = Record::read(&out, start).unwrap();
    (rcode, record.variables.error, record.mac.len())
}

#[test]
fn the_other_implementation_verifies_our_requests_and_we_its_responses() {
    for algorithm in Algorithm::ALL {
        let mut packet = message(0x1234, 0);
        let mut ours = ClientSequence::request(&Arc::new(key(algorithm)), &mut packet, NOW);
        let mut theirs = Message::from_octets(packet).unwrap();
        let store = judges_key(algorithm);
        let transaction =
            judge::ServerSequence::request(&store, &mut theirs, judges_time(NOW + 299));
        let mut transaction = transaction.unwrap().unwrap();
        for n in 0..5 {
            let mut builder = MessageBuilder::new_vec().question();
            builder.header_mut().set_id(0x1234);
            builder.header_mut().set_qr(true);
            if n == 0 {
                let name: DomainName<Vec<u8>> = "example.com".parse().unwrap();
                builder.push((name, DomainRtype::AXFR)).unwrap();
            }
            let mut builder = builder.additional();
            transaction.answer(&mut builder, judges_time(NOW + n)).unwrap();
            let mut response = builder.finish();
            let before = response.len();
            assert_eq!(ours.response(&mut response, NOW), Ok(()), "{algorithm:?} {n}");
            assert!(response.len() < before && find(&response) == Ok(None));
        }
        assert_eq!(ours.finish(), Ok(()));
    }
}

#[test]
fn we_verify_the_other_implementations_requests_and_it_our_responses() {
    for algorithm in Algorithm::ALL {
        let mut builder = MessageBuilder::new_vec().question();
        builder.header_mut().set_id(77);
        let name: DomainName<Vec<u8>> = "example.com".parse().unwrap();
        builder.push((name, DomainRtype::AXFR)).unwrap();
        let unsigned = builder.as_slice().to_vec();
        let mut builder = builder.additional();
        let theirs = judges_key(algorithm);
        let mut theirs =
            judge::ClientSequence::request(theirs, &mut builder, judges_time(NOW)).unwrap();
        let packet = builder.finish();
        let Verified { message: query, mut sequence } =
            verified(&keys(algorithm), &packet, NOW - 300).unwrap();
        assert_eq!(query, unsigned);
        for n in 0..5 {
            let response = signed(&mut sequence, &message(77, 0x8000), NOW + n);
            let mut response = Message::from_octets(response).unwrap();
            theirs.answer(&mut response, judges_time(NOW)).unwrap();
        }
        theirs.done().unwrap();
    }
}

#[test]
fn an_unknown_key_costs_no_cryptography_and_is_named_in_an_unsigned_refusal() {
    let mut packet = message(1, 0);
    ClientSequence::request(&Arc::new(key(Algorithm::Sha256)), &mut packet, NOW);
    for unknown in [Keys::default(), keys(Algorithm::Sha512)] {
        let refused = verified(&unknown, &packet, NOW).unwrap_err();
        assert_eq!(error_of(refused, &packet), (Rcode::NOTAUTH, error::BADKEY, 0));
    }
}

#[test]
fn a_wrong_mac_is_refused_without_a_signature() {
    let other = Key::new("xfr.example.com".parse().unwrap(), Algorithm::Sha256, b"other");
    let mut packet = message(1, 0);
    let mut client = ClientSequence::request(&Arc::new(other), &mut packet, NOW);
    let refused = verified(&keys(Algorithm::Sha256), &packet, NOW).unwrap_err();
    let response = message(1, 0x8009);
    let mut out = [response.clone(), vec![0; 600]].concat();
    let length = refused.complete(&mut out, response.len());
    out.truncate(length);
    assert_eq!(client.response(&mut out, NOW), Err(Invalid::TheySayBadMac));
}

#[test]
fn a_request_from_another_time_is_refused_under_a_signature_that_tells_ours() {
    for late in [NOW + 301, NOW - 301] {
        let key = Arc::new(key(Algorithm::Sha256));
        let mut packet = message(1, 0);
        let mut client = ClientSequence::request(&key, &mut packet, NOW);
        let refused = verified(&keys(Algorithm::Sha256), &packet, late).unwrap_err();
        let response = message(1, 0x8009);
        let mut out = [response.clone(), vec![0; 600]].concat();
        let length = refused.complete(&mut out, response.len());
        out.truncate(length);
        let record = Record::read(&out, find(&out).unwrap().unwrap()).unwrap();
        assert_eq!((record.variables.time, record.variables.error), (NOW, error::BADTIME));
        assert_eq!(record.variables.other, &late.to_be_bytes()[2..]);
        assert_eq!(client.response(&mut out, NOW), Err(Invalid::TheySayBadTime));
    }
}

#[test]
fn the_signature_of_a_late_refusal_covers_what_the_rfc_says() {
    let key = Arc::new(key(Algorithm::Sha256));
    let mut packet = message(1, 0);
    ClientSequence::request(&key, &mut packet, NOW);
    let request = Record::read(&packet, find(&packet).unwrap().unwrap()).unwrap();
    let refused = verified(&keys(Algorithm::Sha256), &packet, NOW + 1000).unwrap_err();
    let response = message(1, 0x8009);
    let mut out = [response.clone(), vec![0; 600]].concat();
    let length = refused.complete(&mut out, response.len());
    out.truncate(length);
    let record = Record::read(&out, find(&out).unwrap().unwrap()).unwrap();
    // RFC 8945 §4.3.1 to §4.3.3 and §5.3.2, spelt out.
    let signed = [
        &[0, 32][..],
        request.mac,
        &response,
        b"\x03xfr\x07example\x03com\0",
        &[0, 255, 0, 0, 0, 0],
        b"\x0bhmac-sha256\0",
        &NOW.to_be_bytes()[2..],
        &[1, 44, 0, 18, 0, 6],
        &(NOW + 1000).to_be_bytes()[2..],
    ]
    .concat();
    let hmac = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET);
    assert_eq!(ring::hmac::verify(&hmac, &signed, record.mac), Ok(()));
}

/// A signed request whose MAC has these many bytes.
fn with_mac_bytes(length: usize) -> Vec<u8> {
    let key = Arc::new(key(Algorithm::Sha256));
    let mut packet = message(1, 0);
    ClientSequence::request(&key, &mut packet, NOW);
    let start = find(&packet).unwrap().unwrap();
    let record = Record::read(&packet, start).unwrap();
    let mut mac = record.mac.to_vec();
    mac.resize(length, 0);
    let (name, id) = (record.name.clone(), record.original_id);
    let (algorithm, variables) = (record.algorithm, record.variables);
    let record = record::write(name.as_wire(), algorithm, &variables, &mac, id);
    [&packet[..start], &record].concat()
}

#[test]
fn a_mac_cut_short_is_refused_as_the_rfc_says() {
    for (length, due) in [
        (32, None),
        (31, Some((Rcode::NOTAUTH, error::BADTRUNC, 32))),
        (16, Some((Rcode::NOTAUTH, error::BADTRUNC, 32))),
    ] {
        let packet = with_mac_bytes(length);
        let refused = verified(&keys(Algorithm::Sha256), &packet, NOW).err();
        assert_eq!(refused.map(|refused| error_of(refused, &packet)), due, "{length}");
    }
    for length in [0, 9, 15, 33, 100] {
        let refused = verified(&keys(Algorithm::Sha256), &with_mac_bytes(length), NOW);
        assert_eq!(refused.unwrap_err().rcode(), Rcode::FORMERR, "{length}");
    }
}

#[test]
fn a_record_that_is_no_tsig_record_is_malformed() {
    let key = Arc::new(key(Algorithm::Sha256));
    let mut packet = message(1, 0);
    ClientSequence::request(&key, &mut packet, NOW);
    let start = find(&packet).unwrap().unwrap();
    let class_at = start + key.name().as_wire().len() + 2;
    for (at, value) in [(class_at + 1, 1), (class_at + 5, 1), (packet.len() - 1, 1)] {
        let mut packet = packet.clone();
        packet[at] = value;
        let refused = verify(&keys(Algorithm::Sha256), &packet, start, NOW).unwrap_err();
        assert_eq!(refused.rcode(), Rcode::FORMERR);
    }
    let twice = [&packet[..], &packet[start..]].concat();
    let mut twice = twice;
    count_additional(&mut twice, 1);
    assert!(find(&twice).is_err());
}

#[test]
fn an_algorithms_name_may_be_in_any_case_and_the_id_another_on_the_way() {
    let key = Arc::new(key(Algorithm::Sha256));
    let mut packet = message(1, 0);
    ClientSequence::request(&key, &mut packet, NOW);
    let at = packet.windows(4).position(|bytes| bytes == b"hmac").unwrap();
    packet[at..at + 4].copy_from_slice(b"HMAC");
    packet[..2].copy_from_slice(&[9, 9]);
    let verified = verified(&keys(Algorithm::Sha256), &packet, NOW).unwrap();
    assert_eq!(verified.message[..2], [9, 9]);
}

#[test]
fn of_a_stream_the_first_and_the_last_and_each_hundredth_must_be_signed() {
    let key = Arc::new(key(Algorithm::Sha256));
    let mut packet = message(5, 0);
    let client = ClientSequence::request(&key, &mut packet, NOW);
    let server = verified(&keys(Algorithm::Sha256), &packet, NOW).unwrap().sequence;
    let unsigned = message(5, 0x8000);
    assert_eq!(client.clone().response(&mut unsigned.clone(), NOW), Err(Invalid::Unsigned));
    assert_eq!(client.finish(), Err(Invalid::Unsigned));
    let (mut client, mut server) = (client, server);
    let mut first = signed(&mut server, &unsigned, NOW);
    client.response(&mut first, NOW).unwrap();
    for _ in 0..99 {
        assert_eq!(client.response(&mut unsigned.clone(), NOW), Ok(()));
        assert_eq!(client.finish(), Err(Invalid::TooManyUnsigned));
    }
    let late = client.clone().response(&mut unsigned.clone(), NOW);
    assert_eq!(late, Err(Invalid::TooManyUnsigned));
    // What was not signed itself is covered by the next signature: this one leaves it out.
    let mut last = signed(&mut server, &unsigned, NOW);
    assert_eq!(client.response(&mut last, NOW), Err(Invalid::BadMac));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reading_panic(bytes: Vec<u8>, start in 0usize..40) {
        let _ = find(&bytes);
        let _ = verify(&keys(Algorithm::Sha1), &bytes, start, NOW).map_err(|refused| {
            let mut out = vec![0; 700];
            refused.complete(&mut out, 40)
        });
    }

    #[test]
    fn whatever_is_changed_on_the_way_is_noticed(at: prop::sample::Index, bit in 0u8..8) {
        let key = Arc::new(key(Algorithm::Sha256));
        let mut packet = message(0x0102, 0);
        let mut client = ClientSequence::request(&key, &mut packet, NOW);
        let query = packet.len();
        let mut sequence = verified(&keys(Algorithm::Sha256), &packet, NOW).unwrap().sequence;
        let mut response = signed(&mut sequence, &message(0x0102, 0x8000), NOW);
        let all = query + response.len();
        let at = at.index(all);
        // The id may change on the way, and the case of names.
        let is_free = |packet: &[u8], at: usize| {
            at < 2 || (bit == 5 && packet[at].is_ascii_alphabetic() && at > 29)
        };
        if at < query {
            prop_assume!(!is_free(&packet, at));
            packet[at] ^= 1 << bit;
            let start = find(&packet);
            let is_valid = matches!(start, Ok(Some(start))
                if verify(&keys(Algorithm::Sha256), &packet, start, NOW).is_ok());
            prop_assert!(!is_valid);
        } else {
            let at = at - query;
            prop_assume!(!is_free(&response, at));
            response[at] ^= 1 << bit;
            prop_assert!(client.response(&mut response, NOW).is_err());
        }
    }
}
