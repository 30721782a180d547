//! The zones: what stands in them, and whether they are fresh.

use serde::Serialize;

use super::Picture;
use crate::zone::{Condition, Zone};

/// How many zones are told of where everything is told at once.
const FIRST: usize = 100;

/// A zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ZoneView {
    /// Its apex.
    pub origin: String,
    /// Whether it is answered from.
    pub state: ZoneState,
    /// Of its SOA record; none: it has no data.
    pub serial: Option<u32>,
    /// The names in it.
    pub names: usize,
    /// Those of them that are decided per client.
    pub steered: usize,
}

/// Whether a zone is answered from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ZoneState {
    /// It is.
    Served,
    /// It fails: its primary has not sent it yet.
    Awaited,
    /// It fails: its primary has not been heard of for longer than its SOA record allows.
    Expired,
}

impl Picture {
    /// All zones, by their origins.
    pub fn zones(&self) -> Vec<ZoneView> {
        self.snapshot.zones.iter().map(view).collect()
    }

    /// As many zones as a person may want to look at, and how many there are.
    pub fn first_zones(&self) -> (Vec<ZoneView>, usize) {
        let zones = || self.snapshot.zones.iter();
        (zones().take(FIRST).map(view).collect(), zones().count())
    }
}

fn view(zone: &Zone) -> ZoneView {
    ZoneView {
        origin: zone.origin().to_string(),
        state: match zone.condition() {
            Condition::Served => ZoneState::Served,
            Condition::Awaited => ZoneState::Awaited,
            Condition::Expired => ZoneState::Expired,
        },
        serial: (zone.condition() == Condition::Served).then(|| zone.serial()),
        names: zone.names(),
        steered: zone.steered().count(),
    }
}
