//! The map: coordinates, locations, and the compiled table that gives every address its location.
//!
//! Pure: databases are handed over as bytes, and a look-up neither reads a file nor allocates.

pub mod compile;
pub mod coordinates;
pub mod country;
pub mod location;
pub mod range_table;
pub mod world;

pub use compile::{CompileError, Network, compile};
pub use coordinates::Coordinates;
pub use country::country;
pub use location::{Code, Location};
pub use range_table::RangeTable;
pub use world::{LocationId, World};
