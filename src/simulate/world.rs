//! Who asks and who serves: groups of clients, datacenters, and the milliseconds between them.

use std::collections::HashMap;

use super::cities::{self, Division};
use super::lots::Lots;
use crate::geo::Coordinates;

/// Milliseconds of round trip a kilometre of great circle: paths are 2.1 times as slow as light in
/// fibre along the great circle (after Bozkurt et al., "Why is the Internet so slow?!", PAM 2017).
pub const MS_PER_KM: f64 = 0.021;
/// Milliseconds of round trip where distance is all that is known, on top of the distance's.
pub const MS_NEAR: f64 = 9.0;

/// The built-in datacenters: a name, the metro, where it is.
const METROS: [(&str, f64, f64); 17] = [
    ("ashburn", 39.04, -77.49),
    ("dallas", 32.78, -96.80),
    ("san-jose", 37.34, -121.89),
    ("toronto", 43.65, -79.38),
    ("sao-paulo", -23.55, -46.63),
    ("london", 51.51, -0.13),
    ("frankfurt", 50.11, 8.68),
    ("madrid", 40.42, -3.70),
    ("stockholm", 59.33, 18.07),
    ("johannesburg", -26.20, 28.05),
    ("dubai", 25.20, 55.27),
    ("mumbai", 19.08, 72.88),
    ("singapore", 1.35, 103.82),
    ("hong-kong", 22.32, 114.17),
    ("tokyo", 35.68, 139.69),
    ("seoul", 37.57, 126.98),
    ("sydney", -33.87, 151.21),
];

/// The names of the built-in datacenters.
pub(super) fn metros() -> impl Iterator<Item = &'static str> {
    METROS.iter().map(|&(name, ..)| name)
}

/// Clients that are alike: the people of one place.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Its name, like `US/CA`.
    pub name: String,
    /// ISO 3166-1 alpha-2.
    pub country: String,
    /// Where they are.
    pub at: Coordinates,
    /// Requests a second at their busiest hour.
    pub peak: f64,
}

/// A datacenter.
#[derive(Clone, Debug, PartialEq)]
pub struct Datacenter {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub at: Coordinates,
    /// Requests a second it can serve.
    pub capacity: f64,
}

/// Who asks, who serves, and how far they are from each other.
#[derive(Clone, Debug)]
pub struct World {
    /// By their numbers.
    pub groups: Vec<Group>,
    /// By their numbers.
    pub datacenters: Vec<Datacenter>,
    /// Milliseconds of round trip, by group and datacenter: see [`World::rtt`].
    rtt: Vec<f64>,
}

/// How the built-in world is made.
#[derive(Clone, Debug)]
pub struct Built {
    /// Decides the capacities and the detours of the paths.
    pub seed: u64,
    /// The number of groups, the most populous divisions first; at most 1,500.
    pub groups: usize,
    /// All capacity over the busiest hour's demand of the whole world.
    pub headroom: f64,
    /// What part of China's users comes to datacenters outside of it.
    pub china: f64,
    /// The spread of the part of the capacities that follows nothing: the standard deviation of
    /// their logarithms.
    pub skew: f64,
    /// Requests a second of the whole world, if it were the busiest hour everywhere.
    pub demand: f64,
}

impl Default for Built {
    fn default() -> Built {
        Built { seed: 1, groups: 800, headroom: 1.4, china: 0.15, skew: 0.5, demand: 1_000_000.0 }
    }
}

impl World {
    /// The built-in world: the people of the frozen table, seventeen metros, capacities that follow
    /// the local demand for 55 % and nothing at all, as capacities do, for the rest.
    pub fn built(built: &Built) -> World {
        let weight = |division: &Division| {
            division.users * if division.country == "CN" { built.china } else { 1.0 }
        };
        let mut divisions: Vec<Division> = cities::divisions().collect();
        divisions.sort_by(|a, b| weight(b).total_cmp(&weight(a)));
        divisions.truncate(built.groups);
        let all: f64 = divisions.iter().map(weight).sum();
        let groups = divisions.iter().map(|division| Group {
            name: format!("{}/{}", division.country, division.code),
            country: division.country.to_string(),
            at: division.at,
            peak: weight(division) / all * built.demand,
        });
        let groups: Vec<Group> = groups.collect();
        let datacenters = METROS.iter().map(|&(name, latitude, longitude)| Datacenter {
            name: name.to_string(),
            at: Coordinates { latitude, longitude },
            capacity: 0.0,
        });
        let mut world = World::new(groups, datacenters.collect(), built.seed);
        world.provide(built);
        world
    }

