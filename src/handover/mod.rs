//! One process takes over from another: the listening sockets go from the old to the new, so that
//! nothing is lost that a client has sent to one of them.
//!
//! Both have the sockets for a moment, and whatever waits in one is taken by either. The new
//! process prepares everything first; whatever fails in it until it serves, the old serves on.
//!
//! | the new says | the old says | and |
//! | --- | --- | --- |
//! | `hello` | `sockets` (with descriptors), …, `complete` | serves on |
//! | `ready`, when all else is done | `sessions`, `elders` (with descriptors), `carried`, …, `yours` | leaves datagram sessions alone |
//! | `serving` | `retired` | accepts no more, and carries what it has to its end |
//!
//! An elder is the old process itself, and each before it that still carries flows: what each of them
//! carries it tells whichever process serves, over a socket of its own, until its end.

mod door;
mod flows;
mod line;
mod predecessor;
mod successor;

use std::collections::HashMap;
use std::fmt;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};
use socket2::{SockRef, Type};

pub use door::{Door, OpenError};
pub use flows::{Elder, Flows, Request, ServiceFlows, Teller};
pub use line::{Broken, Line};
pub use predecessor::{FindError, Passed, Predecessor, Turn};
pub use successor::{Failed, Ready, offer};

/// What a socket is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Use {
    /// DNS messages, in datagrams.
    DnsUdp,
    /// DNS messages, in streams.
    DnsTcp,
    /// The admin page and API.
    Admin,
    /// Connections to a VIP.
    L4Tcp,
    /// Datagrams to a VIP.
    L4Udp,
    /// Where the next process will ask.
    Door,
}

/// What a listening socket is known by in both processes. Several may share a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Name {
    /// What for.
    pub of: Use,
    /// Where, as the configuration may say it: an address, a prefix with ports, a path.
    pub listen: String,
}

/// A socket that is handed over, or was.
#[derive(Debug)]
pub struct Handed {
    /// What it is known by.
    pub name: Name,
    /// A duplicate of it.
    pub socket: OwnedFd,
}

/// Sockets that the process before this one had open. None, if there was no such process.
#[derive(Debug, Default)]
pub struct Inherited {
    by_name: HashMap<Name, Vec<OwnedFd>>,
}

impl Name {
    /// Of a socket on one address.
    pub fn new(of: Use, listen: impl fmt::Display) -> Name {
        Name { of, listen: listen.to_string() }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = match self.of {
            Use::DnsUdp => "DNS over UDP",
            Use::DnsTcp => "DNS over TCP",
            Use::Admin => "admin",
            Use::L4Tcp => "L4 TCP",
            Use::L4Udp => "L4 UDP",
            Use::Door => "control",
        };
        write!(f, "{of} on {}", self.listen)
    }
}

impl Inherited {
    /// These.
    pub fn new(handed: impl IntoIterator<Item = Handed>) -> Inherited {
        let mut by_name: HashMap<Name, Vec<OwnedFd>> = HashMap::new();
        for Handed { name, socket } in handed {
            by_name.entry(name).or_default().push(socket);
        }
        Inherited { by_name }
    }

    /// Takes out those that are used for this.
    pub fn take_all(&mut self, uses: &[Use]) -> Inherited {
        let by_name = self.by_name.extract_if(|name, _| uses.contains(&name.of)).collect();
        Inherited { by_name }
    }

    /// True when there are sockets of that name.
    pub fn has(&self, name: &Name) -> bool {
        self.by_name.contains_key(name)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_name.values().map(Vec::len).sum()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The listening sockets of that name. All of them must be served: what one that is not has
    /// been given by the kernel would be lost.
    pub fn take_listeners(&mut self, name: &Name) -> Vec<TcpListener> {
        let taken = self.take(name, Type::STREAM);
        taken.into_iter().map(TcpListener::from).collect()
    }

    /// The datagram sockets of that name; all of them must be served.
    pub fn take_udp(&mut self, name: &Name) -> Vec<UdpSocket> {
        let taken = self.take(name, Type::DGRAM);
        taken.into_iter().map(UdpSocket::from).collect()
    }

    /// Sockets of that name that are what it says.
    fn take(&mut self, name: &Name, kind: Type) -> Vec<OwnedFd> {
        let mut sockets = self.by_name.remove(name).unwrap_or_default();
        sockets.retain(|socket| {
            let socket = SockRef::from(socket);
            let local = socket.local_addr().ok().and_then(|local| local.as_socket());
            let is_there = match name.listen.parse::<SocketAddr>() {
                Ok(listen) => local == Some(listen),
                Err(_) => local.is_some(),
            };
            is_there && socket.r#type().is_ok_and(|found| found == kind)
        });
        sockets
    }
}

#[cfg(test)]
mod tests;
