//! Backends that are added, removed, weighted and drained while the server runs: by the command
//! line and by the API, kept over a restart and a reload, and no connection touched.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::support::{Server, until};

/// Says which it is to each who comes, and then again for each byte it is sent.
fn backend(address: (Ipv4Addr, u16)) {
    let listener = TcpListener::bind(address).expect("an address of the test's");
    let name = address.0.octets()[3];
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            std::thread::spawn(move || {
                let mut byte = [0];
                while stream.write_all(&[name]).is_ok() {
                    if !matches!(stream.read(&mut byte), Ok(1)) {
                        break;
                    }
                }
            });
        }
    });
}

/// A connection, and which backend took it.
fn connect(vip: SocketAddr) -> std::io::Result<(TcpStream, u8)> {
    let mut stream = TcpStream::connect(vip)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut name = [0];
    stream.read_exact(&mut name)?;
    Ok((stream, name[0]))
}

fn says_again(stream: &mut TcpStream, name: u8) {
    let mut said = [0];
    stream.write_all(b"?").and_then(|()| stream.read_exact(&mut said)).expect("it stands");
    assert_eq!(said, [name]);
}

/// Which backends take so many new connections, each as often as it does.
fn taken_by(vip: SocketAddr, times: usize) -> Vec<(u8, usize)> {
    let mut counts = std::collections::BTreeMap::new();
    for _ in 0..times {
        let (_, name) = connect(vip).expect("a backend");
        *counts.entry(name).or_default() += 1;
    }
    counts.into_iter().collect()
}

fn addresses(server: &Server) -> Vec<String> {
    let services = server.api("/api/v1/l4");
    let backends = services[0]["backends"].as_array().expect("a list").iter();
    backends.map(|one| one["address"].as_str().expect("an address").to_owned()).collect()
}

#[track_caller]
fn done(server: &Server, arguments: &[&str]) -> String {
    let (text, code) = server.verb(arguments);
    assert_eq!(code, 0, "{arguments:?}: {text}");
    text
}

#[test]
fn backends_come_and_go_and_are_weighted_while_connections_stand() {
    let files = Server::files(
        "[[l4.services]]\nname = \"web\"\nlisten = \"{net}.9:80\"\n\
         backends = [{ address = \"{net}.1:81\" }, { address = \"{net}.2:81\" }]\n",
    );
    let host = |last| files.addresses().host(last);
    (1..=3).for_each(|last| backend((host(last), 81)));
    let [one, two, three] = [1, 2, 3].map(|last| format!("{}:81", host(last)));
    let vip = SocketAddr::from((host(9), 80));
    let mut server = files.start();
    let mut held: Vec<(TcpStream, u8)> = (0..2).map(|_| connect(vip).expect("a VIP")).collect();
    assert_eq!(taken_by(vip, 6), [(1, 3), (2, 3)]);

    let text =
        done(&server, &["backend", "add", "web", &three, "--weight", "2", "--reason", "sale"]);
    assert_eq!(text, format!("l4/web/{three} is added with weight 2 until cleared: sale\n"));
    until("the third is there", || addresses(&server).len() == 3);
    assert_eq!(taken_by(vip, 8), [(1, 2), (2, 2), (3, 4)]);
    held.push(connect(vip).expect("a VIP"));

    done(&server, &["backend", "weight", "web", &three, "0"]);
    done(&server, &["backend", "remove", "web", &one]);
    until("the first is gone", || addresses(&server) == [two.clone(), three.clone()]);
    until("the second alone takes connections", || taken_by(vip, 4) == [(2, 4)]);
    for (stream, name) in &mut held {
        says_again(stream, *name);
    }

    // By the API, and over a reload, a replacement of the process and a restart.
    let drain = format!("{{\"target\":\"l4/web/{three}\",\"action\":\"drain\"}}");
    assert_eq!(server.call("POST", "/api/v1/overrides", &drain).0, 200);
    let weight = format!("{{\"target\":\"l4/web/{three}\",\"action\":\"weight\",\"weight\":7}}");
    assert_eq!(server.call("POST", "/api/v1/overrides", &weight).0, 200);
    let loads = || server.api("/api/v1/status")["load"]["loads_total"].as_u64();
    let before = loads();
    server.signal("HUP");
    until("the files are read again", || loads() > before);
    assert_eq!(addresses(&server), [two.clone(), three.clone()]);
    let backends = server.api("/api/v1/l4")[0]["backends"].clone();
    assert_eq!((&backends[1]["state"], &backends[1]["weight"]), (&"drained".into(), &7.into()));
    let old = server.replace();
    assert_eq!(addresses(&server), [two.clone(), three.clone()]);
    assert_eq!(taken_by(vip, 4), [(2, 4)]);
    for (stream, name) in &mut held {
        says_again(stream, *name);
    }
    drop(held);
    let mut old = old;
    until("the old process ends", || old.try_wait().expect("a child").is_some());
    server.kill();
    server.restart();
    assert_eq!(addresses(&server), [two.clone(), three.clone()]);

    // One aspect is taken back, then all; what was only added is gone by `remove`, too.
    done(&server, &["clear", &format!("l4/web/{three}"), "--only", "standing"]);
    until("the third takes most", || taken_by(vip, 8) == [(2, 1), (3, 7)]);
    done(&server, &["clear", &format!("l4/web/{one}")]);
    until("the first is back", || addresses(&server).len() == 3);
    let (text, code) = server.verb(&["backend", "remove", "web", &three, "--for", "1h"]);
    assert!(code == 1 && text.contains("nothing brings it back"), "{text}");
    done(&server, &["backend", "remove", "web", &three]);
    until("all is as in the files", || addresses(&server) == [one.clone(), two.clone()]);
    assert_eq!(server.api("/api/v1/overrides").as_array().map(Vec::len), Some(0));
}

