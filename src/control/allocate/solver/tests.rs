//! The solver against an LP library, and what must hold of any solution.

mod instance;

use proptest::prelude::*;

use super::*;
use instance::{Instance, Kind, Numbers, OwnedRow};

#[test]
fn no_lp_library_finds_anything_cheaper() {
    let mut numbers = Numbers(1);
    for _ in 0..2000 {
        let kind = Kind::small(&mut numbers);
        let instance = Instance::random(kind, &mut numbers).placeable();
        assert_optimal(&instance, &instance.solve(&mut Solver::new()));
    }
}

#[test]
fn nor_where_there_are_many_rows() {
    let mut numbers = Numbers(2);
    for round in 0..16 {
        let kind = Kind {
            rows: 60,
            datacenters: 8,
            entries: round % 3,
            headroom: [1.5, 1.15, 1.03, 0.9][round % 4],
            stick_ms: 6.0,
            forbidden: 0.2,
            is_degenerate: round % 5 == 0,
        };
        let instance = Instance::random(kind, &mut numbers).placeable();
        assert_optimal(&instance, &instance.solve(&mut Solver::new()));
    }
}

#[test]
fn what_was_solved_before_changes_nothing_of_the_optimum() {
    let mut numbers = Numbers(3);
    for _ in 0..150 {
        let kind = Kind::small(&mut numbers);
        let mut instance = Instance::random(kind, &mut numbers).placeable();
        let mut solver = Solver::new();
        for _ in 0..4 {
            let solution = instance.solve(&mut solver);
            assert_optimal(&instance, &solution);
            instance.change(&solution, &mut numbers);
        }
    }
}

#[test]
fn the_loss_of_a_site_is_solved_as_if_nobody_might_go_there() {
    let mut numbers = Numbers(4);
    for _ in 0..200 {
        let kind = Kind::small(&mut numbers);
        let instance = Instance::random(kind, &mut numbers);
        let mut solver = Solver::new();
        instance.solve(&mut solver);
        let mut before = solver.clone();
        for lost in 0..instance.sites.len() {
            let mut closed = instance.clone();
            closed.forbid(lost);
            let solution = solver.without(lost);
            assert_eq!(solution.unplaced, closed.solve(&mut Solver::new()).unplaced);
            let optimum = closed.placeable().optimum();
            assert!(is_near(solution.objective, optimum), "{} {optimum}", solution.objective);
            assert!(solution.is_exact);
            assert_eq!(solution.loads[lost], 0.0);
        }
        let untouched = instance.solve(&mut before);
        assert_eq!(instance.solve(&mut solver), untouched);
    }
}

proptest! {
    #[test]
    fn every_row_is_served_in_full_and_only_where_it_may_be(seed: u64) {
        let instance = Instance::any(seed);
        let mut solver = Solver::new();
        let solved = instance.solve(&mut solver);
        let lost = solver.without(0);
        let poured = instance.with(waterfall).unwrap();
        for solution in [&solved, &lost, &poured] {
            instance.assert_served(solution);
        }
        let is_lost = |part: &Part| {
            part.site == 0 || instance.sites[usize::from(part.site)].parent == Some(0)
        };
        prop_assert!((0..lost.rows()).all(|row| !lost.parts(row).iter().any(is_lost)));
        prop_assert!(solved.objective <= poured.objective * (1.0 + 1e-9) + 1e-6);
    }

    #[test]
    fn every_row_is_where_cost_plus_price_is_least(seed: u64) {
        let instance = Instance::any(seed);
        let solution = instance.solve(&mut Solver::new());
        instance.assert_priced(&solution);
    }

    #[test]
    fn fewer_rows_are_split_than_there_are_sites(seed: u64) {
        let mut instance = Instance::any(seed);
        instance.stick_ms = 0.0;
        let solution = instance.solve(&mut Solver::new());
        let parts: usize = (0..solution.rows()).map(|row| solution.parts(row).len()).sum();
        let extra = parts + solution.unplaced.len() - solution.rows();
        prop_assert!(extra < instance.sites.len(), "{extra}");
        prop_assert!(solution.split <= extra);
    }

    #[test]
    fn the_order_of_the_input_is_irrelevant(seed: u64, order: u64) {
        let instance = Instance::any(seed);
        let (mut solver, mut other) = (Solver::new(), Solver::new());
        let mut numbers = Numbers(order);
        let mut changed = instance;
        for _ in 0..3 {
            let solution = changed.solve(&mut solver);
            let (rows, sites) = (changed.rows.len(), changed.sites.len());
            let (rows, sites) = (numbers.order(rows), numbers.order(sites));
            let shuffled = changed.shuffled(&rows, &sites).solve(&mut other);
            prop_assert_eq!(solution.objective.to_bits(), shuffled.objective.to_bits());
            for (place, &row) in rows.iter().enumerate() {
                let parts = shuffled.parts(place).iter();
                let parts = parts.map(|part| Part {
                    site: sites[usize::from(part.site)] as u16,
                    amount: part.amount,
                });
                prop_assert_eq!(solution.parts(row).to_vec(), parts.collect::<Vec<_>>());
            }
            for (place, &site) in sites.iter().enumerate() {
                prop_assert_eq!(solution.loads[site].to_bits(), shuffled.loads[place].to_bits());
                prop_assert_eq!(solution.prices[site].to_bits(), shuffled.prices[place].to_bits());
            }
            changed.change(&solution, &mut numbers);
        }
    }

    #[test]
    fn the_unit_of_demand_is_the_callers(seed: u64, exponent in -480i32..480) {
        let instance = Instance::any(seed);
        let scale = 2f64.powi(exponent);
        let scaled = instance.scaled(scale).solve(&mut Solver::new());
        let solution = instance.solve(&mut Solver::new());
        prop_assert!(scaled.is_exact);
        prop_assert!(is_near(scaled.objective / scale, solution.objective));
    }

    #[test]
    fn any_numbers_are_solved_or_refused(
        demands in prop::collection::vec(weird(), 1..6),
        costs in prop::collection::vec(weird(), 18),
        bounds in prop::collection::vec(weird(), 12),
        had in prop::collection::vec(weird(), 6),
        stick_ms in weird(),
    ) {
        let rows = demands.iter().zip(&had).zip(0..).map(|((demand, had), key)| OwnedRow {
            key,
            demand: *demand,
            previous: vec![(key as u16 % 3, *had)],
        });
        let rows: Vec<_> = rows.collect();
        let sites = bounds.chunks(4).zip(0..).map(|(bounds, key)| Site {
            key,
            tiers: vec![
                Tier { up_to: bounds[0], slope_ms: bounds[1] },
                Tier { up_to: bounds[2], slope_ms: bounds[3] },
                Tier { up_to: f64::INFINITY, slope_ms: 1e9 },
            ],
            parent: (key == 2).then_some(0),
        });
        let costs = costs[..3 * rows.len()].iter().map(|cost| *cost as f32).collect();
        let instance = Instance { sites: sites.collect(), rows, costs, stick_ms };
        if let Ok(solution) = instance.with(|problem| Solver::new().solve(problem)) {
            instance.assert_served(&solution);
            prop_assert!(solution.objective.is_finite());
        }
    }
}

