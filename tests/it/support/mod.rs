//! What the tests share: a server of their own, programs to ask it with, and patience.

pub mod addresses;
pub mod dig;
pub mod needs;
pub mod server;
pub mod wait;

pub use addresses::Addresses;
pub use dig::{Answer, dig};
pub use needs::needs;
pub use server::Server;
pub use wait::{until, until_some};
