//! A listening socket that takes nothing new, and finishes what it has begun: the kernel resets what is
//! in a socket that is closed, though others with which it shares its port would take it.

use std::io;

use socket2::{SockFilter, Socket};

/// Where the flags stand in a TCP header (RFC 9293 §3.1).
const FLAGS_AT: u32 = 13;
const SYN: u32 = 0x02;
const ACK: u32 = 0x10;

/// Lets it hear no first segment of a handshake any more. Who sends one, and hears nothing, sends it
/// again a second later (RFC 6298 §2), to another socket then.
pub fn deafen(socket: &Socket) -> io::Result<()> {
    let [load, and, jump_if_equal, end] = [
        libc::BPF_LD | libc::BPF_B | libc::BPF_ABS,
        libc::BPF_ALU | libc::BPF_AND | libc::BPF_K,
        libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
        libc::BPF_RET | libc::BPF_K,
    ]
    .map(|code| code as u16);
    socket.attach_filter(&[
        SockFilter::new(load, 0, 0, FLAGS_AT),
        SockFilter::new(and, 0, 0, SYN | ACK),
        SockFilter::new(jump_if_equal, 0, 1, SYN),
        SockFilter::new(end, 0, 0, 0),
        SockFilter::new(end, 0, 0, u32::MAX),
    ])
}
