//! What must hold for every decision.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::IpNet;
use proptest::prelude::*;

use super::group::MOST_GROUPS;
mod allotments;
mod defaults;
mod flattened;

use super::plan::Holding;
use super::plan::Plan;
use super::survey::survey_all;
use super::*;
use crate::dns::{Name, Rtype};
use crate::geo::{Coordinates, Location, RangeTable, World};

/// A world of four quarters of the IPv4 space: US, DE, JP, and nothing known.
fn quarters() -> World {
    let place = |continent: &str, country: &str, latitude, longitude| Location {
        continent: continent.parse().ok(),
        country: country.parse().ok(),
        coordinates: Coordinates::new(latitude, longitude),
        ..Location::default()
    };
    let locations = Box::new([
        Location::default(),
        place("NA", "US", 39.0, -98.0),
        place("EU", "DE", 51.0, 10.0),
        place("AS", "JP", 36.0, 138.0),
    ]);
    let quarter = |n: u32| n << 30;
    let v4 = [(0, 1), (quarter(1), 2), (quarter(2), 3), (quarter(3), 0)];
    World::new(RangeTable::from_starts(v4), RangeTable::constant(0), locations)
}

const IN_US: &str = "20.0.0.1";
const IN_DE: &str = "80.0.0.1";
const IN_JP: &str = "150.0.0.1";
const NOWHERE: &str = "203.0.113.1";

fn datacenters() -> Box<[Datacenter]> {
    let datacenter = |name: &str, latitude, longitude| Datacenter {
        name: name.into(),
        location: Location {
            coordinates: Coordinates::new(latitude, longitude),
            ..Location::default()
        },
        bias: 0,
        cost_ms: 0.0,
    };
    Box::new([
        datacenter("fra", 50.11, 8.68),
        datacenter("iad", 38.95, -77.45),
        datacenter("nrt", 35.77, 140.39),
    ])
}

/// Members in fra, iad and nrt with addresses 198.51.100.{1,2,3} and probes {0,1,2}.
fn pool(steer: Steer, first_member: u32) -> Pool {
    let member = |index: u16| Member {
        id: MemberId(first_member + u32::from(index)),
        datacenter: DatacenterId(index),
        weight: 1,
        target: Target::Addresses {
            v4: Box::new([(
                Ipv4Addr::new(198, 51, 100, 1 + index as u8),
                Some(ProbeId(u32::from(index))),
            )]),
            v6: Box::new([]),
        },
    };
    Pool {
        zone: "example.com.".parse().unwrap(),
        name: "web".into(),
        is_twin: false,
        steer,
        ttl: 30,
        ttl_min: 30,
        share: 1.0,
        answers: 1,
        min_healthy: 1,
        when_all_down: WhenAllDown::AnswerAll,
        members: Box::new([member(0), member(1), member(2)]),
    }
}

/// The facts of a test, to be changed before asking.
#[derive(Debug)]
struct Given {
    world: World,
    steering: Steering,
    up: [bool; 3],
    standing: Vec<Standing>,
    room: [Room; 3],
    resolved: ResolvedTable,
    /// By pool.
    allotments: Vec<Option<Arc<Allotment>>>,
    promoted: Vec<IpNet>,
}

fn given(pools: Vec<Pool>, rules: Vec<Rule>) -> Given {
    let policies = Box::new([Policy { rules: rules.into() }]);
    let steering = Steering { datacenters: datacenters(), pools: pools.into(), policies };
    Given {
        world: quarters(),
        steering,
        up: [true; 3],
        standing: vec![Standing::Normal; 6],
        room: [Room::Unknown; 3],
        resolved: ResolvedTable::default(),
        allotments: Vec::new(),
        promoted: Vec::new(),
    }
}

fn given_pool(pool: Pool) -> Given {
    given(vec![pool], vec![everybody(0)])
}

fn everybody(pool: u32) -> Rule {
    Rule { matches: Match::default(), pool: PoolId(pool) }
}

fn client(address: &str) -> Client {
    let address: IpAddr = address.parse().unwrap();
    Client { address, resolver: address, draw: 0 }
}

