//! A zone's records arranged by name: what the checks and the compilation read.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::master_file::TextRecord;
use super::name_table::NameTable;
use super::{Place, Steered};
use crate::dns::rrset::names_in;
use crate::dns::{Name, Rtype};

/// No node, no index.
pub(super) const NONE: u32 = u32::MAX;
/// Names and RDATA of a zone have at most about so many bytes, so that 32 bits count them.
pub(super) const MAX_BYTES: usize = 2 << 30;
/// The node of the zone's origin.
pub(super) const APEX: u32 = 0;

/// All names of a zone, empty non-terminals included, with what stands there.
#[derive(Debug)]
pub(super) struct Tree {
    /// The zone's origin.
    pub(super) origin: Name,
    /// The origin in lower case.
    pub(super) origin_key: Box<[u8]>,
    /// From labels before the origin, in lower case, to nodes.
    pub(super) names: NameTable,
    /// By number: a parent comes before its children.
    pub(super) nodes: Vec<Node>,
    /// By node and type, after [`finish`](Tree::finish).
    pub(super) rrsets: Vec<Group>,
    /// In the order of the RRsets, after [`finish`](Tree::finish).
    pub(super) records: Vec<Record>,
    rdata: Vec<u8>,
    /// Of the names that were not given in lower case: as they were, before the origin.
    given: HashMap<u32, Box<[u8]>>,
}

/// A name.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// The name above; [`NONE`] for the apex.
    pub(super) parent: u32,
    /// The topmost zone cut at or above this name, else [`NONE`].
    pub(super) cut: u32,
    /// The topmost name with a DNAME record above this one, which hides it, else [`NONE`]. A name
    /// below a cut has none.
    pub(super) dname: u32,
    /// The child `*`, else [`NONE`].
    pub(super) wildcard: u32,
    /// Index of the steered name that stands here, else [`NONE`].
    pub(super) steered: u32,
    /// Labels before the origin.
    pub(super) depth: u8,
    /// Its RRsets.
    pub(super) rrsets: Range<u32>,
}

/// An RRset.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// Where it stands.
    pub(super) node: u32,
    /// Its type.
    pub(super) rtype: Rtype,
    /// Its records, in the order of the texts.
    pub(super) records: Range<u32>,
}

/// A record.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) node: u32,
    pub(super) rtype: Rtype,
    /// In seconds.
    pub(super) ttl: u32,
    rdata: Range<u32>,
    /// The text it stands in, by index.
    pub(super) source: u32,
    owner_span: Range<u32>,
    rdata_span: Range<u32>,
}

/// Where a name leads, seen from inside the zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Out of the zone.
    Outside,
    /// To a node that exists.
    Node(u32),
    /// To no node of its own, but a wildcard (this node) stands for it.
    Wildcard(u32),
    /// To nothing; the closest name above that exists.
    Missing(u32),
    /// Below the DNAME record of this node, be it a name that exists.
    Redirected(u32),
}

impl Tree {
    /// A tree with nothing but the apex.
    pub(super) fn new(origin: Name) -> Tree {
        let origin_key = origin.to_key();
        let mut tree = Tree {
            origin,
            origin_key,
            names: NameTable::default(),
            nodes: Vec::new(),
            rrsets: Vec::new(),
            records: Vec::new(),
            rdata: Vec::new(),
            given: HashMap::new(),
        };
        tree.names.insert(&[]);
        tree.nodes.push(Node::below(NONE, 0));
        tree
    }

    /// Adds a record from the text `source`; its owner is at or below the origin. False when the
    /// zone would be too large.
    pub(super) fn add(&mut self, source: usize, record: &TextRecord<'_>) -> bool {
        if self.rdata.len() + self.names.bytes() > MAX_BYTES {
            return false;
        }
        let Some(node) = self.node(record.owner) else { return true };
        let start = self.rdata.len() as u32;
        self.rdata.extend_from_slice(record.rdata);
        let narrow = |span: &Range<usize>| span.start as u32..span.end as u32;
        self.records.push(Record {
            node,
            rtype: record.rtype,
            ttl: record.ttl,
            rdata: start..self.rdata.len() as u32,
            source: source as u32,
            owner_span: narrow(&record.owner_span),
            rdata_span: narrow(&record.rdata_span),
        });
        true
    }

