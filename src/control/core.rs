//! What is known and what follows from it: facts come in, snapshots go out. It reads no clock and
//! waits for nothing, so that the running server and a simulation are driven alike.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::allotting::{Allotting, News, PlanStatus, Work};
use super::capacity::Capacity;
use super::flatten::{Flattening, NameStatus, Resolution};
use super::overrides::{Aspect, Overrides, check_target};
use super::presence::presence;
use super::publish::{Ground, Publisher, Tables};
use super::{
    ControlError, Event, EventKind, LoadStatus, Loaded, Override, Report, ReportStatus, Settings,
    Target,
};
use crate::decide::{DatacenterId, HealthTable, Member, Room, ShareTable};
use crate::dns::Name;
use crate::health::{Advice, Probe, Verdict};
use crate::ledger::Answered;
use crate::snapshot::Published;
use crate::zone::{Condition, Zones};

/// A moment, by both clocks that count here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Since an origin that the driver chose; it never goes back.
    pub elapsed: Duration,
    /// Seconds since 1970 (UTC): overrides end by them, and events are dated by them.
    pub unix_seconds: u64,
}

/// The system's clock is not said to have been set for this many seconds: whole ones are compared,
/// and time servers move it a little.
const JITTER: u64 = 3;

/// What is known, and the snapshots that follow from it.
#[derive(Debug)]
pub struct Core {
    publisher: Publisher,
    capacity: Capacity,
    overrides: Overrides,
    /// Of the probes of the settings being served, by `ProbeId`; behind them, of the probes of the
    /// addresses behind names.
    verdicts: Arc<[Verdict]>,
    /// What agents say besides, in the same order; it may be shorter, and then the rest say nothing.
    advice: Arc<[Advice]>,
    flattening: Flattening,
    room: Vec<Room>,
    allotting: Allotting,
    load: LoadStatus,
    /// The last moment that was looked at.
    seen: Now,
    /// The overrides have moved with the clock of the system.
    has_moved: bool,
    /// What has happened and has not been fetched.
    events: Vec<Event>,
}

impl Core {
    /// Publishes a first snapshot, in which nothing is watched and nothing has been reported; what
    /// is known already counts from the first [`tick`](Self::tick) on.
    pub fn new(ground: Ground, overrides: Overrides, verdicts: Arc<[Verdict]>, now: Now) -> Core {
        let capacity = Capacity::new(&ground.settings);
        let work = Work::on(&ground, None, now);
        let mut core = Core {
            capacity,
            publisher: Publisher::new(ground, Tables::default()),
            overrides,
            verdicts,
            advice: Arc::default(),
            flattening: Flattening::default(),
            room: Vec::new(),
            allotting: Allotting::default(),
            load: LoadStatus::default(),
            seen: now,
            has_moved: false,
            events: Vec::new(),
        };
        core.allotting.replace(work, Duration::ZERO);
        core
    }

    /// Serves another ground from now on, with the verdicts of its probes.
    pub fn replace(&mut self, ground: Ground, verdicts: Arc<[Verdict]>, now: Now) {
        let mut work = Work::on(&ground, self.begin_work(now), now);
        if let Some(work) = &mut work {
            work.run(now);
        }
        self.replace_with(ground, verdicts, work, Duration::ZERO, now);
    }

    /// The same with what was worked out for that ground in so much time.
    pub fn replace_with(
        &mut self,
        ground: Ground,
        verdicts: Arc<[Verdict]>,
        work: Option<Work>,
        took: Duration,
        now: Now,
    ) {
        self.verdicts = verdicts;
        self.flattening.replace(Arc::clone(&ground.settings.flattened), now);
        self.capacity.replace(&ground.settings);
        let news = self.allotting.replace(work, took);
        let tables = self.tables(&ground.settings, now);
        self.publisher.replace(ground, tables);
        self.room = self.capacity.room(now.elapsed);
        self.note_news(news, now);
    }

    /// Serves other versions of the same zones from now on; `origin` is that of which one came.
    pub fn replace_zones(&mut self, zones: Arc<Zones>, origin: &Name, now: Now) {
        let text = match zones.iter().find(|zone| zone.origin() == origin) {
            Some(zone) if zone.condition() == Condition::Served => {
                format!("serial {}", zone.serial())
            }
            _ => "expired".to_string(),
        };
        self.publisher.replace_zones(zones);
        self.note(now, EventKind::Transfer, &origin.to_string(), text);
    }

