//! `portolan simulate`: runs the policies in the same world, and tells what came of it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use super::events::{self, Span};
use super::settings;
use crate::cli::FAILED;
use crate::cli::running::say;
use crate::control::Settings;
use crate::decide::Groups;
use crate::decide::group::USUAL_GROUPS;
use crate::simulate::plot::{Course, Panel, svg};
use crate::simulate::query_log::QueryLog;
use crate::simulate::{
    Built, Experiment, Group, Knowledge, Outcome, Policy, Row, SCENARIOS, Scenario, Ttl, World,
    optimum_ms, own, run as simulate, table,
};

/// The most seeds.
const MOST_SEEDS: usize = 100;
/// The longest TTL, in seconds.
const LONGEST_TTL: u32 = 86_400;

/// What is compared.
#[derive(Debug, clap::Args)]
pub struct Comparison {
    /// Who asks how much: a log of queries, as lines of `time,subnet[,name]` or JSON; otherwise the
    /// people of the earth. Needs --config, for its map
    #[arg(long, value_name = "FILE", requires = "config")]
    queries: Option<PathBuf>,
    /// Of the log, count only the queries for this name
    #[arg(long, value_name = "NAME", requires = "queries")]
    name: Option<String>,
    /// One pool of the configuration, as ZONE/NAME: its members, its share of their capacities, its
    /// TTL
    #[arg(long, value_name = "POOL", requires = "config")]
    pool: Option<String>,
    /// Who decides, in the order of the table
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        value_parser = policy,
        default_value = "ours,waterfall,nearest,weighted"
    )]
    policy: Vec<Policy>,
    /// What they are told of the round trips: `geo`, the distances, or `rtt`, what they are
    #[arg(long, value_name = "WHAT", value_parser = knowledge, default_value = "geo")]
    knowledge: Knowledge,
    /// For how long answers are kept: `30s`, or `15s..60s` for who may choose [default: the pool's,
    /// or 30s]
    #[arg(long, value_name = "TIME", value_parser = ttl)]
    ttl: Option<Ttl>,
    /// All capacity over what is asked for at the busiest hour
    #[arg(long, value_name = "FACTOR", value_parser = headroom, default_value = "1.4")]
    headroom: f64,
    /// Change a datacenter's capacity, the demand staying the same: `fra=0.5` halves it
    #[arg(long, value_name = "NAME=FACTOR", value_parser = events::factor, value_delimiter = ',')]
    capacity: Vec<(String, f64)>,
    /// What happens: the name of a built-in scenario [default: `mix` in the built-in world; nothing
    /// in another, or where --fail, --surge or --cut say what happens]
    #[arg(long, value_name = "NAME", value_parser = scenario)]
    scenario: Option<Scenario>,
    /// A datacenter fails: `fra@30m..60m`
    #[arg(long, value_name = "NAME@TIMES", value_parser = events::span, value_delimiter = ',')]
    fail: Vec<Span>,
    /// A country asks for more: `BR=3@90m..110m`
    #[arg(long, value_name = "COUNTRY=FACTOR@TIMES", value_parser = events::factor_span, value_delimiter = ',')]
    surge: Vec<Span>,
    /// A datacenter loses a part of its capacity, and says so: `iad=0.5@135m..155m`
    #[arg(long, value_name = "NAME=FACTOR@TIMES", value_parser = events::factor_span, value_delimiter = ',')]
    cut: Vec<Span>,
    /// How long it lasts [default: the scenario's, or 3h]
    #[arg(long, value_name = "TIME", value_parser = events::duration)]
    duration: Option<u32>,
    /// The worlds: `1`, `1,3`, `5-12`; what is by chance in one is the same for all policies
    #[arg(long, value_name = "NUMBERS", value_parser = seeds, default_value = "1")]
    seeds: Seeds,
    /// Write every score, and every datacenter's course, to a file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw the load of each datacenter over time, by the first seed, to a file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Seeds, at least one.
#[derive(Clone, Debug)]
struct Seeds(Vec<u64>);

/// Runs it.
pub(super) fn run(config: Option<&Path>, arguments: &Comparison) -> ExitCode {
    let settings = match config.map(settings) {
        Some(None) => return ExitCode::from(FAILED),
        Some(settings) => settings,
        None => None,
    };
    match compare(settings, arguments) {
        Ok(text) => say(&text),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(FAILED)
        }
    }
}

/// Who asks and who serves, before chance has its part.
enum Place {
    BuiltIn,
    Own { groups: Vec<Group>, datacenters: Vec<crate::simulate::Datacenter> },
}

