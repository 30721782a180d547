//! Addresses that are decided for the client where they are not the answer itself: as hints of SVCB
//! and HTTPS records, and in ADDITIONAL.

use arrayvec::ArrayVec;

use super::{Answer, Verdict};
use crate::decide::{Assignment, Choice, Client, Decision, MAX_ANSWERS, PolicyId};
use crate::dns::edns::ExtendedError;
use crate::dns::response::Owner;
use crate::dns::rrset::RECORD_HEAD_BYTES;
use crate::dns::svcb::{PARAM_HEAD_BYTES, key};
use crate::dns::{Rrset, Rtype, Section};
use crate::ledger::Answered;
use crate::snapshot::Snapshot;
use crate::zone::{Extra, Hints, What};

/// The addresses that one policy gives the client: what A and AAAA get, from the same draw.
struct Addresses {
    policy: PolicyId,
    /// In seconds; none without addresses.
    ttl: Option<u32>,
    scope: u8,
    is_stale: bool,
    assignment: Option<Assignment>,
    /// The parameter `ipv4hint`; empty without addresses.
    v4: ArrayVec<u8, { PARAM_HEAD_BYTES + 4 * MAX_ANSWERS }>,
    /// The parameter `ipv6hint`; empty without addresses.
    v6: ArrayVec<u8, { PARAM_HEAD_BYTES + 16 * MAX_ANSWERS }>,
}

impl Addresses {
    /// None, of no policy.
    const NONE: Addresses = Addresses {
        policy: PolicyId(u32::MAX),
        ttl: None,
        scope: 0,
        is_stale: false,
        assignment: None,
        v4: ArrayVec::new_const(),
        v6: ArrayVec::new_const(),
    };

    /// Those of a policy, unless they are these.
    fn of(&mut self, policy: PolicyId, snapshot: &Snapshot, client: &Client) -> &Addresses {
        if self.policy != policy {
            self.decide(policy, snapshot, client);
        }
        self
    }

    fn decide(&mut self, policy: PolicyId, snapshot: &Snapshot, client: &Client) {
        let chart = &snapshot.charts[policy.0 as usize];
        let a = chart.decide(client, Rtype::A);
        let aaaa = chart.decide(client, Rtype::AAAA);
        *self = Addresses { policy, scope: a.scope.max(aaaa.scope), ..Addresses::NONE };
        if let Choice::V6(chosen) = &aaaa.choice {
            append(&mut self.v6, &param_head(key::IPV6HINT, chosen.len() * 16));
            chosen.iter().for_each(|address| append(&mut self.v6, &address.octets()));
            self.take_over(&aaaa);
        }
        if let Choice::V4(chosen) = &a.choice {
            append(&mut self.v4, &param_head(key::IPV4HINT, chosen.len() * 4));
            chosen.iter().for_each(|address| append(&mut self.v4, &address.octets()));
            self.take_over(&a);
        }
    }

    fn take_over(&mut self, decision: &Decision<'_>) {
        self.ttl = Some(self.ttl.map_or(decision.ttl, |ttl| ttl.min(decision.ttl)));
        self.is_stale |= decision.is_stale;
        self.assignment = decision.assignment;
    }
}

fn append<const N: usize>(to: &mut ArrayVec<u8, N>, bytes: &[u8]) {
    // There is room for as many addresses as an answer has.
    let _ = to.try_extend_from_slice(bytes);
}

fn param_head(key: u16, length: usize) -> [u8; PARAM_HEAD_BYTES] {
    let [k0, k1] = key.to_be_bytes();
    let [l0, l1] = (length as u16).to_be_bytes();
    [k0, k1, l0, l1]
}

