//! Loopback addresses that no other test uses, so that all tests may use well-known ports at once.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

static NEXT: AtomicU16 = AtomicU16::new(0);
static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

/// A /24 of loopback addresses.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    second: u8,
    third: u8,
}

impl Addresses {
    /// One that no other test of this run uses, and no other run at the same time is likely to.
    pub fn new() -> Addresses {
        let number = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let second = (std::process::id() + number / 256) % 128;
        Addresses { second: 64 + second as u8, third: (number % 256) as u8 }
    }

    /// The address with that last octet, 1 to 254.
    pub fn host(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, self.second, self.third, last)
    }

    /// A port of 127.0.0.1 that nobody uses, below those that the system gives out, for a server
    /// that cannot use other addresses.
    pub fn free_port() -> SocketAddr {
        let first = (std::process::id() % 1000) as u16 * 20;
        loop {
            let port = 11_000 + (first + NEXT_PORT.fetch_add(1, Ordering::Relaxed)) % 20_000;
            let address = (Ipv4Addr::LOCALHOST, port);
            if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
                return address.into();
            }
        }
    }
}
