//! The plan, for people and machines.

use serde::Serialize;

/// The plan, for people and machines. Loads, demands and capacities are in units of load.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Plan {
    /// How things stand.
    pub state: State,
    /// Why, if not calm.
    pub reason: Option<String>,
    /// When the plan was made, in seconds since the origin of time; none: there is none yet.
    pub planned_at: Option<f64>,
    /// Of all rows together.
    pub demand: f64,
    /// By `DatacenterId`.
    pub datacenters: Vec<PlannedDatacenter>,
    /// In the order of the layout.
    pub pools: Vec<PlannedPool>,
    /// The rows with the greatest demand, and all that are split.
    pub groups: Vec<PlannedGroup>,
    /// How many rows have a demand.
    pub groups_total: usize,
    /// How many of them are split.
    pub groups_split: usize,
    /// Clients in the in-flight table.
    pub clients: usize,
    /// What happened so far.
    pub counters: Counters,
    /// Clients that deserve a group of their own, the heaviest first.
    pub promotions: Vec<Promotion>,
}

/// How the allocation stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// No datacenter's capacity is known, or there is nothing to allocate.
    #[default]
    Unlimited,
    /// Every datacenter is under its wall.
    Calm,
    /// A datacenter is at its wall.
    NearWall,
    /// More is demanded than there is capacity for.
    Overloaded,
    /// So much was reported down at once that it is not believed yet.
    Panic,
    /// No report is live: the plan is held, and follows what the queries tell.
    FailStatic,
}

/// A datacenter in the plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlannedDatacenter {
    /// Its name.
    pub name: String,
    /// Whether it takes clients.
    pub state: DatacenterState,
    /// What the configuration says it can take.
    pub configured_capacity: Option<f64>,
    /// What it says itself.
    pub reported_capacity: Option<f64>,
    /// What its utilisation tells.
    pub inferred_capacity: Option<f64>,
    /// What is planned with; none: no bound.
    pub capacity: Option<f64>,
    /// What it is offered, by its latest report.
    pub reported_load: Option<f64>,
    /// How old that is.
    pub report_age_seconds: Option<f64>,
    /// What it should be offered now, by the answers that clients hold.
    pub predicted_load: f64,
    /// What it will be offered by this plan.
    pub planned_load: f64,
    /// The part of it that no answer explains, or that holds an old answer.
    pub fixed_load: f64,
    /// The load up to which nothing is the matter, as a share of the capacity.
    pub wall: f64,
    /// The standard deviation its load's error is taken for, as a share of the capacity.
    pub error: f64,
    /// What one unit more costs there, in milliseconds.
    pub price_ms: f64,
    /// What its loss would mean; none: not worked out yet, or it is lost already.
    pub loss: Option<Loss>,
}

/// Whether a datacenter takes clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DatacenterState {
    /// All that it can.
    Up,
    /// More and more: it has come back.
    Ramping,
    /// Fewer and fewer.
    Draining,
    /// None.
    Down,
}

/// What the loss of a datacenter would mean.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Loss {
    /// What would be offered beyond the capacities of the others; 0: they survive it.
    pub overflow: f64,
    /// The same as a share of all demand.
    pub overflow_share: f64,
    /// Where its load would go: datacenters and how much more they would get, the most first.
    pub goes_to: Vec<(String, f64)>,
    /// The datacenter that would be fullest, and how full, as a share of its capacity.
    pub fullest: Option<(String, f64)>,
}

/// A pool in the plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlannedPool {
    /// Its name in the layout.
    pub name: String,
    /// What its groups demand.
    pub demand: f64,
    /// How many of them are split.
    pub groups_split: usize,
}

/// A group of a pool in the plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlannedGroup {
    /// The index of the pool in the layout.
    pub pool: usize,
    /// The group's number.
    pub group_number: u32,
    /// Its name.
    pub group: String,
    /// Its demand.
    pub demand: f64,
    /// The TTL of its answers, in seconds.
    pub ttl: u32,
    /// Where its clients are sent.
    pub parts: Vec<PlannedPart>,
}

/// A datacenter's part of a group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlannedPart {
    /// The datacenter's name.
    pub datacenter: String,
    /// Its share of the clients.
    pub share: f64,
    /// What it costs them, in milliseconds, without the price of its load.
    pub cost_ms: f64,
}

/// What happened so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Plans worked out.
    pub solved: u64,
    /// Plans published.
    pub published: u64,
    /// Plans that did not pass the checks.
    pub refused: u64,
    /// What was wrong with the latest of them.
    pub last_refusal: Option<String>,
    /// Answers counted.
    pub answers: u64,
    /// Reports counted.
    pub reports: u64,
    /// How often a panic began.
    pub panics: u64,
}

/// A client that deserves a group of its own.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Promotion {
    /// The client's key: its prefix, or its resolver.
    pub key: u64,
    /// The index of the pool in the layout.
    pub pool: usize,
    /// The group's number.
    pub group: u32,
    /// Its demand.
    pub demand: f64,
}
