//! The loop closed in a small world, to the tenth of a second: clients who hold one connection each
//! and ask again when their answer has expired, and a datacenter that is too small for those near
//! it.

use super::*;
use crate::decide::{GroupId, rendezvous_cost};

/// The first is the nearest of most.
const CAPACITY: [f64; 3] = [90.0, 130.0, 170.0];
/// By the group; the first ten are nearest to the first datacenter.
const CLIENTS_OF: [u64; 14] = [14, 14, 14, 12, 12, 12, 12, 10, 10, 10, 30, 20, 20, 10];
const NEAR: usize = 10;

const STEP: u64 = 25;
const TOLD_EVERY: u64 = 100;
const REPORTED_EVERY: u64 = 500;

/// Times are in milliseconds.
struct Town {
    allocator: Allocator,
    ttl: u64,
    clients: Vec<Client>,
    /// Answers that were given and are not told yet: key, group, datacenter.
    untold: Vec<(u64, u32, u16)>,
    now: u64,
    lots: u64,
    /// What was reported, by the datacenter.
    loads: Vec<[f64; 3]>,
}

#[derive(Clone)]
struct Client {
    key: u64,
    group: u32,
    at: Option<u16>,
    expires: u64,
}

impl Town {
    /// Half of the clients are there, and for long enough to be known.
    fn new(ttl_s: u32, seed: u64) -> (Town, Vec<Client>) {
        let mut layout = layout(CLIENTS_OF.len(), &CAPACITY);
        let costs = |group: usize| {
            let more = group as f32;
            match group {
                0..NEAR => [8.0 + 2.0 * more, 90.0 + more, 220.0 - more],
                10 | 11 => [100.0 + more, 20.0 + more, 150.0],
                _ => [230.0, 150.0 + more, 10.0 + more],
            }
        };
        layout.cost_ms = (0..CLIENTS_OF.len()).flat_map(costs).collect();
        (layout.pools[0].ttl_min, layout.pools[0].ttl_max) = (ttl_s, ttl_s);
        let tuning = Tuning { tick_s: 1.0, ..Tuning::default() };
        let mut crowd = crowd();
        let others = crowd.split_off(crowd.len() / 2);
        let mut town = Town {
            allocator: Allocator::new(layout, tuning, Duration::ZERO),
            ttl: u64::from(ttl_s) * 1_000,
            clients: crowd,
            untold: Vec::new(),
            now: 0,
            lots: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            loads: Vec::new(),
        };
        town.run(13_000 + 3 * town.ttl);
        (town, others)
    }

    /// They come one after another.
    fn come(&mut self, clients: Vec<Client>, apart: u64) {
        for client in clients {
            self.clients.push(client);
            self.run(apart);
        }
    }

    fn run(&mut self, length: u64) {
        let end = self.now + length;
        while self.now < end {
            self.step();
        }
    }

    fn step(&mut self) {
        for index in 0..self.clients.len() {
            // Some are a little late.
            if self.clients[index].expires <= self.now && !self.lot().is_multiple_of(4) {
                self.ask(index);
            }
        }
        let now = Duration::from_millis(self.now);
        if self.now.is_multiple_of(TOLD_EVERY) {
            let ttl = (self.ttl / 1_000) as u32;
            for (key, group, datacenter) in std::mem::take(&mut self.untold) {
                let datacenter = DatacenterId(datacenter);
                let answer = Answered { key, pool: POOL, group, datacenter, ttl };
                self.allocator.answered(now, &answer);
            }
            self.allocator.tick(now);
        }
        if self.now.is_multiple_of(REPORTED_EVERY) {
            let mut loads = [0.0; 3];
            for at in self.clients.iter().filter_map(|client| client.at) {
                loads[usize::from(at)] += 1.0;
            }
            for (index, load) in loads.into_iter().enumerate() {
                let capacity = Some(CAPACITY[index]);
                let report = SiteReport { capacity, load, rejected: 0.0, utilisation: None };
                let datacenter = DatacenterId(index as u16);
                self.allocator.report(now, datacenter, &report, Duration::ZERO);
            }
            self.loads.push(loads);
        }
        self.now += STEP;
    }

    fn ask(&mut self, index: usize) {
        let Client { key, group, .. } = self.clients[index];
        let Some((_, allotment)) = self.allocator.allocation().pools.first() else { return };
        let part = allotment.part(GroupId(group)).expect("every group has one");
        let cost =
            |(member, weight): &&(u16, u32)| rendezvous_cost(key, u64::from(*member), *weight);
        let best = part.weights.iter().min_by(|a, b| cost(a).total_cmp(&cost(b)));
        let (at, _) = *best.expect("somebody");
        let client = &mut self.clients[index];
        (client.at, client.expires) = (Some(at), self.now + self.ttl);
        self.untold.push((key, group, at));
    }

