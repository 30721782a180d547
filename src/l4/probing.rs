//! The probes of a service's backends, and what the backends learn from them.

use std::sync::Arc;
use std::time::Instant;

use super::backend::Backend;
use super::hold::Asked;
use super::settings::ServiceSettings;
use crate::health::{Advice, Check, Probe, Verdict, Verdicts, Watch};

/// What a probe is for.
#[derive(Debug)]
pub struct Watched {
    backend: Arc<Backend>,
    role: Role,
}

#[derive(Clone, Copy, Debug)]
enum Role {
    /// It says whether the backend is up; so many failures in a row make it down.
    Check { fall: u32, is_of_port: bool },
    /// What it advises is taken, and no more: an agent that is silent changes nothing.
    Agent,
}

/// What the probes of one generation are for, in their order.
#[derive(Debug, Default)]
pub struct Probed {
    /// That of the watch.
    pub generation: u64,
    /// Those of a backend follow each other, its check first.
    pub watched: Vec<Watched>,
}

/// The probes of a service with these backends. One that is not checked learns here that it is up,
/// as nothing else will ever say so.
pub fn probes(settings: &ServiceSettings, backends: &[Arc<Backend>]) -> Vec<(Probe, Watched)> {
    let mut probes = Vec::new();
    for backend in backends {
        let name = format!("l4/{}/{}", settings.name, backend.address);
        let mut add = |name, check: &Arc<Check>, port, role| {
            let (check, address) = (Arc::clone(check), backend.address.ip());
            let port = if check.kind.has_port() { port } else { 0 };
            let watched = Watched { backend: Arc::clone(backend), role };
            probes.push((Probe { name, check, address, port }, watched));
        };
        match &settings.check {
            Some((check, port)) => {
                let port = port.unwrap_or(backend.address.port());
                let is_of_port = check.kind.has_port() && port == backend.address.port();
                add(name.clone(), check, port, Role::Check { fall: check.fall, is_of_port });
            }
            // Nothing will ever say so.
            None => backend.learn(Verdict::Up),
        }
        match &settings.agent {
            Some((agent, port)) => add(format!("{name} agent"), agent, *port, Role::Agent),
            None if settings.check.is_none() => backend.take_advice(Advice::default()),
            None => {}
        }
    }
    probes
}

impl Probed {
    /// Tells the backends what is known, if it is of this generation.
    pub fn learn(&self, known: &Verdicts) {
        if known.generation != self.generation {
            return;
        }
        let mut advice = Advice::default();
        for (index, Watched { backend, role }) in self.watched.iter().enumerate() {
            let (Some(verdict), Some(advised)) =
                (known.verdicts.get(index), known.advice.get(index))
            else {
                return;
            };
            if let Role::Check { .. } = role {
                backend.learn(*verdict);
            }
            advice = advice.then(*advised);
            let next = self.watched.get(index + 1);
            if !next.is_some_and(|next| Arc::ptr_eq(&next.backend, backend)) {
                backend.take_advice(std::mem::take(&mut advice));
            }
        }
    }

    /// Those that could not be reached so often that they are suspect fail their checks, until the
    /// checks say otherwise, and if that is soon, and again, until they are believed. Where a check
    /// looks elsewhere, and may be that of others too, they are left alone for a while.
    pub fn suspect(&self, watch: &Watch, now: Instant) {
        for (index, Watched { backend, role }) in self.watched.iter().enumerate() {
            let Role::Check { fall, is_of_port } = *role else { continue };
            if !backend.take_suspicion() {
                continue;
            }
            // What its check says already is not held against it: where all are down it is tried all
            // the same, and it is back as soon as its check is content.
            if backend.is_said_up() {
                let asked = if is_of_port { Asked::ItsCheck } else { Asked::Nobody };
                backend.give_up(asked, now);
            }
            if !is_of_port {
                continue;
            }
            for _ in 0..fall {
                watch.note_traffic_failure(self.generation, index, "connections to it fail");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::health::Kind;
    use crate::l4::backend::{Place, Shared};
    use crate::l4::settings::BackendSettings;

    #[tokio::test]
    async fn a_backend_that_its_check_has_found_down_is_back_when_its_check_says_so() {
        let hour = Duration::from_secs(3600);
        let (kind, second) = (Kind::Tcp, Duration::from_secs(1));
        let (interval, timeout) = (hour, second);
        let check =
            Check { kind, interval, fast_interval: None, jitter: 0.0, timeout, rise: 1, fall: 2 };
        let check = Arc::new(check);
        for port in [None, Some(9)] {
            let shared = Shared::default();
            shared.suspect_after.store(check.fall, std::sync::atomic::Ordering::Relaxed);
            let address = "198.51.100.1:80".parse().unwrap();
            let backend = Arc::new(Backend::new(address, Arc::new(shared), false));
            let backends = vec![BackendSettings::new(address, 1)];
            let mut settings = ServiceSettings::new("web", Vec::new(), backends);
            settings.check = Some((Arc::clone(&check), port));
            let watched = probes(&settings, &[Arc::clone(&backend)]).into_iter();
            let watched = watched.map(|(_, watched)| watched).collect();
            let (probed, watch) = (Probed { generation: 1, watched }, Watch::start(Vec::new()));
            let mut now = Instant::now();
            backend.learn(Verdict::Down);
            // All are down, and are tried all the same.
            for _ in 0..10 {
                let place = Place::take(&backend, None, None).unwrap();
                (0..check.fall).for_each(|_| place.failed());
                probed.suspect(&watch, now);
                now += 100 * second;
            }
            backend.learn(Verdict::Up);
            backend.keep_pace(Duration::ZERO, true, now - 99 * second);
            assert!(backend.is_up(), "{port:?}");
            // Its check is content, and connections do not reach it.
            for _ in 0..2 {
                let place = Place::take(&backend, None, None).unwrap();
                (0..check.fall).for_each(|_| place.failed());
                probed.suspect(&watch, now);
                now += 2 * second;
            }
            assert!(!backend.is_up(), "{port:?}");
        }
    }
}
