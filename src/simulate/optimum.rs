//! The limit of what allocation can do: the cheapest assignment when everything is known and nothing
//! takes time.
//!
//! Exact, by successive shortest paths between the datacenters. It shares no code with the solver
//! that is judged by it.

/// What a request that cannot be served counts, in milliseconds.
pub(super) const DROPPED_MS: f64 = 1_000.0;

/// Loads and rooms that differ by less, as a part of all demand, are equal.
const EPSILON: f64 = 1e-12;

/// The demand of each group at each datacenter (row-major) in the cheapest assignment that fills no
/// datacenter over its room; what finds no room stands in an additional last column, each request at
/// [`DROPPED_MS`]. Costs are by group and datacenter, row-major.
pub(super) fn assign(demand: &[f64], costs: &[f64], rooms: &[f64]) -> Vec<f64> {
    let open: Vec<usize> = (0..rooms.len()).filter(|&dc| rooms[dc] > 0.0).collect();
    let total: f64 = demand.iter().sum();
    let mut search = Search {
        width: open.len() + 1,
        costs: Vec::with_capacity(demand.len() * (open.len() + 1)),
        moved: vec![0.0; demand.len() * (open.len() + 1)],
        here: vec![Vec::new(); open.len() + 1],
        best: vec![(f64::INFINITY, usize::MAX); (open.len() + 1) * (open.len() + 1)],
        least: EPSILON * total,
    };
    let mut spare: Vec<f64> = open.iter().map(|&dc| rooms[dc]).collect();
    spare.push(f64::INFINITY);
    for (group, &amount) in demand.iter().enumerate() {
        let row = &costs[group * rooms.len()..][..rooms.len()];
        search.costs.extend(open.iter().map(|&dc| row[dc]));
        search.costs.push(DROPPED_MS);
        let row = &search.costs[group * search.width..];
        let nearest = (0..search.width).min_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0);
        search.moved[group * search.width + nearest] = amount;
        search.here[nearest].push(group);
        spare[nearest] -= amount;
    }
    (0..search.width).for_each(|from| search.refresh(from));
    while let Some(path) = search.cheapest_path(&spare) {
        search.shift(&path, &mut spare);
    }
    let mut all = vec![0.0; demand.len() * (rooms.len() + 1)];
    for group in 0..demand.len() {
        let row = &search.moved[group * search.width..][..search.width];
        let out = &mut all[group * (rooms.len() + 1)..][..=rooms.len()];
        open.iter().zip(row).for_each(|(&dc, &amount)| out[dc] = amount);
        out[rooms.len()] = row[search.width - 1];
    }
    all
}

/// The mean cost of an assignment made by [`assign`], the unserved at [`DROPPED_MS`].
pub(super) fn mean_cost(assigned: &[f64], costs: &[f64], datacenters: usize) -> f64 {
    let (mut cost, mut amount) = (0.0, 0.0);
    for (row, costs) in assigned.chunks(datacenters + 1).zip(costs.chunks(datacenters)) {
        for (dc, part) in row.iter().enumerate() {
            cost += part * costs.get(dc).copied().unwrap_or(DROPPED_MS);
            amount += part;
        }
    }
    cost / amount.max(f64::MIN_POSITIVE)
}

struct Search {
    /// Open datacenters, and the one for what finds no room.
    width: usize,
    costs: Vec<f64>,
    moved: Vec<f64>,
    /// The groups that have a part at a datacenter.
    here: Vec<Vec<usize>>,
    /// From a datacenter to another: the least that moving a request costs, and whose.
    best: Vec<(f64, usize)>,
    least: f64,
}

impl Search {
    fn refresh(&mut self, from: usize) {
        let width = self.width;
        let moved = &self.moved;
        self.here[from].retain(|group| moved[group * width + from] > 0.0);
        let best = &mut self.best[from * width..][..width];
        best.fill((f64::INFINITY, usize::MAX));
        for &group in &self.here[from] {
            let row = &self.costs[group * width..][..width];
            for (best, cost) in best.iter_mut().zip(row) {
                if cost - row[from] < best.0 {
                    *best = (cost - row[from], group);
                }
            }
        }
        best[from] = (f64::INFINITY, usize::MAX);
    }

    /// From a datacenter that is too full to one that has room (Bellman and Ford; a cost may be
    /// negative, but no circle is).
    fn cheapest_path(&self, spare: &[f64]) -> Option<Vec<usize>> {
        let full = |dc: usize| spare[dc] < -self.least;
        let mut reached: Vec<(f64, usize)> =
            (0..self.width).map(|dc| (if full(dc) { 0.0 } else { f64::INFINITY }, dc)).collect();
        for _ in 0..self.width {
            let mut changed = false;
            for from in 0..self.width {
                for to in 0..self.width {
                    let cost = reached[from].0 + self.best[from * self.width + to].0;
                    if cost < reached[to].0 - 1e-9 {
                        reached[to] = (cost, from);
                        changed = true;
                    }
                }
            }
            if !changed {
                break;
            }
        }
        let end = (0..self.width)
            .filter(|&dc| spare[dc] > self.least && reached[dc].0.is_finite())
            .min_by(|&a, &b| reached[a].0.total_cmp(&reached[b].0))?;
        if !(0..self.width).any(full) {
            return None;
        }
        let mut path = vec![end];
        while path.len() <= self.width && reached[path[path.len() - 1]].1 != path[path.len() - 1] {
            path.push(reached[path[path.len() - 1]].1);
        }
        path.reverse();
        Some(path)
    }

