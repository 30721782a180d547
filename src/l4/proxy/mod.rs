//! The plane in user space: how bytes move when the flows of both sides end here.

mod tcp;
mod udp;

pub use tcp::check;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::backend::Backend;
use super::listener::Opened;
use super::service::Service;
use super::settings::Protocol;

/// What carries flows.
#[derive(Debug)]
pub struct Proxy {
    tcp: tcp::Plane,
    udp: udp::Plane,
}

/// What comes on some sockets is carried until this is dropped; what has come by then goes on.
#[derive(Debug)]
pub enum Serving {
    /// Connections.
    Tcp {
        /// Held.
        serving: tcp::Serving,
    },
    /// Datagrams.
    Udp {
        /// Held, no more.
        _serving: udp::Serving,
    },
}

impl Serving {
    /// When it is dropped, what is on its way is still awaited for a moment, as it is of datagrams in
    /// any case. For sockets that share their port with others, and are nobody else's.
    pub fn await_the_last(&self) {
        if let Serving::Tcp { serving } = self {
            serving.await_the_last();
        }
    }
}

impl Proxy {
    /// Carries nothing yet.
    pub fn new() -> Proxy {
        Proxy { tcp: tcp::Plane::new(), udp: udp::Plane::new() }
    }

    /// Carries what comes on these sockets to the service's backends.
    pub fn serve(&self, service: &Arc<Service>, opened: &Arc<Opened>) -> io::Result<Serving> {
        let (service, opened) = (Arc::clone(service), Arc::clone(opened));
        match opened.protocol {
            Protocol::Tcp => {
                let serving = self.tcp.serve(service, opened)?;
                Ok(Serving::Tcp { serving })
            }
            Protocol::Udp => {
                let _serving = self.udp.serve(service, opened)?;
                Ok(Serving::Udp { _serving })
            }
        }
    }

    /// These backends were up, and are not any more.
    pub fn went_down(&self, backends: &Arc<[Arc<Backend>]>) {
        self.tcp.went_down(backends);
        self.udp.went_down(backends);
    }

    /// The sessions of datagrams, for another process: nothing is read from them, or at VIPs of
    /// theirs, until they are taken back.
    pub async fn lend(&self) -> Vec<udp::Lent> {
        self.udp.lend().await
    }

    /// The other process did not take over.
    pub fn take_back(&self) {
        self.udp.take_back();
    }

    /// Has sessions of another process go on here; to be called before their services are served.
    pub fn adopt(&self, sessions: Vec<udp::Lent>) {
        self.udp.adopt(sessions);
    }

    /// To be called when all of those are served: no other service's sessions go on.
    pub fn forget_adopted(&self) {
        self.udp.forget_adopted();
    }

    /// Returns when all flows have ended, and ends those that have not when `grace` is over. To be
    /// called when nothing is served any more.
    pub async fn stop(&self, grace: Duration) {
        tokio::join!(self.tcp.stop(grace), self.udp.stop(grace));
    }
}
