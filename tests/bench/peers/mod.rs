//! Other makes of server, answering on loopback: where they send many clients, in one state of the
//! datacenters' health after another.
//!
//! The clients are the /24s of 10.0.0.0/8, which stand in the questions' ECS option alone. A database
//! of the City kind says where each is.

mod ask;
mod daemon;
mod gdnsd;
mod powerdns;

use std::collections::HashMap;
use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};
use portolan::geo::Coordinates;
use serde_json::json;

use crate::encode;
use daemon::Daemon;
pub use daemon::Failure;

/// How often each client is asked for in a state, where answers are drawn.
const DRAWS: usize = 8;
/// How often a state is asked for, should the server change its mind meanwhile.
const TRIES: usize = 5;

/// A server and the way it chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// gdnsd, plugin `geoip` with `auto_dc_coords`: the nearest that is up, of the nearest three.
    GdnsdGeoip,
    /// gdnsd, plugin `weighted`: a draw for each query.
    GdnsdWeighted,
    /// PowerDNS, a Lua record: `pickclosest` among what `ifportup` says is up. It takes a degree for a
    /// degree, be it of latitude or, near a pole, of longitude.
    PowerdnsClosest,
    /// PowerDNS, a Lua record: `pickwhashed` among what `ifportup` says is up. One client has one
    /// answer.
    PowerdnsHashed,
    /// PowerDNS, a Lua record: `pickwrandom` among what `ifportup` says is up.
    PowerdnsRandom,
}

impl Peer {
    /// All.
    pub const ALL: [Peer; 5] = [
        Peer::GdnsdGeoip,
        Peer::GdnsdWeighted,
        Peer::PowerdnsClosest,
        Peer::PowerdnsHashed,
        Peer::PowerdnsRandom,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Peer::GdnsdGeoip => "gdnsd-geoip",
            Peer::GdnsdWeighted => "gdnsd-weighted",
            Peer::PowerdnsClosest => "pdns-closest",
            Peer::PowerdnsHashed => "pdns-hashed",
            Peer::PowerdnsRandom => "pdns-random",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Peer> {
        Peer::ALL.into_iter().find(|peer| peer.name() == name)
    }

    /// The name that is asked for, in `example.com`.
    fn owner(self) -> &'static str {
        match self {
            Peer::GdnsdGeoip | Peer::PowerdnsClosest => "nearest",
            Peer::GdnsdWeighted | Peer::PowerdnsRandom => "drawn",
            Peer::PowerdnsHashed => "hashed",
        }
    }
}

/// A datacenter.
#[derive(Clone, Debug)]
pub struct Site {
    /// Where it is.
    pub at: Coordinates,
    /// Against those of the others: its capacity.
    pub weight: f64,
}

/// Who asks and who serves.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Where the clients are, by their numbers; at most 65,536.
    pub clients: Vec<Coordinates>,
    /// By their numbers; at most 200.
    pub sites: Vec<Site>,
    /// A /24 of loopback addresses that nobody else uses: its first three octets.
    pub network: [u8; 3],
}

impl Setting {
    /// What a datacenter's clients are answered.
    fn address(&self, site: usize) -> Ipv4Addr {
        self.host(1 + site as u8)
    }

    fn host(&self, last: u8) -> Ipv4Addr {
        let [first, second, third] = self.network;
        Ipv4Addr::new(first, second, third, last)
    }

    /// The datacenter with that address.
    fn site(&self, address: Ipv4Addr) -> Option<usize> {
        (0..self.sites.len()).find(|&site| self.address(site) == address)
    }

    /// Whole numbers in proportion to the weights, as servers have them.
    fn weights(&self) -> Vec<u32> {
        let all: f64 = self.sites.iter().map(|site| site.weight).sum();
        let whole = |site: &Site| (site.weight / all * 100_000.0).round().max(1.0) as u32;
        self.sites.iter().map(whole).collect()
    }

    /// A database of the City kind: where the clients are, and the datacenters' addresses.
    fn database(&self) -> Vec<u8> {
        let record = |prefix: IpNet, at: Coordinates| {
            let Coordinates { latitude, longitude } = at;
            // PowerDNS does without a location that has no accuracy.
            let of = json!({ "latitude": latitude, "longitude": longitude, "accuracy_radius": 10 });
            (prefix, json!({ "location": of }))
        };
        let clients = self.clients.iter().enumerate();
        let clients = clients.map(|(client, at)| record(prefix_of(client).into(), *at));
        let sites = self.sites.iter().enumerate();
        let sites = sites.map(|(site, of)| {
            record(IpNet::from(std::net::IpAddr::from(self.address(site))), of.at)
        });
        encode::database(6, 24, &clients.chain(sites).collect::<Vec<_>>())
    }
}

/// The prefix that stands for a client.
fn prefix_of(client: usize) -> Ipv4Net {
    let [.., high, low] = (client as u32).to_be_bytes();
    Ipv4Net::new_assert(Ipv4Addr::new(10, high, low, 0), 24)
}

/// Answers: by the datacenters that were down, in ascending order; by client, the datacenters it was
/// sent to, one after another.
pub type Answers = HashMap<Vec<usize>, Vec<Vec<u16>>>;

/// Starts a server and asks it for all clients in each state of health: the datacenters that are
/// down. Where an answer is drawn, each client asks eight times.
///
/// # Errors
///
/// Why there are no answers: the server is not installed, does not start, or does not answer.
pub fn record(peer: Peer, setting: &Setting, states: &[Vec<usize>]) -> Result<Answers, Failure> {
    let mut daemon = Daemon::start(peer, setting)?;
    let mut answers = Answers::new();
    for state in states {
        answers.insert(state.clone(), in_state(peer, setting, &mut daemon, state)?);
    }
    Ok(answers)
}

fn in_state(
    peer: Peer,
    setting: &Setting,
    daemon: &mut Daemon,
    down: &[usize],
) -> Result<Vec<Vec<u16>>, Failure> {
    for _ in 0..TRIES {
        daemon.set_down(down)?;
        let answers = sweep(peer, setting, daemon)?;
        // On a busy machine a check may fail that should not; then the answers are worth nothing.
        if daemon.sees_down(down) {
            return Ok(answers);
        }
    }
    Err(Failure::Mute(format!("{}: its checks waver", peer.name())))
}

/// What each client is answered now.
fn sweep(peer: Peer, setting: &Setting, daemon: &Daemon) -> Result<Vec<Vec<u16>>, Failure> {
    let rounds = match peer {
        Peer::GdnsdWeighted | Peer::PowerdnsRandom => DRAWS,
        Peer::GdnsdGeoip | Peer::PowerdnsClosest | Peer::PowerdnsHashed => 1,
    };
    let mut answers = vec![Vec::with_capacity(rounds); setting.clients.len()];
    for _ in 0..rounds {
        let given = ask::one_address(daemon.dns(), peer.owner(), setting.clients.len());
        for ((client, given), answers) in given.into_iter().enumerate().zip(&mut answers) {
            let site = given.and_then(|address| setting.site(address)).ok_or_else(|| {
                Failure::Mute(format!("{}: no answer for {}", peer.name(), prefix_of(client)))
            })?;
            answers.push(site as u16);
        }
    }
    Ok(answers)
}
