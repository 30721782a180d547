//! What people see of the forwarder: the explanation of a flow, the access log, histograms.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;

use crate::support::server::Files;
use crate::support::{Server, until, until_some};

/// Answers each with a byte, and closes.
fn backend(address: SocketAddr) {
    let listener = TcpListener::bind(address).expect("an address of the test's");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut asked = [0; 3];
            // Who comes may go again.
            let _ = stream.read_exact(&mut asked).and_then(|()| stream.write_all(b"!"));
        }
    });
}

fn ask(vip: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(vip)?;
    stream.write_all(b"???")?;
    let mut said = Vec::new();
    stream.read_to_end(&mut said)?;
    assert_eq!(said, b"!");
    Ok(())
}

fn files() -> Files {
    Server::files(
        "[l4]\naccess_log = { path = \"access.log\" }\n\
         [[l4.services]]\nname = \"web\"\nlisten = \"{net}.9:80\"\nbalance = \"source-hash\"\n\
         backends = [{ address = \"{net}.1:81\" }, { address = \"{net}.2:81\" }, \
         { address = \"{net}.3:81\", backup = true }, { address = \"{net}.4:81\", weight = 0 }]\n\
         deny = [\"203.0.113.0/24\"]\n\
         routes = [{ server_name = [\"api.example.com\", \"*.example.net\"], service = \"api\" }]\n\
         [[l4.services]]\nname = \"api\"\nbackends = [{ address = \"{net}.5:81\" }]\n\
         balance = \"least-connections\"\ndeny = [\"198.51.100.66\"]\n",
    )
}

#[test]
fn a_flow_is_explained_with_each_backend_and_why_not() {
    let server = files().start();
    let host = |last| server.addresses().host(last);
    let explain = |arguments: &[&str]| {
        let (text, code) = server.verb(&[&["explain", "web", "--flow"], arguments].concat());
        assert_eq!(code, 0, "{arguments:?}: {text}");
        text
    };
    let text = explain(&["198.51.100.7:4242"]);
    let taken = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("backend ")).map(str::to_owned);
        line.unwrap_or_else(|| panic!("{text}"))
            .split_once("   ")
            .expect("two columns")
            .1
            .to_owned()
    };
    assert!(text.contains("door      let in"), "{text}");
    assert!(text.contains("balance   hash: the same flow comes to the same backend"), "{text}");
    assert!(text.contains("it is a backup: others can take the flow"), "{text}");
    assert!(text.contains("its weight is 0"), "{text}");
    let first = taken(&text);
    let others = [1, 2].map(|last| format!("{}:81", host(last)));
    assert!(others.contains(&first), "{text}");
    assert_eq!(taken(&explain(&["198.51.100.7:4243"])), first, "the port says nothing here");

    let (text, code) = server.verb(&["drain", &format!("l4/web/{first}")]);
    assert_eq!(code, 0, "{text}");
    let text = until_some("the drain counts", || {
        let text = explain(&["198.51.100.7"]);
        text.contains("it is drained").then_some(text)
    });
    assert_ne!(taken(&text), first);

    let text = explain(&["203.0.113.7"]);
    assert!(text.contains("refused: the access lists do not let this source in"), "{text}");
    assert!(!text.contains("balance"), "{text}");
    let text = explain(&["198.51.100.7", "--server-name", "WWW.example.net"]);
    assert!(text.contains("www.example.net is carried by service api"), "{text}");
    assert_eq!(taken(&text), format!("{}:81", host(5)));
    let text = explain(&["198.51.100.66", "--server-name", "www.example.net"]);
    assert!(text.contains("refused: the access lists") && !text.contains("balance"), "{text}");
    let text = explain(&["198.51.100.7", "--server-name", "example.org"]);
    assert!(text.contains("no route has example.org"), "{text}");

    let path = "/api/v1/explain?flow=198.51.100.7&service=web";
    let explained = server.api(path);
    assert_eq!(explained["choice"]["balance"]["kind"], "hash");
    assert_eq!(explained["vip"], format!("{}:80", host(9)));
    for (path, status) in [
        ("/api/v1/explain?flow=198.51.100.7&service=wbe", 404),
        ("/api/v1/explain?flow=nobody&service=web", 400),
        ("/api/v1/explain?flow=198.51.100.7", 400),
    ] {
        assert_eq!(server.call("GET", path, "").0, status, "{path}");
    }
}

fn lines(path: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

#[test]
fn each_connection_has_its_line_in_the_log_and_its_place_in_the_histograms() {
    let files = files();
    let host = |last| files.addresses().host(last);
    [1, 2].iter().for_each(|last| backend((host(*last), 81).into()));
    let vip = SocketAddr::from((host(9), 80));
    let server = files.start();
    for _ in 0..5 {
        ask(vip).expect("a backend");
    }
    let path = server.path("access.log");
    until("all are in the log", || lines(&path).len() == 5);
    let line = lines(&path).remove(0);
    assert_eq!((&line["service"], &line["protocol"]), (&"web".into(), &"tcp".into()));
    assert_eq!(line["vip"], vip.to_string());
    assert_eq!(line["cause"], "done");
    assert_eq!((&line["bytes_to_backend"], &line["bytes_to_client"]), (&3.into(), &1.into()));
    let ms = |name: &str| line[name].as_f64().expect("a number");
    assert!(0.0 < ms("connect_ms") && ms("connect_ms") <= ms("duration_ms"), "{line}");

    // Log rotation: moved away, and opened again when the server is told, bad as its files may be.
    let toml = std::fs::read_to_string(server.path("portolan.toml")).expect("the file");
    server.write("portolan.toml", &toml.replace("source-hash", "sauce-hash"));
    until("the files are refused", || {
        server.api("/api/v1/status")["load"]["last_error"].is_string()
    });
    let moved = server.path("access.log.1");
    std::fs::rename(&path, &moved).expect("the log");
    server.signal("HUP");
    until("it is opened again", || path.exists());
    ask(vip).expect("a backend");
    until("the line is in the new one", || lines(&path).len() == 1);
    assert_eq!(lines(&moved).len(), 5);

    let (_, metrics) = server.call("GET", "/metrics", "");
    let value = |name: &str, has: &str| -> f64 {
        let mine = metrics.lines().filter(|line| line.starts_with(name) && line.contains(has));
        mine.map(|line| line.rsplit_once(' ').expect("a value").1.parse::<f64>().expect("one"))
            .sum()
    };
    assert_eq!(value("portolan_l4_connect_seconds_count{", "service=\"web\""), 6.0, "{metrics}");
    assert_eq!(value("portolan_l4_connect_seconds_bucket{", "le=\"+Inf\""), 6.0);
    assert_eq!(value("portolan_l4_connection_duration_seconds_count{", "service=\"web\""), 6.0);
    assert!(value("portolan_l4_connection_duration_seconds_sum{", "service=\"web\"") > 0.0);
    assert_eq!(value("portolan_l4_ended_connections_total{", "cause=\"done\""), 6.0);
    assert_eq!(server.api("/api/v1/l4")[0]["ended_total"]["done"], 6);
    assert_eq!(value("portolan_l4_access_log_lost_lines_total", ""), 0.0);
}
