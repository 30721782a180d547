//! UDP: threads that move datagrams between clients and backends, in sessions.

mod carried;
mod entrance;
mod forward;
mod quic;
mod session;
mod sessions;
mod worker;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::l4::backend::Backend;
use crate::l4::listener::Opened;
use crate::l4::service::Service;
use worker::{Command, Mailbox};

/// Whoever stops waits no longer for what backends still have to say.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The threads. There are none until something is served.
#[derive(Debug, Default)]
pub struct Plane {
    workers: Mutex<Vec<Worker>>,
    served: AtomicU64,
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
        entrance::prepare(&opened)?;
        let mut workers = self.workers();
        while workers.len() < opened.workers.len() {
            let (mailbox, thread) = worker::start(workers.len())?;
            workers.push(Worker { mailbox, thread });
        }
        let id = self.served.fetch_add(1, Relaxed);
        let mailboxes: Vec<Mailbox> = workers.iter().map(|one| one.mailbox.clone()).collect();
        for (worker, mailbox) in mailboxes.iter().enumerate() {
            let (service, opened) = (Arc::clone(&service), Arc::clone(&opened));
            mailbox.send(Command::Serve { id, service, opened, worker });
        }
        Ok(Serving { id, mailboxes })
    }

    /// A backend was up, and is not any more: its sessions go on with others.
    pub fn went_down(&self, backend: &Arc<Backend>) {
        for worker in &*self.workers() {
            worker.mailbox.send(Command::WentDown(Arc::clone(backend)));
        }
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
