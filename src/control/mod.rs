//! The only writer of snapshots: files, health checks, capacity reports and the operator's
//! overrides come in, and snapshots go out.

pub mod allocate;
pub mod allotting;
pub mod capacity;
pub mod core;
pub mod flatten;
pub mod layout;
pub mod notify;
pub mod override_file;
pub mod overrides;
pub mod poll;
mod presence;
pub mod publish;
mod refresh;
pub mod reload;
pub mod secondary;
pub mod serials;
pub mod settings;
pub mod status;
mod worker;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use thiserror::Error;
use tokio::sync::{Notify, broadcast};
use tokio::task::JoinSet;

use crate::health::{Probe, ProbeStatus, Verdict, Verdicts, Watch};
use crate::ledger::Ledgers;
use crate::snapshot::{Published, Snapshot};
use flatten::Flattening;
use override_file::OverrideFile;
use overrides::Overrides;
use poll::Poller;
use publish::Ground;
use status::unix_seconds;
use worker::{Wake, Works};

pub use self::core::{Core, Now};
pub use allotting::PlanStatus;
pub use capacity::{Report, ReportSource, ReportStatus};
pub use flatten::{NameState, NameStatus};
pub use notify::{NotifyState, NotifyStatus, NotifyTotals};
pub use overrides::{Action, ActionName, Aspect, Override, Target};
pub use secondary::{SecondarySettings, SecondaryStatus};
pub use settings::{AllocationSettings, ReportSettings, Settings};
pub use status::{Event, EventKind, LoadStatus};

/// How often what changes by the passing of time is looked at: stale reports, expired overrides.
const TICK: Duration = Duration::from_secs(1);
/// How many events a slow listener may be behind before it misses some.
const EVENTS_KEPT: usize = 256;

/// The writer of snapshots, and what it knows; clones are handles on the same one.
#[derive(Clone)]
pub struct Control {
    inner: Arc<Inner>,
}

struct Inner {
    /// When time began here.
    origin: Instant,
    watch: Watch,
    events: broadcast::Sender<Event>,
    published: Published,
    secondaries: secondary::Board,
    notified: notify::NotifyBoard,
    /// Never held across an await, and never on the way of a query.
    state: Mutex<State>,
    /// Held while the allocator is lent out, by threads that may wait; taken before `state`.
    works: Mutex<Works>,
    /// Wakes the thread that works plans out.
    wake: Wake,
    /// Wakes the task that resolves names: there may be others.
    other_names: Arc<Notify>,
}

struct State {
    core: Core,
    /// Where overrides survive a restart; none: nowhere.
    override_file: Option<OverrideFile>,
    /// Which list of probes those of the settings being served are.
    probes_generation: u64,
    /// Probes of settings that are not served yet.
    staged: Vec<Probe>,
    /// The pollers of reports; ended when replaced.
    pollers: JoinSet<()>,
}

/// What came with new settings.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The files and directories that were read.
    pub files: Vec<std::path::PathBuf>,
    /// What is doubtful in them.
    pub warnings: Vec<String>,
    /// The serial numbers of the zones.
    pub serials: Arc<serials::Serials>,
}

/// An override that is in force.
#[derive(Clone, Debug, PartialEq)]
pub struct SetOverride {
    /// The override.
    pub set: Override,
    /// Why it will not survive a restart, if so.
    pub warning: Option<String>,
}

/// An override that was taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cleared {
    /// Why it will be in force again after a restart, if so.
    pub warning: Option<String>,
}

/// Why control does not do as told.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ControlError {
    /// The target of an override does not exist.
    #[error("{0}")]
    UnknownTarget(String),
    /// No such datacenter.
    #[error("{0}")]
    UnknownDatacenter(String),
    /// A report that cannot be true.
    #[error("{0}")]
    BadReport(String),
    /// An action that is not for its target.
    #[error("{0}")]
    Misplaced(String),
    /// More overrides than are kept.
    #[error("{0}")]
    TooMany(String),
}

