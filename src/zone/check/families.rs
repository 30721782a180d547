//! Zones among each other: none twice, and a child delegated by its parent.

use std::collections::HashMap;

use crate::dns::Name;
use crate::zone::findings::Findings;
use crate::zone::tree::{NONE, Target, Tree};
use crate::zone::{Place, Settings};

/// Which zones stand directly below which.
pub struct Families<'s> {
    /// By zone: is its origin that of a zone before it?
    is_repeated: Vec<bool>,
    /// By zone: the origins of those directly below.
    children: Vec<Vec<&'s Name>>,
}

impl<'s> Families<'s> {
    /// Finds the families among all zones.
    pub fn new(settings: &'s [Settings]) -> Families<'s> {
        let mut first = HashMap::new();
        let mut is_repeated = Vec::with_capacity(settings.len());
        for (index, zone) in settings.iter().enumerate() {
            is_repeated.push(*first.entry(zone.origin.to_key()).or_insert(index) != index);
        }
        let mut children = vec![Vec::new(); settings.len()];
        for zone in settings {
            let mut above = zone.origin.parent();
            while let Some(name) = above {
                if let Some(&parent) = first.get(&name.to_key()) {
                    children[parent].push(&zone.origin);
                    break;
                }
                above = name.parent();
            }
        }
        Families { is_repeated, children }
    }

    /// Checks the zone with index `index` against the others.
    pub fn check(&self, index: usize, tree: &Tree, findings: &mut Findings) {
        if self.is_repeated[index] {
            findings.error(
                Place::Zone,
                format!("the zone {} is given twice", tree.origin),
                "remove one of the two, or put their records together".to_string(),
            );
            return;
        }
        for child in &self.children[index] {
            let is_delegated = match tree.resolve(&child.to_key()) {
                Target::Node(node) | Target::Missing(node) | Target::Wildcard(node) => {
                    tree.nodes[node as usize].cut != NONE
                }
                Target::Outside | Target::Redirected(_) => false,
            };
            if !is_delegated {
                findings.warning(
                    Place::Zone,
                    format!("{child} is a zone here too, but {} does not delegate it", tree.origin),
                    format!("add NS records for {child} to {}: a resolver that does not know the one needs the other to find it", tree.origin),
                );
            }
        }
    }
}
