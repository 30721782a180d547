//! The half-open TCP probe: SYN, SYN-ACK, and the kernel's RST. The target's program accepts
//! nothing, and does not notice.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::ProbeResult;
use super::checksum;

/// A TCP header and the one option that every SYN should carry (RFC 9293 §3.7.1).
const SYN_BYTES: usize = 24;
const HEADER_BYTES: usize = 20;
/// More than a segment without data, with an IPv4 header and all options.
const RECEIVE_BYTES: usize = 256;
/// A SYN without an answer is sent again after this, and again after twice that (RFC 6298 §2).
const FIRST_PATIENCE: Duration = Duration::from_secs(1);

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// Sends a SYN and waits for what comes of it. The caller bounds the time. Needs `CAP_NET_RAW`.
///
/// The RST is sent by the kernel, which knows of no connection to which the SYN-ACK belongs. A
/// firewall of this machine must let it out, or the target keeps the half-open connection until
/// its own timeout.
pub async fn probe(target: SocketAddr) -> ProbeResult {
    let start = Instant::now();
    match knock(target).await {
        Ok(Answer::Open) => ProbeResult::Good(start.elapsed()),
        Ok(Answer::Refused) => ProbeResult::failed("connection refused"),
        // Not EACCES, which is what a firewall on the way says.
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => ProbeResult::unable(
            "half-open checks are not permitted: give the program CAP_NET_RAW, or use a check of \
             kind tcp",
        ),
        Err(error) => ProbeResult::from_io(&error),
    }
}

