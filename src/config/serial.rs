//! What is said of a zone whose contents changed while its serial number did not rise.

use std::ops::Range;
use std::path::PathBuf;

use super::TEXT_LIMIT;
use super::diagnostic::Diagnostic;
use super::source::Source;
use crate::dns::Name;

/// Where the SOA record of a zone stands.
#[derive(Clone, Debug)]
pub struct SoaPlace {
    /// The zone.
    pub origin: Name,
    pub(super) file: PathBuf,
    pub(super) span: Option<Range<usize>>,
}

impl SoaPlace {
    /// The warning that the zone's contents are not those that were served under `serial`, but its
    /// serial number is not newer. Reads the file again.
    pub fn stale(&self, serial: u32) -> Diagnostic {
        let source = Source::read(&self.file, u64::from(u32::MAX).max(TEXT_LIMIT));
        let (source, span) = match source {
            Ok(source) => (source, self.span.clone()),
            Err(_) => (Source::new(self.file.clone(), ""), None),
        };
        let message = format!(
            "{} changed, but its serial number is not newer than {serial}, which was served before",
            self.origin
        );
        Diagnostic::warning(&source, span, message).help(
            "raise it: secondaries take a zone only when its serial number is newer (RFC 1982)",
        )
    }
}
