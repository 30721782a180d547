//! Something fails, and the answer moves; it comes back, and the answer returns.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::backend::Manner;
use crate::support::server::http_get;
use crate::support::{Addresses, Backend, Server, dig, needs, until, until_some};

const NETWORKS: &str = r#"
[[networks]]
prefix  = "198.51.100.0/24"
country = "DE"
[[networks]]
prefix  = "203.0.113.0/24"
country = "US"
"#;

/// `[geoip]`, and two datacenters; `{fra}` and `{iad}` stand for what more is said of each.
const DATACENTERS: &str = r#"
[geoip]
networks = "networks.toml"
[datacenters.fra]
location = { country = "DE" }
{fra}
[datacenters.iad]
location = { country = "US" }
{iad}
"#;

const RECORDS: &str = r#"
origin  = "example.com."
records = """
@    SOA   ns1 hostmaster 1 2h 15m 2w 5m
@    NS    ns1
ns1  A     198.51.100.53
"""
"#;

const CHECK: &str = r#"
[checks.web]
kind     = "http"
port     = 8080
path     = "/healthz"
interval = "1s"
fast_interval = "100ms"
timeout  = "1s"
rise     = 1
fall     = 2
"#;

/// An L4 service on the VIP `{vip}:8080` with two backends, at `{vip}:9001` and `{vip}:9002`.
const SERVICE: &str = r#"
[[l4.services]]
name     = "{name}"
listen   = "{vip}:8080"
balance  = "round-robin"
capacity = 100
check    = { kind = "http", path = "/healthz", interval = "1s", fast_interval = "100ms", timeout = "1s", rise = 1, fall = 2 }
backends = [{ address = "{vip}:9001" }, { address = "{vip}:9002" }]
"#;

fn service(name: &str, vip: &str) -> String {
    SERVICE.replace("{name}", name).replace("{vip}", vip)
}

fn datacenters(fra: &str, iad: &str) -> String {
    DATACENTERS.replace("{fra}", fra).replace("{iad}", iad)
}

/// Two backends behind a VIP.
fn backends(net: Addresses, vip: u8) -> [Backend; 2] {
    [9001, 9002].map(|port| {
        let greeting = Manner::Says(200, format!("{port}\n"));
        Backend::that_is((net.host(vip), port), greeting)
    })
}

/// What is answered to somebody in Germany.
fn german(server: &Server) -> String {
    dig(server.dns(), "www.example.com A +subnet=198.51.100.0/24").address()
}

fn american(server: &Server) -> String {
    dig(server.dns(), "www.example.com A +subnet=203.0.113.0/24").address()
}

#[track_caller]
fn until_german(server: &Server, expected: impl ToString) {
    let expected = expected.to_string();
    until(&format!("Germans are sent to {expected}"), || german(server) == expected);
}

/// What came of each member of the pool that answers, from `explain --json`.
fn verdicts(server: &Server, more: &[&str]) -> Vec<String> {
    let mut arguments = vec!["explain", "www.example.com", "--client", "198.51.100.7", "--json"];
    arguments.extend(more);
    let (text, code) = server.verb(&arguments);
    assert_eq!(code, 0, "{text}");
    let explained: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let members = explained["links"][0]["outcome"]["pools"][0]["members"]
        .as_array()
        .expect("members")
        .clone();
    let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_string();
    members.iter().map(|m| format!("{} {}", word(&m["datacenter"]), word(&m["verdict"]))).collect()
}

