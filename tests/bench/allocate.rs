//! Measures the solver of the global allocation: a day's ordinary tick, a datacenter's death, a
//! start from nothing, and the plans for every loss.
//!
//! `cargo bench --bench allocate` prints medians for worlds of several sizes and headrooms, and the
//! fastest of each below; `cargo bench --bench allocate -- ROWS SITES HEADROOM` for one. Where
//! entries are named, every other row may use at most 40 % of each datacenter.

use std::time::Instant;

use portolan::control::allocate::solver::{Problem, Row, Site, Solution, Solver, Tier, waterfall};

/// How many solves a median is taken of.
const ROUNDS: usize = 15;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    println!(
        "rows × sites, headroom      warm   one dies       cold        N−1  waterfall   \
         dearer by  split  steps"
    );
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {
            for (rows, sites) in [(5000, 17), (5000, 50), (5000, 100), (20_000, 50)] {
                for headroom in [1.5, 1.15, 1.03] {
                    measure(rows, sites, headroom, false);
                }
            }
            measure(5000, 50, 1.15, true);
        }
        [rows, sites, headroom] => {
            let whole = |word: &str| word.parse().expect("a whole number");
            let headroom = headroom.parse().expect("a number");
            measure(whole(rows), whole(sites), headroom, false);
        }
        _ => {
            eprintln!("usage: allocate [ROWS SITES HEADROOM]");
            std::process::exit(2);
        }
    }
}

fn measure(rows: usize, sites: usize, headroom: f64, has_entries: bool) {
    let mut world = World::new(rows, sites, headroom);
    if has_entries {
        world.add_entries();
    }
    let mut warm = Vec::new();
    let mut dies = Vec::new();
    let mut cold = Vec::new();
    let mut lost = Vec::new();
    let mut simple = Vec::new();
    let mut dearer = 0.0;
    let mut numbers = Numbers(rows as u64 ^ sites as u64);
    let mut demand = world.demand.clone();
    let mut split = 0;
    let mut steps = [0; 4];
    for _ in 0..ROUNDS {
        let mut solver = Solver::new();
        let first = timed(&mut cold, || world.solve(&mut solver, &demand, None, None));
        let next: Vec<f64> =
            demand.iter().map(|demand| demand * (0.98 + 0.04 * numbers.unit())).collect();
        let solution =
            timed(&mut warm, || world.solve(&mut solver, &next, Some((&first, &demand)), None));
        assert!(first.is_exact && solution.is_exact);
        split = solution.split;
        let yardstick = timed(&mut simple, || world.waterfall(&next));
        dearer = yardstick.objective / solution.objective;
        steps[0] = solution.steps;
        steps[2] = first.steps;
        // Every kind of site in turn: the largest are the first.
        for site in [0, sites / 3, sites - 1] {
            let plan = timed(&mut lost, || solver.without(site));
            assert!(plan.is_exact);
            steps[3] = plan.steps;
        }
        let dead =
            timed(&mut dies, || world.solve(&mut solver, &next, Some((&solution, &next)), Some(0)));
        assert!(dead.is_exact);
        steps[1] = dead.steps;
        demand = next;
    }
    let mut times = [warm, dies, cold, lost, simple];
    times.iter_mut().for_each(|times| times.sort_by(f64::total_cmp));
    let entries = if has_entries { "+" } else { " " };
    print!("{rows:6} × {sites:3}{entries}  {headroom:4.2}   ");
    times.iter().for_each(|times| print!("{:8.2} ms", times[times.len() / 2]));
    println!(" {:10.1} %  {split:5}  {steps:?}", 100.0 * (dearer - 1.0));
    print!("{:>24}", "fastest");
    times.iter().for_each(|times| print!("{:8.2} ms", times[0]));
    println!();
}

fn timed<T>(times: &mut Vec<f64>, run: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = run();
    times.push(start.elapsed().as_secs_f64() * 1e3);
    result
}

/// Groups of clients in clusters on a globe, and datacenters near the largest.
struct World {
    costs: Vec<f32>,
    demand: Vec<f64>,
    capacity: Vec<f64>,
    has_entries: bool,
}

