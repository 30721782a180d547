//! How much every row demands: an extended Kalman filter that explains the reported loads by the
//! answers that were in the caches when the loads were measured.
//!
//! The state is the logarithm of each row's demand, and for each datacenter the load that no
//! answer explains. A report is compared with what the answers in flight *at the time it was
//! measured* predict, so that the TTL stays out of the loop; since the filter knows which rows it
//! cannot tell apart, a row that moves from one datacenter to another reveals its demand by what
//! the loads do. Rows of one country, and of one part of the world, wander together.

use std::collections::HashMap;

use super::keys::Sample;
use super::layout::Ground;
use super::tuning::Tuning;

/// No row's demand is less than this share of what is reported in all.
const LEAST_SHARE: f64 = 1e-9;
/// The weight of a new difference of reports in the estimate of their noise.
const NOISE_GAIN: f64 = 0.05;
/// More than this share of a load that the answers do not explain is load of its own.
const OWN_SHARE: f64 = 0.4;
/// By no more than this do new clients raise a row's demand until a load tells whether they bring
/// any: less than one report can take back.
const MOST_GROWN: f64 = 1.5;
/// Reports are never better than this share of the load.
const LEAST_NOISE: f64 = 0.003;

#[derive(Clone, Debug)]
pub(super) struct Demand {
    /// By the row.
    pub rows: Vec<Row>,
    /// By the datacenter.
    pub sites: Vec<Unexplained>,
    joint: Joint,
    /// Whether the prior was set from a reported load.
    pub is_scaled: bool,
    predicted_at: f64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// Units of load.
    pub demand: f64,
    /// The demand, smoothed: its lag is the trend.
    pub slow: f64,
    /// The variance of its logarithm, for a row that is estimated alone.
    variance: f64,
    /// Its place among those that are estimated jointly.
    place: Option<u32>,
    /// By how much new clients have raised it since the loads were seen that it has its parts in.
    grown: f64,
    /// How much the queries let one expect, a second, when it was last seen.
    pub rate: f32,
    /// Whether any of its clients is remembered.
    pub is_seen: bool,
    /// Whether it was ever seen.
    pub is_known: bool,
}

/// What is known of a datacenter's load besides the rows.
#[derive(Clone, Debug, Default)]
pub(super) struct Unexplained {
    /// The load that no answer explains.
    pub load: f64,
    /// The latest loads, the latest first.
    latest: [Option<f64>; 2],
    /// The variance of the report's noise, as a share of the load squared.
    noise: Option<f64>,
    /// When a report was last learned from.
    observed_at: f64,
}

/// The rows that are estimated jointly, then the unexplained load of each datacenter.
#[derive(Clone, Debug, Default)]
struct Joint {
    rows: Vec<u32>,
    /// Square, of all.
    covariance: Vec<f64>,
    size: usize,
    countries: Vec<Vec<u32>>,
    regions: Vec<Vec<u32>>,
}

impl Demand {
    pub fn new(ground: &Ground, tuning: &Tuning, now: f64) -> Demand {
        let prior = tuning.prior_error * tuning.prior_error;
        let row = |row: usize| Row {
            demand: ground.weights[ground.group_of(row)],
            slow: ground.weights[ground.group_of(row)],
            variance: prior,
            place: None,
            grown: 1.0,
            rate: 0.0,
            is_seen: false,
            is_known: false,
        };
        let mut demand = Demand {
            rows: (0..ground.rows()).map(row).collect(),
            sites: vec![Unexplained::default(); ground.datacenters()],
            joint: Joint::default(),
            is_scaled: false,
            predicted_at: now,
        };
        demand.join(ground, tuning);
        demand
    }

    /// Takes over what was learned of rows and datacenters that are still there.
    pub fn keep(&mut self, old: &Demand, rows: &[Option<u32>], datacenters: &[Option<u16>]) {
        self.is_scaled = old.is_scaled;
        let total: f64 = old.rows.iter().map(|row| row.demand).sum();
        for row in &mut self.rows {
            row.demand *= total;
            row.slow = row.demand;
        }
        for (before, row) in old.rows.iter().zip(rows) {
            let Some(row) = row.and_then(|row| self.rows.get_mut(row as usize)) else { continue };
            (row.demand, row.slow) = (before.demand, before.slow);
            (row.rate, row.is_seen) = (before.rate, before.is_seen);
            (row.is_known, row.grown) = (before.is_known, before.grown);
            row.variance = row.variance.min(old.variance(before));
            if let Some(place) = row.place {
                self.joint.set_alone(place as usize, row.variance);
            }
        }
        for (before, site) in old.sites.iter().zip(datacenters) {
            if let Some(site) = site.and_then(|site| self.sites.get_mut(usize::from(site))) {
                *site = before.clone();
            }
        }
    }