    /// Where the current snapshot is found.
    pub fn published(&self) -> Published {
        self.publisher.published()
    }

    /// What charts are drawn on.
    pub fn ground(&self) -> &Ground {
        self.publisher.ground()
    }

    /// What the files said when they were last good.
    pub fn settings(&self) -> &Arc<Settings> {
        &self.publisher.ground().settings
    }

    /// Publishes what has changed.
    pub fn refresh(&mut self, now: Now) {
        self.follow_clock(now);
        let settings = Arc::clone(self.settings());
        let tables = self.tables(&settings, now);
        self.publisher.update(tables);
        let room = self.capacity.room(now.elapsed);
        let before = std::mem::replace(&mut self.room, room.clone());
        let names = settings.steering.datacenters.iter().map(|datacenter| &datacenter.name);
        for (name, (old, new)) in names.zip(before.into_iter().zip(room)) {
            if old != new {
                self.note(now, EventKind::Room, name, format!("{old} → {new}"));
            }
        }
    }

    /// Does what the passing of time asks for, and works out a plan if one is due; to be called
    /// about every second. True when the list of overrides is another one.
    pub fn tick(&mut self, now: Now) -> bool {
        let has_expired = self.expire(now);
        if let Some(mut work) = self.begin_work(now) {
            work.run(now);
            self.end_work(work, Duration::ZERO, now);
        }
        has_expired
    }

    /// The same, but for the plan.
    pub fn expire(&mut self, now: Now) -> bool {
        self.follow_clock(now);
        let ended = self.overrides.expire(now.unix_seconds);
        self.publisher.sweep();
        self.refresh(now);
        for one in &ended {
            self.note(now, EventKind::Override, &one.target.to_string(), "expired".into());
        }
        std::mem::take(&mut self.has_moved) || !ended.is_empty()
    }

    /// Begins to work out a plan, if there is anything to allocate and nobody is at it. Whoever does
    /// must [end](Self::end_work) it.
    pub fn begin_work(&mut self, now: Now) -> Option<Work> {
        let (epoch, capacity) = (self.publisher.epoch(), &mut self.capacity);
        self.allotting.lend(epoch, || capacity.unheard(now.elapsed))
    }

    /// Publishes the plan that was worked out in so much time.
    pub fn end_work(&mut self, work: Work, took: Duration, now: Now) {
        let news = self.allotting.take_back(work, took);
        if news.is_other {
            self.refresh(now);
        }
        self.note_news(news, now);
    }

    /// Begins to allocate anew, with nothing learned, when work was begun and cannot be ended.
    pub fn begin_anew(&mut self, now: Now) {
        let work = Work::on(self.ground(), None, now);
        self.allotting.replace(work, Duration::ZERO);
        self.refresh(now);
    }

    /// Counts an answer that was given. What is from a snapshot before the latest reload is passed
    /// over, as its numbers are others.
    pub fn count(&mut self, answered: Answered, now: Now) {
        if answered.epoch() == self.publisher.epoch() {
            self.allotting.count(answered, now);
        }
    }

    /// The plan that is served.
    pub fn plan(&self, now: Now) -> PlanStatus {
        self.allotting.status(self.ground().promoted(), now)
    }

    /// The prefixes that should be client groups of their own, if others than those that are. For
    /// them a new ground is to be made, and to [replace](Self::replace) this one.
    pub fn promotions(&mut self, now: Now) -> Option<Vec<IpNet>> {
        self.allotting.promotions(&self.publisher.ground().promoted(), now)
    }

    /// Takes the verdicts on the probes of the settings being served.
    pub fn take_verdicts(&mut self, verdicts: Arc<[Verdict]>, now: Now) {
        let before = std::mem::replace(&mut self.verdicts, Arc::clone(&verdicts));
        self.refresh(now);
        let settings = Arc::clone(self.settings());
        let probes = settings.probes.iter().chain(self.flattening.probes());
        let changes = probes.zip(before.iter().zip(&*verdicts));
        let changes = changes.filter(|(_, (old, new))| old != new);
        let changes: Vec<_> = changes
            .map(|(probe, (old, new))| (probe.name.clone(), format!("{old} → {new}")))
            .collect();
        for (name, change) in changes {
            self.note(now, EventKind::Health, &name, change);
        }
    }

    /// The names whose addresses are answered.
    pub fn flattening(&self) -> &Flattening {
        &self.flattening
    }

