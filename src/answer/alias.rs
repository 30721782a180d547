//! Follows CNAME and DNAME records through the zone (RFC 1034 §4.3.2 step 3a, RFC 6672 §3.2).

use arrayvec::ArrayVec;

use super::sections::Written;
use super::{Answer, Verdict};
use crate::dns::name::MAX_NAME_BYTES;
use crate::dns::response::{QNAME_POINTER, rdata_pointer};
use crate::dns::{Rtype, Section};
use crate::zone::Redirection;

/// The most aliases in an answer. Who chains more gets the answer so far; a resolver goes on from
/// there.
const MAX_ALIASES: usize = 16;

type WireName = ArrayVec<u8, MAX_NAME_BYTES>;

impl<'a> Answer<'a, '_> {
    /// Writes what stands at the end of a chain that begins at `qname`, where `written` is what
    /// was found. The chain ends where it leaves the zone, returns to itself, or gets too long; the
    /// verdict is that of its last name (RFC 6604 §3).
    #[cold]
    pub(super) fn follow(&mut self, qname: &[u8], mut written: Written<'a>) -> Verdict {
        let mut seen: ArrayVec<WireName, MAX_ALIASES> = ArrayVec::new();
        let mut redirected: ArrayVec<&Redirection, MAX_ALIASES> = ArrayVec::new();
        let (mut name, mut owner) = (lower(qname), QNAME_POINTER);
        loop {
            let (target, pointer) = match written {
                // What is not known at the end may be had from there later.
                Written::All(Verdict::ServFail) => return Verdict::Positive,
                Written::All(verdict) => return verdict,
                Written::Alias(alias) => (lower(alias.target), alias.pointer),
                Written::Redirected(redirection) => {
                    let is_new = !redirected.iter().any(|old| std::ptr::eq(*old, redirection));
                    redirected.push(redirection);
                    match self.redirect(owner, &name, redirection, is_new) {
                        // What was synthesised is what was asked for.
                        Some(_) if self.qtype == Rtype::CNAME => return Verdict::Positive,
                        Some(alias) => alias,
                        None => return Verdict::YxDomain,
                    }
                }
            };
            seen.push(name);
            if seen.is_full() || seen.contains(&target) {
                return Verdict::Positive;
            }
            let zone = self.snapshot.zones.find(&target, self.qtype);
            let is_here = zone.is_some_and(|zone| std::ptr::eq(zone, self.zone));
            let Some(pointer) = pointer.filter(|_| is_here) else { return Verdict::Positive };
            (name, owner) = (target, pointer);
            written = self.write_found(owner, self.zone.lookup(&name, self.qtype));
        }
    }

    /// Writes a DNAME record, unless it stands there already, and the CNAME record that it means
    /// for `name`, to which `pointer` points. Gives where that leads, and a pointer to it; none
    /// when that is too long for a name.
    fn redirect(
        &mut self,
        pointer: u16,
        name: &[u8],
        redirection: &Redirection,
        is_new: bool,
    ) -> Option<(WireName, Option<u16>)> {
        let kept = name.len().saturating_sub(redirection.owner_len);
        if is_new {
            // What is kept stands in the message as labels, and the owner behind it.
            self.response.require(Section::Answer, pointer + kept as u16, &redirection.rrset);
        }
        let target = redirection.target_of(name)?;
        let start = self.response.require_synthesised(pointer, kept, &redirection.rrset);
        Some((target, start.and_then(rdata_pointer)))
    }
}

fn lower(name: &[u8]) -> WireName {
    name.iter().take(MAX_NAME_BYTES).map(u8::to_ascii_lowercase).collect()
}
