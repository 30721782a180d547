//! What load costs: nothing far from the capacity, more the likelier an overload is.

use super::solver::Tier;
use super::tuning::Tuning;

/// The load up to which nothing is the matter, as a share of the capacity.
pub(super) fn wall(error: f64, tuning: &Tuning) -> f64 {
    let deviations = tuning.tiers.first().map_or(0.0, |tier| tier.0);
    (1.0 - tuning.margin - deviations * error).max(0.0)
}

/// The cost of load in a datacenter of this capacity that already carries `fixed`, which nothing
/// that is planned can change. `error`: the standard deviation of its load, as a share of the
/// capacity. No capacity is no bound.
pub(super) fn tiers(capacity: Option<f64>, fixed: f64, error: f64, tuning: &Tuning) -> Vec<Tier> {
    let unbounded = Tier { up_to: f64::INFINITY, slope_ms: 0.0 };
    let Some(capacity) = capacity else { return vec![unbounded] };
    let soft = tuning
        .tiers
        .iter()
        .map(|&(deviations, slope)| (1.0 - tuning.margin - deviations * error, slope));
    let steps = soft.chain(tuning.overload_tiers.iter().copied());
    let mut tiers: Vec<Tier> = Vec::new();
    let mut slope_ms = 0.0;
    let mut least = 0.0;
    for (share, slope) in steps {
        let up_to = (share.max(0.0) * capacity - fixed).max(least);
        tiers.push(Tier { up_to, slope_ms });
        least = up_to;
        slope_ms = slope.max(slope_ms);
    }
    tiers.push(Tier { up_to: f64::INFINITY, slope_ms });
    tiers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_carried_already_leaves_less_room() {
        let tuning = Tuning::default();
        let free = tiers(Some(100.0), 0.0, 0.02, &tuning);
        let half = tiers(Some(100.0), 50.0, 0.02, &tuning);
        for (free, half) in free.iter().zip(&half) {
            assert_eq!(free.slope_ms, half.slope_ms);
            assert!(half.up_to == free.up_to || (free.up_to - half.up_to - 50.0).abs() < 1e-9);
        }
        let full = tiers(Some(100.0), 1_000.0, 0.02, &tuning);
        assert!(full[..full.len() - 1].iter().all(|tier| tier.up_to == 0.0));
        assert!(full.windows(2).all(|two| two[0].slope_ms <= two[1].slope_ms));
    }

    #[test]
    fn without_a_capacity_there_is_no_bound() {
        assert_eq!(tiers(None, 9.0, 0.1, &Tuning::default()).len(), 1);
    }

    #[test]
    fn the_wall_stands_the_lower_the_less_is_certain() {
        let tuning = Tuning::default();
        assert!(wall(0.01, &tuning) > wall(0.03, &tuning));
        assert_eq!(wall(9.0, &tuning), 0.0);
    }
}
