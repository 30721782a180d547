//! Answers as resolvers write them, and as nobody should.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata;
use hickory_proto::rr::{Name as HickoryName, RData, Record, RecordType};
use proptest::prelude::*;

use super::*;

const ID: u16 = 0x1234;

fn asked(family: Family) -> Asked {
    Asked::new(&"www.example.net.".parse().unwrap(), family, ID)
}

fn name(text: &str) -> HickoryName {
    HickoryName::from_ascii(text).unwrap()
}

fn a(owner: &str, ttl: u32, last: u8) -> Record {
    let address = Ipv4Addr::new(203, 0, 113, last);
    Record::from_rdata(name(owner), ttl, RData::A(rdata::A(address)))
}

fn aaaa(owner: &str, ttl: u32, last: u16) -> Record {
    let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last);
    Record::from_rdata(name(owner), ttl, RData::AAAA(rdata::AAAA(address)))
}

fn cname(owner: &str, ttl: u32, target: &str) -> Record {
    Record::from_rdata(name(owner), ttl, RData::CNAME(rdata::CNAME(name(target))))
}

fn soa(ttl: u32, minimum: u32) -> Record {
    let soa = rdata::SOA::new(name("ns."), name("host."), 1, 1, 1, 1, minimum);
    Record::from_rdata(name("example.net."), ttl, RData::SOA(soa))
}

fn response(asks: RecordType, rcode: ResponseCode, answers: &[Record], more: &[Record]) -> Message {
    let mut message = Message::new(ID, MessageType::Response, OpCode::Query);
    message.metadata.response_code = rcode;
    message.metadata.recursion_available = true;
    message.add_query(Query::query(name("www.example.net."), asks));
    message.add_answers(answers.iter().cloned());
    message.add_authorities(more.iter().cloned());
    message
}

/// Reads what is answered to a query for A records.
fn read(rcode: ResponseCode, answers: &[Record], more: &[Record]) -> Reading {
    let message = response(RecordType::A, rcode, answers, more);
    asked(Family::V4).read(&message.to_vec().unwrap())
}

fn found(lasts: &[u8], ttl: u32) -> Reading {
    let addresses = lasts.iter().map(|last| Ipv4Addr::new(203, 0, 113, *last).into());
    Reading::Answer(Answer { addresses: addresses.collect(), ttl, exists: true })
}

fn none(ttl: u32, exists: bool) -> Reading {
    Reading::Answer(Answer { addresses: Vec::new(), ttl, exists })
}

#[test]
fn a_query_is_what_an_independent_reader_takes_for_one() {
    let query = Message::from_vec(asked(Family::V6).as_bytes()).unwrap();
    assert_eq!(query.metadata.id, ID);
    assert!(query.metadata.recursion_desired);
    assert_eq!(query.queries[0].query_type(), RecordType::AAAA);
    assert_eq!(query.queries[0].name(), &name("www.example.net."));
    assert_eq!(query.edns.unwrap().max_payload(), UDP_PAYLOAD_BYTES as u16);
}

#[test]
fn addresses_are_those_at_the_end_of_the_chain_with_its_least_ttl() {
    let no_error = ResponseCode::NoError;
    let direct = [a("www.example.net.", 60, 2), a("WWW.example.NET.", 50, 1)];
    assert_eq!(read(no_error, &direct, &[]), found(&[1, 2], 50), "in order, the case aside");
    let chain = [
        a("edge.example.org.", 300, 7),
        cname("cdn.example.org.", 20, "edge.example.org."),
        cname("www.example.net.", 60, "cdn.example.org."),
        a("other.example.org.", 1, 9),
    ];
    assert_eq!(read(no_error, &chain, &[]), found(&[7], 20), "in whatever order they stand");
    let both = [a("www.example.net.", 60, 1), aaaa("www.example.net.", 5, 1)];
    assert_eq!(read(no_error, &both, &[]), found(&[1], 60));
    let message = response(RecordType::AAAA, no_error, &both, &[]);
    let v6 = asked(Family::V6).read(&message.to_vec().unwrap());
    let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into();
    assert_eq!(v6, Reading::Answer(Answer { addresses: vec![address], ttl: 5, exists: true }));
}

