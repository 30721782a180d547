//! The global allocation: which datacenters serve which groups of clients, so that none is
//! overloaded and all are near.
//!
//! ```text
//!  answered ─► in-flight table ─► who holds what ─┐
//!  report ───► site: capacity, age                ├─► demand of every row ─┐
//!         └──► load ──────────────────────────────┘                       ├─► solver ─► shares
//!  availability ─► members ────────────────────────────────────────────────┘
//! ```
//!
//! Pure: it does no I/O and reads no clock. Time is counted from an origin that the caller chose.

mod availability;
mod check;
mod demand;
mod history;
mod keys;
mod layout;
mod plan;
mod planner;
mod share;
mod site;
pub mod solver;
#[cfg(test)]
mod tests;
mod ttl;
mod tuning;
mod view;
mod wall;

use std::sync::Arc;
use std::time::Duration;

pub use layout::{Layout, LayoutDatacenter, LayoutGroup, LayoutMember, LayoutPool};
pub use plan::{
    Counters, DatacenterState, Loss, Plan, PlannedDatacenter, PlannedGroup, PlannedPart,
    PlannedPool, Promotion, State,
};
pub use share::Allocation;
pub use site::{Availability, SiteReport};
pub use tuning::Tuning;

use crate::decide::{DatacenterId, PoolId};
use availability::Members;
use demand::Demand;
use history::History;
use keys::{Heavy, Keys};
use layout::Ground;
use planner::Planned;
use share::{Given, Shares};
use site::{Freshness, Site};
use solver::Solver;

/// From one choice of the rows that are estimated jointly to the next, in seconds.
const JOIN_S: f64 = 300.0;
/// From one look at who holds what to the next, in seconds: at most, and at least.
const LOOK_S: f64 = 1.0;
const LOOK_LEAST_S: f64 = 0.2;
/// How often a plan that changes much without an event is refused before it is believed.
const REFUSALS: u32 = 3;

/// A steered answer, as the hot path recorded it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The client's prefix, or its resolver's, as a number; the low 56 bits are what the rendezvous
    /// hashes.
    pub key: u64,
    /// The pool that answered.
    pub pool: PoolId,
    /// The client's group.
    pub group: u32,
    /// The datacenter it was sent to.
    pub datacenter: DatacenterId,
    /// For how long, in seconds.
    pub ttl: u32,
}

/// A plan that is to be published.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What is to be answered from now on.
    pub allocation: Arc<Allocation>,
    /// How much of all demand is sent elsewhere than before, as a share.
    pub moved: f64,
}

/// Which datacenters serve which groups of clients.
#[derive(Clone, Debug)]
pub struct Allocator {
    ground: Ground,
    tuning: Tuning,
    keys: Keys,
    history: History,
    demand: Demand,
    sites: Vec<Site>,
    members: Members,
    solver: Solver,
    /// What is answered now.
    shares: Shares,
    /// By the row: the TTL of its answers, and when it was last moved.
    ttls: Vec<u32>,
    changed: Vec<f64>,
    current: Arc<Allocation>,
    latest: Option<Planned>,
    losses: Vec<Option<Planned>>,
    heavy: Vec<Heavy>,
    counters: Counters,
    state: State,
    reason: Option<String>,
    disbelieved: Vec<bool>,
    began: f64,
    first_report: Option<f64>,
    /// When the answers were last looked at, plans and losses made, and rows chosen.
    sampled: f64,
    ticked: Option<f64>,
    looked_at_losses: f64,
    joined: f64,
    published: f64,
    /// Something happened that does not wait for the next tick.
    is_urgent: bool,
    refusals: u32,
    /// How much the queries of each row let one expect when the reports ceased.
    rates_at_loss: Option<Vec<f32>>,
}

