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
    /// The socket by which another process can take over.
    pub socket: ControlSocket,
    /// The forwarder.
    pub l4: l4::Settings,
    /// Zones, steering, the map, probes and reports.
    pub control: control::Settings,
}

/// Where another process asks to take over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlSocket {
    /// Its path.
    pub path: PathBuf,
    /// True where the configuration names it: without it the server does not start.
    pub is_wanted: bool,
}
