//! The datacenters as they are, and what is told of them: reports that are late and noisy, checks
//! that need time.

use std::collections::VecDeque;

use super::lots::Lots;
use super::world::World;

/// Seconds between two reports of a datacenter.
const REPORT_EVERY: f64 = 5.0;
/// Seconds from the measurement to the arrival.
const REPORT_DELAY: f64 = 5.0;
/// The standard deviation of what is measured, as a share.
const REPORT_NOISE: f64 = 0.02;
/// Offered load beyond this many times the capacity is not seen.
const SATURATES: f64 = 1.2;
/// Seconds until a failure is noticed.
const DOWN_AFTER: f64 = 10.0;
/// Seconds until a recovery is believed.
const UP_AFTER: f64 = 30.0;

/// What a datacenter tells of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Its number.
    pub datacenter: usize,
    /// When it was measured.
    pub measured: f64,
    /// Requests a second it believes to be able to serve.
    pub capacity: f64,
    /// Requests a second offered to it, the rejected ones among them, as far as it sees them.
    pub load: f64,
    /// Requests a second it could not serve.
    pub rejected: f64,
    /// Of the scarcest resource, 0 to 1.
    pub utilisation: f64,
}

/// A datacenter as it is.
#[derive(Clone, Debug)]
pub(super) struct Site {
    /// It serves.
    pub(super) alive: bool,
    /// Requests a second it can serve, when it serves.
    pub(super) capacity: f64,
    /// What it says it can.
    pub(super) told_capacity: f64,
    /// It sends reports.
    pub(super) reports: bool,
    /// Added to each round trip.
    pub(super) slow_ms: f64,
    /// The part of the requests that fail.
    pub(super) errors: f64,
    /// Its checks fail, whatever it does.
    pub(super) checks_fail: bool,
    /// The checks' verdict.
    pub(super) seen_up: bool,
    /// Since when the checks have been of the other mind.
    doubted_since: Option<f64>,
}

impl Site {
    /// Requests a second it can serve now.
    pub(super) fn room(&self) -> f64 {
        if self.alive { self.capacity } else { 0.0 }
    }
}

/// All datacenters.
#[derive(Clone, Debug)]
pub(super) struct Plant {
    pub(super) sites: Vec<Site>,
    lots: Lots,
    under_way: VecDeque<(f64, Report)>,
}

impl Plant {
    pub(super) fn new(world: &World, seed: u64) -> Plant {
        let site = |capacity: f64| Site {
            alive: true,
            capacity,
            told_capacity: capacity,
            reports: true,
            slow_ms: 0.0,
            errors: 0.0,
            checks_fail: false,
            seen_up: true,
            doubted_since: None,
        };
        let sites = world.datacenters.iter().map(|one| site(one.capacity)).collect();
        Plant { sites, lots: Lots::new(seed, 4), under_way: VecDeque::new() }
    }

    /// Which datacenters' verdicts change at `time`.
    pub(super) fn checks(&mut self, time: f64) -> Vec<(usize, bool)> {
        let mut changed = Vec::new();
        for (index, site) in self.sites.iter_mut().enumerate() {
            let is_up = site.alive && !site.checks_fail;
            if is_up == site.seen_up {
                site.doubted_since = None;
                continue;
            }
            let since = *site.doubted_since.get_or_insert(time);
            if time - since >= if is_up { UP_AFTER } else { DOWN_AFTER } {
                site.seen_up = is_up;
                site.doubted_since = None;
                changed.push((index, is_up));
            }
        }
        changed
    }

    /// Takes the measurements of `time` when they are due: the loads are those offered then.
    pub(super) fn measure(&mut self, time: f64, loads: &[f64]) {
        if time % REPORT_EVERY != 0.0 {
            return;
        }
        for (datacenter, (site, &load)) in self.sites.iter().zip(loads).enumerate() {
            // The draws do not depend on the state, so that a change does not disturb the others.
            let mut noisy = || 1.0 + REPORT_NOISE * self.lots.normal();
            let (load_noise, utilisation_noise) = (noisy(), noisy());
            if !site.alive || !site.reports {
                continue;
            }
            let served = load.min(site.capacity);
            let offered = load.min(SATURATES * site.capacity);
            let report = Report {
                datacenter,
                measured: time,
                capacity: site.told_capacity,
                load: offered * load_noise,
                rejected: (offered - served) * load_noise,
                utilisation: (served / site.capacity * utilisation_noise).min(1.0),
            };
            self.under_way.push_back((time + REPORT_DELAY, report));
        }
    }

    /// The reports that have arrived by `time`.
    pub(super) fn arrived(&mut self, time: f64) -> Vec<Report> {
        let due = self.under_way.partition_point(|(arrives, _)| *arrives <= time);
        self.under_way.drain(..due).map(|(_, report)| report).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::world::Built;
    use super::*;

    fn plant() -> Plant {
        Plant::new(&World::built(&Built { groups: 50, ..Built::default() }), 1)
    }

    #[test]
    fn a_death_is_noticed_after_ten_seconds_and_a_return_believed_after_thirty() {
        let mut plant = plant();
        plant.sites[6].alive = false;
        let noticed = (0..60).find(|&t| plant.checks(f64::from(t)) == [(6, false)]);
        assert_eq!(noticed, Some(10));
        plant.sites[6].alive = true;
        let believed = (100..160).find(|&t| plant.checks(f64::from(t)) == [(6, true)]);
        assert_eq!(believed, Some(130));
    }

    #[test]
    fn reports_are_late_noisy_and_see_no_more_than_a_fifth_too_much() {
        let mut plant = plant();
        let capacities: Vec<f64> = plant.sites.iter().map(|site| site.capacity).collect();
        let loads: Vec<f64> = capacities.iter().map(|capacity| 2.0 * capacity).collect();
        plant.measure(10.0, &loads);
        plant.measure(11.0, &loads);
        assert!(plant.arrived(14.0).is_empty());
        let reports = plant.arrived(15.0);
        assert_eq!(reports.len(), 17);
        for report in &reports {
            let capacity = capacities[report.datacenter];
            assert!((report.load / capacity - 1.2).abs() < 0.12, "{report:?}");
            assert!((report.rejected / capacity - 0.2).abs() < 0.02);
            assert!(report.utilisation > 0.9 && report.utilisation <= 1.0);
        }
        assert!(reports.windows(2).any(|two| two[0].load != two[1].load));
    }

    #[test]
    fn a_silent_loss_shows_in_the_utilisation_alone() {
        let mut plant = plant();
        let capacity = plant.sites[0].capacity;
        plant.sites[0].capacity = 0.5 * capacity;
        let loads: Vec<f64> = plant.sites.iter().map(|site| 0.4 * site.capacity).collect();
        plant.measure(0.0, &loads);
        let report = plant.arrived(5.0).swap_remove(0);
        assert_eq!(report.capacity, capacity);
        assert!((report.load / report.utilisation / capacity - 0.5).abs() < 0.08);
    }
}