#[test]
fn that_there_is_nothing_holds_as_long_as_the_soa_record_says() {
    let no_error = ResponseCode::NoError;
    assert_eq!(read(no_error, &[], &[soa(600, 90)]), none(90, true));
    assert_eq!(read(no_error, &[], &[soa(60, 900)]), none(60, true));
    assert_eq!(read(no_error, &[], &[]), none(UNSAID_TTL, true), "a stub that leaves it out");
    assert_eq!(read(ResponseCode::NXDomain, &[], &[soa(600, 90)]), none(90, false));
    let chain = [cname("www.example.net.", 10, "gone.example.org.")];
    assert_eq!(read(ResponseCode::NXDomain, &chain, &[soa(600, 90)]), none(10, false));
    assert_eq!(read(no_error, &chain, &[soa(600, 90)]), none(10, true));
}

#[test]
fn what_is_no_answer_is_a_failure() {
    for rcode in [ResponseCode::ServFail, ResponseCode::Refused, ResponseCode::FormErr] {
        assert!(matches!(read(rcode, &[a("www.example.net.", 60, 1)], &[]), Reading::Failed(_)));
    }
    let ns = RData::NS(rdata::NS(name("ns.example.net.")));
    let referral = [Record::from_rdata(name("example.net."), 60, ns)];
    assert!(matches!(read(ResponseCode::NoError, &[], &referral), Reading::Failed(_)));
    let alias = [cname("www.example.net.", 10, "elsewhere.example.org.")];
    let mut message = response(RecordType::A, ResponseCode::NoError, &alias, &[]);
    message.metadata.recursion_available = false;
    let reading = asked(Family::V4).read(&message.to_vec().unwrap());
    assert!(matches!(reading, Reading::Failed(_)), "an alias by who does not resolve: {reading:?}");
}

#[test]
fn who_answers_something_else_is_not_heard() {
    let good = response(RecordType::A, ResponseCode::NoError, &[a("www.example.net.", 60, 1)], &[]);
    let asked = asked(Family::V4);
    assert_eq!(asked.read(&good.to_vec().unwrap()), found(&[1], 60));
    let mut other_id = good.clone();
    other_id.metadata.id = ID + 1;
    let mut query = good.clone();
    query.metadata.message_type = MessageType::Query;
    let other_type = response(RecordType::AAAA, ResponseCode::NoError, &[], &[]);
    let mut two = good.clone();
    two.add_query(Query::query(name("www.example.net."), RecordType::A));
    let mut none = good.clone();
    none.queries.clear();
    for message in [other_id, query, other_type, two, none] {
        assert_eq!(asked.read(&message.to_vec().unwrap()), Reading::NotOurs, "{message:?}");
    }
    let mut truncated = good;
    truncated.metadata.truncation = true;
    assert_eq!(asked.read(&truncated.to_vec().unwrap()), Reading::Truncated);
}

#[test]
fn many_addresses_and_long_chains_are_bounded() {
    let many: Vec<Record> = (0..200).map(|last| a("www.example.net.", 60, last)).collect();
    let Reading::Answer(answer) = read(ResponseCode::NoError, &many, &[]) else { panic!() };
    assert_eq!(answer.addresses.len(), MAX_ADDRESSES);
    let circle = [
        cname("www.example.net.", 10, "b.example.org."),
        cname("b.example.org.", 10, "www.example.net."),
    ];
    assert_eq!(read(ResponseCode::NoError, &circle, &[]), none(10, true));
    let old_ttl = a("www.example.net.", u32::MAX, 1);
    assert_eq!(read(ResponseCode::NoError, &[old_ttl], &[]), found(&[1], 0), "RFC 2181 §8");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = asked(Family::V4).read(&bytes);
    }

    #[test]
    fn no_damage_makes_it_panic_or_give_what_was_not_sent(
        at in 12_usize..120, byte in any::<u8>(), length in 0_usize..200,
    ) {
        let chain = [
            cname("www.example.net.", 60, "cdn.example.org."),
            a("cdn.example.org.", 300, 7),
        ];
        let message = response(RecordType::A, ResponseCode::NoError, &chain, &[soa(1, 1)]);
        let mut bytes = message.to_vec().unwrap();
        if let Some(one) = bytes.get_mut(at) {
            *one = byte;
        }
        bytes.truncate(length);
        if let Reading::Answer(answer) = asked(Family::V4).read(&bytes) {
            prop_assert!(answer.addresses.len() <= 1);
        }
    }
}