impl Given {
    fn with<T>(&self, then: impl FnOnce(&Chart, &Facts) -> T) -> T {
        let health = HealthTable::new(self.up);
        let standing = StandingTable::new(self.standing.iter().copied());
        let shares = ShareTable::new(self.room).with_allotments(self.allotments.clone());
        let groups = Groups::form(&self.world, MOST_GROUPS, &self.promoted);
        let facts = Facts {
            world: &self.world,
            groups: &groups,
            steering: &self.steering,
            health: &health,
            standing: &standing,
            resolved: &self.resolved,
            shares: &shares,
        };
        let surveys = survey_all(&self.world, &groups, &self.steering);
        let policy = &self.steering.policies[0];
        then(&Chart::new(policy, &surveys[0], &facts, &mut Sheets::default()), &facts)
    }

    /// The last octets of the A records, and the scope.
    fn ask(&self, client: Client) -> (Vec<u8>, u8) {
        self.with(|chart, _| {
            let decision = chart.decide(&client, Rtype::A);
            let octets = match &decision.choice {
                Choice::V4(chosen) => chosen.iter().map(|address| address.octets()[3]).collect(),
                _ => Vec::new(),
            };
            (octets, decision.scope)
        })
    }

    fn verdicts(&self, address: &str) -> Vec<(String, explain::Verdict)> {
        self.with(|chart, facts| {
            let told = explain(PolicyId(0), &client(address), Rtype::A, chart, facts);
            let members = told.pools.last().map(|pool| pool.members.clone()).unwrap_or_default();
            members.into_iter().map(|member| (member.datacenter, member.verdict)).collect()
        })
    }
}

const FRA: u8 = 1;
const IAD: u8 = 2;
const NRT: u8 = 3;

/// How members in fra and iad answer for each family, with an own probe for each address:
/// fra 0 and 1, iad 2 and the one without.
fn dual(steer: Steer, when_all_down: WhenAllDown, up: [bool; 3]) -> (Vec<u8>, Vec<u8>) {
    let addresses = |last: u8, v4: ProbeId, v6: Option<ProbeId>| Target::Addresses {
        v4: Box::new([(Ipv4Addr::new(198, 51, 100, last), Some(v4))]),
        v6: Box::new([(format!("2001:db8::{last}").parse().unwrap(), v6)]),
    };
    let mut pool = Pool { when_all_down, ..pool(steer, 0) };
    pool.members = pool.members[..2].into();
    pool.members[0].target = addresses(1, ProbeId(0), Some(ProbeId(1)));
    pool.members[1].target = addresses(2, ProbeId(2), None);
    Given { up, ..given_pool(pool) }.with(|chart, _| {
        let asked = |rtype| match chart.decide(&client(IN_DE), rtype).choice {
            Choice::V4(chosen) => chosen.iter().map(|address| address.octets()[3]).collect(),
            Choice::V6(chosen) => chosen.iter().map(|address| address.octets()[15]).collect(),
            _ => Vec::new(),
        };
        (asked(Rtype::A), asked(Rtype::AAAA))
    })
}

#[test]
fn where_one_family_is_down_its_clients_go_on_and_the_others_stay() {
    use Steer::*;
    for steer in [Nearest, Capacity, Failover] {
        let ask = |up| dual(steer, WhenAllDown::NoData, up);
        assert_eq!(ask([true, true, true]), (vec![1], vec![1]), "{steer:?}");
        assert_eq!(ask([false, true, true]), (vec![2], vec![1]), "{steer:?}");
        assert_eq!(ask([true, false, true]), (vec![1], vec![2]), "{steer:?}");
        assert_eq!(ask([false, false, true]), (vec![2], vec![2]), "{steer:?}");
        // Nobody has it: as the pool does when all are down.
        assert_eq!(ask([false, true, false]), (vec![], vec![1]), "{steer:?}");
        let open = dual(steer, WhenAllDown::AnswerAll, [false, true, false]);
        assert_eq!(open, (vec![1], vec![1]), "{steer:?}");
    }
    for steer in [Weighted, RoundRobin, Hash] {
        let (v4, _) = dual(steer, WhenAllDown::NoData, [false, true, true]);
        assert_eq!(v4, [2], "{steer:?}");
        let (v4, v6) = dual(steer, WhenAllDown::AnswerAll, [false, true, false]);
        assert_eq!((v4.len(), v6.len()), (1, 1), "{steer:?}");
    }
}

