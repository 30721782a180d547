//! What a reload and a stop do to services and to connections.

use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use super::steering::{BlackHole, tcp_check};
use super::*;
use crate::l4::settings::{self as l4_settings, Protocol};

#[tokio::test]
async fn a_reload_touches_no_connection() {
    let backends = [Backend::named(0).await, Backend::named(1).await, Backend::named(2).await];
    let [a, b, c] = backends.each_ref().map(|backend| backend.address);
    let l4 = run(service("web", &[(a, 1), (b, 1)])).await;
    let listen = vip(&l4);
    let mut streams = [reach(&l4).await, reach(&l4).await];

    // One backend is gone, one is new, one has another weight.
    let mut changed = service("web", &[(b, 3), (c, 1)]);
    changed.balance = Balance::LeastConnections;
    l4.replace(settings([changed])).await.unwrap();
    assert_eq!(vip(&l4), listen, "the sockets are the same");
    for (stream, _) in &mut streams {
        talk(stream).await;
    }
    let status = &l4.load().services[0];
    assert_eq!(status.accepted_total, 2);
    assert_eq!(status.backends[0].connections, 1, "of the one that stayed");
    assert!(!names(&l4, 8).await.contains(&0));

    // The service is gone.
    l4.replace(settings([])).await.unwrap();
    for (stream, _) in &mut streams {
        talk(stream).await;
    }
    until("nobody listens", || std::net::TcpStream::connect(listen).is_err()).await;
    for (stream, _) in &mut streams {
        talk(stream).await;
    }
}

#[tokio::test]
async fn a_service_that_moves_keeps_what_is_known_of_it() {
    let backends = [Backend::named(0).await, Backend::named(1).await];
    let [a, b] = backends.each_ref().map(|backend| backend.address);
    let mut web = service("web", &[(a, 1), (b, 1)]);
    let l4 = run(web.clone()).await;
    l4.set_drained("web", a, true);
    let (mut stream, _) = reach(&l4).await;
    web.listen = vec![SocketAddr::from(([127, 0, 0, 2], 0)).into()];
    l4.replace(Settings { workers: Some(1), ..settings([web]) }).await.unwrap();
    assert_eq!(vip(&l4).ip().to_string(), "127.0.0.2");
    assert_eq!(names(&l4, 4).await, [1; 4]);
    let status = &l4.load().services[0];
    assert!(status.backends[0].drained);
    assert!(status.connections >= 1);
    talk(&mut stream).await;
}

#[tokio::test]
async fn connections_that_nobody_has_accepted_yet_survive_the_end_of_a_service() {
    let backend = Backend::named(7).await;
    let l4 = run(service("web", &[(backend.address, 1)])).await;
    let listen = vip(&l4);
    // All tasks share this thread: nothing is accepted before the next await.
    let connect = |_| std::net::TcpStream::connect(listen).unwrap();
    let waiting: Vec<_> = (0..10).map(connect).collect();
    l4.replace(settings([])).await.unwrap();
    for stream in waiting {
        stream.set_nonblocking(true).unwrap();
        let mut stream = TcpStream::from_std(stream).unwrap();
        assert_eq!(soon(stream.read_u8()).await.unwrap(), 7);
        talk(&mut stream).await;
    }
}

#[tokio::test]
async fn a_reload_that_cannot_listen_changes_nothing() {
    let backend = Backend::named(7).await;
    let web = service("web", &[(backend.address, 1)]);
    let l4 = run(web.clone()).await;
    let before = l4.load();
    let foreign = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut mail = service("mail", &[(backend.address, 1)]);
    mail.listen = vec![foreign.local_addr().unwrap().into()];
    let mut changed = web.clone();
    changed.capacity = Some(Capacity::Connections(5));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let log = Some(l4_settings::AccessLog { path: path.clone(), sample: 1.0 });
    let changed = Settings { access_log: log, ..settings([changed, mail.clone()]) };
    let error = l4.replace(changed).await.unwrap_err();
    let expected = format!("service `mail` cannot listen on {}: ", mail.listen[0]);
    assert!(error.to_string().starts_with(&expected), "{error}");
    assert_eq!(l4.load(), before);
    assert_eq!(reach(&l4).await.1, 7);
    assert!(!path.exists(), "nor is the access log another one");
}

