//! From a solution to what is answered: shares of rows, and the parts that groups are given.

use std::collections::HashMap;
use std::sync::Arc;

use super::layout::Ground;
use super::solver::Solution;
use super::tuning::Tuning;
use crate::decide::{Allotment, Part, PoolId};

/// What the weights of a split group sum to.
const WHOLE: f64 = 10_000.0;

/// What is published: for each pool that steers by capacity, which members each group is given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Allocation {
    /// Counts up.
    pub version: u64,
    /// In the order of the layout.
    pub pools: Vec<(PoolId, Arc<Allotment>)>,
}

/// The members' shares of every row.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Shares {
    ends: Vec<u32>,
    parts: Vec<(u16, f32)>,
}

impl Shares {
    /// By row: members with their shares. None for a row that was not there.
    pub fn of(&self, row: usize) -> &[(u16, f32)] {
        let Some(&end) = self.ends.get(row) else { return &[] };
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.parts[start as usize..end as usize]
    }

    pub fn push(&mut self, parts: impl IntoIterator<Item = (u16, f32)>) {
        self.parts.extend(parts);
        self.ends.push(self.parts.len() as u32);
    }

    pub fn rows(&self) -> usize {
        self.ends.len()
    }

    /// How much of a row goes where it did not go before, as a share.
    pub fn moved(&self, before: &Shares, row: usize) -> f64 {
        let had = before.of(row);
        let more = |&(member, share): &(u16, f32)| {
            let had = had.iter().find(|part| part.0 == member).map_or(0.0, |part| part.1);
            f64::from((share - had).max(0.0))
        };
        self.of(row).iter().map(more).sum()
    }
}

/// The shares of a row from its amounts by member: what is negligible is dropped, what is nearly
/// all is all, and what has hardly changed is not changed, as every change moves clients.
pub(super) fn rounded(
    amounts: &[(u16, f64)],
    before: &[(u16, f32)],
    is_atomic: bool,
    tuning: &Tuning,
) -> Vec<(u16, f32)> {
    let total: f64 = amounts.iter().map(|part| part.1).sum();
    let Some(&(most, amount)) =
        amounts.iter().max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))
    else {
        return Vec::new();
    };
    if amounts.len() == 1 || is_atomic || total <= 0.0 || amount >= tuning.unsplit * total {
        return vec![(most, 1.0)];
    }
    let kept: Vec<(u16, f64)> =
        amounts.iter().filter(|part| part.1 >= tuning.least_share * total).copied().collect();
    let total: f64 = kept.iter().map(|part| part.1).sum();
    let mut shares: Vec<(u16, f32)> =
        kept.iter().map(|&(member, amount)| (member, (amount / total) as f32)).collect();
    shares.sort_by_key(|part| part.0);
    let is_same = shares.len() == before.len()
        && shares.iter().zip(before).all(|(new, old)| {
            new.0 == old.0 && f64::from((new.1 - old.1).abs()) < tuning.same_share
        });
    if is_same { before.to_vec() } else { shares }
}

/// The allotments of all pools. `price`: what a unit of load costs at a site, in milliseconds;
/// infinite where nobody shall go.
pub(super) fn allotments(
    ground: &Ground,
    shares: &Shares,
    price: impl Fn(u16) -> f64,
    ttl: impl Fn(usize) -> u32,
) -> Vec<(PoolId, Arc<Allotment>)> {
    let of_pool = |(number, pool): (usize, &super::LayoutPool)| {
        let mut numbers: HashMap<Part, u32> = HashMap::new();
        let mut parts = Vec::new();
        let sites = &ground.sites[number];
        let prices: Vec<f64> = sites.iter().map(|site| price(*site)).collect();
        let by_group = (0..ground.groups()).map(|group| {
            let row = number * ground.groups() + group;
            let costs = ground.costs(group);
            let cost = |member: usize| {
                let datacenter = pool.members[member].datacenter;
                f64::from(costs[usize::from(datacenter.0)]) + prices[member]
            };
            let costs: Vec<f64> = (0..pool.members.len()).map(cost).collect();
            let mut order: Vec<u16> = (0..pool.members.len() as u16).collect();
            order.sort_by(|a, b| costs[usize::from(*a)].total_cmp(&costs[usize::from(*b)]));
            let part =
                Part { weights: weights(shares.of(row)), order: order.into(), ttl: ttl(row) };
            let next = parts.len() as u32;
            *numbers.entry(part.clone()).or_insert_with(|| {
                parts.push(part);
                next
            })
        });
        let by_group = by_group.collect();
        (pool.id, Arc::new(Allotment { by_group, parts: parts.into() }))
    };
    ground.layout.pools.iter().enumerate().map(of_pool).collect()
}

fn weights(shares: &[(u16, f32)]) -> Box<[(u16, u32)]> {
    match shares {
        [(member, _)] => Box::new([(*member, 1)]),
        _ => shares
            .iter()
            .map(|&(member, share)| (member, ((f64::from(share) * WHOLE) as u32).max(1)))
            .collect(),
    }
}

/// The amounts of a row by member, from the sites of a solution.
pub(super) fn by_member(sites: &[u16], solution: &Solution, row: usize) -> Vec<(u16, f64)> {
    let member = |site: u16| sites.iter().position(|known| *known == site);
    let parts = solution.parts(row).iter();
    parts.filter_map(|part| Some((member(part.site)? as u16, part.amount))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_sum_to_one_and_keep_still_when_little_changes() {
        let tuning = Tuning::default();
        let round = |amounts: &[(u16, f64)], before: &[(u16, f32)]| {
            rounded(amounts, before, false, &tuning)
        };
        let split = round(&[(2, 30.0), (0, 70.0)], &[]);
        assert_eq!(split, [(0, 0.7), (2, 0.3)]);
        assert_eq!(round(&[(0, 70.3), (2, 29.7)], &split), split);
        assert_ne!(round(&[(0, 72.0), (2, 28.0)], &split), split);
        assert_eq!(round(&[(0, 99.5), (2, 0.5)], &split), [(0, 1.0)]);
        let dropped = round(&[(0, 50.0), (1, 0.1), (2, 50.0)], &[]);
        assert_eq!(dropped, [(0, 0.5), (2, 0.5)]);
        assert_eq!(rounded(&[(0, 49.0), (1, 51.0)], &[], true, &tuning), [(1, 1.0)]);
        assert_eq!(round(&[(3, 0.0)], &[]), [(3, 1.0)], "a row without demand has a place too");
        assert!(round(&[], &[]).is_empty());
    }
}
