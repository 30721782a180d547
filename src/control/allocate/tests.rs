//! The allocator in a small world: three datacenters, a few groups, one pool.

use std::time::Duration;

mod closed_loop;

use super::*;

/// A world in which clients come when their answers expire, and loads follow.
struct World {
    allocator: Allocator,
    /// Requests a second, by the group.
    demand: Vec<f64>,
    /// Load that no answer brings, by the datacenter.
    direct: Vec<f64>,
    capacity: Vec<f64>,
    is_alive: Vec<bool>,
    reports: bool,
    /// By group and client: where it is sent, until when.
    clients: Vec<Vec<(u16, u64)>>,
    seconds: u64,
}

const CLIENTS: usize = 20;
const POOL: PoolId = PoolId(7);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Groups in a row, datacenters among them; what lies between is the cost.
fn layout(groups: usize, capacities: &[f64]) -> Layout {
    let datacenters = capacities.len();
    let place = |group: usize| (group as f32 + 0.5) / groups as f32;
    let site = |index: usize| (index as f32 + 0.5) / datacenters as f32;
    let cost = |group: usize| {
        (0..datacenters).map(move |index| 10.0 + 200.0 * (place(group) - site(index)).abs())
    };
    let member = |index: usize| LayoutMember {
        datacenter: DatacenterId(index as u16),
        limit: None,
        seed: index as u64,
    };
    Layout {
        datacenters: (0..datacenters)
            .map(|index| LayoutDatacenter {
                name: format!("dc{index}"),
                capacity: Some(capacities[index]),
            })
            .collect(),
        pools: vec![LayoutPool {
            id: POOL,
            name: "www".into(),
            members: (0..datacenters).map(member).collect(),
            ttl_min: 15,
            ttl_max: 30,
        }],
        groups: (0..groups)
            .map(|group| LayoutGroup { name: format!("g{group}"), weight: 1.0, atomic: false })
            .collect(),
        cost_ms: (0..groups).flat_map(cost).collect(),
    }
}

impl World {
    fn new(demand: &[f64], capacity: &[f64]) -> World {
        let layout = layout(demand.len(), capacity);
        World {
            allocator: Allocator::new(layout, Tuning::default(), Duration::ZERO),
            demand: demand.to_vec(),
            direct: vec![0.0; capacity.len()],
            capacity: capacity.to_vec(),
            is_alive: vec![true; capacity.len()],
            reports: true,
            clients: vec![vec![(0, 0); CLIENTS]; demand.len()],
            seconds: 0,
        }
    }

    /// Lets time pass; returns the last loads.
    fn run(&mut self, length: u64) -> Vec<f64> {
        for _ in 0..length {
            self.allocator.tick(seconds(self.seconds));
            for group in 0..self.demand.len() {
                for client in 0..CLIENTS {
                    self.ask(group, client);
                }
            }
            if self.reports && self.seconds.is_multiple_of(5) {
                let loads = self.loads();
                for (index, &load) in loads.iter().enumerate() {
                    if self.is_alive[index] {
                        let report = SiteReport {
                            capacity: None,
                            load,
                            rejected: (load - self.capacity[index]).max(0.0),
                            utilisation: Some((load / self.capacity[index]).min(1.0)),
                        };
                        let id = DatacenterId(index as u16);
                        let now = seconds(self.seconds);
                        self.allocator.report(now, id, &report, Duration::ZERO);
                    }
                }
            }
            self.seconds += 1;
        }
        self.loads()
    }

    fn ask(&mut self, group: usize, client: usize) {
        let until = self.clients[group][client].1;
        if until > self.seconds {
            return;
        }
        let allocation = self.allocator.allocation();
        let part = allocation.pools[0].1.part(crate::decide::GroupId(group as u32)).unwrap();
        let key = (group * CLIENTS + client) as u64;
        let cost =
            |part: &&(u16, u32)| crate::decide::rendezvous_cost(key, u64::from(part.0), part.1);
        let best = part.weights.iter().min_by(|a, b| cost(a).total_cmp(&cost(b)));
        let member = best.unwrap().0;
        // A client's first answers are spread over the time they last.
        let ttl = if until == 0 { 1 + client as u64 } else { u64::from(part.ttl) };
        self.clients[group][client] = (member, self.seconds + ttl);
        let answer = Answered {
            key,
            pool: POOL,
            group: group as u32,
            datacenter: DatacenterId(member),
            ttl: ttl as u32,
        };
        self.allocator.answered(seconds(self.seconds), &answer);
    }

    fn loads(&self) -> Vec<f64> {
        let mut loads = self.direct.clone();
        for (clients, demand) in self.clients.iter().zip(&self.demand) {
            for (datacenter, _) in clients {
                loads[usize::from(*datacenter)] += demand / CLIENTS as f64;
            }
        }
        loads
    }

