//! What is wrong in a file, or doubtful: where, what, what was expected, and a way out.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use codespan_reporting::diagnostic as codespan;
use codespan_reporting::term::{self, Config};
use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::source::Source;

/// What is wrong in a file, or doubtful. TOML and master-file text are treated alike.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file; its text is empty if it could not be read.
    pub source: Arc<Source>,
    /// The bytes of the text, if it is in one place.
    pub span: Option<Range<usize>>,
    /// What is wrong, in one line without a full stop.
    pub message: String,
    /// What was expected in that place; may be empty.
    pub label: String,
    /// Ways out.
    pub help: Vec<String>,
    /// How the place was come to, such as the files that include this one.
    pub notes: Vec<String>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can, but probably is not what was meant.
    Warning,
}

impl Diagnostic {
    /// An error at `span`.
    pub fn error(
        source: &Arc<Source>,
        span: impl Into<Option<Range<usize>>>,
        message: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            source: Arc::clone(source),
            span: span.into(),
            message: message.into(),
            label: String::new(),
            help: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// A warning at `span`.
    pub fn warning(
        source: &Arc<Source>,
        span: impl Into<Option<Range<usize>>>,
        message: impl Into<String>,
    ) -> Diagnostic {
        let error = Diagnostic::error(source, span, message);
        Diagnostic { severity: Severity::Warning, ..error }
    }

    /// The error that a text is not UTF-8, from `byte` on.
    pub(super) fn not_utf8(source: &Arc<Source>, byte: usize) -> Diagnostic {
        // What is not UTF-8 was replaced by a character of three bytes.
        let error = Diagnostic::error(source, byte..byte + 3, "this is not UTF-8 text");
        error.help("convert the file, for example with `iconv -t UTF-8`")
    }

    /// Says what was expected there.
    pub fn label(mut self, label: impl Into<String>) -> Diagnostic {
        self.label = label.into();
        self
    }

    /// Adds a way out.
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help.push(help.into());
        self
    }

    /// Says how the place was come to.
    pub fn note(mut self, note: impl Into<String>) -> Diagnostic {
        self.notes.push(note.into());
        self
    }

    /// The file.
    pub fn file(&self) -> &Path {
        self.source.path()
    }

    /// The line and column where it begins, both from 1.
    pub fn line_and_column(&self) -> Option<(usize, usize)> {
        self.span.as_ref().map(|span| self.source.line_and_column(span.start))
    }

    /// Writes it for people: the place, the text underlined, what was expected, the ways out.
    pub fn write(&self, out: &mut dyn term::termcolor::WriteColor) -> io::Result<()> {
        let config = Config { tab_width: 8, ..Config::default() };
        term::emit_to_write_style(out, &config, &*self.source, &self.for_codespan())
            .map_err(io::Error::other)
    }

    fn for_codespan(&self) -> codespan::Diagnostic<()> {
        let severity = match self.severity {
            Severity::Error => codespan::Severity::Error,
            Severity::Warning => codespan::Severity::Warning,
        };
        let mut diagnostic = codespan::Diagnostic::new(severity).with_message(&self.message);
        if let Some(span) = &self.span {
            let label = codespan::Label::primary((), self.source.on_one_line(span));
            diagnostic = diagnostic.with_label(label.with_message(&self.label));
        } else {
            diagnostic = diagnostic.with_note(format!("file: {}", self.file().display()));
        }
        let notes = self.notes.iter().map(|note| format!("note: {note}"));
        let help = self.help.iter().map(|help| format!("help: {help}"));
        diagnostic.with_notes_iter(notes.chain(help))
    }
}

/// For people, without colours.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut plain = term::termcolor::NoColor::new(Vec::new());
        self.write(&mut plain).map_err(|_| fmt::Error)?;
        f.write_str(&String::from_utf8_lossy(plain.get_ref()))
    }
}

#[derive(serde::Serialize)]
struct End {
    line: usize,
    column: usize,
}

/// For machines.
impl Serialize for Diagnostic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let begin = self.line_and_column();
        let end = self.span.as_ref().map(|span| self.source.line_and_column(span.end));
        let text = self.span.as_ref().and_then(|span| self.source.text().get(span.clone()));
        let mut fields = serializer.serialize_struct("Diagnostic", 10)?;
        fields.serialize_field("severity", &self.severity)?;
        fields.serialize_field("file", &self.file().to_string_lossy())?;
        fields.serialize_field("line", &begin.map(|(line, _)| line))?;
        fields.serialize_field("column", &begin.map(|(_, column)| column))?;
        fields.serialize_field("end", &end.map(|(line, column)| End { line, column }))?;
        fields.serialize_field("text", &text)?;
        fields.serialize_field("message", &self.message)?;
        fields.serialize_field("expected", &Some(&self.label).filter(|label| !label.is_empty()))?;
        fields.serialize_field("help", &self.help)?;
        fields.serialize_field("notes", &self.notes)?;
        fields.end()
    }
}
