//! EDNS(0) (RFC 6891) and its client subnet option (RFC 7871).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The largest UDP payload that we send, and the one we announce: what passes every common path
/// without fragments.
pub const UDP_PAYLOAD_BYTES: u16 = 1232;
/// The largest UDP payload for those who announce none (RFC 1035 §4.2.1), and the least that an
/// announcement counts for (RFC 6891 §6.2.3).
pub const MIN_UDP_PAYLOAD_BYTES: u16 = 512;
/// An OPT record without options: root owner, type, class, TTL and RDLENGTH.
pub const OPT_BYTES: usize = 11;

/// The option code of the name server identifier (RFC 5001 §2.3).
pub(super) const NSID: u16 = 3;
/// The option code of the client subnet.
const CLIENT_SUBNET: u16 = 8;
/// The option code of an extended error.
pub(super) const EXTENDED_ERROR: u16 = 15;
/// Option code and length, family, source and scope prefix length.
const CLIENT_SUBNET_BYTES: usize = 8;
/// FAMILY, SOURCE PREFIX-LENGTH and SCOPE PREFIX-LENGTH.
const SUBNET_HEADER_BYTES: usize = 4;

/// What a query's OPT record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns {
    /// The version; only 0 exists.
    pub version: u8,
    /// The largest UDP payload that the sender takes, as announced.
    pub udp_payload: u16,
    /// DNSSEC records are welcome (RFC 3225).
    pub dnssec_ok: bool,
    /// The client on whose behalf the query is sent.
    pub subnet: Option<ClientSubnet>,
    /// Who answers is asked for (RFC 5001 §2.1). What stands in the option does not matter.
    pub wants_nsid: bool,
}

/// The client subnet of a query, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientSubnet {
    /// The address; bits beyond the prefix are zero.
    pub address: IpAddr,
    /// How many bits of it were given.
    pub source: u8,
}

/// Why a response is as it is, besides its response code: the INFO-CODE of RFC 8914 §4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtendedError(pub u16);

impl ExtendedError {
    /// The data could not be brought up to date (RFC 8767).
    pub const STALE_ANSWER: ExtendedError = ExtendedError(3);
    /// The server does not have its data yet.
    pub const NOT_READY: ExtendedError = ExtendedError(14);
    /// Who asks may not.
    pub const PROHIBITED: ExtendedError = ExtendedError(18);
    /// The name is in no zone of ours.
    pub const NOT_AUTHORITATIVE: ExtendedError = ExtendedError(20);
    /// The operation is not implemented.
    pub const NOT_SUPPORTED: ExtendedError = ExtendedError(21);
    /// The data is there, and is not fit to be answered with.
    pub const INVALID_DATA: ExtendedError = ExtendedError(24);
}

/// The RDATA of an OPT record is not a list of options, or a client subnet in it is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadOptions;

impl Edns {
    /// Reads an OPT record from its CLASS, TTL and RDATA.
    ///
    /// For a version that we do not know only the version and the size are read.
    pub fn parse(class: u16, ttl: u32, rdata: &[u8]) -> Result<Edns, BadOptions> {
        let mut edns = Edns {
            version: (ttl >> 16) as u8,
            udp_payload: class,
            dnssec_ok: ttl & 0x8000 != 0,
            subnet: None,
            wants_nsid: false,
        };
        let mut rest = rdata;
        while edns.version == 0 && !rest.is_empty() {
            let ([c0, c1, l0, l1], tail) = rest.split_first_chunk().ok_or(BadOptions)?;
            let (code, length) = (u16::from_be_bytes([*c0, *c1]), u16::from_be_bytes([*l0, *l1]));
            let (data, tail) = tail.split_at_checked(length.into()).ok_or(BadOptions)?;
            match code {
                CLIENT_SUBNET => {
                    let subnet = ClientSubnet::parse(data).ok_or(BadOptions)?;
                    if edns.subnet.replace(subnet).is_some() {
                        return Err(BadOptions);
                    }
                }
                NSID => edns.wants_nsid = true,
                _ => (),
            }
            rest = tail;
        }
        Ok(edns)
    }

    /// The length of the OPT record that answers this one, in bytes.
    pub fn reply_bytes(&self) -> usize {
        let subnet = self.subnet.map_or(0, |subnet| CLIENT_SUBNET_BYTES + subnet.address_bytes());
        OPT_BYTES + subnet
    }

