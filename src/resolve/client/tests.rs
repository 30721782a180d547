//! Resolvers that answer, are silent, lie, or have more to say than a datagram holds.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::{RData, Record, RecordType, rdata};
use tokio::net::TcpListener;

use super::*;

/// How a resolver of a test's own answers: the messages that it sends for one query.
type Manner = fn(&Message) -> Vec<Vec<u8>>;

fn good(query: &Message, last: u8) -> Message {
    let mut message = query.clone();
    message.metadata.message_type = MessageType::Response;
    message.metadata.recursion_available = true;
    message.edns = None;
    let asks = &query.queries[0];
    if asks.query_type() == RecordType::A {
        let data = RData::A(rdata::A(Ipv4Addr::new(203, 0, 113, last)));
        message.add_answer(Record::from_rdata(asks.name().clone(), 60, data));
    }
    message
}

fn bytes(message: &Message) -> Vec<u8> {
    message.to_vec().unwrap()
}

/// Answers over UDP, and over TCP at the same port, each in its manner.
async fn resolver(over_udp: Manner, over_tcp: Manner) -> SocketAddr {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(address).await.unwrap();
    tokio::spawn(async move {
        let mut packet = [0; 512];
        while let Ok((length, from)) = udp.recv_from(&mut packet).await {
            for answer in over_udp(&Message::from_vec(&packet[..length]).unwrap()) {
                let _ = udp.send_to(&answer, from).await;
            }
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let length = stream.read_u16().await.unwrap();
            let mut query = vec![0; length.into()];
            stream.read_exact(&mut query).await.unwrap();
            for answer in over_tcp(&Message::from_vec(&query).unwrap()) {
                let _ = stream.write_u16(answer.len() as u16).await;
                let _ = stream.write_all(&answer).await;
            }
        }
    });
    address
}

async fn ask(servers: &[SocketAddr]) -> Result<Vec<IpAddr>, String> {
    let name = "www.example.net.".parse().unwrap();
    let answer = Resolver::new(servers).addresses(&name, Family::V4).await;
    answer.map(|answer| answer.addresses)
}

fn address(last: u8) -> Result<Vec<IpAddr>, String> {
    Ok(vec![Ipv4Addr::new(203, 0, 113, last).into()])
}

#[tokio::test]
async fn an_answer_too_long_for_a_datagram_is_fetched_over_tcp() {
    let truncated: Manner = |query| {
        let mut message = good(query, 1);
        message.metadata.truncation = true;
        vec![bytes(&message)]
    };
    let server = resolver(truncated, |query| vec![bytes(&good(query, 2))]).await;
    assert_eq!(ask(&[server]).await, address(2));
}

#[tokio::test]
async fn garbage_and_guesses_before_the_answer_do_no_harm() {
    let noisy: Manner = |query| {
        let mut guess = good(query, 66);
        guess.metadata.id = query.metadata.id.wrapping_add(1);
        let other = Message::query();
        vec![
            vec![],
            vec![0; 11],
            vec![0xff; 600],
            bytes(&guess),
            bytes(&other),
            bytes(&good(query, 1)),
        ]
    };
    let server = resolver(noisy, |_| Vec::new()).await;
    assert_eq!(ask(&[server]).await, address(1));
}

#[tokio::test]
async fn another_is_asked_when_one_fails_and_the_one_that_answered_first_next_time() {
    let failing: Manner = |query| {
        let mut message = good(query, 66);
        message.metadata.response_code = ResponseCode::ServFail;
        vec![bytes(&message)]
    };
    let fails = resolver(failing, |_| Vec::new()).await;
    let answers = resolver(|query| vec![bytes(&good(query, 1))], |_| Vec::new()).await;
    let gone = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let resolver = Resolver::new(&[fails, gone, answers]);
    let name: Name = "www.example.net.".parse().unwrap();
    assert_eq!(resolver.addresses(&name, Family::V4).await.unwrap().addresses, address(1).unwrap());
    assert_eq!(resolver.preferred.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn that_nobody_answers_is_told_with_each_ones_reason() {
    let failing: Manner = |query| {
        let mut message = good(query, 66);
        message.metadata.response_code = ResponseCode::Refused;
        vec![bytes(&message)]
    };
    let fails = resolver(failing, |_| Vec::new()).await;
    let gone = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = ask(&[fails, gone]).await.unwrap_err();
    assert!(error.contains("REFUSED") && error.contains("Connection refused"), "{error}");
    assert_eq!(ask(&[]).await, Err("there is no resolver".into()));
}

#[tokio::test]
async fn who_breaks_off_over_tcp_has_not_answered() {
    let truncated: Manner = |query| {
        let mut message = good(query, 1);
        message.metadata.truncation = true;
        vec![bytes(&message)]
    };
    // The connection ends in the middle of the message.
    let broken: Manner = |query| vec![bytes(&good(query, 1))[..20].to_vec()];
    for over_tcp in [broken, |_| Vec::new(), truncated] {
        let server = resolver(truncated, over_tcp).await;
        assert!(ask(&[server]).await.is_err());
    }
}

#[tokio::test]
async fn who_is_silent_is_waited_for_only_so_long() {
    let silent = resolver(|_| Vec::new(), |_| Vec::new()).await;
    let answers = resolver(|query| vec![bytes(&good(query, 1))], |_| Vec::new()).await;
    let resolver = Arc::new(Resolver::new(&[silent, answers]));
    let name: Name = "www.example.net.".parse().unwrap();
    let asked = resolver.addresses(&name, Family::V4);
    let answer = timeout(QUESTION_TIMEOUT, asked).await.expect("the second one is asked").unwrap();
    assert_eq!(Ok(answer.addresses), address(1));
}

#[test]
fn numbers_of_queries_differ() {
    let resolver = Resolver::new(&[]);
    let ids: std::collections::HashSet<u16> = (0..200).map(|_| resolver.id()).collect();
    assert!(ids.len() > 190, "{}", ids.len());
}
