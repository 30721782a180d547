//! What a check is: how something is probed, and how many results make a verdict.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use domain::base::Name;
use domain::base::iana::{Rcode, Rtype};
use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};

use super::Pattern;

/// How something is probed, and how many results make a verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// What one probe does.
    pub kind: Kind,
    /// From the start of one probe to the start of the next.
    pub interval: Duration,
    /// The interval while a verdict is in doubt, or has just changed; less than or equal to
    /// `interval`. None: the same.
    pub fast_interval: Option<Duration>,
    /// Each interval is lengthened or shortened at random by up to this share of it, 0 to 0.5, so
    /// that probes spread.
    pub jitter: f64,
    /// A probe without a result by then has failed; less than or equal to the interval.
    pub timeout: Duration,
    /// Successes in a row until up, at least 1.
    pub rise: u32,
    /// Failures in a row until down, at least 1.
    pub fall: u32,
}

/// What one probe does.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// An ICMP echo is answered.
    Icmp,
    /// A TCP connection is accepted.
    Tcp,
    /// A SYN is answered by a SYN-ACK; nothing is connected.
    TcpHalfOpen,
    /// An HTTP request is answered as wanted.
    Http(HttpCheck),
    /// A program ends well.
    Exec(ExecCheck),
    /// A TLS handshake is made.
    Tls(TlsCheck),
    /// A DNS query is answered as wanted.
    Dns(DnsCheck),
    /// A gRPC server says that it serves.
    Grpc(GrpcCheck),
    /// An agent says that its machine is well, and how much it can take.
    Agent(AgentCheck),
}

impl Check {
    /// This, at the pace that is usual where nothing is said.
    pub fn new(kind: Kind) -> Check {
        Check {
            kind,
            interval: Duration::from_secs(5),
            fast_interval: None,
            jitter: 0.1,
            timeout: Duration::from_secs(2),
            rise: 2,
            fall: 3,
        }
    }
}

impl Kind {
    /// The word for it, as the configuration has it.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Icmp => "icmp",
            Kind::Tcp => "tcp",
            Kind::TcpHalfOpen => "tcp-half-open",
            Kind::Http(HttpCheck { tls: None, .. }) => "http",
            Kind::Http(HttpCheck { tls: Some(_), .. }) => "https",
            Kind::Exec(_) => "exec",
            Kind::Tls(_) => "tls",
            Kind::Dns(_) => "dns",
            Kind::Grpc(_) => "grpc",
            Kind::Agent(_) => "agent",
        }
    }

    /// Whether it is sent to a port.
    pub fn has_port(&self) -> bool {
        !matches!(self, Kind::Icmp)
    }
}

/// What an HTTP(S) probe asks, and what answer is wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HttpCheck {
    /// TLS, if wanted: the certificate must be valid for the server name.
    pub tls: Option<TlsCheck>,
    /// The path and query; none: `/`.
    pub path: String,
    /// The Host header; none: the address.
    pub host: Option<String>,
    /// The statuses that are good; none: 200 to 299.
    pub status: Vec<u16>,
    /// The request's method.
    pub method: Method,
    /// Headers that the answer must have, with these values.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What the body's first 64 KiB must contain.
    pub contains: Option<String>,
    /// What they must match.
    pub matches: Option<Pattern>,
}

/// Which certificate a probe over TLS wants.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsCheck {
    /// The name sent (SNI) and verified; none: the Host header's if there is one, else the address.
    /// An address is verified too, but not sent.
    pub server_name: Option<String>,
    /// Authorities to trust instead of the system's, in PEM.
    pub ca_file: Option<PathBuf>,
    /// False accepts any certificate.
    pub verify: bool,
    /// For how many days the certificate must be good still; it is looked at even where it is not
    /// verified. None: it is enough that it is good now.
    pub min_days: Option<u32>,
}

/// What a DNS probe asks, and what answer is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct DnsCheck {
    /// The name asked for.
    pub name: Name<Vec<u8>>,
    /// The type asked for.
    pub rtype: Rtype,
    /// The response code that is good.
    pub rcode: Rcode,
    /// What a record of the answer section must say; none: the response code is enough.
    pub answer: Option<DnsAnswer>,
}

/// What a record says, by its type.
#[derive(Clone, Debug, PartialEq)]
pub enum DnsAnswer {
    /// A, AAAA: this address.
    Address(IpAddr),
    /// CNAME, NS, PTR: this name.
    Name(Name<Vec<u8>>),
    /// TXT: its strings one after another make this.
    Text(String),
}

impl fmt::Display for DnsAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DnsAnswer::Address(address) => address.fmt(f),
            DnsAnswer::Name(name) => name.fmt_with_dot().fmt(f),
            DnsAnswer::Text(text) => text.fmt(f),
        }
    }
}

/// What a gRPC probe asks the standard health service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GrpcCheck {
    /// TLS, if wanted.
    pub tls: Option<TlsCheck>,
    /// The service it asks about; empty: the server as a whole.
    pub service: String,
}

/// The program of an exec probe.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecCheck {
    /// The program and its arguments.
    pub command: Vec<String>,
}

/// How an agent is asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AgentCheck {
    /// What is sent first; none: nothing, the agent speaks by itself.
    pub send: Option<String>,
}
