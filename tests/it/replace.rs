//! A process takes over from another: nothing that clients have sent is lost, and a new one that
//! fails on the way leaves the old one as it was.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::asker::Asker;
use crate::support::server::{Files, http_get};
use crate::support::{Server, until};

const ZONE: &str = "origin = \"example.com.\"\nrecords = \"\"\"\n\
    @ SOA ns1 hostmaster 1 2h 15m 2w 5m\n@ NS ns1\nns1 A 198.51.100.53\n\
    www A 203.0.113.1\n\"\"\"\n";

fn files(rest: &str) -> Files {
    Server::files(rest).zone("example.com.toml", ZONE)
}

#[track_caller]
fn until_ended(mut old: Child) {
    until("the old process ends", || old.try_wait().expect("a child").is_some());
}

fn overrides(server: &Server) -> usize {
    server.api("/api/v1/overrides").as_array().expect("a list").len()
}

/// What it says at its end, and its exit code.
fn ends(mut successor: Child, server: &Server) -> (String, Option<i32>) {
    let mut status = None;
    until("the new process ends", || {
        status = successor.try_wait().expect("a child");
        status.is_some()
    });
    (server.log(), status.and_then(|status| status.code()))
}

#[test]
fn not_one_query_is_lost_while_the_process_is_replaced_again_and_again() {
    let mut server = files("").start();
    let askers = [0; 4].map(|_| Asker::start(server.dns(), "www.example.com."));
    for round in 0..6 {
        let old = server.replace();
        assert_ne!(old.id(), server.pid());
        until_ended(old);
        assert!(server.is_running(), "round {round}: {}", server.log());
        askers.iter().for_each(|asker| asker.until_answered(20));
    }
    askers.into_iter().for_each(Asker::lost_none);
}

#[test]
fn overrides_and_the_control_socket_go_to_the_new_process() {
    let mut server = files("[datacenters.fra]\nlocation = { country = \"DE\" }\n").start();
    let socket = server.path("portolan.sock");
    let mode = || fs::metadata(&socket).expect("a socket").permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    let (text, code) = server.verb(&["drain", "datacenter/fra"]);
    assert_eq!(code, 0, "{text}");
    until_ended(server.replace());
    assert_eq!((overrides(&server), mode()), (1, 0o600));
    let (text, code) = server.verb(&["clear", "datacenter/fra"]);
    assert_eq!(code, 0, "{text}");
    until_ended(server.replace());
    assert_eq!(overrides(&server), 0);
    server.signal("TERM");
    until("the server has ended", || !server.is_running());
    assert!(!socket.exists(), "nobody is left to take over from");
}

#[test]
fn without_a_server_to_replace_one_is_started_and_after_a_crash_too() {
    let mut server = files("").start();
    server.kill();
    assert!(server.path("portolan.sock").exists(), "it had no time to clean up");
    let mut successor = server.successor();
    until("it serves", || http_get(server.admin(), "/healthz").is_some());
    assert!(server.log().contains("nothing to replace"), "{}", server.log());
    successor.kill().expect("it runs");
    successor.wait().expect("a child");
    server.restart();
}

/// Says back what it is told, to each who comes, until the test ends.
fn echo(listener: TcpListener) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            std::thread::spawn(move || {
                let mut bytes = [0; 1024];
                while let Ok(length @ 1..) = stream.read(&mut bytes) {
                    if stream.write_all(&bytes[..length]).is_err() {
                        break;
                    }
                }
            });
        }
    });
}

fn says_back(stream: &mut TcpStream, text: &[u8]) -> std::io::Result<()> {
    stream.write_all(text)?;
    let mut said = vec![0; text.len()];
    stream.read_exact(&mut said)?;
    assert_eq!(said, text);
    Ok(())
}

