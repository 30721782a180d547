//! The zones: what stands in them, and whether they are fresh.

use serde::Serialize;

use super::Picture;
use crate::zone::Zone;

/// How many zones are told of where everything is told at once.
const FIRST: usize = 100;

/// A zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ZoneView {
    /// Its apex.
    pub origin: String,
    /// Of its SOA record.
    pub serial: u32,
    /// The names in it.
    pub names: usize,
    /// Those of them that are decided per client.
    pub steered: usize,
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
        serial: zone.serial(),
        names: zone.names(),
        steered: zone.steered().count(),
    }
}