    /// A world of one's own. The round trips follow the distance, with detours by the country and
    /// the group that the seed decides.
    pub fn new(groups: Vec<Group>, datacenters: Vec<Datacenter>, seed: u64) -> World {
        let mut lots = Lots::new(seed, 1);
        let mut detours: HashMap<&str, Vec<f64>> = HashMap::new();
        let mut rtt = Vec::with_capacity(groups.len() * datacenters.len());
        for group in &groups {
            let detours = detours
                .entry(&group.country)
                .or_insert_with(|| datacenters.iter().map(|_| lots.log_normal(0.2)).collect());
            let last_mile = 5.0 + 10.0 * lots.uniform();
            for (datacenter, detour) in datacenters.iter().zip(detours) {
                let path = MS_PER_KM * group.at.distance_km(datacenter.at);
                rtt.push(path * *detour * lots.log_normal(0.08) + last_mile);
            }
        }
        World { groups, datacenters, rtt }
    }

    /// The true round trips of a group in milliseconds, by datacenter.
    pub fn rtt(&self, group: usize) -> &[f64] {
        let width = self.datacenters.len();
        &self.rtt[group * width..][..width]
    }

    /// What distance alone tells of a group's round trips, by datacenter.
    pub fn distance_rtt(&self, group: usize) -> impl Iterator<Item = f64> {
        let from = self.groups[group].at;
        let ms = move |to: &Datacenter| MS_NEAR + MS_PER_KM * from.distance_km(to.at);
        self.datacenters.iter().map(ms)
    }

    /// A group's usual requests a second at an hour of the day, UTC: the least at 8, the most at 20
    /// hours of local solar time.
    pub fn usual(&self, group: usize, hour: f64) -> f64 {
        let group = &self.groups[group];
        let local = hour + group.at.longitude / 15.0;
        group.peak * (0.65 + 0.35 * ((local - 20.0) / 24.0 * std::f64::consts::TAU).cos())
    }

    /// The hour of the day, UTC, at which the whole world asks most.
    pub fn busiest_hour(&self) -> f64 {
        quarters().max_by(|&a, &b| self.total(a).total_cmp(&self.total(b))).unwrap_or(0.0)
    }

    fn total(&self, hour: f64) -> f64 {
        (0..self.groups.len()).map(|group| self.usual(group, hour)).sum()
    }

    /// Gives the datacenters their capacities.
    fn provide(&mut self, built: &Built) {
        let nearest: Vec<usize> = (0..self.groups.len())
            .map(|group| {
                let near = self.distance_rtt(group).enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
                near.map_or(0, |(datacenter, _)| datacenter)
            })
            .collect();
        let mut local = vec![0.0f64; self.datacenters.len()];
        for hour in quarters() {
            let mut now = vec![0.0; self.datacenters.len()];
            nearest.iter().enumerate().for_each(|(group, &dc)| now[dc] += self.usual(group, hour));
            local.iter_mut().zip(now).for_each(|(peak, now)| *peak = peak.max(now));
        }
        let mut lots = Lots::new(built.seed, 2);
        let skew: Vec<f64> = local.iter().map(|_| lots.log_normal(built.skew)).collect();
        let (all_local, all_skew): (f64, f64) = (local.iter().sum(), skew.iter().sum());
        let total = built.headroom * self.total(self.busiest_hour());
        for ((datacenter, local), skew) in self.datacenters.iter_mut().zip(local).zip(skew) {
            datacenter.capacity = total * (0.55 * local / all_local + 0.45 * skew / all_skew);
        }
    }
}

/// The quarters of an hour of a day.
fn quarters() -> impl Iterator<Item = f64> {
    (0..96).map(|quarter| f64::from(quarter) / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_world_has_the_headroom_it_was_asked_for() {
        for headroom in [1.4, 1.15] {
            let world = World::built(&Built { headroom, seed: 3, ..Built::default() });
            let capacity: f64 = world.datacenters.iter().map(|one| one.capacity).sum();
            let peak = world.total(world.busiest_hour());
            assert!((capacity / peak - headroom).abs() < 1e-9);
            assert_eq!((world.groups.len(), world.datacenters.len()), (800, 17));
        }
    }

    #[test]
    fn a_seed_makes_one_world() {
        let [one, same, other] =
            [5, 5, 6].map(|seed| World::built(&Built { seed, ..Built::default() }));
        assert_eq!(one.rtt, same.rtt);
        assert_eq!(one.datacenters, same.datacenters);
        assert_ne!(one.rtt, other.rtt);
        assert_ne!(one.datacenters, other.datacenters);
    }

    #[test]
    fn the_near_are_near_and_the_evening_is_busy() {
        let world = World::built(&Built::default());
        let california = world.groups.iter().position(|group| group.name == "US/CA").unwrap();
        let near = |name: &str| {
            let dc = world.datacenters.iter().position(|one| one.name == name).unwrap();
            world.rtt(california)[dc]
        };
        assert!(near("san-jose") < 40.0 && near("frankfurt") > 100.0);
        // Eight in the evening is about four in the night, UTC.
        assert!(world.usual(california, 4.0) > 2.5 * world.usual(california, 16.0));
    }
}