#[test]
fn no_connection_through_the_forwarder_is_lost_or_broken_by_a_replacement() {
    let files = files(
        "[[l4.services]]\nname = \"echo\"\nlisten = \"{net}.2:7000\"\n\
         backends = [{ address = \"{net}.3:7001\" }]\ncheck = { kind = \"tcp\", interval = \"1s\" }\n",
    );
    let (vip, backend) = (files.addresses().host(2), files.addresses().host(3));
    echo(TcpListener::bind((backend, 7001)).expect("an address of the test's"));
    let mut server = files.start();
    let connect = move || {
        let stream = TcpStream::connect((vip, 7000))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok::<_, std::io::Error>(stream)
    };
    let mut held = connect().expect("the VIP");
    says_back(&mut held, b"before").expect("an echo");
    let stop = Arc::new(AtomicBool::new(false));
    let good = Arc::new(AtomicUsize::new(0));
    let comers = [0; 3].map(|_| {
        let (stop, good) = (Arc::clone(&stop), Arc::clone(&good));
        std::thread::spawn(move || {
            let mut bad = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let said = connect().and_then(|mut stream| says_back(&mut stream, b"hello"));
                match said {
                    Ok(()) => _ = good.fetch_add(1, Ordering::Relaxed),
                    Err(error) => bad.push(error),
                }
            }
            bad
        })
    });
    let until_more_have_come = || {
        let before = good.load(Ordering::Relaxed);
        until("more have come", || good.load(Ordering::Relaxed) > before + 20);
    };
    let mut first = server.replace();
    says_back(&mut held, b"after").expect("an echo");
    let mut also_held = connect().expect("the VIP");
    says_back(&mut also_held, b"new").expect("an echo");
    let others = [0; 4].map(|_| {
        until_more_have_come();
        server.replace()
    });
    until_more_have_come();
    stop.store(true, Ordering::Relaxed);
    for comer in comers {
        let bad = comer.join().expect("comes to the end");
        assert!(bad.is_empty(), "{good:?} good, {bad:?}");
    }
    says_back(&mut held, b"still").expect("an echo");
    says_back(&mut also_held, b"still").expect("an echo");
    assert!(first.try_wait().expect("a child").is_none(), "it has a connection left");
    drop(held);
    until_ended(first);
    drop(also_held);
    others.into_iter().for_each(until_ended);
    until("no process has any", || server.api("/api/v1/l4")[0]["connections"] == 0);
}

#[test]
fn the_new_process_counts_what_those_before_it_carry_until_they_end() {
    let files = files(
        "[[l4.services]]\nname = \"echo\"\nlisten = \"{net}.2:7000\"\ncapacity = 4\n\
         max_connections = 4\nqueue = { length = 0 }\nbalance = \"least-connections\"\n\
         backends = [\n{ address = \"{net}.3:7001\", max_connections = 2 },\n\
         { address = \"{net}.4:7001\" },\n]\n",
    );
    let addresses = files.addresses();
    let host = |last| addresses.host(last);
    let vip = (host(2), 7000);
    for last in [3, 4] {
        echo(TcpListener::bind((host(last), 7001)).expect("an address of the test's"));
    }
    let mut server = files.start();
    let counts = |server: &Server| {
        let service = &server.api("/api/v1/l4")[0];
        let of = |one: &serde_json::Value| {
            ["connections", "connections_before"].map(|key| one[key].as_u64().expect("a number"))
        };
        [&service["backends"][0], &service["backends"][1], service].map(of)
    };
    let until_counts = |server: &Server, expected: [[u64; 2]; 3]| {
        until(&format!("{expected:?} are counted"), || counts(server) == expected);
    };
    let come = || {
        let mut stream = TcpStream::connect(vip).expect("the VIP");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket option");
        says_back(&mut stream, b"hello").map(|()| stream)
    };
    let mut held = vec![come().expect("a place"), come().expect("a place")];
    let first = server.replace();
    // Known from the first moment on, and told apart.
    assert_eq!(counts(&server), [[1, 1], [1, 1], [2, 2]]);
    let report = server.api("/api/v1/report");
    assert_eq!((&report["load"], &report["capacity"]), (&2.0.into(), &4.0.into()), "{report}");
    let (status, _) = server.verb(&["status"]);
    assert!(status.contains("2 of 4 connections, 2 of them in processes before"), "{status}");
    held.push(come().expect("a place"));
    held.push(come().expect("a place"));
    assert_eq!(counts(&server), [[2, 1], [2, 1], [4, 2]], "to those with the fewest of all");
    assert!(come().is_err(), "the service has as many as it may");

    // The process in between may end before the one that was first.
    let second = server.replace();
    assert_eq!(counts(&server), [[2, 2], [2, 2], [4, 4]]);
    assert!(come().is_err(), "the service has as many as it may");
    held.drain(2..).for_each(drop);
    until_ended(second);
    until_counts(&server, [[1, 1], [1, 1], [2, 2]]);
    let metrics = http_get(server.admin(), "/metrics").expect("an answer");
    let of = |last| format!("{{service=\"echo\",backend=\"{}:7001\"}} 1", host(last));
    assert!(metrics.contains(&("portolan_l4_connections_before".to_owned() + &of(3))), "{metrics}");
    held.push(come().expect("a place"));
    held.push(come().expect("a place"));
    assert!(come().is_err(), "the service has as many as it may");
    held.truncate(1);
    until_counts(&server, [[1, 1], [0, 0], [1, 1]]);
    // What becomes of a process that is killed: its connections end, too.
    let mut first = first;
    first.kill().expect("it runs");
    until_counts(&server, [[0, 0], [0, 0], [0, 0]]);
    first.wait().expect("a child");
}

