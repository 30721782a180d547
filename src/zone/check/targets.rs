//! The names that NS, MX, SRV and SOA records point at.

use crate::dns::{Name, Rtype};
use crate::zone::Steered;
use crate::zone::findings::Findings;
use crate::zone::tree::{APEX, Group, NONE, Record, Target, Tree};

pub(super) fn check(tree: &Tree, steered: &[Steered], is_complete: bool, findings: &mut Findings) {
    for group in &tree.rrsets {
        let is_ours = tree.nodes[group.node as usize].cut == NONE;
        let is_checked = match group.rtype {
            Rtype::NS => group.node == APEX || tree.is_cut(group.node),
            Rtype::MX | Rtype::SRV => is_ours,
            Rtype::SOA => group.node == APEX && !is_name_server(tree, group),
            _ => false,
        };
        if is_checked {
            for record in tree.records_of(group) {
                check_host_name(tree, record, findings);
                check_record(tree, steered, record, is_complete, findings);
            }
            check_null_mx(tree, group, findings);
        }
    }
}

/// True when the primary that a SOA record names is among the name servers, and so is checked there.
fn is_name_server(tree: &Tree, soa: &Group) -> bool {
    let primary = tree.records_of(soa).first().and_then(|soa| tree.target(soa));
    let ns = tree.rrset(APEX, Rtype::NS).map(|group| tree.records_of(group));
    ns.into_iter().flatten().any(|ns| tree.target(ns) == primary)
}

/// Name servers and mail hosts are hosts: letters, digits and hyphens.
fn check_host_name(tree: &Tree, record: &Record, findings: &mut Findings) {
    let Some(Ok(name)) = tree.target(record).map(|target| Name::from_wire(&target)) else { return };
    let is_host_label = |label: &[u8]| {
        label.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
            && !label.starts_with(b"-")
            && !label.ends_with(b"-")
    };
    if matches!(record.rtype, Rtype::NS | Rtype::MX) && !name.labels().all(is_host_label) {
        findings.warning(
            Tree::rdata_place(record),
            format!("{name} is no host name, but {} records point at it", record.rtype),
            "a host name has letters, digits, and hyphens between them (RFC 1123 §2.1)".to_string(),
        );
    }
}

/// `MX 0 .` says that there is no mail, and so stands alone (RFC 7505 §3).
fn check_null_mx(tree: &Tree, group: &Group, findings: &mut Findings) {
    let records = tree.records_of(group);
    let is_null = |record: &&Record| tree.target(record).is_some_and(|target| *target == *b"\0");
    if group.rtype == Rtype::MX
        && records.len() > 1
        && let Some(null) = records.iter().find(is_null)
    {
        findings.warning(
            Tree::rdata_place(null),
            format!(
                "{} has an MX record that says there is no mail, and others",
                tree.name(group.node)
            ),
            "remove it, or the others (RFC 7505 §3)".to_string(),
        );
    }
}

fn check_record(
    tree: &Tree,
    steered: &[Steered],
    record: &Record,
    is_complete: bool,
    findings: &mut Findings,
) {
    let Some(target) = tree.target(record) else { return };
    // `.` says that there is none (RFC 7505 §3, RFC 2782).
    let Ok(name) = Name::from_wire(&target) else { return };
    if name.is_root() {
        return;
    }
    let rtype = record.rtype;
    let points = match rtype {
        Rtype::SOA => "the SOA record names it as the primary".to_string(),
        _ => format!("{rtype} records point at it"),
    };
    let (node, exists) = match tree.resolve(&target) {
        Target::Outside => return,
        Target::Redirected(dname) => {
            let dname = tree.name(dname);
            let message = format!("{name} is below the DNAME record at {dname}, but {points}");
            let help = format!(
                "{rtype} records point at a name that has addresses itself (RFC 2181 §10.3)"
            );
            findings.warning(Tree::rdata_place(record), message, help);
            return;
        }
        Target::Node(node) | Target::Wildcard(node) => (node, true),
        Target::Missing(encloser) => (encloser, false),
    };
    let at = &tree.nodes[node as usize];
    // What is below a cut is not ours to know.
    if at.cut != NONE {
        return;
    }
    let place = Tree::rdata_place(record);
    let steered_here = steered.get(at.steered as usize).filter(|_| exists);
    let may_be_cname = steered_here.is_some_and(|steered| steered.may_be_cname);
    if exists && (may_be_cname || tree.rrset(node, Rtype::CNAME).is_some()) {
        let message = format!("{name} is an alias, but {points}");
        let help =
            format!("{rtype} records point at a name that has addresses itself (RFC 2181 §10.3)");
        findings.warning(place, message, help);
        return;
    }
    let has_address = exists
        && (steered_here.is_some()
            || tree.rrset(node, Rtype::A).is_some()
            || tree.rrset(node, Rtype::AAAA).is_some());
    if has_address || !is_complete {
        return;
    }
    let message = if exists {
        format!("{name} has no address, but {points}")
    } else {
        format!("{name} does not exist, but {points}")
    };
    let help =
        format!("add an A or AAAA record for {name}, or write the full name with a final dot");
    if rtype == Rtype::NS {
        findings.lack(place, message, help);
    } else {
        findings.warning(place, message, help);
    }
}
