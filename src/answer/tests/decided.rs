//! Hints of SVCB and HTTPS records, and addresses in ADDITIONAL.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use hickory_proto::rr::RData;
use hickory_proto::rr::rdata::svcb::{SvcParamKey, SvcParamValue};

use super::*;
use crate::decide::{
    Datacenter, DatacenterId, Found, HealthTable, Match, Member, MemberId, Policy, Pool, PoolId,
    ProbeId, Resolved, ResolvedId, ResolvedTable, Rule, Steer, Steering, Target, Validity,
    WhenAllDown,
};
use crate::geo::Location;
use crate::zone::{Base, Settings, Source, Steered, compile};

/// In 198.51.100.0/25, which is sent to 203.0.113.1 and 2001:db8::1.
const EAST: [u8; 4] = [198, 51, 100, 7];
/// Elsewhere: sent to 203.0.113.2, where there is no IPv6.
const WEST: [u8; 4] = [203, 0, 113, 7];

fn https(name: &'static str) -> Asked {
    ask(name, Rtype::HTTPS)
}

#[test]
fn hints_are_the_clients_addresses_in_place_of_those_of_the_file() {
    let east = https("geo.example.com.").subnet(EAST, 24).answered();
    assert_eq!(
        east.answers(),
        [
            "geo.example.com. 20 IN HTTPS 2 . mandatory=port, alpn=h2, port=8443 ipv4hint=203.0.113.1, ech=\"AAEC\" ipv6hint=2001:db8::1,"
        ]
    );
    assert_eq!(
        east.additionals(),
        ["geo.example.com. 20 IN A 203.0.113.1", "geo.example.com. 20 IN AAAA 2001:db8::1"]
    );
    assert_eq!(east.scope(), 25);
    assert!(east.outcome.is_steered && east.is_authoritative());
    let west = https("geo.example.com.").subnet(WEST, 24).answered();
    assert_eq!(
        west.answers(),
        [
            "geo.example.com. 20 IN HTTPS 2 . mandatory=port, alpn=h2, port=8443 ipv4hint=203.0.113.2, ech=\"AAEC\""
        ]
    );
    assert_eq!(west.additionals(), ["geo.example.com. 20 IN A 203.0.113.2"]);
    let a = ask("geo.example.com.", Rtype::A).subnet(WEST, 24).answered();
    assert_eq!(west.scope(), a.scope());
}

#[test]
fn a_target_that_is_steered_gives_the_hints_and_another_keeps_its_own() {
    let answered = ask("_x.geo.example.com.", Rtype::SVCB).subnet(EAST, 24).answered();
    assert_eq!(
        answered.answers(),
        [
            "_x.geo.example.com. 20 IN SVCB 1 Geo.example.com. port=53 ipv4hint=203.0.113.1, ipv6hint=2001:db8::1,",
            "_x.geo.example.com. 20 IN SVCB 2 www.example.com. ipv4hint=198.51.100.80,",
        ]
    );
    assert_eq!(
        answered.additionals(),
        [
            "geo.example.com. 20 IN A 203.0.113.1",
            "geo.example.com. 20 IN AAAA 2001:db8::1",
            "www.example.com. 300 IN A 198.51.100.80",
            "www.example.com. 300 IN A 198.51.100.81",
            "www.example.com. 300 IN AAAA 2001:db8::80",
        ]
    );
    let elsewhere = ask("geo.example.com.", Rtype::SVCB).subnet(EAST, 24).answered();
    assert_eq!(
        elsewhere.answers(),
        ["geo.example.com. 10 IN SVCB 1 www.example.com. alpn=h2, ipv4hint=198.51.100.9,"]
    );
    assert_eq!((elsewhere.scope(), elsewhere.outcome.is_steered), (0, false));
}

#[test]
fn a_name_that_is_answered_by_a_cname_gives_no_hints() {
    let answered = ask("to-mix-s.example.com.", Rtype::SVCB).subnet(EAST, 24).answered();
    assert_eq!(answered.answers(), ["to-mix-s.example.com. 20 IN SVCB 1 to-far.example.com."]);
    assert!(answered.additionals().is_empty() && !answered.outcome.is_steered);
    // The name itself is the CNAME for every type.
    let answered = https("to-far.example.com.").answered();
    assert_eq!(answered.answers(), ["to-far.example.com. 20 IN CNAME Www.Example.net."]);
}

