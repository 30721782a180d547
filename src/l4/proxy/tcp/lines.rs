//! Where connections wait for a place on a backend, in the order in which they came.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::mailbox::Mailbox;
use super::slab::Key;
use crate::l4::service::Service;

/// The lines of all services at which somebody waits.
#[derive(Debug, Default)]
pub struct Lines {
    /// Read whenever a connection ends, which is seldom while somebody waits.
    waiting: AtomicUsize,
    /// By the address of the service, which those who wait there hold.
    lines: Mutex<HashMap<usize, VecDeque<Ticket>>>,
}

/// A connection that waits.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// Its worker's.
    pub mailbox: Arc<Mailbox>,
    /// Its own.
    pub key: Key,
    /// The backends that did not take it. A place on one of them is none for it.
    pub tried: Vec<SocketAddr>,
}

/// As many wait as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineIsFull;

impl Lines {
    /// True when somebody waits for a place of that service.
    pub fn has_some(&self, service: &Arc<Service>) -> bool {
        self.waiting.load(Ordering::Acquire) > 0 && self.lines().contains_key(&id(service))
    }

    /// Joins the line, unless so many wait there already. True where a place may be free for it: for
    /// the first, and behind one for which not every place is one.
    pub fn join(
        &self,
        service: &Arc<Service>,
        most: u64,
        ticket: Ticket,
    ) -> Result<bool, LineIsFull> {
        if most == 0 {
            return Err(LineIsFull);
        }
        let mut lines = self.lines();
        let line = lines.entry(id(service)).or_default();
        if line.len() as u64 >= most {
            return Err(LineIsFull);
        }
        let may_have_place = line.front().is_none_or(|first| !first.tried.is_empty());
        line.push_back(ticket);
        self.waiting.fetch_add(1, Ordering::AcqRel);
        service.waiting.fetch_add(1, Ordering::Relaxed);
        Ok(may_have_place)
    }

    /// Leaves the line, with a place or without.
    pub fn leave(&self, service: &Arc<Service>, ticket: &Ticket) {
        let mut lines = self.lines();
        let Some(line) = lines.get_mut(&id(service)) else { return };
        // Nearly always the first.
        if let Some(position) = line.iter().position(|other| other.is(ticket)) {
            line.remove(position);
            self.waiting.fetch_sub(1, Ordering::AcqRel);
            service.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        if line.is_empty() {
            lines.remove(&id(service));
        }
    }

    /// Who gets the next place.
    pub fn first(&self, service: &Arc<Service>) -> Option<Ticket> {
        if self.waiting.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.lines().get(&id(service))?.front().cloned()
    }

    /// Who gets a place that is none for that one: the first behind it that has not tried all that it
    /// has.
    pub fn next(&self, service: &Arc<Service>, passed: &Ticket) -> Option<Ticket> {
        if passed.tried.is_empty() {
            return None;
        }
        let lines = self.lines();
        let mut behind = lines.get(&id(service))?.iter().skip_while(|ticket| !ticket.is(passed));
        behind.next()?;
        let has_tried = |ticket: &Ticket| passed.tried.iter().all(|one| ticket.tried.contains(one));
        behind.find(|ticket| !has_tried(ticket)).cloned()
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<usize, VecDeque<Ticket>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// True for the same connection's.
    pub fn is(&self, other: &Ticket) -> bool {
        self.key == other.key && Arc::ptr_eq(&self.mailbox, &other.mailbox)
    }
}

fn id(service: &Arc<Service>) -> usize {
    Arc::as_ptr(service) as usize
}
