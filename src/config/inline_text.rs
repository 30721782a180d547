//! Where a byte of a TOML string's value stands in the TOML.

use std::ops::Range;

/// Where the bytes `span` of the string's value stand in `text`, the TOML, in which the string with
/// its quotes is `string`.
pub(super) fn locate(
    text: &str,
    string: Range<usize>,
    value: &str,
    span: Range<usize>,
) -> Range<usize> {
    let Some(raw) = text.get(string.clone()) else { return string };
    let Some(pieces) = pieces(raw, value) else { return string };
    let place = |byte: usize| {
        let at = pieces.partition_point(|piece| piece.value <= byte).saturating_sub(1);
        let piece = &pieces[at];
        let into = byte - piece.value;
        string.start + piece.raw + if piece.is_escape { 0 } else { into }
    };
    let start = place(span.start);
    // The end is where the last byte ends, so that an escape is underlined as a whole.
    let end = match span.end.checked_sub(1) {
        Some(last) if last >= span.start => {
            let at = pieces.partition_point(|piece| piece.value <= last).saturating_sub(1);
            let next = pieces.get(at + 1);
            match (pieces[at].is_escape, next) {
                (true, Some(next)) => string.start + next.raw,
                _ => place(last) + 1,
            }
        }
        _ => start,
    };
    start..end.max(start)
}

/// A run of the string that stands for itself, or an escape.
struct Piece {
    /// Where it begins in the value.
    value: usize,
    /// Where it begins in the string with its quotes.
    raw: usize,
    is_escape: bool,
}

/// The pieces of a string; none when they do not make up `value`.
fn pieces(raw: &str, value: &str) -> Option<Vec<Piece>> {
    let (quotes, has_escapes) = match raw {
        _ if raw.starts_with("\"\"\"") => (3, true),
        _ if raw.starts_with("'''") => (3, false),
        _ if raw.starts_with('"') => (1, true),
        _ => (1, false),
    };
    let inner = raw.get(quotes..raw.len().checked_sub(quotes)?)?;
    let first_newline = match inner {
        _ if quotes == 1 => 0,
        _ if inner.starts_with("\r\n") => 2,
        _ if inner.starts_with('\n') => 1,
        _ => 0,
    };
    let mut at = quotes + first_newline;
    let end = raw.len() - quotes;
    let mut pieces = vec![Piece { value: 0, raw: at, is_escape: false }];
    let mut decoded = 0;
    while at < end {
        let rest = raw.get(at..end)?;
        let run = if has_escapes { rest.find('\\').unwrap_or(rest.len()) } else { rest.len() };
        // Some readers make one newline of CRLF; then a run ends there.
        let run = match rest[..run].find("\r\n") {
            Some(cr) if value.as_bytes().get(decoded + cr) == Some(&b'\n') => cr,
            _ => run,
        };
        if value.get(decoded..decoded + run)? != &rest[..run] {
            return None;
        }
        at += run;
        decoded += run;
        if run == rest.len() {
            break;
        }
        pieces.push(Piece { value: decoded, raw: at, is_escape: true });
        let (long, bytes) =
            if rest[run..].starts_with('\r') { (2, 1) } else { escape(&rest[run..])? };
        at += long;
        decoded += bytes;
        pieces.push(Piece { value: decoded, raw: at, is_escape: false });
    }
    (decoded == value.len()).then_some(pieces)
}

/// How long an escape is, and how many bytes it stands for.
fn escape(rest: &str) -> Option<(usize, usize)> {
    let hex = |digits: usize| {
        let code = u32::from_str_radix(rest.get(2..2 + digits)?, 16).ok()?;
        Some((2 + digits, char::from_u32(code)?.len_utf8()))
    };
    match rest.as_bytes().get(1)? {
        b'x' => hex(2),
        b'u' => hex(4),
        b'U' => hex(8),
        // At the end of a line: all white space up to the next text.
        b' ' | b'\t' | b'\r' | b'\n' => {
            let text = rest[1..].find(|c: char| !c.is_ascii_whitespace());
            Some((text.map_or(rest.len(), |text| 1 + text), 0))
        }
        _ => Some((2, 1)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use toml::de::{DeTable, DeValue};

    use super::*;

    fn located(document: &str, wanted: &str) -> String {
        let table = DeTable::parse(document).unwrap();
        let node = table.get_ref().get("s").unwrap();
        let DeValue::String(value) = node.get_ref() else { panic!("a string") };
        let start = value.find(wanted).expect("it is in the value");
        let place = locate(document, node.span(), value, start..start + wanted.len());
        document[place].to_string()
    }

    #[test]
    fn a_word_is_found_in_every_kind_of_string() {
        assert_eq!(located("s = \"a word here\"", "word"), "word");
        assert_eq!(located("s = 'a word here'", "word"), "word");
        assert_eq!(located("s = \"\"\"\na word\nhere\"\"\"", "here"), "here");
        assert_eq!(located("s = '''\r\na word\r\nhere'''", "here"), "here");
        assert_eq!(located("s = \"\"\"a word\"\"\"", "a"), "a");
    }

    #[test]
    fn escapes_before_and_inside_a_word_are_counted_as_written() {
        assert_eq!(located("s = \"\"\"\n\\tx \\u00e9 \\\"q\\\" word\"\"\"", "word"), "word");
        assert_eq!(located("s = \"one\\\\two three\"", "one\\two"), "one\\\\two");
        assert_eq!(located("s = \"\"\"one \\\n   two\"\"\"", "two"), "two");
        assert_eq!(located("s = \"a\\u00e9b\"", "é"), "\\u00e9");
    }

    proptest! {
        #[test]
        fn every_character_of_a_string_is_found_where_it_is_written(
            value in "[a-zé\"\\\\\n\t ]{0,40}", multi in any::<bool>()
        ) {
            let escaped: String = value.chars().map(|c| match c {
                '"' => "\\\"".to_string(),
                '\\' => "\\\\".to_string(),
                '\n' if !multi => "\\n".to_string(),
                other => other.to_string(),
            }).collect();
            let document = match multi {
                true => format!("s = \"\"\"\n{escaped}\"\"\""),
                false => format!("s = \"{escaped}\""),
            };
            let table = DeTable::parse(&document).unwrap();
            let span = table.get_ref().get("s").unwrap().span();
            for (at, c) in value.char_indices() {
                let place = locate(&document, span.clone(), &value, at..at + c.len_utf8());
                let written = document.get(place).expect("on character boundaries");
                let last = if c == '\n' && !multi { 'n' } else { c };
                prop_assert!(written.ends_with(last));
            }
        }
    }
}
