//! Keys, their algorithms, and the MACs they make.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use ring::hmac;

use crate::dns::Name;

/// How a MAC is computed (RFC 8945 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// HMAC with SHA-1.
    Sha1,
    /// HMAC with SHA-256: what everybody has.
    Sha256,
    /// HMAC with SHA-384.
    Sha384,
    /// HMAC with SHA-512.
    Sha512,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Algorithm; 4] =
        [Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512];

    /// Its name, as it stands in configurations.
    pub fn label(self) -> &'static str {
        match self {
            Algorithm::Sha1 => "hmac-sha1",
            Algorithm::Sha256 => "hmac-sha256",
            Algorithm::Sha384 => "hmac-sha384",
            Algorithm::Sha512 => "hmac-sha512",
        }
    }

    /// The bytes of a MAC, of which a secret should have no fewer (RFC 8945 §8).
    pub fn mac_bytes(self) -> usize {
        match self {
            Algorithm::Sha1 => 20,
            Algorithm::Sha256 => 32,
            Algorithm::Sha384 => 48,
            Algorithm::Sha512 => 64,
        }
    }

    /// The fewest bytes that a MAC may be cut to (RFC 8945 §5.2.2.1).
    pub(super) fn least_mac_bytes(self) -> usize {
        10.max(self.mac_bytes() / 2)
    }

    /// Its name in wire form.
    pub(super) fn wire(self) -> &'static [u8] {
        match self {
            Algorithm::Sha1 => b"\x09hmac-sha1\0",
            Algorithm::Sha256 => b"\x0bhmac-sha256\0",
            Algorithm::Sha384 => b"\x0bhmac-sha384\0",
            Algorithm::Sha512 => b"\x0bhmac-sha512\0",
        }
    }

    fn hmac(self) -> hmac::Algorithm {
        match self {
            Algorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Algorithm::Sha256 => hmac::HMAC_SHA256,
            Algorithm::Sha384 => hmac::HMAC_SHA384,
            Algorithm::Sha512 => hmac::HMAC_SHA512,
        }
    }
}

/// A key that two servers share.
pub struct Key {
    name: Name,
    /// The name in lower case.
    canonical: Box<[u8]>,
    algorithm: Algorithm,
    hmac: hmac::Key,
    /// Of the secret and the algorithm, so that a reload can tell whether the key changed.
    print: hmac::Tag,
}

impl Key {
    /// A key from the secret that the other side has, too.
    pub fn new(name: Name, algorithm: Algorithm, secret: &[u8]) -> Key {
        let hmac = hmac::Key::new(algorithm.hmac(), secret);
        let print = hmac::sign(&hmac, b"portolan");
        Key { canonical: name.to_key(), name, algorithm, hmac, print }
    }

    /// Its name, which goes over the wire.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Its name in lower-case wire form.
    pub fn canonical_name(&self) -> &[u8] {
        &self.canonical
    }

    /// How its MACs are computed.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The bytes of the TSIG record of a message that is signed with it.
    pub fn record_bytes(&self) -> usize {
        super::record::bytes(
            self.canonical.len(),
            self.algorithm.wire().len(),
            self.algorithm.mac_bytes(),
            0,
        )
    }

    /// Begins a MAC.
    pub(super) fn context(&self) -> hmac::Context {
        hmac::Context::with_key(&self.hmac)
    }
}

impl fmt::Debug for Key {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("name", &self.name).field("algorithm", &self.algorithm).finish()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.name == other.name
            && self.algorithm == other.algorithm
            && self.print.as_ref() == other.print.as_ref()
    }
}

/// The keys that the server has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Keys {
    /// By name in lower-case wire form.
    by_name: HashMap<Box<[u8]>, Arc<Key>>,
}

impl Keys {
    /// The key with a name in lower-case wire form.
    pub fn find(&self, name: &[u8]) -> Option<&Arc<Key>> {
        self.by_name.get(name)
    }

    /// All keys, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Key>> {
        self.by_name.values()
    }
}

impl FromIterator<Key> for Keys {
    fn from_iter<I: IntoIterator<Item = Key>>(keys: I) -> Keys {
        let keyed = |key: Key| (key.canonical.clone(), Arc::new(key));
        Keys { by_name: keys.into_iter().map(keyed).collect() }
    }
}
