//! What the files compile to: each floor's own settings.

use std::path::PathBuf;

use crate::{admin, control, l4, transport};

/// Everything a server is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The DNS sockets; none: no DNS.
    pub dns: Option<transport::Settings>,
    /// The admin page and API; none: neither.
    pub admin: Option<admin::Settings>,
    /// The file in which the operator's overrides are kept.
    pub overrides: PathBuf,
    /// The forwarder.
    pub l4: l4::Settings,
    /// Zones, steering, the map, probes and reports.
    pub control: control::Settings,
}
