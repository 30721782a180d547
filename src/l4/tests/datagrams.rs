//! What is done with datagrams, and what with sessions.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use super::*;
use crate::handover::Inherited;
use crate::l4::prepare;
use crate::l4::settings::{Protocol, Quic, RateLimit};

/// A client waits no longer for what it knows will not come.
const NOT_COMING: Duration = Duration::from_millis(300);

/// A backend that answers each datagram with its name, the port it came from, and what was in it.
struct Answering {
    address: SocketAddr,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Answering {
    fn named(name: u8) -> Answering {
        Answering::at(name, "127.0.0.1:0".parse().unwrap())
    }

    fn at(name: u8, address: SocketAddr) -> Answering {
        let socket = UdpSocket::bind(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let address = socket.local_addr().unwrap();
        let ends = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&ends);
        let thread = std::thread::spawn(move || {
            let mut packet = vec![0; 65_535];
            while !over.load(Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut packet) else { continue };
                let mut answer = vec![name];
                answer.extend(from.port().to_be_bytes());
                answer.extend(&packet[..length]);
                let _ = socket.send_to(&answer, from);
            }
        });
        Answering { address, ends, thread: Some(thread) }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.ends.store(true, Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}

struct Client(UdpSocket);

/// What a backend said.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    name: u8,
    port: u16,
    packet: Vec<u8>,
}

impl Client {
    fn of(vip: SocketAddr) -> Client {
        let near = if vip.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
        let socket = UdpSocket::bind(near).unwrap();
        socket.connect(vip).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        Client(socket)
    }

    fn send(&self, packet: &[u8]) {
        self.0.send(packet).unwrap();
    }

    fn receive(&self) -> Option<Answer> {
        let mut packet = vec![0; 65_535];
        let length = self.0.recv(&mut packet).ok()?;
        let port = u16::from_be_bytes([packet[1], packet[2]]);
        Some(Answer { name: packet[0], port, packet: packet[3..length].to_vec() })
    }

    fn ask(&self, packet: &[u8]) -> Answer {
        self.send(packet);
        self.receive().expect("an answer")
    }

