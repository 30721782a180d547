//! Random problems, and what an LP library makes of them.

use microlp::{ComparisonOp, OptimizationDirection, Variable};

use super::super::{Problem, Row, Site, Solution, Solver, Tier};

/// A problem that owns what it is made of.
#[derive(Clone, Debug)]
pub struct Instance {
    pub sites: Vec<Site>,
    pub rows: Vec<OwnedRow>,
    pub costs: Vec<f32>,
    pub stick_ms: f64,
}

#[derive(Clone, Debug)]
pub struct OwnedRow {
    pub key: u64,
    pub demand: f64,
    pub previous: Vec<(u16, f64)>,
}

/// What random problems are like.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub rows: usize,
    pub datacenters: usize,
    pub entries: usize,
    /// Capacity over demand.
    pub headroom: f64,
    pub stick_ms: f64,
    /// Which part of the sites a row may not use.
    pub forbidden: f64,
    /// Costs, demands and bounds are small whole numbers: ties everywhere.
    pub is_degenerate: bool,
}

/// A generator of numbers that need not be good, only the same everywhere (splitmix64).
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// So many indices in any order.
    pub fn order(&mut self, length: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..length).collect();
        order.sort_by_cached_key(|_| self.next());
        order
    }
}

impl Kind {
    /// Any small kind.
    pub fn small(numbers: &mut Numbers) -> Kind {
        Kind {
            rows: 1 + numbers.below(9),
            datacenters: 1 + numbers.below(5),
            entries: numbers.below(3),
            headroom: [0.5, 0.9, 1.0, 1.05, 1.3, 3.0][numbers.below(6)],
            stick_ms: [0.0, 0.0, 6.0, 40.0][numbers.below(4)],
            forbidden: [0.0, 0.3, 0.6][numbers.below(3)],
            is_degenerate: numbers.below(2) == 0,
        }
    }
}

impl Instance {
    pub fn random(kind: Kind, numbers: &mut Numbers) -> Instance {
        let Kind { rows, datacenters, entries, .. } = kind;
        let sites = datacenters + entries;
        let demand = |numbers: &mut Numbers| match kind.is_degenerate {
            true => numbers.below(4) as f64,
            false if numbers.below(20) == 0 => 0.0,
            false => 10.0 * numbers.unit().powi(3),
        };
        let demands: Vec<f64> = (0..rows).map(|_| demand(numbers)).collect();
        let total: f64 = demands.iter().sum();
        let sites: Vec<Site> = (0..sites)
            .map(|site| {
                let fair = total * kind.headroom / datacenters as f64;
                let mut capacity = fair * 2.0 * numbers.unit();
                if kind.is_degenerate {
                    capacity = capacity.round();
                }
                let parent = (site >= datacenters).then(|| numbers.below(datacenters) as u16);
                let capacity = if parent.is_some() { capacity * 0.3 } else { capacity };
                Site { key: numbers.next(), tiers: tiers(capacity, numbers), parent }
            })
            .collect();
        let cost = |numbers: &mut Numbers| match numbers.unit() < kind.forbidden {
            true => f32::INFINITY,
            false if kind.is_degenerate => (10 * numbers.below(4)) as f32,
            false => (300.0 * numbers.unit()) as f32,
        };
        let costs: Vec<f32> = (0..rows * sites.len()).map(|_| cost(numbers)).collect();
        let rows = demands
            .into_iter()
            .map(|demand| OwnedRow {
                key: numbers.next(),
                demand,
                previous: previous(demand, sites.len(), kind.is_degenerate, numbers),
            })
            .collect();
        Instance { sites, rows, costs, stick_ms: kind.stick_ms }
    }

    /// A small one of any kind.
    pub fn any(seed: u64) -> Instance {
        let mut numbers = Numbers(seed);
        let kind = Kind::small(&mut numbers);
        Instance::random(kind, &mut numbers)
    }

