//! Who decides: the policies that are compared.

mod baseline;
mod ours;
mod planned;
mod recorded;
mod server;
mod shed;

use serde::Serialize;

use super::plant::Report;
use super::run::Experiment;
use super::world::World;
use crate::control::allocate::Tuning;

pub use recorded::Recording;

/// What the policies are told of the round trips.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Knowledge {
    /// The distance.
    Geo,
    /// The truth.
    Rtt,
}

/// Who decides.
#[derive(Clone, Debug, PartialEq)]
pub enum Policy {
    /// The whole decision as it is shipped: map, groups, charts, control and allocator.
    Server,
    /// The shipped allocator alone, which may have other constants, with the world's groups.
    Ours(Box<Tuning>),
    /// All datacenters in turn.
    RoundRobin,
    /// By a draw in proportion to the capacities.
    Weighted,
    /// The nearest by distance.
    Nearest,
    /// The least latency in a table by country.
    Latency,
    /// The nearest that does not shed: below `low` of its capacity a datacenter keeps all, above
    /// `high` it sheds all, in between a part that grows from nothing to all.
    Shed {
        /// Of the capacity.
        low: f64,
        /// Of the capacity.
        high: f64,
        /// True: a hash decides which clients are shed; false: a draw for each query.
        hash: bool,
    },
    /// Each group goes to its nearest datacenter that has room, the rest of it to the next; demand is
    /// known, capacities are those reported.
    Waterfall,
    /// A controller that knows everything at once, behind the same caches; it aims at 97 % load.
    Oracle,
    /// What a server answered that was asked beforehand.
    Recorded(Recording),
}

impl Policy {
    /// Those that have a name: what [`Policy::named`] knows.
    pub const NAMES: [&str; 10] = [
        "server",
        "ours",
        "round-robin",
        "weighted",
        "nearest",
        "latency",
        "shed-load",
        "shed-load-tuned",
        "waterfall",
        "oracle",
    ];

    /// The policy of that name.
    pub fn named(name: &str) -> Option<Policy> {
        Some(match name {
            "server" => Policy::Server,
            "ours" => Policy::Ours(Box::default()),
            "round-robin" => Policy::RoundRobin,
            "weighted" => Policy::Weighted,
            "nearest" => Policy::Nearest,
            "latency" => Policy::Latency,
            "shed-load" => Policy::Shed { low: 0.70, high: 0.95, hash: false },
            "shed-load-tuned" => Policy::Shed { low: 0.5, high: 1.5, hash: true },
            "waterfall" => Policy::Waterfall,
            "oracle" => Policy::Oracle,
            _ => return None,
        })
    }

    /// Its name.
    pub fn name(&self) -> String {
        match self {
            Policy::Server => "server".to_string(),
            Policy::Ours(_) => "ours".to_string(),
            Policy::RoundRobin => "round-robin".to_string(),
            Policy::Weighted => "weighted".to_string(),
            Policy::Nearest => "nearest".to_string(),
            Policy::Latency => "latency".to_string(),
            Policy::Shed { low, high, hash: false } if (*low, *high) == (0.70, 0.95) => {
                "shed-load".to_string()
            }
            Policy::Shed { low, high, hash: true } if (*low, *high) == (0.5, 1.5) => {
                "shed-load-tuned".to_string()
            }
            Policy::Shed { low, high, hash } => {
                format!("shed-load {low}/{high} {}", if *hash { "hash" } else { "draw" })
            }
            Policy::Waterfall => "waterfall".to_string(),
            Policy::Oracle => "oracle".to_string(),
            Policy::Recorded(recording) => recording.name.clone(),
        }
    }

    /// True if what it is told of the round trips makes a difference.
    pub fn uses_knowledge(&self) -> bool {
        matches!(self, Policy::Server | Policy::Ours(_) | Policy::Shed { .. } | Policy::Waterfall)
    }
}

/// What is true at a time; only those that may know everything look at it.
pub(super) struct Truth<'a> {
    pub(super) time: f64,
    /// Requests a second by group.
    pub(super) demand: &'a [f64],
    /// Requests a second each datacenter can serve now.
    pub(super) rooms: &'a [f64],
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    /// Its number.
    pub(super) unit: usize,
    /// The group it seems to be of.
    pub(super) group: usize,
}

/// A policy at work.
pub(super) enum Controller {
    Server(Box<server::Server>),
    Ours(Box<ours::Ours>),
    Baseline(baseline::Baseline),
    Shed(shed::Shed),
    Planned(planned::Planned),
    Recorded(recorded::Replay),
}

