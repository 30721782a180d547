//! An assignment, and what it is worth.

use super::problem::Problem;

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

    /// Values an assignment of which only the parts are known.
    pub(super) fn value(problem: &Problem, mut assigned: Vec<Vec<Part>>) -> Solution {
        let key = |part: &Part| problem.sites[usize::from(part.site)].key;
        let mut solution = Solution {
            parts: Vec::with_capacity(assigned.len()),
            ends: Vec::with_capacity(assigned.len()),
            prices: Vec::new(),
            loads: vec![0.0; problem.sites.len()],
            objective: 0.0,
            moved: 0.0,
            split: 0,
            unplaced: Vec::new(),
            is_exact: false,
            steps: 0,
        };
        for (row, parts) in (0..).zip(&mut assigned) {
            parts.sort_by(|a, b| b.amount.total_cmp(&a.amount).then(key(a).cmp(&key(b))));
            solution.split += usize::from(parts.len() > 1);
            if parts.is_empty() {
                solution.unplaced.push(row);
            }
            solution.parts.append(parts);
            solution.ends.push(solution.parts.len() as u32);
        }
        solution.add_up(problem);
        solution
    }

    /// Sums loads and costs, always in the order of the keys: the order of the input must not
    /// show in the rounding.
    fn add_up(&mut self, problem: &Problem) {
        for row in by_key(problem.rows.iter().map(|row| row.key)) {
            let costs = problem.costs_of(row);
            let previous = problem.rows[row].previous;
            let start = if row == 0 { 0 } else { self.ends[row - 1] };
            for part in &self.parts[start as usize..self.ends[row] as usize] {
                let site = usize::from(part.site);
                let before: f64 =
                    previous.iter().filter(|had| had.0 == part.site).map(|had| had.1).sum();
                let moved = (part.amount - before).max(0.0);
                self.loads[site] += part.amount;
                self.moved += moved;
                self.objective += part.amount * f64::from(costs[site]) + moved * problem.stick_ms;
            }
        }
        let sites = by_key(problem.sites.iter().map(|site| site.key));
        for &site in &sites {
            if let Some(parent) = problem.sites[site].parent {
                self.loads[usize::from(parent)] += self.loads[site];
            }
        }
        for &site in &sites {
            self.objective += problem.sites[site].cost(self.loads[site]);
        }
        let slope = |site: usize| problem.sites[site].slope_at(self.loads[site]);
        let price = |site: usize| {
            slope(site) + problem.sites[site].parent.map_or(0.0, |parent| slope(parent.into()))
        };
        self.prices = (0..problem.sites.len()).map(price).collect();
    }
}

/// The indices of keys in the order of the keys; of equal ones, the first stands first.
pub(super) fn by_key(keys: impl Iterator<Item = u64>) -> Vec<usize> {
    let mut order: Vec<(u64, usize)> = keys.zip(0..).collect();
    if !order.is_sorted() {
        order.sort_unstable();
    }
    order.into_iter().map(|(_, index)| index).collect()
}
