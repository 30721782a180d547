//! The PROXY protocol, versions 1 and 2: whom a connection stands for, told in front of it
//! (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>).

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;

use super::proxy_v2;
use crate::l4::settings::ProxyVersion;

/// The longest header of version 1, with its end of line (§2.1).
const MOST_V1_BYTES: usize = 107;
const V1_START: &[u8] = b"PROXY ";

/// Who is connected to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// The client.
    pub source: SocketAddr,
    /// What it connected to.
    pub destination: SocketAddr,
}

/// What a header says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Whom the connection stands for; none: itself, as for the checks of the peer, or nobody that
    /// has an address.
    pub endpoints: Option<Endpoints>,
    /// Further values (type, length, value; version 2) in their order, but for those that speak of
    /// the header itself: its checksum and its padding.
    pub tlvs: Box<[u8]>,
}

/// Why it is no header.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Malformed {
    /// Neither version begins so.
    #[error("no PROXY header")]
    Absent,
    /// It begins as one, and does not go on as one.
    #[error("a malformed PROXY header")]
    Broken,
    /// Longer than is read.
    #[error("a PROXY header that is too long")]
    TooLong,
    /// Its checksum is of something else (§2.2.3).
    #[error("a PROXY header with a wrong checksum")]
    Checksum,
}

/// Reads the header that `bytes` begin with, and how long it is; none while there are too few of
/// them to tell.
pub fn read(bytes: &[u8]) -> Result<Option<(Header, usize)>, Malformed> {
    if is_start(bytes, V1_START) {
        return read_v1(bytes);
    }
    if is_start(bytes, &proxy_v2::SIGNATURE) {
        return proxy_v2::read(bytes);
    }
    Err(Malformed::Absent)
}

/// Writes a header to the end of `out`. Version 1 has no room for `tlvs`.
pub fn write(version: ProxyVersion, endpoints: &Endpoints, tlvs: &[u8], out: &mut Vec<u8>) {
    let endpoints = of_one_family(endpoints);
    match version {
        ProxyVersion::V1 => write_v1(&endpoints, out),
        ProxyVersion::V2 => proxy_v2::write(&endpoints, tlvs, out),
    }
}

/// Whether one is the beginning of the other.
fn is_start(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(byte, wanted)| byte == wanted)
}

fn read_v1(bytes: &[u8]) -> Result<Option<(Header, usize)>, Malformed> {
    let within = &bytes[..bytes.len().min(MOST_V1_BYTES)];
    let Some(end) = within.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < MOST_V1_BYTES { Ok(None) } else { Err(Malformed::TooLong) };
    };
    let line = bytes.get(V1_START.len()..end).ok_or(Malformed::Broken)?;
    let length = end + 2;
    // What follows this word says nothing.
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        return Ok(Some((Header::default(), length)));
    }
    let line = std::str::from_utf8(line).map_err(|_| Malformed::Broken)?;
    let words: Vec<&str> = line.splitn(6, ' ').collect();
    let [family, source, destination, source_port, destination_port] = words[..] else {
        return Err(Malformed::Broken);
    };
    let address = |text: &str| match family {
        "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => None,
    };
    let endpoint = |text, port| Some(SocketAddr::new(address(text)?, decimal(port)?));
    let endpoints = endpoint(source, source_port).zip(endpoint(destination, destination_port));
    let (source, destination) = endpoints.ok_or(Malformed::Broken)?;
    let endpoints = Some(Endpoints { source, destination });
    Ok(Some((Header { endpoints, ..Header::default() }, length)))
}

/// A port, without zeros in front.
fn decimal(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let is_plain = is_plain && (text.len() == 1 || !text.starts_with('0'));
    is_plain.then(|| text.parse().ok()).flatten()
}

fn write_v1(endpoints: &Endpoints, out: &mut Vec<u8>) {
    let Endpoints { source, destination } = endpoints;
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let mut line = String::with_capacity(MOST_V1_BYTES);
    // A text takes everything that is written to it.
    let _ = write!(
        line,
        "PROXY {family} {} {} {} {}\r\n",
        source.ip(),
        destination.ip(),
        source.port(),
        destination.port()
    );
    out.extend_from_slice(line.as_bytes());
}

/// A header speaks of one family: where there are two, IPv4 is written as IPv6.
fn of_one_family(endpoints: &Endpoints) -> Endpoints {
    let Endpoints { source, destination } = *endpoints;
    if source.is_ipv4() == destination.is_ipv4() {
        return *endpoints;
    }
    let as_v6 = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    Endpoints { source: as_v6(source), destination: as_v6(destination) }
}

#[cfg(test)]
mod tests;
