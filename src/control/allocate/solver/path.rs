//! The shortest path from where there is too much to where there is too little.

use super::ground::{Ground, LANES};
use super::state::{Arc, State};

/// Dijkstra's algorithm over the sites and the sink, on reduced costs; dense, for there are few.
#[derive(Clone, Debug, Default)]
pub(super) struct Search {
    distance: Vec<f64>,
    /// The distance of those that are not final, ∞ for the others.
    open: Vec<f64>,
    came: Vec<(u16, Arc)>,
    /// The distance of the nearest place found with room; what is farther does not matter.
    nearest: f64,
    /// The last path found.
    path: Vec<(usize, usize, Arc)>,
}

impl Search {
    /// Carries away all excess; false if that takes more than so many steps.
    pub fn carry(&mut self, ground: &Ground, state: &mut State, steps: &mut usize) -> bool {
        while state.excess.iter().any(|excess| *excess > state.dust) {
            if *steps == 0 {
                return false;
            }
            *steps -= 1;
            let Some(target) = self.settle(ground, state) else { return false };
            self.reprice(ground, state, target);
            self.trace(state, target);
            state.augment(ground, &self.path);
        }
        true
    }

    /// Finds the nearest node where there is too little.
    fn settle(&mut self, ground: &Ground, state: &mut State) -> Option<usize> {
        let nodes = ground.sink() + 1;
        self.distance.clear();
        // Padded for scanning.
        self.distance.resize(nodes.next_multiple_of(LANES), f64::INFINITY);
        self.came.clear();
        self.came.resize(nodes, (0, Arc::Move));
        self.nearest = f64::INFINITY;
        for node in 0..nodes {
            if state.excess[node] > state.dust {
                self.distance[node] = 0.0;
            }
        }
        self.open.clone_from(&self.distance);
        loop {
            let (node, least) = least_of(&self.open);
            if !least.is_finite() {
                return None;
            }
            if state.excess[node] < -state.dust {
                return Some(node);
            }
            self.open[node] = f64::INFINITY;
            self.relax(ground, state, node);
        }
    }

    fn relax(&mut self, ground: &Ground, state: &mut State, node: usize) {
        let base = self.distance[node] - state.prices[node];
        if node != ground.sink() {
            state.moves.know(ground, &state.flow, node);
            for start in (0..ground.stride()).step_by(LANES) {
                if !self.may_reach(state, node, base, start) {
                    continue;
                }
                for site in start..(start + LANES).min(ground.sites()) {
                    let bound = base + state.moves.from(node)[site] + state.prices[site];
                    // Rounding may let a reduced cost be a trifle below 0.
                    let bound = bound.max(self.distance[node]);
                    if bound < self.distance[site].min(self.nearest) {
                        let (cost, _) = state.moves.cheapest(ground, &state.flow, node, site);
                        self.reach(state, node, site, base + cost + state.prices[site], Arc::Move);
                    }
                }
            }
            let parent = usize::from(ground.parent[node]);
            let (cost, _) = state.up(ground, node);
            self.reach(state, node, parent, base + cost + state.prices[parent], Arc::Up);
        }
        for &child in &ground.children[node] {
            let child = usize::from(child);
            let (cost, holds) = state.down(ground, child);
            if holds > 0.0 {
                self.reach(state, node, child, base - cost + state.prices[child], Arc::Down);
            }
        }
    }

    /// Whether any of a few sites is nearer through a node than was known; a quick look.
    fn may_reach(&self, state: &State, node: usize, base: f64, start: usize) -> bool {
        let least = lanes(state.moves.from(node), start);
        let prices = lanes(&state.prices, start);
        let distance = lanes(&self.distance, start);
        let mut gain = [0.0; LANES];
        for lane in 0..LANES {
            let known = distance[lane];
            let known = if known < self.nearest { known } else { self.nearest };
            let change = base + least[lane] + prices[lane] - known;
            gain[lane] = if change < gain[lane] { change } else { gain[lane] };
        }
        gain.iter().any(|gain| *gain < 0.0)
    }

    fn reach(&mut self, state: &State, from: usize, to: usize, distance: f64, arc: Arc) {
        let distance = distance.max(self.distance[from]);
        if distance < self.distance[to] {
            self.distance[to] = distance;
            self.open[to] = distance;
            self.came[to] = (from as u16, arc);
            if state.excess[to] < -state.dust {
                self.nearest = self.nearest.min(distance);
            }
        }
    }

    /// Raises prices by what the path costs more than they say.
    fn reprice(&mut self, ground: &Ground, state: &mut State, target: usize) {
        let length = self.distance[target];
        for (price, distance) in state.prices.iter_mut().zip(&self.distance) {
            if *distance < length {
                *price += length - distance;
            }
        }
        let sink = state.prices[ground.sink()];
        if sink != 0.0 {
            for price in &mut state.prices[..=ground.sink()] {
                *price -= sink;
            }
        }
    }

    fn trace(&mut self, state: &State, target: usize) {
        self.path.clear();
        let mut node = target;
        while state.excess[node] <= state.dust && self.path.len() < self.came.len() {
            let (from, arc) = self.came[node];
            self.path.push((from.into(), node, arc));
            node = from.into();
        }
        self.path.reverse();
    }
}

fn lanes(values: &[f64], start: usize) -> &[f64; LANES] {
    const NONE: [f64; LANES] = [f64::INFINITY; LANES];
    values[start..].first_chunk().unwrap_or(&NONE)
}

/// Where the least of the values stands first, and how much it is.
fn least_of(values: &[f64]) -> (usize, f64) {
    let mut least = [f64::INFINITY; LANES];
    for values in values.chunks_exact(LANES) {
        for lane in 0..LANES {
            least[lane] = if values[lane] < least[lane] { values[lane] } else { least[lane] };
        }
    }
    let least = least.into_iter().fold(f64::INFINITY, f64::min);
    (values.iter().position(|value| *value == least).unwrap_or(0), least)
}
