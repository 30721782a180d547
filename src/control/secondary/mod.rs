//! Secondary mode: zones that are taken from a primary, kept on disk, and served with the zone
//! file laid over them.

mod exchange;
mod install;
pub mod schedule;
pub mod storage;
mod task;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::dns::Name;
use crate::transfer::Key;
use crate::transfer::soa::Soa;
use crate::zone;
pub use schedule::Schedule;
use task::{Bell, Task};

/// How many zones are transferred at a time.
const TRANSFERS: usize = 10;
/// How many primaries are asked at a time whether they have something newer.
const QUESTIONS: usize = 100;
/// Announcements for one zone that wait; more say no more.
const WAITING: usize = 4;

/// A zone that is taken from a primary.
#[derive(Clone, Debug)]
pub struct SecondarySettings {
    /// What is laid over what the primary sends: a zone without a base.
    pub overlay: zone::Settings,
    /// Where it is taken from: the first that answers.
    pub primaries: Vec<Primary>,
    /// Where it is kept.
    pub file: PathBuf,
    /// What was kept there when the settings were made.
    pub kept: Option<Kept>,
}

/// A primary.
#[derive(Clone, Debug)]
pub struct Primary {
    /// Where it answers, over UDP and TCP.
    pub address: SocketAddr,
    /// With which all that goes to it and comes from it is signed.
    pub key: Option<Arc<Key>>,
}

/// What was kept of a zone.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// Its SOA record.
    pub soa: Soa,
    /// When the primary last confirmed it.
    pub confirmed: SystemTime,
    /// It was confirmed too long ago to be served.
    pub is_expired: bool,
}

/// How a zone of a primary's stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SecondaryStatus {
    /// The zone.
    pub origin: String,
    /// Where it is taken from.
    pub primaries: Vec<SocketAddr>,
    /// The one that answered last.
    pub primary: Option<SocketAddr>,
    /// The version that is here.
    pub serial: Option<u32>,
    /// When a primary last confirmed it: seconds since 1970 (UTC).
    pub refreshed: Option<u64>,
    /// When it is next asked.
    pub next: Option<u64>,
    /// When the zone is given up if no primary answers.
    pub expires: Option<u64>,
    /// It has been given up.
    pub is_expired: bool,
    /// How often a newer version was taken.
    pub transfers_total: u64,
    /// How often no primary told anything that could be used.
    pub failures_total: u64,
    /// Why, if that was so the last time.
    pub last_error: Option<String>,
    /// What is doubtful in what was taken last.
    pub warning: Option<String>,
}

/// Which zone has been announced (RFC 1996), and who says so.
pub type Announced = (Name, IpAddr);

/// Something that is to be served from now on; [`Control::install`](super::Control::install) does it.
#[derive(Debug)]
pub struct Install {
    origin: Name,
    what: What,
    /// What is doubtful in it, or why it is not served.
    done: oneshot::Sender<Result<Option<String>, String>>,
}

#[derive(Debug)]
enum What {
    /// This text, which is to be kept, too.
    Text(String),
    /// What is kept.
    Kept,
    /// Nothing: it has expired.
    Nothing,
}

/// The state of all zones, for those who ask.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<BTreeMap<String, SecondaryStatus>>>);

impl Board {
    /// Of all zones, by name.
    pub fn statuses(&self) -> Vec<SecondaryStatus> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, SecondaryStatus>> {
        // A panic elsewhere leaves a list that can be read.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tasks that keep zones as their primaries have them.
pub struct Secondaries {
    shared: Arc<Shared>,
    installs: mpsc::Receiver<Install>,
    announced: mpsc::Receiver<Announced>,
    tasks: JoinSet<()>,
    /// By origin in lower-case wire form.
    bells: HashMap<Box<[u8]>, Running>,
}

struct Running {
    bell: mpsc::Sender<Bell>,
    primaries: Vec<Primary>,
    file: PathBuf,
    task: tokio::task::AbortHandle,
}

/// What all tasks share.
struct Shared {
    board: Board,
    installs: mpsc::Sender<Install>,
    questions: Semaphore,
    transfers: Semaphore,
    /// How many zones without data have been looked for since the start, whatever came of it.
    tried: watch::Sender<usize>,
}

impl Secondaries {
    /// Starts to look after these zones. What is announced comes from `announced`; the state is
    /// told on the `board`.
    pub fn start(
        zones: &[SecondarySettings],
        board: Board,
        announced: mpsc::Receiver<Announced>,
    ) -> Secondaries {
        // One at a time: each is compiled before the next is asked for.
        let (send, installs) = mpsc::channel(1);
        let shared = Shared {
            board,
            installs: send,
            questions: Semaphore::new(QUESTIONS),
            transfers: Semaphore::new(TRANSFERS),
            tried: watch::Sender::new(0),
        };
        let mut secondaries = Secondaries {
            shared: Arc::new(shared),
            installs,
            announced,
            tasks: JoinSet::new(),
            bells: HashMap::new(),
        };
        secondaries.follow(zones);
        secondaries
    }

    /// Looks after these zones from now on, and no others.
    pub fn follow(&mut self, zones: &[SecondarySettings]) {
        let mut old = std::mem::take(&mut self.bells);
        for zone in zones {
            let key = zone.overlay.origin.to_key();
            let same = old.remove(&key);
            let running = match same {
                Some(same) if same.primaries == zone.primaries && same.file == zone.file => {
                    let has_data = zone.kept.is_some_and(|kept| !kept.is_expired);
                    // One that has much to hear looks soon anyway.
                    let _ = same.bell.try_send(Bell::Reloaded { has_data });
                    same
                }
                other => {
                    if let Some(other) = other {
                        other.task.abort();
                    }
                    self.run(zone)
                }
            };
            self.bells.insert(key, running);
        }
        for gone in old.into_values() {
            gone.task.abort();
        }
        let origins: HashSet<String> =
            zones.iter().map(|zone| zone.overlay.origin.to_string()).collect();
        self.shared.board.lock().retain(|origin, _| origins.contains(origin));
    }

    fn run(&mut self, zone: &SecondarySettings) -> Running {
        let (bell, rung) = mpsc::channel(WAITING);
        let task = Task::new(zone, Arc::clone(&self.shared), rung);
        // Those that have ended are forgotten here.
        while self.tasks.try_join_next().is_some() {}
        let task = self.tasks.spawn(task.run());
        Running { bell, primaries: zone.primaries.clone(), file: zone.file.clone(), task }
    }

    /// What is to be served next. Dropped before, it has lost nothing.
    pub async fn next(&mut self) -> Install {
        loop {
            tokio::select! {
                Some(install) = self.installs.recv() => return install,
                Some((origin, source)) = self.announced.recv() => {
                    if let Some(running) = self.bells.get(&origin.to_key()) {
                        // A full one has been rung.
                        let _ = running.bell.try_send(Bell::Announced(source));
                    }
                }
                else => std::future::pending().await,
            }
        }
    }

    /// Returns once so many zones without data have been looked for.
    pub fn tried(&self, zones: usize) -> impl Future<Output = ()> + use<> {
        let mut tried = self.shared.tried.subscribe();
        async move {
            let _ = tried.wait_for(|tried| *tried >= zones).await;
        }
    }
}

impl PartialEq for Primary {
    fn eq(&self, other: &Primary) -> bool {
        self.address == other.address && self.key == other.key
    }
}

/// How long the start waits for zones of which nothing is kept.
pub const FIRST_TRANSFERS: Duration = Duration::from_secs(10);
