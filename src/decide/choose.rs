//! The last step, for each query: from a plan's candidates to the addresses of one answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use arrayvec::ArrayVec;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::plan::{Candidate, Plan, Spread, enough};
use super::{DatacenterId, GroupId, PoolId, Validity};
use crate::dns::{Name, Rtype};

/// The most addresses an answer carries.
pub const MAX_ANSWERS: usize = 16;

/// The prefixes by which clients are hashed: what resolvers send in ECS (RFC 7871 §11.1).
const HASHED_V4_PREFIX_LEN: u8 = 24;
const HASHED_V6_PREFIX_LEN: u8 = 56;

/// For whom a decision is made.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// The first address of the client's subnet, or the resolver's if the query has none.
    pub address: IpAddr,
    /// Who sent the query.
    pub resolver: IpAddr,
    /// A number that differs from query to query, for the draws of `weighted` and `round-robin`.
    pub draw: u64,
}

impl Client {
    /// The same client as IPv4 if its address is IPv4-mapped, and how many bits of the address are
    /// then gone from its front.
    pub(super) fn canonical(&self) -> (Client, u8) {
        let address = self.address.to_canonical();
        let is_mapped = address.is_ipv4() && self.address.is_ipv6();
        (Client { address, ..*self }, if is_mapped { 96 } else { 0 })
    }
}

/// What was decided for a client.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision<'a> {
    /// The TTL, in seconds.
    pub ttl: u32,
    /// Some of the records are older than their TTL, and nothing newer is to be had (RFC 8767).
    pub is_stale: bool,
    /// There are no records, but neither is it known that there are none: names that stand for
    /// addresses could not be resolved.
    pub is_unknown: bool,
    /// The length of the widest prefix around the client's address within which every client is
    /// decided alike (RFC 7871 §7.2.1).
    pub scope: u8,
    /// The records.
    pub choice: Choice<'a>,
    /// Whom a pool that steers by capacity sent where; none without records, and of other pools.
    pub assignment: Option<Assignment>,
}

/// Whom a pool that steers by capacity sent where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The pool.
    pub pool: PoolId,
    /// The group that the client is in.
    pub group: GroupId,
    /// The datacenter of the answer; of several, the first.
    pub datacenter: DatacenterId,
}

/// The records that were chosen.
#[derive(Clone, Debug, PartialEq)]
pub enum Choice<'a> {
    /// A records, at least one.
    V4(ArrayVec<Ipv4Addr, MAX_ANSWERS>),
    /// AAAA records, at least one.
    V6(ArrayVec<Ipv6Addr, MAX_ANSWERS>),
    /// A CNAME record: where it points.
    Cname(&'a Name),
    /// Nothing of that type.
    NoData,
}

/// What a plan gives one client.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen<'a> {
    /// The records.
    pub choice: Choice<'a>,
    /// The prefix length that the choice depends on; 0 when it depends on nothing but the plan.
    pub hashed_len: u8,
    /// The datacenter of the first records, where the plan's answers are written down.
    pub datacenter: Option<DatacenterId>,
}

