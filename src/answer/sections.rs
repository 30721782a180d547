//! What is written for what was found at a name.

use super::{Answer, Verdict};
use crate::decide::{Choice, PolicyId};
use crate::dns::response::rdata_pointer;
use crate::dns::{ExtendedError, OwnedRrset, Rtype, Section};
use crate::ledger::Answered;
use crate::zone::{Delegation, Lookup, Redirection};

/// How far the answer is.
pub(super) enum Written<'a> {
    /// All of it is written.
    All(Verdict),
    /// An alias is written, and its target comes next.
    Alias(Alias<'a>),
    /// The name is redirected; nothing is written yet.
    Redirected(&'a Redirection),
}

/// A CNAME that was written.
pub(super) struct Alias<'a> {
    /// Where it points, in wire form.
    pub(super) target: &'a [u8],
    /// A compression pointer to that name in the response; none when it cannot be reached.
    pub(super) pointer: Option<u16>,
}

impl<'a> Answer<'a, '_> {
    /// Writes what was found at the name to which `owner` points.
    #[inline]
    pub(super) fn write_found(&mut self, owner: u16, found: Lookup<'a>) -> Written<'a> {
        Written::All(match found {
            Lookup::Answer { rrset, additional } => {
                self.response.require(Section::Answer, owner, rrset);
                if !additional.is_empty() {
                    self.write_additional(owner, additional);
                }
                Verdict::Positive
            }
            Lookup::Hinted { rrset, hints, additional } => {
                self.write_hinted(owner, rrset, hints, additional)
            }
            Lookup::Steered { policy, negative_soa } => {
                return self.write_steered(owner, policy, negative_soa);
            }
            Lookup::Cname { rrset, target } => {
                let start = self.response.require(Section::Answer, owner, rrset);
                return Written::Alias(Alias { target, pointer: start.and_then(rdata_pointer) });
            }
            Lookup::NoData => self.write_negative(Verdict::NoData, self.zone.negative_soa()),
            Lookup::NxDomain => self.write_negative(Verdict::NxDomain, self.zone.negative_soa()),
            Lookup::Any => self.write_any(owner),
            Lookup::Referral(delegation) => self.write_referral(delegation),
            Lookup::Redirected(redirection) => return Written::Redirected(redirection),
        })
    }

    /// Decides for the client, and writes the choice.
    fn write_steered(
        &mut self,
        owner: u16,
        PolicyId(policy): PolicyId,
        negative_soa: &OwnedRrset,
    ) -> Written<'a> {
        let chart = &self.snapshot.charts[policy as usize];
        let decision = chart.decide(&self.client, self.qtype);
        let ttl = decision.ttl;
        // That nobody gets data has scope 0; that this client gets none, its own.
        self.scope = self.scope.max(decision.scope);
        if matches!(decision.choice, Choice::NoData) {
            if decision.is_unknown {
                self.response.set_extended_error(ExtendedError::NOT_READY);
                return Written::All(Verdict::ServFail);
            }
            return Written::All(self.write_negative(Verdict::NoData, negative_soa));
        }
        self.is_steered = true;
        if decision.is_stale {
            self.response.set_extended_error(ExtendedError::STALE_ANSWER);
        }
        if let Some(assignment) = decision.assignment {
            let epoch = self.snapshot.epoch;
            self.answered = Answered::new(self.client.address, assignment, ttl, epoch);
        }
        match &decision.choice {
            Choice::V4(addresses) => {
                let octets = addresses.iter().map(|address| address.octets());
                self.response.require_rdata(owner, Rtype::A, ttl, octets);
            }
            Choice::V6(addresses) => {
                let octets = addresses.iter().map(|address| address.octets());
                self.response.require_rdata(owner, Rtype::AAAA, ttl, octets);
            }
            Choice::Cname(target) => {
                let target = target.as_wire();
                let start = self.response.require_record(owner, Rtype::CNAME, ttl, target);
                if self.qtype != Rtype::CNAME {
                    let pointer = start.and_then(rdata_pointer);
                    return Written::Alias(Alias { target, pointer });
                }
            }
            Choice::NoData => (),
        }
        Written::All(Verdict::Positive)
    }

    /// Points to the name servers of the zone below (RFC 1034 §4.3.2 step 3b). They and the
    /// addresses without which they cannot be asked must not be missing (RFC 9471 §3). No DS records:
    /// they are of no use without signatures, and our zones are not signed.
    fn write_referral(&mut self, delegation: &Delegation) -> Verdict {
        self.response.require_owned(Section::Authority, &delegation.ns);
        let (needed, useful) = delegation.glue.split_at(delegation.needed_glue);
        for glue in needed {
            self.response.require_owned(Section::Additional, glue);
        }
        for glue in useful {
            self.response.offer_owned(Section::Additional, glue);
        }
        Verdict::Referral
    }
}
