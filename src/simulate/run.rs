//! One run: a world, what happens in it, and who decides.

use serde::Serialize;

use super::caches::{CacheModel, Caches};
use super::demand::Demand;
use super::optimum;
use super::plant::Plant;
use super::policy::{Asker, Controller, Knowledge, Policy, Truth};
use super::scenario::{Happening, Scenario};
use super::score::{Score, Second, SiteSecond, Tally};
use super::world::World;

/// Seconds before the beginning that are simulated and not judged: caches fill, estimates settle.
pub(super) const WARM_UP: u32 = 300;
/// Seconds between two solutions of the optimum.
const OPTIMUM_EVERY: u32 = 30;
/// Seconds between two points of the series.
pub(super) const SERIES_EVERY: u32 = 10;
/// Seconds after which sums that have been kept by differences are made anew.
const SUM_EVERY: u32 = 600;

/// The bounds of the TTL of answers, in seconds. Who cannot choose gives the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Ttl {
    /// At least 1.
    pub min: u32,
    /// At least `min`.
    pub max: u32,
}

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// Who asks and who serves.
    pub world: World,
    /// What happens.
    pub scenario: Scenario,
    /// Who decides.
    pub policy: Policy,
    /// What it is told of the round trips.
    pub knowledge: Knowledge,
    /// The bounds of the TTL.
    pub ttl: Ttl,
    /// Decides demand, caches and noise.
    pub seed: u64,
    /// How the clients are spread over caches.
    pub caches: CacheModel,
    /// What [`optimum_ms`] says, if it has been asked; it does not depend on the policy.
    pub optimum_ms: Option<f64>,
}

impl Experiment {
    /// With a TTL of 30 s and caches as usual.
    pub fn new(
        world: World,
        scenario: Scenario,
        policy: Policy,
        knowledge: Knowledge,
        seed: u64,
    ) -> Experiment {
        let (ttl, caches) = (Ttl { min: 30, max: 30 }, CacheModel::default());
        Experiment { world, scenario, policy, knowledge, ttl, seed, caches, optimum_ms: None }
    }
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The judgement.
    pub score: Score,
    /// What happened at the datacenters.
    pub series: Vec<Series>,
}

/// A datacenter's course: a point every 10 s.
#[derive(Clone, Debug, Serialize)]
pub struct Series {
    /// Its name.
    pub datacenter: String,
    /// Requests a second that were offered.
    pub load: Vec<f32>,
    /// Requests a second it could serve; 0 while it was dead.
    pub capacity: Vec<f32>,
}

/// Runs an experiment. The same experiment has the same outcome, everywhere.
pub fn run(experiment: &Experiment) -> Outcome {
    let Experiment { world, scenario, ttl, seed, .. } = experiment;
    let optimum_ms = experiment.optimum_ms.unwrap_or_else(|| optimum_ms(world, scenario, *seed));
    let mut stage = Stage::new(world, scenario, *seed);
    let mut caches = Caches::new(world, &experiment.caches, scenario.mislocated, *seed);
    let mut flow = Flow::new(world);
    let seems: Vec<usize> = caches.units.iter().map(|unit| unit.seems).collect();
    let node = |_| Controller::new(experiment, &seems);
    let mut nodes: Vec<Controller> = (0..scenario.nodes.max(1)).map(node).collect();
    let mut tally = Tally::new(scenario.forgiven(f64::from(ttl.max)));
    let mut series = world.datacenters.iter().map(Series::of).collect::<Vec<Series>>();
    let mut sites = vec![SiteSecond::default(); world.datacenters.len()];
    for clock in 0..WARM_UP + scenario.seconds {
        let (now, judged) = (f64::from(clock), clock.checked_sub(WARM_UP));
        stage.begin(now);
        let rooms: Vec<f64> = stage.plant.sites.iter().map(|site| site.room()).collect();
        nodes.iter_mut().for_each(|node| node.begin(now));
        for (datacenter, up) in stage.plant.checks(now) {
            nodes.iter_mut().for_each(|node| node.health(datacenter, up));
        }
        for report in stage.plant.arrived(now) {
            nodes.iter_mut().for_each(|node| node.report(&report));
        }
        let truth = Truth { time: now, demand: &stage.now, rooms: &rooms };
        nodes.iter_mut().for_each(|node| node.heard(&truth));
        for (time, unit) in caches.due(now) {
            let (home, group) = (caches.units[unit].home, caches.units[unit].seems);
            let asker = Asker { unit, group };
            let node = unit % nodes.len();
            let (datacenter, chosen) = nodes[node].answer(asker, time);
            let given = f64::from(chosen.unwrap_or(ttl.max));
            let before = caches.units[unit].datacenter;
            let share = caches.units[unit].share;
            if before != Some(datacenter) {
                flow.shift(home, before, datacenter, share);
            }
            caches.answered(unit, time, datacenter, given, stage.now[home]);
            if judged.is_some() {
                let moved = if before == Some(datacenter) { 0.0 } else { share * stage.now[home] };
                tally.query(moved / stage.total, given);
            }
        }
        if clock.is_multiple_of(SUM_EVERY) {
            flow.sum(&caches);
        }
        flow.offer(world, &stage, &mut sites);
        let loads: Vec<f64> = sites.iter().map(|site| site.load).collect();
        stage.plant.measure(now, &loads);
        let Some(time) = judged else { continue };
        tally.second(&Second { time, sites: &sites });
        if Tally::looks_at(time) {
            flow.distribute(world, &stage, &sites, &mut tally);
        }
        if time.is_multiple_of(SERIES_EVERY) {
            series.iter_mut().zip(&sites).for_each(|(series, site)| series.push(site));
        }
    }
    Outcome { score: tally.score(scenario.seconds, optimum_ms), series }
}