#[test]
fn what_was_added_and_is_in_the_files_by_now_is_gone_when_it_is_removed() {
    let files = Server::files(
        "[[l4.services]]\nname = \"web\"\nlisten = \"{net}.9:80\"\n\
         backends = [{ address = \"{net}.1:81\" }]\n",
    );
    let [one, two] = [1, 2].map(|last| format!("{}:81", files.addresses().host(last)));
    let server = files.start();
    done(&server, &["backend", "add", "web", &two]);
    until("it is there", || addresses(&server).len() == 2);
    let toml = std::fs::read_to_string(server.path("portolan.toml")).expect("the file");
    let backends = format!("{{ address = \"{one}\" }}, {{ address = \"{two}\" }}");
    let named = toml.replace(&format!("{{ address = \"{one}\" }}"), &backends);
    server.write("portolan.toml", &named);
    server.signal("HUP");
    until("the files name it", || server.api("/api/v1/l4")[0]["backends"][1]["added"] == false);
    done(&server, &["drain", &format!("l4/web/{two}")]);
    let text = done(&server, &["backend", "remove", "web", &two]);
    assert!(text.contains("is removed"), "{text}");
    until("it is gone", || addresses(&server) == [one.clone()]);
}

#[test]
fn what_cannot_be_done_to_a_backend_is_refused_and_says_why() {
    let files = Server::files(
        "[[l4.services]]\nname = \"web\"\nlisten = \"{net}.9:80\"\n\
         backends = [{ address = \"{net}.1:81\" }]\n\
         [[l4.services]]\nname = \"pair\"\nlisten = \"{net}.8:80\"\n\
         backends = [{ address = \"{net}.1:81\" }, { address = \"{net}.2:81\" }]\n",
    );
    let [one, two] = [1, 2].map(|last| format!("{}:81", files.addresses().host(last)));
    let vip = format!("{}:80", files.addresses().host(9));
    let server = files.start();
    for (arguments, said) in [
        (vec!["backend", "add", "web", &one], "is there already"),
        (vec!["backend", "add", "wbe", &one], "no L4 service is named `wbe`"),
        (vec!["backend", "add", "web", &vip], "where the service itself listens"),
        (vec!["backend", "add", "web", "0.0.0.0:81"], "not the address of a backend"),
        (vec!["backend", "remove", "web", &one], "the last backend"),
        (vec!["backend", "remove", "pair", &one, &two], "the last backend"),
        (vec!["backend", "remove", "web", "198.51.100.7:81"], "there is no l4/web/198.51.100.7:81"),
        (vec!["backend", "weight", "web", &one, "1000001"], "from 0 to 1000000"),
    ] {
        let (text, code) = server.verb(&arguments);
        assert_eq!(code, 1, "{arguments:?}: {text}");
        assert!(text.contains(said), "{arguments:?}: {text}");
    }
    let misplaced = "{\"target\":\"datacenter/fra\",\"action\":\"remove\"}";
    let (status, text) = server.call("POST", "/api/v1/overrides", misplaced);
    assert_eq!(status, 400, "{text}");
    assert!(text.contains("is no backend"), "{text}");
}

#[test]
fn a_drain_does_not_wait_for_the_checks_of_what_a_reload_brings() {
    let files = Server::files(
        "[[l4.services]]\nname = \"web\"\nlisten = \"{net}.9:80\"\n\
         backends = [{ address = \"{net}.1:81\" }, { address = \"{net}.2:81\" }]\n",
    );
    let host = |last| files.addresses().host(last);
    let silent = TcpListener::bind((host(3), 81)).expect("an address of the test's");
    let late = format!(
        "[[l4.services]]\nname = \"late\"\nlisten = \"{}:80\"\nbackends = [{{ address = \"{}:81\" }}]\n\
         check = {{ kind = \"http\", interval = \"20s\", timeout = \"20s\" }}\n",
        host(8),
        host(3)
    );
    let one = format!("l4/web/{}:81", host(1));
    let server = files.start();
    let loads = || server.api("/api/v1/status")["load"]["loads_total"].as_u64();
    let before = loads();
    let toml = std::fs::read_to_string(server.path("portolan.toml")).expect("the file");
    server.write("portolan.toml", &(toml + &late));
    server.signal("HUP");
    let _asked = silent.accept().expect("a check, which is never answered");
    done(&server, &["drain", &one]);
    until("it is drained", || {
        server.api("/api/v1/l4")[0]["backends"][0]["state"].as_str() == Some("drained")
    });
    assert_eq!(loads(), before, "the reload is under way");
}
