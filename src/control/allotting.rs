//! Between the facts and the allocator: what it is told, and what it says. While a plan is worked
//! out the allocator is lent out, so that nobody has to wait for it.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::allocate::{
    Allocation, Allocator, Availability, Layout, Plan, SiteReport, State, Tuning,
};
use super::publish::Ground;
use super::{AllocationSettings, Now};
use crate::decide::{Allotment, DatacenterId, PoolId};
use crate::ledger::{Answered, prefix_of};

/// The most prefixes that are client groups of their own.
const MOST_PROMOTED: usize = 64;
/// From one choice of those to the next: each moves clients, and what was learned of the groups
/// together is learned anew.
const PROMOTE_EVERY: Duration = Duration::from_secs(600);
/// A prefix stays a group of its own while it demands at least this share of its datacenter's
/// capacity: half of what makes it one.
const STAYS_PROMOTED: f64 = 0.01;

/// Whether a member of a pool takes clients.
pub type MemberAvailability = (PoolId, usize, Availability);
/// A datacenter's report, and how long ago it came.
pub type AgedReport = (DatacenterId, SiteReport, Duration);

/// The allocator's place among the facts.
#[derive(Debug, Default)]
pub struct Allotting {
    layout: Arc<Layout>,
    /// None while it is lent out, and where there is nothing to allocate.
    allocator: Option<Allocator>,
    allocation: Arc<Allocation>,
    plan: Arc<Plan>,
    /// By the datacenter: whether none of its members takes clients.
    is_out: Vec<bool>,
    /// By the datacenter: whether its checks are not believed.
    is_doubted: Vec<bool>,
    /// Who takes clients was told while it was lent out.
    is_unnoted: bool,
    last_solve: Duration,
    missed_total: u64,
    chosen_at: Duration,
}

/// The allocator while a plan is worked out.
#[derive(Debug)]
pub struct Work {
    allocator: Allocator,
    layout: Arc<Layout>,
    /// Of the snapshots in which the layout's numbers stand.
    epoch: u8,
    reports: Vec<AgedReport>,
    missed: u64,
    plan: Option<Plan>,
}

/// The plan that is served, and how it was come by.
#[derive(Clone, Debug, Default)]
pub struct PlanStatus {
    /// The plan.
    pub plan: Arc<Plan>,
    /// What it is a plan for.
    pub layout: Arc<Layout>,
    /// How long ago it was worked out; none: there is none.
    pub age: Option<Duration>,
    /// How long working out the latest took.
    pub last_solve: Duration,
    /// Answers that went by uncounted: there were more than could be looked at, or a reload came
    /// between.
    pub answers_missed_total: u64,
    /// The prefixes that are client groups of their own.
    pub promoted: Vec<IpNet>,
}

/// What a new plan brings, for people in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Whether there may be something to publish.
    pub is_other: bool,
    /// How things stand, if otherwise than before.
    pub state: Option<String>,
    /// Why a plan is not served, if one is not.
    pub refusal: Option<String>,
}

impl Allotting {
    /// What is given to each group of a pool.
    pub fn allotments(&self, pools: usize) -> Vec<Option<Arc<Allotment>>> {
        let mut allotments = vec![None; pools];
        for (PoolId(pool), allotment) in &self.allocation.pools {
            if let Some(place) = allotments.get_mut(*pool as usize) {
                *place = Some(Arc::clone(allotment));
            }
        }
        allotments
    }

    /// Whether there is an allocation.
    pub fn is_planned(&self) -> bool {
        !self.allocation.pools.is_empty()
    }

