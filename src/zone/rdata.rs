//! RDATA from its text, with the offending token when it fails: of common types by NLnet Labs'
//! scanner, of others by the forms here.

mod addresses;
mod fields;
mod forms;
mod hosts;
mod location;
mod obsolete;
mod services;
mod words;

use std::ops::Range;

use domain::base::iana;
use domain::base::rdata::{ComposeRecordData, ParseRecordData};
use domain::dep::octseq::Parser;
use domain::rdata::ZoneRecordData;
use domain::zonefile::inplace::{Entry, Zonefile};

use self::words::Words;
use super::entry::Token;
use super::{name_text, ttl};
use crate::dns::{Name, Rtype, svcb};

/// Why a text is not RDATA of its type.
#[derive(Debug)]
pub(super) struct RdataError {
    /// The offending bytes.
    pub(super) span: Range<usize>,
    /// What is wrong.
    pub(super) message: String,
    /// What was expected.
    pub(super) help: String,
}

/// Appends to `out` the RDATA that the tokens stand for: all from `text`, and at least one unless
/// the type [may be empty](may_be_empty).
pub(super) fn read(
    rtype: Rtype,
    text: &str,
    tokens: &[Token],
    origin: &Name,
    out: &mut Vec<u8>,
) -> Result<(), RdataError> {
    let is_generic = is_generic(text, tokens);
    if matches!(rtype, Rtype::SVCB | Rtype::HTTPS) && !is_generic {
        return services::read(rtype, text, tokens, origin, out);
    }
    let like = written_like(rtype);
    let start = out.len();
    let form = forms::of(like);
    match form {
        Some(form) if !is_generic => {
            form.read(Words::new(rtype, text, tokens, origin), out)?;
        }
        _ => scan(rtype, like, text, tokens, origin, out)?,
    }
    if out.len() - start > usize::from(u16::MAX) {
        let message = format!("{rtype} data is longer than 65535 bytes");
        return Err(refusal(rtype, tokens, message));
    }
    let rdata = &out[start..];
    if !form.map_or_else(|| is_well_formed(like, rdata), |form| form.is_met(rdata)) {
        let message = format!("these bytes are no {rtype} data");
        return Err(refusal(rtype, tokens, message));
    }
    Ok(())
}

/// True when the data of a type may be nothing at all.
pub(super) fn may_be_empty(rtype: Rtype) -> bool {
    rtype == Rtype::APL
}

/// True for data in the form for unknown types (RFC 3597 §5).
fn is_generic(text: &str, tokens: &[Token]) -> bool {
    tokens.first().is_some_and(|first| &text[first.span.clone()] == "\\#")
}

/// Has the data read by the scanner, as that of the type `like`.
fn scan(
    rtype: Rtype,
    like: Rtype,
    text: &str,
    tokens: &[Token],
    origin: &Name,
    out: &mut Vec<u8>,
) -> Result<(), RdataError> {
    let (line, starts) = one_line(like, text, tokens, origin)?;
    let mut scanner = Zonefile::from(line.as_bytes());
    match scanner.next_entry() {
        Ok(Some(Entry::Record(record))) => {
            // Writing to a vector cannot fail.
            let Ok(()) = record.data().compose_rdata(out);
            Ok(())
        }
        // There is one line, and it is no directive.
        Ok(_) => Err(refusal(rtype, tokens, format!("these words are no {rtype} data"))),
        Err(error) => Err(explain(rtype, text, tokens, &starts, &error.to_string())),
    }
}

/// The type whose text and wire form are also those of `rtype`, for types that the scanner does
/// not know by themselves.
fn written_like(rtype: Rtype) -> Rtype {
    const NSAP_PTR: Rtype = Rtype(23);
    match rtype {
        Rtype::SPF | Rtype::NINFO | Rtype::AVC | Rtype::RESINFO | Rtype::WALLET => Rtype::TXT,
        Rtype::AFSDB | Rtype::RT | Rtype::KX | Rtype::LP => Rtype::MX,
        Rtype::TA | Rtype::DLV | Rtype::CDS => Rtype::DS,
        Rtype::RKEY | Rtype::CDNSKEY => Rtype::DNSKEY,
        Rtype::SMIMEA => Rtype::TLSA,
        Rtype::SIG => Rtype::RRSIG,
        NSAP_PTR => Rtype::PTR,
        _ => rtype,
    }
}

