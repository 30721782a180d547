//! Signed queries: answered like others, and never without a signature that the client can verify.

use std::sync::Arc;

use super::super::tests::fixture;
use super::super::{Transport, Verdict, respond};
use super::*;
use crate::dns::{Name, Rtype};
use crate::transfer::{Algorithm, ClientSequence, Key};

const NOW: u64 = 1_790_000_000;

fn key(algorithm: Algorithm) -> Key {
    Key::new("key.example.".parse().unwrap(), algorithm, b"0123456789abcdef0123456789abcdef")
}

fn query(name: &str, rtype: Rtype, opt: &[u8]) -> Vec<u8> {
    let mut packet = vec![0xab, 0xcd, 0, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(!opt.is_empty())];
    packet.extend(name.parse::<Name>().unwrap().as_wire());
    packet.extend([rtype.0.to_be_bytes(), [0, 1]].concat());
    packet.extend(opt);
    packet
}

fn ask(packet: &[u8], transport: Transport) -> (Outcome, Vec<u8>) {
    let keys = Algorithm::ALL.map(key).into_iter().skip(1).take(1).collect();
    let snapshot = Snapshot { keys: Arc::new(keys), ..fixture::snapshot() };
    let request =
        Request { source: [203, 0, 113, 9].into(), transport, draw: 1, unix_seconds: NOW };
    let mut out = vec![0; 1232];
    let outcome = respond(&snapshot, &request, packet, &mut out);
    out.truncate(outcome.length);
    (outcome, out)
}

const EDNS: &[u8] = b"\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00";
const VERSION_1: &[u8] = b"\x00\x00\x29\x10\x00\x00\x01\x00\x00\x00\x00";

#[test]
fn whatever_the_answer_it_is_signed_and_but_for_that_the_same() {
    for (name, rtype, opt, verdict) in [
        ("www.example.com.", Rtype::A, &[][..], Verdict::Positive),
        ("www.example.com.", Rtype::A, EDNS, Verdict::Positive),
        ("none.example.com.", Rtype::A, EDNS, Verdict::NxDomain),
        ("geo.example.com.", Rtype::A, EDNS, Verdict::Positive),
        ("example.org.", Rtype::A, EDNS, Verdict::Refused),
        ("www.example.com.", Rtype::A, VERSION_1, Verdict::BadVers),
        ("www.example.com.", Rtype::OPT, EDNS, Verdict::FormErr),
    ] {
        let plain = query(name, rtype, opt);
        let mut signed = plain.clone();
        let mut sequence =
            ClientSequence::request(&Arc::new(key(Algorithm::Sha256)), &mut signed, NOW);
        for transport in [Transport::Udp, Transport::Tcp] {
            let (_, expected) = ask(&plain, transport);
            let (outcome, mut response) = ask(&signed, transport);
            assert_eq!(outcome.verdict, verdict, "{name}");
            sequence.clone().response(&mut response, NOW).unwrap();
            assert_eq!(response, expected, "{name}");
        }
        sequence.response(&mut ask(&signed, Transport::Udp).1, NOW).unwrap();
    }
}

#[test]
fn room_for_the_signature_is_kept_and_what_does_not_fit_beside_it_is_truncated() {
    let mut truncated = 0;
    for n in 1..=60 {
        let label = format!("{}.", "n".repeat(n));
        let mut packet = query(&format!("{label}{label}{label}wild.example.com."), Rtype::TXT, &[]);
        let mut sequence =
            ClientSequence::request(&Arc::new(key(Algorithm::Sha256)), &mut packet, NOW);
        let (outcome, mut response) = ask(&packet, Transport::Udp);
        assert!(response.len() <= 512, "{n}");
        sequence.response(&mut response, NOW).unwrap();
        let is_truncated = response[2] & 2 != 0;
        assert_eq!(outcome.is_truncated, is_truncated);
        let answers = u16::from_be_bytes([response[6], response[7]]);
        assert_eq!(answers == 0, is_truncated);
        truncated += usize::from(is_truncated);
    }
    assert!(truncated == 0, "an answer of one short record fits");
    let mut packet = query("long.example.com.", Rtype::TXT, &[]);
    let mut sequence = ClientSequence::request(&Arc::new(key(Algorithm::Sha256)), &mut packet, NOW);
    let (outcome, mut response) = ask(&packet, Transport::Udp);
    sequence.response(&mut response, NOW).unwrap();
    assert!(outcome.is_truncated && response[2] & 2 != 0);
}

#[test]
fn who_has_no_key_of_ours_is_not_answered() {
    let mut packet = query("www.example.com.", Rtype::A, EDNS);
    ClientSequence::request(&Arc::new(key(Algorithm::Sha512)), &mut packet, NOW);
    let (outcome, response) = ask(&packet, Transport::Udp);
    assert_eq!(outcome.verdict, Verdict::NotAuth);
    assert_eq!((response[3] & 0xf, &response[6..10]), (9, &[0; 4][..]));
    assert!(response.len() <= packet.len(), "nothing is amplified");
    assert!(response.ends_with(&[0xab, 0xcd, 0, 17, 0, 0]), "BADKEY");
}
