//! What must hold where clients are given out by group.

use super::*;
use crate::decide::plan::choose_pool;

/// Gives every group to these members with these weights; the order is that of the file.
fn given_out(weights: &[(u16, u32)]) -> Given {
    let allotments = vec![Some(Arc::new(all_to(weights)))];
    Given { allotments, ..given_pool(pool(Steer::Capacity, 0)) }
}

fn all_to(weights: &[(u16, u32)]) -> Allotment {
    let part = Part { weights: weights.into(), order: Box::new([0, 1, 2]), ttl: 17 };
    Allotment { by_group: vec![0; 4].into(), parts: Box::new([part]) }
}

/// The last octet of the first A record for each of many clients in the German quarter.
fn ask_all(given: &Given) -> Vec<u8> {
    given.with(|chart, _| {
        let ask = |n: u32| {
            let client = client(&Ipv4Addr::from(0x5000_0000 + (n << 8)).to_string());
            match chart.decide(&client, Rtype::A).choice {
                Choice::V4(chosen) => chosen[0].octets()[3],
                _ => 0,
            }
        };
        (0..20_000).map(ask).collect()
    })
}

#[test]
fn a_group_goes_where_it_is_given_and_its_whole_area_is_the_scope() {
    let mut given = given_out(&[(2, 5)]);
    assert_eq!(given.ask(client(IN_DE)), (vec![NRT], 2));
    given.with(|chart, facts| {
        let decision = chart.decide(&client(IN_DE), Rtype::A);
        assert_eq!(decision.ttl, 17);
        let assignment = decision.assignment.unwrap();
        assert_eq!((assignment.pool, assignment.datacenter), (PoolId(0), DatacenterId(2)));
        assert_eq!(&*facts.groups.group(assignment.group).name, "DE");
    });
    given.promoted = vec!["80.0.0.0/24".parse().unwrap()];
    assert_eq!(given.ask(client(IN_DE)), (vec![FRA], 24), "a group that was forgotten");
    assert_eq!(given.ask(client("80.0.1.0")), (vec![NRT], 24));
    assert_eq!(given.ask(client("90.0.0.0")), (vec![NRT], 5));
}

#[test]
fn before_anything_is_given_out_the_nearest_with_room_answers_and_is_written_down() {
    let mut given = given_pool(pool(Steer::Capacity, 0));
    given.room = [Room::Full, Room::Free, Room::Free];
    given.with(|chart, facts| {
        let decision = chart.decide(&client(IN_DE), Rtype::A);
        assert_eq!((decision.ttl, decision.scope), (30, 1), "as wide as it is decided alike");
        let assignment = decision.assignment.unwrap();
        assert_eq!(assignment.datacenter, DatacenterId(1));
        assert_eq!(&*facts.groups.group(assignment.group).name, "DE");
    });
}

#[test]
fn a_split_group_is_shared_by_the_weights_and_each_client_keeps_its_own() {
    let given = given_out(&[(0, 300), (1, 600), (2, 100)]);
    let all = ask_all(&given);
    for (member, wanted) in [(FRA, 0.3), (IAD, 0.6), (NRT, 0.1)] {
        let share = all.iter().filter(|one| **one == member).count() as f64 / all.len() as f64;
        assert!((share - wanted).abs() < 0.015, "{member}: {share}");
    }
    assert_eq!(given.ask(client("80.0.7.1")), given.ask(client("80.0.7.200")));
    assert_eq!(given.ask(client("80.0.7.1")).1, 24);
}

#[test]
fn when_weights_change_only_those_move_who_must() {
    let before = ask_all(&given_out(&[(0, 300), (1, 600), (2, 100)]));
    let shifted = ask_all(&given_out(&[(0, 300), (1, 600), (2, 200)]));
    let astray = before.iter().zip(&shifted).filter(|(b, s)| b != s && **s != NRT).count();
    assert_eq!(astray, 0, "whoever moves, moves to what weighs more");
    let moved = before.iter().zip(&shifted).filter(|(b, s)| b != s).count();
    let least = (2.0 / 11.0 - 0.1) * before.len() as f64;
    assert!((moved as f64) < least * 1.2, "{moved} of {least}");
    let without = ask_all(&given_out(&[(0, 300), (1, 600)]));
    let astray = before.iter().zip(&without).filter(|(b, w)| b != w && **b != NRT).count();
    assert_eq!(astray, 0, "only clients of the one that left move");
}

#[test]
fn who_is_not_fit_is_passed_over() {
    let mut given = given_out(&[(1, 1), (2, 1)]);
    let all = ask_all(&given);
    given.up[2] = false;
    assert!(ask_all(&given).iter().all(|one| *one == IAD), "the other that shares");
    given.up[1] = false;
    assert!(ask_all(&given).iter().all(|one| *one == FRA), "the first in order");
    given.up = [true; 3];
    given.standing[2] = Standing::ForcedDown;
    assert!(ask_all(&given).iter().all(|one| *one == IAD), "never what is forced down");
    given.standing[2] = Standing::Drained;
    assert_eq!(ask_all(&given), all, "who drains is given what it shall still take");
    given.up[2] = false;
    assert!(ask_all(&given).iter().all(|one| *one == IAD), "but not if it is down");
    let mut given = given_out(&[(1, 1)]);
    given.standing[0] = Standing::Drained;
    given.up[1] = false;
    assert_eq!(given.ask(client(IN_DE)).0, [NRT], "nor what is given nothing");
}

