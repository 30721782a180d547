//! What comes first is gathered, and what belongs to the backend is not lost.

use super::*;

const LINE: &[u8] = b"PROXY TCP4 198.51.100.7 203.0.113.10 51234 443\r\n";
/// A hello with the server name `a.example`.
const HELLO: &[u8] = b"\x16\x03\x01\0\x41\x01\0\0\x3d\x03\x03\
    ................................\0\0\x02\x13\x01\x01\0\0\x12\0\0\0\x0e\0\x0c\0\0\x09a.example";

fn preface(proxy_header: bool, server_name: bool) -> Preface {
    Preface::new(Awaited { proxy_header, server_name })
}

/// The pieces, and what is known after the last of them.
#[track_caller]
fn after(mut preface: Preface, pieces: &[&[u8]]) -> Hello {
    let (last, first) = pieces.split_last().unwrap();
    for piece in first {
        assert_eq!(preface.take(piece), Ok(Progress::Waits));
    }
    match preface.take(last) {
        Ok(Progress::Done(hello)) => hello,
        other => panic!("{other:?}"),
    }
}

#[test]
fn both_may_come_in_any_pieces_and_the_hello_goes_to_the_backend() {
    let whole = [LINE, HELLO, b"more"].concat();
    let expected = after(preface(true, true), &[&whole]);
    assert_eq!(expected.header.endpoints.unwrap().source.port(), 51234);
    assert_eq!(expected.server_name.as_deref(), Some("a.example"));
    assert_eq!(expected.bytes, [HELLO, b"more"].concat());
    let until = LINE.len() + HELLO.len();
    for cut in 1..until {
        let hello = after(preface(true, true), &[&whole[..cut], &whole[cut..until]]);
        assert_eq!((hello.server_name, hello.bytes), (Some("a.example".into()), HELLO.to_vec()));
    }
    let one_by_one: Vec<&[u8]> = whole[..until].chunks(1).collect();
    assert_eq!(after(preface(true, true), &one_by_one).server_name, expected.server_name);
}

#[test]
fn what_is_not_awaited_is_not_looked_for() {
    let hello = after(preface(false, true), &[LINE]);
    assert_eq!(hello, Hello { bytes: LINE.to_vec(), ..Hello::default() });
    let hello = after(preface(true, false), &[LINE]);
    assert_eq!((hello.server_name, hello.bytes), (None, Vec::new()));
    assert!(hello.header.endpoints.is_some());
}

#[test]
fn a_client_may_say_nothing_of_the_server_but_must_say_whom_it_stands_for() {
    let mut silent = preface(false, true);
    assert_eq!(silent.take(&HELLO[..20]), Ok(Progress::Waits));
    assert_eq!(silent.give_up().map(|hello| hello.bytes), Ok(HELLO[..20].to_vec()));
    let mut silent = preface(true, true);
    assert_eq!(silent.take(&LINE[..20]), Ok(Progress::Waits));
    assert_eq!(silent.give_up(), Err(Malformed::Absent));
    assert_eq!(preface(true, true).take(HELLO), Err(Malformed::Absent));
}
