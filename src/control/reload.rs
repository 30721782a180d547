//! Files that change are read again: all or nothing, and not before they have settled.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

/// Files are read when nothing has changed for this long, so that an editor that writes a file in
/// several steps, or a deployment of several files, is read once.
const SETTLE: Duration = Duration::from_millis(150);
/// A directory that never settles is read all the same after this.
const SETTLE_AT_MOST: Duration = Duration::from_secs(2);
/// By how much the time of a change may lag behind the clock: files are stamped by its ticks.
const CLOCK_TICK: Duration = Duration::from_millis(50);
/// After something was heard, what else comes soon is looked at with it: the directories may hold
/// files of others, such as a log, that change all the time.
const REST: Duration = Duration::from_millis(50);
/// Where the system cannot tell of changes (some network file systems), this finds them.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Why files are read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// One of them changed.
    Change,
    /// The operator asked.
    Request,
}

/// Tells when files have changed.
pub struct FileWatch {
    watcher: Option<RecommendedWatcher>,
    changes: mpsc::Receiver<()>,
    directories: BTreeSet<PathBuf>,
    files: Vec<PathBuf>,
    seen: Vec<Option<Stamp>>,
    /// Something was heard, and not yet looked at to the end.
    is_heard: bool,
}

/// What tells one version of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    /// When its contents, its name or who may read it last changed (`st_ctime`).
    changed: Duration,
    bytes: u64,
    inode: u64,
}

impl FileWatch {
    /// Watches `files`, which may be directories too, and were read at that time.
    pub fn new(files: &[PathBuf], read_at: SystemTime) -> FileWatch {
        let (send, changes) = mpsc::channel(1);
        let notice = move |_event| {
            // A full channel already says that something changed.
            let _ = send.try_send(());
        };
        let watcher = notify::recommended_watcher(notice).inspect_err(|error| {
            tracing::warn!(%error, "cannot watch files; they are looked at every 10 seconds");
        });
        let mut watch = FileWatch {
            watcher: watcher.ok(),
            changes,
            directories: BTreeSet::new(),
            files: Vec::new(),
            seen: Vec::new(),
            is_heard: false,
        };
        watch.follow(files, read_at);
        watch
    }

    /// The present state of the files counts as seen: they are about to be read.
    pub fn look(&mut self) {
        self.seen = stamps(&self.files);
    }

    /// Watches these files from now on. Of those that were not watched before, the present state
    /// counts as seen, unless it came after they began to be read.
    pub fn follow(&mut self, files: &[PathBuf], read_at: SystemTime) {
        let read_at = read_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let is_older = |stamp: &Stamp| stamp.changed + CLOCK_TICK < read_at;
        // Directories are watched, not files: a file that is replaced has a new inode.
        let directories: BTreeSet<PathBuf> = files
            .iter()
            .flat_map(|file| [file.is_dir().then_some(file.as_path()), file.parent()])
            .flatten()
            .map(|directory| match directory.as_os_str().is_empty() {
                true => PathBuf::from("."),
                false => directory.to_path_buf(),
            })
            .collect();
        if let Some(watcher) = &mut self.watcher {
            for gone in self.directories.difference(&directories) {
                let _ = watcher.unwatch(gone);
            }
            for new in &directories {
                // Watched again even if known: a directory may have been replaced.
                if let Err(error) = watcher.watch(new, RecursiveMode::NonRecursive) {
                    tracing::debug!(directory = %new.display(), %error, "cannot watch");
                }
            }
        }
        self.directories = directories;
        let known: HashMap<&PathBuf, Option<Stamp>> =
            self.files.iter().zip(self.seen.iter().copied()).collect();
        let seen = files
            .iter()
            .map(|file| known.get(file).copied().unwrap_or_else(|| stamp(file).filter(is_older)));
        self.seen = seen.collect();
        self.files = files.to_vec();
        self.is_heard = true;
    }

    /// Returns when one of the files has changed since it was last seen, and has settled. Dropped
    /// before, it has lost nothing.
    pub async fn changed(&mut self) {
        loop {
            if !self.is_heard {
                // A watcher that failed has no sender left, and the channel is closed: then time
                // alone.
                let heard = async {
                    match self.changes.recv().await {
                        Some(()) => {}
                        None => std::future::pending().await,
                    }
                };
                let _ = tokio::time::timeout(LOOK_EVERY, heard).await;
                self.is_heard = true;
                tokio::time::sleep(REST).await;
            }
            let is_changed = stamps(&self.files) != self.seen;
            if is_changed {
                self.settled().await;
                self.look();
            }
            self.is_heard = false;
            if is_changed {
                return;
            }
        }
    }

    async fn settled(&mut self) {
        let deadline = tokio::time::Instant::now() + SETTLE_AT_MOST;
        let mut before = stamps(&self.files);
        while tokio::time::Instant::now() < deadline {
            tokio::time::sleep(SETTLE).await;
            let now = stamps(&self.files);
            if now == before {
                break;
            }
            before = now;
        }
        while self.changes.try_recv().is_ok() {}
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    files.iter().map(|file| stamp(file)).collect()
}

fn stamp(file: &Path) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(file).ok()?;
    let seconds = metadata.ctime().try_into().unwrap_or_default();
    let changed = Duration::new(seconds, metadata.ctime_nsec() as u32);
    Some(Stamp { changed, bytes: metadata.len(), inode: metadata.ino() })
}
