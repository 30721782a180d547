//! A typed reader over the spanned TOML tree. Where serde stops at the first problem, this collects
//! them all: unknown keys, wrong types and bad values.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Severity};
use super::nearest::{among, nearest};
use super::source::Source;

/// One file being read, and the problems found in it so far.
#[derive(Debug)]
pub(super) struct Reader {
    /// The file.
    pub source: Arc<Source>,
    problems: RefCell<Vec<Diagnostic>>,
    errors: Cell<usize>,
    muted: Cell<bool>,
}

/// A table of which the keys are taken one by one; what is left in the end is unknown.
pub(super) struct Table<'r> {
    reader: &'r Reader,
    /// As it is named in messages: `[dns]`.
    name: String,
    /// Its header, or the whole of an inline table.
    span: Range<usize>,
    left: Vec<(&'r Spanned<Cow<'r, str>>, &'r Spanned<DeValue<'r>>)>,
    known: Vec<&'static str>,
}

/// A value, and the key under which it stands.
#[derive(Clone)]
pub(super) struct Value<'r> {
    reader: &'r Reader,
    key: Cow<'r, str>,
    node: &'r Spanned<DeValue<'r>>,
}

/// The most syntax errors reported of one file; those after the first are often its echoes.
const MOST_SYNTAX_ERRORS: usize = 8;

impl Reader {
    /// Of a file.
    pub fn new(source: Arc<Source>) -> Reader {
        let (problems, errors, muted) = Default::default();
        Reader { source, problems, errors, muted }
    }

    /// Parses the file and hands its top-level table to `read`. After a syntax error, `read` gets
    /// what could be made out, and nothing else is reported of the file.
    pub fn read<T>(&self, name: &str, read: impl FnOnce(Table<'_>) -> T) -> T {
        let (root, errors) = DeTable::parse_recoverable(self.source.text());
        for error in errors.iter().take(MOST_SYNTAX_ERRORS) {
            let message = match error.message() {
                "duplicate key" => "the key is given twice".to_string(),
                other => format!("this is not TOML: {other}"),
            };
            self.report(Diagnostic::error(&self.source, error.span(), message));
        }
        self.muted.set(!errors.is_empty());
        read(Table::new(self, name.to_string(), 0..0, root.get_ref()))
    }

    /// True after a syntax error: what else would be reported is not.
    pub fn is_muted(&self) -> bool {
        self.muted.get()
    }

    /// Adds a problem.
    pub fn report(&self, problem: Diagnostic) {
        let is_error = problem.severity == Severity::Error;
        self.errors.set(self.errors.get() + usize::from(is_error));
        if !self.muted.get() {
            self.problems.borrow_mut().push(problem);
        }
    }

    /// An error at `span`, to be reported.
    pub fn error(&self, span: Range<usize>, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(&self.source, span, message)
    }

    /// A warning at `span`, to be reported.
    pub fn warning(&self, span: Range<usize>, message: impl Into<String>) -> Diagnostic {
        Diagnostic::warning(&self.source, span, message)
    }

    /// Whether errors were found, reported or not.
    pub fn has_errors(&self) -> bool {
        self.errors.get() > 0
    }

    /// The problems, in the order of the file.
    pub fn into_problems(self) -> Vec<Diagnostic> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| problem.span.as_ref().map(|span| span.start));
        problems
    }
}

impl<'r> Table<'r> {
    fn new(reader: &'r Reader, name: String, span: Range<usize>, table: &'r DeTable<'r>) -> Self {
        let mut left: Vec<_> = table.iter().collect();
        left.sort_by_key(|(key, _)| key.span().start);
        Table { reader, name, span, left, known: Vec::new() }
    }

