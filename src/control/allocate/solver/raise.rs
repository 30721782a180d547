//! Raises prices until what is too much goes elsewhere, site by site.
//!
//! Coordinate ascent on the dual, as in an auction (Bertsekas): it moves many rows at a time, but
//! never quite arrives, for two full sites may outbid each other without end. The shortest paths
//! do the rest.

use super::flow::leaving;
use super::ground::Ground;
use super::state::{State, cheapest};

/// How often a site is raised, on average.
const ROUNDS: usize = 12;

/// A way for some units of a row to leave, and by how much the price must rise for it.
struct Way {
    rise: f64,
    row: u32,
    to: u16,
    amount: f64,
}

impl State {
    /// Raises the price of the site with the most excess, again and again, while that is faster
    /// than paths.
    pub fn ascend(&mut self, ground: &Ground) {
        let mut ways = Vec::new();
        let mut idle = 0;
        for _ in 0..ROUNDS * ground.sites() {
            let (mut site, mut most) = (0, self.dust);
            for (at, excess) in self.excess[..ground.sites()].iter().enumerate() {
                if *excess > most {
                    (site, most) = (at, *excess);
                }
            }
            if most <= self.dust {
                return;
            }
            let m = self.raise(ground, site, &mut ways);

            if m > 2 {
                idle = 0;
            } else {
                idle += 1;
                if idle > 8 {
                    return;
                }
            }
        }
    }

    /// Raises the price of a site until nothing is too much. Returns how many rows have moved.
    fn raise(&mut self, ground: &Ground, site: usize, ways: &mut Vec<Way>) -> usize {
        self.find_ways(ground, site, ways);
        let parent = usize::from(ground.parent[site]);
        // Of its entries, those that pass something on would be too cheap beyond.
        let entries = ground.children[site].iter().map(|child| usize::from(*child));
        let slack =
            |entry: usize| self.prices[entry] - self.prices[site] - self.down(ground, entry).0;
        let most = entries.filter(|entry| self.outflow[*entry] > 0.0).map(slack);
        let most = most.fold(f64::INFINITY, f64::min).max(0.0);
        let start = self.prices[site];
        let (mut rise, mut moved) = (0.0_f64, 0);
        let mut left = ways.iter().peekable();
        while self.excess[site] > self.dust {
            let (slope, room) = self.up(ground, site);
            let passing = slope + self.prices[parent] - start;
            let leaving = left.peek().map_or(f64::INFINITY, |way| way.rise);
            let next = passing.min(leaving).max(rise);
            if next > most {
                rise = most;
                break;
            }
            rise = next;
            let excess = self.excess[site];
            if passing <= leaving {
                let amount = excess.min(room);
                self.pass(ground, site, amount, room);
                self.excess[parent] += amount;
                self.excess[site] -= amount;
            } else if let Some(way) = left.next() {
                let amount = excess.min(way.amount);
                self.transfer(ground, way.row as usize, site, way.to.into(), amount);
                self.excess[site] -= amount;
                self.excess[usize::from(way.to)] += amount;
                moved += 1;
            }
        }
        self.prices[site] = start + rise;
        if self.excess[site].abs() <= self.dust {
            self.excess[site] = 0.0;
        }
        moved
    }

    /// Finds where the rows of a site would go, in the order in which they would.
    fn find_ways(&mut self, ground: &Ground, site: usize, ways: &mut Vec<Way>) {
        ways.clear();
        let price = std::mem::replace(&mut self.prices[site], f64::INFINITY);
        let mut back: Vec<(f64, u16, f64)> = Vec::new();
        for member in self.flow.members(site) {
            let part = self.flow.held(member);
            let row = part.row as usize;
            let (anew, least) = cheapest(ground.costs(row), &self.prices);
            let least = least + ground.stick;
            let (worth, holds) = leaving(ground, &part);
            let stay = worth + price;
            let previous = ground.previous(row);
            if holds == part.amount && previous.iter().all(|had| usize::from(had.0) == site) {
                let to = anew as u16;
                ways.push(Way { rise: least - stay, row: part.row, to, amount: holds });
                continue;
            }
            // First back to where it was, as far as there is room; first what is new here.
            back.clear();
            for &(had_at, had) in previous.iter().filter(|had| usize::from(had.0) != site) {
                let room = had - self.flow.amount(row, had_at.into());
                let cost = ground.cost(row, had_at.into()) + self.prices[usize::from(had_at)];
                if room > 0.0 && cost < least {
                    back.push((cost, had_at, room));
                }
            }
            back.sort_by(|a, b| a.0.total_cmp(&b.0));
            back.push((least, anew as u16, f64::INFINITY));
            let mut leaves =
                [(stay, holds), (stay - ground.stick, part.amount - holds)].into_iter();
            let mut leave = leaves.next();
            let mut back = back.iter_mut();
            let mut to = back.next();
            while let (Some((stay, amount)), Some((cost, at, room))) = (&mut leave, &mut to) {
                let fits = amount.min(*room);
                if fits > 0.0 {
                    ways.push(Way { rise: *cost - *stay, row: part.row, to: *at, amount: fits });
                }
                *amount -= fits;
                *room -= fits;
                if *amount <= 0.0 {
                    leave = leaves.next();
                } else {
                    to = back.next();
                }
            }
        }
        self.prices[site] = price;
        ways.sort_by(|a, b| a.rise.total_cmp(&b.rise).then(a.row.cmp(&b.row)));
    }
}
