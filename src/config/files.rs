//! Which files were looked at, and what is wrong in those besides `portolan.toml`.

use std::path::PathBuf;
use std::sync::Arc;

use toml::Spanned;

use super::diagnostic::Diagnostic;
use super::reader::Reader;
use super::source::{ReadError, Source};

/// Which files were looked at, and what is wrong in those besides `portolan.toml`.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// Files and directories, there or not.
    pub paths: Vec<PathBuf>,
    /// What is wrong in them.
    pub problems: Vec<Diagnostic>,
}

impl Files {
    /// Reads the file that is named in `reader`'s; none after an error was reported.
    pub fn text(
        &mut self,
        path: &Spanned<PathBuf>,
        reader: &Reader,
        limit: u64,
    ) -> Option<Arc<Source>> {
        self.paths.push(path.get_ref().clone());
        match Source::read(path.get_ref(), limit) {
            Ok(source) => return Some(source),
            Err(ReadError::NotUtf8(source, byte)) => {
                self.problems.push(Diagnostic::not_utf8(&source, byte));
            }
            Err(ReadError::Unreadable(why)) => {
                let message = format!("cannot read {}: {why}", path.get_ref().display());
                reader.report(reader.error(path.span(), message));
            }
        }
        None
    }
}
