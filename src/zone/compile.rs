//! From texts and steered names to compiled zones.

use std::collections::HashMap;
use std::sync::Arc;

use super::additional::{Additional, glue, targets};
use super::contents::Contents;
use super::directory::Directory;
use super::findings::Findings;
use super::lookup::{Condition, Cut, Node, Static, SteeredNode, Zones};
use super::master_file::TextRecord;
use super::overlay::Sieve;
use super::service::{self, Service};
use super::tree::{APEX, Group, MAX_BYTES, NONE, Tree};
use super::{
    Base, Delegation, Place, Problem, Redirection, Settings, Zone, check, digest, master_file,
};
use crate::dns::{OwnedRrset, Rrset, Rtype};

/// Checks and compiles zones. All problems of all zones are found at once; there are no zones when
/// one of the problems is an error.
pub fn compile(settings: &[Settings]) -> (Option<Zones>, Vec<Problem>) {
    let mut zones = Vec::with_capacity(settings.len());
    let mut problems = Vec::new();
    let families = check::Families::new(settings);
    for (index, zone) in settings.iter().enumerate() {
        let mut findings = Findings::new(index);
        let tree = arrange(zone, &mut findings);
        if condition(zone) == Condition::Served {
            families.check(index, &tree, &mut findings);
        }
        if !findings.has_errors() {
            zones.push(compile_zone(&tree, zone));
        }
        problems.extend(findings.into_problems());
    }
    let zones = (zones.len() == settings.len()).then(|| Zones::new(zones));
    (zones, problems)
}

/// Reads the texts of a zone into a tree, and checks it.
fn arrange(zone: &Settings, findings: &mut Findings) -> Tree {
    let mut tree = Tree::new(zone.origin.clone());
    let mut fits = true;
    let transferred = zone.transferred();
    if let Some(index) = transferred {
        findings.forgive(index);
    }
    let mut sieve = Sieve::default();
    let take = |source, record: TextRecord<'_>| {
        if transferred != Some(source) || sieve.passes(&record, &zone.origin) {
            fits &= tree.add(source, &record);
        }
    };
    master_file::read(&zone.sources, &zone.origin, zone.default_ttl, findings, take);
    if !fits {
        let message = format!("the zone {} is too large", zone.origin);
        let limit = MAX_BYTES >> 30;
        let help = format!("names and data of a zone have at most {limit} GiB: split it");
        findings.error(Place::Zone, message, help);
    }
    sieve.tell(&zone.origin, findings);
    check::zone(&mut tree, zone, findings);
    tree
}

/// Compiles a tree without errors.
fn compile_zone(tree: &Tree, settings: &Settings) -> Zone {
    let mut additional = Additional::default();
    let mut targets = Vec::new();
    let mut services = Vec::new();
    let mut rrsets = Vec::with_capacity(tree.rrsets.len());
    for group in &tree.rrsets {
        let range = additional.of(tree, group, &settings.steered);
        rrsets.push(match service::compile(tree, group, &settings.steered) {
            Some(Service { rrset, hints }) => {
                services.push(hints);
                Static { rrset, additional: range, link: services.len() as u32 - 1 }
            }
            None => Static {
                rrset: compile_rrset(tree, group),
                additional: range,
                link: cname_target(tree, group, &mut targets),
            },
        });
    }
    let (cuts, cut_at) = cuts(tree);
    let (soa, serial) = start_of_authority(tree);
    let mut negative_soas = vec![soa];
    let steered = settings
        .steered
        .iter()
        .map(|steered| SteeredNode {
            owner: steered.owner.clone(),
            policy: steered.policy,
            may_be_cname: steered.may_be_cname,
            negative_soa: with_ttl(&mut negative_soas, tree, steered.ttl),
        })
        .collect();
    let place_of = |places: &[u32], node: u32| places.get(node as usize).copied().unwrap_or(NONE);
    let mut apex = APEX;
    let keys = (0..tree.nodes.len() as u32).map(|node| tree.prefix(node));
    let nodes = Directory::new(keys, |index, places| {
        apex = places[APEX as usize];
        let node = &tree.nodes[index];
        Node {
            rrsets: node.rrsets.clone(),
            cut: tree
                .cut_above(index as u32)
                .and_then(|at| cut_at.get(&at).copied())
                .unwrap_or(NONE),
            wildcard: place_of(places, node.wildcard),
            steered: node.steered,
        }
    });
    let contents = contents(tree, settings);
    let is_own = matches!(settings.base, Base::Nothing);
    let soa_record = tree.rrset(APEX, Rtype::SOA).and_then(|soa| tree.records_of(soa).first());
    Zone {
        origin: tree.origin.clone(),
        nodes,
        apex,
        max_depth: tree.nodes.iter().map(|node| usize::from(node.depth)).max().unwrap_or(0),
        rrsets: rrsets.into(),
        additional: additional.extras.into(),
        targets: targets.into(),
        cuts: cuts.into(),
        services: services.into(),
        steered,
        negative_soas: negative_soas.into(),
        serial,
        condition: condition(settings),
        digest: is_own.then(|| digest::digest(tree, contents.as_ref())),
        soa_place: soa_record.map_or(Place::Zone, Tree::rdata_place),
        contents: contents.map(Arc::new),
    }
}

