//! What a worker is told by others, who ring for it.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

use super::Lease;
use super::slab::Key;
use crate::l4::backend::Backend;
use crate::l4::listener::Opened;
use crate::l4::service::Service;

/// An order to one worker.
#[derive(Debug)]
pub enum Order {
    /// Accept what comes on these sockets for that service.
    Serve(u64, Arc<Opened>, Arc<Service>),
    /// Accept what waits on those sockets, and then no more; if so, after a moment in which
    /// handshakes that have begun come to their end.
    Close(u64, bool, Lease),
    /// That connection waits, and there may be a place for it.
    Seat(Key, Arc<Service>),
    /// Those backends are down.
    WentDown(Arc<[Arc<Backend>]>),
    /// Reset all connections.
    Abort,
    /// Return when the last connection has ended.
    Leave,
}

/// Orders that a worker has not seen to yet.
#[derive(Debug)]
pub struct Mailbox {
    orders: Mutex<Vec<Order>>,
    /// Readable while there are orders.
    pub bell: OwnedFd,
}

impl Mailbox {
    /// An empty one.
    pub fn new() -> std::io::Result<Mailbox> {
        let bell = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Mailbox { orders: Mutex::default(), bell })
    }

    /// Puts an order in, and rings.
    pub fn send(&self, order: Order) {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        orders.push(order);
        if orders.len() == 1 {
            let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
        }
    }

    /// Takes all orders out.
    pub fn take(&self) -> Vec<Order> {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
        std::mem::take(&mut orders)
    }
}
