//! What people see of zones that lack something: `status`, the API, the metrics, `explain`.

use super::support::Server;
use super::support::server::http_get;

/// A server with a zone whose primary does not answer, and one with a name that no resolver knows.
fn server() -> Server {
    Server::files("[datacenters.fra]\n[datacenters.iad]\n")
        .zone("awaited.example.toml", "origin = \"awaited.example.\"\nprimary = \"{net}.9:5353\"\n")
        .zone(
            "here.example.toml",
            "origin = \"here.example.\"\n\
             records = \"\"\"\n@ SOA ns1 h 7 2h 15m 2w 5m\n@ NS ns1\nns1 A 198.51.100.1\n\"\"\"\n\
             [pools.cdn]\nsteer = \"failover\"\nmembers = [\n\
             { datacenter = \"fra\", cname = \"cdn.example.net.\" },\n\
             { datacenter = \"iad\", addresses = [\"203.0.113.74\"] },\n]\n\
             [names.www]\npool = \"cdn\"\nflatten = true\n",
        )
        .replacing("portolan.toml", "[dns]\n", "[dns]\nresolvers = [\"{net}.9:5353\"]\n")
        .start()
}

#[test]
fn a_zone_without_data_and_a_name_without_addresses_are_seen_everywhere() {
    let server = server();
    let (status, _) = server.verb(&["status"]);
    let line = |begin: &str| {
        let line = status.lines().find(|line| line.trim_start().starts_with(begin));
        line.unwrap_or_else(|| panic!("no {begin}: {status}")).to_string()
    };
    let awaited = line("awaited.example.");
    assert!(awaited.contains("secondary  awaited") && awaited.contains("trouble: "), "{awaited}");
    assert!(line("here.example.").contains("primary    served   7"), "{status}");
    let name = line("cdn.example.net.");
    assert!(name.contains("unknown  no addresses"), "{name}");

    let zones = server.api("/api/v1/zones");
    assert_eq!((&zones[0]["state"], &zones[0]["role"]), (&"awaited".into(), &"secondary".into()));
    assert!(zones[0]["serial"].is_null() && zones[0]["secondary"]["last_error"].is_string());
    assert_eq!(zones[1]["serial"], 7);
    assert_eq!(server.api("/api/v1/names")[0]["state"], "unknown");

    let metrics = http_get(server.admin(), "/metrics").expect("metrics");
    for line in [
        "portolan_zone_serial{zone=\"here.example.\"} 7.0",
        "portolan_zone_served{zone=\"awaited.example.\"} 0.0",
        "portolan_zone_refresh_fails{zone=\"awaited.example.\"} 1.0",
        "portolan_resolved_names{state=\"unknown\"} 1.0",
    ] {
        assert!(metrics.lines().any(|known| known == line), "{line}: {metrics}");
    }
    assert!(!metrics.contains("portolan_zone_serial{zone=\"awaited.example.\"}"));

    let explain = |name: &str| server.verb(&["explain", name, "--client", "198.51.100.1"]).0;
    assert!(explain("www.awaited.example").contains("SERVFAIL: the primary has not sent the zone"));
    assert!(explain("www.here.example").contains("cdn.example.net., not resolved"));
}