#[test]
fn the_owner_of_a_wildcard_is_the_name_asked_for() {
    let answered = https("a.geo.example.com.").subnet(EAST, 24).answered();
    assert_eq!(
        answered.answers(),
        ["a.geo.example.com. 20 IN HTTPS 1 . ipv4hint=203.0.113.1, ipv6hint=2001:db8::1,"]
    );
    assert_eq!(
        answered.additionals(),
        ["a.geo.example.com. 20 IN A 203.0.113.1", "a.geo.example.com. 20 IN AAAA 2001:db8::1"]
    );
    let answered = https("a.wild.example.com.").answered();
    assert_eq!(answered.answers(), ["a.wild.example.com. 300 IN HTTPS 1 ."]);
    assert_eq!(answered.additionals(), ["a.wild.example.com. 300 IN A 198.51.100.91"]);
}

#[test]
fn an_alias_comes_with_what_it_leads_to() {
    let answered = https("alias-1.example.com.").subnet(WEST, 24).answered();
    assert_eq!(answered.answers(), ["alias-1.example.com. 300 IN HTTPS 0 alias-2.example.com."]);
    assert_eq!(
        answered.additionals(),
        [
            "alias-2.example.com. 300 IN HTTPS 0 geo.example.com.",
            "geo.example.com. 20 IN HTTPS 2 . mandatory=port, alpn=h2, port=8443 ipv4hint=203.0.113.2, ech=\"AAEC\"",
            "geo.example.com. 20 IN A 203.0.113.2",
        ]
    );
    assert!(answered.scope() > 0);
    // A chain without end ends, and what is not available leads nowhere.
    let answered = https("alias-3.example.com.").answered();
    assert_eq!(answered.answers().len(), 1);
    assert!(answered.additionals().len() < 4);
    assert!(https("none-s.example.com.").answered().additionals().is_empty());
}

#[test]
fn steered_targets_come_with_their_addresses_and_their_scope() {
    for (name, rtype) in [("mx-geo.example.com.", Rtype::MX), ("to-geo.example.com.", Rtype::CNAME)]
    {
        let answered = ask(name, rtype).subnet(EAST, 24).answered();
        assert_eq!(
            answered.additionals()[..2],
            ["geo.example.com. 20 IN A 203.0.113.1", "geo.example.com. 20 IN AAAA 2001:db8::1"],
            "{name}"
        );
        assert_eq!((answered.scope(), answered.outcome.is_steered), (25, true), "{name}");
    }
    let answered = ask("srv-load.example.com.", Rtype::SRV).answered();
    assert_eq!(answered.additionals(), ["by-load.example.com. 20 IN A 203.0.113.5"]);
}

#[test]
fn what_finds_no_room_in_additional_is_left_out() {
    let asked = Asked { source: EAST.into(), ..ask("full.example.com.", Rtype::MX) };
    let small = asked.clone().edns(1232).answered();
    assert_eq!(small.answers().len(), 23);
    assert_eq!(small.additionals(), ["geo.example.com. 20 IN A 203.0.113.1"]);
    assert!(!small.outcome.is_truncated);
    let large = Asked { transport: Transport::Tcp, ..asked }.answered();
    assert_eq!(large.additionals().len(), 2);
}

#[test]
fn an_answer_without_room_for_its_records_is_truncated() {
    let answered = https("wide.example.com.").answered();
    assert!(answered.outcome.is_truncated && answered.message.metadata.truncation);
    assert!(answered.answers().is_empty() && answered.additionals().is_empty());
    let answered = Asked { transport: Transport::Tcp, ..https("wide.example.com.") }.answered();
    assert_eq!((answered.answers().len(), answered.additionals().len()), (12, 1));
}

#[test]
fn the_ledger_has_what_hints_sent_a_client_to_but_not_what_came_along() {
    let snapshot = snapshot();
    let answered = |asked: Asked| {
        let request =
            Request { source: asked.source, transport: asked.transport, draw: 0, unix_seconds: 0 };
        respond(&snapshot, &request, &asked.packet(), &mut [0; 1232]).answered
    };
    let a = answered(ask("by-load.example.com.", Rtype::A));
    assert!(a.is_some());
    // One client, whatever it asks for.
    assert_eq!(answered(https("by-load.example.com.")), a);
    assert_eq!(answered(https("v6-less.example.com.")), a);
    assert_eq!(answered(https("geo.example.com.")), None);
    assert_eq!(answered(ask("srv-load.example.com.", Rtype::SRV)), None);
}

