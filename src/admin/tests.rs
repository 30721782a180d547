//! The window from outside: a real listener on loopback, called as a browser or a script would.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::control::overrides::Overrides;
use crate::control::{AllocationSettings, Loaded, Settings as ControlSettings};
use crate::decide::{
    Datacenter, DatacenterId, Match, Member, MemberId, Policy, PolicyId, Pool, PoolId, ProbeId,
    Rule, Steer, Steering, Target, WhenAllDown,
};
use crate::geo::{Coordinates, Location, RangeTable, World};
use crate::health::{Check, ExecCheck, Kind, Probe};
use crate::{l4, zone};

const RECORDS: &str = "\
@    3600 SOA ns1 hostmaster 7 2h 15m 2w 600
@    NS    ns1
ns1  A     198.51.100.53
@    MX    10 mail
mail A     198.51.100.25
blog CNAME www
far  CNAME example.net.
old  DNAME new
sub  NS    ns.sub
ns.sub A   198.51.100.99
";

/// A location with coordinates and a country.
fn place(country: &str, latitude: f64, longitude: f64) -> Location {
    Location {
        country: country.parse().ok(),
        coordinates: Coordinates::new(latitude, longitude),
        ..Location::default()
    }
}

/// 203.0.113.0/24 is in Germany, the rest in America; of IPv6 nothing is known.
fn world() -> World {
    let locations = [Location::default(), place("DE", 50.1, 8.7), place("US", 39.0, -77.5)];
    let v4 = [(0, 2), (0xcb00_7100, 1), (0xcb00_7200, 2)];
    World::new(RangeTable::from_starts(v4), RangeTable::constant(0), locations.into())
}

/// Two datacenters in one pool, the first of which is probed at `probed`.
pub(super) fn settings(probed: SocketAddr) -> ControlSettings {
    let datacenter =
        |name: &str, location| Datacenter { name: name.into(), location, bias: 0, cost_ms: 0.0 };
    let member = |id: u16, address: Ipv4Addr, probe| Member {
        id: MemberId(id.into()),
        datacenter: DatacenterId(id),
        weight: 1,
        target: Target::Addresses { v4: [(address, probe)].into(), v6: [].into() },
    };
    let origin: crate::dns::Name = "example.com.".parse().unwrap();
    let pool = Pool {
        zone: origin.clone(),
        name: "web".into(),
        is_twin: false,
        steer: Steer::Nearest,
        ttl: 30,
        ttl_min: 30,
        share: 1.0,
        answers: 1,
        min_healthy: 1,
        when_all_down: WhenAllDown::AnswerAll,
        members: [
            member(0, [203, 0, 113, 10].into(), Some(ProbeId(0))),
            member(1, [203, 0, 113, 74].into(), None),
        ]
        .into(),
    };
    let rule = |matches| Rule { matches, pool: PoolId(0) };
    let korea = Match { country: ["KR".parse().unwrap()].into(), ..Match::default() };
    let steering = Steering {
        datacenters: [
            datacenter("fra", place("DE", 50.1, 8.7)),
            datacenter("iad", place("US", 39.0, -77.5)),
        ]
        .into(),
        pools: [pool].into(),
        policies: [Policy { rules: [rule(korea), rule(Match::default())].into() }].into(),
    };
    let (zones, problems) = zone::compile(&[zone::Settings {
        origin: origin.clone(),
        default_ttl: 300,
        sources: vec![zone::Source {
            file: "test.zone".into(),
            text: RECORDS.into(),
            included_by: None,
        }],
        steered: vec![zone::Steered {
            owner: crate::dns::Name::parse_relative("www", &origin).unwrap(),
            policy: PolicyId(0),
            ttl: 30,
            may_be_cname: false,
            default: None,
        }],
        base: zone::Base::Nothing,
        is_transferred: false,
    }]);
    let check = Check {
        interval: Duration::from_secs(60),
        jitter: 0.0,
        timeout: Duration::from_secs(5),
        rise: 1,
        fall: 1,
        ..Check::new(Kind::Tcp)
    };
    let name = "example.com/web/fra 203.0.113.10".into();
    let (address, port) = (probed.ip(), probed.port());
    ControlSettings {
        zones: Arc::new(zones.unwrap_or_else(|| panic!("{problems:#?}"))),
        secondaries: Arc::default(),
        announcers: Arc::default(),
        keys: Arc::default(),
        identity: Arc::default(),
        transfers: Arc::default(),
        steering: Arc::new(steering),
        world: Arc::new(world()),
        probes: vec![Probe { name, check: Arc::new(check), address, port }],
        flattened: Arc::default(),
        resolvers: Vec::new(),
        reports: vec![None, None],
        capacity: vec![Some(40_000.0), None],
        units: vec![Some("requests/s".into()), None],
        allocation: AllocationSettings::default(),
        latencies: Arc::default(),
    }
}

