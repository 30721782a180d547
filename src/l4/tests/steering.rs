//! Which backend a connection reaches.

use std::sync::Arc;

use super::*;
use crate::health::{AgentCheck, Check, Kind};
use crate::l4::capacity::Unit;

pub fn tcp_check(interval: Duration) -> Option<(Arc<Check>, Option<u16>)> {
    let check = Check {
        interval,
        jitter: 0.0,
        timeout: interval,
        rise: 1,
        fall: 1,
        ..Check::new(Kind::Tcp)
    };
    Some((Arc::new(check), None))
}

const OFTEN: Duration = Duration::from_millis(50);

async fn three() -> [Backend; 3] {
    [Backend::named(0).await, Backend::named(1).await, Backend::named(2).await]
}

fn service_of(backends: &[Backend], weights: &[u32]) -> ServiceSettings {
    let pairs = backends.iter().zip(weights);
    let pairs: Vec<_> = pairs.map(|(backend, &weight)| (backend.address, weight)).collect();
    service("web", &pairs)
}

fn count(names: &[u8]) -> [usize; 3] {
    [0, 1, 2].map(|name| names.iter().filter(|&&other| other == name).count())
}

#[tokio::test]
async fn a_round_robin_follows_the_weights() {
    let backends = three().await;
    let l4 = run(service_of(&backends, &[3, 1, 0])).await;
    assert_eq!(count(&names(&l4, 40).await), [30, 10, 0]);
}

#[tokio::test]
async fn the_share_of_a_backend_that_is_out_is_spread_over_all_others() {
    let backends = three().await;
    let l4 = run(service_of(&backends, &[1, 1, 1])).await;
    l4.force("web", backends[0].address, Some(false));
    assert_eq!(count(&names(&l4, 20).await), [0, 10, 10]);
    l4.force("web", backends[0].address, None);
    l4.set_drained("web", backends[1].address, true);
    assert_eq!(count(&names(&l4, 20).await), [10, 0, 10]);
}

#[tokio::test]
async fn least_connections_evens_out() {
    let backends = three().await;
    let mut settings = service_of(&backends, &[1, 1, 2]);
    settings.balance = Balance::LeastConnections;
    let l4 = run(settings).await;
    let mut held = Vec::new();
    for _ in 0..40 {
        held.push(reach(&l4).await);
    }
    let names: Vec<u8> = held.iter().map(|(_, name)| *name).collect();
    assert_eq!(count(&names), [10, 10, 20]);
    // One is emptied, and takes all that come until it has as many again.
    held.retain(|(_, name)| *name != 1);
    until("its connections are over", || l4.load().services[0].backends[1].connections == 0).await;
    for _ in 0..10 {
        let (stream, name) = reach(&l4).await;
        assert_eq!(name, 1);
        held.push((stream, name));
    }
}

#[tokio::test]
async fn a_client_does_not_notice_that_a_backend_refuses() {
    let (closed, backend) = (Closed::new(), Backend::named(7).await);
    let l4 = run(service("web", &[(closed.address, 5), (backend.address, 1)])).await;
    assert_eq!(names(&l4, 12).await, [7; 12]);
    let status = &l4.load().services[0];
    assert!(status.backends[0].connect_failures_total > 0);
    assert_eq!(status.backends[0].connections_total, 0);
    assert_eq!(status.backends[1].connections_total, 12);
    assert_eq!(status.refused_total, 0);
}

#[tokio::test]
async fn what_the_client_has_said_already_reaches_the_next_backend() {
    let (closed, backend) = (Closed::new(), Backend::named(7).await);
    let l4 = run(service("web", &[(closed.address, 1), (backend.address, 1)])).await;
    for _ in 0..4 {
        let mut stream = connect(&l4).await;
        stream.write_all(b"early").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut heard = Vec::new();
        soon(stream.read_to_end(&mut heard)).await.unwrap();
        assert_eq!(heard, b"\x07early");
    }
}

