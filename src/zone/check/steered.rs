//! Steered names among the records of their zone.

use crate::dns::Rtype;
use crate::zone::findings::Findings;
use crate::zone::tree::{APEX, NONE, Tree};
use crate::zone::{Place, Settings, Steered};

/// Puts the steered names into the tree; those out of the zone and those given twice are refused.
pub(super) fn place(tree: &mut Tree, steered: &[Steered], findings: &mut Findings) {
    for (index, name) in steered.iter().enumerate() {
        let owner = &name.owner;
        if !owner.is_at_or_below(&tree.origin) {
            findings.error(
                Place::Steered(index),
                format!("{owner} is not in the zone {}", tree.origin),
                format!(
                    "a steered name ends in {}; without a final dot it is below it",
                    tree.origin
                ),
            );
        } else if tree.steer(index, name).is_some() {
            findings.error(
                Place::Steered(index),
                format!("{owner} is steered twice"),
                "remove one of the two".to_string(),
            );
        }
    }
}

/// Checks each steered name against the records.
pub(super) fn check(tree: &Tree, zone: &Settings, findings: &mut Findings) {
    let steered = &zone.steered;
    for (node, at) in tree.nodes.iter().enumerate() {
        let Some(name) = steered.get(at.steered as usize) else { continue };
        let node = node as u32;
        let place = Place::Steered(at.steered as usize);
        let owner = &name.owner;
        if at.cut != NONE {
            let cut = tree.name(at.cut);
            findings.error_unless(
                is_sent(tree, at.cut, Rtype::NS, zone),
                place,
                format!("{owner} is steered, but {cut} is delegated"),
                format!("nobody asks here for names at or below a delegation: remove the NS records of {cut}, or steer the name in that zone"),
            );
            continue;
        }
        if at.dname != NONE {
            let dname = tree.name(at.dname);
            findings.error_unless(
                is_sent(tree, at.dname, Rtype::DNAME, zone),
                place,
                format!("{owner} is steered below the DNAME record at {dname}"),
                format!("names below {dname} are redirected: remove the DNAME record, or steer the name to which it leads"),
            );
            continue;
        }
        if node == APEX && name.may_be_cname {
            findings.error(
                place.clone(),
                format!("{owner} is the zone's origin, and its pools have CNAME members"),
                "SOA and NS stand at an origin, so no CNAME can: use pools of addresses only"
                    .to_string(),
            );
        }
        check_clashes(tree, node, name, findings);
    }
}

/// Whether all records of an RRset come from a primary, so that they are forgiven.
fn is_sent(tree: &Tree, node: u32, rtype: Rtype, zone: &Settings) -> bool {
    let records = tree.rrset(node, rtype).map_or(&[][..], |group| tree.records_of(group));
    records.iter().all(|record| Some(record.source as usize) == zone.transferred())
}

fn check_clashes(tree: &Tree, node: u32, name: &Steered, findings: &mut Findings) {
    let owner = &name.owner;
    for group in tree.rrsets_at(node) {
        let place = Tree::owner_place(&tree.records_of(group)[0]);
        let rtype = group.rtype;
        match rtype {
            Rtype::A | Rtype::AAAA | Rtype::CNAME => findings.error(
                place,
                format!("{owner} is steered, and has {rtype} records too"),
                "remove the records, and make their addresses members of a pool".to_string(),
            ),
            _ if name.may_be_cname && node != APEX => findings.error(
                place,
                format!("{owner} is steered and may be answered by a CNAME, but has {rtype} records"),
                "a CNAME stands alone at its name: remove the records, or use pools of addresses only".to_string(),
            ),
            _ => {}
        }
    }
}
