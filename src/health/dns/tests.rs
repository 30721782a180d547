//! What responses are good, and a real exchange on loopback.

use std::net::IpAddr;
use std::time::Duration;

use domain::base::iana::Rcode;
use domain::base::{MessageBuilder, Name};
use proptest::prelude::*;

use super::*;

fn name(text: &str) -> Name<Vec<u8>> {
    text.parse().unwrap()
}

fn check(rtype: Rtype, answer: Option<DnsAnswer>) -> DnsCheck {
    DnsCheck { name: name("www.example.com."), rtype, rcode: Rcode::NOERROR, answer }
}

fn address(text: &str) -> Option<DnsAnswer> {
    Some(DnsAnswer::Address(text.parse().unwrap()))
}

/// A response to the query, with an alias and two addresses of each family, a name and a text.
fn response(query: &[u8], rcode: Rcode) -> Vec<u8> {
    let query = Message::from_slice(query).unwrap();
    let mut answer = MessageBuilder::new_vec().start_answer(query, rcode).unwrap();
    let (www, web) = (name("www.example.com."), name("web.example.com."));
    answer.push((&www, 60, Cname::new(&web))).unwrap();
    for address in [1, 7] {
        answer.push((&web, 60, A::from_octets(198, 51, 100, address))).unwrap();
    }
    answer.push((&web, 60, Aaaa::new("2001:db8::7".parse().unwrap()))).unwrap();
    answer.push((&web, 60, Ns::new(name("ns1.example.com.")))).unwrap();
    answer.push((&web, 60, Ptr::new(name("Host.example.com.")))).unwrap();
    answer.push((&web, 60, Txt::<Vec<u8>>::build_from_slice(b"ready").unwrap())).unwrap();
    answer.finish()
}

fn judged(check: &DnsCheck, rcode: Rcode) -> Result<(), String> {
    let query = query(check, 7);
    judge(check, &query, &response(&query, rcode)).expect("a response")
}

#[test]
fn the_response_code_decides_where_no_record_is_wanted() {
    assert_eq!(judged(&check(Rtype::MX, None), Rcode::NOERROR), Ok(()));
    let refused = judged(&check(Rtype::A, None), Rcode::REFUSED).unwrap_err();
    assert_eq!(refused, "the response code is REFUSED, wanted NOERROR");
    let denied = DnsCheck { rcode: Rcode::NXDOMAIN, ..check(Rtype::A, None) };
    assert_eq!(judged(&denied, Rcode::NXDOMAIN), Ok(()));
    assert!(judged(&denied, Rcode::NOERROR).is_err());
}

#[test]
fn a_wanted_record_is_found_among_others_and_behind_aliases() {
    for (rtype, answer) in [
        (Rtype::A, address("198.51.100.7")),
        (Rtype::AAAA, address("2001:db8::7")),
        (Rtype::CNAME, Some(DnsAnswer::Name(name("WEB.example.com.")))),
        (Rtype::NS, Some(DnsAnswer::Name(name("ns1.example.com.")))),
        (Rtype::PTR, Some(DnsAnswer::Name(name("host.example.com.")))),
        (Rtype::TXT, Some(DnsAnswer::Text("ready".into()))),
    ] {
        assert_eq!(judged(&check(rtype, answer), Rcode::NOERROR), Ok(()), "{rtype}");
    }
    let other = judged(&check(Rtype::A, address("198.51.100.8")), Rcode::NOERROR).unwrap_err();
    assert_eq!(other, "no A record says 198.51.100.8");
    let wanted = Some(DnsAnswer::Text("read".into()));
    assert!(judged(&check(Rtype::TXT, wanted), Rcode::NOERROR).is_err());
}

#[test]
fn a_response_without_records_of_the_type_lacks_the_wanted_one() {
    let check = check(Rtype::A, address("198.51.100.7"));
    let query = query(&check, 7);
    let question = Message::from_slice(&query).unwrap();
    let empty = MessageBuilder::new_vec().start_answer(question, Rcode::NOERROR).unwrap();
    let mut empty = empty.finish();
    let judged = judge(&check, &query, &empty).unwrap();
    assert_eq!(judged.unwrap_err(), "the response has no A record");
    empty[2] |= 0x02;
    assert!(judge(&check, &query, &empty).unwrap().unwrap_err().contains("truncated"));
}

#[test]
fn what_answers_another_query_is_passed_over() {
    let check = check(Rtype::A, None);
    let asked = query(&check, 7);
    assert_eq!(judge(&check, &asked, &response(&query(&check, 8), Rcode::NOERROR)), None);
    assert_eq!(judge(&check, &asked, &asked), None, "the query itself");
    let other = DnsCheck { rtype: Rtype::AAAA, ..check.clone() };
    assert_eq!(judge(&check, &asked, &response(&query(&other, 7), Rcode::NOERROR)), None);
    assert_eq!(judge(&check, &asked, b"x"), None);
}

proptest! {
    #[test]
    fn a_damaged_response_is_read_without_harm(
        at in 12usize..200, byte: u8, cut in 12usize..300,
    ) {
        for (rtype, answer) in [
            (Rtype::A, address("198.51.100.9")),
            (Rtype::AAAA, address("2001:db8::9")),
            (Rtype::PTR, Some(DnsAnswer::Name(name("x.")))),
            (Rtype::TXT, Some(DnsAnswer::Text("x".into()))),
        ] {
            let check = check(rtype, answer);
            let query = query(&check, 7);
            let mut response = response(&query, Rcode::NOERROR);
            if let Some(damaged) = response.get_mut(at) {
                *damaged = byte;
            }
            response.truncate(cut);
            judge(&check, &query, &response);
        }
    }
}

#[tokio::test]
async fn a_server_is_asked_and_what_others_say_first_is_not_believed() {
    for host in ["127.0.0.1", "::1"] {
        let host: IpAddr = host.parse().unwrap();
        // A machine without IPv6 has nothing to show here.
        let Ok(socket) = UdpSocket::bind((host, 0)).await else { continue };
        let target = socket.local_addr().unwrap();
        let check = check(Rtype::A, address("198.51.100.7"));
        let serve = async {
            let mut query = [0; 512];
            let (length, client) = socket.recv_from(&mut query).await.unwrap();
            let mut stale = response(&query[..length], Rcode::SERVFAIL);
            stale[0] ^= 0x80;
            socket.send_to(&stale, client).await.unwrap();
            let good = response(&query[..length], Rcode::NOERROR);
            socket.send_to(&good, client).await.unwrap();
        };
        let probed = async { tokio::join!(probe(target, &check), serve).0 };
        let result = tokio::time::timeout(Duration::from_secs(20), probed).await.unwrap();
        assert!(matches!(result, ProbeResult::Good(_)), "{result:?}");
        drop(socket);
        let result = probe(target, &check).await;
        assert!(
            matches!(&result, ProbeResult::Failed(why) if why.contains("refused")),
            "{result:?}"
        );
    }
}
