//! Compares policies in the simulated world, over many seeds.
//!
//! ```text
//! cargo bench --bench globalsim -- --scenario mix --headroom 1.4 --seeds 5-12 \
//!     --policies oracle,waterfall,nearest --knowledge rtt,geo --ttl 30 [--json file] [--svg file]
//! ```
//!
//! `gdnsd-…` and `pdns-…` are the answers of the real servers, which are started on loopback and asked
//! beforehand, where they are installed.

#[path = "../it/support/asking.rs"]
#[allow(dead_code, reason = "the tests also ask in other ways")]
mod asking;
#[path = "../../src/geo/compile/tests/encode.rs"]
mod encode;
mod peers;
mod recorded;

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Mutex;

use clap::Parser;
use portolan::control::allocate::Tuning;
use portolan::simulate::{
    Built, Experiment, Knowledge, Outcome, Policy, Row, Scenario, Ttl, World, optimum_ms, picture,
    run, table,
};

use peers::Peer;

#[derive(Parser)]
struct Arguments {
    /// The names of scenarios.
    #[arg(long, default_value = "mix", value_delimiter = ',')]
    scenario: Vec<String>,
    /// All capacity over the busiest hour's demand.
    #[arg(long, default_value = "1.4", value_delimiter = ',')]
    headroom: Vec<f64>,
    /// `5-12`, or `1,3`.
    #[arg(long, default_value = "1-4")]
    seeds: String,
    /// The names of policies.
    #[arg(long, value_delimiter = ',')]
    policies: Vec<String>,
    /// What they are told of the round trips: `rtt`, `geo`.
    #[arg(long, default_value = "rtt", value_delimiter = ',')]
    knowledge: Vec<String>,
    /// Seconds; `15-60` where the policy may choose.
    #[arg(long, default_value = "30")]
    ttl: String,
    /// The part of the resolvers that seem to be elsewhere.
    #[arg(long)]
    mislocated: Option<f64>,
    /// DNS servers that know nothing of each other.
    #[arg(long)]
    partition: Option<usize>,
    /// The hour of the day, UTC, at which it begins; otherwise noon.
    #[arg(long)]
    start: Option<f64>,
    /// The spread of the capacities.
    #[arg(long)]
    skew: Option<f64>,
    /// Other constants of the allocation than the shipped ones: `stick_ms=8`.
    #[arg(long, value_delimiter = ',')]
    set: Vec<String>,
    /// Writes every score to a file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Draws the loads of the first policy on the first seed.
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Threads.
    #[arg(long, default_value_t = std::thread::available_parallelism().map_or(1, |count| count.get()))]
    threads: usize,
    /// What cargo gives to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let mut arguments = Arguments::parse();
    if arguments.policies.is_empty() {
        arguments.policies = names().map(String::from).collect();
    }
    let seeds = numbers(&arguments.seeds);
    let ttl = numbers(&arguments.ttl);
    let ttl = Ttl { min: ttl[0] as u32, max: ttl[ttl.len() - 1] as u32 };
    let mut all = Vec::new();
    for name in &arguments.scenario {
        let mut scenario =
            Scenario::named(name).unwrap_or_else(|| panic!("no scenario is called {name}"));
        scenario.nodes = arguments.partition.unwrap_or(scenario.nodes);
        scenario.start_hour = arguments.start.or(scenario.start_hour);
        scenario.mislocated = arguments.mislocated.unwrap_or(scenario.mislocated);
        for &headroom in &arguments.headroom {
            println!(
                "{name}, headroom {headroom}, TTL {}, seeds {}",
                arguments.ttl, arguments.seeds
            );
            let rows = compare(&arguments, &scenario, headroom, &seeds, ttl);
            println!("{}", table(&rows));
            let described = serde_json::json!({
                "scenario": name, "headroom": headroom, "ttl": ttl, "rows": rows,
            });
            all.push(described);
        }
    }
    if let Some(file) = arguments.json {
        let text = serde_json::to_string_pretty(&all).expect("scores are JSON");
        std::fs::write(&file, text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
}

/// The policies' names.
fn names() -> impl Iterator<Item = &'static str> {
    Policy::NAMES.into_iter().chain(Peer::ALL.map(Peer::name))
}

/// `5-8` or `1,3`.
fn numbers(text: &str) -> Vec<u64> {
    let number = |word: &str| word.parse().unwrap_or_else(|_| panic!("not a number: {word}"));
    let parts = text.split(',').flat_map(|part| match part.split_once('-') {
        Some((from, to)) => (number(from)..=number(to)).collect::<Vec<u64>>(),
        None => vec![number(part)],
    });
    parts.collect()
}

/// Runs all policies on all seeds, as many at a time as there are threads.
fn compare(
    arguments: &Arguments,
    scenario: &Scenario,
    headroom: f64,
    seeds: &[u64],
    ttl: Ttl,
) -> Vec<Row> {
    let contenders = contenders(arguments);
    let work: Mutex<VecDeque<u64>> = Mutex::new(seeds.iter().copied().collect());
    let done: Mutex<Vec<(usize, u64, Outcome)>> = Mutex::new(Vec::new());
    let failures: Mutex<BTreeSet<String>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads.min(seeds.len()) {
            scope.spawn(|| {
                while let Some(seed) = { work.lock().unwrap().pop_front() } {
                    let mut built = Built { seed, headroom, ..Built::default() };
                    built.skew = arguments.skew.unwrap_or(built.skew);
                    let world = World::built(&built);
                    let optimum = optimum_ms(&world, scenario, seed);
                    for (index, (policy, knowledge)) in contenders.iter().enumerate() {
                        let mut experiment = Experiment::new(
                            world.clone(),
                            scenario.clone(),
                            policy.clone(),
                            *knowledge,
                            seed,
                        );
                        experiment.ttl = ttl;
                        experiment.optimum_ms = Some(optimum);
                        if let Err(failure) = recorded::ask(&mut experiment) {
                            failures
                                .lock()
                                .unwrap()
                                .insert(format!("{}: {failure}", policy.name()));
                            continue;
                        }
                        let outcome = run(&experiment);
                        done.lock().unwrap().push((index, seed, outcome));
                    }
                }
            });
        }
    });
    failures.into_inner().unwrap().iter().for_each(|failure| println!("{failure}"));
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(index, seed, _)| (*index, *seed));
    if let (Some(file), Some((index, seed, outcome))) = (&arguments.svg, done.first()) {
        let (policy, scenario) = (contenders[*index].0.name(), &scenario.name);
        let title = format!("{policy}: {scenario}, headroom {headroom}, seed {seed}");
        std::fs::write(file, picture(&title, outcome))
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
    let row = |(index, (policy, knowledge)): (usize, &(Policy, Knowledge))| {
        let title = match (policy.uses_knowledge(), knowledge) {
            (false, _) => policy.name(),
            (true, Knowledge::Geo) => format!("{} geo", policy.name()),
            (true, Knowledge::Rtt) => format!("{} rtt", policy.name()),
        };
        let own = done.iter().filter(|(of, ..)| *of == index);
        let (seeds, scores) = own.map(|(_, seed, outcome)| (*seed, outcome.score.clone())).unzip();
        Row { title, seeds, scores }
    };
    contenders.iter().enumerate().map(row).filter(|row| !row.scores.is_empty()).collect()
}

