//! The in-flight table: which client holds which answer, and how often it comes back for another.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::tuning::Tuning;

/// A client that asks this much before its answer expires has several caches, or fetches ahead:
/// its gaps tell nothing. In seconds.
const EARLY_S: f64 = 1.0;

/// Who holds what.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    numbers: HashMap<(u64, u32), u32, RandomState>,
    /// In the order in which they came, with gaps closed from the end: sums over them do not
    /// depend on the hash.
    clients: Vec<Client>,
    most: usize,
    /// Until then, who seems to be new may be somebody who was forgotten, for want of room or with
    /// a datacenter.
    doubtful_until: f64,
    forget_s: f64,
    memory: f32,
    /// How often a client is expected to need the name, a second: as the others do.
    expected: f32,
}

#[derive(Clone, Copy, Debug)]
struct Client {
    key: u64,
    /// When it was last answered, in seconds.
    answered: f64,
    row: u32,
    pool: u32,
    datacenter: u16,
    ttl: u16,
    visits: f32,
    /// It has come since the last look.
    is_new: bool,
    /// Sum of the waits between the end of an answer and the next question, in seconds.
    gaps: f32,
}

/// Where a row's clients are, at one time.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    pub at: f64,
    /// By row, then datacenter.
    pub held: Vec<Held>,
}

/// A part of a row's clients.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub row: u32,
    pub datacenter: u16,
    /// The share of the row's demand that holds an answer of this datacenter.
    pub share: f32,
    /// The part of the share whose clients do not come back though their time is over.
    pub stuck: f32,
    /// The row's clients' rates, a second, summed: how much its queries let one expect.
    pub rate: f32,
    /// The part of that rate whose clients have come since the last look.
    pub new: f32,
}

/// A client that makes up much of its row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Heavy {
    pub key: u64,
    pub row: u32,
    pub datacenter: u16,
    pub share: f64,
}

impl Keys {
    pub fn new(tuning: &Tuning) -> Keys {
        Keys {
            numbers: HashMap::default(),
            clients: Vec::new(),
            most: tuning.max_keys.max(1),
            doubtful_until: f64::NEG_INFINITY,
            forget_s: tuning.forget_s,
            memory: tuning.memory as f32,
            expected: 1.0,
        }
    }

    pub fn len(&self) -> usize {
        self.clients.len()
    }

    pub fn answered(&mut self, now: f64, key: u64, pool: u32, row: u32, datacenter: u16, ttl: u32) {
        let ttl = ttl.min(u16::MAX.into()) as u16;
        if let Some(&number) = self.numbers.get(&(key, pool)) {
            let client = &mut self.clients[number as usize];
            let gap = now - (client.answered + f64::from(client.ttl));
            if gap >= -EARLY_S {
                client.visits = client.visits * self.memory + 1.0;
                client.gaps = client.gaps * self.memory + gap.max(0.0) as f32;
            }
            (client.row, client.datacenter, client.ttl) = (row, datacenter, ttl);
            client.answered = now;
            return;
        }
        if self.clients.len() >= self.most {
            self.forget_oldest();
            self.doubtful_until = now + self.forget_s;
        }
        self.numbers.insert((key, pool), self.clients.len() as u32);
        self.clients.push(Client {
            key,
            answered: now,
            row,
            pool,
            datacenter,
            ttl,
            visits: 0.0,
            is_new: now >= self.doubtful_until,
            gaps: 0.0,
        });
    }

    /// Where every row's clients are now; forgets those who have been silent for long.
    pub fn sample(&mut self, now: f64, rows: usize, tuning: &Tuning) -> Sample {
        self.retain(|client| now - client.ends() < tuning.forget_s);
        let (visits, gaps) = self.clients.iter().fold((0.0, 0.0), |sum, client| {
            (sum.0 + f64::from(client.visits), sum.1 + f64::from(client.gaps))
        });
        if visits > 0.0 {
            self.expected = (visits / (gaps + visits * tuning.resolution_s)) as f32;
        }
        // By row: (datacenter, weight, stuck), and the weight of who is new.
        let mut parts: Vec<Vec<(u16, f64, f64)>> = vec![Vec::new(); rows];
        let mut new = vec![0.0; rows];
        for client in &mut self.clients {
            let row = client.row as usize;
            let Some(parts) = parts.get_mut(row) else { continue };
            let (weight, is_stuck) = client.weight(now, self.expected, tuning);
            if std::mem::take(&mut client.is_new) {
                new[row] += weight;
            }
            let stuck = if is_stuck { weight } else { 0.0 };
            match parts.iter_mut().find(|part| part.0 == client.datacenter) {
                Some(part) => (part.1, part.2) = (part.1 + weight, part.2 + stuck),
                None => parts.push((client.datacenter, weight, stuck)),
            }
        }
        let mut held = Vec::new();
        for ((row, parts), new) in (0..).zip(&mut parts).zip(new) {
            parts.sort_unstable_by_key(|part| part.0);
            let total: f64 = parts.iter().map(|part| part.1).sum();
            held.extend(parts.iter().map(|&(datacenter, weight, stuck)| Held {
                row,
                datacenter,
                share: (weight / total) as f32,
                stuck: (stuck / total) as f32,
                rate: total as f32,
                new: (new / total) as f32,
            }));
        }
        Sample { at: now, held }
    }

