//! A regular expression that what a server says is held against.

use std::fmt;

use regex::bytes::{Regex, RegexBuilder};

/// A compiled expression takes no more memory than this, in bytes, nor does its automaton.
const MAX_BYTES: usize = 1 << 20;
/// So deep may groups stand in each other.
const MAX_DEPTH: u32 = 50;

/// A regular expression, in the syntax of the `regex` crate; matching takes time linear in the text.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// Compiles it; the error says what is wrong with it.
    pub fn new(text: &str) -> Result<Pattern, String> {
        let mut builder = RegexBuilder::new(text);
        builder.size_limit(MAX_BYTES).dfa_size_limit(MAX_BYTES).nest_limit(MAX_DEPTH);
        match builder.build() {
            Ok(regex) => Ok(Pattern(regex)),
            Err(regex::Error::CompiledTooBig(limit)) => {
                Err(format!("it takes more than {limit} bytes"))
            }
            // The last line says what; those before show where, with spaces and carets.
            Err(error) => {
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default();
                Err(last.strip_prefix("error: ").unwrap_or(last).to_owned())
            }
        }
    }

    /// Whether it matches anywhere in the text.
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.0.is_match(text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_matches_anywhere_and_whatever_bytes_stand_around() {
        let pattern = Pattern::new(r"(?i)status:\s*(ok|warming up)\b").unwrap();
        assert!(pattern.is_match(b"\xff\x00 STATUS: Warming up, \xfe"));
        assert!(!pattern.is_match(b"status: okay"));
    }

    #[test]
    fn what_is_wrong_with_it_is_said_in_a_line() {
        assert_eq!(Pattern::new("a(b").unwrap_err(), "unclosed group");
        let huge = Pattern::new(r"(?:\pL{1000}){1000}").unwrap_err();
        assert!(huge.contains("more than 1048576 bytes") || huge.contains("Unicode"), "{huge}");
        assert!(Pattern::new(&"(".repeat(100_000)).is_err());
    }
}