#[test]
fn a_backend_dies_and_then_both_and_each_comes_back() {
    if !needs("a backend dies", &["dig"]) {
        return;
    }
    let vips = service("web-fra", "{net}.11") + &service("web-iad", "{net}.12");
    let files = Server::files(&(datacenters("", "") + &vips));
    files.write("networks.toml", NETWORKS);
    let net = files.addresses();
    let (fra, iad) = (net.host(11), net.host(12));
    let [mut first, mut second] = backends(net, 11);
    let _others = backends(net, 12);
    let zone = format!(
        r#"{RECORDS}{CHECK}
[pools.web]
steer   = "nearest"
ttl     = "1s"
check   = "web"
members = [
  {{ datacenter = "fra", addresses = ["{fra}"] }},
  {{ datacenter = "iad", addresses = ["{iad}"] }},
]
[names.www]
pool = "web"
"#
    );
    let server = files.zone("example.com.toml", &zone).start();
    let fetch = || http_get((fra, 8080).into(), "/");
    // The DNS and the VIPs start together, and are known to be up from the very first answer.
    assert_eq!((german(&server), american(&server)), (fra.to_string(), iad.to_string()));
    // The checks take turns, too: one of two requests need not be the other one's neighbour.
    let mut seen = BTreeSet::new();
    until("both backends are used", || {
        seen.extend(fetch());
        seen.len() == 2
    });

    // One dies: nobody notices, from the first request on.
    first.stop();
    for _ in 0..8 {
        assert_eq!(fetch().as_deref(), Some("9002\n"));
    }
    assert_eq!(german(&server), fra.to_string());
    // It comes back, and is used again.
    first.resume();
    until("the first backend is used again", || fetch().as_deref() == Some("9001\n"));

    // Both die: the answer moves, and says why.
    first.stop();
    second.stop();
    until_german(&server, iad);
    assert_eq!(verdicts(&server, &[]), ["iad chosen", "fra down"]);
    let (text, code) = server.verb(&["explain", "www.example.com", "--client", "198.51.100.7"]);
    assert!(code == 0 && text.contains("passed over: its checks fail"), "{text}");
    let (text, _) = server.verb(&["status"]);
    assert!(
        text.contains("POOL web of example.com.: up, 1 of 2 members may be answered"),
        "{text}"
    );
    // Offline nothing is known to be down.
    assert_eq!(verdicts(&server, &["--offline"]), ["fra chosen", "iad farther"]);

    second.resume();
    until_german(&server, fra);
    assert_eq!(verdicts(&server, &[]), ["fra chosen", "iad farther"]);
}

#[test]
fn a_whole_datacenter_dies_and_comes_back() {
    if !needs("a datacenter dies", &["dig"]) {
        return;
    }
    // Each datacenter is a machine of its own, which reports its load.
    let site = |name: &str| {
        let files = Server::files("");
        let net = files.addresses();
        let vip = net.host(1);
        files.write(
            "portolan.toml",
            &format!("[admin]\nlisten = \"{vip}:8053\"\n{}", service(name, &vip.to_string())),
        );
        let backends = backends(net, 1);
        (files.start(), backends)
    };
    let (mut fra, _fra) = site("web");
    let (iad, _iad) = site("web");
    let report = |site: &Server| {
        let admin = site.admin();
        format!(
            "report = {{ url = \"http://{admin}/api/v1/report\", interval = \"200ms\", \
             stale_after = \"1s\" }}"
        )
    };
    let files = Server::files(&datacenters(&report(&fra), &report(&iad)));
    files.write("networks.toml", NETWORKS);
    let (fra_vip, iad_vip) = (fra.addresses().host(1), iad.addresses().host(1));
    let zone = format!(
        r#"{RECORDS}{CHECK}
[pools.web]
steer   = "capacity"
check   = "web"
members = [
  {{ datacenter = "fra", addresses = ["{fra_vip}"] }},
  {{ datacenter = "iad", addresses = ["{iad_vip}"] }},
]
[names.www]
pool = "web"
"#
    );
    let server = files.zone("example.com.toml", &zone).start();
    assert_eq!(german(&server), fra_vip.to_string(), "known from the very first answer");
    assert_eq!(american(&server), iad_vip.to_string());

    fra.kill();
    until_german(&server, iad_vip);
    let said = until_some("the report is said to be stale", || {
        let datacenters = server.api("/api/v1/datacenters");
        let report = datacenters[0]["report"].clone();
        (report["stale"] == true).then_some(report)
    });
    assert!(said["error"].as_str().is_some_and(|error| error.contains("refused")), "{said}");
    let (text, _) = server.verb(&["status"]);
    assert!(text.contains("stale"), "{text}");
    assert_eq!(american(&server), iad_vip.to_string());

    fra.restart();
    until_german(&server, fra_vip);
    until("the report is live", || {
        server.api("/api/v1/datacenters")[0]["report"]["stale"] == false
    });
}

/// A report, as a site would make it.
fn report(capacity: u32, load: u32) -> Manner {
    Manner::Says(200, format!("{{\"capacity\": {capacity}, \"load\": {load}}}"))
}

