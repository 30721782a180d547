//! The core with its clients, in simulated time.

use super::fixture::*;
use super::*;
use crate::control::allocate::{DatacenterState, State};
use crate::control::{Action, Override, Target};
use crate::decide::{Match, Policy, Pool, PoolId, Rule, Steer, Steering};
use crate::health::Administrative;

const UP: [Verdict; 3] = [Verdict::Up; 3];

/// A core that serves these settings, with everything up.
fn core(settings: Settings) -> Core {
    let ground = Ground::new(Arc::new(settings), &[], None);
    let mut core = Core::new(ground, Overrides::default(), UP.into(), at(0));
    core.tick(at(0));
    core
}

/// What a datacenter with this capacity reports.
fn honest(capacity: f64) -> impl Fn(usize, f64) -> Option<Report> {
    move |_, load| Some(report(capacity, load))
}

fn report(capacity: f64, load: f64) -> Report {
    let capacity = Some(capacity);
    Report { capacity, load, rejected: None, utilisation: None, unit: None, time: None }
}

/// Europe asks for much, the others for little.
const DEMAND: [(&str, f64); 8] = [
    ("DE", 20.0),
    ("FR", 20.0),
    ("GB", 20.0),
    ("ES", 15.0),
    ("US", 30.0),
    ("CA", 10.0),
    ("JP", 20.0),
    ("IN", 15.0),
];

#[test]
fn with_room_everywhere_clients_go_to_the_nearest_and_are_answered_for_long() {
    let mut core = core(settings([Some(1000.0); 3]));
    let mut clients = Clients::new(&DEMAND);
    clients.seconds(&mut core, 200, honest(1000.0));
    assert_eq!(clients.loads, [75.0, 40.0, 35.0]);
}

/// Where clients of a country are sent.
fn sent(core: &Core, code: &str) -> &'static str {
    let country = COUNTRIES.iter().position(|known| *known == code).unwrap();
    let snapshot = core.published().load_full();
    let address = prefix(country, 7).into();
    let client = crate::decide::Client { address, resolver: address, draw: 0 };
    let decision = snapshot.charts[0].decide(&client, crate::dns::Rtype::A);
    DATACENTERS[usize::from(decision.assignment.unwrap().datacenter.0)].0
}

#[test]
fn without_demand_too_clients_go_to_the_nearest_that_is_up() {
    let mut core = core(settings([None; 3]));
    let reports = |core: &mut Core, second: u64| {
        for (name, _) in DATACENTERS {
            core.take_report(name, report(100.0, 0.0), at(second)).unwrap();
        }
        core.tick(at(second));
    };
    (1..10).for_each(|second| reports(&mut core, second));
    assert_eq!(sent(&core, "DE"), "fra");
    core.take_verdicts([Verdict::Down, Verdict::Up, Verdict::Up].into(), at(10));
    assert_ne!(sent(&core, "DE"), "fra");
    (11..20).for_each(|second| reports(&mut core, second));
    core.take_verdicts(UP.into(), at(20));
    (20..40).for_each(|second| reports(&mut core, second));
    assert_eq!(sent(&core, "DE"), "fra");
}

#[test]
fn whose_agent_wants_no_new_clients_gets_none_and_is_no_loss_and_takes_them_again() {
    let mut core = core(settings([None; 3]));
    assert_eq!(sent(&core, "DE"), "fra");
    let drained = Advice { weight_percent: Some(0), ..Advice::default() };
    core.take_advice([drained].into());
    core.take_verdicts(UP.into(), at(1));
    assert_ne!(sent(&core, "DE"), "fra");
    assert!(said(&mut core, EventKind::Plan).iter().all(|event| !event.contains("lost")));
    core.take_advice(Arc::default());
    core.take_verdicts(UP.into(), at(3));
    assert_eq!(sent(&core, "DE"), "fra");
}

#[test]
fn what_the_operator_says_counts_for_more_than_an_agents_word() {
    let mut core = core(settings([None; 3]));
    let drained = Advice { administrative: Some(Administrative::Drain), ..Advice::default() };
    core.take_advice([drained].into());
    core.take_verdicts(UP.into(), at(1));
    assert_ne!(sent(&core, "DE"), "fra");
    let up = Override { action: Action::ForceUp, ..drain("fra", at(2)) };
    core.set_override(up, at(2)).unwrap();
    assert_eq!(sent(&core, "DE"), "fra");
}

