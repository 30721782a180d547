//! One zone, asked in many ways; the replies are read by an independent reader.

mod decided;
pub(crate) mod fixture;

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::{RData, Record, RecordType};
use proptest::prelude::*;
use std::sync::Arc;

use super::*;
use crate::dns::{Name, Opcode};
use crate::snapshot::Identity;
use fixture::snapshot;

/// What is asked.
#[derive(Clone, Debug)]
struct Asked {
    name: &'static str,
    rtype: Rtype,
    class: Class,
    transport: Transport,
    source: IpAddr,
    /// The UDP payload announced, the EDNS version, and the options; no OPT record without.
    edns: Option<(u16, u8, Vec<u8>)>,
}

fn ask(name: &'static str, rtype: Rtype) -> Asked {
    Asked {
        name,
        rtype,
        class: Class::IN,
        transport: Transport::Udp,
        source: [203, 0, 113, 99].into(),
        edns: None,
    }
}

impl Asked {
    fn edns(mut self, payload: u16) -> Asked {
        self.edns = Some((payload, 0, Vec::new()));
        self
    }

    /// For an IPv4 client.
    fn subnet(mut self, address: [u8; 4], source: u8) -> Asked {
        let bytes = usize::from(source).div_ceil(8);
        let head = [0, 8, 0, 4 + bytes as u8, 0, 1, source, 0];
        self.edns = Some((1232, 0, [&head[..], &address[..bytes]].concat()));
        self
    }

    fn packet(&self) -> Vec<u8> {
        let mut packet = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(self.edns.is_some())];
        packet.extend(self.name.parse::<Name>().unwrap().as_wire());
        packet.extend([self.rtype.0.to_be_bytes(), self.class.0.to_be_bytes()].concat());
        if let Some((payload, version, options)) = &self.edns {
            packet.extend([0, 0, 41]);
            packet.extend(payload.to_be_bytes());
            packet.extend([0, *version, 0, 0, 0, options.len() as u8]);
            packet.extend(options);
        }
        packet
    }

    fn answered(&self) -> Answered {
        let mut out = vec![0xee; 65535];
        let request =
            Request { source: self.source, transport: self.transport, draw: 1, unix_seconds: 0 };
        let packet = self.packet();
        let outcome = respond(&snapshot(), &request, &packet, &mut out);
        out.truncate(outcome.length);
        let message = Message::from_vec(&out).unwrap_or_else(|error| panic!("{self:?}: {error}"));
        assert_eq!(message.message_type, MessageType::Response);
        assert_eq!(
            out[12..][..packet[12..].len().min(4)],
            packet[12..][..4],
            "the question's case"
        );
        Answered { outcome, bytes: out, message }
    }
}

struct Answered {
    outcome: Outcome,
    bytes: Vec<u8>,
    message: Message,
}

impl Answered {
    fn answers(&self) -> Vec<String> {
        lines(&self.message.answers)
    }

    fn authorities(&self) -> Vec<String> {
        lines(&self.message.authorities)
    }

    fn additionals(&self) -> Vec<String> {
        lines(&self.message.additionals)
    }

    fn is_authoritative(&self) -> bool {
        self.message.metadata.authoritative
    }

    /// The scope of the client subnet, which is the last option.
    fn scope(&self) -> u8 {
        let option =
            self.bytes.windows(5).rposition(|five| five[..2] == [0, 8] && five[4..] == [0]);
        self.bytes[option.expect("a client subnet") + 7]
    }
}

fn lines(records: &[Record]) -> Vec<String> {
    records.iter().map(line).collect()
}

/// The reader does not know DNAME.
fn line(record: &Record) -> String {
    match &record.data {
        RData::Unknown { rdata, .. } if record.record_type() == RecordType::from(39) => {
            let target = Name::from_wire(&rdata.anything).unwrap();
            format!("{} {} IN DNAME {target}", record.name, record.ttl)
        }
        _ => record.to_string(),
    }
}

