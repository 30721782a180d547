//! What is known of where an address is.

use std::fmt;
use std::str::FromStr;

use super::Coordinates;

/// A two-letter code in upper case: a continent (`EU`) or an ISO 3166-1 country (`DE`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code([u8; 2]);

impl Code {
    /// The two letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("two ASCII letters")
    }
}

impl FromStr for Code {
    type Err = ();

    /// Two ASCII letters of any case.
    fn from_str(text: &str) -> Result<Code, ()> {
        match text.as_bytes() {
            &[a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                Ok(Code([a.to_ascii_uppercase(), b.to_ascii_uppercase()]))
            }
            _ => Err(()),
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl serde::Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What is known of where an address is; every part may be unknown.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Location {
    /// The continent: AF, AN, AS, EU, NA, OC or SA.
    pub continent: Option<Code>,
    /// The ISO 3166-1 alpha-2 code.
    pub country: Option<Code>,
    /// The first subdivision: its ISO 3166-2 code where the database has one (`CA`), else its name.
    pub region: Option<Box<str>>,
    /// The English name.
    pub city: Option<Box<str>>,
    /// The origin autonomous system.
    pub asn: Option<u32>,
    /// The point, or the centre of the country's population where only the country is known.
    pub coordinates: Option<Coordinates>,
    /// The operator's own labels, from the `networks` file.
    pub tags: Box<[Box<str>]>,
}
