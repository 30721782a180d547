//! The built-in world's people: internet users by the first-level divisions of all countries.

use crate::geo::Coordinates;

/// The frozen table; `cities.py` beside it makes it and says from what.
const TABLE: &str = include_str!("cities.csv");

/// The people of one division.
#[derive(Clone, Debug, PartialEq)]
pub struct Division {
    /// ISO 3166-1 alpha-2.
    pub country: &'static str,
    /// The first-level division, by GeoNames' code.
    pub code: &'static str,
    /// The centroid of its cities, weighted by population.
    pub at: Coordinates,
    /// Internet users in its cities.
    pub users: f64,
}

/// All divisions of the table, the most populous first.
pub fn divisions() -> impl Iterator<Item = Division> {
    TABLE.lines().filter(|line| !line.starts_with('#')).skip(1).filter_map(division)
}

fn division(line: &'static str) -> Option<Division> {
    let mut fields = line.split(',');
    let (country, code) = (fields.next()?, fields.next()?);
    let mut number = || fields.next()?.parse::<f64>().ok();
    let (latitude, longitude) = (number()?, number()?);
    let at = Coordinates::new(latitude, longitude)?;
    Some(Division { country, code, at, users: number()? * 1_000.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_a_division() {
        let all: Vec<Division> = divisions().collect();
        assert_eq!(all.len(), 1_500);
        assert!(all.is_sorted_by(|a, b| a.users >= b.users));
        let users: f64 = all.iter().map(|division| division.users).sum();
        assert!((2.0e9..4.0e9).contains(&users), "{users}");
        let california = all.iter().find(|one| one.country == "US" && one.code == "CA").unwrap();
        let los_angeles = Coordinates::new(34.05, -118.24).unwrap();
        assert!(california.at.distance_km(los_angeles) < 300.0);
    }
}
