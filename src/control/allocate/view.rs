//! The plan as it is shown.

use std::time::Duration;

use super::availability::disbelieved;
use super::planner::Planned;
use super::wall::wall;
use super::{
    Allocator, Availability, DatacenterState, Loss, Plan, PlannedDatacenter, PlannedGroup,
    PlannedPart, PlannedPool, Promotion, Tuning,
};

impl Allocator {
    /// The plan as it stands, with the `most` groups of the greatest demand, and all that are
    /// split.
    pub fn plan_at(&self, now: Duration, most: usize) -> Plan {
        let now = now.as_secs_f64();
        let ground = &self.ground;
        let demands = self.latest.as_ref().map_or(&[][..], |latest| &latest.demands);
        let demand = |row: usize| demands.get(row).copied().unwrap_or(0.0);
        let is_split = |row: usize| self.shares.of(row).len() > 1;
        let pools = ground.layout.pools.iter().enumerate().map(|(number, pool)| {
            let rows = number * ground.groups()..(number + 1) * ground.groups();
            PlannedPool {
                name: pool.name.clone(),
                demand: rows.clone().map(demand).sum(),
                groups_split: rows.filter(|row| is_split(*row)).count(),
            }
        });
        let mut order: Vec<usize> = (0..demands.len()).filter(|row| demand(*row) > 0.0).collect();
        order.sort_by(|a, b| demand(*b).total_cmp(&demand(*a)).then(a.cmp(b)));
        let groups = order.iter().enumerate();
        let groups = groups
            .filter(|(rank, row)| *rank < most || is_split(**row))
            .map(|(_, row)| self.group(*row, demand(*row)));
        let heavy = self.heavy.iter().map(|heavy| Promotion {
            key: heavy.key,
            pool: ground.pool_of(heavy.row as usize),
            group: ground.group_of(heavy.row as usize) as u32,
            demand: heavy.share * demand(heavy.row as usize),
        });
        let mut promotions: Vec<Promotion> = heavy.collect();
        promotions.sort_by(|a, b| b.demand.total_cmp(&a.demand).then(a.key.cmp(&b.key)));
        Plan {
            state: self.state,
            reason: self.reason.clone(),
            planned_at: self.latest.as_ref().map(|latest| latest.at),
            demand: demands.iter().sum(),
            datacenters: (0..self.sites.len()).map(|index| self.datacenter(now, index)).collect(),
            pools: pools.collect(),
            groups: groups.collect(),
            groups_total: order.len(),
            groups_split: order.iter().filter(|row| is_split(**row)).count(),
            clients: self.keys.len(),
            counters: self.counters.clone(),
            promotions,
        }
    }

    /// By the datacenter: whether it is not believed that it is down, as so much was said to go
    /// down together with it.
    pub fn disbelieved(&self, now: Duration) -> Vec<bool> {
        disbelieved(&self.sites, now.as_secs_f64(), &self.tuning)
    }

    /// Goes by other constants from now on.
    pub fn retune(&mut self, tuning: Tuning) {
        self.tuning = tuning;
    }

    fn group(&self, row: usize, demand: f64) -> PlannedGroup {
        let ground = &self.ground;
        let (pool, group) = (ground.pool_of(row), ground.group_of(row));
        let members = &ground.layout.pools[pool].members;
        let parts = self.shares.of(row).iter().filter_map(|given| {
            let datacenter = usize::from(members.get(usize::from(given.member))?.datacenter.0);
            Some(PlannedPart {
                datacenter: ground.layout.datacenters[datacenter].name.clone(),
                share: f64::from(given.share),
                cost_ms: f64::from(ground.costs(group)[datacenter]),
            })
        });
        PlannedGroup {
            pool,
            group_number: group as u32,
            group: ground.layout.groups[group].name.clone(),
            demand,
            ttl: self.ttls[row],
            parts: parts.collect(),
        }
    }

    fn datacenter(&self, now: f64, index: usize) -> PlannedDatacenter {
        let site = &self.sites[index];
        let latest = self.latest.as_ref();
        let held = self.history.held(index, now);
        let error = site.error(now, &self.tuning);
        PlannedDatacenter {
            name: self.ground.layout.datacenters[index].name.clone(),
            state: match site.availability() {
                Availability::Up if site.is_ramping(now, &self.tuning) => DatacenterState::Ramping,
                Availability::Up => DatacenterState::Up,
                Availability::Draining => DatacenterState::Draining,
                Availability::Down | Availability::Off => DatacenterState::Down,
            },
            configured_capacity: site.configured,
            reported_capacity: site.report.and_then(|report| report.capacity),
            inferred_capacity: site.inferred,
            capacity: self.capacity(now, index),
            reported_load: site.report.map(|report| report.load),
            report_age_seconds: site.report.map(|_| now - site.measured),
            predicted_load: self.demand.load(index, &held),
            planned_load: latest.map_or(0.0, |latest| latest.loads[index]),
            fixed_load: latest.map_or(0.0, |latest| latest.fixed[index]),
            wall: wall(error, &self.tuning),
            error,
            price_ms: latest.and_then(|l| l.prices.get(index).copied()).unwrap_or(0.0),
            loss: self.losses[index].as_ref().map(|loss| self.loss(index, loss)),
        }
    }

    fn loss(&self, lost: usize, planned: &Planned) -> Loss {
        let others = || (0..self.sites.len()).filter(|index| !planned.is_out[*index]);
        let name = |index: usize| self.ground.layout.datacenters[index].name.clone();
        let over = |index: usize| {
            let capacity = planned.capacities[index].unwrap_or(f64::INFINITY);
            (planned.loads[index] - capacity).max(0.0)
        };
        // What nobody else may serve goes to the lost one still.
        let overflow =
            others().map(over).sum::<f64>() + (planned.loads[lost] - planned.fixed[lost]).max(0.0);
        let total: f64 = planned.demands.iter().sum();
        let before = self.latest.as_ref();
        let mut goes_to: Vec<(String, f64)> = others()
            .map(|index| {
                let had = before.map_or(0.0, |before| before.loads[index]);
                (name(index), planned.loads[index] - had)
            })
            .filter(|(_, more)| *more > 1e-3 * total)
            .collect();
        goes_to.sort_by(|a, b| b.1.total_cmp(&a.1));
        let full = others().filter_map(|index| {
            let capacity = planned.capacities[index].filter(|capacity| *capacity > 0.0)?;
            Some((index, planned.loads[index] / capacity))
        });
        let fullest = full.max_by(|a, b| a.1.total_cmp(&b.1));
        Loss {
            overflow,
            overflow_share: if total > 0.0 { overflow / total } else { 0.0 },
            goes_to,
            fullest: fullest.map(|(index, part)| (name(index), part)),
        }
    }
}
