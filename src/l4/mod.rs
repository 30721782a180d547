//! The bundled L4 forwarder: listener → service → backend. It knows no DNS message.

pub mod balance;
mod connection;
mod descriptors;
mod forwarder;
mod listener;
mod refusals;
pub mod service;
pub mod settings;

pub use forwarder::{L4, Load, StartError, UnknownBackend, start};
pub use service::{BackendStatus, ServiceStatus};
pub use settings::{BackendSettings, Balance, Capacity, Listen, ServiceSettings, Settings};

#[cfg(test)]
mod tests;
