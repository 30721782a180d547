//! Which backend a service gives, and when it gives none: no sockets, and the time is the test's.

use std::time::Duration;

use super::*;
use crate::health::{Administrative, Advice, Verdict};
use crate::l4::backend::Word;
use crate::l4::settings::{Access, BackendSettings, HashOf, Protocol, Quic, Route, WhenAllDown};

fn address(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 1, 0, n], 8443))
}

fn flow(client: u16) -> Flow {
    let client = SocketAddr::from(([198, 51, 100, (client >> 8) as u8], client));
    Flow { client, vip: SocketAddr::from(([203, 0, 113, 10], 443)), protocol: Protocol::Tcp }
}

/// Backends 0, 1, … with these weights.
fn settings(weights: &[u32]) -> ServiceSettings {
    let backends = weights.iter().enumerate();
    let backends =
        backends.map(|(n, weight)| BackendSettings::new(address(n as u8), *weight)).collect();
    ServiceSettings::new("web", Vec::new(), backends)
}

fn ending(backend: Option<SocketAddr>, cause: Cause) -> Ending {
    Ending {
        flow: flow(1),
        backend,
        cause,
        lasted: Duration::ZERO,
        connected_after: None,
        bytes_to_backend: 0,
        bytes_to_client: 0,
    }
}

struct World {
    service: Service,
    now: Instant,
}

impl World {
    /// All backends are up.
    fn new(settings: ServiceSettings) -> World {
        let service = Service::new("web".into(), Arc::default(), Arc::default());
        let world = World { service, now: Instant::now() };
        world.replace(settings);
        world.backends().iter().for_each(|backend| backend.learn(Verdict::Up));
        world.service.refresh(true, world.now);
        world
    }

    fn replace(&self, settings: ServiceSettings) {
        let backends = self.service.backends_for(&settings);
        self.service.replace(Arc::new(settings), backends, Arc::default());
    }

    fn backends(&self) -> Arc<[Arc<Backend>]> {
        self.service.backends()
    }

    fn set_up(&self, n: usize, is_up: bool) -> Vec<SocketAddr> {
        let verdict = if is_up { crate::health::Verdict::Up } else { crate::health::Verdict::Down };
        self.backends()[n].learn(verdict);
        self.refresh()
    }

    fn advise(&self, n: usize, advice: Advice) {
        self.backends()[n].take_advice(advice);
        self.refresh();
    }

    fn refresh(&self) -> Vec<SocketAddr> {
        let went_down = self.service.refresh(false, self.now);
        went_down.iter().map(|backend| backend.address).collect()
    }

    fn second(&mut self) {
        self.now += Duration::from_secs(1);
        self.service.refresh(true, self.now);
    }

    fn choose(&self) -> Result<Place, NoBackend> {
        self.service.choose(&flow(1), &[])
    }

    /// How often each backend is chosen, of so many flows that end at once.
    fn shares(&self, flows: u16) -> Vec<u32> {
        let mut shares = vec![0; self.backends().len()];
        for client in 0..flows {
            let place = self.service.choose(&flow(client), &[]).unwrap();
            let chosen = place.backend().address;
            shares[self.backends().iter().position(|one| one.address == chosen).unwrap()] += 1;
        }
        shares
    }
}

#[test]
fn backups_take_flows_only_while_no_other_can() {
    let mut settings = settings(&[1, 1, 1]);
    settings.backends[2].backup = true;
    let world = World::new(settings);
    assert_eq!(world.shares(10), [5, 5, 0]);
    world.set_up(0, false);
    assert_eq!(world.shares(10), [0, 10, 0]);
    let one = world.service.choose(&flow(1), &[address(1)]).unwrap();
    assert_eq!(one.backend().address, address(2), "the last one that has not been tried");
    world.set_up(1, false);
    assert_eq!(world.shares(10), [0, 0, 10]);
    // A wrong check, it seems: as if all were up.
    world.set_up(2, false);
    assert_eq!(world.shares(10), [5, 5, 0]);
}