impl Plan {
    /// The records for one client.
    pub fn choose(&self, client: &Client, rtype: Rtype) -> Chosen<'_> {
        let draw = mix(client.draw);
        let mut hashed_len = 0;
        let first = match self.spread {
            _ if self.candidates.len() <= 1 => 0,
            Spread::Ordered => 0,
            Spread::Even => self.drawn(draw, rtype, |_| 1),
            Spread::Weighted => self.drawn(draw, rtype, |candidate| candidate.weight),
            Spread::Hash => {
                let (prefix, prefix_len) = hashed_prefix(client.address);
                hashed_len = prefix_len;
                if self.answers > 1 {
                    let choice = self.ranked(prefix, rtype);
                    return Chosen { choice, hashed_len, datacenter: None };
                }
                closest(&self.candidates, prefix, rtype)
            }
            Spread::Split { among } => {
                let (prefix, prefix_len) = hashed_prefix(client.address);
                hashed_len = prefix_len;
                let among = usize::from(among).min(self.candidates.len());
                let first = closest(&self.candidates[..among], prefix, rtype);
                let others = self.candidates[..first].iter().chain(&self.candidates[first + 1..]);
                let ring = self.candidates[first..=first].iter().chain(others);
                return self.chosen(ring, draw, rtype, hashed_len);
            }
        };
        let ring = self.candidates[first..].iter().chain(&self.candidates[..first]);
        self.chosen(ring, draw, rtype, hashed_len)
    }

    /// How long these records, which this plan gave, may be kept.
    #[inline]
    pub fn validity(&self, choice: &Choice) -> Validity {
        if self.is_bounded { self.bound(choice) } else { Validity::UNBOUNDED }
    }

    #[cold]
    fn bound(&self, choice: &Choice) -> Validity {
        let gives = |candidate: &Candidate| match choice {
            Choice::V4(given) => {
                let is_given = candidate.v4.iter().any(|address| given.contains(address));
                is_given.then_some(candidate.validity_v4)
            }
            Choice::V6(given) => {
                let is_given = candidate.v6.iter().any(|address| given.contains(address));
                is_given.then_some(candidate.validity_v6)
            }
            Choice::Cname(_) | Choice::NoData => None,
        };
        let given = self.candidates.iter().filter_map(gives);
        given.fold(Validity::UNBOUNDED, |least, one| Validity {
            ttl: least.ttl.min(one.ttl),
            is_stale: least.is_stale || one.is_stale,
        })
    }

    #[inline(always)]
    fn chosen<'a>(
        &self,
        ring: impl Iterator<Item = &'a Candidate> + Clone,
        draw: u64,
        rtype: Rtype,
        hashed_len: u8,
    ) -> Chosen<'a> {
        let able = |candidate: &&Candidate| !candidate.has_lost(rtype);
        let first = self.pool.and_then(|_| ring.clone().find(able));
        let datacenter = first.map(|candidate| candidate.datacenter);
        Chosen { choice: self.records(ring, draw, rtype), hashed_len, datacenter }
    }

    /// By a draw in proportion to the weights.
    fn drawn(&self, draw: u64, rtype: Rtype, weight: impl Fn(&Candidate) -> u32) -> usize {
        let weight = |one: &Candidate| if one.has_lost(rtype) { 0 } else { u64::from(weight(one)) };
        let total: u64 = self.candidates.iter().map(weight).sum();
        let mut left = ((u128::from(draw) * u128::from(total)) >> 64) as u64;
        for (index, candidate) in self.candidates.iter().enumerate() {
            match left.checked_sub(weight(candidate)) {
                Some(rest) => left = rest,
                None => return index,
            }
        }
        0
    }

    /// The records of the best candidates in the weighted rendezvous for this prefix, best first.
    fn ranked(&self, prefix: u64, rtype: Rtype) -> Choice<'_> {
        let mut best: ArrayVec<(f64, usize), MAX_ANSWERS> = ArrayVec::new();
        let candidates = self.candidates.iter().enumerate();
        for (index, candidate) in candidates.filter(|(_, one)| !one.has_lost(rtype)) {
            let cost = candidate.rendezvous_cost(prefix);
            let place = best.partition_point(|&(other, _)| other <= cost);
            if place < usize::from(self.answers).min(MAX_ANSWERS) {
                if best.len() == usize::from(self.answers).min(MAX_ANSWERS) {
                    best.pop();
                }
                best.insert(place, (cost, index));
            }
        }
        let ring = best.iter().map(|&(_, index)| &self.candidates[index]);
        self.records(ring, prefix, rtype)
    }

    /// The records of the first candidates, as many as make up an answer. Of a candidate that has
    /// more addresses than there is room for, `draw` says which.
    #[inline(always)]
    fn records<'a>(
        &self,
        ring: impl Iterator<Item = &'a Candidate> + Clone,
        draw: u64,
        rtype: Rtype,
    ) -> Choice<'a> {
        if let Some(name) = ring.clone().next().and_then(|first| first.cname.as_ref()) {
            return Choice::Cname(name);
        }
        let answers = usize::from(self.answers).min(MAX_ANSWERS);
        let (reach, most) = match self.spread {
            Spread::Ordered | Spread::Split { .. } => {
                (enough(ring.clone(), self.answers, rtype), usize::MAX)
            }
            _ => (usize::MAX, answers),
        };
        let able = ring.take(reach).filter(|candidate| !candidate.has_lost(rtype)).take(most);
        let sources = able.filter(|candidate| candidate.cname.is_none());
        match rtype {
            Rtype::A => {
                let chosen = fill(sources.map(|candidate| &candidate.v4[..]), answers, draw);
                if chosen.is_empty() { Choice::NoData } else { Choice::V4(chosen) }
            }
            Rtype::AAAA => {
                let chosen = fill(sources.map(|candidate| &candidate.v6[..]), answers, draw);
                if chosen.is_empty() { Choice::NoData } else { Choice::V6(chosen) }
            }
            _ => Choice::NoData,
        }
    }
}

