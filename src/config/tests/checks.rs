//! Checks of every kind.

use std::time::Duration;

use super::*;

const ZONE: &str = r#"
origin = "example.com"
records = """
@ SOA ns1 hostmaster 1 2h 15m 2w 5m
@ NS ns1
ns1 A 198.51.100.53
"""
[pools.web]
steer = "weighted"
check = "one"
members = [{ datacenter = "fra", addresses = "203.0.113.1" }]
[names.www]
pool = "web"
"#;

#[test]
fn every_kind_of_check_is_read_with_what_it_wants() {
    let check = |text: &str| {
        let zone = format!("{ZONE}\n[checks.one]\n{text}\n");
        let (_directory, loaded) = load_files(&[("zones/example.com.toml", &zone)]);
        let probe = accepted(&loaded).settings.control.probes[0].clone();
        ((*probe.check).clone(), probe.port)
    };
    let (http, _) = check(
        "kind = \"http\"\nmethod = \"POST\"\nheaders = { X-Ready = \"yes\" }\nmatches = \"^ok\"\n\
         fast_interval = \"1s\"",
    );
    assert_eq!(http.fast_interval, Some(Duration::from_secs(1)));
    let Kind::Http(http) = http.kind else { panic!("http") };
    assert_eq!((http.method.as_str(), http.headers.len()), ("POST", 1));
    assert!(http.matches.is_some_and(|pattern| pattern.is_match(b"ok then")));
    let (tls, port) = check("kind = \"tls\"\nserver_name = \"a.example.com\"\nmin_days = 14");
    let Kind::Tls(tls) = tls.kind else { panic!("tls") };
    assert_eq!((tls.min_days, tls.verify, port), (Some(14), true, 443));
    let (dns, port) = check(
        "kind = \"dns\"\nname = \"example.com\"\ntype = \"NS\"\nanswer = \"ns1.example.com\"",
    );
    let Kind::Dns(dns) = dns.kind else { panic!("dns") };
    let said = dns.answer.map(|answer| answer.to_string());
    assert_eq!((said.as_deref(), port), (Some("ns1.example.com."), 53));
    let (grpc, port) = check("kind = \"grpc\"\nport = 50051\nservice = \"web\"\ntls = true");
    let Kind::Grpc(grpc) = grpc.kind else { panic!("grpc") };
    assert!(grpc.tls.is_some() && grpc.service == "web" && port == 50051);
    let (exec, port) = check("kind = \"exec\"\ncommand = [\"/bin/sh\", \"-c\", \"true\"]");
    let Kind::Exec(exec) = exec.kind else { panic!("exec") };
    assert_eq!((exec.command.len(), port), (3, 0));
    let (agent, port) = check("kind = \"agent\"\nport = 8054\nsend = \"how\\n\"");
    let Kind::Agent(agent) = agent.kind else { panic!("agent") };
    assert_eq!((agent.send.as_deref(), port), (Some("how\n"), 8054));
    assert_eq!(check("kind = \"tcp-half-open\"\nport = 80").0.kind, Kind::TcpHalfOpen);
}