/// An open window, with a pool member that is up as long as this lives.
struct Open {
    address: SocketAddr,
    client: reqwest::Client,
    control: Control,
    stop: CancellationToken,
    served: tokio::task::JoinHandle<()>,
    /// Accepts the probes' connections.
    _target: TcpListener,
}

async fn open(token: Option<&str>) -> Open {
    open_with(token, None).await
}

async fn open_with(token: Option<&str>, l4: Option<L4>) -> Open {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let target = TcpListener::bind(loopback).await.unwrap();
    let settings = settings(target.local_addr().unwrap());
    let control =
        Control::start(Arc::new(settings), Loaded::default(), Overrides::default(), None).await;
    let settings = Settings { listen: loopback, token: token.map(String::from) };
    let admin = Admin::bind(settings, &mut Inherited::default()).await.unwrap();
    let address = admin.local_addr().unwrap();
    let stop = CancellationToken::new();
    let started = (SystemTime::now(), Instant::now());
    let state = State { control: Some(control.clone()), l4, dns: None, started };
    let served = tokio::spawn(admin.serve(state, stop.clone()));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    Open { address, client, control, stop, served, _target: target }
}

impl Open {
    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        answer(self.request(Method::GET, path)).await
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        answer(self.request(Method::POST, path).json(&body)).await
    }

    async fn text(&self, path: &str) -> String {
        let request = self.request(Method::GET, path).header("accept", "text/plain");
        request.send().await.unwrap().text().await.unwrap()
    }
}

