//! The pools and their members: who may be answered, and why the others may not.

use serde::Serialize;

use super::Picture;
use crate::control::{Action, Override};
use crate::decide::plan::PassedOver;
use crate::decide::{Facts, Member, Pool, ProbeId, Resolved, Standing, Steer, Target, WhenAllDown};
use crate::health::Verdict;

/// A pool.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PoolView {
    /// Its name in its zone's file.
    pub name: String,
    /// The zone whose file defines it.
    pub zone: String,
    /// What an override of it names.
    pub target: String,
    /// How a member is chosen.
    pub steer: Steer,
    /// Of answers, in seconds; the longest of one that adapts.
    pub ttl: u32,
    /// The shortest TTL of answers, in seconds.
    pub ttl_min: u32,
    /// The most addresses an answer carries.
    pub answers: u8,
    /// Whether enough members may be answered.
    pub up: bool,
    /// How many members may be answered.
    pub fit: usize,
    /// How many it needs.
    pub min_healthy: u16,
    /// What is answered when it is down, in the words of the file.
    pub when_all_down: String,
    /// The operator's word on the pool itself.
    #[serde(rename = "override")]
    pub over: Option<Override>,
    /// In the order of the file.
    pub members: Vec<MemberView>,
}

/// One datacenter's part in a pool.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MemberView {
    /// Where it is.
    pub datacenter: String,
    /// What an override of it names.
    pub target: String,
    /// Its share among its equals.
    pub weight: u32,
    /// Whether it may be answered.
    pub state: MemberState,
    /// Why it may not be, or is in spite of its checks.
    pub reason: Option<String>,
    /// The operator's word on the member itself.
    #[serde(rename = "override")]
    pub over: Option<Override>,
    /// What is answered.
    pub targets: Vec<TargetView>,
}

/// Whether a member may be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemberState {
    /// It may.
    Up,
    /// It may, with those of its addresses that are up.
    Degraded,
    /// It may, whatever its checks say.
    ForcedUp,
    /// Its checks say that it is down.
    Down,
    /// The operator says that it is down.
    ForcedDown,
    /// It takes no new clients.
    Drained,
    /// It takes fewer and fewer clients.
    Draining,
    /// Its weight is 0.
    NoWeight,
    /// It is a name, and no addresses of it are known.
    Unresolved,
}

/// An address, or a name to which a CNAME points.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TargetView {
    /// The address or name.
    pub address: String,
    /// What its probe says.
    pub state: TargetState,
    /// What is wrong with it.
    pub reason: Option<String>,
}

/// What a probe says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetState {
    /// Its checks pass.
    Up,
    /// Its checks fail.
    Down,
    /// It has not been probed yet.
    Unknown,
    /// Nothing watches it; it counts as up.
    Unwatched,
}

impl MemberState {
    /// Whether the member may be answered.
    pub fn is_fit(self) -> bool {
        use MemberState::{Degraded, Draining, ForcedUp, Up};
        matches!(self, Up | Degraded | Draining | ForcedUp)
    }
}

impl Picture {
    /// All pools, in the order of their numbers.
    pub fn pools(&self) -> Vec<PoolView> {
        let facts = self.snapshot.facts();
        facts.steering.pools.iter().map(|pool| self.pool(pool, &facts)).collect()
    }

    fn pool(&self, pool: &Pool, facts: &Facts) -> PoolView {
        let target = crate::control::Target::of_pool(pool);
        PoolView {
            name: pool.title().into_owned(),
            zone: pool.zone.to_string(),
            target: target.to_string(),
            steer: pool.steer,
            ttl: pool.ttl,
            ttl_min: pool.ttl_min,
            answers: pool.answers,
            up: pool.is_up(facts),
            fit: pool.members.iter().filter(|member| member.passed_over(facts).is_none()).count(),
            min_healthy: pool.min_healthy,
            when_all_down: match pool.when_all_down {
                WhenAllDown::AnswerAll => "answer-all".into(),
                WhenAllDown::NoData => "no-data".into(),
                WhenAllDown::Pool(other) => format!("pool {}", facts.pool(other).title()),
            },
            over: self.override_of(&target).cloned(),
            members: pool.members.iter().map(|member| self.member(pool, member, facts)).collect(),
        }
    }

