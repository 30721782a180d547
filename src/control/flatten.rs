//! Names that stand for addresses: what they were resolved to, for how long that holds, and which of
//! it is answered. Facts come in; it reads no clock and asks nobody.

mod entry;
mod known;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::Now;
use crate::decide::ResolvedTable;
use crate::dns::Name;
use crate::health::{Check, Probe, Verdict};
use crate::resolve::Answer;
use entry::Entry;
use known::Known;

/// A name whose addresses are answered, and how they are watched.
#[derive(Clone, Debug, PartialEq)]
pub struct FlattenedName {
    /// The name.
    pub name: Name,
    /// How each of its addresses is watched; none: they always count as up.
    pub watch: Option<AddressCheck>,
}

/// How the addresses behind a name are watched.
#[derive(Clone, Debug, PartialEq)]
pub struct AddressCheck {
    /// What they are probed for, for people: `example.com/web/fra`.
    pub title: String,
    /// How.
    pub check: Arc<Check>,
    /// To which port; 0 for ICMP.
    pub port: u16,
}

/// What came of asking for the addresses of a name.
#[derive(Clone, Debug)]
pub struct Resolution {
    /// The name.
    pub name: Name,
    /// Its A records, or why they are not known.
    pub v4: Result<Answer, String>,
    /// Its AAAA records, or why they are not known.
    pub v6: Result<Answer, String>,
    /// When the answers came.
    pub at: Now,
    /// Drawn evenly from 0 to 1: names that came together are asked for again one by one.
    pub random: f64,
}

/// What is known of a name, for people and machines.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NameStatus {
    /// The name.
    pub name: String,
    /// Whether its addresses are known.
    pub state: NameState,
    /// Its addresses, also those that are not answered.
    pub addresses: Vec<String>,
    /// When they were last told by a resolver: seconds since 1970 (UTC).
    pub resolved_at: Option<u64>,
    /// For how long they hold, in seconds.
    pub valid_for: Option<u64>,
    /// Why the latest question failed; none: it did not.
    pub last_error: Option<String>,
    /// Questions that ended, since the start.
    pub questions_total: u64,
    /// Those of them that failed.
    pub failures_total: u64,
}

/// Whether the addresses of a name are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NameState {
    /// They are.
    Fresh,
    /// They are older than their TTL, and no resolver tells newer ones.
    Stale,
    /// It has none.
    Empty,
    /// They are not.
    Unknown,
}

/// The names, and what they were resolved to.
#[derive(Clone, Debug, Default)]
pub struct Flattening {
    /// By `ResolvedId`.
    list: Arc<[FlattenedName]>,
    /// By `ResolvedId`.
    entries: Vec<Entry>,
    /// By the name's key.
    names: HashMap<Box<[u8]>, Known>,
    /// What is being watched; an entry knows which of it is its own.
    probes: Vec<Probe>,
    /// Other addresses may have to be watched.
    may_be_others: bool,
}

impl Flattening {
    /// Of these names from now on. What is known of those that were there before is kept; one that
    /// could not be resolved is asked for at once.
    pub fn replace(&mut self, list: Arc<[FlattenedName]>, now: Now) {
        if Arc::ptr_eq(&self.list, &list) {
            return;
        }
        let mut before: HashMap<Box<[u8]>, Vec<usize>> = HashMap::new();
        for (index, flattened) in self.list.iter().enumerate() {
            before.entry(flattened.name.to_key()).or_default().push(index);
        }
        let mut names = HashMap::with_capacity(self.names.len());
        let mut entries = Vec::with_capacity(list.len());
        for flattened in &*list {
            let key = flattened.name.to_key();
            let same = before.get(&key).into_iter().flatten();
            let same = same.copied().find(|&index| self.list[index].is_watched_as(flattened));
            entries.push(same.map_or_else(Entry::default, |index| self.entries[index].clone()));
            if let Some(mut known) = self.names.remove(&key) {
                known.ask_again(now);
                names.insert(key, known);
            } else {
                names.entry(key).or_insert_with(|| Known::new(flattened.name.clone(), now));
            }
        }
        (self.list, self.entries, self.names) = (list, entries, names);
        self.may_be_others = true;
    }

    /// The names, by `ResolvedId`.
    pub fn list(&self) -> &Arc<[FlattenedName]> {
        &self.list
    }

