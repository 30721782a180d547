//! What the engine is measured with: a zone of 10,000 names, a world of 250,000 networks, and
//! queries of every kind.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use portolan::answer::{Request, Transport};
use portolan::decide::survey::survey_all;
use portolan::decide::{
    Allotment, Chart, Datacenter, DatacenterId, Facts, Groups, HealthTable, Match, Member,
    MemberId, Part, Policy, PolicyId, Pool, PoolId, ResolvedTable, Rule, ShareTable, Sheets,
    StandingTable, Steer, Steering, Target, WhenAllDown,
};
use portolan::dns::{Name, Rtype};
use portolan::geo::{Coordinates, Location, RangeTable, World};
use portolan::snapshot::Snapshot;
use portolan::zone::{Base, Settings, Source, Steered, compile};

const NAMES: usize = 10_000;
const NETWORKS: u32 = 250_000;
const PLACES: u32 = 500;

/// Ordinary names and a few of every other kind; `steered` is answered by the nearest of eight
/// datacenters, `by-load` by those that its group is given to, one group in eight being split.
pub fn snapshot() -> Snapshot {
    let mut text = String::from(
        "@ SOA ns1 hostmaster 1 2h 15m 2w 5m\n@ NS ns1\n@ NS ns2\nns1 A 198.51.100.53\n\
         ns2 A 203.0.113.53\n@ MX 10 mail\nmail A 198.51.100.25\nalias CNAME host-1\n\
         to-steered CNAME steered
steered HTTPS 1 . alpn=h2,h3
*.wild A 198.51.100.3
\
         moved DNAME wild
sub NS ns.sub
ns.sub A 198.51.100.54
",
    );
    for number in 0..NAMES {
        let address = Ipv4Addr::from(0xc633_6400 + (number as u32 & 0xff));
        text += &format!("host-{number} A {address}\n");
    }
    let zone = Settings {
        origin: name("example.com."),
        default_ttl: 300,
        sources: vec![Source { file: "example.com.zone".into(), text, included_by: None }],
        steered: [("steered.example.com.", 0), ("by-load.example.com.", 1)]
            .map(|(owner, policy)| Steered {
                owner: name(owner),
                policy: PolicyId(policy),
                ttl: 30,
                may_be_cname: false,
                default: None,
            })
            .into(),
        base: Base::Nothing,
        is_transferred: false,
    };
    let (zones, problems) = compile(&[zone]);
    let zones = zones.unwrap_or_else(|| panic!("{problems:?}"));
    let (world, steering) = (world(), steering());
    let (health, standing) = (HealthTable::default(), StandingTable::default());
    let groups = Groups::form(&world, 4_000, &[]);
    let shares = ShareTable::default().with_allotments([None, Some(Arc::new(allotment(&groups)))]);
    let resolved = ResolvedTable::default();
    let facts = Facts {
        world: &world,
        groups: &groups,
        steering: &steering,
        health: &health,
        standing: &standing,
        resolved: &resolved,
        shares: &shares,
    };
    let surveys = survey_all(&world, &groups, &steering);
    let charts = steering.policies.iter().zip(&surveys);
    let mut sheets = Sheets::default();
    let charts =
        charts.map(|(policy, survey)| Arc::new(Chart::new(policy, survey, &facts, &mut sheets)));
    Snapshot {
        generation: 1,
        epoch: 0,
        charts: charts.collect(),
        zones: Arc::new(zones),
        announcers: Arc::default(),
        keys: Arc::default(),
        identity: Arc::default(),
        transfers: Arc::default(),
        journals: Arc::default(),
        steering: Arc::new(steering),
        world: Arc::new(world),
        groups: Arc::new(groups),
        health: Arc::new(health),
        standing: Arc::new(standing),
        resolved: Arc::new(resolved),
        shares: Arc::new(shares),
    }
}

/// Networks of every size, at random places.
fn world() -> World {
    let mut lots = fastrand::Rng::with_seed(1);
    let unknown = Location::default();
    let places = (0..PLACES).map(|number| Location {
        country: "US".parse().ok(),
        region: Some(number.to_string().into()),
        coordinates: Coordinates::new(lots.f64() * 150.0 - 75.0, lots.f64() * 360.0 - 180.0),
        ..Location::default()
    });
    let locations: Box<[Location]> = [unknown].into_iter().chain(places).collect();
    let mut starts: Vec<u32> = (0..NETWORKS).map(|_| lots.u32(..) & !0xff).collect();
    starts.push(0);
    starts.sort_unstable();
    starts.dedup();
    let v4 = starts.into_iter().map(|start| (start, lots.u32(1..=PLACES)));
    World::new(RangeTable::from_starts(v4.collect::<Vec<_>>()), RangeTable::constant(0), locations)
}