/// The record on a line of its own, and where each token begins on it. The scanner's only
/// use here is RDATA, so the rest of the record is made up.
fn one_line(
    rtype: Rtype,
    text: &str,
    tokens: &[Token],
    origin: &Name,
) -> Result<(String, Vec<usize>), RdataError> {
    let mut line = format!(". 0 IN TYPE{}", rtype.0);
    let mut starts = Vec::with_capacity(tokens.len());
    let mut end = None;
    let is_generic = is_generic(text, tokens);
    for (index, token) in tokens.iter().enumerate() {
        // `key="value"` is two tokens here and one item to the scanner.
        if end != Some(token.span.start) {
            line.push(' ');
        }
        end = Some(token.span.end);
        starts.push(line.len());
        let word = &text[token.span.clone()];
        if is_generic {
            push_ascii(word, &mut line);
        } else if is_name(rtype, index) || is_gateway_name(rtype, text, tokens, index) {
            // The scanner takes `@` for a label here, and empty labels for good.
            let name = name_text::read(text, token, origin).map_err(|(message, help)| {
                RdataError { span: token.span.clone(), message, help }
            })?;
            line.push_str(&name.to_string());
        } else if let (true, Some(Ok(seconds))) =
            (rtype == Rtype::SOA && index > 2, ttl::parse(word))
        {
            // The scanner wants the timers of a SOA in plain seconds.
            line.push_str(&seconds.to_string());
        } else if let (Rtype::RRSIG, 1, Some(algorithm)) =
            (rtype, index, fields::number_of(fields::ALGORITHMS, word))
        {
            line.push_str(&algorithm.to_string());
        } else {
            push_ascii(word, &mut line);
        }
    }
    line.push('\n');
    Ok((line, starts))
}

/// Strings may hold any bytes, but the scanner wants those that are not ASCII escaped.
fn push_ascii(word: &str, line: &mut String) {
    for byte in word.bytes() {
        match byte {
            0..=0x7f => line.push(char::from(byte)),
            _ => line.push_str(&format!("\\{byte:03}")),
        }
    }
}

/// True when the token with this index in the data of a type is a name.
fn is_name(rtype: Rtype, index: usize) -> bool {
    match rtype {
        Rtype::NS | Rtype::CNAME | Rtype::PTR | Rtype::DNAME | Rtype::NSEC => index == 0,
        Rtype::MD | Rtype::MF | Rtype::MB | Rtype::MG | Rtype::MR => index == 0,
        Rtype::SOA | Rtype::RP | Rtype::MINFO => index < 2,
        Rtype::MX | Rtype::SVCB | Rtype::HTTPS => index == 1,
        Rtype::SRV => index == 3,
        Rtype::NAPTR => index == 5,
        Rtype::RRSIG => index == 7,
        _ => false,
    }
}

/// True for the gateway of an IPSECKEY when that is a name (RFC 4025 §2.3).
fn is_gateway_name(rtype: Rtype, text: &str, tokens: &[Token], index: usize) -> bool {
    rtype == Rtype::IPSECKEY && index == 3 && &text[tokens[1].span.clone()] == "3"
}

/// Turns the scanner's `line:column: reason` into the token that it is about.
fn explain(
    rtype: Rtype,
    text: &str,
    tokens: &[Token],
    starts: &[usize],
    error: &str,
) -> RdataError {
    const ENDS_EARLY: &str = "unexpected end of entry";
    const SHORT: &str = "short buffer";
    const TOO_MUCH: &str = "trailing tokens";
    let mut parts = error.splitn(3, ':');
    let line = parts.next().and_then(|line| line.parse().ok()).unwrap_or(1_usize);
    let column = parts.next().and_then(|column| column.parse().ok()).unwrap_or(1_usize);
    let reason = parts.next().unwrap_or(error).trim();
    if reason.starts_with("unknown record type") {
        return RdataError {
            help: format!(
                r"write `\# LENGTH HEX` (RFC 3597): the number of bytes, then the bytes, such as `{rtype} \# 2 0a1b`"
            ),
            ..refusal(rtype, tokens, format!("{rtype} data is read in generic form only"))
        };
    }
    // Where it stopped: at the token itself, inside it, or behind it and the blank that follows.
    let at = if line > 1 { usize::MAX } else { column - 1 };
    let begun = starts.partition_point(|&start| start <= at).saturating_sub(1);
    let index = match reason {
        ENDS_EARLY | SHORT => tokens.len() - 1,
        TOO_MUCH => begun,
        _ => begun - usize::from(begun > 0 && starts[begun] == at),
    };
    let token = std::slice::from_ref(&tokens[index]);
    let word = shortened(&text[span_of(token)]);
    let message = match reason {
        ENDS_EARLY | SHORT => format!("{rtype} data ends too early, behind `{word}`"),
        TOO_MUCH => format!("`{word}` is too much in {rtype} data"),
        _ => format!("`{word}` does not fit in {rtype} data: {reason}"),
    };
    refusal(rtype, token, message)
}