impl World {
    fn new(rows: usize, sites: usize, headroom: f64) -> World {
        let mut numbers = Numbers(7);
        let clusters: Vec<[f64; 3]> = (0..60).map(|_| numbers.on_globe()).collect();
        let mut place = |cluster: usize, spread: f64| {
            let center = clusters[cluster];
            let off = numbers.on_globe();
            unit([0, 1, 2].map(|axis| center[axis] + spread * off[axis]))
        };
        let datacenters: Vec<_> = (0..sites).map(|site| place(site % 60, 0.15)).collect();
        let mut dice = Numbers(11);
        // Populations of clusters and of groups both follow Zipf.
        let groups: Vec<_> = (0..rows)
            .map(|_| {
                let cluster = (60f64.powf(dice.unit()) as usize - 1).min(59);
                place(cluster, 0.3)
            })
            .collect();
        let demand: Vec<f64> = (1..=rows).map(|rank| 1e4 / (rank as f64).powf(0.9)).collect();
        let mut costs = Vec::with_capacity(rows * sites);
        let mut local = vec![0.0; sites];
        for (group, demand) in groups.iter().zip(&demand) {
            let first = costs.len();
            for datacenter in &datacenters {
                let cosine: f64 = group.iter().zip(datacenter).map(|(a, b)| a * b).sum();
                let kilometres = 6371.0 * cosine.clamp(-1.0, 1.0).acos();
                costs.push((9.0 + 0.021 * kilometres * (1.0 + 0.2 * dice.unit())) as f32);
            }
            let nearest = costs[first..].iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1));
            local[nearest.map_or(0, |(site, _)| site)] += demand;
        }
        // Capacity follows demand in part, and chance.
        let total: f64 = demand.iter().sum();
        let mut capacity: Vec<f64> = local
            .iter()
            .map(|local| {
                0.55 * local + 0.45 * total / sites as f64 * (1.2 * dice.unit() - 0.6).exp()
            })
            .collect();
        let scale = headroom * total / capacity.iter().sum::<f64>();
        capacity.iter_mut().for_each(|capacity| *capacity *= scale);
        World { costs, demand, capacity, has_entries: false }
    }

    /// Sends every other row through entries.
    fn add_entries(&mut self) {
        let sites = self.capacity.len();
        let forbidden = vec![f32::INFINITY; sites];
        let costs = self.costs.chunks(sites).zip([false, true].into_iter().cycle());
        let costs = costs.flat_map(|(costs, through_entries)| match through_entries {
            true => [&forbidden[..], costs].concat(),
            false => [costs, &forbidden[..]].concat(),
        });
        self.costs = costs.collect();
        self.has_entries = true;
    }

    fn solve(
        &self,
        solver: &mut Solver,
        demand: &[f64],
        before: Option<(&Solution, &[f64])>,
        dead: Option<usize>,
    ) -> Solution {
        let previous: Vec<Vec<(u16, f64)>> = (0..demand.len())
            .map(|row| {
                let Some((solution, of)) = before else { return Vec::new() };
                let parts = solution.parts(row).iter();
                parts.map(|part| (part.site, part.amount / of[row] * demand[row])).collect()
            })
            .collect();
        self.with(demand, &previous, dead, |problem| solver.solve(problem).expect("a problem"))
    }

    fn waterfall(&self, demand: &[f64]) -> Solution {
        let previous = vec![Vec::new(); demand.len()];
        self.with(demand, &previous, None, |problem| waterfall(problem).expect("a problem"))
    }

    fn with<T>(
        &self,
        demand: &[f64],
        previous: &[Vec<(u16, f64)>],
        dead: Option<usize>,
        then: impl FnOnce(&Problem) -> T,
    ) -> T {
        let rows: Vec<Row> = demand
            .iter()
            .zip(previous)
            .zip(0..)
            .map(|((demand, previous), key)| Row { key, demand: *demand, previous })
            .collect();
        let site = |key: usize, part: f64, parent: Option<u16>| Site {
            key: key as u64,
            tiers: tiers(self.capacity[key % self.capacity.len()] * part, dead == Some(key)),
            parent,
        };
        let datacenters = self.capacity.len();
        let mut sites: Vec<Site> = (0..datacenters).map(|key| site(key, 1.0, None)).collect();
        if self.has_entries {
            let entry = |key: usize| site(key + datacenters, 0.4, Some(key as u16));
            sites.extend((0..datacenters).map(entry));
        }
        then(&Problem { sites: &sites, rows: &rows, costs: &self.costs, stick_ms: 6.0 })
    }
}

fn tiers(capacity: f64, is_dead: bool) -> Vec<Tier> {
    let endless = |slope_ms| Tier { up_to: f64::INFINITY, slope_ms };
    if is_dead {
        return vec![endless(100_000.0)];
    }
    let mut tiers: Vec<Tier> =
        [(0.9, 0.0), (0.95, 5.0), (0.975, 150.0), (1.0, 600.0), (1.1, 2000.0), (1.35, 4000.0)]
            .into_iter()
            .map(|(part, slope_ms)| Tier { up_to: part * capacity, slope_ms })
            .collect();
    tiers.push(endless(8000.0));
    tiers
}

/// Numbers that are the same in every run (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn on_globe(&mut self) -> [f64; 3] {
        let (height, angle) = (2.0 * self.unit() - 1.0, std::f64::consts::TAU * self.unit());
        let radius = (1.0 - height * height).sqrt();
        [radius * angle.cos(), radius * angle.sin(), height]
    }
}

fn unit(v: [f64; 3]) -> [f64; 3] {
    let length = v.iter().map(|x| x * x).sum::<f64>().sqrt();
    v.map(|x| x / length)
}