#[test]
fn who_is_full_for_reasons_of_its_own_takes_no_clients_while_others_have_room() {
    let mut core = core(settings([None; 3]));
    let mut reports = |from: u64, fra: f64| {
        for second in from..from + 12 {
            for (name, _) in DATACENTERS {
                let load = if name == "fra" { fra } else { 0.0 };
                core.take_report(name, report(100.0, load), at(second)).unwrap();
            }
            core.tick(at(second));
        }
        sent(&core, "DE")
    };
    assert_eq!(reports(1, 0.0), "fra");
    assert_ne!(reports(13, 100.0), "fra");
    assert_eq!(reports(25, 10.0), "fra");
    assert_ne!(reports(205, 100.0), "fra", "later too");
}

/// A core whose clients have been served for some minutes.
fn settled(capacity: f64) -> (Core, Clients) {
    let mut core = core(settings([Some(capacity); 3]));
    let mut clients = Clients::new(&DEMAND);
    clients.seconds(&mut core, 200, honest(capacity));
    core.take_events();
    (core, clients)
}

fn drain(datacenter: &str, now: Now) -> Override {
    Override {
        target: Target::Datacenter(datacenter.into()),
        action: Action::Drain,
        reason: None,
        since: now.unix_seconds,
        until: None,
    }
}

fn said(core: &mut Core, kind: EventKind) -> Vec<String> {
    let events = core.take_events().into_iter().filter(|event| event.kind == kind);
    events.map(|event| format!("{}: {}", event.subject, event.text)).collect()
}

#[test]
fn who_fills_gives_clients_away_before_it_is_full_and_gets_them_back() {
    let (mut core, mut clients) = settled(100.0);
    // Slowly enough that answers in the caches can follow.
    for step in 1..=12 {
        clients.set_rate("DE", 20.0 + 5.0 * f64::from(step));
        for _ in 0..30 {
            clients.seconds(&mut core, 1, honest(100.0));
            let [fra, ..] = clients.loads;
            assert!(fra <= 100.0, "{} s: {fra}", clients.now);
        }
    }
    let asked: f64 = 75.0 + 60.0;
    assert!(clients.loads[0] > 75.0 && clients.loads[0] < asked, "{:?}", clients.loads);
    let plan = core.plan(at(clients.now)).plan;
    assert_eq!(plan.state, State::NearWall, "{:?}", plan.reason);
    clients.set_rate("DE", 20.0);
    clients.seconds(&mut core, 120, honest(100.0));
    assert_eq!(clients.loads, [75.0, 40.0, 35.0]);
}

#[test]
fn a_lost_datacenter_is_out_at_once_and_the_others_take_its_clients_by_the_plan_for_it() {
    let (mut core, mut clients) = settled(140.0);
    let generation = core.load_status().generation;
    let now = at(clients.now);
    core.take_verdicts([Verdict::Down, Verdict::Up, Verdict::Up].into(), now);
    assert_eq!(core.load_status().generation, generation + 1, "in one publication");
    assert_eq!(said(&mut core, EventKind::Plan), ["fra: lost: served is the plan for that case"]);
    for (code, _) in DEMAND {
        assert_ne!(sent(&core, code), "fra", "{code}");
    }
    clients.seconds(&mut core, 35, |index, load| (index > 0).then(|| report(140.0, load)));
    assert_eq!(clients.loads[0], 0.0, "after a TTL nobody is left");
    assert!(clients.loads[1..].iter().all(|load| *load <= 140.0), "{:?}", clients.loads);
    let plan = core.plan(at(clients.now)).plan;
    assert_eq!(plan.datacenters[0].state, DatacenterState::Down);
    core.take_verdicts(UP.into(), at(clients.now));
    clients.seconds(&mut core, 400, honest(140.0));
    assert_eq!(clients.loads, [75.0, 40.0, 35.0], "back in all its strength");
}

#[test]
fn an_override_lasts_as_long_as_was_said_whatever_the_clock_is_set_to() {
    const DAY: u64 = 86_400;
    let settings_of_the_clock: [fn(u64) -> u64; 3] =
        [|seconds| seconds + DAY, |seconds| seconds - DAY, |seconds| seconds + 2];
    for set_to in settings_of_the_clock {
        let moment = |second: u64| match second {
            ..=100 => at(second),
            _ => Now { unix_seconds: set_to(at(second).unix_seconds), ..at(second) },
        };
        let mut core = core(settings([None; 3]));
        let hour = Some(at(10).unix_seconds + 3_600);
        core.set_override(Override { until: hour, ..drain("fra", at(10)) }, at(10)).unwrap();
        assert!(!core.tick(moment(100)));
        // Before anybody has looked again.
        let late = Override { until: None, ..drain("iad", moment(101)) };
        core.set_override(late, moment(101)).unwrap();
        let is_jump = moment(101).unix_seconds.abs_diff(at(101).unix_seconds) > 2;
        assert_eq!(core.tick(moment(102)), is_jump, "and so is to be kept");
        assert!(!core.tick(moment(103)));
        let since = |core: &Core, name: &str| {
            let mut those = core.overrides().list();
            let target = Target::Datacenter(name.into());
            those.find(|one| one.target == target).map(|one| one.since)
        };
        assert_eq!(since(&core, "iad"), Some(moment(101).unix_seconds));
        if is_jump {
            assert_eq!(since(&core, "fra"), Some(set_to(at(10).unix_seconds)), "in the new time");
        }
        for second in (104..3_600).step_by(60) {
            assert!(!core.tick(moment(second)), "{second}");
        }
        assert_eq!(core.overrides().list().count(), 2);
        assert!(core.tick(moment(3_611)));
        assert_eq!(core.overrides().list().count(), 1);
    }
}

