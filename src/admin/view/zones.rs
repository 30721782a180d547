//! The zones: what stands in them, and whether they are as their primaries have them.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::Picture;
use crate::control::SecondaryStatus;
use crate::control::serials::{Serials, Version};
use crate::zone::{Condition, Zone};

/// How many zones are told of where everything is told at once.
const FIRST: usize = 100;

/// A zone.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ZoneView {
    /// Its apex.
    pub origin: String,
    /// Where its records come from.
    pub role: Role,
    /// Whether it is answered from.
    pub state: ZoneState,
    /// Of its SOA record; none: it has no data.
    pub serial: Option<u32>,
    /// The version that its serial number stands for; none of a zone that comes from a primary.
    pub first_served: Option<VersionView>,
    /// The names in it.
    pub names: usize,
    /// Those of them that are decided per client.
    pub steered: usize,
    /// How it is taken from its primary, if it is.
    pub secondary: Option<SecondaryStatus>,
}

/// Where a zone's records come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// From files here.
    Primary,
    /// From another server.
    Secondary,
}

/// A serial number, and the contents that were first served with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionView {
    /// Of the SOA record.
    pub serial: u32,
    /// A digest of the contents, in hex digits.
    pub digest: String,
}

impl From<Version> for VersionView {
    fn from(version: Version) -> VersionView {
        VersionView { serial: version.serial, digest: format!("{:016x}", version.digest) }
    }
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
    /// All zones, in the order of their files.
    pub fn zones(&self) -> Vec<ZoneView> {
        let secondaries = self.secondaries_by_origin();
        self.snapshot.zones.iter().map(|zone| view(zone, &secondaries, &self.serials)).collect()
    }

    /// As many zones as a person may want to look at, those in trouble first, and how many there
    /// are.
    pub fn first_zones(&self) -> (Vec<ZoneView>, usize) {
        let secondaries = self.secondaries_by_origin();
        let mut zones: Vec<(bool, &Zone)> = self
            .snapshot
            .zones
            .iter()
            .map(|zone| {
                let secondary = secondaries.get(&zone.origin().to_string());
                let fails = secondary.is_some_and(|one| one.last_error.is_some());
                (!fails && zone.condition() == Condition::Served, zone)
            })
            .collect();
        let total = zones.len();
        // Stable: they stay in their order otherwise.
        zones.sort_by_key(|(is_well, _)| *is_well);
        let first = zones.into_iter().take(FIRST);
        (first.map(|(_, zone)| view(zone, &secondaries, &self.serials)).collect(), total)
    }

    fn secondaries_by_origin(&self) -> HashMap<String, &SecondaryStatus> {
        self.secondaries.iter().map(|one| (one.origin.clone(), one)).collect()
    }
}

fn view(
    zone: &Zone,
    secondaries: &HashMap<String, &SecondaryStatus>,
    serials: &Serials,
) -> ZoneView {
    let origin = zone.origin().to_string();
    let secondary = secondaries.get(&origin).copied().cloned();
    ZoneView {
        role: if secondary.is_some() { Role::Secondary } else { Role::Primary },
        state: match zone.condition() {
            Condition::Served => ZoneState::Served,
            Condition::Awaited => ZoneState::Awaited,
            Condition::Expired => ZoneState::Expired,
        },
        serial: (zone.condition() == Condition::Served).then(|| zone.serial()),
        first_served: serials.of(zone.origin()).map(VersionView::from),
        names: zone.names(),
        steered: zone.steered().count(),
        secondary,
        origin,
    }
}