/// The mean round trip that no policy can beat: the cheapest assignment at every time, the dropped
/// at 1,000 ms.
pub fn optimum_ms(world: &World, scenario: &Scenario, seed: u64) -> f64 {
    let mut stage = Stage::new(world, scenario, seed);
    let costs: Vec<f64> =
        (0..world.groups.len()).flat_map(|group| world.rtt(group).to_vec()).collect();
    let (mut cost, mut demand) = (0.0, 0.0);
    for clock in 0..WARM_UP + scenario.seconds {
        stage.begin(f64::from(clock));
        if clock < WARM_UP || !clock.is_multiple_of(OPTIMUM_EVERY) {
            continue;
        }
        let rooms: Vec<f64> = stage.plant.sites.iter().map(|site| site.room()).collect();
        let assigned = optimum::assign(&stage.now, &costs, &rooms);
        cost += optimum::mean_cost(&assigned, &costs, rooms.len()) * stage.total;
        demand += stage.total;
    }
    cost / demand.max(f64::MIN_POSITIVE)
}

/// What is the same whoever decides: the demand, and the datacenters with their fates.
pub(super) struct Stage<'a> {
    world: &'a World,
    scenario: &'a Scenario,
    demand: Demand,
    pub(super) plant: Plant,
    next_event: usize,
    /// Requests a second by group.
    now: Vec<f64>,
    total: f64,
}

impl<'a> Stage<'a> {
    pub(super) fn new(world: &'a World, scenario: &'a Scenario, seed: u64) -> Stage<'a> {
        let half = f64::from(scenario.seconds) / 2.0 / 3600.0;
        let start = scenario.start_hour.unwrap_or_else(|| world.busiest_hour() - half);
        let demand = Demand::new(world, start - f64::from(WARM_UP) / 3600.0, seed);
        let plant = Plant::new(world, seed);
        Stage { world, scenario, demand, plant, next_event: 0, now: Vec::new(), total: 0.0 }
    }

    /// Goes on to a second, counted from the beginning of the warm-up.
    pub(super) fn begin(&mut self, now: f64) {
        let time = now - f64::from(WARM_UP);
        while let Some(event) = self.scenario.events.get(self.next_event)
            && event.at <= time
        {
            self.next_event += 1;
            self.happens(&event.what, now);
        }
        self.now.clear();
        self.now.extend_from_slice(self.demand.at(self.world, now));
        self.total = self.now.iter().sum();
    }

    fn happens(&mut self, what: &Happening, now: f64) {
        let world = self.world;
        let index = |name: &str| world.datacenters.iter().position(|one| one.name == name);
        let mut sites =
            |name: Option<&str>, change: &mut dyn FnMut(&mut super::plant::Site)| match name {
                None => self.plant.sites.iter_mut().for_each(change),
                Some(name) => {
                    index(name).into_iter().for_each(|one| change(&mut self.plant.sites[one]))
                }
            };
        match what {
            Happening::Dies { datacenter } => {
                sites(Some(datacenter), &mut |site| site.alive = false)
            }
            Happening::Returns { datacenter } => {
                sites(Some(datacenter), &mut |site| site.alive = true)
            }
            Happening::Surge { country, factor, ramp } => {
                let of = |group: &usize| world.groups[*group].country == *country;
                let groups = (0..world.groups.len()).filter(of).collect();
                self.demand.surge(groups, now, *factor, *ramp);
            }
            Happening::Capacity { datacenter, factor, reported } => {
                let Some(first) = index(datacenter).map(|one| world.datacenters[one].capacity)
                else {
                    return;
                };
                sites(Some(datacenter), &mut |site| {
                    site.capacity = first * factor;
                    if *reported {
                        site.told_capacity = first * factor;
                    }
                });
            }
            Happening::ReportsStop { datacenter } => {
                sites(datacenter.as_deref(), &mut |site| site.reports = false);
            }
            Happening::ReportsResume { datacenter } => {
                sites(datacenter.as_deref(), &mut |site| site.reports = true);
            }
            Happening::Sick { datacenter, ms, errors } => sites(Some(datacenter), &mut |site| {
                (site.slow_ms, site.errors) = (*ms, *errors);
            }),
            Happening::ChecksFail { datacenters } => {
                for name in datacenters {
                    sites(Some(name), &mut |site| site.checks_fail = true);
                }
            }
            Happening::ChecksRecover => sites(None, &mut |site| site.checks_fail = false),
        }
    }
}