    /// Puts a steered name into the tree; gives the index of the one that stands there already.
    /// Names out of the zone are left out.
    pub(super) fn steer(&mut self, index: usize, steered: &Steered) -> Option<usize> {
        let node = self.node(&steered.owner)?;
        let slot = &mut self.nodes[node as usize].steered;
        if *slot != NONE {
            return Some(*slot as usize);
        }
        *slot = index as u32;
        None
    }

    /// Arranges the records in RRsets, and finds the cuts and what DNAME records hide. Calls `duplicate` with a record's
    /// place for each record that repeats one before it; it is left out.
    pub(super) fn finish(&mut self, mut duplicate: impl FnMut(Place)) {
        // Stable, so that an RRset keeps the order of the texts.
        self.records.sort_by_key(|record| (record.node, record.rtype));
        self.drop_duplicates(&mut duplicate);
        for chunk in self.records.chunk_by(|a, b| (a.node, a.rtype) == (b.node, b.rtype)) {
            let start = self.rrsets.last().map_or(0, |before| before.records.end);
            let (node, rtype) = (chunk[0].node, chunk[0].rtype);
            let index = self.rrsets.len() as u32;
            let at_node = &mut self.nodes[node as usize].rrsets;
            let first = if at_node.start == at_node.end { index } else { at_node.start };
            *at_node = first..index + 1;
            self.rrsets.push(Group { node, rtype, records: start..start + chunk.len() as u32 });
        }
        self.find_cuts();
    }

    /// The labels of a node before the origin, in lower-case wire form without a root label.
    pub(super) fn prefix(&self, node: u32) -> &[u8] {
        self.names.key(node)
    }

    /// As [`prefix`](Self::prefix), in the case in which the name was first given.
    pub(super) fn given_prefix(&self, node: u32) -> &[u8] {
        match self.given.get(&node) {
            Some(given) => given,
            None => self.prefix(node),
        }
    }

    /// The whole name of a node, in lower case.
    pub(super) fn name(&self, node: u32) -> Name {
        let wire = [self.prefix(node), &self.origin_key].concat();
        // Every node's name was a name before.
        Name::from_wire(&wire).unwrap_or_else(|_| self.origin.clone())
    }

    /// The RRsets at a node.
    pub(super) fn rrsets_at(&self, node: u32) -> &[Group] {
        let range = &self.nodes[node as usize].rrsets;
        &self.rrsets[range.start as usize..range.end as usize]
    }

    /// The RRset of a type at a node.
    pub(super) fn rrset(&self, node: u32, rtype: Rtype) -> Option<&Group> {
        self.rrsets_at(node).iter().find(|group| group.rtype == rtype)
    }

    /// The records of an RRset.
    pub(super) fn records_of(&self, group: &Group) -> &[Record] {
        &self.records[group.records.start as usize..group.records.end as usize]
    }

    /// The RDATA of a record.
    pub(super) fn rdata(&self, record: &Record) -> &[u8] {
        &self.rdata[record.rdata.start as usize..record.rdata.end as usize]
    }

    /// The first name in a record's RDATA, in lower-case wire form.
    pub(super) fn target(&self, record: &Record) -> Option<Box<[u8]>> {
        let rdata = self.rdata(record);
        let range = names_in(record.rtype, rdata).next()?;
        Some(rdata[range].to_ascii_lowercase().into())
    }

    /// True when a node is a zone cut below the apex that no other cut is above of.
    pub(super) fn is_cut(&self, node: u32) -> bool {
        self.nodes[node as usize].cut == node
    }

    /// The topmost node at or above `node` that cuts it off: it is delegated, or has a DNAME
    /// record, which leaves alone the node itself.
    pub(super) fn cut_above(&self, node: u32) -> Option<u32> {
        match self.nodes[node as usize].cut {
            NONE => self.hides_below(node),
            cut => Some(cut),
        }
    }

    /// The node with the DNAME record that hides what is below `node`.
    pub(super) fn hides_below(&self, node: u32) -> Option<u32> {
        let at = &self.nodes[node as usize];
        let is_owner = || at.cut == NONE && self.rrset(node, Rtype::DNAME).is_some();
        match at.dname {
            NONE => is_owner().then_some(node),
            dname => Some(dname),
        }
    }

