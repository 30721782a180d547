//! SVCB and HTTPS data from their text (RFC 9460 §2.1 and appendix A).

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use domain::utils::base64;

use super::{RdataError, expectation, shortened};
use crate::dns::svcb::{self, key};
use crate::dns::{Name, Rtype};
use crate::zone::entry::Token;
use crate::zone::name_text;

/// A parameter as it is written.
struct Written {
    key: u16,
    value: Vec<u8>,
    span: Range<usize>,
}

/// Appends to `out` the RDATA that the tokens stand for.
pub(super) fn read(
    rtype: Rtype,
    text: &str,
    tokens: &[Token],
    origin: &Name,
    out: &mut Vec<u8>,
) -> Result<(), RdataError> {
    let refused = |span: Range<usize>, message: String| RdataError {
        span,
        message,
        help: expectation(rtype),
    };
    let [priority, rest @ ..] = tokens else { return Ok(()) };
    let word = &text[priority.span.clone()];
    let number = word.parse::<u16>().ok().filter(|_| word.bytes().all(|it| it.is_ascii_digit()));
    let number = number.ok_or_else(|| {
        let message = format!("`{}` is not a priority from 0 to 65535", shortened(word));
        refused(priority.span.clone(), message)
    })?;
    let Some((target, params)) = rest.split_first() else {
        let message = format!("{rtype} data ends too early, behind `{word}`");
        return Err(refused(priority.span.clone(), message));
    };
    let target = name_text::read(text, target, origin).map_err(|(message, help)| {
        let span = target.span.clone();
        RdataError { span, message, help }
    })?;
    let mut params = read_params(text, params).map_err(|(span, message)| refused(span, message))?;
    params.sort_by_key(|param| param.key);
    let start = out.len();
    out.extend(number.to_be_bytes());
    out.extend(target.as_wire());
    for param in &params {
        out.extend(param.key.to_be_bytes());
        // A value that is longer makes the data too long, which is said below.
        out.extend((param.value.len() as u16).to_be_bytes());
        out.extend(&param.value);
    }
    let whole = priority.span.start..tokens[tokens.len() - 1].span.end;
    if out.len() - start > usize::from(u16::MAX) {
        return Err(refused(whole, format!("{rtype} data is longer than 65535 bytes")));
    }
    svcb::check(&out[start..]).map_err(|flaw| {
        // Of two with the same key, the second is too much.
        let about = params.iter().rfind(|param| Some(param.key) == flaw.key);
        refused(about.map_or(whole, |param| param.span.clone()), flaw.message)
    })
}

type Refused = (Range<usize>, String);

fn read_params(text: &str, tokens: &[Token]) -> Result<Vec<Written>, Refused> {
    let mut params = Vec::new();
    let mut rest = tokens;
    while let [token, behind @ ..] = rest {
        rest = behind;
        let word = &text[token.span.clone()];
        let mut span = token.span.clone();
        if token.quoted {
            let message = format!("{} stands where a key is expected", shortened(word));
            return Err((span, message));
        }
        let (name, mut value) = word.split_once('=').unwrap_or((word, ""));
        // `key="value"` is two tokens.
        if let [quoted, behind @ ..] = rest
            && quoted.quoted
            && quoted.span.start == span.end
            && word.ends_with('=')
            && value.is_empty()
        {
            value = &text[quoted.span.start + 1..quoted.span.end - 1];
            span.end = quoted.span.end;
            rest = behind;
        }
        let (key, value) = read_param(name, value).map_err(|message| (span.clone(), message))?;
        params.push(Written { key, value, span });
    }
    Ok(params)
}

