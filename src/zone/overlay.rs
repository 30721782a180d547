//! A zone file laid over what a primary has sent: what is left out of the primary's records, and
//! what of them is hidden.
//!
//! A primary is not ours to repair: what would be an error in a file costs here no more than the
//! records that it is about.

use std::collections::HashSet;

use super::findings::Findings;
use super::master_file::TextRecord;
use super::tree::{APEX, NONE, Record, Tree};
use super::{Base, Place, Settings};
use crate::dns::{Name, Rtype};

/// So many of the RRsets that are hidden are named.
const NAMED: usize = 5;

/// Decides which of the primary's records are taken, as far as each shows by itself.
#[derive(Default)]
pub(super) struct Sieve {
    is_signed: bool,
    /// How many SOA records stand inside the zone.
    inner_soas: usize,
}

impl Sieve {
    /// Whether a record is taken. Signatures are not: the zone is answered without them, as nobody
    /// but the primary could sign what the zone file adds; and then the keys and digests that
    /// announce signatures would only mislead.
    pub(super) fn passes(&mut self, record: &TextRecord<'_>, origin: &Name) -> bool {
        let is_of_dnssec = is_of_dnssec(record.rtype);
        let is_inner_soa = record.rtype == Rtype::SOA && record.owner != origin;
        self.is_signed |= is_of_dnssec;
        self.inner_soas += usize::from(is_inner_soa);
        !is_of_dnssec && !is_inner_soa
    }

    /// Tells what did not pass.
    pub(super) fn tell(&self, origin: &Name, findings: &mut Findings) {
        if self.is_signed {
            findings.warning(
                Place::Zone,
                format!("the primary signs {origin}, but here it is answered without signatures"),
                "the primary cannot sign what is steered; remove the DS record from the zone above, or resolvers that validate refuse every answer".to_string(),
            );
        }
        if self.inner_soas > 0 {
            findings.warning(
                Place::Zone,
                format!("{} SOA records below {origin} are left out", self.inner_soas),
                "remove them at the primary".to_string(),
            );
        }
    }
}

/// The types that a signed zone has besides DS, which stands at delegations to others.
fn is_of_dnssec(rtype: Rtype) -> bool {
    matches!(
        rtype,
        Rtype::RRSIG
            | Rtype::NSEC
            | Rtype::NSEC3
            | Rtype::NSEC3PARAM
            | Rtype::DNSKEY
            | Rtype::CDS
            | Rtype::CDNSKEY
            | Rtype::ZONEMD
    )
}

/// Takes out of the tree, whose steered names are placed, what the zone file hides of the
/// primary's records, and those that cannot stand together.
pub(super) fn lay(tree: &mut Tree, zone: &Settings, findings: &mut Findings) {
    if matches!(zone.base, Base::Nothing) {
        return;
    }
    refuse_own_soa(tree, zone, findings);
    let base = zone.transferred().map_or(u32::MAX, |base| base as u32);
    hide(tree, zone, base, findings);
    part(tree, base, findings);
}

fn refuse_own_soa(tree: &Tree, zone: &Settings, findings: &mut Findings) {
    let is_own = |record: &&Record| Some(record.source as usize) != zone.transferred();
    if let Some(soa) = tree.records.iter().filter(is_own).find(|own| own.rtype == Rtype::SOA) {
        findings.error(
            Tree::owner_place(soa),
            format!("a SOA record for {}, which is taken from a primary", tree.origin),
            "remove it: the primary's is used, so that both have the same serial number"
                .to_string(),
        );
    }
}

