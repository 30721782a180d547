//! Every address's location, compiled from the databases and the operator's networks.

use std::net::IpAddr;

use super::{Location, RangeTable};

/// The index of a location in a [`World`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocationId(pub u32);

/// Every address's location.
#[derive(Clone, Debug)]
pub struct World {
    v4: RangeTable<u32>,
    v6: RangeTable<u128>,
    /// Number 0 is the unknown location.
    locations: Box<[Location]>,
}

impl World {
    /// A world of which nothing is known.
    pub fn unknown() -> World {
        World {
            v4: RangeTable::constant(0),
            v6: RangeTable::constant(0),
            locations: Box::new([Location::default()]),
        }
    }

    /// From tables whose values are indices of `locations`, of which the first is the unknown one.
    ///
    /// # Panics
    ///
    /// If a value is not an index of `locations`.
    pub fn new(v4: RangeTable<u32>, v6: RangeTable<u128>, locations: Box<[Location]>) -> World {
        let known = |value| (value as usize) < locations.len();
        assert!(v4.ranges().all(|(_, value)| known(value)), "every range has a location");
        assert!(v6.ranges().all(|(_, value)| known(value)), "every range has a location");
        World { v4, v6, locations }
    }

    /// Where `address` is, and the length of the widest prefix around it that is there as a whole.
    pub fn locate(&self, address: IpAddr) -> (LocationId, u8) {
        let (value, prefix_len) = match address.to_canonical() {
            IpAddr::V4(v4) => self.v4.lookup(v4.into()),
            IpAddr::V6(v6) => self.v6.lookup(v6.into()),
        };
        (LocationId(value), prefix_len)
    }

    /// What is known of that location.
    pub fn location(&self, id: LocationId) -> &Location {
        &self.locations[id.0 as usize]
    }

    /// All locations, by [`LocationId`].
    pub fn locations(&self) -> &[Location] {
        &self.locations
    }

    /// The IPv4 table; its values are [`LocationId`]s.
    pub fn v4(&self) -> &RangeTable<u32> {
        &self.v4
    }

    /// The IPv6 table; its values are [`LocationId`]s.
    pub fn v6(&self) -> &RangeTable<u128> {
        &self.v6
    }
}