    /// Datacenters of one capacity, beyond which every unit costs 600 ms.
    pub fn plain(demands: &[f64], costs: &[f32], sites: u64, capacity: f64) -> Instance {
        let row = |(demand, key): (&f64, u64)| OwnedRow { key, demand: *demand, previous: vec![] };
        let site = |key: u64| Site {
            key,
            tiers: vec![
                Tier { up_to: capacity, slope_ms: 0.0 },
                Tier { up_to: f64::INFINITY, slope_ms: 600.0 },
            ],
            parent: None,
        };
        Instance {
            sites: (0..sites).map(site).collect(),
            rows: demands.iter().zip(0..).map(row).collect(),
            costs: costs.to_vec(),
            stick_ms: 0.0,
        }
    }

    pub fn solve(&self, solver: &mut Solver) -> Solution {
        self.with(|problem| solver.solve(problem)).expect("a problem")
    }

    /// Goes on from a solution: demand and capacity change, and now and then a site dies.
    pub fn change(&mut self, solution: &Solution, numbers: &mut Numbers) {
        for (index, row) in self.rows.iter_mut().enumerate() {
            let factor = 0.8 + 0.4 * numbers.unit();
            let parts = solution.parts(index).iter();
            row.previous = parts.map(|part| (part.site, part.amount * factor)).collect();
            row.demand *= factor;
        }
        let dead = numbers.below(2 * self.sites.len());
        for (index, site) in self.sites.iter_mut().enumerate() {
            let factor = 0.9 + 0.2 * numbers.unit();
            for tier in &mut site.tiers {
                tier.up_to *= factor;
            }
            if index == dead {
                site.tiers = vec![Tier { up_to: f64::INFINITY, slope_ms: 100_000.0 }];
            }
        }
    }

    /// Forbids a site and its entries to all.
    pub fn forbid(&mut self, lost: usize) {
        let is_lost = |site: usize| {
            site == lost
                || self.sites[site].parent.is_some_and(|parent| usize::from(parent) == lost)
        };
        for (at, cost) in self.costs.iter_mut().enumerate() {
            if is_lost(at % self.sites.len()) {
                *cost = f32::INFINITY;
            }
        }
    }

    /// The same in another order.
    pub fn shuffled(&self, rows: &[usize], sites: &[usize]) -> Instance {
        let place = |site: u16| {
            sites.iter().position(|at| *at == usize::from(site)).expect("each stands once") as u16
        };
        let row = |row: &usize| {
            let previous = self.rows[*row].previous.iter();
            let mut previous: Vec<_> = previous.map(|had| (place(had.0), had.1)).collect();
            previous.reverse();
            OwnedRow { previous, ..self.rows[*row].clone() }
        };
        let site = |site: &usize| {
            let site = self.sites[*site].clone();
            Site { parent: site.parent.map(place), ..site }
        };
        let costs = rows.iter().flat_map(|row| {
            sites.iter().map(move |site| self.costs[row * self.sites.len() + site])
        });
        Instance {
            sites: sites.iter().map(site).collect(),
            rows: rows.iter().map(row).collect(),
            costs: costs.collect(),
            stick_ms: self.stick_ms,
        }
    }

    /// The same in another unit of demand.
    pub fn scaled(&self, scale: f64) -> Instance {
        let mut scaled = self.clone();
        for row in &mut scaled.rows {
            row.demand *= scale;
            row.previous.iter_mut().for_each(|had| had.1 *= scale);
        }
        for site in &mut scaled.sites {
            site.tiers.iter_mut().for_each(|tier| tier.up_to *= scale);
        }
        scaled
    }

