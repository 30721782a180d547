//! What a server must be asked, so that its answers make a recording for an experiment.

use super::caches::Caches;
use super::run::{Experiment, Stage, WARM_UP};

/// Who asks in an experiment, and in which states of health.
#[derive(Clone, Debug, PartialEq)]
pub struct Questions {
    /// The group that each unit seems to be of.
    pub groups: Vec<usize>,
    /// The datacenters that are believed to be down, in ascending order; each state once, in the
    /// order of time.
    pub states: Vec<Vec<usize>>,
}

/// What is asked in an experiment, whoever answers.
pub fn questions(experiment: &Experiment) -> Questions {
    let Experiment { world, scenario, seed, .. } = experiment;
    let caches = Caches::new(world, &experiment.caches, scenario.mislocated, *seed);
    let mut stage = Stage::new(world, scenario, *seed);
    let mut states = vec![Vec::new()];
    for clock in 0..WARM_UP + scenario.seconds {
        let now = f64::from(clock);
        stage.begin(now);
        if stage.plant.checks(now).is_empty() {
            continue;
        }
        let sites = stage.plant.sites.iter().enumerate();
        let down: Vec<usize> =
            sites.filter(|(_, site)| !site.seen_up).map(|(index, _)| index).collect();
        if !states.contains(&down) {
            states.push(down);
        }
    }
    Questions { groups: caches.units.iter().map(|unit| unit.seems).collect(), states }
}

#[cfg(test)]
mod tests {
    use super::super::policy::{Knowledge, Policy};
    use super::super::scenario::Scenario;
    use super::super::world::{Built, World};
    use super::*;

    fn asked(scenario: &str) -> Questions {
        let world = World::built(&Built { groups: 20, ..Built::default() });
        let scenario = Scenario::named(scenario).unwrap();
        questions(&Experiment::new(world, scenario, Policy::Nearest, Knowledge::Geo, 1))
    }

    #[test]
    fn every_state_of_health_is_asked_for_once() {
        let frankfurt = 6;
        assert_eq!(asked("steady").states, [Vec::<usize>::new()]);
        assert_eq!(asked("mix").states, [vec![], vec![frankfurt]]);
        assert_eq!(asked("flapping").states, [vec![], vec![frankfurt]]);
        assert_eq!(asked("two-deaths").states, [vec![], vec![frankfurt, 12]]);
    }

    #[test]
    fn every_unit_asks() {
        let groups = asked("steady").groups;
        assert!(groups.len().abs_diff(12_000) < 20, "{}", groups.len());
        assert!((0..20).all(|group| groups.contains(&group)));
    }
}
