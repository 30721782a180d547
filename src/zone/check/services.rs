//! SVCB and HTTPS records (RFC 9460): their modes, their targets, and hints that are decided.

use crate::dns::svcb::{ServiceBinding, key};
use crate::dns::{Name, Rtype};
use crate::zone::findings::Findings;
use crate::zone::service;
use crate::zone::tree::{Group, NONE, Record, Target, Tree};

pub(super) fn check(tree: &Tree, is_complete: bool, findings: &mut Findings) {
    for group in &tree.rrsets {
        let node = &tree.nodes[group.node as usize];
        let is_answered = node.cut == NONE && node.dname == NONE;
        if !is_answered || !matches!(group.rtype, Rtype::SVCB | Rtype::HTTPS) {
            continue;
        }
        check_modes(tree, group, findings);
        for record in tree.records_of(group) {
            let Some(binding) = ServiceBinding::parse(tree.rdata(record)) else { continue };
            check_params(tree, group, record, &binding, findings);
            check_target(tree, group, record, &binding, is_complete, findings);
        }
    }
}

/// One alias, or any number of services (RFC 9460 §2.4.1 and §2.4.2).
fn check_modes(tree: &Tree, group: &Group, findings: &mut Findings) {
    let records = tree.records_of(group);
    let is_alias = |record: &&Record| {
        ServiceBinding::parse(tree.rdata(record)).is_some_and(|binding| binding.is_alias())
    };
    let aliases: Vec<_> = records.iter().filter(is_alias).collect();
    let (name, rtype) = (tree.name(group.node), group.rtype);
    if let Some(second) = aliases.get(1) {
        findings.warning(
            Tree::rdata_place(second),
            format!("{name} has {} {rtype} records with the priority 0", aliases.len()),
            "clients follow one of them at random: keep one (RFC 9460 §2.4.2)".to_string(),
        );
    }
    let service = records.iter().find(|record| !is_alias(record));
    if let (Some(service), [_, ..]) = (service, &aliases[..]) {
        findings.warning(
            Tree::rdata_place(service),
            format!("{name} has a {rtype} record with the priority 0, so that the others are not followed"),
            "keep the alias, with the priority 0, or the services, with others (RFC 9460 §2.4.1)"
                .to_string(),
        );
    }
}

fn check_params(
    tree: &Tree,
    group: &Group,
    record: &Record,
    binding: &ServiceBinding<'_>,
    findings: &mut Findings,
) {
    let rtype = group.rtype;
    if binding.is_alias() {
        if binding.params().next().is_some() {
            findings.warning(
                Tree::rdata_place(record),
                format!("a {rtype} record with the priority 0 and parameters"),
                "clients do not look at them: remove them, or use a priority above 0 (RFC 9460 §2.4.2)".to_string(),
            );
        }
        return;
    }
    let has_hints = binding.params().any(|it| matches!(it.key, key::IPV4HINT | key::IPV6HINT));
    if has_hints && service::decides(tree, group.node, record).is_some() {
        let steered = target_name(tree, group, binding);
        findings.warning(
            Tree::rdata_place(record),
            format!(
                "{steered} is steered, so the address hints that are written here are not answered"
            ),
            "remove ipv4hint and ipv6hint: each client gets its own addresses as hints".to_string(),
        );
    }
}

fn check_target(
    tree: &Tree,
    group: &Group,
    record: &Record,
    binding: &ServiceBinding<'_>,
    is_complete: bool,
    findings: &mut Findings,
) {
    // There is no such service (RFC 9460 §2.5.1).
    if binding.is_alias() && binding.has_root_target() {
        return;
    }
    let (owner, rtype) = (tree.name(group.node), group.rtype);
    let place = Tree::rdata_place(record);
    let target = target_name(tree, group, binding);
    let led_to = match binding.has_root_target() {
        true => Target::Node(group.node),
        false => tree.resolve(&target.to_key()),
    };
    let here = match led_to {
        Target::Node(node) | Target::Wildcard(node) => Some(&tree.nodes[node as usize]),
        Target::Missing(_) | Target::Outside | Target::Redirected(_) => None,
    };
    if binding.is_alias() && target == owner {
        let message = format!("the {rtype} record of {owner} is an alias of itself");
        let help = "name another target, or use a priority above 0 (RFC 9460 §2.4.2)".to_string();
        return findings.warning(place, message, help);
    }
    let is_steered = here.is_some_and(|node| node.cut == NONE && node.steered != NONE);
    if tree.nodes[group.node as usize].steered != NONE && !is_steered {
        return findings.warning(
            place,
            format!("{owner} is steered, but its {rtype} record sends clients to {target}, which is not"),
            "name a steered name of this zone, or write `.` with a priority above 0 for the name itself".to_string(),
        );
    }
    let message = match (led_to, here) {
        (Target::Missing(encloser), _) if tree.nodes[encloser as usize].cut == NONE => {
            format!("{target} does not exist, but {rtype} records point at it")
        }
        // An alias may lead to records of the same type, and a service to another name for addresses.
        (Target::Node(node) | Target::Wildcard(node), Some(at)) if at.cut == NONE => {
            let has = |rtype| tree.rrset(node, rtype).is_some();
            let has_addresses = has(Rtype::A) || has(Rtype::AAAA) || has(Rtype::CNAME);
            if is_steered || has_addresses || (binding.is_alias() && has(rtype)) {
                return;
            }
            format!("{target} has no address, but {rtype} records point at it")
        }
        _ => return,
    };
    if is_complete {
        let help = format!(
            "add an A or AAAA record for {target}, or write the full name with a final dot"
        );
        findings.warning(place, message, help);
    }
}

/// TargetName, or the owner where that is meant.
fn target_name(tree: &Tree, group: &Group, binding: &ServiceBinding<'_>) -> Name {
    let owner = tree.name(group.node);
    match binding.has_root_target() {
        true => owner,
        false => Name::from_wire(binding.target).unwrap_or(owner),
    }
}
