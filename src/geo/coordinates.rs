//! A point on the globe, and distances.

/// The mean radius of the Earth (IUGG), in kilometres.
const EARTH_RADIUS_KM: f64 = 6371.0088;

/// A point on the globe, in degrees (WGS 84).
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Coordinates {
    /// North of the equator, −90 to 90 degrees.
    pub latitude: f64,
    /// East of Greenwich, −180 to 180 degrees.
    pub longitude: f64,
}

impl Coordinates {
    /// None when a value is not finite or out of range.
    pub fn new(latitude: f64, longitude: f64) -> Option<Coordinates> {
        let valid = (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude);
        valid.then_some(Coordinates { latitude, longitude })
    }

    /// The great-circle distance in kilometres, by the haversine formula.
    pub fn distance_km(self, other: Coordinates) -> f64 {
        let (lat_a, lat_b) = (self.latitude.to_radians(), other.latitude.to_radians());
        let half_lat = (lat_b - lat_a) / 2.0;
        let half_lon = (other.longitude - self.longitude).to_radians() / 2.0;
        let h = half_lat.sin().powi(2) + lat_a.cos() * lat_b.cos() * half_lon.sin().powi(2);
        2.0 * EARTH_RADIUS_KM * h.sqrt().min(1.0).asin()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_between_cities_are_those_of_the_almanac() {
        let frankfurt = Coordinates::new(50.11, 8.68).unwrap();
        let tokyo = Coordinates::new(35.68, 139.69).unwrap();
        let antipode = Coordinates::new(-50.11, -171.32).unwrap();
        assert!((frankfurt.distance_km(tokyo) - 9_345.0).abs() < 20.0);
        assert!((frankfurt.distance_km(antipode) - 20_015.1).abs() < 1.0);
        assert_eq!(frankfurt.distance_km(frankfurt), 0.0);
    }

    #[test]
    fn impossible_points_are_refused() {
        assert!(Coordinates::new(90.1, 0.0).is_none());
        assert!(Coordinates::new(0.0, -180.1).is_none());
        assert!(Coordinates::new(f64::NAN, 0.0).is_none());
    }
}
