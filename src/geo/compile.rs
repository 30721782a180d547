//! From databases and the operator's networks to the compiled world.
//!
//! Each database, and then the networks, is a layer: a total map from addresses to what that source
//! says. The layers are laid over each other field by field, then what can be concluded is filled
//! in, and equal locations become one.

use ipnet::IpNet;

use super::country::country;
use super::{Code, Location, RangeTable, World};

mod database;
mod layer;
mod networks;
mod record;

use layer::Layer;

/// A prefix of the operator's own, and what is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// The addresses; an IPv4-mapped IPv6 prefix means the IPv4 one.
    pub prefix: IpNet,
    /// The parts that are known replace what the databases say, the tags are added to those of
    /// wider prefixes.
    pub location: Location,
}

/// Why a database cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// It is not a whole MaxMind-format database.
    #[error(
        "{database}: not a readable MaxMind-format database ({reason}); it may be cut or still \
         being copied: fetch it again, and put it in place by renaming it"
    )]
    Unreadable {
        /// Its name, as given.
        database: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It is readable, but says nothing of where addresses are.
    #[error(
        "{database}: a database of type {kind:?} with no country, continent, coordinates, region, \
         city or AS number in any record; expected one of the City, Country, ASN or ISP kind"
    )]
    NothingKnown {
        /// Its name, as given.
        database: String,
        /// The type that its metadata declares.
        kind: String,
    },
}

impl CompileError {
    /// The name of the database that cannot be used, as given.
    pub fn database(&self) -> &str {
        match self {
            CompileError::Unreadable { database, .. }
            | CompileError::NothingKnown { database, .. } => database,
        }
    }
}

/// Compiles databases (a name for messages, and the bytes) and the operator's networks.
///
/// Where several databases know a field of an address, the later one wins. The networks beat them
/// all; among those the longest prefix that has the field wins, and of equal prefixes the later.
/// One that names another country than the sources below it also discards their continent, region,
/// city and coordinates. At last, a missing continent and missing coordinates are taken from the
/// country.
///
/// # Errors
///
/// The first database that is damaged, or of a kind that says nothing of where addresses are.
pub fn compile(
    databases: &[(String, Vec<u8>)],
    networks: &[Network],
) -> Result<World, CompileError> {
    let mut layers: Option<Layer> = None;
    for (name, bytes) in databases {
        let layer = database::read(name, bytes)?;
        layers = Some(match layers {
            Some(below) => Layer::combine(&below, &layer, overlay),
            None => layer,
        });
    }
    if !networks.is_empty() {
        let below = layers.unwrap_or_else(Layer::unknown);
        layers = Some(Layer::combine(&below, &networks::layer(networks), overlay));
    }
    let layer = layers.unwrap_or_else(Layer::unknown).map(conclude);
    let (v4, v6, locations) = layer.into_parts();
    Ok(World::new(RangeTable::from_starts(v4), RangeTable::from_starts(v6), locations))
}

/// What is known when `above` is laid over `below`.
fn overlay(below: &Location, above: &Location) -> Location {
    // A source that contradicts the place as a whole also refutes the details of it.
    let elsewhere = match above.country {
        Some(_) => below.country.is_some() && above.country != below.country,
        None => {
            let continent = continent(below);
            continent.is_some() && above.continent.is_some() && above.continent != continent
        }
    };
    let nowhere = Location { asn: below.asn, tags: below.tags.clone(), ..Location::default() };
    let below = if elsewhere { &nowhere } else { below };
    let added = above.tags.iter().filter(|tag| !below.tags.contains(tag));
    Location {
        continent: above.continent.or(below.continent),
        country: above.country.or(below.country),
        region: above.region.clone().or_else(|| below.region.clone()),
        city: above.city.clone().or_else(|| below.city.clone()),
        asn: above.asn.or(below.asn),
        coordinates: above.coordinates.or(below.coordinates),
        tags: below.tags.iter().chain(added).cloned().collect(),
    }
}

/// Adds what follows from the country.
fn conclude(mut location: Location) -> Location {
    location.continent = continent(&location);
    let country = location.country.and_then(country);
    location.coordinates = location.coordinates.or(country.map(|country| country.centre));
    location
}

/// The continent, or else that of the country.
fn continent(location: &Location) -> Option<Code> {
    let of_country = || location.country.and_then(country).map(|country| country.continent);
    location.continent.or_else(of_country)
}

#[cfg(test)]
mod tests;