/// Which part of each group is sent to each datacenter.
struct Flow {
    width: usize,
    /// By group and datacenter.
    parts: Vec<f64>,
}

impl Flow {
    fn new(world: &World) -> Flow {
        let width = world.datacenters.len();
        Flow { width, parts: vec![0.0; world.groups.len() * width] }
    }

    fn shift(&mut self, group: usize, from: Option<usize>, to: usize, share: f64) {
        if let Some(from) = from {
            self.parts[group * self.width + from] -= share;
        }
        self.parts[group * self.width + to] += share;
    }

    /// Makes the sums anew, so that rounding does not add up.
    fn sum(&mut self, caches: &Caches) {
        self.parts.fill(0.0);
        for unit in &caches.units {
            if let Some(datacenter) = unit.datacenter {
                self.parts[unit.home * self.width + datacenter] += unit.share;
            }
        }
    }

    /// What the datacenters are offered, and make of it.
    fn offer(&self, world: &World, stage: &Stage<'_>, sites: &mut [SiteSecond]) {
        for (site, truth) in sites.iter_mut().zip(&stage.plant.sites) {
            *site = SiteSecond { room: truth.room(), alive: truth.alive, ..SiteSecond::default() };
        }
        for (group, (parts, &demand)) in self.parts.chunks(self.width).zip(&stage.now).enumerate() {
            for ((site, part), rtt) in sites.iter_mut().zip(parts).zip(world.rtt(group)) {
                let load = part * demand;
                site.load += load;
                site.rtt_sum += load * rtt;
            }
        }
        for (site, truth) in sites.iter_mut().zip(&stage.plant.sites) {
            site.load = site.load.max(0.0);
            site.rtt_sum += site.load * truth.slow_ms;
            let fits = if site.load > site.room { site.room / site.load } else { 1.0 };
            site.served = if truth.alive { fits * (1.0 - truth.errors) } else { 0.0 };
        }
    }

    fn distribute(
        &self,
        world: &World,
        stage: &Stage<'_>,
        sites: &[SiteSecond],
        tally: &mut Tally,
    ) {
        for (group, (parts, &demand)) in self.parts.chunks(self.width).zip(&stage.now).enumerate() {
            for (datacenter, part) in parts.iter().enumerate().filter(|(_, part)| **part > 1e-9) {
                let rtt = world.rtt(group)[datacenter] + stage.plant.sites[datacenter].slow_ms;
                tally.distribute(rtt, part * demand * sites[datacenter].served);
            }
        }
    }
}

impl Series {
    fn of(datacenter: &super::world::Datacenter) -> Series {
        Series { datacenter: datacenter.name.clone(), load: Vec::new(), capacity: Vec::new() }
    }

    fn push(&mut self, site: &SiteSecond) {
        self.load.push(site.load as f32);
        self.capacity.push(site.room as f32);
    }
}

#[cfg(test)]
mod tests;
