//! A domain name in wire form.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use thiserror::Error;

/// The longest name, in bytes of wire form, root label included (RFC 1035 §3.1).
pub const MAX_NAME_BYTES: usize = 255;
/// The longest label, in bytes (RFC 1035 §3.1).
pub const MAX_LABEL_BYTES: usize = 63;

/// A fully qualified domain name in uncompressed wire form, its case kept.
///
/// Two names are equal when they differ only in ASCII case (RFC 4343 §3).
#[derive(Clone)]
pub struct Name {
    wire: Box<[u8]>,
}

/// Why a text or a run of bytes is not a domain name.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum NameError {
    /// A label of more than 63 bytes.
    #[error("a label is longer than 63 bytes")]
    LongLabel,
    /// A name of more than 255 bytes.
    #[error("the name is longer than 255 bytes")]
    LongName,
    /// Two dots in a row, or one at the beginning.
    #[error("a label is empty")]
    EmptyLabel,
    /// Characters beyond ASCII, which in a name must be written as IDNA (RFC 5890) has them.
    #[error(
        "a character is not ASCII: write the label in its ASCII form, which begins with `xn--`"
    )]
    NotAscii,
    /// A backslash that begins no escape (RFC 1035 §5.1).
    #[error("a backslash is followed by neither a character nor three digits up to 255")]
    BadEscape,
    /// Wire form that stops short, goes on after the root label, or is compressed.
    #[error("the wire form is cut short, too long, or compressed")]
    BadWire,
}

impl Name {
    /// The root.
    pub fn root() -> Name {
        Name { wire: Box::new([0]) }
    }

    /// Reads exactly one uncompressed name that fills `wire`.
    pub fn from_wire(wire: &[u8]) -> Result<Name, NameError> {
        if wire.len() > MAX_NAME_BYTES {
            return Err(NameError::LongName);
        }
        let mut at = 0;
        loop {
            let length = usize::from(*wire.get(at).ok_or(NameError::BadWire)?);
            if length > MAX_LABEL_BYTES {
                return Err(NameError::BadWire);
            }
            at += 1 + length;
            if length == 0 {
                break;
            }
        }
        if at != wire.len() {
            return Err(NameError::BadWire);
        }
        Ok(Name { wire: wire.into() })
    }

    /// Reads the name that begins at `start` in a message, following compression pointers
    /// (RFC 1035 §4.1.4), each of which must lead farther back. Also gives where it ends there.
    pub fn read(message: &[u8], start: usize) -> Result<(Name, usize), NameError> {
        let mut wire = Vec::new();
        let (mut at, mut barrier, mut end) = (start, start, None);
        loop {
            let length = *message.get(at).ok_or(NameError::BadWire)?;
            if usize::from(length) <= MAX_LABEL_BYTES {
                let next = at + 1 + usize::from(length);
                wire.extend_from_slice(message.get(at..next).ok_or(NameError::BadWire)?);
                if wire.len() > MAX_NAME_BYTES {
                    return Err(NameError::LongName);
                }
                at = next;
                if length == 0 {
                    return Ok((Name { wire: wire.into() }, end.unwrap_or(at)));
                }
                continue;
            }
            let target = pointer(message, at).filter(|&target| target < barrier);
            let target = target.ok_or(NameError::BadWire)?;
            end.get_or_insert(at + 2);
            (at, barrier) = (target, target);
        }
    }

    /// Reads presentation form relative to `origin`: without a final dot, the origin is appended;
    /// `@` alone is the origin (RFC 1035 §5.1).
    pub fn parse_relative(text: &str, origin: &Name) -> Result<Name, NameError> {
        if text == "@" {
            return Ok(origin.clone());
        }
        let (mut wire, absolute) = labels_from_text(text)?;
        if !absolute {
            wire.extend_from_slice(&origin.wire);
        } else {
            wire.push(0);
        }
        Name::from_wire(&wire).map_err(|_| NameError::LongName)
    }

    /// The uncompressed wire form, root label included.
    pub fn as_wire(&self) -> &[u8] {
        &self.wire
    }

    /// The wire form in lower case: the key under which a name is stored.
    pub fn to_key(&self) -> Box<[u8]> {
        self.wire.to_ascii_lowercase().into()
    }

    /// The labels from the left, without the root.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let length = usize::from(self.wire[at]);
            let label = &self.wire[at + 1..at + 1 + length];
            at += 1 + length;
            (length > 0).then_some(label)
        })
    }

    /// The name without its leftmost label; none for the root.
    pub fn parent(&self) -> Option<Name> {
        let length = usize::from(self.wire[0]);
        (length > 0).then(|| Name { wire: self.wire[1 + length..].into() })
    }

    /// True for the root.
    pub fn is_root(&self) -> bool {
        self.wire.len() == 1
    }

    /// True when this name is `other` or below it.
    pub fn is_at_or_below(&self, other: &Name) -> bool {
        let mut rest = &self.wire[..];
        loop {
            if rest.len() == other.wire.len() {
                return rest.eq_ignore_ascii_case(&other.wire);
            }
            let length = usize::from(rest[0]);
            if length == 0 || rest.len() < other.wire.len() {
                return false;
            }
            rest = &rest[1 + length..];
        }
    }
}

