//! A problem in the order of its keys, laid out for scanning.

use super::problem::{Problem, Tier, is_allowed};
use super::solution::by_key;

/// How many costs are scanned at a time; rows are padded to a multiple of it.
pub(super) const LANES: usize = 8;

/// What is smaller than this part of the whole is rounding.
pub(super) const DUST: f64 = 1e-12;

/// As near to the whole, single-precision shares add up to it.
const WHOLE: f64 = 1e-6;

/// A checked problem. Rows and sites are numbered by their keys here, so that nothing depends on
/// the order in which the caller has them; one more node, the sink, is the parent of datacenters.
#[derive(Clone, Debug, Default)]
pub(super) struct Ground {
    /// Which of the caller's rows each one is.
    pub row_order: Vec<usize>,
    /// Which of the caller's sites each one is.
    pub site_order: Vec<usize>,
    pub site_keys: Vec<u64>,
    /// Rows of `stride` costs; ∞ where the site is forbidden, and as padding.
    costs: Vec<f32>,
    stride: usize,
    pub demand: Vec<f64>,
    previous: Vec<(u16, f64)>,
    previous_ends: Vec<u32>,
    pub stick: f64,
    /// Of each site: where its load leads to.
    pub parent: Vec<u16>,
    /// Of each node, the sink included.
    pub children: Vec<Vec<u16>>,
    /// Of each site: rising strictly in bound and slope.
    pub tiers: Vec<Vec<Tier>>,
    /// Of what can be placed.
    pub total: f64,
}

impl Ground {
    /// Takes over a problem that has been checked.
    pub fn read(&mut self, problem: &Problem) {
        self.site_order = by_key(problem.sites.iter().map(|site| site.key));
        self.row_order = by_key(problem.rows.iter().map(|row| row.key));
        let sites = self.site_order.len();
        let mut rank = vec![0; sites];
        for (place, &site) in (0..).zip(&self.site_order) {
            rank[site] = place;
        }
        self.stick = problem.stick_ms;
        self.read_sites(problem, &rank);
        self.read_rows(problem, &rank);
    }

    fn read_sites(&mut self, problem: &Problem, rank: &[u16]) {
        let sites = || self.site_order.iter().map(|site| &problem.sites[*site]);
        let sink = rank.len() as u16;
        self.site_keys = sites().map(|site| site.key).collect();
        self.parent = sites()
            .map(|site| site.parent.map_or(sink, |parent| rank[usize::from(parent)]))
            .collect();
        self.tiers = sites().map(|site| strictly_rising(&site.tiers)).collect();
        self.children = vec![Vec::new(); rank.len() + 1];
        for (site, parent) in (0..).zip(&self.parent) {
            self.children[usize::from(*parent)].push(site);
        }
    }

    fn read_rows(&mut self, problem: &Problem, rank: &[u16]) {
        self.stride = rank.len().next_multiple_of(LANES);
        self.costs.clear();
        self.costs.resize(self.row_order.len() * self.stride, f32::INFINITY);
        self.demand.clear();
        self.previous.clear();
        self.previous_ends.clear();
        self.total = 0.0;
        let in_order = self.site_order.is_sorted();
        for (place, &row) in self.row_order.iter().enumerate() {
            let given = problem.costs_of(row);
            let costs = &mut self.costs[place * self.stride..][..rank.len()];
            if in_order {
                costs.copy_from_slice(given);
            } else {
                for (cost, &site) in costs.iter_mut().zip(&self.site_order) {
                    *cost = given[site];
                }
            }
            let mut least = f32::INFINITY;
            for cost in costs {
                *cost = if is_allowed(*cost) { *cost } else { f32::INFINITY };
                least = least.min(*cost);
            }
            let demand = problem.rows[row].demand;
            self.demand.push(demand);
            self.total += if least.is_finite() { demand } else { 0.0 };
            if self.stick > 0.0 {
                read_previous(problem.rows[row].previous, demand, rank, &mut self.previous);
            }
            self.previous_ends.push(self.previous.len() as u32);
        }
    }

    pub fn rows(&self) -> usize {
        self.row_order.len()
    }

    pub fn sites(&self) -> usize {
        self.site_order.len()
    }

    /// How many costs a row takes, with padding.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// The node where all load ends.
    pub fn sink(&self) -> usize {
        self.site_order.len()
    }

    /// The costs of a row, padded.
    pub fn costs(&self, row: usize) -> &[f32] {
        &self.costs[row * self.stride..][..self.stride]
    }

    pub fn cost(&self, row: usize, site: usize) -> f64 {
        f64::from(self.costs[row * self.stride + site])
    }

    /// What the row had, where moving costs anything.
    pub fn previous(&self, row: usize) -> &[(u16, f64)] {
        let start = if row == 0 { 0 } else { self.previous_ends[row - 1] };
        &self.previous[start as usize..self.previous_ends[row] as usize]
    }

    /// What a load costs a site, in milliseconds × units.
    pub fn cost_of_load(&self, site: usize, load: f64) -> f64 {
        let (mut below, mut cost) = (0.0, 0.0);
        for tier in &self.tiers[site] {
            let within = load.min(tier.up_to) - below;
            if within <= 0.0 {
                break;
            }
            cost += within * tier.slope_ms;
            below = tier.up_to;
        }
        cost
    }

    /// What one unit more costs a site at a load, in milliseconds.
    pub fn slope_at(&self, site: usize, load: f64) -> f64 {
        let tier = self.tiers[site].iter().find(|tier| load < tier.up_to);
        tier.map_or(0.0, |tier| tier.slope_ms)
    }

    /// How much of a row a site had.
    pub fn had(&self, row: usize, site: usize) -> f64 {
        let mut previous = self.previous(row).iter();
        previous.find(|had| usize::from(had.0) == site).map_or(0.0, |had| had.1)
    }
}

/// Appends what a row had, by site.
fn read_previous(given: &[(u16, f64)], demand: f64, rank: &[u16], previous: &mut Vec<(u16, f64)>) {
    let start = previous.len();
    let had = given.iter().filter(|had| had.1 > 0.0);
    previous.extend(had.map(|had| (rank[usize::from(had.0)], had.1)));
    let had = &mut previous[start..];
    had.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    // What stands twice counts twice.
    for at in (1..had.len()).rev() {
        if had[at].0 == had[at - 1].0 {
            had[at - 1].1 += had[at].1;
            had[at].1 = 0.0;
        }
    }
    // Shares times demand that are the whole but for rounding are the whole: else every row
    // would have a crumb to move.
    let whole: f64 = had.iter().map(|had| had.1).sum();
    if (whole - demand).abs() <= demand * WHOLE {
        for had in had {
            had.1 = if had.1 == whole { demand } else { had.1 / whole * demand };
        }
    }
}

/// Without tiers of no width, and with those of one slope as one.
fn strictly_rising(tiers: &[Tier]) -> Vec<Tier> {
    let mut rising: Vec<Tier> = Vec::with_capacity(tiers.len());
    for tier in tiers {
        let below = rising.last().map_or(0.0, |last| last.up_to);
        match rising.last_mut() {
            _ if tier.up_to <= below => {}
            Some(last) if last.slope_ms == tier.slope_ms => last.up_to = tier.up_to,
            _ => rising.push(*tier),
        }
    }
    rising
}
