//! Other servers' answers for the comparison in the simulated world: the sweep over all clients, in
//! each state of health, finds what the servers promise.

use portolan::geo::Coordinates;

use crate::peers::{Peer, Setting, Site, record};
use crate::support::{Addresses, needs};

/// Frankfurt, Ashburn, São Paulo, Singapore, Sydney.
const SITES: [(f64, f64); 5] =
    [(50.11, 8.68), (39.04, -77.49), (-23.55, -46.63), (1.35, 103.82), (-33.87, 151.21)];
const CLIENTS: usize = 500;
const DEAD: usize = 1;

#[test]
fn gdnsd_sends_each_client_to_the_nearest_datacenter_that_is_up() {
    if needs("the sweep of gdnsd", &["gdnsd"]) {
        assert_eq!(part_sent_to_the_nearest(Peer::GdnsdGeoip), 1.0);
    }
}

#[test]
fn powerdns_sends_most_clients_to_the_nearest_and_none_to_a_datacenter_that_is_down() {
    if needs("the sweep of PowerDNS", &["pdns_server"]) {
        // It takes the earth for flat.
        let share = part_sent_to_the_nearest(Peer::PowerdnsClosest);
        assert!((0.7..1.0).contains(&share), "{share}");
    }
}

#[test]
fn gdnsd_draws_by_weight() {
    if needs("the draws of gdnsd", &["gdnsd"]) {
        draws_by_weight(Peer::GdnsdWeighted);
    }
}

#[test]
fn powerdns_draws_by_weight() {
    if needs("the draws of PowerDNS", &["pdns_server"]) {
        draws_by_weight(Peer::PowerdnsRandom);
        draws_by_weight(Peer::PowerdnsHashed);
    }
}

fn setting() -> Setting {
    let mut rng = fastrand::Rng::with_seed(7871);
    let anywhere = |_| Coordinates {
        latitude: rng.f64() * 120.0 - 50.0,
        longitude: rng.f64() * 360.0 - 180.0,
    };
    let site = |(site, (latitude, longitude)): (usize, (f64, f64))| Site {
        at: Coordinates { latitude, longitude },
        weight: 1.0 + site as f64,
    };
    Setting {
        clients: (0..CLIENTS).map(anywhere).collect(),
        sites: SITES.into_iter().enumerate().map(site).collect(),
        network: Addresses::new().host(0).octets()[..3].try_into().expect("three octets"),
    }
}

/// One dies, and returns.
fn states() -> [Vec<usize>; 2] {
    [vec![DEAD], vec![]]
}

/// Of all clients in both states; ties and kilometres are no mistakes, a datacenter that is down is.
fn part_sent_to_the_nearest(peer: Peer) -> f64 {
    let setting = setting();
    let answers = record(peer, &setting, &states()).unwrap_or_else(|failure| panic!("{failure}"));
    let mut right = 0;
    for (down, answers) in &answers {
        for (client, given) in setting.clients.iter().zip(answers) {
            let km = |site: usize| client.distance_km(setting.sites[site].at);
            let [given] = given[..] else { panic!("{given:?}: one answer") };
            let given = usize::from(given);
            assert!(!down.contains(&given), "{client:?} with {down:?} down: {given}");
            let nearest = (0..SITES.len()).filter(|site| !down.contains(site)).map(km);
            right += usize::from(km(given) < nearest.fold(f64::INFINITY, f64::min) + 1.0);
        }
    }
    right as f64 / (CLIENTS * answers.len()) as f64
}

fn draws_by_weight(peer: Peer) {
    let setting = setting();
    let answers = record(peer, &setting, &states()).unwrap_or_else(|failure| panic!("{failure}"));
    for (down, answers) in &answers {
        let mut counts = [0.0; SITES.len()];
        answers.iter().flatten().for_each(|&site| counts[usize::from(site)] += 1.0);
        let all: f64 = counts.iter().sum();

        let weight =
            |site: usize| if down.contains(&site) { 0.0 } else { setting.sites[site].weight };
        let weights: f64 = (0..SITES.len()).map(weight).sum();
        for (site, count) in counts.iter().enumerate() {
            let (part, due) = (count / all, weight(site) / weights);
            // Hashes of 500 clients spread less evenly than 4,000 draws.
            assert!(
                (part - due).abs() < 0.07,
                "{peer:?} with {down:?} down, {site}: {part} for {due}"
            );
            assert!(due > 0.0 || *count == 0.0, "{peer:?}: {site} is down");
        }
    }
}