    /// The name of the backend that answers, once one does.
    fn asks_until(&self, mut is_right: impl FnMut(u8) -> bool) -> u8 {
        let deadline = Instant::now() + SOON;
        self.0.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        loop {
            assert!(Instant::now() < deadline, "the answer comes");
            self.send(b"?");
            if let Some(answer) = self.receive().filter(|answer| is_right(answer.name)) {
                return answer.name;
            }
        }
    }
}

fn udp(listen: &str, backends: &[&Answering]) -> ServiceSettings {
    let listen: SocketAddr = listen.parse().unwrap();
    let backends = backends.iter().map(|one| BackendSettings::new(one.address, 1)).collect();
    let mut service = ServiceSettings::new("name", vec![listen.into()], backends);
    service.protocol = Protocol::Udp;
    service
}

async fn run(service: ServiceSettings) -> (L4, SocketAddr) {
    let l4 = start(with_workers(service, 1)).await.unwrap();
    let listen = l4.load().services[0].listen[0].clone();
    (l4, SocketAddr::new(listen.addresses.addr(), *listen.ports.start()))
}

fn with_workers(service: ServiceSettings, workers: usize) -> Settings {
    Settings { workers: Some(workers), services: vec![service], ..Settings::default() }
}

fn sessions(l4: &L4) -> u64 {
    l4.load().services[0].connections
}

#[tokio::test]
async fn datagrams_go_to_a_backend_and_back_whatever_is_in_them() {
    for listen in ["127.0.0.1:0", "[::1]:0"] {
        let backend = Answering::named(b'a');
        let (l4, vip) = run(udp(listen, &[&backend])).await;
        let client = Client::of(vip);
        let long = vec![7; 60_000];
        let first = client.ask(b"hello");
        assert_eq!((first.name, &*first.packet), (b'a', &b"hello"[..]));
        for packet in [&b""[..], b"x", &long] {
            let answer = client.ask(packet);
            assert_eq!(answer.packet, packet);
            assert_eq!(answer.port, first.port, "one session, one socket");
        }
        let other = Client::of(vip).ask(b"");
        assert_ne!(other.port, first.port);
        assert_eq!(sessions(&l4), 2);
        let status = || l4.load().services[0].backends[0].clone();
        until("bytes are counted", || status().bytes_to_backend_total == 60_006).await;
        until("bytes are counted", || status().bytes_to_client_total == 60_006 + 5 * 3).await;
        assert_eq!(status().connections_total, 2);
    }
}

#[tokio::test]
async fn many_datagrams_at_once_arrive_in_order() {
    let backend = Answering::named(b'a');
    let (_l4, vip) = run(udp("127.0.0.1:0", &[&backend])).await;
    let clients: Vec<Client> = (0..5).map(|_| Client::of(vip)).collect();
    for round in 0..10u8 {
        for number in 0..20u8 {
            clients.iter().for_each(|client| client.send(&[round, number]));
        }
        for client in &clients {
            for number in 0..20u8 {
                assert_eq!(client.receive().unwrap().packet, [round, number]);
            }
        }
    }
}

#[tokio::test]
async fn datagrams_of_one_client_stay_apart_and_in_order_whatever_their_lengths() {
    let backend = Answering::named(b'a');
    let (_l4, vip) = run(udp("127.0.0.1:0", &[&backend])).await;
    let client = Client::of(vip);
    for round in 0..20 {
        let length = |number: usize| match round % 4 {
            0 => 1200,
            1 => 30 + number,
            2 => [1200, 1200, 1200, 7][number % 4],
            _ => [0, 1, 2_000][number % 3],
        };
        let packets: Vec<Vec<u8>> =
            (0..40).map(|number| vec![number as u8; length(number)]).collect();
        packets.iter().for_each(|packet| client.send(packet));
        for packet in &packets {
            let heard = client.receive().unwrap().packet;
            assert!(heard == *packet, "round {round}: {} bytes, not {}", heard.len(), packet.len());
        }
    }
}

#[tokio::test]
async fn on_a_wildcard_address_replies_come_from_the_address_that_was_asked() {
    for (listen, asked) in [("0.0.0.0:0", ["127.0.61.1", "127.0.61.2"]), ("[::]:0", ["::1", "::1"])]
    {
        let backend = Answering::named(b'a');
        let (l4, vip) = run(udp(listen, &[&backend])).await;
        for asked in asked {
            // A connected socket takes nothing from elsewhere.
            let client = Client::of(SocketAddr::new(asked.parse().unwrap(), vip.port()));
            assert_eq!(client.ask(b"hello").packet, b"hello");
        }
        assert_eq!(sessions(&l4), 2);
    }
}

#[tokio::test]
async fn a_client_has_a_session_for_each_vip() {
    let backend = Answering::named(b'a');
    let (l4, vip) = run(udp("0.0.0.0:0", &[&backend])).await;
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(SOON)).unwrap();
    for asked in ["127.0.61.3", "127.0.61.4", "127.0.61.3"] {
        let asked = SocketAddr::new(asked.parse().unwrap(), vip.port());
        client.send_to(b"hello", asked).unwrap();
        let (_, from) = client.recv_from(&mut [0; 99]).unwrap();
        assert_eq!(from, asked);
    }
    assert_eq!(sessions(&l4), 2);
}

#[tokio::test]
async fn an_idle_session_ends_and_one_that_is_used_does_not() {
    let backend = Answering::named(b'a');
    let mut service = udp("127.0.0.1:0", &[&backend]);
    service.timeouts.idle = Duration::from_secs(2);
    let (l4, vip) = run(service).await;
    let (idle, busy) = (Client::of(vip), Client::of(vip));
    let port = busy.ask(b"").port;
    idle.ask(b"");
    assert_eq!(sessions(&l4), 2);
    let begin = Instant::now();
    while sessions(&l4) > 1 {
        assert!(begin.elapsed() < SOON);
        assert_eq!(busy.ask(b"").port, port);
    }
    assert!(begin.elapsed() >= Duration::from_millis(1500), "{:?}", begin.elapsed());
    assert_eq!(busy.ask(b"").port, port);
    until("the other ends too", || sessions(&l4) == 0).await;
}

