//! What stands at a name: the look-up of RFC 1034 §4.3.2 in a compiled zone.

use std::hint::black_box;
use std::ops::Range;
use std::sync::Arc;

use arrayvec::ArrayVec;

use super::Place;
use super::additional::Extra;
use super::contents::Contents;
use super::directory::{Directory, Search};
use super::service::Hints;
use crate::decide::PolicyId;
use crate::dns::name::MAX_NAME_BYTES;
use crate::dns::{Name, OwnedRrset, Rrset, Rtype};

/// All zones served.
#[derive(Debug)]
pub struct Zones {
    /// Shared with those that came before and after, where only one zone is replaced.
    zones: Box<[Arc<Zone>]>,
    /// From origins in lower-case wire form to indices in `zones`.
    origins: Directory<u32>,
    /// Bit n is set when an origin has n labels, the root not counted.
    depths: u128,
}

/// One zone, compiled.
#[derive(Debug)]
pub struct Zone {
    pub(super) origin: Name,
    /// By the labels before the origin, in lower case.
    pub(super) nodes: Directory<Node>,
    /// In `nodes`.
    pub(super) apex: u32,
    /// The most labels that a name has before the origin.
    pub(super) max_depth: usize,
    /// Those of a node are consecutive.
    pub(super) rrsets: Box<[Static]>,
    /// The runs that `Static::additional` points at.
    pub(super) additional: Box<[Extra]>,
    /// Where CNAMEs point, in lower-case wire form.
    pub(super) targets: Box<[Box<[u8]>]>,
    pub(super) cuts: Box<[Cut]>,
    /// Of SVCB and HTTPS RRsets: the hints of each record.
    pub(super) services: Box<[Box<[Option<Hints>]>]>,
    pub(super) steered: Box<[SteeredNode]>,
    /// The first is that of the zone, the others those of steered names with a shorter TTL.
    pub(super) negative_soas: Box<[OwnedRrset]>,
    pub(super) serial: u32,
    pub(super) digest: Option<u64>,
    pub(super) soa_place: Place,
    pub(super) condition: Condition,
    pub(super) contents: Option<Arc<Contents>>,
}

/// Whether there is something to answer from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// There is.
    Served,
    /// The primary has not sent the zone yet.
    Awaited,
    /// The zone's SOA EXPIRE has passed since the primary was last heard of.
    Expired,
}

/// A name of the zone, be it an empty non-terminal.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// In `Zone::rrsets`.
    pub(super) rrsets: Range<u32>,
    /// The cut at or above, in `Zone::cuts`.
    pub(super) cut: u32,
    /// The child `*`, in `Zone::nodes`.
    pub(super) wildcard: u32,
    /// In `Zone::steered`.
    pub(super) steered: u32,
}

/// A name below which nothing of this zone is answered.
#[derive(Debug)]
pub(super) enum Cut {
    /// What is at or below it belongs to another zone.
    Delegation(Delegation),
    /// What is below it stands for names elsewhere.
    Redirection(Redirection),
}

/// A static RRset and what goes with it, in one cache line.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Static {
    pub(super) rrset: Rrset,
    /// In `Zone::additional`.
    pub(super) additional: Range<u32>,
    /// Of a CNAME: where it points, in `Zone::targets`. Of SVCB and HTTPS with hints that are
    /// decided: those, in `Zone::services`. Else [`NONE`].
    pub(super) link: u32,
}

const _: () = assert!(size_of::<Static>() == 64 && size_of::<Node>() == 20);

/// A steered name.
#[derive(Debug)]
pub(super) struct SteeredNode {
    pub(super) owner: Name,
    pub(super) policy: PolicyId,
    pub(super) may_be_cname: bool,
    /// In `Zone::negative_soas`.
    pub(super) negative_soa: u32,
}

/// The search for a name in one zone. Begun ahead, it can have what it will read fetched while
/// something else is done.
#[derive(Clone, Copy, Debug)]
pub struct NameSearch(Search);

/// No index.
pub(super) const NONE: u32 = u32::MAX;

