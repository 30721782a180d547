//! From a solution to what is answered: shares of rows, and the parts that groups are given.

use std::collections::HashMap;
use std::sync::Arc;

use super::layout::Ground;
use super::solver::Solution;
use super::tuning::Tuning;
use crate::decide::{Allotment, Part, PoolId, rendezvous_cost};

/// What the weights of a split group sum to.
const WHOLE: f64 = 100_000.0;
/// The part of a client's key that the rendezvous hashes.
const HASHED: u64 = (1 << 56) - 1;
/// How much of a row's demand may come from clients that are not known, as a share of the known.
const UNKNOWN: f64 = 0.02;
/// How often each weight is corrected before the best so far is taken.
const ROUNDS: usize = 4;

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
    parts: Vec<Given>,
}

/// What a member has of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Given {
    pub member: u16,
    /// The share of the row's demand that follows from the weights.
    pub share: f32,
    /// In the rendezvous.
    pub weight: u32,
}

impl Shares {
    /// By row: members with their shares. None for a row that was not there.
    pub fn of(&self, row: usize) -> &[Given] {
        let Some(&end) = self.ends.get(row) else { return &[] };
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.parts[start as usize..end as usize]
    }

    pub fn push(&mut self, parts: impl IntoIterator<Item = Given>) {
        self.parts.extend(parts);
        self.ends.push(self.parts.len() as u32);
    }

    pub fn rows(&self) -> usize {
        self.ends.len()
    }

    /// How much of a row goes where it did not go before, as a share.
    pub fn moved(&self, before: &Shares, row: usize) -> f64 {
        let had = before.of(row);
        let more = |now: &Given| {
            let had = had.iter().find(|had| had.member == now.member).map_or(0.0, |had| had.share);
            f64::from((now.share - had).max(0.0))
        };
        self.of(row).iter().map(more).sum()
    }
}

/// The shares of a row from its amounts by member: what is negligible is dropped, and what is nearly
/// all is all. In the order of the members.
pub(super) fn rounded(amounts: &[(u16, f64)], is_atomic: bool, tuning: &Tuning) -> Vec<(u16, f64)> {
    let total: f64 = amounts.iter().map(|part| part.1).sum();
    let Some(&(most, amount)) =
        amounts.iter().max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))
    else {
        return Vec::new();
    };
    if amounts.len() == 1 || is_atomic || total <= 0.0 || amount >= tuning.unsplit * total {
        return vec![(most, 1.0)];
    }
    let mut kept: Vec<(u16, f64)> =
        amounts.iter().filter(|part| part.1 >= tuning.least_share * total).copied().collect();
    let total: f64 = kept.iter().map(|part| part.1).sum();
    kept.iter_mut().for_each(|part| part.1 /= total);
    kept.sort_by_key(|part| part.0);
    kept
}