#[test]
fn nobody_goes_without_an_answer() {
    let mut given = given_out(&[]);
    let part = Part { weights: Box::new([(0, 1)]), order: Box::default(), ttl: 5 };
    let allotment = Allotment { by_group: vec![0; 4].into(), parts: Box::new([part]) };
    given.allotments = vec![Some(Arc::new(allotment))];
    given.up[0] = false;
    assert_eq!(given.ask(client(IN_JP)).0, [IAD], "a member that the order forgot");
    given.up = [false; 3];
    assert_eq!(given.ask(client(IN_JP)).0, [FRA], "failing open, as it is given out");
}

#[test]
fn further_answers_come_in_order_after_the_one_that_is_given() {
    let mut given = given_out(&[(2, 1)]);
    given.steering.pools[0].answers = 2;
    assert_eq!(given.ask(client(IN_DE)), (vec![NRT, FRA], 2));
    given.steering.pools[0].answers = 3;
    assert_eq!(given.ask(client(IN_DE)).0, [NRT, FRA, IAD]);
    let mut split = given_out(&[(1, 1), (2, 1)]);
    split.steering.pools[0].answers = 3;
    for n in 0..40 {
        let (all, scope) = split.ask(client(&format!("80.0.{n}.0")));
        assert!(all == [IAD, NRT, FRA] || all == [NRT, IAD, FRA], "{all:?}");
        assert_eq!(scope, 24);
    }
}

#[test]
fn both_families_of_a_split_client_go_to_one_datacenter() {
    let mut given = given_out(&[(0, 1), (1, 1), (2, 1)]);
    for (index, member) in (1..).zip(&mut given.steering.pools[0].members) {
        if let Target::Addresses { v6, .. } = &mut member.target {
            *v6 = Box::new([(format!("2001:db8::{index}").parse().unwrap(), None)]);
        }
    }
    given.with(|chart, _| {
        for n in 0..200 {
            let client = client(&format!("80.0.{n}.0"));
            let datacenters = [Rtype::A, Rtype::AAAA]
                .map(|rtype| chart.decide(&client, rtype).assignment.unwrap().datacenter);
            assert_eq!(datacenters[0], datacenters[1]);
        }
    });
}

#[test]
fn giving_out_anew_draws_no_map_anew() {
    given_out(&[(0, 1)]).with(|chart, facts| {
        let surveys = survey_all(facts.world, facts.groups, facts.steering);
        let policy = &facts.steering.policies[0];
        let first = Chart::new(policy, &surveys[0], facts, &mut Sheets::default());
        let allotment = Arc::new(all_to(&[(1, 1), (2, 1)]));
        let shares = facts.shares.clone().with_allotments([Some(allotment)]);
        let after = Facts { shares: &shares, ..*facts };
        let second = Chart::new(policy, &surveys[0], &after, &mut Sheets::of([&first]));
        assert!(first.shares_its_sheets_with(&second));
        let ask = |chart: &Chart| chart.decide(&client(IN_DE), Rtype::A).assignment.unwrap();
        assert_eq!(ask(&first).datacenter, ask(chart).datacenter);
        assert_ne!(ask(&first).datacenter, ask(&second).datacenter);
    });
}

proptest! {
    #[test]
    fn the_scope_of_a_given_group_is_as_wide_as_its_district(
        given in any_given(),
        address in any::<u32>(),
    ) {
        given.with(|chart, facts| {
            let policy = &given.steering.policies[0];
            let district = |address: u32| {
                let address = IpAddr::V4(address.into());
                let location = given.world.location(given.world.locate(address).0);
                let holds = |rule: &Rule| {
                    rule.matches.location_mismatch(location).is_none()
                        && rule.matches.network_holds(address)
                };
                let holds: Vec<bool> = policy.rules.iter().map(holds).collect();
                (holds, facts.groups.group_of(facts.world, address))
            };
            let here = district(address);
            let holding = Holding { here: &here.0, resolver: &[true; 3] };
            let pool = choose_pool(policy, holding, facts).and_then(|choice| choice.pool);
            let Some(pool) = pool else { return Ok(()) };
            if facts.allotment(pool).and_then(|it| it.part(here.1)).is_none() {
                return Ok(());
            }
            let asked = IpAddr::V4(address.into());
            let client = Client { address: asked, resolver: asked, draw: 0 };
            let decision = chart.decide(&client, Rtype::A);
            let assigned = decision.assignment.map(|it| (it.pool, it.group));
            prop_assert_eq!(assigned, Some((pool, here.1)));
            let scope = u32::from(decision.scope);
            if scope == 0 || scope == 24 {
                return Ok(());
            }
            // Every bound of a district is one of these.
            let mut bounds: Vec<u32> = given.world.v4().ranges().map(|(start, _)| start).collect();
            let networks = policy.rules.iter().flat_map(|rule| rule.matches.network.iter());
            for net in networks.chain(&given.promoted) {
                if let IpNet::V4(net) = net {
                    bounds.push(net.network().into());
                    bounds.extend(u32::from(net.broadcast()).checked_add(1));
                }
            }
            let sibling = (address >> (32 - scope)) ^ 1;
            bounds.push(sibling << (32 - scope));
            let mut within = bounds.iter().filter(|bound| **bound >> (32 - scope) == sibling);
            let is_alike = within.all(|bound| district(*bound) == here);
            prop_assert!(!is_alike, "{asked}/{scope} could be wider");
            Ok(())
        })?;
    }
}