#[test]
fn a_process_that_was_replaced_opens_its_access_log_again_when_it_or_its_successor_is_told_to() {
    let files = files(
        "[l4]\naccess_log = { path = \"access.log\" }\n\
         [[l4.services]]\nname = \"echo\"\nlisten = \"{net}.2:7000\"\n\
         backends = [{ address = \"{net}.3:7001\" }]\n",
    );
    let (vip, backend) = (files.addresses().host(2), files.addresses().host(3));
    echo(TcpListener::bind((backend, 7001)).expect("an address of the test's"));
    let mut server = files.start();
    let mut held = [(); 2].map(|()| TcpStream::connect((vip, 7000)).expect("the VIP"));
    held.iter_mut().for_each(|one| says_back(one, b"hello").expect("an echo"));
    let mut old = server.replace();
    let (log, pid) = (server.path("access.log"), old.id());
    let is_open = |log: &Path| {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("a process").flatten();
        open.flat_map(|one| fs::read_link(one.path())).any(|file| file == log)
    };
    for (round, held) in held.into_iter().enumerate() {
        assert!(is_open(&log));
        let moved = server.path(&format!("access.log.{round}"));
        fs::rename(&log, &moved).expect("a file");
        assert!(is_open(&moved));
        match round {
            0 => server.signal("HUP"),
            _ => assert!(signal(pid, "HUP")),
        }
        until("it lets go of the old file", || !is_open(&moved));
        drop(held);
        until("it writes there", || fs::read_to_string(&log).is_ok_and(|text| !text.is_empty()));
    }
    until("the old process ends", || old.try_wait().expect("a child").is_some());
}

fn signal(pid: u32, name: &str) -> bool {
    let sent = Command::new("kill").args(["-s", name, &pid.to_string()]).status();
    sent.expect("kill runs").success()
}

#[test]
fn sessions_of_datagrams_go_to_the_new_process_and_their_backend_notices_nothing() {
    let files = files(
        "[[l4.services]]\nname = \"datagrams\"\nprotocol = \"udp\"\nlisten = \"{net}.2:7000\"\n\
         backends = [{ address = \"{net}.3:7001\" }, { address = \"{net}.4:7001\" }]\n",
    );
    let host = |last| files.addresses().host(last);
    for last in [3, 4] {
        let backend = UdpSocket::bind((host(last), 7001)).expect("an address of the test's");
        std::thread::spawn(move || {
            let mut bytes = [0; 64];
            while let Ok((_, from)) = backend.recv_from(&mut bytes) {
                // By whom it is asked, and who answers.
                let said = format!("{last} {from}");
                let _ = backend.send_to(said.as_bytes(), from);
            }
        });
    }
    let vip = (host(2), 7000);
    let mut server = files.start();
    let clients: Vec<UdpSocket> = (0..8)
        .map(|_| {
            let client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            client.connect(vip).expect("a socket");
            client.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket option");
            client
        })
        .collect();
    let ask = |client: &UdpSocket| {
        let mut said = [0; 64];
        client.send(b"?").expect("it is sent");
        let length = client.recv(&mut said).expect("an answer");
        String::from_utf8_lossy(&said[..length]).into_owned()
    };
    let before: Vec<String> = clients.iter().map(ask).collect();
    for _ in 0..3 {
        // Some ask while it happens.
        let asking = std::thread::scope(|scope| {
            let asking = scope.spawn(|| (0..100).map(|_| ask(&clients[0])).collect::<Vec<_>>());
            until_ended(server.replace());
            asking.join().expect("asks to the end")
        });
        assert!(asking.iter().all(|said| *said == before[0]), "{asking:?}");
        assert_eq!(clients.iter().map(ask).collect::<Vec<_>>(), before);
    }
}

