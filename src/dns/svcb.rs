//! SVCB and HTTPS RDATA on the wire (RFC 9460 §2.2), piece by piece.

use super::Rtype;
use super::rrset::names_in;

/// Numbers of the parameters whose form is known here (the IANA registry of SvcParamKeys).
#[allow(missing_docs)]
pub mod key {
    pub const MANDATORY: u16 = 0;
    pub const ALPN: u16 = 1;
    pub const NO_DEFAULT_ALPN: u16 = 2;
    pub const PORT: u16 = 3;
    pub const IPV4HINT: u16 = 4;
    pub const ECH: u16 = 5;
    pub const IPV6HINT: u16 = 6;
    pub const DOHPATH: u16 = 7;
    pub const OHTTP: u16 = 8;
    pub const TLS_SUPPORTED_GROUPS: u16 = 9;
    /// Never to be used (RFC 9460 §14.3.2).
    pub const INVALID: u16 = 65535;
}

/// The bytes of a parameter before its value: key and length.
pub const PARAM_HEAD_BYTES: usize = 4;

/// RDATA of a SVCB or HTTPS record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceBinding<'r> {
    /// 0 in AliasMode; else ServiceMode, and the less the better.
    pub priority: u16,
    /// TargetName, in wire form.
    pub target: &'r [u8],
    rdata: &'r [u8],
    params_start: usize,
}

/// A service parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param<'r> {
    /// Its number.
    pub key: u16,
    /// Its value.
    pub value: &'r [u8],
    /// Where it begins in the RDATA.
    pub start: usize,
}

impl<'r> ServiceBinding<'r> {
    /// Reads RDATA; none when it stops short before the parameters or has a compressed name.
    pub fn parse(rdata: &'r [u8]) -> Option<ServiceBinding<'r>> {
        let target = names_in(Rtype::SVCB, rdata).next()?;
        let priority = u16::from_be_bytes(*rdata.first_chunk()?);
        let params_start = target.end;
        Some(ServiceBinding { priority, target: &rdata[target], rdata, params_start })
    }

    /// True when the record is in AliasMode (RFC 9460 §2.4.2).
    pub fn is_alias(&self) -> bool {
        self.priority == 0
    }

    /// True when TargetName is the root: in ServiceMode the owner itself is meant.
    pub fn has_root_target(&self) -> bool {
        self.target == [0]
    }

    /// The parameters, up to the first that is cut short.
    pub fn params(&self) -> impl Iterator<Item = Param<'r>> + use<'r> {
        let rdata = self.rdata;
        let mut at = self.params_start;
        std::iter::from_fn(move || {
            let (start, head) = (at, rdata.get(at..)?.first_chunk::<PARAM_HEAD_BYTES>()?);
            let [k0, k1, l0, l1] = *head;
            let value_start = start + PARAM_HEAD_BYTES;
            let value = rdata.get(value_start..)?;
            let value = value.get(..usize::from(u16::from_be_bytes([l0, l1])))?;
            at = value_start + value.len();
            Some(Param { key: u16::from_be_bytes([k0, k1]), value, start })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rdata_comes_apart_into_its_pieces() {
        let rdata = b"\0\x01\x01a\0\0\x01\0\x03\x02h2\0\x03\0\x02\x01\xbb";
        let binding = ServiceBinding::parse(rdata).unwrap();
        assert_eq!((binding.priority, binding.target), (1, &b"\x01a\0"[..]));
        assert!(!binding.is_alias() && !binding.has_root_target());
        let params: Vec<_> = binding.params().collect();
        assert_eq!(
            params,
            [
                Param { key: key::ALPN, value: b"\x02h2", start: 5 },
                Param { key: key::PORT, value: b"\x01\xbb", start: 12 },
            ]
        );
    }

    #[test]
    fn what_is_cut_short_gives_no_parameter() {
        assert_eq!(ServiceBinding::parse(b"\0\x01"), None);
        assert_eq!(ServiceBinding::parse(b"\0\x01\xc0\x0c"), None);
        for rdata in [&b"\0\0\0"[..], b"\0\x01\0\0\x03\0\x02\x01", b"\0\x01\0\0\x03\0"] {
            assert_eq!(ServiceBinding::parse(rdata).unwrap().params().count(), 0, "{rdata:?}");
        }
    }
}
