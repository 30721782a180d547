//! A worker that is not run: what it does with a connection, turn by turn.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;

use socket2::SockRef;

use super::*;
use crate::l4::backend::{Place, Shared};
use crate::l4::descriptors::Claim;
use crate::l4::flow::Flow;
use crate::l4::preface::Awaited;
use crate::l4::proxy::tcp::side::{READING, Side};
use crate::l4::settings::{Protocol, ServiceSettings};

/// A socket that can be filled with so many bytes, and its peer, which can be with some hundred
/// thousand.
fn pair(room: usize) -> (OwnedFd, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    for (socket, room) in [(&near, room), (&far, 1 << 20)] {
        socket.set_nonblocking(true).unwrap();
        SockRef::from(socket).set_send_buffer_size(room).unwrap();
    }
    (near.into(), far)
}

/// A worker that is not run.
fn worker() -> Worker {
    let mailbox = Arc::new(Mailbox::new().unwrap());
    Worker::new(0, mailbox, Arc::default(), Arc::default()).unwrap()
}

/// Someone who has come to a service just now.
fn comes(worker: &mut Worker, service: &Arc<Service>, client: OwnedFd) -> Key {
    let address = SocketAddr::from(([198, 51, 100, 7], 80));
    let flow = Flow { client: address, vip: address, protocol: Protocol::Tcp };
    let (claim, service) = (Claim::take(2).unwrap(), Arc::clone(service));
    let connection = |_| Connection::new(Side::client(client), claim, flow, service, 0);
    worker.connections.insert(connection)
}

fn service() -> Arc<Service> {
    Arc::new(Service::new("web".into(), Arc::default(), Arc::default()))
}

#[test]
fn of_those_that_say_nothing_the_first_makes_room_for_the_next() {
    let mut worker = worker();
    worker.hellos.most = 2;
    let service = service();
    let awaited = Awaited { proxy_header: true, server_name: false };
    let mut ends = Vec::new();
    let keys: Vec<Key> = (0..3)
        .map(|_| {
            let (client, end) = pair(1);
            ends.push(end);
            let key = comes(&mut worker, &service, client);
            worker.carried.begin();
            worker.begin(key, awaited);
            key
        })
        .collect();
    let is_there = |key: &Key| worker.connections.get_mut(*key).is_some();
    assert_eq!(keys.iter().map(is_there).collect::<Vec<_>>(), [false, true, true]);
    assert_eq!(service.status(Vec::new()).ended_total[&Cause::NoHello], 1);
}

#[test]
fn a_worker_that_begins_anew_has_ended_what_it_carried_and_works_on() {
    let (mut worker, service) = (worker(), service());
    let awaited = Awaited { proxy_header: true, server_name: false };
    let come = |worker: &mut Worker| {
        let (client, end) = pair(1);
        let key = comes(worker, &service, client);
        worker.carried.begin();
        worker.begin(key, awaited);
        (key, end)
    };
    let (key, mut end) = come(&mut worker);
    worker.resting.push(key);
    worker.seats.push((key, Arc::clone(&service)));
    worker.begin_anew();
    assert_eq!(end.read(&mut [0]).unwrap(), 0, "it is closed");
    let carried = |worker: &Worker| worker.carried.count.load(Ordering::Relaxed);
    assert_eq!((worker.connections.len(), carried(&worker)), (0, 0));
    assert!(worker.resting.is_empty() && worker.seats.is_empty());
    assert_eq!(worker.wheel.next(), None);
    let (key, _end) = come(&mut worker);
    assert_eq!((worker.connections.len(), carried(&worker)), (1, 1));
    assert!(worker.wheel.deadline(key.index).is_some());
    worker.close(key, Cause::Client);
    let ended = service.status(Vec::new()).ended_total;
    assert_eq!((ended[&Cause::Stopped], ended[&Cause::Client], carried(&worker)), (1, 1, 0));
}

/// Writes until nothing more fits.
fn fill(mut stream: &UnixStream) -> usize {
    let piece = vec![b'x'; BUFFER_BYTES];
    std::iter::from_fn(|| stream.write(&piece).ok()).sum()
}

#[test]
fn a_client_that_sends_for_ever_is_still_sent_what_it_takes_late() {
    let mut worker = worker();
    let address = SocketAddr::from(([198, 51, 100, 7], 80));
    let (client, mut client_end) = pair(1);
    let (backend, backend_end) = pair(1 << 20);
    let key = comes(&mut worker, &service(), client);
    let connection = worker.connections.get_mut(key).unwrap();
    let data = Token::Client(key).data();
    epoll::add(&worker.epoll, connection.client_socket(), data, READING).unwrap();
    let place = Arc::new(Backend::new(address, Arc::new(Shared::default()), false));
    let mut settings = ServiceSettings::new("web", Vec::new(), Vec::new());
    settings.splice = false;
    connection.ask(Side::backend(backend), Place::take_always(place), &settings, 0);
    connection.relay(0);
    connection.note_client(epoll::EventFlags::IN);
    connection.note_backend(epoll::EventFlags::IN);
    // More than a turn takes of the client, and more than the client has room for.
    assert!(fill(&client_end) > 17 * BUFFER_BYTES);
    assert!(fill(&backend_end) > BUFFER_BYTES);
    worker.go_on(key);
    assert_eq!(worker.resting, [key]);

    // What happened before has been seen.
    let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS);
    let now = Timespec::default();
    epoll::wait(&worker.epoll, spare_capacity(&mut events), Some(&now)).unwrap();
    events.clear();
    while client_end.read(&mut [0; BUFFER_BYTES]).is_ok() {}
    epoll::wait(&worker.epoll, spare_capacity(&mut events), Some(&now)).unwrap();
    let told = events.iter().any(|event| {
        let flags = event.flags;
        Token::read(event.data) == Token::Client(key) && flags.contains(epoll::EventFlags::OUT)
    });
    assert!(told, "there is room now");
}
