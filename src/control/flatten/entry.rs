//! Which addresses of a name are answered: new ones not before they have been judged.

use std::net::IpAddr;
use std::time::Duration;

use super::known::Known;
use crate::control::Now;
use crate::decide::{Found, Resolved, Validity};
use crate::health::Verdict;

/// Nobody waits longer than this for the verdicts on new addresses: those without count as down.
const MOST_WAIT: Duration = Duration::from_secs(10);

/// What is answered for a name that is watched in one way.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    /// None: nothing was ever known.
    served: Option<Vec<IpAddr>>,
    /// Since when other addresses wait for their verdicts.
    waits: Option<Duration>,
    /// The probes of the addresses, those that are served and those that wait.
    watched: Vec<(IpAddr, usize)>,
}

impl Entry {
    /// Serves the addresses that are known once there is a verdict on each; true when these are others.
    pub(super) fn follow(
        &mut self,
        known: &Known,
        is_watched: bool,
        verdicts: &[Verdict],
        now: Now,
    ) -> bool {
        let addresses = known.addresses();
        let known = known.is_known().then_some(addresses);
        if self.served == known {
            self.waits = None;
            return false;
        }
        let judged = |address: &IpAddr| self.verdict(*address, verdicts) != Verdict::Unknown;
        let all_judged = !is_watched || known.iter().flatten().all(judged);
        let since = *self.waits.get_or_insert(now.elapsed);
        let is_over = all_judged || since + MOST_WAIT <= now.elapsed;
        if is_over {
            (self.served, self.waits) = (known, None);
        }
        is_over
    }

    /// Watches what is served and what waits; the first of them is the probe of that number.
    pub(super) fn watch(&mut self, known: &Known, first: usize) {
        let mut addresses = self.served.clone().unwrap_or_default();
        addresses.extend(known.addresses());
        addresses.sort_unstable();
        addresses.dedup();
        self.watched = addresses.into_iter().zip(first..).collect();
    }

    /// The addresses that are watched, in the order of their probes.
    pub(super) fn watched(&self) -> impl Iterator<Item = IpAddr> {
        self.watched.iter().map(|(address, _)| *address)
    }

    /// What is answered; none: nothing is known.
    pub(super) fn resolved(
        &self,
        known: &Known,
        is_watched: bool,
        verdicts: &[Verdict],
        now: Now,
    ) -> Option<Resolved> {
        let served = self.served.as_ref()?;
        let is_up = |address: IpAddr| !is_watched || self.verdict(address, verdicts) == Verdict::Up;
        let v4 = served.iter().filter_map(|address| match address {
            IpAddr::V4(v4) => Some((*v4, is_up(*address))),
            IpAddr::V6(_) => None,
        });
        let v6 = served.iter().filter_map(|address| match address {
            IpAddr::V6(v6) => Some((*v6, is_up(*address))),
            IpAddr::V4(_) => None,
        });
        let (validity_v4, validity_v6) = known.validity(now);
        Some(Resolved {
            v4: found(v4.collect(), validity_v4),
            v6: found(v6.collect(), validity_v6),
            at: known.told_at().unwrap_or_default(),
        })
    }

    fn verdict(&self, address: IpAddr, verdicts: &[Verdict]) -> Verdict {
        let probe = self.watched.iter().find(|(watched, _)| *watched == address);
        probe.and_then(|(_, probe)| verdicts.get(*probe).copied()).unwrap_or_default()
    }
}

/// Nothing is kept for no time.
fn found<A>(addresses: Box<[(A, bool)]>, validity: Validity) -> Found<A> {
    let validity = if addresses.is_empty() { Validity::UNBOUNDED } else { validity };
    Found { addresses, validity }
}
