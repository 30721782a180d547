//! The thread that reads the ledgers and works plans out, beside the runtime and without the lock.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, MutexGuard, Weak};
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::allotting::Work;
use super::publish::Ground;
use super::{Control, Inner};
use crate::ledger::Ledgers;

/// How often the ledgers are read.
const READ_EVERY: Duration = Duration::from_millis(100);
/// The most records of one ledger that are read at a time; what a plan has to wait for is bounded.
const MOST_RECORDS: usize = 1 << 16;

/// What this thread alone works with.
#[derive(Debug, Default)]
pub struct Works {
    /// What the workers that answer have written down; none: nobody answers.
    pub ledgers: Option<Ledgers>,
    /// How many records had found no room when that was last looked at.
    dropped: u64,
}

/// Wakes the thread before its time.
#[derive(Debug)]
pub struct Wake(SyncSender<()>);

impl Wake {
    /// Something happened that should not wait.
    pub fn wake(&self) {
        // Where it has not woken up from the last time, it will see this too.
        let _ = self.0.try_send(());
    }
}

/// Who wakes, and who is woken.
pub fn wake() -> (Wake, Receiver<()>) {
    let (send, receive) = sync_channel(1);
    (Wake(send), receive)
}

/// Starts the thread; it ends with the last handle on `control`.
pub fn start(control: &Control, woken: Receiver<()>) {
    let inner = Arc::downgrade(&control.inner);
    let thread = std::thread::Builder::new().name("allocator".into());
    let started = thread.spawn(move || {
        while let Err(RecvTimeoutError::Timeout) | Ok(()) = woken.recv_timeout(READ_EVERY) {
            if !once(&inner) {
                return;
            }
        }
    });
    if let Err(error) = started {
        tracing::error!(%error, "no thread for the allocation: clients go to the nearest with room");
    }
}

/// What something took.
pub fn worked_out<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    (work(), began.elapsed())
}

/// False when there is nobody left to work for.
fn once(inner: &Weak<Inner>) -> bool {
    let Some(inner) = inner.upgrade() else { return false };
    let control = Control { inner };
    if let Some(promoted) = control.work() {
        control.promote(promoted);
    }
    true
}

impl Control {
    /// Reads the ledgers and works out what is due. Returns the prefixes that should be client
    /// groups of their own, if they changed.
    pub(super) fn work(&self) -> Option<Vec<IpNet>> {
        let mut works = self.works();
        let mut work = self.tell(|state, now| state.core.begin_work(now))?;
        let now = self.now();
        let Works { ledgers, dropped } = &mut *works;
        if let Some(ledgers) = ledgers {
            ledgers.drain(MOST_RECORDS, |record| work.count(record, now));
            let before = std::mem::replace(dropped, ledgers.dropped());
            work.miss(dropped.saturating_sub(before));
        }
        let (worked, took) = worked_out(|| {
            let mut work = work;
            // A fault there must not end what is served here.
            catch_unwind(AssertUnwindSafe(move || {
                work.run(now);
                work
            }))
        });
        self.tell(|state, now| match worked {
            Ok(work) => {
                state.core.end_work(work, took, now);
                state.core.promotions(now)
            }
            Err(_) => {
                tracing::error!(
                    "the allocation failed by a fault of this program; please report it"
                );
                state.core.begin_anew(now);
                None
            }
        })
    }

    /// Makes groups of their own of these prefixes, and of no others.
    fn promote(&self, promoted: Vec<IpNet>) {
        let previous = self.state().core.ground().share();
        let ground = Ground::new(Arc::clone(&previous.settings), &promoted, Some(&previous));
        let works = self.works();
        // Of files that were read again meanwhile, it will be seen what is heavy there.
        if !Arc::ptr_eq(&ground.settings, self.state().core.settings()) {
            return;
        }
        let (work, took) = self.work_for(&works, &ground);
        self.tell(|state, now| {
            let verdicts = state.core.verdicts();
            state.core.replace_with(ground, verdicts, work, took, now);
        });
        tracing::info!(prefixes = promoted.len(), "the heaviest prefixes are client groups");
    }

    /// A plan for a ground that is to be served, by what was learned on the one before. The
    /// allocator is out until that is done.
    pub(super) fn work_for(
        &self,
        _alone: &MutexGuard<'_, Works>,
        ground: &Ground,
    ) -> (Option<Work>, Duration) {
        let before = self.tell(|state, now| state.core.begin_work(now));
        worked_out(|| {
            let mut work = Work::on(ground, before, self.now())?;
            work.run(self.now());
            Some(work)
        })
    }
}
