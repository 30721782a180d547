//! Addresses that are decided for the client where they are not the answer itself: as hints of SVCB
//! and HTTPS records, and in ADDITIONAL.

use arrayvec::ArrayVec;

use super::{Answer, Verdict};
use crate::decide::{Assignment, Choice, Client, MAX_ANSWERS, PolicyId};
use crate::dns::response::Owner;
use crate::dns::rrset::RECORD_HEAD_BYTES;
use crate::dns::svcb::{PARAM_HEAD_BYTES, key};
use crate::dns::{ExtendedError, Rrset, Rtype, Section};
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

/// What was decided last, as the next to ask often asks for the same.
type Known = Option<Addresses>;

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
        let mut known = None;
        self.write_service(Section::Answer, Owner::at(owner), rrset, hints, &mut known);
        self.write_extras(owner, additional, &mut known);
        Verdict::Positive
    }

    /// Writes what goes with an RRset whose owner is at `owner`, as far as there is room.
    #[inline(never)]
    pub(super) fn write_additional(&mut self, owner: u16, additional: &'a [Extra]) {
        self.write_extras(owner, additional, &mut None);
    }

    fn write_extras(&mut self, owner: u16, additional: &[Extra], known: &mut Known) {
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
    fn write_addresses(&mut self, owner: Owner<'_>, policy: PolicyId, known: &mut Known) {
        let addresses = addresses(self.snapshot, &self.client, policy, known);
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
        known: &mut Known,
    ) {
        let mut ttl = rrset.ttl;
        for hints in hints.iter().flatten() {
            let addresses = addresses(self.snapshot, &self.client, hints.policy, known);
            ttl = ttl.min(addresses.ttl.unwrap_or(hints.negative_ttl));
            self.scope = self.scope.max(addresses.scope);
            self.is_steered |= addresses.ttl.is_some();
            if addresses.is_stale && section == Section::Answer {
                self.response.set_extended_error(ExtendedError::STALE_ANSWER);
            }
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
            let addresses = addresses(self.snapshot, &self.client, hints.policy, known);
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
        // With the TTL of the addresses, which the client mostly asks for, too, and then holds.
        if let Some((_, assignment, ttl)) = first {
            let epoch = self.snapshot.epoch;
            self.answered = Answered::new(self.client.address, assignment, ttl, epoch);
        }
    }
}

/// Decides, unless it is known already.
fn addresses<'k>(
    snapshot: &Snapshot,
    client: &Client,
    policy: PolicyId,
    known: &'k mut Known,
) -> &'k Addresses {
    let known_already = known.take().filter(|known| known.policy == policy);
    known.insert(known_already.unwrap_or_else(|| decide(snapshot, client, policy)))
}

fn decide(snapshot: &Snapshot, client: &Client, policy: PolicyId) -> Addresses {
    let chart = &snapshot.charts[policy.0 as usize];
    let a = chart.decide(client, Rtype::A);
    let aaaa = chart.decide(client, Rtype::AAAA);
    let (mut v4, mut v6) = (ArrayVec::new(), ArrayVec::new());
    let (mut ttl, mut assignment) = (None, None);
    if let Choice::V6(chosen) = &aaaa.choice {
        v6.extend(param_head(key::IPV6HINT, chosen.len() * 16));
        v6.extend(chosen.iter().flat_map(|address| address.octets()));
        (ttl, assignment) = (Some(aaaa.ttl), aaaa.assignment);
    }
    if let Choice::V4(chosen) = &a.choice {
        v4.extend(param_head(key::IPV4HINT, chosen.len() * 4));
        v4.extend(chosen.iter().flat_map(|address| address.octets()));
        ttl = Some(ttl.map_or(a.ttl, |ttl| ttl.min(a.ttl)));
        assignment = a.assignment;
    }
    let (scope, is_stale) = (a.scope.max(aaaa.scope), a.is_stale || aaaa.is_stale);
    Addresses { policy, ttl, scope, is_stale, assignment, v4, v6 }
}

fn param_head(key: u16, length: usize) -> [u8; PARAM_HEAD_BYTES] {
    let [k0, k1] = key.to_be_bytes();
    let [l0, l1] = (length as u16).to_be_bytes();
    [k0, k1, l0, l1]
}