#[tokio::test]
async fn beyond_the_most_sessions_the_one_that_was_used_least_recently_makes_room() {
    let backend = Answering::named(b'a');
    let mut service = udp("127.0.0.1:0", &[&backend]);
    service.max_connections = Some(3);
    let (l4, vip) = run(service).await;
    let clients: Vec<Client> = (0..3).map(|_| Client::of(vip)).collect();
    let ports: Vec<u16> = clients.iter().map(|client| client.ask(b"").port).collect();
    assert_eq!(clients[0].ask(b"").port, ports[0]);
    Client::of(vip).ask(b"");
    assert_eq!(sessions(&l4), 3);
    assert_eq!(clients[0].ask(b"").port, ports[0], "was used");
    assert_eq!(clients[2].ask(b"").port, ports[2], "was used");
    assert_ne!(clients[1].ask(b"").port, ports[1], "comes as if new");
    for _ in 0..300 {
        Client::of(vip).send(b"");
    }
    until("they all come", || l4.load().services[0].accepted_total >= 305).await;
    assert_eq!(sessions(&l4), 3);
}

#[tokio::test]
async fn the_oldest_session_of_all_workers_makes_room_for_a_new_one() {
    let backend = Answering::named(b'a');
    let mut service = udp("127.0.0.1:0", &[&backend]);
    service.max_connections = Some(3);
    let l4 = start(with_workers(service, 4)).await.unwrap();
    let vip = super::vip(&l4);
    let are_three = || sessions(&l4) == 3;
    let mut clients: Vec<(Client, u16)> = Vec::new();
    for number in 0..12 {
        let client = Client::of(vip);
        let port = client.ask(b"").port;
        clients.push((client, port));
        if number >= 3 {
            until("there are no more than may be", are_three).await;
        }
        // Each comes by any of the workers; in turn, they are used, and the fourth is too many.
        for (client, port) in clients.iter().rev().take(3).rev() {
            assert_eq!(client.ask(b"").port, *port, "{number}: it goes on");
        }
    }
    let (first, port) = &clients[0];
    assert_ne!(first.ask(b"").port, *port, "comes as if new");
    until("there are no more than may be", are_three).await;
    assert_eq!(clients[11].0.ask(b"").port, clients[11].1);
    let status = l4.load().services[0].clone();
    assert_eq!((status.refused_total, status.accepted_total), (0, 13));
    assert_eq!(status.ended_total[&crate::l4::ending::Cause::Displaced], 10);
}

#[tokio::test]
async fn where_every_backend_is_full_a_new_session_has_the_place_of_another() {
    let backend = Answering::named(b'a');
    let mut service = udp("127.0.0.1:0", &[&backend]);
    service.backends[0].max_connections = Some(64);
    let l4 = start(with_workers(service, 4)).await.unwrap();
    let vip = super::vip(&l4);
    // So many that every worker has some, and then each is one too many.
    let clients: Vec<Client> = (0..64 + 40).map(|_| Client::of(vip)).collect();
    clients.iter().for_each(|client| drop(client.ask(b"")));
    let status = l4.load().services[0].clone();
    assert_eq!((status.connections, status.accepted_total, status.refused_total), (64, 104, 0));
    assert_eq!(status.ended_total[&crate::l4::ending::Cause::Displaced], 40, "one for each");
}

#[tokio::test]
async fn what_a_full_socket_drops_is_counted() {
    let backend = Answering::named(b'a');
    let service = udp("127.0.0.1:0", &[&backend]);
    // Nothing is read yet.
    let l4 = prepare(with_workers(service, 1), &mut Inherited::default()).await.unwrap();
    let client = Client::of(super::vip(&l4));
    let dropped = || l4.load().services[0].dropped_total;
    assert_eq!(dropped(), 0);
    let packet = [7; 1_000];
    until("some are dropped", || {
        (0..1_000).for_each(|_| client.send(&packet));
        dropped() > 0
    })
    .await;
    l4.serve().unwrap();
    assert_eq!(client.ask(&packet).packet, packet);
}

#[tokio::test]
async fn a_session_whose_backend_refuses_goes_on_with_another_though_there_is_no_room_for_more() {
    let dead = Answering::named(b'd');
    let alive = Answering::named(b'a');
    let mut service = udp("127.0.0.1:0", &[&dead, &alive]);
    service.max_connections = Some(2);
    let (_l4, vip) = run(service).await;
    let clients = [Client::of(vip), Client::of(vip)];
    let names = clients.each_ref().map(|client| client.ask(b"").name);
    assert!(names.contains(&b'd') && names.contains(&b'a'));
    drop(dead);
    for client in &clients {
        client.asks_until(|name| name == b'a');
    }
}