/// The key, and the value as it is on the wire.
fn read_param(name: &str, value: &str) -> Result<(u16, Vec<u8>), String> {
    let value = unescaped(value)
        .ok_or_else(|| format!("`{}` is not escaped as it should be", shortened(value)))?;
    // Under its number, the value of any key is as it is on the wire.
    if let Some(key) = svcb::numbered_key(name) {
        return Ok((key, value));
    }
    let key = svcb::named_key(name)
        .ok_or_else(|| format!("`{}` is not a parameter that is known here", shortened(name)))?;
    // An empty value is refused where there must be one.
    let form = if value.is_empty() { None } else { form_of(key) };
    let Some((read, what)) = form else { return Ok((key, value)) };
    match read(&value) {
        Some(value) => Ok((key, value)),
        None => {
            let value = String::from_utf8_lossy(&value);
            Err(format!("`{}` is not {what}, as `{name}` wants", shortened(&value)))
        }
    }
}

type Reader = fn(&[u8]) -> Option<Vec<u8>>;

/// How a value that is not written as it is on the wire is read, and what it is called.
fn form_of(key: u16) -> Option<(Reader, &'static str)> {
    Some(match key {
        key::MANDATORY => (mandatory, "a list of parameters"),
        key::ALPN => (alpn, "a list of protocols of at most 255 bytes"),
        key::PORT => (|value| items(value, decimal), "a port from 0 to 65535"),
        key::IPV4HINT => (
            |value| items(value, |item| Some(item.parse::<Ipv4Addr>().ok()?.octets().to_vec())),
            "a list of IPv4 addresses",
        ),
        key::IPV6HINT => (
            |value| items(value, |item| Some(item.parse::<Ipv6Addr>().ok()?.octets().to_vec())),
            "a list of IPv6 addresses",
        ),
        key::ECH => (
            |value| base64::decode(std::str::from_utf8(value).ok()?).ok(),
            "an ECHConfigList in Base64",
        ),
        key::TLS_SUPPORTED_GROUPS => (|value| items(value, decimal), "a list of numbers"),
        _ => return None,
    })
}

/// The bytes that a character string stands for (RFC 1035 §5.1).
fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut value = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, behind @ ..] = rest {
        rest = behind;
        if *byte != b'\\' {
            value.push(*byte);
            continue;
        }
        match behind {
            [a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', behind @ ..] => {
                let digits = [a, b, c].map(|digit| u16::from(digit - b'0'));
                value.push(u8::try_from(digits[0] * 100 + digits[1] * 10 + digits[2]).ok()?);
                rest = behind;
            }
            [b'0'..=b'9', ..] | [] => return None,
            [byte, behind @ ..] => {
                value.push(*byte);
                rest = behind;
            }
        }
    }
    Some(value)
}

/// A list whose items have neither commas nor backslashes.
fn items(value: &[u8], read: impl Fn(&str) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    let items = std::str::from_utf8(value).ok()?.split(',').map(read);
    Some(items.collect::<Option<Vec<_>>>()?.concat())
}

fn decimal(item: &str) -> Option<Vec<u8>> {
    let number: u16 = item.parse().ok().filter(|_| item.bytes().all(|it| it.is_ascii_digit()))?;
    Some(number.to_be_bytes().to_vec())
}

/// Keys in any order; on the wire they ascend.
fn mandatory(value: &[u8]) -> Option<Vec<u8>> {
    let key = |item: &str| svcb::named_key(item).or_else(|| svcb::numbered_key(item));
    let keys = std::str::from_utf8(value).ok()?.split(',').map(key);
    let mut keys = keys.collect::<Option<Vec<u16>>>()?;
    keys.sort_unstable();
    Some(keys.into_iter().flat_map(u16::to_be_bytes).collect())
}