    /// Writes the OPT record that answers this one into exactly [`reply_bytes`](Self::reply_bytes).
    ///
    /// `extended_rcode` are the upper bits of the response code; `scope` is that of the client
    /// subnet, if there is one.
    pub fn write_reply(&self, out: &mut [u8], extended_rcode: u8, scope: u8) {
        let flags = if self.dnssec_ok { 0x80 } else { 0 };
        let [s0, s1] = UDP_PAYLOAD_BYTES.to_be_bytes();
        let options = (out.len() - OPT_BYTES) as u8;
        let opt = [0, 0, 41, s0, s1, extended_rcode, 0, flags, 0, 0, options];
        out[..OPT_BYTES].copy_from_slice(&opt);
        if let Some(subnet) = self.subnet {
            subnet.write_reply(&mut out[OPT_BYTES..], scope);
        }
    }
}

impl ClientSubnet {
    /// Reads the data of the option as a query may carry it (RFC 7871 §6 and §7.1.2): the family
    /// is IPv4 or IPv6, the scope 0, the address as long as the prefix needs and zero beyond it.
    fn parse(data: &[u8]) -> Option<ClientSubnet> {
        let ([f0, f1, source, scope], address) = data.split_first_chunk()?;
        let (source, family) = (*source, u16::from_be_bytes([*f0, *f1]));
        if *scope != 0 || address.len() != usize::from(source).div_ceil(8) {
            return None;
        }
        let address = match family {
            1 if source <= 32 => IpAddr::V4(Ipv4Addr::from(padded(address)?)),
            2 if source <= 128 => IpAddr::V6(Ipv6Addr::from(padded(address)?)),
            _ => return None,
        };
        let is_zero_beyond = match address {
            IpAddr::V4(v4) => v4.to_bits().checked_shl(source.into()).unwrap_or(0) == 0,
            IpAddr::V6(v6) => v6.to_bits().checked_shl(source.into()).unwrap_or(0) == 0,
        };
        is_zero_beyond.then_some(ClientSubnet { address, source })
    }

    fn address_bytes(&self) -> usize {
        usize::from(self.source).div_ceil(8)
    }

    /// The option echoes family, source prefix and address, and adds the scope (RFC 7871 §7.2.1).
    fn write_reply(&self, out: &mut [u8], scope: u8) {
        let family = if self.address.is_ipv4() { 1 } else { 2 };
        let address_bytes = self.address_bytes();
        let length = (SUBNET_HEADER_BYTES + address_bytes) as u8;
        let head = [0, CLIENT_SUBNET as u8, 0, length, 0, family, self.source, scope];
        out[..CLIENT_SUBNET_BYTES].copy_from_slice(&head);
        let address = &mut out[CLIENT_SUBNET_BYTES..];
        match self.address {
            IpAddr::V4(v4) => address.copy_from_slice(&v4.octets()[..address_bytes]),
            IpAddr::V6(v6) => address.copy_from_slice(&v6.octets()[..address_bytes]),
        }
    }
}

