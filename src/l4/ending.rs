//! How a flow ended, for whoever notes it.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use super::flow::Flow;

/// The end of a flow, and what there was of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ending {
    /// Who came, and to which address.
    pub flow: Flow,
    /// The backend that it had, or asked last.
    pub backend: Option<SocketAddr>,
    /// Why it ended.
    pub cause: Cause,
    /// From its first packet to its end.
    pub lasted: Duration,
    /// How long it took to have a backend; none when it never had.
    pub connected_after: Option<Duration>,
    /// Bytes from the client.
    pub bytes_to_backend: u64,
    /// Bytes to the client.
    pub bytes_to_client: u64,
}

/// Why a flow ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Both sides had said all.
    Done,
    /// The client broke it off.
    Client,
    /// The backend broke it off.
    Backend,
    /// Nothing moved for as long as the service lets that be.
    Idle,
    /// It lasted for as long as the service lets one.
    TooLong,
    /// The client did not say in time, or not well, whom it stands for.
    NoHello,
    /// Whom it stands for is not let in.
    Denied,
    /// Whom it stands for has brought too many of late, or all have together.
    Limited,
    /// No backend was up that took it.
    NoBackend,
    /// Every place was taken, and as many waited as may.
    QueueFull,
    /// It waited for a place for as long as one may.
    QueueTimeout,
    /// The backend was found to be down.
    BackendDown,
    /// This process had not what it takes, such as descriptors.
    Exhausted,
    /// It made room for another: of datagrams, the session that is used least recently goes when
    /// there are as many as may be.
    Displaced,
    /// The forwarder stopped.
    Stopped,
}

impl Cause {
    /// True when the client was let in, and never had a backend.
    pub fn is_refusal(self) -> bool {
        use Cause::*;
        matches!(self, NoBackend | QueueFull | QueueTimeout | Exhausted)
    }
}