    /// Notes where the clients are, and how often they come. `follow`: how far the queries are
    /// believed to tell the rows' demands apart, from 0 to 1; they do as long as the loads have
    /// not told more.
    pub fn seen(&mut self, sample: &Sample, follow: f64) {
        let mut rates = vec![0.0; self.rows.len()];
        for held in &sample.held {
            if let Some(rate) = rates.get_mut(held.row as usize) {
                *rate = held.rate;
            }
        }
        let known = self.rows.iter().zip(&rates).filter(|(row, rate)| row.is_known && **rate > 0.0);
        let (mut demand, mut rate, mut grown) = (0.0, 0.0, 0.0);
        for (row, &now) in known {
            demand += row.demand;
            rate += f64::from(now);
            grown += row.demand * f64::from(now / row.rate).powf(follow);
        }
        if rate <= 0.0 {
            // The first that are seen share what was expected of them all.
            demand = self.rows.iter().map(|row| row.demand).sum();
            rate = rates.iter().map(|rate| f64::from(*rate)).sum();
        }
        for (row, &now) in self.rows.iter_mut().zip(&rates).filter(|(_, now)| **now > 0.0) {
            let before = row.demand;
            if !row.is_known {
                row.demand = demand / rate * f64::from(now);
                row.is_known = true;
            } else if follow > 0.0 && grown > 0.0 {
                // What the queries say of the rows' proportions, not of their sum.
                row.demand *= f64::from(now / row.rate).powf(follow) * demand / grown;
            }
            row.rate = now;
            row.slow *= row.demand / before;
        }
        for (row, now) in self.rows.iter_mut().zip(rates) {
            row.is_seen = now > 0.0;
        }
    }

    /// Takes for each row's new clients that they demand as much as its others, by their rates;
    /// the loads will tell. Without that, the load they bring would be taken for that of the rows
    /// of which least is known.
    pub fn grow(&mut self, sample: &Sample, tuning: &Tuning) {
        let mut new = vec![0.0; self.rows.len()];
        for held in &sample.held {
            if let Some(new) = new.get_mut(held.row as usize) {
                *new = f64::from(held.new);
            }
        }
        let more = |row: &Row, new: f64| match row.is_known && new < 1.0 {
            true => (new / (1.0 - new)).min(MOST_GROWN / row.grown - 1.0).max(0.0),
            false => 0.0,
        };
        let rows = self.rows.iter().zip(&new);
        let (all, grown) = rows.fold((0.0, 0.0), |(all, grown), (row, new)| {
            (all + row.demand, grown + row.demand * more(row, *new))
        });
        if grown <= 0.0 {
            return;
        }
        let part = (tuning.most_new * all / grown).min(1.0);
        for (row, new) in self.rows.iter_mut().zip(&new) {
            let factor = 1.0 + part * more(row, *new);
            row.demand *= factor;
            row.grown *= factor;
        }
    }

    /// Lets time pass: what is known grows less certain.
    pub fn pass(&mut self, now: f64, tuning: &Tuning) {
        let seconds = (now - self.predicted_at).clamp(0.0, 600.0);
        self.predicted_at = now;
        let minutes = seconds / 60.0;
        let square = |wander: f64| wander * wander * minutes;
        let (own, country, region) = (
            square(tuning.wander_own),
            square(tuning.wander_country),
            square(tuning.wander_region),
        );
        let most = tuning.prior_error * tuning.prior_error;
        let follow = 1.0 - (-seconds / tuning.trend_s).exp();
        for row in &mut self.rows {
            row.slow += follow * (row.demand - row.slow);
            if row.place.is_none() {
                row.variance = (row.variance + own + country + region).min(most);
            }
        }
        let joint = &mut self.joint;
        for place in 0..joint.rows.len() {
            joint.covariance[place * joint.size + place] += own;
        }
        joint.add_common(false, country);
        joint.add_common(true, region);
        let most = most + tuning.prior_scale_error * tuning.prior_scale_error;
        for place in 0..joint.rows.len() {
            let variance = joint.covariance[place * joint.size + place];
            if variance > most {
                joint.scale(place, (most / variance).sqrt());
            }
        }
        // An unexplained load is given up slowly, and may come at any time.
        let keep = (-seconds / tuning.background_s).exp();
        // Of one that is silent, nothing tells that it is gone.
        for (index, site) in self.sites.iter_mut().enumerate() {
            let place = joint.rows.len() + index;
            if now - site.observed_at < tuning.late_s {
                site.load *= keep;
                joint.scale(place, keep);
            }
            let wander = tuning.background * site.latest[0].unwrap_or(0.0);
            joint.covariance[place * joint.size + place] += (1.0 - keep * keep) * wander * wander;
        }
    }