    /// Up to so many names that it is time to ask for, the one that has waited longest first. Each is
    /// asked for once, until its [`Resolution`] is [taken](Self::take).
    pub fn due(&mut self, most: usize, now: Now) -> Vec<Name> {
        let waiting = self.names.values_mut().filter(|known| known.is_due(now));
        let mut waiting: Vec<&mut Known> = waiting.collect();
        waiting.sort_by_key(|known| known.due_at());
        let asked = waiting.into_iter().take(most);
        asked.map(|known| known.ask()).collect()
    }

    /// When the next name is to be asked for, of those that nobody asks for; none: none is.
    pub fn next_due(&self) -> Option<Duration> {
        self.names.values().filter(|known| !known.is_asked()).map(Known::due_at).min()
    }

    /// Takes in what resolvers said. Returns what is new, for people: the name, and what of it.
    pub fn take(&mut self, resolution: Resolution) -> Option<(Name, String)> {
        let name = resolution.name.clone();
        let news = self.names.get_mut(&name.to_key())?.take(resolution)?;
        self.may_be_others = true;
        Some((name, news))
    }

    /// Nobody waits any more for answers to what was asked so far.
    pub fn give_up(&mut self) {
        self.names.values_mut().for_each(Known::give_up);
    }

    /// Takes over what `other` has learned of the same names since this was made of it.
    pub fn catch_up(&mut self, other: &Flattening) {
        for (key, known) in &mut self.names {
            if let Some(other) = other.names.get(key) {
                known.catch_up(other);
            }
        }
        self.may_be_others = true;
        self.renew_probes();
    }

    /// Lets go of what is older than it may be served, and answers with new addresses where these
    /// have been judged. `verdicts`: on the probes that are watched.
    pub fn refresh(&mut self, verdicts: &[Verdict], now: Now) {
        for known in self.names.values_mut() {
            self.may_be_others |= known.forget(now);
        }
        for (flattened, entry) in self.list.iter().zip(&mut self.entries) {
            let Some(known) = self.names.get(&flattened.name.to_key()) else { continue };
            self.may_be_others |= entry.follow(known, flattened.watch.is_some(), verdicts, now);
        }
    }

    /// What is answered for each name.
    pub fn table(&self, verdicts: &[Verdict], now: Now) -> ResolvedTable {
        let entries = self.list.iter().zip(&self.entries);
        ResolvedTable::new(entries.map(|(flattened, entry)| {
            let known = self.names.get(&flattened.name.to_key())?;
            entry.resolved(known, flattened.watch.is_some(), verdicts, now).map(Arc::new)
        }))
    }

    /// What is being watched.
    pub fn probes(&self) -> &[Probe] {
        &self.probes
    }

    /// Whether other addresses are to be watched than [are](Self::probes); from now on these are the
    /// ones.
    pub fn renew_probes(&mut self) -> bool {
        if !std::mem::take(&mut self.may_be_others) {
            return false;
        }
        let mut probes = Vec::with_capacity(self.probes.len());
        for (flattened, entry) in self.list.iter().zip(&mut self.entries) {
            let Some(watch) = &flattened.watch else { continue };
            let Some(known) = self.names.get(&flattened.name.to_key()) else { continue };
            entry.watch(known, probes.len());
            probes.extend(entry.watched().map(|address| Probe {
                name: format!("{} {address} ({})", watch.title, flattened.name),
                check: Arc::clone(&watch.check),
                address,
                port: watch.port,
            }));
        }
        let is_other = probes != self.probes;
        self.probes = probes;
        is_other
    }

    /// What is known of each name, in the order of the names.
    pub fn statuses(&self, now: Now) -> Vec<NameStatus> {
        let mut statuses: Vec<NameStatus> =
            self.names.values().map(|known| known.status(now)).collect();
        statuses.sort_by(|one, other| one.name.cmp(&other.name));
        statuses
    }
}

impl FlattenedName {
    /// True when the same addresses are watched in the same way.
    pub fn is_watched_as(&self, other: &FlattenedName) -> bool {
        let how = |one: &FlattenedName| {
            one.watch.as_ref().map(|watch| (Arc::clone(&watch.check), watch.port))
        };
        self.name == other.name && how(self) == how(other)
    }
}

#[cfg(test)]
mod tests;