/// At most 40 characters of a word.
fn shortened(word: &str) -> String {
    match word.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &word[..end]),
        None => word.to_string(),
    }
}

fn refusal(rtype: Rtype, tokens: &[Token], message: String) -> RdataError {
    RdataError { span: span_of(tokens), message, help: expectation(rtype) }
}

/// How the data of a type is written.
pub(super) fn expectation(rtype: Rtype) -> String {
    match form_of(rtype).or_else(|| forms::of(written_like(rtype)).map(|form| form.written)) {
        Some(form) => format!("{rtype} is written {form}"),
        None => format!("see the definition of {rtype}, or write `\\# LENGTH HEX` (RFC 3597)"),
    }
}

fn span_of(tokens: &[Token]) -> Range<usize> {
    match tokens {
        [first, .., last] => first.span.start..last.span.end,
        [only] => only.span.clone(),
        [] => 0..0,
    }
}

/// True when the bytes are RDATA of a type, as far as the type is known: no byte too many or too
/// few, no name compressed or with an empty label inside.
fn is_well_formed(rtype: Rtype, rdata: &[u8]) -> bool {
    if matches!(rtype, Rtype::SVCB | Rtype::HTTPS) {
        return svcb::check(rdata).is_ok();
    }
    // One string at least (RFC 1035 §3.3.14).
    if rtype == Rtype::TXT && rdata.is_empty() {
        return false;
    }
    let mut parser = Parser::from_ref(rdata);
    let rtype = iana::Rtype::from_int(rtype.0);
    let parsed: Result<Option<ZoneRecordData<_, domain::base::ParsedName<_>>>, _> =
        ZoneRecordData::parse_rdata(rtype, &mut parser);
    match parsed {
        Err(_) => false,
        Ok(None) => true,
        Ok(Some(data)) => {
            let mut again = Vec::with_capacity(rdata.len());
            let Ok(()) = data.compose_rdata(&mut again);
            parser.remaining() == 0 && again == rdata
        }
    }
}

/// How the data of a type is written, for those that are written by hand.
fn form_of(rtype: Rtype) -> Option<&'static str> {
    Some(match rtype {
        Rtype::A => "`A ADDRESS`, an IPv4 address such as 198.51.100.1",
        Rtype::AAAA => "`AAAA ADDRESS`, an IPv6 address such as 2001:db8::1",
        Rtype::NS => "`NS NAME`",
        Rtype::CNAME => "`CNAME NAME`",
        Rtype::DNAME => "`DNAME NAME`",
        Rtype::PTR => "`PTR NAME`",
        Rtype::MX => "`MX PREFERENCE NAME`, such as `MX 10 mail`",
        Rtype::SOA => {
            "`SOA PRIMARY MAILBOX SERIAL REFRESH RETRY EXPIRE MINIMUM`, such as `SOA ns1 hostmaster 1 2h 15m 2w 5m`"
        }
        Rtype::TXT => "`TXT \"TEXT\" …`, strings of at most 255 bytes each",
        Rtype::SRV => "`SRV PRIORITY WEIGHT PORT NAME`, such as `SRV 0 5 443 www`",
        Rtype::CAA => "`CAA FLAGS TAG \"VALUE\"`, such as `CAA 0 issue \"ca.example.net\"`",
        Rtype::HTTPS => "`HTTPS PRIORITY TARGET KEY=VALUE …`, such as `HTTPS 1 . alpn=h2`",
        Rtype::SVCB => "`SVCB PRIORITY TARGET KEY=VALUE …`, such as `SVCB 1 . alpn=dot`",
        Rtype::NAPTR => "`NAPTR ORDER PREFERENCE \"FLAGS\" \"SERVICES\" \"REGEXP\" NAME`",
        Rtype::TLSA | Rtype::SMIMEA => "`USAGE SELECTOR MATCHING HEX`, such as `3 1 1 0123…`",
        Rtype::SSHFP => "`SSHFP ALGORITHM FINGERPRINT-TYPE HEX`",
        Rtype::HINFO => "`HINFO \"CPU\" \"OS\"`",
        Rtype::RP => "`RP MAILBOX TEXT-NAME`",
        _ => return None,
    })
}

