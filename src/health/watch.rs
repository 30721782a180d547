//! A set of probes that run: what control watches pool members with, and l4 its backends.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::trust::{Shown, Trust};
use super::{
    Advice, Kind, Machine, Probe, ProbeResult, Verdict, agent, dns, exec, grpc, half_open, http,
    icmp, tcp, tls,
};

/// The most probes of one [`Watch`] that are under way at a time, but for one in eight of a long
/// list; the others wait their turn. It bounds the descriptors and the memory that probes take.
pub const MAX_IN_FLIGHT: usize = 256;
/// However long the list, no more than one in so many of the descriptors that the system allows.
const DESCRIPTORS_EACH: u64 = 16;
/// The verdicts of a longer list are not published with every result, but some at a time.
const PUBLISHED_AT_ONCE: usize = 1_000;
/// That long a list is left alone, for each of its probes, when it has been published.
const PAUSE_EACH: Duration = Duration::from_micros(10);

/// What a round of probes may take beyond their timeouts.
const ROUND_GRACE: Duration = Duration::from_secs(1);
/// A probe of a round is waited for no longer than this, whatever its timeout.
const TURN_AT_MOST: Duration = Duration::from_secs(9);
/// No round is waited for longer than this.
const ROUND_AT_MOST: Duration = Duration::from_secs(30);

/// A set of probes that run until it is dropped.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
    runtime: Handle,
    /// Publishes the verdicts of a long list.
    publisher: AbortHandle,
}

/// The verdicts of one list of probes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdicts {
    /// Which list: 1 for that of [`Watch::start`], one more with every [`Watch::replace`].
    pub generation: u64,
    /// In the order of that list.
    pub verdicts: Arc<[Verdict]>,
    /// What agents say besides, in the same order; of what is not an agent, nothing.
    pub advice: Arc<[Advice]>,
    /// How many of them have not been probed yet.
    pub pending: usize,
}

/// What is known of one probe, for people and machines.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProbeStatus {
    /// What it is probed for.
    pub name: String,
    /// Where the probe is sent.
    pub address: IpAddr,
    /// To which port; 0 for ICMP.
    pub port: u16,
    /// The kind of the check, as the configuration names it.
    pub kind: &'static str,
    /// The verdict.
    pub state: Verdict,
    /// Since when: seconds since 1970 (UTC); none while unknown.
    pub since: Option<u64>,
    /// How many results in a row were like the latest.
    pub consecutive: u32,
    /// What the latest probe found: `ok`, or what was wrong.
    pub last_result: Option<String>,
    /// What an agent has said besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<Advice>,
    /// When the certificate ends that was last shown, in seconds since 1970 (UTC); none without
    /// one, or while it is not trusted.
    pub certificate_ends: Option<u64>,
    /// How long the latest good probe took, in milliseconds.
    pub last_duration_ms: Option<f64>,
    /// Probes that ended, since the start.
    pub checks_total: u64,
    /// Those of them that failed.
    pub failures_total: u64,
    /// How often traffic to the target was said to have failed.
    pub traffic_failures_total: u64,
}

impl Watch {
    /// Starts to probe, each at once and then at its interval.
    ///
    /// # Panics
    /// Outside of a Tokio runtime with timers and I/O.
    pub fn start(probes: Vec<Probe>) -> Watch {
        let (verdicts, _) = watch::channel(Verdicts {
            generation: 0,
            verdicts: Arc::default(),
            advice: Arc::default(),
            pending: 0,
        });
        let shared = Shared {
            list: Mutex::new(List { generation: 0, slots: MAX_IN_FLIGHT, entries: Vec::new() }),
            verdicts,
            news: Notify::new(),
            slots: Semaphore::new(MAX_IN_FLIGHT),
            programs: Semaphore::new(MAX_IN_FLIGHT),
            trust: Trust::default(),
        };
        let (shared, runtime) = (Arc::new(shared), Handle::current());
        let publisher = runtime.spawn(publish_news(Arc::clone(&shared))).abort_handle();
        let watch = Watch { shared, runtime, publisher };
        watch.replace(probes);
        watch
    }

    /// Watches these instead, and returns the generation of their verdicts. A probe that already
    /// runs (same check, address and port) keeps its state and its schedule whatever its name; a
    /// new one is sent at once; one that is gone stops.
    pub fn replace(&self, probes: Vec<Probe>) -> u64 {
        let mut list = self.shared.list();
        let mut running: HashMap<(IpAddr, u16), Vec<Arc<Running>>> = HashMap::new();
        for (_, kept) in list.entries.drain(..) {
            running.entry(kept.key()).or_default().push(kept);
        }
        for probe in probes {
            let same = running.entry((probe.address, probe.port)).or_default();
            let entry = match same.iter().find(|kept| kept.target.probe.check == probe.check) {
                Some(kept) => Arc::clone(kept),
                None => {
                    let started = self.run(probe.clone());
                    same.push(Arc::clone(&started));
                    started
                }
            };
            list.entries.push((probe.name, entry));
        }
        list.slots = self.shared.give_slots(list.slots, most_in_flight(list.entries.len()));
        list.generation += 1;
        let generation = list.generation;
        self.shared.publish(list);
        generation
    }

