//! The words of the DNS on the wire: names, types, EDNS, queries and responses.
//!
//! Nothing here knows a zone, a clock or a socket.

pub mod edns;
pub mod name;
pub mod query;
pub mod response;
pub mod rrset;
pub mod svcb;
pub mod types;

pub use edns::{ClientSubnet, Edns, ExtendedError};
pub use name::Name;
pub use query::{Preamble, Query, Rejection};
pub use response::{Response, Section};
pub use rrset::{OwnedRrset, Rrset};
pub use types::{Class, Opcode, Rcode, Rtype};
