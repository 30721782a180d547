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
use super::{Window, api, backend, text};
use crate::control::{Action, ActionName, Aspect, ControlError, Override, Report, Target};

/// The longest reason that is kept.
const MAX_REASON_BYTES: usize = 1000;

/// What `POST overrides` asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverrideRequest {
    /// About what.
    pub target: Target,
    /// What it does.
    pub action: ActionName,
    /// The share of a backend that is added, or weighted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Whether a backend that is added takes flows only while no other can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<bool>,
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
    /// None: all that is said of it.
    only: Option<Aspect>,
}

/// `POST overrides`
pub async fn set(
    From(window): From<Arc<Window>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let OverrideRequest { target, action, weight, backup, lasts, reason } = read(body)?;
    let action = Action::named(action, weight, backup).map_err(ApiError::bad_request)?;
    let lasts = lasts.as_deref().map(duration).transpose()?;
    if reason.as_ref().is_some_and(|reason| !is_a_line(reason)) {
        return Err(ApiError::bad_request("the `reason` is not one line of text").help(format!(
            "expected at most {MAX_REASON_BYTES} bytes, without control characters"
        )));
    }
    let target = backend::of_a_service(&window, target, action)?;
    if action == Action::Remove && backend::is_only_added(&window, &target) {
        if lasts.is_some() {
            let error =
                format!("{target} was added at run time: once removed, nothing brings it back");
            return Err(ApiError::new(StatusCode::CONFLICT, error)
                .help("drain it for that time, or remove it without `for`"));
        }
        return Ok(told_cleared(&window, &headers, target, None));
    }
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
    let ClearRequest { target, only } = match query {
        Ok(Query(request)) => request,
        Err(_) if !body.is_empty() => read(Ok(body))?,
        Err(rejection) => {
            return Err(ApiError::bad_request(rejection.body_text())
                .help("expected overrides?target=TARGET"));
        }
    };
    window.control()?;
    Ok(told_cleared(&window, &headers, target, only))
}

fn told_cleared(
    window: &Window,
    headers: &HeaderMap,
    target: Target,
    only: Option<Aspect>,
) -> Response {
    let control = window.state.control.as_ref();
    let cleared = control.and_then(|control| control.clear_override(&target, only));
    let warning = cleared.as_ref().and_then(|cleared| cleared.warning.clone());
    let reply = ClearReply { target, cleared: cleared.is_some(), warning };
    api::told(headers, &reply, text::overrides::cleared)
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
            ControlError::BadReport(_) | ControlError::Misplaced(_) => StatusCode::BAD_REQUEST,
            ControlError::TooMany(_) => StatusCode::CONFLICT,
        };
        ApiError::new(status, error.to_string())
    }
}

fn read<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<T, ApiError> {
    let body =
        body.map_err(|rejection| ApiError::new(rejection.status(), rejection.body_text()))?;
    serde_json::from_slice(&body)
        .map_err(|error| ApiError::bad_request(format!("the body is not understood: {error}")))
}

/// It stands in tables, and on terminals.
fn is_a_line(text: &str) -> bool {
    text.len() <= MAX_REASON_BYTES && !text.chars().any(char::is_control)
}

fn duration(text: &str) -> Result<Duration, ApiError> {
    humantime::parse_duration(text).map_err(|error| {
        ApiError::bad_request(format!("`for` is not a duration: {error}"))
            .help("expected a number and a unit: 90s, 15min, 2h, 1day")
    })
}