#[tokio::test]
async fn a_session_whose_backend_refuses_goes_on_with_another() {
    let dead = Answering::named(b'd');
    let alive = Answering::named(b'a');
    let service = udp("127.0.0.1:0", &[&dead, &alive]);
    let (l4, vip) = run(service).await;
    let clients: Vec<Client> = (0..4).map(|_| Client::of(vip)).collect();
    let names: Vec<u8> = clients.iter().map(|client| client.ask(b"").name).collect();
    assert!(names.contains(&b'd') && names.contains(&b'a'));
    drop(dead);
    for client in &clients {
        client.asks_until(|name| name == b'a');
    }
    let status = l4.load().services[0].clone();
    assert!(status.backends[0].connect_failures_total > 0);
    assert_eq!(status.backends[0].connections, 0);
    assert_eq!(status.backends[1].connections, 4);
}

#[tokio::test]
async fn with_every_backend_refusing_a_session_waits_for_one_that_does_not() {
    let dead = Answering::named(b'a');
    let address = dead.address;
    let (_l4, vip) = run(udp("127.0.0.1:0", &[&dead])).await;
    let client = Client::of(vip);
    client.ask(b"");
    drop(dead);
    client.0.set_read_timeout(Some(NOT_COMING)).unwrap();
    client.send(b"");
    assert_eq!(client.receive(), None);
    let _back = Answering::at(b'b', address);
    client.asks_until(|name| name == b'b');
}

#[tokio::test]
async fn the_sessions_of_a_backend_that_is_down_go_on_with_others_and_come_back_for_nothing() {
    let one = Answering::named(b'a');
    let other = Answering::named(b'b');
    let (l4, vip) = run(udp("127.0.0.1:0", &[&one, &other])).await;
    let clients: Vec<Client> = (0..6).map(|_| Client::of(vip)).collect();
    clients.iter().for_each(|client| drop(client.ask(b"")));
    l4.force("name", one.address, Some(false));
    let backends = || l4.load().services[0].backends.clone();
    until("they are moved", || backends()[0].connections == 0).await;
    assert_eq!(backends()[1].connections, 6);
    clients.iter().for_each(|client| assert_eq!(client.ask(b"").name, b'b'));
    l4.force("name", one.address, None);
    clients.iter().for_each(|client| assert_eq!(client.ask(b"").name, b'b'));
}

#[tokio::test]
async fn a_drained_backend_keeps_its_sessions_and_gets_no_new_ones() {
    let one = Answering::named(b'a');
    let other = Answering::named(b'b');
    let (l4, vip) = run(udp("127.0.0.1:0", &[&one, &other])).await;
    let clients: Vec<Client> = (0..6).map(|_| Client::of(vip)).collect();
    let before: Vec<Answer> = clients.iter().map(|client| client.ask(b"")).collect();
    assert!(before.iter().any(|answer| answer.name == b'a'));
    l4.set_drained("name", one.address, true);
    for (client, before) in clients.iter().zip(&before) {
        assert_eq!(&client.ask(b""), before);
    }
    for _ in 0..6 {
        assert_eq!(Client::of(vip).ask(b"").name, b'b');
    }
}

#[tokio::test]
async fn a_reload_changes_no_session_unless_its_backend_is_gone_and_silent() {
    let one = Answering::named(b'a');
    let other = Answering::named(b'b');
    let service = udp("127.0.0.1:0", &[&one]);
    let (l4, vip) = run(service.clone()).await;
    let client = Client::of(vip);
    let before = client.ask(b"");
    let mut next = service.clone();
    next.backends.push(BackendSettings::new(other.address, 1));
    l4.replace(with_workers(next.clone(), 1)).await.unwrap();
    assert_eq!(client.ask(b""), before);
    next.backends.remove(0);
    l4.replace(with_workers(next, 1)).await.unwrap();
    assert_eq!(client.ask(b""), before, "it still answers");
    let address = one.address;
    drop(one);
    // It hears, but does not answer any more.
    let _mute = UdpSocket::bind(address).unwrap();
    client.asks_until(|name| name == b'b');
}