    /// Every row has what it demands, of sites it may use, or is named as having none; and loads
    /// are what the rows make of them.
    pub fn assert_served(&self, solution: &Solution) {
        let sites = self.sites.len();
        let mut loads = vec![0.0; sites];
        let mut unplaced = Vec::new();
        assert_eq!(solution.rows(), self.rows.len());
        for (index, row) in self.rows.iter().enumerate() {
            let parts = solution.parts(index);
            let costs = &self.costs[index * sites..][..sites];
            let sum: f64 = parts.iter().map(|part| part.amount).sum();
            if parts.is_empty() {
                unplaced.push(index as u32);
            } else {
                assert!((sum - row.demand).abs() <= 1e-12 * row.demand, "{sum} {}", row.demand);
            }
            for part in parts {
                assert!(part.amount > 0.0 || row.demand == 0.0, "{part:?}");
                assert!(super::super::problem::is_allowed(costs[usize::from(part.site)]));
                loads[usize::from(part.site)] += part.amount;
            }
            assert!(parts.windows(2).all(|pair| pair[0].amount >= pair[1].amount * (1.0 - 1e-9)));
        }
        for site in 0..sites {
            if let Some(parent) = self.sites[site].parent {
                loads[usize::from(parent)] += loads[site];
            }
        }
        let total: f64 = self.rows.iter().map(|row| row.demand).sum();
        for (load, said) in loads.iter().zip(&solution.loads) {
            assert!((load - said).abs() <= 1e-9 * total, "{load} {said}");
        }
        assert_eq!(solution.unplaced, unplaced);
    }

    /// The prices prove that nothing is cheaper (complementary slackness).
    pub fn assert_priced(&self, solution: &Solution) {
        const NEAR: f64 = 1e-6;
        for (site, owned) in self.sites.iter().enumerate() {
            let above = owned.parent.map_or(0.0, |parent| solution.prices[usize::from(parent)]);
            let own = solution.prices[site] - above;
            let load = solution.loads[site];
            let mut below = 0.0;
            for tier in &owned.tiers {
                let width = (tier.up_to - below).min(load.max(1.0));
                if load > below + 1e-9 * width && tier.up_to > below {
                    assert!(tier.slope_ms <= own + NEAR, "site {site} uses what is too dear");
                }
                if load < tier.up_to - 1e-9 * width && tier.up_to > below {
                    assert!(tier.slope_ms >= own - NEAR, "site {site} has room that is cheap");
                }
                below = below.max(tier.up_to);
            }
        }
        for (index, row) in self.rows.iter().enumerate() {
            let costs = &self.costs[index * self.sites.len()..][..self.sites.len()];
            let had = |site: usize| -> f64 {
                let here = row.previous.iter().filter(|had| usize::from(had.0) == site);
                here.map(|had| had.1).sum()
            };
            let amount = |site: usize| {
                let parts = solution.parts(index).iter();
                parts.filter(|part| usize::from(part.site) == site).map(|part| part.amount).sum()
            };
            let near = 1e-9 * row.demand;
            for part in solution.parts(index).iter().filter(|part| part.amount > near) {
                let site = usize::from(part.site);
                let is_new = part.amount > had(site) + near;
                let stays = f64::from(costs[site]) + if is_new { self.stick_ms } else { 0.0 };
                for (other, cost) in costs.iter().enumerate() {
                    let amount: f64 = amount(other);
                    let moves = if amount < had(other) - near { 0.0 } else { self.stick_ms };
                    let gain = stays + solution.prices[site]
                        - (f64::from(*cost) + moves + solution.prices[other]);
                    assert!(other == site || gain <= NEAR, "row {index}: {site} → {other} {gain}");
                }
            }
        }
    }

    pub fn with<T>(&self, then: impl FnOnce(&Problem) -> T) -> T {
        let rows: Vec<Row> = self
            .rows
            .iter()
            .map(|row| Row { key: row.key, demand: row.demand, previous: &row.previous })
            .collect();
        then(&Problem {
            sites: &self.sites,
            rows: &rows,
            costs: &self.costs,
            stick_ms: self.stick_ms,
        })
    }

    /// Without the rows that no site may serve.
    pub fn placeable(mut self) -> Instance {
        let sites = self.sites.len();
        let is_allowed: Vec<bool> = self
            .costs
            .chunks(sites)
            .map(|costs| costs.iter().any(|cost| cost.is_finite()))
            .collect();
        let mut allowed = is_allowed.iter().flat_map(|is| std::iter::repeat_n(*is, sites));
        self.costs.retain(|_| allowed.next() == Some(true));
        let mut allowed = is_allowed.iter();
        self.rows.retain(|_| allowed.next() == Some(&true));
        self
    }