    /// Before anything has been learned: gives the rows that are seen the demand that the loads
    /// suggest, and takes what is left of each load for unexplained. `loads`: by the datacenter, what
    /// is reported, how much of it can be theirs, and what the rows explain of it so far. `come`: the
    /// part of all clients that can have come.
    pub fn scale(&mut self, loads: &[Option<(f64, f64, f64)>], come: f64) {
        let mut factors: Vec<(f64, f64)> = loads
            .iter()
            .flatten()
            .filter(|(_, _, explained)| *explained > 0.0)
            .map(|&(_, theirs, explained)| (theirs / explained, explained))
            .collect();
        factors.sort_by(|a, b| a.0.total_cmp(&b.0));
        // The median: a datacenter may have much load of its own.
        let half = factors.iter().map(|factor| factor.1).sum::<f64>() / 2.0;
        let mut sum = 0.0;
        let median = factors.iter().find(|factor| {
            sum += factor.1;
            sum >= half
        });
        let factor = median.map_or(0.0, |median| median.0);
        if factor > 0.0 && factor.is_finite() {
            self.is_scaled = true;
            for row in &mut self.rows {
                row.demand *= factor;
                row.slow *= factor;
            }
        }
        for (site, load) in self.sites.iter_mut().zip(loads) {
            let Some((load, _, explained)) = load else { continue };
            let left = (load - factor.max(f64::MIN_POSITIVE) * explained).max(0.0);
            // What is left in the end for want of better knowledge is not taken for anything.
            site.load = if come < 1.0 || left > OWN_SHARE * load { left } else { 0.0 };
        }
    }

    /// Learns from a report: `load` was measured while the rows held the given shares of their
    /// demands there. `is_censored`: the load may have been greater than could be counted.
    pub fn observe(
        &mut self,
        datacenter: usize,
        load: f64,
        held: &[(u32, f64)],
        is_censored: bool,
        tuning: &Tuning,
    ) {
        let noise = self.sites[datacenter].note(load, tuning);
        self.sites[datacenter].observed_at = self.predicted_at;
        let joint = &mut self.joint;
        let ours = joint.rows.len() + datacenter;
        let mut predicted = self.sites[datacenter].load;
        // The load's derivatives, by the place; and those of rows estimated alone.
        let mut slopes: Vec<(usize, f64)> = Vec::with_capacity(held.len() + 1);
        let mut alone: Vec<(usize, f64)> = Vec::new();
        let mut variance = 0.0;
        for &(row, share) in held {
            let Some(state) = self.rows.get_mut(row as usize) else { continue };
            // What has grown elsewhere, this load does not tell of.
            state.grown = 1.0 + (state.grown - 1.0) * (1.0 - share.clamp(0.0, 1.0));
            let part = state.demand * share;
            predicted += part;
            match state.place {
                Some(place) => slopes.push((place as usize, part)),
                None => {
                    variance += part * part * state.variance;
                    alone.push((row as usize, part));
                }
            }
        }
        slopes.push((ours, 1.0));
        let mut error = load - predicted;
        if is_censored {
            error = error.max(0.1 * predicted);
        }
        let mut gains = joint.times(&slopes);
        let of = |gains: &[f64], slopes: &[(usize, f64)]| -> f64 {
            slopes.iter().map(|&(place, slope)| slope * gains[place]).sum()
        };
        let known = variance + of(&gains, &slopes);
        let limit = (error / tuning.surprise).powi(2);
        if limit > known + noise {
            // Demand has changed faster than it wanders: as much less is certain.
            let joint_part =
                joint.surprise(&slopes, tuning, tuning.background * load.max(predicted));
            let step = tuning.wander_own.powi(2) + tuning.wander_country.powi(2);
            let alone_part: f64 = alone.iter().map(|(_, part)| part * part * step).sum();
            let factor = (limit - known - noise) / (joint_part + alone_part);
            if factor.is_finite() && factor > 0.0 {
                // One report does not make anything less certain than it was at first.
                let factor = factor.min(0.25 / step);
                joint.loosen(&slopes, tuning, tuning.background * load.max(predicted), factor);
                for &(row, _) in &alone {
                    self.rows[row].variance += factor * step;
                }
                gains = joint.times(&slopes);
            }
        }
        let variance: f64 =
            alone.iter().map(|(row, part)| part * part * self.rows[*row].variance).sum();
        let whole = variance + of(&gains, &slopes) + noise;
        if whole.is_nan() || whole <= 0.0 {
            return;
        }
        let step = tuning.step;
        for (place, &row) in joint.rows.iter().enumerate() {
            let change = (gains[place] / whole * error).clamp(-step, step);
            self.rows[row as usize].demand *= change.exp();
        }
        for &(row, part) in &alone {
            let state = &mut self.rows[row];
            let gain = part * state.variance / whole;
            state.demand *= (gain * error).clamp(-step, step).exp();
            state.variance *= 1.0 - (part * gain).clamp(0.0, 0.99);
        }
        for (index, site) in self.sites.iter_mut().enumerate() {
            let gain = gains[joint.rows.len() + index] / whole;
            site.load = (site.load + gain * error).max(0.0);
        }
        joint.learn(&gains, whole);
        let least = LEAST_SHARE * load;
        for &(row, _) in held {
            if let Some(state) = self.rows.get_mut(row as usize) {
                state.demand = state.demand.max(least);
            }
        }
    }

