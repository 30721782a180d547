//! Every kind of check against real servers: some are well, and some are down, slow, lying (the port
//! is open, and no more), half-broken (the content is wrong) or flapping. The same checks watch the
//! members of pools and the backends of L4 services.

mod flapping;
mod sites;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use self::sites::Sites;
use crate::support::namespaces::inside;
use crate::support::server::http_get;
use crate::support::{Backend, Server, dig, until, until_some};

const PROGRAMS: [&str; 6] = ["dig", "nginx", "openssl", "named", "nsd", "etcd"];

const RECORDS: &str = r#"
origin  = "example.com."
records = """
@    SOA   ns1 hostmaster 1 2h 15m 2w 5m
@    NS    ns1
ns1  A     198.51.100.53
"""
"#;

/// A check, and what it says of some targets.
#[derive(Clone)]
struct Case {
    name: &'static str,
    /// The keys of the check, its pace apart.
    keys: String,
    /// Each target, and what is wrong with it: a part of what the check says; empty: nothing.
    targets: Vec<(String, &'static str)>,
}

impl Case {
    fn new(name: &'static str, keys: impl Into<String>, targets: &[(&str, &'static str)]) -> Case {
        let targets = targets.iter().map(|(target, wrong)| (target.to_string(), *wrong)).collect();
        Case { name, keys: keys.into(), targets }
    }
}

/// A server that watches the targets of every case twice: as members of a pool, and as the backends
/// of a service. A service listens at `{net}.100`, on 9000 and the number of its case.
fn server(cases: &[Case], pace: &str) -> Server {
    let most = cases.iter().map(|case| case.targets.len()).max().unwrap_or_default();
    let datacenters: String = (0..most).map(|at| format!("[datacenters.d{at}]\n")).collect();
    let mut zone = RECORDS.to_owned();
    for Case { name, keys, targets } in cases {
        let of_members = keys.replace("{who}", "member");
        let has_ports = !keys.contains("icmp");
        let member = |(at, (target, _)): (usize, &(String, &str))| {
            let (host, _) = target.rsplit_once(':').expect("a port");
            let probe = if has_ports { target } else { host };
            let address = at + 1;
            format!(
                "{{ datacenter = \"d{at}\", addresses = \"203.0.113.{address}\", probe = \"{probe}\" }}"
            )
        };
        let members: Vec<String> = targets.iter().enumerate().map(member).collect();
        writeln!(
            zone,
            "[checks.{name}]\n{of_members}\n{pace}\n[pools.{name}]\nsteer = \"weighted\"\nttl = \"1s\"\n\
             check = \"{name}\"\nmembers = [\n{}\n]\n[names.{name}]\npool = \"{name}\"",
            members.join(",\n")
        )
        .expect("a string takes all");
    }
    let toml = datacenters + &services(cases, pace);
    Server::files(&toml).zone("example.com.toml", &zone).start()
}

/// A service for each case, whose backends are the targets.
fn services(cases: &[Case], pace: &str) -> String {
    let service = |(at, Case { name, keys, targets }): (usize, &Case)| {
        let backends: Vec<String> =
            targets.iter().map(|(target, _)| format!("{{ address = \"{target}\" }}")).collect();
        let (port, backends) = (9000 + at, backends.join(", "));
        let check = keys.replace("{who}", "backend") + "\n" + pace;
        let check = check.replace('\n', ", ");
        format!(
            "[[l4.services]]\nname = \"{name}\"\nlisten = \"{{net}}.100:{port}\"\n\
             backends = [{backends}]\ncheck = {{ {check} }}\n"
        )
    };
    cases.iter().enumerate().map(service).collect()
}

/// What is known of each probe, by its name.
fn probes(server: &Server) -> BTreeMap<String, Value> {
    let status = server.api("/api/v1/status");
    let probes = status["probes"].as_array().expect("the probes");
    let named = |probe: &Value| (probe["name"].as_str().expect("a name").into(), probe.clone());
    probes.iter().map(named).collect()
}

/// The names of the probes of a case's targets: of the member, and of the backend.
fn names(case: &Case, at: usize) -> [String; 2] {
    let target = &case.targets[at].0;
    let host = target.rsplit_once(':').expect("a port").0;
    [format!("example.com/{}/d{at} {host}", case.name), format!("l4/{}/{target}", case.name)]
}