#[test]
fn an_override_from_before_a_start_with_a_slow_clock_ends_when_it_should() {
    const DAY: u64 = 86_400;
    let true_time = |second| Now { unix_seconds: at(second).unix_seconds + DAY, ..at(second) };
    // It was said a minute before the start, for an hour; then the clock is set right.
    let said = true_time(0).unix_seconds - 60;
    let kept = Override { since: said, until: Some(said + 3_600), ..drain("fra", at(0)) };
    let mut overrides = Overrides::default();
    overrides.set(kept.clone()).unwrap();
    let ground = Ground::new(Arc::new(settings([None; 3])), &[], None);
    let mut core = Core::new(ground, overrides, UP.into(), at(0));
    assert!(!core.tick(at(10)));
    assert!(!core.tick(true_time(11)), "nothing is to be kept");
    assert!(core.overrides().has(&kept));
    assert!(!core.tick(true_time(3_539)));
    assert!(core.tick(true_time(3_540)));
}

#[test]
fn a_drained_datacenter_is_emptied_by_and_by() {
    let (mut core, mut clients) = settled(140.0);
    core.set_override(drain("fra", at(clients.now)), at(clients.now)).unwrap();
    assert_eq!(sent(&core, "DE"), "fra", "not all at once");
    clients.seconds(&mut core, 10, honest(140.0));
    let plan = core.plan(at(clients.now)).plan;
    assert_eq!(plan.datacenters[0].state, DatacenterState::Draining);
    clients.seconds(&mut core, 65, honest(140.0));
    assert_eq!(clients.loads[0], 0.0, "half a minute and a TTL later");
    core.clear_override(&Target::Datacenter("fra".into()), None, at(clients.now));
    clients.seconds(&mut core, 400, honest(140.0));
    assert_eq!(clients.loads, [75.0, 40.0, 35.0]);
}

#[test]
fn with_all_reports_frozen_what_was_planned_is_held() {
    let (mut core, mut clients) = settled(140.0);
    clients.seconds(&mut core, 180, |_, _| None);
    assert_eq!(clients.loads, [75.0, 40.0, 35.0]);
    assert_eq!(core.plan(at(clients.now)).plan.state, State::FailStatic);
    assert!(said(&mut core, EventKind::Plan)[0].contains("the plan is held"));
    clients.seconds(&mut core, 60, honest(140.0));
    assert_eq!(core.plan(at(clients.now)).plan.state, State::Calm);
}

#[test]
fn checks_that_fail_nearly_everywhere_at_once_are_not_believed_until_they_persist() {
    let (mut core, mut clients) = settled(140.0);
    core.take_verdicts([Verdict::Down, Verdict::Down, Verdict::Up].into(), at(clients.now));
    clients.seconds(&mut core, 10, honest(140.0));
    assert_eq!((sent(&core, "DE"), sent(&core, "US")), ("fra", "iad"));
    assert_eq!(core.plan(at(clients.now)).plan.state, State::Panic);
    assert!(said(&mut core, EventKind::Plan)[0].contains("panic"));
    // What goes on to report that it serves is still believed more than its checks.
    clients.seconds(&mut core, 40, honest(140.0));
    assert_eq!((sent(&core, "DE"), sent(&core, "US")), ("fra", "iad"));
    clients
        .seconds(&mut core, 40, |datacenter, load| (datacenter == 2).then(|| report(140.0, load)));
    assert_eq!((sent(&core, "DE"), sent(&core, "US")), ("sin", "sin"), "it was true");
}

