//! What two peers see of each other through the forwarder.

use std::io::Write;

use super::*;

/// Longer than what the kernel's buffers of four sockets take.
const LONG: usize = 32 << 20;

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|index| (index * 31 % 251) as u8).collect()
}

/// A forwarder with one backend, a client, and the backend's end of its connection.
async fn pair(idle: Duration) -> (L4, TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut service = service("web", &[(listener.local_addr().unwrap(), 1)]);
    service.timeouts.idle = idle;
    let l4 = run(service).await;
    let client = connect(&l4).await;
    let (backend, _) = soon(listener.accept()).await.unwrap();
    (l4, client, backend)
}

const LONG_IDLE: Duration = Duration::from_secs(60);

async fn until_over(l4: &L4) {
    until("the connection is over", || l4.load().services[0].connections == 0).await;
}

#[tokio::test]
async fn a_client_that_has_said_all_still_hears_the_answer() {
    let (l4, mut client, mut backend) = pair(LONG_IDLE).await;
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    let mut heard = Vec::new();
    soon(backend.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(heard, b"question");
    backend.write_all(b"answer").await.unwrap();
    drop(backend);
    heard.clear();
    soon(client.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(heard, b"answer");
    until_over(&l4).await;
}

#[tokio::test]
async fn a_backend_that_has_said_all_still_hears_the_client() {
    let (l4, mut client, mut backend) = pair(LONG_IDLE).await;
    backend.write_all(b"all there is").await.unwrap();
    backend.shutdown().await.unwrap();
    let mut heard = Vec::new();
    soon(client.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(heard, b"all there is");
    client.write_all(b"thanks").await.unwrap();
    client.shutdown().await.unwrap();
    heard.clear();
    soon(backend.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(heard, b"thanks");
    until_over(&l4).await;
    let status = &l4.load().services[0].backends[0];
    assert_eq!((status.bytes_to_client_total, status.bytes_to_backend_total), (12, 6));
}

#[tokio::test]
async fn much_goes_both_ways_at_once_unchanged() {
    for splice in [true, false] {
        let backend = Backend::start(echo).await;
        let mut web = service("web", &[(backend.address, 1)]);
        web.splice = splice;
        let l4 = run(web).await;
        let (mut from, mut to) = connect(&l4).await.into_split();
        let sent = bytes(LONG);
        let expected = sent.clone();
        let send = tokio::spawn(async move {
            to.write_all(&sent).await.unwrap();
            to.shutdown().await.unwrap();
        });
        let mut heard = Vec::new();
        soon(from.read_to_end(&mut heard)).await.unwrap();
        send.await.unwrap();
        assert!(heard == expected, "{} bytes of {}", heard.len(), expected.len());
        until_over(&l4).await;
        let status = &l4.load().services[0].backends[0];
        let long = LONG as u64;
        assert_eq!((status.bytes_to_client_total, status.bytes_to_backend_total), (long, long));
    }
}

#[tokio::test]
async fn nothing_is_lost_at_a_byte_that_is_marked_urgent() {
    let (l4, client, mut backend) = pair(LONG_IDLE).await;
    let (mut from, to) = (backend.split().0, client.into_std().unwrap());
    to.set_nonblocking(false).unwrap();
    let long = bytes(3 << 20);
    let mut expected = [&long[..], &b"beforeafter".repeat(50)].concat();
    expected.retain(|&byte| byte != b'!');
    let sending = std::thread::spawn(move || {
        // What is long is spliced.
        (&to).write_all(&long).unwrap();
        for _ in 0..50 {
            (&to).write_all(b"before").unwrap();
            SockRef::from(&to).send_out_of_band(b"!").unwrap();
            (&to).write_all(b"after").unwrap();
        }
        to.shutdown(std::net::Shutdown::Write).unwrap();
        to
    });
    let mut heard = Vec::new();
    soon(from.read_to_end(&mut heard)).await.unwrap();
    sending.join().unwrap();
    // Of marks that follow each other, the earlier become bytes like others.
    heard.retain(|&byte| byte != b'!');
    assert!(heard == expected, "{} bytes of {}", heard.len(), expected.len());
    drop(l4);
}

#[tokio::test]
async fn a_reset_is_seen_of_a_client_that_had_said_all() {
    let (l4, mut client, mut backend) = pair(LONG_IDLE).await;
    client.shutdown().await.unwrap();
    assert_eq!(end(&mut backend).await.unwrap(), 0);
    reset(client);
    until_over(&l4).await;
    until("the backend knows", || backend.try_write(b"more").is_err()).await;
}

#[tokio::test]
async fn a_reset_of_the_client_is_one_for_the_backend() {
    let (l4, client, mut backend) = pair(LONG_IDLE).await;
    reset(client);
    assert_reset(&mut backend).await;
    until_over(&l4).await;
}

#[tokio::test]
async fn a_reset_of_the_backend_is_one_for_the_client() {
    let (l4, mut client, backend) = pair(LONG_IDLE).await;
    reset(backend);
    assert_reset(&mut client).await;
    until_over(&l4).await;
}

#[tokio::test]
async fn a_reset_is_seen_while_the_other_side_reads_nothing() {
    let (l4, mut client, backend) = pair(LONG_IDLE).await;
    let sent = bytes(LONG);
    let mut written = 0;
    // Until all buffers are full.
    while let Ok(Ok(bytes)) =
        tokio::time::timeout(Duration::from_millis(300), client.write(&sent)).await
    {
        written += bytes;
    }
    assert!(written > 0);
    reset(client);
    until_over(&l4).await;
    drop(backend);
}

#[tokio::test]
async fn what_a_side_said_before_it_broke_is_passed_on() {
    // Which direction the forwarder looks at first depends on how often it has looked before.
    for earlier in 0..6 {
        let (_l4, mut client, mut backend) = pair(LONG_IDLE).await;
        for _ in 0..earlier {
            client.write_all(b".").await.unwrap();
            soon(backend.read_exact(&mut [0; 1])).await.unwrap();
        }
        // As a server does that refuses an upload: it answers, and closes with the rest unread,
        // while more comes.
        client.write_all(&bytes(100_000)).await.unwrap();
        soon(backend.read_exact(&mut [0; 10])).await.unwrap();
        assert_eq!(backend.try_write(b"too large").unwrap(), 9);
        drop(backend);
        // It may hear of the reset here already.
        let is_reset = client.try_write(b"more").is_err();
        let mut heard = [0; 9];
        soon(client.read_exact(&mut heard)).await.unwrap();
        assert_eq!(&heard, b"too large");
        assert!(is_reset || end(&mut client).await.is_err(), "no orderly end: not all was read");
    }
}

#[tokio::test]
async fn a_connection_on_which_nothing_moves_is_closed() {
    let (l4, mut client, mut backend) = pair(Duration::from_millis(150)).await;
    assert_reset(&mut client).await;
    assert_reset(&mut backend).await;
    until_over(&l4).await;
}

#[tokio::test]
async fn movement_one_way_keeps_a_connection() {
    let (_l4, mut client, mut backend) = pair(Duration::from_secs(2)).await;
    for _ in 0..10 {
        backend.write_all(b".").await.unwrap();
        soon(client.read_exact(&mut [0; 1])).await.unwrap();
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    drop(backend);
    assert_eq!(end(&mut client).await.unwrap(), 0);
}

#[tokio::test]
async fn a_thousand_connections_are_carried_at_once() {
    let backends = [Backend::named(0).await, Backend::named(1).await];
    let l4 = run(service("web", &backends.each_ref().map(|backend| (backend.address, 1)))).await;
    let mut streams = Vec::new();
    for _ in 0..1_000 {
        streams.push(reach(&l4).await.0);
    }
    let status = &l4.load().services[0];
    assert_eq!(status.connections, 1_000);
    assert_eq!(status.backends.iter().map(|b| b.connections).collect::<Vec<_>>(), [500, 500]);
    for stream in &mut streams {
        talk(stream).await;
    }
    drop(streams);
    until_over(&l4).await;
    assert_eq!(l4.load().services[0].accepted_total, 1_000);
}
