//! Checks a zone as a whole: what each record allows, but all of them together do not.

mod apex;
mod cuts;
mod families;
mod nodes;
mod servers;
mod services;
mod steered;
mod targets;

pub(super) use families::Families;

use super::findings::Findings;
use super::tree::Tree;
use super::{Base, Settings, overlay};

/// Puts the steered names into the tree of a zone's records, arranges it, and checks it.
///
/// Where the texts have errors already, nothing is said to be missing: it may stand in a line
/// that could not be read.
pub(super) fn zone(tree: &mut Tree, zone: &Settings, findings: &mut Findings) {
    let is_complete = !findings.has_errors();
    let steered = &zone.steered;
    steered::place(tree, steered, findings);
    overlay::lay(tree, zone, findings);
    tree.finish(|place| {
        findings.warning(
            place,
            "the same record stands here already".to_string(),
            "remove one of them".to_string(),
        );
    });
    // Without its data, what is missing may well be there.
    let has_data = !matches!(zone.base, Base::Awaited | Base::Expired);
    if has_data {
        apex::check(tree, is_complete, findings);
    }
    nodes::check(tree, findings);
    if has_data {
        cuts::check(tree, is_complete, findings);
        targets::check(tree, steered, is_complete, findings);
        services::check(tree, is_complete, findings);
        if is_complete {
            servers::check(tree, findings);
        }
    }
    steered::check(tree, zone, findings);
}

#[cfg(test)]
mod tests;