    /// The clients of some rows, with their parts of the demand, by the row's place in `rows`, which
    /// ascend.
    pub fn of_rows(&self, now: f64, rows: &[u32], tuning: &Tuning) -> Vec<Vec<(u64, f64)>> {
        let mut clients = vec![Vec::new(); rows.len()];
        for client in &self.clients {
            if let Ok(place) = rows.binary_search(&client.row) {
                let (weight, is_stuck) = client.weight(now, self.expected, tuning);
                if !is_stuck {
                    clients[place].push((client.key, weight));
                }
            }
        }
        clients
    }

    /// The clients that make up at least this share of their rows, by row; none for rows whose
    /// share is 1 or more.
    pub fn heavy(&self, now: f64, least: &[f64], tuning: &Tuning) -> Vec<Heavy> {
        let mut totals = vec![0.0; least.len()];
        for client in &self.clients {
            if let Some(total) = totals.get_mut(client.row as usize) {
                *total += client.weight(now, self.expected, tuning).0;
            }
        }
        let heavy = self.clients.iter().filter_map(|client| {
            let row = client.row as usize;
            let share = client.weight(now, self.expected, tuning).0 / *totals.get(row)?;
            (share >= *least.get(row)? && least[row] < 1.0).then_some(Heavy {
                key: client.key,
                row: client.row,
                datacenter: client.datacenter,
                share,
            })
        });
        heavy.collect()
    }

    /// Takes new numbers of rows and datacenters over; forgets what has none.
    pub fn renumber(
        &mut self,
        rows: &[Option<u32>],
        datacenters: &[Option<u16>],
        pool_of: impl Fn(u32) -> u32,
        tuning: &Tuning,
    ) {
        let clients = std::mem::take(&mut self.clients);
        self.numbers.clear();
        for mut client in clients {
            let row = rows.get(client.row as usize).copied().flatten();
            let datacenter = datacenters.get(usize::from(client.datacenter)).copied().flatten();
            if let (Some(row), Some(datacenter)) = (row, datacenter) {
                (client.row, client.datacenter, client.pool) = (row, datacenter, pool_of(row));
                self.numbers.insert((client.key, client.pool), self.clients.len() as u32);
                self.clients.push(client);
            } else if row.is_some() {
                // The row's demand is still with its own.
                let back = client.ends() + tuning.fade_s;
                self.doubtful_until = self.doubtful_until.max(back);
            }
        }
    }

    /// Makes room: an eighth of the clients goes, those who were answered longest ago.
    fn forget_oldest(&mut self) {
        let mut times: Vec<f64> = self.clients.iter().map(|client| client.answered).collect();
        let eighth = times.len() / 8;
        let (_, limit, _) = times.select_nth_unstable_by(eighth, f64::total_cmp);
        let limit = *limit;
        self.retain(|client| client.answered > limit);
        if self.clients.len() >= self.most {
            // All came at the same time.
            self.clients.clear();
            self.numbers.clear();
        }
    }

    fn retain(&mut self, keep: impl Fn(&Client) -> bool) {
        let mut number = 0;
        while number < self.clients.len() {
            if keep(&self.clients[number]) {
                number += 1;
                continue;
            }
            let gone = self.clients.swap_remove(number);
            self.numbers.remove(&(gone.key, gone.pool));
            if let Some(moved) = self.clients.get(number) {
                self.numbers.insert((moved.key, moved.pool), number as u32);
            }
        }
    }
}

impl Client {
    fn ends(&self) -> f64 {
        self.answered + f64::from(self.ttl)
    }

    /// Its rate a second, fading with silence, and whether it overstays its answer.
    fn weight(&self, now: f64, expected: f32, tuning: &Tuning) -> (f64, bool) {
        let prior = tuning.prior_visits as f32;
        let waited = self.gaps + self.visits * tuning.resolution_s as f32;
        let rate = (prior + self.visits) / (prior / expected + waited);
        let rate = f64::from(rate);
        let silent = (now - self.ends()).max(0.0);
        let is_stuck = silent > tuning.overstay_s.max(3.0 / rate);
        (rate / (1.0 + silent / tuning.fade_s), is_stuck)
    }
}