    /// Serves these names from the next [`refresh`](Self::refresh) on.
    pub fn flatten(&mut self, flattening: Flattening) {
        self.flattening = flattening;
    }

    /// Up to so many names that it is time to ask resolvers for; each is asked for once, until what
    /// came of it is [taken](Self::take_resolutions).
    pub fn names_due(&mut self, most: usize, now: Now) -> Vec<Name> {
        self.flattening.due(most, now)
    }

    /// Takes in what resolvers said of names. It counts from the next [`refresh`](Self::refresh) on;
    /// true when that should not wait for the next [tick](Self::tick), as there is news.
    pub fn take_resolutions(&mut self, resolutions: Vec<Resolution>, now: Now) -> bool {
        let mut is_urgent = false;
        for resolution in resolutions {
            if let Some((name, news)) = self.flattening.take(resolution) {
                self.note(now, EventKind::Resolution, &name.to_string(), news);
                is_urgent = true;
            }
        }
        is_urgent
    }

    /// The probes of the addresses behind names, if others are to be watched than before. They stand
    /// behind those of the settings, and whoever watches must [say](Self::take_watched) so.
    pub fn other_probes(&mut self) -> Option<&[Probe]> {
        self.flattening.renew_probes().then(|| self.flattening.probes())
    }

    /// Takes what agents say besides, in the order of the verdicts. It counts from the next verdicts,
    /// [ground](Self::replace_with) or [`refresh`](Self::refresh) on.
    pub fn take_advice(&mut self, advice: Arc<[Advice]>) {
        self.advice = advice;
    }

    /// Other probes are watched; these are the verdicts on them.
    pub fn take_watched(&mut self, verdicts: Arc<[Verdict]>) {
        self.verdicts = verdicts;
    }

    /// What is known of the names whose addresses are answered.
    pub fn name_statuses(&self, now: Now) -> Vec<NameStatus> {
        self.flattening.statuses(now)
    }

    /// The verdicts on the probes of the settings being served.
    pub fn verdicts(&self) -> Arc<[Verdict]> {
        Arc::clone(&self.verdicts)
    }

    /// Takes a datacenter's report in. It counts from the next [`refresh`](Self::refresh) on.
    pub fn take_report(
        &mut self,
        datacenter: &str,
        report: Report,
        now: Now,
    ) -> Result<(), ControlError> {
        self.capacity.accept(datacenter, report, now.elapsed)
    }

    /// Notes that a datacenter's report could not be had. The one before counts until stale.
    pub fn note_no_report(&mut self, datacenter: &str, error: String) {
        self.capacity.note_failure(datacenter, error);
    }

    /// What is known of every datacenter's capacity, by `DatacenterId`.
    pub fn report_statuses(&self, now: Now) -> Vec<ReportStatus> {
        self.capacity.statuses(now.elapsed)
    }

    /// The overrides in force.
    pub fn overrides(&self) -> &Overrides {
        &self.overrides
    }

    /// Overrides a target.
    pub fn set_override(&mut self, set: Override, now: Now) -> Result<(), ControlError> {
        check_target(&set.target, set.action, &self.settings().steering)?;
        self.follow_clock(now);
        let (subject, text) = (set.target.to_string(), set.action.to_string());
        self.overrides.set(set)?;
        self.refresh(now);
        self.note(now, EventKind::Override, &subject, text);
        Ok(())
    }

    /// Takes these overrides for those that were; where they differ, that is an event.
    pub fn replace_overrides(&mut self, overrides: Overrides, now: Now) {
        let gone = self.overrides.list().filter(|one| !overrides.has(one));
        let gone = gone.map(|one| (one.target.to_string(), "cleared".to_owned()));
        let come = overrides.list().filter(|one| !self.overrides.has(one));
        let come = come.map(|one| (one.target.to_string(), one.action.to_string()));
        let changes: Vec<(String, String)> = gone.chain(come).collect();
        if changes.is_empty() {
            return;
        }
        self.overrides = overrides;
        self.refresh(now);
        for (subject, text) in changes {
            self.note(now, EventKind::Override, &subject, text);
        }
    }

    /// Takes back what is said of that aspect of a target, or of all; returns whether anything was.
    pub fn clear_override(&mut self, target: &Target, only: Option<Aspect>, now: Now) -> bool {
        let was_set = self.overrides.clear(target, only);
        if was_set {
            self.refresh(now);
            self.note(now, EventKind::Override, &target.to_string(), "cleared".into());
        }
        was_set
    }

