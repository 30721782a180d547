//! What the tests share: a server of their own, programs to ask it with, and patience.

pub mod addresses;
pub mod asker;
pub mod asking;
pub mod backend;
pub mod database;
pub mod dig;
pub mod mutation;
pub mod namespaces;
pub mod needs;
pub mod peers;
pub mod resolver;
pub mod server;
pub mod wait;

pub use addresses::Addresses;
pub use backend::Backend;
pub use dig::{Answer, dig, dig_all};
pub use needs::needs;
pub use resolver::Resolver;
pub use server::Server;
pub use wait::{until, until_some};
