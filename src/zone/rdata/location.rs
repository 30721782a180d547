//! LOC: a place on the earth (RFC 1876).

use super::RdataError;
use super::fields::{Shape, decimal, skip};
use super::words::Words;

/// The data of a LOC record.
pub(super) const LOC: Shape = Shape { read, skip: skip_loc };

/// What the equator and the prime meridian are counted from, in thousandths of a second of arc.
const MIDDLE: u32 = 1 << 31;
/// In a degree.
const THOUSANDTHS: u32 = 3_600_000;
/// What altitudes are counted from is so far below the ellipsoid, in centimetres.
const DEEP_CM: i64 = 10_000_000;
/// The greatest size and precision, in centimetres.
const MOST_CM: i64 = 9_000_000_000;
/// Of a sphere around what is there, horizontally and vertically, in centimetres, if not given.
const DEFAULTS_CM: [i64; 3] = [100, 1_000_000, 1_000];

fn read(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), RdataError> {
    let latitude = read_angle(words, 90, ["N", "S"])?;
    let longitude = read_angle(words, 180, ["E", "W"])?;
    let expected = "metres from -100000 to 42849672.95, such as `-2.00m`";
    let altitude = words.parse(expected, |word| {
        let altitude = centimetres(word)? + DEEP_CM;
        u32::try_from(altitude).ok()
    })?;
    out.push(0);
    for default in DEFAULTS_CM {
        let mut size = default;
        if words.has_more() {
            let expected = "metres up to 90000000, such as `10m`";
            size = words.parse(expected, |word| {
                centimetres(word).filter(|size| (0..=MOST_CM).contains(size))
            })?;
        }
        out.push(size_byte(size));
    }
    for number in [latitude, longitude, altitude] {
        out.extend(number.to_be_bytes());
    }
    Ok(())
}

/// Degrees, and if given minutes and seconds, then which half of the earth.
fn read_angle(words: &mut Words<'_>, most: u32, halves: [&str; 2]) -> Result<u32, RdataError> {
    let half = |word: &str| halves.iter().position(|half| half.eq_ignore_ascii_case(word));
    let expected = format!("degrees from 0 to {most}");
    let degrees = words.parse(&expected, |word| decimal(word).filter(|&d: &u32| d <= most))?;
    let mut angle = degrees * THOUSANDTHS;
    if let Some(word) = words.next_if(|word| half(word).is_none()) {
        let minutes = decimal(word).filter(|&minutes: &u32| minutes < 60);
        angle += minutes.ok_or_else(|| words.unfit("minutes from 0 to 59"))? * 60_000;
        if let Some(word) = words.next_if(|word| half(word).is_none()) {
            let seconds = fixed(word, 3).filter(|seconds| (0..60_000).contains(seconds));
            angle += seconds.ok_or_else(|| words.unfit("seconds from 0 to 59.999"))? as u32;
        }
    }
    if angle > most * THOUSANDTHS {
        return Err(words.unfit(&format!("at most {most} degrees altogether")));
    }
    let expected = format!("`{}` or `{}`", halves[0], halves[1]);
    match words.parse(&expected, half)? {
        0 => Ok(MIDDLE + angle),
        _ => Ok(MIDDLE - angle),
    }
}

/// Metres with at most two decimals, with or without `m`, in centimetres.
fn centimetres(word: &str) -> Option<i64> {
    fixed(word.strip_suffix(['m', 'M']).unwrap_or(word), 2)
}

/// A number with at most so many decimals, in units of the last of them.
fn fixed(word: &str, decimals: u32) -> Option<i64> {
    let (sign, word) = match word.strip_prefix('-') {
        Some(word) => (-1, word),
        None => (1, word.strip_prefix('+').unwrap_or(word)),
    };
    let (whole, fraction) = word.split_once('.').unwrap_or((word, ""));
    let digits = u32::try_from(fraction.len()).ok().filter(|&digits| digits <= decimals)?;
    if word.is_empty() || word == "." {
        return None;
    }
    // One of the two may be missing, as in `.5`.
    let part = |digits: &str| if digits.is_empty() { Some(0) } else { decimal::<u32>(digits) };
    let (whole, fraction) = (part(whole)?, i64::from(part(fraction)?));
    let fraction = fraction * 10_i64.pow(decimals - digits);
    Some(sign * (i64::from(whole) * 10_i64.pow(decimals) + fraction))
}

/// A digit and a power of ten, in centimetres.
fn size_byte(mut size: i64) -> u8 {
    let mut power = 0;
    while size > 9 {
        size /= 10;
        power += 1;
    }
    (size as u8) << 4 | power
}

/// Version 0, with what its sizes and angles allow.
fn skip_loc(rest: &mut &[u8]) -> Option<()> {
    let loc = skip(rest, 16)?;
    let is_size = |byte: &u8| byte >> 4 < 10 && byte & 15 < 10;
    let is_angle = |at: usize, most: u32| {
        let number = loc[at..].first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
        number.is_some_and(|number| number.abs_diff(MIDDLE) <= most * THOUSANDTHS)
    };
    (loc[0] == 0 && loc[1..4].iter().all(is_size) && is_angle(4, 90) && is_angle(8, 180))
        .then_some(())
}