/// A pool's members, and which of their addresses are up.
#[derive(Clone, Debug)]
struct Given {
    steer: Steer,
    answers: u8,
    when_all_down: WhenAllDown,
    members: Vec<GivenMember>,
}

#[derive(Clone, Debug)]
struct GivenMember {
    weight: u32,
    /// Of each address, whether it is up.
    v4: Vec<bool>,
    v6: Vec<bool>,
    /// The addresses are behind a name: for how long, and whether they are stale.
    behind_name: Option<Validity>,
}

impl Given {
    fn snapshot(&self) -> Snapshot {
        let mut up = Vec::new();
        let mut probe = |is_up: bool| {
            up.push(is_up);
            Some(ProbeId(up.len() as u32 - 1))
        };
        let mut resolved = Vec::new();
        let members = self.members.iter().zip(0u16..).map(|(given, number)| {
            let v4_at = |index| Ipv4Addr::new(203, 0, 113, number as u8 * 16 + index);
            let v6_at = |index: u8| Ipv6Addr::new(0x2001, 0xdb8, number, 0, 0, 0, 0, index.into());
            let (v4, v6) = (given.v4.iter().zip(0..), given.v6.iter().zip(0..));
            let target = match given.behind_name {
                None => Target::Addresses {
                    v4: v4.map(|(up, at)| (v4_at(at), probe(*up))).collect(),
                    v6: v6.map(|(up, at)| (v6_at(at), probe(*up))).collect(),
                },
                Some(validity) => {
                    let v4 = v4.map(|(up, at)| (v4_at(at), *up)).collect();
                    let v6 = v6.map(|(up, at)| (v6_at(at), *up)).collect();
                    resolved.push(Some(Arc::new(Resolved {
                        v4: Found { addresses: v4, validity },
                        v6: Found { addresses: v6, validity },
                        ..Resolved::default()
                    })));
                    let resolved = ResolvedId(resolved.len() as u32 - 1);
                    let name = "cdn.example.net.".parse().unwrap();
                    Target::Flattened { name, resolved, probe: None }
                }
            };
            let (id, datacenter) = (MemberId(number.into()), DatacenterId(number));
            Member { id, datacenter, weight: given.weight, target }
        });
        let members = members.collect();
        let pool = Pool {
            zone: "example.com.".parse().unwrap(),
            name: "web".into(),
            is_twin: false,
            steer: self.steer,
            ttl: 30,
            ttl_min: 30,
            share: 1.0,
            answers: self.answers,
            min_healthy: 1,
            when_all_down: self.when_all_down,
            members,
        };
        let datacenters = (0..self.members.len()).map(|number| Datacenter {
            name: format!("dc{number}"),
            location: Location::default(),
            bias: 0,
            cost_ms: 0.0,
        });
        let rule = Rule { matches: Match::default(), pool: PoolId(0) };
        let steering = Steering {
            datacenters: datacenters.collect(),
            pools: Box::new([pool]),
            policies: Box::new([Policy { rules: Box::new([rule]) }]),
        };
        let zone = Settings {
            origin: "example.com.".parse().unwrap(),
            base: Base::Nothing,
            is_transferred: false,
            default_ttl: 300,
            sources: vec![Source {
                file: "zone".into(),
                included_by: None,
                text: "@ SOA a. b. 1 2h 15m 2w 5m\n@ NS a.\nwww HTTPS 1 . alpn=h3".into(),
            }],
            steered: vec![Steered {
                owner: "www.example.com.".parse().unwrap(),
                policy: PolicyId(0),
                ttl: 30,
                may_be_cname: false,
                default: None,
            }],
        };
        let zones = compile(&[zone]).0.unwrap();
        fixture::assembled(zones, steering, HealthTable::new(up), ResolvedTable::new(resolved))
    }
}

