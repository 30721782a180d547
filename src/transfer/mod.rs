//! Zone transfers and what guards them, pure: what comes in, keys and signatures (RFC 8945), who may ask.

pub mod announcers;
pub mod incoming;
pub mod records;
pub mod refresh;
pub mod soa;
pub mod tsig;
mod wire;

pub use tsig::{Algorithm, ClientSequence, Key, Keys, ServerSequence};
