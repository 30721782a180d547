//! A typed reader over the spanned TOML tree. Where serde stops at the first problem, this collects
//! them all: unknown keys, wrong types and bad values.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::sync::Arc;

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
    missing: Vec<(&'static str, Diagnostic)>,
}

/// A value, and the key under which it stands.
#[derive(Clone)]
pub(super) struct Value<'r> {
    reader: &'r Reader,
    key: Cow<'r, str>,
    node: &'r Spanned<DeValue<'r>>,
}

/// The most syntax errors that are reported of one file.
const MOST_SYNTAX_ERRORS: usize = 20;

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
        for problem in syntax_problems(&self.source, &errors) {
            self.report(problem);
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
        Table { reader, name, span, left, known: Vec::new(), missing: Vec::new() }
    }

    /// The value of a key, if it is given.
    pub fn take(&mut self, key: &'static str) -> Option<Value<'r>> {
        self.known.push(key);
        let at = self.left.iter().position(|(given, _)| given.get_ref() == key)?;
        let (_, node) = self.left.remove(at);
        Some(Value { reader: self.reader, key: Cow::Borrowed(key), node })
    }

    /// The value of a key, if it is given; it is not taken by this.
    pub fn peek(&self, key: &str) -> Option<Value<'r>> {
        let (key, node) = self.left.iter().find(|(given, _)| given.get_ref() == key)?;
        Some(Value { reader: self.reader, key: Cow::Borrowed(key.get_ref()), node })
    }

    /// The value of a key that must be given; `example` is what to write. If it is missing,
    /// `finish` says so.
    pub fn require(&mut self, key: &'static str, example: &str) -> Option<Value<'r>> {
        let value = self.take(key);
        if value.is_none() {
            let missing = self.error(format!("{} lacks `{key}`", self.name));
            let missing = missing.label(format!("`{key}` is needed"));
            self.missing.push((key, missing.help(format!("add `{key} = {example}`"))));
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
        let value = self.take(key);
        value.and_then(|value| value.entries(&format!("[{key}]"))).unwrap_or_default()
    }

    /// Refuses a key that a later version will understand.
    pub fn not_yet(&mut self, key: &'static str) {
        if let Some(at) = self.left.iter().position(|(given, _)| given.get_ref() == key) {
            let (given, _) = self.left.remove(at);
            let message = format!("`{key}` in {} is not supported yet", self.name);
            self.reader.report(self.reader.error(given.span(), message).label("remove it"));
        }
    }

    /// Reports every key that was not taken, and every key that is missing.
    pub fn finish(mut self) {
        for (key, _) in &self.left {
            let message = format!("unknown key `{}` in {}", key.get_ref(), self.name);
            let mut error = self.reader.error(key.span(), message);
            if let Some(near) = nearest(key.get_ref(), self.known.iter().copied()) {
                error = error.label(format!("did you mean `{near}`?"));
                // It is not missing, but misspelt.
                self.missing.retain(|(missing, _)| *missing != near);
            }
            self.reader.report(error.help(format!("known keys: {}", among(&self.known))));
        }
        for (_, missing) in self.missing {
            self.reader.report(missing);
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
    /// The value itself.
    pub fn node(&self) -> &'r DeValue<'r> {
        self.node.get_ref()
    }

    /// Who collects the problems.
    pub fn reader(&self) -> &'r Reader {
        self.reader
    }

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

    /// The names in a table, which is called `name` in messages, and the values that stand under
    /// them, in the order of the file.
    pub fn entries(&self, name: &str) -> Option<Vec<(Spanned<String>, Value<'r>)>> {
        let table = self.table(name)?;
        let reader = self.reader;
        let entry = |(key, node): (&'r Spanned<Cow<'r, str>>, _)| {
            let name = Spanned::new(key.span(), key.get_ref().to_string());
            (name, Value { reader, key: Cow::Borrowed(key.get_ref()), node })
        };
        Some(table.left.into_iter().map(entry).collect())
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

    /// Reports that the value is of another type.
    pub fn mistyped<T>(&self, expected: &str) -> Option<T> {
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

/// The syntax errors, one a line, without the echoes that a bracket or quote that is never closed
/// leaves all the way to the end.
fn syntax_problems(source: &Arc<Source>, errors: &[toml::de::Error]) -> Vec<Diagnostic> {
    let is_unclosed = |error: &toml::de::Error| error.message().starts_with("unclosed");
    let most = if errors.iter().any(is_unclosed) { 1 } else { MOST_SYNTAX_ERRORS };
    let mut problems: Vec<Diagnostic> = Vec::new();
    let mut lines = Vec::new();
    for error in errors {
        let line = error.span().map(|span| source.line_and_column(span.start).0);
        if problems.len() == most || lines.contains(&line) {
            continue;
        }
        lines.push(line);
        problems.push(match error.message() {
            "duplicate key" => {
                let error = Diagnostic::error(source, error.span(), "the key is given twice");
                error.label("it already stands above")
            }
            message => Diagnostic::error(source, error.span(), "this is not TOML").label(message),
        });
    }
    problems
}
