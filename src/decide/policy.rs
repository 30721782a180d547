//! A policy: the rules that choose a pool for a client.

use ipnet::IpNet;

use super::PoolId;
use crate::geo::Code;

/// The index of a policy in [`Steering::policies`](super::Steering::policies), over all zones.
/// Names with the same rules share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyId(pub u32);

/// What stands behind a steered name: rules, of which the first that matches and whose pool is up
/// chooses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Policy {
    /// In the order of the file.
    pub rules: Box<[Rule]>,
}

/// One rule: for whom, and from which pool.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// For whom.
    pub matches: Match,
    /// From where.
    pub pool: PoolId,
}

/// For whom a rule is: every key given must hold, and a key holds when one of its values does.
/// An empty match holds for everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Match {
    /// Continents.
    pub continent: Box<[Code]>,
    /// Countries.
    pub country: Box<[Code]>,
    /// Regions, compared without case; `US/CA` asks for the country too.
    pub region: Box<[Box<str>]>,
    /// Cities, compared without case.
    pub city: Box<[Box<str>]>,
    /// Autonomous systems.
    pub asn: Box<[u32]>,
    /// Prefixes of the client: of its subnet if the query has one, else of the resolver.
    pub network: Box<[IpNet]>,
    /// The operator's labels.
    pub tag: Box<[Box<str>]>,
    /// Prefixes of the resolver that sent the query.
    pub resolver: Box<[IpNet]>,
}