#[tokio::test]
async fn with_no_backend_left_to_try_the_client_is_reset() {
    let closed = [Closed::new(), Closed::new()];
    let l4 = run(service("web", &closed.each_ref().map(|closed| (closed.address, 1)))).await;
    assert_refused(&l4).await;
    let status = &l4.load().services[0];
    assert_eq!((status.accepted_total, status.refused_total, status.connections), (1, 1, 0));
    assert_eq!(failures(&l4), [1, 1]);
}

/// A backend whose queue is full: it answers no SYN.
pub struct BlackHole {
    pub address: SocketAddr,
    _sockets: Vec<Socket>,
}

impl BlackHole {
    pub fn new() -> BlackHole {
        let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let listener = socket();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut sockets = vec![listener];
        // Enough for a queue of none, which is one of one or two.
        sockets.extend((0..4).map(|_| {
            let client = socket();
            client.set_nonblocking(true).unwrap();
            let _ = client.connect(&address);
            client
        }));
        BlackHole { address: address.as_socket().unwrap(), _sockets: sockets }
    }
}

#[tokio::test]
async fn a_backend_that_does_not_answer_is_given_up_in_time() {
    let (hole, backend) = (BlackHole::new(), Backend::named(7).await);
    let mut settings = service("web", &[(hole.address, 1), (backend.address, 1)]);
    settings.timeouts.connect = Duration::from_millis(200);
    let l4 = run(settings).await;
    assert_eq!(names(&l4, 4).await, [7; 4]);
    assert!(l4.load().services[0].backends[0].connect_failures_total > 0);
}

