//! A set of prefixes, asked for single addresses.

use std::net::IpAddr;

use ipnet::IpNet;

/// Prefixes, merged: an address is found by halving, however many there are.
#[derive(Debug, Default)]
pub struct Prefixes {
    /// First and last addresses, in order, none of which touch.
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl Prefixes {
    /// All addresses of these.
    pub fn new(prefixes: &[IpNet]) -> Prefixes {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for prefix in prefixes {
            match prefix {
                IpNet::V4(net) => v4.push((net.network().to_bits(), net.broadcast().to_bits())),
                IpNet::V6(net) => v6.push((net.network().to_bits(), net.broadcast().to_bits())),
            }
        }
        Prefixes { v4: merged(v4), v6: merged(v6) }
    }

    /// True for an address in one of the prefixes.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => is_in(&self.v4, address.to_bits()),
            IpAddr::V6(address) => is_in(&self.v6, address.to_bits()),
        }
    }
}

/// Of two prefixes that share an address, one is in the other.
fn merged<T: Ord + Copy>(mut ranges: Vec<(T, T)>) -> Box<[(T, T)]> {
    ranges.sort_unstable_by(|one, two| one.0.cmp(&two.0).then(two.1.cmp(&one.1)));
    ranges.dedup_by(|later, kept| later.1 <= kept.1);
    ranges.into()
}

fn is_in<T: Ord>(ranges: &[(T, T)], address: T) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= address);
    after.checked_sub(1).is_some_and(|at| address <= ranges[at].1)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_address_is_in_the_set_when_it_is_in_one_of_the_prefixes(
            // Few bits, so that they meet.
            v4 in prop::collection::vec((0..64u32, 0..=32u8), 0..12),
            v6 in prop::collection::vec((0..64u128, 0..=128u8), 0..12),
            bits in 0..64u32,
        ) {
            let net = |address: IpAddr, length| IpNet::new(address, length).unwrap().trunc();
            let mut nets: Vec<IpNet> =
                v4.iter().map(|(b, length)| net(Ipv4Addr::from(b << 26).into(), *length)).collect();
            nets.extend(v6.iter().map(|(b, l)| net(Ipv6Addr::from(b << 122).into(), *l)));
            let set = Prefixes::new(&nets);
            let addresses: [IpAddr; 4] = [
                Ipv4Addr::from(bits << 26).into(),
                Ipv4Addr::from(bits << 26 | 77).into(),
                Ipv6Addr::from(u128::from(bits) << 122).into(),
                Ipv6Addr::from(u128::from(bits) << 122 | 77).into(),
            ];
            for address in addresses {
                let wanted = nets.iter().any(|net| net.contains(&address));
                prop_assert_eq!(set.contains(address), wanted, "{}", address);
            }
        }
    }
}
