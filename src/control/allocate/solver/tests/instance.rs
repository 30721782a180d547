//! Random problems, and what an LP library makes of them.

use microlp::{ComparisonOp, OptimizationDirection, Variable};

use super::super::{Problem, Row, Site, Tier};

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
