//! Asking a server for many clients.

use std::net::{Ipv4Addr, SocketAddr};

use hickory_proto::op::Message;
use hickory_proto::rr::RData;

use super::prefix_of;
use crate::asking;

/// The one address that each of the first `clients` is given for a name in `example.com`; none
/// where there is no such answer.
pub(super) fn one_address(
    server: SocketAddr,
    owner: &str,
    clients: usize,
) -> Vec<Option<Ipv4Addr>> {
    let question =
        |client| asking::question_for(&format!("{owner}.example.com"), prefix_of(client).into());
    let questions: Vec<Vec<u8>> = (0..clients).map(question).collect();
    let read = |answer: &Option<Vec<u8>>| match addresses(answer.as_deref()?)?[..] {
        [address] => Some(address),
        _ => None,
    };
    asking::ask_udp(server, &questions).iter().map(read).collect()
}

/// All addresses of a name in `example.com`, ascending; none without an answer.
pub(super) fn all_addresses(server: SocketAddr, owner: &str) -> Option<Vec<Ipv4Addr>> {
    let question = asking::question_for(&format!("{owner}.example.com"), prefix_of(0).into());
    let answers = asking::ask_udp(server, &[question]);
    let mut addresses = addresses(answers[0].as_deref()?)?;
    addresses.sort_unstable();
    Some(addresses)
}

fn addresses(answer: &[u8]) -> Option<Vec<Ipv4Addr>> {
    let message = Message::from_vec(answer).ok()?;
    let address = |data: &RData| match data {
        RData::A(address) => Some(address.0),
        _ => None,
    };
    message.answers.iter().map(|record| address(&record.data)).collect()
}
