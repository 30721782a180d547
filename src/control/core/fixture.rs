//! For tests: a small world with three datacenters and one pool that steers by capacity.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::control::AllocationSettings;
use crate::decide::{
    Client, Datacenter, DatacenterId, Match, Member, MemberId, Policy, Pool, PoolId, ProbeId, Rule,
    Steer, Steering, Target as Answer, WhenAllDown,
};
use crate::dns::Rtype;
use crate::geo::{Code, Location, RangeTable, World, country};
use crate::health::{Check, Kind, Probe};
use crate::snapshot::Snapshot;
use crate::zone;

/// The datacenters, by number, and the countries they stand in.
pub const DATACENTERS: [(&str, &str); 3] = [("fra", "DE"), ("iad", "US"), ("sin", "SG")];
/// Where clients are: 2001:db8:N::/48 is in the nth.
pub const COUNTRIES: [&str; 15] =
    ["DE", "FR", "GB", "ES", "IT", "PL", "US", "CA", "MX", "BR", "SG", "JP", "IN", "AU", "ID"];

/// Where a country's centre is.
fn place(code: &str) -> Location {
    let code: Code = code.parse().unwrap();
    Location {
        country: Some(code),
        coordinates: country(code).map(|country| country.centre),
        ..Location::default()
    }
}

fn world() -> World {
    let locations = std::iter::once(Location::default()).chain(COUNTRIES.map(place));
    let first = u128::from(prefix(0, 0));
    let starts = (0..COUNTRIES.len()).map(|n| (first + ((n as u128) << 80), n as u32 + 1));
    let end = first + ((COUNTRIES.len() as u128) << 80);
    let starts = std::iter::once((0, 0)).chain(starts).chain([(end, 0)]);
    World::new(RangeTable::constant(0), RangeTable::from_starts(starts), locations.collect())
}

/// The nth /56 of a country.
pub fn prefix(country: usize, n: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, country as u16, u16::from(n) << 8, 0, 0, 0, 0)
}

/// One pool with a member in each datacenter, each with a probe, and these capacities.
pub fn settings(capacity: [Option<f64>; 3]) -> Settings {
    let datacenters = DATACENTERS.map(|(name, country)| Datacenter {
        name: name.into(),
        location: place(country),
        bias: 0,
        cost_ms: 0.0,
    });
    let member = |index: u16| Member {
        id: MemberId(index.into()),
        datacenter: DatacenterId(index),
        weight: 1,
        target: Answer::Addresses {
            v4: [(address(index), Some(ProbeId(index.into())))].into(),
            v6: [].into(),
        },
    };
    let pool = Pool {
        zone: "example.com.".parse().unwrap(),
        name: "web".into(),
        is_twin: false,
        steer: Steer::Capacity,
        ttl: 30,
        ttl_min: 15,
        share: 1.0,
        answers: 1,
        min_healthy: 1,
        when_all_down: WhenAllDown::AnswerAll,
        members: [0, 1, 2].map(member).into(),
    };
    let rule = Rule { matches: Match::default(), pool: PoolId(0) };
    let steering = Steering {
        datacenters: datacenters.into(),
        pools: [pool].into(),
        policies: [Policy { rules: [rule].into() }].into(),
    };
    let check = Arc::new(Check {
        interval: Duration::from_secs(60),
        jitter: 0.0,
        timeout: Duration::from_secs(5),
        rise: 1,
        fall: 1,
        ..Check::new(Kind::Tcp)
    });
    let probe = |index: u16| Probe {
        name: format!("example.com/web/{}", DATACENTERS[usize::from(index)].0),
        check: Arc::clone(&check),
        address: address(index).into(),
        port: 443,
    };
    Settings {
        zones: Arc::new(zone::compile(&[]).0.unwrap()),
        secondaries: Arc::default(),
        announcers: Arc::default(),
        keys: Arc::default(),
        identity: Arc::default(),
        transfers: Arc::default(),
        steering: Arc::new(steering),
        world: Arc::new(world()),
        probes: [0, 1, 2].map(probe).into(),
        flattened: Arc::default(),
        resolvers: Vec::new(),
        reports: vec![None; 3],
        capacity: capacity.into(),
        units: vec![None; 3],
        allocation: AllocationSettings::default(),
        latencies: Arc::default(),
    }
}

fn address(datacenter: u16) -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, datacenter as u8)
}

/// Clients that keep an answer for as long as its TTL says, and come back at once.
pub struct Clients {
    clients: Vec<Holder>,
    /// What each datacenter was offered in the last second.
    pub loads: [f64; 3],
    /// Seconds since the start.
    pub now: u64,
}

struct Holder {
    country: usize,
    address: Ipv6Addr,
    /// Requests a second.
    rate: f64,
    /// The datacenter of its answer, and when that ends.
    held: Option<(u16, u64)>,
}

/// The clients' clock and the operator's, in step.
pub fn at(second: u64) -> Now {
    Now { elapsed: Duration::from_secs(second), unix_seconds: 1_800_000_000 + second }
}

impl Clients {
    /// Twenty in each country, which ask for these rates together.
    pub fn new(rates: &[(&str, f64)]) -> Clients {
        let clients = rates.iter().flat_map(|(code, rate)| {
            let country = COUNTRIES.iter().position(|known| known == code).unwrap();
            (0..20).map(move |n| Holder {
                country,
                address: prefix(country, n),
                rate: rate / 20.0,
                held: None,
            })
        });
        Clients { clients: clients.collect(), loads: [0.0; 3], now: 0 }
    }

    /// Changes a country's rate.
    pub fn set_rate(&mut self, code: &str, rate: f64) {
        let country = COUNTRIES.iter().position(|known| *known == code);
        for client in self.clients.iter_mut().filter(|client| Some(client.country) == country) {
            client.rate = rate / 20.0;
        }
    }

    /// Lets a second pass: who has no answer any more asks, and requests go where answers say.
    pub fn second(&mut self, core: &mut Core) {
        self.now += 1;
        self.loads = [0.0; 3];
        let snapshot = core.published().load_full();
        for client in &mut self.clients {
            if client.held.is_none_or(|(_, ends)| ends <= self.now) {
                let (datacenter, ttl) = ask(core, &snapshot, client.address, at(self.now));
                client.held = Some((datacenter, self.now + u64::from(ttl)));
            }
            if let Some((datacenter, _)) = client.held {
                self.loads[usize::from(datacenter)] += client.rate;
            }
        }
        core.tick(at(self.now));
    }

    /// The same for several seconds; every two of them, the datacenters report.
    pub fn seconds(
        &mut self,
        core: &mut Core,
        seconds: u64,
        report: impl Fn(usize, f64) -> Option<Report>,
    ) {
        for _ in 0..seconds {
            self.second(core);
            if self.now.is_multiple_of(2) {
                for (index, (name, _)) in DATACENTERS.iter().enumerate() {
                    if let Some(report) = report(index, self.loads[index]) {
                        core.take_report(name, report, at(self.now)).unwrap();
                    }
                }
                core.refresh(at(self.now));
            }
        }
    }
}

/// Where a client is sent, and for how long; the answer is counted.
fn ask(core: &mut Core, snapshot: &Snapshot, address: Ipv6Addr, now: Now) -> (u16, u32) {
    let client = Client { address: address.into(), resolver: address.into(), draw: 0 };
    let decision = snapshot.charts[0].decide(&client, Rtype::A);
    let given = decision.assignment.unwrap();
    let answered = Answered::new(client.address, given, decision.ttl, snapshot.epoch);
    core.count(answered.unwrap(), now);
    (given.datacenter.0, decision.ttl)
}
