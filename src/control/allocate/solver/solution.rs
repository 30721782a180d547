//! An assignment, and what it is worth.

use super::flow::Flow;
use super::ground::Ground;
use super::state::cheapest;

/// Who goes where.
#[derive(Clone, Debug, PartialEq)]
pub struct Solution {
    /// The parts of all rows, one row after another.
    parts: Vec<Part>,
    /// Where each row's parts end.
    ends: Vec<u32>,
    /// What one unit more would cost at each site, in milliseconds: the price that makes every
    /// row's cheapest site (cost + price) the one it has. An entry's includes its datacenter's.
    pub prices: Vec<f64>,
    /// The load of each site; a datacenter's includes that of its entries.
    pub loads: Vec<f64>,
    /// What is minimised, in milliseconds × units.
    pub objective: f64,
    /// How much goes where it did not go before.
    pub moved: f64,
    /// How many rows have more than one part.
    pub split: usize,
    /// The rows that no site may serve, in the order of the rows; they have no part.
    pub unplaced: Vec<u32>,
    /// Whether nothing can be cheaper; false where the bound on work was met, or for a
    /// [`waterfall`](super::waterfall).
    pub is_exact: bool,
    /// How many steps it took.
    pub steps: usize,
}

/// What a site has of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// The index of the site.
    pub site: u16,
    /// How much of the row's demand, > 0; 0 only where the row demands nothing.
    pub amount: f64,
}

impl Solution {
    /// The parts of a row, the largest first; they sum to its demand. None: no site may serve it.
    pub fn parts(&self, row: usize) -> &[Part] {
        let Some(&end) = self.ends.get(row) else { return &[] };
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.parts[start as usize..end as usize]
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.ends.len()
    }

    /// What an assignment is worth. Sums go in the order of the keys: the order of the input must
    /// not show in the rounding.
    pub(super) fn value(ground: &Ground, flow: &Flow, prices: &[f64]) -> Solution {
        let (rows, sites) = (ground.rows(), ground.sites());
        let mut sums = Sums { loads: vec![0.0; sites], objective: 0.0, moved: 0.0 };
        let mut parts = Vec::with_capacity(rows + sites);
        let mut spans = vec![(0, 0); rows];
        for row in 0..rows {
            let start = parts.len();
            read_row(ground, flow, row, prices, &mut parts);
            for part in &parts[start..] {
                sums.add(ground, row, part);
            }
            spans[ground.row_order[row]] = (start, parts.len());
        }
        sums.add_sites(ground);
        let mut solution = Solution {
            parts: Vec::with_capacity(parts.len()),
            ends: Vec::with_capacity(rows),
            prices: vec![0.0; sites],
            loads: vec![0.0; sites],
            objective: sums.objective,
            moved: sums.moved,
            split: 0,
            unplaced: Vec::new(),
            is_exact: false,
            steps: 0,
        };
        for (row, (start, end)) in (0..).zip(spans) {
            solution.split += usize::from(end - start > 1);
            if start == end {
                solution.unplaced.push(row);
            }
            let here = parts[start..end].iter();
            let name = |part: &Part| ground.site_order[usize::from(part.site)] as u16;
            solution.parts.extend(here.map(|part| Part { site: name(part), ..*part }));
            solution.ends.push(solution.parts.len() as u32);
        }
        for (place, &site) in ground.site_order.iter().enumerate() {
            solution.prices[site] = prices[place];
            solution.loads[site] = sums.loads[place];
        }
        solution
    }
}

/// Appends the parts of a row, so that they sum to its demand.
fn read_row(ground: &Ground, flow: &Flow, row: usize, prices: &[f64], parts: &mut Vec<Part>) {
    let demand = ground.demand[row];
    let start = parts.len();
    let real = flow.of_row(row).filter(|part| part.amount > demand * DUST);
    parts.extend(real.map(|part| Part { site: part.site, amount: part.amount }));
    let here = &mut parts[start..];
    if here.len() > 1 {
        here.sort_by(|a, b| b.amount.total_cmp(&a.amount).then(a.site.cmp(&b.site)));
    }
    match here {
        [] if demand == 0.0 => {
            let (site, least) = cheapest(ground.costs(row), prices);
            if least.is_finite() {
                parts.push(Part { site: site as u16, amount: 0.0 });
            }
        }
        [] => {}
        [largest, others @ ..] => {
            largest.amount = demand - others.iter().map(|part| part.amount).sum::<f64>();
        }
    }
}

struct Sums {
    loads: Vec<f64>,
    objective: f64,
    moved: f64,
}

impl Sums {
    fn add(&mut self, ground: &Ground, row: usize, part: &Part) {
        let site = usize::from(part.site);
        let moved = (part.amount - ground.had(row, site)).max(0.0);
        self.loads[site] += part.amount;
        self.moved += moved;
        self.objective += part.amount * ground.cost(row, site) + moved * ground.stick;
    }

    fn add_sites(&mut self, ground: &Ground) {
        for site in 0..ground.sites() {
            let parent = usize::from(ground.parent[site]);
            if parent != ground.sink() {
                self.loads[parent] += self.loads[site];
            }
        }
        for (site, load) in self.loads.iter().enumerate() {
            self.objective += ground.cost_of_load(site, *load);
        }
    }
}

/// A part of a row smaller than this is rounding.
const DUST: f64 = 1e-10;

/// The indices of keys in the order of the keys; of equal ones, the first stands first.
pub(super) fn by_key(keys: impl Iterator<Item = u64>) -> Vec<usize> {
    let mut order: Vec<(u64, usize)> = keys.zip(0..).collect();
    if !order.is_sorted() {
        order.sort_unstable();
    }
    order.into_iter().map(|(_, index)| index).collect()
}
