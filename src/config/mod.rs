//! The files: their shape, their errors, and what they compile to.

mod check;
pub mod diagnostic;
mod inline_text;
pub mod load;
mod nearest;
mod networks;
mod reader;
mod server;
mod service;
pub mod settings;
pub mod source;
mod steering;
mod world;
mod zone_file;

pub use diagnostic::{Diagnostic, Severity};
pub use load::{Contents, Loaded, Rejected, load};
pub use settings::{DnsSettings, Settings};

/// The largest configuration file, in bytes.
const TEXT_LIMIT: u64 = 256 << 20;
