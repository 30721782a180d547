//! The text of a file that was read, and where its lines begin.

use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use codespan_reporting::files;

/// The text of a file that was read.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    text: String,
    line_starts: OnceLock<Vec<usize>>,
}

/// Why a file's text could not be had.
#[derive(Debug)]
pub(super) enum ReadError {
    /// It could not be read: why, in words.
    Unreadable(String),
    /// It is not UTF-8: its text with replacements, and where the first one is.
    NotUtf8(Arc<Source>, usize),
}

impl Source {
    /// Of a text that is at hand.
    pub fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> Arc<Source> {
        let (path, text) = (path.into(), text.into());
        Arc::new(Source { path, text, line_starts: OnceLock::new() })
    }

    /// Reads a regular file of at most `limit` bytes.
    pub(super) fn read(path: &Path, limit: u64) -> Result<Arc<Source>, ReadError> {
        let bytes = read_bytes(path, limit).map_err(ReadError::Unreadable)?;
        String::from_utf8(bytes).map(|text| Source::new(path, text)).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            ReadError::NotUtf8(Source::new(path, String::from_utf8_lossy(error.as_bytes())), at)
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The line and column, both from 1, of a byte; the column counts characters.
    pub fn line_and_column(&self, byte: usize) -> (usize, usize) {
        let byte = self.floor(byte);
        let line = self.line_of(byte);
        let start = self.line_starts()[line];
        (line + 1, self.text[start..byte].chars().count() + 1)
    }

    /// `span` moved onto character boundaries inside the text, and cut at the end of its first line.
    pub(super) fn on_one_line(&self, span: &Range<usize>) -> Range<usize> {
        let start = self.floor(span.start);
        let end = self.floor(span.end.max(start));
        let line_end =
            self.text[start..].find(['\n', '\r']).map_or(self.text.len(), |at| start + at);
        start..end.min(line_end).max(start)
    }

    fn floor(&self, byte: usize) -> usize {
        self.text.floor_char_boundary(byte)
    }

    fn line_starts(&self) -> &[usize] {
        self.line_starts.get_or_init(|| files::line_starts(&self.text).collect())
    }

    fn line_of(&self, byte: usize) -> usize {
        self.line_starts().partition_point(|&start| start <= byte).saturating_sub(1)
    }
}

/// Reads a regular file of at most `limit` bytes; the error is in words.
pub(super) fn read_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let read = || -> std::io::Result<Result<Vec<u8>, String>> {
        // Asked before it is opened: opening a pipe waits for its other end.
        let metadata = std::fs::metadata(path)?;
        if metadata.is_dir() {
            return Ok(Err("it is a directory, not a file".into()));
        }
        if !metadata.is_file() {
            return Ok(Err("it is not a regular file".into()));
        }
        let mut bytes = Vec::with_capacity(metadata.len().min(limit) as usize);
        std::fs::File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Ok(Err(format!("it is larger than {limit} bytes")));
        }
        Ok(Ok(bytes))
    };
    read().map_err(|error| in_words(&error)).flatten()
}

/// An I/O error without the number of the operating system.
pub(super) fn in_words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file or directory".into(),
        std::io::ErrorKind::PermissionDenied => "permission denied".into(),
        std::io::ErrorKind::NotADirectory => "a part of the path is not a directory".into(),
        _ => error.to_string(),
    }
}

impl<'s> files::Files<'s> for Source {
    type FileId = ();
    type Name = std::path::Display<'s>;
    type Source = &'s str;

    fn name(&'s self, (): ()) -> Result<Self::Name, files::Error> {
        Ok(self.path.display())
    }

    fn source(&'s self, (): ()) -> Result<&'s str, files::Error> {
        Ok(&self.text)
    }

    fn line_index(&'s self, (): (), byte: usize) -> Result<usize, files::Error> {
        Ok(self.line_of(byte))
    }

    fn line_range(&'s self, (): (), line: usize) -> Result<Range<usize>, files::Error> {
        let starts = self.line_starts();
        let start = starts.get(line).copied();
        let start = start.ok_or(files::Error::LineTooLarge { given: line, max: starts.len() })?;
        Ok(start..starts.get(line + 1).copied().unwrap_or(self.text.len()))
    }
}
