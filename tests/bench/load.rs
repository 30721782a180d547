//! Measures how long a large configuration takes to load, and how much memory.
//!
//! `cargo bench --bench load` makes a City database of 3.7 million networks, fifty datacenters, and
//! 100,000 names in 100 zones, and prints seconds and mebibytes for each step of a load, and for a
//! member that goes down until its answers are published.

mod city;
mod world;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use portolan::config;
use portolan::control::publish::{Ground, Publisher, Tables};
use portolan::decide::{Room, ShareTable, Standing, StandingTable};

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
    let title = format!("{networks} networks, {DATACENTERS} datacenters");
    run(&title, world::steered(networks, DATACENTERS));
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
    }
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
