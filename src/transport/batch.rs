//! Datagrams in batches: one system call receives many, one sends many (recvmmsg, sendmmsg), and
//! each reply leaves from the address that was asked (IP_PKTINFO).

#![expect(unsafe_code, reason = "no safe crate offers recvmmsg, sendmmsg and IP_PKTINFO together")]

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;

use libc::{c_int, c_void};

use crate::dns::edns::UDP_PAYLOAD_BYTES;

/// The most datagrams a system call moves.
pub(super) const BATCH: usize = 64;
/// The fewest that are asked for.
const MIN_WINDOW: usize = 8;

/// We announce that we take no larger datagrams, and we send none.
const DATAGRAM_BYTES: usize = UDP_PAYLOAD_BYTES as usize;
/// Room for one `in6_pktinfo`, the larger of the two, with its header.
const CONTROL_BYTES: usize = 48;

/// Asks the kernel to say with each datagram to which of our addresses it was sent. Needed where
/// the socket is bound to all of them.
pub(super) fn receive_destinations(socket: &UdpSocket, is_v6: bool) -> io::Result<()> {
    match is_v6 {
        false => set_option(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1),
        true => set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1),
    }
}

/// Makes the kernel ignore path MTUs learnt from ICMP, which anyone can forge: our datagrams fit
/// every path.
pub(super) fn ignore_path_mtu(socket: &UdpSocket, is_v6: bool) -> io::Result<()> {
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

fn set_option(socket: &UdpSocket, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    let value: *const c_int = &value;
    let length = mem::size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is open, and the pointer is to `length` readable bytes.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value.cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Room for a batch of datagrams and the replies to them, allocated once.
pub(super) struct Batch {
    slots: Box<[Slot]>,
    vectors: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    /// How many datagrams are asked for next: twice what came last, as there is no use in preparing
    /// for many where few come.
    window: usize,
    /// Which slots are to be sent, and how many bytes of each.
    replies: Vec<(u16, u16)>,
}

/// One datagram, and room for the reply.
pub(super) struct Slot {
    peer: Peer,
    peer_bytes: libc::socklen_t,
    control: Control,
    control_bytes: usize,
    packet_bytes: usize,
    packet: [u8; DATAGRAM_BYTES],
    response: [u8; DATAGRAM_BYTES],
}

/// A `sockaddr_in` or `sockaddr_in6`.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Peer([u8; mem::size_of::<libc::sockaddr_in6>()]);

#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

impl Slot {
    /// Who sent the datagram.
    pub(super) fn source(&self) -> SocketAddr {
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
    pub(super) fn destination(&mut self) -> Option<IpAddr> {
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

    /// The datagram, and room for the reply.
    pub(super) fn buffers(&mut self) -> (&[u8], &mut [u8]) {
        (&self.packet[..self.packet_bytes], &mut self.response)
    }
}

/// Where the data of a control message begins.
fn control_header_bytes() -> usize {
    // SAFETY: CMSG_LEN computes from its argument alone.
    unsafe { libc::CMSG_LEN(0) as usize }
}

impl Batch {
    pub(super) fn new() -> Batch {
        let slot = || Slot {
            peer: Peer([0; _]),
            peer_bytes: 0,
            control: Control([0; _]),
            control_bytes: 0,
            packet_bytes: 0,
            packet: [0; _],
            response: [0; _],
        };
        let vector = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        // SAFETY: all-zero is a valid `mmsghdr`: null pointers with length 0.
        let header: libc::mmsghdr = unsafe { mem::zeroed() };
        Batch {
            slots: (0..BATCH).map(|_| slot()).collect(),
            vectors: vec![vector; BATCH].into(),
            headers: vec![header; BATCH].into(),
            window: MIN_WINDOW,
            replies: Vec::with_capacity(BATCH),
        }
    }

    /// Waits for a datagram, for as long as the socket's receive timeout, and takes as many as are
    /// there. Gives how many.
    pub(super) fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        // Also when nothing comes: what was sent must not be sent again.
        self.replies.clear();
        let prepared = self.slots.iter_mut().zip(&mut self.vectors).zip(&mut self.headers);
        for ((slot, vector), header) in prepared.take(self.window) {
            vector.iov_base = slot.packet.as_mut_ptr().cast();
            vector.iov_len = slot.packet.len();
            // The kernel overwrote the lengths of the last batch.
            let header = &mut header.msg_hdr;
            header.msg_name = slot.peer.0.as_mut_ptr().cast();
            header.msg_namelen = slot.peer.0.len() as libc::socklen_t;
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            header.msg_control = slot.control.0.as_mut_ptr().cast();
            header.msg_controllen = slot.control.0.len() as _;
            header.msg_flags = 0;
        }
        // SAFETY: each of the first `window` headers points to a buffer of a slot with its true length, and to one iovec
        // that does too; all of them outlive the call and are borrowed by nothing else.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                self.window as libc::c_uint,
                libc::MSG_WAITFORONE,
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
        let received = (received as usize).min(BATCH);
        self.window = (2 * received).clamp(MIN_WINDOW, BATCH);
        for (slot, header) in self.slots.iter_mut().zip(&self.headers[..received]) {
            slot.packet_bytes = (header.msg_len as usize).min(DATAGRAM_BYTES);
            slot.peer_bytes = header.msg_hdr.msg_namelen;
            let control_bytes: usize = header.msg_hdr.msg_controllen as _;
            slot.control_bytes = control_bytes.min(CONTROL_BYTES);
        }
        Ok(received)
    }

    /// A datagram of the batch.
    pub(super) fn slot(&mut self, index: usize) -> &mut Slot {
        &mut self.slots[index]
    }

    /// Has the first `length` bytes of the slot's response sent with the batch.
    pub(super) fn reply(&mut self, index: usize, length: usize) {
        self.replies.push((index as u16, length.min(DATAGRAM_BYTES) as u16));
    }

    /// Sends the replies. What the socket does not take at once is dropped, as a resolver asks
    /// again but would not wait for us. Gives how many were dropped.
    pub(super) fn send(&mut self, socket: &UdpSocket) -> u64 {
        let prepared = self.vectors.iter_mut().zip(&mut self.headers);
        for (&(index, length), (vector, header)) in self.replies.iter().zip(prepared) {
            let slot = &mut self.slots[usize::from(index)];
            vector.iov_base = slot.response.as_mut_ptr().cast();
            vector.iov_len = length.into();
            let header = &mut header.msg_hdr;
            header.msg_name = slot.peer.0.as_mut_ptr().cast();
            header.msg_namelen = slot.peer_bytes;
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            header.msg_control = match slot.control_bytes {
                0 => ptr::null_mut(),
                _ => slot.control.0.as_mut_ptr().cast::<c_void>(),
            };
            header.msg_controllen = slot.control_bytes as _;
            header.msg_flags = 0;
        }
        let (mut sent, mut dropped) = (0, 0);
        while sent < self.replies.len() {
            let rest = &mut self.headers[sent..self.replies.len()];
            // SAFETY: as in `receive`; the lengths are at most those of the buffers.
            let result = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    rest.as_mut_ptr(),
                    rest.len() as libc::c_uint,
                    libc::MSG_DONTWAIT,
                )
            };
            if result > 0 {
                sent += result as usize;
                continue;
            }
            match io::Error::last_os_error().kind() {
                io::ErrorKind::Interrupted => (),
                io::ErrorKind::WouldBlock => {
                    dropped += (self.replies.len() - sent) as u64;
                    break;
                }
                // This one cannot be sent, for instance as there is no route; the next may.
                _ => (sent, dropped) = (sent + 1, dropped + 1),
            }
        }
        dropped
    }
}
