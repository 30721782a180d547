//! What is counted: how each message ended, and what else was seen of it.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Outcome, Transport};

/// How a received message ended: each ends in exactly one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Answered with records.
    Positive,
    /// Answered: the name exists, the type does not.
    NoData,
    /// Answered: the name does not exist.
    NxDomain,
    /// Answered with the name servers of a zone below.
    Referral,
    /// Answered YXDOMAIN: a DNAME record makes the name too long.
    YxDomain,
    /// Answered with a zone, or with what changed in it.
    Transferred,
    /// Answered REFUSED: not our zone, not our class, or a zone transfer that is not granted.
    Refused,
    /// Answered FORMERR: malformed.
    FormErr,
    /// Answered NOTIMP: an opcode or query type that we do not serve.
    NotImp,
    /// Answered BADVERS: an EDNS version that we do not speak.
    BadVers,
    /// Answered NOERROR: a primary's announcement of a new version of a zone.
    Announced,
    /// Answered SERVFAIL: a zone of a primary's that is not there yet, or has expired; names that
    /// could not be resolved; or more zone transfers at a time than we begin.
    ServFail,
    /// Answered NOTAUTH: signed with a key that we do not have, wrongly, or at another time.
    NotAuth,
    /// Dropped: too short to be a message.
    DroppedRunt,
    /// Dropped: itself a response.
    DroppedResponse,
    /// Dropped: from port 0 or from ourselves, so that an answer would not reach who sent it.
    DroppedSource,
}

impl Verdict {
    /// All of them, in the order of their numbers.
    pub const ALL: [Verdict; 16] = [
        Verdict::Positive,
        Verdict::NoData,
        Verdict::NxDomain,
        Verdict::Referral,
        Verdict::YxDomain,
        Verdict::Transferred,
        Verdict::Refused,
        Verdict::FormErr,
        Verdict::NotImp,
        Verdict::BadVers,
        Verdict::Announced,
        Verdict::ServFail,
        Verdict::NotAuth,
        Verdict::DroppedRunt,
        Verdict::DroppedResponse,
        Verdict::DroppedSource,
    ];

    /// Its name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Verdict::Positive => "positive",
            Verdict::NoData => "nodata",
            Verdict::NxDomain => "nxdomain",
            Verdict::Referral => "referral",
            Verdict::YxDomain => "yxdomain",
            Verdict::Transferred => "transferred",
            Verdict::Refused => "refused",
            Verdict::FormErr => "formerr",
            Verdict::NotImp => "notimp",
            Verdict::BadVers => "badvers",
            Verdict::Announced => "announced",
            Verdict::ServFail => "servfail",
            Verdict::NotAuth => "notauth",
            Verdict::DroppedRunt => "dropped_runt",
            Verdict::DroppedResponse => "dropped_response",
            Verdict::DroppedSource => "dropped_source",
        }
    }
}

/// What else is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message came over UDP.
    ReceivedUdp,
    /// A message came over TCP.
    ReceivedTcp,
    /// A query had an OPT record.
    Edns,
    /// A query had a client subnet.
    ClientSubnet,
    /// A response was truncated.
    Truncated,
    /// A response carries records that were decided for its client.
    Steered,
    /// A response could not be handed to the network.
    SendFailed,
    /// A TCP connection was accepted.
    TcpAccepted,
    /// An idle TCP connection was closed to make room for a new one.
    TcpEvicted,
    /// A TCP connection was closed as it was idle, or too slow, for too long.
    TcpTimedOut,
}

impl Event {
    /// All of them, in the order of their numbers.
    pub const ALL: [Event; 10] = [
        Event::ReceivedUdp,
        Event::ReceivedTcp,
        Event::Edns,
        Event::ClientSubnet,
        Event::Truncated,
        Event::Steered,
        Event::SendFailed,
        Event::TcpAccepted,
        Event::TcpEvicted,
        Event::TcpTimedOut,
    ];

