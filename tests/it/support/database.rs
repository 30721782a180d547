//! MaxMind-format databases for the tests, made by the writer of the unit tests.

use serde_json::json;

use crate::encode;

/// A database that knows the countries of these prefixes.
pub fn countries(networks: &[(&str, &str)]) -> Vec<u8> {
    let record = |(prefix, country): &(&str, &str)| {
        let prefix = prefix.parse().expect("a prefix");
        (prefix, json!({"country": {"iso_code": country}}))
    };
    encode::database(6, 24, &networks.iter().map(record).collect::<Vec<_>>())
}
