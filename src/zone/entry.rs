//! The lexical level of a master file (RFC 1035 §5.1): entries and their tokens, with positions.

use std::ops::Range;

/// One token of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// Its bytes in the text, quotes included.
    pub(super) span: Range<usize>,
    /// True when it is in quotes.
    pub(super) quoted: bool,
}

/// An entry: a record or a directive, comments and parentheses taken away.
#[derive(Debug)]
pub(super) struct Entry<'e> {
    /// True when it begins with a blank, so that the owner before it goes on.
    pub(super) is_indented: bool,
    /// Its tokens: at least one.
    pub(super) tokens: &'e [Token],
}

/// Why a text falls into no entries at some place; reading goes on behind it.
#[derive(Debug)]
pub(super) struct Malformed {
    /// The offending bytes.
    pub(super) span: Range<usize>,
    /// What is wrong.
    pub(super) message: &'static str,
    /// What was expected.
    pub(super) help: &'static str,
}

/// Reads a text entry by entry.
#[derive(Debug)]
pub(super) struct Entries<'t> {
    text: &'t [u8],
    at: usize,
    tokens: Vec<Token>,
}

impl<'t> Entries<'t> {
    /// Begins at the start of `text`, behind a byte order mark if there is one.
    pub(super) fn new(text: &'t str) -> Entries<'t> {
        let at = if text.starts_with('\u{feff}') { 3 } else { 0 };
        Entries { text: text.as_bytes(), at, tokens: Vec::new() }
    }

    /// The next entry that is not empty; none at the end of the text.
    pub(super) fn next_entry(&mut self) -> Option<Result<Entry<'_>, Malformed>> {
        loop {
            let first = *self.text.get(self.at)?;
            self.tokens.clear();
            match self.read_tokens() {
                Err(malformed) => return Some(Err(malformed)),
                Ok(()) if self.tokens.is_empty() => {}
                Ok(()) => {
                    let is_indented = is_blank(first);
                    return Some(Ok(Entry { is_indented, tokens: &self.tokens }));
                }
            }
        }
    }

    /// Reads up to and over the line feed that ends an entry.
    fn read_tokens(&mut self) -> Result<(), Malformed> {
        let mut open = Vec::new();
        let read = self.read_inside(&mut open);
        if let (Err(_), Some(&at)) = (&read, open.first()) {
            self.skip_to_next_owner(at);
        }
        read
    }

    /// The same; leaves in `open` where the parentheses stand that are open at its end.
    fn read_inside(&mut self, open: &mut Vec<usize>) -> Result<(), Malformed> {
        while let Some(&byte) = self.text.get(self.at) {
            match byte {
                b'\n' => {
                    self.at += 1;
                    if open.is_empty() {
                        return Ok(());
                    }
                }
                byte if is_blank(byte) => self.at += 1,
                b';' => self.skip_to_line_end(),
                b'(' => {
                    open.push(self.at);
                    self.at += 1;
                }
                b')' => {
                    if open.pop().is_none() {
                        let span = self.at..self.at + 1;
                        self.skip_to_line_end();
                        return Err(Malformed {
                            span,
                            message: "a parenthesis is closed that was not opened",
                            help: "remove it, or open it before the first line break of the record",
                        });
                    }
                    self.at += 1;
                }
                b'"' => self.read_quoted()?,
                _ => self.read_word()?,
            }
        }
        match open.first() {
            None => Ok(()),
            Some(&at) => Err(Malformed {
                span: at..at + 1,
                message: "a parenthesis is not closed",
                help: "write `)` behind the record's last item",
            }),
        }
    }

    fn read_word(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        while let Some(&byte) = self.text.get(self.at) {
            match byte {
                b'\n' | b';' | b'(' | b')' | b'"' => break,
                byte if is_blank(byte) => break,
                b'\\' => self.skip_escape()?,
                _ => self.at += 1,
            }
        }
        self.tokens.push(Token { span: start..self.at, quoted: false });
        Ok(())
    }

    fn read_quoted(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.text.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    self.tokens.push(Token { span: start..self.at, quoted: true });
                    return Ok(());
                }
                Some(b'\\') => self.skip_escape()?,
                Some(b'\n') | None => {
                    return Err(Malformed {
                        span: start..self.at,
                        message: "a quoted string is not closed on its line",
                        help: "write `\"` at its end, and `\\\"` for a quote inside; a long text is written as several strings",
                    });
                }
                Some(_) => self.at += 1,
            }
        }
    }

    fn skip_escape(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        self.at += 1;
        match self.text.get(self.at) {
            Some(b'\n') | None => Err(Malformed {
                span: start..self.at,
                message: "a backslash at the end of a line escapes nothing",
                help: "write `\\\\` for a backslash; a record goes on over several lines inside parentheses",
            }),
            Some(_) => {
                self.at += 1;
                Ok(())
            }
        }
    }

    fn skip_to_line_end(&mut self) {
        while self.text.get(self.at).is_some_and(|&byte| byte != b'\n') {
            self.at += 1;
        }
    }

    /// Goes back to the line of `at`, and from there to the next line that looks like a new owner.
    fn skip_to_next_owner(&mut self, at: usize) {
        self.at = at;
        loop {
            self.skip_to_line_end();
            self.at += 1;
            match self.text.get(self.at) {
                Some(b'\n' | b';' | b')' | b'(') => {}
                Some(&byte) if is_blank(byte) => {}
                _ => return,
            }
        }
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each entry as its tokens (an indented one begins with `_`), each error as its span.
    fn read(text: &str) -> Vec<Result<Vec<&str>, Range<usize>>> {
        let mut entries = Entries::new(text);
        let mut found = Vec::new();
        while let Some(next) = entries.next_entry() {
            found.push(match next {
                Err(malformed) => Err(malformed.span),
                Ok(entry) => {
                    let words = entry.tokens.iter().map(|token| &text[token.span.clone()]);
                    Ok(entry.is_indented.then_some("_").into_iter().chain(words).collect())
                }
            });
        }
        found
    }

    #[test]
    fn comments_parentheses_and_blank_lines_go_away() {
        let text = "a ( b ; no\n\n c ) d;e\r\n\n ; f\n \tg\\;h \"i ; \\\" (\"j\nk";
        assert_eq!(
            read(text),
            [
                Ok(vec!["a", "b", "c", "d"]),
                Ok(vec!["_", "g\\;h", "\"i ; \\\" (\"", "j"]),
                Ok(vec!["k"]),
            ]
        );
    }

    #[test]
    fn what_is_malformed_is_shown_and_the_next_line_read() {
        assert_eq!(read("a ) b\nc"), [Err(2..3), Ok(vec!["c"])]);
        assert_eq!(read("a \"b\nc"), [Err(2..4), Ok(vec!["c"])]);
        assert_eq!(read("a b\\\nc"), [Err(3..4), Ok(vec!["c"])]);
        assert_eq!(read("a ( b\n c\n)\nd"), [Ok(vec!["a", "b", "c"]), Ok(vec!["d"])]);
        assert_eq!(read("a ( b\n c\nd e"), [Err(2..3), Ok(vec!["d", "e"])]);
        assert_eq!(read("a ( \"b\n c\n)\nd e"), [Err(4..6), Ok(vec!["d", "e"])]);
        assert_eq!(read("a ("), [Err(2..3)]);
        assert_eq!(read("a \\"), [Err(2..3)]);
    }

    #[test]
    fn a_byte_order_mark_is_not_part_of_the_owner() {
        assert_eq!(read("\u{feff}a"), [Ok(vec!["a"])]);
    }
}
