//! One plan: from what is known to a problem, from its solution to what is answered.

use std::sync::Arc;

use super::share::{allotments, by_member, rounded, weighed};
use super::solver::{self, Problem, Solver};
use super::ttl::{Calm, ttl};
use super::wall::{tiers, wall};
use super::{Allocation, Allocator, Outcome, REFUSALS, Shares, State, availability};

/// The share of all load under which a row's demand does not count.
const NEXT_TO_NOTHING: f64 = 1e-5;
/// A cost that forbids.
const FORBIDDEN: f32 = f32::INFINITY;
/// How much the queries alone may raise or lower a demand while no report comes.
const BLIND_FACTOR: (f64, f64) = (1.0, 3.0);
/// From one publication for the sake of TTLs alone to the next, in seconds.
const TTL_EVERY_S: f64 = 10.0;
/// From one publication for the sake of very few clients to the next, in seconds.
const LITTLE_EVERY_S: f64 = 10.0;
/// The share of the demand whose TTLs must change for that.
const TTL_SHARE: f64 = 0.02;

/// A plan that was worked out.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub at: f64,
    pub shares: Shares,
    /// By the site of the solver: what one unit more costs, in milliseconds.
    pub prices: Vec<f64>,
    /// By the datacenter: all of its load, the part of it that no plan can change, its capacity.
    pub loads: Vec<f64>,
    pub fixed: Vec<f64>,
    pub capacities: Vec<Option<f64>>,
    /// By the row: all of its demand.
    pub demands: Vec<f64>,
    pub is_out: Vec<bool>,
}

impl Allocator {
    /// Makes a plan, checks it, and publishes it if it is another one.
    pub(super) fn plan_and_publish(&mut self, now: f64, is_event: bool) -> Option<Outcome> {
        self.disbelieved = availability::disbelieved(&self.sites, now, &self.tuning);
        let mut solver = std::mem::take(&mut self.solver);
        let planned = self.plan(now, &mut solver, None);
        self.solver = solver;
        self.counters.solved += 1;
        let planned = match planned {
            Ok(planned) => planned,
            Err(error) => {
                self.refuse(error);
                return None;
            }
        };
        self.judge(now, &planned);
        let is_first = self.shares.rows() != self.ground.rows() || self.current.pools.is_empty();
        let total: f64 = planned.demands.iter().sum();
        let of_total = |amount: f64| if total > 0.0 { amount / total } else { 0.0 };
        let moved: f64 = (0..planned.shares.rows())
            .map(|row| planned.demands[row] * planned.shares.moved(&self.shares, row))
            .sum();
        let moved = of_total(moved);
        // Rows without demand move for nothing, but to where they should be.
        let idle = (0..planned.shares.rows())
            .any(|row| total <= 0.0 && planned.shares.of(row) != self.shares.of(row));
        if !is_first && !is_event && self.is_warm(now) && moved > self.tuning.most_change {
            self.refusals += 1;
            if self.refusals < REFUSALS {
                self.refuse(format!(
                    "{:.0} % of all demand would move, and nothing has happened",
                    100.0 * moved
                ));
                return None;
            }
        }
        self.refusals = 0;
        let ttls = self.ttls_of(now, &planned);
        let changed: f64 = (0..ttls.len())
            .filter(|row| ttls[*row] != self.ttls[*row])
            .map(|row| planned.demands[row])
            .sum();
        let is_ttl = now - self.published >= TTL_EVERY_S
            && (of_total(changed) > TTL_SHARE || total <= 0.0 && ttls != self.ttls);
        // What moves little waits, but not for ever: to those who are moved it is not little.
        let is_other = planned.shares != self.shares;
        let is_late = is_other && (is_event || now - self.published >= LITTLE_EVERY_S);
        let is_much = moved >= self.tuning.least_change;
        if is_first || is_much || is_late || idle || is_ttl || self.sends_to_dead() {
            return Some(self.publish(now, planned));
        }
        // What is answered stays; what is known of it is new.
        let shares = self.shares.clone();
        self.latest = Some(Planned { shares, ..planned });
        None
    }