    fn shift(&mut self, path: &[usize], spare: &mut [f64]) {
        let width = self.width;
        let hops = || path.windows(2).map(|hop| (hop[0], hop[1]));
        let group = |search: &Search, (from, to): (usize, usize)| search.best[from * width + to].1;
        let (first, last) = (path[0], path[path.len() - 1]);
        let mut amount = (-spare[first]).min(spare[last]);
        for hop in hops() {
            amount = amount.min(self.moved[group(self, hop) * width + hop.0]);
        }
        for (from, to) in hops() {
            let group = group(self, (from, to));
            let source = &mut self.moved[group * width + from];
            *source = if *source - amount <= self.least * 1e-3 { 0.0 } else { *source - amount };
            let target = &mut self.moved[group * width + to];
            if *target == 0.0 {
                self.here[to].push(group);
            }
            *target += amount;
        }
        spare[first] += amount;
        spare[last] -= amount;
        path.iter().for_each(|&dc| self.refresh(dc));
    }
}

#[cfg(test)]
mod tests {
    use super::super::lots::Lots;
    use super::*;

    #[test]
    fn a_small_problem_is_solved_as_by_hand() {
        // The second group loses least by moving: 4 of it go to the second datacenter.
        let costs = [10.0, 40.0, 10.0, 20.0];
        let assigned = assign(&[6.0, 6.0], &costs, &[8.0, 10.0]);
        assert_eq!(assigned, [6.0, 0.0, 0.0, 2.0, 4.0, 0.0]);
        assert!((mean_cost(&assigned, &costs, 2) - (60.0 + 20.0 + 80.0) / 12.0).abs() < 1e-12);
    }

    #[test]
    fn what_finds_no_room_is_counted_as_dropped() {
        let assigned = assign(&[6.0, 6.0], &[10.0, 40.0, 10.0, 20.0], &[8.0, 0.0]);
        assert!((assigned[2] + assigned[5] - 4.0).abs() < 1e-9);
        assert_eq!(assigned[1] + assigned[4], 0.0);
    }

    #[test]
    fn no_exchange_between_two_groups_makes_it_cheaper_and_none_is_overfilled() {
        let mut lots = Lots::new(1, 0);
        for _ in 0..30 {
            let (groups, dcs) = (2 + lots.below(60), 2 + lots.below(8));
            let demand: Vec<f64> = (0..groups).map(|_| lots.uniform()).collect();
            let costs: Vec<f64> = (0..groups * dcs).map(|_| 200.0 * lots.uniform()).collect();
            let all: f64 = demand.iter().sum();
            let rooms: Vec<f64> = (0..dcs).map(|_| 1.3 * all / dcs as f64).collect();
            let assigned = assign(&demand, &costs, &rooms);
            let at = |group: usize, dc: usize| assigned[group * (dcs + 1) + dc];
            let mut spare = rooms.clone();
            for (group, demand) in demand.iter().enumerate() {
                let sum: f64 = (0..=dcs).map(|dc| at(group, dc)).sum();
                assert!((sum - demand).abs() < 1e-9);
                (0..dcs).for_each(|dc| spare[dc] -= at(group, dc));
            }
            assert!(spare.iter().all(|spare| *spare > -1e-9 * all));
            // No circle of moves saves anything: what optimality means for a transport problem.
            let mut saved = vec![f64::INFINITY; dcs * dcs];
            for group in 0..groups {
                for from in (0..dcs).filter(|&dc| at(group, dc) > 1e-9) {
                    for to in 0..dcs {
                        let cost = costs[group * dcs + to] - costs[group * dcs + from];
                        saved[from * dcs + to] = saved[from * dcs + to].min(cost);
                    }
                }
            }
            for via in 0..dcs {
                for from in 0..dcs {
                    for to in 0..dcs {
                        let cost = saved[from * dcs + via] + saved[via * dcs + to];
                        saved[from * dcs + to] = saved[from * dcs + to].min(cost);
                    }
                }
            }
            for dc in 0..dcs {
                assert!(saved[dc * dcs + dc] > -1e-6, "a circle saves {}", saved[dc * dcs + dc]);
                let roomy = (0..dcs).filter(|&to| spare[to] > 1e-9 * all);
                roomy.for_each(|to| assert!(saved[dc * dcs + to] > -1e-6));
            }
        }
    }
}
