//! Splits no more rows than needed.
//!
//! Where costs tie, shortest paths may leave several rows split between the same sites. Rows that
//! can shift either way at no cost are edges between their sites; around a cycle of them, amounts
//! are shifted until one edge is gone. A forest is left, with fewer edges than sites.

use super::flow::{Held, coming, leaving};
use super::ground::Ground;
use super::state::State;

/// A shift of a part of a row between two sites.
type Edge = (usize, u16, u16);

impl State {
    /// Shifts amounts around cycles until there are none; no load changes, and no cost.
    pub fn untangle(&mut self, ground: &Ground) {
        let is_split = |row: &usize| self.flow.of_row(*row).nth(1).is_some();
        let mut rows: Vec<usize> = (0..ground.rows()).rev().filter(is_split).collect();
        let mut forest = Forest { edges: vec![Vec::new(); ground.sites()] };
        // Each cycle costs a row a part, or brings one back to what it was.
        let mut limit = 4 * rows.len() + 16;
        while let Some(row) = rows.pop() {
            forest.forget(row);
            let sites = self.loose(ground, row);
            for pair in sites.windows(2) {
                let (a, b) = (pair[0], pair[1]);
                let Some(mut cycle) = forest.path(b, a) else {
                    forest.add(row, a, b);
                    continue;
                };
                cycle.insert(0, (row, a, b));
                limit -= 1;
                if limit == 0 {
                    return;
                }
                // What they can do next is another question.
                for edge in &cycle {
                    forest.forget(edge.0);
                    rows.push(edge.0);
                }
                self.rotate(ground, cycle);
                break;
            }
        }
    }

    /// The sites between which a row can shift either way.
    fn loose(&self, ground: &Ground, row: usize) -> Vec<u16> {
        let is_loose = |part: &Held| part.amount != ground.had(row, part.site.into());
        let mut sites: Vec<u16> =
            self.flow.of_row(row).filter(is_loose).map(|part| part.site).collect();
        sites.sort_unstable();
        sites
    }

    /// Shifts as much around a cycle as its edges hold.
    fn rotate(&mut self, ground: &Ground, cycle: Vec<Edge>) {
        let mut edges: Vec<Edge> = Vec::with_capacity(cycle.len());
        for (row, from, to) in cycle {
            match edges.last_mut() {
                // Through a site and on is past it.
                Some(last) if last.0 == row => last.2 = to,
                _ => edges.push((row, from, to)),
            }
        }
        if let [first, .., last] = &mut *edges
            && first.0 == last.0
        {
            first.1 = last.1;
            edges.pop();
        }
        let holds = |edge: &Edge| {
            let (row, from, to) = (edge.0, edge.1, usize::from(edge.2));
            let leaves = self.flow.of_row(row).find(|part| part.site == from);
            let leaves = leaves.map_or(0.0, |part| leaving(ground, &part).1);
            leaves.min(coming(ground, &self.flow, row, to).1)
        };
        let amount = edges.iter().map(holds).fold(f64::INFINITY, f64::min);
        for (row, from, to) in edges {
            self.transfer(ground, row, from.into(), to.into(), amount);
        }
    }
}

/// Which rows can shift between which sites, without a cycle.
struct Forest {
    edges: Vec<Vec<(u16, usize)>>,
}

impl Forest {
    fn add(&mut self, row: usize, a: u16, b: u16) {
        self.edges[usize::from(a)].push((b, row));
        self.edges[usize::from(b)].push((a, row));
    }

    fn forget(&mut self, row: usize) {
        for edges in &mut self.edges {
            edges.retain(|edge| edge.1 != row);
        }
    }

    /// The way between two sites, if there is one.
    fn path(&self, from: u16, to: u16) -> Option<Vec<Edge>> {
        let mut came: Vec<Option<Edge>> = vec![None; self.edges.len()];
        let mut open = vec![from];
        while let Some(site) = open.pop() {
            for &(next, row) in &self.edges[usize::from(site)] {
                if next != from && came[usize::from(next)].is_none() {
                    came[usize::from(next)] = Some((row, site, next));
                    open.push(next);
                }
            }
        }
        let mut path = Vec::new();
        let mut at = to;
        while at != from {
            let edge = came[usize::from(at)]?;
            path.push(edge);
            at = edge.1;
        }
        path.reverse();
        Some(path)
    }
}