const SOA: &str =
    "example.com. 300 IN SOA ns1.example.com. hostmaster.example.com. 7 7200 900 1209600 300";

#[test]
fn an_rrset_is_answered_with_authority_and_nothing_else() {
    let answered = ask("wWw.Example.com.", Rtype::A).answered();
    assert_eq!(
        answered.answers(),
        ["wWw.Example.com. 300 IN A 198.51.100.80", "wWw.Example.com. 300 IN A 198.51.100.81",]
    );
    assert!(answered.is_authoritative());
    assert!(answered.authorities().is_empty() && answered.additionals().is_empty());
    assert_eq!(answered.outcome.verdict, Verdict::Positive);
}

#[test]
fn addresses_of_the_names_in_an_answer_come_with_it() {
    let answered = ask("example.com.", Rtype::MX).answered();
    assert_eq!(answered.answers(), ["example.com. 300 IN MX 10 mail.example.com."]);
    assert_eq!(answered.additionals(), ["mail.example.com. 300 IN A 198.51.100.25"]);
}

#[test]
fn a_negative_answer_says_how_long_it_may_be_kept() {
    for (name, rtype, verdict, rcode) in [
        ("www.example.com.", Rtype::TXT, Verdict::NoData, ResponseCode::NoError),
        ("none.example.com.", Rtype::A, Verdict::NxDomain, ResponseCode::NXDomain),
        // An empty non-terminal.
        ("wild.example.com.", Rtype::A, Verdict::NoData, ResponseCode::NoError),
    ] {
        let answered = ask(name, rtype).answered();
        assert_eq!(answered.outcome.verdict, verdict, "{name}");
        assert_eq!(answered.message.response_code, rcode, "{name}");
        assert_eq!(answered.authorities(), [SOA], "{name}");
        assert!(answered.is_authoritative() && answered.answers().is_empty(), "{name}");
    }
}

#[test]
fn a_wildcard_answers_under_the_name_asked_for() {
    let answered = ask("a.b.wild.example.com.", Rtype::TXT).answered();
    assert_eq!(answered.answers(), ["a.b.wild.example.com. 300 IN TXT anything"]);
}

#[test]
fn aliases_are_followed_within_the_zone() {
    let answered = ask("alias.example.com.", Rtype::AAAA).answered();
    assert_eq!(
        answered.answers(),
        [
            "alias.example.com. 300 IN CNAME www.example.com.",
            "www.example.com. 300 IN AAAA 2001:db8::80",
        ]
    );
    let answered = ask("alias.example.com.", Rtype::CNAME).answered();
    assert_eq!(answered.answers().len(), 1);
}

#[test]
fn the_last_name_of_a_chain_gives_the_verdict() {
    let answered = ask("to-none.example.com.", Rtype::A).answered();
    assert_eq!(answered.answers(), ["to-none.example.com. 300 IN CNAME none.example.com."]);
    assert_eq!(answered.message.response_code, ResponseCode::NXDomain);
    assert_eq!(answered.authorities(), [SOA]);
    let answered = ask("alias.example.com.", Rtype::TXT).answered();
    assert_eq!(answered.message.response_code, ResponseCode::NoError);
    assert_eq!((answered.answers().len(), answered.authorities()), (1, vec![SOA.to_owned()]));
    assert_eq!(answered.outcome.verdict, Verdict::NoData);
}

#[test]
fn a_chain_ends_where_it_leaves_the_zone() {
    for name in ["far.example.com.", "to-child.example.com."] {
        let answered = ask(name, Rtype::A).answered();
        assert_eq!(answered.answers().len(), 1, "{name}");
        assert!(answered.authorities().is_empty(), "{name}");
        assert_eq!(answered.outcome.verdict, Verdict::Positive, "{name}");
        assert_eq!(answered.message.response_code, ResponseCode::NoError, "{name}");
    }
}

#[test]
fn a_chain_into_a_delegation_ends_in_a_referral_and_is_still_authoritative() {
    let answered = ask("to-sub.example.com.", Rtype::A).answered();
    assert_eq!(answered.answers().len(), 1);
    assert_eq!(answered.authorities().len(), 2);
    assert!(answered.is_authoritative());
}

