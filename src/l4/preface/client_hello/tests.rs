//! Server names are found in the hellos of TLS clients, however they are cut, and in nothing else.

use std::sync::Arc;

use proptest::prelude::*;
use rustls::pki_types::ServerName;

use super::*;

/// What a client of rustls sends first.
fn rustls_hello(name: &str) -> Vec<u8> {
    let roots = rustls::RootCertStore::empty();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_string()).unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// The body of a hello with these extensions.
fn body(extensions: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = [vec![3, 3], vec![7; 32], vec![0], vec![0, 2, 0x13, 1], vec![1, 0]].concat();
    let mut all = Vec::new();
    for (kind, value) in extensions {
        all.extend_from_slice(&kind.to_be_bytes());
        all.extend_from_slice(&prefixed(value));
    }
    body.extend_from_slice(&prefixed(&all));
    body
}

fn prefixed(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

fn names(name: &[u8]) -> Vec<u8> {
    prefixed(&[&[HOST_NAME][..], &prefixed(name)].concat())
}

/// A message in records of at most `fragment` bytes.
fn records(kind: u8, body: &[u8], fragment: usize) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let message = [&[kind], &length[1..], body].concat();
    let record = |part: &[u8]| [&[HANDSHAKE, 3, 1], &prefixed(part)[..]].concat();
    message.chunks(fragment).flat_map(record).collect()
}

fn hello(name: &[u8]) -> Vec<u8> {
    records(CLIENT_HELLO, &body(&[(43, b"\x02\x03\x04"), (SERVER_NAME, &names(name))]), 16_384)
}

fn named(name: &str) -> Sight {
    Sight::Name(name.into())
}

#[test]
fn the_name_that_a_client_asks_for_is_found() {
    assert_eq!(look(&rustls_hello("www.example.com")), named("www.example.com"));
    assert_eq!(look(&rustls_hello("203.0.113.10")), Sight::Nothing, "addresses are not sent");
    assert_eq!(look(&hello(b"WWW.Example.COM.")), named("www.example.com"));
}

#[test]
fn no_name_is_no_name() {
    let with = |extensions: &[(u16, &[u8])]| look(&records(CLIENT_HELLO, &body(extensions), 99));
    assert_eq!(with(&[]), Sight::Nothing);
    assert_eq!(with(&[(SERVER_NAME, b"")]), Sight::Nothing);
    assert_eq!(with(&[(SERVER_NAME, b"\0\0")]), Sight::Nothing);
    assert_eq!(with(&[(SERVER_NAME, b"\0\x05\x09\0\x02hi")]), Sight::Nothing, "of another type");
    for bad in [&b""[..], b".", b"a b", b"caf\xc3\xa9.example", b"a\0.example", &[b'a'; 254]] {
        assert_eq!(with(&[(SERVER_NAME, &names(bad))]), Sight::Nothing, "{}", bad.escape_ascii());
    }
    // Before extensions there were none.
    let old = &body(&[])[..41];
    assert_eq!(look(&records(CLIENT_HELLO, old, 99)), Sight::Nothing);
}

#[test]
fn what_is_no_hello_is_seen_at_once() {
    for bytes in [
        &b"G"[..],
        b"GET / HTTP/1.1\r\n",
        b"SSH-2.0-x",
        b"\x80\x2e\x01\x03\x01",
        b"\x16\x02",
        b"\x17\x03\x03\0\x01",
        b"\x16\x03\x01\0\0",
        b"\x16\x03\x01\x40\x01",
        b"\x16\x03\x01\0\x01\x02",
    ] {
        assert_eq!(look(bytes), Sight::Nothing, "{}", bytes.escape_ascii());
    }
    assert_eq!(look(b"\x16\x03\x01\0\x04\x01\x01\0\0"), Sight::Nothing, "longer than is read");
}

#[test]
fn a_message_in_many_records_is_read_and_in_too_many_is_not() {
    let body = body(&[(SERVER_NAME, &names(b"www.example.com"))]);
    assert_eq!(look(&records(CLIENT_HELLO, &body, 2)), named("www.example.com"));
    assert_eq!(look(&records(CLIENT_HELLO, &body, 1)), Sight::Nothing);
}

/// Looks at a hello of which the bytes come one by one, as often as it asks to.
fn look_one_by_one(bytes: &[u8]) -> (Sight, usize) {
    let (mut needs, mut looks) = (1, 0);
    for length in 1..=bytes.len() {
        if length < needs {
            continue;
        }
        looks += 1;
        match look(&bytes[..length]) {
            Sight::Needs(more) => {
                assert!(more > length, "{more} after {length}");
                needs = more;
            }
            found => return (found, looks),
        }
    }
    (Sight::Needs(needs), looks)
}

#[test]
fn a_hello_byte_by_byte_is_looked_at_a_few_times_only() {
    let (found, looks) = look_one_by_one(&rustls_hello("www.example.com"));
    assert_eq!((found, looks), (named("www.example.com"), 6));
}

proptest! {
    #[test]
    fn a_name_is_found_when_the_last_byte_has_come_however_it_is_cut(
        name in "[a-z0-9]{1,20}(\\.[a-z0-9-]{1,20}){0,4}", fragment in 8..200usize,
    ) {
        let extensions: [(u16, &[u8]); 2] =
            [(16, b"\0\x03\x02h2"), (SERVER_NAME, &names(name.as_bytes()))];
        let bytes = records(CLIENT_HELLO, &body(&extensions), fragment);
        for cut in 0..bytes.len() {
            let sight = look(&bytes[..cut]);
            prop_assert!(matches!(sight, Sight::Needs(needs) if cut < needs && needs <= bytes.len()));
        }
        prop_assert_eq!(look_one_by_one(&bytes).0, named(&name));
        prop_assert_eq!(look(&[&bytes[..], b"more"].concat()), named(&name));
    }

    #[test]
    fn no_bytes_do_harm_nor_are_ever_more_awaited_than_is_held(
        bytes: Vec<u8>, lots in prop::collection::vec((any::<u16>(), any::<u8>()), 0..8),
    ) {
        let mut bent = rustls_hello("www.example.com");
        for (at, byte) in lots {
            let at = usize::from(at) % bent.len();
            bent[at] = byte;
        }
        for bytes in [&bytes[..], &[b"\x16\x03\x01", &bytes[..]].concat(), &bent] {
            if let Sight::Needs(needs) = look(bytes) {
                prop_assert!(bytes.len() < needs);
                prop_assert!(needs <= bytes.len() + RECORD_HEADER_BYTES + MOST_FRAGMENT_BYTES);
            }
        }
    }
}
