//! What a service listens on: addresses or whole prefixes, each with a port or a range of them.

use std::net::{IpAddr, Ipv6Addr};
use std::ops::RangeInclusive;

use ipnet::IpNet;
use toml::Spanned;

use super::super::reader::Value;
use crate::l4::settings::Listen;

/// Each port takes sockets of its own.
const MOST_PORTS: usize = 4096;

/// Reads one, or several.
pub(super) fn read(value: &Value<'_>) -> Vec<Spanned<Listen>> {
    let items = value.one_or_more();
    if items.is_empty() {
        let error = value.error("there is no address to listen on");
        value.reject::<()>(error.label("expected at least one, such as \"203.0.113.10:443\""));
    }
    items.iter().filter_map(read_one).collect()
}

fn read_one(value: &Value<'_>) -> Option<Spanned<Listen>> {
    let text = value.text()?;
    let given = text.get_ref();
    let Some(listen) = parse(given) else {
        let expected = "an address or prefix with its port or ports, such as \
                        \"203.0.113.10:443\", \"203.0.113.0/28:8000-8099\" or \"[2001:db8::]/64:443\"";
        return value.unreadable(given, expected);
    };
    let refuse = |message: String, label: String| value.reject(value.error(message).label(label));
    if listen.addresses.trunc() != listen.addresses {
        let meant = Listen { addresses: listen.addresses.trunc(), ports: listen.ports };
        let message = format!("`{given}` has bits set beyond its length");
        return refuse(message, format!("did you mean \"{meant}\"?"));
    }
    if listen.addresses.addr().is_multicast() {
        return refuse(format!("`{given}` is multicast"), "expected unicast addresses".into());
    }
    if *listen.ports.start() == 0 && listen.single().is_none() {
        let message = format!("`{given}` has no port");
        return refuse(message, "only a single address can have any free port".into());
    }
    if listen.ports.len() > MOST_PORTS {
        let message = format!("`{given}` has {} ports", listen.ports.len());
        return refuse(message, format!("expected at most {MOST_PORTS} in one service"));
    }
    Some(Spanned::new(text.span(), listen))
}

fn parse(text: &str) -> Option<Listen> {
    let (addresses, ports) = text.rsplit_once(':')?;
    Some(Listen { addresses: parse_addresses(addresses)?, ports: parse_ports(ports)? })
}

/// `203.0.113.10`, `203.0.113.0/28`, `[2001:db8::1]`, `[2001:db8::]/64`.
fn parse_addresses(text: &str) -> Option<IpNet> {
    let Some(rest) = text.strip_prefix('[') else {
        // An IPv6 address without brackets could not be told from its port.
        let is_v4 = |net: &IpNet| net.addr().is_ipv4();
        let one = text.parse::<IpAddr>().ok().map(IpNet::from);
        return one.or_else(|| text.parse().ok()).filter(is_v4);
    };
    let (address, length) = rest.split_once(']')?;
    let address = IpAddr::V6(address.parse::<Ipv6Addr>().ok()?);
    match length.strip_prefix('/') {
        Some(length) => IpNet::new(address, length.parse().ok()?).ok(),
        None => length.is_empty().then(|| IpNet::from(address)),
    }
}

/// `443`, `8000-8099`; 0 is any free port.
fn parse_ports(text: &str) -> Option<RangeInclusive<u16>> {
    match text.split_once('-') {
        None => text.parse().ok().map(|port: u16| port..=port),
        Some((first, last)) => {
            let range = first.parse().ok()?..=last.parse().ok()?;
            (*range.start() > 0 && !range.is_empty()).then_some(range)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_prefixes_and_ranges_are_read_and_nothing_else() {
        let same = [
            "203.0.113.10:443",
            "203.0.113.0/28:443",
            "203.0.113.10:8000-8099",
            "[2001:db8::1]:443",
            "[2001:db8::]/64:1-4096",
            "0.0.0.0:0",
        ];
        for text in same {
            assert_eq!(parse(text).map(|listen| listen.to_string()).as_deref(), Some(text));
        }
        for text in [
            "203.0.113.10",
            ":443",
            "203.0.113.10:443-",
            "203.0.113.10:0-9",
            "203.0.113.10:9-8",
            "203.0.113.0/33:443",
            "2001:db8::1:443",
            "[2001:db8::1]64:443",
            "[203.0.113.10]:443",
            "[2001:db8::]/129:1",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_of_a_listen_is_read_as_the_same(
            bits: u128, length in 0..=128u8, first in 1..=u16::MAX, more: u16, is_v4: bool,
        ) {
            let address = match is_v4 {
                true => IpAddr::V4((bits as u32).into()),
                false => IpAddr::V6(bits.into()),
            };
            let length = if is_v4 { length % 33 } else { length };
            let addresses = IpNet::new(address, length).unwrap().trunc();
            let listen = Listen { addresses, ports: first..=first.saturating_add(more) };
            prop_assert_eq!(parse(&listen.to_string()), Some(listen));
        }

        #[test]
        fn no_text_does_harm(text in ".{0,40}|[0-9a-f:./\\[\\]-]{0,40}") {
            parse(&text);
        }
    }
}
