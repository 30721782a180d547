//! The resolvers' caches, between the answers that are given and the load that follows.

use super::lots::Lots;
use super::world::World;

/// The exponent of the sizes of the units inside a group.
const ZIPF: f64 = 0.9;
/// The spread of the requests that follow one look-up, over the groups.
const PER_LOOKUP_SPREAD: f64 = 0.4;
/// The slots of the calendar, of a second each.
const SLOTS: usize = 4096;

/// How a cache minds the TTL. One unit is always of one kind. Fitted to what Flavel, Mani and Maltz
/// found ("Re-evaluating the responsiveness of DNS-based network control", LANMAN 2014): of requests
/// moved by a TTL of 20 s, 90 % had moved after 60 s, and 2 % had not after 15 minutes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Patience {
    /// Keeps an answer for its TTL: 88 %.
    Honours,
    /// Keeps it for an exponentially distributed time of this mean, but for the TTL at least: 9 %
    /// with 180 s, 3 % with 2,400 s.
    Overstays(f64),
}

/// The clients behind one cache: a resolver's, or those of one ECS prefix.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    /// The group they are of.
    pub(super) home: usize,
    /// The group they seem to be of.
    pub(super) seems: usize,
    /// Their part of their group's demand.
    pub(super) share: f64,
    /// Where they are sent; none yet before the first answer.
    pub(super) datacenter: Option<usize>,
    patience: Patience,
    next_query: f64,
}

/// How the clients are spread over caches.
#[derive(Clone, Debug)]
pub struct CacheModel {
    /// The number of caches, as many in each group; at least one.
    pub units: usize,
    /// Requests that follow one look-up, in the median.
    pub requests_per_lookup: f64,
}

impl Default for CacheModel {
    fn default() -> CacheModel {
        CacheModel { units: 12_000, requests_per_lookup: 40.0 }
    }
}

/// All caches.
#[derive(Clone, Debug)]
pub(super) struct Caches {
    pub(super) units: Vec<Unit>,
    /// Requests that follow one look-up, by group.
    per_lookup: Vec<f64>,
    lots: Lots,
    /// The units by the second of their next query, modulo the number of slots.
    calendar: Vec<Vec<u32>>,
}

impl Caches {
    pub(super) fn new(world: &World, model: &CacheModel, mislocated: f64, seed: u64) -> Caches {
        let mut lots = Lots::new(seed, 5);
        let groups = world.groups.len();
        let count = (model.units / groups.max(1)).max(1);
        let mut units = Vec::with_capacity(count * groups);
        for home in 0..groups {
            let size = |rank: usize| (rank as f64 + 1.0).powf(-ZIPF);
            let sizes: f64 = (0..count).map(size).sum();
            for rank in 0..count {
                let kind = lots.uniform();
                let patience = match kind {
                    _ if kind < 0.88 => Patience::Honours,
                    _ if kind < 0.97 => Patience::Overstays(180.0),
                    _ => Patience::Overstays(2_400.0),
                };
                let astray = lots.uniform() < mislocated;
                let seems = if astray { lots.below(groups) } else { home };
                let share = size(rank) / sizes;
                units.push(Unit {
                    home,
                    seems,
                    share,
                    datacenter: None,
                    patience,
                    next_query: 0.0,
                });
            }
        }
        let per_lookup = (0..groups)
            .map(|_| model.requests_per_lookup * lots.log_normal(PER_LOOKUP_SPREAD))
            .collect();
        let mut caches = Caches { units, per_lookup, lots, calendar: vec![Vec::new(); SLOTS] };
        // The first queries come within half a minute, as from caches of which each has its own past.
        for unit in 0..caches.units.len() {
            let first = 30.0 * caches.lots.uniform();
            caches.note(unit, first);
        }
        caches
    }

    /// The units that ask in the second that begins at `now`, in the order of time, with the time.
    pub(super) fn due(&mut self, now: f64) -> Vec<(f64, usize)> {
        let slot = now as usize % SLOTS;
        let noted = std::mem::take(&mut self.calendar[slot]);
        let mut due = Vec::with_capacity(noted.len());
        for unit in noted {
            let time = self.units[unit as usize].next_query;
            if time < now + 1.0 {
                due.push((time.max(now), unit as usize));
            } else {
                self.calendar[slot].push(unit);
            }
        }
        due.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        due
    }

    /// A unit is answered: it keeps that for a while, and asks again when its clients next come. The
    /// clients stay where they are until the next answer. `demand` is that of its group.
    pub(super) fn answered(
        &mut self,
        unit: usize,
        time: f64,
        datacenter: usize,
        ttl: f64,
        demand: f64,
    ) {
        let Unit { home, share, patience, .. } = self.units[unit];
        let keeps = match patience {
            Patience::Honours => ttl,
            Patience::Overstays(mean) => ttl.max(self.lots.exponential(mean)),
        };
        // Requests come in Poisson's way: the wait for the first after the expiry is exponential.
        let lookups = demand * share / self.per_lookup[home];
        let waits = self.lots.exponential(1.0 / lookups.max(1e-6));
        self.units[unit].datacenter = Some(datacenter);
        self.note(unit, time + keeps + waits);
    }

    fn note(&mut self, unit: usize, next_query: f64) {
        self.units[unit].next_query = next_query;
        self.calendar[next_query as usize % SLOTS].push(unit as u32);
    }
}

#[cfg(test)]
mod tests {
    use super::super::world::Built;
    use super::*;

    fn caches(mislocated: f64) -> Caches {
        let world = World::built(&Built::default());
        Caches::new(&world, &CacheModel::default(), mislocated, 1)
    }

    #[test]
    fn the_units_of_a_group_make_up_its_demand() {
        let caches = caches(0.0);
        assert_eq!(caches.units.len(), 12_000);
        let mut shares = vec![0.0; 800];
        caches.units.iter().for_each(|unit| shares[unit.home] += unit.share);
        assert!(shares.iter().all(|share| (share - 1.0).abs() < 1e-9));
        assert!(caches.units.iter().all(|unit| unit.home == unit.seems));
    }

    #[test]
    fn some_seem_to_be_elsewhere_when_that_is_asked() {
        let caches = caches(0.15);
        let astray = caches.units.iter().filter(|unit| unit.home != unit.seems).count();
        let part = astray as f64 / caches.units.len() as f64;
        assert!((part - 0.15).abs() < 0.02, "{part}");
    }

    #[test]
    fn no_cache_asks_again_before_the_ttl_is_over_and_few_long_after() {
        let mut caches = caches(0.0);
        let ttl = 20.0;
        let mut answered = vec![None; caches.units.len()];
        let mut late = 0;
        let mut all = 0;
        for second in 0..2_000 {
            for (time, unit) in caches.due(f64::from(second)) {
                if let Some(last) = answered[unit] {
                    assert!(time >= last + ttl, "{time} {last}");
                    all += 1;
                    late += usize::from(time > last + 900.0);
                }
                answered[unit] = Some(time);
                caches.answered(unit, time, 0, ttl, 1e9);
            }
        }
        assert!(all > 400_000, "{all}");
        assert!(late > 0 && late < all / 500, "{late} of {all}");
    }
}
