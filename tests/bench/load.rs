//! Measures how long a large configuration takes to load, and how much memory.
//!
//! `cargo bench --bench load` takes the database that comes with the sources, and makes a City
//! database of 3.7 million networks, fifty datacenters, and 100,000 names in 100 zones. It prints
//! seconds and mebibytes for each step of a load, for a member that goes down until its answers are
//! published, and for clients that are given out anew.

mod city;
mod world;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use portolan::config;
use portolan::control::publish::{Ground, Publisher, Tables};
use portolan::decide::cost::costs;
use portolan::decide::{
    Allotment, Latencies, Part, Room, ShareTable, Standing, StandingTable, Steer,
};

const NETWORKS: usize = 3_700_000;
const DATACENTERS: u8 = 50;
const DNS: &str = "[dns]\nlisten = \"127.0.0.1:0\"\nzones = \"zones\"\n";

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if let [word, directory] = &arguments[..]
        && word == "--load"
    {
        return measure(Path::new(directory));
    }
    let networks = arguments.first().map_or(NETWORKS, |word| word.parse().expect("a number"));
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/geoip/world.mmdb");
    let shipped = std::fs::read(shipped).expect("the database that is part of the sources");
    let title = format!("the world that comes with it, {DATACENTERS} datacenters");
    run(&title, world::steered(shipped, DATACENTERS));
    let title = format!("{networks} networks, {DATACENTERS} datacenters");
    run(&title, world::steered(city::city(networks), DATACENTERS));
    run("100,000 names in 100 zones", world::names(100, 1_000));
}

/// Measures in a process of its own, whose memory is that of the load alone.
fn run(title: &str, files: world::Files) {
    println!("{title}");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let write = |file: &str, bytes: &[u8]| {
        std::fs::write(directory.path().join(file), bytes).expect("a file can be written");
    };
    std::fs::create_dir(directory.path().join("zones")).expect("a directory");
    write("portolan.toml", (DNS.to_string() + &files.server).as_bytes());
    files.database.iter().for_each(|database| write("city.mmdb", database));
    files.zones.iter().for_each(|(file, text)| write(&format!("zones/{file}"), text.as_bytes()));
    drop(files);
    let program = std::env::current_exe().expect("this program");
    let status = Command::new(program).arg("--load").arg(directory.path()).status();
    assert!(status.expect("this program runs").success());
}

fn measure(directory: &Path) {
    let loaded = step("read and compile", || config::load(&directory.join("portolan.toml"), None));
    let loaded = loaded.unwrap_or_else(|rejected| panic!("{}", rejected.diagnostics[0]));
    let contents = loaded.contents;
    let settings = Arc::new(loaded.settings.control.clone());
    let members = settings.steering.pools.iter().map(|pool| pool.members.len()).sum();
    let datacenters = settings.steering.datacenters.len();
    let ground = step("survey", || Ground::new(settings, &[], None));
    let mut tables =
        Tables { shares: ShareTable::new(vec![Room::Free; datacenters]), ..Tables::default() };
    let mut publisher = step("chart", || Publisher::new(ground, tables.clone()));
    println!("  {contents:?}");
    for chart in &publisher.published().load().charts {
        println!("  a chart of (plans, ranges): {:?}", chart.size());
    }
    let standing = |down: usize| {
        let flipped =
            move |member| if member == down { Standing::ForcedDown } else { Standing::Normal };
        StandingTable::new((0..members).map(flipped))
    };
    for down in 0..members.min(3) {
        tables.standing = standing(down);
        step("a member is down", || publisher.update(tables.clone()));
    }
    if datacenters > 0 {
        let room =
            |full| (0..datacenters).map(move |dc| if dc == full { Room::Full } else { Room::Free });
        tables.shares = ShareTable::new(room(1));
        step("a datacenter is full", || publisher.update(tables.clone()));
        give_out(&mut publisher, &mut tables);
    }
}

/// Gives the groups of the pools that steer by capacity to datacenters, and some of them to others.
fn give_out(publisher: &mut Publisher, tables: &mut Tables) {
    let published = publisher.published().load_full();
    let facts = published.facts();
    let datacenters = &facts.steering.datacenters;
    let costs =
        step("costs", || costs(facts.world, facts.groups, datacenters, &Latencies::default()));
    println!("  {} groups", facts.groups.list().len());
    for round in 0..4 {
        let allotments = facts.steering.pools.iter().map(|pool| {
            (pool.steer == Steer::Capacity)
                .then(|| Arc::new(allotment(&costs, datacenters.len(), round)))
        });
        tables.shares = tables.shares.clone().with_allotments(allotments);
        step("clients are given out", || publisher.update(tables.clone()));
    }
}

/// Every group to the datacenter where it costs least, but for one in a hundred that two share.
/// `round` makes a difference to one in twenty.
fn allotment(costs: &[f32], datacenters: usize, round: usize) -> Allotment {
    let parts = costs.chunks(datacenters).enumerate().map(|(group, costs)| {
        let mut order: Box<[u16]> = (0..datacenters as u16).collect();
        order.sort_by(|a, b| costs[usize::from(*a)].total_cmp(&costs[usize::from(*b)]));
        order.rotate_left(usize::from(group % 20 == round));
        let among = if group % 100 == 0 { 2 } else { 1 };
        let weights = order.iter().take(among).map(|&member| (member, 500 + round as u32));
        Part { weights: weights.collect(), ttl: 15 + (group % 4 * 15) as u32, order }
    });
    let parts: Box<[Part]> = parts.collect();
    Allotment { by_group: (0..parts.len() as u32).collect(), parts }
}

/// Runs a step; prints how long it took, and the memory after it and at most so far.
fn step<T>(name: &str, run: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let done = run();
    let seconds = begin.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mebibytes = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse().unwrap_or(0) / 1024
    };
    let (now, most) = (mebibytes("VmRSS:"), mebibytes("VmHWM:"));
    println!("  {name:20} {seconds:8.3} s   {now:5} MiB, {most:5} MiB at most");
    done
}
