//! The loop closed: real answers fill real L4 services, which report, which changes the answers.

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use portolan::simulate::plot::{Course, Panel, svg};
use serde_json::Value;

use crate::support::asking::{address_and_scope, ask_udp, question_for};
use crate::support::server::http_get;
use crate::support::{Backend, Server};

/// Where the plot goes; none is drawn without.
const PLOT: &str = "PORTOLAN_CLOSED_LOOP_SVG";

/// The datacenters: name, country, capacity in connections.
const SITES: [(&str, &str, usize); 3] = [("fra", "DE", 90), ("iad", "US", 130), ("nrt", "JP", 170)];
const FRA: usize = 0;
const IAD: usize = 1;
const NRT: usize = 2;

/// Where the clients are, and how many: most of them nearest to Frankfurt, more than it can take.
const COUNTRIES: [(&str, usize); 14] = [
    ("DE", 14),
    ("FR", 14),
    ("GB", 14),
    ("NL", 12),
    ("ES", 12),
    ("IT", 12),
    ("PL", 12),
    ("SE", 10),
    ("CH", 10),
    ("AT", 10),
    ("US", 30),
    ("CA", 20),
    ("JP", 20),
    ("KR", 10),
];

/// So many of the countries are nearest to Frankfurt.
const NEAR_FRA: usize = 10;

const TTL: Duration = Duration::from_secs(2);
/// A server that has just started believes what its datacenters report more than its own counts.
const KNOWN_AFTER: Duration = Duration::from_secs(13);
/// How long a client waits that was turned away.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often the clients look at the clock, and the sites at their load.
const STEP: Duration = Duration::from_millis(25);
/// From one who comes to the next: slower than reports and plans.
const STEPS_APART: u32 = 10;
const SAMPLE: Duration = Duration::from_millis(250);
/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(60);

const ZONE: &str = r#"
origin  = "example.com."
records = """
@    SOA   ns1 hostmaster 1 2h 15m 2w 5m
@    NS    ns1
ns1  A     198.51.100.53
"""
[checks.web]
kind     = "tcp"
port     = 8080
interval = "250ms"
timeout  = "200ms"
rise     = 2
fall     = 2
[pools.web]
steer   = "capacity"
ttl     = "2s"
check   = "web"
members = [
{members}
]
[names]
www = { pool = "web" }
"#;

/// A datacenter: an L4 service with two backends, in a process of its own.
struct Site {
    server: Server,
    _backends: [Backend; 2],
}

impl Site {
    fn start(name: &str, capacity: usize) -> Site {
        let files = Server::files("");
        let net = files.addresses();
        let backends = [9001, 9002].map(|port| Backend::start((net.host(11), port)));
        // No DNS here.
        let text = format!(
            r#"
[admin]
listen = "{{net}}.1:8053"
[[l4.services]]
name     = "{name}"
listen   = "{{net}}.11:8080"
capacity = {capacity}
check    = {{ kind = "tcp", interval = "250ms", timeout = "200ms", rise = 1, fall = 1 }}
backends = [{{ address = "{{net}}.11:9001" }}, {{ address = "{{net}}.11:9002" }}]
"#
        );
        files.write("portolan.toml", &text);
        Site { server: files.start(), _backends: backends }
    }

    fn vip(&self) -> Ipv4Addr {
        self.server.addresses().host(11)
    }

    /// What it reports to be offered; none while it is dead.
    fn load(&self) -> Option<f64> {
        let report = http_get(self.server.admin(), "/api/v1/report")?;
        serde_json::from_str::<Value>(&report).ok()?["load"].as_f64()
    }
}

/// The server that answers, for these sites.
fn answering(sites: &[Site]) -> Server {
    let mut rest = String::from(
        "[geoip]\nnetworks = \"networks.toml\"\n[allocation]\ninterval = \"1s\"\ndrain = \"5s\"\nslow_start = \"5s\"\n",
    );
    let mut members = String::new();
    for (site, (name, country, _)) in sites.iter().zip(SITES) {
        let (admin, vip) = (site.server.admin(), site.vip());
        rest += &format!(
            "[datacenters.{name}]\nlocation = {{ country = \"{country}\" }}\n\
             report = {{ url = \"http://{admin}/api/v1/report\", interval = \"500ms\", stale_after = \"5s\" }}\n"
        );
        members += &format!("  {{ datacenter = \"{name}\", addresses = [\"{vip}\"] }},\n");
    }
    let files = Server::files(&rest);
    let networks = COUNTRIES.iter().enumerate().map(|(number, (country, _))| {
        format!("[[networks]]\nprefix = \"2001:db8:{number:x}::/48\"\ncountry = \"{country}\"\n")
    });
    files.write("networks.toml", &networks.collect::<String>());
    files.zone("example.com.toml", &ZONE.replace("{members}", &members)).start()
}