    /// Publishes a plan.
    pub(super) fn publish(&mut self, now: f64, planned: Planned) -> Outcome {
        let total: f64 = planned.demands.iter().sum();
        let mut moved = 0.0;
        for row in 0..planned.shares.rows() {
            let part = planned.shares.moved(&self.shares, row);
            if part > self.tuning.same_share && !self.shares.of(row).is_empty() {
                self.changed[row] = now;
            }
            moved += planned.demands[row] * part;
        }
        self.ttls = self.ttls_of(now, &planned);
        let price = |site: u16| {
            let datacenter = self.datacenter_of(site);
            match planned.is_out[datacenter] {
                true => 1e9,
                false => planned.prices.get(usize::from(site)).copied().unwrap_or(0.0),
            }
        };
        let pools = allotments(&self.ground, &planned.shares, price, |row| self.ttls[row]);
        let version = self.current.version + 1;
        self.current = Arc::new(Allocation { version, pools });
        self.shares.clone_from(&planned.shares);
        self.latest = Some(planned);
        self.published = now;
        self.counters.published += 1;
        let moved = if total > 0.0 { moved / total } else { 0.0 };
        Outcome { allocation: Arc::clone(&self.current), moved }
    }

    /// Works out what the loss of each datacenter would mean.
    pub(super) fn look_at_losses(&mut self, now: f64) {
        for index in 0..self.sites.len() {
            let is_out = self.latest.as_ref().is_none_or(|plan| plan.is_out[index]);
            if is_out {
                self.losses[index] = None;
                continue;
            }
            // Its prices are a good start, and must not become those of the present.
            let mut solver = self.solver.clone();
            self.losses[index] = self.plan(now, &mut solver, Some(index)).ok();
        }
        let capacities: Vec<f64> = (0..self.sites.len())
            .map(|index| self.sites[index].nominal_with(&self.tuning).unwrap_or(f64::INFINITY))
            .collect();
        let least = |row: usize| {
            let parts = self.shares.of(row).first();
            let pool = &self.ground.layout.pools[self.ground.pool_of(row)];
            let at = parts.and_then(|part| pool.members.get(usize::from(part.member)));
            let capacity = at.map_or(f64::INFINITY, |at| capacities[usize::from(at.datacenter.0)]);
            let demand = self.demand.rows[row].demand;
            let is_atomic = self.ground.layout.groups[self.ground.group_of(row)].atomic;
            match demand > 0.0 && !is_atomic {
                true => self.tuning.promote_share * capacity / demand,
                false => 1.0,
            }
        };
        let least: Vec<f64> = (0..self.ground.rows()).map(least).collect();
        self.heavy = self.keys.heavy(now, &least, &self.tuning);
    }