fn steering() -> Steering {
    let sites = [
        ("fra", 50.1, 8.7),
        ("iad", 38.9, -77.5),
        ("nrt", 35.8, 140.4),
        ("gru", -23.4, -46.5),
        ("syd", -33.9, 151.2),
        ("bom", 19.1, 72.9),
        ("jnb", -26.1, 28.2),
        ("sjc", 37.4, -121.9),
    ];
    let datacenters = sites.map(|(name, latitude, longitude)| Datacenter {
        name: name.into(),
        location: Location {
            coordinates: Coordinates::new(latitude, longitude),
            ..Location::default()
        },
        bias: 0,
        cost_ms: 0.0,
    });
    let member = |pool: u8, number: u8| Member {
        id: MemberId((pool * 8 + number).into()),
        datacenter: DatacenterId(number.into()),
        weight: 1,
        target: Target::Addresses {
            v4: Box::new([(Ipv4Addr::new(203, 0, 113, number), None)]),
            v6: Box::new([]),
        },
    };
    let pool = |number: u8, steer: Steer| Pool {
        zone: name("example.com."),
        name: "web".into(),
        is_twin: false,
        steer,
        ttl: 30,
        ttl_min: 30,
        share: 1.0,
        answers: 1,
        min_healthy: 1,
        when_all_down: WhenAllDown::AnswerAll,
        members: (0..8).map(|one| member(number, one)).collect(),
    };
    let pools = [pool(0, Steer::Nearest), pool(1, Steer::Capacity)];
    let everybody = |pool| Rule { matches: Match::default(), pool: PoolId(pool) };
    let policies = [0, 1].map(|pool| Policy { rules: Box::new([everybody(pool)]) });
    Steering {
        datacenters: datacenters.into(),
        pools: Box::new(pools),
        policies: Box::new(policies),
    }
}

/// Every group to one datacenter, but one in eight to two.
fn allotment(groups: &Groups) -> Allotment {
    let parts = (0..groups.list().len() as u32).map(|group| {
        let order: Box<[u16]> = (0..8).map(|n| ((group + n) % 8) as u16).collect();
        let among = if group % 8 == 0 { 2 } else { 1 };
        let weights = order.iter().take(among).map(|&member| (member, 300)).collect();
        Part { weights, order, ttl: 30 }
    });
    let parts: Box<[Part]> = parts.collect();
    Allotment { by_group: (0..parts.len() as u32).collect(), parts }
}

fn name(text: &str) -> Name {
    text.parse().expect("a name of the corpus")
}

/// How the queries of a case come.
pub fn request() -> Request {
    Request {
        source: IpAddr::from([198, 51, 100, 99]),
        transport: Transport::Udp,
        draw: 0x1234_5678,
        unix_seconds: 0,
    }
}

/// A kind of query, and many of that kind.
pub struct Case {
    /// Its name on the command line.
    pub name: &'static str,
    /// The messages.
    pub packets: Vec<Vec<u8>>,
}

/// Every kind.
pub fn cases() -> Vec<Case> {
    let host = |number: usize| format!("host-{}.example.com.", number * 7919 % NAMES);
    let case = |name, packet: &dyn Fn(usize) -> Vec<u8>| Case {
        name,
        packets: (0..NAMES).map(packet).collect(),
    };
    let lots = std::cell::RefCell::new(fastrand::Rng::with_seed(2));
    let subnet = || {
        let network = lots.borrow_mut().u32(..);
        let [a, b, c, _] = network.to_be_bytes();
        vec![0, 8, 0, 7, 0, 1, 24, 0, a, b, c]
    };
    vec![
        case("static", &|n| packet(&host(n), Rtype::A, None)),
        case("static-edns", &|n| packet(&host(n), Rtype::A, Some(&[]))),
        case("nodata", &|n| packet(&host(n), Rtype::AAAA, Some(&[]))),
        case("nxdomain", &|n| packet(&format!("no-{n}.example.com."), Rtype::A, Some(&[]))),
        case("wildcard", &|n| packet(&format!("w{n}.wild.example.com."), Rtype::A, Some(&[]))),
        case("referral", &|n| packet(&format!("w{n}.sub.example.com."), Rtype::A, Some(&[]))),
        case("alias", &|_| packet("alias.example.com.", Rtype::A, Some(&[]))),
        case("redirected", &|n| packet(&format!("w{n}.moved.example.com."), Rtype::A, Some(&[]))),
        case("mx", &|_| packet("example.com.", Rtype::MX, Some(&[]))),
        case("any", &|n| packet(&host(n), Rtype::ANY, Some(&[]))),
        case("refused", &|_| packet("www.example.net.", Rtype::A, Some(&[]))),
        case("steered-ecs", &|_| packet("steered.example.com.", Rtype::A, Some(&subnet()))),
        case("https-ecs", &|_| packet("steered.example.com.", Rtype::HTTPS, Some(&subnet()))),
        case("by-load-ecs", &|_| packet("by-load.example.com.", Rtype::A, Some(&subnet()))),
        case("to-steered-ecs", &|_| packet("to-steered.example.com.", Rtype::A, Some(&subnet()))),
        case("garbage", &|n| (0..n % 97).map(|byte| (byte * 31 % 251) as u8).collect()),
    ]
}

fn packet(owner: &str, rtype: Rtype, options: Option<&[u8]>) -> Vec<u8> {
    let mut packet = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(options.is_some())];
    packet.extend(name(owner).as_wire());
    packet.extend(rtype.0.to_be_bytes());
    packet.extend([0, 1]);
    if let Some(options) = options {
        packet.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, options.len() as u8]);
        packet.extend(options);
    }
    packet
}
