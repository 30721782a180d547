//! The cheapest way to move a unit from one site to another.

use arrayvec::ArrayVec;

use super::flow::{Flow, Member};
use super::ground::{Ground, LANES};

/// How many rows of a pair of sites are remembered in order.
const KEPT: usize = 8;

/// For each pair of sites, what the cheapest move of a unit between them costs, over all parts
/// that are at the first.
///
/// Only a lower bound is kept of most pairs, which is a scan of the rows' costs; of those that
/// paths ask for, the first few rows in order, until they are used up.
#[derive(Clone, Debug, Default)]
pub(super) struct Moves {
    /// Lower bounds of what the cheapest move costs: all moves to a site side by side, as paths
    /// look for them.
    least: Vec<f64>,
    /// Scratch: the moves from a site.
    row: Vec<f64>,
    /// All rows that cost less than this are in the queue; −∞: it has not been asked for.
    limit: Vec<f64>,
    queues: Vec<ArrayVec<(f64, u32), KEPT>>,
    /// Of each site: whether its moves have been counted.
    is_known: Vec<bool>,
    stride: usize,
}

impl Moves {
    /// Forgets everything.
    pub fn clear(&mut self, ground: &Ground) {
        self.stride = ground.stride();
        let size = self.stride * self.stride;
        self.least.resize(size, f64::INFINITY);
        self.limit.resize(size, f64::NEG_INFINITY);
        self.queues.resize_with(size, ArrayVec::new);
        self.is_known.clear();
        self.is_known.resize(ground.sites(), false);
    }

    /// Counts the moves from a site, if that has not been done.
    pub fn know(&mut self, ground: &Ground, flow: &Flow, site: usize) {
        if std::mem::replace(&mut self.is_known[site], true) {
            return;
        }
        let start = site * self.stride;
        self.limit[start..][..self.stride].fill(f64::NEG_INFINITY);
        self.row.clear();
        self.row.resize(self.stride, f64::INFINITY);
        for member in flow.members(site) {
            Offer::of(ground, flow, site, member).lower(&mut self.row);
        }
        for (to, least) in self.row.iter().enumerate() {
            self.least[to * self.stride + site] = *least;
        }
    }

    /// Lower bounds of what moves to a site cost, from each site.
    pub fn to(&self, site: usize) -> &[f64] {
        &self.least[site * self.stride..][..self.stride]
    }

    /// The exact cost of the cheapest move, and whose it is: the first of equals.
    pub fn cheapest(&mut self, ground: &Ground, flow: &Flow, from: usize, to: usize) -> (f64, u32) {
        let at = from * self.stride + to;
        let queue = &mut self.queues[at];
        if self.limit[at] == f64::NEG_INFINITY {
            queue.clear();
            self.limit[at] = f64::INFINITY;
            for member in flow.members(from) {
                let cost = Offer::of(ground, flow, from, member).to(to);
                if cost < self.limit[at] {
                    self.limit[at] = enqueue(queue, cost, member.row);
                }
            }
            let first = queue.first();
            self.least[to * self.stride + from] = first.map_or(f64::INFINITY, |first| first.0);
        }
        queue.first().copied().unwrap_or((f64::INFINITY, 0))
    }

    /// Forgets what a row offers, which is about to change.
    pub fn retract(&mut self, ground: &Ground, flow: &Flow, row: usize) {
        for part in flow.of_row(row) {
            if !self.is_known[usize::from(part.site)] {
                continue;
            }
            let offer = Offer::of(ground, flow, part.site.into(), flow.member(&part));
            let start = usize::from(part.site) * self.stride;
            for first in (0..self.stride).step_by(LANES) {
                if offer.may_queue(&self.limit[start..], first) {
                    for at in first..first + LANES {
                        if offer.anew(at) <= self.limit[start + at] {
                            self.dequeue(part.site.into(), at, part.row);
                        }
                    }
                }
            }
            for (site, _) in offer.returns() {
                self.dequeue(part.site.into(), site, part.row);
            }
        }
    }

    fn dequeue(&mut self, from: usize, to: usize, row: u32) {
        let at = from * self.stride + to;
        if self.limit[at] == f64::NEG_INFINITY {
            return;
        }
        self.queues[at].retain(|queued| queued.1 != row);
        let least = &mut self.least[to * self.stride + from];
        match self.queues[at].first() {
            Some(first) => *least = first.0,
            None => *least = std::mem::replace(&mut self.limit[at], f64::NEG_INFINITY),
        }
    }

