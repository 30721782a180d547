//! The decision, pure: client → location → rule → pool → datacenter → address.
//!
//! Everything read here is immutable: the map of the world, the pools, and the tables that
//! `control` replaces when health, capacity or the operator's word changes.
//!
//! ```text
//!  at load          survey   policy × world  → cells: areas that can never be decided differently
//!  on a new fact    plan     cell × facts    → rule, pool, candidates in order
//!                   chart    cells with equal plans merged: the widest areas decided alike
//!  on a query       choose   plan × client   → addresses, and the ECS scope
//! ```

pub mod chart;
pub mod choose;
pub mod cost;
pub mod datacenter;
pub mod default_answer;
pub mod explain;
pub mod facts;
pub mod group;
pub mod latency;
pub mod plan;
pub mod policy;
pub mod pool;
pub mod prefixes;
pub mod slate;
pub mod survey;
#[cfg(test)]
mod tests;

pub use chart::{Chart, Sheets};
pub use choose::{Assignment, Choice, Client, Decision, MAX_ANSWERS, rendezvous_cost};
pub use datacenter::{Datacenter, DatacenterId};
pub use default_answer::{DefaultAnswer, DefaultRecords};
pub use explain::{Explanation, explain};
pub use facts::{
    Allotment, Facts, Found, HealthTable, Part, ProbeId, Resolved, ResolvedId, ResolvedTable, Room,
    ShareTable, Standing, StandingTable, Steering, Validity,
};
pub use group::{Group, GroupId, Groups};
pub use latency::Latencies;
pub use policy::{Match, Policy, PolicyId, Rule};
pub use pool::{Member, MemberId, Pool, PoolId, Steer, Target, WhenAllDown, unanswerable};
pub use survey::{Survey, survey_all};
