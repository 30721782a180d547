//! Large configurations, at a scale that a test can wait for; `cargo bench --bench load` measures
//! them at full scale.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::support::{Answer, Server, dig, dig_all, needs, until};

#[path = "../bench/city.rs"]
mod city;
#[path = "../bench/world.rs"]
mod world;

const NETWORKS: usize = 150_000;
/// A budget of 1 GiB for 3.7 million networks, and what a server needs without any.
const MOST_MEBIBYTES: u64 = 1024 * NETWORKS as u64 / 3_700_000 + 60;

#[test]
fn a_city_database_and_fifty_datacenters_are_loaded_in_little_memory_and_follow_changes() {
    if !needs("load", &["dig"]) {
        return;
    }
    let server = start(world::steered(city::city(NETWORKS), 50));
    let (checked, code) = server.verb(&["check", "--json"]);
    let checked: serde_json::Value = serde_json::from_str(&checked).expect("JSON");
    assert_eq!(code, 0, "{checked}");
    let networks = checked["contents"]["networks"].as_u64().expect("a number");
    assert!(networks.abs_diff(NETWORKS as u64) < NETWORKS as u64 / 5, "{networks} networks");

    // Clients all over the world are sent to many datacenters, each by a network of its own.
    let questions: Vec<String> = (20..100)
        .step_by(2)
        .map(|client| format!("nearest.example.com A +subnet={client}.7.100.0/24"))
        .collect();
    let ask = || -> Vec<String> {
        dig_all(server.dns(), &questions).iter().map(Answer::address).collect()
    };
    let before = ask();
    let distinct: BTreeSet<_> = before.iter().collect();
    assert!(distinct.len() >= 15, "{distinct:?}");

    // What happens to one datacenter moves its clients and no others.
    let number = before[0].parse::<Ipv4Addr>().expect("an address").octets()[3];
    let (said, code) = server.verb(&["force", &format!("datacenter/dc{number}"), "down"]);
    assert_eq!(code, 0, "{said}");
    until("its clients move", || ask()[0] != before[0]);
    for ((now, before_it), question) in ask().iter().zip(&before).zip(&questions) {
        assert_eq!(now == before_it, *before_it != before[0], "{question}");
    }
    let most = peak_mebibytes(&server);
    assert!(most < MOST_MEBIBYTES, "{most} MiB for {networks} networks");
}

#[test]
fn a_hundred_zones_are_loaded_and_each_answers() {
    if !needs("load", &["dig"]) {
        return;
    }
    let server = start(world::names(100, 300));
    for zone in [0, 17, 99] {
        let name = format!("host-{}.zone{zone}.example", 4 * zone % 300);
        assert_eq!(dig(server.dns(), &format!("{name} A")).data("A").len(), 1, "{name}");
        let name = format!("no-such.zone{zone}.example");
        assert_eq!(dig(server.dns(), &format!("{name} A")).status, "NXDOMAIN", "{name}");
    }
    let most = peak_mebibytes(&server);
    assert!(most < 100, "{most} MiB for 30,000 names");
}

fn start(files: world::Files) -> Server {
    let mut to_start = Server::files(&files.server);
    if let Some(database) = files.database {
        std::fs::write(to_start.path("city.mmdb"), database).expect("the database");
    }
    for (file, text) in files.zones {
        to_start = to_start.zone(&file, &text);
    }
    to_start.start()
}

/// The most memory that the server has occupied so far.
fn peak_mebibytes(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid()));
    let status = status.expect("the server runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kibibytes / 1024
}