    /// Notes who takes clients. Where that takes a whole datacenter, the plan for that case is what
    /// is given from now on; returns those datacenters' numbers.
    pub fn note(&mut self, members: &[MemberAvailability], now: Now) -> Vec<usize> {
        let Some(allocator) = &mut self.allocator else {
            self.is_unnoted = true;
            return Vec::new();
        };
        self.is_unnoted = false;
        let mut is_out = vec![true; self.layout.datacenters.len()];
        for &(pool, member, is) in members {
            allocator.availability(now.elapsed, pool, member, is);
            // They are in the order of their numbers.
            let pool = self.layout.pools.binary_search_by_key(&pool, |known| known.id);
            let member = pool.ok().and_then(|pool| self.layout.pools[pool].members.get(member));
            if let Some(DatacenterId(datacenter)) = member.map(|member| member.datacenter) {
                is_out[usize::from(datacenter)] &=
                    matches!(is, Availability::Down | Availability::Off);
            }
        }
        self.is_doubted = allocator.disbelieved(now.elapsed);
        let lost = is_out.iter().zip(&self.is_out).enumerate();
        let lost = lost.filter(|(index, (is, was))| **is && !**was && !self.is_doubted[*index]);
        let lost: Vec<usize> = lost.map(|(index, _)| index).collect();
        self.is_out = is_out;
        // What is planned for the loss of one is no plan for that of several.
        if let [index] = lost[..]
            && let Some(outcome) = allocator.lost(now.elapsed, DatacenterId(index as u16))
        {
            self.allocation = outcome.allocation;
            return lost;
        }
        Vec::new()
    }

    /// By the datacenter: whether so much was said to be down together with it that it is not
    /// believed.
    pub fn is_doubted(&self, DatacenterId(index): DatacenterId) -> bool {
        self.is_doubted.get(usize::from(index)).copied().unwrap_or(false)
    }

    /// Notes an answer that was given from a snapshot of the present epoch.
    pub fn count(&mut self, answered: Answered, now: Now) {
        if let Some(allocator) = &mut self.allocator {
            tell(allocator, answered, now);
        }
    }

    /// Lends the allocator out, with the reports it has not heard of. None where it is out already,
    /// or there is nothing to allocate.
    pub fn lend(&mut self, epoch: u8, reports: impl FnOnce() -> Vec<AgedReport>) -> Option<Work> {
        let allocator = self.allocator.take()?;
        Some(Work {
            allocator,
            layout: Arc::clone(&self.layout),
            epoch,
            reports: reports(),
            missed: 0,
            plan: None,
        })
    }

    /// Takes the allocator back, and what it has worked out. A layout other than that which is
    /// served is passed over.
    pub fn take_back(&mut self, work: Work, took: Duration) -> News {
        self.missed_total += work.missed;
        let mut news = News { is_other: self.is_unnoted, ..News::default() };
        if !Arc::ptr_eq(&work.layout, &self.layout) {
            return news;
        }
        news.is_other |= !Arc::ptr_eq(&self.allocation, work.allocator.allocation());
        self.allocation = Arc::clone(work.allocator.allocation());
        if let Some(plan) = work.plan {
            self.last_solve = took;
            // Doubts may have come or gone.
            news = News::between(&self.plan, &plan);
            self.plan = Arc::new(plan);
        }
        self.allocator = Some(work.allocator);
        news
    }

    /// Serves another layout from now on, with what was worked out for it; none where there is
    /// nothing to allocate.
    pub fn replace(&mut self, work: Option<Work>, took: Duration) -> News {
        let Some(work) = work else {
            *self = Allotting::default();
            return News::default();
        };
        if !Arc::ptr_eq(&work.layout, &self.layout) {
            self.layout = Arc::clone(&work.layout);
            // As much as nothing is known, until it is noted.
            self.is_out = vec![false; self.layout.datacenters.len()];
            self.is_doubted = vec![false; self.layout.datacenters.len()];
        }
        self.take_back(work, took)
    }

    /// The plan that is served.
    pub fn status(&self, promoted: Vec<IpNet>, now: Now) -> PlanStatus {
        let age = self.plan.planned_at.map(|at| (now.elapsed.as_secs_f64() - at).max(0.0));
        PlanStatus {
            plan: Arc::clone(&self.plan),
            layout: Arc::clone(&self.layout),
            age: age.map(Duration::from_secs_f64),
            last_solve: self.last_solve,
            answers_missed_total: self.missed_total,
            promoted,
        }
    }