fn compare(settings: Option<Settings>, arguments: &Comparison) -> Result<String, String> {
    let mut said = String::new();
    let mut ttl = arguments.ttl;
    let place = match settings {
        None => Place::BuiltIn,
        Some(settings) => {
            let pool = arguments.pool.as_deref();
            let datacenters = own::datacenters(&settings, pool)?;
            if let (None, Some(pool)) = (ttl, pool) {
                let (min, max) = own::ttl(&settings, pool)?;
                ttl = Some(Ttl { min: min.max(1), max: max.max(1) });
            }
            let groups = match &arguments.queries {
                Some(file) => asking(file, arguments.name.as_deref(), &settings, &mut said)?,
                None => World::people(),
            };
            Place::Own { groups, datacenters }
        }
    };
    let ttl = ttl.unwrap_or(Ttl { min: 30, max: 30 });
    let scenario = happens(arguments, matches!(place, Place::BuiltIn))?;
    let Seeds(seeds) = &arguments.seeds;
    let first = world(&place, arguments, seeds[0])?;
    events::check(&scenario.events, &first, scenario.seconds)?;

    let outcomes = run_all(arguments, &place, &scenario, ttl)?;
    let row = |(index, policy): (usize, &Policy)| {
        let own = outcomes.iter().filter(|(of, ..)| *of == index);
        let (seeds, scores) = own.map(|(_, seed, one)| (*seed, one.score.clone())).unzip();
        Row { title: policy.name(), seeds, scores }
    };
    let rows: Vec<Row> = arguments.policy.iter().enumerate().map(row).collect();
    if let Some(file) = &arguments.json {
        let series = outcomes.iter().map(|(index, seed, outcome)| {
            serde_json::json!({
                "policy": arguments.policy[*index].name(), "seed": seed,
                "every_s": 10, "datacenters": outcome.series,
            })
        });
        let series: Vec<serde_json::Value> = series.collect();
        let all = serde_json::json!({
            "scenario": scenario, "headroom": arguments.headroom, "ttl": ttl,
            "knowledge": arguments.knowledge, "rows": rows, "series": series,
        });
        write(file, &(all.to_string() + "\n"))?;
    }
    if let Some(file) = &arguments.svg {
        let first = outcomes.iter().filter(|(_, seed, _)| *seed == seeds[0]);
        let panels: Vec<Panel> = first
            .map(|(index, _, outcome)| panel(&arguments.policy[*index], outcome, &scenario))
            .collect();
        write(file, &svg(&panels))?;
    }
    Ok(said + &head(&first, &scenario, arguments, ttl) + &table(&rows))
}

/// What all of it is about, in words.
fn head(world: &World, scenario: &Scenario, arguments: &Comparison, ttl: Ttl) -> String {
    let ttl = match ttl {
        Ttl { min, max } if min == max => format!("{max} s"),
        Ttl { min, max } => format!("{min} to {max} s"),
    };
    let duration =
        humantime::format_duration(std::time::Duration::from_secs(scenario.seconds.into()));
    format!(
        "{} groups of clients, {} datacenters; {}, {duration}; capacity {} times the busiest hour's demand; \
         TTL {ttl}; {}\n",
        world.groups.len(),
        world.datacenters.len(),
        scenario.name,
        arguments.headroom,
        match arguments.seeds.0.len() {
            1 => "1 seed".into(),
            many => format!("{many} seeds"),
        },
    )
}

/// The groups that a log tells of.
fn asking(
    file: &Path,
    name: Option<&str>,
    settings: &Settings,
    said: &mut String,
) -> Result<Vec<Group>, String> {
    let told = |error: String| format!("{}: {error}", file.display());
    let input = File::open(file).map_err(|error| told(error.to_string()))?;
    let log = QueryLog::read(&mut BufReader::new(input), name).map_err(told)?;
    let known = Groups::form(&settings.world, USUAL_GROUPS, &[]);
    let (groups, lost) = log.groups(&settings.world, &known);
    let total = log.total();
    if groups.is_empty() {
        return Err(told(format!(
            "of {total} queries, none is of a client whose place is known: see [geoip] in the \
             configuration"
        )));
    }
    if lost > 0 {
        *said += &format!("{lost} of {total} queries are of clients whose place is not known\n");
    }
    Ok(groups)
}

fn happens(arguments: &Comparison, is_built_in: bool) -> Result<Scenario, String> {
    let named = |name| Scenario::named(name).ok_or_else(|| format!("no scenario {name}"));
    let more = events::events(&arguments.fail, &arguments.surge, &arguments.cut);
    let mut scenario = match &arguments.scenario {
        Some(scenario) => scenario.clone(),
        None if is_built_in && more.is_empty() => named("mix")?,
        None => named("steady")?,
    };
    scenario.events.extend(more);
    scenario.events.sort_by(|a, b| a.at.total_cmp(&b.at));
    scenario.seconds = arguments.duration.unwrap_or(scenario.seconds);
    Ok(scenario)
}

fn world(place: &Place, arguments: &Comparison, seed: u64) -> Result<World, String> {
    let headroom = arguments.headroom;
    let mut world = match place {
        Place::BuiltIn => World::built(&Built { seed, headroom, ..Built::default() }),
        Place::Own { groups, datacenters } => {
            World::own(groups.clone(), datacenters.clone(), headroom, seed)
        }
    };
    for (name, factor) in &arguments.capacity {
        let known: Vec<String> = world.datacenters.iter().map(|dc| dc.name.clone()).collect();
        let changed = world.datacenters.iter_mut().find(|known| known.name == *name);
        let changed = changed.ok_or_else(|| {
            format!("there is no datacenter {name}; there are: {}", known.join(", "))
        })?;
        changed.capacity *= factor;
    }
    Ok(world)
}

