//! Datagrams in batches: one system call receives many, one sends many (recvmmsg, sendmmsg), and
//! each can leave from the address that its peer sent to (IP_PKTINFO).

#![expect(unsafe_code, reason = "no safe crate offers recvmmsg, sendmmsg and IP_PKTINFO together")]

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use libc::c_int;

/// Room for one `in6_pktinfo`, the larger of the two, with its header.
const CONTROL_BYTES: usize = 48;
/// The same, and besides the length at which a message is cut.
const CUT_CONTROL_BYTES: usize = CONTROL_BYTES + 24;
/// What the kernel tells of a socket with SO_MEMINFO, of which the last is wanted.
const SOCKET_FIGURES: usize = libc::SK_MEMINFO_DROPS as usize + 1;
/// A message is cut into no more datagrams (UDP_MAX_SEGMENTS of the kernels that have fewest).
const MOST_ALIKE: usize = 64;
/// And it is no longer, before it is cut.
const MOST_ALIKE_BYTES: usize = 65_000;

/// Asks the kernel to say with each datagram to which of our addresses it was sent. Needed where
/// the socket is bound to all of them.
pub fn receive_destinations(socket: &impl AsFd, is_v6: bool) -> io::Result<()> {
    match is_v6 {
        false => set_option(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1),
        true => set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1),
    }
}

/// Makes the kernel ignore path MTUs learnt from ICMP, which anyone can forge: for datagrams that
/// fit every path.
pub fn ignore_path_mtu(socket: &impl AsFd, is_v6: bool) -> io::Result<()> {
    match is_v6 {
        false => {
            set_option(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_OMIT)
        }
        true => set_option(
            socket,
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_OMIT,
        ),
    }
}

/// Makes the kernel send no datagram in fragments, whatever it has learnt of the path: the sender
/// finds out what fits (RFC 9000 §14).
pub fn never_fragment(socket: &impl AsFd, is_v6: bool) -> io::Result<()> {
    match is_v6 {
        false => {
            set_option(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)
        }
        true => set_option(
            socket,
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_PROBE,
        ),
    }
}

/// How many datagrams the kernel has dropped as the socket had no room for them, since it was opened;
/// modulo 2^32.
pub fn drops(socket: &impl AsFd) -> io::Result<u32> {
    let mut figures = [0_u32; SOCKET_FIGURES];
    let mut length = mem::size_of_val(&figures) as libc::socklen_t;
    // SAFETY: the descriptor is open, and the pointers are to `length` writable bytes and to that.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            figures.as_mut_ptr().cast(),
            &mut length,
        )
    };
    if result == 0 {
        Ok(figures[libc::SK_MEMINFO_DROPS as usize])
    } else {
        Err(io::Error::last_os_error())
    }
}

