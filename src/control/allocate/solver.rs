//! The cheapest assignment of demand to sites whose cost rises with their load.
//!
//! With few sites and many rows, the transportation problem is one of shortest paths between the
//! sites: how the rows stand decides only what the cheapest move from one site to another costs.
//! The prices of the last solution are nearly those of the next, so that little has to move.

mod flow;
mod forest;
mod ground;
mod moves;
mod path;
mod problem;
mod raise;
mod solution;
mod state;
#[cfg(test)]
mod tests;
mod waterfall;

pub use problem::{MAX_COST_MS, Problem, ProblemError, Row, Site, Tier};
pub use solution::{Part, Solution};
pub use waterfall::waterfall;

use ground::Ground;
use path::Search;
use state::State;

/// Solves problems; knows the prices of the last one, from which the next starts.
#[derive(Clone, Debug, Default)]
pub struct Solver {
    ground: Ground,
    state: State,
    /// Scratch of [`without`](Solver::without).
    trial: State,
    search: Search,
    /// The prices of the last solution, by key.
    known: Vec<(u64, f64)>,
}

impl Solver {
    /// A solver that knows nothing yet.
    pub fn new() -> Solver {
        Solver::default()
    }

    /// Solves a problem. Which of several equally good solutions is found depends on the keys of
    /// rows and sites and on what was solved before, not on their order.
    pub fn solve(&mut self, problem: &Problem) -> Result<Solution, ProblemError> {
        problem.check()?;
        self.ground.read(problem);
        let keys = self.ground.site_keys.iter();
        let prices: Vec<f64> = keys.map(|key| self.known_price(*key)).collect();
        self.state.start(&self.ground, &prices);
        let steps = STEPS_LEAST + STEPS_PER_ROW * (problem.rows.len() + problem.sites.len());
        let mut solution = finish(&self.ground, &mut self.state, &mut self.search, steps);
        if !solution.is_exact {
            let simple = waterfall::pour(&self.ground);
            if simple.objective < solution.objective {
                solution = simple;
            }
        }
        let keys = self.ground.site_keys.iter().copied();
        self.known = keys.zip(self.state.prices.iter().copied()).collect();
        Ok(solution)
    }

    /// What the last problem's solution would be without a site and its entries: as if none of
    /// its rows might go there. The index is that of the last problem; the solver stays as it is.
    pub fn without(&mut self, site: usize) -> Solution {
        self.trial.resume(&self.state);
        if let Some(site) = self.ground.site_order.iter().position(|place| *place == site) {
            self.trial.close(&self.ground, site);
        }
        let steps = STEPS_LEAST + STEPS_PER_ROW * (self.ground.rows() + self.ground.sites());
        finish(&self.ground, &mut self.trial, &mut self.search, steps)
    }

    /// The price that a site had; free if it is new.
    fn known_price(&self, key: u64) -> f64 {
        let known = self.known.binary_search_by_key(&key, |known| known.0);
        known.map_or(0.0, |at| self.known[at].1)
    }
}

/// Carries what does not fit to where it does, in at most so many steps, and reads the result.
/// Every row is somewhere all the time, so what has been reached is always a solution.
fn finish(ground: &Ground, state: &mut State, search: &mut Search, steps: usize) -> Solution {
    let mut left = steps;
    let is_exact = search.carry(ground, state, &mut left);
    if is_exact {
        state.untangle(ground);
    }
    let mut solution = Solution::value(ground, &state.flow, &state.prices);
    solution.is_exact = is_exact;
    solution.steps = steps - left;
    solution
}

/// The bound on work; what has been seen to be needed is less than one step a row.
const STEPS_PER_ROW: usize = 10;
const STEPS_LEAST: usize = 1000;
