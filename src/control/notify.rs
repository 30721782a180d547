//! Tells other servers when a zone has changed, and once at the start (RFC 1996).

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout_at};

use super::Control;
use super::status::unix_seconds;
use crate::transfer::NotifyTarget;
use crate::transfer::notify::{Announcement, Heard, TRIES, wait};
use crate::zone::Contents;

/// How many servers are told at a time.
const AT_A_TIME: usize = 100;
/// How long an answer is listened for, however long the next try waits: those who do not answer
/// keep nobody else from being told.
const LISTEN: Duration = Duration::from_secs(4);
/// The most bytes of an answer that are read.
const ANSWER_BYTES: usize = 1232;

/// What a server was last told of a zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotifyStatus {
    /// The zone.
    pub origin: String,
    /// The server.
    pub target: SocketAddr,
    /// The serial number that it is told.
    pub serial: u32,
    /// Whether it knows.
    pub state: NotifyState,
    /// When that came about: seconds since 1970 (UTC).
    pub since: u64,
    /// Why it does not know, or may not.
    pub error: Option<String>,
}

/// Whether a server knows of a zone's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotifyState {
    /// It is being told.
    Pending,
    /// It has answered that it knows.
    Acknowledged,
    /// It has not answered, or refuses to know.
    Failed,
}

/// How often servers were told something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NotifyTotals {
    /// Messages that were sent, repetitions included.
    pub sent: u64,
    /// Versions that a server has acknowledged.
    pub acknowledged: u64,
    /// Versions of which a server does not know after all tries.
    pub failed: u64,
}

/// What all servers were told, for those who ask.
#[derive(Clone, Debug, Default)]
pub(super) struct NotifyBoard(Arc<Board>);

#[derive(Debug, Default)]
struct Board {
    statuses: Mutex<BTreeMap<(String, SocketAddr), NotifyStatus>>,
    sent: AtomicU64,
    acknowledged: AtomicU64,
    failed: AtomicU64,
}

impl NotifyBoard {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, SocketAddr), NotifyStatus>> {
        // A panic elsewhere leaves a list that can be read.
        self.0.statuses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, status: NotifyStatus) {
        let count = match status.state {
            NotifyState::Pending => None,
            NotifyState::Acknowledged => Some(&self.0.acknowledged),
            NotifyState::Failed => Some(&self.0.failed),
        };
        if let Some(count) = count {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.lock().insert((status.origin.clone(), status.target), status);
    }
}

impl Control {
    /// What each server was last told of each zone, by zone.
    pub fn notify_statuses(&self) -> Vec<NotifyStatus> {
        self.inner.notified.lock().values().cloned().collect()
    }

    /// How often servers were told something.
    pub fn notify_totals(&self) -> NotifyTotals {
        let Board { sent, acknowledged, failed, .. } = &*self.inner.notified.0;
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        NotifyTotals { sent: of(sent), acknowledged: of(acknowledged), failed: of(failed) }
    }

    /// Tells other servers of every zone's version, now and whenever it changes, for as long as
    /// this is polled. `listen` are the addresses that we answer on: they know us by these.
    pub async fn notify(&self, listen: &[SocketAddr]) {
        let mut events = self.subscribe();
        let mut teller = Teller {
            board: self.inner.notified.clone(),
            listen: listen.iter().map(SocketAddr::ip).collect(),
            room: Arc::new(Semaphore::new(AT_A_TIME)),
            told: HashMap::new(),
            tasks: JoinSet::new(),
        };
        let mut seen = Weak::new();
        loop {
            let snapshot = self.snapshot();
            if !std::ptr::eq(seen.as_ptr(), Arc::as_ptr(&snapshot.zones)) {
                // Weak, so that zones that are replaced are not kept.
                seen = Arc::downgrade(&snapshot.zones);
                let zones = snapshot.zones.iter().filter_map(|zone| zone.contents());
                let targets = |contents: &Contents| {
                    let transfer = snapshot.transfers.of(&contents.origin().to_key());
                    transfer.map_or(&[][..], |transfer| &transfer.notify)
                };
                teller.follow(zones.map(|contents| (contents, targets(contents))));
            }
            drop(snapshot);
            tokio::select! {
                event = events.recv() => if let Err(RecvError::Closed) = event { return },
                Some(_) = teller.tasks.join_next() => (),
            }
        }
    }
}