#[test]
fn with_all_down_all_are_tried_or_none_is() {
    let mut settings = settings(&[1, 1]);
    settings.when_all_down = WhenAllDown::Refuse;
    let world = World::new(settings.clone());
    assert_eq!(world.set_up(0, false), [address(0)], "it is told once that it went down");
    assert_eq!(world.set_up(0, false), []);
    world.set_up(1, false);
    assert_eq!(world.choose().unwrap_err(), NoBackend::NoneUp);
    settings.when_all_down = WhenAllDown::TryAll;
    world.replace(settings);
    assert_eq!(world.shares(4), [2, 2]);
    world.backends()[0].heed(Word { drained: true, forced: None });
    world.refresh();
    assert_eq!(world.shares(4), [0, 4], "but not those that the operator has taken out");
}

#[test]
fn a_full_backend_is_passed_over_and_a_full_service_gives_no_place() {
    let mut settings = settings(&[1, 1, 1]);
    settings.backends[0].max_connections = Some(1);
    settings.backends[1].max_connections = Some(2);
    settings.max_connections = Some(5);
    let world = World::new(settings);
    let mut places: Vec<_> = (0..5).map(|_| world.choose().unwrap()).collect();
    let loads: Vec<u64> = world.backends().iter().map(|backend| backend.connections()).collect();
    assert_eq!((loads[0], loads[1]), (1, 2));
    assert_eq!(world.choose().unwrap_err(), NoBackend::Full);
    places.pop();
    assert!(world.choose().is_ok(), "who waits may come when one goes");
    // One that is down is not tried because the others are full.
    places.clear();
    world.set_up(2, false);
    let _places: Vec<_> = (0..3).map(|_| world.choose().unwrap()).collect();
    assert_eq!(world.choose().unwrap_err(), NoBackend::Full);
}

