//! The cheapest way to move a unit from one site to another.

use super::flow::{Flow, Held, leaving};
use super::ground::Ground;

/// For each pair of sites, what the cheapest move of a unit between them costs, over all parts
/// that are at the first. Kept up to date lazily: where the cheapest part has left, its cost
/// stands on as a lower bound until somebody asks.
#[derive(Clone, Debug, Default)]
pub(super) struct Moves {
    least: Vec<f64>,
    is_stale: Vec<bool>,
    stride: usize,
}

impl Moves {
    /// Takes over where everybody is.
    pub fn read(&mut self, ground: &Ground, flow: &Flow) {
        self.stride = ground.stride();
        let size = ground.sites() * self.stride;
        self.least.clear();
        self.least.resize(size, f64::INFINITY);
        self.is_stale.clear();
        self.is_stale.resize(size, false);
        for row in 0..ground.rows() {
            self.insert(ground, flow, row);
        }
    }

    /// Lower bounds of the moves from a site to each other one.
    pub fn from(&self, site: usize) -> &[f64] {
        &self.least[site * self.stride..][..self.stride]
    }

    /// The exact cost of the cheapest move.
    pub fn exact(&mut self, ground: &Ground, flow: &Flow, from: usize, to: usize) -> f64 {
        let at = from * self.stride + to;
        if self.is_stale[at] {
            let costs = flow.at_site(from).map(|part| Offer::of(ground, flow, part).to(to));
            self.least[at] = costs.fold(f64::INFINITY, f64::min);
            self.is_stale[at] = false;
        }
        self.least[at]
    }

    /// The row whose move is the cheapest; the first of equals.
    pub fn cheapest(&self, ground: &Ground, flow: &Flow, from: usize, to: usize) -> Option<Held> {
        let least = self.least[from * self.stride + to];
        let offers =
            flow.at_site(from).filter(|part| Offer::of(ground, flow, *part).to(to) == least);
        offers.min_by_key(|part| part.row)
    }

    /// Forgets what a row offers, which is about to change.
    pub fn retract(&mut self, ground: &Ground, flow: &Flow, row: usize) {
        for part in flow.of_row(row) {
            let offer = Offer::of(ground, flow, part);
            let start = usize::from(part.site) * self.stride;
            let least = &self.least[start..][..self.stride];
            let stale = &mut self.is_stale[start..][..self.stride];
            for ((stale, least), cost) in stale.iter_mut().zip(least).zip(offer.costs) {
                *stale |= f64::from(*cost) + offer.base == *least;
            }
            for (site, cost) in offer.returns() {
                let at = start + site;
                self.is_stale[at] |= cost == self.least[at];
            }
        }
    }

    /// Takes in what a row offers now.
    pub fn insert(&mut self, ground: &Ground, flow: &Flow, row: usize) {
        for part in flow.of_row(row) {
            let offer = Offer::of(ground, flow, part);
            let start = usize::from(part.site) * self.stride;
            let least = &mut self.least[start..][..self.stride];
            for (least, cost) in least.iter_mut().zip(offer.costs) {
                let cost = f64::from(*cost) + offer.base;
                *least = if cost < *least { cost } else { *least };
            }
            for (site, cost) in offer.returns() {
                least[site] = least[site].min(cost);
            }
        }
    }
}

/// What moving a unit of a part costs.
struct Offer<'a> {
    ground: &'a Ground,
    flow: &'a Flow,
    part: Held,
    /// What leaving is worth.
    worth: f64,
    costs: &'a [f32],
    /// To be added to the cost of any site.
    base: f64,
}

impl<'a> Offer<'a> {
    fn of(ground: &'a Ground, flow: &'a Flow, part: Held) -> Offer<'a> {
        let (worth, _) = leaving(ground, &part);
        let costs = ground.costs(part.row as usize);
        Offer { ground, flow, part, worth, costs, base: ground.stick - worth }
    }

    /// Where the row comes back to what it had, which costs less.
    fn returns(&self) -> impl Iterator<Item = (usize, f64)> {
        let row = self.part.row as usize;
        let elsewhere = self.ground.previous(row).iter().filter(|had| had.0 != self.part.site);
        elsewhere.filter_map(move |&(site, had)| {
            let site = usize::from(site);
            let has_room = self.flow.amount(row, site) < had;
            has_room.then(|| (site, self.ground.cost(row, site) - self.worth))
        })
    }

    fn to(&self, site: usize) -> f64 {
        let anew = f64::from(self.costs[site]) + self.base;
        let back = self.returns().filter(|back| back.0 == site);
        back.map(|back| back.1).fold(anew, f64::min)
    }
}