/// Who is told what.
struct Teller {
    board: NotifyBoard,
    listen: Arc<[IpAddr]>,
    room: Arc<Semaphore>,
    /// By origin and server: which version, and the task that tells it.
    told: HashMap<(String, SocketAddr), (u32, AbortHandle)>,
    tasks: JoinSet<()>,
}

impl Teller {
    fn follow<'z>(&mut self, zones: impl Iterator<Item = (&'z Arc<Contents>, &'z [NotifyTarget])>) {
        let mut old = std::mem::take(&mut self.told);
        for (contents, targets) in zones {
            for target in targets {
                let key = (contents.origin().to_string(), target.address);
                let serial = contents.serial();
                let running = match old.remove(&key) {
                    Some((told, task)) if told == serial => task,
                    other => {
                        if let Some((_, task)) = other {
                            task.abort();
                        }
                        let one = One {
                            board: self.board.clone(),
                            listen: Arc::clone(&self.listen),
                            room: Arc::clone(&self.room),
                            contents: Arc::clone(contents),
                            target: target.clone(),
                        };
                        one.note(NotifyState::Pending, None);
                        self.tasks.spawn(one.tell())
                    }
                };
                self.told.insert(key, (serial, running));
            }
        }
        for (_, task) in old.into_values() {
            task.abort();
        }
        self.board.lock().retain(|key, _| self.told.contains_key(key));
    }
}

/// One zone, and one server that is told of it.
struct One {
    board: NotifyBoard,
    listen: Arc<[IpAddr]>,
    room: Arc<Semaphore>,
    contents: Arc<Contents>,
    target: NotifyTarget,
}

impl One {
    async fn tell(self) {
        let mut error = None;
        for number in 0..TRIES {
            let Ok(room) = self.room.acquire().await else { return };
            let begun = Instant::now();
            let heard = self.tell_once(begun + wait(number).min(LISTEN)).await;
            drop(room);
            match heard {
                Ok(Some(Heard::Acknowledged)) => return self.note(NotifyState::Acknowledged, None),
                Ok(Some(Heard::Refused(rcode))) => {
                    error = Some(format!("it answers {rcode}"));
                    break;
                }
                Ok(Some(Heard::Unverified(why))) => error = Some(why.to_string()),
                Ok(_) => error = error.or(Some("no answer".to_string())),
                Err(why) => error = Some(why.to_string()),
            }
            // Whatever it was, the next try has its time.
            tokio::time::sleep_until(begun + wait(number)).await;
        }
        if let Some(error) = &error {
            let (origin, target) = (self.contents.origin(), self.target.address);
            tracing::warn!(%origin, %target, "a server does not know of the zone's change: {error}");
        }
        self.note(NotifyState::Failed, error);
    }

    /// Says it once, and waits for an answer.
    async fn tell_once(&self, deadline: Instant) -> io::Result<Option<Heard>> {
        let socket = self.socket().await?;
        let now = || unix_seconds(SystemTime::now());
        let (id, key) = (fastrand::u16(..), self.target.key.as_ref());
        let said = Announcement::new(&self.contents, id, key, now());
        socket.send(said.message()).await?;
        self.board.0.sent.fetch_add(1, Ordering::Relaxed);
        let mut answer = [0; ANSWER_BYTES];
        let mut heard = None;
        // Whoever forges an answer does not end the waiting for the right one.
        while let Ok(received) = timeout_at(deadline, socket.recv(&mut answer)).await {
            match said.hear(&answer[..received?], now()) {
                Heard::Nothing => (),
                unverified @ Heard::Unverified(_) => heard = Some(unverified),
                it => return Ok(Some(it)),
            }
        }
        Ok(heard)
    }

    /// A socket from which the server knows us: on an address that we answer on, if there is a way
    /// from there.
    async fn socket(&self) -> io::Result<UdpSocket> {
        let target = self.target.address;
        let any: IpAddr = match target {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let known = self.listen.iter().filter(|ip| ip.is_ipv4() == target.is_ipv4());
        for ip in
            known.filter(|ip| !ip.is_unspecified() && ip.is_loopback() == target.ip().is_loopback())
        {
            if let Ok(socket) = UdpSocket::bind((*ip, 0)).await
                && socket.connect(target).await.is_ok()
            {
                return Ok(socket);
            }
        }
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(target).await?;
        Ok(socket)
    }

    fn note(&self, state: NotifyState, error: Option<String>) {
        self.board.note(NotifyStatus {
            origin: self.contents.origin().to_string(),
            target: self.target.address,
            serial: self.contents.serial(),
            state,
            since: unix_seconds(SystemTime::now()),
            error,
        });
    }
}