    /// The value of a key, if it is given.
    pub fn take(&mut self, key: &'static str) -> Option<Value<'r>> {
        self.known.push(key);
        let at = self.left.iter().position(|(given, _)| given.get_ref() == key)?;
        let (_, node) = self.left.remove(at);
        Some(Value { reader: self.reader, key: Cow::Borrowed(key), node })
    }

    /// The value of a key that must be given; `example` is what to write.
    pub fn require(&mut self, key: &'static str, example: &str) -> Option<Value<'r>> {
        let value = self.take(key);
        if value.is_none() {
            let missing = self.error(format!("{} lacks `{key}`", self.name));
            let missing = missing.label(format!("`{key}` is needed"));
            self.reader.report(missing.help(format!("add `{key} = {example}`")));
        }
        value
    }

    /// The table under a key, if it is given.
    pub fn table(&mut self, key: &'static str, name: &str) -> Option<Table<'r>> {
        self.take(key)?.table(name)
    }

    /// The names in the table under a key, and the values that stand under them, in the order of
    /// the file.
    pub fn named(&mut self, key: &'static str) -> Vec<(Spanned<String>, Value<'r>)> {
        let Some(table) = self.take(key).and_then(|value| value.table(&format!("[{key}]"))) else {
            return Vec::new();
        };
        let reader = self.reader;
        let entry = |(key, node): (&'r Spanned<Cow<'r, str>>, _)| {
            let name = Spanned::new(key.span(), key.get_ref().to_string());
            (name, Value { reader, key: Cow::Borrowed(key.get_ref()), node })
        };
        table.left.into_iter().map(entry).collect()
    }

    /// Refuses a key that a later version will understand.
    pub fn not_yet(&mut self, key: &'static str) {
        if let Some(at) = self.left.iter().position(|(given, _)| given.get_ref() == key) {
            let (given, _) = self.left.remove(at);
            let message = format!("`{key}` in {} is not supported yet", self.name);
            self.reader.report(self.reader.error(given.span(), message).label("remove it"));
        }
    }

    /// Reports every key that was not taken.
    pub fn finish(self) {
        for (key, _) in &self.left {
            let message = format!("unknown key `{}` in {}", key.get_ref(), self.name);
            let mut error = self.reader.error(key.span(), message);
            if let Some(near) = nearest(key.get_ref(), self.known.iter().copied()) {
                error = error.label(format!("did you mean `{near}`?"));
            }
            self.reader.report(error.help(format!("known keys: {}", among(&self.known))));
        }
    }

    /// Its header, or the whole of an inline table.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// An error about the table as a whole.
    pub fn error(&self, message: impl Into<String>) -> Diagnostic {
        self.reader.error(self.span.clone(), message)
    }

    /// Who collects the problems.
    pub fn reader(&self) -> &'r Reader {
        self.reader
    }
}

impl<'r> Value<'r> {
    /// Where it stands, with its quotes or brackets.
    pub fn span(&self) -> Range<usize> {
        self.node.span()
    }

    /// An error about it.
    pub fn error(&self, message: impl Into<String>) -> Diagnostic {
        self.reader.error(self.span(), message)
    }

    /// Reports `error`; for use where a value is missing because of it.
    pub fn reject<T>(&self, error: Diagnostic) -> Option<T> {
        self.reader.report(error);
        None
    }

    /// The key under which it stands.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        self.node.get_ref().as_str()
    }

    /// True for a table, inline or not.
    pub fn is_table(&self) -> bool {
        self.node.get_ref().is_table()
    }

    /// True for a number.
    pub fn is_integer(&self) -> bool {
        self.node.get_ref().is_integer()
    }

    /// A table, named `name` in messages.
    pub fn table(&self, name: &str) -> Option<Table<'r>> {
        match self.node.get_ref() {
            DeValue::Table(table) => {
                Some(Table::new(self.reader, name.to_string(), self.span(), table))
            }
            _ => self.mistyped("a table"),
        }
    }

