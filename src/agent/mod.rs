//! The agent of a backend's machine: tells load balancers how much the machine can take, in
//! HAProxy's agent-check protocol, from its CPU, memory and load.

pub mod gauge;
pub mod listen;
pub mod measure;

pub use gauge::{Gauge, Marks, Policy};
pub use measure::{Sample, Sampler};