    /// The load of a datacenter that has these shares of the rows.
    pub fn load(&self, datacenter: usize, held: &[(u32, f64)]) -> f64 {
        self.sites[datacenter].load + self.explained(held)
    }

    /// The part of it that the rows explain.
    pub fn explained(&self, held: &[(u32, f64)]) -> f64 {
        let rows = held
            .iter()
            .filter_map(|&(row, share)| Some(self.rows.get(row as usize)?.demand * share));
        rows.sum()
    }

    /// Chooses the rows that are estimated jointly: the heaviest.
    pub fn join(&mut self, ground: &Ground, tuning: &Tuning) {
        let mut order: Vec<u32> = (0..self.rows.len() as u32).collect();
        let weight = |row: &u32| {
            let state = &self.rows[*row as usize];
            if state.is_known || !self.is_scaled { state.demand } else { state.demand * 1e-3 }
        };
        let key = |row: &u32| ground.row_keys[*row as usize];
        order.sort_by(|a, b| weight(b).total_cmp(&weight(a)).then(key(a).cmp(&key(b))));
        order.truncate(tuning.joint_rows);
        order.sort_unstable();
        if order == self.joint.rows && !self.joint.covariance.is_empty() {
            return;
        }
        let is_first = self.joint.covariance.is_empty();
        let old = std::mem::take(&mut self.joint);
        let joint = Joint::new(order, ground);
        self.joint = joint;
        let joint = &mut self.joint;
        // What was known of those who stay, stays.
        let places: Vec<Option<usize>> = joint
            .rows
            .iter()
            .map(|row| old.rows.binary_search(row).ok())
            .chain((0..self.sites.len()).map(|site| (!is_first).then_some(old.rows.len() + site)))
            .collect();
        for (a, from_a) in places.iter().enumerate() {
            for (b, from_b) in places.iter().enumerate() {
                if let (Some(from_a), Some(from_b)) = (from_a, from_b) {
                    joint.covariance[a * joint.size + b] =
                        old.covariance[from_a * old.size + from_b];
                }
            }
        }
        let scale = if is_first { tuning.prior_scale_error.powi(2) } else { 0.0 };
        for (a, from) in places.iter().enumerate().take(joint.rows.len()) {
            let state = &self.rows[joint.rows[a] as usize];
            if from.is_none() {
                joint.covariance[a * joint.size + a] = state.variance;
            }
            for b in 0..joint.rows.len() {
                joint.covariance[a * joint.size + b] += scale;
            }
        }
        for (place, &row) in old.rows.iter().enumerate() {
            if joint.rows.binary_search(&row).is_err() {
                let state = &mut self.rows[row as usize];
                state.variance = old.covariance[place * old.size + place];
            }
        }
        for row in &mut self.rows {
            row.place = None;
        }
        for (place, &row) in (0..).zip(&self.joint.rows) {
            self.rows[row as usize].place = Some(place);
        }
    }

    fn variance(&self, row: &Row) -> f64 {
        let joint = &self.joint;
        row.place.map_or(row.variance, |place| {
            joint.covariance[place as usize * joint.size + place as usize]
        })
    }
}