/// Waits until every target is found as it is.
fn until_all_are_known(server: &Server, cases: &[Case]) {
    let targets =
        || cases.iter().flat_map(|case| (0..case.targets.len()).map(move |at| (case, at)));
    let mut wrong = Vec::new();
    let begin = std::time::Instant::now();
    until("everything is found as it is", || {
        let probes = probes(server);
        wrong.clear();
        for (case, at) in targets() {
            let words = case.targets[at].1;
            for name in names(case, at) {
                let probe = probes.get(&name).unwrap_or_else(|| panic!("no probe {name}"));
                let result = probe["last_result"].as_str().unwrap_or_default();
                let found = match words {
                    "" => probe["state"] == "up" && result == "ok",
                    words => probe["state"] == "down" && result.contains(words),
                };
                if !found {
                    wrong.push(format!("{name}: {} {result:?}, not {words:?}", probe["state"]));
                }
            }
        }
        let is_late = begin.elapsed().as_secs() > 100;
        assert!(!is_late || wrong.is_empty(), "{}", wrong.join("\n"));
        wrong.is_empty()
    });
}

const PACE: &str =
    "interval = \"1s\"\nfast_interval = \"200ms\"\ntimeout = \"1s\"\nrise = 1\nfall = 2";

#[test]
fn every_kind_tells_who_is_well_and_says_what_is_wrong_with_the_others() {
    if !inside(
        "checks::every_kind_tells_who_is_well_and_says_what_is_wrong_with_the_others",
        &PROGRAMS,
    ) {
        return;
    }
    let sites = Sites::start();
    let cases = sites.cases();
    let server = server(&cases, PACE);
    until_all_are_known(&server, &cases);
    // What ends soon is known before it does.
    let ends = &probes(&server)[&format!("l4/tls/127.0.0.1:{}", sites::TLS)]["certificate_ends"];
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("the time");
    let days = (ends.as_u64().expect("a time") - now.as_secs()) / (24 * 3600);
    assert_eq!(days, 90);
    // And so who asks is sent where all is well, by the DNS and by the forwarder.
    for case in &cases {
        let good: Vec<String> = (case.targets.iter().enumerate())
            .filter(|(_, (_, wrong))| wrong.is_empty())
            .map(|(at, _)| format!("203.0.113.{}", at + 1))
            .collect();
        if good.is_empty() {
            continue;
        }
        for _ in 0..4 {
            let answer = dig(server.dns(), &format!("{}.example.com A", case.name)).address();
            assert!(good.contains(&answer), "{}: {answer} of {good:?}", case.name);
        }
    }
    let http = cases.iter().position(|case| case.name == "http").expect("the case");
    let vip = (server.addresses().host(100), 9000 + http as u16).into();
    for _ in 0..6 {
        assert_eq!(http_get(vip, "/healthz").as_deref(), Some("ready\n"));
    }
}

#[test]
fn servers_that_hang_and_come_back_are_followed_by_every_kind() {
    if !inside("checks::servers_that_hang_and_come_back_are_followed_by_every_kind", &PROGRAMS) {
        return;
    }
    let mut sites = Sites::start();
    let cases = [sites.well(), sites.doors()].concat();
    let server = server(&cases, PACE);
    until_all_are_known(&server, &cases);
    for _ in 0..2 {
        sites.hang();
        // A process that hangs still has its port open: that much is all that `tcp` can tell.
        let hanging: Vec<Case> = cases
            .iter()
            .map(|case| {
                let wrong = match case.name {
                    "tcp" | "half" | "ping" => "",
                    "exec" => "no end within",
                    "tcp-door" | "half-door" => "refused",
                    "home" => "unreachable",
                    _ => "no answer within",
                };
                Case::new(case.name, case.keys.clone(), &[(&case.targets[0].0, wrong)])
            })
            .collect();
        until_all_are_known(&server, &hanging);
        sites.wake();
        until_all_are_known(&server, &cases);
    }
}