    /// Makes a plan; `lost`: as if this datacenter were not there.
    fn plan(&self, now: f64, solver: &mut Solver, lost: Option<usize>) -> Result<Planned, String> {
        let (ground, tuning) = (&self.ground, &self.tuning);
        let datacenters = ground.datacenters();
        let is_lost: Vec<bool> = (0..datacenters).map(|index| lost == Some(index)).collect();
        let allowed: Vec<Vec<bool>> = (0..ground.layout.pools.len())
            .map(|pool| self.members.allowed(ground, pool, &is_lost, &self.disbelieved))
            .collect();
        let capacities: Vec<Option<f64>> =
            (0..datacenters).map(|index| self.capacity(now, index)).collect();
        let (demands, mut fixed, movable) = self.demands();
        let sites = self.solver_sites(now, &capacities, &fixed);
        let width = sites.len();
        let mut costs = vec![FORBIDDEN; ground.rows() * width];
        let mut previous: Vec<Vec<(u16, f64)>> = Vec::with_capacity(ground.rows());
        for row in 0..ground.rows() {
            let pool = ground.pool_of(row);
            let group_costs = ground.costs(ground.group_of(row));
            let members = &ground.layout.pools[pool].members;
            for (member, site) in ground.sites[pool].iter().enumerate() {
                if allowed[pool][member] {
                    let datacenter = usize::from(members[member].datacenter.0);
                    costs[row * width + usize::from(*site)] = group_costs[datacenter];
                }
            }
            let had = self.shares.of(row).iter().filter_map(|had| {
                let site = *ground.sites[pool].get(usize::from(had.member))?;
                Some((site, f64::from(had.share) * movable[row]))
            });
            previous.push(had.collect());
        }
        // The light ones among very many follow the prices.
        let mut order: Vec<usize> = (0..ground.rows()).collect();
        if order.len() > tuning.max_rows {
            let heavier = |a: &usize, b: &usize| {
                let key = |row: usize| ground.row_keys[row];
                movable[*b].total_cmp(&movable[*a]).then(key(*a).cmp(&key(*b)))
            };
            order.sort_by(heavier);
            order.truncate(tuning.max_rows);
            order.sort_unstable();
        }
        let row = |&row: &usize| solver::Row {
            key: ground.row_keys[row],
            demand: movable[row],
            previous: &previous[row],
        };
        let rows: Vec<solver::Row> = order.iter().map(row).collect();
        let chosen: Vec<f32>;
        let costs_of_chosen = if order.len() == ground.rows() {
            &costs
        } else {
            chosen = order.iter().flat_map(|row| &costs[row * width..][..width]).copied().collect();
            &chosen
        };
        let stick_ms = tuning.stick_ms;
        let problem = Problem { sites: &sites, rows: &rows, costs: costs_of_chosen, stick_ms };
        let solution = solver.solve(&problem).map_err(|error| error.to_string())?;

        let mut solved: Vec<Vec<(u16, f64)>> = Vec::with_capacity(ground.rows());
        let mut next = order.iter().enumerate().peekable();
        // So little makes no difference to the solution; to who it is, the prices do.
        let next_to_nothing = NEXT_TO_NOTHING * movable.iter().chain(&fixed).copied().sum::<f64>();
        for row in 0..ground.rows() {
            let pool = ground.pool_of(row);
            let amounts = match next.next_if(|(_, solved)| **solved == row) {
                Some((number, _)) if movable[row] > next_to_nothing => {
                    by_member(&ground.sites[pool], &solution, number)
                }
                _ => {
                    let costs = &costs[row * width..][..width];
                    let had = self.shares.of(row).first().map(|part| usize::from(part.member));
                    let cost = |member: &usize| {
                        let site = usize::from(ground.sites[pool][*member]);
                        let stick_ms = if had == Some(*member) { stick_ms } else { 0.0 };
                        f64::from(costs[site]) + solution.prices[site] - stick_ms
                    };
                    let members = (0..allowed[pool].len()).filter(|member| allowed[pool][*member]);
                    let best = members.min_by(|a, b| cost(a).total_cmp(&cost(b)));
                    best.map(|member| (member as u16, movable[row])).into_iter().collect()
                }
            };
            solved.push(amounts);
        }
        self.check_loads(&solved, &fixed, &capacities, &allowed)?;
        let wanted = solved.iter().enumerate().map(|(row, amounts)| {
            let is_atomic = ground.layout.groups[ground.group_of(row)].atomic;
            rounded(amounts, is_atomic, tuning)
        });
        let wanted: Vec<Vec<(u16, f64)>> = wanted.collect();
        let (shares, mut loads) = self.given(now, &wanted, &movable, &fixed, &capacities);
        fixed.truncate(datacenters);
        loads.truncate(datacenters);
        let is_out = (0..datacenters).map(|index| {
            is_lost[index]
                || self.sites[index].share(now, tuning) == 0.0 && !self.disbelieved[index]
        });
        let is_out = is_out.collect();
        let planned = Planned {
            at: now,
            shares,
            prices: solution.prices,
            loads,
            fixed,
            capacities,
            demands,
            is_out,
        };
        self.check(&planned, &allowed)?;
        Ok(planned)
    }

    /// The weights for the wanted shares, and the loads that follow from them.
    fn given(
        &self,
        now: f64,
        wanted: &[Vec<(u16, f64)>],
        movable: &[f64],
        fixed: &[f64],
        capacities: &[Option<f64>],
    ) -> (Shares, Vec<f64>) {
        let (ground, tuning) = (&self.ground, &self.tuning);
        let split: Vec<u32> =
            (0..wanted.len() as u32).filter(|row| wanted[*row as usize].len() > 1).collect();
        let mut clients = self.keys.of_rows(now, &split, tuning).into_iter();
        let (mut shares, mut loads) = (Shares::default(), fixed.to_vec());
        for (row, wanted) in wanted.iter().enumerate() {
            let members = &ground.layout.pools[ground.pool_of(row)].members;
            let datacenter = |member: u16| usize::from(members[usize::from(member)].datacenter.0);
            let given = if wanted.len() > 1 {
                let slack = wanted.iter().map(|&(member, _)| {
                    // A part of the capacity, but no great part of the row.
                    let capacity = capacities[datacenter(member)].unwrap_or(0.0);
                    (tuning.same_load * capacity / movable[row].max(1e-9)).clamp(0.005, 0.1)
                });
                let slack: Vec<f64> = slack.collect();
                let seeds: Vec<u64> = members.iter().map(|member| member.seed).collect();
                let clients = clients.next().unwrap_or_default();
                weighed(wanted, self.shares.of(row), &clients, &seeds, &slack)
            } else {
                weighed(wanted, &[], &[], &[], &[])
            };
            for part in &given {
                loads[datacenter(part.member)] += f64::from(part.share) * movable[row];
            }
            shares.push(given);
        }
        (shares, loads)
    }

