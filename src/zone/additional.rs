//! What goes into ADDITIONAL with an RRset, worked out at load.

use std::collections::HashMap;
use std::ops::Range;

use super::Steered;
use super::compile::compile_rrset;
use super::service::{self, Service};
use super::tree::{Group, NONE, Target, Tree};
use crate::decide::PolicyId;
use crate::dns::svcb::ServiceBinding;
use crate::dns::{OwnedRrset, Rrset, Rtype};

/// So many aliases of SVCB and HTTPS records are followed.
const MAX_ALIASES: usize = 8;

/// Something that goes into ADDITIONAL.
#[derive(Clone, Debug)]
pub struct Extra {
    /// The owner's labels before the zone's origin, in wire form without a root label; none where
    /// it is the owner of the RRset that was asked for, which may stand at a wildcard.
    pub owner: Option<Box<[u8]>>,
    /// Its records.
    pub what: What,
}

/// Records for ADDITIONAL.
#[derive(Clone, Debug)]
pub enum What {
    /// The same for everybody.
    Records(Rrset),
    /// A and AAAA records that this policy decides.
    Decided(PolicyId),
    /// SVCB or HTTPS records with hints that are decided.
    Service(Box<Service>),
}

/// The additional records of all RRsets of a zone; those that are equal are shared.
#[derive(Default)]
pub(super) struct Additional {
    pub(super) extras: Vec<Extra>,
    runs: HashMap<Vec<Wanted>, Range<u32>>,
}

/// RRsets that shall go into ADDITIONAL.
#[derive(PartialEq, Eq, Hash)]
struct Wanted {
    /// As [`Extra::owner`].
    owner: Option<Box<[u8]>>,
    /// Where they stand.
    node: u32,
    /// A and AAAA, or this type.
    rtype: Option<Rtype>,
    /// Whether they may be decided.
    may_be_decided: bool,
}

impl Additional {
    /// The run of `extras` that goes with an RRset.
    pub(super) fn of(&mut self, tree: &Tree, group: &Group, steered: &[Steered]) -> Range<u32> {
        let wanted = wanted(tree, group);
        if wanted.is_empty() {
            return 0..0;
        }
        let extras = &mut self.extras;
        let run = self.runs.entry(wanted).or_insert_with_key(|wanted| {
            let start = extras.len() as u32;
            for one in wanted {
                let found = one.records(tree, steered);
                extras
                    .extend(found.into_iter().map(|what| Extra { owner: one.owner.clone(), what }));
            }
            start..extras.len() as u32
        });
        run.clone()
    }
}

fn wanted(tree: &Tree, group: &Group) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    match group.rtype {
        // Which servers are asked does not depend on who asks: their addresses are not decided.
        Rtype::NS => {
            for target in targets(tree, group) {
                let at = place(tree, &target, true);
                wanted.extend(at.map(|at| Wanted { may_be_decided: false, ..addresses(at) }));
            }
        }
        Rtype::MX | Rtype::SRV => {
            for target in targets(tree, group) {
                wanted.extend(place(tree, &target, false).map(addresses));
            }
        }
        // Who asks for the alias itself is spared a question only where another answer would do.
        Rtype::CNAME => {
            for target in targets(tree, group) {
                let at = place(tree, &target, false);
                let at = at.filter(|(_, node)| tree.nodes[*node as usize].steered != NONE);
                wanted.extend(at.map(addresses));
            }
        }
        Rtype::SVCB | Rtype::HTTPS => want_services(tree, group, None, MAX_ALIASES, &mut wanted),
        _ => {}
    }
    wanted
}

