//! What control knows, arranged for whoever looks: zones, datacenters, pools and their members.

pub mod datacenters;
pub mod names;
pub mod plan;
pub mod pools;
pub mod services;
pub mod status;
pub mod zones;

use std::sync::Arc;

use crate::control::serials::Serials;
use crate::control::{
    Control, NameStatus, Override, PlanStatus, ReportStatus, SecondaryStatus, Settings, Target,
};
use crate::decide::{Member, Pool};
use crate::health::ProbeStatus;
use crate::snapshot::Snapshot;

/// What control knows at one moment.
#[derive(Clone, Debug)]
pub struct Picture {
    /// What is answered from.
    pub snapshot: Arc<Snapshot>,
    /// What the files say.
    pub settings: Arc<Settings>,
    /// By `ProbeId`.
    pub probes: Vec<ProbeStatus>,
    /// By `DatacenterId`.
    pub reports: Vec<ReportStatus>,
    /// Those in force.
    pub overrides: Vec<Override>,
    /// The serial numbers of the zones.
    pub serials: Arc<Serials>,
    /// The names that stand for addresses, in their order.
    pub names: Vec<NameStatus>,
    /// The zones that are taken from a primary.
    pub secondaries: Vec<SecondaryStatus>,
    /// The plan by which clients are allotted to datacenters.
    pub plan: PlanStatus,
}

impl Picture {
    /// What `control` knows now.
    pub fn of(control: &Control) -> Picture {
        Picture {
            snapshot: control.snapshot(),
            settings: control.settings(),
            probes: control.probe_statuses(),
            reports: control.report_statuses(),
            overrides: control.overrides(),
            serials: control.load_status().serials,
            names: control.name_statuses(),
            secondaries: control.secondary_statuses(),
            plan: control.plan(),
        }
    }

    /// The override of exactly this target.
    fn override_of(&self, target: &Target) -> Option<&Override> {
        self.overrides.iter().find(|over| over.target == *target)
    }

    fn member_target(&self, pool: &Pool, member: &Member) -> Target {
        let facts = self.snapshot.facts();
        Target::of_member(pool, &facts.datacenter(member.datacenter).name)
    }
}
