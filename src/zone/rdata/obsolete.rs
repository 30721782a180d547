//! Types that hardly anybody uses any more, but that old zones have: WKS, NSAP, NXT, ATMA, A6.

use std::net::Ipv6Addr;

use domain::utils::base16;

use super::RdataError;
use super::fields::{Shape, decimal, skip, skip_name};
use super::words::Words;
use crate::zone::master_file::parse_type;

/// WKS behind its address: a protocol and a map of ports (RFC 1035 §3.4.2).
pub(super) const WELL_KNOWN_SERVICES: Shape =
    Shape { read: read_services, skip: |rest| skip_from(rest, 1) };
/// NSAP (RFC 1706).
pub(super) const NSAP: Shape = Shape { read: read_nsap, skip: |rest| skip_from(rest, 1) };
/// The types of NXT: a map without windows (RFC 2535 §5.2).
pub(super) const OLD_TYPES: Shape = Shape { read: read_old_types, skip: skip_old_types };
/// ATMA: an address of an ATM network.
pub(super) const ATMA: Shape = Shape { read: read_atma, skip: |rest| skip_from(rest, 2) };
/// A6 (RFC 2874).
pub(super) const A6: Shape = Shape { read: read_a6, skip: skip_a6 };

/// The protocols and ports that have names in the WKS records of RFC 1010.
const PROTOCOLS: &[(&str, u8)] = &[("icmp", 1), ("tcp", 6), ("udp", 17)];
const SERVICES: &[(&str, u16)] = &[
    ("echo", 7),
    ("discard", 9),
    ("systat", 11),
    ("daytime", 13),
    ("netstat", 15),
    ("qotd", 17),
    ("chargen", 19),
    ("ftp-data", 20),
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("time", 37),
    ("whois", 43),
    ("domain", 53),
    ("tftp", 69),
    ("gopher", 70),
    ("finger", 79),
    ("http", 80),
    ("kerberos", 88),
    ("pop3", 110),
    ("sunrpc", 111),
    ("nntp", 119),
    ("ntp", 123),
    ("imap2", 143),
    ("snmp", 161),
    ("irc", 194),
    ("https", 443),
];

fn read_services(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), RdataError> {
    out.push(words.parse("a protocol such as `tcp`, or its number", |word| {
        named(PROTOCOLS, word).or_else(|| decimal(word))
    })?);
    let mut map = Vec::new();
    while words.has_more() {
        let port: u16 = words.parse("a port, or a service such as `smtp`", |word| {
            named(SERVICES, word).or_else(|| decimal(word))
        })?;
        set_bit(&mut map, port.into());
    }
    out.extend(map);
    Ok(())
}

fn read_nsap(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), RdataError> {
    let expected = "hex digits behind `0x`, with dots wherever one likes";
    let address = words.parse(expected, |word| {
        dotted_hex(word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"))?)
    })?;
    out.extend(address);
    Ok(())
}

fn read_old_types(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), RdataError> {
    let mut map = Vec::new();
    while words.has_more() {
        let rtype = words.parse("a record type below 128", |word| {
            parse_type(word).filter(|rtype| rtype.0 < 128)
        })?;
        set_bit(&mut map, rtype.0.into());
    }
    out.extend(map);
    Ok(())
}

fn skip_old_types(rest: &mut &[u8]) -> Option<()> {
    (rest.len() <= 16).then(|| skip_from(rest, 0))?
}

fn read_atma(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), RdataError> {
    let expected = "`+` and digits, or hex digits, with dots wherever one likes";
    let address = words.parse(expected, |word| match word.strip_prefix('+') {
        None => Some([vec![0], dotted_hex(word)?].concat()),
        Some(digits) => {
            let digits = digits.replace('.', "");
            let are_digits = !digits.is_empty() && digits.bytes().all(|d| d.is_ascii_digit());
            are_digits.then(|| [vec![1], digits.into_bytes()].concat())
        }
    })?;
    out.extend(address);
    Ok(())
}

fn read_a6(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), RdataError> {
    let prefix: u8 =
        words.parse("a length up to 128", |word| decimal(word).filter(|&length| length <= 128))?;
    out.push(prefix);
    if prefix < 128 {
        let address = words.parse("an IPv6 address", |word| word.parse::<Ipv6Addr>().ok())?;
        let mut suffix = address.octets()[usize::from(prefix / 8)..].to_vec();
        suffix[0] &= 0xff >> (prefix % 8);
        out.extend(suffix);
    }
    if prefix > 0 {
        out.extend_from_slice(words.name()?.as_wire());
    }
    Ok(())
}

fn skip_a6(rest: &mut &[u8]) -> Option<()> {
    let prefix = skip(rest, 1)?[0];
    let suffix = 128_u8.checked_sub(prefix)?.div_ceil(8);
    skip(rest, suffix.into())?;
    if prefix > 0 { skip_name(rest) } else { Some(()) }
}

/// Takes all the rest, of which there are at least so many bytes.
fn skip_from(rest: &mut &[u8], least: usize) -> Option<()> {
    skip(rest, rest.len().max(least)).map(|_| ())
}

fn named<T: Copy>(known: &[(&str, T)], word: &str) -> Option<T> {
    known.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|&(_, number)| number)
}

fn dotted_hex(word: &str) -> Option<Vec<u8>> {
    base16::decode_vec(&word.replace('.', "")).ok().filter(|bytes| !bytes.is_empty())
}

fn set_bit(map: &mut Vec<u8>, bit: usize) {
    if map.len() <= bit / 8 {
        map.resize(bit / 8 + 1, 0);
    }
    map[bit / 8] |= 0x80 >> (bit % 8);
}
