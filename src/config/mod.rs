//! The files: their shape, their errors, and what they compile to.

pub mod settings;

pub use settings::{AdminSettings, DnsSettings, Settings};