impl Controller {
    /// `seems`: by unit, the group that it seems to be of.
    pub(super) fn new(experiment: &Experiment, seems: &[usize]) -> Controller {
        let Experiment { world, knowledge, ttl, seed, .. } = experiment;
        let (knowledge, ttl, seed) = (*knowledge, *ttl, *seed);
        match &experiment.policy {
            Policy::Server => {
                let server = server::Server::new(world, seems, knowledge, ttl);
                Controller::Server(Box::new(server))
            }
            Policy::Ours(tuning) => {
                let tuning = Tuning::clone(tuning);
                Controller::Ours(Box::new(ours::Ours::new(world, knowledge, ttl, tuning)))
            }
            policy
            @ (Policy::RoundRobin | Policy::Weighted | Policy::Nearest | Policy::Latency) => {
                Controller::Baseline(baseline::Baseline::new(policy, world, seed))
            }
            &Policy::Shed { low, high, hash } => {
                Controller::Shed(shed::Shed::new(low, high, hash, orders(world, knowledge), seed))
            }
            Policy::Waterfall => Controller::Planned(planned::Planned::waterfall(world, knowledge)),
            Policy::Oracle => Controller::Planned(planned::Planned::oracle(world)),
            Policy::Recorded(recording) => {
                Controller::Recorded(recorded::Replay::new(recording.clone(), world))
            }
        }
    }

    /// A check's verdict changes.
    pub(super) fn health(&mut self, datacenter: usize, up: bool) {
        match self {
            Controller::Server(server) => server.health(datacenter, up),
            Controller::Ours(ours) => ours.health(datacenter, up),
            Controller::Baseline(baseline) => baseline.up[datacenter] = up,
            Controller::Shed(shed) => shed.up[datacenter] = up,
            Controller::Planned(planned) => planned.health(datacenter, up),
            Controller::Recorded(replay) => replay.health(datacenter, up),
        }
    }

    /// A report arrives.
    pub(super) fn report(&mut self, report: &Report) {
        match self {
            Controller::Server(server) => server.report(report),
            Controller::Ours(ours) => ours.report(report),
            Controller::Shed(shed) => shed.report(report),
            Controller::Planned(planned) => planned.report(report),
            Controller::Baseline(_) | Controller::Recorded(_) => {}
        }
    }

    /// A second begins; what is heard in it comes next.
    pub(super) fn begin(&mut self, time: f64) {
        match self {
            Controller::Server(server) => server.begin(time),
            Controller::Ours(ours) => ours.begin(time),
            _ => {}
        }
    }

    /// All that there is to hear in this second has been heard.
    pub(super) fn heard(&mut self, truth: &Truth<'_>) {
        match self {
            Controller::Server(server) => server.tick(),
            Controller::Ours(ours) => ours.tick(),
            Controller::Planned(planned) => planned.second(truth),
            _ => {}
        }
    }

    /// Where one who asks is sent, and for how many seconds if the policy chooses that.
    pub(super) fn answer(&mut self, asker: Asker, time: f64) -> (usize, Option<u32>) {
        let datacenter = match self {
            Controller::Server(server) => {
                let (datacenter, ttl) = server.answer(asker, time);
                return (datacenter, Some(ttl));
            }
            Controller::Ours(ours) => {
                let (datacenter, ttl) = ours.answer(asker, time);
                return (datacenter, Some(ttl));
            }
            Controller::Baseline(baseline) => baseline.answer(asker),
            Controller::Shed(shed) => shed.answer(asker),
            Controller::Planned(planned) => planned.answer(asker),
            Controller::Recorded(replay) => replay.answer(asker),
        };
        (datacenter, None)
    }
}

/// What a policy is told of the round trips, by group and datacenter.
fn costs(world: &World, knowledge: Knowledge) -> Vec<f64> {
    let groups = 0..world.groups.len();
    match knowledge {
        Knowledge::Geo => groups.flat_map(|group| world.distance_rtt(group)).collect(),
        Knowledge::Rtt => groups.flat_map(|group| world.rtt(group).to_vec()).collect(),
    }
}

/// Each group's datacenters, the nearest first.
fn orders(world: &World, knowledge: Knowledge) -> Vec<Vec<usize>> {
    let width = world.datacenters.len();
    costs(world, knowledge).chunks(width.max(1)).map(ascending).collect()
}

/// The datacenters in the order of their costs.
fn ascending(costs: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..costs.len()).collect();
    order.sort_by(|&a, &b| costs[a].total_cmp(&costs[b]));
    order
}

/// Of an order, the first that is up; if none is, the first.
fn first_up(order: &[usize], up: &[bool]) -> usize {
    order.iter().copied().find(|&dc| up[dc]).unwrap_or(order[0])
}

/// A number in (0, 1) that is always the same for a unit and a datacenter.
fn hashed(unit: usize, datacenter: usize) -> f64 {
    super::lots::Lots::new(unit as u64, 1_000 + datacenter as u64).uniform()
}
