//! APL: lists of address prefixes (RFC 3123).

use std::net::IpAddr;

use super::RdataError;
use super::fields::{Shape, decimal, skip};
use super::words::Words;

/// The data of an APL record.
pub(super) const PREFIXES: Shape = Shape { read, skip: skip_prefixes };

const IPV4: u16 = 1;
const IPV6: u16 = 2;

fn read(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), RdataError> {
    while words.has_more() {
        let expected = "an address prefix such as `1:198.51.100.0/24` or `!2:2001:db8::/32`";
        out.extend(words.parse(expected, prefix)?);
    }
    Ok(())
}

fn prefix(word: &str) -> Option<Vec<u8>> {
    let (negation, word) = match word.strip_prefix('!') {
        Some(word) => (0x80, word),
        None => (0, word),
    };
    let (family, prefix) = word.split_once(':')?;
    let (address, length) = prefix.split_once('/')?;
    let (family, length): (u16, u8) = (decimal(family)?, decimal(length)?);
    let (octets, most) = match (family, address.parse().ok()?) {
        (IPV4, IpAddr::V4(address)) => (address.octets().to_vec(), 32),
        (IPV6, IpAddr::V6(address)) => (address.octets().to_vec(), 128),
        _ => return None,
    };
    if length > most {
        return None;
    }
    // Zero bytes at the end are left out (§4).
    let bytes = octets.len() - octets.iter().rev().take_while(|&&byte| byte == 0).count();
    let [high, low] = family.to_be_bytes();
    let mut item = vec![high, low, length, negation | bytes as u8];
    item.extend_from_slice(&octets[..bytes]);
    Some(item)
}

fn skip_prefixes(rest: &mut &[u8]) -> Option<()> {
    while !rest.is_empty() {
        let head = skip(rest, 4)?;
        let address = skip(rest, usize::from(head[3] & 0x7f))?;
        let (bytes, bits) = match u16::from_be_bytes([head[0], head[1]]) {
            IPV4 => (4, 32),
            IPV6 => (16, 128),
            _ => continue,
        };
        if address.len() > bytes || head[2] > bits || address.last() == Some(&0) {
            return None;
        }
    }
    Some(())
}
