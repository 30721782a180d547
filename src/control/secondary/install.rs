//! Puts what a primary has sent in the place of what was served of its zone: compiled with the zone
//! file laid over it, checked, kept, and only then served.

use std::sync::Arc;

use super::{FIRST_TRANSFERS, Install, Secondaries, SecondarySettings, What, storage};
use crate::control::Control;
use crate::zone::{self, Base, Source, Zones};

/// So many of the errors of a zone are told.
const TOLD: usize = 3;

impl Control {
    /// Waits until those of the zones that have no data have been looked for once, but not for
    /// long: a primary that is silent holds up no other zone.
    pub async fn await_first(&self, secondaries: &mut Secondaries, zones: &[SecondarySettings]) {
        let is_bare = |zone: &&SecondarySettings| zone.kept.is_none_or(|kept| kept.is_expired);
        let tried = secondaries.tried(zones.iter().filter(is_bare).count());
        let deadline = tokio::time::sleep(FIRST_TRANSFERS);
        let (mut tried, mut deadline) = (std::pin::pin!(tried), std::pin::pin!(deadline));
        loop {
            tokio::select! {
                install = secondaries.next() => self.install(install).await,
                () = &mut tried => return,
                () = &mut deadline => return,
            }
        }
    }

    /// Serves what has come for one zone, and nothing else otherwise than before. What cannot be
    /// served changes nothing.
    pub async fn install(&self, install: Install) {
        let settings = self.settings();
        let Install { origin, what, done } = install;
        let zone = settings.secondaries.iter().find(|zone| zone.overlay.origin == origin).cloned();
        let result = match zone {
            // Off the asynchronous threads: a large zone takes seconds.
            Some(zone) => {
                let control = self.clone();
                let install = move || {
                    let (zones, warning) = compile(&zone, what)?;
                    let zones = Arc::new(settings.zones.replaced(&zones));
                    control.tell(|state, now| state.core.replace_zones(zones, &origin, now));
                    Ok(warning)
                };
                survived(install).await
            }
            None => Err("the zone is no longer taken from a primary".to_string()),
        };
        // Who asked may have gone meanwhile.
        let _ = done.send(result);
    }
}

/// A zone that makes its reader panic is a bad zone like others: it ends no server that runs.
async fn survived<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let fault = "reading what came failed by a fault of this program; please report it";
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(fault.into()))
}

/// The one zone, compiled, and what is doubtful in it; a new text is kept, too.
fn compile(zone: &SecondarySettings, what: What) -> Result<(Zones, Option<String>), String> {
    let SecondarySettings { overlay, file, .. } = zone;
    let mut settings = overlay.clone();
    let (text, is_new) = match what {
        What::Text(text) => (Some(text), true),
        What::Kept => {
            let kept = storage::read(file, &overlay.origin)?;
            (Some(kept.ok_or("nothing is kept of the zone")?.text), false)
        }
        What::Nothing => (None, false),
    };
    settings.base = match text {
        Some(text) => {
            settings.sources.push(Source { file: file.clone(), text, included_by: None });
            Base::Transferred
        }
        None => Base::Expired,
    };
    let (zones, problems) = zone::compile(std::slice::from_ref(&settings));
    let Some(zones) = zones else {
        let errors = problems.iter().filter(|problem| !problem.is_warning);
        let errors: Vec<&str> = errors.take(TOLD).map(|error| error.message.as_str()).collect();
        return Err(format!("what came cannot be served: {}", errors.join("; ")));
    };
    if is_new {
        let text = settings.sources.last().map_or("", |source| &source.text);
        if let Err(error) = storage::write(file, text) {
            let file = file.display();
            tracing::error!(%file, %error, "the zone is served, but not kept over a restart");
        }
    }
    let more = match problems.len() {
        0 | 1 => String::new(),
        count => format!(" (and {} more, which `check` tells)", count - 1),
    };
    Ok((zones, problems.first().map(|first| format!("{}{more}", first.message))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_that_panics_refuses_the_zone() {
        let refused = survived(|| -> Result<(), String> { panic!("as a fault would") }).await;
        assert!(refused.is_err_and(|error| error.contains("please report it")));
    }
}