/// The policies, twice where what they know of the round trips makes a difference.
fn contenders(arguments: &Arguments) -> Vec<(Policy, Knowledge)> {
    let known = |word: &String| match word.as_str() {
        "geo" => Knowledge::Geo,
        "rtt" => Knowledge::Rtt,
        _ => panic!("--knowledge is rtt or geo, not {word}"),
    };
    let knowledge: Vec<Knowledge> = arguments.knowledge.iter().map(known).collect();
    let policies = arguments.policies.iter().map(|name| {
        let policy = Policy::named(name).or_else(|| recorded::named(name)).unwrap_or_else(|| {
            panic!(
                "no policy is called {name}; there are {}",
                names().collect::<Vec<_>>().join(", ")
            )
        });
        match policy {
            Policy::Ours(mut tuning) => {
                arguments.set.iter().for_each(|one| set(&mut tuning, one));
                Policy::Ours(tuning)
            }
            other => other,
        }
    });
    policies
        .flat_map(|policy| {
            let kinds = if policy.uses_knowledge() { &knowledge[..] } else { &knowledge[..1] };
            kinds.iter().map(move |one| (policy.clone(), *one)).collect::<Vec<_>>()
        })
        .collect()
}

/// Changes one constant of the allocation: `name=value`, or for tiers `name=at:slope;at:slope`.
fn set(tuning: &mut Tuning, text: &str) {
    let (name, value) = text.split_once('=').unwrap_or_else(|| panic!("not name=value: {text}"));
    let number =
        |text: &str| text.parse::<f64>().unwrap_or_else(|_| panic!("not a number: {text}"));
    let pair = |text: &str| {
        let (at, slope) = text.split_once(':').unwrap_or_else(|| panic!("not a pair: {text}"));
        (number(at), number(slope))
    };
    let pairs = || value.split(';').map(pair).collect();
    let place = match name {
        "tiers" => return tuning.tiers = pairs(),
        "overload_tiers" => return tuning.overload_tiers = pairs(),
        "error_bounds" => return tuning.error_bounds = pair(value),
        "joint_rows" => return tuning.joint_rows = number(value) as usize,
        "tick_s" => &mut tuning.tick_s,
        "stick_ms" => &mut tuning.stick_ms,
        "error_smooth" => &mut tuning.error_smooth,
        "error_attack" => &mut tuning.error_attack,
        "error_release" => &mut tuning.error_release,
        "margin" => &mut tuning.margin,
        "prior_error" => &mut tuning.prior_error,
        "prior_scale_error" => &mut tuning.prior_scale_error,
        "wander_own" => &mut tuning.wander_own,
        "wander_country" => &mut tuning.wander_country,
        "wander_region" => &mut tuning.wander_region,
        "background" => &mut tuning.background,
        "background_s" => &mut tuning.background_s,
        "surprise" => &mut tuning.surprise,
        "step" => &mut tuning.step,
        "report_noise" => &mut tuning.report_noise,
        "trend_s" => &mut tuning.trend_s,
        "trend_share" => &mut tuning.trend_share,
        "fade_s" => &mut tuning.fade_s,
        "overstay_s" => &mut tuning.overstay_s,
        "infer_above" => &mut tuning.infer_above,
        "infer_slack" => &mut tuning.infer_slack,
        "infer_s" => &mut tuning.infer_s,
        "slow_start_share" => &mut tuning.slow_start_share,
        "slow_start_s" => &mut tuning.slow_start_s,
        "least_change" => &mut tuning.least_change,
        "most_change" => &mut tuning.most_change,
        "unsplit" => &mut tuning.unsplit,
        "least_share" => &mut tuning.least_share,
        "same_share" => &mut tuning.same_share,
        "ttl_near" => &mut tuning.ttl_near,
        "ttl_after_s" => &mut tuning.ttl_after_s,
        "late_error" => &mut tuning.late_error,
        _ => panic!("no constant is called {name} here"),
    };
    *place = number(value);
}