#[tokio::test]
async fn a_session_leaves_a_backend_that_has_come_back_and_is_down_now() {
    let (one, other) = (Answering::named(b'a'), Answering::named(b'b'));
    let both = udp("127.0.0.1:0", &[&one, &other]);
    let (l4, vip) = run(both.clone()).await;
    let clients = [Client::of(vip), Client::of(vip)];
    let client = clients.iter().find(|client| client.ask(b"").name == b'a').unwrap();
    let mut without = both.clone();
    without.backends.remove(0);
    for settings in [without, both] {
        l4.replace(with_workers(settings, 1)).await.unwrap();
    }
    // There is none to go to when it is known.
    for address in [other.address, one.address] {
        l4.force("name", address, Some(false));
    }
    assert_eq!(client.ask(b"").name, b'a');
    l4.force("name", other.address, None);
    client.asks_until(|name| name == b'b');
}

#[tokio::test]
async fn with_another_number_of_workers_nothing_is_lost() {
    let backend = Answering::named(b'a');
    let mut service = udp("127.0.0.1:0", &[&backend]);
    let (l4, vip) = run(service.clone()).await;
    service.listen = vec![vip.into()];
    let clients: Vec<Client> = (0..8).map(|_| Client::of(vip)).collect();
    for workers in [3, 2, 4, 1] {
        clients.iter().for_each(|client| client.send(b"before"));
        l4.replace(with_workers(service.clone(), workers)).await.unwrap();
        for client in &clients {
            assert_eq!(client.receive().unwrap().packet, b"before");
            assert_eq!(client.ask(b"after").packet, b"after");
        }
    }
}

/// Another process, as it were, which has the sockets of this one but serves nothing yet.
async fn successor(l4: &L4, service: &ServiceSettings, workers: usize) -> L4 {
    let mut inherited = Inherited::new(l4.handed().unwrap());
    prepare(with_workers(service.clone(), workers), &mut inherited).await.unwrap()
}

#[tokio::test]
async fn sessions_go_on_in_another_process_by_the_same_sockets() {
    for (before, after) in [(2, 2), (4, 3), (2, 4)] {
        sessions_go_on(before, after).await;
    }
}

async fn sessions_go_on(workers_before: usize, workers_after: usize) {
    let (one, other) = (Answering::named(b'a'), Answering::named(b'b'));
    let mut service = udp("127.0.0.1:0", &[&one, &other]);
    let old = start(with_workers(service.clone(), workers_before)).await.unwrap();
    let vip = super::vip(&old);
    service.listen = vec![vip.into()];
    let clients: Vec<Client> = (0..20).map(|_| Client::of(vip)).collect();
    let before: Vec<Answer> = clients.iter().map(|client| client.ask(b"hello")).collect();
    let new = successor(&old, &service, workers_after).await;
    let lent = old.lend().await;
    assert_eq!(lent.len(), 20);
    // What comes now waits for the other.
    clients.iter().for_each(|client| client.send(b"hello"));
    new.adopt(lent);
    new.serve().unwrap();
    old.retire().await;
    for (client, before) in clients.iter().zip(&before) {
        assert_eq!(client.receive().as_ref(), Some(before));
        assert_eq!(&client.ask(b"hello"), before);
    }
    assert_eq!(sessions(&new), 20);
    until("the old process has let go", || sessions(&old) == 0).await;
    old.stop(SOON).await;
    clients
        .iter()
        .zip(&before)
        .for_each(|(client, before)| assert_eq!(&client.ask(b"hello"), before));
}

#[tokio::test]
async fn sessions_that_another_process_does_not_take_go_on_here() {
    let backend = Answering::named(b'a');
    let service = udp("127.0.0.1:0", &[&backend]);
    let l4 = start(with_workers(service.clone(), 2)).await.unwrap();
    let clients: Vec<Client> = (0..20).map(|_| Client::of(super::vip(&l4))).collect();
    let before: Vec<Answer> = clients.iter().map(|client| client.ask(b"hello")).collect();
    let lent = l4.lend().await;
    clients.iter().for_each(|client| client.send(b"hello"));
    clients[0].0.set_read_timeout(Some(NOT_COMING)).unwrap();
    assert_eq!(clients[0].receive(), None, "nothing is read meanwhile");
    clients[0].0.set_read_timeout(Some(SOON)).unwrap();
    drop(lent);
    l4.take_back();
    for (client, before) in clients.iter().zip(&before) {
        assert_eq!(client.receive().as_ref(), Some(before));
        assert_eq!(&client.ask(b"hello"), before);
    }
    assert!(Client::of(super::vip(&l4)).ask(b"").name == b'a', "others come, too");
}

