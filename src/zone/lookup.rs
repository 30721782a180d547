//! What stands at a name: the look-up of RFC 1034 §4.3.2 in a compiled zone.

use std::ops::Range;

use super::name_table::NameTable;
use crate::decide::PolicyId;
use crate::dns::{Name, OwnedRrset, Rrset, Rtype};

/// All zones served.
#[derive(Debug, Default)]
pub struct Zones {
    zones: Box<[Zone]>,
    /// From origins in lower-case wire form to indices in `zones`.
    origins: NameTable,
    /// Bit n is set when an origin has n labels, the root not counted.
    depths: u128,
}

/// One zone, compiled.
#[derive(Debug)]
pub struct Zone {
    pub(super) origin: Name,
    /// From the labels before the origin, in lower case, to indices in `nodes`.
    pub(super) names: NameTable,
    pub(super) nodes: Box<[Node]>,
    /// The most labels that a name has before the origin.
    pub(super) max_depth: usize,
    /// By node.
    pub(super) rrsets: Box<[Static]>,
    /// The runs that `Static::additional` points at.
    pub(super) additional: Box<[OwnedRrset]>,
    pub(super) delegations: Box<[Delegation]>,
    pub(super) steered: Box<[SteeredNode]>,
    /// The first is that of the zone, the others those of steered names with a shorter TTL.
    pub(super) negative_soas: Box<[OwnedRrset]>,
    pub(super) serial: u32,
    pub(super) records: usize,
}

/// A name of the zone, be it an empty non-terminal.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// In `Zone::rrsets`.
    pub(super) rrsets: Range<u32>,
    /// The zone cut at or above, in `Zone::delegations`.
    pub(super) delegation: u32,
    /// The child `*`, in `Zone::nodes`.
    pub(super) wildcard: u32,
    /// In `Zone::steered`.
    pub(super) steered: u32,
    /// True when the cut is at this very name.
    pub(super) is_cut: bool,
}

/// A static RRset and what goes with it.
#[derive(Debug)]
pub(super) struct Static {
    pub(super) rrset: Rrset,
    /// In `Zone::additional`.
    pub(super) additional: Range<u32>,
    /// Of a CNAME: where it points, in lower case; else empty.
    pub(super) target: Box<[u8]>,
}

/// A steered name.
#[derive(Debug)]
pub(super) struct SteeredNode {
    pub(super) owner: Name,
    pub(super) policy: PolicyId,
    pub(super) may_be_cname: bool,
    /// In `Zone::negative_soas`.
    pub(super) negative_soa: u32,
}

/// No index.
pub(super) const NONE: u32 = u32::MAX;

/// What stands at a name.
#[derive(Clone, Copy, Debug)]
pub enum Lookup<'z> {
    /// The RRset asked for; its owner is the name asked for, also when a wildcard gave it.
    Answer {
        /// The records.
        rrset: &'z Rrset,
        /// In-zone addresses of the names in NS, MX, SRV, SVCB and HTTPS records.
        additional: &'z [OwnedRrset],
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
}

/// A zone cut.
#[derive(Clone, Debug)]
pub struct Delegation {
    /// The NS RRset.
    pub ns: OwnedRrset,
    /// The DS RRset, if the child is signed.
    pub ds: Option<OwnedRrset>,
    /// Addresses of name servers in the zone or below a cut in it; those below this very cut first, as the
    /// referral is of no use without them.
    pub glue: Box<[OwnedRrset]>,
    /// How many of `glue` the referral needs (RFC 9471): with them left out, TC is set.
    pub needed_glue: usize,
}

impl Zones {
    /// Zones with distinct origins.
    pub(super) fn new(zones: Vec<Zone>) -> Zones {
        let mut origins = NameTable::default();
        let mut depths = 0;
        for zone in &zones {
            origins.insert(&zone.origin.to_key());
            depths |= 1 << zone.origin.labels().count();
        }
        Zones { zones: zones.into(), origins, depths }
    }

    /// The zone whose origin is the longest at or above `qname` (lower-case wire form); for a DS
    /// query at an origin, the parent zone if it is here too (RFC 4035 §3.1.4.1).
    pub fn find(&self, qname: &[u8], rtype: Rtype) -> Option<&Zone> {
        let labels = Labels::of(qname);
        let mut at_origin = None;
        for skipped in 0..=labels.count() {
            if self.depths & (1 << (labels.count() - skipped)) == 0 {
                continue;
            }
            let Some(index) = self.origins.find(&qname[labels.start(skipped)..]) else { continue };
            let zone = self.zones.get(index as usize);
            if rtype != Rtype::DS || skipped > 0 {
                return zone;
            }
            at_origin = zone;
        }
        at_origin
    }

    /// All zones, in the order in which they were given.
    pub fn iter(&self) -> impl Iterator<Item = &Zone> {
        self.zones.iter()
    }
}

impl Zone {
    /// The apex.
    pub fn origin(&self) -> &Name {
        &self.origin
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

    /// How many static records there are.
    pub fn records(&self) -> usize {
        self.records
    }

    /// How many names have records or are steered.
    pub fn names(&self) -> usize {
        self.nodes.iter().filter(|node| node.has_data()).count()
    }

    /// The steered names and what decides there.
    pub fn steered(&self) -> impl Iterator<Item = (&Name, PolicyId)> {
        self.steered.iter().map(|steered| (&steered.owner, steered.policy))
    }

    /// What stands at `qname`, a name in lower-case wire form at or below the origin.
    pub fn lookup(&self, qname: &[u8], rtype: Rtype) -> Lookup<'_> {
        let prefix = &qname[..qname.len().saturating_sub(self.origin_len())];
        if let Some(index) = self.names.find(prefix) {
            let node = &self.nodes[index as usize];
            return match self.delegations.get(node.delegation as usize) {
                // DS is the one type that stands on the parent's side of the cut.
                Some(_) if node.is_cut && rtype == Rtype::DS => self.exact(node, rtype),
                Some(delegation) => Lookup::Referral(delegation),
                None => self.at(node, rtype),
            };
        }
        let encloser = &self.nodes[self.closest_encloser(prefix) as usize];
        if let Some(delegation) = self.delegations.get(encloser.delegation as usize) {
            return Lookup::Referral(delegation);
        }
        match self.nodes.get(encloser.wildcard as usize) {
            Some(wildcard) => self.at(wildcard, rtype),
            None => Lookup::NxDomain,
        }
    }

    /// The deepest existing name above `prefix`, which does not exist itself (RFC 4592 §3.3.1).
    ///
    /// Every name above an existing one exists, so a binary search over the labels finds it.
    fn closest_encloser(&self, prefix: &[u8]) -> u32 {
        let labels = Labels::of(prefix);
        let mut apex = 0;
        // `high` labels taken away leave a name that exists, `low - 1` one that does not.
        let mut low = labels.count().saturating_sub(self.max_depth).max(1);
        let mut high = labels.count();
        while low < high {
            let middle = (low + high) / 2;
            match self.names.find(&prefix[labels.start(middle)..]) {
                Some(node) => (apex, high) = (node, middle),
                None => low = middle + 1,
            }
        }
        apex
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
                let additional = &self.additional[range];
                return Lookup::Answer { rrset: &found.rrset, additional };
            }
            if found.rrset.rtype == Rtype::CNAME {
                cname = Some(found);
            }
        }
        match cname {
            Some(cname) => Lookup::Cname { rrset: &cname.rrset, target: &cname.target },
            None => Lookup::NoData,
        }
    }
}

impl Node {
    fn has_data(&self) -> bool {
        !self.rrsets.is_empty() || self.steered != NONE
    }
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