async fn answer(request: reqwest::RequestBuilder) -> (StatusCode, Value) {
    let answer = request.send().await.unwrap();
    let status = answer.status();
    let body = answer.bytes().await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

#[tokio::test]
async fn the_status_tells_zones_datacenters_pools_and_probes() {
    let open = open(None).await;
    let (code, status) = open.get("/api/v1/status").await;
    assert_eq!(code, 200);
    assert_eq!(status["changes_need"], "loopback");
    let zone = json!({ "origin": "example.com.", "role": "primary", "state": "served", "serial": 7, "names": 9, "steered": 1, "secondary": null, "first_served": null });
    assert_eq!(status["zones"], json!([zone]));
    let fra = &status["datacenters"][0];
    assert_eq!(fra["state"], "up");
    assert_eq!(fra["capacity"], 40_000.0);
    assert_eq!(fra["location"]["country"], "DE");
    let member = &status["pools"][0]["members"][0];
    assert_eq!(member["target"], "member/example.com/web/fra");
    assert_eq!(member["targets"][0]["state"], "up");
    assert_eq!(status["pools"][0]["members"][1]["targets"][0]["state"], "unwatched");
    assert_eq!(status["probes"][0]["state"], "up");
    for path in ["zones", "pools", "datacenters", "overrides"] {
        let (code, part) = open.get(&format!("/api/v1/{path}")).await;
        assert_eq!((code, &part), (StatusCode::OK, &status[path]), "{path}");
    }
    let text = open.text("/api/v1/status").await;
    assert!(
        text.contains("POOL web of example.com.: up, 2 of 2 members may be answered"),
        "{text}"
    );
}

#[tokio::test]
async fn an_override_moves_the_answer_and_is_taken_back() {
    let open = open(None).await;
    let question = "/api/v1/explain?name=www.example.com&client=203.0.113.7";
    let records = |explained: &Value| explained["links"][0]["outcome"]["answer"]["records"].clone();
    let (_, before) = open.get(question).await;
    assert_eq!(records(&before), json!(["203.0.113.10"]));

    let wanted = json!({
        "target": "datacenter/fra", "action": "drain", "for": "2h", "reason": "new racks",
    });
    let (code, reply) = open.post("/api/v1/overrides", wanted).await;
    assert_eq!((code, &reply["warning"]), (StatusCode::OK, &Value::Null));
    let (since, until) = (&reply["override"]["since"], &reply["override"]["until"]);
    assert_eq!(until.as_u64().unwrap() - since.as_u64().unwrap(), 7_200);

    let (_, during) = open.get(question).await;
    assert_eq!(records(&during), json!(["203.0.113.74"]));
    let (_, pools) = open.get("/api/v1/pools").await;
    let member = &pools[0]["members"][0];
    assert_eq!(member["state"], "drained");
    assert_eq!(member["reason"], "by the override of datacenter/fra: new racks");

    let path = "/api/v1/overrides?target=datacenter/fra";
    let (code, reply) = answer(open.request(Method::DELETE, path)).await;
    assert_eq!((code, &reply["cleared"]), (StatusCode::OK, &json!(true)));
    let body = json!({ "target": "datacenter/fra" });
    let again = open.request(Method::DELETE, "/api/v1/overrides").json(&body);
    assert_eq!(answer(again).await.1["cleared"], json!(false));
    let (_, after) = open.get(question).await;
    assert_eq!(records(&after), json!(["203.0.113.10"]));
}

#[tokio::test]
async fn a_client_that_is_not_told_is_where_its_resolver_is() {
    let open = open(None).await;
    let answer = |explained: Value| explained["links"][0]["outcome"]["answer"].clone();
    let ask = "/api/v1/explain?name=www.example.com&resolver=203.0.113.7";
    let (_, without) = open.get(ask).await;
    let (_, with) = open.get(&format!("{ask}&client=0.0.0.0/0")).await;
    assert_eq!(answer(with.clone()), answer(without));
    assert_eq!(with["links"][0]["outcome"]["address"], "203.0.113.7");
}

#[tokio::test]
async fn a_pushed_report_is_taken_in() {
    let open = open(None).await;
    let put = |name: &str, body: Value| {
        let path = format!("/api/v1/datacenters/{name}/report");
        answer(open.request(Method::PUT, &path).json(&body))
    };
    let good = json!({ "capacity": 50_000, "load": 1_234.5, "unit": "requests/s" });
    assert_eq!(put("fra", good.clone()).await.0, 204);
    let (_, datacenters) = open.get("/api/v1/datacenters").await;
    assert_eq!(datacenters[0]["load"], 1_234.5);
    assert_eq!(datacenters[0]["capacity"], 50_000.0);
    assert_eq!(put("lhr", good).await.0, 404);
    assert_eq!(put("fra", json!({ "capacity": 1, "laod": 1 })).await.0, 400);
    assert_eq!(put("fra", json!({ "capacity": -1, "load": 1 })).await.0, 400);
}

#[tokio::test]
async fn mistakes_are_told_in_json_with_the_right_status() {
    let open = open(None).await;
    for (path, code) in [
        ("/api/v1/nothing", 404),
        ("/nothing", 404),
        ("/api/v1/explain", 400),
        ("/api/v1/explain?name=www.example.com", 400),
        ("/api/v1/explain?name=a..b&client=203.0.113.7", 400),
        ("/api/v1/explain?name=a&type=BOGUS&client=203.0.113.7", 400),
        ("/api/v1/explain?name=a&client=203.0.113.0/33", 400),
        ("/api/v1/explain?name=a&client=0.0.0.0/0", 400),
        ("/api/v1/explain?name=a&clint=203.0.113.0/24", 400),
    ] {
        let (status, said) = open.get(path).await;
        assert_eq!(status, code, "{path}");
        assert!(said["error"].is_string(), "{path}: {said}");
    }
    for (body, code) in [
        (json!({ "target": "datacenter/lhr", "action": "drain" }), 404),
        (json!({ "target": "elsewhere", "action": "drain" }), 400),
        (json!({ "target": "datacenter/fra", "action": "explode" }), 400),
        (json!({ "target": "datacenter/fra", "action": "drain", "for": "soon" }), 400),
        (
            json!({ "target": "datacenter/fra", "action": "drain", "reason": "x".repeat(70_000) }),
            413,
        ),
        (json!({ "target": "datacenter/fra", "action": "drain", "reason": "a\nb" }), 400),
        (json!({ "target": "datacenter/fra", "action": "drain", "reason": "x".repeat(1001) }), 400),
    ] {
        let (status, said) = open.post("/api/v1/overrides", body).await;
        assert_eq!(status, code, "{said}");
        assert!(said["error"].is_string(), "{said}");
    }
    let (status, said) = open.post("/api/v1/status", json!({})).await;
    assert_eq!(status, 405, "{said}");
}

#[tokio::test]
async fn every_change_and_no_look_is_guarded() {
    let open = open(Some("secret")).await;
    let changes = [
        (Method::POST, "/api/v1/overrides"),
        (Method::DELETE, "/api/v1/overrides?target=datacenter/fra"),
        (Method::PUT, "/api/v1/datacenters/fra/report"),
    ];
    for (method, path) in changes {
        let (status, said) = answer(open.request(method.clone(), path).json(&json!({}))).await;
        assert_eq!(status, 401, "{method} {path}");
        assert!(said["help"].as_str().unwrap().contains("token_file"), "{said}");
    }
    let wanted = json!({ "target": "datacenter/fra", "action": "force-down" });
    let post = || open.request(Method::POST, "/api/v1/overrides").json(&wanted);
    assert_eq!(answer(post().bearer_auth("secret")).await.0, 200);
    assert_eq!(answer(post().bearer_auth("Secret")).await.0, 401);
    let foreign = post().bearer_auth("secret").header("origin", "http://evil.example");
    assert_eq!(answer(foreign).await.0, 403);
    for path in ["/api/v1/status", "/metrics", "/healthz", "/"] {
        assert_eq!(open.get(path).await.0, 200, "{path}");
    }
}

#[tokio::test]
async fn a_rebound_name_changes_nothing() {
    let open = open(None).await;
    let wanted = json!({ "target": "datacenter/fra", "action": "drain" });
    let post = || open.request(Method::POST, "/api/v1/overrides").json(&wanted);
    assert_eq!(answer(post().header("host", "evil.example:8053")).await.0, 403);
    assert_eq!(answer(post().header("host", "localhost:8053")).await.0, 200);
}

#[tokio::test]
async fn events_stream_as_they_happen_and_end_with_the_server() {
    let open = open(None).await;
    let mut events = open.request(Method::GET, "/api/v1/events").send().await.unwrap();
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    let target = "datacenter/iad".parse().unwrap();
    open.control.set_override(target, crate::control::Action::Drain, None, None).unwrap();
    let mut heard = String::new();
    while !heard.contains("\n\n") {
        let chunk = tokio::time::timeout(Duration::from_secs(30), events.chunk()).await;
        heard += std::str::from_utf8(&chunk.unwrap().unwrap().unwrap()).unwrap();
    }
    assert!(heard.contains(r#""kind":"override","subject":"datacenter/iad""#), "{heard}");
    open.stop.cancel();
    let end = tokio::time::timeout(Duration::from_secs(30), async {
        while let Ok(Some(_)) = events.chunk().await {}
        open.served.await
    });
    end.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stop_lets_a_call_under_way_finish_and_takes_no_more() {
    let open = open(None).await;
    let mut stream = TcpStream::connect(open.address).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 200");
    open.stop.cancel();
    let served = tokio::time::timeout(Duration::from_secs(30), open.served).await;
    served.unwrap().unwrap();
    assert!(TcpStream::connect(open.address).await.is_err());
}

#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere() {
    let open = open(None).await;
    let page = open.request(Method::GET, "/").send().await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    let html = page.text().await.unwrap();
    // A link is followed by whoever wants to; everything else would be loaded.
    let loaded = html.replace("<a href=\"https://", "");
    assert!(!loaded.contains("//") && !html.contains("<style") && !html.contains("onclick"));
    for (path, kind) in [
        ("/page.js", "text/javascript"),
        ("/plan.js", "text/javascript"),
        ("/page.css", "text/css"),
    ] {
        let file = open.request(Method::GET, path).send().await.unwrap();
        assert!(file.headers()["content-type"].to_str().unwrap().starts_with(kind));
        assert!(!file.text().await.unwrap().contains("innerHTML"));
    }
}

#[tokio::test]
async fn an_explanation_reads_as_steps() {
    let open = open(None).await;
    let text = open.text("/api/v1/explain?name=blog.example.com&client=203.0.113.0/24").await;
    let expected = "\
blog.example.com. A for a client in 203.0.113.0/24, asked by 203.0.113.0

name      blog.example.com.
zone      example.com.
answer    a CNAME, the same for everybody
          blog.example.com.  300  CNAME  www.example.com.

name      www.example.com.
zone      example.com.
location  203.0.113.0 is in DE, at 50.10, 8.70; so is 203.0.113.0/24
rule      1. country = KR → web: does not hold: country differs
rule      2. everybody → web: holds: chosen
pool      web of example.com. (the nearest) is up: 2 of 2 members may be answered, 1 needed
          fra  chosen                          0 km     203.0.113.10 up
          iad  passed over: another is nearer  6555 km  203.0.113.74 up
answer    A 203.0.113.10; TTL 30 s; the same for everybody in 203.0.113.0/24
";
    assert_eq!(text, expected);
}

#[tokio::test]
async fn names_that_are_not_steered_are_explained_too() {
    let open = open(None).await;
    let outcome = async |name: &str, rtype: &str| {
        let path = format!("/api/v1/explain?name={name}&type={rtype}&client=203.0.113.7");
        let (_, explained) = open.get(&path).await;
        explained["links"].as_array().unwrap().last().unwrap()["outcome"].clone()
    };
    assert_eq!(outcome("example.com", "MX").await["records"][0]["data"], "10 mail.example.com.");
    assert_eq!(outcome("mail.example.com", "AAAA").await["kind"], "no-data");
    assert_eq!(outcome("none.example.com", "A").await["kind"], "name-error");
    assert_eq!(outcome("example.net", "A").await["kind"], "refused");
    assert_eq!(outcome("far.example.com", "A").await["kind"], "cname");
    assert_eq!(outcome("example.com", "ANY").await["kind"], "any");
    assert_eq!(outcome("a.old.example.com", "A").await["kind"], "name-error");
    let redirected = outcome("a.old.example.com", "CNAME").await;
    assert_eq!((&redirected["kind"], &redirected["is_too_long"]), (&"dname".into(), &false.into()));
    assert_eq!(redirected["records"][0]["owner"], "old.example.com.");
    assert_eq!(redirected["records"][0]["data"], "new.example.com.");
    let referral = outcome("a.sub.example.com", "A").await;
    assert_eq!(referral["name_servers"][0]["data"], "ns.sub.example.com.");
    assert_eq!(referral["glue"][0]["data"], "198.51.100.99");
}

#[tokio::test]
async fn where_backends_are_very_many_durations_are_told_of_services() {
    let backends = |count: u16| {
        let backend = |n| l4::BackendSettings::new(([127, 1, 0, 1], n).into(), 1);
        let service =
            l4::ServiceSettings::new("web", Vec::new(), (1..=count).map(backend).collect());
        l4::Settings::new(Some(1), vec![service])
    };
    let l4 = l4::start(backends(1_000)).await.unwrap();
    let open = open_with(None, Some(l4.clone())).await;
    let scrape = async || {
        let answer = open.request(Method::GET, "/metrics").send().await.unwrap();
        answer.text().await.unwrap()
    };
    let of_each = "portolan_l4_connect_seconds_count{service=\"web\",backend=\"127.1.0.1:7\"} 0";
    let of_all = "portolan_l4_connect_seconds_count{service=\"web\"} 0";
    let has = |text: &str, line| text.lines().any(|found| found == line);
    let text = scrape().await;
    assert!(has(&text, of_each) && !has(&text, of_all));
    l4.replace(backends(1_001)).await.unwrap();
    let text = scrape().await;
    assert!(has(&text, of_all) && !has(&text, of_each));
    assert!(has(&text, "portolan_l4_connections{service=\"web\",backend=\"127.1.0.1:7\"} 0.0"));
}

#[tokio::test]
async fn metrics_are_in_a_format_that_prometheus_reads() {
    let open = open(None).await;
    let scrape = async |accept: &str| {
        let request = open.request(Method::GET, "/metrics").header("accept", accept);
        let answer = request.send().await.unwrap();
        let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
        (kind, answer.text().await.unwrap())
    };
    let (kind, text) = scrape("text/plain").await;
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    assert!(text.contains("\n# TYPE portolan_config_loads_total counter\n"), "{text}");
    assert!(text.contains("\n# TYPE portolan_probe_up gauge\n"), "{text}");
    assert!(!text.contains("# EOF"));
    let (kind, text) = scrape("application/openmetrics-text;version=1.0.0,text/plain;q=0.5").await;
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    assert!(text.ends_with("# EOF\n"));
    let mut seen = std::collections::HashSet::new();
    let mut family = String::new();
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(told) = line.strip_prefix("# ") {
            let mut words = told.split(' ');
            assert!(matches!(words.next(), Some("HELP" | "TYPE" | "UNIT")), "{line}");
            family = words.next().unwrap().to_owned();
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(line.starts_with("portolan_") && series.starts_with(&family), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(seen.insert(series.to_owned()), "{line} comes twice");
    }
    for line in [
        r#"portolan_member_up{zone="example.com.",pool="web",datacenter="fra"} 1.0"#,
        r#"portolan_datacenter_capacity{datacenter="fra",unit="requests/s"} 40000.0"#,
        r#"portolan_probe_up{probe="example.com/web/fra 203.0.113.10"} 1.0"#,
        r#"portolan_config_loads_total{result="good"} 1"#,
    ] {
        assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
    }
}

#[tokio::test]
async fn l4_services_are_shown_and_report_their_load() {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let backend = TcpListener::bind(loopback).await.unwrap();
    let service = |name: &str, capacity: Option<u64>| {
        let behind = l4::BackendSettings::new(backend.local_addr().unwrap(), 1);
        let capacity = capacity.map(l4::Capacity::Connections);
        let service = l4::ServiceSettings::new(name, vec![loopback.into()], vec![behind]);
        l4::ServiceSettings { capacity, ..service }
    };
    let settings = |services| l4::Settings::new(Some(1), services);
    let l4 = l4::start(settings(vec![service("plain", None)])).await.unwrap();
    let open = open_with(None, Some(l4.clone())).await;
    let (code, said) = open.get("/api/v1/report").await;
    assert_eq!(code, 503, "{said}");

    l4.replace(settings(vec![service("web", Some(100))])).await.unwrap();
    let listen = l4.load().services[0].listen[0].single().unwrap();
    let _client = TcpStream::connect(listen).await.unwrap();
    let _carried = backend.accept().await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut report = open.get("/api/v1/report").await.1;
    while report["load"] != 1.0 && Instant::now() < deadline {
        report = open.get("/api/v1/report").await.1;
    }
    assert_eq!((&report["load"], &report["capacity"]), (&json!(1.0), &json!(100.0)), "{report}");
    let parsed: crate::control::Report = serde_json::from_value(report).unwrap();
    assert_eq!(parsed.unit.as_deref(), Some("connections"));

    let (_, services) = open.get("/api/v1/l4").await;
    let target = services[0]["backends"][0]["target"].as_str().unwrap().to_owned();
    assert_eq!(target, format!("l4/web/{}", backend.local_addr().unwrap()));
    assert_eq!(services[0]["backends"][0]["state"], "up");
    let drain = |target: &str| json!({ "target": target, "action": "drain" });
    assert_eq!(open.post("/api/v1/overrides", drain("l4/web/127.0.0.1:1")).await.0, 404);
    assert_eq!(open.post("/api/v1/overrides", drain(&target)).await.0, 200);
    let (_, services) = open.get("/api/v1/l4").await;
    assert_eq!(services[0]["backends"][0]["override"]["action"], "drain");
    assert!(
        open.text("/api/v1/status").await.contains("1 connection  weight 1  drained until cleared")
    );
}

#[tokio::test]
async fn the_status_in_words_names_the_probes_that_are_not_up_and_why() {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let behind = l4::BackendSettings::new("198.51.100.7:80".parse().unwrap(), 1);
    let mut service = l4::ServiceSettings::new("web", vec![loopback.into()], vec![behind]);
    let command = vec!["/bin/sh".into(), "-c".into(), "echo no disk; exit 3".into()];
    service.check = Some((Arc::new(Check::new(Kind::Exec(ExecCheck { command }))), None));
    let l4 = l4::start(l4::Settings::new(Some(1), vec![service])).await.unwrap();
    let text = open_with(None, Some(l4)).await.text("/api/v1/status").await;
    let told = text.split("PROBES THAT ARE NOT UP\n").nth(1).unwrap_or_default();
    let row = "  l4/web/198.51.100.7:80  exec  down  exit status: 3: no disk\n";
    assert!(told.starts_with(row), "{text}");
}

#[tokio::test]
async fn a_server_that_steers_nothing_says_so() {
    let loopback = SocketAddr::from((IpAddr::from([127, 0, 0, 1]), 0));
    let admin = Admin::bind(Settings { listen: loopback, token: None }, &mut Inherited::default())
        .await
        .unwrap();
    let address = admin.local_addr().unwrap();
    let stop = CancellationToken::new();
    let state =
        State { control: None, l4: None, dns: None, started: (SystemTime::now(), Instant::now()) };
    let served = tokio::spawn(admin.serve(state, stop.clone()));
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let get = async |path: &str| answer(client.get(format!("http://{address}{path}"))).await;
    assert_eq!(get("/api/v1/pools").await.0, 404);
    assert_eq!(get("/api/v1/status").await.1["pools"], json!([]));
    assert_eq!(get("/api/v1/report").await.0, 404);
    assert_eq!(get("/metrics").await.0, 200);
    stop.cancel();
    served.await.unwrap();
}

#[tokio::test]
async fn the_plan_of_a_server_that_shares_nothing_out_is_empty() {
    let open = open(None).await;
    let (code, plan) = open.get("/api/v1/plan").await;
    assert_eq!(
        (code.as_u16(), &plan["state"], &plan["age_seconds"]),
        (200, &json!("none"), &Value::Null)
    );
    assert_eq!((&plan["groups"], &plan["datacenters"]), (&json!([]), &json!([])));
    assert_eq!(open.get("/api/v1/plan?all=true").await.0, 200);
    let (code, said) = open.get("/api/v1/plan?everything=true").await;
    assert!(code == 400 && said.to_string().contains("all=true"), "{said}");
}

#[tokio::test]
async fn the_plan_tells_who_goes_where_and_explanations_tell_what_that_costs() {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let target = TcpListener::bind(loopback).await.unwrap();
    let mut settings = settings(target.local_addr().unwrap());
    let mut steering = Steering::clone(&settings.steering);
    steering.pools[0].steer = Steer::Capacity;
    settings.steering = Arc::new(steering);
    let control =
        Control::start(Arc::new(settings), Loaded::default(), Overrides::default(), None).await;
    let picture = super::view::Picture::of(&control);
    let plan = picture.plan(true);
    let names: Vec<&str> = plan.datacenters.iter().map(|one| &one.name[..]).collect();
    assert_eq!(names, ["fra", "iad"]);
    assert_eq!((plan.pools[0].zone.as_str(), plan.pools[0].pool.as_str()), ("example.com.", "web"));
    assert!(plan.age_seconds.is_some() && plan.work.solves_total > 0, "{plan:?}");

    let question = api::question("www.example.com", "A", Some("203.0.113.0/24"), None).unwrap();
    let mut explained = explain::explain(&control.snapshot(), &question);
    explained.price(&control.plan());
    let explained = serde_json::to_value(&explained).unwrap();
    let pool = &explained["links"][0]["outcome"]["pools"][0];
    assert_eq!(pool["group"]["name"], "DE", "{explained}");
    assert!(
        pool["members"][0]["cost_ms"].is_number() && pool["members"][0]["price_ms"].is_number()
    );
    assert!(pool["group"]["demand"].is_number());
}
