//! The words of a record's data, taken one by one, and what is said of a wrong one.

use super::{RdataError, refusal, shortened};
use crate::dns::{Name, Rtype};
use crate::zone::entry::Token;
use crate::zone::name_text;

/// The words of a record's data.
pub(super) struct Words<'a> {
    rtype: Rtype,
    text: &'a str,
    tokens: &'a [Token],
    origin: &'a Name,
    at: usize,
}

impl<'a> Words<'a> {
    pub(super) fn new(
        rtype: Rtype,
        text: &'a str,
        tokens: &'a [Token],
        origin: &'a Name,
    ) -> Words<'a> {
        Words { rtype, text, tokens, origin, at: 0 }
    }

    /// True when there is a further word.
    pub(super) fn has_more(&self) -> bool {
        self.at < self.tokens.len()
    }

    /// The next word, as it is written.
    pub(super) fn next(&mut self) -> Result<&'a str, RdataError> {
        match self.tokens.get(self.at) {
            Some(token) => {
                self.at += 1;
                Ok(&self.text[token.span.clone()])
            }
            None => {
                let last = &self.tokens[self.tokens.len().saturating_sub(1)..];
                let word = last.first().map_or("", |last| &self.text[last.span.clone()]);
                let message =
                    format!("{} data ends too early, behind `{}`", self.rtype, shortened(word));
                Err(refusal(self.rtype, last, message))
            }
        }
    }

    /// The next word, if `is_it` says so.
    pub(super) fn next_if(&mut self, is_it: impl FnOnce(&str) -> bool) -> Option<&'a str> {
        let token = self.tokens.get(self.at)?;
        let word = &self.text[token.span.clone()];
        let is_it = is_it(word);
        self.at += usize::from(is_it);
        is_it.then_some(word)
    }

    /// The next word, if `read` makes something of it; else it was expected to be `expected`.
    pub(super) fn parse<T>(
        &mut self,
        expected: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, RdataError> {
        let word = self.next()?;
        read(word).ok_or_else(|| self.unfit(expected))
    }

    /// The next word as a name in wire form.
    pub(super) fn name(&mut self) -> Result<Name, RdataError> {
        self.next()?;
        let token = &self.tokens[self.at - 1];
        name_text::read(self.text, token, self.origin).map_err(|(message, help)| RdataError {
            span: token.span.clone(),
            message,
            help,
        })
    }

    /// The next word as the bytes that it stands for: without quotes and escapes.
    pub(super) fn bytes(&mut self) -> Result<Vec<u8>, RdataError> {
        let word = self.next()?;
        let is_quoted = self.tokens[self.at - 1].quoted;
        let word = if is_quoted { &word[1..word.len() - 1] } else { word };
        unescaped(word.as_bytes()).ok_or_else(|| {
            self.unfit("three digits up to 255, or the character itself, behind a backslash")
        })
    }

    /// Goes back before the word taken last.
    pub(super) fn back(&mut self) {
        self.at = self.at.saturating_sub(1);
    }

    /// All further words, put together.
    pub(super) fn rest(&mut self) -> String {
        let words = &self.tokens[self.at..];
        self.at = self.tokens.len();
        words.iter().map(|token| &self.text[token.span.clone()]).collect()
    }

    /// The error that the word taken last is not what was expected.
    pub(super) fn unfit(&self, expected: &str) -> RdataError {
        let token = &self.tokens[self.at.saturating_sub(1)..self.at.max(1)];
        let word = shortened(&self.text[token[0].span.clone()]);
        let message = format!("`{word}` does not fit in {} data: expected {expected}", self.rtype);
        refusal(self.rtype, token, message)
    }

    /// The error that there is a further word, if there is one.
    pub(super) fn finish(self) -> Result<(), RdataError> {
        let Some(extra) = self.tokens.get(self.at..).filter(|extra| !extra.is_empty()) else {
            return Ok(());
        };
        let word = shortened(&self.text[extra[0].span.clone()]);
        Err(refusal(
            self.rtype,
            &extra[..1],
            format!("`{word}` is too much in {} data", self.rtype),
        ))
    }
}

/// Takes `\X` and `\DDD` away (RFC 1035 §5.1).
fn unescaped(mut word: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(word.len());
    while let Some((&byte, rest)) = word.split_first() {
        word = rest;
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let (&escaped, rest) = word.split_first()?;
        if !escaped.is_ascii_digit() {
            bytes.push(escaped);
            word = rest;
            continue;
        }
        let digits = std::str::from_utf8(word.get(..3)?).ok()?;
        bytes.push(digits.bytes().all(|d| d.is_ascii_digit()).then(|| digits.parse().ok())??);
        word = &word[3..];
    }
    Some(bytes)
}
