//! Both sides in one process.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::*;

fn door() -> (tempfile::TempDir, PathBuf, Door) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("portolan.sock");
    let door = Door::open(&path, &mut Inherited::default()).unwrap();
    (directory, path, door)
}

fn listener() -> (Name, SocketAddr, OwnedFd) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (Name::new(Use::L4Tcp, address), address, listener.into())
}

fn flows(all: u64) -> Flows {
    let backends = [(SocketAddr::from(([198, 51, 100, 1], 80)), all)].into();
    Flows { services: [("web".to_owned(), ServiceFlows { all, backends })].into() }
}

fn datagrams() -> OwnedFd {
    UdpSocket::bind("127.0.0.1:0").unwrap().into()
}

/// The new process has the sockets, the old one waits for it.
async fn offered(
    path: &Path,
    door: &Door,
    handed: Vec<Handed>,
) -> (Predecessor, Inherited, tokio::task::JoinHandle<Result<Ready, Failed>>) {
    let finding = {
        let path = path.to_owned();
        tokio::spawn(async move { Predecessor::find(&path).await })
    };
    let offering = tokio::spawn(offer(door.caller().await, handed));
    let (predecessor, inherited) = finding.await.unwrap().unwrap().expect("a server");
    (predecessor, inherited, offering)
}

#[tokio::test]
async fn every_socket_and_session_arrives_under_its_name_however_many() {
    let (_directory, path, door) = door();
    let count = 3 * line::MOST_DESCRIPTORS + 7;
    let (name, address, socket) = listener();
    let copies =
        (0..count).map(|_| Handed { name: name.clone(), socket: socket.try_clone().unwrap() });
    let handed = copies.chain([door.handed().unwrap()]).collect();
    let (predecessor, mut inherited, offering) = offered(&path, &door, handed).await;
    assert_eq!((predecessor.pid(), inherited.len()), (std::process::id(), count + 1));
    let listeners = inherited.take_listeners(&name);
    assert_eq!(listeners.len(), count);
    assert!(listeners.iter().all(|listener| listener.local_addr().unwrap() == address));

    let old = async {
        let ready = offering.await.unwrap().unwrap();
        let sessions = (0..count).map(|n| (json!({ "n": n }), datagrams())).collect();
        // The process before it, which still carries something.
        let (_teller, before) = Teller::pair(flows(3)).unwrap();
        let teller = ready.let_serve(sessions, flows(7), &[Arc::new(before)]).await.unwrap();
        ready.retired().await;
        teller
    };
    let new = async {
        let Turn::Serve(Passed { sessions, elders }) = predecessor.turn().await.unwrap() else {
            panic!("it is there")
        };
        let known: Vec<_> = elders.iter().map(Elder::flows).collect();
        assert_eq!(known, [flows(7), flows(3)]);
        let numbers: Vec<_> = sessions.iter().map(|(session, _)| session["n"].clone()).collect();
        assert_eq!(numbers, (0..count).collect::<Vec<_>>());
        predecessor.replaced().await.unwrap();
        elders
    };
    let (mut teller, elders) = tokio::join!(old, new);
    teller.tell(&flows(8)).await.unwrap();
    elders[0].hear().await.unwrap();
    assert_eq!(elders[0].flows(), flows(8));
    assert!(matches!(elders[1].hear().await, Err(Broken::Gone)), "its teller is gone");

    // The file is the new one's, which has the same socket.
    let mut again = Door::open(&path, &mut inherited).unwrap();
    door.leave();
    assert!(path.exists());
    again.keep();
    drop(again);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_new_process_that_goes_is_noticed_and_one_whose_old_one_goes_serves() {
    let (_directory, path, door) = door();
    let (predecessor, _, offering) = offered(&path, &door, Vec::new()).await;
    drop(predecessor);
    let failed = offering.await.unwrap().unwrap_err().to_string();
    assert!(failed.contains("the other process is gone"), "{failed}");

    let (predecessor, _, offering) = offered(&path, &door, Vec::new()).await;
    offering.abort();
    assert!(offering.await.unwrap_err().is_cancelled());
    assert!(matches!(predecessor.turn().await, Ok(Turn::Alone)));

    // At the last step it goes after all.
    let (predecessor, _, offering) = offered(&path, &door, Vec::new()).await;
    let old = async {
        offering.await.unwrap().unwrap().let_serve(Vec::new(), Flows::default(), &[]).await
    };
    let new = async {
        assert!(matches!(predecessor.turn().await, Ok(Turn::Serve(_))));
        drop(predecessor);
    };
    let (served, ()) = tokio::join!(old, new);
    assert!(served.is_err());
}

#[tokio::test]
async fn a_socket_that_is_not_what_its_name_says_is_not_taken() {
    let (name, address, socket) = listener();
    let elsewhere = Name::new(Use::L4Tcp, SocketAddr::from(([127, 0, 0, 1], 1)));
    let mut inherited = Inherited::new([
        Handed { name: name.clone(), socket: datagrams() },
        Handed { name: elsewhere.clone(), socket: socket.try_clone().unwrap() },
        Handed { name: Name::new(Use::DnsTcp, address), socket },
    ]);
    assert!(inherited.take_listeners(&name).is_empty());
    assert!(inherited.take_listeners(&elsewhere).is_empty());
    let mut of_the_dns = inherited.take_all(&[Use::DnsTcp, Use::DnsUdp]);
    assert_eq!((inherited.len(), of_the_dns.len()), (0, 1));
    assert_eq!(of_the_dns.take_listeners(&Name::new(Use::DnsTcp, address)).len(), 1);
}

#[tokio::test]
async fn what_a_crash_left_is_replaced_and_what_is_not_ours_is_not() {
    let (_directory, path, door) = door();
    let error = Door::open(&path, &mut Inherited::default()).unwrap_err().to_string();
    assert!(error.contains("serve --replace"), "{error}");
    // The file stays, nobody listens.
    door.leave();
    assert!(path.exists());
    assert!(Predecessor::find(&path).await.unwrap().is_none());
    let again = Door::open(&path, &mut Inherited::default()).unwrap();
    drop(again);
    assert!(!path.exists());
    assert!(Predecessor::find(&path).await.unwrap().is_none());
    std::fs::write(&path, "notes").unwrap();
    let error = Door::open(&path, &mut Inherited::default()).unwrap_err().to_string();
    assert!(error.contains("something else has that name"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "notes");
}

#[tokio::test]
async fn the_door_is_the_same_however_the_next_process_spells_its_path() {
    let (directory, path, door) = door();
    let spelled = directory.path().join("../").join(directory.path()).join("./portolan.sock");
    assert_ne!(spelled.display().to_string(), path.display().to_string());
    let mut inherited = Inherited::new([door.handed().unwrap()]);
    let mut next = Door::open(&spelled, &mut inherited).unwrap();
    next.keep();
    door.leave();
    let (caller, asked) = tokio::join!(next.caller(), tokio::net::UnixStream::connect(&path));
    assert!(asked.is_ok());
    drop((caller, next));
    assert!(!path.exists(), "it is its own");
}
