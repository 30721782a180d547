//! The simple way: every row goes to the nearest site with room.

use super::problem::{Problem, ProblemError, is_allowed};
use super::solution::{Part, Solution, by_key};

/// Below this slope a site has room; from here on it is full.
const FULL_MS: f64 = 100.0;

/// Assigns row by row, those with the nearest site first: each takes what room its nearest sites
/// have, and where none has any, what one unit more costs least. Minimises nothing, but is what
/// most steering does: a yardstick, and what is left if all else fails.
pub fn waterfall(problem: &Problem) -> Result<Solution, ProblemError> {
    problem.check()?;
    let parent = |site: usize| problem.sites[site].parent.map(usize::from);
    let room = |site: usize, loads: &[f64], full: f64| {
        let tiers = &problem.sites[site].tiers;
        let free = tiers.iter().take_while(|tier| tier.slope_ms < full).last();
        free.map_or(0.0, |tier| tier.up_to - loads[site])
    };
    let mut loads = vec![0.0; problem.sites.len()];
    let mut assigned = vec![Vec::<Part>::new(); problem.rows.len()];
    let site_order = by_key(problem.sites.iter().map(|site| site.key));
    let mut rows = by_key(problem.rows.iter().map(|row| row.key));
    let nearest = |row: usize| {
        let allowed = problem.costs_of(row).iter().copied().filter(|cost| is_allowed(*cost));
        allowed.fold(f32::INFINITY, f32::min)
    };
    rows.sort_by_cached_key(|row| ordered(nearest(*row)));
    for row in rows {
        let costs = problem.costs_of(row);
        let mut sites = site_order.clone();
        sites.retain(|site| is_allowed(costs[*site]));
        sites.sort_by(|a, b| costs[*a].total_cmp(&costs[*b]));
        let mut left = problem.rows[row].demand;
        let take = |site: usize, amount: f64, loads: &mut [f64], parts: &mut Vec<Part>| {
            loads[site] += amount;
            if let Some(parent) = parent(site) {
                loads[parent] += amount;
            }
            match parts.iter_mut().find(|part| usize::from(part.site) == site) {
                Some(part) => part.amount += amount,
                None => parts.push(Part { site: site as u16, amount }),
            }
        };
        for &site in &sites {
            let above = parent(site).map_or(f64::INFINITY, |parent| room(parent, &loads, FULL_MS));
            let amount = left.min(room(site, &loads, FULL_MS)).min(above);
            if amount > 0.0 {
                take(site, amount, &mut loads, &mut assigned[row]);
                left -= amount;
            }
        }
        // All are full: tier by tier, at most as many times as there are tiers.
        let marginal = |site: usize, loads: &[f64]| {
            let slope = |site: usize| problem.sites[site].slope_at(loads[site]);
            f64::from(costs[site]) + slope(site) + parent(site).map_or(0.0, slope)
        };
        let is_new = assigned[row].is_empty();
        while left > 0.0 || (is_new && assigned[row].is_empty()) {
            let dearer =
                |a: &&usize, b: &&usize| marginal(**a, &loads).total_cmp(&marginal(**b, &loads));
            let Some(&site) = sites.iter().min_by(dearer) else { break };
            let until = |site: usize| {
                let tiers = problem.sites[site].tiers.iter();
                let next = tiers.map(|tier| tier.up_to).find(|bound| loads[site] < *bound);
                next.map_or(f64::INFINITY, |bound| bound - loads[site])
            };
            let room = until(site).min(parent(site).map_or(f64::INFINITY, until));
            // What rounding would swallow is not worth a step.
            let amount = if room > loads[site] * 1e-12 { left.min(room) } else { left };
            take(site, amount, &mut loads, &mut assigned[row]);
            left -= amount;
        }
    }
    Ok(Solution::value(problem, assigned))
}

/// The bits of a cost, in the order of the costs.
fn ordered(cost: f32) -> u32 {
    let bits = cost.to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}