/// `bytes`, with zeros to the right.
fn padded<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    let mut all = [0; N];
    all.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(all)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn options(rdata: &[u8]) -> Result<Option<ClientSubnet>, BadOptions> {
        Edns::parse(1232, 0, rdata).map(|edns| edns.subnet)
    }

    fn subnet_option(data: &[u8]) -> Vec<u8> {
        [&[0, 8, 0, data.len() as u8][..], data].concat()
    }

    #[test]
    fn a_client_subnet_is_read_with_its_prefix() {
        for (data, address, source) in [
            (&[0, 1, 24, 0, 198, 51, 100][..], "198.51.100.0", 24),
            (&[0, 1, 0, 0], "0.0.0.0", 0),
            (&[0, 1, 32, 0, 198, 51, 100, 255], "198.51.100.255", 32),
            (&[0, 1, 1, 0, 0x80], "128.0.0.0", 1),
            (&[0, 2, 0, 0], "::", 0),
            (&[0, 2, 33, 0, 0x20, 1, 0x0d, 0xb8, 0x80], "2001:db8:8000::", 33),
        ] {
            let subnet = ClientSubnet { address: address.parse().unwrap(), source };
            assert_eq!(options(&subnet_option(data)), Ok(Some(subnet)), "{data:?}");
        }
    }

    #[test]
    fn a_malformed_client_subnet_is_refused() {
        let reasons: [(&str, &[u8]); 16] = [
            ("empty", &[]),
            ("shorter than its fixed part", &[0, 1, 0]),
            ("family 0 with a prefix", &[0, 0, 24, 0, 198, 51, 100]),
            ("family 0 without one", &[0, 0, 0, 0]),
            ("family 3", &[0, 3, 8, 0, 1]),
            ("family 256 + 1", &[1, 1, 8, 0, 1]),
            ("IPv4 prefix of 33", &[0, 1, 33, 0, 198, 51, 100, 1, 0]),
            ("IPv6 prefix of 129", &[[0, 2, 129, 0].as_slice(), &[0; 17]].concat()),
            ("address one byte short", &[0, 1, 24, 0, 198, 51]),
            ("address one byte long", &[0, 1, 24, 0, 198, 51, 100, 0]),
            ("address where none is due", &[0, 1, 0, 0, 0]),
            ("no address where one is due", &[0, 1, 1, 0]),
            ("IPv4 bit beyond the prefix", &[0, 1, 23, 0, 198, 51, 101]),
            ("IPv6 bit beyond the prefix", &[0, 2, 33, 0, 0x20, 1, 0x0d, 0xb8, 0x40]),
            ("non-zero scope", &[0, 1, 24, 24, 198, 51, 100]),
            ("non-zero scope of nothing", &[0, 1, 0, 1]),
        ];
        for (reason, data) in reasons {
            assert_eq!(options(&subnet_option(data)), Err(BadOptions), "{reason}");
        }
    }

    #[test]
    fn one_client_subnet_is_enough() {
        let one = subnet_option(&[0, 1, 8, 0, 10]);
        assert_eq!(options(&[&one[..], &one[..]].concat()), Err(BadOptions));
    }

    #[test]
    fn other_options_are_skipped_and_must_fit() {
        let cookie = [0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];
        let subnet = subnet_option(&[0, 1, 8, 0, 10]);
        let parsed = options(&[&cookie[..], &subnet[..], &cookie[..]].concat());
        assert_eq!(parsed.unwrap().unwrap().source, 8);
        assert_eq!(options(&cookie[..11]), Err(BadOptions));
        assert_eq!(options(&[0, 10, 0]), Err(BadOptions));
    }

    #[test]
    fn who_answers_is_asked_for_with_whatever_in_the_option() {
        let wants = |rdata: &[u8]| Edns::parse(1232, 0, rdata).unwrap().wants_nsid;
        assert!(!wants(&[]));
        assert!(!wants(&[0, 10, 0, 3, 0, 3, 0]));
        assert!(wants(&[0, 3, 0, 0]));
        assert!(wants(&[0, 3, 0, 2, b'm', b'e']));
    }

    #[test]
    fn of_an_unknown_version_the_options_are_not_read() {
        let edns = Edns::parse(512, 0x0001_8000, &[1, 2, 3]).unwrap();
        assert_eq!((edns.version, edns.dnssec_ok, edns.subnet), (1, true, None));
    }

    proptest! {
        #[test]
        fn the_reply_echoes_what_was_asked_and_adds_the_scope(
            source in 0u8..=128, bits: u128, is_v4: bool, scope: u8, rcode: u8, dnssec_ok: bool,
        ) {
            let source = if is_v4 { source.min(32) } else { source };
            let mask = u128::MAX.checked_shl(128 - u32::from(source)).unwrap_or(0);
            let address = match is_v4 {
                true => IpAddr::V4(Ipv4Addr::from_bits(((bits & mask) >> 96) as u32)),
                false => IpAddr::V6(Ipv6Addr::from_bits(bits & mask)),
            };
            let subnet = Some(ClientSubnet { address, source });
            let asked = Edns { version: 0, udp_payload: 4096, dnssec_ok, subnet, wants_nsid: false };
            let mut out = vec![0xff; asked.reply_bytes()];
            asked.write_reply(&mut out, rcode, scope);
            prop_assert_eq!(&out[..11], &[
                0, 0, 41, 4, 208, rcode, 0, if dnssec_ok { 0x80 } else { 0 }, 0, 0, out.len() as u8 - 11,
            ]);
            prop_assert_eq!(out[18], scope);
            out[18] = 0;
            prop_assert_eq!(options(&out[11..]), Ok(subnet));
        }

        #[test]
        fn no_bytes_make_the_parser_panic(class: u16, ttl: u32, rdata: Vec<u8>) {
            let _ = Edns::parse(class, ttl, &rdata);
        }
    }
}