    fn refuse(&mut self, why: String) {
        self.counters.refused += 1;
        self.counters.last_refusal = Some(why);
    }

    /// Whether what is answered now gives clients to a datacenter that is out.
    fn sends_to_dead(&self) -> bool {
        let Some(latest) = &self.latest else { return true };
        let is_out = |index: usize| {
            matches!(
                self.sites[index].availability(),
                super::Availability::Down | super::Availability::Off
            ) && !self.disbelieved[index]
        };
        (0..self.sites.len()).any(|index| is_out(index) && !latest.is_out[index])
    }

    fn datacenter_of(&self, site: u16) -> usize {
        let entry = usize::from(site).checked_sub(self.ground.datacenters());
        entry
            .and_then(|entry| self.ground.entries.get(entry))
            .map_or(usize::from(site), |entry| usize::from(entry.datacenter))
    }

    /// What a datacenter can take; none: no bound is known.
    pub(super) fn capacity(&self, now: f64, index: usize) -> Option<f64> {
        let site = &self.sites[index];
        let silent = self.sites.iter().filter(|site| site.report.is_some());
        let silent = silent.map(|site| now - site.measured).fold(f64::INFINITY, f64::min);
        let is_abandoned = silent.is_finite() && silent > self.tuning.abandon_s;
        if self.disbelieved[index] {
            return site.nominal_with(&self.tuning);
        }
        site.effective(now, is_abandoned, &self.tuning)
    }

