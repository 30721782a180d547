//! The ICMP probe: an echo is answered (RFC 792, RFC 4443 §4).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::ProbeResult;
use super::checksum::checksum;

/// Type, code, checksum, identifier and sequence number.
const HEADER_BYTES: usize = 8;
const PAYLOAD_BYTES: usize = 24;
/// More than a reply with an IPv4 header and all its options; what is longer is none of ours.
const RECEIVE_BYTES: usize = 256;

/// Sends one echo request and waits for its reply. The caller bounds the time.
///
/// Without privileges this needs the process's group in `net.ipv4.ping_group_range`, else
/// `CAP_NET_RAW`.
pub async fn probe(target: IpAddr) -> ProbeResult {
    let start = Instant::now();
    match echo(target).await {
        Ok(()) => ProbeResult::Good(start.elapsed()),
        // Not EACCES, which is what a firewall on the way says.
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => ProbeResult::unable(
            "ICMP is not permitted: add this group to the sysctl net.ipv4.ping_group_range, or \
             give the program CAP_NET_RAW",
        ),
        Err(error) => ProbeResult::from_io(&error),
    }
}

async fn echo(target: IpAddr) -> io::Result<()> {
    let (socket, access) = open(target)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SocketAddr::new(target, 0).into())?;
    // Not UDP, but connected and of datagrams, which is all that its send and recv ask for.
    let socket = UdpSocket::from_std(socket.into())?;
    let echo = Echo::new(target, access);
    socket.send(&echo.request()).await?;
    let mut packet = [0; RECEIVE_BYTES];
    loop {
        let length = socket.recv(&mut packet).await?;
        if packet.get(..length).is_some_and(|packet| echo.is_answered_by(packet)) {
            return Ok(());
        }
    }
}

/// What the kernel lets us have: a ping socket, which needs no privilege, or else a raw one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Ping,
    Raw,
}

fn open(target: IpAddr) -> io::Result<(Socket, Access)> {
    let (domain, protocol) = match target {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    match Socket::new(domain, Type::DGRAM, Some(protocol)) {
        Ok(socket) => Ok((socket, Access::Ping)),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Ok((Socket::new(domain, Type::RAW, Some(protocol))?, Access::Raw))
        }
        Err(error) => Err(error),
    }
}

/// One echo request, told from all others by its random content.
struct Echo {
    v6: bool,
    access: Access,
    identifier: u16,
    sequence: u16,
    payload: [u8; PAYLOAD_BYTES],
}

impl Echo {
    fn new(target: IpAddr, access: Access) -> Echo {
        let mut payload = [0; PAYLOAD_BYTES];
        fastrand::fill(&mut payload);
        Echo {
            v6: target.is_ipv6(),
            access,
            identifier: fastrand::u16(..),
            sequence: fastrand::u16(..),
            payload,
        }
    }

    fn request(&self) -> [u8; HEADER_BYTES + PAYLOAD_BYTES] {
        let mut packet = [0; HEADER_BYTES + PAYLOAD_BYTES];
        packet[0] = if self.v6 { 128 } else { 8 };
        packet[4..6].copy_from_slice(&self.identifier.to_be_bytes());
        packet[6..8].copy_from_slice(&self.sequence.to_be_bytes());
        packet[HEADER_BYTES..].copy_from_slice(&self.payload);
        if !self.v6 {
            // The kernel fills in that of ICMPv6, which covers the IPv6 addresses too.
            let checksum = checksum(&[&packet]);
            packet[2..4].copy_from_slice(&checksum.to_be_bytes());
        }
        packet
    }

    /// True for the reply to this request; a raw socket sees all that the target sends us.
    fn is_answered_by(&self, packet: &[u8]) -> bool {
        let packet = if self.access == Access::Raw && !self.v6 {
            // A raw IPv4 socket gives the IP header too; its low four bits count words.
            let header = packet.first().map_or(0, |first| usize::from(first & 0x0F) * 4);
            packet.get(header..).unwrap_or_default()
        } else {
            packet
        };
        let Some((header, payload)) = packet.split_at_checked(HEADER_BYTES) else { return false };
        // A ping socket puts an identifier of its own in the request and lets no other in.
        let ours = self.access == Access::Ping || header[4..6] == self.identifier.to_be_bytes();
        header[0] == if self.v6 { 129 } else { 0 }
            && header[1] == 0
            && ours
            && header[6..8] == self.sequence.to_be_bytes()
            && payload == self.payload
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn echo(target: &str, access: Access) -> Echo {
        Echo::new(target.parse().unwrap(), access)
    }

    /// What the target makes of a request.
    fn reply(echo: &Echo) -> Vec<u8> {
        let mut packet = echo.request().to_vec();
        packet[0] = if echo.v6 { 129 } else { 0 };
        packet
    }

    #[tokio::test]
    async fn loopback_answers_or_the_reason_is_the_permission() {
        for address in ["127.0.0.1", "::1"] {
            let target = address.parse().unwrap();
            let result = tokio::time::timeout(Duration::from_secs(20), probe(target)).await;
            match result.expect("no reply from loopback") {
                ProbeResult::Good(_) => {}
                ProbeResult::Unable(reason) => {
                    eprintln!("{address} could not be probed here: {reason}");
                    let why = ["ping_group_range", "not supported", "assign requested"];
                    assert!(why.iter().any(|why| reason.contains(why)), "{reason}");
                }
                // A machine without IPv6.
                ProbeResult::Failed(reason) => assert!(target.is_ipv6(), "{reason}"),
            }
        }
    }

    #[test]
    fn the_checksum_makes_the_sum_of_the_whole_zero() {
        let request = echo("127.0.0.1", Access::Raw).request();
        assert_eq!(checksum(&[&request]), 0);
        assert_ne!(request[2..4], [0, 0]);
    }

    #[test]
    fn only_the_reply_to_this_request_counts() {
        for target in ["198.51.100.1", "2001:db8::1"] {
            let echo = echo(target, Access::Ping);
            assert!(echo.is_answered_by(&reply(&echo)));
            assert!(!echo.is_answered_by(&echo.request()), "the request itself");
            for changed in [0, 1, 6, 7, 8, 31] {
                let mut packet = reply(&echo);
                packet[changed] ^= 1;
                assert!(!echo.is_answered_by(&packet), "byte {changed} changed");
            }
            assert!(!echo.is_answered_by(&reply(&echo)[..31]), "cut");
        }
    }

    #[test]
    fn a_raw_socket_tells_replies_by_identifier_behind_the_ip_header() {
        let v4 = echo("198.51.100.1", Access::Raw);
        for header_words in [5, 15] {
            let mut packet = vec![0; header_words * 4];
            packet[0] = 0x40 | header_words as u8;
            packet.extend(reply(&v4));
            assert!(v4.is_answered_by(&packet));
            packet[header_words * 4 + 4] ^= 1;
            assert!(!v4.is_answered_by(&packet), "another's identifier");
        }
        let v6 = echo("2001:db8::1", Access::Raw);
        let mut packet = reply(&v6);
        assert!(v6.is_answered_by(&packet));
        packet[4] ^= 1;
        assert!(!v6.is_answered_by(&packet), "another's identifier");
    }

    proptest! {
        #[test]
        fn no_packet_of_a_stranger_is_taken_or_panics(
            packet: Vec<u8>, v6: bool, raw: bool,
        ) {
            let target = if v6 { "2001:db8::1" } else { "198.51.100.1" };
            let echo = echo(target, if raw { Access::Raw } else { Access::Ping });
            prop_assert!(!echo.is_answered_by(&packet));
        }
    }
}
