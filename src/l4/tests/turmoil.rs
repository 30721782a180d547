//! Clients, backends and an operator who do anything at any time: every flow ends once, and nothing
//! of it is left.

use std::net::UdpSocket;

use tokio::task::JoinSet;

use super::*;
use crate::l4::settings::{HashOf, Protocol, Quic, WhenDown};

/// So often the operator does something.
const ROUNDS: usize = 12;
/// Flows that come meanwhile.
const CLIENTS: usize = 40;
/// On what nothing moves for this long is over.
const IDLE: Duration = Duration::from_millis(100);

/// Does with a connection what one may do, wise or not.
async fn misbehave(mut stream: TcpStream) {
    match fastrand::u8(..8) {
        0 => reset(stream),
        1 => drop(stream),
        2 => {
            let _ = stream.write_all(&[7; 300_000]).await;
            reset(stream);
        }
        3 => {
            let _ = stream.write_all(&[7; 300_000]).await;
            let _ = stream.shutdown().await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
        4 => {
            let _ = SockRef::from(&stream).send_out_of_band(b"!");
            let _ = stream.write_all(b"hello").await;
        }
        // It reads nothing, and says nothing more.
        5 => {
            let _ = stream.write_all(b"hello").await;
            tokio::time::sleep(IDLE * 2).await;
        }
        _ => echo(stream).await,
    }
}

async fn come(vip: SocketAddr) {
    if let Ok(stream) = TcpStream::connect(vip).await {
        misbehave(stream).await;
    }
}

/// Settings that may be: some backends, with limits or without.
fn any_of(all: &ServiceSettings) -> ServiceSettings {
    let mut any = all.clone();
    any.backends.retain(|_| fastrand::u8(..4) > 0);
    if any.backends.is_empty() {
        any.backends = all.backends.clone();
    }
    for backend in &mut any.backends {
        backend.weight = fastrand::u32(..3);
        backend.backup = fastrand::u8(..4) == 0;
        backend.max_connections = fastrand::bool().then(|| fastrand::u64(1..12));
    }
    any.max_connections = fastrand::bool().then(|| fastrand::u64(1..30));
    any.queue.length = fastrand::u64(..20);
    any.splice = fastrand::bool();
    any.when_down = if fastrand::bool() { WhenDown::Reset } else { WhenDown::Keep };
    any.balance = match fastrand::u8(..5) {
        0 => Balance::RoundRobin,
        1 => Balance::LeastConnections,
        2 => Balance::TwoChoices,
        3 => Balance::Hash { of: HashOf::FourTuple },
        _ => Balance::BoundedHash { of: HashOf::Source, factor: 1.25 },
    };
    any
}

/// The operator does something.
async fn operate(l4: &L4, all: &ServiceSettings) {
    let backend = fastrand::choice(&all.backends).unwrap().address;
    // One that is not there at the moment is told nothing.
    match fastrand::u8(..4) {
        0 => l4.set_drained(&all.name, backend, fastrand::bool()),
        1 => l4.force(
            &all.name,
            backend,
            fastrand::choice([None, Some(true), Some(false)]).flatten(),
        ),
        _ => {
            let workers = Some(fastrand::usize(1..4));
            let any = Settings { workers, ..settings([any_of(all)]) };
            l4.replace(any).await.unwrap();
        }
    }
}

/// Everything has ended, once; and there is room for as many as before.
async fn assert_nothing_is_left(l4: &L4, all: &ServiceSettings) {
    let mut narrow = all.clone();
    for backend in &narrow.backends {
        l4.set_drained(&all.name, backend.address, false);
        l4.force(&all.name, backend.address, None);
    }
    (narrow.max_connections, narrow.queue.length) = (Some(1), 0);
    l4.replace(settings([narrow.clone()])).await.unwrap();
    until("all flows have ended, once", || {
        let status = &l4.load().services[0];
        let ended = status.ended_total.values().sum::<u64>();
        (status.connections, status.waiting, ended) == (0, 0, status.accepted_total)
    })
    .await;
    let backends = &l4.load().services[0].backends;
    assert!(backends.iter().all(|backend| backend.connections == 0), "{backends:?}");
    let explained = l4.explain(&all.name, ([127, 0, 0, 1], 1).into(), None, None).unwrap();
    let choice = explained.choice.unwrap();
    assert!(choice.backend.is_some(), "there is a place for one: {choice:?}");
}

#[tokio::test]
async fn whatever_happens_to_connections_each_ends_once_and_leaves_nothing() {
    fastrand::seed(4);
    let backends = [
        Backend::start(misbehave).await,
        Backend::start(misbehave).await,
        Backend::start(echo).await,
    ];
    let closed = Closed::new();
    let addresses = backends.iter().map(|one| one.address).chain([closed.address]);
    let mut all = service("name", &addresses.map(|one| (one, 1)).collect::<Vec<_>>());
    all.timeouts.idle = IDLE;
    all.timeouts.connect = IDLE;
    all.queue.timeout = IDLE / 2;
    let l4 = run(all.clone()).await;
    let vip = vip(&l4);
    all.listen = vec![vip.into()];
    for _ in 0..ROUNDS {
        let mut clients: JoinSet<()> = (0..CLIENTS).map(|_| come(vip)).collect();
        tokio::task::yield_now().await;
        operate(&l4, &all).await;
        soon(async { while clients.join_next().await.is_some() {} }).await;
    }
    assert_nothing_is_left(&l4, &all).await;
}

#[tokio::test]
async fn whatever_happens_to_sessions_each_ends_once_and_leaves_nothing() {
    fastrand::seed(4);
    // Two that hear and say nothing, one that answers, one that is not there.
    let silent = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    let answering = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    // It hears nobody but itself, so that nobody is at its address for others.
    let absent = UdpSocket::bind("127.0.0.1:0").unwrap();
    absent.connect(absent.local_addr().unwrap()).unwrap();
    let mut addresses: Vec<SocketAddr> =
        silent.iter().map(|one| one.local_addr().unwrap()).collect();
    addresses.extend([answering.local_addr().unwrap(), absent.local_addr().unwrap()]);
    let answers = tokio::spawn(async move {
        let mut packet = [0; 100];
        while let Ok((length, from)) = answering.recv_from(&mut packet).await {
            let _ = answering.send_to(&packet[..length], from).await;
        }
    });
    let mut all = service("name", &addresses.iter().map(|one| (*one, 1)).collect::<Vec<_>>());
    (all.protocol, all.quic) = (Protocol::Udp, Some(Quic { server_id_bytes: 1 }));
    all.timeouts.idle = IDLE;
    for (backend, id) in all.backends.iter_mut().zip(0..) {
        backend.server_id = Some([id].into());
    }
    let l4 = run(all.clone()).await;
    let vip = vip(&l4);
    all.listen = vec![vip.into()];
    let clients: Vec<UdpSocket> =
        (0..CLIENTS).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    for _ in 0..ROUNDS {
        for client in &clients {
            let server = fastrand::u8(..6);
            let _ = client.send_to(&[0x40, 0, server, 1, 2, 3], vip);
        }
        tokio::task::yield_now().await;
        operate(&l4, &all).await;
        if fastrand::u8(..3) == 0 {
            // Another process wants them, and then does not.
            drop(l4.lend().await);
            l4.take_back();
        }
    }
    assert_nothing_is_left(&l4, &all).await;
    answers.abort();
}