    /// The state of the files.
    pub fn load_status(&self) -> LoadStatus {
        LoadStatus { generation: self.publisher.generation(), ..self.load.clone() }
    }

    /// Notes that the files were read.
    pub fn note_load(&mut self, loaded: Loaded, now: Now) {
        self.load = LoadStatus {
            loaded_at: now.unix_seconds,
            loads_total: self.load.loads_total + 1,
            failures_total: self.load.failures_total,
            last_error: None,
            warnings: loaded.warnings,
            serials: loaded.serials,
            files: loaded.files,
            generation: 0,
        };
        self.note(now, EventKind::Load, "files", "loaded".into());
    }

    /// Notes that the files as they are now cannot be served.
    pub fn note_failed_load(&mut self, error: String, now: Now) {
        self.load.failures_total += 1;
        self.load.last_error = Some(error.clone());
        self.note(now, EventKind::LoadRefused, "files", error);
    }

    /// What has happened since this was last asked.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The verdicts, where an address whose agent wants no new clients counts as down: it is not
    /// answered.
    fn verdicts_on_new_clients(&self) -> Vec<Verdict> {
        let mut verdicts = self.verdicts.to_vec();
        for (verdict, advice) in verdicts.iter_mut().zip(&*self.advice) {
            if *verdict == Verdict::Up && advice.is_drained() {
                *verdict = Verdict::Down;
            }
        }
        verdicts
    }

    /// What is unknown is not up: a probe without a verdict has had a whole round of time.
    fn tables(&mut self, settings: &Settings, now: Now) -> Tables {
        let steering = &settings.steering;
        let alive = HealthTable::new(self.verdicts.iter().map(|verdict| *verdict == Verdict::Up));
        let verdicts = self.verdicts_on_new_clients();
        let health = HealthTable::new(verdicts.iter().map(|verdict| *verdict == Verdict::Up));
        let drain = self.allotting.is_planned().then_some(settings.allocation.drain);
        let names = verdicts.get(settings.probes.len()..).unwrap_or_default();
        self.flattening.refresh(names, now);
        let resolved = self.flattening.table(names, now);
        let facts = (&health, &resolved);
        let is_spent = |member: &Member| {
            !member.is_healthy(&health, &resolved) && member.is_healthy(&alive, &resolved)
        };
        let members = presence(steering, facts, &self.overrides, drain, is_spent, now.unix_seconds);
        for lost in self.allotting.note(&members.availability, now) {
            let name = &steering.datacenters[lost].name;
            self.note(now, EventKind::Plan, name, "lost: served is the plan for that case".into());
        }
        let doubted = |datacenter: DatacenterId| self.allotting.is_doubted(datacenter);
        let standing = members.standing(steering, doubted);
        let shares = ShareTable::new(self.capacity.room(now.elapsed))
            .with_allotments(self.allotting.allotments(steering.pools.len()));
        Tables { health, standing, resolved, shares }
    }

    /// What was said for two hours counts for two hours, though the clock of the system may be set in
    /// between: overrides are moved with it. But for those that were said later than it was, before
    /// a start at which the clock was slow: they are right when it is.
    fn follow_clock(&mut self, now: Now) {
        let before = std::mem::replace(&mut self.seen, now);
        let seconds = |moment: Now| i128::from(moment.unix_seconds);
        let passed = now.elapsed.saturating_sub(before.elapsed).as_secs();
        let jump = seconds(now) - seconds(before) - i128::from(passed);
        if jump.unsigned_abs() <= JITTER.into() {
            return;
        }
        let by = jump.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        if self.overrides.shift(by, before.unix_seconds.saturating_add(JITTER)) {
            self.has_moved = true;
            let what =
                format!("the clock was set by {by} s: overrides begin and end so much later");
            self.note(now, EventKind::Override, "all", what);
        }
    }

    fn note_news(&mut self, news: News, now: Now) {
        let News { state, refusal, .. } = news;
        if let Some(state) = state {
            self.note(now, EventKind::Plan, "allocation", state);
        }
        if let Some(refusal) = refusal {
            self.note(
                now,
                EventKind::Plan,
                "allocation",
                format!("a plan is not served: {refusal}"),
            );
        }
    }

    fn note(&mut self, now: Now, kind: EventKind, subject: &str, text: String) {
        self.events.push(Event { time: now.unix_seconds, kind, subject: subject.into(), text });
    }
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
