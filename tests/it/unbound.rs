//! A resolver in front: Unbound, which speaks EDNS client subnet, asked on behalf of clients on three
//! continents. Each gets its own answer, and the cache shares an answer within its scope.

use std::net::Ipv4Addr;
use std::path::Path;

use fastrand::Rng;
use ipnet::{IpNet, Ipv4Net};

use crate::support::asking::{address_and_scope, ask_udp, question_for};
use crate::support::peers::Peer;
use crate::support::{Server, dig, needs};

const SEED: u64 = 24;
/// The datacenters' addresses: Frankfurt, Washington, Tokyo.
const ADDRESSES: [&str; 3] = ["203.0.113.1", "203.0.113.2", "203.0.113.3"];

const ZONE: &str = r#"
origin  = "example.com."
records = """
@      SOA  ns1 hostmaster 1 2h 15m 2w 5m
@      NS   ns1
ns1    A    198.51.100.53
static A    198.51.100.80
"""
[pools.web]
steer   = "nearest"
ttl     = "10m"
members = [
  { datacenter = "fra", addresses = ["203.0.113.1"] },
  { datacenter = "iad", addresses = ["203.0.113.2"] },
  { datacenter = "nrt", addresses = ["203.0.113.3"] },
]
[names.www]
pool = "web"
"#;

#[test]
fn a_resolver_gives_each_client_its_own_answer_and_shares_it_within_the_scope() {
    if !needs("unbound", &["unbound", "dig"]) {
        return;
    }
    let ours = serve();
    let unbound = Peer::unbound(ours.addresses().host(2), ours.dns());
    let ask = |name: &str, client: Ipv4Net| {
        let before = asked_with_subnet(&ours);
        let question = format!("{name}.example.com A +recurse +subnet={client}");
        let answer = dig(unbound.dns(), &question);
        (answer, asked_with_subnet(&ours) - before)
    };

    for (address, scope) in scopes(&ours) {
        let [first, second, third] = [1, 2, 3].map(|part| part_of(scope, part));
        let (answer, asked) = ask("www", first);
        assert_eq!((answer.address(), asked), (address.clone(), 1), "{}", answer.text);
        assert_eq!(answer.scope(), scope.prefix_len(), "what we said reaches the client");
        for neighbour in [first, second, third] {
            let (answer, asked) = ask("www", neighbour);
            assert_eq!(answer.address(), address, "{neighbour} is in {scope}");
            assert_eq!(asked, 0, "{neighbour} is in {scope}: the cache has the answer");
        }
    }

    // An answer for everybody has the scope 0: one question, wherever the client is.
    let asked: Vec<u64> = scopes(&ours)
        .into_iter()
        .map(|(_, scope)| {
            let (answer, asked) = ask("static", part_of(scope, 1));
            assert_eq!(answer.address(), "198.51.100.80");
            asked
        })
        .collect();
    assert_eq!(asked, [1, 0, 0]);
}

fn serve() -> Server {
    let database = Path::new(env!("CARGO_MANIFEST_DIR")).join("geoip/world.mmdb");
    let config = format!(
        "[geoip]\ndatabases = [{database:?}]\n\
         [datacenters.fra]\nlocation = {{ latitude = 50.11, longitude = 8.68 }}\n\
         [datacenters.iad]\nlocation = {{ latitude = 38.95, longitude = -77.45 }}\n\
         [datacenters.nrt]\nlocation = {{ latitude = 35.77, longitude = 140.39 }}\n"
    );
    Server::files(&config).zone("example.com.toml", ZONE).start()
}

/// For each datacenter, a network that is given it, and that has room for several /24.
fn scopes(server: &Server) -> Vec<(String, Ipv4Net)> {
    let mut rng = Rng::with_seed(SEED);
    let clients: Vec<Ipv4Addr> =
        (0..200).map(|_| Ipv4Addr::from(rng.u32(0x0100_0000..0xdf00_0000))).collect();
    let question = |client: &Ipv4Addr| {
        let net = Ipv4Net::new(*client, 24).expect("a length of IPv4");
        question_for("www.example.com", IpNet::V4(net))
    };
    let questions: Vec<Vec<u8>> = clients.iter().map(question).collect();
    let answers = ask_udp(server.dns(), &questions);
    let found = clients.iter().zip(&answers).filter_map(|(client, answer)| {
        let (address, scope) = address_and_scope(answer.as_ref()?)?;
        let scope = Ipv4Net::new(*client, scope).ok()?.trunc();
        (scope.prefix_len() <= 22).then(|| (address.to_string(), scope))
    });
    let found: Vec<(String, Ipv4Net)> = found.collect();
    let of = |address: &&str| {
        let of = found.iter().find(|(found, _)| found == address);
        of.unwrap_or_else(|| panic!("no wide scope is given {address}")).clone()
    };
    ADDRESSES.iter().map(of).collect()
}

/// The `part`th quarter of a network's /24s begins with this one.
fn part_of(network: Ipv4Net, part: u32) -> Ipv4Net {
    let size = 1_u32 << (32 - network.prefix_len());
    let address = u32::from(network.network()) + size / 4 * part;
    Ipv4Net::new(Ipv4Addr::from(address), 24).expect("a length of IPv4").trunc()
}

/// How many questions with a client subnet have come to us.
fn asked_with_subnet(server: &Server) -> u64 {
    let status = server.api("/api/v1/status");
    status["dns"]["events"]["client_subnet"].as_u64().expect("a count")
}
