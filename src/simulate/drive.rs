//! The decision driven from outside, line by line: the code that serves, in simulated time.
//!
//! Each line tells a time and one thing that happens then: a query, which is answered, a
//! datacenter's report, or what the checks say of a datacenter. At the time of the first line all
//! datacenters are up, and none has reported. Plans are made when they are due by the lines' times.

mod exchange;
mod line;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::answer::{self, Request, Transport};
use crate::control::overrides::Overrides;
use crate::control::publish::Ground;
use crate::control::{Core, Now, Settings};
use crate::decide::{DatacenterId, ProbeId, Steering, Target};
use crate::dns::Name;
use crate::health::Verdict;
use crate::snapshot::Published;
use exchange::{Reply, ask, read};
use line::{Health, Line, Query, Reported, What};

/// What passes by itself is looked at this often, as the server does.
const TICK: Duration = Duration::from_secs(1);
/// What has come is looked at after this, as the server does.
const READ_EVERY: Duration = Duration::from_millis(100);
/// The longest time from one line to the next.
const LONGEST_GAP: Duration = Duration::from_secs(86_400);
/// The latest time, in seconds: 30,000 years.
const LATEST_S: f64 = 1e12;
/// Room for every response: none is truncated.
const RESPONSE_BYTES: usize = answer::MAX_MESSAGE_BYTES;

/// A server without sockets and clocks.
#[derive(Debug)]
pub struct Drive {
    core: Core,
    published: Published,
    steering: Arc<Steering>,
    places: Places,
    /// By datacenter.
    verdicts: Vec<Verdict>,
    /// The time of the first line, in the lines' seconds.
    origin: Option<f64>,
    now: Duration,
    next_tick: Duration,
    asked: u64,
    query: Vec<u8>,
    response: Box<[u8]>,
}

/// What a query was answered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer<'d> {
    /// The addresses, in their order.
    pub addresses: Vec<IpAddr>,
    /// Where the last CNAME points.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cname: Option<String>,
    /// The response code, where there is neither an address nor a CNAME.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rcode: Option<String>,
    /// Where the client is sent; none where that is nowhere, or cannot be told by the addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datacenter: Option<&'d str>,
    /// For how long it may be kept, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u32>,
    /// The length of the prefix for which it is right; none where the query had no subnet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<u8>,
}

/// Why a line counts for nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What is wrong, and what was expected.
    pub error: String,
    /// False where the line is a report or about health for certain, so that nobody waits for an
    /// answer.
    pub wants_answer: bool,
}

impl Drive {
    /// A server with this configuration, at the time of the first line.
    pub fn new(settings: Settings) -> Drive {
        let settings = watched_as_wholes(settings);
        let steering = Arc::clone(&settings.steering);
        let verdicts = vec![Verdict::Up; steering.datacenters.len()];
        let ground = Ground::new(Arc::new(settings), &[], None);
        let all_up = verdicts.as_slice().into();
        let core = Core::new(ground, Overrides::default(), all_up, Now::default());
        Drive {
            published: core.published(),
            core,
            places: Places::new(&steering),
            steering,
            verdicts,
            origin: None,
            now: Duration::ZERO,
            next_tick: Duration::ZERO,
            asked: 0,
            query: Vec::new(),
            response: vec![0; RESPONSE_BYTES].into(),
        }
    }

