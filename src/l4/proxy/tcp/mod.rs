//! The TCP plane: connections, carried by one thread a core.

mod connection;
mod deaf;
mod dial;
mod direction;
mod hellos;
mod lines;
mod mailbox;
mod pipes;
mod places;
mod side;
mod slab;
mod token;
mod wheel;
mod worker;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::sync::Notify;

use crate::l4::backend::Backend;
use crate::l4::listener::Opened;
use crate::l4::service::Service;
use crate::l4::settings::ServiceSettings;
use lines::Lines;
use mailbox::{Mailbox, Order};
use worker::Worker;

/// The workers. When it is dropped, they leave as their last connections end.
#[derive(Debug)]
pub struct Plane {
    workers: Arc<Workers>,
    carried: Arc<Carried>,
}

/// How to reach the workers.
#[derive(Debug, Default)]
struct Workers {
    lines: Arc<Lines>,
    mailboxes: Mutex<Vec<Arc<Mailbox>>>,
    servings: AtomicU64,
}

/// What comes on some sockets is carried until this is dropped; what waits there then, still is.
#[derive(Debug)]
pub struct Serving {
    id: u64,
    /// What is on its way to the sockets is awaited.
    is_awaiting: AtomicBool,
    workers: Arc<Workers>,
    carried: Arc<Carried>,
}

/// How many connections there are.
#[derive(Debug, Default)]
pub struct Carried {
    count: AtomicUsize,
    /// Rung when there are none any more.
    none: Notify,
}

/// Counts as a connection, for what may bring some.
#[derive(Debug)]
pub struct Lease {
    carried: Arc<Carried>,
}

/// Fails when this process may not do what a service is to.
pub fn check(settings: &ServiceSettings) -> io::Result<()> {
    if settings.transparent {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        dial::allow_any_source(&socket).map_err(|error| {
            let text = format!("`transparent` needs the capability CAP_NET_ADMIN: {error}");
            io::Error::new(error.kind(), text)
        })?;
    }
    Ok(())
}

impl Plane {
    /// Without threads, until something is served.
    pub fn new() -> Plane {
        Plane { workers: Arc::default(), carried: Arc::default() }
    }

    /// Accepts on these sockets from now on.
    pub fn serve(&self, service: Arc<Service>, opened: Arc<Opened>) -> io::Result<Serving> {
        let id = self.workers.servings.fetch_add(1, Ordering::Relaxed);
        let mut mailboxes = self.workers.mailboxes();
        for number in mailboxes.len()..opened.workers.len() {
            let mailbox = Arc::new(Mailbox::new()?);
            let (lines, carried) = (Arc::clone(&self.workers.lines), Arc::clone(&self.carried));
            let worker = Worker::new(number, Arc::clone(&mailbox), lines, carried)?;
            std::thread::Builder::new()
                .name(format!("l4-tcp-{number}"))
                .spawn(move || worker.run())?;
            mailboxes.push(mailbox);
        }
        for mailbox in mailboxes.iter().take(opened.workers.len()) {
            mailbox.send(Order::Serve(id, Arc::clone(&opened), Arc::clone(&service)));
        }
        let (workers, carried) = (Arc::clone(&self.workers), Arc::clone(&self.carried));
        Ok(Serving { id, is_awaiting: AtomicBool::new(false), workers, carried })
    }

    /// These backends were up, and are not any more.
    pub fn went_down(&self, backends: &Arc<[Arc<Backend>]>) {
        self.workers.tell(|| Order::WentDown(Arc::clone(backends)));
    }

    /// Returns when all connections have ended; those that have not when `grace` is over are reset.
    /// To be called when nothing is served any more.
    pub async fn stop(&self, grace: Duration) {
        if tokio::time::timeout(grace, self.carried.until_none()).await.is_err() {
            self.workers.tell(|| Order::Abort);
            self.carried.until_none().await;
        }
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.workers.tell(|| Order::Leave);
    }
}

impl Serving {
    /// When it is dropped, handshakes that have begun are still awaited for a moment. For sockets
    /// that share their port with others, and are nobody else's.
    pub fn await_the_last(&self) {
        self.is_awaiting.store(true, Ordering::Relaxed);
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let is_awaiting = self.is_awaiting.load(Ordering::Relaxed);
        self.workers.tell(|| Order::Close(self.id, is_awaiting, Lease::new(&self.carried)));
    }
}

impl Workers {
    fn tell(&self, order: impl Fn() -> Order) {
        self.mailboxes().iter().for_each(|mailbox| mailbox.send(order()));
    }

    fn mailboxes(&self) -> MutexGuard<'_, Vec<Arc<Mailbox>>> {
        self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Carried {
    fn begin(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    fn end(&self) {
        if self.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.none.notify_waiters();
        }
    }

    async fn until_none(&self) {
        loop {
            let none = self.none.notified();
            if self.count.load(Ordering::Acquire) == 0 {
                return;
            }
            none.await;
        }
    }
}

impl Lease {
    fn new(carried: &Arc<Carried>) -> Lease {
        carried.begin();
        Lease { carried: Arc::clone(carried) }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.carried.end();
    }
}