impl Candidate {
    fn rendezvous_cost(&self, prefix: u64) -> f64 {
        rendezvous_cost(prefix, self.seed, self.weight)
    }
}

/// −ln(u) / weight for a hash u in (0, 1): of the members of a pool, the one with the least cost
/// wins a prefix, each in proportion to its weight, and a change of one weight moves only what must
/// move (Schindelhauer and Schomaker, "Weighted distributed hash tables", SPAA 2005).
pub fn rendezvous_cost(prefix: u64, seed: u64, weight: u32) -> f64 {
    let hash = xxh3_64_with_seed(&prefix.to_be_bytes(), seed);
    let uniform = ((hash >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -uniform.ln() / f64::from(weight)
}

/// The candidate that wins the weighted rendezvous for this prefix; the first if none can answer.
fn closest(candidates: &[Candidate], prefix: u64, rtype: Rtype) -> usize {
    let mut best = (f64::INFINITY, 0);
    for (index, candidate) in candidates.iter().enumerate() {
        let cost = candidate.rendezvous_cost(prefix);
        if cost < best.0 && !candidate.has_lost(rtype) {
            best = (cost, index);
        }
    }
    best.1
}

/// Takes up to `answers` addresses from the sources in turn.
#[inline(always)]
fn fill<'a, A: Copy + 'a>(
    sources: impl Iterator<Item = &'a [A]>,
    answers: usize,
    draw: u64,
) -> ArrayVec<A, MAX_ANSWERS> {
    let mut chosen = ArrayVec::new();
    for addresses in sources {
        let room = answers - chosen.len();
        if addresses.len() <= room {
            chosen.extend(addresses.iter().copied());
        } else {
            // Other bits than those that chose the candidate.
            let first = ((draw >> 32) % addresses.len() as u64) as usize;
            chosen.extend(addresses.iter().cycle().skip(first).take(room).copied());
        }
        if chosen.len() == answers {
            break;
        }
    }
    chosen
}

/// The bits of the client's prefix that are hashed, and their number.
fn hashed_prefix(address: IpAddr) -> (u64, u8) {
    match address {
        IpAddr::V4(v4) => (u64::from(u32::from(v4) >> 8), HASHED_V4_PREFIX_LEN),
        IpAddr::V6(v6) => ((u128::from(v6) >> 72) as u64, HASHED_V6_PREFIX_LEN),
    }
}

/// Spreads a counter over all 64 bits (the finaliser of SplitMix64, Steele et al. 2014).
fn mix(counter: u64) -> u64 {
    let mut z = counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
