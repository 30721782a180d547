//! The zone's name servers: that there are several, and that they do not fall together.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::dns::{Name, Rtype};
use crate::zone::findings::Findings;
use crate::zone::tree::{APEX, NONE, Record, Target, Tree};

pub(super) fn check(tree: &Tree, findings: &mut Findings) {
    let Some(group) = tree.rrset(APEX, Rtype::NS) else { return };
    let records = tree.records_of(group);
    if let [only] = records {
        findings.warning(
            Tree::rdata_place(only),
            format!("{} has a single name server", tree.origin),
            "add a second one in another network: without the only one the zone cannot be reached (RFC 2182)"
                .to_string(),
        );
        return;
    }
    check_addresses(tree, records, findings);
    check_families(tree, records, findings);
}

/// No two of them have the same address.
fn check_addresses(tree: &Tree, records: &[Record], findings: &mut Findings) {
    let mut first: HashMap<&[u8], &Record> = HashMap::new();
    for record in records {
        let Some(node) = known(tree, record) else { continue };
        for rtype in [Rtype::A, Rtype::AAAA] {
            for address in addresses(tree, node, rtype) {
                let other = *first.entry(address).or_insert(record);
                if std::ptr::eq(other, record) {
                    continue;
                }
                let (a, b) = (server(tree, other), server(tree, record));
                findings.warning(
                    Tree::rdata_place(record),
                    format!("{a} and {b} have the same address {}", in_words(address)),
                    "they fall together, and so are one name server: give each an address of its own"
                        .to_string(),
                );
            }
        }
    }
}

/// A family that one of them has, others have too; asked only where all addresses are known.
fn check_families(tree: &Tree, records: &[Record], findings: &mut Findings) {
    let nodes: Option<Vec<u32>> = records.iter().map(|record| known(tree, record)).collect();
    let Some(nodes) = nodes else { return };
    for (family, rtype) in [("IPv4", Rtype::A), ("IPv6", Rtype::AAAA)] {
        let mut with = records
            .iter()
            .zip(&nodes)
            .filter(|(_, node)| addresses(tree, **node, rtype).next().is_some());
        if let (Some((only, _)), None) = (with.next(), with.next()) {
            findings.warning(
                Tree::rdata_place(only),
                format!("only one name server of {} has an {family} address", tree.origin),
                format!("add an {rtype} record for another one: with {family} alone, the zone depends on this one"),
            );
        }
    }
}

/// Where a name server's addresses stand, if all of them stand here.
fn known(tree: &Tree, record: &Record) -> Option<u32> {
    let (Target::Node(node) | Target::Wildcard(node)) = tree.resolve(&tree.target(record)?) else {
        return None;
    };
    let at = &tree.nodes[node as usize];
    (at.steered == NONE && tree.rrset(node, Rtype::CNAME).is_none()).then_some(node)
}

fn addresses(tree: &Tree, node: u32, rtype: Rtype) -> impl Iterator<Item = &[u8]> {
    let records = tree.rrset(node, rtype).map(|group| tree.records_of(group));
    records.into_iter().flatten().map(|record| tree.rdata(record))
}

fn server(tree: &Tree, record: &Record) -> Name {
    let target = tree.target(record).unwrap_or_default();
    Name::from_wire(&target).unwrap_or_else(|_| tree.origin.clone())
}

fn in_words(address: &[u8]) -> String {
    match (<[u8; 4]>::try_from(address), <[u8; 16]>::try_from(address)) {
        (Ok(octets), _) => Ipv4Addr::from(octets).to_string(),
        (_, Ok(octets)) => Ipv6Addr::from(octets).to_string(),
        _ => String::new(),
    }
}