#[test]
fn no_wall_is_broken_where_there_is_room_for_all() {
    let mut numbers = Numbers(5);
    for _ in 0..200 {
        let (rows, sites) = (1 + numbers.below(30), 1 + numbers.below(6));
        let kind = Kind {
            rows,
            datacenters: sites,
            entries: 0,
            headroom: 1.0,
            stick_ms: 6.0,
            forbidden: 0.4,
            is_degenerate: false,
        };
        let mut instance = Instance::random(kind, &mut numbers).placeable();
        // A plan that exists, and walls that just hold it.
        let mut loads = vec![0.0; sites];
        for (row, owned) in instance.rows.iter().enumerate() {
            let costs = &instance.costs[row * sites..][..sites];
            let allowed: Vec<usize> = (0..sites).filter(|site| costs[*site].is_finite()).collect();
            for site in &allowed {
                loads[*site] += owned.demand / allowed.len() as f64;
            }
        }
        for (site, load) in instance.sites.iter_mut().zip(&loads) {
            site.tiers = vec![
                Tier { up_to: *load, slope_ms: 0.0 },
                Tier { up_to: f64::INFINITY, slope_ms: 1e6 },
            ];
        }
        let solution = instance.solve(&mut Solver::new());
        for (load, wall) in solution.loads.iter().zip(&loads) {
            assert!(*load <= wall * (1.0 + 1e-9) + 1e-9, "{load} {wall}");
        }
    }
}

#[test]
fn a_row_that_no_site_may_serve_is_named_and_the_others_are_served() {
    let instance = Instance::plain(&[5.0, 7.0], &[f32::NAN, f32::INFINITY, 10.0, 2e9], 2, 100.0);
    let solution = instance.solve(&mut Solver::new());
    assert_eq!(solution.unplaced, [0]);
    assert!(solution.parts(0).is_empty());
    assert_eq!(solution.parts(1), [Part { site: 0, amount: 7.0 }]);
    assert_eq!(solution.loads, [7.0, 0.0]);
    assert!(solution.is_exact);
}

#[test]
fn a_row_that_demands_nothing_still_has_the_site_it_would_go_to() {
    let instance = Instance::plain(&[0.0, 9.0], &[10.0, 12.0, 10.0, 900.0], 2, 1.0);
    let solution = instance.solve(&mut Solver::new());
    // The nearer one is full.
    assert_eq!(solution.parts(0), [Part { site: 1, amount: 0.0 }]);
}

#[test]
fn without_rows_or_sites_there_is_nothing_to_do() {
    let none = Instance::plain(&[], &[], 2, 1.0).solve(&mut Solver::new());
    assert_eq!((none.rows(), none.objective, none.is_exact), (0, 0.0, true));
    let nowhere = Instance::plain(&[1.0], &[], 0, 1.0).solve(&mut Solver::new());
    assert_eq!(nowhere.unplaced, [0]);
}

