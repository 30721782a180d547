//! What a choice reads, replaced whole: a service's settings, its backends in tiers, and what is
//! prepared for its balance.

use std::cell::Cell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::backend::Backend;
use super::balance::{self, Chooser};
use super::flow::Flow;
use super::service::NoBackend;
use super::settings::{BackendSettings, ServiceSettings, WhenAllDown};

/// What a reload, or a change of what is known of a backend, replaces.
#[derive(Debug)]
pub struct Table {
    /// As configured.
    pub settings: Arc<ServiceSettings>,
    /// In the order of the settings.
    pub backends: Arc<[Arc<Backend>]>,
    places: Arc<Places>,
    tiers: Tiers,
    /// Among the first tier.
    chooser: Arc<Chooser>,
    /// Which backends were said to be up.
    pub up: Box<[bool]>,
}

/// Where in the list a backend is: every flow that ends asks it.
#[derive(Debug, Default)]
struct Places {
    by_address: HashMap<SocketAddr, u32, RandomState>,
    /// By what QUIC connection ids call it, which strangers choose.
    by_server_id: HashMap<Box<[u8]>, u32>,
}

/// The weights of backends, in the order of the settings; 0 for one that a tier has not.
#[derive(Debug, PartialEq)]
struct Tiers {
    /// Those that take flows.
    first: Box<[u32]>,
    /// Those that take what none of the first can: the backups, if they are not the first.
    second: Box<[u32]>,
    /// Those that are tried when all else has failed.
    last: Box<[u32]>,
}

/// In which tiers a backend is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tier {
    /// Of those that take flows.
    pub first: bool,
    /// Of those that take what none of the first can.
    pub second: bool,
    /// Of those that are tried when all else has failed.
    pub last: bool,
}

impl Table {
    /// What can be taken from an old one is.
    pub fn new(
        settings: Arc<ServiceSettings>,
        backends: Arc<[Arc<Backend>]>,
        old: Option<&Table>,
    ) -> Table {
        let tiers = Tiers::of(&settings, &backends);
        let same = old.filter(|old| Arc::ptr_eq(&old.settings, &settings));
        let places = same.map(|old| Arc::clone(&old.places));
        let places = places.unwrap_or_else(|| Arc::new(Places::of(&settings)));
        let addresses: Box<[_]> = backends.iter().map(|backend| backend.address).collect();
        let same = old.map(|old| &old.chooser).filter(|chooser| {
            // A large table is not made again for other things' sake.
            chooser.is_for(settings.balance, &addresses, &tiers.first)
        });
        let chooser = same
            .cloned()
            .unwrap_or_else(|| Arc::new(Chooser::new(settings.balance, &addresses, &tiers.first)));
        let up = backends.iter().map(|backend| backend.is_said_up()).collect();
        Table { settings, backends, places, tiers, chooser, up }
    }

    /// False when backends are now eligible that were not, or the other way round, or weigh more or
    /// less.
    pub fn is_current(&self) -> bool {
        self.backends.iter().zip(&self.up).all(|(backend, up)| backend.is_said_up() == *up)
            && Tiers::of(&self.settings, &self.backends) == self.tiers
    }

    /// The backend at that address.
    pub fn at(&self, address: SocketAddr) -> Option<&Arc<Backend>> {
        self.backends.get(*self.places.by_address.get(&address)? as usize)
    }

    /// The backend that QUIC connection ids call so.
    pub fn called(&self, server_id: &[u8]) -> Option<&Arc<Backend>> {
        self.backends.get(*self.places.by_server_id.get(server_id)? as usize)
    }

    /// What QUIC connection ids call the backend at that address.
    pub fn server_id(&self, address: SocketAddr) -> Option<&[u8]> {
        let index = *self.places.by_address.get(&address)?;
        self.settings.backends.get(index as usize)?.server_id.as_deref()
    }

    /// A backend for a flow, but not one of those tried.
    pub fn choose(&self, flow: &Flow, turn: u64, tried: &[SocketAddr]) -> Result<usize, NoBackend> {
        let is_any_full = Cell::new(false);
        let flows = |index: usize| {
            let backend = &self.backends[index];
            if tried.contains(&backend.address) {
                return None;
            }
            let flows = backend.connections();
            let is_full = self.limit(index).is_some_and(|most| flows >= most);
            is_any_full.set(is_any_full.get() || is_full);
            (!is_full).then_some(flows)
        };
        let next = |tier: &[u32]| balance::ring(tier, turn).find(|&index| flows(index).is_some());
        let chosen = self.chooser.choose(flow, turn, flows).or_else(|| next(&self.tiers.second));
        if let Some(index) = chosen {
            return Ok(index);
        }
        if is_any_full.get() {
            // Rather wait for one that is up than try one that is not.
            return Err(NoBackend::Full);
        }
        let last = next(&self.tiers.last);
        let none = if is_any_full.get() { NoBackend::Full } else { NoBackend::NoneUp };
        last.ok_or(none)
    }

    /// In which tiers a backend is.
    pub fn tier(&self, index: usize) -> Tier {
        let is_in = |tier: &[u32]| tier.get(index).is_some_and(|weight| *weight > 0);
        let Tiers { first, second, last } = &self.tiers;
        Tier { first: is_in(first), second: is_in(second), last: is_in(last) }
    }

    /// The flows that a backend may have at a time.
    pub fn limit(&self, index: usize) -> Option<u64> {
        self.backends[index].limit(self.settings.backends[index].max_connections)
    }
}

impl Places {
    fn of(settings: &ServiceSettings) -> Places {
        let mut places = Places::default();
        for (index, backend) in (0u32..).zip(&settings.backends) {
            places.by_address.insert(backend.address, index);
            if let Some(id) = &backend.server_id {
                places.by_server_id.insert(id.clone(), index);
            }
        }
        places
    }
}

impl Tiers {
    fn of(settings: &ServiceSettings, backends: &[Arc<Backend>]) -> Tiers {
        let weights = |of: &dyn Fn(&BackendSettings, &Backend) -> bool| -> Box<[u32]> {
            let pairs = settings.backends.iter().zip(backends);
            pairs.map(|(set, one)| if of(set, one) { one.paced(set.weight) } else { 0 }).collect()
        };
        let is_some = |tier: &[u32]| tier.iter().any(|weight| *weight > 0);
        let none = || weights(&|_, _| false);
        let in_two = |is_eligible: fn(&Backend) -> bool| {
            let main = weights(&|set, backend| !set.backup && is_eligible(backend));
            let backups = weights(&|set, backend| set.backup && is_eligible(backend));
            if is_some(&main) { (main, backups) } else { (backups, none()) }
        };
        let (first, second) = in_two(Backend::is_healthy);
        match settings.when_all_down {
            WhenAllDown::TryAll if is_some(&first) => {
                Tiers { first, second, last: weights(&|_, backend| backend.is_in()) }
            }
            // As if all were up: a wrong check changes no more than it must.
            WhenAllDown::TryAll => {
                let (first, second) = in_two(Backend::is_in);
                Tiers { first, second, last: none() }
            }
            WhenAllDown::Refuse => Tiers { first, second, last: none() },
        }
    }
}