    /// The verdicts, now (the receiver counts them as a change) and with every change; a slow
    /// reader skips flaps and ends right.
    pub fn verdicts(&self) -> watch::Receiver<Verdicts> {
        let mut verdicts = self.shared.verdicts.subscribe();
        verdicts.mark_changed();
        verdicts
    }

    /// Waits until everything on the current list has been probed once, but no longer than
    /// `deadline`; returns whether it has.
    pub async fn first_round(&self, deadline: Duration) -> bool {
        let mut verdicts = self.verdicts();
        let done = verdicts.wait_for(|verdicts| verdicts.pending == 0);
        timeout(deadline, done).await.is_ok_and(|done| done.is_ok())
    }

    /// How long the first round may take of what has not been probed yet, if all of it is silent:
    /// the deadline for [`first_round`](Watch::first_round).
    pub fn round_limit(&self) -> Duration {
        let list = self.shared.list();
        let targets = list.entries.iter().map(|(_, running)| &running.target);
        let pending = targets.filter(|target| !target.probed.load(Ordering::Relaxed));
        round_limit(pending.map(|target| target.probe.check.timeout), list.slots)
    }

    /// Says that traffic to the target of a probe failed: it counts as a failed probe, and the next
    /// one is sent at once. `index`: in the list of that generation; if there is another by now,
    /// nothing happens.
    pub fn note_traffic_failure(&self, generation: u64, index: usize, reason: &str) {
        let list = self.shared.list();
        if list.generation != generation {
            return;
        }
        let Some((_, running)) = list.entries.get(index) else { return };
        if running.target.traffic_failed(reason) {
            self.shared.note_news(list);
        }
    }

    /// What is known of every probe, in the order of the list.
    pub fn statuses(&self) -> Vec<ProbeStatus> {
        let list = self.shared.list();
        list.entries.iter().map(|(name, running)| running.target.status(name)).collect()
    }

    fn run(&self, probe: Probe) -> Arc<Running> {
        let target = Arc::new(Target::new(probe));
        let task = self.runtime.spawn(run(Arc::clone(&self.shared), Arc::clone(&target)));
        Arc::new(Running { target, task: task.abort_handle() })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // The tasks hold `shared`, so that it is the list that must let them go.
        self.shared.list().entries.clear();
        self.publisher.abort();
    }
}

#[derive(Debug)]
struct Shared {
    list: Mutex<List>,
    verdicts: watch::Sender<Verdicts>,
    /// There is something to be published of a long list.
    news: Notify,
    slots: Semaphore,
    /// The same for programs, which take more than descriptors.
    programs: Semaphore,
    trust: Trust,
}

#[derive(Debug)]
struct List {
    generation: u64,
    /// How many slots there are for it.
    slots: usize,
    /// Names and probes, in the order that the owner gave; equal probes are one.
    entries: Vec<(String, Arc<Running>)>,
}

