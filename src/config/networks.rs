//! The shape of the `networks` file: the operator's own prefixes, and what is known of them.

use super::reader::{Table, Value};
use super::server::{continent, country, read_coordinates};
use super::zone_file::{asn, prefix};
use crate::geo::{Location, Network};

/// Reads the whole file.
pub(super) fn read(mut root: Table<'_>) -> Vec<Network> {
    let items = root.take("networks").and_then(|value| value.items()).unwrap_or_default();
    let networks = items.iter().flat_map(read_network).collect();
    root.finish();
    networks
}

fn read_network(value: &Value<'_>) -> Vec<Network> {
    let Some(mut table) = value.table("[[networks]]") else { return Vec::new() };
    let (one, many) = (table.take("prefix"), table.take("prefixes"));
    let prefixes: Vec<Value<'_>> =
        one.iter().chain(&many).flat_map(|value| value.one_or_more()).collect();
    if prefixes.is_empty() {
        let error = table.error("[[networks]] lacks what it is about");
        let error = error.label("expected `prefix` or `prefixes`");
        table.reader().report(error.help("add `prefix = \"198.51.100.0/24\"`"));
    }
    let name = |value: Value<'_>| Some(value.filled_text()?.into_inner().into_boxed_str());
    let location = Location {
        coordinates: read_coordinates(&mut table),
        continent: table.take("continent").and_then(|value| continent(&value)),
        country: table.take("country").and_then(|value| country(&value)),
        region: table.take("region").and_then(name),
        city: table.take("city").and_then(name),
        asn: table.take("asn").and_then(|value| asn(&value)),
        tags: table
            .take("tags")
            .map(|value| value.one_or_more().into_iter().filter_map(name).collect())
            .unwrap_or_default(),
    };
    table.finish();
    let network = |prefix| Network { prefix, location: location.clone() };
    prefixes.iter().filter_map(prefix).map(network).collect()
}