    fn lot(&mut self) -> u64 {
        self.lots ^= self.lots << 13;
        self.lots ^= self.lots >> 7;
        self.lots ^= self.lots << 17;
        self.lots
    }

    /// The least and the most that the small datacenter has had since then, of its capacity.
    fn range(&self, since: u64) -> (f64, f64) {
        let loads = &self.loads[(since / REPORTED_EVERY) as usize..];
        let parts = loads.iter().map(|load| load[0] / CAPACITY[0]);
        parts.fold((f64::INFINITY, 0.0), |(least, most), part| (part.min(least), part.max(most)))
    }
}

/// Everybody, in an order in which all groups grow alike.
fn crowd() -> Vec<Client> {
    let of_group = |(group, count): (usize, &u64)| {
        let count = *count;
        (0..count).map(move |number| {
            let client = Client {
                key: (group as u64) << 16 | number,
                group: group as u32,
                at: None,
                expires: 0,
            };
            ((2 * number + 1) as f64 / count as f64, client)
        })
    };
    let mut crowd: Vec<_> = CLIENTS_OF.iter().enumerate().flat_map(of_group).collect();
    crowd.sort_by(|a, b| a.0.total_cmp(&b.0));
    crowd.into_iter().map(|(_, client)| client).collect()
}

#[test]
fn who_comes_is_sent_on_before_a_datacenter_is_full_and_nothing_swings() {
    // In seconds and milliseconds: up to 4 % of the capacity a second.
    for (ttl, apart) in [(2, 250), (2, 500), (2, 1_000), (5, 300), (5, 500), (30, 1_000)] {
        for seed in 1..6 {
            let (mut town, others) = Town::new(ttl, seed);
            let began = town.now;
            town.come(others, apart);
            let came = town.now;
            town.run(20 * town.ttl);
            let settled = town.now;
            town.run(20 * town.ttl);
            let told = format!("TTL {ttl} s, {apart} ms apart, seed {seed}");
            let (_, most) = town.range(began);
            assert!(most <= 1.0, "{told}: {most:.2} of the capacity");
            let (least, _) = town.range(came);
            assert!(least >= 0.75, "{told}: down to {least:.2} without need");
            let (least, most) = town.range(settled);
            assert!(most - least <= 0.08, "{told}: between {least:.2} and {most:.2} in the end");
            assert!(most >= 0.85, "{told}: no more than {most:.2}");
        }
    }
}

#[test]
fn clients_who_go_and_come_again_overload_nothing_for_long() {
    for seed in 1..6 {
        let (mut town, others) = Town::new(2, seed);
        town.come(others, 250);
        town.run(40_000);
        let mut gone = town.clients.split_off(town.clients.len() / 2);
        town.run(60_000);
        gone.iter_mut().for_each(|client| client.at = None);
        let back = town.now;
        town.come(gone, 500);
        town.run(60_000);
        let (_, most) = town.range(back);
        assert!(most <= 1.15, "seed {seed}: {most:.2} of the capacity");
        let (least, most) = town.range(town.now - 20_000);
        assert!(least > 0.75 && most <= 1.0, "seed {seed}: {least:.2} to {most:.2} in the end");
    }
}

#[test]
fn questions_for_made_up_clients_move_few_who_are_real() {
    let (mut town, others) = Town::new(2, 1);
    town.come(others, 250);
    town.run(40_000);
    let began = town.now;
    for second in 0..40 {
        for number in 0..200 {
            town.untold.push((1 << 40 | second << 16 | number, 3, 0));
        }
        town.run(1_000);
    }
    town.run(60_000);
    let (least, most) = town.range(began);
    assert!(least > 0.6 && most <= 1.0, "{least:.2} to {most:.2}");
}