#[tokio::test]
async fn sessions_of_unknown_services_and_backends_are_let_go() {
    let (one, other) = (Answering::named(b'a'), Answering::named(b'b'));
    let mut service = udp("127.0.0.1:0", &[&one, &other]);
    let old = start(with_workers(service.clone(), 1)).await.unwrap();
    let vip = super::vip(&old);
    service.listen = vec![vip.into()];
    service.backends.remove(0);
    let clients: Vec<Client> = (0..4).map(|_| Client::of(vip)).collect();
    let before: Vec<Answer> = clients.iter().map(|client| client.ask(b"")).collect();
    let new = successor(&old, &service, 1).await;
    let mut lent = old.lend().await;
    lent.push(("not a session".into(), one_socket()));
    let mut strange = lent[0].0.clone();
    strange["service"] = "another".into();
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let stranded = stranger.local_addr().unwrap();
    lent.push((strange, stranger.into()));
    lent.push((lent[0].0.clone(), one_socket()));
    new.adopt(lent);
    new.serve().unwrap();
    old.retire().await;
    for (client, before) in clients.iter().zip(&before) {
        let answer = client.ask(b"");
        assert_eq!(answer.name, b'b');
        assert_eq!(answer.port == before.port, before.name == b'b');
    }
    assert_eq!(sessions(&new), 4);
    assert!(UdpSocket::bind(stranded).is_ok(), "its socket is closed");
}

fn one_socket() -> OwnedFd {
    UdpSocket::bind("127.0.0.1:0").unwrap().into()
}

#[tokio::test]
async fn who_is_denied_or_comes_too_fast_gets_no_session() {
    let backend = Answering::named(b'a');
    let mut service = udp("127.0.0.1:0", &[&backend]);
    service.access.deny = vec!["127.0.61.64/26".parse().unwrap()];
    service.rate_limit =
        Some(RateLimit { per_source: Some(0.001), total: None, burst_seconds: 3_000.0 });
    let (l4, vip) = run(service).await;
    let from = |address: &str| {
        let socket = UdpSocket::bind((address, 0)).unwrap();
        socket.connect(vip).unwrap();
        socket.set_read_timeout(Some(NOT_COMING)).unwrap();
        Client(socket)
    };
    let denied = from("127.0.61.65");
    denied.send(b"");
    assert_eq!(denied.receive(), None);
    let clients: Vec<Client> = (0..4).map(|_| from("127.0.61.1")).collect();
    clients.iter().for_each(|client| client.send(b""));
    let mut waiting: Vec<&Client> = clients.iter().collect();
    until("three are answered", || {
        waiting.retain(|client| client.receive().is_none());
        waiting.len() <= 1
    })
    .await;
    assert_eq!(waiting.len(), 1);
    until("the fourth is counted", || l4.load().services[0].limited_total == 1).await;
    let another = from("127.0.61.2");
    another.0.set_read_timeout(Some(SOON)).unwrap();
    assert_eq!(another.ask(b"").name, b'a', "another source");
    let status = l4.load().services[0].clone();
    assert_eq!((status.denied_total, status.limited_total), (1, 1));
    assert_eq!((status.accepted_total, status.connections), (4, 4));
}

#[tokio::test]
async fn who_claims_to_be_a_vip_gets_no_session() {
    for listens in [["127.0.61.9:0", "127.0.61.10:0"], ["0.0.0.0:0", "127.0.61.11:0"]] {
        let backend = Answering::named(b'a');
        let mut service = udp(listens[1], &[&backend]);
        service.listen.insert(0, listens[0].parse::<SocketAddr>().unwrap().into());
        let (l4, _) = run(service).await;
        let vips: Vec<SocketAddr> =
            l4.load().services[0].listen.iter().map(|listen| listen.single().unwrap()).collect();
        // What is sent from a VIP's own address, as if it were forged.
        let forged = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        forged.set_reuse_port(true).unwrap();
        forged.bind(&vips[1].into()).unwrap();
        forged.send_to(b"", &vips[0].into()).unwrap();
        forged.send_to(b"", &SocketAddr::new(vips[1].ip(), vips[0].port()).into()).unwrap();
        // Those came before this one.
        let asked = if vips[0].ip().is_unspecified() { vips[1].ip() } else { vips[0].ip() };
        Client::of(SocketAddr::new(asked, vips[0].port())).ask(b"");
        assert_eq!(sessions(&l4), 1);
    }
}

