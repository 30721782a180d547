//! UDP: threads that move datagrams between clients and backends, in sessions.

mod carried;
mod entrance;
mod forward;
mod oldest;
mod passed;
mod passing;
mod placing;
mod session;
mod sessions;
mod token;
mod worker;

use std::cmp::Reverse;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::l4::backend::Backend;
use crate::l4::listener::Opened;
use crate::l4::service::Service;
use oldest::Oldest;
use worker::{Command, Mailbox, Serve};

pub use passed::Passed;

/// A session that goes to another process, or has come from one, and its socket.
pub type Lent = (Passed, OwnedFd);

/// Whoever stops waits no longer for what backends still have to say.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The threads. There are none until something is served.
#[derive(Debug, Default)]
pub struct Plane {
    workers: Mutex<Vec<Worker>>,
    served: AtomicU64,
    /// By service, what is known of all workers' sessions.
    oldest: Mutex<Vec<(Weak<Service>, Arc<Oldest>)>>,
    /// Sessions of the process before, until their service is served.
    adopted: Mutex<Vec<Lent>>,
}

#[derive(Debug)]
struct Worker {
    mailbox: Mailbox,
    thread: JoinHandle<()>,
}

/// Datagrams are taken from sockets until this is dropped.
#[derive(Debug)]
pub struct Serving {
    id: u64,
    mailboxes: Vec<Mailbox>,
}

impl Plane {
    /// Without threads.
    pub fn new() -> Plane {
        Plane::default()
    }

    /// Carries what comes to these sockets from now on.
    pub fn serve(&self, service: Arc<Service>, opened: Arc<Opened>) -> io::Result<Serving> {
        entrance::prepare(&opened, service.settings().quic.is_some())?;
        let mut workers = self.workers();
        while workers.len() < opened.workers.len() {
            let (mailbox, thread) = worker::start(workers.len())?;
            workers.push(Worker { mailbox, thread });
        }
        let id = self.served.fetch_add(1, Relaxed);
        let mailboxes: Vec<Mailbox> = workers.iter().map(|one| one.mailbox.clone()).collect();
        let oldest = self.oldest_of(&service);
        let mut sessions = self.sessions_for(&service, &opened);
        for (worker, mailbox) in mailboxes.iter().enumerate() {
            let (service, opened) = (Arc::clone(&service), Arc::clone(&opened));
            let sessions = sessions.get_mut(worker).map(std::mem::take).unwrap_or_default();
            let (oldest, others) = (Arc::clone(&oldest), mailboxes.clone());
            let serve = Serve { id, service, opened, worker, oldest, others, sessions };
            mailbox.send(Command::Serve(serve));
        }
        Ok(Serving { id, mailboxes })
    }

    /// These backends were up, and are not any more: their sessions go on with others.
    pub fn went_down(&self, backends: &Arc<[Arc<Backend>]>) {
        for worker in &*self.workers() {
            worker.mailbox.send(Command::WentDown(Arc::clone(backends)));
        }
    }

    /// All sessions, for another process, with duplicates of their sockets. Until they are taken
    /// back nothing is read here, so that nothing that the other should know passes it by.
    pub async fn lend(&self) -> Vec<Lent> {
        let (lent, mut all) = tokio::sync::mpsc::unbounded_channel();
        for worker in &*self.workers() {
            worker.mailbox.send(Command::Lend(lent.clone()));
        }
        drop(lent);
        let mut sessions = Vec::new();
        while let Some(some) = all.recv().await {
            sessions.extend(some);
        }
        sessions
    }

    /// The other process does not want them: as if nothing had been.
    pub fn take_back(&self) {
        for worker in &*self.workers() {
            worker.mailbox.send(Command::TakeBack);
        }
    }

    /// Sessions of another process, which go on here when their services are served.
    pub fn adopt(&self, sessions: Vec<Lent>) {
        self.adopted().extend(sessions);
    }

    /// Ends those of services that are not served here.
    pub fn forget_adopted(&self) {
        self.adopted().clear();
    }

    /// Returns when all sessions have ended, which they do when their backends have said what they
    /// had to say, and at the latest when `grace` is over.
    pub async fn stop(&self, grace: Duration) {
        let workers = std::mem::take(&mut *self.workers());
        let last = Instant::now() + grace.min(LAST_WORDS);
        for worker in &workers {
            worker.mailbox.send(Command::Stop { last });
        }
        for Worker { mailbox, thread } in workers {
            // A thread that panicked has said so.
            let _ = tokio::task::spawn_blocking(|| thread.join()).await;
            drop(mailbox);
        }
    }

    fn oldest_of(&self, service: &Arc<Service>) -> Arc<Oldest> {
        let mut all = self.oldest.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(of, _)| of.strong_count() > 0);
        let known = all.iter().find(|(of, _)| std::ptr::eq(of.as_ptr(), Arc::as_ptr(service)));
        if let Some((_, oldest)) = known {
            return Arc::clone(oldest);
        }
        let oldest = Arc::default();
        all.push((Arc::downgrade(service), Arc::clone(&oldest)));
        oldest
    }

    /// The adopted sessions by these sockets, for each worker.
    fn sessions_for(&self, service: &Service, opened: &Opened) -> Vec<Vec<Lent>> {
        let of_socket = opened.workers.iter().enumerate();
        let of_socket: Vec<usize> =
            of_socket.flat_map(|(worker, sockets)| sockets.iter().map(move |_| worker)).collect();
        let mut sessions: Vec<Vec<Lent>> = opened.workers.iter().map(|_| Vec::new()).collect();
        let is_its = |(passed, _): &mut Lent| {
            passed.service == service.name && opened.listen.contains(passed.vip)
        };
        for (passed, socket) in self.adopted().extract_if(.., is_its) {
            if let Some(worker) = of_socket.get(passed.socket % of_socket.len().max(1)) {
                sessions[*worker].push((passed, socket));
            }
        }
        for sessions in &mut sessions {
            // In the order of use, in which a table has them.
            sessions.sort_by_key(|(passed, _)| Reverse(passed.idle_us()));
        }
        sessions
    }

    fn adopted(&self) -> MutexGuard<'_, Vec<Lent>> {
        self.adopted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn workers(&self) -> MutexGuard<'_, Vec<Worker>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        for worker in &*self.workers() {
            worker.mailbox.send(Command::Stop { last: Instant::now() });
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        for mailbox in &self.mailboxes {
            mailbox.send(Command::Leave { id: self.id });
        }
    }
}
