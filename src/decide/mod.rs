//! The decision, pure: client → location → rule → pool → datacenter → address.
//!
//! Everything read here is immutable: the map of the world, the pools, and the tables that
//! `control` replaces when health, capacity or the operator's word changes.

pub mod chart;
pub mod datacenter;
pub mod facts;
pub mod policy;
pub mod pool;

pub use chart::{Chart, Choice, Client, Decision, MAX_ANSWERS};
pub use datacenter::{Datacenter, DatacenterId};
pub use facts::{Facts, HealthTable, ProbeId, Room, ShareTable, Standing, StandingTable, Steering};
pub use policy::{Match, Policy, PolicyId, Rule};
pub use pool::{Member, MemberId, Pool, PoolId, Steer, Target, WhenAllDown};
