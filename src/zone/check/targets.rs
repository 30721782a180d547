//! The names that NS, MX and SRV records point at.

use crate::dns::{Name, Rtype};
use crate::zone::Steered;
use crate::zone::findings::Findings;
use crate::zone::tree::{APEX, NONE, Record, Target, Tree};

pub(super) fn check(tree: &Tree, steered: &[Steered], is_complete: bool, findings: &mut Findings) {
    for group in &tree.rrsets {
        let is_ours = tree.nodes[group.node as usize].cut == NONE;
        let is_checked = match group.rtype {
            Rtype::NS => group.node == APEX || tree.is_cut(group.node),
            Rtype::MX | Rtype::SRV => is_ours,
            _ => false,
        };
        if is_checked {
            for record in tree.records_of(group) {
                check_record(tree, steered, record, is_complete, findings);
            }
        }
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
    let (node, exists) = match tree.resolve(&target) {
        Target::Outside => return,
        Target::Redirected(dname) => {
            let (dname, rtype) = (tree.name(dname), record.rtype);
            let message = format!(
                "{name} is below the DNAME record at {dname}, but {rtype} records point at it"
            );
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
    let rtype = record.rtype;
    let place = Tree::rdata_place(record);
    let steered_here = steered.get(at.steered as usize).filter(|_| exists);
    let may_be_cname = steered_here.is_some_and(|steered| steered.may_be_cname);
    if exists && (may_be_cname || tree.rrset(node, Rtype::CNAME).is_some()) {
        let message = format!("{name} is an alias, but {rtype} records point at it");
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
        format!("{name} has no address, but {rtype} records point at it")
    } else {
        format!("{name} does not exist, but {rtype} records point at it")
    };
    let help =
        format!("add an A or AAAA record for {name}, or write the full name with a final dot");
    if rtype == Rtype::NS {
        findings.error(place, message, help);
    } else {
        findings.warning(place, message, help);
    }
}
