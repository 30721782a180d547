//! SVCB and HTTPS records whose address hints are decided per client (RFC 9460 §7.3).

use std::collections::HashMap;

use super::Steered;
use super::tree::{Group, NONE, Record, Target, Tree};
use crate::decide::{DefaultRecords, PolicyId};
use crate::dns::svcb::{PARAM_HEAD_BYTES, ServiceBinding, key};
use crate::dns::{Rrset, Rtype};

/// SVCB or HTTPS records with hints that are decided.
#[derive(Clone, Debug)]
pub struct Service {
    /// The records without these hints.
    pub rrset: Rrset,
    /// By record: its hints; none where it stays as it is.
    pub hints: Box<[Option<Hints>]>,
}

/// The address hints of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hints {
    /// What decides them.
    pub policy: PolicyId,
    /// The TTL is at most this while there is no address, in seconds.
    pub negative_ttl: u32,
    /// Where in the RDATA the `ipv4hint` goes.
    pub v4_at: u16,
    /// Where in the RDATA the `ipv6hint` goes; not before `v4_at`.
    pub v6_at: u16,
}

/// Compiles SVCB or HTTPS records; none where no hint is decided.
pub(super) fn compile(tree: &Tree, group: &Group, steered: &[Steered]) -> Option<Service> {
    if !matches!(group.rtype, Rtype::SVCB | Rtype::HTTPS) {
        return None;
    }
    let records = tree.records_of(group);
    let deciding = records.iter().map(|record| decides(tree, group.node, record));
    let deciding: Vec<_> = deciding.map(|index| steered.get(index? as usize)).collect();
    if deciding.iter().all(Option::is_none) {
        return None;
    }
    let compiled = records.iter().zip(deciding).map(|(record, steered)| {
        let rdata = tree.rdata(record);
        match (steered, ServiceBinding::parse(rdata)) {
            (Some(steered), Some(binding)) => {
                let (rdata, v4_at, v6_at) = without_hints(rdata, &binding);
                let (policy, negative_ttl) = (steered.policy, steered.ttl);
                (rdata, Some(Hints { policy, negative_ttl, v4_at, v6_at }))
            }
            _ => (rdata.to_vec(), None),
        }
    });
    let (rdata, hints): (Vec<_>, Vec<_>) = compiled.unzip();
    let ttl = records.iter().map(|record| record.ttl).min().unwrap_or(0);
    let rrset = Rrset::new(group.rtype, ttl, &tree.origin_key, rdata.iter().map(Vec::as_slice));
    Some(Service { rrset, hints: hints.into() })
}

/// By the number of the record: TTL and RDATA of the records whose hints are decided, with the
/// default answers as hints, as they are sent to other servers.
pub(super) fn by_default(tree: &Tree, steered: &[Steered]) -> HashMap<u32, (u32, Vec<u8>)> {
    let groups = tree.rrsets.iter();
    let groups = groups.filter(|group| matches!(group.rtype, Rtype::SVCB | Rtype::HTTPS));
    let records = groups.flat_map(|group| {
        group
            .records
            .clone()
            .zip(tree.records_of(group))
            .map(move |(number, it)| (number, group, it))
    });
    let hinted = records.filter_map(|(number, group, record)| {
        let steered = steered.get(decides(tree, group.node, record)? as usize)?;
        let rdata = tree.rdata(record);
        let (rdata, v4_at, v6_at) = without_hints(rdata, &ServiceBinding::parse(rdata)?);
        let default = steered.default.as_ref();
        let (mut v4_hint, mut v6_hint) = (Vec::new(), Vec::new());
        if let Some(DefaultRecords::Addresses { v4, v6 }) = default.map(|it| &it.records) {
            let v4 = v4.iter().flat_map(|address| address.octets()).collect();
            let v6 = v6.iter().flat_map(|address| address.octets()).collect();
            (v4_hint, v6_hint) = (hint(key::IPV4HINT, v4), hint(key::IPV6HINT, v6));
        }
        let (start, rest) = rdata.split_at(v4_at.into());
        let (middle, end) = rest.split_at(usize::from(v6_at - v4_at));
        let ttl = record.ttl.min(default.map_or(u32::MAX, |it| it.ttl));
        Some((number, (ttl, [start, &v4_hint, middle, &v6_hint, end].concat())))
    });
    hinted.collect()
}

/// A parameter with these addresses, none without.
fn hint(key: u16, addresses: Vec<u8>) -> Vec<u8> {
    match addresses.len() as u16 {
        0 => Vec::new(),
        length => [&key.to_be_bytes()[..], &length.to_be_bytes(), &addresses].concat(),
    }
}

/// The steered name whose decision gives the hints of a record at `node`: in ServiceMode, that
/// which TargetName leads to.
pub(super) fn decides(tree: &Tree, node: u32, record: &Record) -> Option<u32> {
    let binding = ServiceBinding::parse(tree.rdata(record)).filter(|it| !it.is_alias())?;
    let node = match binding.has_root_target() {
        true => node,
        false => match tree.resolve(&binding.target.to_ascii_lowercase()) {
            Target::Node(node) | Target::Wildcard(node) => node,
            _ => return None,
        },
    };
    let at = &tree.nodes[node as usize];
    (at.cut == NONE && at.steered != NONE).then_some(at.steered)
}

/// RDATA without its address hints, which are then not mandatory either, and where such hints go.
fn without_hints(rdata: &[u8], binding: &ServiceBinding<'_>) -> (Vec<u8>, u16, u16) {
    let params_start = binding.params().next().map_or(rdata.len(), |first| first.start);
    let mut bytes = rdata[..params_start].to_vec();
    let (mut v4_at, mut v6_at) = (None, None);
    for param in binding.params() {
        let mut value = param.value.to_vec();
        match param.key {
            key::IPV4HINT | key::IPV6HINT => continue,
            key::MANDATORY => {
                let keys = param.value.as_chunks::<2>().0.iter();
                let hints = [key::IPV4HINT, key::IPV6HINT];
                let kept = keys.filter(|bytes| !hints.contains(&u16::from_be_bytes(**bytes)));
                value = kept.flatten().copied().collect();
                if value.is_empty() {
                    continue;
                }
            }
            _ => {}
        }
        if param.key > key::IPV4HINT {
            v4_at.get_or_insert(bytes.len());
        }
        if param.key > key::IPV6HINT {
            v6_at.get_or_insert(bytes.len());
        }
        bytes.reserve(PARAM_HEAD_BYTES + value.len());
        bytes.extend(param.key.to_be_bytes());
        bytes.extend((value.len() as u16).to_be_bytes());
        bytes.extend(value);
    }
    // RDATA has at most 65,535 bytes.
    let end = bytes.len();
    (bytes, v4_at.unwrap_or(end) as u16, v6_at.unwrap_or(end) as u16)
}
