//! Members that are names, answered with the addresses behind them.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;

fn v4(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, last)
}

fn v6(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last)
}

fn resolved(v4s: &[(u8, bool)], ttl: u32, is_stale: bool) -> Option<Arc<Resolved>> {
    let validity = Validity { ttl, is_stale };
    let addresses = v4s.iter().map(|(last, is_up)| (v4(*last), *is_up)).collect();
    Some(Arc::new(Resolved { v4: Found { addresses, validity }, ..Resolved::default() }))
}

/// The first member is the name of the first entry, watched by that probe if any.
fn given_name(steer: Steer, probe: Option<ProbeId>, entry: Option<Arc<Resolved>>) -> Given {
    let mut given = given_pool(pool(steer, 0));
    given.steering.pools[0].members[0].target = Target::Flattened {
        name: "cdn.example.net.".parse().unwrap(),
        resolved: ResolvedId(0),
        probe,
    };
    given.resolved = ResolvedTable::new([entry]);
    given
}

fn answer(given: &Given, rtype: Rtype) -> (Vec<String>, u32, bool) {
    given.with(|chart, _| {
        let decision = chart.decide(&client(IN_DE), rtype);
        let records = match &decision.choice {
            Choice::V4(chosen) => chosen.iter().map(ToString::to_string).collect(),
            Choice::V6(chosen) => chosen.iter().map(ToString::to_string).collect(),
            Choice::Cname(name) => vec![name.to_string()],
            Choice::NoData => Vec::new(),
        };
        (records, decision.ttl, decision.is_stale)
    })
}

fn a(given: &Given) -> (Vec<String>, u32, bool) {
    answer(given, Rtype::A)
}

fn one(record: &str, ttl: u32, is_stale: bool) -> (Vec<String>, u32, bool) {
    (vec![record.to_string()], ttl, is_stale)
}

#[test]
fn a_name_is_answered_with_its_addresses_for_no_longer_than_they_hold() {
    for (holds, ttl) in [(300, 30), (15, 15), (1, 1)] {
        let given = given_name(Steer::Failover, None, resolved(&[(1, true)], holds, false));
        assert_eq!(a(&given), one("203.0.113.1", ttl, false));
    }
    let stale = given_name(Steer::Failover, None, resolved(&[(1, true)], 15, true));
    assert_eq!(a(&stale), one("203.0.113.1", 15, true));
}

#[test]
fn the_other_members_are_neither_stale_nor_short_lived() {
    let mut given = given_name(Steer::Failover, None, resolved(&[(1, true)], 5, true));
    given.standing[0] = Standing::Drained;
    assert_eq!(a(&given), one("198.51.100.2", 30, false));
    // Where one answer carries both, the shortest holds for all.
    given.standing[0] = Standing::Normal;
    given.steering.pools[0].answers = 2;
    let (records, ttl, is_stale) = a(&given);
    assert_eq!((records.len(), ttl, is_stale), (2, 5, true));
}

#[test]
fn an_answer_of_one_family_is_stale_only_if_that_family_is() {
    let stale = Validity { ttl: 30, is_stale: true };
    let fresh = Validity { ttl: 20, is_stale: false };
    let both = Resolved {
        v4: Found { addresses: [(v4(1), true)].into(), validity: fresh },
        v6: Found { addresses: [(v6(1), true)].into(), validity: stale },
        at: 0,
    };
    let given = given_name(Steer::Failover, None, Some(Arc::new(both)));
    assert_eq!(a(&given), one("203.0.113.1", 20, false));
    assert_eq!(answer(&given, Rtype::AAAA), one("2001:db8::1", 30, true));
    assert_eq!(answer(&given, Rtype::TXT), (vec![], 30, false), "no CNAME, and nothing else");
}

#[test]
fn only_addresses_that_are_up_are_answered_and_a_name_without_any_is_passed_over() {
    let up_and_down = resolved(&[(1, false), (2, true)], 30, false);
    assert_eq!(
        a(&given_name(Steer::Failover, None, up_and_down.clone())),
        one("203.0.113.2", 30, false)
    );
    for nobody in [None, resolved(&[], 30, false), resolved(&[(1, false)], 30, false)] {
        let given = given_name(Steer::Failover, None, nobody);
        assert_eq!(a(&given), one("198.51.100.2", 30, false));
    }
    // The probe that was given says it of all.
    let mut given = given_name(Steer::Failover, Some(ProbeId(0)), up_and_down);
    given.up = [false, true, true];
    assert_eq!(a(&given), one("198.51.100.2", 30, false));
}

#[test]
fn a_name_of_which_nothing_is_known_is_answered_by_nobodys_word() {
    for standing in [Standing::Normal, Standing::ForcedUp, Standing::Doubted] {
        let mut given = given_name(Steer::Failover, None, None);
        given.standing[0] = standing;
        assert_eq!(a(&given), one("198.51.100.2", 30, false));
        // Nor when all others are down, and the pool fails open.
        given.up = [false; 3];
        if standing == Standing::Normal {
            assert_eq!(a(&given), one("198.51.100.2", 30, false));
        }
        given.with(|_, facts| {
            let member = &facts.steering.pools[0].members[0];
            assert_eq!(member.passed_over(facts), Some(plan::PassedOver::Unresolved));
        });
    }
    let mut alone = given_name(Steer::Failover, None, None);
    alone.steering.pools[0].members = alone.steering.pools[0].members[..1].into();
    assert_eq!(a(&alone), (vec![], 0, false));
    let is_unknown =
        |given: &Given| given.with(|chart, _| chart.decide(&client(IN_DE), Rtype::A).is_unknown);
    assert!(is_unknown(&alone), "it may have addresses");
    alone.resolved = ResolvedTable::new([resolved(&[], 30, false)]);
    assert!(!is_unknown(&alone), "it has none");
}

#[test]
fn a_pool_that_fails_open_answers_with_addresses_that_are_down() {
    let mut given = given_name(Steer::Failover, None, resolved(&[(1, false)], 30, false));
    given.up = [false; 3];
    assert_eq!(a(&given), one("203.0.113.1", 30, false));
}

#[test]
fn an_explanation_tells_what_the_name_was_resolved_to() {
    let mut entry = Resolved::clone(&resolved(&[(1, true)], 15, true).unwrap());
    entry.at = 1_700_000_000;
    let given = given_name(Steer::Failover, None, Some(Arc::new(entry)));
    given.with(|chart, facts| {
        let told = explain(PolicyId(0), &client(IN_DE), Rtype::A, chart, facts);
        let member = &told.pools[0].members[0];
        assert_eq!(member.verdict, explain::Verdict::Chosen);
        assert_eq!(member.targets, [("203.0.113.1".to_string(), true)]);
        let behind = member.behind.as_ref().unwrap();
        assert_eq!(behind.name, "cdn.example.net.");
        assert_eq!((behind.resolved_at, behind.is_stale), (Some(1_700_000_000), true));
        assert!(told.answer.is_stale);
    });
    given_name(Steer::Failover, None, None).with(|chart, facts| {
        let told = explain(PolicyId(0), &client(IN_DE), Rtype::A, chart, facts);
        let members = &told.pools[0].members;
        let unresolved = members.iter().find(|member| member.behind.is_some()).unwrap();
        assert_eq!(unresolved.verdict, explain::Verdict::Unresolved);
    });
}
