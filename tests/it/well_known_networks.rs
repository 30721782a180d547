//! Clients all over the world, located by the real database: each gets the nearest datacenter.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;

use crate::support::{Server, dig_all, needs};

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

    let asked: Vec<Asked> = networks.iter().flat_map(asked).collect();
    let questions: Vec<String> = asked.iter().map(|asked| asked.question.clone()).collect();
    let mut wrong = Vec::new();
    for (Asked { network, question, rtype, expected }, answer) in
        asked.iter().zip(dig_all(server.dns(), &questions))
    {
        if answer.data(rtype) != [expected.as_str()] || answer.scope() == 0 {
            let Network { prefix, country, nearest, whose } = network;
            wrong.push(format!(
                "{question}: {prefix} ({whose}, {country}) is nearest to {nearest}: {:?} {:?}",
                answer.answer, answer.subnet
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A question on behalf of a client in one of the networks.
struct Asked<'n> {
    network: &'n Network,
    question: String,
    rtype: &'static str,
    expected: String,
}

/// Questions on behalf of three clients in the network.
fn asked(network: &Network) -> impl Iterator<Item = Asked<'_>> {
    let number = DATACENTERS.iter().position(|(name, ..)| *name == network.nearest);
    let number = number.unwrap_or_else(|| panic!("{} is no datacenter", network.nearest)) + 1;
    let clients = clients(network.prefix).into_iter().zip(["A", "AAAA", "A"]);
    clients.map(move |(client, rtype)| Asked {
        network,
        question: format!("www.example.com {rtype} +subnet={client}"),
        rtype,
        expected: match rtype {
            "A" => format!("203.0.113.{number}"),
            _ => format!("2001:db8::{number}"),
        },
    })
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
