//! Files change while the server runs: all or nothing, and not one query is lost.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;

use crate::support::asker::Asker;
use crate::support::backend::Manner;
use crate::support::server::http_get;
use crate::support::{Backend, Server, database, dig, needs, until, until_some};

const DATACENTERS: &str = r#"
[geoip]
databases = ["countries.mmdb"]
networks  = "networks.toml"
[datacenters.fra]
location = { country = "DE" }
[datacenters.iad]
location = { country = "US" }
"#;

/// A zone with a serial, and one address that names its version.
fn plain_zone(origin: &str, version: u8) -> String {
    format!(
        "origin = \"{origin}.\"\nrecords = \"\"\"\n@ SOA ns1 hostmaster {version} 2h 15m 2w 5m\n\
         @ NS ns1\nns1 A 198.51.100.53\nwww A 203.0.113.{version}\n\"\"\"\n"
    )
}

fn version(server: &Server, origin: &str) -> String {
    let answer = dig(server.dns(), &format!("www.{origin} A"));
    match &answer.data("A")[..] {
        [address] => address.trim_start_matches("203.0.113.").to_string(),
        _ => answer.status,
    }
}

#[track_caller]
fn until_version(server: &Server, origin: &str, expected: &str) {
    until(&format!("{origin} is at {expected}"), || version(server, origin) == expected);
}

