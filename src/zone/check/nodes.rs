//! What may stand together at one name.

use crate::dns::rrset::names_in;
use crate::dns::{Name, Rtype};
use crate::zone::findings::Findings;
use crate::zone::tree::{APEX, Group, NONE, Tree};

/// A message has 65,535 bytes; question, OPT and a SOA record need some of them.
const MAX_RRSET_BYTES: usize = 64_000;
/// Of a compressed owner, TYPE, CLASS, TTL and RDLENGTH.
const BYTES_BEFORE_RDATA: usize = 12;

pub(super) fn check(tree: &Tree, findings: &mut Findings) {
    let mut has_signature = false;
    for group in &tree.rrsets {
        match group.rtype {
            Rtype::CNAME => check_cname(tree, group, findings),
            Rtype::DNAME => check_dname(tree, group, findings),
            Rtype::NS => check_wildcard_ns(tree, group, findings),
            Rtype::RRSIG if !has_signature => {
                has_signature = true;
                findings.warning(
                    Tree::owner_place(&tree.records_of(group)[0]),
                    "the zone is signed, but answers are given without their signatures".to_string(),
                    "a resolver that validates refuses them if there is a DS record in the zone above: remove that, and the signatures here".to_string(),
                );
            }
            _ => {}
        }
        check_ttls(tree, group, findings);
        check_size(tree, group, findings);
        check_final_dots(tree, group, findings);
    }
    check_below_dname(tree, findings);
}

fn check_cname(tree: &Tree, group: &Group, findings: &mut Findings) {
    let name = tree.name(group.node);
    let records = tree.records_of(group);
    if let Some(second) = records.get(1) {
        findings.error(
            Tree::owner_place(second),
            format!("{name} has a second CNAME record"),
            "a name has at most one: remove one of them, or steer the name to a pool of several targets".to_string(),
        );
    }
    let other = tree
        .rrsets_at(group.node)
        .iter()
        .find(|other| !matches!(other.rtype, Rtype::CNAME | Rtype::RRSIG | Rtype::NSEC));
    if let Some(other) = other {
        findings.error(
            Tree::owner_place(&records[0]),
            format!("{name} has a CNAME record and also {}", other.rtype),
            if group.node == APEX {
                "SOA and NS stand at a zone's origin, so no CNAME can: steer it to a pool of addresses with `[names.\"@\"]`".to_string()
            } else {
                "a CNAME stands alone at its name: remove it or the others (RFC 1034 §3.6.2)".to_string()
            },
        );
    }
}

fn check_dname(tree: &Tree, group: &Group, findings: &mut Findings) {
    let name = tree.name(group.node);
    let records = tree.records_of(group);
    if let Some(second) = records.get(1) {
        findings.error(
            Tree::owner_place(second),
            format!("{name} has a second DNAME record"),
            "a name has at most one: remove one of them (RFC 6672 §2.4)".to_string(),
        );
    }
    if group.node != APEX && tree.rrset(group.node, Rtype::NS).is_some() {
        findings.error(
            Tree::owner_place(&records[0]),
            format!("{name} has a DNAME record and also NS"),
            "names below are either redirected or delegated: remove one of the two (RFC 6672 §2.3)"
                .to_string(),
        );
    }
    if tree.prefix(group.node).starts_with(b"\x01*") {
        findings.warning(
            Tree::owner_place(&records[0]),
            format!("a DNAME record at the wildcard {name} redirects nothing"),
            "what it would mean is not defined (RFC 6672 §3.3): redirect each name by itself"
                .to_string(),
        );
    }
}

fn check_below_dname(tree: &Tree, findings: &mut Findings) {
    for (index, node) in tree.nodes.iter().enumerate().skip(1) {
        if node.dname == NONE {
            continue;
        }
        let Some(first) = tree.rrsets_at(index as u32).first() else { continue };
        let (name, dname) = (tree.name(index as u32), tree.name(node.dname));
        findings.warning(
            Tree::owner_place(&tree.records_of(first)[0]),
            format!("{name} is below the DNAME record at {dname}, so it is never answered"),
            format!("remove it, or the DNAME record of {dname} (RFC 6672 §2.4)"),
        );
    }
}

fn check_wildcard_ns(tree: &Tree, group: &Group, findings: &mut Findings) {
    if tree.prefix(group.node).starts_with(b"\x01*") {
        findings.error(
            Tree::owner_place(&tree.records_of(group)[0]),
            format!("an NS record at the wildcard {}", tree.name(group.node)),
            "what it would mean is not defined (RFC 4592 §4.2): delegate each name by itself"
                .to_string(),
        );
    }
}

fn check_ttls(tree: &Tree, group: &Group, findings: &mut Findings) {
    let records = tree.records_of(group);
    // Signatures have the TTL of what they sign.
    if group.rtype == Rtype::RRSIG {
        return;
    }
    if let Some(other) = records.iter().find(|record| record.ttl != records[0].ttl) {
        let lowest = records.iter().map(|record| record.ttl).min().unwrap_or(0);
        findings.warning(
            Tree::owner_place(other),
            format!(
                "the {} records of {} have different TTLs",
                group.rtype,
                tree.name(group.node)
            ),
            format!("records of one name and type have one TTL (RFC 2181 §5.2); the lowest, {lowest} s, is used"),
        );
    }
}

fn check_size(tree: &Tree, group: &Group, findings: &mut Findings) {
    let records = tree.records_of(group);
    let bytes: usize =
        records.iter().map(|record| BYTES_BEFORE_RDATA + tree.rdata(record).len()).sum();
    if bytes > MAX_RRSET_BYTES {
        findings.error(
            Tree::owner_place(&records[0]),
            format!(
                "the {} records of {} have {bytes} bytes together",
                group.rtype,
                tree.name(group.node)
            ),
            format!("at most {MAX_RRSET_BYTES} fit in an answer: remove some"),
        );
    }
}

/// `www.example.com` without a final dot is `www.example.com.example.com.`
fn check_final_dots(tree: &Tree, group: &Group, findings: &mut Findings) {
    let origin = &*tree.origin_key;
    if origin.len() == 1 {
        return;
    }
    let labels = &origin[..origin.len() - 1];
    let owner = tree.prefix(group.node);
    let records = tree.records_of(group);
    let help = |name: &Name| {
        let text = name.to_string();
        let meant = text.strip_suffix(&tree.origin.to_string().to_ascii_lowercase());
        format!("did you mean `{}`, with a final dot?", meant.unwrap_or(&text))
    };
    if ends_in_labels(owner, labels) {
        let name = tree.name(group.node);
        let message = format!("the owner is {name}, as it has no final dot");
        findings.warning(Tree::owner_place(&records[0]), message, help(&name));
    }
    for record in records {
        let rdata = tree.rdata(record);
        for range in names_in(group.rtype, rdata) {
            let name = rdata[range].to_ascii_lowercase();
            let is_doubled =
                name.strip_suffix(origin).is_some_and(|prefix| ends_in_labels(prefix, labels));
            if let (true, Ok(name)) = (is_doubled, Name::from_wire(&name)) {
                let message = format!("the name is {name}, as it has no final dot");
                findings.warning(Tree::rdata_place(record), message, help(&name));
            }
        }
    }
}

/// True when `name` ends in whole labels that are `labels`.
fn ends_in_labels(name: &[u8], labels: &[u8]) -> bool {
    let mut rest = name;
    while rest.len() > labels.len() {
        rest = rest.get(1 + usize::from(rest[0])..).unwrap_or_default();
    }
    rest == labels
}