/// The weights that give the members these shares of a row's clients, who are known by their
/// prefixes, each with its part of the demand: a few large ones do not split as many small ones
/// would. Weights that do so already, but for `slack` (by the place in `wanted`), stay: every change
/// moves clients.
pub(super) fn weighed(
    wanted: &[(u16, f64)],
    before: &[Given],
    clients: &[(u64, f64)],
    seeds: &[u64],
    slack: &[f64],
) -> Vec<Given> {
    let given = |weights: &[f64], shares: &[f64]| -> Vec<Given> {
        let parts = wanted.iter().zip(weights).zip(shares);
        let part = |((&(member, _), weight), share): ((&(u16, f64), &f64), &f64)| Given {
            member,
            share: *share as f32,
            weight: whole(*weight),
        };
        parts.map(part).collect()
    };
    if wanted.len() == 1 {
        return given(&[1.0 / WHOLE], &[1.0]);
    }
    let all: f64 = clients.iter().map(|client| client.1).sum();
    let targets: Vec<f64> = wanted.iter().map(|part| part.1).collect();
    let is_same = before.len() == wanted.len()
        && before.iter().zip(wanted).all(|(had, part)| had.member == part.0);
    let is_close = |shares: &[f64]| {
        shares.iter().zip(&targets).zip(slack).all(|((a, b), slack)| (a - b).abs() <= *slack)
    };
    if all <= 0.0 {
        let had: Vec<f64> = before.iter().map(|had| f64::from(had.share)).collect();
        return if is_same && is_close(&had) { before.to_vec() } else { given(&targets, &targets) };
    }
    let costs: Vec<Vec<f64>> = wanted
        .iter()
        .map(|part| {
            let seed = seeds.get(usize::from(part.0)).copied().unwrap_or(0);
            let cost = |client: &(u64, f64)| rendezvous_cost(client.0 & HASHED, seed, 1);
            clients.iter().map(cost).collect()
        })
        .collect();
    // Those of no known client follow the weights.
    let unknown = UNKNOWN * all;
    let shares_of = |weights: &[f64]| -> Vec<f64> {
        let weights: Vec<f64> = weights.iter().map(|weight| f64::from(whole(*weight))).collect();
        let sum: f64 = weights.iter().sum();
        let mut shares: Vec<f64> = weights.iter().map(|weight| unknown * weight / sum).collect();
        for (number, client) in clients.iter().enumerate() {
            let cost = |place: usize| costs[place][number] / weights[place];
            let best = (0..weights.len()).min_by(|a, b| cost(*a).total_cmp(&cost(*b)));
            shares[best.unwrap_or(0)] += client.1;
        }
        shares.iter().map(|share| share / (all + unknown)).collect()
    };
    let mut weights = targets.clone();
    if is_same {
        let had: Vec<f64> = before.iter().map(|had| f64::from(had.weight) / WHOLE).collect();
        let shares = shares_of(&had);
        if is_close(&shares) {
            return given(&had, &shares);
        }
        weights = had;
    }
    let off =
        |shares: &[f64]| -> f64 { shares.iter().zip(&targets).map(|(a, b)| (a - b).abs()).sum() };
    let shares = shares_of(&weights);
    let mut best = (off(&shares), weights.clone(), shares);
    for place in (0..ROUNDS * weights.len()).map(|step| step % targets.len()) {
        // A client goes here from this weight on.
        let mut from: Vec<(f64, f64)> = clients
            .iter()
            .enumerate()
            .map(|(number, client)| {
                let others = (0..weights.len()).filter(|other| *other != place);
                let least = others.map(|other| costs[other][number] / weights[other]);
                (costs[place][number] / least.fold(f64::INFINITY, f64::min), client.1)
            })
            .collect();
        from.sort_by(|a, b| a.0.total_cmp(&b.0));
        let wanted = targets[place] * all;
        let (mut sum, mut at) = (0.0, 0);
        while at < from.len() && (sum + from[at].1 - wanted).abs() <= (sum - wanted).abs() {
            sum += from[at].1;
            at += 1;
        }
        let before = at.checked_sub(1).map_or(from[0].0 / 2.0, |last| from[last].0);
        let after = from.get(at).map_or(before * 2.0, |next| next.0);
        weights[place] = (before * after).sqrt().clamp(1e-3, 1e3);
        let all: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight = (*weight / all).max(1.0 / WHOLE));
        let shares = shares_of(&weights);
        if off(&shares) < best.0 {
            best = (off(&shares), weights.clone(), shares);
        }
        if is_close(&best.2) {
            break;
        }
    }
    given(&best.1, &best.2)
}

fn whole(weight: f64) -> u32 {
    ((weight * WHOLE).round() as u32).max(1)
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
            let weights = shares.of(row).iter().map(|given| (given.member, given.weight));
            let part = Part { weights: weights.collect(), order: order.into(), ttl: ttl(row) };
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
    fn what_is_negligible_is_dropped_and_what_is_nearly_all_is_all() {
        let tuning = Tuning::default();
        let round = |amounts: &[(u16, f64)]| rounded(amounts, false, &tuning);
        assert_eq!(round(&[(2, 30.0), (0, 70.0)]), [(0, 0.7), (2, 0.3)]);
        assert_eq!(round(&[(0, 99.5), (2, 0.5)]), [(0, 1.0)]);
        assert_eq!(round(&[(0, 50.0), (1, 0.1), (2, 50.0)]), [(0, 0.5), (2, 0.5)]);
        assert_eq!(rounded(&[(0, 49.0), (1, 51.0)], true, &tuning), [(1, 1.0)]);
        assert_eq!(round(&[(3, 0.0)]), [(3, 1.0)], "a row without demand has a place too");
        assert!(round(&[]).is_empty());
    }

    #[test]
    fn weights_are_such_that_the_clients_there_are_split_as_wanted() {
        // A few large clients and some small ones.
        let clients: Vec<(u64, f64)> =
            (0..40).map(|key| (key, 1.0 / (1.0 + key as f64).powf(0.9))).collect();
        let seeds = [11, 22, 33];
        let wanted = [(0, 0.6), (1, 0.25), (2, 0.15)];
        let slack = [0.01; 3];
        let given = weighed(&wanted, &[], &clients, &seeds, &slack);
        let all: f64 = clients.iter().map(|client| client.1).sum();
        let mut shares = [0.0; 3];
        for (key, part) in &clients {
            let cost = |g: &&Given| rendezvous_cost(*key, seeds[usize::from(g.member)], g.weight);
            let best = given.iter().min_by(|a, b| cost(a).total_cmp(&cost(b))).unwrap();
            shares[usize::from(best.member)] += part / all;
        }
        for (share, (_, wanted)) in shares.iter().zip(&wanted) {
            assert!((share - wanted).abs() < 0.08, "{shares:?}");
        }
        // What is close enough stays as it is.
        let near = [(0, 0.605), (1, 0.245), (2, 0.15)];
        let slack = [0.06; 3];
        let again = weighed(&near, &given, &clients, &seeds, &slack);
        let weights = |given: &[Given]| given.iter().map(|g| g.weight).collect::<Vec<_>>();
        assert_eq!(weights(&again), weights(&given));
    }
}