impl Control {
    /// Starts to watch what the settings name, and returns when everything has been probed once,
    /// so that nothing is answered from unknown health. The overrides are those that the file has
    /// kept; with no file, none will survive a restart.
    pub async fn start(
        settings: Arc<Settings>,
        loaded: Loaded,
        overrides: Overrides,
        override_file: Option<OverrideFile>,
    ) -> Control {
        let origin = Instant::now();
        let watch = Watch::start(settings.probes.clone());
        let (ground, flattening) = tokio::join!(
            survey(Arc::clone(&settings), None),
            refresh::first(&settings, Flattening::default(), origin),
        );
        watch.replace(settings.probes.iter().chain(flattening.probes()).cloned().collect());
        watch.first_round(watch.round_limit()).await;
        let verdicts = watch.verdicts().borrow().clone();
        if !verdicts.verdicts.is_empty() {
            let up = verdicts.verdicts.iter().filter(|verdict| **verdict == Verdict::Up).count();
            tracing::info!(up, of = verdicts.verdicts.len(), "checked");
        }
        let mut core = Core::new(ground, overrides, verdicts.verdicts, at(origin));
        core.take_advice(verdicts.advice);
        core.flatten(flattening);
        let state = State {
            core,
            override_file,
            probes_generation: verdicts.generation,
            staged: Vec::new(),
            pollers: JoinSet::new(),
        };
        let (events, _) = broadcast::channel(EVENTS_KEPT);
        let published = state.core.published();
        let (wake, woken) = worker::wake();
        let inner = Inner {
            origin,
            watch,
            events,
            published,
            secondaries: secondary::Board::default(),
            notified: notify::NotifyBoard::default(),
            state: Mutex::new(state),
            works: Mutex::default(),
            wake,
            other_names: Arc::default(),
        };
        let control = Control { inner: Arc::new(inner) };
        let reports = first_reports(&settings).await;
        control.tell(|state, now| {
            state.core.note_load(loaded, now);
            for (datacenter, result) in reports {
                state.take_report(&datacenter, result, now);
            }
            state.core.expire(now);
        });
        // A first plan, by what is known beforehand.
        control.work();
        control.poll(&mut control.state(), &settings);
        control.follow();
        refresh::start(&control);
        worker::start(&control, woken);
        control
    }

    /// Serves other settings from now on: once their new probes have been sent once, so that
    /// nothing is answered from unknown health.
    pub async fn replace(&self, settings: Arc<Settings>, loaded: Loaded) {
        let previous = self.state().core.ground().share();
        let served = self.state().core.flattening().clone();
        let (ground, flattening) = tokio::join!(
            survey(Arc::clone(&settings), Some(previous)),
            refresh::first(&settings, served, self.inner.origin),
        );
        self.probe_once(settings.probes.iter().chain(flattening.probes()).cloned().collect()).await;
        let control = self.clone();
        off_thread(move || control.replace_ground(ground, flattening, loaded)).await;
        self.inner.other_names.notify_one();
        self.poll(&mut self.state(), &settings);
    }

    /// Serves another ground from now on, with a plan for it. May wait, and work for long.
    fn replace_ground(&self, ground: Ground, mut flattening: Flattening, loaded: Loaded) {
        let works = self.works();
        let (work, took) = self.work_for(&works, &ground);
        self.tell(|state, now| {
            state.staged.clear();
            flattening.catch_up(state.core.flattening());
            state.core.flatten(flattening);
            self.watch_instead(state, &ground.settings.probes);
            // Read under the lock: a flip from now on finds the new list.
            let found = self.inner.watch.verdicts().borrow().clone();
            state.core.take_advice(found.advice);
            state.core.replace_with(ground, found.verdicts, work, took, now);
            state.core.note_load(loaded, now);
        });
        drop(works);
    }

    /// Waits until the probes of new settings have been sent once; those of the settings being
    /// served go on meanwhile, so that what fails while we wait is noticed.
    async fn probe_once(&self, probes: Vec<Probe>) {
        {
            let mut state = self.state();
            state.staged = probes;
            let settings = Arc::clone(state.core.settings());
            self.watch_instead(&mut state, &settings.probes);
        }
        let watch = &self.inner.watch;
        watch.first_round(watch.round_limit()).await;
    }

    /// Watches these probes instead of others, with those of addresses behind names, and those of
    /// settings that come. The last stand behind: what is served has the numbers it had.
    fn watch_instead(&self, state: &mut State, probes: &[Probe]) {
        let all = probes.iter().chain(state.core.flattening().probes()).chain(&state.staged);
        state.probes_generation = self.inner.watch.replace(all.cloned().collect());
    }

    /// Watches the addresses behind names that are known now, if they are others.
    fn watch_names(&self, state: &mut State, now: Now) {
        if state.core.other_probes().is_none() {
            return;
        }
        let settings = Arc::clone(state.core.settings());
        self.watch_instead(state, &settings.probes);
        // Read under the lock: a flip from now on finds the new list.
        let found = self.inner.watch.verdicts().borrow().clone();
        state.core.take_advice(found.advice);
        state.core.take_watched(found.verdicts);
        state.core.refresh(now);
    }

    /// Notes that the files as they are now cannot be served; the caller has logged it.
    pub fn note_failed_load(&self, error: String) {
        self.tell(|state, now| state.core.note_failed_load(error, now));
    }