fn set_option(socket: &impl AsFd, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    let socket = socket.as_fd().as_raw_fd();
    let value: *const c_int = &value;
    let length = mem::size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is open, and the pointer is to `length` readable bytes.
    let result = unsafe { libc::setsockopt(socket, level, name, value.cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The two ends of a datagram: the peer, and which of our addresses it was sent to or is to leave
/// from.
#[derive(Clone, Debug)]
pub struct Envelope {
    peer: Peer,
    peer_bytes: libc::socklen_t,
    control: Control,
    control_bytes: usize,
}

/// A `sockaddr_in` or `sockaddr_in6`.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
struct Peer([u8; mem::size_of::<libc::sockaddr_in6>()]);

#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

impl Envelope {
    const EMPTY: Envelope =
        Envelope { peer: Peer([0; _]), peer_bytes: 0, control: Control([0; _]), control_bytes: 0 };

    /// For a datagram to `peer`, which leaves from `local`; none: from what the socket is bound to.
    pub fn to(peer: SocketAddr, local: Option<IpAddr>) -> Envelope {
        let mut envelope = Envelope::EMPTY;
        envelope.address_to(peer);
        if let Some(local) = local {
            envelope.leave_from(local);
        }
        envelope
    }

    /// Who sent the datagram.
    pub fn source(&self) -> SocketAddr {
        let bytes = &self.peer.0;
        let family = u16::from_ne_bytes([bytes[0], bytes[1]]);
        let port = u16::from_be_bytes([bytes[2], bytes[3]]);
        let word = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        if c_int::from(family) == libc::AF_INET {
            SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::from(word(4)), port))
        } else {
            let mut octets = [0; 16];
            octets.copy_from_slice(&bytes[8..24]);
            let scope = u32::from_ne_bytes(word(24));
            SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::from(octets), port, 0, scope))
        }
    }

    /// To which of our addresses it was sent, if the kernel says it. The same bytes, sent with the
    /// reply, make it leave from there; the interface is left to the routing table.
    pub fn destination(&mut self) -> Option<IpAddr> {
        let head_bytes = control_header_bytes();
        let head = self.control.0.get(..self.control_bytes)?.get(..head_bytes)?;
        // SAFETY: `head` is as long as a `cmsghdr` without data, whose fields any bytes are valid for.
        let head: libc::cmsghdr = unsafe { ptr::read_unaligned(head.as_ptr().cast()) };
        let data = &mut self.control.0[head_bytes..];
        match (head.cmsg_level, head.cmsg_type) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                // in_pktinfo: the interface, the local address, the address in the datagram.
                data[..4].fill(0);
                Some(IpAddr::from([data[4], data[5], data[6], data[7]]))
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                // in6_pktinfo: the address, the interface; a link-local address needs it.
                let mut octets = [0; 16];
                octets.copy_from_slice(&data[..16]);
                let address = Ipv6Addr::from(octets);
                if !address.is_unicast_link_local() {
                    data[16..20].fill(0);
                }
                Some(IpAddr::V6(address))
            }
            _ => None,
        }
    }

    fn address_to(&mut self, peer: SocketAddr) {
        let bytes = &mut self.peer.0;
        bytes[2..4].copy_from_slice(&peer.port().to_be_bytes());
        let (family, length) = match peer {
            SocketAddr::V4(peer) => {
                bytes[4..8].copy_from_slice(&peer.ip().octets());
                (libc::AF_INET, mem::size_of::<libc::sockaddr_in>())
            }
            SocketAddr::V6(peer) => {
                bytes[8..24].copy_from_slice(&peer.ip().octets());
                bytes[24..28].copy_from_slice(&peer.scope_id().to_ne_bytes());
                (libc::AF_INET6, mem::size_of::<libc::sockaddr_in6>())
            }
        };
        bytes[..2].copy_from_slice(&(family as libc::sa_family_t).to_ne_bytes());
        self.peer_bytes = length as libc::socklen_t;
    }

    fn leave_from(&mut self, local: IpAddr) {
        let mut data = [0; mem::size_of::<libc::in6_pktinfo>()];
        let (level, kind, data_bytes) = match local {
            IpAddr::V4(local) => {
                data[4..8].copy_from_slice(&local.octets());
                (libc::IPPROTO_IP, libc::IP_PKTINFO, mem::size_of::<libc::in_pktinfo>())
            }
            IpAddr::V6(local) => {
                data[..16].copy_from_slice(&local.octets());
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, mem::size_of::<libc::in6_pktinfo>())
            }
        };
        self.control_bytes = put_control(&mut self.control.0, level, kind, &data[..data_bytes]);
    }
}

/// Writes a control message, and tells how much room it takes; none where there is not as much.
fn put_control(room: &mut [u8], level: c_int, kind: c_int, data: &[u8]) -> usize {
    let head_bytes = control_header_bytes();
    // SAFETY: all-zero is a valid `cmsghdr`; CMSG_LEN and CMSG_SPACE compute from their argument alone.
    let (mut head, length, space): (libc::cmsghdr, _, _) = unsafe {
        let data_bytes = data.len() as libc::c_uint;
        (mem::zeroed(), libc::CMSG_LEN(data_bytes), libc::CMSG_SPACE(data_bytes) as usize)
    };
    let Some(room) = room.get_mut(..space) else { return 0 };
    head.cmsg_len = length as _;
    head.cmsg_level = level;
    head.cmsg_type = kind;
    // SAFETY: CMSG_SPACE leaves room for the header, and any bytes may be written over.
    unsafe { ptr::write_unaligned(room.as_mut_ptr().cast(), head) };
    room[head_bytes..head_bytes + data.len()].copy_from_slice(data);
    space
}

/// Where the data of a control message begins.
fn control_header_bytes() -> usize {
    // SAFETY: CMSG_LEN computes from its argument alone.
    unsafe { libc::CMSG_LEN(0) as usize }
}

/// A datagram that was received.
#[derive(Debug)]
pub struct Slot<B> {
    /// From whom, and to which of our addresses.
    pub envelope: Envelope,
    length: usize,
    buffer: B,
}