#[test]
fn a_row_stays_for_as_long_as_moving_gains_less_than_it_costs() {
    let mut instance = Instance::plain(&[4.0], &[20.0, 10.0], 2, 100.0);
    instance.rows[0].previous = vec![(0, 4.0)];
    for (stick_ms, site) in [(10.5, 0), (9.5, 1)] {
        instance.stick_ms = stick_ms;
        let solution = instance.solve(&mut Solver::new());
        assert_eq!(solution.parts(0)[0].site, site);
        assert_eq!(solution.moved, f64::from(site) * 4.0);
    }
}

#[test]
fn an_entry_fills_to_its_own_bound_and_its_datacenter_to_its_own() {
    // Two rows may use only the entry, which may have 30 of the datacenter's 100.
    let forbidden = f32::INFINITY;
    let costs = [forbidden, 50.0, 10.0, forbidden, 50.0, 10.0, 10.0, 50.0, forbidden];
    let mut instance = Instance::plain(&[20.0, 20.0, 80.0], &costs, 3, 100.0);
    instance.sites[2].parent = Some(0);
    instance.sites[2].tiers[0].up_to = 30.0;
    let solution = instance.solve(&mut Solver::new());
    assert!(is_near(solution.loads[2], 20.0) || is_near(solution.loads[2], 30.0));
    assert!(is_near(solution.loads[0], 100.0) && is_near(solution.loads[1], 20.0));
    assert_optimal(&instance, &solution);
}

#[test]
fn rows_that_are_all_alike_are_no_harder() {
    let rows = 1200;
    let costs: Vec<f32> = (0..rows).flat_map(|_| [10.0, 10.0, 20.0, 20.0, 30.0]).collect();
    let instance = Instance::plain(&vec![1.0; rows], &costs, 5, 300.25);
    let solution = instance.solve(&mut Solver::new());
    assert!(solution.is_exact && solution.split < 5, "{}", solution.split);
    assert!(is_near(solution.objective, 600.5 * 10.0 + 599.5 * 20.0));
}

#[test]
fn what_takes_too_many_steps_is_left_where_it_is_and_said_to_be() {
    let mut numbers = Numbers(6);
    let kind = Kind { rows: 40, datacenters: 6, ..Kind::small(&mut numbers) };
    let instance = Instance::random(Kind { headroom: 1.03, ..kind }, &mut numbers);
    let mut ground = Ground::default();
    instance.with(|problem| ground.read(problem));
    let mut state = State::default();
    state.start(&ground, &vec![0.0; ground.sites()]);
    let solution = finish(&ground, &mut state, &mut Search::default(), 0);
    assert!(!solution.is_exact);
    instance.assert_served(&solution);
    let exact = finish(&ground, &mut state, &mut Search::default(), 1000);
    assert!(exact.is_exact && exact.objective < solution.objective);
}

#[test]
fn what_is_not_a_problem_is_refused_by_name() {
    let good = Instance::plain(&[1.0], &[1.0, 2.0], 2, 1.0);
    let refused = |change: fn(&mut Instance)| {
        let mut instance = good.clone();
        change(&mut instance);
        instance.with(|problem| Solver::new().solve(problem)).unwrap_err()
    };
    let shape = ProblemError::Shape { rows: 1, sites: 2, costs: 1 };
    assert_eq!(refused(|it| it.costs.truncate(1)), shape);
    assert!(matches!(refused(|it| it.stick_ms = f64::NAN), ProblemError::Stick(_)));
    assert!(matches!(refused(|it| it.rows[0].demand = -1.0), ProblemError::Demand { .. }));
    assert_eq!(refused(|it| it.rows[0].demand = 1e201), ProblemError::TooMuch);
    assert!(matches!(
        refused(|it| it.rows[0].previous = vec![(2, 1.0)]),
        ProblemError::Previous { .. }
    ));
    assert_eq!(refused(|it| it.sites[0].tiers.clear()), ProblemError::Tiers(0));
    assert_eq!(refused(|it| it.sites[1].tiers.reverse()), ProblemError::Tiers(1));
    assert_eq!(refused(|it| it.sites[1].tiers[0].slope_ms = f64::NAN), ProblemError::Tiers(1));
    assert_eq!(refused(|it| it.sites[1].parent = Some(1)), ProblemError::Parent(1));
    assert_eq!(refused(|it| it.sites[1].parent = Some(2)), ProblemError::Parent(1));
    assert_eq!(
        refused(|it| it.costs.truncate(1)).to_string(),
        "1 costs are given for 1 rows × 2 sites"
    );
}

fn weird() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => 0.0..1000.0,
        2 => (0u8..5).prop_map(f64::from),
        1 => prop::sample::select(vec![1e-300, 1e-30, 1e30, 1e199, 1e12, -5.0, 0.0, 5e-324]),
        1 => any::<f64>(),
    ]
}

fn is_near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-6 * b.abs().max(1.0)
}

fn assert_optimal(instance: &Instance, solution: &Solution) {
    let optimum = instance.optimum();
    assert!(solution.is_exact);
    let objective = solution.objective;
    assert!(is_near(objective, optimum), "{objective} instead of {optimum}: {instance:?}");
}
