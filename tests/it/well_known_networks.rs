//! Clients all over the world, located by the real database: each gets the nearest datacenter.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use ipnet::IpNet;

use crate::support::{Server, dig, needs};

/// The airports that the table names, with their published coordinates: degrees north and east.
const DATACENTERS: [(&str, f64, f64); 9] = [
    ("fra", 50.03, 8.57),
    ("iad", 38.95, -77.45),
    ("sjc", 37.36, -121.93),
    ("gru", -23.43, -46.47),
    ("jnb", -26.13, 28.24),
    ("bom", 19.09, 72.87),
    ("sin", 1.36, 103.99),
    ("nrt", 35.76, 140.39),
    ("syd", -33.95, 151.18),
];

/// A line of the table that names the nearest datacenter.
struct Network {
    prefix: IpNet,
    country: &'static str,
    nearest: &'static str,
    whose: &'static str,
}

#[test]
fn well_known_networks_in_all_continents_get_the_nearest_datacenter() {
    if !needs("well_known_networks", &["dig"]) {
        return;
    }
    let server = server();
    let networks = networks();
    let countries: BTreeSet<_> = networks.iter().map(|network| network.country).collect();
    let nearest: BTreeSet<_> = networks.iter().map(|network| network.nearest).collect();
    let v6 = networks.iter().filter(|network| network.prefix.addr().is_ipv6()).count();
    assert!(countries.len() >= 40 && nearest.len() == 9 && v6 >= 20, "a table of the whole world");

    let at = server.dns();
    let (one, other) = networks.split_at(networks.len() / 2);
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let halves = [one, other].map(|half| scope.spawn(move || wrong(at, half)));
        halves.into_iter().flat_map(|half| half.join().expect("asked")).collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Asks on behalf of three clients in each network; says who got another datacenter than the
/// nearest.
fn wrong(server: SocketAddr, networks: &[Network]) -> Vec<String> {
    let mut wrong = Vec::new();
    for Network { prefix, country, nearest, whose } in networks {
        let number = DATACENTERS.iter().position(|(name, ..)| name == nearest);
        let number = number.unwrap_or_else(|| panic!("{nearest} is no datacenter")) + 1;
        let (v4, v6) = (format!("203.0.113.{number}"), format!("2001:db8::{number}"));
        let asked = [("A", &v4), ("AAAA", &v6), ("A", &v4)];
        for (client, (rtype, address)) in clients(*prefix).iter().zip(asked) {
            let answer = dig(server, &format!("www.example.com {rtype} +subnet={client}"));
            if answer.data(rtype) != [address.as_str()] || answer.scope() == 0 {
                wrong.push(format!(
                    "{client} in {prefix} ({whose}, {country}) is nearest to {nearest}: {} {:?} {:?}",
                    answer.status, answer.answer, answer.subnet
                ));
            }
        }
    }
    wrong
}

/// What resolvers send of clients at the beginning, in the middle, and at the end of the network.
fn clients(prefix: IpNet) -> [String; 3] {
    match (prefix.network(), prefix.broadcast()) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            let (first, last) = (u32::from(first), u32::from(last));
            [first, first + (last - first) / 2, last]
                .map(|client| format!("{}/24", IpAddr::V4((client & !0xff).into())))
        }
        (first, last) => {
            let bits = |address| if let IpAddr::V6(v6) = address { u128::from(v6) } else { 0 };
            let (first, last) = (bits(first), bits(last));
            let beyond = u128::MAX >> 56;
            [first, first + (last - first) / 2, last]
                .map(|client| format!("{}/56", IpAddr::V6((client & !beyond).into())))
        }
    }
}

fn networks() -> Vec<Network> {
    let lines = include_str!("../data/geo/well_known_networks.tsv").lines();
    let networks = lines.filter(|line| !line.starts_with('#')).map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        let &[prefix, country, _, _, nearest, whose] = &fields[..] else {
            panic!("six fields: {line}")
        };
        Network { prefix: prefix.parse().expect("a prefix"), country, nearest, whose }
    });
    networks.filter(|network| network.nearest != "-").collect()
}

fn server() -> Server {
    let database = Path::new(env!("CARGO_MANIFEST_DIR")).join("geoip/world.mmdb");
    let mut rest = format!("[geoip]\ndatabases = [{:?}]\n", database.display().to_string());
    let mut members = String::new();
    for (number, (name, north, east)) in DATACENTERS.iter().enumerate() {
        rest += &format!(
            "[datacenters.{name}]\nlocation = {{ latitude = {north:?}, longitude = {east:?} }}\n"
        );
        let number = number + 1;
        members += &format!(
            "  {{ datacenter = \"{name}\", \
             addresses = [\"203.0.113.{number}\", \"2001:db8::{number}\"] }},\n"
        );
    }
    let zone = format!(
        "origin = \"example.com.\"\n\
         records = \"\"\"\n@ SOA ns1 hostmaster 1 2h 15m 2w 5m\n@ NS ns1\nns1 A 198.51.100.53\n\"\"\"\n\
         [pools.web]\nsteer = \"nearest\"\nmembers = [\n{members}]\n[names.www]\npool = \"web\"\n"
    );
    Server::files(&rest).zone("example.com.toml", &zone).start()
}
