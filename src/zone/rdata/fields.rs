//! The fields that the data of many types is made of: each in its text form and on the wire.

use std::net::Ipv4Addr;

use domain::utils::{base16, base64};

use super::RdataError;
use super::words::Words;
use crate::dns::Rtype;
use crate::zone::master_file::parse_type;

/// A part of a record's data.
pub(super) enum Field {
    U8,
    U16,
    U32,
    /// A number of 8 bits, or a word for one.
    Mnemonic8(&'static [(&'static str, u16)]),
    /// A number of 16 bits, or a word for one.
    Mnemonic16(&'static [(&'static str, u16)]),
    Name,
    /// A character string: at most 255 bytes, and their number before them.
    Text,
    /// The same, of at least four digits.
    Digits,
    /// The rest of the data as one string, which is not empty.
    Uri,
    /// The rest, in as many words as one likes.
    Base64,
    /// The same; `-` is none.
    Base64OrNone,
    /// The rest, in as many words as one likes.
    Hex,
    Ipv4,
    /// So many bytes with hyphens between.
    Eui(usize),
    /// 64 bits as four groups with colons between (RFC 6742 §2.1.2).
    NodeId,
    /// Types as in NSEC (RFC 4034 §4.1.2).
    Types,
    /// What may be left out at the end.
    Optional(&'static Field),
    /// The rest of the data, in a form of its own.
    Whole(Shape),
}

/// Data of a form of its own.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// Reads it from words.
    pub(super) read: fn(&mut Words<'_>, &mut Vec<u8>) -> Result<(), RdataError>,
    /// Takes it from the front of the bytes; none when they are not of this form.
    pub(super) skip: fn(&mut &[u8]) -> Option<()>,
}

/// The algorithms of DNSSEC, as they are registered, and some as others write them.
pub(super) const ALGORITHMS: &[(&str, u16)] = &[
    ("RSAMD5", 1),
    ("DH", 2),
    ("DSA", 3),
    ("ECC", 4),
    ("RSASHA1", 5),
    ("DSA-NSEC3-SHA1", 6),
    ("NSEC3DSA", 6),
    ("RSASHA1-NSEC3-SHA1", 7),
    ("NSEC3RSASHA1", 7),
    ("RSASHA256", 8),
    ("RSASHA512", 10),
    ("ECC-GOST", 12),
    ("ECCGOST", 12),
    ("ECDSAP256SHA256", 13),
    ("ECDSAP384SHA384", 14),
    ("ED25519", 15),
    ("ED448", 16),
    ("INDIRECT", 252),
    ("PRIVATEDNS", 253),
    ("PRIVATEOID", 254),
];

/// The digests of DNSSEC, as they are registered, and as others write them.
pub(super) const DIGESTS: &[(&str, u16)] = &[
    ("SHA-1", 1),
    ("SHA1", 1),
    ("SHA-256", 2),
    ("SHA256", 2),
    ("GOST", 3),
    ("SHA-384", 4),
    ("SHA384", 4),
];

/// The types of certificates (RFC 4398 §2.1).
pub(super) const CERTIFICATES: &[(&str, u16)] = &[
    ("PKIX", 1),
    ("SPKI", 2),
    ("PGP", 3),
    ("IPKIX", 4),
    ("ISPKI", 5),
    ("IPGP", 6),
    ("ACPKIX", 7),
    ("IACPKIX", 8),
    ("URI", 253),
    ("OID", 254),
];

impl Field {
    /// Reads it from words.
    pub(super) fn read(&self, words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), RdataError> {
        match self {
            Field::U8 => out.push(words.parse("a number up to 255", decimal)?),
            Field::U16 => {
                let number: u16 = words.parse("a number up to 65535", decimal)?;
                out.extend(number.to_be_bytes());
            }
            Field::U32 => {
                let number: u32 = words.parse("a number up to 4294967295", decimal)?;
                out.extend(number.to_be_bytes());
            }
            Field::Mnemonic8(known) => {
                let expected = "a number up to 255, or the word for one";
                let number = words.parse(expected, |word| number_of(known, word))?;
                out.push(u8::try_from(number).map_err(|_| words.unfit(expected))?);
            }
            Field::Mnemonic16(known) => {
                let expected = "a number up to 65535, or the word for one";
                out.extend(words.parse(expected, |word| number_of(known, word))?.to_be_bytes());
            }
            Field::Name => out.extend_from_slice(words.name()?.as_wire()),
            Field::Text => {
                let bytes = words.bytes()?;
                push_text(words, &bytes, out)?;
            }
            Field::Digits => {
                let bytes = words.bytes()?;
                if bytes.len() < 4 || !bytes.iter().all(u8::is_ascii_digit) {
                    return Err(words.unfit("at least four digits"));
                }
                push_text(words, &bytes, out)?;
            }
            Field::Uri => {
                let bytes = words.bytes()?;
                if bytes.is_empty() {
                    return Err(words.unfit("a URI"));
                }
                out.extend(bytes);
            }
            Field::Base64 => {
                words.next()?;
                out.extend(base64_of(words, true)?);
            }
            Field::Base64OrNone => {
                if words.next()? != "-" {
                    out.extend(base64_of(words, true)?);
                }
            }
            Field::Hex => {
                words.next()?;
                words.back();
                let digits = words.rest();
                let bytes = base16::decode_vec(&digits).ok();
                out.extend(bytes.ok_or_else(|| words.unfit("an even number of hex digits"))?);
            }
            Field::Ipv4 => {
                let address =
                    words.parse("an IPv4 address", |word| word.parse::<Ipv4Addr>().ok())?;
                out.extend(address.octets());
            }
            Field::Eui(bytes) => {
                let expected = "two hex digits a byte, with hyphens between";
                out.extend(words.parse(expected, |word| groups(word, '-', *bytes, 2..=2))?);
            }
            Field::NodeId => {
                let expected = "four groups of hex digits, with colons between";
                out.extend(words.parse(expected, |word| groups(word, ':', 4, 1..=4))?);
            }
            Field::Types => {
                let mut types = Vec::new();
                while words.has_more() {
                    types.push(words.parse("a record type", parse_type)?);
                }
                push_types(&mut types, out);
            }
            Field::Optional(field) => {
                if words.has_more() {
                    field.read(words, out)?;
                }
            }
            Field::Whole(shape) => (shape.read)(words, out)?,
        }
        Ok(())
    }

