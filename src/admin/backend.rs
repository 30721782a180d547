//! Backends as overrides name them: which there are is not known to control.

use std::net::SocketAddr;

use super::Window;
use super::error::ApiError;
use crate::control::{Action, Aspect, Control, Override, Target};
use crate::l4::{L4, ServiceStatus};

/// The target as it is kept, if the action can be done to it.
pub(super) fn of_a_service(
    window: &Window,
    target: Target,
    action: Action,
) -> Result<Target, ApiError> {
    let Target::L4 { service, backend } = &target else { return Ok(target) };
    let unknown = |what: String| {
        ApiError::not_found(what).help("GET l4, or `portolan status`, lists what there is")
    };
    let load = window.state.l4.as_ref().map(L4::load).unwrap_or_default();
    let Some(running) = load.services.iter().find(|one| one.name == *service) else {
        return Err(unknown(format!("there is no {target}: no L4 service is named `{service}`")));
    };
    let address = backend.parse::<SocketAddr>().ok().filter(is_a_host).ok_or_else(|| {
        ApiError::bad_request(format!("`{backend}` is not the address of a backend")).help(
            "expected an address with its port, such as 198.51.100.7:443 or [2001:db8::7]:443",
        )
    })?;
    let target = Target::L4 { service: service.clone(), backend: address.to_string() };
    let is_running = running.backends.iter().any(|one| one.address == address);
    let membership = membership(window, &target);
    match action {
        Action::Add { .. } if is_running && membership.is_none() => Err(conflict(format!(
            "{target} is there already; its weight can be changed, and it can be drained"
        ))),
        Action::Add { .. } if running.listen.iter().any(|one| one.overlaps(&address.into())) => {
            Err(conflict(format!(
                "{target} is where the service itself listens: every connection would come back \
                 to it"
            )))
        }
        Action::Add { .. } => Ok(target),
        _ if !is_running && membership.is_none() => Err(unknown(format!("there is no {target}"))),
        Action::Remove if is_running && is_last(window, running, address) => {
            Err(conflict(format!(
                "{target} is the last backend of `{}`: add another first, or drain it",
                running.name
            )))
        }
        _ => Ok(target),
    }
}

/// True for a backend that would not be there but for an override: none that the files name by now.
pub(super) fn is_only_added(window: &Window, target: &Target) -> bool {
    let Target::L4 { service, backend } = target else { return false };
    let load = window.state.l4.as_ref().map(L4::load).unwrap_or_default();
    let running = load.services.iter().find(|one| one.name == *service);
    let mut running = running.iter().flat_map(|one| &one.backends);
    let is_in_files = running.any(|one| one.address.to_string() == *backend && !one.added);
    let over = membership(window, target);
    !is_in_files && over.is_some_and(|over| matches!(over.action, Action::Add { .. }))
}

fn membership(window: &Window, target: &Target) -> Option<Override> {
    let overrides = window.state.control.as_ref().map(Control::overrides).unwrap_or_default();
    overrides
        .into_iter()
        .find(|over| over.target == *target && over.action.aspect() == Aspect::Membership)
}

/// True when all others are to go, too: the forwarder follows what is said a moment later.
fn is_last(window: &Window, service: &ServiceStatus, address: SocketAddr) -> bool {
    let overrides = window.state.control.as_ref().map(Control::overrides).unwrap_or_default();
    let is_to_go = |target: Target| {
        overrides.iter().any(|over| over.target == target && over.action == Action::Remove)
    };
    let others = service.backends.iter().filter(|one| one.address != address);
    others
        .map(|one| (service.name.clone(), one.address.to_string()))
        .all(|(service, backend)| is_to_go(Target::L4 { service, backend }))
}

fn is_a_host(address: &SocketAddr) -> bool {
    address.port() != 0 && !address.ip().is_unspecified() && !address.ip().is_multicast()
}

fn conflict(what: String) -> ApiError {
    ApiError::new(axum::http::StatusCode::CONFLICT, what)
}
