//! What the datacenters report of their capacity and load.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// What a site says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The most it can take, in `unit`.
    pub capacity: f64,
    /// What it is offered now, in `unit`.
    pub load: f64,
    /// What both are counted in: `requests/s`, `connections`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// When it was measured, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
}

/// Where a datacenter's report is polled.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportSource {
    /// `http` or `https`.
    pub url: String,
    /// From poll to poll.
    pub interval: Duration,
}

/// What is known of one datacenter's capacity, for people and machines.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReportStatus {
    /// The datacenter.
    pub datacenter: String,
    /// The latest report, live or stale.
    pub report: Option<Report>,
    /// When it arrived, in seconds ago.
    pub age_seconds: Option<f64>,
    /// True when it is too old to count.
    pub stale: bool,
    /// Why the latest poll failed, if it did.
    pub error: Option<String>,
    /// When it arrived.
    #[serde(skip)]
    pub received: Option<SystemTime>,
}