    /// Takes it from the front of the bytes; none when they are not of this form.
    pub(super) fn skip(&self, rest: &mut &[u8]) -> Option<()> {
        let bytes = match self {
            Field::U8 | Field::Mnemonic8(_) => 1,
            Field::U16 | Field::Mnemonic16(_) => 2,
            Field::U32 | Field::Ipv4 => 4,
            Field::Eui(bytes) => *bytes,
            Field::NodeId => 8,
            Field::Name => return skip_name(rest),
            Field::Text => 1 + usize::from(*rest.first()?),
            Field::Digits => {
                let (&length, text) = rest.split_first()?;
                let digits = text.get(..usize::from(length))?;
                if length < 4 || !digits.iter().all(u8::is_ascii_digit) {
                    return None;
                }
                1 + digits.len()
            }
            Field::Uri | Field::Base64 | Field::Hex => rest.len().max(1),
            Field::Base64OrNone => rest.len(),
            Field::Types => return skip_types(rest),
            Field::Optional(_) if rest.is_empty() => 0,
            Field::Optional(field) => return field.skip(rest),
            Field::Whole(shape) => return (shape.skip)(rest),
        };
        skip(rest, bytes).map(|_| ())
    }
}

/// Takes so many bytes from the front.
pub(super) fn skip<'r>(rest: &mut &'r [u8], bytes: usize) -> Option<&'r [u8]> {
    let (taken, behind) = rest.split_at_checked(bytes)?;
    *rest = behind;
    Some(taken)
}

/// Takes an uncompressed name from the front.
pub(super) fn skip_name(rest: &mut &[u8]) -> Option<()> {
    let mut at = 0;
    loop {
        let length = usize::from(*rest.get(at)?);
        at += 1 + length;
        if length > 63 || at > 255 {
            return None;
        }
        if length == 0 {
            return skip(rest, at).map(|_| ());
        }
    }
}

/// The bytes that the word taken last is in base 64; with `is_rest`, all that follow belong to it.
pub(super) fn base64_of(words: &mut Words<'_>, is_rest: bool) -> Result<Vec<u8>, RdataError> {
    words.back();
    let digits = if is_rest { words.rest() } else { words.next()?.to_string() };
    let bytes: Option<Vec<u8>> = base64::decode(&digits).ok();
    bytes.ok_or_else(|| words.unfit("base 64"))
}

/// A number without a sign.
pub(super) fn decimal<T: std::str::FromStr>(word: &str) -> Option<T> {
    let is_number = word.bytes().all(|digit| digit.is_ascii_digit());
    is_number.then(|| word.parse().ok()).flatten()
}

/// The number that a word stands for, or is.
pub(super) fn number_of(known: &[(&str, u16)], word: &str) -> Option<u16> {
    let known = known.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    known.map(|&(_, number)| number).or_else(|| decimal(word))
}

fn push_text(words: &Words<'_>, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), RdataError> {
    let length = u8::try_from(bytes.len()).map_err(|_| words.unfit("at most 255 bytes"))?;
    out.push(length);
    out.extend_from_slice(bytes);
    Ok(())
}

/// `count` groups of hex digits, each padded to as many digits as it may have.
fn groups(
    word: &str,
    between: char,
    count: usize,
    digits: std::ops::RangeInclusive<usize>,
) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut groups = word.split(between);
    for _ in 0..count {
        let group = groups.next()?;
        let is_hex = group.bytes().all(|digit| digit.is_ascii_hexdigit());
        if !is_hex || !digits.contains(&group.len()) {
            return None;
        }
        let number = u16::from_str_radix(group, 16).ok()?.to_be_bytes();
        bytes.extend_from_slice(&number[2 - digits.end() / 2..]);
    }
    groups.next().is_none().then_some(bytes)
}

fn push_types(types: &mut [Rtype], out: &mut Vec<u8>) {
    types.sort_unstable();
    for window in types.chunk_by(|a, b| a.0 >> 8 == b.0 >> 8) {
        let mut bits = [0_u8; 32];
        for rtype in window {
            bits[usize::from(rtype.0 & 0xff) / 8] |= 0x80 >> (rtype.0 & 7);
        }
        // A window has a type, so some byte is not zero.
        let length = 32 - bits.iter().rev().take_while(|&&byte| byte == 0).count();
        out.extend([(window[0].0 >> 8) as u8, length as u8]);
        out.extend_from_slice(&bits[..length]);
    }
}

fn skip_types(rest: &mut &[u8]) -> Option<()> {
    let mut before = None;
    while let Some((&[window, length], _)) = rest.split_first_chunk() {
        let bits = rest.get(2..2 + usize::from(length))?;
        if before >= Some(window) || bits.len() > 32 || bits.last().is_none_or(|&last| last == 0) {
            return None;
        }
        before = Some(window);
        *rest = &rest[2 + bits.len()..];
    }
    rest.is_empty().then_some(())
}
