//! Follows aliases through the zone (RFC 1034 §4.3.2 step 3a).

use arrayvec::ArrayVec;

use super::sections::{Alias, Written};
use super::{Answer, Verdict};
use crate::dns::name::MAX_NAME_BYTES;

/// The most aliases in an answer. Who chains more gets the answer so far; a resolver goes on from
/// there.
const MAX_ALIASES: usize = 16;

type LowerName = ArrayVec<u8, MAX_NAME_BYTES>;

impl<'a> Answer<'a, '_> {
    /// Writes what stands at the end of a chain whose first alias is written. The chain ends where
    /// it leaves the zone, returns to itself, or gets too long; the verdict is that of its last
    /// name (RFC 6604 §3).
    #[cold]
    pub(super) fn follow(&mut self, qname: &[u8], first: Alias<'a>) -> Verdict {
        let mut seen: ArrayVec<LowerName, MAX_ALIASES> = ArrayVec::new();
        seen.push(lower(qname));
        let mut alias = first;
        loop {
            let Some(owner) = alias.pointer else { return Verdict::Positive };
            let target = lower(alias.target);
            if seen.contains(&target) || seen.try_push(target.clone()).is_err() {
                return Verdict::Positive;
            }
            let zone = self.snapshot.zones.find(&target, self.qtype);
            if !zone.is_some_and(|zone| std::ptr::eq(zone, self.zone)) {
                return Verdict::Positive;
            }
            match self.write_found(owner, self.zone.lookup(&target, self.qtype)) {
                Written::All(verdict) => return verdict,
                Written::Alias(next) => alias = next,
            }
        }
    }
}

fn lower(name: &[u8]) -> LowerName {
    name.iter().take(MAX_NAME_BYTES).map(u8::to_ascii_lowercase).collect()
}