    /// The prefixes that should be groups of their own, if others than those that are: the heaviest
    /// clients, and of those that are groups already, all that have not become light.
    pub fn promotions(&mut self, promoted: &[IpNet], now: Now) -> Option<Vec<IpNet>> {
        if now.elapsed.saturating_sub(self.chosen_at) < PROMOTE_EVERY {
            return None;
        }
        self.chosen_at = now.elapsed;
        let plan = &self.plan;
        let demand = |prefix: &IpNet| {
            let name = prefix.to_string();
            plan.groups.iter().filter(|one| one.group == name).map(|one| one.demand).sum::<f64>()
        };
        let capacities = plan.datacenters.iter().filter_map(|one| one.capacity);
        let least = STAYS_PROMOTED * capacities.fold(f64::INFINITY, f64::min);
        let mut wanted: Vec<(f64, IpNet)> = promoted
            .iter()
            .map(|prefix| (demand(prefix), *prefix))
            .filter(|(demand, _)| *demand >= least)
            .collect();
        wanted.extend(plan.promotions.iter().map(|one| (one.demand, prefix_of(one.key))));
        wanted.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut wanted: Vec<IpNet> = wanted.into_iter().map(|(_, prefix)| prefix).collect();
        let mut seen = std::collections::HashSet::new();
        wanted.retain(|prefix| seen.insert(*prefix));
        wanted.truncate(MOST_PROMOTED);
        wanted.sort_unstable();
        (wanted != promoted).then_some(wanted)
    }
}

impl Work {
    /// For a ground that is to be served: with what another allocator has learned, if there was
    /// one. None where there is nothing to allocate.
    pub fn on(ground: &Ground, before: Option<Work>, now: Now) -> Option<Work> {
        if ground.layout.pools.is_empty() {
            return None;
        }
        let (layout, tuning) = (Layout::clone(&ground.layout), tuning(&ground.settings.allocation));
        let (allocator, missed) = match before {
            Some(mut work) => {
                work.allocator.retune(tuning);
                if !Arc::ptr_eq(&work.layout, &ground.layout) {
                    work.allocator.replace(layout, now.elapsed);
                }
                (work.allocator, work.missed)
            }
            None => (Allocator::new(layout, tuning, now.elapsed), 0),
        };
        Some(Work {
            allocator,
            layout: Arc::clone(&ground.layout),
            epoch: 0,
            reports: Vec::new(),
            missed,
            plan: None,
        })
    }

    /// Notes an answer that was given. What is of another epoch has other numbers.
    pub fn count(&mut self, answered: Answered, now: Now) {
        if answered.epoch() == self.epoch {
            tell(&mut self.allocator, answered, now);
        } else {
            self.missed += 1;
        }
    }

    /// Notes answers that went by uncounted.
    pub fn miss(&mut self, answers: u64) {
        self.missed += answers;
    }

    /// Works out what is due.
    pub fn run(&mut self, now: Now) {
        for (datacenter, report, age) in self.reports.drain(..) {
            self.allocator.report(now.elapsed, datacenter, &report, age);
        }
        let is_due = self.allocator.wants_solve(now.elapsed);
        // What it returns is also its allocation from now on.
        self.allocator.tick(now.elapsed);
        if is_due {
            self.plan = Some(self.allocator.plan_at(now.elapsed, usize::MAX));
        }
    }
}

impl News {
    fn between(old: &Plan, new: &Plan) -> News {
        let reason = || new.reason.clone().unwrap_or_else(|| "nothing to allocate".into());
        let state = match (old.state, new.state) {
            (old, new) if old == new => None,
            (_, State::Panic) => Some(format!("panic: {}", reason())),
            (_, State::FailStatic) => Some(format!("the plan is held: {}", reason())),
            (_, State::Overloaded) => Some(format!("overloaded: {}", reason())),
            // What comes and goes by the hour is no news.
            (State::Panic | State::FailStatic | State::Overloaded, State::NearWall) => {
                Some(format!("near the wall: {}", reason()))
            }
            (State::Panic | State::FailStatic | State::Overloaded, _) => Some("calm".into()),
            _ => None,
        };
        let is_refused = new.counters.refused > old.counters.refused;
        let refusal = new.counters.last_refusal.clone().filter(|_| is_refused);
        News { is_other: true, state, refusal }
    }
}

fn tell(allocator: &mut Allocator, answered: Answered, now: Now) {
    let answered = super::allocate::Answered {
        key: answered.key(),
        pool: answered.pool(),
        group: answered.group().0,
        datacenter: answered.datacenter(),
        ttl: answered.ttl(),
    };
    allocator.answered(now.elapsed, &answered);
}

fn tuning(settings: &AllocationSettings) -> Tuning {
    Tuning {
        tick_s: settings.interval.as_secs_f64(),
        slow_start_s: settings.slow_start.as_secs_f64(),
        drain_s: settings.drain.as_secs_f64(),
        ..Tuning::default()
    }
}
