//! Portolan: an authoritative DNS server for global server load balancing, with a bundled L4
//! forwarder.
//!
//! A packet arrives at a [`transport`]; it is a query, in the words of [`dns`]; its name is looked
//! up in a compiled [`zone`]; for a steered name we [`decide`]: client → location ([`geo`]) → rule
//! → pool → datacenter → address; we [`answer`]. Behind it, [`control`] keeps the facts fresh
//! ([`health`] probes, capacity reports, files); beside it, [`l4`] carries the traffic of the
//! regional VIPs; above it, [`admin`] shows what happens and why.
//!
//! The modules below stand in floor order: each imports only from the floors above it in this
//! list. `tests/it/tidy.rs` enforces that.

// Floor 0: the words of the DNS, and of the map; datagrams in batches; sockets between processes.
pub mod datagram;
pub mod dns;
pub mod geo;
pub mod handover;

// Floor 1: the decision, and the zones it is made in.
pub mod decide;
pub mod zone;

// Floor 2: zones between servers; everything the hot path reads, and what it writes.
pub mod ledger;
pub mod snapshot;
pub mod transfer;

// Floor 3: query bytes in, answer bytes out.
pub mod answer;

// Floor 4: the DNS sockets; the probes, and the agent that answers one kind of them; the questions
// to resolvers.
pub mod agent;
pub mod health;
pub mod resolve;
pub mod transport;

// Floor 5: the only writer of snapshots; the forwarder.
pub mod control;
pub mod l4;

// Floor 6: the window.
pub mod admin;

// Floor 7: the files.
pub mod config;

// The roof.
pub mod cli;
pub mod daemon;
pub mod simulate;