#[test]
fn the_nearest_datacenter_answers_and_its_whole_area_is_the_scope() {
    let given = given_pool(pool(Steer::Nearest, 0));
    assert_eq!(given.ask(client(IN_US)), (vec![IAD], 2));
    assert_eq!(given.ask(client(IN_DE)), (vec![FRA], 2));
    assert_eq!(given.ask(client(IN_JP)), (vec![NRT], 2));
}

#[test]
fn a_client_of_unknown_location_gets_the_first_of_the_file() {
    assert_eq!(given_pool(pool(Steer::Nearest, 0)).ask(client(NOWHERE)).0, [FRA]);
}

#[test]
fn pools_that_answer_alike_share_a_scope() {
    for steer in [Steer::Failover, Steer::Hash, Steer::Weighted] {
        let mut other = Pool { name: "other".into(), ..pool(steer, 3) };
        other.members.reverse();
        let in_us = Match { country: Box::new(["US".parse().unwrap()]), ..Match::default() };
        let rules = vec![Rule { matches: in_us, pool: PoolId(0) }, everybody(1)];
        let mut given = given(vec![pool(Steer::Nearest, 0), other], rules);
        given.up = [true, false, false];
        assert_eq!(given.ask(client(IN_US)), (vec![1], 0), "{steer:?}");
    }
}

#[test]
fn an_ipv4_mapped_client_is_decided_as_the_ipv4_one() {
    for steer in [Steer::Nearest, Steer::Hash] {
        let given = given_pool(pool(steer, 0));
        let (answer, scope) = given.ask(client(IN_JP));
        let mapped = client("::ffff:150.0.0.1");
        assert_eq!(given.ask(mapped), (answer, 96 + scope));
        given.with(|chart, facts| {
            let told = explain(PolicyId(0), &mapped, Rtype::A, chart, facts);
            assert_eq!(told.location.country, "JP".parse().ok());
            assert_eq!(told.location_prefix, "::ffff:128.0.0.0/98".parse().unwrap());
            assert_eq!(told.answer.scope.prefix_len(), 96 + scope);
        });
    }
}

#[test]
fn neighbours_that_decide_alike_share_a_scope() {
    let mut given = given_pool(pool(Steer::Nearest, 0));
    // Without fra, the German quarter goes where the American one goes.
    given.up[0] = false;
    assert_eq!(given.ask(client(IN_US)), (vec![IAD], 1));
    assert_eq!(given.ask(client(IN_DE)), (vec![IAD], 1));
    given.up[1] = false;
    assert_eq!(given.ask(client(IN_US)), (vec![NRT], 0));
}

#[test]
fn bias_attracts_and_repels() {
    let mut given = given_pool(pool(Steer::Nearest, 0));
    given.steering.datacenters[1].bias = 99;
    assert_eq!(given.ask(client(IN_DE)).0, [IAD]);
    given.steering.datacenters[1].bias = -99;
    assert_eq!(given.ask(client(IN_US)).0, [FRA]);
}

#[test]
fn failover_takes_the_first_that_is_up() {
    let mut given = given_pool(pool(Steer::Failover, 0));
    assert_eq!(given.ask(client(IN_JP)), (vec![FRA], 0));
    given.up[0] = false;
    assert_eq!(given.ask(client(IN_JP)), (vec![IAD], 0));
}

#[test]
fn capacity_takes_the_nearest_with_room() {
    let mut given = given_pool(pool(Steer::Capacity, 0));
    given.room = [Room::Full, Room::Free, Room::Free];
    assert_eq!(given.ask(client(IN_DE)).0, [IAD]);
    assert_eq!(given.verdicts(IN_DE)[1], ("fra".into(), explain::Verdict::Full));
    given.room = [Room::Unknown, Room::Unknown, Room::Free];
    assert_eq!(given.ask(client(IN_DE)).0, [NRT]);
    assert_eq!(given.verdicts(IN_DE)[1], ("fra".into(), explain::Verdict::NoLiveReport));
    given.room = [Room::Full, Room::Full, Room::Unknown];
    assert_eq!(given.ask(client(IN_DE)).0, [FRA], "with room nowhere, the nearest");
}

#[test]
fn weight_0_and_drain_take_no_new_clients() {
    let mut given = given_pool(pool(Steer::Failover, 0));
    given.steering.pools[0].members[0].weight = 0;
    given.standing[1] = Standing::Drained;
    assert_eq!(given.ask(client(IN_DE)).0, [NRT]);
    let verdicts = given.verdicts(IN_DE);
    assert!(verdicts.contains(&("fra".into(), explain::Verdict::NoWeight)));
    assert!(verdicts.contains(&("iad".into(), explain::Verdict::Drained)));
}