fn quic() -> (Vec<Answering>, ServiceSettings) {
    let backends: Vec<Answering> = (0..8).map(|number| Answering::named(b'a' + number)).collect();
    let mut service = udp("127.0.0.1:0", &backends.iter().collect::<Vec<_>>());
    service.quic = Some(Quic { server_id_bytes: 2 });
    for (number, backend) in service.backends.iter_mut().enumerate() {
        backend.server_id = Some([0xab, number as u8].into());
    }
    (backends, service)
}

/// A packet with a short header to the connection id of that server.
fn to_server(number: u8) -> [u8; 12] {
    [0x40, 0x07, 0xab, number, 1, 2, 3, 4, 5, 6, 7, 8]
}

/// A client's first packet, to a connection id that it has made up.
fn initial(made_up: [u8; 8]) -> Vec<u8> {
    [&[0xc3, 0, 0, 0, 1, 8][..], &made_up, &[0, 0, 0]].concat()
}

#[tokio::test]
async fn a_quic_client_that_changes_its_address_reaches_the_server_of_its_connection_id() {
    let (_backends, service) = quic();
    let (l4, vip) = run(service).await;
    for number in 0..8 {
        for _ in 0..3 {
            let client = Client::of(vip);
            assert_eq!(client.ask(&to_server(number)).name, b'a' + number);
        }
    }
    let client = Client::of(vip);
    let first = client.ask(&initial([0x17, 0xff, 0xff, 3, 4, 5, 6, 7]));
    let second = client.ask(&to_server(first.name - b'a'));
    assert_eq!((second.name, second.port), (first.name, first.port), "the same session");
    let before = sessions(&l4);
    let moved = Client::of(vip);
    assert_eq!(moved.ask(&to_server(first.name - b'a')).name, first.name);
    assert_eq!(sessions(&l4), before + 1);
}

#[tokio::test]
async fn a_client_with_connections_to_two_quic_servers_reaches_both() {
    let (_backends, service) = quic();
    let (_l4, vip) = run(service).await;
    let client = Client::of(vip);
    let ports: Vec<u16> = (2..5).map(|number| client.ask(&to_server(number)).port).collect();
    for _ in 0..3 {
        for (number, port) in (2..5).zip(&ports) {
            let answer = client.ask(&to_server(number));
            assert_eq!((answer.name, answer.port), (b'a' + number, *port));
        }
    }
}

#[tokio::test]
async fn a_clients_second_connection_goes_on_as_it_was_when_the_first_is_no_more() {
    let (_backends, mut service) = quic();
    service.max_connections = Some(2);
    let (_l4, vip) = run(service).await;
    let client = Client::of(vip);
    client.ask(&to_server(2));
    let second = client.ask(&to_server(3));
    // The oldest makes room for it.
    Client::of(vip).ask(&to_server(4));
    assert_eq!(client.ask(&to_server(3)).port, second.port);
}

#[tokio::test]
async fn a_connection_id_of_a_quic_server_that_is_down_or_unknown_goes_where_any_would() {
    let (_backends, service) = quic();
    let down = service.backends[5].address;
    let (l4, vip) = run(service).await;
    l4.force("name", down, Some(false));
    assert_ne!(Client::of(vip).ask(&to_server(5)).name, b'a' + 5);
    let client = Client::of(vip);
    let first = client.ask(&to_server(200));
    assert_eq!(client.ask(&to_server(201)).port, first.port);
    l4.force("name", down, None);
    l4.set_drained("name", down, true);
    assert_eq!(Client::of(vip).ask(&to_server(5)).name, b'a' + 5, "drained: its own still come");
}

#[tokio::test]
async fn to_stop_ends_all_sessions_soon_and_frees_the_address() {
    let backend = Answering::named(b'a');
    let (l4, vip) = run(udp("127.0.0.1:0", &[&backend])).await;
    Client::of(vip).ask(b"");
    let begin = Instant::now();
    l4.stop(Duration::from_secs(600)).await;
    assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
    drop(UdpSocket::bind(vip).unwrap());
}

#[tokio::test]
async fn a_service_that_is_gone_lets_go_of_its_address_and_sessions() {
    let backend = Answering::named(b'a');
    let (l4, vip) = run(udp("127.0.0.1:0", &[&backend])).await;
    Client::of(vip).ask(b"");
    l4.replace(Settings::default()).await.unwrap();
    until("the address is free", || UdpSocket::bind(vip).is_ok()).await;
}