#[test]
fn chains_that_never_end_do() {
    assert_eq!(ask("self.example.com.", Rtype::A).answered().answers().len(), 1);
    assert_eq!(ask("loop1.example.com.", Rtype::A).answered().answers().len(), 3);
    let long = ask("c0.example.com.", Rtype::A).edns(1232).answered();
    assert_eq!((long.answers().len(), long.outcome.is_truncated), (16, false));
}

#[test]
fn below_a_dname_it_and_the_cname_that_it_means_are_answered_and_followed() {
    let answered = ask("A.b.Dname.example.com.", Rtype::TXT).answered();
    assert_eq!(
        answered.answers(),
        [
            "Dname.example.com. 300 IN DNAME Wild.example.com.",
            "A.b.Dname.example.com. 300 IN CNAME A.b.Wild.example.com.",
            "A.b.Wild.example.com. 300 IN TXT anything",
        ]
    );
    assert!(answered.is_authoritative() && answered.authorities().is_empty());
    let answered = ask("dname.example.com.", Rtype::TXT).answered();
    assert_eq!(answered.answers(), ["dname.example.com. 300 IN TXT own"]);
    let answered = ask("a.far-off.example.com.", Rtype::A).answered();
    assert_eq!(answered.answers().len(), 2);
    assert_eq!(answered.outcome.verdict, Verdict::Positive);
}

#[test]
fn dnames_and_cnames_chain() {
    let answered = ask("to-dname.example.com.", Rtype::TXT).answered();
    assert_eq!(
        answered.answers(),
        [
            "to-dname.example.com. 300 IN CNAME X.dname.example.com.",
            "dname.example.com. 300 IN DNAME Wild.example.com.",
            "X.dname.example.com. 300 IN CNAME X.Wild.example.com.",
            "X.Wild.example.com. 300 IN TXT anything",
        ]
    );
    let answered = ask("x.deep.example.com.", Rtype::AAAA).answered();
    assert_eq!(answered.answers().len(), 4);
    assert_eq!(answered.outcome.verdict, Verdict::NoData);
    assert_eq!(answered.authorities(), [SOA]);
}

#[test]
fn a_name_that_a_dname_makes_too_long_is_yxdomain_with_the_dname() {
    let answered = ask("x.again.example.com.", Rtype::A).edns(1232).answered();
    // One DNAME, however often it is used.
    assert_eq!((answered.answers().len(), answered.outcome.is_truncated), (17, false));
    // 255 bytes, and the DNAME would add two.
    let long = format!("{0}.{0}.{0}.{1}.again.example.com.", "x".repeat(63), "y".repeat(43));
    let answered = ask(long.leak(), Rtype::A).answered();
    assert_eq!(answered.answers(), ["again.example.com. 300 IN DNAME x.again.example.com."]);
    assert_eq!(answered.outcome.verdict, Verdict::YxDomain);
    assert_eq!(answered.message.response_code, ResponseCode::YXDomain);
    assert!(answered.is_authoritative());
}

#[test]
fn a_referral_is_not_authoritative_and_carries_glue() {
    let answered = ask("www.sub.example.com.", Rtype::A).answered();
    assert!(!answered.is_authoritative() && answered.answers().is_empty());
    assert_eq!(answered.outcome.verdict, Verdict::Referral);
    let mut authorities = answered.authorities();
    authorities.sort();
    assert_eq!(
        authorities,
        [
            "sub.example.com. 300 IN NS ns.example.net.",
            "sub.example.com. 300 IN NS ns.sub.example.com.",
        ]
    );
    assert_eq!(answered.additionals(), ["ns.sub.example.com. 300 IN A 198.51.100.54"]);
}

#[test]
fn any_gets_a_record_that_says_no() {
    let answered = ask("www.example.com.", Rtype::ANY).answered();
    assert_eq!(answered.answers().len(), 1);
    assert!(answered.bytes.windows(9).any(|nine| nine == b"\x07RFC8482\x00"));
}