/// Of zones that are transferred and have data.
fn contents(tree: &Tree, settings: &Settings) -> Option<Contents> {
    let has_data = condition(settings) == Condition::Served;
    (settings.is_transferred && has_data).then(|| Contents::of(tree, &settings.steered)).flatten()
}

fn condition(zone: &Settings) -> Condition {
    match zone.base {
        Base::Nothing | Base::Transferred => Condition::Served,
        Base::Awaited => Condition::Awaited,
        Base::Expired => Condition::Expired,
    }
}

/// The lowest TTL counts where they differ (RFC 2181 §5.2).
pub(super) fn compile_rrset(tree: &Tree, group: &Group) -> Rrset {
    let records = tree.records_of(group);
    let ttl = records.iter().map(|record| record.ttl).min().unwrap_or(0);
    let rdata = records.iter().map(|record| tree.rdata(record));
    Rrset::new(group.rtype, ttl, &tree.origin_key, rdata)
}

/// The index of where a CNAME points.
fn cname_target(tree: &Tree, group: &Group, targets: &mut Vec<Box<[u8]>>) -> u32 {
    let record = (group.rtype == Rtype::CNAME).then(|| tree.records_of(group).first()).flatten();
    let Some(target) = record.and_then(|record| tree.target(record)) else { return NONE };
    targets.push(target);
    targets.len() as u32 - 1
}

/// The SOA record for negative answers, and its serial number.
fn start_of_authority(tree: &Tree) -> (OwnedRrset, u32) {
    let number = |rdata: &[u8], from_end: usize| {
        let bytes = rdata.len().checked_sub(from_end).and_then(|at| rdata[at..].first_chunk());
        bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
    };
    let record = tree.rrset(APEX, Rtype::SOA).and_then(|group| tree.records_of(group).first());
    let (rdata, ttl) = record.map_or((&[][..], 0), |soa| (tree.rdata(soa), soa.ttl));
    let rrset = Rrset::new(Rtype::SOA, ttl.min(number(rdata, 4)), &tree.origin_key, [rdata]);
    (OwnedRrset { owner_prefix: Box::default(), rrset }, number(rdata, 20))
}

/// The index of the negative SOA whose TTL is at most `ttl`; made from the first if need be.
fn with_ttl(negative_soas: &mut Vec<OwnedRrset>, tree: &Tree, ttl: u32) -> u32 {
    let ttl = ttl.min(negative_soas[0].rrset.ttl);
    if let Some(index) = negative_soas.iter().position(|soa| soa.rrset.ttl == ttl) {
        return index as u32;
    }
    let rdata = tree
        .rrset(APEX, Rtype::SOA)
        .and_then(|group| tree.records_of(group).first())
        .map(|record| tree.rdata(record));
    let rrset = Rrset::new(Rtype::SOA, ttl, &tree.origin_key, rdata);
    negative_soas.push(OwnedRrset { owner_prefix: Box::default(), rrset });
    negative_soas.len() as u32 - 1
}

/// What is delegated and what is redirected, and the index of it by node.
fn cuts(tree: &Tree) -> (Vec<Cut>, HashMap<u32, u32>) {
    let mut cuts = Vec::new();
    let mut cut_at = HashMap::new();
    for node in 0..tree.nodes.len() as u32 {
        if tree.cut_above(node) != Some(node) {
            continue;
        }
        let cut = match tree.rrset(node, Rtype::DNAME) {
            Some(dname) if !tree.is_cut(node) => redirect(tree, dname).map(Cut::Redirection),
            _ => Some(Cut::Delegation(delegate(tree, node))),
        };
        if let Some(cut) = cut {
            cut_at.insert(node, cuts.len() as u32);
            cuts.push(cut);
        }
    }
    (cuts, cut_at)
}

