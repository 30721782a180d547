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

/// What keeps bytes from being RDATA of a SVCB or HTTPS record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The parameter that it is about, if it is one.
    pub key: Option<u16>,
    /// What is wrong, in words.
    pub message: String,
}

/// Checks RDATA: that it is whole, that the parameters ascend, that each value has its form, and
/// that they fit together (RFC 9460 §2.2, §7, §8; RFC 9461 §5; RFC 9540 §4).
pub fn check(rdata: &[u8]) -> Result<(), Flaw> {
    let flaw = |key, message: String| Err(Flaw { key, message });
    let Some(binding) = ServiceBinding::parse(rdata) else {
        return flaw(None, "priority and target are not whole".into());
    };
    let mut end = binding.params_start;
    let mut last = None;
    for Param { key, value, start } in binding.params() {
        let name = key_name(key);
        match last {
            Some(last) if last == key => return flaw(Some(key), format!("`{name}` stands twice")),
            Some(last) if last > key => {
                let last = key_name(last);
                return flaw(Some(key), format!("`{name}` stands behind `{last}`"));
            }
            _ => last = Some(key),
        }
        if let Some(message) = value_flaw(&binding, key, value) {
            return flaw(Some(key), message);
        }
        end = start + PARAM_HEAD_BYTES + value.len();
    }
    match end == rdata.len() {
        true => Ok(()),
        false => flaw(None, "the last parameter is cut short".into()),
    }
}

/// What is wrong with the value of a parameter.
fn value_flaw(binding: &ServiceBinding<'_>, key: u16, value: &[u8]) -> Option<String> {
    let name = key_name(key);
    let is_list_of = |size: usize| !value.is_empty() && value.len().is_multiple_of(size);
    let is_valid = match key {
        key::MANDATORY => return mandatory_flaw(binding, value),
        key::ALPN => is_alpn(value),
        key::NO_DEFAULT_ALPN if !binding.params().any(|param| param.key == key::ALPN) => {
            return Some(format!("`{name}` without `alpn`"));
        }
        key::NO_DEFAULT_ALPN | key::OHTTP => {
            return (!value.is_empty()).then(|| format!("`{name}` has a value"));
        }
        key::PORT => value.len() == 2,
        key::IPV4HINT => is_list_of(4),
        key::IPV6HINT => is_list_of(16),
        key::ECH => !value.is_empty(),
        key::DOHPATH => is_path_template(value),
        key::TLS_SUPPORTED_GROUPS => {
            let mut groups = value.as_chunks::<2>().0.to_vec();
            groups.sort_unstable();
            is_list_of(2) && groups.windows(2).all(|pair| pair[0] != pair[1])
        }
        key::INVALID => return Some(format!("`{name}` is no key")),
        _ => true,
    };
    match (is_valid, value.is_empty()) {
        (true, _) => None,
        (false, true) => Some(format!("`{name}` has no value")),
        (false, false) => Some(format!("the value of `{name}` is not of its form")),
    }
}

/// `mandatory` lists keys that are there, in ascending order, but not itself (RFC 9460 §8).
fn mandatory_flaw(binding: &ServiceBinding<'_>, value: &[u8]) -> Option<String> {
    let (keys, []) = value.as_chunks::<2>() else {
        return Some("the value of `mandatory` is not of its form".into());
    };
    if keys.is_empty() {
        return Some("`mandatory` has no value".into());
    }
    // Both ascend.
    let mut params = binding.params();
    let mut last = None;
    for key in keys.iter().map(|bytes| u16::from_be_bytes(*bytes)) {
        let name = key_name(key);
        if key == key::MANDATORY {
            return Some("`mandatory` lists itself".into());
        } else if last == Some(key) {
            return Some(format!("`mandatory` lists `{name}` twice"));
        } else if last > Some(key) {
            return Some("the keys that `mandatory` lists do not ascend".into());
        } else if params.find(|param| param.key >= key).is_none_or(|param| param.key != key) {
            return Some(format!("`mandatory` lists `{name}`, which is not there"));
        }
        last = Some(key);
    }
    None
}

/// Protocol identifiers, each with its length, and none of them empty (RFC 9460 §7.1.1).
fn is_alpn(value: &[u8]) -> bool {
    let mut rest = value;
    while let Some((&length @ 1.., behind)) = rest.split_first() {
        match behind.get(usize::from(length)..) {
            Some(next) => rest = next,
            None => return false,
        }
    }
    !value.is_empty() && rest.is_empty()
}

/// A relative URI template with the variable `dns` (RFC 9461 §5).
fn is_path_template(value: &[u8]) -> bool {
    let Ok(template) = std::str::from_utf8(value) else { return false };
    let mut expressions = template.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    let names_dns = |expression: &str| {
        let variables = expression.trim_start_matches(['+', '#', '.', '/', ';', '?', '&']);
        variables.split(',').any(|variable| variable.split([':', '*']).next() == Some("dns"))
    };
    template.starts_with('/') && expressions.any(names_dns)
}

/// The keys that have names.
const KEY_NAMES: [(u16, &str); 10] = [
    (key::MANDATORY, "mandatory"),
    (key::ALPN, "alpn"),
    (key::NO_DEFAULT_ALPN, "no-default-alpn"),
    (key::PORT, "port"),
    (key::IPV4HINT, "ipv4hint"),
    (key::ECH, "ech"),
    (key::IPV6HINT, "ipv6hint"),
    (key::DOHPATH, "dohpath"),
    (key::OHTTP, "ohttp"),
    (key::TLS_SUPPORTED_GROUPS, "tls-supported-groups"),
];

