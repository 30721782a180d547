//! What one probe found.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use rustls::CertificateError;

/// What one probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeResult {
    /// The target did what was wanted, in this time.
    Good(Duration),
    /// It did not: why.
    Failed(String),
    /// The probe could not be made, for a reason that lies with us: no permission, no file
    /// descriptor left, no readable `ca_file`. It says nothing of the target and changes no
    /// verdict.
    Unable(String),
}

/// The longest reason that is kept, in bytes: some carry words of the target.
const MAX_REASON_BYTES: usize = 300;

impl ProbeResult {
    /// A failure, for this reason.
    pub fn failed(reason: impl fmt::Display) -> ProbeResult {
        ProbeResult::Failed(bounded(&reason.to_string()))
    }

    /// No fault of the target's, for this reason.
    pub fn unable(reason: impl fmt::Display) -> ProbeResult {
        ProbeResult::Unable(bounded(&reason.to_string()))
    }

    /// An error, in the words of its root cause: the target's fault, unless our own means are
    /// exhausted.
    pub fn from_error(error: &(dyn Error + 'static)) -> ProbeResult {
        let mut cause = error;
        loop {
            let inner: Option<&(dyn Error + 'static)> = if let Some(error) = cause.downcast_ref() {
                if is_ours(error) {
                    return ProbeResult::unable(cause);
                }
                // What it wraps is not its source.
                error.get_ref().map(|inner| inner as _)
            } else if let Some(rustls::Error::InvalidCertificate(CertificateError::Other(other))) =
                cause.downcast_ref()
            {
                Some(&*other.0)
            } else {
                None
            };
            match inner.or_else(|| cause.source()) {
                Some(inner) => cause = inner,
                None => return ProbeResult::failed(cause),
            }
        }
    }

    /// An error of a socket call: the target's fault, unless our own means are exhausted.
    pub fn from_io(error: &io::Error) -> ProbeResult {
        if is_ours(error) { ProbeResult::unable(error) } else { ProbeResult::failed(error) }
    }
}

impl fmt::Display for ProbeResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProbeResult::Good(_) => f.write_str("ok"),
            ProbeResult::Failed(reason) => f.write_str(reason),
            ProbeResult::Unable(reason) => write!(f, "could not be probed: {reason}"),
        }
    }
}

/// True for errors that say that we, not the target, have run out of something or may not do this.
fn is_ours(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::EMFILE
                | libc::ENFILE
                | libc::ENOBUFS
                | libc::ENOMEM
                | libc::EADDRNOTAVAIL
                | libc::EPERM
                | libc::EAFNOSUPPORT
                | libc::EAGAIN
        )
    )
}

/// The text, cut to what is kept.
fn bounded(text: &str) -> String {
    if text.len() <= MAX_REASON_BYTES {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(MAX_REASON_BYTES)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_connection_is_the_targets_fault_and_a_lack_of_descriptors_is_ours() {
        let refused = io::Error::from_raw_os_error(libc::ECONNREFUSED);
        assert!(matches!(ProbeResult::from_io(&refused), ProbeResult::Failed(_)));
        // What a firewall says that lets nobody in comes as this over IPv6 (RFC 4443 §3.1, code 1).
        let prohibited = io::Error::from_raw_os_error(libc::EACCES);
        assert!(matches!(ProbeResult::from_io(&prohibited), ProbeResult::Failed(_)));
        let exhausted = io::Error::from_raw_os_error(libc::EMFILE);
        assert!(matches!(ProbeResult::from_io(&exhausted), ProbeResult::Unable(_)));
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let ProbeResult::Failed(reason) = ProbeResult::failed("ä".repeat(1000)) else { panic!() };
        assert!(reason.len() < 310 && reason.ends_with("ä…"));
    }
}
