//! TSIG (RFC 8945): each test is named by the section it is about.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use portolan::dns::Name;
use portolan::transfer::tsig::{self, Invalid};
use portolan::transfer::{Algorithm, ClientSequence, Key};

use super::asking::{ask_tcp, ask_udp};
use super::support::{Server, dig, needs};

/// The bytes of `SECRET`.
const RAW: &[u8] = b"0123456789abcdef0123456789abcdef";
const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

fn start() -> Server {
    let files = Server::files(&format!("[keys.\"k.example\"]\nsecret = \"{SECRET}\"\n"));
    let zone = "origin = \"example.com.\"\nrecords = \"\"\"\n@ SOA ns1 h 7 2h 15m 2w 60\n@ NS ns1\n\
                @ NS ns.example.net.\nns1 A 198.51.100.53\nbig TXT \"{x}\" \"{x}\"\n\"\"\"\n";
    files.write("zones/example.com.toml", &zone.replace("{x}", &"x".repeat(230)));
    files.start()
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

fn key() -> Arc<Key> {
    Arc::new(Key::new("k.example.".parse().unwrap(), Algorithm::Sha256, RAW))
}

/// A query for `name`, of type SOA or TXT.
fn query(name: &str, qtype: u8) -> Vec<u8> {
    // `ask_udp` gives the first question this id; the signature covers it.
    let mut packet = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    packet.extend(name.parse::<Name>().unwrap().as_wire());
    packet.extend([0, qtype, 0, 1]);
    packet
}

/// The answers over UDP and TCP.
fn ask(server: SocketAddr, packet: &[u8]) -> [Vec<u8>; 2] {
    let udp = ask_udp(server, &[packet.to_vec()]).pop().flatten();
    [udp, ask_tcp(server, packet)].map(|answer| answer.expect("an answer"))
}

fn rcode(answer: &[u8]) -> u8 {
    answer[3] & 0xf
}

/// The error in the TSIG record and the length of its MAC; none without such a record.
fn tsig_of(answer: &[u8]) -> Option<(u16, usize)> {
    let start = tsig::find(answer).unwrap()?;
    // Name, head, algorithm, time and fudge come before.
    let name_end = answer[start..].iter().position(|byte| *byte == 0)? + start + 1;
    let algorithm_at = name_end + 10;
    let algorithm_end =
        answer[algorithm_at..].iter().position(|byte| *byte == 0)? + algorithm_at + 1;
    let word = |at: usize| u16::from_be_bytes([answer[at], answer[at + 1]]);
    let mac_bytes = usize::from(word(algorithm_end + 8));
    Some((word(algorithm_end + 10 + mac_bytes + 2), mac_bytes))
}

#[test]
fn section_5_1_the_record_comes_last_and_once() {
    let server = start();
    let mut signed = query("example.com.", 6);
    ClientSequence::request(&key(), &mut signed, now());
    let start = tsig::find(&signed).unwrap().unwrap();
    let count = |packet: &mut Vec<u8>| packet[11] += 1;
    let mut twice = [&signed[..], &signed[start..]].concat();
    count(&mut twice);
    let mut before_opt = [&signed[..], &[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]].concat();
    count(&mut before_opt);
    for packet in [twice, before_opt] {
        for answer in ask(server.dns(), &packet) {
            assert_eq!((rcode(&answer), tsig_of(&answer)), (1, None));
        }
    }
}

#[test]
fn section_5_2_1_an_unknown_key_is_bad_and_the_refusal_is_not_signed() {
    let server = start();
    for (name, algorithm) in
        [("other.example.", Algorithm::Sha256), ("k.example.", Algorithm::Sha1)]
    {
        let other = Key::new(name.parse().unwrap(), algorithm, RAW);
        let mut packet = query("example.com.", 6);
        let mut client = ClientSequence::request(&Arc::new(other), &mut packet, now());
        for mut answer in ask(server.dns(), &packet) {
            assert_eq!((rcode(&answer), tsig_of(&answer)), (9, Some((17, 0))));
            assert!(answer.len() <= packet.len(), "nothing is amplified");
            assert_eq!(client.response(&mut answer, now()), Err(Invalid::TheyKnowNoKey));
        }
    }
}

#[test]
fn section_5_2_2_a_wrong_mac_is_bad_and_the_refusal_is_not_signed() {
    let server = start();
    let wrong = Key::new("k.example.".parse().unwrap(), Algorithm::Sha256, b"another secret");
    let mut packet = query("example.com.", 6);
    let mut client = ClientSequence::request(&Arc::new(wrong), &mut packet, now());
    for mut answer in ask(server.dns(), &packet) {
        assert_eq!((rcode(&answer), tsig_of(&answer)), (9, Some((16, 0))));
        assert_eq!(client.response(&mut answer, now()), Err(Invalid::TheySayBadMac));
    }
}

#[test]
fn section_5_2_2_1_a_mac_cut_short_is_refused_under_a_signature_and_one_cut_too_short_is_malformed()
{
    let server = start();
    let mut whole = query("example.com.", 6);
    let client = ClientSequence::request(&key(), &mut whole, now());
    let start = tsig::find(&whole).unwrap().unwrap();
    let rdata_at = start + b"\x01k\x07example\0".len() + 10;
    let mac_at = rdata_at + b"\x0bhmac-sha256\0".len() + 10;
    for (left, due) in [(31, 9), (16, 9), (15, 1), (0, 1)] {
        let mut cut = whole.clone();
        cut.drain(mac_at + left..mac_at + 32);
        cut[mac_at - 1] = left as u8;
        cut[rdata_at - 1] -= 32 - left as u8;
        for mut answer in ask(server.dns(), &cut) {
            assert_eq!(rcode(&answer), due, "{left}");
            match due {
                // BADTRUNC; the signature covers the request's MAC as it came, cut short.
                9 => assert_eq!(tsig_of(&answer), Some((22, 32))),
                _ => assert_eq!(tsig_of(&answer), None),
            }
            assert!(client.clone().response(&mut answer, now()).is_err());
        }
    }
}

#[test]
fn section_5_2_3_a_request_of_another_time_is_refused_under_a_signature_that_tells_ours() {
    let server = start();
    for then in [now() - 1000, now() + 1000] {
        let mut packet = query("example.com.", 6);
        let client = ClientSequence::request(&key(), &mut packet, then);
        for mut answer in ask(server.dns(), &packet) {
            assert_eq!((rcode(&answer), tsig_of(&answer)), (9, Some((18, 32))));
            let heard = client.clone().response(&mut answer, then);
            assert_eq!(heard, Err(Invalid::TheySayBadTime));
        }
    }
    for then in [now() - 290, now() + 290] {
        let mut packet = query("example.com.", 6);
        let client = ClientSequence::request(&key(), &mut packet, then);
        for mut answer in ask(server.dns(), &packet) {
            assert_eq!(client.clone().response(&mut answer, now()), Ok(()));
            assert_eq!(rcode(&answer), 0);
        }
    }
    if !needs("an old signature by dig", &["dig"]) {
        return;
    }
    let question =
        format!("example.com SOA -y hmac-sha256:k.example:{SECRET} +fuzztime=1700000000");
    let text = dig(server.dns(), &question).text;
    assert!(text.contains("clocks are unsynchronized") && text.contains("BADTIME"), "{text}");
}

#[test]
fn section_5_3_every_answer_to_a_signed_query_is_signed_whatever_it_says() {
    let server = start();
    for (name, qtype, due) in [
        ("example.com.", 6, 0),
        ("none.example.com.", 6, 3),
        ("example.net.", 6, 5),
        ("example.com.", 41, 1),
        ("example.com.", 252, 5),
    ] {
        let mut packet = query(name, qtype);
        let client = ClientSequence::request(&key(), &mut packet, now());
        for mut answer in ask(server.dns(), &packet) {
            assert_eq!(client.clone().response(&mut answer, now()), Ok(()), "{name}");
            assert_eq!(rcode(&answer), due, "{name}");
        }
    }
}

#[test]
fn section_5_3_1_an_answer_that_does_not_fit_beside_the_signature_is_truncated_and_signed() {
    let server = start();
    let plain = query("big.example.com.", 16);
    let mut packet = plain.clone();
    let client = ClientSequence::request(&key(), &mut packet, now());
    let [mut udp, mut tcp] = ask(server.dns(), &packet);
    assert!(udp.len() <= 512);
    client.clone().response(&mut udp, now()).unwrap();
    client.clone().response(&mut tcp, now()).unwrap();
    let is_truncated = |answer: &[u8]| (answer[2] & 2 != 0, answer[7]);
    assert_eq!((is_truncated(&udp), is_truncated(&tcp)), ((true, 0), (false, 1)));
    let [udp, _] = ask(server.dns(), &plain);
    assert_eq!(is_truncated(&udp), (false, 1), "without a signature it fits");
}