/// The key in words: its name, or `keyNNNNN` (RFC 9460 §2.1).
pub fn key_name(key: u16) -> String {
    match KEY_NAMES.iter().find(|(number, _)| *number == key) {
        Some((_, name)) => (*name).to_string(),
        None => format!("key{key}"),
    }
}

/// The key with a name.
pub fn named_key(name: &str) -> Option<u16> {
    KEY_NAMES.iter().find(|(_, known)| *known == name).map(|(key, _)| *key)
}

/// The key that `keyNNNNN` means; leading zeros are not allowed (RFC 9460 §2.1).
pub fn numbered_key(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("key")?;
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'));
    digits.parse().ok().filter(|_| is_plain)
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

    fn flaw_of(params: &[u8]) -> Option<String> {
        check(&[b"\0\x01\0", params].concat()).err().map(|flaw| flaw.message)
    }

    #[test]
    fn parameters_ascend_and_end_where_the_data_ends() {
        assert_eq!(flaw_of(b""), None);
        assert_eq!(flaw_of(b"\0\x03\0\x02\x01\xbb\x02\x9b\0\0"), None);
        let behind = flaw_of(b"\x02\x9b\0\0\0\x03\0\x02\x01\xbb").unwrap();
        assert_eq!(behind, "`port` stands behind `key667`");
        assert_eq!(flaw_of(b"\x02\x9b\0\0\x02\x9b\0\0").unwrap(), "`key667` stands twice");
        let short = "the last parameter is cut short";
        assert_eq!(flaw_of(b"\0\x03\0\x02\x01").unwrap(), short);
        assert_eq!(flaw_of(b"\0\x03").unwrap(), short);
        assert_eq!(flaw_of(b"\xff\xff\0\0").unwrap(), "`key65535` is no key");
        assert!(check(b"\0\x01\xc0\x0c").is_err());
    }

    #[test]
    fn every_value_has_its_form() {
        let of = |key: u16, value: &[u8]| {
            let length = (value.len() as u16).to_be_bytes();
            flaw_of(&[&key.to_be_bytes()[..], &length, value].concat())
        };
        for (key, good, bad) in [
            (key::ALPN, &b"\x02h2\x02h3"[..], &[&b""[..], b"\x03h2", b"\0", b"\x02h2\0"][..]),
            (key::PORT, b"\0\x35", &[b"", b"\x35", b"\0\0\x35"]),
            (key::IPV4HINT, &[198, 51, 100, 1], &[b"", b"\x01\x02\x03"]),
            (key::IPV6HINT, &[1; 32], &[b"", &[1; 17]]),
            (key::ECH, b"\0", &[b""]),
            (key::DOHPATH, b"/q{?dns}", &[b"", b"q{?dns}", b"/q{?dnss}", b"/dns", b"/\xff{?dns}"]),
            (key::DOHPATH, b"/{dns}{?x,y}", &[]),
            (key::DOHPATH, b"/q{?x,dns*}", &[]),
            (key::OHTTP, b"", &[b"x"]),
            (key::TLS_SUPPORTED_GROUPS, b"\0\x1d\0\x17", &[b"", b"\0", b"\0\x1d\0\x1d"]),
            (700, b"", &[]),
            (700, b"anything", &[]),
        ] {
            assert_eq!(of(key, good), None, "{key}");
            for bad in bad {
                assert!(of(key, bad).is_some(), "{key} {bad:?}");
            }
        }
        assert_eq!(of(key::NO_DEFAULT_ALPN, b"").unwrap(), "`no-default-alpn` without `alpn`");
    }

    #[test]
    fn mandatory_lists_what_is_there_in_order_and_not_itself() {
        let of = |keys: &[u8]| {
            let alpn_and_port = b"\0\x01\0\x03\x02h2\0\x03\0\x02\x01\xbb";
            flaw_of(&[&[0, 0, 0, keys.len() as u8], keys, &alpn_and_port[..]].concat())
        };
        assert_eq!(of(&[0, 1, 0, 3]), None);
        assert_eq!(of(&[]).unwrap(), "`mandatory` has no value");
        assert!(of(&[0, 1, 0]).unwrap().ends_with("not of its form"));
        assert!(of(&[0, 3, 0, 1]).unwrap().ends_with("do not ascend"));
        assert!(of(&[0, 1, 0, 1]).unwrap().ends_with("`alpn` twice"));
        assert!(of(&[0, 4]).unwrap().ends_with("`ipv4hint`, which is not there"));
        assert!(of(&[0, 0]).unwrap().ends_with("itself"));
    }

    #[test]
    fn keys_have_names_or_numbers() {
        assert_eq!((key_name(5).as_str(), key_name(667).as_str()), ("ech", "key667"));
        assert_eq!((named_key("ech"), named_key("key667")), (Some(5), None));
        let numbers = ["key0", "key65535", "key65536", "key01", "key", "key-1", "key+1", "667"];
        let expected = [Some(0), Some(65535), None, None, None, None, None, None];
        assert_eq!(numbers.map(numbered_key), expected);
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
