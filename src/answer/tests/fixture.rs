//! A small zone with something of everything, and four policies: what the tests ask.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::decide::survey::survey_all;
use crate::decide::{
    Chart, DatacenterId, Facts, Groups, HealthTable, Match, Member, MemberId, Policy, PolicyId,
    Pool, PoolId, ResolvedTable, Rule, ShareTable, Sheets, StandingTable, Steer, Steering, Target,
    WhenAllDown,
};
use crate::geo::World;
use crate::snapshot::{Identity, Snapshot};
use crate::zone::{Base, Settings, Source, Steered, Zones, compile};

const ZONE: &str = r#"
@        SOA   ns1 hostmaster 7 2h 15m 2w 5m
@        NS    ns1
@        NS    ns.example.net.
ns1      A     198.51.100.53
www      A     198.51.100.80
www      A     198.51.100.81
www      AAAA  2001:db8::80
@        MX    10 mail
mail     A     198.51.100.25
*.wild   TXT   "anything"
alias    CNAME www
far      CNAME www.example.net.
to-none  CNAME none
to-child CNAME www.child
to-sub   CNAME www.sub
to-geo   CNAME geo
to-mix   CNAME to-far
loop1    CNAME loop2
loop2    CNAME loop3
loop3    CNAME loop2
self     CNAME self
sub      NS    ns.sub
sub      NS    ns.example.net.
ns.sub   A     198.51.100.54
child    NS    ns1
dname    DNAME Wild
dname    TXT   "own"
to-dname CNAME X.dname
deep     DNAME dname
far-off  DNAME example.net.
again    DNAME x.again
geo      600 HTTPS 2 . alpn=h2 ech=AAEC port=8443 ipv4hint=198.51.100.9 mandatory=port,ipv4hint
geo      10 SVCB 1 www alpn=h2 ipv4hint=198.51.100.9
_x.geo   SVCB  1 Geo port=53
_x.geo   SVCB  2 www ipv4hint=198.51.100.80
*.geo    HTTPS 1 .
by-load  HTTPS 1 .
v6-less  HTTPS 1 by-load
to-mix-s SVCB  1 to-far
alias-1  HTTPS 0 alias-2
alias-2  HTTPS 0 geo
alias-3  HTTPS 0 alias-4
alias-4  HTTPS 0 alias-3
none-s   HTTPS 0 .
*.wild   HTTPS 1 .
*.wild   A     198.51.100.91
mx-geo   MX    10 geo
mx-geo   MX    20 mail
srv-load SRV   0 0 443 by-load
full     MX    10 geo
"#;

const CHILD: &str = "
@   SOA ns1.example.com. hostmaster.example.com. 7 2h 15m 2w 5m
@   NS  ns1.example.com.
www A   198.51.100.90
";