#[test]
fn a_reload_keeps_what_was_learned() {
    let (mut core, mut clients) = settled(100.0);
    let before = core.plan(at(clients.now)).plan.demand;
    let mut other = settings([Some(90.0); 3]);
    let steering = Steering::clone(&other.steering);
    let mut pools = steering.pools.to_vec();
    pools.insert(0, Pool { name: "api".into(), steer: Steer::Failover, ..pools[0].clone() });
    for (pool, first) in pools.iter_mut().zip([0, 3]) {
        for (member, id) in pool.members.iter_mut().zip(first..) {
            member.id = crate::decide::MemberId(id);
        }
    }
    let rule = Rule { matches: Match::default(), pool: PoolId(1) };
    let policies = [Policy { rules: [rule].into() }];
    other.steering =
        Arc::new(Steering { pools: pools.into(), policies: policies.into(), ..steering });
    let previous = core.ground().share();
    let ground = Ground::new(Arc::new(other), &[], Some(&previous));
    core.replace(ground, UP.into(), at(clients.now));
    let after = core.plan(at(clients.now)).plan.demand;
    assert!((after / before - 1.0).abs() < 0.02, "{before} {after}");
    clients.seconds(&mut core, 40, honest(90.0));
    assert_eq!(clients.loads, [75.0, 40.0, 35.0]);
}

#[test]
fn answers_from_before_a_reload_are_not_mixed_up_with_those_after_it() {
    let (mut core, clients) = settled(100.0);
    let now = at(clients.now);
    let old = core.published().load_full();
    let client = crate::decide::Client {
        address: prefix(0, 200).into(),
        resolver: prefix(0, 200).into(),
        draw: 0,
    };
    let given = old.charts[0].decide(&client, crate::dns::Rtype::A).assignment.unwrap();
    let answered = |epoch| Answered::new(client.address, given, 30, epoch).unwrap();
    let previous = core.ground().share();
    let ground = Ground::new(Arc::new(settings([Some(90.0); 3])), &[], Some(&previous));
    core.replace(ground, UP.into(), now);
    let mut work = core.begin_work(now).unwrap();
    assert!(core.begin_work(now).is_none(), "it is out");
    work.count(answered(old.epoch), now);
    work.count(answered(old.epoch + 1), now);
    work.miss(7);
    work.run(now);
    core.end_work(work, Duration::ZERO, now);
    assert_eq!(core.plan(now).answers_missed_total, 8, "the old one, and what found no room");
}

#[test]
fn work_that_was_never_ended_is_begun_anew() {
    let (mut core, clients) = settled(100.0);
    let now = at(clients.now);
    drop(core.begin_work(now));
    core.begin_anew(now);
    core.tick(at(clients.now + 1));
    assert_eq!(sent(&core, "DE"), "fra");
    assert!(core.plan(at(clients.now + 1)).plan.planned_at.is_some());
}

#[test]
fn where_no_pool_steers_by_capacity_there_is_nothing_to_allocate() {
    let mut plain = settings([Some(100.0); 3]);
    let mut steering = Steering::clone(&plain.steering);
    steering.pools[0].steer = Steer::Nearest;
    plain.steering = Arc::new(steering);
    let mut core = core(plain);
    assert!(core.begin_work(at(1)).is_none());
    assert_eq!(core.plan(at(1)).age, None);
    let snapshot = core.published().load_full();
    assert_eq!(snapshot.shares.allotment(PoolId(0)), None);
    // Until somebody writes one that does.
    let previous = core.ground().share();
    let ground = Ground::new(Arc::new(settings([Some(100.0); 3])), &[], Some(&previous));
    core.replace(ground, UP.into(), at(2));
    assert!(core.published().load_full().shares.allotment(PoolId(0)).is_some());
}

#[test]
fn the_heaviest_prefixes_become_groups_and_stay_groups_until_they_are_light() {
    let capacities = [100.0, 45.0, 100.0];
    let report = |index: usize, load: f64| Some(report(capacities[index], load));
    let mut core = core(settings(capacities.map(Some)));
    let mut clients = Clients::new(&DEMAND);
    clients.seconds(&mut core, 700, report);
    let heavy = core
        .promotions(at(clients.now))
        .expect("an American is more than a fiftieth of the capacity there");
    assert!(!heavy.is_empty() && heavy.len() <= 64, "{heavy:?}");
    let promote = |core: &mut Core, promoted: &[IpNet], now: Now| {
        let previous = core.ground().share();
        let settings = Arc::clone(core.settings());
        let ground = Ground::new(settings, promoted, Some(&previous));
        core.replace(ground, UP.into(), now);
    };
    promote(&mut core, &heavy, at(clients.now));
    assert_eq!(core.plan(at(clients.now)).promoted, heavy);
    clients.seconds(&mut core, 700, report);
    assert_eq!(clients.loads, [75.0, 40.0, 35.0], "nobody has noticed");
    let kept = core.promotions(at(clients.now)).unwrap_or_else(|| heavy.clone());
    assert!(heavy.iter().filter(|prefix| kept.contains(prefix)).count() > heavy.len() / 2);
}