    /// Where the current snapshot is found.
    pub fn published(&self) -> Published {
        Arc::clone(&self.inner.published)
    }

    /// What is being served.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.inner.published.load_full()
    }

    /// What the files said when they were last good.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(self.state().core.settings())
    }

    /// What is known of every probe, by `ProbeId`.
    pub fn probe_statuses(&self) -> Vec<ProbeStatus> {
        self.inner.watch.statuses()
    }

    /// Where the state of the zones that are taken from primaries is told.
    pub fn board(&self) -> secondary::Board {
        self.inner.secondaries.clone()
    }

    /// How the zones that are taken from primaries stand, by name.
    pub fn secondary_statuses(&self) -> Vec<SecondaryStatus> {
        self.inner.secondaries.statuses()
    }

    /// What is known of every datacenter's capacity, by `DatacenterId`.
    pub fn report_statuses(&self) -> Vec<ReportStatus> {
        self.state().core.report_statuses(self.now())
    }

    /// What is known of the names whose addresses are answered.
    pub fn name_statuses(&self) -> Vec<NameStatus> {
        self.state().core.name_statuses(self.now())
    }

    /// The overrides in force.
    pub fn overrides(&self) -> Vec<Override> {
        self.state().core.overrides().list().cloned().collect()
    }

    /// Overrides a target, until cleared or for as long as given.
    pub fn set_override(
        &self,
        target: Target,
        action: Action,
        lasts: Option<Duration>,
        reason: Option<String>,
    ) -> Result<SetOverride, ControlError> {
        let since = self.now().unix_seconds;
        let until = lasts.map(|lasts| since.saturating_add(whole_seconds(lasts)));
        let set = Override { target, action, reason, since, until };
        self.tell(|state, now| {
            state.core.set_override(set.clone(), now)?;
            Ok(SetOverride { set, warning: state.save_overrides() })
        })
    }

    /// Takes back what is said of that aspect of a target, or of all. None when there was nothing;
    /// else why it will be back after a restart, if so.
    pub fn clear_override(&self, target: &Target, only: Option<Aspect>) -> Option<Cleared> {
        self.tell(|state, now| {
            let was_set = state.core.clear_override(target, only, now);
            was_set.then(|| Cleared { warning: state.save_overrides() })
        })
    }

    /// Takes over what the override file says by now: another process has written it.
    pub fn read_overrides_again(&self) {
        self.tell(|state, now| {
            let Some(file) = &state.override_file else { return };
            let (overrides, unreadable) = file.load(now.unix_seconds);
            match unreadable {
                Some(warning) => tracing::error!("{warning}"),
                None => state.core.replace_overrides(overrides, now),
            }
        });
    }

    /// Takes a datacenter's own report in.
    pub fn push_report(&self, datacenter: &str, report: Report) -> Result<(), ControlError> {
        self.tell(|state, now| {
            state.core.take_report(datacenter, report, now)?;
            state.core.refresh(now);
            Ok(())
        })
    }

    /// The state of the files.
    pub fn load_status(&self) -> LoadStatus {
        self.state().core.load_status()
    }

    /// The plan by which clients are allotted to datacenters.
    pub fn plan(&self) -> PlanStatus {
        self.state().core.plan(self.now())
    }

    /// Estimates demand by what these tell of the answers that are given.
    pub fn read(&self, ledgers: Ledgers) {
        self.works().ledgers = Some(ledgers);
    }

    /// What happens from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.inner.events.subscribe()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves facts that were each whole.
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn works(&self) -> MutexGuard<'_, Works> {
        // A panic elsewhere leaves ledgers that can be read on.
        self.inner.works.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Now {
        at(self.inner.origin)
    }

    /// Does something with what is known, and tells what came of it.
    fn tell<T>(&self, act: impl FnOnce(&mut State, Now) -> T) -> T {
        let (result, events) = {
            let mut state = self.state();
            // Read under the lock: nobody who comes later brings an earlier time.
            let now = self.now();
            let result = act(&mut state, now);
            (result, state.core.take_events())
        };
        for event in events {
            let Event { kind, subject, text, .. } = &event;
            // Of probes the watch has told, and why; of files that were refused the caller.
            if !matches!(kind, EventKind::Health | EventKind::LoadRefused) {
                tracing::info!(?kind, subject, "{text}");
            }
            // Nobody may be listening.
            let _ = self.inner.events.send(event);
        }
        result
    }

    /// Polls the sources of these settings from now on, and no others.
    fn poll(&self, state: &mut State, settings: &Settings) {
        // Ends those that run.
        state.pollers = JoinSet::new();
        let Some(poller) = poller() else { return };
        for (datacenter, source) in sources(settings) {
            let control = Arc::downgrade(&self.inner);
            let take = move |result| {
                if let Some(inner) = control.upgrade() {
                    Control { inner }.tell(|state, now| {
                        if state.take_report(&datacenter, result, now) {
                            state.core.refresh(now);
                        }
                    });
                }
            };
            state.pollers.spawn(poller.clone().poll(source, take));
        }
    }

    /// Starts the tasks that follow the verdicts and the clock; they end with the last handle.
    fn follow(&self) {
        let control = Arc::downgrade(&self.inner);
        let mut verdicts = self.inner.watch.verdicts();
        tokio::spawn(async move {
            while verdicts.changed().await.is_ok() {
                let Some(inner) = control.upgrade() else { return };
                let new = verdicts.borrow_and_update().clone();
                Control { inner }.take_verdicts(new);
            }
        });
        let control = Arc::downgrade(&self.inner);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(TICK);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let Some(inner) = control.upgrade() else { return };
                Control { inner }.tick();
            }
        });
    }

    fn take_verdicts(&self, new: Verdicts) {
        self.tell(|state, now| {
            // Of a list that is not served yet, or no longer, they mean nothing here.
            if new.generation == state.probes_generation {
                state.core.take_advice(new.advice);
                state.core.take_verdicts(new.verdicts, now);
                self.watch_names(state, now);
            }
        });
        self.inner.wake.wake();
    }

    fn tick(&self) {
        self.tell(|state, now| {
            if state.core.expire(now) {
                state.save_overrides();
            }
            self.watch_names(state, now);
        });
    }
}

