//! Places that are taken, who waits for one, and how long things may take.

use super::*;
use crate::l4::settings::WhenDown;

/// A forwarder with one backend, which takes so many connections at a time.
async fn narrow(places: u64) -> (L4, Backend) {
    let backend = Backend::named(7).await;
    let mut web = service("web", &[(backend.address, 1)]);
    web.backends[0].max_connections = Some(places);
    web.queue.timeout = SOON;
    (run(web).await, backend)
}

/// Connects, and returns when the connection waits for a place.
async fn line_up(l4: &L4) -> TcpStream {
    let before = l4.load().services[0].waiting;
    let stream = connect(l4).await;
    until("it waits", || l4.load().services[0].waiting > before).await;
    stream
}

async fn name_of(stream: &mut TcpStream) -> u8 {
    soon(stream.read_u8()).await.unwrap()
}

#[tokio::test]
async fn who_has_waited_longest_gets_the_next_place() {
    let (l4, _backend) = narrow(1).await;
    let (mut held, _) = reach(&l4).await;
    let mut waiting = Vec::new();
    for _ in 0..5 {
        waiting.push(line_up(&l4).await);
    }
    for mut next in waiting {
        assert_eq!(l4.load().services[0].connections, 1);
        talk(&mut held).await;
        drop(held);
        assert_eq!(name_of(&mut next).await, 7);
        held = next;
    }
    let status = &l4.load().services[0];
    assert_eq!((status.accepted_total, status.refused_total, status.waiting), (6, 0, 0));
}