/// A probe and the task that sends it, which ends with it.
#[derive(Debug)]
struct Running {
    target: Arc<Target>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Target {
    probe: Probe,
    record: Mutex<Record>,
    /// The verdict, copied out of the record so that a publication takes one lock, not thousands.
    verdict: AtomicU8,
    probed: AtomicBool,
    /// What it shows, where it speaks TLS.
    shown: Shown,
    /// The next probe may be due earlier than it was.
    hurry: Notify,
}

#[derive(Debug)]
struct Record {
    machine: Machine,
    advice: Advice,
    since: Option<SystemTime>,
    last_result: Option<String>,
    last_duration: Option<Duration>,
    checks_total: u64,
    failures_total: u64,
    traffic_failures_total: u64,
}

/// Publishes the verdicts of a long list, again and again while there are news.
async fn publish_news(shared: Arc<Shared>) {
    loop {
        shared.news.notified().await;
        let count = {
            let list = shared.list();
            let count = list.entries.len();
            shared.publish(list);
            count
        };
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        tokio::time::sleep(PAUSE_EACH.saturating_mul(count)).await;
    }
}

/// Probes one target for ever.
async fn run(shared: Arc<Shared>, target: Arc<Target>) {
    loop {
        let due = target.record().machine.next_probe_at(Instant::now(), fastrand::f64());
        tokio::select! {
            () = tokio::time::sleep_until(due.into()) => {}
            () = target.hurry.notified() => continue,
        }
        let slots = match target.probe.check.kind {
            Kind::Exec(_) => &shared.programs,
            _ => &shared.slots,
        };
        let Ok(slot) = slots.acquire().await else { return };
        target.record().machine.start(Instant::now());
        // Boxed, so that a task that waits for its turn, as nearly all do, is small.
        let (result, advice) = Box::pin(probe(&target.probe, &shared.trust, &target.shown)).await;
        drop(slot);
        if target.take(&result, advice) {
            shared.note_news(shared.list());
        }
    }
}

/// Sends one probe; takes no longer than the check's timeout. Only agents give advice.
async fn probe(probe: &Probe, trust: &Trust, shown: &Shown) -> (ProbeResult, Advice) {
    let limit = probe.check.timeout;
    let target = SocketAddr::new(probe.address, probe.port);
    let mut advice = Advice::default();
    let result = match &probe.check.kind {
        Kind::Icmp => timeout(limit, icmp::probe(probe.address)).await,
        Kind::Tcp => timeout(limit, tcp::probe(target)).await,
        Kind::TcpHalfOpen => timeout(limit, half_open::probe(target)).await,
        // What is to be read for TLS is read outside of the timeout: how long we take for it is no
        // fault of the target's.
        Kind::Http(check) => match http::Request::new(target, check, trust, shown).await {
            Ok(request) => timeout(limit, request.send()).await,
            Err(reason) => return (ProbeResult::unable(reason), advice),
        },
        Kind::Tls(check) => match trust.client(check, probe.address, &[], shown).await {
            Ok((name, config)) => timeout(limit, tls::probe(target, name, config)).await,
            Err(reason) => return (ProbeResult::unable(reason), advice),
        },
        Kind::Dns(check) => timeout(limit, dns::probe(target, check)).await,
        Kind::Grpc(check) => {
            let tls = match &check.tls {
                None => None,
                Some(tls) => match trust.client(tls, probe.address, &["h2"], shown).await {
                    Ok(client) => Some(client),
                    Err(reason) => return (ProbeResult::unable(reason), advice),
                },
            };
            timeout(limit, grpc::probe(target, check, tls)).await
        }
        // It minds the time itself, as there is something to be killed when it is over.
        Kind::Exec(check) => Ok(exec::probe(target, check, limit).await),
        Kind::Agent(check) => timeout(limit, agent::probe(target, check)).await.map(|answer| {
            advice = answer.1;
            answer.0
        }),
    };
    let late = |_| ProbeResult::failed(format_args!("no answer within {limit:?}"));
    (result.unwrap_or_else(late), advice)
}

/// How many probes of so long a list are under way at a time.
fn most_in_flight(count: usize) -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) / DESCRIPTORS_EACH;
    let most = usize::try_from(descriptors).unwrap_or(usize::MAX);
    (count / 8).min(most).max(MAX_IN_FLIGHT)
}

/// Probes with these timeouts take turns, so many at a time.
fn round_limit(timeouts: impl Iterator<Item = Duration>, at_a_time: usize) -> Duration {
    let (count, longest) =
        timeouts.fold((0, Duration::ZERO), |(count, longest), one| (count + 1, longest.max(one)));
    let turns = u32::try_from(usize::div_ceil(count, at_a_time)).unwrap_or(u32::MAX);
    (longest.min(TURN_AT_MOST).saturating_mul(turns) + ROUND_GRACE).min(ROUND_AT_MOST)
}

impl Shared {
    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the verdicts of the list published: at once, or soon if it is long.
    fn note_news(&self, list: MutexGuard<'_, List>) {
        if list.entries.len() <= PUBLISHED_AT_ONCE {
            self.publish(list);
        } else {
            self.news.notify_one();
        }
    }

    /// Has there be so many slots where there were others; returns how many there are, which is
    /// more while they are taken.
    fn give_slots(&self, before: usize, wanted: usize) -> usize {
        self.slots.add_permits(wanted.saturating_sub(before));
        before.max(wanted) - self.slots.forget_permits(before.saturating_sub(wanted))
    }

    /// Publishes the verdicts of the list, which stays locked until they are out.
    fn publish(&self, list: MutexGuard<'_, List>) {
        let targets = || list.entries.iter().map(|(_, running)| &running.target);
        self.verdicts.send_replace(Verdicts {
            generation: list.generation,
            verdicts: targets().map(|target| target.verdict()).collect(),
            advice: targets().map(|target| target.advice()).collect(),
            pending: targets().filter(|target| !target.probed.load(Ordering::Relaxed)).count(),
        });
    }
}

