//! Whole runs, small ones.

use super::super::world::Built;
use super::*;

/// Five minutes of a small world.
fn small(policy: &str, headroom: f64, seed: u64) -> Experiment {
    let built = Built { seed, headroom, groups: 40, demand: 50_000.0, ..Built::default() };
    let mut scenario = Scenario::named("steady").unwrap();
    scenario.seconds = 300;
    let policy = Policy::named(policy).unwrap();
    let mut experiment =
        Experiment::new(World::built(&built), scenario, policy, Knowledge::Rtt, seed);
    experiment.caches.units = 400;
    experiment
}

fn with_a_death(mut experiment: Experiment) -> Experiment {
    let events = serde_json::json!([
        { "at": 100, "what": "dies", "datacenter": "tokyo" },
        { "at": 160, "what": "surge", "country": "IN", "factor": 1.5, "ramp": 60 },
    ]);
    experiment.scenario.events = serde_json::from_value(events).unwrap();
    experiment
}

fn offered(outcome: &Outcome, point: usize) -> f64 {
    outcome.series.iter().map(|series| f64::from(series.load[point])).sum()
}

#[test]
fn the_same_experiment_has_the_same_outcome() {
    for policy in ["shed-load", "server"] {
        let [one, same, other] =
            [3, 3, 4].map(|seed| run(&with_a_death(small(policy, 1.4, seed))).score);
        assert_eq!(one, same, "{policy}");
        assert_ne!(one, other, "{policy}");
    }
}

#[test]
fn the_demand_is_the_same_whoever_decides_and_none_is_lost_on_the_way() {
    let nearest = run(&with_a_death(small("nearest", 1.4, 1)));
    let weighted = run(&with_a_death(small("weighted", 1.4, 1)));
    assert_eq!(nearest.series[0].load.len(), 30);
    for point in 0..30 {
        let (one, other) = (offered(&nearest, point), offered(&weighted, point));
        assert!((one / other - 1.0).abs() < 1e-5, "{one} {other}");
    }
    assert!(offered(&nearest, 28) > 1.03 * offered(&nearest, 15), "a country surges");
}

#[test]
fn nobody_beats_the_optimum_and_the_oracle_comes_close() {
    let optimum = {
        let experiment = with_a_death(small("oracle", 1.8, 2));
        optimum_ms(&experiment.world, &experiment.scenario, 2)
    };
    for policy in ["nearest", "shed-load-tuned", "waterfall", "oracle", "ours"] {
        let mut experiment = with_a_death(small(policy, 1.8, 2));
        experiment.optimum_ms = Some(optimum);
        let score = run(&experiment).score;
        assert!(score.score > 0.999, "{policy}: {score:?}");
        assert!(policy != "oracle" || score.score < 1.4, "{score:?}");
    }
}

#[test]
fn where_there_is_room_for_all_and_nothing_happens_nothing_is_dropped() {
    for policy in ["oracle", "ours", "server"] {
        let score = run(&small(policy, 3.0, 1)).score;
        assert!(score.dropped < 1e-3, "{policy}: {score:?}");
        assert!(score.ratio < 1.05, "{policy}: {score:?}");
        assert!(score.churn_per_hour < 2.0, "{policy}: {score:?}");
    }
}

#[test]
fn servers_that_know_nothing_of_each_other_share_the_resolvers() {
    let mut experiment = small("server", 2.0, 1);
    experiment.scenario.nodes = 2;
    let score = run(&experiment).score;
    assert!(score.dropped < 0.01 && score.ratio < 1.2, "{score:?}");
}

#[test]
fn a_sick_datacenter_is_slow_and_fails_though_its_checks_succeed() {
    let mut experiment = small("nearest", 3.0, 1);
    let well = run(&experiment).score;
    let sick = serde_json::json!([
        { "at": 0, "what": "sick", "datacenter": "mumbai", "ms": 100.0, "errors": 0.1 },
    ]);
    experiment.scenario.events = serde_json::from_value(sick).unwrap();
    let score = run(&experiment).score;
    assert!(score.rtt_mean_ms > well.rtt_mean_ms + 5.0, "{score:?} {well:?}");
    assert!(score.dropped > well.dropped + 0.005, "{score:?} {well:?}");
}