#[test]
fn limits_hold_when_many_take_places_at_once() {
    let mut settings = settings(&[1, 1]);
    settings.backends.iter_mut().for_each(|backend| backend.max_connections = Some(40));
    settings.max_connections = Some(70);
    let world = World::new(settings);
    let places: Vec<Place> = std::thread::scope(|scope| {
        let take = || (0..50).filter_map(|_| world.choose().ok()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let loads: Vec<u64> = world.backends().iter().map(|backend| backend.connections()).collect();
    assert!(loads.iter().all(|load| *load <= 40), "{loads:?}");
    assert_eq!(loads.iter().sum::<u64>(), places.len() as u64);
    assert!(places.len() <= 70, "{}", places.len());
    drop(places);
    assert!(world.backends().iter().all(|backend| backend.connections() == 0));
}

#[test]
fn a_backend_that_comes_up_is_started_slowly() {
    let mut settings = settings(&[1, 1]);
    settings.slow_start = Duration::from_secs(10);
    let mut world = World::new(settings.clone());
    assert_eq!(world.shares(100), [50, 50], "they were up from the beginning");
    world.set_up(0, false);
    world.set_up(0, true);
    let share = |world: &World| world.shares(210)[0];
    assert_eq!(share(&world), 10, "5 % of its weight");
    (0..5).for_each(|_| world.second());
    assert_eq!(share(&world), 70, "half its weight");
    (0..5).for_each(|_| world.second());
    assert_eq!(share(&world), 105);
    // One that is added to a service that runs, too.
    settings.backends.push(BackendSettings::new(address(2), 1));
    world.replace(settings);
    world.backends()[2].learn(Verdict::Up);
    world.refresh();
    assert_eq!(world.shares(205), [100, 100, 5]);
}

#[test]
fn agents_change_weights_once_a_second_and_drains_and_outages_at_once() {
    let percent = |percent| Advice { weight_percent: Some(percent), ..Advice::default() };
    let mut world = World::new(settings(&[1, 1]));
    world.advise(0, percent(50));
    assert_eq!(world.shares(30), [15, 15], "not before the second is over");
    world.second();
    assert_eq!(world.shares(30), [10, 20]);
    world.advise(0, percent(0));
    assert_eq!(world.shares(30), [0, 30], "no weight at all is a drain");
    world.advise(0, Advice { administrative: Some(Administrative::Drain), ..Advice::default() });
    assert_eq!(world.shares(30), [0, 30]);
    assert!(world.backends()[0].is_up(), "its flows go on");
    world.advise(0, Advice { down: Some(true), ..Advice::default() });
    assert!(!world.backends()[0].is_up());
    assert_eq!(world.shares(30), [0, 30]);
    world.advise(0, Advice::default());
    world.second();
    assert_eq!(world.shares(30), [15, 15]);
    world.advise(0, Advice { max_connections: Some(1), ..Advice::default() });
    let _places: Vec<_> = (0..10).map(|_| world.choose().unwrap()).collect();
    assert_eq!(world.backends()[0].connections(), 1);
}

#[test]
fn a_backend_without_a_check_that_cannot_be_reached_is_left_alone_for_a_while() {
    let mut world = World::new(settings(&[1, 1]));
    let fail = |world: &World| {
        let place = world.service.choose(&flow(1), &[address(1)]).unwrap();
        place.failed();
        world.service.avoid_suspects(world.now);
        world.refresh()
    };
    assert_eq!(fail(&world), []);
    world.service.choose(&flow(1), &[address(1)]).unwrap().connected(Duration::from_millis(1));
    assert_eq!(fail(&world), []);
    assert_eq!(fail(&world), []);
    assert_eq!(fail(&world), [], "what it has is not to be ended");
    assert!(!world.backends()[0].is_up(), "but there were three in a row");
    assert_eq!(world.shares(10), [0, 10]);
    world.backends()[0].heed(Word { drained: false, forced: Some(false) });
    assert_eq!(world.refresh(), [address(0)], "what it has is to be ended now");
    world.backends()[0].heed(Word::default());
    assert_eq!(world.refresh(), []);
    (0..9).for_each(|_| world.second());
    assert_eq!(world.shares(10), [0, 10]);
    world.second();
    assert_eq!(world.shares(10), [5, 5]);
}

#[test]
fn who_is_reached_while_left_alone_is_left_alone_no_longer_than_the_first_time() {
    let mut world = World::new(settings(&[1]));
    // It is tried all the same, as there is no other.
    let fail = |world: &World| {
        (0..3).for_each(|_| world.choose().unwrap().failed());
        world.service.avoid_suspects(world.now);
        world.refresh();
    };
    let is_up = |world: &World| world.backends()[0].is_up();
    for _ in 0..2 {
        fail(&world);
        (0..9).for_each(|_| world.second());
        assert!(!is_up(&world));
        (0..11).for_each(|_| world.second());
        assert!(is_up(&world), "after 20 seconds the second time");
    }
    fail(&world);
    (0..5).for_each(|_| world.second());
    world.choose().unwrap().connected(Duration::from_millis(1));
    (0..4).for_each(|_| world.second());
    assert!(!is_up(&world));
    world.second();
    assert!(is_up(&world), "not after 40 seconds");
}

#[test]
fn a_suspicion_rings_once_for_each_row_of_failures() {
    let mut settings = settings(&[1]);
    let check = crate::health::Check {
        kind: crate::health::Kind::Tcp,
        interval: Duration::from_secs(2),
        fast_interval: None,
        jitter: 0.0,
        timeout: Duration::from_secs(1),
        rise: 2,
        fall: 2,
    };
    settings.check = Some((Arc::new(check), None));
    let world = World::new(settings);
    let backend = Arc::clone(&world.backends()[0]);
    let fail = || world.choose().unwrap().failed();
    fail();
    assert!(!backend.take_suspicion());
    fail();
    assert!(backend.take_suspicion(), "as many as its check takes to be down");
    assert!(!backend.take_suspicion());
    world.service.avoid_suspects(world.now);
    assert!(backend.is_up(), "that is for its check to say");
}

#[test]
fn a_quic_server_id_leads_to_its_backend_while_that_is_up() {
    let mut settings = settings(&[1, 1]);
    settings.quic = Some(Quic { server_id_bytes: 2 });
    settings.backends[1].server_id = Some([0x0A, 0x1B].into());
    settings.backends[1].max_connections = Some(0);
    let world = World::new(settings);
    let found = world.service.by_server_id(&[0x0A, 0x1B]).unwrap();
    assert_eq!(found.backend().address, address(1), "full as it is");
    assert!(world.service.by_server_id(&[0x0A]).is_none());
    world.set_up(1, false);
    assert!(world.service.by_server_id(&[0x0A, 0x1B]).is_none());
}

#[test]
fn a_reload_keeps_what_is_counted_and_known_of_a_backend() {
    let mut world = World::new(settings(&[1, 1]));
    let place = world.service.choose(&flow(1), &[address(1)]).unwrap();
    let mut changed = settings(&[1, 1, 1]);
    changed.backends.remove(1);
    changed.balance = Balance::Maglev { of: HashOf::Source, table_size: 4_093 };
    world.replace(changed);
    world.second();
    assert_eq!(world.backends()[0].connections(), 1);
    assert!(world.backends()[0].is_up());
    assert!(!world.backends()[1].is_up(), "of a new one nothing is known");
    drop(place);
    assert_eq!(world.backends()[0].connections(), 0);
}

#[test]
fn the_flows_of_backends_that_are_gone_still_count_for_the_service() {
    let mut both = settings(&[1, 1]);
    both.max_connections = Some(2);
    let world = World::new(both.clone());
    let place = world.service.choose(&flow(1), &[address(1)]).unwrap();
    both.backends.remove(0);
    world.replace(both);
    let _second = world.choose().unwrap();
    assert_eq!(world.choose().unwrap_err(), NoBackend::Full);
    drop(place);
    assert!(world.choose().is_ok());
}

#[test]
fn who_turns_out_not_to_be_let_in_is_no_load() {
    let world = World::new(settings(&[1]));
    let second = |number| {
        world.service.note_recent(world.now + Duration::from_secs(number));
        world.service.status(Vec::new()).connections_per_second
    };
    second(0);
    world.service.accepted_total.fetch_add(10, Relaxed);
    for cause in [Cause::NoHello, Cause::Denied, Cause::Limited, Cause::Done] {
        world.service.note_end(&ending(None, cause));
    }
    assert_eq!(second(1), 7.0);
}

#[test]
fn an_end_counts_at_its_backend_wherever_a_reload_has_put_it() {
    let world = World::new(settings(&[1, 1, 1]));
    let mut turned = settings(&[1, 1, 1, 1]);
    turned.backends.rotate_left(1);
    for settings in [settings(&[1, 1, 1]), turned, settings(&[1, 1])] {
        world.replace(settings);
        for backend in &*world.backends() {
            let ended = || backend.status(&BackendSettings::new(backend.address, 1)).flow_durations;
            let before = ended().count;
            world.service.note_end(&ending(Some(backend.address), Cause::Done));
            assert_eq!(ended().count, before + 1, "{}", backend.address);
            let found = world.service.backend(backend.address).unwrap();
            assert!(Arc::ptr_eq(&found, backend));
        }
    }
    assert!(world.service.backend(address(2)).is_none(), "it is gone");
    world.service.note_end(&ending(Some(address(2)), Cause::Done));
}

#[test]
fn routes_lead_to_other_services_by_name_the_longest_first() {
    let [api, wide] = ["api", "wide"]
        .map(|name| Arc::new(Service::new(name.into(), Arc::default(), Arc::default())));
    let web = Service::new("web".into(), Arc::default(), Arc::default());
    let mut settings = settings(&[]);
    let route =
        |name: &str, service: &str| Route { names: vec![name.into()], service: service.into() };
    settings.routes = vec![
        route("*.example.com", "wide"),
        route("*.api.example.com", "api"),
        route("example.net", "api"),
    ];
    let targets = [Arc::downgrade(&wide), Arc::downgrade(&api), Arc::downgrade(&api)];
    web.replace(Arc::new(settings), Arc::default(), targets.into());
    let led = |name: &str| web.route(name).map(|service| service.name.clone());
    assert_eq!(led("www.example.com").as_deref(), Some("wide"));
    assert_eq!(led("v2.api.example.com").as_deref(), Some("api"));
    assert_eq!(led("api.example.com").as_deref(), Some("wide"));
    assert_eq!(led("example.net").as_deref(), Some("api"));
    assert_eq!(led("example.com"), None);
    assert_eq!(led("myexample.com"), None);
    drop(wide);
    assert_eq!(led("www.example.com"), None, "it is gone");
}

/// Services of these names, each of which leads `example.net` to the next.
fn chain<const N: usize>(names: [&str; N], is_circle: bool) -> [Arc<Service>; N] {
    let services =
        names.map(|name| Arc::new(Service::new(name.into(), Arc::default(), Arc::default())));
    for (at, service) in services.iter().enumerate() {
        let next = match at + 1 {
            next if next == N && !is_circle => continue,
            next => &services[next % N],
        };
        let mut settings = settings(&[]);
        let (names, name) = (vec!["example.net".into()], next.name.clone());
        settings.routes = vec![Route { names, service: name }];
        service.replace(Arc::new(settings), Arc::default(), [Arc::downgrade(next)].into());
    }
    services
}

#[test]
fn a_name_is_led_on_from_service_to_service_and_round_a_circle_not_for_ever() {
    let services = chain(["web", "middle", "api"], false);
    let route = services[0].explain(&flow(1), Some("example.net"), Instant::now()).route.unwrap();
    assert_eq!((route.service.as_deref(), &*route.through), (Some("api"), &["middle".into()][..]));
    assert!(services[0].led_to("example.org").is_empty());
    let circle = chain(["web", "middle", "api"], true);
    assert_eq!(circle[0].led_to("example.net").len(), MOST_HOPS);
}

/// A service with a route for `example.net` to another, which does not let our flows in.
fn routed() -> [Arc<Service>; 2] {
    let [web, api] = ["web", "api"]
        .map(|name| Arc::new(Service::new(name.into(), Arc::default(), Arc::default())));
    let mut strict = settings(&[]);
    strict.access = Access { deny: vec!["198.51.100.0/24".parse().unwrap()], ..Access::default() };
    api.replace(Arc::new(strict), Arc::default(), Arc::default());
    let mut routing = settings(&[]);
    routing.routes = vec![Route { names: vec!["example.net".into()], service: "api".into() }];
    web.replace(Arc::new(routing), Arc::default(), [Arc::downgrade(&api)].into());
    [web, api]
}

#[test]
fn an_explanation_asks_at_the_door_of_the_service_that_a_name_leads_to() {
    let [web, _api] = routed();
    let explained = web.explain(&flow(1), Some("Example.NET."), Instant::now());
    assert_eq!(explained.route.unwrap().service.as_deref(), Some("api"));
    assert_eq!((explained.refusal, explained.choice), (Some(Refusal::Denied), None));
    let explained = web.explain(&flow(1), Some("example.org"), Instant::now());
    assert_eq!(explained.refusal, None);
}

#[test]
fn connections_that_are_led_to_another_service_are_no_load_of_this_one() {
    let [web, _api] = routed();
    let now = Instant::now();
    web.note_recent(now);
    web.accepted_total.fetch_add(5, Relaxed);
    web.routed_total.fetch_add(3, Relaxed);
    web.note_recent(now + Duration::from_secs(1));
    let status = web.status(Vec::new());
    assert_eq!((status.accepted_total, status.connections_per_second), (5, 2.0));
}