#[test]
fn a_plan_is_explained_by_the_clients_group_and_what_it_is_given() {
    let mut given = given_pool(pool(Steer::Capacity, 0));
    let groups = Groups::form(&given.world, MOST_GROUPS, &[]);
    let GroupId(german) = groups.group_of(&given.world, IN_DE.parse().unwrap());
    let part =
        |weights: &[(u16, u32)]| Part { weights: weights.into(), order: [2, 1, 0].into(), ttl: 15 };
    let mut by_group = vec![0; groups.list().len()];
    by_group[german as usize] = 1;
    let parts = [part(&[(2, 1)]), part(&[(1, 3), (2, 1)])];
    let allotment = Allotment { by_group: by_group.into(), parts: parts.into() };
    given.allotments = vec![Some(Arc::new(allotment))];
    given.with(|chart, facts| {
        let told = explain(PolicyId(0), &client(IN_DE), Rtype::A, chart, facts);
        let pool = told.pools.last().unwrap();
        let group = pool.group.as_ref().unwrap();
        assert_eq!(&*group.name, &*groups.group(GroupId(german)).name);
        assert_eq!(group.parts, [("iad".into(), 0.75), ("nrt".into(), 0.25)]);
        assert_eq!((told.answer.ttl, told.answer.scope.prefix_len()), (15, 24));
        let [first, second, last] = &pool.members[..] else { panic!("three members") };
        assert_eq!(first.verdict, explain::Verdict::Chosen);
        assert_eq!(second.verdict, explain::Verdict::NotDrawn);
        let fra = (last.datacenter.as_str(), last.verdict);
        assert_eq!(fra, ("fra", explain::Verdict::NotPlanned), "though it is the nearest");
    });
}

#[test]
fn the_operators_word_beats_the_probes() {
    let mut given = given_pool(pool(Steer::Failover, 0));
    given.up = [false, true, true];
    given.standing[0] = Standing::ForcedUp;
    assert_eq!(given.ask(client(IN_DE)).0, [FRA]);
    given.standing[0] = Standing::ForcedDown;
    given.up[0] = true;
    assert_eq!(given.ask(client(IN_DE)).0, [IAD]);
}

#[test]
fn when_all_are_down_the_pool_does_as_it_was_told() {
    let mut given = given(
        vec![pool(Steer::Failover, 0), Pool { name: "sorry".into(), ..pool(Steer::Failover, 3) }],
        vec![everybody(0)],
    );
    given.up = [false; 3];
    assert_eq!(given.ask(client(IN_DE)).0, [FRA], "fail open");
    given.steering.pools[0].when_all_down = WhenAllDown::NoData;
    assert_eq!(given.ask(client(IN_DE)).0, [0u8; 0]);
    given.steering.pools[0].when_all_down = WhenAllDown::Pool(PoolId(1));
    given.standing[5] = Standing::ForcedUp;
    assert_eq!(given.ask(client(IN_DE)).0, [NRT], "the fallback pool's one forced member");
}

#[test]
fn failing_open_spares_what_the_operator_took_out() {
    let mut given = given_pool(pool(Steer::Failover, 0));
    given.up = [false; 3];
    given.standing[0] = Standing::Drained;
    assert_eq!(given.ask(client(IN_DE)).0, [IAD]);
    given.standing = vec![Standing::ForcedDown; 3];
    assert_eq!(given.ask(client(IN_DE)).0, [FRA], "an answer beats none");
}

#[test]
fn fewer_healthy_members_than_the_minimum_is_down() {
    let mut given = given(
        vec![pool(Steer::Failover, 0), pool(Steer::Failover, 3)],
        vec![everybody(0), everybody(1)],
    );
    given.steering.pools[0].min_healthy = 2;
    given.standing = vec![Standing::ForcedDown; 6];
    given.standing[1] = Standing::Normal;
    given.standing[5] = Standing::ForcedUp;
    assert_eq!(given.ask(client(IN_DE)).0, [NRT], "falls through to the next rule");
}