/// Items that may have commas and backslashes, with a backslash before each (appendix A.1).
fn alpn(value: &[u8]) -> Option<Vec<u8>> {
    let mut items = vec![Vec::new()];
    let mut bytes = value.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b',' => items.push(Vec::new()),
            b'\\' => match bytes.next() {
                Some(byte @ (b',' | b'\\')) => items.last_mut()?.push(*byte),
                _ => return None,
            },
            byte => items.last_mut()?.push(*byte),
        }
    }
    let mut wire = Vec::with_capacity(value.len() + items.len());
    for item in items {
        wire.push(u8::try_from(item.len()).ok().filter(|&length| length > 0)?);
        wire.extend(item);
    }
    Some(wire)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::entry::Entries;

    /// The RDATA of a record of `example.com.`
    fn read_text(text: &str) -> Result<Vec<u8>, RdataError> {
        let origin = "example.com.".parse().unwrap();
        let mut entries = Entries::new(text);
        let entry = entries.next_entry().unwrap().unwrap();
        let mut out = Vec::new();
        super::super::read(Rtype::SVCB, text, entry.tokens, &origin, &mut out).map(|()| out)
    }

    fn told(text: &str) -> (String, &str) {
        let error = read_text(text).unwrap_err();
        (error.message, &text[error.span])
    }

    const FOO_COM: &str = "03666f6f076578616d706c6503636f6d00";
    const FOO_ORG: &str = "03666f6f076578616d706c65036f726700";

    /// Appendix D.1 and D.2, with addresses of other networks for documentation.
    #[test]
    fn the_vectors_of_the_rfc_are_read() {
        for (text, expected) in [
            ("0 foo.example.com.", format!("0000{FOO_COM}")),
            ("1 .", "000100".into()),
            ("16 foo.example.com. port=53", format!("0010{FOO_COM}000300020035")),
            ("1 foo.example.com. key667=hello", format!("0001{FOO_COM}029b000568656c6c6f")),
            (
                r#"1 foo.example.com. key667="hello\210qoo""#,
                format!("0001{FOO_COM}029b000968656c6c6fd2716f6f"),
            ),
            (
                r#"1 foo.example.com. (ipv6hint="2001:db8::1,2001:db8::53:1")"#,
                format!(
                    "0001{FOO_COM}00060020{}{}",
                    "20010db8000000000000000000000001", "20010db8000000000000000000530001"
                ),
            ),
            (
                r#"1 example.com. (ipv6hint="2001:db8:122:344::198.51.100.33")"#,
                "0001076578616d706c6503636f6d000006001020010db80122034400000000c6336421".into(),
            ),
            (
                "16 foo.example.org. (alpn=h2,h3-19 mandatory=ipv4hint,alpn ipv4hint=198.51.100.1)",
                format!(
                    "0010{FOO_ORG}000000040001000400010009{}00040004c6336401",
                    "026832".to_owned() + "0568332d3139"
                ),
            ),
            (
                r#"16 foo.example.org. alpn="f\\\\oo\\,bar,h2""#,
                format!("0010{FOO_ORG}0001000c08665c6f6f2c626172026832"),
            ),
            (
                r"16 foo.example.org. alpn=f\\\092oo\092,bar,h2",
                format!("0010{FOO_ORG}0001000c08665c6f6f2c626172026832"),
            ),
        ] {
            let rdata = read_text(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
            let hex: String = rdata.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, expected, "{text}");
            // And so is the generic form of the same.
            assert_eq!(read_text(&format!(r"\# {} {hex}", rdata.len())).unwrap(), rdata, "{text}");
        }
    }

    /// Appendix D.3.
    #[test]
    fn the_failures_of_the_rfc_are_refused() {
        for (params, message, span) in [
            ("key123=abc key123=def", "`key123` stands twice", "key123=def"),
            ("mandatory", "`mandatory` has no value", "mandatory"),
            ("alpn", "`alpn` has no value", "alpn"),
            ("port", "`port` has no value", "port"),
            ("ipv4hint", "`ipv4hint` has no value", "ipv4hint"),
            ("ipv6hint", "`ipv6hint` has no value", "ipv6hint"),
            ("alpn=h2 no-default-alpn=abc", "`no-default-alpn` has a value", "no-default-alpn=abc"),
            (
                "mandatory=key123",
                "`mandatory` lists `key123`, which is not there",
                "mandatory=key123",
            ),
            ("mandatory=mandatory", "`mandatory` lists itself", "mandatory=mandatory"),
            (
                "mandatory=key123,key123 key123=abc",
                "`mandatory` lists `key123` twice",
                "mandatory=key123,key123",
            ),
        ] {
            let text = format!("1 foo.example.com. {params}");
            assert_eq!(told(&text), (message.to_string(), span), "{params}");
        }
        assert!(read_text("1 foo.example.com. no-default-alpn=abc").is_err());
    }

    #[test]
    fn what_is_wrong_is_found_where_it_is() {
        for (text, span) in [
            ("x . port=1", "x"),
            ("65536 .", "65536"),
            ("+1 .", "+1"),
            ("1", "1"),
            ("1 a..b port=1", "a..b"),
            ("1 . port=65536", "port=65536"),
            ("1 . port=+1", "port=+1"),
            ("1 . port=1,2", "port=1,2"),
            ("1 . ipv4hint=198.51.100.1,", "ipv4hint=198.51.100.1,"),
            ("1 . ipv4hint=2001:db8::1", "ipv4hint=2001:db8::1"),
            (r#"1 . alpn="h2,,h3""#, r#"alpn="h2,,h3""#),
            (r"1 . alpn=h\\2", r"alpn=h\\2"),
            (r"1 . key1234=\256", r"key1234=\256"),
            (r"1 . key1234=\25", r"key1234=\25"),
            ("1 . ech=!", "ech=!"),
            ("1 . no-default-alpn", "no-default-alpn"),
            ("1 . ALPN=h2", "ALPN=h2"),
            ("1 . key01=h2", "key01=h2"),
            ("1 . key65535=h2", "key65535=h2"),
            ("1 . key65536=h2", "key65536=h2"),
            ("1 . alpn=h2 key1=\\002h3", "key1=\\002h3"),
            ("1 . key3=1", "key3=1"),
            ("1 . dohpath=/dns", "dohpath=/dns"),
            ("1 . alpn=h2 \"port=1\"", "\"port=1\""),
            ("1 . alpn=h2 \"x\"", "\"x\""),
            ("1 . alpn=h2\"x\"", "\"x\""),
            ("1 . =1", "=1"),
        ] {
            assert_eq!(told(text).1, span, "{text}");
        }
    }

    #[test]
    fn keys_may_be_numbers_and_quotes_make_no_difference() {
        let plain = read_text("1 . alpn=h2 port=53 ipv4hint=198.51.100.1 dohpath=/q{?dns}");
        let plain = plain.unwrap();
        let same = [
            r#"1 . dohpath="/q{?dns}" ipv4hint="198.51.100.1" port="53" alpn="h2""#,
            r"1 . key1=\002h2 key3=\0005 key4=\1983d\001 key7=/q{?dns}",
            r"1 . alpn=\h2 port=5\051 ipv4hint=198.51.100.1 dohpath=/q{?dns}",
        ];
        for text in same {
            assert_eq!(read_text(text).unwrap(), plain, "{text}");
        }
        let empty = read_text(r#"1 . key800 alpn=h2 no-default-alpn="" ohttp"#).unwrap();
        assert_eq!(empty, b"\0\x01\0\0\x01\0\x03\x02h2\0\x02\0\0\0\x08\0\0\x03\x20\0\0");
        let groups = read_text("1 . tls-supported-groups=29,23 ech=AAEC").unwrap();
        assert_eq!(groups, b"\0\x01\0\0\x05\0\x03\0\x01\x02\0\x09\0\x04\0\x1d\0\x17");
        assert_eq!(read_text("1 @").unwrap(), b"\0\x01\x07example\x03com\0");
    }

    #[test]
    fn a_quote_at_the_end_of_a_value_is_part_of_it() {
        let rdata = read_text(r#"1 . key700="\"a;(\"" port=1"#).unwrap();
        assert_eq!(rdata, b"\0\x01\0\0\x03\0\x02\0\x01\x02\xbc\0\x05\"a;(\"");
    }

    #[test]
    fn the_generic_form_is_checked_as_well() {
        assert!(read_text(r"\# 7 000100 0001 0000").is_err(), "alpn without a value");
        assert!(read_text(r"\# 13 000100 029b0000 00030002 0035").is_err(), "not ascending");
    }
}
