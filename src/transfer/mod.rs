//! Zone transfers and what guards them, pure: keys and signatures (RFC 8945), who may ask.

pub mod tsig;

pub use tsig::{Algorithm, ClientSequence, Key, Keys, ServerSequence};