/// `www` is steered by capacity, from members that are not checked.
fn zone_by_capacity() -> String {
    format!(
        r#"{RECORDS}
[pools.web]
steer   = "capacity"
members = [
  {{ datacenter = "fra", addresses = ["203.0.113.1"] }},
  {{ datacenter = "iad", addresses = ["203.0.113.2"] }},
]
[names.www]
pool = "web"
"#
    )
}

const FRA: &str = "203.0.113.1";
const IAD: &str = "203.0.113.2";

#[test]
fn a_polled_report_moves_the_answer_when_it_is_full_and_not_when_it_is_gone() {
    if !needs("polled reports", &["dig"]) {
        return;
    }
    let polled = |host: u8| {
        format!(
            "report = {{ url = \"http://{{net}}.{host}:7000/report\", interval = \"100ms\", \
             stale_after = \"400ms\" }}"
        )
    };
    let files = Server::files(&datacenters(&polled(21), &polled(22)));
    files.write("networks.toml", NETWORKS);
    let net = files.addresses();
    let mut fra = Backend::that_is((net.host(21), 7000), report(100_000, 10));
    let mut iad = Backend::that_is((net.host(22), 7000), report(100_000, 10));
    let server = files.zone("example.com.toml", &zone_by_capacity()).start();
    assert_eq!((german(&server), american(&server)), (FRA.into(), IAD.into()));

    // By far more than one client can be blamed for.
    fra.behave(report(1, 100));
    until_german(&server, IAD);
    assert_eq!(verdicts(&server, &[]), ["iad chosen", "fra not-planned"]);
    fra.behave(report(100_000, 10));
    until_german(&server, FRA);

    // Whatever is wrong with a report, it is told, and what was known last is held.
    for (manner, said) in [
        (Manner::Says(503, "no".into()), "503"),
        (Manner::Says(200, "{\"capacity\": 100}".into()), "no report"),
        (Manner::Says(200, "{\"capacity\": 100, \"load\": -1}".into()), "must be 0 or more"),
        (Manner::Says(200, format!("{{{}", " ".repeat(100_000))), "longer than"),
        (Manner::Silent, "time"),
        (Manner::Babbles, ""),
    ] {
        fra.behave(manner.clone());
        // A silent site takes two seconds to be given up.
        until(&format!("{manner:?} is told of"), || {
            let report = server.api("/api/v1/datacenters")[0]["report"].clone();
            report["stale"] == true && report["error"].as_str().is_some_and(|e| e.contains(said))
        });
        assert_eq!(verdicts(&server, &[]), ["fra chosen", "iad not-planned"], "{manner:?}");
        fra.behave(report(100_000, 1));
        until("its report is live again", || {
            server.api("/api/v1/datacenters")[0]["report"]["stale"] == false
        });
    }

    // No report at all is no reason to move anybody.
    fra.stop();
    iad.stop();
    until("all reports are stale", || {
        let datacenters = server.api("/api/v1/datacenters");
        (0..2).all(|index| datacenters[index]["report"]["stale"] == true)
    });
    assert_eq!((german(&server), american(&server)), (FRA.into(), IAD.into()));
    iad.resume();
    fra.resume();
    fra.behave(report(1, 100));
    until_german(&server, IAD);
}

