//! What a TOML value is read as: texts, numbers, durations, percentages, words, paths.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::nearest::{among, nearest};
use super::reader::{Reader, Value};
use crate::dns::Name;

/// The shortest and the longest TTL of a pool's answers, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TtlBounds {
    pub min: u32,
    pub max: u32,
}

impl Value<'_> {
    /// A text.
    pub fn text(&self) -> Option<Spanned<String>> {
        self.text_like("a string")
    }

    fn text_like(&self, expected: &str) -> Option<Spanned<String>> {
        match self.node() {
            DeValue::String(text) => Some(Spanned::new(self.span(), text.to_string())),
            _ => self.mistyped(expected),
        }
    }

    /// A text that is not empty.
    pub fn filled_text(&self) -> Option<Spanned<String>> {
        let text = self.text()?;
        if text.get_ref().is_empty() {
            return self.reject(self.error(format!("`{}` is empty", self.key())));
        }
        Some(text)
    }

    /// `true` or `false`.
    pub fn boolean(&self) -> Option<bool> {
        let value = self.node().as_bool();
        value.or_else(|| self.mistyped("`true` or `false`"))
    }

    /// A text that `T` reads; `expected` says what it should be.
    pub fn parsed<T: FromStr>(&self, expected: &str) -> Option<Spanned<T>> {
        let text = self.text_like(expected)?;
        match text.get_ref().parse() {
            Ok(value) => Some(Spanned::new(text.span(), value)),
            Err(_) => self.unreadable(text.get_ref(), expected),
        }
    }

    /// A whole domain name; a missing final dot is forgiven.
    pub fn name(&self) -> Option<Spanned<Name>> {
        let expected = "a domain name, such as \"example.com.\"";
        let text = self.text_like(expected)?;
        match text.get_ref().parse() {
            Ok(name) => Some(Spanned::new(text.span(), name)),
            Err(why) => {
                let message = format!("bad value `{}` for `{}`", text.get_ref(), self.key());
                let error = self.error(message).label(format!("expected {expected}"));
                self.reject(error.help(crate::dns::name::NameError::to_string(&why)))
            }
        }
    }

    /// Reports a text that is not what was expected.
    pub fn unreadable<T>(&self, text: &str, expected: &str) -> Option<T> {
        let message = format!("bad value `{text}` for `{}`", self.key());
        self.reject(self.error(message).label(format!("expected {expected}")))
    }

    /// A whole number in a range.
    pub fn integer<T>(&self, range: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<i64> + PartialOrd + Display,
    {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let Some(integer) = self.node().as_integer() else {
            return self.mistyped(&expected);
        };
        let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.and_then(|number| T::try_from(number).ok());
        number.filter(|number| range.contains(number)).or_else(|| {
            let message = format!("`{}` is out of range", self.key());
            self.reject(self.error(message).label(format!("expected {expected}")))
        })
    }

    /// A number in a range, with or without a fraction.
    pub fn number(&self, range: RangeInclusive<f64>, expected: &str) -> Option<f64> {
        let number: Option<f64> = match self.node() {
            DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str().parse().ok(),
            DeValue::Float(float) => float.as_str().parse().ok(),
            _ => return self.mistyped(expected),
        };
        number.filter(|number| range.contains(number)).or_else(|| {
            let message = format!("`{}` is out of range", self.key());
            self.reject(self.error(message).label(format!("expected {expected}")))
        })
    }

    /// A duration with a unit, in a range.
    pub fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        let expected = "a duration with a unit, such as \"30s\"";
        if let Some(number) = self.node().as_integer() {
            let message = format!("the duration `{}` has no unit", self.key());
            let error = self.error(message).label(format!("expected {expected}"));
            return self.reject(error.help(format!("write \"{}s\"", number.as_str())));
        }
        let text = self.text_like(expected)?;
        let Ok(duration) = humantime::parse_duration(text.get_ref()) else {
            return self.unreadable(text.get_ref(), expected);
        };
        if !range.contains(&duration) {
            let (least, most) = (*range.start(), *range.end());
            let least = humantime::format_duration(least);
            let expected = format!("from {least} to {}", humantime::format_duration(most));
            let message = format!("`{}` is out of range", self.key());
            return self.reject(self.error(message).label(format!("expected {expected}")));
        }
        Some(duration)
    }

    /// A TTL in seconds (RFC 2181 §8).
    pub fn ttl(&self) -> Option<u32> {
        let day = 24 * 3600;
        let ttl = self.duration(Duration::ZERO..=Duration::from_secs(365 * day))?;
        if ttl.subsec_nanos() != 0 {
            let error = self.error(format!("`{}` is not in whole seconds", self.key()));
            return self.reject(error.label("a TTL counts seconds"));
        }
        u32::try_from(ttl.as_secs()).ok()
    }

    /// A TTL, or the shortest and the longest of one that adapts.
    pub fn ttl_bounds(&self) -> Option<TtlBounds> {
        if !self.is_table() {
            return self.ttl().map(|ttl| TtlBounds { min: ttl, max: ttl });
        }
        let mut table = self.table(&format!("`{}`", self.key()))?;
        let (min, max) = (table.require("min", "\"15s\""), table.require("max", "\"60s\""));
        table.finish();
        let (min, max) = (min?, max?);
        let bounds = TtlBounds { min: min.ttl()?, max: max.ttl()? };
        if bounds.min == 0 {
            let error = min.error("the shortest TTL is 0").label("nothing would be cached");
            return self.reject(error.help("expected at least \"1s\""));
        }
        if bounds.min > bounds.max {
            let error = min.error("`min` is longer than `max`");
            return self.reject(error.label(format!("expected at most {} s", bounds.max)));
        }
        Some(bounds)
    }

    /// A share such as `"10%"`, in a range of percents, as a fraction.
    pub fn percentage(&self, range: RangeInclusive<f64>) -> Option<f64> {
        let expected = format!("a percentage from \"{}%\" to \"{}%\"", range.start(), range.end());
        if let DeValue::Integer(_) | DeValue::Float(_) = self.node() {
            let error = self.error(format!("the percentage `{}` has no `%`", self.key()));
            let error = error.label(format!("expected {expected}"));
            return self.reject(error.help("write it as a string: \"10%\""));
        }
        let text = self.text_like(&expected)?;
        let number = text.get_ref().strip_suffix('%').and_then(|n| n.trim().parse::<f64>().ok());
        match number.filter(|number| range.contains(number)) {
            Some(number) => Some(number / 100.0),
            None => self.unreadable(text.get_ref(), &expected),
        }
    }

    /// One of several words; `not_yet` are those that a later version will understand.
    pub fn word<T: Copy>(&self, words: &[(&str, T)], not_yet: &[&str]) -> Option<T> {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let expected =
            if known.len() == 1 { among(&known) } else { format!("one of {}", among(&known)) };
        let text = self.text_like(&expected)?;
        let text = text.get_ref();
        if let Some((_, value)) = words.iter().find(|(word, _)| word == text) {
            return Some(*value);
        }
        if not_yet.contains(&text.as_str()) {
            let error = self.error(format!("`{} = \"{text}\"` is not supported yet", self.key()));
            return self.reject(error.label(format!("expected {expected}")));
        }
        let mut error = self.error(format!("unknown value `{text}` for `{}`", self.key()));
        if let Some(near) = nearest(text, known.iter().copied().chain(not_yet.iter().copied())) {
            error = error.label(format!("did you mean \"{near}\"?"));
        }
        self.reject(error.help(format!("known values: {}", among(&known))))
    }

    /// A path, relative to the directory of the file it stands in.
    pub fn path(&self) -> Option<Spanned<PathBuf>> {
        let text = self.filled_text()?;
        let base = self.reader().source.path().parent();
        let path = base.map_or_else(PathBuf::new, PathBuf::from).join(text.get_ref());
        Some(Spanned::new(text.span(), path))
    }

    /// A name that can stand in a target such as `pool/example.com/web`.
    pub fn label(&self) -> Option<Spanned<String>> {
        let text = self.filled_text()?;
        check_label(self.reader(), &text);
        Some(text)
    }
}

/// Reports a name that could not stand in a target such as `pool/example.com/web`.
pub(super) fn check_label(reader: &Reader, name: &Spanned<String>) {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let text = name.get_ref();
    if text.is_empty() || text.len() > 63 || !text.chars().all(allowed) {
        let error = reader.error(name.span(), format!("`{text}` is not a good name"));
        reader.report(error.label("expected 1 to 63 letters, digits, `-`, `_` or `.`"));
    }
}
