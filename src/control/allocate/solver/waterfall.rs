//! The simple way: every row goes to the nearest site with room.

use super::flow::Flow;
use super::ground::Ground;
use super::problem::{Problem, ProblemError};
use super::solution::Solution;

/// Below this slope a site has room; from here on it is full.
const FULL_MS: f64 = 100.0;

/// Assigns row by row, those with the nearest site first: each takes what room its nearest sites
/// have, and where none has any, what one unit more costs least. Minimises nothing, but is what
/// most steering does: a yardstick, and what is left if all else fails.
pub fn waterfall(problem: &Problem) -> Result<Solution, ProblemError> {
    problem.check()?;
    let mut ground = Ground::default();
    ground.read(problem);
    Ok(pour(&ground))
}

pub(super) fn pour(ground: &Ground) -> Solution {
    let mut water = Water { ground, loads: vec![0.0; ground.sites()], flow: Flow::default() };
    water.flow.clear(ground.rows(), ground.sites());
    let nearest = |row: usize| ground.costs(row).iter().copied().fold(f32::INFINITY, f32::min);
    let mut rows: Vec<_> = (0..ground.rows()).map(|row| (nearest(row), row)).collect();
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (_, row) in rows {
        water.pour(row);
    }
    let prices: Vec<f64> = (0..ground.sites()).map(|site| water.slope(site)).collect();
    Solution::value(ground, &water.flow, &prices)
}

struct Water<'a> {
    ground: &'a Ground,
    loads: Vec<f64>,
    flow: Flow,
}

impl Water<'_> {
    fn pour(&mut self, row: usize) {
        let costs = self.ground.costs(row);
        let mut sites: Vec<usize> =
            (0..self.ground.sites()).filter(|site| costs[*site].is_finite()).collect();
        sites.sort_by(|a, b| costs[*a].total_cmp(&costs[*b]));
        let mut left = self.ground.demand[row];
        for &site in &sites {
            let room = |site: usize| {
                let free = self.ground.tiers[site].iter().take_while(|t| t.slope_ms < FULL_MS);
                free.last().map_or(0.0, |tier| tier.up_to - self.loads[site])
            };
            let amount = left.min(room(site)).min(self.parent(site).map_or(f64::INFINITY, room));
            left -= self.add(row, site, amount);
        }
        // All are full: a tier at a time, and there are only so many.
        while left > 0.0 {
            let price = |site: &usize| f64::from(costs[*site]) + self.slope(*site);
            let Some(&site) = sites.iter().min_by(|a, b| price(a).total_cmp(&price(b))) else {
                return;
            };
            let room = |site: usize| {
                let tiers = self.ground.tiers[site].iter().map(|tier| tier.up_to);
                let load = self.loads[site];
                tiers.into_iter().find(|bound| load < *bound).map_or(0.0, |bound| bound - load)
            };
            let room = room(site).min(self.parent(site).map_or(f64::INFINITY, room));
            // A step that rounding would swallow is no step.
            let amount = if room > self.loads[site] * 1e-12 { left.min(room) } else { left };
            left -= self.add(row, site, amount);
        }
    }

    fn add(&mut self, row: usize, site: usize, amount: f64) -> f64 {
        if amount <= 0.0 {
            return 0.0;
        }
        self.flow.set(self.ground, row, site, self.flow.amount(row, site) + amount);
        self.loads[site] += amount;
        if let Some(parent) = self.parent(site) {
            self.loads[parent] += amount;
        }
        amount
    }

    fn parent(&self, site: usize) -> Option<usize> {
        let parent = usize::from(self.ground.parent[site]);
        (parent != self.ground.sink()).then_some(parent)
    }

    /// What a unit more costs, at the parent too.
    fn slope(&self, site: usize) -> f64 {
        let own = |site: usize| self.ground.slope_at(site, self.loads[site]);
        own(site) + self.parent(site).map_or(0.0, own)
    }
}