#[tokio::test]
async fn a_reload_takes_no_address_from_another_process_that_shares_its_port() {
    let backend = Backend::named(7).await;
    let web = service("web", &[(backend.address, 1)]);
    let l4 = run(web.clone()).await;
    // Ours is at the same port of another address, and of another protocol.
    let taken = SocketAddr::from(([127, 0, 61, 9], vip(&l4).port()));
    for (protocol, kind) in [(Protocol::Tcp, Type::STREAM), (Protocol::Udp, Type::DGRAM)] {
        let foreign = Socket::new(Domain::IPV4, kind, None).unwrap();
        foreign.set_reuse_port(true).unwrap();
        foreign.bind(&taken.into()).unwrap();
        let mut other = service("other", &[(backend.address, 1)]);
        (other.listen, other.protocol) = (vec![taken.into()], protocol);
        let both = settings([web.clone(), other]);
        let error = l4.replace(both.clone()).await.expect_err("it would share the address");
        assert!(error.to_string().contains(&taken.to_string()), "{error}");
        drop(foreign);
        l4.replace(both).await.expect("nobody has it any more");
        l4.replace(settings([web.clone()])).await.unwrap();
    }
}

#[tokio::test]
async fn two_services_cannot_share_an_address_nor_take_it_from_another_process() {
    let backend = Backend::named(7).await;
    let l4 = run(service("web", &[(backend.address, 1)])).await;
    let mut other = service("other", &[(backend.address, 1)]);
    // As another process would: its sockets share their port too.
    other.listen = vec![vip(&l4).into()];
    assert!(start(settings([other.clone()])).await.is_err());
    l4.stop(Duration::ZERO).await;

    let mut twin = other.clone();
    twin.name = "twin".into();
    assert!(start(settings([other.clone(), twin])).await.is_err());
    start(settings([other])).await.expect("nobody listens there any more");
}

#[tokio::test]
async fn an_order_to_stop_waits_for_connections() {
    let backend = Backend::named(7).await;
    let l4 = run(service("web", &[(backend.address, 1)])).await;
    let listen = vip(&l4);
    let (mut stream, _) = reach(&l4).await;
    let stop = tokio::spawn({
        let l4 = l4.clone();
        async move { l4.stop(SOON).await }
    });
    until("nobody listens", || std::net::TcpStream::connect(listen).is_err()).await;
    talk(&mut stream).await;
    assert!(!stop.is_finished());
    drop(stream);
    soon(stop).await.unwrap();
}

#[tokio::test]
async fn connections_that_outlive_the_grace_are_reset() {
    let backend = Backend::named(7).await;
    let l4 = run(service("web", &[(backend.address, 1)])).await;
    let (mut stream, _) = reach(&l4).await;
    soon(l4.stop(Duration::from_millis(50))).await;
    assert_reset(&mut stream).await;
}

#[tokio::test]
async fn a_forwarder_that_nobody_holds_stops_to_listen() {
    let backend = Backend::named(7).await;
    let l4 = run(service("web", &[(backend.address, 1)])).await;
    let listen = vip(&l4);
    drop(l4);
    until("nobody listens", || std::net::TcpStream::connect(listen).is_err()).await;
}

#[tokio::test]
async fn a_service_that_is_added_does_not_listen_before_its_backends_are_checked() {
    let (hole, backend) = (BlackHole::new(), Backend::named(7).await);
    let web = service("web", &[(backend.address, 1)]);
    let l4 = run(web.clone()).await;
    let mut added = service("added", &[(hole.address, 1), (backend.address, 1)]);
    // The first check of the one that does not answer lasts as long as it may.
    added.check = tcp_check(Duration::from_secs(1));
    let listen = SocketAddr::from(([127, 0, 0, 1], *free_ports(1).start()));
    added.listen = vec![listen.into()];
    let began = Instant::now();
    let replace = tokio::spawn({
        let l4 = l4.clone();
        async move { l4.replace(settings([web, added])).await }
    });
    while TcpStream::connect(listen).await.is_err() && !replace.is_finished() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(began.elapsed() >= Duration::from_secs(1), "it listens after {:?}", began.elapsed());
    soon(replace).await.unwrap().unwrap();
    let mut stream = soon(TcpStream::connect(listen)).await.unwrap();
    assert_eq!(soon(stream.read_u8()).await.unwrap(), 7);
    let up: Vec<bool> = l4.load().services[1].backends.iter().map(|backend| backend.up).collect();
    assert_eq!(up, [false, true]);
}

#[tokio::test]
async fn a_reload_is_refused_that_wants_what_the_process_may_not() {
    let backend = Backend::named(7).await;
    let mut web = service("web", &[(backend.address, 1)]);
    let l4 = run(web.clone()).await;
    // Of this thread alone, on which everything but the carrying is done.
    let mut mine = capabilities(None).unwrap();
    mine.effective -= CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW;
    set_capabilities(None, mine).unwrap();
    web.transparent = true;
    let error = l4.replace(settings([web])).await.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("service `web`: `transparent` needs"), "{text}");
    reach(&l4).await;
}
