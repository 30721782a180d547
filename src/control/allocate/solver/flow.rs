//! Who is where while a problem is being solved.

use super::ground::Ground;

/// No part.
const NONE: u32 = u32::MAX;

/// The parts of all rows, by row and by site.
#[derive(Clone, Debug, Default)]
pub(super) struct Flow {
    parts: Vec<Held>,
    free: Vec<u32>,
    /// Of each row: its first part.
    first: Vec<u32>,
    /// Of each site: the parts that are there.
    members: Vec<Vec<Member>>,
}

/// A part as its site sees it: side by side, what finding the cheapest move needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub row: u32,
    part: u32,
    /// To be added to the cost of any other site, for what moving a unit there costs.
    pub base: f64,
    /// Whether coming back to some site costs less.
    pub has_returns: bool,
}

/// What a site has of a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub amount: f64,
    pub row: u32,
    pub site: u16,
    /// The next part of the row.
    next: u32,
    /// Where it stands among the site's.
    place: u32,
}

impl Flow {
    /// Nobody is anywhere.
    pub fn clear(&mut self, rows: usize, sites: usize) {
        self.parts.clear();
        self.free.clear();
        self.first.clear();
        self.first.resize(rows, NONE);
        self.members.iter_mut().for_each(Vec::clear);
        self.members.resize_with(sites, Vec::new);
    }

    /// Whether a row is nowhere.
    pub fn is_empty(&self, row: usize) -> bool {
        self.first[row] == NONE
    }

    /// The parts of a row.
    pub fn of_row(&self, row: usize) -> impl Iterator<Item = Held> {
        let mut next = self.first[row];
        std::iter::from_fn(move || {
            let part = *self.parts.get(next as usize)?;
            next = part.next;
            Some(part)
        })
    }

    /// The parts that are at a site, in no particular order.
    pub fn members(&self, site: usize) -> &[Member] {
        &self.members[site]
    }

    /// A part in full.
    pub fn held(&self, member: &Member) -> Held {
        self.parts[member.part as usize]
    }

    /// What moving a unit of a row from a site costs.
    pub fn member(&self, part: &Held) -> &Member {
        &self.members[usize::from(part.site)][part.place as usize]
    }

    /// How much of a row is at a site.
    pub fn amount(&self, row: usize, site: usize) -> f64 {
        self.of_row(row).find(|part| usize::from(part.site) == site).map_or(0.0, |part| part.amount)
    }

    /// Sets how much of a row is at a site.
    pub fn set(&mut self, ground: &Ground, row: usize, site: usize, amount: f64) {
        let (mut before, mut at) = (NONE, self.first[row]);
        while at != NONE && usize::from(self.parts[at as usize].site) != site {
            (before, at) = (at, self.parts[at as usize].next);
        }
        match (at, amount > 0.0) {
            (NONE, true) => self.add(row, site, amount),
            (NONE, false) => {}
            (_, true) => self.parts[at as usize].amount = amount,
            (_, false) => self.remove(before, at),
        }
        self.review(ground, row);
    }

    /// Notes what the parts of a row, of which one has changed, would cost to move.
    fn review(&mut self, ground: &Ground, row: usize) {
        let previous = ground.previous(row);
        let mut at = self.first[row];
        while let Some(part) = self.parts.get(at as usize).copied() {
            let (worth, _) = leaving(ground, &part);
            let has_room =
                |had: &&(u16, f64)| had.0 != part.site && self.amount(row, had.0.into()) < had.1;
            let has_returns = previous.iter().find(has_room).is_some();
            let member = &mut self.members[usize::from(part.site)][part.place as usize];
            member.base = ground.stick - worth;
            member.has_returns = has_returns;
            at = part.next;
        }
    }

    fn add(&mut self, row: usize, site: usize, amount: f64) {
        let place = self.members[site].len() as u32;
        let next = self.first[row];
        let part = Held { amount, row: row as u32, site: site as u16, next, place };
        let index = match self.free.pop() {
            Some(index) => {
                self.parts[index as usize] = part;
                index
            }
            None => {
                self.parts.push(part);
                (self.parts.len() - 1) as u32
            }
        };
        self.first[row] = index;
        let row = row as u32;
        self.members[site].push(Member { row, part: index, base: 0.0, has_returns: false });
    }

    fn remove(&mut self, before: u32, index: u32) {
        let part = self.parts[index as usize];
        match self.parts.get_mut(before as usize) {
            Some(before) => before.next = part.next,
            None => self.first[part.row as usize] = part.next,
        }
        let members = &mut self.members[usize::from(part.site)];
        members.swap_remove(part.place as usize);
        if let Some(moved) = members.get(part.place as usize) {
            self.parts[moved.part as usize].place = part.place;
        }
        self.free.push(index);
    }
}

/// What leaving a site is worth to a row, per unit, and how many units it is worth that.
pub(super) fn leaving(ground: &Ground, part: &Held) -> (f64, f64) {
    let (row, site) = (part.row as usize, usize::from(part.site));
    let (cost, had) = (ground.cost(row, site), ground.had(row, site));
    if part.amount > had { (cost + ground.stick, part.amount - had) } else { (cost, part.amount) }
}

/// What coming to a site costs a row, per unit, and how many units it costs that.
pub(super) fn coming(ground: &Ground, flow: &Flow, row: usize, site: usize) -> (f64, f64) {
    let cost = ground.cost(row, site);
    let had = ground.had(row, site);
    let room = if had > 0.0 { had - flow.amount(row, site) } else { 0.0 };
    if room > 0.0 { (cost, room) } else { (cost + ground.stick, f64::INFINITY) }
}
