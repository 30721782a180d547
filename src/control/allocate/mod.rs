//! The global allocation: which datacenters serve which groups of clients, so that none is
//! overloaded and all are near.

pub mod solver;