/// Where the compression pointer at `at` points, if there is one.
fn pointer(message: &[u8], at: usize) -> Option<usize> {
    let [high, low] = *message.get(at..)?.first_chunk()?;
    (high >= 0xc0).then(|| usize::from(high & 0x3f) << 8 | usize::from(low))
}

/// Where a name ends that is only skipped: a compression pointer ends it, and is not followed.
pub fn end_in(message: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        let length = usize::from(*message.get(at)?);
        match length {
            0 => return Some(at + 1),
            1..=MAX_LABEL_BYTES => at += 1 + length,
            _ => return pointer(message, at).filter(|&to| to < at).map(|_| at + 2),
        }
        if at - start >= MAX_NAME_BYTES {
            return None;
        }
    }
}

/// Where a name ends that is not compressed.
pub fn end_of_uncompressed(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1 + length;
        if length > MAX_LABEL_BYTES || at - start > MAX_NAME_BYTES {
            return None;
        }
        if length == 0 {
            return Some(at);
        }
    }
}

/// The labels of a presentation-form name without the root label, and whether it ended in a dot.
fn labels_from_text(text: &str) -> Result<(Vec<u8>, bool), NameError> {
    let mut wire = Vec::with_capacity(text.len() + 2);
    if text == "." {
        return Ok((wire, true));
    }
    let mut label = Vec::new();
    let mut absolute = false;
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        absolute = false;
        match byte {
            b'.' => {
                push_label(&mut wire, &mut label)?;
                absolute = true;
            }
            b'\\' => label.push(unescape(&mut bytes)?),
            0x80.. => return Err(NameError::NotAscii),
            _ => label.push(byte),
        }
    }
    if !absolute {
        push_label(&mut wire, &mut label)?;
    }
    Ok((wire, absolute))
}

fn push_label(wire: &mut Vec<u8>, label: &mut Vec<u8>) -> Result<(), NameError> {
    match label.len() {
        0 => Err(NameError::EmptyLabel),
        length @ 1..=MAX_LABEL_BYTES => {
            wire.push(length as u8);
            wire.append(label);
            Ok(())
        }
        _ => Err(NameError::LongLabel),
    }
}

/// `\X` is X, `\DDD` the byte with that decimal value (RFC 1035 §5.1).
fn unescape(bytes: &mut impl Iterator<Item = u8>) -> Result<u8, NameError> {
    let first = bytes.next().ok_or(NameError::BadEscape)?;
    if !first.is_ascii_digit() {
        return Ok(first);
    }
    let mut value = u16::from(first - b'0');
    for _ in 0..2 {
        let digit = bytes.next().filter(u8::is_ascii_digit).ok_or(NameError::BadEscape)?;
        value = value * 10 + u16::from(digit - b'0');
    }
    u8::try_from(value).map_err(|_| NameError::BadEscape)
}

impl FromStr for Name {
    type Err = NameError;

    /// Reads presentation form; a missing final dot is forgiven.
    fn from_str(text: &str) -> Result<Name, NameError> {
        Name::parse_relative(text, &Name::root())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        for label in self.labels() {
            for &byte in label {
                match byte {
                    b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => {
                        write!(f, "\\{}", char::from(byte))?
                    }
                    0x21..=0x7e => write!(f, "{}", char::from(byte))?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
            f.write_str(".")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        self.wire.eq_ignore_ascii_case(&other.wire)
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for byte in &self.wire {
            state.write_u8(byte.to_ascii_lowercase());
        }
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Name) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    /// Canonical order: by labels from the right, case folded (RFC 4034 §6.1).
    fn cmp(&self, other: &Name) -> std::cmp::Ordering {
        let fold = |name: &Name| {
            let mut labels: Vec<Vec<u8>> = name.labels().map(<[u8]>::to_ascii_lowercase).collect();
            labels.reverse();
            labels
        };
        fold(self).cmp(&fold(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presentation_form_survives_a_round_trip() {
        for text in ["example.com.", ".", "*.a.example.", r"a\.b.example.", r"\000\255.example."] {
            assert_eq!(text.parse::<Name>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_not_a_name_is_refused_with_its_reason() {
        assert_eq!("a..b".parse::<Name>(), Err(NameError::EmptyLabel));
        assert_eq!(".a".parse::<Name>(), Err(NameError::EmptyLabel));
        assert_eq!("".parse::<Name>(), Err(NameError::EmptyLabel));
        assert_eq!("b\u{fc}cher.example".parse::<Name>(), Err(NameError::NotAscii));
        assert_eq!(r"a\25".parse::<Name>(), Err(NameError::BadEscape));
        assert_eq!(r"a\256".parse::<Name>(), Err(NameError::BadEscape));
        assert_eq!("a".repeat(64).parse::<Name>(), Err(NameError::LongLabel));
        assert_eq!("abc.".repeat(64).parse::<Name>(), Err(NameError::LongName));
        assert_eq!(Name::from_wire(b"\x01a"), Err(NameError::BadWire));
        assert_eq!(Name::from_wire(b"\xc0\x0c"), Err(NameError::BadWire));
    }

    #[test]
    fn below_means_by_whole_labels() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        assert!(name("www.EXAMPLE.com.").is_at_or_below(&name("example.com.")));
        assert!(name("example.com.").is_at_or_below(&name("example.com.")));
        assert!(!name("badexample.com.").is_at_or_below(&name("example.com.")));
        assert!(name("a.").is_at_or_below(&Name::root()));
    }
}