#[test]
fn what_is_not_served_here_is_refused() {
    for asked in [
        ask("www.example.net.", Rtype::A),
        ask("com.", Rtype::A),
        ask(".", Rtype::NS),
        ask("example.com.", Rtype::AXFR),
        ask("example.com.", Rtype::IXFR),
        Asked { class: Class::CH, ..ask("version.bind.", Rtype::TXT) },
        Asked { class: Class::ANY, ..ask("www.example.com.", Rtype::A) },
    ] {
        let answered = asked.clone().edns(1232).answered();
        assert_eq!(answered.message.response_code, ResponseCode::Refused, "{asked:?}");
        assert_eq!(answered.outcome.verdict, Verdict::Refused, "{asked:?}");
        assert!(!answered.is_authoritative() && answered.message.edns.is_some(), "{asked:?}");
    }
}

/// Asks in class CHAOS a server with a version.
fn ask_chaos(name: &'static str, rtype: Rtype, version: Option<&str>) -> Message {
    let mut snapshot = snapshot();
    let identity = Identity { name: "fra-1".into(), version: version.map(Box::from) };
    snapshot.identity = Arc::new(identity);
    let asked = Asked { class: Class::CH, ..ask(name, rtype) };
    let request =
        Request { source: asked.source, transport: asked.transport, draw: 1, unix_seconds: 0 };
    let mut out = [0; 512];
    let outcome = respond(&snapshot, &request, &asked.packet(), &mut out);
    Message::from_vec(&out[..outcome.length]).unwrap()
}

#[test]
fn in_class_chaos_the_server_says_who_it_is_and_if_told_to_its_version() {
    for (name, rtype, expected) in [
        ("id.server.", Rtype::TXT, Some("fra-1")),
        ("HOSTNAME.bind.", Rtype::TXT, Some("fra-1")),
        ("id.server.", Rtype::ANY, Some("fra-1")),
        ("id.server.", Rtype::A, None),
        ("version.bind.", Rtype::TXT, Some("1.2.3")),
        ("version.server.", Rtype::TXT, Some("1.2.3")),
        ("authors.bind.", Rtype::TXT, None),
        ("www.example.com.", Rtype::TXT, None),
    ] {
        let message = ask_chaos(name, rtype, Some("1.2.3"));
        let expected = expected.map(|text| format!("{name} 0 CH TXT {text}"));
        assert_eq!(lines(&message.answers), Vec::from_iter(expected.clone()));
        let rcode = if expected.is_some() { ResponseCode::NoError } else { ResponseCode::Refused };
        assert_eq!(message.response_code, rcode, "{name} {rtype}");
        assert_eq!(message.metadata.authoritative, expected.is_some());
    }
    let untold = ask_chaos("version.bind.", Rtype::TXT, None);
    assert_eq!((untold.response_code, untold.answers.len()), (ResponseCode::Refused, 0));
}

#[test]
fn the_name_server_identifier_comes_with_every_answer_to_who_asks_for_it() {
    const NSID: [u8; 9] = *b"\0\x03\0\x05fra-1";
    for (name, rtype) in [
        ("www.example.com.", Rtype::A),
        ("geo.example.com.", Rtype::A),
        ("none.example.com.", Rtype::A),
        ("a.sub.example.com.", Rtype::A),
        ("www.example.net.", Rtype::A),
        ("example.com.", Rtype::AXFR),
    ] {
        let holds = |asked: Asked| {
            asked.answered().bytes.windows(NSID.len()).filter(|bytes| *bytes == NSID).count()
        };
        let asked =
            |option: &[u8]| Asked { edns: Some((1232, 0, option.to_vec())), ..ask(name, rtype) };
        assert_eq!(holds(asked(&[0, 3, 0, 0])), 1, "{name}");
        assert_eq!(holds(asked(&[0, 3, 0, 1, 7])), 1, "{name}");
        assert_eq!(holds(asked(&[])), 0, "{name}");
        assert_eq!(holds(ask(name, rtype)), 0, "{name}");
    }
}

