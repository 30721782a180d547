//! Health checks, of pool members and L4 backends alike: the rise/fall machine, which is pure, and
//! one file a probe.

pub mod advice;
pub mod agent;
pub mod certificate;
pub mod check;
mod checksum;
pub mod dns;
pub mod exec;
pub mod grpc;
pub mod half_open;
pub mod http;
pub mod icmp;
pub mod machine;
pub mod pattern;
pub mod result;
pub mod tcp;
pub mod tls;
pub mod trust;
pub mod watch;

pub use advice::{Administrative, Advice};
pub use check::{
    AgentCheck, Check, DnsAnswer, DnsCheck, ExecCheck, GrpcCheck, HttpCheck, Kind, TlsCheck,
};
pub use machine::{Machine, Verdict};
pub use pattern::Pattern;
pub use result::ProbeResult;
pub use watch::{ProbeStatus, Verdicts, Watch};

use std::net::IpAddr;
use std::sync::Arc;

/// One thing that is watched.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// What it is probed for, for people: `example.com/web/fra 203.0.113.10`.
    pub name: String,
    /// How.
    pub check: Arc<Check>,
    /// Where the probe is sent; it may differ from the address that is answered.
    pub address: IpAddr,
    /// To which port; 0 for ICMP.
    pub port: u16,
}

#[cfg(test)]
mod tests;