    /// Takes a line; returns the answer if it is a query.
    ///
    /// # Errors
    ///
    /// What is wrong with the line, which then counts for nothing.
    pub fn take(&mut self, line: &[u8]) -> Result<Option<Answer<'_>>, Refused> {
        let Line { time, what } = line::read(line)?;
        let wants_answer = matches!(what, What::Query(_));
        let refuse = |error| Refused { error, wants_answer };
        self.go_on_to(time).map_err(refuse)?;
        match what {
            What::Query(query) => self.answer(&query).map(Some).map_err(refuse),
            What::Report(report) => self.report(report).map(|()| None).map_err(refuse),
            What::Health(health) => self.health(&health).map(|()| None).map_err(refuse),
        }
    }

    /// Does all that is due until then.
    fn go_on_to(&mut self, time: f64) -> Result<(), String> {
        if !(0.0..=LATEST_S).contains(&time) {
            return Err(format!("`time` is {time:e}: expected seconds, from 0 to {LATEST_S:e}"));
        }
        let origin = self.origin.unwrap_or(time);
        let latest = origin + self.now.as_secs_f64();
        // A time a little before is one that is not written alike.
        let then = Duration::try_from_secs_f64(time - origin).unwrap_or_default();
        if time + 1e-6 < latest {
            return Err(format!("`time` is {time}, and was {latest} before: it never goes back"));
        }
        let then = then.max(self.now);
        if then - self.now > LONGEST_GAP {
            let error = format!("`time` is {time}, more than a day after the {latest} before");
            return Err(error);
        }
        self.origin = Some(origin);
        while self.next_tick <= then {
            self.tick(self.next_tick);
        }
        self.now = then;
        Ok(())
    }

    fn tick(&mut self, then: Duration) {
        let now = at(then);
        self.core.tick(now);
        self.next_tick = then + TICK;
        if let Some(promoted) = self.core.promotions(now) {
            let (settings, verdicts) = (Arc::clone(self.core.settings()), self.core.verdicts());
            let ground = Ground::new(settings, &promoted, Some(self.core.ground()));
            self.core.replace(ground, verdicts, now);
        }
        // Nobody reads them.
        self.core.take_events();
    }

    fn answer(&mut self, query: &Query<'_>) -> Result<Answer<'_>, String> {
        let (source, has_subnet) = ask(query, &mut self.query)?;
        self.asked += 1;
        let request =
            Request { source, transport: Transport::Tcp, draw: self.asked, unix_seconds: 0 };
        let snapshot = self.published.load();
        let outcome = answer::respond(&snapshot, &request, &self.query, &mut self.response);
        let response = &self.response[..outcome.length];
        if let Some(answered) = outcome.answered {
            self.core.count(answered, at(self.now));
        }
        let reply = read(response).ok_or("the server gave no answer")?;
        let given = outcome.answered.map(|answered| answered.datacenter());
        let datacenter = given.or_else(|| self.places.of(&reply));
        let name = |DatacenterId(index)| &*self.steering.datacenters[usize::from(index)].name;
        Ok(Answer {
            datacenter: datacenter.map(name),
            rcode: reply.is_empty().then_some(reply.rcode),
            addresses: reply.addresses,
            cname: reply.cname,
            ttl: reply.ttl,
            scope: reply.scope.filter(|_| has_subnet),
        })
    }

    fn report(&mut self, Reported { datacenter, report }: Reported) -> Result<(), String> {
        let now = at(self.now);
        self.core.take_report(&datacenter, report, now).map_err(|error| error.to_string())?;
        self.core.refresh(now);
        self.next_tick = self.next_tick.min(self.now + READ_EVERY);
        Ok(())
    }

    fn health(&mut self, health: &Health<'_>) -> Result<(), String> {
        let known = &self.steering.datacenters;
        let Some(index) = known.iter().position(|known| known.name == health.datacenter) else {
            let known: Vec<&str> = known.iter().map(|known| &*known.name).collect();
            let (name, known) = (&health.datacenter, known.join(", "));
            return Err(format!("there is no datacenter {name}; there are: {known}"));
        };
        self.verdicts[index] = if health.up { Verdict::Up } else { Verdict::Down };
        self.core.take_verdicts(self.verdicts.as_slice().into(), at(self.now));
        self.tick(self.now);
        Ok(())
    }
}

fn at(elapsed: Duration) -> Now {
    Now { elapsed, unix_seconds: elapsed.as_secs() }
}

/// The same with one probe for each datacenter, of the datacenter's number, that watches all that is
/// in it; it is never sent.
fn watched_as_wholes(mut settings: Settings) -> Settings {
    let mut steering = Steering::clone(&settings.steering);
    for member in steering.pools.iter_mut().flat_map(|pool| &mut pool.members) {
        let whole = Some(ProbeId(member.datacenter.0.into()));
        match &mut member.target {
            Target::Addresses { v4, v6 } => {
                v4.iter_mut().for_each(|(_, probe)| *probe = whole);
                v6.iter_mut().for_each(|(_, probe)| *probe = whole);
            }
            Target::Cname { probe, .. } => *probe = whole,
            // Nobody is asked here for the addresses behind a name: it stands for them.
            Target::Flattened { name, .. } => {
                member.target = Target::Cname { name: name.clone(), probe: whole };
            }
        }
    }
    settings.steering = Arc::new(steering);
    (settings.probes, settings.flattened) = (Vec::new(), Arc::default());
    settings
}

/// Who serves at each address, and behind each name.
#[derive(Debug, Default)]
struct Places {
    /// None where several do.
    addresses: HashMap<IpAddr, Option<DatacenterId>>,
    names: HashMap<Name, Option<DatacenterId>>,
}

impl Places {
    fn new(steering: &Steering) -> Places {
        let mut places = Places::default();
        for member in steering.pools.iter().flat_map(|pool| &pool.members) {
            let one = member.datacenter;
            match &member.target {
                Target::Addresses { v4, v6 } => {
                    v4.iter().for_each(|(at, _)| serves(&mut places.addresses, (*at).into(), one));
                    v6.iter().for_each(|(at, _)| serves(&mut places.addresses, (*at).into(), one));
                }
                Target::Cname { name, .. } | Target::Flattened { name, .. } => {
                    serves(&mut places.names, name.clone(), one);
                }
            }
        }
        places
    }

    /// Where those who got this reply are sent.
    fn of(&self, reply: &Reply) -> Option<DatacenterId> {
        let by_address = || self.addresses.get(reply.addresses.first()?).copied().flatten();
        let by_name = || self.names.get(&reply.cname.as_ref()?.parse().ok()?).copied().flatten();
        by_address().or_else(by_name)
    }
}

fn serves<P: Eq + std::hash::Hash>(
    places: &mut HashMap<P, Option<DatacenterId>>,
    place: P,
    datacenter: DatacenterId,
) {
    let known = places.entry(place).or_insert(Some(datacenter));
    if *known != Some(datacenter) {
        *known = None;
    }
}