#[tokio::test]
async fn what_a_client_said_while_it_waited_is_not_lost() {
    let (l4, _backend) = narrow(1).await;
    let (held, _) = reach(&l4).await;
    let mut waiting = line_up(&l4).await;
    waiting.write_all(b"hello").await.unwrap();
    waiting.shutdown().await.unwrap();
    drop(held);
    let mut heard = Vec::new();
    soon(waiting.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(heard, b"\x07hello");
}

#[tokio::test]
async fn no_more_wait_than_may() {
    let backend = Backend::named(7).await;
    let mut web = service("web", &[(backend.address, 1)]);
    web.max_connections = Some(1);
    web.queue.length = 2;
    web.queue.timeout = SOON;
    let l4 = run(web).await;
    let (held, _) = reach(&l4).await;
    let mut first = line_up(&l4).await;
    let second = line_up(&l4).await;
    assert_refused(&l4).await;
    // One goes, and leaves room for another.
    reset(second);
    until("it is gone", || l4.load().services[0].waiting == 1).await;
    let mut third = line_up(&l4).await;
    drop(held);
    assert_eq!(name_of(&mut first).await, 7);
    drop(first);
    assert_eq!(name_of(&mut third).await, 7);
    assert_eq!(l4.load().services[0].refused_total, 1);
}

#[tokio::test]
async fn nobody_waits_longer_than_one_may() {
    let backend = Backend::named(7).await;
    let mut web = service("web", &[(backend.address, 1)]);
    web.max_connections = Some(1);
    web.queue.timeout = Duration::from_millis(150);
    let l4 = run(web).await;
    let (mut held, _) = reach(&l4).await;
    let began = Instant::now();
    assert_refused(&l4).await;
    assert!(began.elapsed() >= Duration::from_millis(150));
    talk(&mut held).await;
    assert_eq!(l4.load().services[0].refused_total, 1);
}

#[tokio::test]
async fn those_that_wait_are_let_in_when_a_reload_makes_room() {
    let (l4, backend) = narrow(1).await;
    let mut streams = vec![reach(&l4).await.0];
    for _ in 0..4 {
        streams.push(line_up(&l4).await);
    }
    let mut wider = service("web", &[(backend.address, 1)]);
    wider.backends[0].max_connections = Some(4);
    wider.queue.timeout = SOON;
    l4.replace(settings([wider])).await.unwrap();
    for stream in &mut streams[1..4] {
        assert_eq!(name_of(stream).await, 7);
    }
    assert_eq!(l4.load().services[0].waiting, 1);
}

#[tokio::test]
async fn a_backend_that_comes_back_still_has_the_connections_that_it_had() {
    let backends = [Backend::named(0).await, Backend::named(1).await];
    let [a, b] = backends.each_ref().map(|backend| backend.address);
    let mut both = service("web", &[(a, 1), (b, 1)]);
    both.when_down = WhenDown::Reset;
    both.backends[0].max_connections = Some(1);
    let mut other = both.clone();
    other.backends.remove(0);
    let l4 = run(both.clone()).await;
    let mut held = loop {
        let (stream, name) = reach(&l4).await;
        if name == 0 {
            break stream;
        }
    };
    l4.replace(settings([other])).await.unwrap();
    until("the others have gone", || l4.load().services[0].backends[0].connections == 0).await;
    assert_eq!(l4.load().services[0].connections, 1);
    l4.replace(settings([both])).await.unwrap();
    assert_eq!(l4.load().services[0].backends[0].connections, 1);
    assert_eq!(names(&l4, 4).await, [1; 4], "it may have one, and has");
    talk(&mut held).await;
    l4.force("web", a, Some(false));
    assert_reset(&mut held).await;
    l4.force("web", a, None);
    until("it has a place again", || l4.load().services[0].backends[0].connections == 0).await;
    assert!(names(&l4, 4).await.contains(&0));
}

#[tokio::test]
async fn many_that_come_at_once_never_have_more_places_than_there_are() {
    let (l4, _backend) = narrow(3).await;
    let comes = |_| {
        let address = vip(&l4);
        tokio::spawn(async move {
            let mut stream = soon(TcpStream::connect(address)).await.unwrap();
            assert_eq!(name_of(&mut stream).await, 7);
            talk(&mut stream).await;
        })
    };
    let clients: Vec<_> = (0..200).map(comes).collect();
    while clients.iter().any(|client| !client.is_finished()) {
        assert!(l4.load().services[0].connections <= 4, "one may be counted for a moment, no more");
        tokio::task::yield_now().await;
    }
    for client in clients {
        client.await.unwrap();
    }
    until("all are over", || l4.load().services[0].connections == 0).await;
}

#[tokio::test]
async fn a_connection_ends_after_its_time_whatever_moves_on_it() {
    let backend = Backend::named(7).await;
    let mut web = service("web", &[(backend.address, 1)]);
    web.timeouts.total = Some(Duration::from_millis(300));
    let l4 = run(web).await;
    let began = Instant::now();
    let (mut stream, _) = reach(&l4).await;
    while stream.write_all(b"hello").await.is_ok() {
        assert!(began.elapsed() < SOON);
        if soon(stream.read(&mut [0; 5])).await.is_err() {
            break;
        }
    }
    assert!(began.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn connections_of_a_backend_that_goes_down_are_reset_where_that_is_wanted() {
    for when_down in [WhenDown::Reset, WhenDown::Keep] {
        let backends = [Backend::named(0).await, Backend::named(1).await];
        let mut web = service("web", &backends.each_ref().map(|backend| (backend.address, 1)));
        web.when_down = when_down;
        let l4 = run(web).await;
        let mut streams = [reach(&l4).await, reach(&l4).await];
        streams.sort_by_key(|(_, name)| *name);
        let [(mut dying, _), (mut other, _)] = streams;
        l4.force("web", backends[0].address, Some(false));
        match when_down {
            WhenDown::Reset => assert_reset(&mut dying).await,
            WhenDown::Keep => talk(&mut dying).await,
        }
        talk(&mut other).await;
    }
}

#[tokio::test]
async fn a_backend_that_cannot_be_asked_takes_nobodys_place() {
    let backend = Backend::named(7).await;
    // No connection is ever begun to a broadcast address.
    let never = SocketAddr::from(([127, 255, 255, 255], 9));
    let mut web = service("web", &[(never, 1), (backend.address, 1)]);
    web.max_connections = Some(1);
    web.queue.length = 0;
    let l4 = run(web).await;
    for _ in 0..2 {
        let (stream, name) = reach(&l4).await;
        assert_eq!(name, 7);
        drop(stream);
        until("it is over", || l4.load().services[0].connections == 0).await;
    }
    assert!(l4.load().services[0].backends[0].connect_failures_total > 0);
}

#[tokio::test]
async fn who_waits_for_a_place_that_is_not_free_lets_others_by_to_those_that_are() {
    let (closed, backend) = (Closed::new(), Backend::named(7).await);
    let mut web = service("web", &[(closed.address, 1), (backend.address, 1)]);
    for backend in &mut web.backends {
        backend.max_connections = Some(1);
    }
    web.queue.timeout = SOON;
    let l4 = run(web).await;
    // It is not left alone for being closed.
    l4.force("web", closed.address, Some(true));
    let (held, _) = reach(&l4).await;
    // These find one closed and the other full.
    let status = || l4.load().services[0].clone();
    let failures = || status().backends[0].connect_failures_total;
    let before = failures();
    let mut waiting = Vec::new();
    for number in 1..=3 {
        waiting.push(connect(&l4).await);
        let waits = || failures() == before + number && status().waiting == number;
        until("it has tried that one, and waits", waits).await;
    }
    // Now it listens.
    let _opened = closed.opens(8).await;
    let mut others = vec![connect(&l4).await];
    assert_eq!(name_of(&mut others[0]).await, 8);
    assert_eq!(status().waiting, 3);
    others.push(line_up(&l4).await);
    others.push(line_up(&l4).await);
    drop(held);
    // In the order in which they came, each where it can.
    assert_eq!(name_of(&mut waiting[0]).await, 7);
    others.remove(0);
    assert_eq!(name_of(&mut others[0]).await, 8);
    drop(waiting.remove(0));
    assert_eq!(name_of(&mut waiting[0]).await, 7);
    assert_eq!(status().waiting, 2);
}

#[tokio::test]
async fn to_wait_for_a_place_takes_no_time_from_connecting() {
    let (closed, backend) = (Closed::new(), Backend::named(7).await);
    let mut web = service("web", &[(closed.address, 1), (backend.address, 1)]);
    web.backends[1].max_connections = Some(1);
    web.queue.timeout = SOON;
    web.timeouts.connect = Duration::from_millis(200);
    let l4 = run(web).await;
    let (held, _) = reach(&l4).await;
    let mut waiting = line_up(&l4).await;
    assert!(l4.load().services[0].backends[0].connect_failures_total > 0, "it tried that one");
    let began = Instant::now();
    until("a few attempts' time is over", || began.elapsed() > Duration::from_millis(700)).await;
    drop(held);
    assert_eq!(name_of(&mut waiting).await, 7);
}