/// All policies on all seeds, as many seeds at a time as there are processors: by policy, then seed.
fn run_all(
    arguments: &Comparison,
    place: &Place,
    scenario: &Scenario,
    ttl: Ttl,
) -> Result<Vec<(usize, u64, Outcome)>, String> {
    let Seeds(seeds) = &arguments.seeds;
    let worlds: Result<VecDeque<(u64, World)>, String> =
        seeds.iter().map(|seed| Ok((*seed, world(place, arguments, *seed)?))).collect();
    let (work, done) = (Mutex::new(worlds?), Mutex::new(Vec::new()));
    let next = || work.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let one = |seed: u64, world: &World| {
        let optimum = optimum_ms(world, scenario, seed);
        for (index, policy) in arguments.policy.iter().enumerate() {
            let (world, scenario) = (world.clone(), scenario.clone());
            let mut experiment =
                Experiment::new(world, scenario, policy.clone(), arguments.knowledge, seed);
            (experiment.ttl, experiment.optimum_ms) = (ttl, Some(optimum));
            let outcome = simulate(&experiment);
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            done.push((index, seed, outcome));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
    std::thread::scope(|scope| {
        for _ in 0..threads.min(seeds.len()) {
            scope.spawn(|| {
                while let Some((seed, world)) = next() {
                    one(seed, &world);
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, seed, _)| (*index, *seed));
    Ok(done)
}

/// What is drawn of a run.
fn panel(policy: &Policy, outcome: &Outcome, scenario: &Scenario) -> Panel {
    let courses = outcome.series.iter().map(|series| {
        let points = series.load.iter().zip(&series.capacity).enumerate();
        let points = points.map(|(index, (load, capacity))| {
            let load = (*capacity > 0.0).then(|| f64::from(load / capacity));
            (10.0 * index as f64, load)
        });
        Course { name: series.datacenter.clone(), points: points.collect() }
    });
    let marks = scenario.events.iter().map(|event| (event.at, events::in_words(&event.what)));
    Panel {
        title: format!("{}: load of each datacenter, of its capacity", policy.name()),
        seconds: scenario.seconds.into(),
        courses: courses.collect(),
        marks: marks.collect(),
    }
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}

fn policy(name: &str) -> Result<Policy, String> {
    Policy::named(name)
        .ok_or_else(|| format!("no such policy; there are: {}", Policy::NAMES.join(", ")))
}

fn scenario(name: &str) -> Result<Scenario, String> {
    Scenario::named(name)
        .ok_or_else(|| format!("no such scenario; there are: {}", SCENARIOS.join(", ")))
}

fn knowledge(text: &str) -> Result<Knowledge, String> {
    match text {
        "geo" => Ok(Knowledge::Geo),
        "rtt" => Ok(Knowledge::Rtt),
        _ => Err("expected geo or rtt".into()),
    }
}

fn headroom(text: &str) -> Result<f64, String> {
    let headroom = text.parse().ok().filter(|headroom| (0.1..=100.0).contains(headroom));
    headroom.ok_or_else(|| "expected a factor like 1.4, of 0.1 to 100".into())
}

fn ttl(text: &str) -> Result<Ttl, String> {
    let told = || "expected a time like 30s, or two like 15s..60s, of a second to a day";
    let seconds = |text: &str| {
        let time = humantime::parse_duration(text).map_err(|_| told())?;
        let seconds = u32::try_from(time.as_secs()).ok();
        seconds.filter(|seconds| (1..=LONGEST_TTL).contains(seconds)).ok_or_else(told)
    };
    let (min, max) = text.split_once("..").unwrap_or((text, text));
    let (min, max) = (seconds(min)?, seconds(max)?);
    if min <= max { Ok(Ttl { min, max }) } else { Err(told().into()) }
}

fn seeds(text: &str) -> Result<Seeds, String> {
    let told = || format!("expected numbers like 1,3 or 5-12, {MOST_SEEDS} at most");
    let number = |word: &str| word.parse::<u64>().map_err(|_| told());
    let mut seeds = Vec::new();
    for part in text.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to) = (number(from)?, number(to)?);
        if to < from || (to - from) as usize + seeds.len() >= MOST_SEEDS {
            return Err(told());
        }
        seeds.extend(from..=to);
    }
    Ok(Seeds(seeds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_on_the_command_line_is_read_or_refused_with_an_example() {
        assert_eq!(ttl("15s..60s"), Ok(Ttl { min: 15, max: 60 }));
        assert!(ttl("60s..15s").is_err() && ttl("0s").is_err() && ttl("x").is_err());
        assert_eq!(seeds("1,5-7").unwrap().0, [1, 5, 6, 7]);
        assert!(seeds("7-5").is_err() && seeds("0-18446744073709551615").is_err());
        assert!(headroom("0").is_err() && headroom("1.15") == Ok(1.15));
        assert!(policy("best").unwrap_err().contains("nearest"));
        assert!(scenario("doom").unwrap_err().contains("two-deaths"));
    }
}