/// What stands at a name.
#[derive(Clone, Copy, Debug)]
pub enum Lookup<'z> {
    /// The RRset asked for; its owner is the name asked for, also when a wildcard gave it.
    Answer {
        /// The records.
        rrset: &'z Rrset,
        /// What is in the zone of the names in NS, MX, SRV, SVCB, HTTPS and CNAME records.
        additional: &'z [Extra],
    },
    /// The SVCB or HTTPS RRset asked for, with address hints that are decided per client.
    Hinted {
        /// The records without these hints.
        rrset: &'z Rrset,
        /// By record: its hints; none where it stays as it is.
        hints: &'z [Option<Hints>],
        /// What is in the zone of the names in the records.
        additional: &'z [Extra],
    },
    /// A CNAME, where another type was asked for.
    Cname {
        /// The one record.
        rrset: &'z Rrset,
        /// Where it points, in lower-case wire form.
        target: &'z [u8],
    },
    /// Addresses (or a CNAME) that are decided per client.
    Steered {
        /// What decides.
        policy: PolicyId,
        /// The SOA record for a negative answer here; its TTL is that of the negative answer.
        negative_soa: &'z OwnedRrset,
    },
    /// The name exists, and for ANY a minimal answer is due (RFC 8482).
    Any,
    /// The name exists, the type does not.
    NoData,
    /// The name does not exist.
    NxDomain,
    /// The name is at or below a zone cut.
    Referral(&'z Delegation),
    /// The name is below one with a DNAME record.
    Redirected(&'z Redirection),
}

/// A name with a DNAME record (RFC 6672): those below it stand for names below its target.
#[derive(Clone, Debug)]
pub struct Redirection {
    /// The bytes that its name has in wire form, root label included.
    pub owner_len: usize,
    /// The one record.
    pub rrset: Rrset,
    /// Where it points, in lower-case wire form.
    pub target: Box<[u8]>,
}

/// A zone cut.
#[derive(Clone, Debug)]
pub struct Delegation {
    /// The NS RRset.
    pub ns: OwnedRrset,
    /// Addresses of name servers in the zone or below a cut in it; those below this very cut first, as the
    /// referral is of no use without them.
    pub glue: Box<[OwnedRrset]>,
    /// How many of `glue` the referral needs (RFC 9471): with them left out, TC is set.
    pub needed_glue: usize,
}

impl Redirection {
    /// Where `name`, which is below the owner, leads: its labels before the owner stay (RFC 6672
    /// §2.2). In wire form; none when that is too long for a name.
    pub fn target_of(&self, name: &[u8]) -> Option<ArrayVec<u8, MAX_NAME_BYTES>> {
        let mut target = ArrayVec::new();
        let kept = name.len().saturating_sub(self.owner_len);
        target.try_extend_from_slice(&name[..kept]).ok()?;
        target.try_extend_from_slice(&self.target).ok()?;
        Some(target)
    }
}

impl Default for Zones {
    /// No zones.
    fn default() -> Zones {
        Zones::new(Vec::new())
    }
}

impl Zones {
    /// Zones with distinct origins.
    pub(super) fn new(zones: Vec<Zone>) -> Zones {
        Zones::of(zones.into_iter().map(Arc::new).collect())
    }

    fn of(zones: Box<[Arc<Zone>]>) -> Zones {
        let origins: Vec<_> = zones.iter().map(|zone| zone.origin.to_key()).collect();
        let depths = zones.iter().map(|zone| 1 << zone.origin.labels().count());
        let depths = depths.fold(0, |depths, depth: u128| depths | depth);
        let origins = Directory::new(origins.iter().map(|key| &key[..]), |index, _| index as u32);
        Zones { zones, origins, depths }
    }

    /// The same zones, but for those of equal origin in `others`, which take their place.
    pub fn replaced(&self, others: &Zones) -> Zones {
        let replaced = self.zones.iter().map(|zone| {
            let key = zone.origin.to_key();
            let other = others.origins.find(others.origins.search(&key), &key);
            let other = other.and_then(|&index| others.zones.get(index as usize));
            Arc::clone(other.unwrap_or(zone))
        });
        Zones::of(replaced.collect())
    }

    /// The zone whose origin is the longest at or above `qname` (lower-case wire form); for a DS
    /// query at an origin, the parent zone if it is here too (RFC 4035 §3.1.4.1).
    pub fn find(&self, qname: &[u8], rtype: Rtype) -> Option<&Zone> {
        let mut depth = depth(qname);
        let (mut origin, mut at_origin) = (qname, None);
        loop {
            if self.depths & (1 << depth) != 0
                && let Some(&index) = self.origins.find(self.origins.search(origin), origin)
            {
                let zone = self.zones.get(index as usize).map(|zone| &**zone);
                if rtype != Rtype::DS || origin.len() < qname.len() {
                    return zone;
                }
                at_origin = zone;
            }
            if depth == 0 {
                return at_origin;
            }
            origin = &origin[1 + usize::from(origin[0])..];
            depth -= 1;
        }
    }

    /// All zones, in the order in which they were given.
    pub fn iter(&self) -> impl Iterator<Item = &Zone> {
        self.zones.iter().map(|zone| &**zone)
    }
}

impl Zone {
    /// The apex.
    pub fn origin(&self) -> &Name {
        &self.origin
    }

    /// Everything that it holds, if it has data and other servers may take it.
    pub fn contents(&self) -> Option<&Arc<Contents>> {
        self.contents.as_ref()
    }

    /// Whether there is something to answer from; the other methods may be called in any case.
    pub fn condition(&self) -> Condition {
        self.condition
    }

    /// The bytes that the origin has in wire form, root label included.
    pub fn origin_len(&self) -> usize {
        self.origin.as_wire().len()
    }

    /// The SOA record for negative answers: its TTL is the lesser of its own and its MINIMUM
    /// (RFC 2308 §5).
    pub fn negative_soa(&self) -> &OwnedRrset {
        &self.negative_soas[0]
    }

    /// The serial number of the SOA record.
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// A digest of its contents without the serial number, the same in every process; none of a
    /// zone that comes from a primary.
    pub fn digest(&self) -> Option<u64> {
        self.digest
    }

    /// Where its SOA record stands in what it was compiled from.
    pub fn soa_place(&self) -> &Place {
        &self.soa_place
    }

    /// How many names have records or are steered.
    pub fn names(&self) -> usize {
        self.nodes.values().filter(|node| node.has_data()).count()
    }

    /// The steered names and what decides there.
    pub fn steered(&self) -> impl Iterator<Item = (&Name, PolicyId)> {
        self.steered.iter().map(|steered| (&steered.owner, steered.policy))
    }

    /// Begins the search for `qname`, a name in lower-case wire form at or below the origin.
    pub fn search(&self, qname: &[u8]) -> NameSearch {
        NameSearch(self.nodes.search(self.prefix(qname)))
    }

    /// Has the processor fetch what the search reads first.
    pub fn fetch_node(&self, NameSearch(search): &NameSearch) {
        self.nodes.fetch_entries(search);
    }

    /// Has the processor fetch what is read next, once the first is here. Gives what decides at
    /// the name, if it is steered.
    pub fn fetch_rrset(&self, NameSearch(search): &mut NameSearch) -> Option<PolicyId> {
        let node = self.nodes.fetch_key(search)?;
        if let Some(first) = self.rrsets.get(node.rrsets.start as usize) {
            black_box(first.rrset.rtype);
        }
        self.policy(node)
    }

    /// Has the processor fetch what is read last, once the rest is here. Gives what decides at
    /// the name, if it is steered.
    pub fn fetch_records(&self, NameSearch(search): &NameSearch) -> Option<PolicyId> {
        let node = self.nodes.likely(search)?;
        if let Some(first) = self.rrsets.get(node.rrsets.start as usize) {
            black_box(first.rrset.bytes().first().copied());
        }
        self.policy(node)
    }

    /// What stands at `qname`, a name in lower-case wire form at or below the origin.
    pub fn lookup(&self, qname: &[u8], rtype: Rtype) -> Lookup<'_> {
        self.lookup_searched(self.search(qname), qname, rtype)
    }

    /// The same, with the search for the name begun.
    pub fn lookup_searched(
        &self,
        NameSearch(search): NameSearch,
        qname: &[u8],
        rtype: Rtype,
    ) -> Lookup<'_> {
        let prefix = self.prefix(qname);
        if let Some(node) = self.nodes.find(search, prefix) {
            return match self.cuts.get(node.cut as usize) {
                Some(cut) => self.cut(cut, Some(node), qname.len(), rtype),
                None => self.at(node, rtype),
            };
        }
        let Some(encloser) = self.closest_encloser(prefix) else { return Lookup::NxDomain };
        if let Some(cut) = self.cuts.get(encloser.cut as usize) {
            return self.cut(cut, None, qname.len(), rtype);
        }
        match self.nodes.at(encloser.wildcard) {
            Some(wildcard) => self.at(wildcard, rtype),
            None => Lookup::NxDomain,
        }
    }

    /// The deepest existing name above `prefix`, which does not exist itself (RFC 4592 §3.3.1).
    ///
    /// Every name above an existing one exists, so a binary search over the labels finds it.
    fn closest_encloser(&self, prefix: &[u8]) -> Option<&Node> {
        let labels = Labels::of(prefix);
        let mut encloser = self.nodes.at(self.apex);
        // `high` labels taken away leave a name that exists, `low - 1` one that does not.
        let mut low = labels.count().saturating_sub(self.max_depth).max(1);
        let mut high = labels.count();
        while low < high {
            let middle = (low + high) / 2;
            let name = &prefix[labels.start(middle)..];
            match self.nodes.find(self.nodes.search(name), name) {
                Some(node) => (encloser, high) = (Some(node), middle),
                None => low = middle + 1,
            }
        }
        encloser
    }

    fn policy(&self, node: &Node) -> Option<PolicyId> {
        self.steered.get(node.steered as usize).map(|steered| steered.policy)
    }

    /// The labels of `qname` before the origin.
    fn prefix<'q>(&self, qname: &'q [u8]) -> &'q [u8] {
        &qname[..qname.len().saturating_sub(self.origin_len())]
    }

    /// What stands at or below a cut, at a name of `length` bytes; `node` is that name's own.
    #[cold]
    fn cut<'z>(
        &'z self,
        cut: &'z Cut,
        node: Option<&'z Node>,
        length: usize,
        rtype: Rtype,
    ) -> Lookup<'z> {
        match (cut, node) {
            // DS is the one type that stands on the parent's side of the cut.
            (Cut::Delegation(delegation), Some(node))
                if rtype == Rtype::DS
                    && delegation.ns.owner_prefix.len() + self.origin_len() == length =>
            {
                self.exact(node, rtype)
            }
            (Cut::Delegation(delegation), _) => Lookup::Referral(delegation),
            // The name itself is not redirected.
            (Cut::Redirection(redirection), Some(node)) if redirection.owner_len == length => {
                self.at(node, rtype)
            }
            (Cut::Redirection(redirection), _) => Lookup::Redirected(redirection),
        }
    }

    /// What a node on our side of every cut has for a type (RFC 1034 §4.3.2, step 3a and c).
    fn at(&self, node: &Node, rtype: Rtype) -> Lookup<'_> {
        if rtype == Rtype::ANY {
            return if node.has_data() { Lookup::Any } else { Lookup::NoData };
        }
        if let Some(steered) = self.steered.get(node.steered as usize)
            && (steered.may_be_cname || matches!(rtype, Rtype::A | Rtype::AAAA))
        {
            return Lookup::Steered {
                policy: steered.policy,
                negative_soa: &self.negative_soas[steered.negative_soa as usize],
            };
        }
        self.exact(node, rtype)
    }

    fn exact(&self, node: &Node, rtype: Rtype) -> Lookup<'_> {
        let mut cname = None;
        for found in &self.rrsets[node.rrsets.start as usize..node.rrsets.end as usize] {
            if found.rrset.rtype == rtype {
                let range = found.additional.start as usize..found.additional.end as usize;
                let (rrset, additional) = (&found.rrset, &self.additional[range]);
                if found.link != NONE && rtype != Rtype::CNAME {
                    let hints = &self.services[found.link as usize];
                    return Lookup::Hinted { rrset, hints, additional };
                }
                return Lookup::Answer { rrset, additional };
            }
            if found.rrset.rtype == Rtype::CNAME {
                cname = Some(found);
            }
        }
        let target = cname.and_then(|cname| self.targets.get(cname.link as usize));
        match (cname, target) {
            (Some(cname), Some(target)) => Lookup::Cname { rrset: &cname.rrset, target },
            _ => Lookup::NoData,
        }
    }
}

impl Node {
    fn has_data(&self) -> bool {
        !self.rrsets.is_empty() || self.steered != NONE
    }
}

/// How many labels a name in wire form has, the root not counted.
fn depth(name: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0);
    while let Some(&length @ 1..) = name.get(at) {
        at += 1 + usize::from(length);
        depth += 1;
    }
    depth
}

/// Where the labels of a name begin.
struct Labels {
    /// The last is where the root label stands, or would stand.
    starts: [u8; 129],
    count: usize,
}

impl Labels {
    /// Of a name of at most 255 bytes in wire form, with or without its root label.
    fn of(name: &[u8]) -> Labels {
        let mut labels = Labels { starts: [0; 129], count: 0 };
        let mut at = 0;
        while let Some(&length @ 1..) = name.get(at) {
            at += 1 + usize::from(length);
            if labels.count == 127 || at > name.len() {
                break;
            }
            labels.count += 1;
            labels.starts[labels.count] = at as u8;
        }
        labels
    }

    fn count(&self) -> usize {
        self.count
    }

    /// Where the name begins when its first `skipped` labels are taken away.
    fn start(&self, skipped: usize) -> usize {
        usize::from(self.starts[skipped])
    }
}

#[cfg(test)]
mod tests;