    fn member(&self, pool: &Pool, member: &Member, facts: &Facts) -> MemberView {
        let target = self.member_target(pool, member);
        let targets = match &member.target {
            Target::Addresses { v4, v6 } => {
                let v4 = v4.iter().map(|(address, probe)| self.target(address, *probe, facts));
                let v6 = v6.iter().map(|(address, probe)| self.target(address, *probe, facts));
                v4.chain(v6).collect()
            }
            Target::Cname { name, probe } => vec![self.target(name, *probe, facts)],
            Target::Flattened { resolved, probe, .. } => match facts.resolved.of(*resolved) {
                Some(Resolved { v4, v6, .. }) => {
                    let all_up = facts.health.is_up(*probe);
                    let v4 = v4.addresses.iter().map(|(a, is_up)| (a.to_string(), *is_up));
                    let v6 = v6.addresses.iter().map(|(a, is_up)| (a.to_string(), *is_up));
                    let view = |(address, is_up)| TargetView {
                        address,
                        state: if all_up && is_up { TargetState::Up } else { TargetState::Down },
                        reason: None,
                    };
                    v4.chain(v6).map(view).collect()
                }
                None => Vec::new(),
            },
        };
        let state = state(member, &targets, facts);
        MemberView {
            datacenter: facts.datacenter(member.datacenter).name.clone(),
            target: target.to_string(),
            weight: member.weight,
            state,
            reason: self.reason(pool, member, state, &targets, facts),
            over: self.override_of(&target).cloned(),
            targets,
        }
    }

    fn target(&self, address: &dyn ToString, probe: Option<ProbeId>, facts: &Facts) -> TargetView {
        let status = probe.and_then(|probe| self.probes.get(probe.0 as usize));
        let state = match (probe, status) {
            (None, _) => TargetState::Unwatched,
            (_, Some(status)) if status.state == Verdict::Unknown => TargetState::Unknown,
            _ if facts.health.is_up(probe) => TargetState::Up,
            _ => TargetState::Down,
        };
        let reason = status.and_then(|status| status.last_result.clone());
        let reason = reason.filter(|reason| reason != "ok");
        TargetView { address: address.to_string(), state, reason }
    }

    fn reason(
        &self,
        pool: &Pool,
        member: &Member,
        state: MemberState,
        targets: &[TargetView],
        facts: &Facts,
    ) -> Option<String> {
        let said = match state {
            MemberState::Up => return None,
            MemberState::NoWeight => return Some("its weight is 0".into()),
            MemberState::Unresolved => {
                return Some("no addresses of the name are known".into());
            }
            MemberState::Down | MemberState::Degraded => {
                let down = targets.iter().filter(|target| target.state == TargetState::Down);
                let reasons = down.map(|TargetView { address, reason, .. }| match reason {
                    Some(reason) => format!("{address}: {reason}"),
                    None => format!("{address} is down"),
                });
                return Some(reasons.collect::<Vec<_>>().join("; "));
            }
            MemberState::ForcedUp => Action::ForceUp,
            MemberState::ForcedDown => Action::ForceDown,
            MemberState::Drained | MemberState::Draining => Action::Drain,
        };
        let datacenter = &facts.datacenter(member.datacenter).name;
        let targets = [
            self.member_target(pool, member),
            crate::control::Target::of_pool(pool),
            crate::control::Target::Datacenter(datacenter.clone()),
        ];
        let over = targets
            .iter()
            .find_map(|target| self.override_of(target).filter(|over| over.action == said));
        let Some(over) = over else {
            return (said == Action::Drain).then(|| "its agent wants no new clients".into());
        };
        let mut reason = format!("by the override of {}", over.target);
        if let Some(why) = &over.reason {
            reason += &format!(": {why}");
        }
        Some(reason)
    }
}

fn state(member: &Member, targets: &[TargetView], facts: &Facts) -> MemberState {
    match member.passed_over(facts) {
        Some(PassedOver::Down) => MemberState::Down,
        Some(PassedOver::ForcedDown) => MemberState::ForcedDown,
        Some(PassedOver::Drained) => MemberState::Drained,
        Some(PassedOver::NoWeight) => MemberState::NoWeight,
        Some(PassedOver::Unresolved) => MemberState::Unresolved,
        None if facts.standing.of(member.id) == Standing::ForcedUp => MemberState::ForcedUp,
        None if facts.standing.of(member.id) == Standing::Draining => MemberState::Draining,
        None if targets.iter().any(|target| target.state == TargetState::Down) => {
            MemberState::Degraded
        }
        None => MemberState::Up,
    }
}
