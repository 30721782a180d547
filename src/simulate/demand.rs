//! How many requests a second each group makes, as time passes.

use super::lots::Lots;
use super::world::World;

/// The standard deviation of a group's demand around the usual one, as a share.
const NOISE: f64 = 0.05;
/// How long a deviation lasts, in seconds.
const NOISE_LASTS: f64 = 300.0;
/// Seconds between two states of the noise.
const STEP: f64 = 5.0;

/// A change of demand that an event brings.
#[derive(Clone, Debug)]
struct Surge {
    groups: Vec<usize>,
    from: f64,
    ramp: f64,
    /// What the demand was multiplied with before, and will be after the ramp.
    factors: (f64, f64),
}

/// The demand of all groups.
#[derive(Clone, Debug)]
pub(super) struct Demand {
    lots: Lots,
    noise: Vec<f64>,
    next_step: f64,
    start_hour: f64,
    surges: Vec<Surge>,
    factor: Vec<f64>,
    now: Vec<f64>,
}

impl Demand {
    pub(super) fn new(world: &World, start_hour: f64, seed: u64) -> Demand {
        let mut lots = Lots::new(seed, 3);
        let groups = world.groups.len();
        let noise = (0..groups).map(|_| NOISE * lots.normal()).collect();
        let (factor, now) = (vec![1.0; groups], vec![0.0; groups]);
        Demand { lots, noise, next_step: STEP, start_hour, surges: Vec::new(), factor, now }
    }

    /// From `time` on, over `ramp` seconds, the groups' demand becomes `factor` times the usual one.
    pub(super) fn surge(&mut self, groups: Vec<usize>, time: f64, factor: f64, ramp: f64) {
        let before = groups.first().map_or(1.0, |&group| self.factor[group]);
        self.surges.push(Surge { groups, from: time, ramp, factors: (before, factor) });
    }

    /// Requests a second at `time`, by group. Time never runs backwards.
    pub(super) fn at(&mut self, world: &World, time: f64) -> &[f64] {
        while self.next_step <= time {
            self.next_step += STEP;
            let keeps = (-STEP / NOISE_LASTS).exp();
            let fresh = NOISE * (1.0 - keeps * keeps).sqrt();
            for noise in &mut self.noise {
                *noise = keeps * *noise + fresh * self.lots.normal();
            }
        }
        for surge in &self.surges {
            let done = ((time - surge.from) / surge.ramp.max(1e-9)).clamp(0.0, 1.0);
            let factor = surge.factors.0 + (surge.factors.1 - surge.factors.0) * done;
            surge.groups.iter().for_each(|&group| self.factor[group] = factor);
        }
        self.surges.retain(|surge| time < surge.from + surge.ramp);
        let hour = self.start_hour + time / 3600.0;
        for (group, now) in self.now.iter_mut().enumerate() {
            *now =
                world.usual(group, hour) * self.factor[group] * (1.0 + self.noise[group]).max(0.0);
        }
        &self.now
    }
}

#[cfg(test)]
mod tests {
    use super::super::world::Built;
    use super::*;

    #[test]
    fn a_surge_rises_over_its_ramp_and_ends() {
        let world = World::built(&Built { groups: 10, ..Built::default() });
        let mut calm = Demand::new(&world, 12.0, 4);
        let mut demand = calm.clone();
        demand.surge(vec![2], 100.0, 3.0, 120.0);
        let mut ratio = |time: f64, demand: &mut Demand| {
            let calm = calm.at(&world, time).to_vec();
            let now = demand.at(&world, time);
            assert_eq!(now[3], calm[3]);
            now[2] / calm[2]
        };
        assert!((ratio(100.0, &mut demand) - 1.0).abs() < 1e-9);
        assert!((ratio(160.0, &mut demand) - 2.0).abs() < 1e-9);
        assert!((ratio(400.0, &mut demand) - 3.0).abs() < 1e-9);
        demand.surge(vec![2], 500.0, 1.0, 0.0);
        assert!((ratio(501.0, &mut demand) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn demand_varies_by_five_percent_around_the_usual() {
        let world = World::built(&Built { groups: 400, ..Built::default() });
        let mut demand = Demand::new(&world, 0.0, 1);
        let now = demand.at(&world, 3_000.0);
        let hour = 3_000.0 / 3600.0;
        let off = now.iter().enumerate().map(|(group, now)| now / world.usual(group, hour) - 1.0);
        let variance = off.map(|off| off * off).sum::<f64>() / 400.0;
        assert!((0.04..0.06).contains(&variance.sqrt()), "{}", variance.sqrt());
    }
}
