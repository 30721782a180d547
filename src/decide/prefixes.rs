//! Prefixes with a number each, and the longest of them around an address.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::geo::RangeTable;
use crate::geo::range_table::Key;

/// Prefixes with a number each.
#[derive(Clone, Debug, PartialEq)]
pub struct Prefixes {
    /// The number, plus one; 0 where there is no prefix.
    v4: RangeTable<u32>,
    v6: RangeTable<u128>,
}

impl Prefixes {
    /// Canonical prefixes, each at most once, with their numbers.
    pub fn new(prefixes: impl IntoIterator<Item = (IpNet, u32)>) -> Prefixes {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (prefix, number) in prefixes {
            let len = prefix.prefix_len();
            match prefix {
                IpNet::V4(net) => v4.push(Extent {
                    first: net.network().into(),
                    last: net.broadcast().into(),
                    len,
                    number,
                }),
                IpNet::V6(net) => v6.push(Extent {
                    first: net.network().into(),
                    last: net.broadcast().into(),
                    len,
                    number,
                }),
            }
        }
        Prefixes { v4: table(v4), v6: table(v6) }
    }

    /// The number of the longest prefix around an address.
    pub fn find(&self, address: IpAddr) -> Option<u32> {
        let (number, _) = match address.to_canonical() {
            IpAddr::V4(v4) => self.v4.lookup(v4.into()),
            IpAddr::V6(v6) => self.v6.lookup(v6.into()),
        };
        number.checked_sub(1)
    }

    /// The IPv4 table; its values are the numbers plus one, or 0.
    pub fn v4(&self) -> &RangeTable<u32> {
        &self.v4
    }

    /// The IPv6 table; its values are the numbers plus one, or 0.
    pub fn v6(&self) -> &RangeTable<u128> {
        &self.v6
    }
}

/// A prefix without bits behind its length; an IPv4-mapped one is the IPv4 one.
pub fn canonical(prefix: IpNet) -> IpNet {
    let prefix = prefix.trunc();
    let (network, len) = (prefix.network(), prefix.prefix_len());
    match network.to_canonical() {
        mapped @ IpAddr::V4(_) if network.is_ipv6() && len >= 96 => {
            IpNet::new(mapped, len - 96).unwrap_or(prefix)
        }
        _ => prefix,
    }
}

/// The addresses of a prefix.
struct Extent<K> {
    first: K,
    last: K,
    len: u8,
    number: u32,
}

fn table<K: Key>(mut prefixes: Vec<Extent<K>>) -> RangeTable<K> {
    prefixes.sort_unstable_by_key(|prefix| (prefix.first, prefix.len));
    let bounds = prefixes.iter().flat_map(|prefix| [Some(prefix.first), prefix.last.after()]);
    let mut starts: Vec<K> = [K::default()].into_iter().chain(bounds.flatten()).collect();
    starts.sort_unstable();
    starts.dedup();
    // Prefixes nest: of those that have begun and not ended, the last to begin is the longest.
    let (mut coming, mut open) = (prefixes.iter().peekable(), Vec::new());
    RangeTable::from_starts(starts.into_iter().map(|start| {
        while open.last().is_some_and(|prefix: &&Extent<K>| prefix.last < start) {
            open.pop();
        }
        while let Some(prefix) = coming.next_if(|prefix| prefix.first <= start) {
            open.push(prefix);
        }
        (start, open.last().map_or(0, |prefix| prefix.number + 1))
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_longest_prefix_around_an_address_is_found(
            nets in proptest::collection::btree_set((any::<u32>(), 0u8..=32), 0..40),
            near in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u32>()), 20),
        ) {
            let nets: std::collections::BTreeSet<IpNet> = nets
                .into_iter()
                .filter_map(|(bits, len)| IpNet::new(IpAddr::V4((bits & 0xf0f0_ffff).into()), len).ok())
                .map(canonical)
                .collect();
            let nets: Vec<IpNet> = nets.into_iter().collect();
            let prefixes = Prefixes::new(nets.iter().copied().zip(0..));
            for (index, bits) in near {
                let base = nets.get(index.index(nets.len() + 1)).map_or(0, |net| match net {
                    IpNet::V4(v4) => u32::from(v4.network()),
                    IpNet::V6(_) => 0,
                });
                let address = IpAddr::V4((base ^ (bits >> (bits % 33).min(31))).into());
                let around = nets.iter().enumerate().filter(|(_, net)| net.contains(&address));
                let longest = around.max_by_key(|(_, net)| net.prefix_len());
                prop_assert_eq!(prefixes.find(address), longest.map(|(number, _)| number as u32));
            }
        }
    }

    #[test]
    fn a_mapped_prefix_is_the_ipv4_one() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        assert_eq!(canonical(net("::ffff:198.51.100.7/120")), net("198.51.100.0/24"));
        assert_eq!(canonical(net("::/0")), net("::/0"));
        assert_eq!(canonical(net("2001:db8::1/56")), net("2001:db8::/56"));
    }
}
