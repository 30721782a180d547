//! The integration tests: one binary, a file an RFC or a capability.
//!
//! A test that needs a program which is not installed, or a privilege, says so through
//! [`support::needs`]; `tests/run` prints those lines at its end, and on CI they are failures.

mod support;
use support::asking;

#[path = "../../src/geo/compile/tests/encode.rs"]
mod encode;
#[path = "../bench/peers/mod.rs"]
#[allow(dead_code, reason = "the benchmark knows them by their names")]
mod peers;

mod agent;
mod capacity;
mod check;
mod checks;
mod demo;
mod failover;
mod flatten;
mod fuzz_seeds;
mod gdnsd;
mod l4_datagrams;
mod l4_quic;
mod l4_shown;
mod l4_withstand;
mod load;
mod master_file;
mod no_allocation;
mod prefixes;
mod probes;
mod proxy_protocol;
mod readme;
mod record_types;
mod recorded_peers;
mod reload;
mod replace;
mod rfc2181;
mod rfc2308;
mod rfc4592;
mod rfc5001;
mod rfc6672;
mod rfc6891;
mod rfc7871;
mod rfc8482;
mod rfc8906;
mod rfc8914;
mod rfc8945;
mod rfc9460;
mod rfc9619;
mod runtime_backends;
mod secondary;
mod shown;
mod simulate;
mod static_answers;
mod steering;
mod strangers;
mod supervised;
mod survival;
mod tidy;
mod transfers;
mod transparent;
mod unbound;
mod well_known_networks;
mod withstand;
mod zonemaster;
