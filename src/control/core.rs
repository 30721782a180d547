//! What is known and what follows from it: facts come in, snapshots go out. It reads no clock and
//! waits for nothing, so that the running server and a simulation are driven alike.

use std::sync::Arc;
use std::time::Duration;

use super::capacity::Capacity;
use super::overrides::{Overrides, check_target};
use super::publish::{Ground, Publisher, Tables};
use super::{
    ControlError, Event, EventKind, LoadStatus, Loaded, Override, Report, ReportStatus, Settings,
    Target,
};
use crate::decide::{HealthTable, Room, ShareTable};
use crate::health::Verdict;
use crate::snapshot::Published;

/// A moment, by both clocks that count here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Since an origin that the driver chose; it never goes back.
    pub elapsed: Duration,
    /// Seconds since 1970 (UTC): overrides end by them, and events are dated by them.
    pub unix_seconds: u64,
}

/// What is known, and the snapshots that follow from it.
#[derive(Debug)]
pub struct Core {
    publisher: Publisher,
    capacity: Capacity,
    overrides: Overrides,
    /// Of the probes of the settings being served, by `ProbeId`.
    verdicts: Arc<[Verdict]>,
    room: Vec<Room>,
    load: LoadStatus,
    /// What has happened and has not been fetched.
    events: Vec<Event>,
}

impl Core {
    /// Publishes a first snapshot, in which nothing is watched and nothing has been reported; what
    /// is known already counts from the first [`refresh`](Self::refresh) on.
    pub fn new(ground: Ground, overrides: Overrides, verdicts: Arc<[Verdict]>) -> Core {
        Core {
            capacity: Capacity::new(&ground.settings),
            publisher: Publisher::new(ground, Tables::default()),
            overrides,
            verdicts,
            room: Vec::new(),
            load: LoadStatus::default(),
            events: Vec::new(),
        }
    }

    /// Serves other settings from now on, with the verdicts of their probes.
    pub fn replace(&mut self, ground: Ground, verdicts: Arc<[Verdict]>, now: Now) {
        self.verdicts = verdicts;
        self.capacity.replace(&ground.settings);
        let tables = self.tables(&ground.settings, now);
        self.publisher.replace(ground, tables);
        self.room = self.capacity.room(now.elapsed);
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

    /// Does what the passing of time asks for; to be called about every second. True when the
    /// list of overrides is another one.
    pub fn tick(&mut self, now: Now) -> bool {
        let ended = self.overrides.expire(now.unix_seconds);
        self.publisher.sweep();
        self.refresh(now);
        for one in &ended {
            self.note(now, EventKind::Override, &one.target.to_string(), "expired".into());
        }
        !ended.is_empty()
    }

    /// Takes the verdicts on the probes of the settings being served.
    pub fn take_verdicts(&mut self, verdicts: Arc<[Verdict]>, now: Now) {
        let before = std::mem::replace(&mut self.verdicts, Arc::clone(&verdicts));
        self.refresh(now);
        let settings = Arc::clone(self.settings());
        let changes = settings.probes.iter().zip(before.iter().zip(&*verdicts));
        for (probe, (old, new)) in changes.filter(|(_, (old, new))| old != new) {
            self.note(now, EventKind::Health, &probe.name, format!("{old} → {new}"));
        }
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
        check_target(&set.target, &self.settings().steering)?;
        let (subject, text) = (set.target.to_string(), set.action.to_string());
        self.overrides.set(set)?;
        self.refresh(now);
        self.note(now, EventKind::Override, &subject, text);
        Ok(())
    }

    /// Takes an override back; returns whether there was one.
    pub fn clear_override(&mut self, target: &Target, now: Now) -> bool {
        let was_set = self.overrides.clear(target);
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

    /// What is unknown is not up: a probe without a verdict has had a whole round of time.
    fn tables(&self, settings: &Settings, now: Now) -> Tables {
        Tables {
            health: HealthTable::new(self.verdicts.iter().map(|verdict| *verdict == Verdict::Up)),
            standing: self.overrides.standing(&settings.steering),
            shares: ShareTable::new(self.capacity.room(now.elapsed)),
        }
    }

    fn note(&mut self, now: Now, kind: EventKind, subject: &str, text: String) {
        self.events.push(Event { time: now.unix_seconds, kind, subject: subject.into(), text });
    }
}
