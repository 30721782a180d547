//! When a certificate ends, read from its DER (RFC 5280 §4.1).

use std::time::UNIX_EPOCH;

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// `[0]`, constructed: the version, which stands first if it is not that of 1988.
const VERSION: u8 = 0xA0;

/// The last second in which the certificate is valid, since 1970 (UTC). None when it cannot be read.
pub fn not_after(certificate: &[u8]) -> Option<u64> {
    let mut certificate = Der(certificate).element(SEQUENCE)?;
    let mut content = certificate.element(SEQUENCE)?;
    if content.0.first() == Some(&VERSION) {
        content.element(VERSION)?;
    }
    content.element(INTEGER)?;
    // The algorithm and the issuer.
    content.element(SEQUENCE)?;
    content.element(SEQUENCE)?;
    let mut validity = content.element(SEQUENCE)?;
    validity.any()?;
    let (tag, time) = validity.any()?;
    seconds(tag, std::str::from_utf8(time.0).ok()?)
}

/// What is left of some DER.
#[derive(Clone, Copy)]
struct Der<'c>(&'c [u8]);

impl<'c> Der<'c> {
    /// The content of the next element, which must have this tag.
    fn element(&mut self, tag: u8) -> Option<Der<'c>> {
        let (found, content) = self.any()?;
        (found == tag).then_some(content)
    }

    /// The next element's tag and content.
    fn any(&mut self) -> Option<(u8, Der<'c>)> {
        let (&[tag, first], mut rest) = self.0.split_first_chunk()?;
        let length = match first {
            short @ ..0x80 => usize::from(short),
            // So many bytes of length follow; a certificate's length fits three.
            long => {
                let (length, after) = rest.split_at_checked(usize::from(long & 0x7F))?;
                rest = after;
                if length.is_empty() || length.len() > 3 {
                    return None;
                }
                length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
            }
        };
        let (content, after) = rest.split_at_checked(length)?;
        self.0 = after;
        Some((tag, Der(content)))
    }
}

/// A time of RFC 5280 §4.1.2.5, which is to the second and in UTC, in seconds since 1970.
fn seconds(tag: u8, time: &str) -> Option<u64> {
    let time = time.strip_suffix('Z').filter(|time| time.bytes().all(|b| b.is_ascii_digit()))?;
    let (year, rest) = match (tag, time.len()) {
        (GENERALIZED_TIME, 14) => (time[..4].to_owned(), &time[4..]),
        (UTC_TIME, 12) => {
            let century = if &time[..2] < "50" { "20" } else { "19" };
            (format!("{century}{}", &time[..2]), &time[2..])
        }
        _ => return None,
    };
    if *year < *"1970" {
        // Long over, and no time since.
        return Some(0);
    }
    let part = |at: usize| &rest[at..at + 2];
    let text = format!("{year}-{}-{}T{}:{}:{}Z", part(0), part(2), part(4), part(6), part(8));
    let time = humantime::parse_rfc3339(&text).ok()?;
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn until(year: i32, month: u8, day: u8) -> Vec<u8> {
        let mut params = CertificateParams::new(["www.example.com".into()]).unwrap();
        params.not_before = rcgen::date_time_ymd(1999, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, month, day);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn the_end_is_read_in_both_forms_of_time() {
        for (date, seconds) in [
            ((2026, 11, 21), 1_795_219_200),
            ((2049, 12, 31), 2_524_521_600),
            ((2050, 1, 1), 2_524_608_000),
            ((2000, 2, 29), 951_782_400),
            ((4096, 1, 1), 67_090_118_400),
        ] {
            assert_eq!(not_after(&until(date.0, date.1, date.2)), Some(seconds), "{date:?}");
        }
    }

    #[test]
    fn times_that_no_certificate_has_are_not_read() {
        for (tag, text) in [
            (UTC_TIME, "2611211200Z"),
            (UTC_TIME, "261121120000+0100"),
            (UTC_TIME, "261321120000Z"),
            (GENERALIZED_TIME, "20261121120000"),
            (GENERALIZED_TIME, "2026112112000x"),
            (INTEGER, "261121120000Z"),
        ] {
            assert_eq!(seconds(tag, text), None, "{text}");
        }
        assert_eq!(seconds(UTC_TIME, "500101000000Z"), Some(0), "1950");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>) {
            not_after(&bytes);
        }

        #[test]
        fn a_damaged_certificate_is_read_without_harm(
            cut in 0usize..500, at in 0usize..200, byte: u8,
        ) {
            let mut certificate = until(2030, 1, 1);
            certificate[at] = byte;
            not_after(&certificate);
            not_after(&certificate[..cut.min(certificate.len())]);
        }
    }
}