impl Running {
    fn key(&self) -> (IpAddr, u16) {
        (self.target.probe.address, self.target.probe.port)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Record {
    /// What the results say, unless the target itself has said that it is out.
    fn verdict(&self) -> Verdict {
        if self.advice.is_out() { Verdict::Down } else { self.machine.verdict() }
    }
}

impl Target {
    fn new(probe: Probe) -> Target {
        let record = Record {
            machine: Machine::new(&probe.check),
            advice: Advice::default(),
            since: None,
            last_result: None,
            last_duration: None,
            checks_total: 0,
            failures_total: 0,
            traffic_failures_total: 0,
        };
        Target {
            probe,
            record: Mutex::new(record),
            verdict: AtomicU8::new(0),
            probed: AtomicBool::new(false),
            shown: Shown::default(),
            hurry: Notify::new(),
        }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn verdict(&self) -> Verdict {
        match self.verdict.load(Ordering::Relaxed) {
            0 => Verdict::Unknown,
            1 => Verdict::Up,
            _ => Verdict::Down,
        }
    }

    /// Locks, but only for agents.
    fn advice(&self) -> Advice {
        match self.probe.check.kind {
            Kind::Agent(_) => self.record().advice,
            _ => Advice::default(),
        }
    }

    /// Takes a result in; true if something that is published changed.
    fn take(&self, result: &ProbeResult, advice: Advice) -> bool {
        let Probe { name, address, port, .. } = &self.probe;
        let mut record = self.record();
        record.checks_total += 1;
        let text = result.to_string();
        let news = record.last_result.as_ref() != Some(&text);
        match result {
            ProbeResult::Good(duration) => {
                record.last_duration = Some(*duration);
                record.machine.result(true);
            }
            ProbeResult::Failed(_) => {
                record.failures_total += 1;
                record.machine.result(false);
            }
            ProbeResult::Unable(reason) if news => {
                tracing::warn!(%name, %address, port, reason, "a probe cannot be made");
            }
            ProbeResult::Unable(_) => {}
        }
        let advised = record.advice.then(advice);
        let before = std::mem::replace(&mut record.advice, advised);
        let is_advised_anew = advised != before;
        match (before.is_drained(), advised.is_drained()) {
            (false, true) => tracing::info!(%name, %address, port, "an agent wants no new clients"),
            (true, false) => tracing::info!(%name, %address, port, "an agent takes clients again"),
            _ => {}
        }
        let is_changed = self.take_verdict(&mut record, &text);
        record.last_result = Some(text);
        !self.probed.swap(true, Ordering::Relaxed) || is_changed || is_advised_anew
    }

    /// Takes in that traffic failed; true if something that is published changed.
    fn traffic_failed(&self, reason: &str) -> bool {
        let mut record = self.record();
        record.traffic_failures_total += 1;
        record.machine.traffic_failed();
        let text = ProbeResult::failed(format_args!("traffic failed: {reason}")).to_string();
        let is_changed = self.take_verdict(&mut record, &text);
        record.last_result = Some(text);
        drop(record);
        self.hurry.notify_one();
        is_changed
    }

    /// Makes what the record says the verdict; true if it was another. `result`: what led to it.
    fn take_verdict(&self, record: &mut Record, result: &str) -> bool {
        let verdict = record.verdict();
        if verdict == self.verdict() {
            return false;
        }
        let Probe { name, address, port, .. } = &self.probe;
        record.since = Some(SystemTime::now());
        let known = self.verdict.swap(u8::from(verdict != Verdict::Up) + 1, Ordering::Relaxed);
        if known == 0 && verdict == Verdict::Up {
            // Thousands say so when a server starts.
            tracing::debug!(%name, %address, port, %verdict, result, "a probe's first verdict");
        } else {
            tracing::info!(%name, %address, port, %verdict, result, "a probe's verdict changed");
        }
        true
    }

    fn status(&self, name: &str) -> ProbeStatus {
        let record = self.record();
        ProbeStatus {
            name: name.to_owned(),
            address: self.probe.address,
            port: self.probe.port,
            kind: self.probe.check.kind.name(),
            state: record.verdict(),
            since: record.since.map(|time| {
                time.duration_since(UNIX_EPOCH).map_or(0, |duration| duration.as_secs())
            }),
            consecutive: record.machine.consecutive(),
            last_result: record.last_result.clone(),
            advice: Some(record.advice).filter(|advice| *advice != Advice::default()),
            certificate_ends: self.shown.certificate_ends(),
            last_duration_ms: record.last_duration.map(|duration| duration.as_secs_f64() * 1e3),
            checks_total: record.checks_total,
            failures_total: record.failures_total,
            traffic_failures_total: record.traffic_failures_total,
        }
    }
}

#[cfg(test)]
mod tests;