#[cfg(test)]
mod form_tests;
#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::entry::Entries;

    pub fn rdata(rtype: Rtype, text: &str) -> Result<Vec<u8>, RdataError> {
        let origin = "example.com.".parse().unwrap();
        let mut entries = Entries::new(text);
        let entry = entries.next_entry().unwrap().unwrap();
        let mut out = Vec::new();
        read(rtype, text, entry.tokens, &origin, &mut out).map(|()| out)
    }

    /// The text that is underlined.
    pub fn blamed(rtype: Rtype, text: &str) -> &str {
        &text[rdata(rtype, text).unwrap_err().span]
    }

    #[test]
    fn the_at_sign_and_relative_names_mean_the_origin() {
        assert_eq!(rdata(Rtype::NS, "@").unwrap(), b"\x07example\x03com\0");
        assert_eq!(rdata(Rtype::MX, "10 a").unwrap(), b"\0\x0a\x01a\x07example\x03com\0");
        assert_eq!(rdata(Rtype::MX, "10 a.").unwrap(), b"\0\x0a\x01a\0");
    }

    #[test]
    fn the_at_sign_is_itself_where_no_name_stands() {
        assert_eq!(rdata(Rtype::TXT, "@").unwrap(), b"\x01@");
        let srv = rdata(Rtype::SRV, "0 0 1 @").unwrap();
        assert_eq!(srv, b"\0\0\0\0\0\x01\x07example\x03com\0");
        assert!(rdata(Rtype::SRV, "0 0 @ @").is_err());
    }

    #[test]
    fn the_gateway_of_an_ipseckey_is_a_name_or_an_address() {
        let ipseckey = |text| rdata(Rtype(45), text);
        assert_eq!(
            ipseckey("10 1 2 198.51.100.1 AQID").unwrap(),
            b"\x0a\x01\x02\xc6\x33\x64\x01\x01\x02\x03"
        );
        assert_eq!(
            ipseckey("10 3 2 @ AQID").unwrap(),
            b"\x0a\x03\x02\x07example\x03com\0\x01\x02\x03"
        );
    }

    #[test]
    fn the_timers_of_a_soa_may_have_units() {
        let rdata = rdata(Rtype::SOA, "a. b. 7 2h 15m 2w 1m30s").unwrap();
        assert_eq!(
            &rdata[6..],
            [7, 7200, 900, 1_209_600, 90_u32].map(u32::to_be_bytes).as_flattened()
        );
    }

    #[test]
    fn types_written_like_others_are_read() {
        assert_eq!(rdata(Rtype::AFSDB, "1 a.").unwrap(), b"\0\x01\x01a\0");
        assert_eq!(rdata(Rtype::SMIMEA, "3 1 1 ab").unwrap(), b"\x03\x01\x01\xab");
        assert_eq!(rdata(Rtype(99), "\"v=spf1\"").unwrap(), b"\x06v=spf1");
    }

    #[test]
    fn the_offending_token_is_found() {
        assert_eq!(blamed(Rtype::A, "198.51.100.256"), "198.51.100.256");
        assert_eq!(blamed(Rtype::A, "198.51.100.1 2"), "2");
        assert_eq!(blamed(Rtype::AAAA, "198.51.100.1"), "198.51.100.1");
        assert_eq!(blamed(Rtype::MX, "ten mail"), "ten");
        assert_eq!(blamed(Rtype::MX, "10"), "10");
        assert_eq!(blamed(Rtype::MX, "10 a..b"), "a..b");
        assert_eq!(blamed(Rtype::SRV, "1 2 65536 a"), "65536");
        assert_eq!(blamed(Rtype::SOA, "a b 1 2h 1q 2w 5m"), "1q");
        assert_eq!(blamed(Rtype::CNAME, "münchen"), "münchen");
        assert_eq!(blamed(Rtype::CNAME, &"a".repeat(64)).len(), 64);
        assert_eq!(blamed(Rtype::TXT, &format!("x \"{}\" y", "a".repeat(256))).len(), 258);
    }

    #[test]
    fn a_type_without_a_text_form_points_to_the_generic_one() {
        let error = rdata(Rtype(65400), "52 22 23.000 N").unwrap_err();
        assert!(error.help.contains(r"\#"), "{error:?}");
        assert!(rdata(Rtype(65400), r"\# 0").unwrap().is_empty());
    }

    #[test]
    fn the_generic_form_of_a_known_type_is_checked() {
        assert_eq!(rdata(Rtype::A, r"\# 4 c6336401").unwrap(), [198, 51, 100, 1]);
        assert!(rdata(Rtype::A, r"\# 3 c63364").is_err());
        assert!(rdata(Rtype::A, r"\# 5 c633640102").is_err());
        assert!(rdata(Rtype::A, r"\# 5 c6336401").is_err());
        assert!(rdata(Rtype::NS, r"\# 2 c000").is_err());
        assert!(rdata(Rtype::AFSDB, r"\# 4 0001c000").is_err());
    }
}
