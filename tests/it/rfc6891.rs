//! EDNS (RFC 6891), as bytes; each case with its section.

use crate::asking::{ask_tcp, ask_udp};
use crate::support::Server;

const ZONE: &str = r#"
origin  = "example.com."
records = """
@    SOA ns1 hostmaster 1 2h 15m 2w 5m
@    NS  ns1
ns1  A   198.51.100.53
LONG
"""
"#;

const NOERROR: u16 = 0;
const FORMERR: u16 = 1;
const BADVERS: u16 = 16;
const TC: u8 = 0x02;

/// An OPT record with this owner, size, TTL and RDATA.
fn opt(owner: &[u8], size: u16, ttl: u32, rdata: &[u8]) -> Vec<u8> {
    let length = (rdata.len() as u16).to_be_bytes();
    let head = [&size.to_be_bytes()[..], &ttl.to_be_bytes(), &length].concat();
    [owner, &[0, 41], &head, rdata].concat()
}

fn plain(size: u16) -> Vec<u8> {
    opt(&[0], size, 0, &[])
}

/// A question for `example.com. TXT`, with these records in ANSWER and in ADDITIONAL.
fn question(answer: &[Vec<u8>], additional: &[Vec<u8>]) -> Vec<u8> {
    let (answers, additionals) = (answer.len() as u8, additional.len() as u8);
    let mut message = vec![0, 7, 0, 0, 0, 1, 0, answers, 0, 0, 0, additionals];
    message.extend(b"\x07example\x03com\0\0\x10\0\x01");
    message.extend(answer.concat());
    message.extend(additional.concat());
    message
}

/// What is told of an answer: the whole response code, and the OPT record at its end if there is
/// one without options.
fn told(answer: &[u8]) -> (u16, Option<&[u8]>) {
    let opt = answer.last_chunk::<11>().filter(|opt| opt[..3] == [0, 0, 41]);
    let upper = opt.map_or(0, |opt| u16::from(opt[5]));
    (upper << 4 | u16::from(answer[3] & 0xf), opt.map(|opt| &opt[..]))
}

fn serve() -> Server {
    let long: String = (0..20).map(|n| format!("@ TXT \"{n} {}\"\n", "x".repeat(90))).collect();
    Server::files("").zone("example.com.toml", &ZONE.replace("LONG", &long)).start()
}

fn ask(server: &Server, question: Vec<u8>) -> Vec<u8> {
    ask_udp(server.dns(), &[question]).remove(0).expect("an answer")
}

#[test]
fn section_6_1_1_an_opt_record_is_answered_with_one_and_there_is_at_most_one() {
    let server = serve();
    let cases = [
        ("none", question(&[], &[]), NOERROR, false),
        ("one", question(&[], &[plain(1232)]), NOERROR, true),
        ("two", question(&[], &[plain(1232), plain(1232)]), FORMERR, true),
        ("not at the root", question(&[], &[opt(b"\x01a\0", 1232, 0, &[])]), FORMERR, false),
        ("in ANSWER", question(&[plain(1232)], &[]), FORMERR, false),
    ];
    for (what, asked, rcode, has_opt) in cases {
        let answer = ask(&server, asked);
        let (is, opt) = told(&answer);
        assert_eq!((is, opt.is_some()), (rcode, has_opt), "{what}");
        assert_eq!(answer[11], u8::from(has_opt), "{what}: nothing else in ADDITIONAL");
    }
}

#[test]
fn section_6_1_2_options_that_are_not_known_are_ignored_and_cut_ones_are_a_format_error() {
    let server = serve();
    for (options, rcode) in [
        (&[0xff, 0xfe, 0, 3, 1, 2, 3][..], NOERROR),
        (&[0xff, 0xfe, 0, 0, 0, 100, 0, 1, 9], NOERROR),
        (&[0xff, 0xfe, 0, 4, 1, 2, 3], FORMERR),
        (&[0xff, 0xfe, 0], FORMERR),
    ] {
        let answer = ask(&server, question(&[], &[opt(&[0], 1232, 0, options)]));
        let (is, opt) = told(&answer);
        assert_eq!((is, opt.is_some()), (rcode, true), "{options:?}");
    }
}

#[test]
fn section_6_1_3_and_6_1_4_a_version_and_flags_that_do_not_exist_are_not_answered_with() {
    let server = serve();
    for (ttl, rcode, flags) in [
        (0x0001_0000, BADVERS, [0, 0]),
        (0x00ff_ffff, BADVERS, [0x80, 0]),
        (0x0000_8000, NOERROR, [0x80, 0]),
        (0x0000_7fff, NOERROR, [0, 0]),
        // The upper bits of a response code mean nothing in a query.
        (0xff00_0000, NOERROR, [0, 0]),
    ] {
        let answer = ask(&server, question(&[], &[opt(&[0], 1232, ttl, &[])]));
        let (is, opt) = told(&answer);
        let opt = opt.expect("an OPT record");
        assert_eq!((is, opt[6], &opt[7..9]), (rcode, 0, &flags[..]), "{ttl:#010x}");
    }
}

#[test]
fn sections_6_2_3_to_6_2_5_the_payload_is_what_both_take_and_at_least_512() {
    let server = serve();
    for (size, limit) in
        [(None, 512), (Some(0), 512), (Some(511), 512), (Some(600), 600), (Some(65535), 1232)]
    {
        let records: Vec<_> = size.map(plain).into_iter().collect();
        let asked = question(&[], &records);
        let answer = ask(&server, asked.clone());
        assert!(answer.len() <= limit, "{size:?}: {}", answer.len());
        assert_eq!(answer[2] & TC, TC, "{size:?}: it does not fit");
        if let (_, Some(opt)) = told(&answer) {
            assert_eq!(opt[3..5], 1232u16.to_be_bytes(), "{size:?}: what we take");
        }
        // §6.2.5: for TCP the size means nothing.
        let answer = ask_tcp(server.dns(), &asked).expect("an answer");
        assert_eq!((answer[2] & TC, answer[7]), (0, 20), "{size:?}");
    }
}
