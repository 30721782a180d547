//! The nearest datacenter against gdnsd: both read the same database of the GeoIP2 City kind, have
//! the same datacenters, and are asked for the same random clients. And what we say of our answers:
//! inside the scope of one, no client gets another.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use fastrand::Rng;
use ipnet::IpNet;

use crate::support::asking::{address_and_scope, ask_udp, question_for};
use crate::support::peers::{Peer, Site};
use crate::support::{Server, needs};

const CLIENTS: usize = 10_000;
const SEED: u64 = 7871;

const SITES: &[Site] = &[
    site("fra", 50.11, 8.68, 1),
    site("lon", 51.51, -0.13, 2),
    site("iad", 38.95, -77.45, 3),
    site("sjc", 37.36, -121.93, 4),
    site("gru", -23.43, -46.47, 5),
    site("jnb", -26.14, 28.25, 6),
    site("bom", 19.09, 72.87, 7),
    site("sin", 1.36, 103.99, 8),
    site("nrt", 35.77, 140.39, 9),
    site("syd", -33.95, 151.18, 10),
];

const fn site(name: &'static str, latitude: f64, longitude: f64, host: u8) -> Site {
    Site { name, latitude, longitude, address: Ipv4Addr::new(203, 0, 113, host) }
}

#[test]
fn the_nearest_datacenter_is_that_of_gdnsd() {
    if !needs("gdnsd", &["gdnsd", "dig"]) {
        return;
    }
    let ours = serve();
    let gdnsd = Peer::gdnsd(ours.addresses().host(2), &database(), SITES);
    let mut rng = Rng::with_seed(SEED);
    let clients: Vec<IpAddr> = (0..CLIENTS).map(|_| client(&mut rng)).collect();
    let ours = answers(ours.dns(), &clients);
    let theirs = answers(gdnsd.dns(), &clients);

    let reader = maxminddb::Reader::open_readfile(database()).expect("the shipped database");
    let mut wrong = Vec::new();
    let (mut same, mut ties, mut unknown) = (0, 0, 0);
    let mut bits = [0_u64; 2];
    for ((client, ours), theirs) in clients.iter().zip(&ours).zip(theirs) {
        bits[0] += u64::from(ours.1);
        bits[1] += u64::from(theirs.1);
        match distances(&reader, *client) {
            _ if ours.0 == theirs.0 => same += 1,
            // The database does not say where the client is; gdnsd takes its first datacenter.
            None => unknown += 1,
            // They round differently.
            Some(km) if (km(ours.0) - km(theirs.0)).abs() < 1.0 => ties += 1,
            Some(km) => wrong.push(format!(
                "{client}: ours {} at {:.1} km, theirs {} at {:.1} km",
                ours.0,
                km(ours.0),
                theirs.0,
                km(theirs.0)
            )),
        }
    }
    eprintln!(
        "{same} the same, {ties} as near, {unknown} of unknown place; mean scope /{:.1}, of gdnsd /{:.1}",
        bits[0] as f64 / CLIENTS as f64,
        bits[1] as f64 / CLIENTS as f64
    );
    for site in SITES {
        assert!(
            ours.iter().any(|answer| answer.0 == site.address),
            "{} is never the nearest",
            site.name
        );
    }
    assert!(bits[0] <= bits[1], "our scopes are as wide as those of gdnsd");
    let shown = wrong.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} of {CLIENTS}:\n{shown}", wrong.len());
}

#[test]
fn inside_the_scope_of_an_answer_no_client_gets_another() {
    let ours = serve();
    let mut rng = Rng::with_seed(SEED + 1);
    let clients: Vec<IpAddr> = (0..CLIENTS / 5).map(|_| client(&mut rng)).collect();
    let given = answers(ours.dns(), &clients);
    let mut neighbours = Vec::new();
    let mut expected = Vec::new();
    for (client, (address, scope)) in clients.iter().zip(given) {
        let scope = IpNet::new(*client, scope).expect("a scope is at most the address's length");
        // The edges of the scope are where a mistake would show.
        let edges = [scope.network(), scope.broadcast()];
        for neighbour in edges.into_iter().chain((0..8).map(|_| inside(&mut rng, scope))) {
            neighbours.push(neighbour);
            expected.push((address, scope));
        }
    }
    for ((neighbour, answer), (address, scope)) in
        neighbours.iter().zip(answers(ours.dns(), &neighbours)).zip(expected)
    {
        assert_eq!(answer.0, address, "{neighbour} is in {scope}");
        assert_eq!(answer.1, scope.prefix_len(), "the scope at {neighbour}, in {scope}");
    }
}

