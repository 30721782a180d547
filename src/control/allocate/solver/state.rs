//! A problem half solved: flows, prices, and what does not fit yet.
//!
//! A pseudo-flow that is optimal at its prices: every part is where cost plus price is least, and
//! every site passes on what its price says. What comes in more than goes out is its excess;
//! successive shortest paths (Ahuja, Magnanti, Orlin: Network Flows, §9.7) carry it to where
//! there is too little.

use super::flow::{Flow, coming, leaving};
use super::ground::{DUST, Ground, LANES};
use super::moves::Moves;

/// Prices this near to a slope are meant to be equal to it, relative to both.
const SAME: f64 = 1e-9;

#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub flow: Flow,
    pub moves: Moves,
    /// Of each node; the sink's is 0. Padded with 0.
    pub prices: Vec<f64>,
    /// What each site passes on to its parent.
    pub outflow: Vec<f64>,
    /// Of each node, the sink included; all together 0.
    pub excess: Vec<f64>,
    /// Below, excess is none.
    pub dust: f64,
}

/// A way for a unit to get from one node to another.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arc {
    /// A part of a row changes its site.
    Move,
    /// More goes on to the parent.
    Up,
    /// Less goes on to the parent, so that more is left at the site.
    Down,
}

/// A step of a path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hop {
    pub from: usize,
    pub to: usize,
    pub arc: Arc,
    /// What it costs a unit.
    pub cost: f64,
}

impl State {
    /// Sends everybody where it is cheapest at prices that are not too far from the right ones.
    pub fn start(&mut self, ground: &Ground, prices: &[f64]) {
        let sites = ground.sites();
        self.set_prices(ground, prices);
        self.dust = ground.total * DUST;
        self.flow.clear(ground.rows(), sites);
        self.excess.clear();
        self.excess.resize(sites + 1, 0.0);
        for row in 0..ground.rows() {
            if ground.demand[row] > 0.0 {
                self.place(ground, row);
            }
        }
        self.outflow.clear();
        self.outflow.resize(sites, 0.0);
        self.excess[ground.sink()] = -ground.total;
        // Entries first: what they pass on comes in at their parents.
        let (mut entries, mut datacenters) = (Vec::new(), Vec::new());
        for site in 0..sites {
            let is_entry = usize::from(ground.parent[site]) != ground.sink();
            if is_entry { entries.push(site) } else { datacenters.push(site) }
        }
        for site in entries.into_iter().chain(datacenters) {
            let outflow = self.outflow_at_price(ground, site);
            self.outflow[site] = outflow;
            self.excess[site] -= outflow;
            self.excess[usize::from(ground.parent[site])] += outflow;
        }
        self.ascend(ground);
        self.moves.clear(ground);
    }

    /// Goes on from where another one is.
    pub fn resume(&mut self, other: &State) {
        self.flow.clone_from(&other.flow);
        self.prices.clone_from(&other.prices);
        self.outflow.clone_from(&other.outflow);
        self.excess.clone_from(&other.excess);
        self.dust = other.dust;
    }

    /// Takes prices over, moved to where some load belongs to them.
    fn set_prices(&mut self, ground: &Ground, prices: &[f64]) {
        let sites = ground.sites();
        self.prices.clear();
        self.prices.resize((sites + 1).next_multiple_of(LANES).max(ground.stride()), 0.0);
        let own = |site: usize, parent: f64| {
            let slope = |tier: Option<&super::Tier>| tier.map_or(0.0, |tier| tier.slope_ms);
            let tiers = &ground.tiers[site];
            let (least, most) = (slope(tiers.first()), slope(tiers.last()));
            let price = (prices[site] - parent).clamp(least, most);
            let same =
                tiers.iter().find(|tier| is_same(tier.slope_ms, price)).map(|tier| tier.slope_ms);
            same.unwrap_or(price)
        };
        for site in 0..sites {
            if usize::from(ground.parent[site]) == ground.sink() {
                self.prices[site] = own(site, 0.0);
            }
        }
        for site in 0..sites {
            let parent = usize::from(ground.parent[site]);
            if parent != ground.sink() {
                self.prices[site] = self.prices[parent] + own(site, self.prices[parent]);
            }
        }
    }