/// Policies: 0 answers 203.0.113.1 and 2001:db8::1 within 198.51.100.0/25, and 203.0.113.2 without
/// IPv6 elsewhere; 1 and 2 answer CNAMEs out of and in the zone; 3 answers 203.0.113.5 by capacity.
pub(crate) fn snapshot() -> Snapshot {
    let long = (0..40).map(|n| format!("long TXT \"{n} {}\"\n", "x".repeat(40)));
    let chain = (0..30).map(|n| format!("c{n} CNAME c{}\n", n + 1));
    let full = (0..22).map(|n| format!("full MX 20 mail-with-a-long-name-{n:02}.example.net.\n"));
    let wide = (1..13).map(|n| format!("wide HTTPS {n} geo port={n}\n"));
    let text = ZONE.to_owned() + &long.chain(chain).chain(full).chain(wide).collect::<String>();
    let steered = |owner: &str, policy, may_be_cname| Steered {
        owner: owner.parse().unwrap(),
        policy: PolicyId(policy),
        ttl: 20,
        may_be_cname,
        default: None,
    };
    let zone = |origin: &str, text: String, steered: Vec<Steered>| Settings {
        origin: origin.parse().unwrap(),
        default_ttl: 300,
        sources: vec![Source { file: "zone".into(), text, included_by: None }],
        steered,
        base: Base::Nothing,
        is_transferred: false,
    };
    let steered = vec![
        steered("geo.example.com.", 0, false),
        steered("to-far.example.com.", 1, true),
        steered("to-near.example.com.", 2, true),
        steered("by-load.example.com.", 3, false),
        steered("*.geo.example.com.", 0, false),
    ];
    let (zones, problems) = compile(&[
        zone("example.com.", text, steered),
        zone("child.example.com.", CHILD.into(), vec![]),
        Settings { base: Base::Awaited, ..zone("awaited.example.com.", String::new(), vec![]) },
        Settings { base: Base::Expired, ..zone("expired.example.com.", String::new(), vec![]) },
    ]);
    let zones = zones.unwrap_or_else(|| panic!("{problems:?}"));

    let east = Target::Addresses {
        v4: Box::new([(Ipv4Addr::new(203, 0, 113, 1), None)]),
        v6: Box::new([("2001:db8::1".parse::<Ipv6Addr>().unwrap(), None)]),
    };
    let west = Target::Addresses {
        v4: Box::new([(Ipv4Addr::new(203, 0, 113, 2), None)]),
        v6: Box::new([]),
    };
    let cname = |name: &str| Target::Cname { name: name.parse().unwrap(), probe: None };
    let loaded = Target::Addresses {
        v4: Box::new([(Ipv4Addr::new(203, 0, 113, 5), None)]),
        v6: Box::new([]),
    };
    let targets = [east, west, cname("Www.Example.net."), cname("ALIAS.example.com."), loaded];
    let pools = targets.into_iter().zip(0..).map(|(target, number)| pool(number, target));
    let rule = |network: Option<&str>, pool| Rule {
        matches: Match {
            network: network.map(|network| network.parse().unwrap()).into_iter().collect(),
            ..Match::default()
        },
        pool: PoolId(pool),
    };
    let policies = Box::new([
        Policy { rules: Box::new([rule(Some("198.51.100.0/25"), 0), rule(None, 1)]) },
        Policy { rules: Box::new([rule(None, 2)]) },
        Policy { rules: Box::new([rule(None, 3)]) },
        Policy { rules: Box::new([rule(None, 4)]) },
    ]);
    let datacenter = crate::decide::Datacenter {
        name: "one".into(),
        location: crate::geo::Location::default(),
        bias: 0,
        cost_ms: 0.0,
    };
    let steering =
        Steering { datacenters: Box::new([datacenter]), pools: pools.collect(), policies };
    assembled(zones, steering, HealthTable::default(), ResolvedTable::default())
}

/// A snapshot of a world of which nothing is known.
pub(crate) fn assembled(
    zones: Zones,
    steering: Steering,
    health: HealthTable,
    resolved: ResolvedTable,
) -> Snapshot {
    let world = World::unknown();
    let (standing, shares) = (StandingTable::default(), ShareTable::default());
    let groups = Groups::form(&world, 100, &[]);
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
        identity: Arc::new(Identity { name: "fra-1".into(), version: None }),
        generation: 1,
        epoch: 0,
        zones: Arc::new(zones),
        announcers: Arc::default(),
        keys: Arc::default(),
        transfers: Arc::default(),
        journals: Arc::default(),
        charts: charts.collect(),
        steering: Arc::new(steering),
        world: Arc::new(world),
        groups: Arc::new(groups),
        health: Arc::new(health),
        standing: Arc::new(standing),
        resolved: Arc::new(resolved),
        shares: Arc::new(shares),
    }
}

fn pool(number: u32, target: Target) -> Pool {
    Pool {
        zone: "example.com.".parse().unwrap(),
        name: "pool".into(),
        is_twin: false,
        steer: if number == 4 { Steer::Capacity } else { Steer::Failover },
        ttl: 20,
        ttl_min: 20,
        share: 1.0,
        answers: 1,
        min_healthy: 1,
        when_all_down: WhenAllDown::AnswerAll,
        members: Box::new([Member {
            id: MemberId(number),
            datacenter: DatacenterId(0),
            weight: 1,
            target,
        }]),
    }
}
