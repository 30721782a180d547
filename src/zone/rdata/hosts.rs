//! HIP (RFC 8005) and the relays of AMTRELAY (RFC 8777).

use std::net::{Ipv4Addr, Ipv6Addr};

use domain::utils::base16;

use super::RdataError;
use super::fields::{Field, Shape, base64_of, skip, skip_name};
use super::words::Words;

/// The data of a HIP record.
pub(super) const HIP: Shape = Shape { read: read_hip, skip: skip_hip };
/// The data of an AMTRELAY record behind its precedence.
pub(super) const RELAY: Shape = Shape { read: read_relay, skip: skip_relay };

fn read_hip(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), RdataError> {
    let mut algorithm = Vec::new();
    Field::U8.read(words, &mut algorithm)?;
    let expected = "at most 255 bytes in hex digits";
    let tag = words.parse(expected, |word| base16::decode_vec(word).ok())?;
    let tag_bytes = u8::try_from(tag.len()).ok().filter(|&bytes| bytes > 0);
    let tag_bytes = tag_bytes.ok_or_else(|| words.unfit(expected))?;
    words.next()?;
    let key = base64_of(words, false)?;
    let key_bytes = u16::try_from(key.len()).map_err(|_| words.unfit("at most 65535 bytes"))?;
    out.push(tag_bytes);
    out.extend(algorithm);
    out.extend(key_bytes.to_be_bytes());
    out.extend(tag);
    out.extend(key);
    while words.has_more() {
        out.extend_from_slice(words.name()?.as_wire());
    }
    Ok(())
}

fn skip_hip(rest: &mut &[u8]) -> Option<()> {
    let head = skip(rest, 4)?;
    let (tag, key) = (usize::from(head[0]), usize::from(u16::from_be_bytes([head[2], head[3]])));
    if tag == 0 || key == 0 {
        return None;
    }
    skip(rest, tag + key)?;
    while !rest.is_empty() {
        skip_name(rest)?;
    }
    Some(())
}

fn read_relay(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), RdataError> {
    let discovery = words.parse("`0` or `1`", |word| match word {
        "0" => Some(0),
        "1" => Some(0x80),
        _ => None,
    })?;
    let kind = words.parse("a relay type from 0 to 3", |word| match word {
        "0" => Some(0),
        "1" => Some(1),
        "2" => Some(2),
        "3" => Some(3),
        _ => None,
    })?;
    out.push(discovery | kind);
    match kind {
        0 => words.parse("`.`, as there is no relay", |word| (word == ".").then_some(()))?,
        1 => {
            let address = words.parse("an IPv4 address", |word| word.parse::<Ipv4Addr>().ok())?;
            out.extend(address.octets());
        }
        2 => {
            let address = words.parse("an IPv6 address", |word| word.parse::<Ipv6Addr>().ok())?;
            out.extend(address.octets());
        }
        _ => out.extend_from_slice(words.name()?.as_wire()),
    }
    Ok(())
}

fn skip_relay(rest: &mut &[u8]) -> Option<()> {
    match skip(rest, 1)?[0] & 0x7f {
        0 => Some(()),
        1 => skip(rest, 4).map(|_| ()),
        2 => skip(rest, 16).map(|_| ()),
        3 => skip_name(rest),
        _ => None,
    }
}
