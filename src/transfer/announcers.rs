//! Who may announce new versions of our zones (RFC 1996): their primaries.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::Key;
use crate::dns::Name;

/// A primary of a zone.
#[derive(Clone, Debug)]
pub struct Announcer {
    /// Where its announcements come from.
    pub address: IpAddr,
    /// With what they must be signed.
    pub key: Option<Arc<Key>>,
}

/// Of all zones.
#[derive(Clone, Debug, Default)]
pub struct Announcers(HashMap<Box<[u8]>, Box<[Announcer]>>);

impl Announcers {
    /// Whether `source` may announce a version of the zone `origin` (lower-case wire form) in a
    /// message that is signed with `key`. None when the zone is not taken from a primary.
    pub fn may_announce(&self, origin: &[u8], source: IpAddr, key: Option<&Key>) -> Option<bool> {
        let key = key.map(Key::canonical_name);
        let is_it = |announcer: &Announcer| {
            let wanted = announcer.key.as_ref().map(|key| key.canonical_name());
            // A signature that nobody asked for does no harm.
            announcer.address == source && (wanted.is_none() || wanted == key)
        };
        self.0.get(origin).map(|announcers| announcers.iter().any(is_it))
    }
}

impl<'n> FromIterator<(&'n Name, Box<[Announcer]>)> for Announcers {
    fn from_iter<T: IntoIterator<Item = (&'n Name, Box<[Announcer]>)>>(zones: T) -> Announcers {
        Announcers(zones.into_iter().map(|(origin, list)| (origin.to_key(), list)).collect())
    }
}