/// The value of a metric, whose line begins so.
fn metric(server: &Server, line: &str) -> f64 {
    let (status, text) = server.call("GET", "/metrics", "");
    assert_eq!(status, 200);
    let value = text.lines().find_map(|one| one.strip_prefix(line)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {line} in {text}"))
}

#[test]
fn not_one_query_is_lost_while_files_are_read_again() {
    if !needs("reload: no query lost", &["dig"]) {
        return;
    }
    let files = Server::files(DATACENTERS);
    fs::write(files.path("countries.mmdb"), database::countries(&[("198.51.100.0/24", "DE")]))
        .expect("the database can be written");
    files.write("networks.toml", "");
    let server = files.zone("example.com.toml", &plain_zone("example.com", 1)).start();
    let asker = Asker::start(server.dns(), "www.example.com.");
    for version in 2..=61 {
        server.write("zones/example.com.toml", &plain_zone("example.com", version));
        if version % 4 == 0 {
            // The map is made anew, too.
            let network =
                format!("[[networks]]\nprefix = \"203.0.113.{version}\"\ncountry = \"US\"\n");
            server.write("networks.toml", &network);
        }
        server.signal("HUP");
        until_version(&server, "example.com", &version.to_string());
        asker.until_answered(4);
    }
    asker.lost_none();
}

#[test]
fn a_change_of_any_file_is_served_without_being_told() {
    if !needs("reload: any file", &["dig"]) {
        return;
    }
    let files = Server::files(DATACENTERS);
    let countries = |networks: &[(&str, &str)]| database::countries(networks);
    fs::write(files.path("countries.mmdb"), countries(&[("198.51.100.0/24", "DE")]))
        .expect("the database can be written");
    files.write("networks.toml", "");
    let steered = format!(
        "records_file = \"example.org.zone\"\n{}{}",
        "origin = \"example.org.\"\n",
        r#"
[pools.web]
steer   = "nearest"
members = [
  { datacenter = "fra", addresses = ["203.0.113.1"] },
  { datacenter = "iad", addresses = ["203.0.113.2"] },
]
[names.www]
pool = "web"
"#
    );
    let master = |version: u8| {
        format!(
            "@ SOA ns1 hostmaster {version} 2h 15m 2w 5m\n@ NS ns1\nns1 A 198.51.100.53\n\
             v A 203.0.113.{version}\n"
        )
    };
    files.write("zones/example.org.zone", &master(7));
    let server = files
        .zone("example.com.toml", &plain_zone("example.com", 1))
        .zone("example.org.toml", &steered)
        .start();
    let german = || dig(server.dns(), "www.example.org A +subnet=198.51.100.0/24").address();
    assert_eq!((version(&server, "example.com"), german()), ("1".into(), "203.0.113.1".into()));

    // A zone, by rename and in place.
    server.write("zones/example.com.toml", &plain_zone("example.com", 2));
    until_version(&server, "example.com", "2");
    fs::write(server.path("zones/example.com.toml"), plain_zone("example.com", 3))
        .expect("written");
    until_version(&server, "example.com", "3");
    // One more zone.
    assert_eq!(version(&server, "example.net"), "REFUSED");
    server.write("zones/example.net.toml", &plain_zone("example.net", 4));
    until_version(&server, "example.net", "4");
    // That one again, which was not there at the start.
    server.write("zones/example.net.toml", &plain_zone("example.net", 5));
    until_version(&server, "example.net", "5");
    // The master file of a zone.
    fs::write(server.path("zones/example.org.zone"), master(8)).expect("written");
    until("the master file is read", || {
        dig(server.dns(), "v.example.org A").data("A") == ["203.0.113.8"]
    });
    // What it includes, and what that includes, from their first inclusion on.
    server.write("zones/example.org.zone", &(master(8) + "$INCLUDE parts/more.zone\n"));
    until("it is said that the file is missing", || {
        let status = server.api("/api/v1/status");
        status["load"]["last_error"].to_string().contains("more.zone")
    });
    fs::create_dir(server.path("zones/parts")).expect("a directory");
    server.write("zones/parts/more.zone", "$INCLUDE deep.zone w\n");
    server.write("zones/parts/deep.zone", "@ A 203.0.113.9\n");
    let included = || dig(server.dns(), "w.example.org A").data("A");
    until("what is included is served", || included() == ["203.0.113.9"]);
    server.write("zones/parts/deep.zone", "@ A 203.0.113.10\n");
    until("what is included is read again", || included() == ["203.0.113.10"]);
    // The operator's networks.
    server.write("networks.toml", "[[networks]]\nprefix = \"198.51.100.0/24\"\ncountry = \"US\"\n");
    until("the networks are read", || german() == "203.0.113.2");
    server.write("networks.toml", "");
    until("the networks are read", || german() == "203.0.113.1");
    // A database.
    let new = server.path("new.mmdb");
    fs::write(&new, countries(&[("198.51.100.0/24", "US")])).expect("written");
    fs::rename(&new, server.path("countries.mmdb")).expect("put in place");
    until("the database is read", || german() == "203.0.113.2");
    // The server's own file.
    let toml = fs::read_to_string(server.path("portolan.toml")).expect("read");
    let moved = toml.replace("country = \"US\"", "country = \"AU\"");
    server.write("portolan.toml", &moved);
    until("the datacenter has moved", || german() == "203.0.113.1");
    assert_eq!(server.api("/api/v1/status")["load"]["last_error"], serde_json::Value::Null);
}

#[test]
fn a_bad_file_changes_nothing_at_all_and_is_said() {
    if !needs("reload: bad file", &["dig"]) {
        return;
    }
    let server = Server::files("")
        .zone("example.com.toml", &plain_zone("example.com", 1))
        .zone("example.org.toml", &plain_zone("example.org", 1))
        .start();
    let refused = || metric(&server, "portolan_config_loads_total{result=\"refused\"}");
    assert_eq!((refused(), metric(&server, "portolan_config_good")), (0.0, 1.0));

    // One is good, the other is not: neither is served.
    let bad = plain_zone("example.org", 2).replace("www A 203.0.113.2", "www A 203.0.113.256");
    server.write("zones/example.com.toml", &plain_zone("example.com", 2));
    server.write("zones/example.org.toml", &bad);
    let mut before = refused();
    let mut until_refused = |what: &str| {
        until(what, || refused() > before);
        before = refused();
    };
    until_refused("a bad record is refused");
    assert_eq!(
        (version(&server, "example.com"), version(&server, "example.org")),
        ("1".into(), "1".into())
    );
    assert_eq!(metric(&server, "portolan_config_good"), 0.0);
    let status = server.api("/api/v1/status");
    let error = status["load"]["last_error"].as_str().expect("an error").to_string();
    assert!(error.contains("example.org.toml:6:"), "{error}");
    let (said, _) = server.verb(&["status"]);
    assert!(
        said.contains("what was read before is served on") && said.contains("example.org.toml"),
        "{said}"
    );
    let (said, code) = server.verb(&["check"]);
    assert!(code == 1 && said.contains("203.0.113.256") && said.contains('^'), "{said}");

    for (what, file, text) in [
        ("no TOML", "zones/example.org.toml", "origin = \"example.org.".to_string()),
        (
            "an unknown key",
            "zones/example.org.toml",
            plain_zone("example.org", 2) + "recodrs = 1\n",
        ),
        ("no SOA", "zones/example.org.toml", plain_zone("example.org", 2).replace("SOA", "TXT")),
        ("a zone twice", "zones/example.org.toml", plain_zone("example.com", 2)),
        ("the server's file", "portolan.toml", "[dns]\n".to_string()),
    ] {
        let good = fs::read_to_string(server.path(file)).expect("read");
        server.write(file, &text);
        server.signal("HUP");
        until_refused(what);
        assert_eq!(version(&server, "example.com"), "1", "{what}");
        server.write(file, &good);
        server.signal("HUP");
        until_refused("the other fault is still there");
    }

    // Repaired: both are served.
    server.write("zones/example.org.toml", &plain_zone("example.org", 2));
    until_version(&server, "example.org", "2");
    assert_eq!(version(&server, "example.com"), "2");
    until("all is well", || metric(&server, "portolan_config_good") == 1.0);
    assert_eq!(server.api("/api/v1/status")["load"]["last_error"], serde_json::Value::Null);
}

#[test]
fn a_file_that_is_written_slowly_is_served_when_it_is_whole() {
    if !needs("reload: slow file", &["dig"]) {
        return;
    }
    let server = Server::files("").zone("example.com.toml", &plain_zone("example.com", 1)).start();
    let whole = plain_zone("example.net", 1);
    let (begin, end) = whole.split_at(whole.len() / 2);
    let mut file = fs::File::create(server.path("zones/example.net.toml")).expect("created");
    file.write_all(begin.as_bytes()).expect("written");
    until("the half is refused", || {
        metric(&server, "portolan_config_loads_total{result=\"refused\"}") > 0.0
    });
    file.write_all(end.as_bytes()).expect("written");
    until_version(&server, "example.net", "1");
    // In many small pieces, without a pause in which it could be read.
    let mut file = fs::File::create(server.path("zones/example.edu.toml")).expect("created");
    for piece in plain_zone("example.edu", 1).as_bytes().chunks(5) {
        file.write_all(piece).expect("written");
        file.sync_all().expect("written");
    }
    until_version(&server, "example.edu", "1");
}

#[test]
fn what_fails_while_new_checks_are_awaited_is_noticed() {
    if !needs("reload: failover meanwhile", &["dig"]) {
        return;
    }
    let files = Server::files(
        "[datacenters.fra]\nlocation = { country = \"DE\" }\n\
         [datacenters.iad]\nlocation = { country = \"US\" }\n",
    );
    let net = files.addresses();
    let mut fra = Backend::start((net.host(11), 8080));
    // Accepts, and says nothing.
    let silent = TcpListener::bind((net.host(12), 8080)).expect("the address is free");
    silent.set_nonblocking(true).expect("a socket");
    let zone = |origin: &str, pace: &str, fra: u8| {
        plain_zone(origin, 1).replace("www A", "old A")
            + &format!(
                r#"
[checks.http]
kind = "http"
port = 8080
{pace}
[pools.web]
steer   = "failover"
check   = "http"
when_all_down = "no-data"
members = [{{ datacenter = "fra", addresses = ["{}"] }}]
[names.www]
rules = [{{ pool = "web" }}]
"#,
                net.host(fra)
            )
    };
    let quick = "interval = \"1s\"\nfast_interval = \"100ms\"\ntimeout = \"1s\"\nfall = 2";
    let server = files.zone("example.com.toml", &zone("example.com", quick, 11)).start();
    let addresses = |origin: &str| dig(server.dns(), &format!("www.{origin} A"));
    assert_eq!(addresses("example.com").address(), net.host(11).to_string());
    // The new zone cannot be served before its silent target has been given up.
    let patient = "interval = \"1h\"\ntimeout = \"2m\"";
    server.write("zones/example.net.toml", &zone("example.net", patient, 12));
    let asking = until_some("the silent one is probed", || silent.accept().ok());
    fra.stop();
    until("what fails is noticed", || addresses("example.com").data("A").is_empty());
    assert_eq!(addresses("example.net").status, "REFUSED", "meanwhile");
    drop((asking, silent));
    until("the new zone is served", || addresses("example.net").status == "NOERROR");
}

#[test]
fn a_flood_of_events_delays_no_reload() {
    if !needs("reload: events", &["dig"]) {
        return;
    }
    let server = Server::files("[datacenters.fra]\n")
        .zone("example.com.toml", &plain_zone("example.com", 1))
        .start();
    server.write("zones/example.com.toml", &plain_zone("example.com", 2));
    let begin = std::time::Instant::now();
    until("the change is served in the middle of events", || {
        for action in ["drain", "force-down"] {
            let body = format!("{{\"target\": \"datacenter/fra\", \"action\": \"{action}\"}}");
            assert_eq!(server.call("POST", "/api/v1/overrides", &body).0, 200);
        }
        version(&server, "example.com") == "2"
    });
    // Files that changed unheard are found after ten.
    assert!(begin.elapsed().as_secs() < 8, "{:?}", begin.elapsed());
}

#[test]
fn connections_through_a_service_outlive_a_reload() {
    let service = |name: &str, port: u16, backend: u8| {
        format!(
            "[[l4.services]]\nname = \"{name}\"\nlisten = \"{{net}}.11:{port}\"\n\
             check = {{ kind = \"http\", interval = \"1s\", fast_interval = \"100ms\", rise = 1 }}\n\
             backends = [{{ address = \"{{net}}.{backend}:9000\" }}]\n"
        )
    };
    let files = Server::files(&(service("web", 8080, 21) + &service("api", 8081, 22)));
    let net = files.addresses();
    let says = |last: u8| {
        let manner = Manner::Says(200, format!("{last}"));
        Backend::that_is((net.host(last), 9000), manner)
    };
    let _backends = [21, 22, 23].map(says);
    let server = files.zone("example.com.toml", &plain_zone("example.com", 1)).start();
    let fetch = |port: u16| http_get((net.host(11), port).into(), "/");
    assert_eq!((fetch(8080).as_deref(), fetch(8081).as_deref()), (Some("21"), Some("22")));
    let mut held = TcpStream::connect((net.host(11), 8080)).expect("connected");
    held.write_all(b"GET / HTTP/1.1\r\n").expect("taken");

    // Another backend, and the two change places.
    let toml = fs::read_to_string(server.path("portolan.toml")).expect("read");
    let head = toml.split("[[l4.services]]").next().expect("a head").to_string();
    let change = |services: String| server.write("portolan.toml", &(head.clone() + &services));
    change(service("web", 8080, 23) + &service("api", 8081, 22));
    until("the new backend is used", || fetch(8080).as_deref() == Some("23"));
    change(service("api", 8080, 22) + &service("web", 8081, 23));
    until("the services have changed places", || {
        fetch(8080).as_deref() == Some("22") && fetch(8081).as_deref() == Some("23")
    });
    change(service("web", 8081, 23));
    until("the other one is gone", || fetch(8080).is_none());
    assert_eq!(fetch(8081).as_deref(), Some("23"));
    // What was begun with a backend that is gone, of a service that is gone, comes to its end.
    held.write_all(b"Host: web\r\n\r\n").expect("taken");
    let mut answer = String::new();
    held.read_to_string(&mut answer).expect("an answer");
    assert!(answer.ends_with("21"), "{answer}");

    // An address that is not this machine's: all stays as it was, and it is said.
    change(service("web", 8081, 22).replace("{net}.11", "203.0.113.1"));
    until("it is said", || {
        let status = server.api("/api/v1/status");
        status["load"]["last_error"].as_str().is_some_and(|error| error.contains("203.0.113.1"))
    });
    assert_eq!(fetch(8081).as_deref(), Some("23"));
}

#[test]
fn a_directory_that_is_swapped_by_a_link_is_read() {
    if !needs("reload: swapped link", &["dig"]) {
        return;
    }
    // As orchestrators deliver files: all of a version at once, by a link.
    let files = Server::files("");
    let release = |number: u8| {
        let directory = files.path(&format!("release{number}/zones"));
        fs::create_dir_all(&directory).expect("created");
        fs::write(directory.join("example.com.toml"), plain_zone("example.com", number))
            .expect("written");
    };
    (1..=3).for_each(release);
    fs::remove_dir(files.path("zones")).expect("removed");
    symlink("release1", files.path("current")).expect("linked");
    symlink("current/zones", files.path("zones")).expect("linked");
    let server = files.start();
    assert_eq!(version(&server, "example.com"), "1");
    for number in [2, 3] {
        symlink(format!("release{number}"), server.path("next")).expect("linked");
        fs::rename(server.path("next"), server.path("current")).expect("put in place");
        until_version(&server, "example.com", &number.to_string());
    }
    // What is behind the link now is watched, too.
    let file = server.path("release3/zones/example.com.toml");
    fs::write(&file, plain_zone("example.com", 4)).expect("written");
    until_version(&server, "example.com", "4");
}

#[test]
fn what_takes_a_restart_is_said_until_it_is_done() {
    let mut server =
        Server::files("").zone("example.com.toml", &plain_zone("example.com", 1)).start();
    let said = |server: &Server| server.api("/api/v1/status")["load"]["warnings"].to_string();
    let toml = fs::read_to_string(server.path("portolan.toml")).expect("read");
    let listen = format!("{:?}", server.dns().to_string());
    let more = format!("{listen}, \"{}:5353\"", server.addresses().host(2));
    server.write("portolan.toml", &toml.replace(&listen, &more));
    until("it is said", || said(&server).contains("[dns] changed; that takes another process"));
    // Other changes do not make it forgotten.
    server.write("zones/example.com.toml", &plain_zone("example.com", 2));
    let serial = |server: &Server| server.api("/api/v1/status")["zones"][0]["serial"].clone();
    until("the zone has changed", || serial(&server) == 2);
    assert!(said(&server).contains("[dns] changed"), "{}", said(&server));
    server.write("portolan.toml", &toml.replace("[admin]", "[admin]\nsocket = \"other.sock\""));
    let is_said = || said(&server).contains("[admin] socket changed; that takes a restart");
    until("it is said that no other process would find this one", is_said);
    server.kill();
    server.restart();
    assert!(!said(&server).contains("changed;"), "{}", said(&server));
}

#[test]
fn a_change_without_a_newer_serial_number_is_said_by_the_server_and_by_check() {
    let zone = |serial: u32, address: u8| {
        format!(
            "origin = \"example.com.\"\nrecords = \"\"\"\n@ SOA ns1 h {serial} 2h 15m 2w 5m\n\
             @ NS ns1\n@ NS ns.example.net.\nns1 A 198.51.100.53\nv A 203.0.113.{address}\n\"\"\"\n"
        )
    };
    let server = Server::files("").zone("example.com.toml", &zone(7, 1)).start();
    let warnings = || server.api("/api/v1/status")["load"]["warnings"].to_string();
    let check = || server.verb(&["check"]);
    assert_eq!((warnings(), check().1), ("[]".into(), 0));
    assert!(check().0.ends_with("0 errors, 0 warnings\n"), "{}", check().0);

    let said = "example.com. changed, but its serial number is not newer than 7";
    server.write("zones/example.com.toml", &zone(7, 2));
    until("the server says so", || {
        warnings().contains(said) && warnings().contains("example.com.toml:3:7:")
    });
    // Also when the server has read the file already: it is about what was served with this number.
    let (text, code) = check();
    assert!(text.contains(said) && text.contains("@ SOA ns1 h 7"), "{text}");
    assert!(text.ends_with("0 errors, 1 warning\n") && code == 0, "{text}");

    server.write("zones/example.com.toml", &zone(8, 2));
    until("all is well", || warnings() == "[]");
    assert!(check().0.ends_with("0 errors, 0 warnings\n"), "{}", check().0);
    assert_eq!(server.api("/api/v1/zones")[0]["first_served"]["serial"], 8);
}
