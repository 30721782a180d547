//! A query has one question (RFC 9619), sent as bytes.

use crate::asking::{ask_tcp, ask_udp};
use crate::support::Server;

const ZONE: &str = r#"
origin  = "example.com."
records = """
@ SOA ns1 hostmaster 1 2h 15m 2w 5m
@ NS  ns1
ns1 A 198.51.100.53
"""
"#;

const FORMERR: u8 = 1;
const NOTIMP: u8 = 4;

/// A message with this opcode and count of questions, of which this many follow.
fn message(opcode: u8, count: u16, questions: usize) -> Vec<u8> {
    let [c0, c1] = count.to_be_bytes();
    let mut message = vec![0, 7, opcode << 3, 0, c0, c1, 0, 0, 0, 0, 0, 0];
    for _ in 0..questions {
        message.extend(b"\x07example\x03com\0\0\x06\0\x01");
    }
    message
}

#[test]
fn section_4_a_query_with_another_number_of_questions_than_one_is_a_format_error() {
    let server = Server::files("").zone("example.com.toml", ZONE).start();
    for (count, questions) in [(2, 2), (2, 1), (0, 0), (0, 1), (3, 2), (65535, 1)] {
        let asked = message(0, count, questions);
        let udp = ask_udp(server.dns(), std::slice::from_ref(&asked)).remove(0);
        for answer in [udp.expect("an answer"), ask_tcp(server.dns(), &asked).expect("an answer")] {
            assert_eq!(answer[3] & 0xf, FORMERR, "{count} {questions}");
            assert_eq!(answer[2..4], [0x80, FORMERR], "{count} {questions}: no flag is set");
            assert_eq!(answer[4..], [0; 8], "{count} {questions}: the sections are empty");
        }
    }
}

#[test]
fn the_number_of_questions_matters_to_no_opcode_that_is_not_known() {
    let server = Server::files("").zone("example.com.toml", ZONE).start();
    for (count, questions) in [(0, 0), (1, 1), (2, 2), (65535, 0)] {
        let asked = message(6, count, questions);
        let answer = ask_udp(server.dns(), &[asked]).remove(0).expect("an answer");
        assert_eq!(answer[2..4], [0x80 | 6 << 3, NOTIMP], "{count} {questions}");
    }
}
