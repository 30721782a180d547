//! Negative answers: the SOA record in authority says how long they may be kept (RFC 2308 §3).

use super::{Answer, Verdict};
use crate::dns::{OwnedRrset, Section};

impl Answer<'_, '_> {
    /// Writes the SOA record, whose TTL is already that of the negative answer.
    pub(super) fn write_negative(&mut self, verdict: Verdict, soa: &OwnedRrset) -> Verdict {
        self.response.require_owned(Section::Authority, soa);
        verdict
    }
}