    fn set(&mut self, datacenter: usize, is: Availability) {
        self.is_alive[datacenter] = is != Availability::Down;
        self.allocator.availability(seconds(self.seconds), POOL, datacenter, is);
    }
}

#[test]
fn with_room_everywhere_everybody_goes_to_the_nearest() {
    let mut world = World::new(&[10.0; 6], &[100.0; 3]);
    let loads = world.run(200);
    assert_eq!(loads, [20.0; 3]);
    assert_eq!(world.allocator.plan_at(seconds(200), 9).state, State::Calm);
}

#[test]
fn what_one_cannot_take_goes_to_the_next_and_demand_is_learned() {
    let mut world = World::new(&[40.0, 40.0, 10.0, 10.0, 10.0, 10.0], &[60.0, 60.0, 60.0]);
    let loads = world.run(600);
    assert!(loads.iter().all(|load| *load <= 60.0), "{loads:?}");
    let plan = world.allocator.plan_at(seconds(600), 9);
    for (planned, load) in plan.datacenters.iter().zip(&loads) {
        assert!((planned.predicted_load - load).abs() < 3.0, "{planned:?}");
    }
    assert!(plan.demand > 75.0, "{}", plan.demand);
}

#[test]
fn a_dead_datacenter_gets_nobody_and_no_other_is_overloaded() {
    let mut world = World::new(&[10.0; 9], &[50.0; 3]);
    world.run(200);
    world.set(1, Availability::Down);
    let loads = world.run(60);
    assert_eq!(loads[1], 0.0);
    assert!(loads.iter().all(|load| *load <= 50.0), "{loads:?}");
    world.set(1, Availability::Up);
    let soon = world.run(40)[1];
    assert!(soon > 0.0 && soon < 20.0, "it begins slowly: {soon}");
    assert_eq!(world.run(400)[1], 30.0);
}

#[test]
fn a_plan_that_overloads_one_while_another_has_room_is_refused() {
    let mut world = World::new(&[10.0; 6], &[30.0; 3]);
    world.run(200);
    let allowed = vec![vec![true; 3]];
    let capacities = vec![Some(30.0); 3];
    let judge = |amounts: [f64; 3], fixed: [f64; 3]| {
        let solved: Vec<_> = (0..6).map(|_| (0..).zip(amounts).collect()).collect();
        world.allocator.check_loads(&solved, &fixed, &capacities, &allowed)
    };
    assert_eq!(judge([4.0, 4.0, 2.0], [0.0; 3]), Ok(()));
    let error = judge([7.0, 1.0, 2.0], [0.0; 3]).unwrap_err();
    assert!(error.starts_with("dc0 would get 12.0 more"), "{error}");
    assert_eq!(judge([7.0, 4.0, 4.0], [0.0; 3]), Ok(()), "nobody has room for all of it");
    assert_eq!(judge([0.0, 5.0, 5.0], [90.0, 0.0, 0.0]), Ok(()), "what cannot be moved");
}

#[test]
fn load_that_no_answer_explains_leaves_less_room() {
    let mut world = World::new(&[10.0; 6], &[30.0, 100.0, 100.0]);
    world.direct[0] = 25.0;
    let loads = world.run(1_200);
    assert!(loads[0] <= 35.0 + 1e-9, "{loads:?}");
    assert_eq!(loads.iter().sum::<f64>(), 85.0);
}

#[test]
fn groups_that_never_ask_are_not_planned_for() {
    let mut world = World::new(&[0.0; 40], &[20.0; 3]);
    world.demand[0] = 12.0;
    for clients in &mut world.clients[1..] {
        clients.fill((0, u64::MAX));
    }
    for length in [5, 20, 60, 100] {
        let loads = world.run(length);
        let plan = world.allocator.plan_at(seconds(world.seconds), 9);
        let reported: f64 = loads.iter().sum();
        assert!(plan.demand <= 1.2 * reported + 1e-9, "{} of {reported}", plan.demand);
    }
}

#[test]
fn when_most_is_reported_down_at_once_and_goes_on_reporting_nobody_is_moved() {
    let mut world = World::new(&[10.0; 10], &[50.0; 5]);
    world.run(200);
    for datacenter in 0..4 {
        world.allocator.availability(seconds(200), POOL, datacenter, Availability::Down);
    }
    let before = world.loads();
    assert_eq!(world.run(100), before);
    assert_eq!(world.allocator.plan_at(seconds(300), 0).state, State::Panic);
    assert!(world.allocator.disbelieved(seconds(300))[0]);
    // Silent too, they are believed to be down.
    world.is_alive[..4].fill(false);
    assert_eq!(world.run(80)[4], 100.0);
    // And when all are down, all are answered.
    world.set(4, Availability::Down);
    let loads = world.run(80);
    assert_eq!(loads.iter().sum::<f64>(), 100.0);
}

