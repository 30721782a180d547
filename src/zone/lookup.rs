//! What stands at a name: the look-up of RFC 1034 §4.3.2 in a compiled zone.

use crate::decide::PolicyId;
use crate::dns::{Name, OwnedRrset, Rrset, Rtype};

/// All zones served.
#[derive(Debug, Default)]
pub struct Zones {
    zones: Box<[Zone]>,
}

/// One zone, compiled.
#[derive(Debug)]
pub struct Zone {
    origin: Name,
}

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
    /// The zone whose origin is the longest at or above `qname` (lower-case wire form); for a DS
    /// query at an origin, the parent zone if it is here too (RFC 4035 §3.1.4.1).
    pub fn find(&self, _qname: &[u8], _rtype: Rtype) -> Option<&Zone> {
        self.zones.first()
    }
}

impl Zone {
    /// The apex.
    pub fn origin(&self) -> &Name {
        &self.origin
    }
}
