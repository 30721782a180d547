//! The first stage of a connection: the client is heard, if anything is awaited of it, before it is
//! known which service carries it, and what its backend is told first.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::super::connection::{Stage, micros};
use super::super::slab::Key;
use super::Worker;
use crate::l4::ending::Cause;
use crate::l4::preface::{Awaited, Endpoints, Hello, Progress, proxy_header};

impl Worker {
    /// A connection begins.
    pub(super) fn begin(&mut self, key: Key, awaited: Awaited) {
        if awaited.is_nothing() {
            return self.go_to_backend(key, Hello::default());
        }
        let Some(connection) = self.connections.get_mut(key) else { return };
        let limit = connection.service.settings().timeouts.hello;
        let deadline = self.now.saturating_add(micros(limit));
        connection.await_hello(awaited, deadline);
        self.wheel.set(key.index, deadline.div_ceil(1_000));
        let connections = &mut self.connections;
        let is_awaited = |key| {
            let connection = connections.get_mut(key);
            connection.is_some_and(|one| matches!(one.stage, Stage::Hello(_)))
        };
        if let Some(oldest) = self.hellos.begin(key, is_awaited) {
            self.close(oldest, Cause::NoHello);
        }
    }

    /// The client may have said more.
    pub(super) fn hear_hello(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        match connection.hear(&mut self.tools.buffer) {
            Ok(Progress::Waits) => {}
            Ok(Progress::Done(hello)) => self.admit(key, hello),
            Err(_) => self.close(key, Cause::NoHello),
        }
    }

    /// The client has had its time.
    pub(super) fn end_hello(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Stage::Hello(greeting) = &mut connection.stage else { return };
        match greeting.preface.give_up() {
            Ok(hello) => self.admit(key, hello),
            Err(_) => self.close(key, Cause::NoHello),
        }
    }

    /// Now that it is known who comes, and to whom, both are looked at again.
    fn admit(&mut self, key: Key, hello: Hello) {
        let now = self.instant();
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Stage::Hello(greeting) = &connection.stage else { return };
        let (is_proxied, listening) = (greeting.is_proxied, Arc::clone(&connection.service));
        if let Some(Endpoints { source, destination }) = hello.header.endpoints {
            connection.flow.client = source;
            connection.flow.vip = destination;
        }
        let client = connection.flow.client.ip();
        let mut admitted = if is_proxied { listening.admit(client, now) } else { Ok(()) };
        let name = hello.server_name.as_deref();
        for target in name.map(|name| listening.led_to(name)).unwrap_or_default() {
            if admitted.is_err() {
                break;
            }
            connection.service.routed_total.fetch_add(1, Relaxed);
            target.accepted_total.fetch_add(1, Relaxed);
            admitted = target.admit(client, now);
            connection.service = target;
        }
        match admitted {
            Ok(()) => {
                self.hellos.end();
                self.go_to_backend(key, hello);
            }
            Err(refusal) => self.close(key, refusal.into()),
        }
    }

    /// Asks a backend, which will be told what the client has said.
    fn go_to_backend(&mut self, key: Key, hello: Hello) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let settings = connection.service.settings();
        let Hello { header, mut bytes, .. } = hello;
        if let Some(version) = settings.send_proxy {
            let (source, destination) = (connection.flow.client, connection.flow.vip);
            let mut first = Vec::new();
            let endpoints = Endpoints { source, destination };
            proxy_header::write(version, &endpoints, &header.tlvs, &mut first);
            first.append(&mut bytes);
            bytes = first;
        }
        connection.go_to_backend(bytes);
        if !connection.has_words() && !connection.read_ahead(&mut self.tools) {
            return self.close(key, Cause::Client);
        }
        if self.lines.has_some(&connection.service) {
            return self.line_up(key);
        }
        self.find_backend(key);
    }
}
