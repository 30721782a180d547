//! The cheapest assignment of demand to sites whose cost rises with their load.

mod problem;
mod solution;
mod waterfall;

pub use problem::{MAX_COST_MS, Problem, ProblemError, Row, Site, Tier};
pub use solution::{Part, Solution};
pub use waterfall::waterfall;

/// Solves problems; knows the prices of the last one, from which the next starts.
#[derive(Clone, Debug, Default)]
pub struct Solver {}

impl Solver {
    /// A solver that knows nothing yet.
    pub fn new() -> Solver {
        Solver::default()
    }

    /// Solves a problem. Which of several equally good solutions is found depends on the keys of
    /// rows and sites and on what was solved before, not on their order.
    pub fn solve(&mut self, problem: &Problem) -> Result<Solution, ProblemError> {
        waterfall(problem)
    }
}