    /// Where a name in lower-case wire form leads.
    pub(super) fn resolve(&self, name: &[u8]) -> Target {
        let mut at = 0;
        while name.len() - at > self.origin_key.len() {
            at += 1 + usize::from(name[at]);
        }
        if name[at..] != *self.origin_key {
            return Target::Outside;
        }
        let prefix = &name[..at];
        if let Some(node) = self.names.find(prefix) {
            return match self.nodes[node as usize].dname {
                NONE => Target::Node(node),
                dname => Target::Redirected(dname),
            };
        }
        let mut rest = prefix;
        let encloser = loop {
            rest = &rest[1 + usize::from(rest[0])..];
            if let Some(node) = self.names.find(rest) {
                break node;
            }
        };
        if let Some(dname) = self.hides_below(encloser) {
            return Target::Redirected(dname);
        }
        match self.nodes[encloser as usize].wildcard {
            NONE => Target::Missing(encloser),
            wildcard => Target::Wildcard(wildcard),
        }
    }

    /// Where the owner of a record stands in its text.
    pub(super) fn owner_place(record: &Record) -> Place {
        Record::place(record, &record.owner_span)
    }

    /// Where the RDATA of a record stands in its text.
    pub(super) fn rdata_place(record: &Record) -> Place {
        Record::place(record, &record.rdata_span)
    }

    /// The node of a name, made with all nodes above it; none when it is out of the zone.
    fn node(&mut self, name: &Name) -> Option<u32> {
        if !name.is_at_or_below(&self.origin) {
            return None;
        }
        let key = name.to_key();
        let length = key.len() - self.origin_key.len();
        let known = self.nodes.len();
        let node = self.node_of(&key[..length]);
        let given = &name.as_wire()[..length];
        if node as usize >= known && given != &key[..length] {
            self.given.insert(node, given.into());
        }
        Some(node)
    }

    fn node_of(&mut self, prefix: &[u8]) -> u32 {
        if let Some(node) = self.names.find(prefix) {
            return node;
        }
        let above = 1 + usize::from(prefix[0]);
        let parent = self.node_of(&prefix[above..]);
        let node = self.names.insert(prefix);
        let parent_node = &mut self.nodes[parent as usize];
        if prefix.starts_with(b"\x01*") {
            parent_node.wildcard = node;
        }
        let depth = parent_node.depth + 1;
        self.nodes.push(Node::below(parent, depth));
        node
    }

    fn drop_duplicates(&mut self, duplicate: &mut impl FnMut(Place)) {
        let mut kept = Vec::with_capacity(self.records.len());
        let mut seen = HashSet::new();
        for chunk in self.records.chunk_by(|a, b| (a.node, a.rtype) == (b.node, b.rtype)) {
            seen.clear();
            for record in chunk {
                if chunk.len() == 1 || seen.insert(without_case(record.rtype, self.rdata(record))) {
                    kept.push(record.clone());
                } else {
                    duplicate(Tree::owner_place(record));
                }
            }
        }
        self.records = kept;
    }

    fn find_cuts(&mut self) {
        for index in 1..self.nodes.len() {
            let node = index as u32;
            let parent = self.nodes[index].parent;
            let dname = self.hides_below(parent).unwrap_or(NONE);
            let above = self.nodes[parent as usize].cut;
            self.nodes[index].dname = dname;
            self.nodes[index].cut = match above {
                NONE if dname == NONE && self.rrset(node, Rtype::NS).is_some() => node,
                above => above,
            };
        }
    }
}

impl Node {
    fn below(parent: u32, depth: u8) -> Node {
        Node { parent, cut: NONE, dname: NONE, wildcard: NONE, steered: NONE, depth, rrsets: 0..0 }
    }
}

impl Record {
    fn place(&self, span: &Range<u32>) -> Place {
        Place::Source { source: self.source as usize, span: span.start as usize..span.end as usize }
    }
}

/// RDATA with its names in lower case: equal for records that are the same (RFC 4034 §6.2).
fn without_case(rtype: Rtype, rdata: &[u8]) -> Vec<u8> {
    let mut folded = rdata.to_vec();
    for name in names_in(rtype, rdata) {
        folded[name].make_ascii_lowercase();
    }
    folded
}
