//! The hashes by which flows and backends meet. They never change between versions or machines, so
//! that forwarders side by side agree.

use std::net::{IpAddr, SocketAddr};

use xxhash_rust::xxh3::xxh3_64;

use crate::l4::flow::Flow;
use crate::l4::settings::{HashOf, Protocol};

/// Two addresses of 16 bytes, two ports and the protocol.
const LONGEST: usize = 37;

/// What of the flow is hashed, hashed.
pub fn hash(flow: &Flow, of: HashOf) -> u64 {
    let mut bytes = Bytes { bytes: [0; LONGEST], length: 0 };
    match of {
        HashOf::Source => bytes.push_address(flow.client.ip()),
        HashOf::FourTuple | HashOf::FiveTuple => {
            for end in [flow.client, flow.vip] {
                bytes.push_address(end.ip());
                bytes.push(&end.port().to_be_bytes());
            }
        }
    }
    if of == HashOf::FiveTuple {
        // The number that an IP header has for it.
        bytes.push(&[if flow.protocol == Protocol::Tcp { 6 } else { 17 }]);
    }
    xxh3_64(&bytes.bytes[..bytes.length])
}

/// What distinguishes a backend in a hash: its address and port, and nothing of the configuration.
pub fn identity(backend: SocketAddr) -> u64 {
    let mut bytes = Bytes { bytes: [0; LONGEST], length: 0 };
    bytes.push_address(backend.ip());
    bytes.push(&backend.port().to_be_bytes());
    xxh3_64(&bytes.bytes[..bytes.length])
}

/// Every bit of the result depends on every bit of the number (the finaliser of SplitMix64; Steele,
/// Lea and Flood, OOPSLA 2014).
pub fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

struct Bytes {
    bytes: [u8; LONGEST],
    length: usize,
}

impl Bytes {
    /// An IPv4-mapped address is the IPv4 address that it is.
    fn push_address(&mut self, address: IpAddr) {
        match address.to_canonical() {
            IpAddr::V4(address) => self.push(&address.octets()),
            IpAddr::V6(address) => self.push(&address.octets()),
        }
    }

    fn push(&mut self, more: &[u8]) {
        self.bytes[self.length..self.length + more.len()].copy_from_slice(more);
        self.length += more.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(client: &str, vip: &str, protocol: Protocol) -> u64 {
        let flow = Flow { client: client.parse().unwrap(), vip: vip.parse().unwrap(), protocol };
        hash(&flow, HashOf::FiveTuple)
    }

    #[test]
    fn what_is_not_hashed_makes_no_difference_and_what_is_does() {
        let hash = |client: &str, vip: &str, protocol, of| {
            let (client, vip) = (client.parse().unwrap(), vip.parse().unwrap());
            super::hash(&Flow { client, vip, protocol }, of)
        };
        use HashOf::{FiveTuple, FourTuple, Source};
        use Protocol::{Tcp, Udp};
        let (vip, other) = ("203.0.113.10:443", "203.0.113.11:443");
        let source = hash("198.51.100.1:1000", vip, Tcp, Source);
        assert_eq!(source, hash("198.51.100.1:1001", other, Udp, Source));
        assert_ne!(source, hash("198.51.100.2:1000", vip, Tcp, Source));
        let four = hash("198.51.100.1:1000", vip, Tcp, FourTuple);
        assert_eq!(four, hash("198.51.100.1:1000", vip, Udp, FourTuple));
        assert_ne!(four, hash("198.51.100.1:1001", vip, Tcp, FourTuple));
        assert_ne!(four, hash("198.51.100.1:1000", other, Tcp, FourTuple));
        let five = hash("198.51.100.1:1000", vip, Tcp, FiveTuple);
        assert_ne!(five, hash("198.51.100.1:1000", vip, Udp, FiveTuple));
    }

    #[test]
    fn hashes_are_the_same_in_every_version() {
        let vip = "203.0.113.10:443";
        let identity = identity("198.51.100.7:8443".parse().unwrap());
        let flow = |client| flow(client, vip, Protocol::Tcp);
        let hash = flow("198.51.100.1:40000");
        assert_eq!((identity, hash), (15_043_936_235_152_245_449, 4_124_539_306_937_679_503));
        assert_eq!(flow("[::ffff:198.51.100.1]:40000"), hash);
    }
}
