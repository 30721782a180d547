//! The forwarder as the files and the operator want it: backends that are added, removed and
//! weighted at run time are laid over those of the files.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::control::{Action, Aspect, Override, Target};
use crate::l4::{self, BackendSettings, L4, StartError, Word};

/// The forwarder, and what it was told; clones are handles on the same one.
#[derive(Clone)]
pub(super) struct Forwarder {
    pub(super) l4: L4,
    told: Arc<tokio::sync::Mutex<Told>>,
}

/// What the forwarder runs by.
struct Told {
    /// As the files say.
    files: l4::Settings,
    /// What the operator changes of it.
    changes: Vec<Override>,
}

impl Forwarder {
    /// One that runs by these, as [`laid_over`] has it.
    pub(super) fn new(l4: L4, files: l4::Settings, overrides: &[Override]) -> Forwarder {
        let told = Told { files, changes: changes(overrides) };
        let forwarder = Forwarder { l4, told: Arc::new(tokio::sync::Mutex::new(told)) };
        forwarder.tell_standing(overrides);
        forwarder
    }

    /// Follows other files, if that is possible; else everything stays as it was.
    pub(super) async fn replace(
        &self,
        files: l4::Settings,
        overrides: &[Override],
    ) -> Result<(), StartError> {
        let mut told = self.told.lock().await;
        let changes = changes(overrides);
        self.l4.replace(laid_over(files.clone(), &changes)).await?;
        *told = Told { files, changes };
        self.tell_standing(overrides);
        Ok(())
    }

    /// Follows other overrides.
    pub(super) async fn follow(&self, overrides: &[Override]) {
        let mut told = self.told.lock().await;
        let changes = changes(overrides);
        if changes != told.changes {
            match self.l4.replace(laid_over(told.files.clone(), &changes)).await {
                Ok(()) => told.changes = changes,
                Err(error) => tracing::error!("the L4 services stay as they were: {error}"),
            }
        }
        self.tell_standing(overrides);
    }

    /// Tells every backend whether it is drained, or forced up or down.
    pub(super) fn tell_standing(&self, overrides: &[Override]) {
        let standing = overrides.iter().filter(|one| one.action.aspect() == Aspect::Standing);
        let said = standing.filter_map(|one| {
            let Target::L4 { service, backend } = &one.target else { return None };
            Some(((service.as_str(), backend.parse().ok()?), word(one.action)))
        });
        let said: HashMap<(&str, SocketAddr), Word> = said.collect();
        self.l4.heed(|service, backend| {
            said.get(&(service, backend.address)).copied().unwrap_or_default()
        });
    }
}

fn word(action: Action) -> Word {
    let forced = match action {
        Action::ForceUp => Some(true),
        Action::ForceDown => Some(false),
        _ => None,
    };
    Word { drained: action == Action::Drain, forced }
}

/// The overrides by which there are other backends, or other weights, than the files say.
fn changes(overrides: &[Override]) -> Vec<Override> {
    let changes = overrides.iter().filter(|one| one.action.aspect() != Aspect::Standing);
    changes.cloned().collect()
}

/// The settings of the files with what the operator changes of them. What is said of a service
/// that there is not, or of a backend that is gone, counts for nothing.
pub(super) fn laid_over(mut settings: l4::Settings, overrides: &[Override]) -> l4::Settings {
    let mut said: HashMap<&str, Vec<(&Override, SocketAddr)>> = HashMap::new();
    for one in overrides {
        let Target::L4 { service, backend } = &one.target else { continue };
        let Ok(address) = backend.parse() else { continue };
        said.entry(service).or_default().push((one, address));
    }
    for service in &mut settings.services {
        if let Some(said) = said.get(service.name.as_str()) {
            lay_over(&mut service.backends, said);
        }
    }
    settings
}