#[test]
fn the_first_rule_that_matches_and_whose_pool_is_up_chooses() {
    let only = |index: u16, first: u32| {
        let mut pool = pool(Steer::Failover, first);
        pool.members = Box::new([pool.members[usize::from(index)].clone()]);
        pool
    };
    let country = |code: &str, pool: u32| Rule {
        matches: Match { country: Box::new([code.parse().unwrap()]), ..Match::default() },
        pool: PoolId(pool),
    };
    let mut given = given(vec![only(0, 0), only(1, 1)], vec![country("JP", 1), everybody(0)]);
    assert_eq!(given.ask(client(IN_JP)), (vec![IAD], 2));
    assert_eq!(given.ask(client(IN_DE)), (vec![FRA], 1));
    given.up[1] = false;
    assert_eq!(given.ask(client(IN_JP)), (vec![FRA], 0));
}

#[test]
fn rules_ask_for_networks_and_resolvers() {
    let only = |index: u16, first: u32| {
        let mut pool = pool(Steer::Failover, first);
        pool.members = Box::new([pool.members[usize::from(index)].clone()]);
        pool
    };
    let network = Match { network: Box::new(["80.1.0.0/16".parse().unwrap()]), ..Match::default() };
    let resolver =
        Match { resolver: Box::new(["198.51.100.0/24".parse().unwrap()]), ..Match::default() };
    let given = given(
        vec![only(0, 0), only(1, 1), only(2, 2)],
        vec![
            Rule { matches: network, pool: PoolId(1) },
            Rule { matches: resolver, pool: PoolId(2) },
            everybody(0),
        ],
    );
    assert_eq!(given.ask(client("80.1.2.3")), (vec![IAD], 16));
    assert_eq!(given.ask(client("80.2.2.3")), (vec![FRA], 15));
    let asked_by =
        |resolver: &str| Client { resolver: resolver.parse().unwrap(), ..client("80.2.2.3") };
    assert_eq!(given.ask(asked_by("198.51.100.9")), (vec![NRT], 15));
    assert_eq!(given.ask(asked_by("198.51.101.9")), (vec![FRA], 15));
}

#[test]
fn both_families_of_a_client_go_to_one_datacenter() {
    let mut given = given_pool(pool(Steer::Nearest, 0));
    let v6 = "2001:db8::2".parse().unwrap();
    if let Target::Addresses { v6: list, .. } = &mut given.steering.pools[0].members[1].target {
        *list = Box::new([(v6, None)]);
    }
    given.with(|chart, _| {
        let ask = |address| chart.decide(&client(address), Rtype::AAAA).choice;
        assert_eq!(ask(IN_US), Choice::V6([v6].into_iter().collect()));
        assert_eq!(ask(IN_DE), Choice::NoData, "fra has no IPv6; iad would be another datacenter");
    });
}

#[test]
fn no_data_has_a_scope_only_where_others_get_data() {
    let mut given = given_pool(pool(Steer::Nearest, 0));
    let scope = |given: &Given, address| {
        given.with(|chart, _| chart.decide(&client(address), Rtype::AAAA).scope)
    };
    assert_eq!(scope(&given, IN_DE), 0);
    if let Target::Addresses { v6, .. } = &mut given.steering.pools[0].members[1].target {
        *v6 = Box::new([("2001:db8::2".parse().unwrap(), None)]);
    }
    assert_eq!(scope(&given, IN_DE), 2, "or a client of iad could be told that it has none");
}

#[test]
fn several_answers_come_from_the_next_best_datacenters() {
    let mut given = given_pool(pool(Steer::Nearest, 0));
    given.steering.pools[0].answers = 2;
    assert_eq!(given.ask(client(IN_US)).0, [IAD, FRA]);
    given.steering.pools[0].answers = 16;
    assert_eq!(given.ask(client(IN_JP)).0, [NRT, FRA, IAD]);
}

#[test]
fn a_cname_member_answers_every_type() {
    let mut given = given_pool(pool(Steer::Failover, 0));
    let name: Name = "www.cdn.example.net.".parse().unwrap();
    given.steering.pools[0].members[0].target = Target::Cname { name: name.clone(), probe: None };
    given.with(|chart, _| {
        for rtype in [Rtype::A, Rtype::AAAA, Rtype::TXT, Rtype::CNAME] {
            assert_eq!(chart.decide(&client(IN_DE), rtype).choice, Choice::Cname(&name));
        }
    });
}