impl<'a> Answer<'a, '_> {
    /// Writes SVCB or HTTPS records that were asked for, with the client's addresses as hints.
    #[inline(never)]
    pub(super) fn write_hinted(
        &mut self,
        owner: u16,
        rrset: &Rrset,
        hints: &[Option<Hints>],
        additional: &[Extra],
    ) -> Verdict {
        let mut known = Addresses::NONE;
        self.write_service(Section::Answer, Owner::at(owner), rrset, hints, &mut known);
        self.write_extras(owner, additional, &mut known);
        Verdict::Positive
    }

    /// Writes what goes with an RRset whose owner is at `owner`, as far as there is room.
    #[inline(never)]
    pub(super) fn write_additional(&mut self, owner: u16, additional: &'a [Extra]) {
        let mut known = Addresses::NONE;
        self.write_extras(owner, additional, &mut known);
    }

    fn write_extras(&mut self, owner: u16, additional: &[Extra], known: &mut Addresses) {
        if self.response.is_truncated() {
            return;
        }
        for Extra { owner: labels, what } in additional {
            let owner = match labels {
                Some(labels) => self.response.below_origin(labels),
                None => Owner::at(owner),
            };
            match what {
                What::Records(rrset) => self.response.offer(Section::Additional, owner, rrset),
                What::Decided(policy) => self.write_addresses(owner, *policy, known),
                What::Service(service) => {
                    let (rrset, hints) = (&service.rrset, &service.hints);
                    self.write_service(Section::Additional, owner, rrset, hints, known);
                }
            }
        }
    }

    /// Writes the client's addresses into ADDITIONAL. They are not written down in the ledger:
    /// resolvers do not answer from there (RFC 2181 §5.4.1), so the client holds nothing yet.
    fn write_addresses(&mut self, owner: Owner<'_>, policy: PolicyId, known: &mut Addresses) {
        let addresses = known.of(policy, self.snapshot, &self.client);
        self.scope = self.scope.max(addresses.scope);
        let Some(ttl) = addresses.ttl else { return };
        let v4 = addresses.v4.get(PARAM_HEAD_BYTES..).unwrap_or_default();
        let v6 = addresses.v6.get(PARAM_HEAD_BYTES..).unwrap_or_default();
        for (rtype, bytes, size) in [(Rtype::A, v4, 4), (Rtype::AAAA, v6, 16)] {
            if bytes.is_empty() {
                continue;
            }
            self.is_steered = true;
            let mut records = self.response.begin(owner, rtype, ttl);
            bytes.chunks_exact(size).for_each(|address| records.push(&[address]));
            records.offer(Section::Additional);
        }
    }

    /// Writes SVCB or HTTPS records with the client's addresses as hints.
    fn write_service(
        &mut self,
        section: Section,
        owner: Owner<'_>,
        rrset: &Rrset,
        hints: &[Option<Hints>],
        known: &mut Addresses,
    ) {
        let (mut ttl, mut is_stale) = (rrset.ttl, false);
        for hints in hints.iter().flatten() {
            let addresses = known.of(hints.policy, self.snapshot, &self.client);
            ttl = ttl.min(addresses.ttl.unwrap_or(hints.negative_ttl));
            self.scope = self.scope.max(addresses.scope);
            self.is_steered |= addresses.ttl.is_some();
            is_stale |= addresses.is_stale;
        }
        // Whom clients try first: the least priority (RFC 9460 §2.4.1).
        let mut first: Option<([u8; 2], Assignment, u32)> = None;
        let mut records = self.response.begin(owner, rrset.rtype, ttl);
        for (range, hints) in rrset.records().zip(hints) {
            let rdata = &rrset.bytes()[range][RECORD_HEAD_BYTES..];
            let Some(hints) = hints else {
                records.push(&[rdata]);
                continue;
            };
            let addresses = known.of(hints.policy, self.snapshot, &self.client);
            let (start, rest) = rdata.split_at(hints.v4_at.into());
            let (middle, end) = rest.split_at(usize::from(hints.v6_at - hints.v4_at));
            records.push(&[start, &addresses.v4, middle, &addresses.v6, end]);
            if let (Some(assignment), Some(ttl)) = (addresses.assignment, addresses.ttl) {
                let priority = [rdata[0], rdata[1]];
                if first.is_none_or(|(best, ..)| priority < best) {
                    first = Some((priority, assignment, ttl));
                }
            }
        }
        if section == Section::Additional {
            return records.offer(section);
        }
        records.require(section);
        if is_stale {
            self.response.set_extended_error(ExtendedError::STALE_ANSWER);
        }
        // With the TTL of the addresses, which the client mostly asks for, too, and then holds.
        if let Some((_, assignment, ttl)) = first {
            let epoch = self.snapshot.epoch;
            self.answered = Answered::new(self.client.address, assignment, ttl, epoch);
        }
    }
}