async fn knock(target: SocketAddr) -> io::Result<Answer> {
    // A raw socket for each probe, connected, and not one for all: an unconnected one would be given
    // a copy of every segment that reaches this machine, which may be a forwarder's whole traffic.
    let (domain, any) = match target.ip() {
        IpAddr::V4(_) => (Domain::IPV4, IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        IpAddr::V6(_) => (Domain::IPV6, IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
    };
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.connect(&SocketAddr::new(target.ip(), 0).into())?;
    let from = socket.local_addr()?.as_socket().map_or(any, |address| address.ip());
    // Bound and never connected: it keeps the port from others, and no segment is taken for its.
    let reserved = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    reserved.bind(&SocketAddr::new(from, 0).into())?;
    let port = reserved.local_addr()?.as_socket().map_or(0, |address| address.port());
    let knock = Knock { from: SocketAddr::new(from, port), target, sequence: fastrand::u32(..) };
    socket.attach_filter(&knock.filter())?;
    // Not UDP, but connected and of datagrams, which is all that its send and recv ask for.
    let socket = UdpSocket::from_std(socket.into())?;
    let syn = knock.syn();
    let mut patience = FIRST_PATIENCE;
    loop {
        socket.send(&syn).await?;
        match timeout(patience, knock.answer(&socket)).await {
            Ok(answer) => return answer,
            Err(_) => patience = patience.saturating_mul(2),
        }
    }
}

/// What comes of a SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Open,
    Refused,
}

/// One SYN, told from all others by its ports and sequence number.
#[derive(Clone, Debug)]
struct Knock {
    from: SocketAddr,
    target: SocketAddr,
    sequence: u32,
}

impl Knock {
    fn syn(&self) -> [u8; SYN_BYTES] {
        /// What any path of today carries.
        const SEGMENT_SIZE: u16 = 1_220;
        let mut segment = [0; SYN_BYTES];
        segment[0..2].copy_from_slice(&self.from.port().to_be_bytes());
        segment[2..4].copy_from_slice(&self.target.port().to_be_bytes());
        segment[4..8].copy_from_slice(&self.sequence.to_be_bytes());
        segment[12] = (SYN_BYTES as u8 / 4) << 4;
        segment[13] = SYN;
        segment[14..16].copy_from_slice(&u16::MAX.to_be_bytes());
        segment[20..22].copy_from_slice(&[2, 4]);
        segment[22..24].copy_from_slice(&SEGMENT_SIZE.to_be_bytes());
        let checksum = checksum::of_tcp(self.from.ip(), self.target.ip(), &segment);
        segment[16..18].copy_from_slice(&checksum.to_be_bytes());
        segment
    }

    async fn answer(&self, socket: &UdpSocket) -> io::Result<Answer> {
        let mut packet = [0; RECEIVE_BYTES];
        loop {
            let length = socket.recv(&mut packet).await?;
            if let Some(answer) = packet.get(..length).and_then(|packet| self.read(packet)) {
                return Ok(answer);
            }
        }
    }

    /// What a packet of the target's says of this SYN, if it is about it. Its checksum is not looked
    /// at: the kernel fills in none for what stays in the machine.
    fn read(&self, packet: &[u8]) -> Option<Answer> {
        let segment = match self.target {
            // With the IP header, whose low four bits of the first byte count words.
            SocketAddr::V4(_) => packet.get(usize::from(packet.first()? & 0x0F) * 4..)?,
            SocketAddr::V6(_) => packet,
        };
        let header = segment.get(..HEADER_BYTES)?;
        let is_ours = header[0..2] == self.target.port().to_be_bytes()
            && header[2..4] == self.from.port().to_be_bytes()
            && header[8..12] == self.sequence.wrapping_add(1).to_be_bytes();
        match header[13] & (SYN | ACK | RST | FIN) {
            flags if is_ours && flags == SYN | ACK => Some(Answer::Open),
            flags if is_ours && flags == RST | ACK => Some(Answer::Refused),
            _ => None,
        }
    }

    /// Lets in only segments with the ports of the answer: the target may send much else.
    fn filter(&self) -> Vec<SockFilter> {
        use libc::{
            BPF_ABS, BPF_B, BPF_H, BPF_IND, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_LDX, BPF_MSH,
            BPF_RET,
        };
        let one = |code: u32, jump_true, jump_false, operand| {
            SockFilter::new(code as u16, jump_true, jump_false, operand)
        };
        let to_header = one(BPF_LDX | BPF_B | BPF_MSH, 0, 0, 0);
        let (before, load) = match self.target {
            SocketAddr::V4(_) => (Some(to_header), BPF_LD | BPF_H | BPF_IND),
            SocketAddr::V6(_) => (None, BPF_LD | BPF_H | BPF_ABS),
        };
        let equals = BPF_JMP | BPF_JEQ | BPF_K;
        before
            .into_iter()
            .chain([
                one(load, 0, 0, 0),
                one(equals, 0, 3, self.target.port().into()),
                one(load, 0, 0, 2),
                one(equals, 0, 1, self.from.port().into()),
                one(BPF_RET | BPF_K, 0, 0, u32::MAX),
                one(BPF_RET | BPF_K, 0, 0, 0),
            ])
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::net::TcpListener;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    fn knock(from: &str, target: &str) -> Knock {
        Knock { from: from.parse().unwrap(), target: target.parse().unwrap(), sequence: u32::MAX }
    }

    /// What the target answers, behind `ip` bytes of an IP header.
    fn answer(knock: &Knock, flags: u8, ip: usize) -> Vec<u8> {
        let mut packet = vec![0; ip];
        if let Some(first) = packet.first_mut() {
            *first = 0x40 | (ip / 4) as u8;
        }
        packet.extend(knock.target.port().to_be_bytes());
        packet.extend(knock.from.port().to_be_bytes());
        packet.extend([7; 4]);
        packet.extend(knock.sequence.wrapping_add(1).to_be_bytes());
        packet.extend([0x50, flags]);
        packet.extend([0; 6]);
        packet
    }

    #[tokio::test]
    async fn a_listener_is_good_and_accepts_nothing_and_none_is_refused() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            // A machine without IPv6 has nothing to show here.
            let Ok(listener) = TcpListener::bind(address).await else { continue };
            let target = listener.local_addr().unwrap();
            match timeout(DEADLINE, probe(target)).await.expect("loopback answers") {
                ProbeResult::Good(_) => {}
                ProbeResult::Unable(reason) => {
                    eprintln!("{target} could not be probed here: {reason}");
                    assert!(reason.contains("CAP_NET_RAW"), "{reason}");
                    continue;
                }
                ProbeResult::Failed(reason) => panic!("{reason}"),
            }
            // What is accepted next is this one.
            let stream = tokio::net::TcpStream::connect(target).await.unwrap();
            let (_, from) = timeout(DEADLINE, listener.accept()).await.unwrap().unwrap();
            assert_eq!(from, stream.local_addr().unwrap());
            drop(listener);
            let closed = timeout(DEADLINE, probe(target)).await.expect("loopback answers");
            assert_eq!(closed, ProbeResult::failed("connection refused"));
        }
    }

    #[tokio::test]
    async fn many_probes_of_one_target_at_once_each_get_their_own_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap();
        let probes = (0..200).map(|_| tokio::spawn(timeout(DEADLINE, probe(target))));
        for probe in probes.collect::<Vec<_>>() {
            let result = probe.await.unwrap().expect("loopback answers");
            assert!(!matches!(result, ProbeResult::Failed(_)), "{result}");
        }
    }

    #[test]
    fn a_syn_carries_its_checksum_and_its_size() {
        for (from, target) in [
            ("198.51.100.1:40000", "203.0.113.1:443"),
            ("[2001:db8::1]:40000", "[2001:db8::2]:443"),
        ] {
            let knock = knock(from, target);
            let syn = knock.syn();
            assert_eq!(checksum::of_tcp(knock.from.ip(), knock.target.ip(), &syn), 0);
            assert_eq!(usize::from(syn[12] >> 4) * 4, syn.len());
            assert_eq!(syn[13], SYN);
        }
    }

    #[test]
    fn only_the_answer_to_this_syn_counts() {
        for (knock, ip) in [
            (knock("198.51.100.1:40000", "203.0.113.1:443"), 20),
            (knock("198.51.100.1:40000", "203.0.113.1:443"), 60),
            (knock("[2001:db8::1]:40000", "[2001:db8::2]:443"), 0),
        ] {
            let read = |flags| knock.read(&answer(&knock, flags, ip));
            assert_eq!(read(SYN | ACK), Some(Answer::Open));
            assert_eq!(read(RST | ACK), Some(Answer::Refused));
            for flags in [0, SYN, ACK, RST, FIN | ACK, SYN | ACK | RST, SYN | ACK | FIN] {
                assert_eq!(read(flags), None, "{flags:#x}");
            }
            for changed in [0, 1, 2, 3, 8, 9, 10, 11] {
                let mut packet = answer(&knock, SYN | ACK, ip);
                packet[ip + changed] ^= 1;
                assert_eq!(knock.read(&packet), None, "byte {changed} changed");
            }
            let packet = answer(&knock, SYN | ACK, ip);
            for length in 0..packet.len() {
                assert_eq!(knock.read(&packet[..length]), None, "cut to {length}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_packet_of_a_stranger_is_taken_or_panics(packet: Vec<u8>, v6: bool) {
            let (from, target) = match v6 {
                true => ("[2001:db8::1]:40000", "[2001:db8::2]:443"),
                false => ("198.51.100.1:40000", "203.0.113.1:443"),
            };
            prop_assert_eq!(knock(from, target).read(&packet), None);
        }
    }
}
