//! The shortest paths from where there is too much to where there is too little.

use super::ground::{Ground, LANES};
use super::state::{Arc, Hop, State};

/// Dijkstra's algorithm over the sites and the sink, on reduced costs; dense, for there are few.
///
/// It goes backwards from all nodes with too little, and so finds a path for every node with too
/// much at once. New prices make all these paths cost the same as what is; then each path carries
/// what it can, unless one before it has used up what they share.
#[derive(Clone, Debug, Default)]
pub(super) struct Search {
    /// How far it is from each node to the nearest with too little.
    distance: Vec<f64>,
    /// The distance of those that are not final, ∞ for the others.
    open: Vec<f64>,
    /// The next hop from each node; none where there is too little.
    next: Vec<Option<Hop>>,
    /// Where there is too much.
    sources: Vec<usize>,
    path: Vec<Hop>,
}

impl Search {
    /// Carries away all excess; false if that takes more than so many steps.
    pub fn carry(&mut self, ground: &Ground, state: &mut State, steps: &mut usize) -> bool {
        loop {
            let dust = state.dust;
            self.sources.clear();
            self.sources.extend((0..=ground.sink()).filter(|node| state.excess[*node] > dust));
            if self.sources.is_empty() {
                return true;
            }
            if !self.settle(ground, state) {
                return false;
            }
            self.reprice(ground, state);
            // The nearest first.
            let distance = &self.distance;
            self.sources.sort_by(|a, b| distance[*a].total_cmp(&distance[*b]));
            for at in 0..self.sources.len() {
                let source = self.sources[at];
                self.trace(source);
                while state.can_carry(ground, source, &self.path) {
                    if *steps == 0 {
                        return false;
                    }
                    *steps -= 1;
                    state.augment(ground, source, &self.path);
                }
            }
        }
    }

    /// Finds the way from every node with too much; false if there is none.
    fn settle(&mut self, ground: &Ground, state: &mut State) -> bool {
        let nodes = ground.sink() + 1;
        self.distance.clear();
        // Padded for scanning.
        self.distance.resize(nodes.next_multiple_of(LANES), f64::INFINITY);
        self.next.clear();
        self.next.resize(nodes, None);
        for node in 0..nodes {
            if state.excess[node] < -state.dust {
                self.distance[node] = 0.0;
            }
        }
        self.open.clone_from(&self.distance);
        for site in 0..ground.sites() {
            state.moves.know(ground, &state.flow, site);
        }
        loop {
            let (node, least) = least_of(&self.open);
            if !least.is_finite() {
                return false;
            }
            // What is farther than every source does not matter.
            let farthest = self.sources.iter().map(|source| self.distance[*source]);
            let farthest = farthest.fold(0.0, f64::max);
            if least >= farthest {
                return true;
            }
            self.open[node] = f64::INFINITY;
            self.relax(ground, state, node, farthest);
        }
    }

    /// Looks at all ways to a node.
    fn relax(&mut self, ground: &Ground, state: &mut State, node: usize, farthest: f64) {
        let base = self.distance[node] + state.prices[node];
        if node != ground.sink() {
            for start in (0..ground.stride()).step_by(LANES) {
                if !self.may_reach(state, node, farthest, start) {
                    continue;
                }
                for site in start..(start + LANES).min(ground.sites()) {
                    let bound = base + state.moves.to(node)[site] - state.prices[site];
                    let known = self.distance[site];
                    // Rounding may let a reduced cost be a trifle below 0.
                    if bound < known.min(farthest) && known > self.distance[node] {
                        let (cost, _) = state.moves.cheapest(ground, &state.flow, site, node);
                        self.reach(state, site, Hop { from: site, to: node, arc: Arc::Move, cost });
                    }
                }
            }
            let parent = usize::from(ground.parent[node]);
            let (saved, holds) = state.down(ground, node);
            if holds > 0.0 {
                let hop = Hop { from: parent, to: node, arc: Arc::Down, cost: -saved };
                self.reach(state, parent, hop);
            }
        }
        for &child in &ground.children[node] {
            let child = usize::from(child);
            let (cost, _) = state.up(ground, child);
            self.reach(state, child, Hop { from: child, to: node, arc: Arc::Up, cost });
        }
    }

    /// Whether any of a few sites is nearer through a node than was known; a quick look.
    fn may_reach(&self, state: &State, node: usize, farthest: f64, start: usize) -> bool {
        let base = self.distance[node] + state.prices[node];
        let least = lanes(state.moves.to(node), start);
        let prices = lanes(&state.prices, start);
        let distance = lanes(&self.distance, start);
        let mut gain = [0.0; LANES];
        for lane in 0..LANES {
            let known = if distance[lane] < farthest { distance[lane] } else { farthest };
            let change = base + least[lane] - prices[lane] - known;
            gain[lane] = if change < gain[lane] { change } else { gain[lane] };
        }
        gain.iter().any(|gain| *gain < 0.0)
    }

    fn reach(&mut self, state: &State, node: usize, hop: Hop) {
        let distance = self.distance[hop.to] + hop.cost + state.prices[hop.to] - state.prices[node];
        let distance = distance.max(self.distance[hop.to]);
        // A closed site has an infinite price, and is reached by nothing.
        if distance < self.distance[node] && state.prices[node].is_finite() {
            self.distance[node] = distance;
            self.open[node] = distance;
            self.next[node] = Some(hop);
        }
    }

    /// Raises prices by what the ways cost more than they say.
    fn reprice(&mut self, ground: &Ground, state: &mut State) {
        let farthest = self.sources.iter().map(|source| self.distance[*source]);
        let farthest = farthest.fold(0.0, f64::max);
        for (price, distance) in state.prices.iter_mut().zip(&self.distance) {
            *price += distance.min(farthest);
        }
        let sink = state.prices[ground.sink()];
        for price in &mut state.prices[..ground.sink()] {
            *price -= sink;
        }
        // The padding too.
        state.prices[ground.sink()..].fill(0.0);
    }

    fn trace(&mut self, source: usize) {
        self.path.clear();
        let mut node = source;
        while let Some(hop) = self.next[node] {
            self.path.push(hop);
            node = hop.to;
        }
    }
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

fn lanes(values: &[f64], start: usize) -> &[f64; LANES] {
    const NONE: [f64; LANES] = [f64::INFINITY; LANES];
    values[start..].first_chunk().unwrap_or(&NONE)
}