impl<B: AsRef<[u8]>> Slot<B> {
    /// The bytes in it; a datagram that was longer than the buffer is cut.
    pub fn packet(&self) -> &[u8] {
        &self.buffer.as_ref()[..self.length]
    }
}

/// How many of these, from the first on, may go as one message that is cut into datagrams on its
/// way: they are as long as each other, but the last may be shorter. 0 without any. An empty one goes
/// alone: nothing can be cut from nothing.
pub fn alike<B: AsRef<[u8]>>(slots: &[Slot<B>]) -> usize {
    let Some(first) = slots.first() else { return 0 };
    let length = first.length;
    let most = MOST_ALIKE.min(MOST_ALIKE_BYTES.checked_div(length).unwrap_or(1)).max(1);
    let same = slots.iter().take(most).take_while(|slot| slot.length == first.length).count();
    let has_shorter = slots.get(same).is_some_and(|next| (1..length).contains(&next.length));
    same + usize::from(same < most && has_shorter)
}

/// How long is waited for datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Until one is there, or the socket's receive timeout is over.
    ForOne,
    /// Not at all.
    Never,
}

/// Room for a batch of datagrams that arrive, allocated once.
#[derive(Debug)]
pub struct Inbox<B> {
    slots: Box<[Slot<B>]>,
    vectors: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
}

// SAFETY: the pointers in the headers and vectors are used during a system call alone, which sets
// them first.
unsafe impl<B: Send> Send for Inbox<B> {}

impl<B: AsMut<[u8]>> Inbox<B> {
    /// One datagram for each buffer.
    pub fn new(buffers: impl IntoIterator<Item = B>) -> Inbox<B> {
        let slot = |buffer| Slot { envelope: Envelope::EMPTY, length: 0, buffer };
        let slots: Box<[Slot<B>]> = buffers.into_iter().map(slot).collect();
        Inbox { vectors: vectors(slots.len()), headers: headers(slots.len()), slots }
    }

    /// Takes as many as are there into the slots from `first` on, `most` at most. Gives how many.
    pub fn receive(
        &mut self,
        socket: &impl AsFd,
        first: usize,
        most: usize,
        wait: Wait,
    ) -> io::Result<usize> {
        let slots = &mut self.slots[first..];
        let most = most.min(slots.len());
        let prepared = slots.iter_mut().zip(&mut self.vectors).zip(&mut self.headers);
        for ((slot, vector), header) in prepared.take(most) {
            let buffer = slot.buffer.as_mut();
            vector.iov_base = buffer.as_mut_ptr().cast();
            vector.iov_len = buffer.len();
            // The kernel overwrote the lengths of the last batch.
            let header = &mut header.msg_hdr;
            let envelope = &mut slot.envelope;
            header.msg_name = envelope.peer.0.as_mut_ptr().cast();
            header.msg_namelen = envelope.peer.0.len() as libc::socklen_t;
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            header.msg_control = envelope.control.0.as_mut_ptr().cast();
            header.msg_controllen = envelope.control.0.len() as _;
        }
        let flags = match wait {
            Wait::ForOne => libc::MSG_WAITFORONE,
            Wait::Never => libc::MSG_DONTWAIT,
        };
        // SAFETY: each of the first `most` headers points to parts of a slot with their true lengths, and to one iovec
        // that points to its buffer; all of them outlive the call and are borrowed by nothing else.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_fd().as_raw_fd(),
                self.headers.as_mut_ptr(),
                most as libc::c_uint,
                flags,
                ptr::null_mut(),
            )
        };
        if received < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
                _ => Err(error),
            };
        }
        let received = (received as usize).min(most);
        for (slot, header) in slots.iter_mut().zip(&self.headers[..received]) {
            slot.length = (header.msg_len as usize).min(slot.buffer.as_mut().len());
            slot.envelope.peer_bytes = header.msg_hdr.msg_namelen;
            let control_bytes: usize = header.msg_hdr.msg_controllen as _;
            slot.envelope.control_bytes = control_bytes.min(CONTROL_BYTES);
        }
        Ok(received)
    }

    /// A datagram that came.
    pub fn slot(&mut self, index: usize) -> &mut Slot<B> {
        &mut self.slots[index]
    }

    /// All of them.
    pub fn slots(&self) -> &[Slot<B>] {
        &self.slots
    }
}

