//! Who may take clients: members by their checks and the operator's word, unless so much is said to
//! be down at once that it is rather the checks that have failed.

use super::layout::Ground;
use super::site::{Availability, Site};
use super::tuning::Tuning;

/// The members' availability, by pool and member.
#[derive(Clone, Debug, Default)]
pub(super) struct Members(pub Vec<Vec<Availability>>);

impl Members {
    pub fn new(ground: &Ground) -> Members {
        let up = |pool: &super::LayoutPool| vec![Availability::Up; pool.members.len()];
        Members(ground.layout.pools.iter().map(up).collect())
    }

    /// What the members of a datacenter say of it: it is as available as the most available.
    pub fn of_datacenter(&self, ground: &Ground, datacenter: u16) -> Option<Availability> {
        let rank = |availability: Availability| match availability {
            Availability::Up => 0,
            Availability::Draining => 1,
            Availability::Down => 2,
            Availability::Off => 3,
        };
        let members = ground.layout.pools.iter().zip(&self.0).flat_map(|(pool, availability)| {
            let here = pool.members.iter().zip(availability);
            here.filter(|(member, _)| member.datacenter.0 == datacenter).map(|(_, one)| *one)
        });
        members.min_by_key(|one| rank(*one))
    }

    /// Which members of a pool may be given clients. If none may, those may that only their checks
    /// forbid, and if there is none of these either, all: something is better than nothing.
    pub fn allowed(
        &self,
        ground: &Ground,
        pool: usize,
        is_lost: &[bool],
        is_disbelieved: &[bool],
    ) -> Vec<bool> {
        let members = &ground.layout.pools[pool].members;
        let lost = |member: usize| is_lost[usize::from(members[member].datacenter.0)];
        let state = |member: usize| match self.0[pool][member] {
            Availability::Down if is_disbelieved[usize::from(members[member].datacenter.0)] => {
                Availability::Up
            }
            state => state,
        };
        let by = |test: &dyn Fn(usize) -> bool| -> Option<Vec<bool>> {
            let allowed: Vec<bool> = (0..members.len()).map(test).collect();
            allowed.contains(&true).then_some(allowed)
        };
        let takes =
            |state: Availability| matches!(state, Availability::Up | Availability::Draining);
        by(&|member| takes(state(member)) && !lost(member))
            .or_else(|| by(&|member| state(member) != Availability::Off && !lost(member)))
            .or_else(|| by(&|member| state(member) != Availability::Off))
            .unwrap_or_else(|| vec![true; members.len()])
    }
}

/// The datacenters that have gone down so lately, and together with so many others, that it is not
/// believed yet.
pub(super) fn disbelieved(sites: &[Site], now: f64, tuning: &Tuning) -> Vec<bool> {
    let weight = |site: &Site| site.configured.or(site.nominal_with(tuning));
    // Unless all capacities are known, each counts alike.
    let known: Option<Vec<f64>> = sites.iter().map(weight).collect();
    let weights = known.unwrap_or_else(|| vec![1.0; sites.len()]);
    let total: f64 = weights.iter().sum();
    let fell: Vec<Option<f64>> = sites.iter().map(Site::down_since).collect();
    let disbelieved = fell.iter().zip(sites).map(|(since, site)| {
        let Some(since) = *since else { return false };
        // A datacenter that goes on to report what it serves has a better word than its checks.
        if now - since >= tuning.panic_confirm_s && !site.is_serving(now, tuning) {
            return false;
        }
        let together = |other: &Option<f64>| {
            other.is_some_and(|other| (other - since).abs() <= tuning.panic_within_s)
        };
        let count = fell.iter().filter(|other| together(other)).count();
        let down: f64 =
            fell.iter().zip(&weights).filter(|(other, _)| together(other)).map(|(_, w)| w).sum();
        count >= 2 && sites.len() >= 3 && down > tuning.panic_share * total
    });
    disbelieved.collect()
}