impl Allocator {
    /// An allocator that has learned nothing yet.
    pub fn new(layout: Layout, tuning: Tuning, now: Duration) -> Allocator {
        let now = now.as_secs_f64();
        let ground = Ground::new(layout);
        let configured = ground.layout.datacenters.iter().map(|dc| Site::new(dc.capacity));
        Allocator {
            sites: configured.collect(),
            keys: Keys::new(&tuning),
            history: History::default(),
            demand: Demand::new(&ground, &tuning, now),
            members: Members::new(&ground),
            solver: Solver::new(),
            shares: Shares::default(),
            ttls: vec![0; ground.rows()],
            changed: vec![f64::NEG_INFINITY; ground.rows()],
            current: Arc::default(),
            latest: None,
            losses: vec![None; ground.datacenters()],
            heavy: Vec::new(),
            counters: Counters::default(),
            state: State::default(),
            reason: None,
            disbelieved: vec![false; ground.datacenters()],
            began: now,
            first_report: None,
            sampled: f64::NEG_INFINITY,
            ticked: None,
            looked_at_losses: f64::NEG_INFINITY,
            joined: now,
            published: f64::NEG_INFINITY,
            is_urgent: true,
            refusals: 0,
            rates_at_loss: None,
            ground,
            tuning,
        }
    }

    /// Takes a new layout over. What was learned of pools, groups and datacenters stays with those
    /// of the same name.
    pub fn replace(&mut self, layout: Layout, now: Duration) {
        let mut next = Allocator::new(layout, self.tuning.clone(), now);
        let rows = next.ground.rows_of(&self.ground);
        let datacenters = next.ground.datacenters_of(&self.ground);
        next.demand.keep(&self.demand, &rows, &datacenters);
        let (pools, groups) = (next.ground.layout.pools.len() as u32, next.ground.groups() as u32);
        std::mem::swap(&mut next.keys, &mut self.keys);
        let pool_of = |row: u32| (row / groups.max(1)).min(pools);
        next.keys.renumber(&rows, &datacenters, pool_of, &self.tuning);
        for (old, site) in self.sites.iter().zip(&datacenters) {
            if let Some(site) = site.and_then(|site| next.sites.get_mut(usize::from(site))) {
                *site = old.configured_as(site.configured);
            }
        }
        // Members by the names of their pools and datacenters.
        for (number, pool) in next.ground.layout.pools.iter().enumerate() {
            let before = self.ground.layout.pools.iter().position(|old| old.name == pool.name);
            let Some(before) = before else { continue };
            for (member, now) in pool.members.iter().zip(&mut next.members.0[number]) {
                let old = self.ground.layout.pools[before].members.iter();
                let same = |old: &LayoutMember| {
                    let number = datacenters.get(usize::from(old.datacenter.0)).copied().flatten();
                    number == Some(member.datacenter.0)
                };
                if let Some(at) = old.clone().position(same) {
                    *now = self.members.0[before][at];
                }
            }
        }
        // The shares that rows had, by the new numbers of members.
        let mut old_rows = vec![None; next.ground.rows()];
        for (old, row) in rows.iter().enumerate() {
            if let Some(row) = row {
                old_rows[*row as usize] = Some(old);
            }
        }
        for (row, old) in old_rows.iter().enumerate() {
            let Some(old) = *old else {
                next.shares.push([]);
                continue;
            };
            let old_members = &self.ground.layout.pools[self.ground.pool_of(old)].members;
            let members = &next.ground.layout.pools[next.ground.pool_of(row)].members;
            let kept = self.shares.of(old).iter().filter_map(|given| {
                let old = old_members.get(usize::from(given.member))?.datacenter.0;
                let site = datacenters.get(usize::from(old)).copied().flatten()?;
                let at = members.iter().position(|member| member.datacenter.0 == site)?;
                Some(Given { member: at as u16, ..*given })
            });
            next.shares.push(kept);
            next.ttls[row] = self.ttls[old];
            next.changed[row] = self.changed[old];
        }
        next.counters = self.counters.clone();
        next.current = Arc::new(Allocation { version: self.current.version, pools: Vec::new() });
        (next.began, next.first_report) = (self.began, self.first_report);
        *self = next;
    }

