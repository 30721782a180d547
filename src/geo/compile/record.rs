//! What a database's record says, nested (MaxMind) or flat (DB-IP, IPinfo).

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::geo::{Code, Coordinates, Location};

/// The fields that are read. One of an unexpected form counts as absent: vendors differ, and a
/// field of the same name need not mean the same.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Record<'a> {
    #[serde(borrow)]
    continent: Value<'a>,
    continent_code: Value<'a>,
    country: Value<'a>,
    country_code: Value<'a>,
    registered_country: Value<'a>,
    subdivisions: Value<'a>,
    region_code: Value<'a>,
    region: Value<'a>,
    state1: Value<'a>,
    city: Value<'a>,
    location: Value<'a>,
    loc: Value<'a>,
    latitude: Value<'a>,
    longitude: Value<'a>,
    lat: Value<'a>,
    lng: Value<'a>,
    autonomous_system_number: Value<'a>,
    asn: Value<'a>,
}

impl Record<'_> {
    /// The location that it describes; what it does not say is unknown.
    pub(super) fn location(&self) -> Location {
        let countries = [&self.country_code, &self.country, &self.registered_country];
        let continents = [&self.continent_code, &self.continent];
        let regions = [&self.region_code, &self.subdivisions, &self.region, &self.state1];
        let points = [
            self.location.point(),
            self.loc.point(),
            (self.latitude.number(), self.longitude.number()),
            (self.lat.number(), self.lng.number()),
        ];
        let mut location = Location {
            continent: continents.into_iter().find_map(Value::continent),
            country: countries.into_iter().find_map(Value::two_letters),
            region: regions.into_iter().find_map(Value::code_or_name).map(Into::into),
            city: self.city.name().map(Into::into),
            asn: self.autonomous_system_number.asn().or_else(|| self.asn.asn()),
            coordinates: points.into_iter().find_map(inhabited),
            tags: Box::default(),
        };
        // What has no country is filed under codes that are none, two of which name a continent.
        let stands_for = match location.country.as_ref().map(Code::as_str) {
            Some("EU") => "EU".parse().ok(),
            Some("AP") => "AS".parse().ok(),
            Some("ZZ" | "XX") => None,
            _ => return location,
        };
        location.country = None;
        location.continent = location.continent.or(stands_for);
        location
    }
}

/// The point, unless it is that to which lost values fall, where nobody lives.
fn inhabited((latitude, longitude): (Option<f64>, Option<f64>)) -> Option<Coordinates> {
    let point = Coordinates::new(latitude?, longitude?)?;
    (point.latitude != 0.0 || point.longitude != 0.0).then_some(point)
}

/// A value of any form, as far as it is of use.
#[derive(Clone, Copy, Default)]
enum Value<'a> {
    /// Of no use.
    #[default]
    Absent,
    Text(&'a str),
    Number(f64),
    Map(Place<'a>),
}

/// The map that the nested kind has for a place.
#[derive(Clone, Copy, Default)]
struct Place<'a> {
    code: Option<&'a str>,
    name: Option<&'a str>,
    latitude: Option<f64>,
    longitude: Option<f64>,
}

impl<'a> Value<'a> {
    /// A text of its own or, of a map, the English name.
    fn name(&self) -> Option<&'a str> {
        let name = match *self {
            Value::Text(text) => Some(text),
            Value::Map(place) => place.name,
            Value::Absent | Value::Number(_) => None,
        };
        name.filter(|name| !name.is_empty())
    }

    fn code_or_name(&self) -> Option<&'a str> {
        match self {
            Value::Map(Place { code: Some(code), .. }) if !code.is_empty() => Some(code),
            _ => self.name(),
        }
    }

    fn two_letters(&self) -> Option<Code> {
        self.code_or_name()?.parse().ok()
    }

    fn continent(&self) -> Option<Code> {
        let known = ["AF", "AN", "AS", "EU", "NA", "OC", "SA"];
        self.two_letters().filter(|code| known.contains(&code.as_str()))
    }

    /// A number, or a text that is one.
    fn number(&self) -> Option<f64> {
        match self {
            Value::Number(number) => Some(*number),
            Value::Text(text) => text.trim().parse().ok(),
            Value::Absent | Value::Map(_) => None,
        }
    }

    /// The number of an autonomous system, or a text like `AS64500`.
    fn asn(&self) -> Option<u32> {
        match self {
            Value::Number(number) => Some(*number as u32).filter(|asn| f64::from(*asn) == *number),
            Value::Text(text) => text.trim_start_matches(['A', 'S', 'a', 's']).parse().ok(),
            Value::Absent | Value::Map(_) => None,
        }
        .filter(|asn| *asn > 0)
    }

    /// Latitude and longitude: of a map, or of a text like `52.52,13.40`.
    fn point(&self) -> (Option<f64>, Option<f64>) {
        match self {
            Value::Map(place) => (place.latitude, place.longitude),
            Value::Text(text) => match text.split_once(',') {
                Some((north, east)) => (Value::Text(north).number(), Value::Text(east).number()),
                None => (None, None),
            },
            Value::Absent | Value::Number(_) => (None, None),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Value<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value<'a>, D::Error> {
        Depth(0).deserialize(deserializer)
    }
}

/// Reads a value inside so many others.
#[derive(Clone, Copy)]
struct Depth(u8);

impl Depth {
    /// `subdivisions` holds a list of maps in which `names` is a map of texts: no use goes deeper,
    /// and the stack is finite.
    const DEEPEST: u8 = 3;
}

impl<'de> DeserializeSeed<'de> for Depth {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        if self.0 > Depth::DEEPEST {
            IgnoredAny::deserialize(deserializer)?;
            return Ok(Value::Absent);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Depth {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(text))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value<'de>, E> {
        Ok(Value::Number(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value<'de>, E> {
        Ok(Value::Number(number as f64))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value<'de>, E> {
        Ok(Value::Number(number as f64))
    }

    fn visit_u128<E>(self, _: u128) -> Result<Value<'de>, E> {
        Ok(Value::Absent)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value<'de>, E> {
        Ok(Value::Absent)
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Value<'de>, E> {
        Ok(Value::Absent)
    }

    /// Of a list the first counts: the widest subdivision.
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value<'de>, A::Error> {
        let first = list.next_element_seed(Depth(self.0 + 1))?;
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(first.unwrap_or_default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
        let mut place = Place::default();
        while let Some(key) = map.next_key::<&str>()? {
            let of_use = matches!(
                key,
                "iso_code" | "code" | "names" | "name" | "en" | "latitude" | "longitude"
            );
            if !of_use {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = map.next_value_seed(Depth(self.0 + 1))?;
            match key {
                "iso_code" | "code" => place.code = value.name(),
                "latitude" => place.latitude = value.number(),
                "longitude" => place.longitude = value.number(),
                _ => place.name = value.name(),
            }
        }
        Ok(Value::Map(place))
    }
}
