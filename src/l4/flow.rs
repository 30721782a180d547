//! A flow: who comes, to which VIP, with what.

use std::net::SocketAddr;

use super::settings::Protocol;

/// A connection, or a session of datagrams, for which a backend is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Who comes.
    pub client: SocketAddr,
    /// Where it came to.
    pub vip: SocketAddr,
    /// With what.
    pub protocol: Protocol,
}