#[test]
fn a_refusal_says_why() {
    let (foreign, transfer, class) = (
        ask("www.example.net.", Rtype::A),
        ask("example.com.", Rtype::AXFR),
        Asked { class: Class::ANY, ..ask("www.example.com.", Rtype::A) },
    );
    for (asked, code) in [(foreign, 20), (transfer, 18), (class, 20)] {
        let bytes = asked.clone().edns(1232).answered().bytes;
        assert!(bytes.ends_with(&[0, 15, 0, 2, 0, code]), "{asked:?}");
        assert!(asked.answered().message.edns.is_none());
    }
}

#[test]
fn a_zone_without_data_fails_and_says_why() {
    for (name, why) in [
        ("www.awaited.example.com.", ExtendedError::NOT_READY),
        ("awaited.example.com.", ExtendedError::NOT_READY),
        ("expired.example.com.", ExtendedError::INVALID_DATA),
    ] {
        let answered = ask(name, Rtype::A).edns(1232).answered();
        assert_eq!(answered.outcome.verdict, Verdict::ServFail, "{name}");
        assert_eq!(answered.message.metadata.response_code, ResponseCode::ServFail);
        assert!(!answered.is_authoritative());
        assert!(answered.bytes.ends_with(&[0, 15, 0, 2, 0, why.0 as u8]), "{name}");
    }
}

#[test]
fn types_that_no_question_may_have() {
    for (rtype, rcode) in [
        (Rtype(0), ResponseCode::FormErr),
        (Rtype::OPT, ResponseCode::FormErr),
        (Rtype::TSIG, ResponseCode::FormErr),
        (Rtype::TKEY, ResponseCode::FormErr),
        (Rtype(253), ResponseCode::NotImp),
        (Rtype(254), ResponseCode::NotImp),
        (Rtype(65280), ResponseCode::NoError),
    ] {
        let answered = ask("www.example.com.", rtype).answered();
        assert_eq!(answered.message.response_code, rcode, "{rtype}");
    }
}

#[test]
fn an_unknown_version_of_edns_gets_ours() {
    let mut asked = ask("www.example.com.", Rtype::A).edns(1232);
    asked.edns.as_mut().unwrap().1 = 1;
    let answered = asked.answered();
    assert_eq!(u16::from(answered.message.response_code), Rcode::BADVERS.0);
    assert_eq!(answered.message.edns.as_ref().unwrap().version(), 0);
    assert!(answered.answers().is_empty());
}

#[test]
fn a_response_is_as_long_as_client_and_transport_allow() {
    let long = || ask("long.example.com.", Rtype::TXT);
    for (asked, truncated) in [
        (long(), true),
        (long().edns(4096), true),
        (Asked { transport: Transport::Tcp, ..long() }, false),
        (Asked { transport: Transport::Tcp, ..long().edns(512) }, false),
    ] {
        let answered = asked.answered();
        assert_eq!(answered.outcome.is_truncated, truncated, "{asked:?}");
        assert_eq!(answered.message.metadata.truncation, truncated, "{asked:?}");
        assert_eq!(answered.answers().len(), if truncated { 0 } else { 40 }, "{asked:?}");
        assert_eq!(answered.message.edns.is_some(), asked.edns.is_some(), "{asked:?}");
    }
}

