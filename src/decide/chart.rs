//! A chart: what one policy decides everywhere, computed when a fact changes so that a query only
//! looks it up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use arrayvec::ArrayVec;

use crate::dns::{Name, Rtype};

/// The most addresses an answer carries.
pub const MAX_ANSWERS: usize = 16;

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

/// What one policy decides, everywhere.
#[derive(Debug)]
pub struct Chart {}

/// What was decided for a client.
#[derive(Clone, Debug)]
pub struct Decision<'a> {
    /// The TTL, in seconds.
    pub ttl: u32,
    /// The length of the widest prefix around the client's address within which every client is
    /// decided alike (RFC 7871 §7.2.1).
    pub scope: u8,
    /// The records.
    pub choice: Choice<'a>,
}

/// The records that were chosen.
#[derive(Clone, Debug)]
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

impl Chart {
    /// What is answered to `client` for `rtype`; looks up, and computes nothing that a fact's
    /// change could have computed before. Types other than A and AAAA get a CNAME or nothing.
    pub fn decide(&self, _client: &Client, _rtype: Rtype) -> Decision<'_> {
        Decision { ttl: 0, scope: 0, choice: Choice::NoData }
    }
}