/// How often each datacenter answers, in thousandths, over many clients or draws.
fn shares(given: &Given, clients: impl Iterator<Item = Client>) -> [u32; 4] {
    given.with(|chart, _| {
        let (mut count, mut total) = ([0u32; 4], 0);
        for client in clients {
            let Choice::V4(chosen) = chart.decide(&client, Rtype::A).choice else { panic!() };
            count[usize::from(chosen[0].octets()[3])] += 1;
            total += 1;
        }
        count.map(|n| n * 1000 / total)
    })
}

fn many_draws() -> impl Iterator<Item = Client> {
    (0..20_000).map(|draw| Client { draw, ..client(IN_DE) })
}

fn many_subnets() -> impl Iterator<Item = Client> {
    (0..20_000u32).map(|n| client(&Ipv4Addr::from(0x0a00_0000 + (n << 8)).to_string()))
}

#[test]
fn weighted_and_hash_answer_in_proportion_to_the_weights_and_round_robin_evenly() {
    for (steer, clients) in [
        (Steer::Weighted, many_draws().collect::<Vec<_>>()),
        (Steer::Hash, many_subnets().collect()),
    ] {
        let mut given = given_pool(pool(steer, 0));
        given.steering.pools[0].members[2].weight = 2;
        let shares = shares(&given, clients.into_iter());
        for (share, wanted) in shares[1..].iter().zip([250, 250, 500]) {
            assert!(share.abs_diff(wanted) < 15, "{steer:?}: {shares:?}");
        }
    }
    let even = shares(&given_pool(pool(Steer::RoundRobin, 0)), many_draws());
    assert!(even[1..].iter().all(|share| share.abs_diff(333) < 15), "{even:?}");
}

#[test]
fn a_hash_keeps_a_client_and_moves_only_what_must_move() {
    let mut given = given_pool(pool(Steer::Hash, 0));
    let ask_all = |given: &Given| -> Vec<u8> {
        given.with(|chart, _| {
            many_subnets()
                .map(|client| match chart.decide(&client, Rtype::A).choice {
                    Choice::V4(chosen) => chosen[0].octets()[3],
                    _ => 0,
                })
                .collect()
        })
    };
    let before = ask_all(&given);
    assert_eq!(given.ask(client("10.1.2.3")).0, given.ask(client("10.1.2.250")).0);
    assert_eq!(given.ask(client("10.1.2.3")).1, 24);
    given.up[2] = false;
    let without = ask_all(&given);
    let needless = before.iter().zip(&without).filter(|(b, w)| **b != NRT && b != w);
    assert_eq!(needless.count(), 0, "only the clients of the lost datacenter move");
    given.up[2] = true;
    given.steering.pools[0].members[0].weight = 2;
    let heavier = ask_all(&given);
    let astray = before.iter().zip(&heavier).filter(|(b, h)| b != h && **h != FRA);
    assert_eq!(astray.count(), 0, "whoever moves, moves to the datacenter that weighs more");
}

#[test]
fn an_explanation_names_the_rule_the_member_and_the_scope() {
    let given = given_pool(pool(Steer::Nearest, 0));
    given.with(|chart, facts| {
        let told = explain(PolicyId(0), &client(IN_DE), Rtype::A, chart, facts);
        assert_eq!(told.rules[0].outcome, explain::RuleOutcome::Chosen);
        assert_eq!(told.answer.records, ["198.51.100.1"]);
        assert_eq!(told.answer.scope.to_string(), "64.0.0.0/2");
        let members = &told.pools[0].members;
        assert_eq!(members[0].verdict, explain::Verdict::Chosen);
        assert_eq!(members[1].verdict, explain::Verdict::Farther);
        assert!(members[0].distance_km < members[1].distance_km);
    });
}

