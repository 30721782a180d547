//! `$INCLUDE` (RFC 1035 §5.1): which files a master-file text names. Reading them is another's task.

use std::ffi::OsString;
use std::ops::Range;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::entry::{Entries, Token};

/// The files that the `$INCLUDE` directives of a text name, as they are written: a path is relative
/// to the file that the text stands in. With each, the bytes of the text that name it.
pub fn includes(text: &str) -> Vec<(PathBuf, Range<usize>)> {
    let mut found = Vec::new();
    // Most texts include nothing, and then need not be read twice.
    let is_it = |rest: &str| rest.get(..7).is_some_and(|word| word.eq_ignore_ascii_case("include"));
    if !text.split('$').skip(1).any(is_it) {
        return found;
    }
    let mut entries = Entries::new(text);
    while let Some(next) = entries.next_entry() {
        let Ok(entry) = next else { continue };
        let [first, file, ..] = entry.tokens else { continue };
        if !entry.is_indented && text[first.span.clone()].eq_ignore_ascii_case("$include") {
            found.push((path(text, file), file.span.clone()));
        }
    }
    found
}

/// The path that a token of `text` is, without quotes and escapes.
fn path(text: &str, token: &Token) -> PathBuf {
    let word = &text.as_bytes()[token.span.clone()];
    let mut rest = match token.quoted {
        true => &word[1..word.len() - 1],
        false => word,
    };
    let mut path = Vec::with_capacity(rest.len());
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'\\' {
            path.push(byte);
        } else if let Some((digits, behind)) = rest.split_first_chunk::<3>()
            && let Some(code) = decimal(digits)
        {
            path.push(code);
            rest = behind;
        }
    }
    PathBuf::from(OsString::from_vec(path))
}

fn decimal(digits: &[u8; 3]) -> Option<u8> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_included_file_is_found_where_it_stands() {
        let text = "a TXT \"$INCLUDE x\"\n$INCLUDE a.zone\n$include\t\"b c\" sub ; $INCLUDE d\n\
                    $INCLUDE\n $INCLUDE e\nb ( TXT\n$INCLUDE f )\n$INCLUDE g\\ h\\105.zone";
        let found: Vec<_> =
            includes(text).into_iter().map(|(path, span)| (path, &text[span])).collect();
        let expected = [("a.zone", "a.zone"), ("b c", "\"b c\""), ("g hi.zone", "g\\ h\\105.zone")];
        assert_eq!(found, expected.map(|(path, word)| (PathBuf::from(path), word)));
    }

    #[test]
    fn a_text_without_the_word_includes_nothing() {
        assert_eq!(includes("a A 198.51.100.1"), []);
    }
}