    /// The items of an array.
    pub fn items(&self) -> Option<Vec<Value<'r>>> {
        match self.node.get_ref() {
            DeValue::Array(items) => {
                let item = |node| Value { reader: self.reader, key: self.key.clone(), node };
                Some(items.iter().map(item).collect())
            }
            _ => self.mistyped("an array"),
        }
    }

    /// The items of an array, or the one value that stands in its place.
    pub fn one_or_more(&self) -> Vec<Value<'r>> {
        if self.node.get_ref().is_array() {
            self.items().unwrap_or_default()
        } else {
            vec![self.clone()]
        }
    }

    /// A text.
    pub fn text(&self) -> Option<Spanned<String>> {
        self.text_like("a string")
    }

    fn text_like(&self, expected: &str) -> Option<Spanned<String>> {
        match self.node.get_ref() {
            DeValue::String(text) => Some(Spanned::new(self.span(), text.to_string())),
            _ => self.mistyped(expected),
        }
    }

    /// A text that is not empty.
    pub fn filled_text(&self) -> Option<Spanned<String>> {
        let text = self.text()?;
        if text.get_ref().is_empty() {
            return self.reject(self.error(format!("`{}` is empty", self.key)));
        }
        Some(text)
    }

    /// `true` or `false`.
    pub fn boolean(&self) -> Option<bool> {
        let value = self.node.get_ref().as_bool();
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

    /// Reports a text that is not what was expected.
    pub fn unreadable<T>(&self, text: &str, expected: &str) -> Option<T> {
        let message = format!("`{text}` in `{}` is not {expected}", self.key);
        self.reject(self.error(message).label(format!("expected {expected}")))
    }

    /// A whole number in a range.
    pub fn integer<T>(&self, range: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<i64> + PartialOrd + Display,
    {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let Some(integer) = self.node.get_ref().as_integer() else {
            return self.mistyped(&expected);
        };
        let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.and_then(|number| T::try_from(number).ok());
        number.filter(|number| range.contains(number)).or_else(|| {
            let message = format!("`{}` is out of range", self.key);
            self.reject(self.error(message).label(format!("expected {expected}")))
        })
    }

    /// A number in a range, with or without a fraction.
    pub fn number(&self, range: RangeInclusive<f64>, expected: &str) -> Option<f64> {
        let number: Option<f64> = match self.node.get_ref() {
            DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str().parse().ok(),
            DeValue::Float(float) => float.as_str().parse().ok(),
            _ => return self.mistyped(expected),
        };
        number.filter(|number| range.contains(number)).or_else(|| {
            let message = format!("`{}` is out of range", self.key);
            self.reject(self.error(message).label(format!("expected {expected}")))
        })
    }

    /// A duration with a unit, in a range.
    pub fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        let expected = "a duration with a unit, such as \"30s\"";
        if let Some(number) = self.node.get_ref().as_integer() {
            let message = format!("the duration `{}` has no unit", self.key);
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
            let message = format!("`{}` is out of range", self.key);
            return self.reject(self.error(message).label(format!("expected {expected}")));
        }
        Some(duration)
    }

    /// A TTL in seconds (RFC 2181 §8).
    pub fn ttl(&self) -> Option<u32> {
        if self.is_table() {
            let message = format!("`{} = {{ min, max }}` is not supported yet", self.key);
            return self
                .reject(self.error(message).label("expected one duration, such as \"30s\""));
        }
        let day = 24 * 3600;
        let ttl = self.duration(Duration::ZERO..=Duration::from_secs(365 * day))?;
        if ttl.subsec_nanos() != 0 {
            let error = self.error(format!("`{}` is not in whole seconds", self.key));
            return self.reject(error.label("a TTL counts seconds"));
        }
        u32::try_from(ttl.as_secs()).ok()
    }

    /// A share such as `"10%"`, up to `most` percent, as a fraction.
    pub fn percentage(&self, most: f64) -> Option<f64> {
        let expected = format!("a percentage from \"0%\" to \"{most}%\"");
        if let DeValue::Integer(_) | DeValue::Float(_) = self.node.get_ref() {
            let error = self.error(format!("the percentage `{}` has no `%`", self.key));
            let error = error.label(format!("expected {expected}"));
            return self.reject(error.help("write it as a string: \"10%\""));
        }
        let text = self.text_like(&expected)?;
        let number = text.get_ref().strip_suffix('%').and_then(|n| n.trim().parse::<f64>().ok());
        match number.filter(|number| (0.0..=most).contains(number)) {
            Some(number) => Some(number / 100.0),
            None => self.unreadable(text.get_ref(), &expected),
        }
    }

    /// One of several words; `not_yet` are those that a later version will understand.
    pub fn word<T: Copy>(&self, words: &[(&str, T)], not_yet: &[&str]) -> Option<T> {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let expected = format!("one of {}", among(&known));
        let text = self.text_like(&expected)?;
        let text = text.get_ref();
        if let Some((_, value)) = words.iter().find(|(word, _)| word == text) {
            return Some(*value);
        }
        if not_yet.contains(&text.as_str()) {
            let error = self.error(format!("`{} = \"{text}\"` is not supported yet", self.key));
            return self.reject(error.label(format!("expected {expected}")));
        }
        let mut error = self.error(format!("unknown value `{text}` for `{}`", self.key));
        if let Some(near) = nearest(text, known.iter().copied().chain(not_yet.iter().copied())) {
            error = error.label(format!("did you mean \"{near}\"?"));
        }
        self.reject(error.help(format!("known values: {}", among(&known))))
    }

    /// A path, relative to the directory of the file it stands in.
    pub fn path(&self) -> Option<Spanned<PathBuf>> {
        let text = self.filled_text()?;
        let base = self.reader.source.path().parent();
        let path = base.map_or_else(PathBuf::new, PathBuf::from).join(text.get_ref());
        Some(Spanned::new(text.span(), path))
    }

    /// A name that can stand in a target such as `pool/example.com/web`.
    pub fn label(&self) -> Option<Spanned<String>> {
        let text = self.filled_text()?;
        check_label(self.reader, &text);
        Some(text)
    }

    fn mistyped<T>(&self, expected: &str) -> Option<T> {
        let found = match self.node.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "a truth value",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        let error = self.error(format!("`{}` is {found}", self.key));
        self.reject(error.label(format!("expected {expected}")))
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
