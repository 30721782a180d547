//! The answer to ANY: one record that says there is no list of all (RFC 8482 §4.2).

use super::{Answer, Verdict};
use crate::dns::Rtype;

/// A CPU of `RFC8482` and an empty OS.
const HINFO: &[u8] = b"\x07RFC8482\x00";
/// In seconds. The record never changes; the names and types around it do, but it says nothing of
/// them.
const TTL: u32 = 3600;

impl Answer<'_, '_> {
    /// Writes the minimal answer.
    pub(super) fn write_any(&mut self, owner: u16) -> Verdict {
        self.response.require_record(owner, Rtype::HINFO, TTL, HINFO);
        Verdict::Positive
    }
}
