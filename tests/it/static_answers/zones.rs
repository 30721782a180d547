//! Zones made from a seed, with what servers get wrong: wildcards at every depth, empty
//! non-terminals, aliases of all kinds, delegations with and without glue, names of any octets.

mod aliases;
mod cuts;
mod names;
mod redirections;
mod types;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use fastrand::Rng;

use super::name::Name;

/// A zone and what is worth asking in it.
pub struct Zone {
    pub origin: Name,
    /// In master-file form.
    pub text: String,
    /// Every owner in the text and its types, and some names that have none.
    pub owners: Vec<(Name, Vec<u16>)>,
    /// Where other zones begin.
    pub cuts: Vec<Name>,
    /// Has names below a DNAME, for which NSD and Knot do not take it.
    pub has_occluded: bool,
}

impl Zone {
    /// The names in the text, in lower case, none of those between.
    pub fn names(&self) -> impl Iterator<Item = Name> {
        let has_records = |(_, types): &&(Name, Vec<u16>)| !types.is_empty();
        self.owners.iter().filter(has_records).map(|(owner, _)| owner.lower())
    }
}

/// Zones that one server has: some below others, some that lead to others, and some alone.
pub fn related(rng: &mut Rng) -> Vec<Zone> {
    vec![
        generate(rng, "alpha.example.", &["child.alpha.example."], "beta.example."),
        generate(rng, "beta.example.", &[], "alpha.example."),
        generate(rng, "child.alpha.example.", &["a.b.child.alpha.example."], "alpha.example."),
        // Two labels below the one above it, and one that the zone above does not delegate.
        small(rng, "a.b.child.alpha.example.", "beta.example."),
        small(rng, "lost.beta.example.", "beta.example."),
        generate(rng, "x.y.deep.example.", &[], "wild.example."),
        rfc_4592("wild.example."),
        redirections::whole_zone(rng, "gamma.example.", "beta.example."),
        redirections::occluding(rng, "delta.example.", "beta.example."),
    ]
}

/// The zone of RFC 4592 §2.2.1, whose answers §2.2.1 and §4 discuss.
fn rfc_4592(origin: &str) -> Zone {
    let mut draft = Draft::new(origin);
    let origin = draft.origin.clone();
    draft.add(&origin, "SOA", "ns.example.com. hostmaster.example.com. 1 7200 900 1209600 300");
    for target in ["ns.example.com.", "ns.example.net."] {
        draft.add(&origin, "NS", target);
        draft.add(&origin.with("subdel"), "NS", target);
    }
    draft.add(&origin.with("*"), "TXT", "\"this is a wildcard\"");
    draft.add(&origin.with("*"), "MX", &format!("10 {}", origin.with("host1").text()));
    draft.add(&origin.with("sub.*"), "TXT", "\"this is not a wildcard\"");
    draft.add(&origin.with("host1"), "A", "198.51.100.1");
    for host in ["host1", "host2"] {
        let target = format!("0 0 22 {}", origin.with(host).text());
        draft.add(&origin.with("_tcp").with("_ssh").with(host), "SRV", &target);
        draft.add(&origin.with(&format!("_ssh._tcp.{host}")), "SRV", &target);
    }
    draft.finish()
}

/// A zone with everything, `children` delegated, which are served too.
fn generate(rng: &mut Rng, origin: &str, children: &[&str], elsewhere: &str) -> Zone {
    let mut draft = Draft::new(origin);
    draft.apex(rng);
    for child in children {
        draft.child(rng, &Name::plain(child));
    }
    draft.cuts(rng);
    draft.redirections(elsewhere);
    draft.hosts(rng, 60);
    draft.wildcards(rng);
    draft.large(rng);
    draft.long_names();
    draft.aliases(rng, elsewhere);
    draft.random_redirections(rng);
    draft.finish()
}

/// A zone with a few names.
fn small(rng: &mut Rng, origin: &str, elsewhere: &str) -> Zone {
    let mut draft = Draft::new(origin);
    draft.apex(rng);
    draft.hosts(rng, 10);
    draft.wildcards(rng);
    draft.aliases(rng, elsewhere);
    draft.finish()
}

/// A zone that is being made.
struct Draft {
    origin: Name,
    text: String,
    types: BTreeMap<Name, BTreeSet<String>>,
    cuts: BTreeSet<Name>,
    dnames: BTreeSet<Name>,
    /// Worth asking though nothing stands there.
    more: Vec<Name>,
}

impl Draft {
    fn new(origin: &str) -> Draft {
        let text = String::new();
        let (types, cuts, dnames, more) = Default::default();
        Draft { origin: Name::plain(origin), text, types, cuts, dnames, more }
    }

