//! Zone transfers and what guards them, pure: keys and signatures (RFC 8945), who may ask, what is
//! sent, what comes in.

pub mod access;
pub mod announcers;
pub mod incoming;
pub mod journal;
pub mod notify;
pub mod outgoing;
pub mod records;
pub mod refresh;
pub mod soa;
pub mod tsig;
mod wire;

pub use access::{Access, NotifyTarget, Transfers, ZoneTransfer};
pub use journal::Journals;
pub use outgoing::Outgoing;
pub use tsig::{Algorithm, ClientSequence, Key, Keys, ServerSequence};
