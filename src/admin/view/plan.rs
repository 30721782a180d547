//! The allocation: what each datacenter is to take and from whom, and what its loss would mean.

use serde::{Deserialize, Serialize};

use super::Picture;
use crate::control::allocate::{self, DatacenterState, State};
use crate::decide::Pool;

/// The groups that are told of by default, besides those that are split.
const HEAVIEST: usize = 100;
/// An inferred capacity is told of where it is less than this part of what the datacenter says.
const NEWS: f64 = 0.95;

/// `GET plan`: the allocation that is served. Loads and demands are in the datacenters' unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanView {
    /// How things stand.
    pub state: PlanState,
    /// Why, if all is not calm.
    pub reason: Option<String>,
    /// Since the plan was worked out; none: there is none, and every client group goes to the
    /// nearest datacenter with room.
    pub age_seconds: Option<f64>,
    /// What all client groups together are expected to offer.
    pub demand: f64,
    /// What loads are counted in, where all datacenters agree.
    pub unit: Option<String>,
    /// In the order of the file.
    pub datacenters: Vec<PlannedDatacenter>,
    /// The pools that steer by capacity, in the order of the files.
    pub pools: Vec<PlannedPool>,
    /// The client groups of each pool, the greatest demand first; by default only the first
    /// hundred and those that are split.
    pub groups: Vec<PlannedGroup>,
    /// How many there are.
    pub groups_total: usize,
    /// How many of them are divided between datacenters.
    pub groups_split: usize,
    /// How the plan was come by.
    pub work: PlanWork,
}

/// How the allocation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlanState {
    /// There is nothing to allocate: no pool steers by capacity, or no capacity is known.
    None,
    /// Every datacenter is well under its wall.
    Calm,
    /// A datacenter is at its wall: others take what it cannot.
    NearWall,
    /// There is more demand than capacity.
    Overloaded,
    /// So much was reported down at once that it is not believed yet.
    Panic,
    /// No report is live: what was planned last is held.
    FailStatic,
}

/// A datacenter in the plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedDatacenter {
    /// The operator's name for it.
    pub name: String,
    /// Whether it takes clients.
    pub state: PlannedState,
    /// What is planned with: what it says, or less; none: nobody has said.
    pub capacity: Option<f64>,
    /// What its load and utilisation tell that it can take; none: nothing new.
    pub inferred_capacity: Option<f64>,
    /// What it will be offered by this plan.
    pub planned_load: f64,
    /// What it should be offered now, by the answers that clients hold.
    pub predicted_load: f64,
    /// What it reports to be offered now.
    pub reported_load: Option<f64>,
    /// How much of the capacity is planned for before others are preferred, as a fraction.
    pub wall: f64,
    /// What one more unit of load there costs, in milliseconds.
    pub price_ms: f64,
    /// What its loss would mean; none: not worked out yet, or it takes nobody.
    pub loss: Option<Loss>,
}

/// Whether a datacenter takes clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlannedState {
    /// All that it can.
    Up,
    /// More and more: it has come back.
    Ramping,
    /// Fewer and fewer: it is drained.
    Draining,
    /// None.
    Down,
}

/// What the loss of a datacenter would mean for the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loss {
    /// Whether the others could take it all.
    pub survives: bool,
    /// What would be offered beyond the others' capacities.
    pub overflow: f64,
    /// The same as a part of all demand.
    pub overflow_fraction: f64,
    /// Where its load would go: datacenters and what each would take more, the most first.
    pub goes_to: Vec<(String, f64)>,
    /// The datacenter that would be fullest, and how full, as a fraction of its capacity.
    pub fullest: Option<(String, f64)>,
}

/// A pool that steers by capacity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedPool {
    /// The zone whose file defines it.
    pub zone: String,
    /// Its name there.
    pub pool: String,
    /// What its client groups together are expected to offer.
    pub demand: f64,
    /// The part of each datacenter's capacity that it may take, as a fraction.
    pub share: f64,
    /// How many of its client groups are divided between datacenters.
    pub groups_split: usize,
}

/// A client group of a pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedGroup {
    /// Its name: `US/CA`, `DE`, `198.51.100.0/24`.
    pub group: String,
    /// The pool's zone.
    pub zone: String,
    /// The pool.
    pub pool: String,
    /// What it is expected to offer.
    pub demand: f64,
    /// Of answers to it, in seconds.
    pub ttl: u32,
    /// Where its clients are sent: one datacenter, or more if it is split.
    pub parts: Vec<PlannedPart>,
}

/// A datacenter's part of a client group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedPart {
    /// Its name.
    pub datacenter: String,
    /// What part of the clients, as a fraction.
    pub share: f64,
    /// What that costs them, in milliseconds, without the price of the load.
    pub cost_ms: f64,
}

