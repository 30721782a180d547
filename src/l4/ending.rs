//! How a flow ended, for whoever notes it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::Serialize;

use super::admission::Refusal;
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
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
    /// The client, or whom it stands for, is not let in.
    Denied,
    /// It, or whom it stands for, has brought too many of late, or all have together.
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

impl Ending {
    /// Of a flow that came to no backend.
    pub fn at_once(flow: Flow, cause: Cause) -> Ending {
        Ending {
            flow,
            backend: None,
            cause,
            lasted: Duration::ZERO,
            connected_after: None,
            bytes_to_backend: 0,
            bytes_to_client: 0,
        }
    }
}

impl From<Refusal> for Cause {
    fn from(refusal: Refusal) -> Cause {
        match refusal {
            Refusal::Denied => Cause::Denied,
            Refusal::TooManyOfSource | Refusal::TooMany => Cause::Limited,
        }
    }
}

impl Cause {
    /// All of them, in their order.
    pub const ALL: [Cause; Cause::Stopped as usize + 1] = [
        Cause::Done,
        Cause::Client,
        Cause::Backend,
        Cause::Idle,
        Cause::TooLong,
        Cause::NoHello,
        Cause::Denied,
        Cause::Limited,
        Cause::NoBackend,
        Cause::QueueFull,
        Cause::QueueTimeout,
        Cause::BackendDown,
        Cause::Exhausted,
        Cause::Displaced,
        Cause::Stopped,
    ];

    /// True when the client was let in, and never had a backend.
    pub fn is_refusal(self) -> bool {
        use Cause::*;
        matches!(self, NoBackend | QueueFull | QueueTimeout | Exhausted)
    }
}

/// How many flows each cause has ended.
#[derive(Debug, Default)]
pub struct Ends {
    by_cause: [AtomicU64; Cause::ALL.len()],
}

impl Ends {
    /// One more.
    pub fn note(&self, cause: Cause) {
        self.by_cause[cause as usize].fetch_add(1, Relaxed);
    }

    /// As many as that one has ended so far.
    pub fn of(&self, cause: Cause) -> u64 {
        self.by_cause[cause as usize].load(Relaxed)
    }

    /// All so far.
    pub fn totals(&self) -> BTreeMap<Cause, u64> {
        Cause::ALL.into_iter().map(|cause| (cause, self.of(cause))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_counts_for_its_cause() {
        let ends = Ends::default();
        Cause::ALL
            .into_iter()
            .for_each(|cause| (0..=cause as usize).for_each(|_| ends.note(cause)));
        for (number, (cause, count)) in ends.totals().into_iter().enumerate() {
            assert_eq!((cause as usize, count), (number, number as u64 + 1), "{cause:?}");
        }
    }
}