#[test]
fn a_steered_name_is_decided_for_the_client_subnet_or_else_the_sender() {
    let east = "geo.example.com. 20 IN A 203.0.113.1";
    let west = "geo.example.com. 20 IN A 203.0.113.2";
    let geo = || ask("geo.example.com.", Rtype::A);
    let within: IpAddr = [198, 51, 100, 7].into();
    let mapped: IpAddr = "::ffff:198.51.100.7".parse().unwrap();
    for (asked, expected, scope) in [
        (geo(), west, None),
        (Asked { source: within, ..geo() }, east, None),
        (Asked { source: mapped, ..geo() }, east, None),
        (geo().subnet([198, 51, 100, 0], 24), east, Some(25)),
        (geo().subnet([198, 51, 100, 128], 25), west, Some(25)),
        (geo().subnet([10, 0, 0, 0], 8), west, Some(1)),
        // "Do not use": as for the sender.
        (geo().subnet([0; 4], 0), west, Some(0)),
        (Asked { source: within, ..geo().subnet([0; 4], 0) }, east, Some(0)),
    ] {
        let answered = asked.answered();
        assert_eq!(answered.answers(), [expected], "{asked:?}");
        assert!(answered.outcome.is_steered);
        match scope {
            Some(scope) => assert_eq!(answered.scope(), scope, "{asked:?}"),
            None => assert!(answered.message.edns.is_none()),
        }
    }
}

#[test]
fn a_steered_name_without_the_type_is_a_negative_answer() {
    // Nobody gets TXT; AAAA is for others.
    for (rtype, scope) in [(Rtype::TXT, 0), (Rtype::AAAA, 1)] {
        let answered = ask("geo.example.com.", rtype).subnet([10, 0, 0, 0], 8).answered();
        assert_eq!(answered.outcome.verdict, Verdict::NoData);
        assert_eq!(answered.authorities().len(), 1);
        assert_eq!(answered.scope(), scope, "{rtype}");
        assert!(!answered.outcome.is_steered);
    }
}

#[test]
fn what_is_the_same_for_everybody_has_scope_0() {
    for (name, rtype) in [
        ("www.example.com.", Rtype::A),
        ("none.example.com.", Rtype::A),
        ("www.example.com.", Rtype::TXT),
        ("example.com.", Rtype::SOA),
        ("example.com.", Rtype::NS),
        ("www.sub.example.com.", Rtype::A),
        ("www.example.net.", Rtype::A),
    ] {
        let answered = ask(name, rtype).subnet([198, 51, 100, 0], 24).answered();
        assert_eq!(answered.scope(), 0, "{name} {rtype}");
    }
}

#[test]
fn a_chain_has_the_most_specific_scope_of_its_decisions() {
    let answered = ask("to-geo.example.com.", Rtype::A).subnet([198, 51, 100, 0], 24).answered();
    assert_eq!(
        answered.answers(),
        [
            "to-geo.example.com. 300 IN CNAME geo.example.com.",
            "geo.example.com. 20 IN A 203.0.113.1",
        ]
    );
    assert_eq!(answered.scope(), 25);
}

#[test]
fn a_steered_alias_is_followed_within_the_zone() {
    let answered = ask("to-far.example.com.", Rtype::A).answered();
    assert_eq!(answered.answers(), ["to-far.example.com. 20 IN CNAME Www.Example.net."]);
    let answered = ask("to-mix.example.com.", Rtype::A).answered();
    assert_eq!(answered.answers().len(), 2);
    let answered = ask("to-near.example.com.", Rtype::AAAA).answered();
    assert_eq!(
        answered.answers(),
        [
            "to-near.example.com. 20 IN CNAME ALIAS.example.com.",
            "ALIAS.example.com. 300 IN CNAME www.example.com.",
            "www.example.com. 300 IN AAAA 2001:db8::80",
        ]
    );
    let answered = ask("to-near.example.com.", Rtype::CNAME).answered();
    assert_eq!(answered.answers(), ["to-near.example.com. 20 IN CNAME ALIAS.example.com."]);
}

