//! The policies that plan shares ahead from known demand: the waterfall, and the oracle.

use super::super::optimum;
use super::super::plant::Report;
use super::super::world::World;
use super::{Asker, Knowledge, Truth, costs, hashed};

/// Seconds between two plans.
const TICK: f64 = 5.0;
/// How full the waterfall makes a datacenter.
const WATERFALL_LIMIT: f64 = 0.90;
/// How full the oracle makes one.
const ORACLE_LIMIT: f64 = 0.97;

/// Shares by group, renewed every few seconds.
pub(in super::super) struct Planned {
    kind: Kind,
    costs: Vec<f64>,
    /// By group: datacenters with their shares.
    shares: Vec<Vec<(usize, f64)>>,
    planned_at: f64,
    stale: bool,
}

enum Kind {
    Waterfall { up: Vec<bool>, capacities: Vec<f64> },
    Oracle { rooms: Vec<f64> },
}

impl Planned {
    pub(super) fn waterfall(world: &World, knowledge: Knowledge) -> Planned {
        let capacities = world.datacenters.iter().map(|one| one.capacity).collect();
        let up = vec![true; world.datacenters.len()];
        Planned::new(Kind::Waterfall { up, capacities }, costs(world, knowledge))
    }

    pub(super) fn oracle(world: &World) -> Planned {
        Planned::new(Kind::Oracle { rooms: Vec::new() }, costs(world, Knowledge::Rtt))
    }

    fn new(kind: Kind, costs: Vec<f64>) -> Planned {
        Planned { kind, costs, shares: Vec::new(), planned_at: 0.0, stale: true }
    }

    pub(super) fn health(&mut self, datacenter: usize, is_up: bool) {
        if let Kind::Waterfall { up, .. } = &mut self.kind {
            up[datacenter] = is_up;
            self.stale = true;
        }
    }

    pub(super) fn report(&mut self, report: &Report) {
        if let Kind::Waterfall { capacities, .. } = &mut self.kind {
            // What it serves over how much of it that takes: the capacity, whatever it says.
            let shown = (report.load - report.rejected) / report.utilisation.max(0.05);
            let capacity = &mut capacities[report.datacenter];
            *capacity += 0.4 * (shown.min(report.capacity) - *capacity);
        }
    }

    pub(super) fn second(&mut self, truth: &Truth<'_>) {
        if let Kind::Oracle { rooms } = &mut self.kind
            && rooms != truth.rooms
        {
            *rooms = truth.rooms.to_vec();
            self.stale = true;
        }
        if !self.stale && truth.time < self.planned_at + TICK {
            return;
        }
        (self.stale, self.planned_at) = (false, truth.time);
        self.shares = match &self.kind {
            Kind::Waterfall { up, capacities } => {
                let room = |(up, capacity): (&bool, &f64)| if *up { *capacity } else { 0.0 };
                let rooms: Vec<f64> = up.iter().zip(capacities).map(room).collect();
                waterfall(truth.demand, &self.costs, &rooms)
            }
            Kind::Oracle { rooms } => {
                let limits: Vec<f64> = rooms.iter().map(|room| ORACLE_LIMIT * room).collect();
                let assigned = optimum::assign(truth.demand, &self.costs, &limits);
                let rows = assigned.chunks(rooms.len() + 1);
                rows.zip(truth.demand).map(|(row, &demand)| parts(row, demand, rooms)).collect()
            }
        };
    }

    /// By a weighted rendezvous of the unit (Schindelhauer and Schomaker, SPAA 2005).
    pub(super) fn answer(&mut self, asker: Asker) -> usize {
        match &self.shares[asker.group][..] {
            [] => 0,
            [(only, _)] => *only,
            parts => {
                let cost = |&(dc, share): &(usize, f64)| -hashed(asker.unit, dc).ln() / share;
                let best = parts.iter().min_by(|a, b| cost(a).total_cmp(&cost(b)));
                best.map_or(0, |(dc, _)| *dc)
            }
        }
    }
}

/// A group's parts from its row of an assignment; what found no room is spread as the rooms are.
fn parts(row: &[f64], demand: f64, rooms: &[f64]) -> Vec<(usize, f64)> {
    let (unserved, all) = (row[rooms.len()], rooms.iter().sum::<f64>().max(1e-9));
    let part =
        |(dc, &room): (usize, &f64)| (dc, (row[dc] + unserved * room / all) / demand.max(1e-9));
    rooms.iter().enumerate().map(part).filter(|(_, share)| *share > 0.004).collect()
}

/// Greedily, the group with the nearest datacenter first: each datacenter up to the limit, the rest to
/// the next; what finds no room is spread as the rooms are.
fn waterfall(demand: &[f64], costs: &[f64], rooms: &[f64]) -> Vec<Vec<(usize, f64)>> {
    let width = rooms.len();
    let mut left: Vec<f64> = rooms.iter().map(|room| WATERFALL_LIMIT * room).collect();
    let mut order: Vec<usize> = (0..demand.len()).collect();
    let nearest = |group: usize| {
        costs[group * width..][..width].iter().copied().fold(f64::INFINITY, f64::min)
    };
    order.sort_by(|&a, &b| nearest(a).total_cmp(&nearest(b)));
    let mut shares = vec![Vec::new(); demand.len()];
    for group in order {
        let mut row = vec![0.0; width + 1];
        row[width] = demand[group];
        for dc in super::ascending(&costs[group * width..][..width]) {
            let taken = row[width].min(left[dc]);
            (row[dc], left[dc], row[width]) = (taken, left[dc] - taken, row[width] - taken);
            if row[width] <= 0.0 {
                break;
            }
        }
        shares[group] = parts(&row, demand[group], rooms);
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waterfall_fills_the_nearest_and_spills_the_rest() {
        let shares = waterfall(&[4.5, 9.0], &[11.0, 20.0, 10.0, 20.0], &[10.0, 10.0]);
        assert_eq!(shares, [[(1, 1.0)], [(0, 1.0)]]);
        let shares = waterfall(&[10.0, 9.0], &[10.0, 20.0, 11.0, 20.0], &[10.0, 10.0]);
        assert_eq!(shares[0], [(0, 0.9), (1, 0.1)]);
    }

    #[test]
    fn too_much_demand_is_spread_as_the_rooms_are() {
        let shares = waterfall(&[100.0], &[10.0, 20.0], &[10.0, 30.0]);
        let sum: f64 = shares[0].iter().map(|(_, share)| share).sum();
        assert!((sum - 1.0).abs() < 1e-9);
        assert!((shares[0][1].1 - 0.75).abs() < 1e-9);
    }
}
