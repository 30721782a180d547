//! What responses are good, and a real exchange on loopback.

use std::net::IpAddr;
use std::time::Duration;

use domain::base::iana::Rcode;
use domain::base::{MessageBuilder, Name};
use proptest::prelude::*;
use tokio::net::TcpListener;

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

fn judged(check: &DnsCheck, rcode: Rcode) -> Judged {
    let query = query(check, 7);
    judge(check, &query, &response(&query, rcode)).expect("a response")
}

fn wrong(reason: &str) -> Judged {
    Judged::Wrong(reason.into())
}

/// A response that has lost its answers for want of room.
fn truncated(query: &[u8]) -> Vec<u8> {
    let query = Message::from_slice(query).unwrap();
    let empty = MessageBuilder::new_vec().start_answer(query, Rcode::NOERROR).unwrap();
    let mut empty = empty.finish();
    empty[2] |= 0x02;
    empty
}

#[test]
fn the_response_code_decides_where_no_record_is_wanted() {
    assert_eq!(judged(&check(Rtype::MX, None), Rcode::NOERROR), Judged::Good);
    let refused = judged(&check(Rtype::A, None), Rcode::REFUSED);
    assert_eq!(refused, wrong("the response code is REFUSED, wanted NOERROR"));
    let denied = DnsCheck { rcode: Rcode::NXDOMAIN, ..check(Rtype::A, None) };
    assert_eq!(judged(&denied, Rcode::NXDOMAIN), Judged::Good);
    assert!(matches!(judged(&denied, Rcode::NOERROR), Judged::Wrong(_)));
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
        assert_eq!(judged(&check(rtype, answer), Rcode::NOERROR), Judged::Good, "{rtype}");
    }
    let other = judged(&check(Rtype::A, address("198.51.100.8")), Rcode::NOERROR);
    assert_eq!(other, wrong("no A record says 198.51.100.8"));
    let wanted = Some(DnsAnswer::Text("read".into()));
    assert!(matches!(judged(&check(Rtype::TXT, wanted), Rcode::NOERROR), Judged::Wrong(_)));
}

#[test]
fn a_response_without_records_of_the_type_lacks_the_wanted_one() {
    let check = check(Rtype::A, address("198.51.100.7"));
    let query = query(&check, 7);
    let mut empty = truncated(&query);
    empty[2] &= !0x02;
    let judged = judge(&check, &query, &empty);
    assert_eq!(judged, Some(wrong("the response has no A record")));
}

#[test]
fn a_truncated_response_is_good_if_what_it_has_is_as_wanted_and_undecided_else() {
    let wanted = check(Rtype::A, address("198.51.100.7"));
    let query = query(&wanted, 7);
    assert_eq!(judge(&wanted, &query, &truncated(&query)), Some(Judged::Truncated));
    let any = check(Rtype::A, None);
    assert_eq!(judge(&any, &query, &truncated(&query)), Some(Judged::Good));
    let denied = DnsCheck { rcode: Rcode::NXDOMAIN, ..any };
    assert_eq!(judge(&denied, &query, &truncated(&query)), Some(Judged::Truncated));
    let mut whole = response(&query, Rcode::NOERROR);
    whole[2] |= 0x02;
    assert_eq!(judge(&wanted, &query, &whole), Some(Judged::Good));
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

/// Makes an answer to a query.
type Answer = fn(&[u8]) -> Vec<u8>;

/// A server whose datagrams are truncated, and what a probe finds if over TCP `answer` comes.
async fn found_over_tcp(answer: Option<Answer>) -> ProbeResult {
    let (listener, socket) = loop {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // Others may have the port of that number.
        if let Ok(socket) = UdpSocket::bind(listener.local_addr().unwrap()).await {
            break (listener, socket);
        }
    };
    let target = socket.local_addr().unwrap();
    let serve = async {
        let mut query = [0; 512];
        let (length, client) = socket.recv_from(&mut query).await.unwrap();
        // Before the probe hears of it.
        let listener = answer.map(|answer| (answer, listener));
        socket.send_to(&truncated(&query[..length]), client).await.unwrap();
        let Some((answer, listener)) = listener else { return };
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut query = vec![0; stream.read_u16().await.unwrap().into()];
        stream.read_exact(&mut query).await.unwrap();
        let answer = answer(&query);
        let length = (answer.len() as u16).to_be_bytes();
        // In pieces, as it may come.
        stream.write_all(&length[..1]).await.unwrap();
        stream.write_all(&[&length[1..], &answer].concat()).await.unwrap();
    };
    let check = check(Rtype::A, address("198.51.100.7"));
    let probed = async { tokio::join!(probe(target, &check), serve).0 };
    tokio::time::timeout(Duration::from_secs(20), probed).await.unwrap()
}

#[tokio::test]
async fn a_truncated_answer_is_fetched_over_tcp() {
    let good = found_over_tcp(Some(|query| response(query, Rcode::NOERROR))).await;
    assert!(matches!(good, ProbeResult::Good(_)), "{good:?}");
    for (answer, wanted) in [
        (Some((|query| response(query, Rcode::SERVFAIL)) as Answer), "SERVFAIL"),
        (Some(truncated), "even over TCP"),
        (Some(|query| query.to_vec()), "another query"),
        (None, "over TCP: Connection refused"),
    ] {
        match found_over_tcp(answer).await {
            ProbeResult::Failed(why) if why.contains(wanted) => {}
            other => panic!("{other:?}, wanted {wanted}"),
        }
    }
}