    /// The least objective, as an LP library finds it.
    pub fn optimum(&self) -> f64 {
        let mut lp = microlp::Problem::new(OptimizationDirection::Minimize);
        let mut into: Vec<Vec<(Variable, f64)>> = vec![Vec::new(); self.sites.len()];
        for (index, row) in self.rows.iter().enumerate() {
            let mut of_row = Vec::new();
            let costs = &self.costs[index * self.sites.len()..][..self.sites.len()];
            for (site, cost) in costs.iter().enumerate().filter(|(_, cost)| cost.is_finite()) {
                let had = row.previous.iter().find(|had| usize::from(had.0) == site);
                let had = had.map_or(0.0, |had| had.1);
                let (kept, anew) = (f64::from(*cost), f64::from(*cost) + self.stick_ms);
                for (cost, most) in [(kept, had), (anew, f64::INFINITY)] {
                    let part = lp.add_var(cost, (0.0, most));
                    of_row.push((part, 1.0));
                    into[site].push((part, 1.0));
                }
            }
            lp.add_constraint(&of_row, ComparisonOp::Eq, row.demand);
        }
        let mut out: Vec<Vec<(Variable, f64)>> = Vec::new();
        for site in &self.sites {
            let mut below = 0.0;
            let mut of_site = Vec::new();
            for tier in &site.tiers {
                of_site.push((lp.add_var(tier.slope_ms, (0.0, tier.up_to - below)), -1.0));
                below = tier.up_to;
            }
            out.push(of_site);
        }
        for (site, mut terms) in into.into_iter().enumerate() {
            terms.extend(out[site].iter().copied());
            for (entry, _) in
                self.sites.iter().enumerate().filter(|(_, s)| s.parent == Some(site as u16))
            {
                terms.extend(out[entry].iter().map(|(part, _)| (*part, 1.0)));
            }
            lp.add_constraint(&terms, ComparisonOp::Eq, 0.0);
        }
        match lp.solve().expect("there is always room above") {
            microlp::SolveOutcome::Solution(solution) => solution.objective(),
            microlp::SolveOutcome::Interrupted(why) => panic!("{why:?}"),
        }
    }
}

/// The tiers of a site, sometimes closed or without a bound.
pub fn tiers(capacity: f64, numbers: &mut Numbers) -> Vec<Tier> {
    let endless = |slope_ms| Tier { up_to: f64::INFINITY, slope_ms };
    match numbers.below(12) {
        0 => vec![endless(0.0)],
        1 => vec![endless(100_000.0)],
        _ => vec![
            Tier { up_to: 0.8 * capacity, slope_ms: 0.0 },
            Tier { up_to: 0.85 * capacity, slope_ms: 5.0 },
            Tier { up_to: 0.92 * capacity, slope_ms: 150.0 },
            Tier { up_to: capacity, slope_ms: 600.0 },
            Tier { up_to: 1.1 * capacity, slope_ms: 2000.0 },
            Tier { up_to: 1.35 * capacity, slope_ms: 4000.0 },
            endless(8000.0),
        ],
    }
}

fn previous(
    demand: f64,
    sites: usize,
    is_degenerate: bool,
    numbers: &mut Numbers,
) -> Vec<(u16, f64)> {
    let first = numbers.below(sites) as u16;
    let second = numbers.below(sites) as u16;
    let share = if is_degenerate { 0.5 } else { numbers.unit() };
    match numbers.below(5) {
        0 => vec![],
        1 => vec![(first, demand)],
        2 => vec![(first, demand * 1.02)],
        3 if first != second => vec![(first, demand * share), (second, demand * (1.0 - share))],
        _ => vec![(first, demand * 0.97)],
    }
}