#[test]
fn while_no_load_tells_otherwise_new_clients_raise_demand_within_bounds() {
    let mut world = World::new(&[10.0; 6], &[100.0; 3]);
    world.run(300);
    let demand = |world: &World| world.allocator.plan_at(seconds(world.seconds), 0).demand;
    let before = demand(&world);
    world.reports = false;
    let mut most: f64 = 0.0;
    for second in 0..600 {
        for number in 0..50 {
            let key = 1 << 40 | second << 16 | number;
            let (group, datacenter) = ((number % 6) as u32, DatacenterId(0));
            let answer = Answered { key, pool: POOL, group, datacenter, ttl: 30 };
            world.allocator.answered(seconds(world.seconds), &answer);
        }
        world.run(1);
        most = most.max(demand(&world));
        // By half, and as much again for as long as it looks like a trend.
        assert!(second > 50 || most <= 2.1 * before, "after {second} s {before} became {most}");
    }
    // With no report at all, the queries are believed further.
    assert!(most <= 4.6 * before, "{before} became {most}");
}

#[test]
fn what_new_clients_may_raise_is_not_more_after_reloads_nor_where_a_load_tells_little() {
    for (reloads, is_held_elsewhere) in [(true, false), (false, true)] {
        let mut world = World::new(&[10.0; 6], &[100.0; 3]);
        world.run(300);
        let demand = |world: &World| world.allocator.demand.rows[0].demand;
        let before = demand(&world);
        // Its own datacenter says nothing any more, and another has hardly any of its clients.
        world.is_alive[0] = false;
        let come = |world: &mut World, key: u64, datacenter: u16, ttl: u32| {
            let datacenter = DatacenterId(datacenter);
            let answer = Answered { key, pool: POOL, group: 0, datacenter, ttl };
            world.allocator.answered(seconds(world.seconds), &answer);
        };
        if is_held_elsewhere {
            come(&mut world, 1 << 41, 1, 3_600);
        }
        for second in 0..120 {
            for number in 0..50 {
                come(&mut world, 1 << 40 | second << 16 | number, 0, 30);
            }
            world.run(1);
            if reloads && second.is_multiple_of(5) {
                let now = seconds(world.seconds);
                world.allocator.replace(layout(6, &[100.0; 3]), now);
            }
            let after = demand(&world);
            assert!(after <= 1.7 * before, "after {second} s {before} became {after}");
        }
    }
}

#[test]
fn who_was_at_a_datacenter_that_is_removed_is_not_new() {
    let mut world = World::new(&[10.0; 6], &[100.0; 3]);
    world.run(300);
    let demand = |world: &World| world.allocator.plan_at(seconds(world.seconds), 0).demand;
    let before = demand(&world);
    world.reports = false;
    world.allocator.replace(layout(6, &[100.0; 2]), seconds(world.seconds));
    for second in 0..50 {
        world.run(1);
        let now = demand(&world);
        assert!(now <= 1.02 * before, "after {second} s {before} became {now}");
    }
}

#[test]
fn who_was_forgotten_for_want_of_room_is_not_new() {
    let tuning = Tuning { max_keys: 64, ..Tuning::default() };
    let mut keys = Keys::new(&tuning);
    let come = |keys: &mut Keys, now: f64, count: u64| {
        for key in 0..count {
            keys.answered(now, key, 0, 0, 0, 30);
        }
        let sample = keys.sample(now, 1, &tuning);
        sample.held.iter().map(|held| held.new).fold(0.0, f32::max)
    };
    assert_eq!(come(&mut keys, 0.0, 60), 1.0);
    assert_eq!(come(&mut keys, 10.0, 60), 0.0);
    // All at the same time: there is room for those who come after.
    come(&mut keys, 40.0, 100);
    assert_eq!(come(&mut keys, 80.0, 100), 0.0);
    assert!(keys.len() <= 64);
}

#[test]
fn the_first_clients_of_an_idle_server_are_known_for_what_they_are() {
    for seed in 1..6 {
        let (mut town, _) = Town::new(2, seed);
        // As after a start, without anybody.
        let mut layout = layout(3, &CAPACITY);
        (layout.pools[0].ttl_min, layout.pools[0].ttl_max) = (2, 3);
        let tuning = Tuning { tick_s: 1.0, ..Tuning::default() };
        town.allocator = Allocator::new(layout, tuning, Duration::from_millis(town.now));
        town.clients.clear();
        town.untold.clear();
        town.run(20_000);
        let began = town.now;
        let client = |key| Client { key, group: 0, at: None, expires: 0 };
        town.clients.extend((0..60).map(client));
        town.come((60..100).map(client).collect(), 1_000);
        town.run(30_000);
        let (_, most) = town.range(began);
        assert!(most <= 1.0, "seed {seed}: {most:.2} of the capacity");
        // From when those who came at once have their connections.
        let (least, _) = town.range(began + 3_000);
        assert!(least >= 0.65, "seed {seed}: down to {least:.2} without need");
    }
}
