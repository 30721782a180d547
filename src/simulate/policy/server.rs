//! The whole decision as it is shipped: map, groups, charts, control and allocator, without sockets
//! and clocks.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use super::super::plant::Report;
use super::super::run::Ttl;
use super::super::world::World;
use super::{Asker, Knowledge};
use crate::control::overrides::Overrides;
use crate::control::publish::Ground;
use crate::control::{self, AllocationSettings, Core, Now, Settings};
use crate::decide::latency::Scope;
use crate::decide::{
    self, Choice, Client, DatacenterId, Latencies, Match, Member, MemberId, Pool, PoolId, ProbeId,
    Rule, Steer, Steering, Target, WhenAllDown,
};
use crate::dns::{Name, Rtype};
use crate::geo::{self, Location, RangeTable};
use crate::health::Verdict;
use crate::ledger::Answered;
use crate::snapshot::Published;
use crate::zone;

/// The server at work.
pub(in super::super) struct Server {
    core: Core,
    published: Published,
    names: Vec<String>,
    verdicts: Vec<Verdict>,
    now: f64,
    asked: u64,
}

impl Server {
    /// `seems`: by unit, the group that the map says it is of.
    pub(super) fn new(world: &World, seems: &[usize], knowledge: Knowledge, ttl: Ttl) -> Server {
        let settings = Arc::new(settings(world, seems, knowledge, ttl));
        let verdicts = vec![Verdict::Up; world.datacenters.len()];
        let ground = Ground::new(settings, &[], None);
        let core = Core::new(ground, Overrides::default(), verdicts[..].into(), at(0.0));
        let names = world.datacenters.iter().map(|one| one.name.clone()).collect();
        Server { published: core.published(), core, names, verdicts, now: 0.0, asked: 0 }
    }

    pub(super) fn begin(&mut self, time: f64) {
        self.now = time;
    }

    pub(super) fn health(&mut self, datacenter: usize, up: bool) {
        self.verdicts[datacenter] = if up { Verdict::Up } else { Verdict::Down };
        self.core.take_verdicts(self.verdicts[..].into(), at(self.now));
    }

    pub(super) fn report(&mut self, report: &Report) {
        let told = control::Report {
            capacity: Some(report.capacity),
            load: report.load,
            rejected: Some(report.rejected),
            utilisation: Some(report.utilisation),
            unit: None,
            time: None,
        };
        // What is refused counts for nothing, as in the server.
        let _ = self.core.take_report(&self.names[report.datacenter], told, at(self.now));
    }

    pub(super) fn tick(&mut self) {
        let now = at(self.now);
        self.core.tick(now);
        if let Some(promoted) = self.core.promotions(now) {
            let settings = Arc::clone(self.core.settings());
            let ground = Ground::new(settings, &promoted, Some(self.core.ground()));
            self.core.replace(ground, self.verdicts[..].into(), now);
        }
        // Nobody reads them.
        self.core.take_events();
    }

    pub(super) fn answer(&mut self, asker: Asker, time: f64) -> (usize, u32) {
        self.asked += 1;
        let address = IpAddr::V6(prefix(asker.unit));
        let client = Client { address, resolver: address, draw: self.asked };
        let snapshot = self.published.load();
        let decision = snapshot.charts[0].decide(&client, Rtype::AAAA);
        let datacenter = match (decision.assignment, &decision.choice) {
            (Some(given), _) => usize::from(given.datacenter.0),
            (None, Choice::V6(addresses)) => usize::from(addresses[0].segments()[7]),
            (None, _) => 0,
        };
        let ttl = decision.ttl;
        if let Some(given) = decision.assignment
            && let Some(answered) = Answered::new(address, given, ttl, snapshot.epoch)
        {
            self.core.count(answered, at(time));
        }
        (datacenter, ttl)
    }
}

fn at(seconds: f64) -> Now {
    Now { elapsed: Duration::from_secs_f64(seconds), unix_seconds: seconds as u64 }
}