prop_compose! {
    fn any_member()(
        weight in 0u32..4,
        v4 in proptest::collection::vec(proptest::bool::weighted(0.8), 0..4),
        v6 in proptest::collection::vec(proptest::bool::weighted(0.8), 0..4),
        validity in (1u32..60, any::<bool>()),
        is_name in proptest::bool::weighted(0.3),
    ) -> GivenMember {
        let validity = Validity { ttl: validity.0, is_stale: validity.1 };
        GivenMember { weight, v4, v6, behind_name: is_name.then_some(validity) }
    }
}

prop_compose! {
    fn any_given()(
        steer in prop_oneof![
            Just(Steer::Weighted), Just(Steer::RoundRobin), Just(Steer::Failover),
            Just(Steer::Hash), Just(Steer::Nearest),
        ],
        answers in 1u8..6,
        answer_all: bool,
        members in proptest::collection::vec(any_member(), 1..6),
    ) -> Given {
        let when_all_down =
            if answer_all { WhenAllDown::AnswerAll } else { WhenAllDown::NoData };
        Given { steer, answers, when_all_down, members }
    }
}

/// True when the answer says that it is stale (RFC 8914 §4.4).
fn is_stale(answered: &Answered) -> bool {
    answered.bytes.windows(6).any(|six| six == [0, 15, 0, 2, 0, 3])
}

/// Addresses and hints, in their order.
fn addresses(records: &[Record]) -> (Vec<IpAddr>, Vec<IpAddr>) {
    let (mut plain, mut hinted) = (Vec::new(), Vec::new());
    for record in records {
        match &record.data {
            RData::A(a) => plain.push(IpAddr::V4(a.0)),
            RData::AAAA(aaaa) => plain.push(IpAddr::V6(aaaa.0)),
            RData::HTTPS(https) => {
                let keys: Vec<_> = https.0.svc_params.iter().map(|(key, _)| *key).collect();
                assert!(keys.is_sorted(), "{keys:?}");
                assert_eq!(keys[0], SvcParamKey::Alpn);
                for (_, value) in &https.0.svc_params {
                    match value {
                        SvcParamValue::Ipv4Hint(hint) => {
                            hinted.extend(hint.0.iter().map(|a| IpAddr::V4(a.0)));
                        }
                        SvcParamValue::Ipv6Hint(hint) => {
                            hinted.extend(hint.0.iter().map(|a| IpAddr::V6(a.0)));
                        }
                        _ => {}
                    }
                }
            }
            other => panic!("{other:?}"),
        }
    }
    (plain, hinted)
}

proptest! {
    #[test]
    fn whoever_asks_gets_the_same_addresses_for_https_as_for_a_and_aaaa(
        given in any_given(),
        clients in proptest::collection::vec((any::<u32>(), any::<u64>()), 1..8),
    ) {
        let snapshot = given.snapshot();
        for (client, draw) in clients {
            let answer = |rtype| {
                let subnet = client.to_be_bytes();
                let packet = ask("www.example.com.", rtype).subnet(subnet, 24).packet();
                let source = [203, 0, 113, 99].into();
                let request = Request { source, transport: Transport::Tcp, draw, unix_seconds: 0 };
                let mut out = vec![0; 65535];
                let outcome = respond(&snapshot, &request, &packet, &mut out);
                out.truncate(outcome.length);
                let message = Message::from_vec(&out).unwrap();
                Answered { outcome, bytes: out, message }
            };
            let (a, aaaa, https) = (answer(Rtype::A), answer(Rtype::AAAA), answer(Rtype::HTTPS));
            let (mut decided, _) = addresses(&a.message.answers);
            decided.extend(addresses(&aaaa.message.answers).0);
            prop_assert_eq!(&addresses(&https.message.answers).1, &decided);
            prop_assert_eq!(&addresses(&https.message.additionals).0, &decided);
            prop_assert_eq!(https.message.answers.len(), 1);
            prop_assert_eq!(https.scope(), a.scope().max(aaaa.scope()));
            prop_assert_eq!(https.outcome.is_steered, !decided.is_empty());
            let plain = a.message.answers.iter().chain(&aaaa.message.answers);
            let ttl = plain.map(|record| record.ttl).min().unwrap_or(30);
            prop_assert_eq!(https.message.answers[0].ttl, ttl);
            prop_assert_eq!(is_stale(&https), is_stale(&a) || is_stale(&aaaa));
        }
    }
}