/// Somebody who asks, keeps the answer for as long as its TTL says, and holds one connection.
struct Client {
    question: Vec<u8>,
    /// Where they are, as a number into [`COUNTRIES`].
    country: usize,
    /// When the answer is no longer good; none: it has none yet.
    expires: Option<Instant>,
    vip: Option<Ipv4Addr>,
    connection: Option<TcpStream>,
    /// Not before then.
    try_again: Instant,
}

impl Client {
    fn connect(&mut self, now: Instant) {
        let Some(vip) = self.vip else { return };
        if self.connection.as_ref().is_some_and(is_open) || now < self.try_again {
            return;
        }
        self.try_again = now + PATIENCE;
        let address = SocketAddr::from((vip, 8080));
        self.connection = TcpStream::connect_timeout(&address, PATIENCE).ok();
        if let Some(connection) = &self.connection {
            connection.set_nonblocking(true).expect("a socket");
        }
    }
}

fn is_open(connection: &TcpStream) -> bool {
    // Nothing is ever sent: what there is to read is the end.
    matches!(connection.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// Everybody, and what was seen of the sites.
struct World {
    dns: SocketAddr,
    sites: Vec<Site>,
    clients: Vec<Client>,
    began: Instant,
    sampled: Instant,
    /// By site: when, and its load over its capacity.
    seen: Vec<Vec<(f64, Option<f64>)>>,
    marks: Vec<(f64, String)>,
}

impl World {
    fn new(server: &Server, sites: Vec<Site>) -> World {
        let now = Instant::now();
        let seen = vec![Vec::new(); sites.len()];
        World {
            dns: server.dns(),
            sites,
            clients: Vec::new(),
            began: now,
            sampled: now,
            seen,
            marks: Vec::new(),
        }
    }

    fn time(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    fn mark(&mut self, what: &str) -> f64 {
        let time = self.time();
        self.marks.push((time, what.into()));
        time
    }

    /// The clients, in an order in which all countries grow alike.
    fn crowd() -> Vec<Client> {
        let prefixes = COUNTRIES.iter().enumerate().flat_map(|(country, (_, count))| {
            (0..*count).map(move |number| {
                let prefix = format!("2001:db8:{country:x}:{:x}::/56", number << 8);
                ((2 * number + 1) as f64 / *count as f64, country, prefix)
            })
        });
        let mut prefixes: Vec<(f64, usize, String)> = prefixes.collect();
        prefixes.sort_by(|a, b| a.0.total_cmp(&b.0));
        let client = |country: usize, prefix: String| {
            let prefix: IpNet = prefix.parse().expect("a prefix");
            Client {
                question: question_for("www.example.com", prefix),
                country,
                expires: None,
                vip: None,
                connection: None,
                try_again: Instant::now(),
            }
        };
        prefixes.into_iter().map(|(_, country, prefix)| client(country, prefix)).collect()
    }

    /// Everybody does what is due.
    fn step(&mut self) {
        let now = Instant::now();
        let expired = |client: &Client| client.expires.is_none_or(|expires| expires <= now);
        let due: Vec<usize> =
            (0..self.clients.len()).filter(|index| expired(&self.clients[*index])).collect();
        let questions: Vec<Vec<u8>> =
            due.iter().map(|index| self.clients[*index].question.clone()).collect();
        for (index, answer) in due.into_iter().zip(ask_udp(self.dns, &questions)) {
            // Who gets no answer keeps the one before, and asks again.
            let Some((vip, _)) = answer.as_deref().and_then(address_and_scope) else { continue };
            let client = &mut self.clients[index];
            client.expires = Some(Instant::now() + TTL);
            if client.vip.replace(vip) != Some(vip) {
                client.connection = None;
                client.try_again = now;
            }
        }
        self.clients.iter_mut().for_each(|client| client.connect(now));
        if self.sampled.elapsed() >= SAMPLE {
            self.sampled = Instant::now();
            let time = self.time();
            for ((site, seen), (.., capacity)) in self.sites.iter().zip(&mut self.seen).zip(SITES) {
                seen.push((time, site.load().map(|load| load / capacity as f64)));
            }
        }
        std::thread::sleep(STEP);
    }

    /// Goes on until that holds.
    #[track_caller]
    fn until(&mut self, what: &str, mut holds: impl FnMut(&World) -> bool) {
        let begin = Instant::now();
        while !holds(self) {
            assert!(begin.elapsed() < DEADLINE, "waited in vain: {what}; {}", self.told());
            self.step();
        }
    }

    fn steps(&mut self, lasts: Duration) {
        let begin = Instant::now();
        while begin.elapsed() < lasts {
            self.step();
        }
    }

    /// How many clients hold a connection to each site.
    fn held(&self) -> Vec<usize> {
        let at = |site: &Site| {
            let here = |client: &&Client| client.vip == Some(site.vip());
            let held = self.clients.iter().filter(here);
            held.filter(|client| client.connection.as_ref().is_some_and(is_open)).count()
        };
        self.sites.iter().map(at).collect()
    }

    /// How many of those who are nearest to Frankfurt are sent elsewhere.
    fn sent_away(&self) -> usize {
        let fra = self.sites[FRA].vip();
        let near = self.clients.iter().filter(|client| client.country < NEAR_FRA);
        near.filter(|client| client.vip.is_some_and(|vip| vip != fra)).count()
    }

    fn all_are_served(&self) -> bool {
        self.held().iter().sum::<usize>() == self.clients.len()
    }

    /// By site: the most that was seen of its load, over its capacity.
    fn most(&self) -> Vec<f64> {
        let most = |seen: &Vec<(f64, Option<f64>)>| {
            seen.iter().filter_map(|(_, load)| *load).fold(0.0, f64::max)
        };
        self.seen.iter().map(most).collect()
    }

    /// By site: the longest time without a break in which it was over its capacity, in seconds.
    fn longest_over(&self) -> Vec<f64> {
        let longest = |seen: &Vec<(f64, Option<f64>)>| {
            let (mut longest, mut since) = (0.0, None);
            for (time, load) in seen {
                since = load.filter(|load| *load > 1.0).and(since.or(Some(*time)));
                longest = f64::max(longest, since.map_or(0.0, |since| time - since));
            }
            longest
        };
        self.seen.iter().map(longest).collect()
    }

    fn told(&self) -> String {
        format!("{} clients, held {:?}, {:.3?}", self.clients.len(), self.held(), self.seen)
    }

    fn drawn(&self) -> String {
        let courses = SITES.iter().zip(&self.seen).map(|((name, _, capacity), seen)| Course {
            name: format!("{name} (of {capacity})"),
            points: seen.clone(),
        });
        svg(&[Panel {
            title: "Connections at each datacenter, of its capacity: 200 clients, TTL 2 s".into(),
            seconds: self.time(),
            courses: courses.collect(),
            marks: self.marks.clone(),
        }])
    }
}

#[test]
fn the_loop_is_closed_and_no_datacenter_is_over_its_capacity_for_longer_than_a_ttl() {
    let sites: Vec<Site> = SITES.map(|(name, _, capacity)| Site::start(name, capacity)).into();
    let server = answering(&sites);
    let mut world = World::new(&server, sites);

    // Half of them are there when the server starts, and for long enough to be known.
    let mut crowd = World::crowd();
    let others = crowd.split_off(crowd.len() / 2);
    world.mark("100 clients");
    world.clients = crowd;
    world.steps(KNOWN_AFTER);

    // The others come one by one; those for whom Frankfurt has no room go on.
    world.mark("100 more come");
    assert_eq!(world.sent_away(), 0, "there is room for half of them: {}", world.told());
    let mut full_at_first = None;
    for client in others {
        world.clients.push(client);
        (0..STEPS_APART).for_each(|_| world.step());
        if world.sent_away() > 0 {
            full_at_first.get_or_insert_with(|| world.held()[FRA]);
        }
    }
    let first = full_at_first.expect("not all find room");
    assert!(first < SITES[FRA].2, "{first} connections when the first was sent elsewhere");
    let everybody = world.clients.len() as f64;
    world.until("everybody is served and expected", |world| {
        let planned = server.api("/api/v1/plan")["demand"].as_f64().unwrap_or_default();
        world.all_are_served() && (planned / everybody - 1.0).abs() < 0.25
    });
    world.until("no more of the near are sent away than must be", |world| {
        world.held()[FRA] * 100 >= 70 * SITES[FRA].2 && world.all_are_served()
    });
    world.steps(TTL);
    let held = world.held();
    assert!(held[IAD] > 60, "who is too much goes on to the next: {held:?}");
    told_by_the_plan(&server, &held);

    // One dies, with all that it holds.
    world.sites[IAD].server.kill();
    world.mark("iad is killed");
    world.until("everybody is served by the others", |world| {
        world.all_are_served() && world.held()[IAD] == 0
    });
    world.steps(TTL);

    // It comes back, and takes clients again, slowly.
    world.sites[IAD].server.restart();
    world.mark("iad is back");
    world.until("its clients come back", |world| world.held()[IAD] * 2 >= held[IAD]);
    world.until("everybody is served", World::all_are_served);

    // Half of them go; who is left comes back to where it is nearest.
    world.clients.truncate(everybody as usize / 2);
    world.mark("100 leave");
    let begin = world.time();
    world.until("those who were sent away come back", |world| world.sent_away() == 0);
    let back = world.time() - begin;
    world.steps(TTL);
    assert_eq!(world.sent_away(), 0, "{}", world.told());

    // Another is emptied: it takes fewer and fewer.
    let (said, code) = server.verb(&["drain", "datacenter/fra", "--reason", "maintenance"]);
    assert_eq!(code, 0, "{said}");
    world.mark("fra is drained");
    let full = world.held()[FRA];
    world.until("some have left", |world| world.held()[FRA] < full);
    assert!(world.held()[FRA] > full / 4, "all at once: {full} and then {:?}", world.held());
    world.until("nobody is left", |world| world.held()[FRA] == 0 && world.all_are_served());
    let plan = server.api("/api/v1/plan");
    let (state, load) =
        (&plan["datacenters"][FRA]["state"], &plan["datacenters"][FRA]["planned_load"]);
    assert!(state == "down" && load.as_f64().is_some_and(|load| load < 1.0), "{plan}");

    let longest = world.longest_over();
    println!(
        "{:.0} s; the first was sent on when Frankfurt held {first}, and the last came back after \
         {back:.1} s; over capacity for at most {longest:.2?} s, by at most {:.3?}",
        world.time(),
        world.most()
    );
    if let Some(path) = std::env::var_os(PLOT) {
        fs::write(path, world.drawn()).expect("the plot can be written");
    }
    // Until it is reported or checks have failed twice, the plan is made anew, and the answers from
    // before have expired.
    let allowed = TTL.as_secs_f64() + 2.0;
    assert!(longest.iter().all(|lasted| *lasted <= allowed), "{longest:.2?} s; {}", world.told());
}

/// What people and machines are told of the plan is what is so.
fn told_by_the_plan(server: &Server, held: &[usize]) {
    let plan = server.api("/api/v1/plan");
    let sites = plan["datacenters"].as_array().expect("datacenters");
    let number = |value: &Value| value.as_f64().expect("a number");
    let planned: f64 = sites.iter().map(|site| number(&site["planned_load"])).sum();
    assert!((planned - number(&plan["demand"])).abs() < 1.0, "{plan}");
    for ((site, held), (name, _, capacity)) in sites.iter().zip(held).zip(SITES) {
        assert_eq!(site["name"], name);
        assert_eq!(number(&site["capacity"]), capacity as f64, "{plan}");
        assert!(number(&site["planned_load"]) <= capacity as f64, "{plan}");
        assert!((0.8..=1.0).contains(&number(&site["wall"])), "{plan}");
        let off = (number(&site["planned_load"]) - *held as f64).abs();
        assert!(off < 0.2 * capacity as f64, "{name} holds {held}: {plan}");
    }
    assert!(number(&sites[FRA]["price_ms"]) > number(&sites[NRT]["price_ms"]), "{plan}");
    let groups = plan["groups"].as_array().expect("groups");
    assert_eq!(groups.len(), COUNTRIES.len(), "{plan}");
    for group in groups {
        let parts = group["parts"].as_array().expect("parts");
        let all: f64 = parts.iter().map(|part| number(&part["share"])).sum();
        assert!((all - 1.0).abs() < 0.01, "{group}");
    }
    // What the loss of each would mean is known before it is lost.
    for site in sites {
        let loss = &site["loss"];
        assert!(loss["survives"] == true && loss["fullest"].is_array(), "{plan}");
    }
    let (told, code) = server.verb(&["plan"]);
    assert!(told.contains("the others take it"), "{told}");
    assert!(code == 0 && SITES.iter().all(|(name, ..)| told.contains(name)), "{told}");
    let (json, code) = server.verb(&["plan", "--json"]);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((code, &json["pools"]), (0, &plan["pools"]));
}