/// The redirection at a DNAME record.
fn redirect(tree: &Tree, dname: &Group) -> Option<Redirection> {
    Some(Redirection {
        owner_len: tree.prefix(dname.node).len() + tree.origin_key.len(),
        rrset: compile_rrset(tree, dname),
        target: tree.target(tree.records_of(dname).first()?)?,
    })
}

/// The delegation at a cut.
fn delegate(tree: &Tree, cut: u32) -> Delegation {
    let mut needed = Vec::new();
    let mut useful = Vec::new();
    let ns = tree.rrset(cut, Rtype::NS);
    for target in ns.into_iter().flat_map(|ns| targets(tree, ns)) {
        let Some((node, found)) = glue(tree, &target) else { continue };
        if tree.nodes[node as usize].cut == cut { &mut needed } else { &mut useful }.extend(found);
    }
    let needed_glue = needed.len();
    needed.append(&mut useful);
    let rrset = match ns {
        Some(ns) => compile_rrset(tree, ns),
        // A cut is where NS records are.
        None => Rrset::new(Rtype::NS, 0, &tree.origin_key, []),
    };
    let ns = OwnedRrset { owner_prefix: tree.prefix(cut).into(), rrset };
    Delegation { ns, glue: needed.into(), needed_glue }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::decide::PolicyId;
    use crate::zone::{Source, Steered};

    /// The settings of a zone with one text, and no steered names.
    pub fn settings(origin: &str, text: &str) -> Settings {
        Settings {
            origin: origin.parse().unwrap(),
            default_ttl: 300,
            sources: vec![Source {
                file: "test.zone".into(),
                text: text.to_string(),
                included_by: None,
            }],
            steered: Vec::new(),
            base: Base::Nothing,
            is_transferred: false,
        }
    }

    /// The settings of `example.com.` with a SOA record and a name server.
    pub fn example(text: &str) -> Settings {
        let head = "@ 3600 SOA ns.example.net. hostmaster 1 2h 15m 2w 600\n@ NS ns.example.net.\n\
                    @ NS ns.example.org.\n";
        settings("example.com.", &format!("{head}{text}"))
    }

    /// A steered name below `example.com.`, with the policy 7.
    pub fn steered(owner: &str, may_be_cname: bool) -> Steered {
        let origin = "example.com.".parse().unwrap();
        let owner = crate::dns::Name::parse_relative(owner, &origin).unwrap();
        Steered { owner, policy: PolicyId(7), ttl: 30, may_be_cname, default: None }
    }

    /// Compiles a zone that must have no error.
    pub fn compiled(settings: Settings) -> Zones {
        let (zones, problems) = compile(&[settings]);
        zones.unwrap_or_else(|| panic!("{problems:#?}"))
    }

    #[test]
    fn no_zones_are_fine() {
        let (zones, problems) = compile(&[]);
        assert!(problems.is_empty());
        assert!(zones.unwrap().find(&[0], Rtype::A).is_none());
    }

    #[test]
    fn one_bad_zone_keeps_all_from_being_served_and_every_problem_is_told() {
        let (zones, problems) =
            compile(&[example(""), settings("a.", ""), settings("b.", "x Q 1")]);
        assert!(zones.is_none());
        let zones: Vec<_> = problems.iter().map(|problem| (problem.zone, &problem.place)).collect();
        let place = Place::Source { source: 0, span: 2..3 };
        assert_eq!(zones, [(1, &Place::Zone), (1, &Place::Zone), (2, &place)]);
    }

    #[test]
    fn a_hundred_thousand_names_in_a_hundred_zones_load_soon() {
        let zone = |n: usize| {
            let records = (0..1000).map(|host| {
                format!(
                    "host-{host} A 198.51.100.{}\nhost-{host} AAAA 2001:db8::{host}\n",
                    host % 256
                )
            });
            let head = "@ SOA ns h 1 2h 15m 2w 5m\n@ NS ns\n@ NS ns.example.\nns A 198.51.100.1\n";
            settings(
                &format!("zone-{n}.example."),
                &(head.to_string() + &records.collect::<String>()),
            )
        };
        let all: Vec<Settings> = (0..100).map(zone).collect();
        let start = std::time::Instant::now();
        let (zones, problems) = compile(&all);
        assert!(problems.is_empty());
        let zones = zones.unwrap();
        assert_eq!(zones.iter().map(Zone::names).sum::<usize>(), 100_200);
        // Far more than it takes, even unoptimised on a busy machine; a square would take longer.
        assert!(start.elapsed() < std::time::Duration::from_secs(30));
    }
}
