//! The names that stand for addresses, and whether these are known.

use serde::Serialize;

use super::Picture;
use crate::control::{NameState, NameStatus};

/// How many names are told of where everything is told at once.
const FIRST: usize = 100;

/// The names that stand for addresses.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct NamesView {
    /// Those whose addresses are known.
    pub fresh: usize,
    /// Those whose addresses are older than their TTL, and are answered still.
    pub stale: usize,
    /// Those that have no addresses.
    pub empty: usize,
    /// Those whose addresses are not known.
    pub unknown: usize,
    /// Questions to resolvers that ended.
    pub questions_total: u64,
    /// Those of them that failed.
    pub failures_total: u64,
    /// The names, or a hundred of them, those in trouble first: `GET names` tells of all.
    pub first: Vec<NameStatus>,
}

impl NamesView {
    /// How many names there are.
    pub fn total(&self) -> usize {
        self.fresh + self.stale + self.empty + self.unknown
    }
}

impl Picture {
    /// The names, in sum and the first of them.
    pub fn first_names(&self) -> NamesView {
        let count = |state| self.names.iter().filter(|name| name.state == state).count();
        let sum = |of: fn(&NameStatus) -> u64| self.names.iter().map(of).sum();
        let mut first = self.names.clone();
        // Stable: they stay in their order otherwise.
        first.sort_by_key(|name| name.state == NameState::Fresh);
        first.truncate(FIRST);
        NamesView {
            fresh: count(NameState::Fresh),
            stale: count(NameState::Stale),
            empty: count(NameState::Empty),
            unknown: count(NameState::Unknown),
            questions_total: sum(|name| name.questions_total),
            failures_total: sum(|name| name.failures_total),
            first,
        }
    }
}
