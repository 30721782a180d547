//! A simulated world, in which policies can be compared before anyone depends on them.
//!
//! Clients in groups ask for a service through caches; a policy answers with a datacenter; the load
//! follows when the caches let it; datacenters report late and with noise, die and come back. Time
//! is simulated, all chance comes from a seed, and the same seed is the same world for every policy.
//!
//! # What the built-in world was fitted to
//!
//! What no source tells was chosen so that the policies that need no tuning fare as in the studies
//! that motivated this simulator, at headrooms of 1.4 and 1.15; no choice was made by how the shipped
//! allocator fares. Fitted were the spread of the capacities ([`Built::skew`]: 0.5) and the hour (12
//! UTC), by how much `nearest` drops and how far it overloads (5.9 and 13.1 %, 1.59 and 1.93 times the
//! capacity); and the number of requests that follow a look-up, by the queries at a TTL of 15 s (6.6
//! million in three hours). `round-robin`, `weighted` and `waterfall` find this world harder by up to a
//! fifth, above all at 1.15: its smallest datacenters are smaller.
//!
//! ```no_run
//! use portolan::simulate::{Built, Experiment, Knowledge, Policy, Scenario, World, run};
//!
//! let world = World::built(&Built { seed: 5, headroom: 1.4, ..Built::default() });
//! let scenario = Scenario::named("mix").unwrap();
//! let experiment = Experiment::new(world, scenario, Policy::Nearest, Knowledge::Geo, 5);
//! println!("{}", run(&experiment).score.score);
//! ```

mod caches;
mod cities;
mod demand;
pub mod drive;
mod lots;
mod optimum;
pub mod own;
mod picture;
mod plant;
pub mod plot;
mod policy;
pub mod query_log;
mod questions;
mod run;
mod scenario;
mod score;
mod table;
mod world;

pub use caches::CacheModel;
pub use picture::picture;
pub use plant::Report;
pub use policy::{Knowledge, Policy, Recording};
pub use questions::{Questions, questions};
pub use run::{Experiment, Outcome, Series, Ttl, optimum_ms, run};
pub use scenario::{Event, Happening, NAMES as SCENARIOS, Scenario};
pub use score::Score;
pub use table::{Row, table};
pub use world::{Built, Datacenter, Group, MS_NEAR, MS_PER_KM, World};
