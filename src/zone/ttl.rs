//! TTLs in master files.

/// The longest TTL, in seconds (RFC 2181 §8).
pub(super) const MAX_TTL: u32 = i32::MAX as u32;

/// Why a text that begins like a TTL is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TtlError {
    /// Neither a number of seconds nor numbers with units.
    Malformed,
    /// More than [`MAX_TTL`].
    TooLong,
}

/// Reads seconds, or numbers with the units `w`, `d`, `h`, `m` and `s` as in `1h30m`; none when
/// the text does not begin with a digit and so is no TTL at all.
pub(super) fn parse(text: &str) -> Option<Result<u32, TtlError>> {
    if !text.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    Some(seconds(text).and_then(|seconds| {
        u32::try_from(seconds).ok().filter(|&ttl| ttl <= MAX_TTL).ok_or(TtlError::TooLong)
    }))
}

fn seconds(text: &str) -> Result<u64, TtlError> {
    let mut total = 0_u64;
    let mut number = None;
    let mut has_units = false;
    for byte in text.bytes() {
        let unit = match byte.to_ascii_lowercase() {
            digit @ b'0'..=b'9' => {
                let digit = u64::from(digit - b'0');
                number = Some(number.unwrap_or(0_u64).saturating_mul(10).saturating_add(digit));
                continue;
            }
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return Err(TtlError::Malformed),
        };
        let count = number.take().ok_or(TtlError::Malformed)?;
        total = total.saturating_add(count.saturating_mul(unit));
        has_units = true;
    }
    match number {
        Some(_) if has_units => Err(TtlError::Malformed),
        Some(seconds) => Ok(seconds),
        None => Ok(total),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_units_are_read() {
        assert_eq!(parse("0"), Some(Ok(0)));
        assert_eq!(parse("2147483647"), Some(Ok(MAX_TTL)));
        assert_eq!(parse("1h30m"), Some(Ok(5400)));
        assert_eq!(parse("2W"), Some(Ok(1_209_600)));
    }

    #[test]
    fn what_is_too_long_or_malformed_is_told_apart_from_what_is_no_ttl() {
        assert_eq!(parse("2147483648"), Some(Err(TtlError::TooLong)));
        assert_eq!(parse("99999999999999999999999w"), Some(Err(TtlError::TooLong)));
        assert_eq!(parse("198.51.100.1"), Some(Err(TtlError::Malformed)));
        assert_eq!(parse("1h30"), Some(Err(TtlError::Malformed)));
        assert_eq!(parse("1hm"), Some(Err(TtlError::Malformed)));
        assert_eq!(parse("A"), None);
        assert_eq!(parse(""), None);
    }
}