    /// Takes in what a row offers now.
    pub fn insert(&mut self, ground: &Ground, flow: &Flow, row: usize) {
        for part in flow.of_row(row) {
            if !self.is_known[usize::from(part.site)] {
                continue;
            }
            let start = usize::from(part.site) * self.stride;
            let offer = Offer::of(ground, flow, part.site.into(), flow.member(&part));
            let from = usize::from(part.site);
            let costs = offer.costs.iter().map(|cost| f64::from(*cost) + offer.member.base);
            for (cost, least) in costs.zip(self.least[from..].iter_mut().step_by(self.stride)) {
                *least = if cost < *least { cost } else { *least };
            }
            for (site, cost) in offer.returns() {
                let least = &mut self.least[site * self.stride + from];
                *least = least.min(cost);
            }
            // First, for what comes anew may lower the limit.
            for (site, cost) in offer.returns() {
                let at = start + site;
                if cost < self.limit[at] && offer.anew(site) >= self.limit[at] {
                    self.enqueue(at, cost, part.row);
                }
            }
            for first in (0..self.stride).step_by(LANES) {
                if offer.may_queue(&self.limit[start..], first) {
                    for at in first..first + LANES {
                        if offer.anew(at) < self.limit[start + at] {
                            self.enqueue(start + at, offer.to(at), part.row);
                        }
                    }
                }
            }
        }
    }

    fn enqueue(&mut self, at: usize, cost: f64, row: u32) {
        let limit = enqueue(&mut self.queues[at], cost, row);
        self.limit[at] = self.limit[at].min(limit);
    }
}

/// Queues a row in order of cost. Returns from where on costs are not in the queue.
fn enqueue(queue: &mut ArrayVec<(f64, u32), KEPT>, cost: f64, row: u32) -> f64 {
    let place = queue.partition_point(|queued| *queued < (cost, row));
    if queue.is_full() {
        queue.pop();
    }
    // Its cost is below the limit, so it does not come last in a full queue.
    queue.insert(place.min(queue.len()), (cost, row));
    match queue.last() {
        Some(last) if queue.is_full() => last.0,
        _ => f64::INFINITY,
    }
}

/// What moving a unit of a part costs.
struct Offer<'a> {
    ground: &'a Ground,
    flow: &'a Flow,
    site: usize,
    member: &'a Member,
    costs: &'a [f32],
}

impl<'a> Offer<'a> {
    fn of(ground: &'a Ground, flow: &'a Flow, site: usize, member: &'a Member) -> Offer<'a> {
        Offer { ground, flow, site, member, costs: ground.costs(member.row as usize) }
    }

    /// Where the row comes back to what it had, which costs less.
    fn returns(&self) -> impl Iterator<Item = (usize, f64)> {
        let row = self.member.row as usize;
        let previous = if self.member.has_returns { self.ground.previous(row) } else { &[] };
        previous.iter().filter_map(move |&(site, had)| {
            let site = usize::from(site);
            let has_room = site != self.site && self.flow.amount(row, site) < had;
            has_room.then(|| {
                (site, self.ground.cost(row, site) + (self.member.base - self.ground.stick))
            })
        })
    }

    /// Lowers the least costs to this offer's, where it is cheaper.
    fn lower(&self, least: &mut [f64]) {
        for (least, cost) in least.iter_mut().zip(self.costs) {
            let cost = f64::from(*cost) + self.member.base;
            *least = if cost < *least { cost } else { *least };
        }
        for (site, cost) in self.returns() {
            least[site] = least[site].min(cost);
        }
    }

    /// What it costs to where the row has no room to come back.
    fn anew(&self, site: usize) -> f64 {
        f64::from(self.costs[site]) + self.member.base
    }

    /// Whether any of a few sites costs no more than its limit; a quick look.
    fn may_queue(&self, limits: &[f64], first: usize) -> bool {
        let mut below = [0.0; LANES];
        let lanes = self.costs[first..].iter().zip(&limits[first..]);
        for (below, (cost, limit)) in below.iter_mut().zip(lanes) {
            let over = f64::from(*cost) + self.member.base - limit;
            *below = if over <= 0.0 { 1.0 } else { *below };
        }
        below != [0.0; LANES]
    }

    fn to(&self, site: usize) -> f64 {
        let anew = self.anew(site);
        if !self.member.has_returns {
            return anew;
        }
        let back = self.returns().filter(|back| back.0 == site);
        back.map(|back| back.1).fold(anew, f64::min)
    }
}
