//! A session as it goes from one process to the next.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::entrance::Entrance;
use super::session::{Progress, Session};
use super::sessions::Key;
use crate::datagram::Envelope;
use crate::l4::backend::Place;
use crate::l4::descriptors::Claim;
use crate::l4::flow::Flow;
use crate::l4::service::Service;
use crate::l4::settings::Protocol;

/// What is said of a session; its socket goes with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// Of which service.
    pub service: String,
    /// By which of the sockets at its VIP its client comes.
    pub socket: usize,
    client: SocketAddr,
    /// Where its client sends to.
    pub vip: SocketAddr,
    backend: SocketAddr,
    tag: u32,
    idle_us: u64,
    age_us: u64,
    is_answered: bool,
    bytes_to_backend: u64,
    bytes_to_client: u64,
}

impl Passed {
    /// A session of this service that was last used then, whose client comes by that socket.
    pub fn new(
        service: &Service,
        socket: usize,
        (key, used, session): (&Key, Instant, &Session),
        now: Instant,
    ) -> Passed {
        let microseconds =
            |since: Instant| now.saturating_duration_since(since).as_micros().min(u64::MAX.into());
        let Progress { began, is_answered, bytes_to_backend, bytes_to_client } = session.progress();
        Passed {
            service: service.name.clone(),
            socket,
            client: session.flow.client,
            vip: session.flow.vip,
            backend: session.place.backend().address,
            tag: key.tag(),
            idle_us: microseconds(used) as u64,
            age_us: microseconds(began) as u64,
            is_answered,
            bytes_to_backend,
            bytes_to_client,
        }
    }

    /// For how long it has not been used, in microseconds.
    pub fn idle_us(&self) -> u64 {
        self.idle_us
    }

    /// The session, and when it was last used; none when the service has no such backend, the socket
    /// is not one to it, or there is no room for it.
    pub fn resume(
        self,
        socket: OwnedFd,
        service: &Service,
        (number, entrance): (u32, &Entrance),
        now: Instant,
    ) -> Option<(Key, Session, Instant)> {
        let ago = |us| now.checked_sub(Duration::from_micros(us)).unwrap_or(now);
        let socket = UdpSocket::from(socket);
        if socket.peer_addr().ok()? != self.backend {
            return None;
        }
        let place = Place::take_always(Arc::clone(&service.backend(self.backend)?));
        let flow = Flow { client: self.client, vip: self.vip, protocol: Protocol::Udp };
        let to_client = Envelope::to(self.client, entrance.leave_from(self.vip));
        let mut session =
            Session::new(flow, to_client, number, (socket, place), Claim::of_session()?, now);
        session.go_on(Progress {
            began: ago(self.age_us),
            is_answered: self.is_answered,
            bytes_to_backend: self.bytes_to_backend,
            bytes_to_client: self.bytes_to_client,
        });
        let key = Key::new(self.client, self.vip).tagged(self.tag);
        Some((key, session, ago(self.idle_us)))
    }
}
