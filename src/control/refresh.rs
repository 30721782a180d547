//! The task that asks resolvers for the addresses behind names, before the first answer and whenever
//! a TTL ends.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::flatten::{Flattening, Resolution};
use super::{Control, Inner, Settings, at};
use crate::dns::Name;
use crate::resolve::{Family, Resolver};

/// The most names that are asked for at a time; the others wait their turn.
const MAX_IN_FLIGHT: usize = 64;
/// How long the names of new settings are waited for, before they are served.
const FIRST_LIMIT: Duration = Duration::from_secs(10);
/// The least and the most time from one look at what is due to the next.
const LOOK: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(60));

/// Resolves what is not known of the names of new settings, each once. `before`: what is known.
pub async fn first(settings: &Settings, before: Flattening, origin: Instant) -> Flattening {
    let mut flattening = before;
    flattening.replace(Arc::clone(&settings.flattened), at(origin));
    let resolver = Arc::new(Resolver::new(&settings.resolvers));
    let mut asked = JoinSet::new();
    let all = async {
        loop {
            let room = MAX_IN_FLIGHT.saturating_sub(asked.len());
            for name in flattening.due(room, at(origin)) {
                asked.spawn(resolve(Arc::clone(&resolver), name, origin));
            }
            let Some(resolution) = asked.join_next().await else { return };
            if let Ok(resolution) = resolution {
                flattening.take(resolution);
            }
        }
    };
    // Those without an answer by then are asked for in the background.
    let _ = timeout(FIRST_LIMIT, all).await;
    flattening.give_up();
    flattening.renew_probes();
    flattening
}

/// Starts the task; it ends with the last handle on `control`.
pub fn start(control: &Control) {
    tokio::spawn(run(Arc::downgrade(&control.inner)));
}

async fn run(control: Weak<Inner>) {
    let mut asked: JoinSet<Resolution> = JoinSet::new();
    let mut resolver: Option<(Arc<Resolver>, Arc<Settings>)> = None;
    loop {
        let Some(inner) = control.upgrade() else { return };
        let handle = Control { inner };
        let (names, settings, next) = handle.tell(|state, now| {
            let room = MAX_IN_FLIGHT.saturating_sub(asked.len());
            let names = state.core.names_due(room, now);
            let next = state.core.flattening().next_due();
            (
                names,
                Arc::clone(state.core.settings()),
                next.map(|at| at.saturating_sub(now.elapsed)),
            )
        });
        let resolver = match &resolver {
            Some((known, of)) if Arc::ptr_eq(of, &settings) => Arc::clone(known),
            _ => {
                let new = Arc::new(Resolver::new(&settings.resolvers));
                resolver = Some((Arc::clone(&new), settings));
                new
            }
        };
        let origin = handle.inner.origin;
        for name in names {
            asked.spawn(resolve(Arc::clone(&resolver), name, origin));
        }
        let is_full = asked.len() >= MAX_IN_FLIGHT;
        let (least, most) = LOOK;
        let pause = if is_full { most } else { next.unwrap_or(most).clamp(least, most) };
        let others = Arc::clone(&handle.inner.other_names);
        // Who waits holds no handle: else control would never end.
        drop(handle);
        let resolutions = tokio::select! {
            Some(resolution) = asked.join_next() => {
                let mut resolutions: Vec<Resolution> = resolution.into_iter().collect();
                while let Some(more) = asked.try_join_next() {
                    resolutions.extend(more);
                }
                resolutions
            }
            () = sleep(pause) => Vec::new(),
            () = others.notified() => Vec::new(),
        };
        if resolutions.is_empty() {
            continue;
        }
        let Some(inner) = control.upgrade() else { return };
        let control = Control { inner };
        control.tell(|state, now| {
            if state.core.take_resolutions(resolutions, now) {
                state.core.refresh(now);
                control.watch_names(state, now);
            }
        });
    }
}

async fn resolve(resolver: Arc<Resolver>, name: Name, origin: Instant) -> Resolution {
    let (v4, v6) =
        tokio::join!(resolver.addresses(&name, Family::V4), resolver.addresses(&name, Family::V6),);
    Resolution { name, v4, v6, at: at(origin), random: fastrand::f64() }
}