impl Unexplained {
    /// Notes a load; returns the variance of its noise, learned from how much the loads jump to
    /// and fro: what rises and falls with demand shows little in second differences.
    fn note(&mut self, load: f64, tuning: &Tuning) -> f64 {
        let scale = load.max(f64::MIN_POSITIVE);
        let mut noise = self.noise.unwrap_or(tuning.report_noise.powi(2));
        if let [Some(last), Some(before)] = self.latest {
            // Six variances of a single one, if they are independent.
            let sample = ((load - 2.0 * last + before) / scale).powi(2) / 6.0;
            // A jump is a change of demand, not noise.
            noise += NOISE_GAIN * (sample.min(9.0 * noise) - noise);
        }
        noise = noise.clamp(LEAST_NOISE.powi(2), 1.0);
        self.noise = Some(noise);
        self.latest = [Some(load), self.latest[0]];
        (noise * load * load).max(1e-12)
    }
}

impl Joint {
    fn new(rows: Vec<u32>, ground: &Ground) -> Joint {
        let size = rows.len() + ground.datacenters();
        let by = |numbers: &[u32]| {
            let mut places: HashMap<u32, Vec<u32>> = HashMap::new();
            for (place, &row) in (0..).zip(&rows) {
                places.entry(numbers[ground.group_of(row as usize)]).or_default().push(place);
            }
            let mut places: Vec<_> = places.into_values().collect();
            places.sort_unstable();
            places
        };
        let (countries, regions) = (by(&ground.countries), by(&ground.regions));
        Joint { covariance: vec![0.0; size * size], size, countries, regions, rows }
    }

    /// Adds what a group of rows has in common.
    fn add_common(&mut self, by_region: bool, variance: f64) {
        let groups = if by_region { &self.regions } else { &self.countries };
        for places in groups {
            for &a in places {
                for &b in places {
                    self.covariance[a as usize * self.size + b as usize] += variance;
                }
            }
        }
    }

    fn set_alone(&mut self, place: usize, variance: f64) {
        self.scale(place, 0.0);
        self.covariance[place * self.size + place] = variance;
    }

    fn scale(&mut self, place: usize, factor: f64) {
        let size = self.size;
        for value in &mut self.covariance[place * size..][..size] {
            *value *= factor;
        }
        for row in 0..size {
            self.covariance[row * size + place] *= factor;
        }
    }

    /// The covariance times a sparse vector.
    fn times(&self, vector: &[(usize, f64)]) -> Vec<f64> {
        let mut product = vec![0.0; self.size];
        for &(place, value) in vector {
            let row = &self.covariance[place * self.size..][..self.size];
            for (sum, covariance) in product.iter_mut().zip(row) {
                *sum += value * covariance;
            }
        }
        product
    }

    /// The variance that a step of the rows, and of their countries, would add to the load.
    fn surprise(&self, slopes: &[(usize, f64)], tuning: &Tuning, background: f64) -> f64 {
        let mut dense = vec![0.0; self.rows.len()];
        let mut own = 0.0;
        for &(place, slope) in slopes {
            if let Some(dense) = dense.get_mut(place) {
                *dense = slope;
                own += slope * slope;
            }
        }
        let country = |places: &Vec<u32>| -> f64 {
            places.iter().map(|place| dense[*place as usize]).sum::<f64>().powi(2)
        };
        own * tuning.wander_own.powi(2)
            + self.countries.iter().map(country).sum::<f64>() * tuning.wander_country.powi(2)
            + (background * tuning.wander_own).powi(2)
    }

    /// Makes the rows that have a part in the load, and their countries, less certain.
    fn loosen(&mut self, slopes: &[(usize, f64)], tuning: &Tuning, background: f64, factor: f64) {
        let mut is_part = vec![false; self.rows.len()];
        for &(place, _) in slopes {
            let own = if place < self.rows.len() {
                is_part[place] = true;
                tuning.wander_own.powi(2)
            } else {
                (background * tuning.wander_own).powi(2)
            };
            self.covariance[place * self.size + place] += factor * own;
        }
        let common = factor * tuning.wander_country.powi(2);
        for places in &self.countries {
            if !places.iter().any(|place| is_part[*place as usize]) {
                continue;
            }
            for &a in places {
                for &b in places {
                    self.covariance[a as usize * self.size + b as usize] += common;
                }
            }
        }
    }

    /// Takes from the covariance what an observation has told.
    fn learn(&mut self, gains: &[f64], whole: f64) {
        for (row, gain) in self.covariance.chunks_exact_mut(self.size.max(1)).zip(gains) {
            let factor = gain / whole;
            if factor != 0.0 {
                for (value, other) in row.iter_mut().zip(gains) {
                    *value -= factor * other;
                }
            }
        }
    }
}
