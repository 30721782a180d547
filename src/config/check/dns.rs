//! What a DNS check asks, and what answer it wants.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use domain::base::iana::{Rcode, Rtype};
use toml::Spanned;

use super::super::reader::Value;
use super::Given;
use crate::health::{DnsAnswer, DnsCheck};

type Name = domain::base::Name<Vec<u8>>;

/// Reads the keys of a DNS check.
pub(super) fn read(given: &mut Given<'_>) -> Option<DnsCheck> {
    let [name_value, rtype_value, rcode_value, answer_value] =
        ["name", "type", "rcode", "answer"].map(|key| given.take(key));
    let asked = name_value.and_then(|value| name(&value));
    let rtype = match rtype_value {
        Some(value) => rtype(&value),
        None => Some(Rtype::A),
    };
    let rcode = rcode_value.and_then(|value| {
        let expected = "a response code, such as \"NOERROR\" or \"REFUSED\"";
        value.parsed::<Rcode>(expected).map(Spanned::into_inner)
    });
    let rtype = rtype?;
    let answer = answer_value.and_then(|value| answer(&value, rtype));
    Some(DnsCheck { name: asked?, rtype, rcode: rcode.unwrap_or(Rcode::NOERROR), answer })
}

fn rtype(value: &Value<'_>) -> Option<Rtype> {
    let expected = "a type of records, such as \"A\" or \"SOA\"";
    let rtype = value.parsed::<Rtype>(expected)?;
    let number = rtype.get_ref().to_int();
    // OPT is none, and 128 to 255 are of queries that are no plain questions (RFC 6895 §3.1).
    if matches!(*rtype.get_ref(), Rtype::OPT) || (128..256).contains(&number) || number == 0 {
        return value.unreadable(&rtype.get_ref().to_string(), expected);
    }
    Some(rtype.into_inner())
}

fn name(value: &Value<'_>) -> Option<Name> {
    let name = value.name()?;
    Name::from_octets(name.get_ref().as_wire().to_vec()).ok()
}

fn answer(value: &Value<'_>, rtype: Rtype) -> Option<DnsAnswer> {
    let address = |address: IpAddr| DnsAnswer::Address(address);
    match rtype {
        Rtype::A => {
            let given = value.parsed::<Ipv4Addr>("an IPv4 address, as records of type A have")?;
            Some(address(given.into_inner().into()))
        }
        Rtype::AAAA => {
            let given =
                value.parsed::<Ipv6Addr>("an IPv6 address, as records of type AAAA have")?;
            Some(address(given.into_inner().into()))
        }
        Rtype::CNAME | Rtype::NS | Rtype::PTR => name(value).map(DnsAnswer::Name),
        Rtype::TXT => value.text().map(|text| DnsAnswer::Text(text.into_inner())),
        _ => {
            let error = value.error(format!("`answer` has no meaning for records of type {rtype}"));
            value.reject(error.label("only for types A, AAAA, CNAME, NS, PTR and TXT"))
        }
    }
}