#[test]
fn a_bad_file_in_the_new_process_changes_nothing() {
    let mut server = files("").start();
    let asker = Asker::start(server.dns(), "www.example.com.");
    // A change of a file that cannot be read is refused by the old process as well.
    server.write("zones/example.com.toml", "origin = 7");
    let (log, code) = ends(server.successor(), &server);
    assert_eq!(code, Some(1), "{log}");
    assert!(server.is_running());
    server.write("zones/example.com.toml", ZONE);
    until_ended(server.replace());
    asker.until_answered(20);
    asker.lost_none();
}

#[test]
fn a_socket_that_cannot_be_had_leaves_the_old_process_serving() {
    let files = files("");
    let (taken, address) = (files.addresses().host(9), files.addresses().host(1));
    let mut server = files.start();
    let asker = Asker::start(server.dns(), "www.example.com.");
    let occupied = TcpListener::bind((taken, 5353)).expect("an address of the test's");
    let configuration = fs::read_to_string(server.path("portolan.toml")).expect("the file");
    let wider = configuration
        .replace(&format!("\"{address}:5353\""), &format!("\"{address}:5353\", \"{taken}:5353\""));
    assert_ne!(wider, configuration);
    server.write("portolan.toml", &wider);
    let (log, code) = ends(server.successor(), &server);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains(&format!("cannot listen on {taken}:5353")), "{log}");
    until("the old process notices", || server.log().contains("this process serves on"));
    assert!(server.is_running());
    drop(occupied);
    until_ended(server.replace());
    assert!(server.is_running());
    asker.until_answered(20);
    asker.lost_none();
}

#[test]
fn a_new_process_that_is_killed_in_the_middle_was_never_there() {
    let silent = files("");
    let address = silent.addresses().host(8);
    // It accepts, and says nothing: the first round of checks takes its time.
    let _silent = TcpListener::bind((address, 8080)).expect("an address of the test's");
    let mut server = silent
        .zone(
            "checked.toml",
            &format!(
                "origin = \"checked.example.\"\nrecords = \"@ SOA ns1 h 1 2h 15m 2w 5m\\n@ NS ns1\\n\
                 ns1 A 198.51.100.53\"\n[checks.slow]\nkind = \"http\"\nport = 8080\n\
                 interval = \"60s\"\ntimeout = \"2s\"\n\
                 [pools.web]\nsteer = \"nearest\"\ncheck = \"slow\"\n\
                 members = [{{ datacenter = \"fra\", addresses = [\"{address}\"] }}]\n\
                 [names.www]\npool = \"web\"\n"
            ),
        )
        .replacing("portolan.toml", "[admin]", "[datacenters.fra]\nlocation = { country = \"DE\" }\n[admin]")
        .start();
    let asker = Asker::start(server.dns(), "www.example.com.");
    let mut successor = server.successor();
    until("the new process has the sockets", || server.log().contains("taking over"));
    let second = server.successor();
    let (log, code) = ends(second, &server);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("another process is about to take over"), "{log}");
    successor.kill().expect("it runs");
    successor.wait().expect("a child");
    until("the old process notices", || server.log().contains("this process serves on"));
    assert!(server.is_running());
    until_ended(server.replace());
    asker.until_answered(100);
    asker.lost_none();
}

#[test]
fn noise_at_the_control_socket_is_answered_by_silence_and_harms_nobody() {
    let mut server = files("").start();
    let asker = Asker::start(server.dns(), "www.example.com.");
    for noise in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\xff\xff\xff\xff", b"\0\0\0\x02{}", b"\0\0"] {
        let mut stream = UnixStream::connect(server.path("portolan.sock")).expect("the socket");
        stream.write_all(noise).expect("it is heard");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket option");
        stream.shutdown(std::net::Shutdown::Write).expect("a socket");
        let mut said = Vec::new();
        // The end, or a reset: not all that it said was read.
        let _ = stream.read_to_end(&mut said);
        assert!(!String::from_utf8_lossy(&said).contains("sockets"), "{said:?}");
    }
    let mut stranger = UnixStream::connect(server.path("portolan.sock")).expect("the socket");
    let hello = br#"{"say":"hello","version":999,"pid":1}"#;
    stranger.write_all(&(hello.len() as u32).to_be_bytes()).expect("it is heard");
    stranger.write_all(hello).expect("it is heard");
    let mut said = Vec::new();
    stranger.read_to_end(&mut said).expect("an end");
    assert!(String::from_utf8_lossy(&said).contains("refused"), "{said:?}");
    until_ended(server.replace());
    asker.until_answered(10);
    asker.lost_none();
}
