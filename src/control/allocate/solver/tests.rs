//! The solver against an LP library, and what must hold of any solution.

mod instance;

use super::*;
use instance::{Instance, Kind, Numbers};

fn is_near(a: f64, b: f64, scale: f64) -> bool {
    (a - b).abs() <= 1e-6 * scale.abs().max(1.0)
}

#[test]
fn no_lp_library_finds_anything_cheaper() {
    let mut numbers = Numbers(1);
    for case in 0..2000 {
        let kind = Kind::small(&mut numbers);
        let instance = Instance::random(kind, &mut numbers).placeable();
        let optimum = instance.optimum();
        let solution = instance.with(|problem| Solver::new().solve(problem)).unwrap();
        assert!(solution.is_exact, "case {case}: {kind:?}");
        assert!(
            is_near(solution.objective, optimum, optimum),
            "case {case}: {} instead of {optimum}: {kind:?} {instance:#?} {solution:?}",
            solution.objective
        );
    }
}