impl State {
    /// Returns whether the report is one.
    fn take_report(&mut self, datacenter: &str, result: Result<Report, String>, now: Now) -> bool {
        let taken = result.and_then(|report| {
            let taken = self.core.take_report(datacenter, report, now);
            taken.map_err(|error| error.to_string())
        });
        match taken {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(datacenter, %error, "no report");
                self.core.note_no_report(datacenter, error);
                false
            }
        }
    }

    /// Returns why the overrides will not survive a restart, if so.
    fn save_overrides(&self) -> Option<String> {
        let file = self.override_file.as_ref()?;
        let error = file.save(self.core.overrides()).err()?;
        let path = file.path().display();
        let warning =
            format!("done, but a restart will undo it: {path} cannot be written: {error}");
        tracing::error!("{warning}");
        Some(warning)
    }
}

/// This moment, by an origin.
fn at(origin: Instant) -> Now {
    Now { elapsed: origin.elapsed(), unix_seconds: unix_seconds(SystemTime::now()) }
}

/// Surveys off the asynchronous threads: a large world takes seconds.
async fn survey(settings: Arc<Settings>, previous: Option<Ground>) -> Ground {
    off_thread(move || {
        let promoted = previous.as_ref().map(Ground::promoted).unwrap_or_default();
        Ground::new(settings, &promoted, previous.as_ref())
    })
    .await
}

async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let task = tokio::task::spawn_blocking(work);
    task.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// Polls every datacenter once, before anything is answered.
async fn first_reports(settings: &Settings) -> Vec<(String, Result<Report, String>)> {
    let Some(poller) = poller() else { return Vec::new() };
    let mut polls = JoinSet::new();
    for (datacenter, source) in sources(settings) {
        let poller = poller.clone();
        polls.spawn(async move { (datacenter, poller.fetch(&source).await) });
    }
    polls.join_all().await
}

/// An override that lasts for less than a second lasts for one, not none.
fn whole_seconds(lasts: Duration) -> u64 {
    lasts.as_secs().saturating_add(u64::from(lasts.subsec_nanos() > 0))
}

fn sources(settings: &Settings) -> impl Iterator<Item = (String, ReportSource)> {
    let names = settings.steering.datacenters.iter().map(|datacenter| datacenter.name.clone());
    names.zip(&settings.reports).filter_map(|(name, report)| {
        let source = report.as_ref()?.source.clone()?;
        Some((name, source))
    })
}

fn poller() -> Option<Poller> {
    Poller::new().inspect_err(|error| tracing::error!(error, "reports cannot be polled")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_override_lasts_for_no_less_than_was_said() {
        let seconds = |millis| whole_seconds(Duration::from_millis(millis));
        assert_eq!((seconds(0), seconds(1), seconds(1000), seconds(1001)), (0, 1, 1, 2));
        assert_eq!(whole_seconds(Duration::MAX), u64::MAX);
    }
}
