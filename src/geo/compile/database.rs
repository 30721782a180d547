//! A MaxMind-format database as a layer.

use std::collections::HashMap;
use std::net::IpAddr;

use foldhash::fast::RandomState;
use maxminddb::{MaxMindDbError, Reader, WithinOptions};

use super::CompileError;
use super::layer::{Distinct, Layer, Sweep};
use super::record::Record;

/// Reads every network of the database; each record is decoded once.
///
/// What an IPv6 database repeats of IPv4 (6to4, Teredo, IPv4-mapped) is passed over: an IPv4-mapped
/// client is looked up as IPv4, and the others' locations would be those of relays long gone.
pub(super) fn read(name: &str, bytes: &[u8]) -> Result<Layer, CompileError> {
    let unreadable =
        |reason: String| CompileError::Unreadable { database: name.to_owned(), reason };
    let reader = Reader::from_source(bytes).map_err(|error| unreadable(error.to_string()))?;
    let layer = read_networks(&reader).map_err(|error| unreadable(error.to_string()))?;
    if layer.is_unknown() {
        let kind = reader.metadata().database_type.clone();
        return Err(CompileError::NothingKnown { database: name.to_owned(), kind });
    }
    Ok(layer)
}

fn read_networks(reader: &Reader<&[u8]>) -> Result<Layer, MaxMindDbError> {
    // This also wants a description, which small makers of databases leave out.
    if !reader.metadata().description.is_empty() {
        reader.verify()?;
    }
    // A tree of so many nodes has one network more; damage can tie it into an endless web.
    let most = 3 * reader.metadata().node_count as usize;
    let mut locations = Distinct::new();
    let mut records: HashMap<usize, u32, RandomState> = HashMap::default();
    let (mut v4, mut v6) = (Sweep::with_capacity(0), Sweep::with_capacity(0));
    for (count, network) in reader.networks(WithinOptions::default())?.enumerate() {
        let network = network?;
        if count > most {
            return Err(MaxMindDbError::invalid_database("the search tree is tangled"));
        }
        let Some(offset) = network.offset() else { continue };
        let value = match records.get(&offset) {
            Some(known) => *known,
            None => {
                let record: Option<Record<'_>> = network.decode()?;
                let value = record.map_or(0, |record| locations.number(record.location()));
                records.insert(offset, value);
                value
            }
        };
        let prefix = network.network()?;
        let len = u32::from(prefix.prefix());
        match prefix.ip() {
            IpAddr::V4(first) => {
                let first = u32::from(first);
                v4.cover(first, first | u32::MAX.checked_shr(len).unwrap_or(0), value);
            }
            IpAddr::V6(first) => {
                let first = u128::from(first);
                // Without a subtree of its own, IPv4 has the record of the network around ::/96.
                if first == 0 && len <= 96 {
                    v4.cover(0, u32::MAX, value);
                }
                v6.cover(first, first | u128::MAX.checked_shr(len).unwrap_or(0), value);
            }
        }
    }
    Ok(Layer::new(v4.finish(), v6.finish(), locations))
}