/// An own RRset hides the primary's of that owner and type, and a pool its addresses and alias.
/// Where an alias comes in, everything else goes; where a redirection does, the delegation.
fn hide(tree: &mut Tree, zone: &Settings, base: u32, findings: &mut Findings) {
    let own = || tree.records.iter().filter(|record| record.source != base);
    let rrsets: HashSet<_> = own().map(|record| (record.node, record.rtype)).collect();
    let nodes: HashSet<_> = own().map(|record| record.node).collect();
    let is_hidden_by_own = |node: u32, rtype| {
        rrsets.contains(&(node, rtype))
            || (node != APEX && rrsets.contains(&(node, Rtype::CNAME)))
            || (rtype == Rtype::CNAME && nodes.contains(&node))
            || (rtype == Rtype::NS && node != APEX && rrsets.contains(&(node, Rtype::DNAME)))
    };
    let cuts: HashSet<u32> = tree
        .records
        .iter()
        .filter(|record| record.rtype == Rtype::NS && record.node != APEX)
        .filter(|record| record.source != base || !is_hidden_by_own(record.node, Rtype::NS))
        .map(|record| record.node)
        .collect();
    let (mut hidden, mut beside_alias) = (Vec::new(), Vec::new());
    let mut records = std::mem::take(&mut tree.records);
    records.retain(|record| {
        let (node, rtype) = (record.node, record.rtype);
        if record.source != base {
            return true;
        }
        let list = if is_hidden_by_own(node, rtype) {
            &mut hidden
        } else {
            let steered = zone.steered.get(tree.nodes[node as usize].steered as usize);
            // What is delegated is not steered, and its addresses may be glue.
            match steered.filter(|_| !is_delegated(tree, &cuts, node)) {
                Some(_) if matches!(rtype, Rtype::A | Rtype::AAAA | Rtype::CNAME) => &mut hidden,
                Some(steered) if steered.may_be_cname && node != APEX => &mut beside_alias,
                _ => return true,
            }
        };
        if list.last() != Some(&(node, rtype)) {
            list.push((node, rtype));
        }
        false
    });
    tree.records = records;
    tell_hidden(tree, hidden, findings);
    for (node, rtype) in once_each(beside_alias) {
        let name = tree.name(node);
        findings.warning(
            Place::Zone,
            format!("{name} is steered and may be answered by a CNAME, so the primary's {rtype} records there are hidden"),
            "a CNAME stands alone at its name: use pools of addresses only to keep the others"
                .to_string(),
        );
    }
}

fn is_delegated(tree: &Tree, cuts: &HashSet<u32>, node: u32) -> bool {
    let mut at = node;
    while at != NONE {
        if cuts.contains(&at) {
            return true;
        }
        at = tree.nodes[at as usize].parent;
    }
    false
}

fn tell_hidden(tree: &Tree, hidden: Vec<(u32, Rtype)>, findings: &mut Findings) {
    let hidden = once_each(hidden);
    if hidden.is_empty() {
        return;
    }
    let named = hidden.iter().take(NAMED);
    let named = named.map(|(node, rtype)| format!("{} {rtype}", tree.name(*node)));
    let named = named.collect::<Vec<_>>().join(", ");
    let more = match hidden.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    findings.warning(
        Place::Zone,
        format!("pools and records here hide what the primary has: {named}{more}"),
        "that is what they are for; only what is not listed is answered as the primary has it"
            .to_string(),
    );
}

fn once_each(mut rrsets: Vec<(u32, Rtype)>) -> Vec<(u32, Rtype)> {
    rrsets.sort_unstable();
    rrsets.dedup();
    rrsets
}

/// Leaves out, of the primary's records, those that cannot stand beside others: a CNAME next to
/// data or to a CNAME before it, a DNAME next to a delegation or to a DNAME before it.
fn part(tree: &mut Tree, base: u32, findings: &mut Findings) {
    let transferred = || tree.records.iter().filter(|record| record.source == base);
    let with = |rtype: Rtype| -> HashSet<u32> {
        transferred().filter(|record| record.rtype == rtype).map(|record| record.node).collect()
    };
    let (aliases, redirected) = (with(Rtype::CNAME), with(Rtype::DNAME));
    if aliases.is_empty() && redirected.is_empty() {
        return;
    }
    let beside_alias: HashSet<u32> = tree
        .records
        .iter()
        .filter(|record| record.rtype != Rtype::CNAME && aliases.contains(&record.node))
        .map(|record| record.node)
        .collect();
    let delegated: HashSet<u32> = tree
        .records
        .iter()
        .filter(|record| record.rtype == Rtype::NS && record.node != APEX)
        .filter(|record| redirected.contains(&record.node))
        .map(|record| record.node)
        .collect();
    let mut seen = HashSet::new();
    let mut records = std::mem::take(&mut tree.records);
    records.retain(|record| {
        let node = record.node;
        let reason = match record.rtype {
            _ if record.source != base => return true,
            Rtype::CNAME if beside_alias.contains(&node) => "other records stand there",
            Rtype::DNAME if delegated.contains(&node) => "the name is delegated",
            Rtype::CNAME | Rtype::DNAME if !seen.insert((node, record.rtype)) => {
                "there is one already"
            }
            _ => return true,
        };
        findings.warning(
            Tree::owner_place(record),
            format!("the {} record at {} is left out: {reason}", record.rtype, tree.name(node)),
            "repair it at the primary".to_string(),
        );
        false
    });
    tree.records = records;
}

#[cfg(test)]
mod tests;