    /// Notes an answer that was given.
    pub fn answered(&mut self, now: Duration, answer: &Answered) {
        let Some(row) = self.ground.row(answer.pool, answer.group) else { return };
        if usize::from(answer.datacenter.0) >= self.sites.len() {
            return;
        }
        self.counters.answers += 1;
        let pool = self.ground.pool_of(row as usize) as u32;
        let (now, datacenter) = (now.as_secs_f64(), answer.datacenter.0);
        self.keys.answered(now, answer.key, pool, row, datacenter, answer.ttl);
    }

    /// Takes a datacenter's report, measured `age` ago.
    pub fn report(
        &mut self,
        now: Duration,
        datacenter: DatacenterId,
        report: &SiteReport,
        age: Duration,
    ) {
        let now = now.as_secs_f64();
        let index = usize::from(datacenter.0);
        let Some(site) = self.sites.get_mut(index) else { return };
        if !site.report(now, *report, age.as_secs_f64(), &self.tuning) {
            return;
        }
        self.counters.reports += 1;
        self.is_urgent |= std::mem::take(&mut site.is_urgent);
        let is_first = self.first_report.is_none();
        self.first_report.get_or_insert(now);
        // Reports that come as often as looks are compared with who is there when they come.
        let site = &self.sites[index];
        if site.elapsed < 2.0 * LOOK_S && site.measured - self.sampled >= LOOK_LEAST_S {
            self.look(now);
        }
        if age.as_secs_f64() < self.tuning.late_s && !is_first && self.is_warm(now) {
            self.learn(now, index);
        }
    }

    /// Notes whether a member of a pool takes clients.
    pub fn availability(&mut self, now: Duration, pool: PoolId, member: usize, is: Availability) {
        let Some(number) = self.ground.pool_number(pool) else { return };
        let Some(known) = self.members.0[number].get_mut(member) else { return };
        if *known == is {
            return;
        }
        *known = is;
        self.is_urgent = true;
        let datacenter = self.ground.layout.pools[number].members[member].datacenter.0;
        // What is so from the beginning is no change.
        let is_start = self.ticked.is_none();
        if let Some(is) = self.members.of_datacenter(&self.ground, datacenter) {
            let since = if is_start { f64::NEG_INFINITY } else { now.as_secs_f64() };
            self.sites[usize::from(datacenter)].set_availability(since, is);
        }
    }

    /// Whether the next tick should not wait.
    pub fn wants_solve(&self, now: Duration) -> bool {
        self.is_urgent || self.is_due(now.as_secs_f64())
    }

    /// Does what is due; returns a plan when it is to be published. To be called about every
    /// second.
    pub fn tick(&mut self, now: Duration) -> Option<Outcome> {
        let now = now.as_secs_f64();
        if now - self.sampled >= LOOK_S {
            self.look(now);
        }
        if !self.is_urgent && !self.is_due(now) {
            return None;
        }
        let is_event = std::mem::take(&mut self.is_urgent);
        for site in &mut self.sites {
            site.is_urgent = false;
        }
        self.ticked = Some(now);
        if now - self.joined >= JOIN_S {
            self.joined = now;
            self.demand.join(&self.ground, &self.tuning);
        }
        let outcome = self.plan_and_publish(now, is_event);
        // For the first time as soon as the demand is known: the worst may come at any time.
        let is_first = self.looked_at_losses == f64::NEG_INFINITY && self.is_warm(now);
        if is_first || now - self.looked_at_losses.max(self.began) >= self.tuning.loss_s {
            self.looked_at_losses = now;
            self.look_at_losses(now);
        }
        outcome
    }

