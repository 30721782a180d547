//! The master-file texts of a zone: those in its file, those that it names, and what they include.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::diagnostic::Diagnostic;
use super::files::Files;
use super::inline_text;
use super::source::{ReadError, Source};
use super::steering::ZoneFile;
use crate::zone::{self, Inclusion};

/// All texts of a zone have so many bytes at most.
const MOST_BYTES: u64 = 1 << 30;
/// So deep do files include each other at most.
const MOST_DEPTH: usize = 16;
/// So many files are included in a zone at most; one that is included twice counts twice.
const MOST_INCLUDED: usize = 10_000;
/// So many files that cannot be included are told of a zone.
const MOST_ERRORS: usize = 20;

/// The texts of a zone, and where each stands.
pub(super) struct ZoneTexts<'f> {
    file: &'f ZoneFile,
    /// What the zone is compiled from, until it is.
    pub sources: Vec<zone::Source>,
    /// Where each of them stands.
    texts: Vec<Text>,
    bytes: u64,
}

/// Where a text stands.
struct Text {
    /// None when it is the string in the zone file.
    file: Option<Arc<Source>>,
    /// The file by its one true name, so that a circle is seen however its paths are written.
    identity: PathBuf,
    included_by: Option<Inclusion>,
}

impl<'f> ZoneTexts<'f> {
    /// Reads the texts of a zone; none when an error was reported of one.
    pub fn read(file: &'f ZoneFile, files: &mut Files) -> Option<ZoneTexts<'f>> {
        let (reader, form) = (&file.reader, &file.form);
        let mut texts = ZoneTexts { file, sources: Vec::new(), texts: Vec::new(), bytes: 0 };
        if let Some(records) = &form.records {
            let path = reader.source.path();
            texts.push(path, records.get_ref(), None, None);
        }
        if let Some(path) = &form.records_file {
            let source = files.text(path, reader, MOST_BYTES)?;
            texts.push(path.get_ref(), source.text(), Some(&source), None);
        }
        // Without any, what is wrong may be that they could not be made out.
        let are_all = texts.read_included(files);
        (are_all && (!texts.sources.is_empty() || !reader.has_errors())).then_some(texts)
    }

    /// Where the bytes `span` of a text stand: in which file, and where there.
    pub fn place(&self, source: usize, span: Range<usize>) -> (&Arc<Source>, Option<Range<usize>>) {
        let reader = &self.file.reader;
        match (self.texts.get(source), &self.file.form.records) {
            (Some(Text { file: Some(file), .. }), _) => (file, Some(span)),
            (Some(Text { file: None, .. }), Some(records)) => {
                let text = reader.source.text();
                let place = inline_text::locate(text, records.span(), records.get_ref(), span);
                (&reader.source, Some(place))
            }
            _ => (&reader.source, None),
        }
    }

    /// Which files include a text, the nearest first, each as `FILE:LINE:COLUMN`.
    pub fn included_by(&self, source: usize) -> Vec<String> {
        let mut chain = Vec::new();
        let mut at = source;
        while let Some(by) = self.texts.get(at).and_then(|text| text.included_by.clone()) {
            let (file, span) = self.place(by.source, by.span);
            chain.push(included_by(file, span));
            at = by.source;
        }
        chain
    }

    fn push(&mut self, path: &Path, text: &str, file: Option<&Arc<Source>>, by: Option<Inclusion>) {
        self.bytes += text.len() as u64;
        let identity = identity(path);
        self.texts.push(Text { file: file.cloned(), identity, included_by: by.clone() });
        let (file, text) = (path.to_path_buf(), text.to_string());
        self.sources.push(zone::Source { file, text, included_by: by });
    }

    /// Reads the files that the texts include, and what these include; false after an error.
    fn read_included(&mut self, files: &mut Files) -> bool {
        let roots = self.sources.len();
        let mut errors = 0;
        let mut read: HashMap<_, Arc<Source>> = HashMap::new();
        let mut at = 0;
        while at < self.sources.len() {
            for (path, span) in zone::includes(&self.sources[at].text) {
                // As it would be found from there; a path that is absolute stays.
                let path = self.sources[at].file.parent().unwrap_or(Path::new("")).join(path);
                let by = Inclusion { source: at, span };
                let included = match self.refusal(&path, &by, roots) {
                    Some(error) => Err(Box::new(error)),
                    None => match read.get(&path) {
                        Some(source) => Ok(Arc::clone(source)),
                        None => self.read_file(&path, &by, files),
                    },
                };
                match included {
                    Ok(source) => {
                        self.push(&path, source.text(), Some(&source), Some(by));
                        read.insert(path, source);
                    }
                    Err(error) => {
                        files.problems.push(*error);
                        errors += 1;
                        if errors == MOST_ERRORS || self.is_full(roots) {
                            return false;
                        }
                    }
                }
            }
            at += 1;
        }
        errors == 0
    }

    fn read_file(
        &self,
        path: &Path,
        by: &Inclusion,
        files: &mut Files,
    ) -> Result<Arc<Source>, Box<Diagnostic>> {
        files.paths.push(path.to_path_buf());
        let error = match Source::read(path, MOST_BYTES.saturating_sub(self.bytes)) {
            Ok(source) => return Ok(source),
            Err(ReadError::NotUtf8(source, byte)) => {
                let (file, span) = self.place(by.source, by.span.clone());
                let error = Diagnostic::not_utf8(&source, byte).note(included_by(file, span));
                self.included_by(by.source).into_iter().fold(error, Diagnostic::note)
            }
            Err(ReadError::Unreadable(why)) => {
                self.error(by, format!("cannot read {}: {why}", path.display()))
            }
        };
        Err(Box::new(error))
    }

    /// True when no further file is included.
    fn is_full(&self, roots: usize) -> bool {
        self.sources.len() - roots >= MOST_INCLUDED || self.bytes > MOST_BYTES
    }

    /// Why a file is not included.
    fn refusal(&self, path: &Path, by: &Inclusion, roots: usize) -> Option<Diagnostic> {
        let identity = identity(path);
        let mut depth = 1;
        let mut above = Some(by.source);
        while let Some(text) = above.and_then(|above| self.texts.get(above)) {
            if text.identity == identity {
                let message = format!("{} includes itself", path.display());
                let help = "files that include each other in a circle have no end: remove one of the directives";
                return Some(self.error(by, message).help(help));
            }
            depth += usize::from(text.included_by.is_some());
            above = text.included_by.as_ref().map(|by| by.source);
        }
        let message = if depth > MOST_DEPTH {
            format!("files include each other more than {MOST_DEPTH} deep")
        } else if self.sources.len() - roots >= MOST_INCLUDED {
            format!("the zone includes more than {MOST_INCLUDED} files")
        } else if self.bytes > MOST_BYTES {
            format!("the texts of the zone have more than {MOST_BYTES} bytes")
        } else {
            return None;
        };
        Some(self.error(by, message).help("put the records into fewer files, or split the zone"))
    }

    fn error(&self, by: &Inclusion, message: String) -> Diagnostic {
        let (file, span) = self.place(by.source, by.span.clone());
        let error = Diagnostic::error(file, span, message);
        self.included_by(by.source).into_iter().fold(error, Diagnostic::note)
    }
}

fn identity(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf())
}

fn included_by(file: &Source, span: Option<Range<usize>>) -> String {
    let (line, column) = span.map_or((1, 1), |span| file.line_and_column(span.start));
    format!("included by {}:{line}:{column}", file.path().display())
}