    /// All that each row demands; what each site carries that cannot be moved; what can be moved of
    /// each row.
    fn demands(&self) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let (ground, tuning) = (&self.ground, &self.tuning);
        let demand = |row: usize| {
            let state = &self.demand.rows[row];
            let mut demand = state.demand;
            if !self.demand.is_scaled || !state.is_seen {
                // Who has not come makes, if anything, load that is not explained.
                return 0.0;
            }
            // Growth that lasts until the plan is in effect.
            let ahead = f64::from(self.ttls[row]) / 2.0 + 10.0;
            let trend = (state.demand - state.slow) / tuning.trend_s * ahead;
            if trend > tuning.trend_share * state.demand {
                demand += trend.min(2.0 * state.demand);
            }
            if let Some(rates) = &self.rates_at_loss
                && rates[row] > 0.0
            {
                let (least, most) = BLIND_FACTOR;
                demand *= f64::from(state.rate / rates[row]).clamp(least, most);
            }
            demand
        };
        let demands: Vec<f64> = (0..ground.rows()).map(demand).collect();
        let mut fixed = vec![0.0; ground.datacenters() + ground.entries.len()];
        for (index, fixed) in fixed.iter_mut().enumerate().take(ground.datacenters()) {
            *fixed = self.demand.sites[index].load;
        }
        let mut movable = demands.clone();
        for held in self.history.latest() {
            let row = held.row as usize;
            let Some(&demand) = demands.get(row) else { continue };
            let stuck = demand * f64::from(held.stuck);
            if stuck <= 0.0 {
                continue;
            }
            movable[row] = (movable[row] - stuck).max(0.0);
            fixed[usize::from(held.datacenter)] += stuck;
            let pool = ground.pool_of(row);
            let members = ground.layout.pools[pool].members.iter();
            let member = members.clone().position(|one| one.datacenter.0 == held.datacenter);
            if let Some(member) = member {
                let site = usize::from(ground.sites[pool][member]);
                if site >= ground.datacenters() {
                    fixed[site] += stuck;
                }
            }
        }
        (demands, fixed, movable)
    }

    fn solver_sites(
        &self,
        now: f64,
        capacities: &[Option<f64>],
        fixed: &[f64],
    ) -> Vec<solver::Site> {
        let ground = &self.ground;
        let error = |index: usize| self.sites[index].error(now, &self.tuning);
        let datacenters = (0..ground.datacenters()).map(|index| solver::Site {
            key: ground.site_keys[index],
            tiers: tiers(capacities[index], fixed[index], error(index), &self.tuning),
            parent: None,
        });
        let entries = ground.entries.iter().enumerate().map(|(number, entry)| {
            let site = ground.datacenters() + number;
            let whole = usize::from(entry.datacenter);
            let capacity = capacities[whole].map(|capacity| capacity * entry.limit);
            solver::Site {
                key: ground.site_keys[site],
                tiers: tiers(capacity, fixed[site], error(whole), &self.tuning),
                parent: Some(entry.datacenter),
            }
        });
        datacenters.chain(entries).collect()
    }

    fn ttls_of(&self, now: f64, planned: &Planned) -> Vec<u32> {
        let (ground, tuning) = (&self.ground, &self.tuning);
        let is_near: Vec<bool> = (0..ground.datacenters())
            .map(|index| {
                let site = &self.sites[index];
                let wall = wall(site.error(now, tuning), tuning) - tuning.ttl_near;
                let is_full = planned.capacities[index]
                    .is_some_and(|capacity| planned.loads[index] > wall * capacity);
                is_full || planned.is_out[index] || site.is_ramping(now, tuning)
            })
            .collect();
        let of = |row: usize| {
            let pool = &ground.layout.pools[ground.pool_of(row)];
            let costs = ground.costs(ground.group_of(row));
            let here = pool.members.iter().map(|member| usize::from(member.datacenter.0));
            let nearest = here.min_by(|a, b| costs[*a].total_cmp(&costs[*b]));
            let has = planned.shares.of(row).iter().filter_map(|part| {
                Some(usize::from(pool.members.get(usize::from(part.member))?.datacenter.0))
            });
            let is_near = has.chain(nearest).any(|index| is_near[index]);
            let ago = now - self.changed[row];
            let calm = Calm { changed_ago: ago.is_finite().then_some(ago), is_near };
            ttl(calm, (pool.ttl_min, pool.ttl_max), tuning)
        };
        (0..ground.rows()).map(of).collect()
    }

    /// How things stand.
    fn judge(&mut self, now: f64, planned: &Planned) {
        let is_blind = self.is_blind(now);
        match (is_blind, &self.rates_at_loss) {
            (true, None) => {
                let rates = self.demand.rows.iter().map(|row| row.rate);
                self.rates_at_loss = Some(rates.collect());
            }
            (false, Some(_)) => self.rates_at_loss = None,
            _ => {}
        }
        let was_panic = self.state == State::Panic;
        let fullness = |index: usize| {
            planned.capacities[index].map(|capacity| (planned.loads[index], capacity))
        };
        let over: Vec<&str> = (0..self.sites.len())
            .filter(|index| !planned.is_out[*index])
            .filter(|index| fullness(*index).is_some_and(|(load, most)| load > 1.001 * most))
            .map(|index| &*self.ground.layout.datacenters[index].name)
            .collect();
        let near = |index: usize| {
            let wall = wall(self.sites[index].error(now, &self.tuning), &self.tuning);
            !planned.is_out[index]
                && fullness(index).is_some_and(|(load, most)| load > (wall - 1e-6) * most)
        };
        let name = |index: usize| &*self.ground.layout.datacenters[index].name;
        let (state, reason) = if self.disbelieved.contains(&true) {
            let down: Vec<_> =
                (0..self.sites.len()).filter(|i| self.disbelieved[*i]).map(name).collect();
            let text = format!("{} were reported down at once: not believed yet", down.join(", "));
            (State::Panic, Some(text))
        } else if is_blind {
            let live = self.sites.iter().filter(|site| site.report.is_some());
            let age = live.map(|site| now - site.measured).fold(f64::INFINITY, f64::min);
            (State::FailStatic, Some(format!("no report for {age:.0} s")))
        } else if !over.is_empty() {
            (State::Overloaded, Some(format!("more than {} can take", over.join(", "))))
        } else if (0..self.sites.len()).any(near) {
            let near: Vec<_> = (0..self.sites.len()).filter(|i| near(*i)).map(name).collect();
            (State::NearWall, Some(format!("{} at the wall", near.join(", "))))
        } else if planned.capacities.iter().all(Option::is_none) {
            (State::Unlimited, Some("no capacity is known".into()))
        } else {
            (State::Calm, None)
        };
        (self.state, self.reason) = (state, reason);
        self.counters.panics += u64::from(state == State::Panic && !was_panic);
    }
}