/// The /56 that a unit's clients are in.
fn prefix(unit: usize) -> Ipv6Addr {
    const FIRST: u128 = 0x2001_0db8 << 96;
    Ipv6Addr::from(FIRST + ((unit as u128) << 72))
}

fn settings(world: &World, seems: &[usize], knowledge: Knowledge, ttl: Ttl) -> Settings {
    let datacenters = world.datacenters.iter().map(|one| decide::Datacenter {
        name: one.name.clone(),
        location: Location { coordinates: Some(one.at), ..Location::default() },
        bias: 0,
        cost_ms: 0.0,
    });
    let member = |index: u16| {
        let address = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, index);
        let probe = ProbeId(index.into());
        Member {
            id: MemberId(index.into()),
            datacenter: DatacenterId(index),
            weight: 1,
            target: Target::Addresses { v4: [].into(), v6: [(address, Some(probe))].into() },
        }
    };
    let pool = Pool {
        zone: Name::root(),
        name: "world".to_string(),
        is_twin: false,
        steer: Steer::Capacity,
        ttl: ttl.max,
        ttl_min: ttl.min,
        share: 1.0,
        answers: 1,
        min_healthy: 1,
        when_all_down: WhenAllDown::AnswerAll,
        members: (0..world.datacenters.len() as u16).map(member).collect(),
    };
    let rule = Rule { matches: Match::default(), pool: PoolId(0) };
    let steering = Steering {
        datacenters: datacenters.collect(),
        pools: [pool].into(),
        policies: [decide::Policy { rules: [rule].into() }].into(),
    };
    let (zones, _) = zone::compile(&[]);
    Settings {
        zones: Arc::new(zones.unwrap_or_default()),
        secondaries: Arc::default(),
        announcers: Arc::default(),
        keys: Arc::default(),
        identity: Arc::default(),
        transfers: Arc::default(),
        steering: Arc::new(steering),
        world: Arc::new(map(world, seems)),
        probes: Vec::new(),
        flattened: Arc::default(),
        resolvers: Vec::new(),
        reports: vec![None; world.datacenters.len()],
        capacity: world.datacenters.iter().map(|one| Some(one.capacity)).collect(),
        units: vec![None; world.datacenters.len()],
        allocation: AllocationSettings::default(),
        latencies: Arc::new(match knowledge {
            Knowledge::Geo => Latencies::default(),
            Knowledge::Rtt => latencies(world),
        }),
    }
}

/// Where every unit's prefix seems to be.
fn map(world: &World, seems: &[usize]) -> geo::World {
    let place = |(index, _): (usize, &super::super::world::Group)| {
        let (country, region) = region(world, index);
        Location {
            country: country.parse().ok(),
            region: Some(region.into()),
            coordinates: Some(world.groups[index].at),
            ..Location::default()
        }
    };
    let places = world.groups.iter().enumerate().map(place);
    let locations = std::iter::once(Location::default()).chain(places).collect();
    let unit = |(unit, group): (usize, &usize)| (u128::from(prefix(unit)), *group as u32 + 1);
    let end = (u128::from(prefix(seems.len())), 0);
    let starts = std::iter::once((0, 0)).chain(seems.iter().enumerate().map(unit)).chain([end]);
    geo::World::new(RangeTable::constant(0), RangeTable::from_starts(starts), locations)
}

fn latencies(world: &World) -> Latencies {
    let mut entries = Vec::new();
    for group in 0..world.groups.len() {
        let (country, name) = region(world, group);
        let Ok(country) = country.parse() else { continue };
        for (number, ms) in (0..).zip(world.rtt(group)) {
            let scope = Scope::Region(country, name.into());
            entries.push((scope, DatacenterId(number), *ms as f32));
        }
    }
    Latencies::new(entries)
}

/// A group's country, and what it is called within.
fn region(world: &World, group: usize) -> (&str, &str) {
    let group = &world.groups[group];
    (&group.country, group.name.split_once('/').map_or(&group.name, |(_, region)| region))
}
