//! What control tells of itself: the state of the files, and what happens.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use super::serials::Serials;

/// The state of the files.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LoadStatus {
    /// The generation of the snapshot being served.
    pub generation: u64,
    /// When the files were last read without an error: seconds since 1970 (UTC).
    pub loaded_at: u64,
    /// How often they have been read without an error.
    pub loads_total: u64,
    /// How often they have been refused.
    pub failures_total: u64,
    /// What is wrong with the files as they are now; what was good before is served on.
    pub last_error: Option<String>,
    /// What is doubtful in the files being served.
    pub warnings: Vec<String>,
    /// The files and directories that were read.
    pub files: Vec<PathBuf>,
    /// The serial numbers of the zones; told with each zone.
    #[serde(skip)]
    pub serials: Arc<Serials>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// When: seconds since 1970 (UTC).
    pub time: u64,
    /// Of what kind.
    pub kind: EventKind,
    /// To what: a probe, a datacenter, a target of overrides.
    pub subject: String,
    /// What, for people.
    pub text: String,
}

/// The kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A probe's verdict changed.
    Health,
    /// A name has other addresses, cannot be resolved, or can be again.
    Resolution,
    /// A datacenter's room changed.
    Room,
    /// An override was set, cleared, or expired.
    Override,
    /// The allocation: a datacenter was lost, there is too much demand, or a plan is not believed.
    Plan,
    /// The files were read.
    Load,
    /// A zone came from its primary, or was given up.
    Transfer,
    /// The files were read, and cannot be served.
    LoadRefused,
}

/// Seconds since 1970 (UTC).
pub fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
