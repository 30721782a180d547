//! A datacenter, as the decision sees it.

use crate::geo::Location;

/// The index of a datacenter in [`Steering::datacenters`](super::Steering::datacenters).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DatacenterId(pub u16);

/// A datacenter, as the decision sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Datacenter {
    /// The operator's name for it, unique.
    pub name: String,
    /// Where it stands. Coordinates are needed by pools that steer by distance.
    pub location: Location,
    /// Attraction in percent, −99 to 99: a positive bias shortens the distances to it by that
    /// share, a negative one lengthens them (−50 doubles them).
    pub bias: i8,
}