#[test]
fn a_target_that_flaps_from_probe_to_probe_changes_no_verdict_and_is_probed_fast() {
    if !inside(
        "checks::a_target_that_flaps_from_probe_to_probe_changes_no_verdict_and_is_probed_fast",
        &["dig"],
    ) {
        return;
    }
    let flapping = flapping::http();
    // It answers the two that watch it in turn each.
    let keys = "kind = \"http\"\nhost = \"{who}.example.com\"";
    let target = flapping.to_string();
    let cases = [Case::new("web", keys, &[(&target, "")])];
    let pace = "interval = \"1h\"\nfast_interval = \"100ms\"\nrise = 2\nfall = 2\ntimeout = \"5s\"";
    let server = server(&cases, pace);
    let [member, backend] = names(&cases[0], 0);
    let of = |name: &str| probes(&server)[name].clone();
    let since = [&member, &backend].map(|name| of(name)["since"].clone());
    // With an hour in between it would not be asked thrice.
    for name in [&member, &backend] {
        until_some("it is probed often", || {
            (of(name)["checks_total"].as_u64() > Some(10)).then_some(())
        });
    }
    for (name, since) in [&member, &backend].into_iter().zip(since) {
        let probe = of(name);
        assert_eq!((&probe["since"], probe["failures_total"].as_u64() > Some(3)), (&since, true));
    }
}

#[test]
fn targets_of_every_kind_that_flap_from_probe_to_probe_keep_their_verdicts() {
    if !inside(
        "checks::targets_of_every_kind_that_flap_from_probe_to_probe_keep_their_verdicts",
        &PROGRAMS,
    ) {
        return;
    }
    let sites = Sites::start();
    let cases = sites.flapping();
    let pace = "interval = \"1h\"\nfast_interval = \"100ms\"\nrise = 2\nfall = 2\ntimeout = \"1m\"";
    // Each target answers one that asks: the backends are watched, and no members.
    let server = Server::files(&services(&cases, pace)).start();
    let known = || {
        let probes = probes(&server);
        let of = |case: &Case| probes[&format!("l4/{}/{}", case.name, case.targets[0].0)].clone();
        cases.iter().map(of).collect::<Vec<Value>>()
    };
    let first = known();
    until("all have flapped", || {
        known().iter().all(|probe| probe["failures_total"].as_u64() > Some(3))
    });
    for (then, now) in first.iter().zip(known()) {
        assert_eq!((&now["state"], &now["since"]), (&"up".into(), &then["since"]), "{now}");
        // One more is under way, perhaps.
        let [checks, failures] = ["checks_total", "failures_total"].map(|key| now[key].as_u64());
        assert_eq!(checks.map(|checks| checks / 2), failures, "{now}");
    }
}

#[test]
fn connections_that_fail_are_failed_checks_and_the_backend_is_down_before_its_next_check() {
    const SERVICE: &str = r#"
[[l4.services]]
name     = "web"
listen   = "{net}.100:9000"
check    = { kind = "tcp", interval = "1h", fast_interval = "1h", timeout = "5s", fall = 2 }
backends = [{ address = "{net}.11:80" }, { address = "{net}.12:80" }]
"#;
    let files = Server::files(SERVICE);
    let net = files.addresses();
    let [_kept, mut lost] = [11, 12].map(|last| Backend::start((net.host(last), 80)));
    let server = files.start();
    let vip = (net.host(100), 9000).into();
    let name = format!("l4/web/{}:80", net.host(12));
    assert_eq!(probes(&server)[&name]["state"], "up");
    lost.stop();
    until("the lost backend is down", || {
        assert!(http_get(vip, "/").is_some(), "the other takes who was not taken");
        probes(&server)[&name]["state"] == "down"
    });
    let probe = &probes(&server)[&name];
    assert!(probe["traffic_failures_total"].as_u64() >= Some(2), "{probe}");
    assert_eq!(probes(&server)[&format!("l4/web/{}:80", net.host(11))]["state"], "up");
}

#[test]
fn a_check_is_not_believed_twice_that_is_content_with_a_backend_that_takes_no_connection() {
    const SERVICE: &str = r#"
[[l4.services]]
name     = "web"
listen   = "{net}.100:9000"
check    = { kind = "exec", command = ["/bin/true"], interval = "1m", timeout = "1m", rise = 1, fall = 2 }
backends = [{ address = "{net}.11:80" }, { address = "{net}.12:80" }]
"#;
    let files = Server::files(SERVICE);
    let net = files.addresses();
    let _kept = Backend::start((net.host(11), 80));
    let server = files.start();
    let vip = (net.host(100), 9000).into();
    until("it is left alone, and its check is content", || {
        assert!(http_get(vip, "/").is_some(), "the other takes who was not taken");
        let services = server.api("/api/v1/l4");
        let closed = &services[0]["backends"][1];
        let probe = &probes(&server)[&format!("l4/web/{}:80", net.host(12))];
        let held = (&closed["avoided"], &closed["state"], &probe["state"]);
        held == (&true.into(), &"down".into(), &"up".into())
    });
}