    /// The plan that was made for the case that this datacenter is lost; none where none is
    /// ready. It is to be published at once; the next tick makes a plan for what is then.
    pub fn lost(&mut self, now: Duration, datacenter: DatacenterId) -> Option<Outcome> {
        let planned = self.losses.get_mut(usize::from(datacenter.0))?.take()?;
        self.is_urgent = true;
        Some(self.publish(now.as_secs_f64(), planned))
    }

    /// What is answered now.
    pub fn allocation(&self) -> &Arc<Allocation> {
        &self.current
    }

    fn is_due(&self, now: f64) -> bool {
        self.ticked.is_none_or(|ticked| now - ticked >= self.tuning.tick_s - 1e-6)
    }

    /// Whether every client has had the time to come since the allocator began.
    fn is_warm(&self, now: f64) -> bool {
        self.warmth(now) >= 1.0
    }

    /// How much of the demand has had the time to be seen.
    fn warmth(&self, now: f64) -> f64 {
        let longest = self.ground.layout.pools.iter().map(|pool| pool.ttl_max).max().unwrap_or(0);
        ((now - self.began) / (2.0 * f64::from(longest) + 10.0)).clamp(0.0, 1.0)
    }

    /// Looks at who holds what.
    fn look(&mut self, now: f64) {
        self.sampled = now;
        let is_warm = self.is_warm(now);
        let sample = self.keys.sample(now, self.ground.rows(), &self.tuning);
        let follow = if is_warm { self.tuning.follow } else { 1.0 };
        self.demand.seen(&sample, follow);
        // While no report comes, plans go by the queries as a whole.
        if is_warm && self.rates_at_loss.is_none() {
            self.demand.grow(&sample, &self.tuning);
        }
        self.demand.pass(now, &self.tuning);
        self.history.push(sample);
        if !is_warm || !self.demand.is_scaled {
            self.scale_demand(now);
        }
        self.history.keep_demand(now, &self.demand);
    }

    /// While not everybody has had the time to come: what the reports say in all is what those
    /// demand who have come, as far as they can have, and what is left was there before them.
    fn scale_demand(&mut self, now: f64) {
        let longest = self.ground.layout.pools.iter().map(|pool| pool.ttl_max).max().unwrap_or(0);
        let come = ((now - self.began) / f64::from(longest.max(1))).clamp(0.0, 1.0);
        let is_warm = self.is_warm(now);
        let loads: Vec<Option<(f64, f64, f64)>> = (0..self.sites.len())
            .map(|index| {
                let load = self.sites[index].report?.load;
                let held = self.history.held(index, self.sites[index].measured);
                // Load that was there before the first client came is not its doing.
                let before = self.demand.sites[index].load;
                let theirs = if is_warm { (load - before).max(0.1 * load) } else { come * load };
                Some((load, theirs, self.demand.explained(&held)))
            })
            .collect();
        let come = if is_warm { 0.0 } else { come };
        self.demand.scale(&loads, come);
    }

    /// Learns from a datacenter's latest report.
    fn learn(&mut self, now: f64, index: usize) {
        let site = &mut self.sites[index];
        let Some(report) = site.report else { return };
        let held = self.history.held(index, site.measured);
        let capacity = site.nominal_with(&self.tuning);
        let is_censored = capacity.is_some_and(|capacity| report.load >= 1.15 * capacity);
        let horizon = self.history.horizon();
        let planned = self.history.load_as_foreseen(index, site.measured - horizon, &held);
        self.demand.observe(index, report.load, &held, is_censored, &self.tuning);
        if let (Some(planned), Some(capacity)) = (planned, capacity)
            && self.is_warm(now - horizon)
            && capacity > 0.0
        {
            self.sites[index].note_error((report.load - planned) / capacity, &self.tuning);
        }
    }

    /// Whether reports came, and none is live any more.
    fn is_blind(&self, now: f64) -> bool {
        self.first_report.is_some()
            && self.sites.iter().all(|site| site.freshness(now, &self.tuning) > Freshness::Late)
    }
}
