//! A stub resolver: asks the operator's resolvers for the addresses behind a name.

pub mod client;
pub mod message;

pub use client::Resolver;

use std::net::IpAddr;

/// The most addresses of a family that are taken from an answer.
pub const MAX_ADDRESSES: usize = 32;

/// A family of addresses, and the record type that carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4: A records.
    V4,
    /// IPv6: AAAA records.
    V6,
}

/// What a resolver said of a name and a family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// In ascending order, at most [`MAX_ADDRESSES`]; empty: there are none (RFC 2308).
    pub addresses: Vec<IpAddr>,
    /// The least TTL on the way to them, or for how long there are none; in seconds.
    pub ttl: u32,
    /// False: the name does not exist (NXDOMAIN), so that it has no addresses of either family.
    pub exists: bool,
}