#[test]
fn a_pushed_report_counts_and_is_held_when_it_is_stale() {
    if !needs("pushed reports", &["dig"]) {
        return;
    }
    let pushed = "unit = \"requests/s\"\nreport = { stale_after = \"1500ms\" }";
    let files = Server::files(&datacenters(pushed, "report = { stale_after = \"1h\" }"));
    files.write("networks.toml", NETWORKS);
    let server = files.zone("example.com.toml", &zone_by_capacity()).start();
    // Nobody has reported: the nearest is the best guess.
    assert_eq!((german(&server), american(&server)), (FRA.into(), IAD.into()));
    let push = |datacenter: &str, body: &str| {
        server.call("PUT", &format!("/api/v1/datacenters/{datacenter}/report"), body)
    };
    // Of whom nothing is known, there is nothing against it either.
    assert_eq!(push("iad", r#"{"capacity": 40000, "load": 130.5}"#).0, 204);
    assert_eq!(verdicts(&server, &[]), ["fra chosen", "iad not-planned"]);
    let full =
        r#"{"capacity": 1, "load": 100, "unit": "requests/s", "time": "2026-11-21T08:00:00Z"}"#;
    assert_eq!(push("fra", full).0, 204);
    until_german(&server, IAD);
    // What is not understood changes nothing.
    for (body, status) in [
        ("", 400),
        ("{}", 400),
        (r#"{"capacity": 100, "load": "1"}"#, 400),
        (r#"{"capacity": 100, "load": 1, "unit": "connections"}"#, 400),
        (r#"{"capacity": 100, "load": 1, "time": "yesterday"}"#, 400),
        (r#"{"capacity": 100, "load": 1e999}"#, 400),
        (r#"{"capacity": 100, "load": 1, "rejected": 2}"#, 400),
        (r#"{"capacity": 100, "load": 1, "utilisation": 80}"#, 400),
    ] {
        let (got, said) = push("fra", body);
        assert!(got == status || (body.is_empty() && got >= 400), "{body}: {got}: {said}");
    }
    assert_eq!(push("fraa", full).0, 404);
    // It goes stale by itself, and is held.
    until("it is stale", || {
        let said = server.api("/api/v1/datacenters");
        said[0]["report"]["stale"] == true && said[0]["room"] == "unknown"
    });
    assert_eq!(german(&server), IAD);
    // What was measured before is no news; what was measured later is.
    let free = full.replace(r#""capacity": 1,"#, r#""capacity": 100000,"#);
    assert_eq!(push("fra", &free).0, 204);
    assert_eq!(server.api("/api/v1/datacenters")[0]["report"]["stale"], true);
    assert_eq!(push("fra", &free.replace("08:00:00", "08:00:02")).0, 204);
    until_german(&server, FRA);
}

#[test]
fn overrides_hold_until_cleared_or_expired_also_over_a_kill() {
    if !needs("overrides", &["dig"]) {
        return;
    }
    let files = Server::files(&datacenters("", ""));
    files.write("networks.toml", NETWORKS);
    let zone = zone_by_capacity().replace("capacity", "nearest");
    let mut server = files.zone("example.com.toml", &zone).start();
    let run = |server: &Server, arguments: &[&str]| {
        let (said, code) = server.verb(arguments);
        assert_eq!(code, 0, "{said}");
        said
    };
    assert_eq!(german(&server), FRA);
    run(&server, &["drain", "datacenter/fra", "--reason", "new switches"]);
    assert_eq!(german(&server), IAD);
    assert_eq!(verdicts(&server, &[]), ["iad chosen", "fra drained"]);
    let status = run(&server, &["status"]);
    assert!(status.contains("new switches"), "{status}");

    server.kill();
    server.restart();
    assert_eq!(german(&server), IAD, "from the very first answer");
    assert!(run(&server, &["status"]).contains("new switches"));
    let said = run(&server, &["clear", "datacenter/fra"]);
    assert_eq!(german(&server), FRA, "{said}");
    server.kill();
    server.restart();
    assert_eq!(german(&server), FRA);

    // One that ends by itself.
    run(&server, &["force", "member/example.com/web/fra", "down", "--for", "4s"]);
    assert_eq!(verdicts(&server, &[]), ["iad chosen", "fra forced-down"]);
    until_german(&server, FRA);
    assert_eq!(server.api("/api/v1/overrides"), serde_json::json!([]));

    // One that ends while the server is dead.
    run(&server, &["drain", "datacenter/fra", "--for", "1h"]);
    run(&server, &["drain", "pool/example.com/web", "--for", "3s"]);
    let ends = server.api("/api/v1/overrides")[1]["until"].as_u64().expect("an end");
    server.kill();
    until("the override has ended", || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.expect("after 1970") > Duration::from_secs(ends)
    });
    server.restart();
    assert_eq!(server.api("/api/v1/overrides").as_array().map(Vec::len), Some(1));
    assert_eq!(german(&server), IAD);

    // What does not exist is said, and nothing is kept.
    for target in [
        "datacenter/fraa",
        "pool/example.com/wep",
        "member/example.com/web/nrt",
        "l4/web/127.0.0.1:1",
    ] {
        let (said, code) = server.verb(&["drain", target]);
        assert!(code != 0 && !said.is_empty(), "{target}: {said}");
    }
    assert_eq!(server.verb(&["drain", "nonsense"]).1, 2);
    assert_eq!(server.api("/api/v1/overrides").as_array().map(Vec::len), Some(1));
}

#[test]
fn every_member_that_is_passed_over_has_its_reason_said() {
    if !needs("reasons", &["dig"]) {
        return;
    }
    let more = r#"
[datacenters.a]
location = { country = "FR" }
[datacenters.b]
location = { country = "FR" }
[datacenters.c]
location = { country = "FR" }
[datacenters.d]
location = { country = "FR" }
[datacenters.e]
location = { country = "FR" }
"#;
    let files = Server::files(&(datacenters("", "") + more));
    files.write("networks.toml", NETWORKS);
    let zone = format!(
        r#"{RECORDS}
[checks.none]
kind     = "tcp"
port     = 9
interval = "1s"
[pools.web]
steer   = "capacity"
check   = "none"
members = [
  {{ datacenter = "a", addresses = ["203.0.113.11"], weight = 0 }},
  {{ datacenter = "b", addresses = ["203.0.113.12"], probe = "{{net}}.99" }},
  {{ datacenter = "c", cname = "c.example.net." }},
  {{ datacenter = "d", cname = "d.example.net." }},
  {{ datacenter = "e", cname = "e.example.net." }},
  {{ datacenter = "fra", cname = "fra.example.net." }},
  {{ datacenter = "iad", cname = "iad.example.net." }},
]
[names.www]
pool = "web"
"#
    );
    let server = files.zone("example.com.toml", &zone).start();
    for verb in [&["drain", "member/example.com/web/c"][..], &["force", "datacenter/d", "down"]] {
        assert_eq!(server.verb(verb).1, 0);
    }
    for (datacenter, capacity) in [("fra", 5), ("iad", 1000), ("e", 1000)] {
        let path = format!("/api/v1/datacenters/{datacenter}/report");
        let report = format!("{{\"capacity\":{capacity},\"load\":5}}");
        assert_eq!(server.call("PUT", &path, &report).0, 204);
    }
    let expected = [
        "a no-weight",
        "b down",
        "c drained",
        "d forced-down",
        "e chosen",
        "fra not-planned",
        "iad not-planned",
    ];
    until("there is a plan without the full one", || {
        let mut said = verdicts(&server, &[]);
        said.sort();
        said == expected
    });
    let (text, _) = server.verb(&["explain", "www.example.com", "--client", "198.51.100.7"]);
    for reason in [
        "its weight is 0",
        "its checks fail",
        "drained by the operator",
        "forced down by the operator",
        "the plan gives the group to others",
    ] {
        assert!(text.contains(reason), "{reason}: {text}");
    }
    // Offline: from the files alone, and it says so.
    let arguments = ["explain", "www.example.com", "--client", "198.51.100.7", "--offline"];
    let (text, code) = server.verb(&arguments);
    assert!(code == 0 && text.contains("decided from the files alone"), "{text}");
    let mut said = verdicts(&server, &["--offline"]);
    said.sort();
    assert!(
        said.contains(&"a no-weight".into()) && said.contains(&"fra chosen".into()),
        "{said:?}"
    );
}

#[test]
fn a_backend_that_is_drained_takes_no_new_connections() {
    let files = Server::files(&service("web", "{net}.11"));
    let net = files.addresses();
    let _both = backends(net, 11);
    let mut server = files.start();
    let fetch = || http_get((net.host(11), 8080).into(), "/");
    let target = format!("l4/web/{}:9001", net.host(11));
    assert_eq!(server.verb(&["drain", &target]).1, 0);
    until("new connections go to the other", || fetch().as_deref() == Some("9002\n"));
    for _ in 0..6 {
        assert_eq!(fetch().as_deref(), Some("9002\n"));
    }
    server.kill();
    server.restart();
    for _ in 0..6 {
        assert_eq!(fetch().as_deref(), Some("9002\n"));
    }
    assert_eq!(server.verb(&["clear", &target]).1, 0);
    until("it is used again", || fetch().as_deref() == Some("9001\n"));
    let other = format!("l4/web/{}:9002", net.host(11));
    assert_eq!(server.verb(&["force", &other, "down"]).1, 0);
    until("the one that is forced down is not used", || {
        (0..4).all(|_| fetch().as_deref() == Some("9001\n"))
    });
}
