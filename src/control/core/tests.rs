//! The core with its clients, in simulated time.

use super::fixture::*;
use super::*;

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
    println!("{:?} {:#?}", clients.loads, core.plan(at(200)).plan);
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
    println!("{:#?}", core.plan(at(40)).plan);
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
