//! The words of the DNS on the wire: names, types, EDNS, queries and responses.
//!
//! Nothing here knows a zone, a clock or a socket.

pub mod name;
pub mod rrset;
pub mod types;

pub use name::Name;
pub use rrset::{OwnedRrset, Rrset};
pub use types::{Class, Opcode, Rcode, Rtype};