/// Answers whatever bytes; checks what holds for all of them.
fn check_any(snapshot: &Snapshot, packet: &[u8], transport: Transport) {
    let request = Request { source: [203, 0, 113, 99].into(), transport, draw: 5, unix_seconds: 0 };
    let mut out = vec![0xee; 65535];
    let outcome = respond(snapshot, &request, packet, &mut out);
    let is_answerable = packet.len() >= 12 && packet[2] & 0x80 == 0;
    assert_eq!(outcome.length > 0, is_answerable);
    if !is_answerable {
        return;
    }
    let limit = if transport == Transport::Udp { 1232 } else { 65535 };
    assert!((12..=limit).contains(&outcome.length));
    let message = Message::from_vec(&out[..outcome.length]).unwrap();
    assert_eq!(message.id.to_be_bytes(), packet[..2]);
    assert_eq!(message.message_type, MessageType::Response);
    if !message.queries.is_empty() {
        let name_bytes = 1 + out[12..].iter().position(|byte| *byte == 0).unwrap();
        assert_eq!(packet[12..][..name_bytes], out[12..][..name_bytes], "with its case");
    }
    let opcode = Opcode(packet[2] >> 3 & 0xf);
    let is_known = matches!(opcode, Opcode::QUERY | Opcode::NOTIFY);
    assert_eq!(!is_known, outcome.verdict == Verdict::NotImp);
}

const NAMES: [&str; 15] = [
    "www.example.com.",
    "example.com.",
    "geo.example.com.",
    "alias.example.com.",
    "to-geo.example.com.",
    "loop1.example.com.",
    "x.wild.example.com.",
    "long.example.com.",
    "a.sub.example.com.",
    "none.example.com.",
    "www.child.example.com.",
    "to-near.example.com.",
    "to-dname.example.com.",
    "x.deep.example.com.",
    "x.again.example.com.",
];

proptest! {
    #[test]
    fn any_bytes_end_in_one_verdict(packet: Vec<u8>, is_tcp: bool) {
        let transport = if is_tcp { Transport::Tcp } else { Transport::Udp };
        check_any(&snapshot(), &packet, transport);
    }

    #[test]
    fn any_damage_to_a_query_ends_in_one_verdict(
        name in prop::sample::select(&NAMES[..]),
        rtype in prop::sample::select(&[1u16, 2, 5, 6, 15, 16, 28, 43, 65][..]),
        source in 0u8..=32,
        address: [u8; 4],
        damage in prop::collection::vec((0usize..80, any::<u8>()), 0..4),
        cut in 0usize..300,
    ) {
        let mut packet = ask(name, Rtype(rtype)).subnet(address, source).packet();
        for (at, byte) in damage {
            let at = at % packet.len();
            packet[at] = byte;
        }
        packet.truncate(cut.max(8));
        // The types of this test; others have answers of their own.
        prop_assume!(packet.len() < 12 || packet[2] & 0x78 != 0 || !packet.ends_with(&[0, 253]));
        check_damaged(&packet);
    }
}

fn check_damaged(packet: &[u8]) {
    thread_local!(static SNAPSHOT: Snapshot = snapshot());
    SNAPSHOT.with(|snapshot| {
        check_any(snapshot, packet, Transport::Udp);
        check_any(snapshot, packet, Transport::Tcp);
    });
}

#[test]
fn what_a_pool_that_steers_by_capacity_answers_is_to_be_written_down() {
    let mut snapshot = snapshot();
    snapshot.epoch = 5;
    let answered = |asked: Asked| {
        let request =
            Request { source: asked.source, transport: asked.transport, draw: 0, unix_seconds: 0 };
        respond(&snapshot, &request, &asked.packet(), &mut [0; 1232]).answered
    };
    let by_load = ask("by-load.example.com.", Rtype::A);
    let record = answered(by_load.clone()).expect("a record");
    assert_eq!(record.prefix(), "203.0.113.0/24".parse().unwrap(), "the resolver's");
    assert_eq!((record.pool().0, record.datacenter().0), (4, 0));
    assert_eq!((record.ttl(), record.epoch()), (20, 5));
    let record = answered(by_load.subnet([198, 51, 100, 0], 24)).expect("a record");
    assert_eq!(record.prefix(), "198.51.100.0/24".parse().unwrap(), "the client's");
    assert_eq!(answered(ask("by-load.example.com.", Rtype::AAAA)), None, "no records");
    assert_eq!(answered(ask("geo.example.com.", Rtype::A)), None, "another way of steering");
    assert_eq!(answered(ask("www.example.com.", Rtype::A)), None);
}