#[test]
fn without_reports_the_plan_is_held_and_a_death_is_still_acted_upon() {
    let mut world = World::new(&[10.0; 9], &[50.0; 3]);
    world.run(300);
    world.reports = false;
    let loads = world.run(200);
    assert_eq!(loads, [30.0; 3]);
    assert_eq!(world.allocator.plan_at(seconds(500), 0).state, State::FailStatic);
    world.set(2, Availability::Down);
    assert_eq!(world.run(80)[2], 0.0);
}

#[test]
fn a_drained_datacenter_empties_over_a_minute() {
    let mut world = World::new(&[10.0; 9], &[50.0; 3]);
    world.run(300);
    world.set(1, Availability::Draining);
    let loads = world.run(150);
    assert_eq!(loads[1], 0.0, "{loads:?}");
    assert!(loads.iter().all(|load| *load <= 50.0));
}

#[test]
fn the_plan_for_a_loss_is_ready_and_gives_the_lost_nothing() {
    let mut world = World::new(&[10.0; 9], &[50.0; 3]);
    world.run(300);
    let plan = world.allocator.plan_at(seconds(300), 9);
    let loss = plan.datacenters[1].loss.as_ref().unwrap();
    assert!(loss.overflow < 1e-6, "{loss:?}");
    let outcome = world.allocator.lost(seconds(300), DatacenterId(1)).unwrap();
    let parts = &outcome.allocation.pools[0].1.parts;
    assert!(parts.iter().all(|part| part.weights.iter().all(|(member, _)| *member != 1)));
    assert!(parts.iter().all(|part| part.order.last() == Some(&1)));
}

#[test]
fn the_older_a_report_the_less_a_capacity_counts() {
    let mut site = Site::new(Some(80.0));
    let tuning = Tuning::default();
    let report = SiteReport { capacity: Some(100.0), load: 50.0, rejected: 0.0, utilisation: None };
    assert!(site.report(0.0, report, 0.0, &tuning));
    let at = |now: f64, is_abandoned| site.effective(now, is_abandoned, &tuning).unwrap();
    assert_eq!(at(10.0, false), 100.0);
    assert_eq!(at(61.0, false), 90.0);
    assert_eq!(at(301.0, false), 70.0);
    assert_eq!(at(901.0, true), 80.0, "the configuration counts again");
    assert!(site.error(120.0, &tuning) > site.error(10.0, &tuning));
}

#[test]
fn a_capacity_that_falls_silently_is_inferred_from_the_utilisation() {
    let mut site = Site::new(None);
    let tuning = Tuning::default();
    let report = |load: f64, part: f64| SiteReport {
        capacity: Some(100.0),
        load,
        rejected: 0.0,
        utilisation: Some(part),
    };
    for second in 0..20 {
        site.report(f64::from(second), report(50.0, 0.51), 0.0, &tuning);
    }
    assert_eq!(site.nominal_with(&tuning), Some(100.0), "noise is none");
    for second in 20..30 {
        site.report(f64::from(second), report(40.0, 0.8), 0.0, &tuning);
    }
    let inferred = site.nominal_with(&tuning).unwrap();
    assert!((inferred - 50.0).abs() < 3.0, "{inferred}");
}

proptest::proptest! {
    #[test]
    fn whatever_is_reported_every_group_has_somebody_and_shares_are_whole(
        loads in proptest::collection::vec((0usize..4, -1.0f64..1e6, proptest::num::f64::ANY), 1..40),
        downs in proptest::collection::vec((0usize..4, 0u8..4), 0..12),
    ) {
        let mut allocator =
            Allocator::new(layout(5, &[10.0, 100.0, 1e4, 0.0]), Tuning::default(), Duration::ZERO);
        let mut twin = allocator.clone();
        let mut downs = downs.into_iter();
        for (second, (datacenter, load, utilisation)) in (0..).zip(loads) {
            let now = seconds(second * 7);
            for one in [&mut allocator, &mut twin] {
                let report = SiteReport {
                    capacity: None,
                    load,
                    rejected: 0.0,
                    utilisation: Some(utilisation),
                };
                one.report(now, DatacenterId(datacenter as u16), &report, Duration::ZERO);
            }
            if let Some((member, is)) = downs.next() {
                let is = match is {
                    0 => Availability::Up,
                    1 => Availability::Down,
                    2 => Availability::Off,
                    _ => Availability::Draining,
                };
                allocator.availability(now, POOL, member, is);
                twin.availability(now, POOL, member, is);
            }
            let answer = Answered {
                key: second,
                pool: POOL,
                group: (second % 5) as u32,
                datacenter: DatacenterId(datacenter as u16),
                ttl: 30,
            };
            allocator.answered(now, &answer);
            twin.answered(now, &answer);
            allocator.tick(now);
            twin.tick(now);
            proptest::prop_assert_eq!(allocator.allocation(), twin.allocation());
            for row in 0..5 {
                let sum: f32 = allocator.shares.of(row).iter().map(|given| given.share).sum();
                proptest::prop_assert!((sum - 1.0).abs() < 1e-3);
            }
        }
    }
}
