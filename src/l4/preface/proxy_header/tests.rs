//! Headers are read as they are written, by the letter of the specification, and nothing else is.

use proptest::prelude::*;

use super::*;

fn endpoints(source: &str, destination: &str) -> Endpoints {
    Endpoints { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

fn v4() -> Endpoints {
    endpoints("198.51.100.7:51234", "203.0.113.10:443")
}

fn written(version: ProxyVersion, endpoints: &Endpoints, tlvs: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write(version, endpoints, tlvs, &mut out);
    out
}

#[track_caller]
fn read_whole(bytes: &[u8]) -> Header {
    let (header, length) = read(bytes).unwrap().expect("a whole header");
    assert_eq!(length, bytes.len());
    header
}

/// A header of version 2 of these parts.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    bytes.extend_from_slice(&[command, family]);
    bytes.extend_from_slice(&u16::try_from(rest.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(rest);
    bytes
}

#[test]
fn version_1_is_one_line_of_text() {
    let line = b"PROXY TCP4 198.51.100.7 203.0.113.10 51234 443\r\n";
    assert_eq!(written(ProxyVersion::V1, &v4(), &[]), line);
    assert_eq!(read_whole(line).endpoints, Some(v4()));
    let v6 = endpoints("[2001:db8::7]:1", "[2001:db8::10]:65535");
    let line = b"PROXY TCP6 2001:db8::7 2001:db8::10 1 65535\r\n";
    assert_eq!(written(ProxyVersion::V1, &v6, &[]), line);
    assert_eq!(read_whole(line).endpoints, Some(v6));
    assert_eq!(read_whole(b"PROXY UNKNOWN\r\n"), Header::default());
    let whatever = b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n";
    assert_eq!(read_whole(whatever), Header::default());
}

#[test]
fn a_line_that_is_not_to_the_letter_is_refused() {
    for line in [
        "PROXY TCP4 198.51.100.7 203.0.113.10 51234\r\n",
        "PROXY TCP4 198.51.100.7 203.0.113.10 51234 443 \r\n",
        "PROXY TCP4 198.51.100.7 203.0.113.10  443 443\r\n",
        "PROXY TCP4 198.51.100.7 203.0.113.10 051234 443\r\n",
        "PROXY TCP4 198.51.100.7 203.0.113.10 +1 443\r\n",
        "PROXY TCP4 198.51.100.7 203.0.113.10 65536 443\r\n",
        "PROXY TCP4 2001:db8::7 2001:db8::10 1 443\r\n",
        "PROXY TCP6 198.51.100.7 203.0.113.10 1 443\r\n",
        "PROXY UDP4 198.51.100.7 203.0.113.10 1 443\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY \r\n",
        "PROXY\r\n",
        "PROXY TCP4 198.51.100.7 203.0.113.10 1 443\n\r\n",
    ] {
        assert!(read(line.as_bytes()).is_err(), "{line:?}");
    }
    for start in ["GET / HTTP/1.1\r\n", "\r\n\r\n\0\r\nQUIR", "PROXIED", "X", "\x16\x03\x01"] {
        assert_eq!(read(start.as_bytes()), Err(Malformed::Absent), "{start:?}");
    }
}

#[test]
fn a_line_may_be_107_bytes_long_and_no_longer() {
    let line = |length: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(length - 16));
    assert_eq!(read_whole(line(107).as_bytes()), Header::default());
    assert_eq!(read(line(108).as_bytes()), Err(Malformed::TooLong));
    assert_eq!(read(&[b"PROXY ", &[b'x'; 200][..]].concat()), Err(Malformed::TooLong));
}

#[test]
fn version_2_carries_addresses_and_further_values() {
    let tlvs = b"\x02\x00\x03foo\xea\x00\x04\x01abc";
    let bytes = written(ProxyVersion::V2, &v4(), tlvs);
    assert_eq!(bytes.len(), 16 + 12 + tlvs.len());
    assert_eq!(&bytes[12..16], [0x21, 0x11, 0, 12 + tlvs.len() as u8]);
    let header = read_whole(&bytes);
    assert_eq!((header.endpoints, &*header.tlvs), (Some(v4()), &tlvs[..]));
}

#[test]
fn a_local_connection_stands_for_itself_whatever_follows() {
    assert_eq!(read_whole(&v2(0x20, 0x00, &[])), Header::default());
    assert_eq!(read_whole(&v2(0x20, 0x11, &[0xff; 30])), Header::default());
    // Proxied for somebody whose address is none.
    assert_eq!(read_whole(&v2(0x21, 0x00, b"\x05\x00\x02id")).tlvs.len(), 5);
    assert_eq!(read_whole(&v2(0x21, 0x31, &[0; 216])), Header::default());
    assert_eq!(read_whole(&v2(0x21, 0x51, &[7; 9])), Header::default());
}

#[test]
fn a_binary_header_whose_parts_do_not_fit_is_refused() {
    let broken = [
        v2(0x11, 0x11, &[0; 12]),
        v2(0x22, 0x11, &[0; 12]),
        v2(0x21, 0x11, &[0; 11]),
        v2(0x21, 0x21, &[0; 35]),
        v2(0x21, 0x31, &[0; 215]),
        v2(0x21, 0x11, &[&[0; 12][..], b"\x02\x00"].concat()),
        v2(0x21, 0x11, &[&[0; 12][..], b"\x02\x00\x05four"].concat()),
        v2(0x21, 0x11, &[&[0; 12][..], b"\x03\x00\x03abc"].concat()),
    ];
    for bytes in broken {
        assert_eq!(read(&bytes), Err(Malformed::Broken), "{}", bytes.escape_ascii());
    }
    assert_eq!(read(&v2(0x21, 0x00, &[0; 60_000])[..16]), Err(Malformed::TooLong));
}

#[test]
fn a_checksum_is_verified_and_neither_it_nor_padding_is_passed_on() {
    let rest = |checksum: u32| {
        let checksum = [b"\x03\x00\x04".to_vec(), checksum.to_be_bytes().to_vec()].concat();
        [&[0; 12][..], b"\x04\x00\x02\0\0", &checksum, b"\x05\x00\x02id"].concat()
    };
    let right = 0x2b15_6059;
    let bytes = v2(0x21, 0x11, &rest(right));
    assert_eq!(&*read_whole(&bytes).tlvs, b"\x05\x00\x02id");
    assert_eq!(read(&v2(0x21, 0x11, &rest(right ^ 1))), Err(Malformed::Checksum));
}

#[test]
fn where_there_are_two_families_ipv4_is_written_as_ipv6() {
    let mixed = endpoints("198.51.100.7:1", "[2001:db8::10]:443");
    let read = read_whole(&written(ProxyVersion::V2, &mixed, &[])).endpoints.unwrap();
    assert_eq!(read.source, "[::ffff:198.51.100.7]:1".parse().unwrap());
    assert_eq!(read.destination, mixed.destination);
}

fn endpoint() -> impl Strategy<Value = (u128, u16)> {
    (any::<u128>(), any::<u16>())
}

proptest! {
    #[test]
    fn what_is_written_is_read_once_it_has_come_whole_and_not_before(
        is_v6: bool, source in endpoint(), destination in endpoint(), is_v2: bool, rest: Vec<u8>,
    ) {
        let address = |(bits, port): (u128, u16)| match is_v6 {
            true => SocketAddr::new(Ipv6Addr::from(bits).into(), port),
            false => SocketAddr::new(Ipv4Addr::from(bits as u32).into(), port),
        };
        let given = Endpoints { source: address(source), destination: address(destination) };
        let version = if is_v2 { ProxyVersion::V2 } else { ProxyVersion::V1 };
        let mut bytes = written(version, &given, &[]);
        let length = bytes.len();
        for cut in 0..length {
            prop_assert_eq!(read(&bytes[..cut]), Ok(None));
        }
        bytes.extend_from_slice(&rest);
        let header = Header { endpoints: Some(given), ..Header::default() };
        prop_assert_eq!(read(&bytes), Ok(Some((header, length))));
    }

    #[test]
    fn values_come_through(values in prop::collection::vec((5u8.., prop::collection::vec(any::<u8>(), 0..50)), 0..20)) {
        let mut tlvs = Vec::new();
        for (kind, value) in &values {
            tlvs.push(*kind);
            tlvs.extend_from_slice(&(value.len() as u16).to_be_bytes());
            tlvs.extend_from_slice(value);
        }
        prop_assert_eq!(&*read_whole(&written(ProxyVersion::V2, &v4(), &tlvs)).tlvs, &tlvs[..]);
    }

    #[test]
    fn no_bytes_do_harm(bytes: Vec<u8>, command: u8, family: u8) {
        let _ = read(&bytes);
        let _ = read(&[b"PROXY ", &bytes[..]].concat());
        let _ = read(&v2(command & 0x2f, family & 0x33, &bytes));
    }
}