/// Sends datagrams in batches.
#[derive(Debug)]
pub struct Outbox {
    vectors: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    /// Those of messages that are cut.
    controls: Box<[CutControl]>,
}

#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
struct CutControl([u8; CUT_CONTROL_BYTES]);

// SAFETY: as for `Inbox`.
unsafe impl Send for Outbox {}

impl Outbox {
    /// Sends so many with a system call, at most.
    pub fn new(most: usize) -> Outbox {
        let controls = vec![CutControl([0; _]); most].into();
        Outbox { vectors: vectors(most), headers: headers(most), controls }
    }

    /// Sends datagrams in one system call, without waiting; those beyond what it was made for are
    /// left. One without an envelope goes to the peer that the socket is connected to. Gives how
    /// many went before the first that could not; an error is the first one's.
    pub fn send<'a>(
        &mut self,
        socket: &impl AsFd,
        datagrams: impl Iterator<Item = (Option<&'a Envelope>, &'a [u8])>,
    ) -> io::Result<usize> {
        let mut count = 0;
        let prepared = self.vectors.iter_mut().zip(&mut self.headers);
        for ((vector, header), (envelope, packet)) in prepared.zip(datagrams) {
            // The kernel only reads it.
            vector.iov_base = packet.as_ptr().cast_mut().cast();
            vector.iov_len = packet.len();
            let header = &mut header.msg_hdr;
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            let envelope = envelope.unwrap_or(&Envelope::EMPTY);
            header.msg_name = envelope.peer.0.as_ptr().cast_mut().cast();
            header.msg_namelen = envelope.peer_bytes;
            // Where nothing is long, the kernel does not look where it is.
            header.msg_control = envelope.control.0.as_ptr().cast_mut().cast();
            header.msg_controllen = envelope.control_bytes as _;
            count += 1;
        }
        self.send_prepared(socket, count)
    }

    /// The same, but each is several datagrams that are [`alike`]: they take their way through the
    /// kernel as one, and are cut where it ends, or by the network's hardware (UDP_SEGMENT). An
    /// error may mean that it cannot be done on this way, and that they must go one by one.
    pub fn send_alike<'a, B: AsRef<[u8]> + 'a>(
        &mut self,
        socket: &impl AsFd,
        messages: impl Iterator<Item = (Option<&'a Envelope>, &'a [Slot<B>])>,
    ) -> io::Result<usize> {
        let (mut count, mut vectors) = (0, &mut *self.vectors);
        let prepared = self.headers.iter_mut().zip(&mut self.controls);
        for ((header, control), (envelope, slots)) in prepared.zip(messages) {
            let Some((its, rest)) = mem::take(&mut vectors).split_at_mut_checked(slots.len())
            else {
                break;
            };
            vectors = rest;
            for (vector, slot) in its.iter_mut().zip(slots) {
                // The kernel only reads it.
                vector.iov_base = slot.packet().as_ptr().cast_mut().cast();
                vector.iov_len = slot.packet().len();
            }
            let header = &mut header.msg_hdr;
            header.msg_iov = its.as_mut_ptr();
            header.msg_iovlen = its.len() as _;
            let envelope = envelope.unwrap_or(&Envelope::EMPTY);
            header.msg_name = envelope.peer.0.as_ptr().cast_mut().cast();
            header.msg_namelen = envelope.peer_bytes;
            header.msg_control = envelope.control.0.as_ptr().cast_mut().cast();
            header.msg_controllen = envelope.control_bytes as _;
            if let [first, _, ..] = slots {
                let (before, room) = control.0.split_at_mut(envelope.control_bytes);
                before.copy_from_slice(&envelope.control.0[..envelope.control_bytes]);
                let cut = (first.length as u16).to_ne_bytes();
                let more = put_control(room, libc::SOL_UDP, libc::UDP_SEGMENT, &cut);
                header.msg_control = control.0.as_mut_ptr().cast();
                header.msg_controllen = (envelope.control_bytes + more) as _;
            }
            count += 1;
        }
        self.send_prepared(socket, count)
    }

    /// Sends what the first headers point to, which must be valid.
    fn send_prepared(&mut self, socket: &impl AsFd, count: libc::c_uint) -> io::Result<usize> {
        if count == 0 {
            return Ok(0);
        }
        loop {
            // SAFETY: both callers have made each of the first `count` headers point to parts of an envelope or a
            // control message, and to iovecs that point to packets, all with their true lengths; these are only
            // read, and borrowed for as long as the callers run.
            let sent = unsafe {
                libc::sendmmsg(
                    socket.as_fd().as_raw_fd(),
                    self.headers.as_mut_ptr(),
                    count,
                    libc::MSG_DONTWAIT,
                )
            };
            if sent >= 0 {
                return Ok(sent as usize);
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }
}

fn vectors(count: usize) -> Box<[libc::iovec]> {
    vec![libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; count].into()
}

fn headers(count: usize) -> Box<[libc::mmsghdr]> {
    // SAFETY: all-zero is a valid `mmsghdr`: null pointers with length 0.
    let header: libc::mmsghdr = unsafe { mem::zeroed() };
    vec![header; count].into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn datagrams_that_are_alike_go_as_one_and_arrive_as_many() {
        for (bound, local) in [("0.0.0.0:0", "127.0.61.8"), ("[::]:0", "::1")] {
            let local: IpAddr = local.parse().unwrap();
            let one = UdpSocket::bind(bound).unwrap();
            let other = UdpSocket::bind((local, 0)).unwrap();
            let mut inbox = Inbox::new((0..8).map(|_| vec![0; 2000]));
            let from = SocketAddr::new(local, one.local_addr().unwrap().port());
            let packets =
                [vec![1; 900], vec![2; 900], vec![3; 20], vec![4; 20], vec![], vec![], vec![6; 5]];
            packets.iter().for_each(|packet| _ = other.send_to(packet, from).unwrap());
            let mut came = 0;
            while came < packets.len() {
                came += inbox.receive(&one, came, 8, Wait::ForOne).unwrap();
            }
            let slots = &inbox.slots()[..came];
            let counts = [0, 2, 3, 4, 5, 6, 7].map(|first| alike(&slots[first..]));
            assert_eq!(counts, [3, 2, 1, 1, 1, 1, 0]);
            assert_eq!(alike(&slots[1..]), 2);

            let back = Envelope::to(other.local_addr().unwrap(), Some(local));
            let messages = [&slots[..3], &slots[3..4], &slots[4..5], &slots[5..6], &slots[6..]];
            let messages = messages.map(|slots| (Some(&back), slots)).into_iter();
            assert_eq!(Outbox::new(8).send_alike(&one, messages).unwrap(), 5);
            let mut heard = vec![0; 2000];
            for packet in &packets {
                let (length, source) = other.recv_from(&mut heard).unwrap();
                assert_eq!((&heard[..length], source), (&packet[..], from));
            }
        }
    }

    #[test]
    fn datagrams_leave_from_the_address_they_are_told_to_and_say_where_they_came() {
        for (bound, local) in [("0.0.0.0:0", "127.0.61.7"), ("[::]:0", "::1")] {
            let local: IpAddr = local.parse().unwrap();
            let one = UdpSocket::bind(bound).unwrap();
            receive_destinations(&one, local.is_ipv6()).unwrap();
            let other = UdpSocket::bind((local, 0)).unwrap();
            let peer = other.local_addr().unwrap();

            let envelope = Envelope::to(peer, Some(local));
            assert_eq!(envelope.source(), peer);
            let packets = [&b"first"[..], b"second", b"third"];
            let datagrams = packets.iter().map(|packet| (Some(&envelope), *packet));
            assert_eq!(Outbox::new(2).send(&one, datagrams).unwrap(), 2, "as many as it may");

            let mut inbox = Inbox::new([[0; 5], [0; 5], [0; 5]]);
            assert_eq!(inbox.receive(&other, 1, 9, Wait::ForOne).unwrap(), 2);
            let from = SocketAddr::new(local, one.local_addr().unwrap().port());
            assert_eq!(inbox.slot(1).envelope.source(), from);
            assert_eq!(inbox.slots()[1].packet(), b"first");
            assert_eq!(inbox.slots()[2].packet(), b"secon", "cut to the buffer");
            assert_eq!(inbox.receive(&other, 0, 9, Wait::Never).unwrap(), 0);

            other.connect(from).unwrap();
            assert_eq!(Outbox::new(2).send(&other, [(None, &b"back"[..])].into_iter()).unwrap(), 1);
            assert_eq!(inbox.receive(&one, 0, 9, Wait::ForOne).unwrap(), 1);
            assert_eq!(inbox.slot(0).envelope.destination(), Some(local));
        }
    }
}
