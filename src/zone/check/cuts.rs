//! Delegations: the addresses that they need, and records that they hide.

use std::collections::HashSet;

use crate::dns::Rtype;
use crate::zone::findings::Findings;
use crate::zone::tree::{APEX, Group, NONE, Target, Tree};

pub(super) fn check(tree: &Tree, is_complete: bool, findings: &mut Findings) {
    let mut servers = HashSet::new();
    for group in tree.rrsets.iter().filter(|group| group.rtype == Rtype::NS) {
        if group.node == APEX || tree.is_cut(group.node) {
            check_glue(tree, group, is_complete, &mut servers, findings);
        }
    }
    for group in &tree.rrsets {
        let cut = tree.nodes[group.node as usize].cut;
        if cut != NONE {
            check_hidden(tree, group, &servers, findings);
        } else if group.rtype == Rtype::DS && group.node != APEX {
            findings.warning(
                Tree::owner_place(&tree.records_of(group)[0]),
                format!("{} has a DS record, but no NS record", tree.name(group.node)),
                "a DS record belongs to a delegation: add the NS records, or remove it".to_string(),
            );
        }
    }
}

/// A name server that is itself below a cut needs an address here; collects those that are.
fn check_glue(
    tree: &Tree,
    ns: &Group,
    is_complete: bool,
    servers: &mut HashSet<u32>,
    findings: &mut Findings,
) {
    for record in tree.records_of(ns) {
        let Some(target) = tree.target(record) else { continue };
        let (node, exists) = match tree.resolve(&target) {
            Target::Node(node) => (node, true),
            Target::Missing(encloser) => (encloser, false),
            Target::Outside | Target::Wildcard(_) | Target::Redirected(_) => continue,
        };
        let cut = tree.nodes[node as usize].cut;
        if cut == NONE {
            continue;
        }
        let has_address = exists
            && (tree.rrset(node, Rtype::A).is_some() || tree.rrset(node, Rtype::AAAA).is_some());
        if has_address {
            servers.insert(node);
            continue;
        }
        if !is_complete {
            continue;
        }
        let name = tree.name(ns.node);
        let server = crate::dns::Name::from_wire(&target).unwrap_or_else(|_| name.clone());
        let place = Tree::rdata_place(record);
        let help = format!(
            "nobody can ask {server} for its own address: add an A or AAAA record for it here"
        );
        if cut == ns.node || ns.node == APEX {
            findings.lack(
                place,
                format!("the name server {server} of {name} has no address here"),
                help,
            );
        } else {
            let cut = tree.name(cut);
            let message = format!(
                "the name server {server} of {name} has no address here, and {cut} may not have one without {name}"
            );
            findings.warning(place, message, help);
        }
    }
}

/// At a cut stand NS and DS, below it the addresses of name servers; nothing else is answered.
fn check_hidden(tree: &Tree, group: &Group, servers: &HashSet<u32>, findings: &mut Findings) {
    let cut = tree.nodes[group.node as usize].cut;
    let is_served = match group.rtype {
        Rtype::NS | Rtype::DS | Rtype::NSEC => group.node == cut,
        Rtype::RRSIG => true,
        Rtype::A | Rtype::AAAA => servers.contains(&group.node),
        _ => false,
    };
    if !is_served {
        let (name, cut_name) = (tree.name(group.node), tree.name(cut));
        let message = if group.node == cut {
            format!("{name} is delegated, so its {} record is never answered", group.rtype)
        } else {
            format!(
                "{name} is below {cut_name}, which is delegated, so its {} record is never answered",
                group.rtype
            )
        };
        findings.warning(
            Tree::owner_place(&tree.records_of(group)[0]),
            message,
            format!("remove it, or the NS records of {cut_name}"),
        );
    }
}