#[test]
fn policies_that_see_the_world_alike_share_what_is_known_of_it() {
    let second = Pool { name: "other".into(), ..pool(Steer::Nearest, 3) };
    let mut given = given(vec![pool(Steer::Nearest, 0), second], Vec::new());
    let policies = [0, 1].map(|pool| Policy { rules: Box::new([everybody(pool)]) });
    given.steering.policies = Box::new(policies);
    let shared = |given: &Given| {
        given.with(|_, facts| {
            let surveys = survey_all(facts.world, facts.groups, facts.steering);
            let mut sheets = Sheets::default();
            let charts = [0, 1].map(|index: usize| {
                let policy = &facts.steering.policies[index];
                Chart::new(policy, &surveys[index], facts, &mut sheets)
            });
            let again = Chart::new(
                &facts.steering.policies[0],
                &surveys[0],
                facts,
                &mut Sheets::of(&charts[1..]),
            );
            assert!(Arc::ptr_eq(&surveys[0].terrain, &surveys[1].terrain));
            (charts[0].shares_its_sheets_with(&charts[1]), again.shares_its_sheets_with(&charts[1]))
        })
    };
    assert_eq!(shared(&given), (true, true));
    given.standing[3] = Standing::Drained;
    assert_eq!(shared(&given), (false, false), "the second sends nobody to fra");
}

fn any_steer() -> impl Strategy<Value = Steer> {
    prop_oneof![
        Just(Steer::Capacity),
        Just(Steer::Nearest),
        Just(Steer::Weighted),
        Just(Steer::RoundRobin),
        Just(Steer::Failover),
        Just(Steer::Hash),
    ]
}

/// None, or anything that an allocator might say of the three members, the silly included.
fn any_allotment() -> impl Strategy<Value = Option<Allotment>> {
    let part = (
        proptest::collection::vec((0u16..4, 0u32..4), 0..4),
        Just(vec![0u16, 1, 2]).prop_shuffle(),
        0usize..=3,
        10u32..60,
    );
    let part = part.prop_map(|(mut weights, mut order, known, ttl)| {
        weights.sort_unstable();
        weights.dedup_by_key(|(member, _)| *member);
        order.truncate(known);
        Part { weights: weights.into(), order: order.into(), ttl }
    });
    let parts = proptest::collection::vec(part, 1..5);
    let allotment = (parts, proptest::collection::vec(0u32..5, 0..8))
        .prop_map(|(parts, of)| Allotment { by_group: of.into(), parts: parts.into() });
    proptest::option::of(allotment)
}

prop_compose! {
    /// Any facts: a patchwork world, two pools, rules by country and network.
    fn any_given()(
        cuts in proptest::collection::btree_map(any::<u32>(), 0u32..4, 0..40),
        steers in [any_steer(), any_steer()],
        answers in [1u8..4, 1u8..4],
        weights in proptest::array::uniform6(0u32..4),
        up in any::<[bool; 3]>(),
        standing in proptest::collection::vec(0u8..8, 6),
        room in proptest::array::uniform3(0u8..3),
        country in prop_oneof![Just("US"), Just("JP")],
        network in (any::<u32>(), 0u8..=32),
        min_healthy in 1u16..3,
        when_all_down in 0u8..3,
        allotments in [any_allotment(), any_allotment()],
        promoted in proptest::collection::vec((any::<u32>(), 16u8..=32), 0..3),
    ) -> Given {
        let mut first = pool(steers[0], 0);
        let mut second = Pool { name: "other".into(), ..pool(steers[1], 3) };
        // The same addresses as in the first, but at other places of the file.
        second.members.reverse();
        (first.answers, second.answers) = (answers[0], answers[1]);
        first.min_healthy = min_healthy;
        first.when_all_down = match when_all_down {
            0 => WhenAllDown::AnswerAll,
            1 => WhenAllDown::NoData,
            _ => WhenAllDown::Pool(PoolId(1)),
        };
        for (index, weight) in weights.into_iter().enumerate() {
            let pool = if index < 3 { &mut first } else { &mut second };
            pool.members[index % 3].weight = weight;
        }
        let network = ipnet::Ipv4Net::new(network.0.into(), network.1).unwrap().trunc();
        let rules = vec![
            Rule {
                matches: Match {
                    country: Box::new([country.parse().unwrap()]),
                    ..Match::default()
                },
                pool: PoolId(0),
            },
            Rule {
                matches: Match { network: Box::new([network.into()]), ..Match::default() },
                pool: PoolId(1),
            },
            everybody(0),
        ];
        let mut given = given(vec![first, second], rules);
        let mut starts = vec![(0u32, 0u32)];
        starts.extend(cuts.into_iter().filter(|(start, _)| *start > 0));
        given.world = World::new(
            RangeTable::from_starts(starts),
            RangeTable::constant(0),
            quarters().locations().into(),
        );
        given.up = up;
        given.standing = standing
            .into_iter()
            .map(|n| match n {
                0 => Standing::ForcedUp,
                1 => Standing::ForcedDown,
                2 => Standing::Drained,
                _ => Standing::Normal,
            })
            .collect();
        given.allotments = allotments.into_iter().map(|it| it.map(Arc::new)).collect();
        given.promoted = promoted
            .into_iter()
            .filter_map(|(bits, len)| IpNet::new(IpAddr::V4(bits.into()), len).ok())
            .collect();
        given.room = room.map(|n| [Room::Unknown, Room::Free, Room::Full][usize::from(n)]);
        given
    }
}

