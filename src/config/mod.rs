//! The files: their shape, their errors, and what they compile to.

mod allocation;
mod check;
pub mod diagnostic;
mod files;
mod forwarder;
mod inline_text;
mod keys;
mod latency;
mod listens;
pub mod load;
mod nearest;
mod networks;
mod peer;
mod reader;
mod secondary;
mod serial;
mod server;
mod service;
pub mod settings;
pub mod source;
mod steering;
mod transfer;
mod values;
mod world;
mod zone_file;
mod zone_texts;
mod zones;

pub use diagnostic::{Diagnostic, Severity};
pub use load::{Contents, Loaded, Rejected, load};
pub use serial::SoaPlace;
pub use settings::{ControlSocket, Settings};

#[cfg(test)]
mod tests;

/// The largest configuration file, in bytes.
const TEXT_LIMIT: u64 = 256 << 20;
