//! Who may take a zone, and who is told when it changes.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;

use super::Key;
use crate::dns::Name;

/// Who may take a zone. Where addresses and a key are given, both are required.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Access {
    /// From where; from anywhere if there is none, but a key.
    pub allow: Box<[IpNet]>,
    /// Signed with which key; with any or none if there is none.
    pub key: Option<Arc<Key>>,
}

impl Access {
    /// Whether a request from `source` that is signed with `key` is granted.
    pub fn permits(&self, source: IpAddr, key: Option<&Key>) -> bool {
        let source = source.to_canonical();
        let is_near =
            self.allow.is_empty() || self.allow.iter().any(|allowed| allowed.contains(&source));
        let is_known = self.key.as_ref().is_none_or(|wanted| key == Some(wanted));
        let is_open = !self.allow.is_empty() || self.key.is_some();
        is_open && is_near && is_known
    }
}

/// A server that is told when a zone changes (RFC 1996).
#[derive(Clone, Debug, PartialEq)]
pub struct NotifyTarget {
    /// Where it listens.
    pub address: SocketAddr,
    /// The key that signs what it is told.
    pub key: Option<Arc<Key>>,
}

/// What a zone's `[transfer]` says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ZoneTransfer {
    /// Who may take it.
    pub access: Access,
    /// Who is told.
    pub notify: Box<[NotifyTarget]>,
}

/// What all zones' `[transfer]` say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transfers {
    /// By origin, in lower-case wire form.
    by_origin: HashMap<Box<[u8]>, ZoneTransfer>,
}

impl Transfers {
    /// That of the zone with an origin in lower-case wire form.
    pub fn of(&self, origin: &[u8]) -> Option<&ZoneTransfer> {
        self.by_origin.get(origin)
    }
}

impl FromIterator<(Name, ZoneTransfer)> for Transfers {
    fn from_iter<I: IntoIterator<Item = (Name, ZoneTransfer)>>(zones: I) -> Transfers {
        let by_origin = zones.into_iter().map(|(origin, it)| (origin.to_key(), it)).collect();
        Transfers { by_origin }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::Algorithm;

    fn key(name: &str) -> Arc<Key> {
        Arc::new(Key::new(name.parse().unwrap(), Algorithm::Sha256, b"secret"))
    }

    #[test]
    fn nobody_may_unless_somebody_is_allowed() {
        assert!(!Access::default().permits([198, 51, 100, 1].into(), Some(&key("a."))));
    }

    #[test]
    fn address_and_key_are_both_required_when_both_are_given() {
        let (near, far) = ([198, 51, 100, 1].into(), [203, 0, 113, 1].into());
        let mapped: IpAddr = "::ffff:198.51.100.1".parse().unwrap();
        let allow: Box<[IpNet]> = Box::new(["198.51.100.0/24".parse().unwrap()]);
        let by_address = Access { allow: allow.clone(), key: None };
        let by_key = Access { allow: Box::default(), key: Some(key("a.")) };
        let by_both = Access { allow, key: Some(key("a.")) };
        let (right, wrong) = (key("a."), key("b."));
        for (source, key, granted) in [
            (near, None, [true, false, false]),
            (mapped, None, [true, false, false]),
            (far, None, [false, false, false]),
            (near, Some(&right), [true, true, true]),
            (far, Some(&right), [false, true, false]),
            (near, Some(&wrong), [true, false, false]),
        ] {
            let key = key.map(|key| &**key);
            let is = [&by_address, &by_key, &by_both].map(|access| access.permits(source, key));
            assert_eq!(is, granted, "{source} {key:?}");
        }
    }
}
