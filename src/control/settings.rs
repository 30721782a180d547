//! What control is told by the configuration.

use std::sync::Arc;
use std::time::Duration;

use super::ReportSource;
use crate::decide::Steering;
use crate::geo::World;
use crate::health;
use crate::zone::Zones;

/// What control is told by the configuration. A reload makes a new one; parts that did not change
/// may be shared with the old one.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The zones.
    pub zones: Arc<Zones>,
    /// Datacenters, pools and policies.
    pub steering: Arc<Steering>,
    /// The map.
    pub world: Arc<World>,
    /// What is watched, by [`ProbeId`](crate::decide::ProbeId).
    pub probes: Vec<health::Probe>,
    /// Where the datacenters' reports come from, by [`DatacenterId`](crate::decide::DatacenterId).
    pub reports: Vec<Option<ReportSettings>>,
    /// The capacity from the files, by [`DatacenterId`](crate::decide::DatacenterId).
    pub capacity: Vec<Option<f64>>,
    /// What capacity and load are counted in, by [`DatacenterId`](crate::decide::DatacenterId).
    pub units: Vec<Option<String>>,
}

/// How a datacenter reports.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportSettings {
    /// Where it is polled; none: it pushes.
    pub source: Option<ReportSource>,
    /// A report older than this counts as none.
    pub stale_after: Duration,
}
