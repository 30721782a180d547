//! The Internet checksum (RFC 1071), of what the raw probes write.

use std::net::IpAddr;

/// The checksum of these pieces, one after another, each of an even number of bytes.
pub(super) fn checksum(pieces: &[&[u8]]) -> u16 {
    let words = pieces.iter().flat_map(|piece| piece.chunks_exact(2));
    let mut sum: u32 = words.map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    !(sum as u16)
}

/// The checksum of a TCP segment between two addresses of a family (RFC 9293 §3.1, RFC 8200 §8.1).
pub(super) fn of_tcp(from: IpAddr, to: IpAddr, segment: &[u8]) -> u16 {
    let length = (segment.len() as u16).to_be_bytes();
    let rest = [0, libc::IPPROTO_TCP as u8, length[0], length[1]];
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            checksum(&[&from.octets(), &to.octets(), &rest, segment])
        }
        (from, to) => checksum(&[&v6_octets(from), &v6_octets(to), &rest, segment]),
    }
}

fn v6_octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_what_carries_its_checksum_is_zero() {
        let mut packet = [0x45, 0, 0x12, 0x34, 0xFF, 0xFF, 0, 0];
        let sum = checksum(&[&packet]);
        packet[6..].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(checksum(&[&packet[..4], &packet[4..]]), 0);
    }

    /// The example of RFC 1071 §3: the sum of these words is ddf2.
    #[test]
    fn the_rfcs_example_is_summed_as_it_says() {
        assert_eq!(checksum(&[&[0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7]]), !0xDDF2);
    }
}