#[tokio::test]
async fn a_backend_that_is_found_to_be_down_is_waited_for_no_longer() {
    let (hole, backend) = (BlackHole::new(), Backend::named(7).await);
    let mut settings = service("web", &[(hole.address, 1), (backend.address, 0)]);
    settings.timeouts.connect = SOON;
    let l4 = run(settings).await;
    let mut stream = connect(&l4).await;
    until("it is asked", || l4.load().services[0].backends[0].connections == 1).await;
    let mut changed = service("web", &[(hole.address, 1), (backend.address, 1)]);
    changed.timeouts.connect = SOON;
    l4.replace(self::settings([changed])).await.unwrap();
    l4.force("web", hole.address, Some(false));
    let began = Instant::now();
    assert_eq!(soon(stream.read_u8()).await.unwrap(), 7);
    assert!(began.elapsed() < SOON / 2, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_client_does_not_wait_for_every_backend_that_does_not_answer() {
    let holes: Vec<_> = (0..20).map(|_| BlackHole::new()).collect();
    let mut settings = service("web", &holes.iter().map(|h| (h.address, 1)).collect::<Vec<_>>());
    settings.timeouts.connect = Duration::from_millis(200);
    let l4 = run(settings).await;
    assert_refused(&l4).await;
    assert_eq!(failures(&l4).iter().sum::<u64>(), 3);
}

#[tokio::test]
async fn a_drained_backend_keeps_its_connections_and_takes_no_new_ones() {
    let backends = [Backend::named(0).await, Backend::named(1).await];
    let mut settings = service_of(&backends, &[1, 1]);
    settings.capacity = Some(Capacity::Connections(100));
    let l4 = run(settings).await;
    let (mut first, name) = reach(&l4).await;
    let drained = backends[usize::from(name)].address;
    l4.set_drained("web", drained, true);
    assert_eq!(names(&l4, 6).await, [1 - name; 6]);
    talk(&mut first).await;
    assert_eq!(l4.load().capacity, Some(50), "one of two takes connections");

    // With all drained nobody takes connections, and the service has no room.
    l4.set_drained("web", backends[usize::from(1 - name)].address, true);
    assert_refused(&l4).await;
    assert_eq!(l4.load().capacity, Some(0));
    talk(&mut first).await;

    l4.set_drained("web", drained, false);
    assert_eq!(reach(&l4).await.1, name);
}

#[tokio::test]
async fn nothing_is_forwarded_to_a_backend_that_its_probe_has_not_found_up() {
    let (closed, backend) = (Closed::new(), Backend::named(7).await);
    let mut settings = service("web", &[(closed.address, 1), (backend.address, 1)]);
    settings.check = tcp_check(OFTEN);
    settings.capacity = Some(Capacity::Connections(10));
    let l4 = run(settings).await;
    let up = |l4: &L4| l4.load().services[0].backends.iter().map(|b| b.up).collect::<Vec<_>>();
    assert_eq!(up(&l4), [false, true], "known when it starts to listen");
    assert_eq!(names(&l4, 6).await, [7; 6]);
    assert_eq!(l4.load().services[0].backends[0].connect_failures_total, 0);
    assert_eq!(l4.load().capacity, Some(5), "one of two is up");
}

#[tokio::test]
async fn with_no_backend_up_all_are_tried_and_there_is_no_room() {
    let backend = Backend::named(7).await;
    let probed = Closed::new();
    let mut settings = service("web", &[(backend.address, 1)]);
    // A check that looks at the wrong port.
    settings.check = tcp_check(OFTEN).map(|(check, _)| (check, Some(probed.address.port())));
    settings.capacity = Some(Capacity::Connections(10));
    let l4 = run(settings).await;
    assert!(!l4.load().services[0].backends[0].up);
    assert_eq!(l4.load().capacity, Some(0));
    assert_eq!(reach(&l4).await.1, 7);
    l4.force("web", backend.address, Some(true));
    assert_eq!(l4.load().capacity, Some(10));
    l4.force("web", backend.address, Some(false));
    assert_eq!(l4.load().capacity, Some(0));
    assert_refused(&l4).await;
}

#[tokio::test]
async fn a_backend_that_dies_is_left_alone_and_used_again_when_it_is_back() {
    let backends = [Backend::named(0).await, Backend::named(1).await];
    let mut settings = service_of(&backends, &[1, 1]);
    settings.check = tcp_check(OFTEN);
    let l4 = run(settings).await;
    let [dying, _alive] = backends;
    let address = dying.address;
    drop(dying);
    let is_up = || l4.load().services[0].backends[0].up;
    until("it is known to be down", || !is_up()).await;
    assert_eq!(names(&l4, 6).await, [1; 6]);
    let listener = TcpListener::bind(address).await.unwrap();
    until("it is known to be up", is_up).await;
    drop(listener);
}

#[tokio::test]
async fn a_changed_check_changes_no_verdict_until_it_has_one() {
    let backend = Backend::named(7).await;
    let mut web = service("web", &[(backend.address, 1)]);
    web.check = tcp_check(OFTEN);
    web.capacity = Some(Capacity::Connections(10));
    let l4 = run(web.clone()).await;
    assert_eq!(l4.load().capacity, Some(10));
    web.check = tcp_check(Duration::from_secs(3600));
    l4.replace(settings([web])).await.unwrap();
    assert_eq!(l4.load().capacity, Some(10));
}

fn failures(l4: &L4) -> Vec<u64> {
    let backends = &l4.load().services[0].backends;
    backends.iter().map(|backend| backend.connect_failures_total).collect()
}

fn hourly_check(port: Option<u16>) -> Option<(Arc<Check>, Option<u16>)> {
    let interval = Duration::from_secs(3600);
    let timeout = Duration::from_secs(5);
    let check = Check {
        kind: Kind::Tcp,
        interval,
        fast_interval: None,
        jitter: 0.0,
        timeout,
        rise: 3,
        fall: 3,
    };
    Some((Arc::new(check), port))
}

/// Clients come until the first backend is known to be down, and then it is left alone.
async fn assert_found_out(l4: &L4) {
    let first = || l4.load().services[0].backends[0].clone();
    assert!(first().up);
    while first().connect_failures_total < 3 {
        assert_eq!(reach(l4).await.1, 7);
    }
    until("it is known to be down", || !first().up).await;
    let failures = first().connect_failures_total;
    assert_eq!(names(l4, 8).await, [7; 8]);
    assert_eq!(first().connect_failures_total, failures, "nobody tries it any more");
}

#[tokio::test]
async fn a_backend_that_cannot_be_reached_is_down_before_its_next_check() {
    let [dying, backend] = [Backend::named(0).await, Backend::named(7).await];
    let mut web = service("web", &[(dying.address, 1), (backend.address, 1)]);
    web.check = hourly_check(None);
    let l4 = run(web).await;
    let gone = dying.address;
    drop(dying);
    until("it has gone", || std::net::TcpStream::connect(gone).is_err()).await;
    assert_found_out(&l4).await;
}

#[tokio::test]
async fn a_backend_that_cannot_be_reached_is_left_alone_though_a_check_of_elsewhere_is_good() {
    let (closed, backend) = (Closed::new(), Backend::named(7).await);
    let mut web = service("web", &[(closed.address, 1), (backend.address, 1)]);
    let probed = Backend::named(0).await;
    web.check = hourly_check(Some(probed.address.port()));
    assert_found_out(&run(web).await).await;
}

#[tokio::test]
async fn an_agent_beside_the_check_changes_the_weight() {
    let backends = [Backend::named(0).await, Backend::named(1).await];
    let mut web = service_of(&backends, &[1, 1]);
    // One agent says it for both, as both are at one address; then its line changes.
    let line = Arc::new(std::sync::Mutex::new("25% maxconn:7\n"));
    let agent = Backend::start({
        let line = Arc::clone(&line);
        move |mut stream| {
            let line = *line.lock().unwrap();
            async move { _ = stream.write_all(line.as_bytes()).await }
        }
    })
    .await;
    let check = Check {
        kind: Kind::Agent(AgentCheck { send: None }),
        interval: OFTEN,
        fast_interval: None,
        jitter: 0.0,
        timeout: OFTEN,
        rise: 1,
        fall: 1,
    };
    web.agent = Some((Arc::new(check), agent.address.port()));
    web.capacity = Some(Capacity::Agents);
    let l4 = run(web).await;
    let first = || l4.load().services[0].backends[0].clone();
    assert_eq!((first().weight_percent, first().max_connections), (25, Some(7)), "from the start");
    assert_eq!(l4.load().capacity, Some(14));
    *line.lock().unwrap() = "drain\n";
    until("no backend takes connections", || l4.load().services[0].healthy_backends == 0).await;
    assert!(first().up);
    assert_eq!(l4.load().capacity, Some(0));
    *line.lock().unwrap() = "ready up 100% maxconn:0\n";
    until("all is as configured", || first().weight_percent == 100 && !first().advised_drained)
        .await;
}

#[tokio::test]
async fn with_fewer_healthy_backends_than_a_service_needs_the_region_is_out() {
    let backends = [Backend::named(0).await, Backend::named(1).await];
    let mut web = service_of(&backends, &[1, 1]);
    web.min_healthy = 2;
    let mut mail = service("mail", &[(backends[0].address, 1)]);
    mail.capacity = Some(Capacity::Connections(100));
    let l4 = start(settings([web, mail])).await.unwrap();
    assert_eq!(l4.load().capacity, Some(100));
    l4.set_drained("web", backends[1].address, true);
    assert_eq!(l4.load().capacity, Some(0));
    assert!(l4.load().services[0].is_short);
    l4.set_drained("web", backends[1].address, false);
    assert_eq!(l4.load().capacity, Some(100));
}

#[tokio::test]
async fn a_capacity_in_connections_a_second_is_measured_so() {
    let backends = [Backend::named(0).await];
    let mut web = service_of(&backends, &[1]);
    web.capacity = Some(Capacity::ConnectionsPerSecond(1_000));
    let l4 = run(web).await;
    let load = || l4.load();
    assert_eq!((load().unit, load().capacity), (Some(Unit::ConnectionsPerSecond), Some(1_000)));
    // In ten seconds' mean there is something of it as soon as a second is over.
    until("the first second is over", || {
        let stream = std::net::TcpStream::connect(load().services[0].listen[0].single().unwrap());
        drop(stream);
        load().carried > 0.0
    })
    .await;
    assert!(load().utilisation.unwrap() > 0.0);
    assert_eq!(load().services[0].load.unwrap().offered, load().services[0].connections_per_second);
}