/// How plans are come by.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PlanWork {
    /// How often a plan was worked out.
    pub solves_total: u64,
    /// How long the latest took.
    pub last_solve_seconds: f64,
    /// Plans that were not served, as they did not pass the checks.
    pub refused_total: u64,
    /// What was wrong with the latest of them.
    pub last_refusal: Option<String>,
    /// Answers by which demand was estimated.
    pub answers_total: u64,
    /// Answers that went by uncounted, as there were more than could be looked at.
    pub answers_missed_total: u64,
    /// Prefixes that are client groups of their own, as so much comes from them.
    pub promoted: Vec<String>,
}

impl Picture {
    /// The plan, with `all` client groups or the heaviest.
    pub fn plan(&self, all: bool) -> PlanView {
        let planned = &self.plan.plan;
        let pools: Vec<Option<&Pool>> = self
            .plan
            .layout
            .pools
            .iter()
            .map(|pool| self.settings.steering.pools.get(pool.id.0 as usize))
            .collect();
        let mut units = self.settings.units.iter();
        let unit = units
            .next()
            .cloned()
            .flatten()
            .filter(|first| units.all(|unit| unit.as_ref() == Some(first)));
        let groups = planned.groups.iter().enumerate();
        let groups = groups.filter(|(rank, one)| all || *rank < HEAVIEST || one.parts.len() > 1);
        let groups = groups.filter_map(|(_, one)| {
            let pool = pools.get(one.pool).copied().flatten()?;
            Some(PlannedGroup::of(one, pool))
        });
        PlanView {
            state: planned.state.into(),
            reason: planned.reason.clone(),
            age_seconds: self.plan.age.map(|age| age.as_secs_f64()),
            demand: planned.demand,
            unit,
            datacenters: planned.datacenters.iter().map(PlannedDatacenter::of).collect(),
            pools: planned
                .pools
                .iter()
                .zip(&pools)
                .filter_map(|(planned, pool)| {
                    let pool = (*pool)?;
                    Some(PlannedPool {
                        zone: pool.zone.to_string(),
                        pool: pool.name.clone(),
                        demand: planned.demand,
                        share: pool.share,
                        groups_split: planned.groups_split,
                    })
                })
                .collect(),
            groups: groups.collect(),
            groups_total: planned.groups_total,
            groups_split: planned.groups_split,
            work: PlanWork {
                solves_total: planned.counters.solved,
                last_solve_seconds: self.plan.last_solve.as_secs_f64(),
                refused_total: planned.counters.refused,
                last_refusal: planned.counters.last_refusal.clone(),
                answers_total: planned.counters.answers,
                answers_missed_total: self.plan.answers_missed_total,
                promoted: self.plan.promoted.iter().map(ToString::to_string).collect(),
            },
        }
    }
}

impl PlanState {
    /// All of them.
    pub const ALL: [PlanState; 6] = [
        PlanState::None,
        PlanState::Calm,
        PlanState::NearWall,
        PlanState::Overloaded,
        PlanState::Panic,
        PlanState::FailStatic,
    ];
}

impl From<State> for PlanState {
    fn from(state: State) -> PlanState {
        match state {
            State::Unlimited => PlanState::None,
            State::Calm => PlanState::Calm,
            State::NearWall => PlanState::NearWall,
            State::Overloaded => PlanState::Overloaded,
            State::Panic => PlanState::Panic,
            State::FailStatic => PlanState::FailStatic,
        }
    }
}

impl PlannedDatacenter {
    fn of(planned: &allocate::PlannedDatacenter) -> PlannedDatacenter {
        PlannedDatacenter {
            name: planned.name.clone(),
            state: match planned.state {
                DatacenterState::Up => PlannedState::Up,
                DatacenterState::Ramping => PlannedState::Ramping,
                DatacenterState::Draining => PlannedState::Draining,
                DatacenterState::Down => PlannedState::Down,
            },
            capacity: planned.capacity,
            inferred_capacity: planned.inferred_capacity.filter(|inferred| {
                let said = planned.reported_capacity.or(planned.configured_capacity);
                said.is_none_or(|said| *inferred < NEWS * said)
            }),
            planned_load: planned.planned_load,
            predicted_load: planned.predicted_load,
            reported_load: planned.reported_load,
            wall: planned.wall,
            // Between datacenters that nobody needs, prices may differ below zero.
            price_ms: planned.price_ms.max(0.0),
            loss: planned.loss.as_ref().map(|loss| Loss {
                survives: loss.overflow <= 0.0,
                overflow: loss.overflow,
                overflow_fraction: loss.overflow_share,
                goes_to: loss.goes_to.clone(),
                fullest: loss.fullest.clone(),
            }),
        }
    }
}

impl PlannedGroup {
    fn of(planned: &allocate::PlannedGroup, pool: &Pool) -> PlannedGroup {
        let parts = planned.parts.iter().map(|part| PlannedPart {
            datacenter: part.datacenter.clone(),
            share: part.share,
            cost_ms: part.cost_ms,
        });
        PlannedGroup {
            group: planned.group.clone(),
            zone: pool.zone.to_string(),
            pool: pool.name.clone(),
            demand: planned.demand,
            ttl: planned.ttl,
            parts: parts.collect(),
        }
    }
}