    /// Sends a row to where it is cheapest.
    fn place(&mut self, ground: &Ground, row: usize) {
        let (site, least) = cheapest(ground.costs(row), &self.prices);
        if !least.is_finite() {
            return;
        }
        let mut left = ground.demand[row];
        let anew = least + ground.stick;
        let previous = ground.previous(row);
        let worth = |had: &(u16, f64)| {
            let site = usize::from(had.0);
            ground.cost(row, site) + self.prices[site]
        };
        match previous {
            // As good as always.
            [had] if had.1 >= left && worth(had) <= anew => {
                return self.put(ground, row, had.0.into(), left);
            }
            [] => {}
            _ => {
                let mut had: Vec<_> = previous.iter().filter(|had| worth(had) <= anew).collect();
                had.sort_by(|a, b| worth(a).total_cmp(&worth(b)));
                for had in had {
                    let amount = left.min(had.1);
                    self.put(ground, row, had.0.into(), amount);
                    left -= amount;
                }
            }
        }
        if left > ground.demand[row] * DUST {
            self.put(ground, row, site, left);
        }
    }

    fn put(&mut self, ground: &Ground, row: usize, site: usize, amount: f64) {
        // A row may come to one site twice: for what it had there, and for more.
        let before = if self.flow.is_empty(row) { 0.0 } else { self.flow.amount(row, site) };
        self.flow.set(ground, row, site, before + amount);
        self.excess[site] += amount;
    }

    /// What a site passes on at its price: just what comes in if it costs the same within a tier,
    /// else what the tiers below the price hold.
    fn outflow_at_price(&self, ground: &Ground, site: usize) -> f64 {
        let own = self.prices[site] - self.prices[usize::from(ground.parent[site])];
        let mut below = 0.0;
        for tier in &ground.tiers[site] {
            if is_same(tier.slope_ms, own) {
                return self.excess[site].clamp(below, tier.up_to);
            }
            if own < tier.slope_ms {
                break;
            }
            below = tier.up_to;
        }
        below
    }

    /// What passing on a unit more costs, and how many units it costs that.
    pub fn up(&self, ground: &Ground, site: usize) -> (f64, f64) {
        let out = self.outflow[site];
        let tier = ground.tiers[site].iter().find(|tier| out < tier.up_to);
        tier.map_or((f64::INFINITY, 0.0), |tier| (tier.slope_ms, tier.up_to - out))
    }

    /// What passing on a unit less saves, and how many units save that.
    pub fn down(&self, ground: &Ground, site: usize) -> (f64, f64) {
        let out = self.outflow[site];
        let mut below = 0.0;
        for tier in &ground.tiers[site] {
            if out <= tier.up_to {
                return (tier.slope_ms, out - below);
            }
            below = tier.up_to;
        }
        (0.0, 0.0)
    }

    /// Whether a path is still what it was found to be.
    pub fn can_carry(&mut self, ground: &Ground, source: usize, path: &[Hop]) -> bool {
        let Some(last) = path.last() else { return false };
        let is_needed = self.excess[source] > self.dust && self.excess[last.to] < -self.dust;
        is_needed
            && path.iter().all(|hop| match hop.arc {
                Arc::Up => self.up(ground, hop.from).0 == hop.cost,
                Arc::Down => {
                    let (saved, holds) = self.down(ground, hop.to);
                    holds > 0.0 && -saved == hop.cost
                }
                Arc::Move => {
                    self.moves.cheapest(ground, &self.flow, hop.from, hop.to).0 == hop.cost
                }
            })
    }

    /// Carries excess along a path, as much as every hop of it holds.
    pub fn augment(&mut self, ground: &Ground, source: usize, path: &[Hop]) {
        let Some(target) = path.last().map(|hop| hop.to) else { return };
        let mut amount = self.excess[source].min(-self.excess[target]);
        let mut rows = Vec::with_capacity(path.len());
        for &Hop { from, to, arc, .. } in path {
            let mut row = 0;
            let holds = match arc {
                Arc::Up => self.up(ground, from).1,
                Arc::Down => self.down(ground, to).1,
                Arc::Move => {
                    row = self.moves.cheapest(ground, &self.flow, from, to).1 as usize;
                    let mut parts = self.flow.of_row(row);
                    let Some(part) = parts.find(|part| usize::from(part.site) == from) else {
                        return;
                    };
                    leaving(ground, &part).1.min(coming(ground, &self.flow, row, to).1)
                }
            };
            amount = amount.min(holds);
            rows.push(row);
        }
        for (&Hop { from, to, arc, .. }, row) in path.iter().zip(rows) {
            match arc {
                Arc::Up => {
                    let (_, holds) = self.up(ground, from);
                    self.pass(ground, from, amount, holds);
                }
                Arc::Down => {
                    let (_, holds) = self.down(ground, to);
                    self.pass(ground, to, -amount, holds);
                }
                Arc::Move => self.shift(ground, row, from, to, amount),
            }
        }
        for (node, amount) in [(source, -amount), (target, amount)] {
            self.excess[node] += amount;
            if self.excess[node].abs() <= self.dust {
                self.excess[node] = 0.0;
            }
        }
    }

