//! Version 2 of the PROXY protocol, which is binary.

use std::net::{IpAddr, SocketAddr};

use super::proxy_header::{Endpoints, Header, Malformed};

/// What a header begins with.
pub(super) const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length of the rest.
const FIXED_BYTES: usize = 16;
/// More would be held for one connection than values that are in use take.
const MOST_REST_BYTES: usize = 8 * 1024;

const VERSION: u8 = 0x20;
const LOCAL: u8 = 0;
const PROXY: u8 = 1;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;
const UNIX_BYTES: usize = 216;

/// PP2_TYPE_CRC32C and PP2_TYPE_NOOP: of this header, and of no other.
const CHECKSUM: u8 = 0x03;
const PADDING: u8 = 0x04;

/// Reads the header that `bytes`, which begin as the signature does, begin with.
pub(super) fn read(bytes: &[u8]) -> Result<Option<(Header, usize)>, Malformed> {
    let Some(&[command, family, high, low]) = bytes.get(SIGNATURE.len()..FIXED_BYTES) else {
        return Ok(None);
    };
    if command & 0xf0 != VERSION || command & 0x0f > PROXY {
        return Err(Malformed::Broken);
    }
    let rest_length = usize::from(u16::from_be_bytes([high, low]));
    if rest_length > MOST_REST_BYTES {
        return Err(Malformed::TooLong);
    }
    let length = FIXED_BYTES + rest_length;
    let Some(whole) = bytes.get(..length) else { return Ok(None) };
    if command & 0x0f == LOCAL {
        return Ok(Some((Header::default(), length)));
    }
    let rest = &whole[FIXED_BYTES..];
    let (endpoints, tlvs) = match family >> 4 {
        1 => read_addresses::<4>(rest)?,
        2 => read_addresses::<16>(rest)?,
        3 => (None, rest.get(UNIX_BYTES..).ok_or(Malformed::Broken)?),
        0 => (None, rest),
        // Unknown families are no fault, but what follows them cannot be made out.
        _ => (None, &[][..]),
    };
    let tlvs = read_tlvs(whole, length - tlvs.len())?;
    Ok(Some((Header { endpoints, tlvs }, length)))
}

/// Two addresses of `N` bytes and their ports, and what is left.
fn read_addresses<const N: usize>(rest: &[u8]) -> Result<(Option<Endpoints>, &[u8]), Malformed>
where
    IpAddr: From<[u8; N]>,
{
    let parts = || {
        let (source, rest) = rest.split_first_chunk::<N>()?;
        let (destination, rest) = rest.split_first_chunk::<N>()?;
        let (source_port, rest) = rest.split_first_chunk::<2>()?;
        let (destination_port, rest) = rest.split_first_chunk::<2>()?;
        let endpoint = |ip: [u8; N], port| SocketAddr::new(ip.into(), u16::from_be_bytes(port));
        let source = endpoint(*source, *source_port);
        let destination = endpoint(*destination, *destination_port);
        Some((Some(Endpoints { source, destination }), rest))
    };
    parts().ok_or(Malformed::Broken)
}

/// The values from `first` to the end, without those of the header itself.
fn read_tlvs(whole: &[u8], first: usize) -> Result<Box<[u8]>, Malformed> {
    let mut kept = Vec::new();
    let mut at = first;
    while at < whole.len() {
        let Some(&[kind, high, low]) = whole.get(at..at + 3) else {
            return Err(Malformed::Broken);
        };
        let value = at + 3;
        let end = value + usize::from(u16::from_be_bytes([high, low]));
        let bytes = whole.get(value..end).ok_or(Malformed::Broken)?;
        match kind {
            CHECKSUM => check(whole, value, bytes)?,
            PADDING => {}
            _ => kept.extend_from_slice(&whole[at..end]),
        }
        at = end;
    }
    Ok(kept.into())
}

/// Whether the checksum at `at` is that of the header with zeros in its place.
fn check(whole: &[u8], at: usize, checksum: &[u8]) -> Result<(), Malformed> {
    let checksum: [u8; 4] = checksum.try_into().map_err(|_| Malformed::Broken)?;
    let parts = [&whole[..at], &[0; 4], &whole[at + 4..]];
    match crc32c(parts) == u32::from_be_bytes(checksum) {
        true => Ok(()),
        false => Err(Malformed::Checksum),
    }
}

/// The Castagnoli CRC (RFC 9260, appendix A), bit by bit: headers with a checksum are few and short.
fn crc32c(parts: [&[u8]; 3]) -> u32 {
    const REVERSED_POLYNOMIAL: u32 = 0x82f6_3b78;
    let bytes = parts.into_iter().flatten();
    !bytes.fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ (REVERSED_POLYNOMIAL * (crc & 1)))
    })
}

/// Writes a header for endpoints of one family.
pub(super) fn write(endpoints: &Endpoints, tlvs: &[u8], out: &mut Vec<u8>) {
    let Endpoints { source, destination } = endpoints;
    out.extend_from_slice(&SIGNATURE);
    let (family, address_bytes) =
        if source.is_ipv4() { (TCP_OVER_IPV4, 12) } else { (TCP_OVER_IPV6, 36) };
    // They were read from a header that is no longer than this.
    let tlvs = if tlvs.len() > MOST_REST_BYTES { &[] } else { tlvs };
    let rest_length = u16::try_from(address_bytes + tlvs.len()).unwrap_or(address_bytes as u16);
    out.extend_from_slice(&[VERSION | PROXY, family]);
    out.extend_from_slice(&rest_length.to_be_bytes());
    for address in [source, destination] {
        match address.ip() {
            IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
        }
    }
    out.extend_from_slice(&source.port().to_be_bytes());
    out.extend_from_slice(&destination.port().to_be_bytes());
    out.extend_from_slice(tlvs);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_castagnoli_polynomial() {
        // RFC 3720 §B.4.
        assert_eq!(crc32c([&[0; 32], &[], &[]]), 0x8a91_36aa);
        assert_eq!(crc32c([&[0xff; 16], &[0xff; 16], &[]]), 0x62a8_ab43);
        assert_eq!(crc32c([b"123456789", &[], &[]]), 0xe306_9283);
    }
}
