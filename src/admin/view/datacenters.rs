//! The datacenters: whether clients are sent there, and what room they have.

use serde::Serialize;

use super::Picture;
use crate::control::{Override, Target};
use crate::decide::plan::PassedOver;
use crate::decide::{Datacenter, DatacenterId, Room, Standing};
use crate::geo::Location;

/// A datacenter.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DatacenterView {
    /// The operator's name for it.
    pub name: String,
    /// What an override of it names.
    pub target: String,
    /// Where it stands.
    pub location: Location,
    /// Attraction in percent.
    pub bias: i8,
    /// Whether its members may be answered.
    pub state: DatacenterState,
    /// Its parts in pools.
    pub members: usize,
    /// Those of them that may be answered.
    pub members_fit: usize,
    /// Whether there is room for more clients.
    pub room: Room,
    /// The most it can take: from a live report, else from the file.
    pub capacity: Option<f64>,
    /// What it is offered now, from a live report.
    pub load: Option<f64>,
    /// What it rejects of that, from a live report that says so.
    pub rejected: Option<f64>,
    /// What part of its scarcest resource is taken, from a live report that says so.
    pub utilisation: Option<f64>,
    /// What both are counted in.
    pub unit: Option<String>,
    /// Its report; none: it has never sent one and none is expected.
    pub report: Option<ReportView>,
    /// The operator's word on the datacenter itself.
    #[serde(rename = "override")]
    pub over: Option<Override>,
}

/// Whether a datacenter's members may be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DatacenterState {
    /// All may.
    Up,
    /// Some may.
    Degraded,
    /// None may, as the operator drains them.
    Drained,
    /// They may, and fewer and fewer clients are sent there: the operator drains it.
    Draining,
    /// None may.
    Down,
    /// No pool has a member there.
    Unused,
}

/// A datacenter's report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReportView {
    /// Where it is polled; none: it is pushed.
    pub url: Option<String>,
    /// Since the latest arrived.
    pub age_seconds: Option<f64>,
    /// True when it is too old to count.
    pub stale: bool,
    /// Why the latest poll failed.
    pub error: Option<String>,
}

impl Picture {
    /// All datacenters, in the order of their numbers.
    pub fn datacenters(&self) -> Vec<DatacenterView> {
        let facts = self.snapshot.facts();
        let datacenters = &facts.steering.datacenters;
        let mut verdicts = vec![Vec::new(); datacenters.len()];
        for member in facts.steering.pools.iter().flat_map(|pool| &pool.members) {
            verdicts[usize::from(member.datacenter.0)].push(member.passed_over(&facts));
        }
        let numbered = datacenters.iter().zip(verdicts).enumerate();
        numbered.map(|(index, (one, verdicts))| self.datacenter(index, one, &verdicts)).collect()
    }

    fn is_draining(&self, index: usize) -> bool {
        let facts = self.snapshot.facts();
        let members = facts.steering.pools.iter().flat_map(|pool| &pool.members);
        let mut members = members.filter(|member| usize::from(member.datacenter.0) == index);
        members.any(|member| facts.standing.of(member.id) == Standing::Draining)
    }

    /// `verdicts`: on its members in all pools.
    fn datacenter(
        &self,
        index: usize,
        datacenter: &Datacenter,
        verdicts: &[Option<PassedOver>],
    ) -> DatacenterView {
        let members_fit = verdicts.iter().filter(|verdict| verdict.is_none()).count();
        let all_drained = verdicts.iter().all(|verdict| *verdict == Some(PassedOver::Drained));
        let target = Target::Datacenter(datacenter.name.clone());

        let configured = self.settings.reports.get(index).and_then(Option::as_ref);
        let status = self.reports.get(index);
        let live = status.filter(|status| !status.stale).and_then(|status| status.report.as_ref());
        let stated = self.settings.capacity.get(index).copied().flatten();
        let unit = self.settings.units.get(index).cloned().flatten();
        let is_known = configured.is_some() || status.is_some_and(|s| s.report.is_some());
        DatacenterView {
            name: datacenter.name.clone(),
            target: target.to_string(),
            location: datacenter.location.clone(),
            bias: datacenter.bias,
            state: match (members_fit, verdicts.len()) {
                (_, 0) => DatacenterState::Unused,
                _ if all_drained => DatacenterState::Drained,
                (1.., _) if self.is_draining(index) => DatacenterState::Draining,
                (0, _) => DatacenterState::Down,
                (fit, all) if fit == all => DatacenterState::Up,
                _ => DatacenterState::Degraded,
            },
            members: verdicts.len(),
            members_fit,
            // There are no more numbers than indices: the configuration gave each its own.
            room: self.snapshot.shares.room(DatacenterId(index as u16)),
            capacity: live.and_then(|report| report.capacity).or(stated),
            load: live.map(|report| report.load),
            rejected: live.and_then(|report| report.rejected),
            utilisation: live.and_then(|report| report.utilisation),
            unit: live.and_then(|report| report.unit.clone()).or(unit),
            report: status.filter(|_| is_known).map(|status| ReportView {
                url: configured.and_then(|c| c.source.as_ref()).map(|source| source.url.clone()),
                age_seconds: status.age_seconds,
                stale: status.stale,
                error: status.error.clone(),
            }),
            over: self.override_of(&target).cloned(),
        }
    }
}