    /// Adds a record. All of an RRset have one TTL, as they must (RFC 2181 §5.2), and most RRsets
    /// have one of their own.
    fn add(&mut self, owner: &Name, rtype: &str, data: &str) {
        const TTLS: [u32; 8] = [0, 1, 60, 299, 3600, 86_400, 604_800, 0x7fff_ffff];
        let sum = sum(owner, rtype);
        let ttl = match sum % 3 {
            0 => TTLS[sum as usize / 3 % 8],
            _ => sum % 100_000,
        };
        writeln!(self.text, "{} {ttl} IN {rtype} {data}", written(owner, rtype))
            .expect("to a string");
        self.types.entry(owner.clone()).or_default().insert(rtype.to_string());
        if rtype == "DNAME" {
            self.dnames.insert(owner.clone());
        }
    }

    /// Adds a record where it may stand; says if it did. A record comes only once: servers differ
    /// in what they do with a second.
    fn try_add(&mut self, owner: &Name, rtype: &str, data: &str) -> bool {
        let here = self.types.get(owner);
        let has = |rtype: &str| here.is_some_and(|types| types.contains(rtype));
        let is_crowded = match rtype {
            "CNAME" => here.is_some(),
            "DNAME" => has("CNAME") || has("DNAME") || self.has_names_below(owner),
            _ => has("CNAME"),
        };
        let is_twice = self.text.lines().any(|line| {
            line.ends_with(data) && line.starts_with(&format!("{} ", written(owner, rtype)))
        });
        if is_crowded || is_twice || self.is_occluded(owner) {
            return false;
        }
        self.add(owner, rtype, data);
        true
    }

    fn has_names_below(&self, name: &Name) -> bool {
        self.types.keys().any(|owner| owner != name && owner.is_below(name))
    }

    /// True at and below a cut, and below a DNAME.
    fn is_occluded(&self, name: &Name) -> bool {
        self.cuts.iter().any(|cut| name.is_below(cut))
            || self.dnames.iter().any(|dname| name != dname && name.is_below(dname))
    }

    /// The name of any owner so far, in text.
    fn any_owner(&self, rng: &mut Rng) -> String {
        let owners: Vec<&Name> = self.types.keys().collect();
        choose(rng, &owners).text()
    }

    /// What every zone has.
    fn apex(&mut self, rng: &mut Rng) {
        let origin = self.origin.clone();
        let (ns1, ns2) = (origin.with("ns1"), origin.with("Ns2.Infra"));
        let serial = rng.u32(1..);
        let minimum = choose(rng, &[0, 1, 60, 3600, 86_400]);
        let soa = format!(
            "{} HostMaster.{} {serial} 7200 900 1209600 {minimum}",
            ns1.text(),
            origin.text()
        );
        self.add(&origin, "SOA", &soa);
        for target in [ns1.text(), ns2.text(), "ns.elsewhere.example.".to_string()] {
            self.add(&origin, "NS", &target);
        }
        self.add(&ns1, "A", "198.51.100.53");
        self.add(&ns1, "AAAA", "2001:db8::53");
        self.add(&ns2, "A", "203.0.113.53");
        self.add(&origin, "MX", &format!("10 {}", origin.with("mail").text()));
        self.add(&origin, "TXT", "\"v=spf1 -all\" \"Two Strings; and a semicolon\"");
        self.add(&origin.with("mail"), "A", "198.51.100.25");
        self.add(&origin.with("mail"), "AAAA", "2001:db8::25");
    }

    fn finish(self) -> Zone {
        let number = |rtype: &String| types::number(rtype);
        let owners = self.types.into_iter();
        let owners = owners.map(|(owner, types)| (owner, types.iter().map(number).collect()));
        let more = self.more.into_iter().map(|name| (name, Vec::new()));
        Zone {
            origin: self.origin,
            text: self.text,
            owners: owners.chain(more).collect(),
            cuts: self.cuts.into_iter().collect(),
            has_occluded: false,
        }
    }
}

/// A number that is the same for all records of an RRset.
fn sum(owner: &Name, rtype: &str) -> u32 {
    let bytes = owner.lower().wire().into_iter().chain(rtype.bytes());
    bytes.fold(7, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()))
}

/// The owner as it stands in the text: some RRsets have theirs in upper case, others at the same
/// name in lower case.
fn written(owner: &Name, rtype: &str) -> String {
    let text = owner.text();
    if sum(owner, rtype) % 4 == 1 { text.to_ascii_uppercase() } else { text }
}

/// One of them.
pub fn choose<'a, T>(rng: &mut Rng, of: &'a [T]) -> &'a T {
    &of[rng.usize(..of.len())]
}

fn v4(rng: &mut Rng) -> String {
    let net = if rng.bool() { "198.51.100" } else { "203.0.113" };
    format!("{net}.{}", rng.u8(..))
}

fn v6(rng: &mut Rng) -> String {
    format!("2001:db8:{:x}::{:x}", rng.u16(..), rng.u16(1..))
}

fn ds(rng: &mut Rng) -> String {
    format!("{} 13 2 {}", rng.u16(..), hex(rng, 32))
}

fn hex(rng: &mut Rng, bytes: usize) -> String {
    (0..bytes).map(|_| format!("{:02x}", rng.u8(..))).collect()
}