fn lay_over(backends: &mut Vec<BackendSettings>, said: &[(&Override, SocketAddr)]) {
    let of = |aspect| said.iter().filter(move |(one, _)| one.action.aspect() == aspect);
    let places = backends.iter().enumerate().map(|(place, backend)| (backend.address, place));
    let mut places: HashMap<SocketAddr, usize> = places.collect();
    let (adds, mut removes): (Vec<_>, Vec<_>) = of(Aspect::Membership)
        .map(|(one, address)| (*one, *address))
        .partition(|(one, _)| matches!(one.action, Action::Add { .. }));
    for (one, address) in adds {
        let Action::Add { weight, backup } = one.action else { continue };
        let place = *places.entry(address).or_insert_with(|| {
            backends.push(BackendSettings { added: true, ..BackendSettings::new(address, weight) });
            backends.len() - 1
        });
        backends[place].weight = weight;
        backends[place].backup = backup;
    }
    // A weight counts for what was added, too.
    for (one, address) in of(Aspect::Weight) {
        if let (Action::Weight { weight }, Some(&place)) = (one.action, places.get(address)) {
            backends[place].weight = weight;
        }
    }
    // Where none would be left, what was said last counts for nothing.
    removes.sort_by_key(|(one, _)| one.since);
    let mut gone = HashSet::new();
    for (one, address) in removes.into_iter().filter(|(_, address)| places.contains_key(address)) {
        if gone.len() + 1 == backends.len() {
            tracing::warn!("{} is not removed: its service has no other backend", one.target);
        } else {
            gone.insert(address);
        }
    }
    backends.retain(|backend| !gone.contains(&backend.address));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l4::ServiceSettings;

    fn over(backend: &str, action: Action) -> Override {
        let target = Target::L4 { service: "web".into(), backend: backend.into() };
        Override { target, action, reason: None, since: 0, until: None }
    }

    #[test]
    fn backends_are_added_removed_and_weighted_over_the_files() {
        let backend = |address: &str| BackendSettings::new(address.parse().unwrap(), 1);
        let backends = vec![backend("198.51.100.1:80"), backend("198.51.100.2:80")];
        let service = ServiceSettings::new("web", Vec::new(), backends);
        let files = l4::Settings { services: vec![service], ..l4::Settings::default() };
        let seen = |overrides: &[Override]| -> Vec<String> {
            let settings = laid_over(files.clone(), overrides);
            let backends = settings.services[0].backends.iter();
            backends.map(|one| format!("{}*{}{}", one.address, one.weight, one.backup)).collect()
        };
        assert_eq!(laid_over(files.clone(), &[]), files);
        let overrides = [
            over("198.51.100.3:80", Action::Weight { weight: 7 }),
            over("198.51.100.3:80", Action::Add { weight: 2, backup: true }),
            over("198.51.100.1:80", Action::Remove),
            over("198.51.100.2:80", Action::Weight { weight: 0 }),
            over("198.51.100.2:80", Action::Drain),
            over("198.51.100.9:80", Action::Remove),
            over("nonsense", Action::Add { weight: 2, backup: true }),
        ];
        assert_eq!(seen(&overrides), ["198.51.100.2:80*0false", "198.51.100.3:80*7true"]);
        let mut later = over("198.51.100.1:80", Action::Remove);
        later.since = 7;
        let all = [later, over("198.51.100.2:80", Action::Remove)];
        assert_eq!(seen(&all), ["198.51.100.1:80*1false"], "one is left, whatever ends or changes");
        let [later, sooner] = all;
        let another = over("198.51.100.3:80", Action::Add { weight: 1, backup: false });
        assert_eq!(seen(&[later, sooner, another]), ["198.51.100.3:80*1false"]);
        let mut elsewhere = over("198.51.100.1:80", Action::Remove);
        elsewhere.target = Target::L4 { service: "api".into(), backend: "198.51.100.1:80".into() };
        assert_eq!(laid_over(files.clone(), &[elsewhere]), files);
    }
}