/// Portolan with the sites and the shipped database.
fn serve() -> Server {
    let mut config = format!("[geoip]\ndatabases = [{:?}]\n", database());
    let mut members = String::new();
    for Site { name, latitude, longitude, address } in SITES {
        config += &format!(
            "[datacenters.{name}]\nlocation = {{ latitude = {latitude}, longitude = {longitude} }}\n"
        );
        members += &format!("{{ datacenter = \"{name}\", addresses = [\"{address}\"] }},\n");
    }
    let zone = format!(
        "origin = \"example.com.\"\nrecords = \"\"\"\n@ SOA ns1 hostmaster 1 2h 15m 2w 5m\n\
         @ NS ns1\nns1 A 198.51.100.53\n\"\"\"\n\
         [pools.web]\nsteer = \"nearest\"\nmembers = [\n{members}]\n[names.www]\npool = \"web\"\n"
    );
    Server::files(&config).zone("example.com.toml", &zone).start()
}

fn database() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("geoip/world.mmdb")
}

/// A random address of those that are given out. gdnsd looks into the IPv6 addresses that embed an
/// IPv4 address, Portolan does not.
fn client(rng: &mut Rng) -> IpAddr {
    match rng.u8(..4) {
        0 => {
            let high = u128::from(rng.u32(0x2001_0200..0x2c10_0000)) << 96;
            let is_6to4 = high >> 112 == 0x2002;
            Ipv6Addr::from(high | (rng.u128(..) >> 32) | u128::from(is_6to4) << 112).into()
        }
        _ => Ipv4Addr::from(rng.u32(0x0100_0000..0xe000_0000)).into(),
    }
}

/// A random address in a network.
fn inside(rng: &mut Rng, network: IpNet) -> IpAddr {
    match network {
        IpNet::V4(v4) => {
            (v4.network() | Ipv4Addr::from(rng.u32(..) & u32::from(v4.hostmask()))).into()
        }
        IpNet::V6(v6) => {
            (v6.network() | Ipv6Addr::from(rng.u128(..) & u128::from(v6.hostmask()))).into()
        }
    }
}

/// The address and the scope that each client is given; its whole address is in the question.
fn answers(server: std::net::SocketAddr, clients: &[IpAddr]) -> Vec<(Ipv4Addr, u8)> {
    let questions: Vec<Vec<u8>> = clients
        .iter()
        .map(|client| question_for("www.example.com", IpNet::from(*client)))
        .collect();
    let read = |answer: &Option<Vec<u8>>| {
        let answer = answer.as_ref().expect("each question is answered");
        address_and_scope(answer).unwrap_or_else(|| panic!("not as expected: {answer:02x?}"))
    };
    ask_udp(server, &questions).iter().map(read).collect()
}

/// From the client's place in the database, how far the datacenter with an address is, in km.
fn distances(
    reader: &maxminddb::Reader<Vec<u8>>,
    client: IpAddr,
) -> Option<impl Fn(Ipv4Addr) -> f64> {
    let found = reader.lookup(client).ok()?;
    let degrees = |key: &str| -> Option<f64> {
        let path = [maxminddb::PathElement::Key("location"), maxminddb::PathElement::Key(key)];
        found.decode_path(&path).ok()?
    };
    let (latitude, longitude) = (degrees("latitude")?, degrees("longitude")?);
    Some(move |address| {
        let site = SITES.iter().find(|site| site.address == address).expect("one of the sites");
        great_circle_km((latitude, longitude), (site.latitude, site.longitude))
    })
}

/// By the angle between the two directions from the centre of the earth.
fn great_circle_km(a: (f64, f64), b: (f64, f64)) -> f64 {
    const EARTH_RADIUS_KM: f64 = 6371.0;
    let direction = |(latitude, longitude): (f64, f64)| {
        let (latitude, longitude) = (latitude.to_radians(), longitude.to_radians());
        [latitude.cos() * longitude.cos(), latitude.cos() * longitude.sin(), latitude.sin()]
    };
    let (a, b) = (direction(a), direction(b));
    let dot: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
    dot.clamp(-1.0, 1.0).acos() * EARTH_RADIUS_KM
}