    /// Its name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Event::ReceivedUdp => "received_udp",
            Event::ReceivedTcp => "received_tcp",
            Event::Edns => "edns",
            Event::ClientSubnet => "client_subnet",
            Event::Truncated => "truncated",
            Event::Steered => "steered",
            Event::SendFailed => "send_failed",
            Event::TcpAccepted => "tcp_accepted",
            Event::TcpEvicted => "tcp_evicted",
            Event::TcpTimedOut => "tcp_timed_out",
        }
    }
}

/// The counters of one worker, alone on their cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    verdicts: [AtomicU64; Verdict::ALL.len()],
    events: [AtomicU64; Event::ALL.len()],
}

impl Counters {
    /// Counts a message. Only one thread may ever call this on the same counters; others may read
    /// them at any time.
    #[inline]
    pub fn record(&self, transport: Transport, outcome: &Outcome) {
        visit(transport, outcome, self, |cell| {
            cell.store(cell.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        });
    }

    /// Counts a message, on counters that several threads write.
    pub fn record_shared(&self, transport: Transport, outcome: &Outcome) {
        visit(transport, outcome, self, |cell| {
            cell.fetch_add(1, Ordering::Relaxed);
        });
    }

    /// Counts events, on counters that several threads may write.
    pub fn add(&self, event: Event, count: u64) {
        self.events[event as usize].fetch_add(count, Ordering::Relaxed);
    }
}

#[inline]
fn visit(
    transport: Transport,
    outcome: &Outcome,
    counters: &Counters,
    increment: impl Fn(&AtomicU64),
) {
    let event = |event: Event| increment(&counters.events[event as usize]);
    increment(&counters.verdicts[outcome.verdict as usize]);
    event(match transport {
        Transport::Udp => Event::ReceivedUdp,
        Transport::Tcp => Event::ReceivedTcp,
    });
    if outcome.has_edns {
        event(Event::Edns);
    }
    if outcome.has_subnet {
        event(Event::ClientSubnet);
    }
    if outcome.is_truncated {
        event(Event::Truncated);
    }
    if outcome.is_steered {
        event(Event::Steered);
    }
}

/// The sums of all workers' counters, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    verdicts: [u64; Verdict::ALL.len()],
    events: [u64; Event::ALL.len()],
}

impl Totals {
    /// Adds the counters up.
    pub fn of<'a>(workers: impl IntoIterator<Item = &'a Counters>) -> Totals {
        let mut totals = Totals::default();
        for counters in workers {
            for (total, cell) in totals.verdicts.iter_mut().zip(&counters.verdicts) {
                *total += cell.load(Ordering::Relaxed);
            }
            for (total, cell) in totals.events.iter_mut().zip(&counters.events) {
                *total += cell.load(Ordering::Relaxed);
            }
        }
        totals
    }

    /// How many messages ended so.
    pub fn verdict(&self, verdict: Verdict) -> u64 {
        self.verdicts[verdict as usize]
    }

    /// How often this was seen.
    pub fn event(&self, event: Event) -> u64 {
        self.events[event as usize]
    }

    /// How many messages were received: the sum of all verdicts.
    pub fn received(&self) -> u64 {
        self.verdicts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_stand_in_the_order_of_the_numbers() {
        assert!(Verdict::ALL.iter().enumerate().all(|(index, verdict)| *verdict as usize == index));
        assert!(Event::ALL.iter().enumerate().all(|(index, event)| *event as usize == index));
    }

    #[test]
    fn totals_add_the_workers_up() {
        let (one, two) = (Counters::default(), Counters::default());
        let mut outcome = Outcome::dropped(Verdict::DroppedRunt);
        one.record(Transport::Udp, &outcome);
        two.record_shared(Transport::Tcp, &outcome);
        outcome.verdict = Verdict::Positive;
        outcome.is_steered = true;
        two.record(Transport::Udp, &outcome);
        let totals = Totals::of([&one, &two]);
        assert_eq!(totals.verdict(Verdict::DroppedRunt), 2);
        assert_eq!(totals.verdict(Verdict::Positive), 1);
        assert_eq!(totals.event(Event::ReceivedUdp), 2);
        assert_eq!(totals.event(Event::ReceivedTcp), 1);
        assert_eq!(totals.event(Event::Steered), 1);
        assert_eq!(totals.received(), 3);
    }
}
