//! The serial numbers of zones, and the contents that each was first served with.

use std::collections::HashMap;

use crate::dns::Name;
use crate::transfer::soa::is_newer;
use crate::zone::Zones;

/// The serial numbers of the zones that stand in files, and a digest of the contents that each was
/// first served with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Serials(HashMap<Box<[u8]>, Version>);

/// A serial number, and a digest of the contents that it was first served with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Of the SOA record.
    pub serial: u32,
    /// [`Zone::digest`](crate::zone::Zone::digest).
    pub digest: u64,
}

impl Version {
    /// True when this is served after `before` and nobody could tell: other contents under a serial
    /// number that is not newer, so that secondaries keep what they have (RFC 1982).
    pub fn is_stale(&self, before: &Version) -> bool {
        self.digest != before.digest && !is_newer(self.serial, before.serial)
    }
}

impl Serials {
    /// Those when `zones` are served from now on, and the zones whose contents changed without a
    /// newer serial number, with the one they had. A zone remains among them until its serial
    /// number is newer or its contents are what they were.
    pub fn after(&self, zones: &Zones) -> (Serials, Vec<(Name, u32)>) {
        let mut serials = HashMap::new();
        let mut stale = Vec::new();
        for zone in zones.iter() {
            let Some(digest) = zone.digest() else { continue };
            let key = zone.origin().to_key();
            let mut version = Version { serial: zone.serial(), digest };
            if let Some(before) = self.0.get(&key)
                && version.is_stale(before)
            {
                stale.push((zone.origin().clone(), before.serial));
                version = *before;
            }
            serials.insert(key, version);
        }
        (Serials(serials), stale)
    }

    /// That of a zone; none of one that comes from a primary.
    pub fn of(&self, origin: &Name) -> Option<Version> {
        self.0.get(&origin.to_key()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::{Base, Settings, Source, compile};

    fn zones(serial: u32, base: Base, text: &str) -> Zones {
        let own = format!("@ SOA a. b. {serial} 2h 15m 2w 5m\n@ NS a.\n{text}");
        let text = if matches!(base, Base::Nothing) { own } else { text.to_string() };
        let source = Source { file: "zone".into(), text, included_by: None };
        let settings = Settings {
            origin: "example.com.".parse().unwrap(),
            default_ttl: 300,
            sources: vec![source],
            steered: Vec::new(),
            base,
            is_transferred: false,
        };
        compile(&[settings]).0.unwrap()
    }

    #[test]
    fn other_contents_under_the_same_serial_number_are_told_until_it_is_newer() {
        let own = |serial, text| zones(serial, Base::Nothing, text);
        let (first, stale) = Serials::default().after(&own(7, "a A 198.51.100.1"));
        assert!(stale.is_empty());
        let (second, stale) = first.after(&own(7, "a A 198.51.100.2"));
        assert_eq!(stale, [("example.com.".parse().unwrap(), 7)]);
        // Still so, also when something else is read again, and also under an older number.
        assert_eq!(second.after(&own(7, "a A 198.51.100.2")).1.len(), 1);
        assert_eq!(second.after(&own(6, "a A 198.51.100.2")).1.len(), 1);
        // Taken back, or made right.
        assert!(second.after(&own(7, "a A 198.51.100.1")).1.is_empty());
        let (third, stale) = second.after(&own(8, "a A 198.51.100.2"));
        assert!(stale.is_empty());
        assert_eq!(
            third.of(&"example.com.".parse().unwrap()).map(|version| version.serial),
            Some(8)
        );
    }

    #[test]
    fn serial_numbers_go_around() {
        let own = |serial, text| zones(serial, Base::Nothing, text);
        let (first, _) = Serials::default().after(&own(u32::MAX, ""));
        assert!(first.after(&own(0, "a A 198.51.100.1")).1.is_empty());
        assert_eq!(first.after(&own(1 << 31, "a A 198.51.100.1")).1.len(), 1);
    }

    #[test]
    fn the_serial_number_of_a_primary_is_its_own_affair() {
        let (serials, _) = Serials::default().after(&zones(1, Base::Nothing, ""));
        let (serials, stale) = serials.after(&zones(1, Base::Awaited, "a A 198.51.100.1"));
        assert!(stale.is_empty());
        assert_eq!(serials.of(&"example.com.".parse().unwrap()), None);
    }
}
