//! A datacenter, as the decision sees it.

use crate::geo::Location;

/// The index of a datacenter in [`Steering::datacenters`](super::Steering::datacenters).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DatacenterId(pub u16);

/// A datacenter, as the decision sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Datacenter {
    /// The operator's name for it, unique.
    pub name: String,
    /// Where it stands. Coordinates are needed by pools that steer by distance.
    pub location: Location,
    /// Attraction in percent, −99 to 99: a positive bias shortens the distances to it by that
    /// share, a negative one lengthens them (−50 doubles them).
    pub bias: i8,
    /// What it costs to send a client there, in milliseconds that are added to the latency.
    pub cost_ms: f32,
}

impl Datacenter {
    /// The great-circle distance to `location`, in kilometres; none where either place is unknown.
    pub fn distance_km(&self, location: &Location) -> Option<f64> {
        Some(self.location.coordinates?.distance_km(location.coordinates?))
    }

    /// The distance with the bias in it, in kilometres; 0 where a place is unknown, so that the
    /// order of the file decides.
    pub fn effective_distance_km(&self, location: &Location) -> f64 {
        let bias = f64::from(self.bias.clamp(-99, 99)) / 100.0;
        let distance = self.distance_km(location).unwrap_or(0.0);
        if bias >= 0.0 { distance * (1.0 - bias) } else { distance / (1.0 + bias) }
    }

    /// The same in whole metres, to order by.
    pub fn distance_rank(&self, location: &Location) -> u64 {
        (self.effective_distance_km(location) * 1e3) as u64
    }
}
