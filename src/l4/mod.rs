//! The bundled L4 forwarder: listener → service → backend, and apart from it how bytes move
//! (`proxy`). It knows no DNS message.

mod access_log;
pub mod admission;
pub mod backend;
pub mod balance;
pub mod capacity;
mod descriptors;
pub mod ending;
pub mod flow;
mod forwarder;
pub mod histogram;
mod hold;
mod listener;
mod load;
mod pace;
pub mod preface;
mod probing;
mod proxy;
pub mod quic;
mod recent;
pub mod service;
pub mod settings;
mod table;

pub use backend::{BackendStatus, Word};
pub use descriptors::allow_many as allow_many_descriptors;
pub use flow::Flow;
pub use forwarder::{L4, StartError, prepare, start};
pub use load::Load;
pub use service::{NoBackend, ServiceStatus};
pub use settings::{BackendSettings, Balance, Capacity, Listen, ServiceSettings, Settings};

#[cfg(test)]
mod tests;