proptest! {
    #[test]
    fn a_chart_agrees_with_a_plan_made_for_the_client_alone(
        given in any_given(),
        addresses in proptest::collection::vec(any::<u32>(), 20),
        draw in any::<u64>(),
    ) {
        given.with(|chart, facts| {
            let policy = &given.steering.policies[0];
            for address in addresses {
                let address = IpAddr::V4(address.into());
                let client = Client { address, resolver: address, draw };
                let location = given.world.location(given.world.locate(address).0);
                let rules = || policy.rules.iter().map(|rule| &rule.matches);
                let here: Vec<bool> = rules()
                    .map(|m| m.location_mismatch(location).is_none() && m.network_holds(address))
                    .collect();
                let holding = Holding { here: &here, resolver: &[true; 3] };
                let group = facts.groups.group_of(facts.world, address);
                let plan = Plan::new(policy, holding, location, group, facts);
                let decision = chart.decide(&client, Rtype::A);
                prop_assert_eq!(&decision.choice, &plan.choose(&client, Rtype::A).choice);
                let told = explain(PolicyId(0), &client, Rtype::A, chart, facts);
                let in_answer = told.pools.last().map_or(0, |pool| {
                    pool.members.iter().filter(|m| m.verdict == explain::Verdict::Chosen).count()
                });
                prop_assert_eq!(in_answer, told.answer.records.len());
            }
            Ok(())
        })?;
    }

    #[test]
    fn every_client_inside_a_scope_is_decided_alike_and_no_wider_scope_would_do(
        given in any_given(),
        address in any::<u32>(),
        inside in proptest::collection::vec(any::<u32>(), 50),
        draw in any::<u64>(),
    ) {
        given.with(|chart, _| {
            let ask = |address: u32| {
                let address = IpAddr::V4(address.into());
                chart.decide(&Client { address, resolver: address, draw }, Rtype::A)
            };
            let decision = ask(address);
            let mask = |len: u8| if len == 0 { 0 } else { u32::MAX << (32 - len) };
            let within = mask(decision.scope);
            for other in inside.iter().map(|bits| (address & within) | (bits & !within)) {
                let there = ask(other);
                // Who is given to the nearest with room may be of any group.
                let group = decision.assignment.map(|assignment| assignment.group);
                let given = there.assignment.zip(group).map(|(it, group)| Assignment { group, ..it });
                prop_assert_eq!(&Decision { assignment: given, ..there }, &decision);
            }
            if decision.scope > 0 && decision.scope != 24 {
                // The sibling holds somebody who is planned otherwise: its bounds are looked at.
                let sibling = address ^ (1 << (32 - decision.scope));
                let base = sibling & within;
                let mut at = base;
                let alike = loop {
                    let there = ask(at);
                    let pool = |decision: &Decision| decision.assignment.map(|it| it.pool);
                    if (&there.choice, there.ttl, pool(&there))
                        != (&decision.choice, decision.ttl, pool(&decision))
                    {
                        break false;
                    }
                    if there.scope <= decision.scope {
                        break true;
                    }
                    let next = (at | !mask(there.scope)).wrapping_add(1);
                    if next & within != base {
                        break true;
                    }
                    at = next;
                };
                // Two plans may by chance draw the same; only ordered answers show the difference.
                // Where clients are given out by group, another group is another district.
                let ordered = given.steering.pools.iter().zip(&given.allotments).all(|(pool, given)| {
                    matches!(pool.steer, Steer::Nearest | Steer::Failover)
                        || (pool.steer == Steer::Capacity && given.is_none())
                });
                let ordered = ordered && given.steering.pools.iter().all(|pool| pool.answers == 1);
                prop_assert!(!(ordered && alike), "{address:#x}/{} could be wider", decision.scope);
            }
            Ok(())
        })?;
    }
}
