//! The default answers that other servers get.

use super::*;

fn default_of(given: &Given, may_be_cname: bool) -> Option<DefaultAnswer> {
    DefaultAnswer::of(&given.steering.policies[0], &given.steering, may_be_cname)
}

fn v4(last: &[u8]) -> DefaultRecords {
    let v4 = last.iter().map(|last| Ipv4Addr::new(198, 51, 100, *last)).collect();
    DefaultRecords::Addresses { v4, v6: Vec::new() }
}

fn with_weights(steer: Steer, weights: [u32; 3]) -> Pool {
    let mut pool = pool(steer, 0);
    for (member, weight) in pool.members.iter_mut().zip(weights) {
        member.weight = weight;
    }
    pool
}

proptest! {
    #[test]
    fn it_is_what_a_client_of_unknown_location_gets_when_everything_is_up(
        is_nearest: bool, answers in 1u8..5, weights: [bool; 3],
    ) {
        let steer = if is_nearest { Steer::Nearest } else { Steer::Failover };
        let pool = with_weights(steer, weights.map(u32::from));
        prop_assume!(weights.contains(&true));
        let given = given_pool(Pool { answers, ..pool });
        let decided = given.with(|chart, _| match chart.decide(&client(NOWHERE), Rtype::A).choice {
            Choice::V4(chosen) => chosen.to_vec(),
            other => panic!("{other:?}"),
        });
        let expected = DefaultRecords::Addresses { v4: decided, v6: Vec::new() };
        let default = default_of(&given, false).unwrap();
        prop_assert_eq!((default.ttl, default.records), (30, expected));
    }
}

#[test]
fn where_weights_choose_the_heaviest_come_first_and_those_without_never() {
    for (weights, answers, expected) in [
        ([1, 5, 2], 1, &[2][..]),
        ([1, 5, 2], 3, &[2, 3, 1]),
        ([1, 1, 1], 2, &[1, 2]),
        ([0, 0, 7], 3, &[3]),
    ] {
        let pool = with_weights(Steer::Weighted, weights);
        let given = given_pool(Pool { answers, ..pool });
        assert_eq!(default_of(&given, false).unwrap().records, v4(expected), "{weights:?}");
    }
}

#[test]
fn health_and_the_operators_word_change_nothing() {
    let mut given = given_pool(pool(Steer::Failover, 0));
    let before = default_of(&given, false);
    given.up = [false; 3];
    given.standing = vec![Standing::Drained; 6];
    assert_eq!(default_of(&given, false), before);
}

#[test]
fn it_comes_from_the_rule_for_everybody_or_there_is_none() {
    let near = Match { country: Box::new(["DE".parse().unwrap()]), ..Match::default() };
    let other = with_weights(Steer::Failover, [0, 0, 1]);
    let rules = vec![Rule { matches: near.clone(), pool: PoolId(0) }, everybody(1)];
    let given_both = given(vec![pool(Steer::Failover, 0), other], rules);
    assert_eq!(default_of(&given_both, false).unwrap().records, v4(&[3]));
    let rules = vec![Rule { matches: near, pool: PoolId(0) }];
    assert_eq!(default_of(&given(vec![pool(Steer::Failover, 0)], rules), false), None);
}

#[test]
fn a_pool_that_takes_no_clients_is_stood_in_for() {
    let mut empty = with_weights(Steer::Failover, [0; 3]);
    assert_eq!(default_of(&given_pool(empty.clone()), false), None);
    empty.when_all_down = WhenAllDown::Pool(PoolId(1));
    let given = given(vec![empty, pool(Steer::Failover, 3)], vec![everybody(0)]);
    assert_eq!(default_of(&given, false).unwrap().records, v4(&[1]));
}

#[test]
fn a_name_is_answered_where_one_may_stand_and_passed_over_elsewhere() {
    let mut pool = pool(Steer::Failover, 0);
    let name: Name = "cdn.example.net.".parse().unwrap();
    pool.members[0].target = Target::Cname { name: name.clone(), probe: None };
    let given = given_pool(pool);
    assert_eq!(default_of(&given, true).unwrap().records, DefaultRecords::Cname(name));
    assert_eq!(default_of(&given, false).unwrap().records, v4(&[2]));
}