    /// Changes what a site passes on; exactly to the bound where that is meant.
    pub fn pass(&mut self, ground: &Ground, site: usize, amount: f64, holds: f64) {
        self.outflow[site] += amount;
        if amount.abs() >= holds {
            let out = self.outflow[site];
            let bounds = std::iter::once(0.0).chain(ground.tiers[site].iter().map(|t| t.up_to));
            let nearest = bounds.min_by(|a, b| (a - out).abs().total_cmp(&(b - out).abs()));
            self.outflow[site] = nearest.unwrap_or(out);
        }
    }

    /// Moves a part of a row; exactly to the bounds where that is meant.
    fn shift(&mut self, ground: &Ground, row: usize, from: usize, to: usize, amount: f64) {
        self.moves.retract(ground, &self.flow, row);
        self.transfer(ground, row, from, to, amount);
        self.moves.insert(ground, &self.flow, row);
    }

    /// As [`shift`](State::shift), while moves are not counted.
    pub fn transfer(&mut self, ground: &Ground, row: usize, from: usize, to: usize, amount: f64) {
        // Rounding must leave neither crumbs nor room for them.
        let crumb = ground.demand[row] * DUST;
        for (site, change) in [(from, -amount), (to, amount)] {
            let exact = self.flow.amount(row, site) + change;
            let bounds = [0.0, ground.had(row, site), ground.demand[row]];
            let near = bounds.into_iter().find(|bound| (bound - exact).abs() <= crumb);
            self.flow.set(ground, row, site, near.unwrap_or(exact));
        }
    }

    /// Clears a site and its entries, as if no row might go there: what was there goes where it
    /// is cheapest else.
    pub fn close(&mut self, ground: &Ground, site: usize) {
        let closed: Vec<usize> = std::iter::once(site)
            .chain(ground.children[site].iter().map(|child| usize::from(*child)))
            .collect();
        for &site in &closed {
            self.prices[site] = f64::INFINITY;
        }
        let mut left: Vec<_> = closed
            .iter()
            .flat_map(|site| self.flow.members(*site))
            .map(|member| self.flow.held(member))
            .collect();
        left.sort_by_key(|part| (part.row, part.site));
        for part in left {
            let row = part.row as usize;
            self.flow.set(ground, row, part.site.into(), 0.0);
            self.find_place(ground, row, part.amount);
        }
        for &site in &closed {
            let parent = usize::from(ground.parent[site]);
            if !closed.contains(&parent) {
                self.excess[parent] -= self.outflow[site];
            }
            self.outflow[site] = 0.0;
            self.excess[site] = 0.0;
        }
        self.ascend(ground);
        self.moves.clear(ground);
    }

    /// Sends a part of a row to where it is cheapest; a row with no place left demands no more.
    fn find_place(&mut self, ground: &Ground, row: usize, amount: f64) {
        let mut left = amount;
        while left > 0.0 {
            let (mut best, mut least, mut room) = (0, f64::INFINITY, 0.0);
            for site in 0..ground.sites() {
                let (cost, holds) = coming(ground, &self.flow, row, site);
                if cost + self.prices[site] < least {
                    (best, least, room) = (site, cost + self.prices[site], holds);
                }
            }
            if !least.is_finite() {
                self.excess[ground.sink()] += left;
                return;
            }
            let amount = left.min(room);
            self.put(ground, row, best, amount);
            left -= amount;
        }
    }
}

fn is_same(slope: f64, price: f64) -> bool {
    (slope - price).abs() <= SAME * slope.abs().max(1.0)
}

/// The site of the least cost plus price, the first of equals, and that sum.
pub(super) fn cheapest(costs: &[f32], prices: &[f64]) -> (usize, f64) {
    let mut least = [f64::INFINITY; LANES];
    for (costs, prices) in costs.chunks_exact(LANES).zip(prices.chunks_exact(LANES)) {
        for lane in 0..LANES {
            let sum = f64::from(costs[lane]) + prices[lane];
            least[lane] = if sum < least[lane] { sum } else { least[lane] };
        }
    }
    let least = least.into_iter().fold(f64::INFINITY, f64::min);
    let sums = costs.iter().zip(prices).map(|(cost, price)| f64::from(*cost) + price);
    (sums.into_iter().position(|sum| sum == least).unwrap_or(0), least)
}
