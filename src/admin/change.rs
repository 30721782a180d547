//! The calls that change something: overrides, and reports that are pushed.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Path, Query, State as From};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::view::services::ServiceView;
use super::{Window, api, text};
use crate::control::{Action, ControlError, Override, Report, Target};
use crate::l4::L4;

/// What `POST overrides` asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverrideRequest {
    /// About what.
    pub target: Target,
    /// What it does.
    pub action: Action,
    /// For how long: `2h`, `90s`; none: until cleared.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<String>,
    /// Why, in the operator's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What `POST overrides` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OverrideReply {
    /// What holds from now on.
    #[serde(rename = "override")]
    pub over: Override,
    /// What is doubtful about it.
    pub warning: Option<String>,
}

/// What `DELETE overrides` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClearReply {
    /// What was named.
    pub target: Target,
    /// False when there was nothing to clear.
    pub cleared: bool,
    /// What is doubtful about it.
    #[serde(default)]
    pub warning: Option<String>,
}

/// What `DELETE overrides` names, in the query or the body.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClearRequest {
    target: Target,
}

/// `POST overrides`
pub async fn set(
    From(window): From<Arc<Window>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let OverrideRequest { target, action, lasts, reason } = read(body)?;
    let lasts = lasts.as_deref().map(duration).transpose()?;
    refuse_unknown_backend(&window, &target)?;
    let set = window.control()?.set_override(target, action, lasts, reason)?;
    let reply = OverrideReply { over: set.set, warning: set.warning };
    Ok(api::told(&headers, &reply, text::overrides::reply))
}

/// `DELETE overrides?target=…`, or with `{"target": …}` as its body
pub async fn clear(
    From(window): From<Arc<Window>>,
    headers: HeaderMap,
    query: Result<Query<ClearRequest>, QueryRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let body =
        body.map_err(|rejection| ApiError::new(rejection.status(), rejection.body_text()))?;
    let ClearRequest { target } = match query {
        Ok(Query(request)) => request,
        Err(_) if !body.is_empty() => read(Ok(body))?,
        Err(rejection) => {
            return Err(ApiError::bad_request(rejection.body_text())
                .help("expected overrides?target=TARGET"));
        }
    };
    let cleared = window.control()?.clear_override(&target);
    let warning = cleared.as_ref().and_then(|cleared| cleared.warning.clone());
    let reply = ClearReply { target, cleared: cleared.is_some(), warning };
    Ok(api::told(&headers, &reply, text::overrides::cleared))
}

/// `PUT datacenters/NAME/report`
pub async fn push_report(
    From(window): From<Arc<Window>>,
    Path(name): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<impl IntoResponse, ApiError> {
    window.control()?.push_report(&name, read::<Report>(body)?)?;
    Ok(StatusCode::NO_CONTENT)
}

impl std::convert::From<ControlError> for ApiError {
    fn from(error: ControlError) -> ApiError {
        let status = match &error {
            ControlError::UnknownTarget(_) | ControlError::UnknownDatacenter(_) => {
                StatusCode::NOT_FOUND
            }
            ControlError::BadReport(_) => StatusCode::BAD_REQUEST,
            ControlError::TooMany(_) => StatusCode::CONFLICT,
        };
        ApiError::new(status, error.to_string())
    }
}

/// What L4 services there are is not known to control.
fn refuse_unknown_backend(window: &Window, target: &Target) -> Result<(), ApiError> {
    let Target::L4 { .. } = target else { return Ok(()) };
    let load = window.state.l4.as_ref().map(L4::load).unwrap_or_default();
    let known = ServiceView::all(load, &[]);
    let mut known = known.iter().flat_map(|service| &service.backends);
    let text = target.to_string();
    if known.any(|backend| backend.target == text) {
        return Ok(());
    }
    Err(ApiError::not_found(format!("there is no {text}"))
        .help("GET l4, or `portolan status`, lists what there is"))
}

fn read<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<T, ApiError> {
    let body =
        body.map_err(|rejection| ApiError::new(rejection.status(), rejection.body_text()))?;
    serde_json::from_slice(&body)
        .map_err(|error| ApiError::bad_request(format!("the body is not understood: {error}")))
}

fn duration(text: &str) -> Result<Duration, ApiError> {
    humantime::parse_duration(text).map_err(|error| {
        ApiError::bad_request(format!("`for` is not a duration: {error}"))
            .help("expected a number and a unit: 90s, 15min, 2h, 1day")
    })
}
