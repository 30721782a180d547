//! What control is told by the configuration.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::flatten::FlattenedName;
use super::{ReportSource, SecondarySettings};
use crate::decide::{Latencies, Steering};
use crate::geo::World;
use crate::health;
use crate::snapshot::Identity;
use crate::transfer::announcers::Announcers;
use crate::transfer::{Keys, Transfers};
use crate::zone::Zones;

/// What control is told by the configuration. A reload makes a new one; parts that did not change
/// may be shared with the old one.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The zones.
    pub zones: Arc<Zones>,
    /// What the server says of itself.
    pub identity: Arc<Identity>,
    /// The keys that are shared with other servers.
    pub keys: Arc<Keys>,
    /// The zones that are taken from primaries; shared, as there may be many of them.
    pub secondaries: Arc<[SecondarySettings]>,
    /// Who may announce new versions of these.
    pub announcers: Arc<Announcers>,
    /// Who may take the zones, and who is told of changes.
    pub transfers: Arc<Transfers>,
    /// Datacenters, pools and policies.
    pub steering: Arc<Steering>,
    /// The map.
    pub world: Arc<World>,
    /// What is watched, by [`ProbeId`](crate::decide::ProbeId).
    pub probes: Vec<health::Probe>,
    /// The names whose addresses are answered, by [`ResolvedId`](crate::decide::ResolvedId).
    pub flattened: Arc<[FlattenedName]>,
    /// Who is asked for them.
    pub resolvers: Vec<SocketAddr>,
    /// Where the datacenters' reports come from, by [`DatacenterId`](crate::decide::DatacenterId).
    pub reports: Vec<Option<ReportSettings>>,
    /// The capacity from the files, by [`DatacenterId`](crate::decide::DatacenterId).
    pub capacity: Vec<Option<f64>>,
    /// What capacity and load are counted in, by [`DatacenterId`](crate::decide::DatacenterId).
    pub units: Vec<Option<String>>,
    /// How clients are allotted to datacenters by capacity.
    pub allocation: AllocationSettings,
    /// The measured latencies; where there is none, the distance tells.
    pub latencies: Arc<Latencies>,
}

/// How clients are allotted to datacenters by capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllocationSettings {
    /// From one solution to the next, when nothing urgent happens.
    pub interval: Duration,
    /// How long it takes to empty a datacenter that is drained.
    pub drain: Duration,
    /// How long it takes until a datacenter that comes back gets all that it can take.
    pub slow_start: Duration,
}

impl Default for AllocationSettings {
    fn default() -> AllocationSettings {
        AllocationSettings {
            interval: Duration::from_secs(5),
            drain: Duration::from_secs(30),
            slow_start: Duration::from_secs(300),
        }
    }
}

/// How a datacenter reports.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportSettings {
    /// Where it is polled; none: it pushes.
    pub source: Option<ReportSource>,
    /// A report older than this counts as none.
    pub stale_after: Duration,
}