/// For each TargetName of SVCB and HTTPS records at `owner`: its addresses, and in AliasMode its
/// records of the same type with what goes with them (RFC 9460 §4.1).
fn want_services(
    tree: &Tree,
    group: &Group,
    owner: Option<&[u8]>,
    aliases_left: usize,
    wanted: &mut Vec<Wanted>,
) {
    let want = |one: Wanted, wanted: &mut Vec<Wanted>| {
        let is_new = !wanted.contains(&one);
        if is_new {
            wanted.push(one);
        }
        is_new
    };
    for record in tree.records_of(group) {
        let Some(binding) = ServiceBinding::parse(tree.rdata(record)) else { continue };
        let (at, node) = match (binding.has_root_target(), binding.is_alias()) {
            // The service is not available (RFC 9460 §2.5.1).
            (true, true) => continue,
            (true, false) => (owner.map(Into::into), group.node),
            (false, _) => {
                let target = binding.target.to_ascii_lowercase();
                let Some((labels, node)) = place(tree, &target, false) else { continue };
                let is_own = owner.is_none() && *labels == *tree.prefix(group.node);
                ((!is_own).then_some(labels), node)
            }
        };
        let next = tree.rrset(node, group.rtype).filter(|_| binding.is_alias() && at.is_some());
        if let Some(next) = next.filter(|_| aliases_left > 0) {
            let rtype = Some(group.rtype);
            let one = Wanted { owner: at.clone(), node, rtype, may_be_decided: true };
            if want(one, wanted) {
                want_services(tree, next, at.as_deref(), aliases_left - 1, wanted);
            }
        }
        want(Wanted { owner: at, node, rtype: None, may_be_decided: true }, wanted);
    }
}

fn addresses((labels, node): (Box<[u8]>, u32)) -> Wanted {
    Wanted { owner: Some(labels), node, rtype: None, may_be_decided: true }
}

impl Wanted {
    fn records(&self, tree: &Tree, steered: &[Steered]) -> Vec<What> {
        if let Some(rtype) = self.rtype {
            let Some(group) = tree.rrset(self.node, rtype) else { return Vec::new() };
            return vec![match service::compile(tree, group, steered) {
                Some(service) => What::Service(Box::new(service)),
                None => What::Records(compile_rrset(tree, group)),
            }];
        }
        let index = tree.nodes[self.node as usize].steered as usize;
        if let Some(steered) = steered.get(index).filter(|_| self.may_be_decided) {
            return vec![What::Decided(steered.policy)];
        }
        static_addresses(tree, self.node).map(What::Records).collect()
    }
}

/// The names that an RRset's records point at, each once, in lower-case wire form.
pub(super) fn targets(tree: &Tree, group: &Group) -> Vec<Box<[u8]>> {
    let mut targets = Vec::new();
    for record in tree.records_of(group) {
        if let Some(target) = tree.target(record)
            && !targets.contains(&target)
        {
            targets.push(target);
        }
    }
    targets
}

/// The node whose static addresses are those of a name server, and they, also below a cut.
pub(super) fn glue(tree: &Tree, target: &[u8]) -> Option<(u32, Vec<OwnedRrset>)> {
    let (labels, node) = place(tree, target, true)?;
    let found = static_addresses(tree, node);
    Some((node, found.map(|rrset| OwnedRrset { owner_prefix: labels.clone(), rrset }).collect()))
}

/// The labels of `target` before the origin, and the node that answers for it; what is below a cut
/// does only `with_glue`.
fn place(tree: &Tree, target: &[u8], with_glue: bool) -> Option<(Box<[u8]>, u32)> {
    let (Target::Node(node) | Target::Wildcard(node)) = tree.resolve(target) else { return None };
    if tree.nodes[node as usize].cut != NONE && !with_glue {
        return None;
    }
    Some((target[..target.len() - tree.origin_key.len()].into(), node))
}

fn static_addresses(tree: &Tree, node: u32) -> impl Iterator<Item = Rrset> {
    let groups =
        [Rtype::A, Rtype::AAAA].into_iter().filter_map(move |rtype| tree.rrset(node, rtype));
    groups.map(|group| compile_rrset(tree, group))
}
