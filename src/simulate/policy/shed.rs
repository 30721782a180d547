//! Load shedding: measured load pushed straight into the answers.

use super::super::lots::Lots;
use super::super::plant::Report;
use super::{Asker, first_up, hashed};

/// The nearest that does not shed.
pub(in super::super) struct Shed {
    pub(super) up: Vec<bool>,
    low: f64,
    high: f64,
    hash: bool,
    orders: Vec<Vec<usize>>,
    /// Load over capacity, by datacenter, as last reported.
    load: Vec<f64>,
    lots: Lots,
}

impl Shed {
    pub(super) fn new(low: f64, high: f64, hash: bool, orders: Vec<Vec<usize>>, seed: u64) -> Shed {
        let datacenters = orders.first().map_or(0, Vec::len);
        let (up, load) = (vec![true; datacenters], vec![0.0; datacenters]);
        Shed { up, low, high, hash, orders, load, lots: Lots::new(seed, 7) }
    }

    pub(super) fn report(&mut self, report: &Report) {
        self.load[report.datacenter] = report.load / report.capacity;
    }

    pub(super) fn answer(&mut self, asker: Asker) -> usize {
        let order = &self.orders[asker.group];
        for &dc in order.iter().filter(|&&dc| self.up[dc]) {
            let lot = if self.hash { hashed(asker.unit, dc) } else { self.lots.uniform() };
            if lot >= (self.load[dc] - self.low) / (self.high - self.low) {
                return dc;
            }
        }
        first_up(order, &self.up)
    }
}
