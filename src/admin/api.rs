//! The API: its paths, and the calls that change nothing.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State as From};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use futures_util::{Stream, stream};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;

use super::error::ApiError;
use super::explain::{Question, explain, says_where};
use super::view::Picture;
use super::view::services::ServiceView;
use super::view::status::Status;
use super::{Window, change, text};
use crate::control::{Control, Report};
use crate::dns::Rtype;
use crate::l4::L4;
use crate::l4::capacity::Unit;

/// All paths, without `/api/v1`.
pub fn routes() -> Router<Arc<Window>> {
    Router::new()
        .route("/status", get(status))
        .route(
            "/zones",
            get(|From(w): From<Arc<Window>>| async move { w.pictured(Picture::zones) }),
        )
        .route(
            "/pools",
            get(|From(w): From<Arc<Window>>| async move { w.pictured(Picture::pools) }),
        )
        .route("/names", get(names))
        .route("/datacenters", get(datacenters))
        .route("/datacenters/{name}/report", put(change::push_report))
        .route("/l4", get(l4))
        .route("/report", get(report))
        .route("/plan", get(plan))
        .route("/overrides", get(overrides).post(change::set).delete(change::clear))
        .route("/events", get(events))
        .route("/explain", get(explained))
}

type Reply<T> = Result<T, ApiError>;

impl Window {
    /// What steers, if this server does.
    pub(super) fn control(&self) -> Reply<&Control> {
        self.state.control.as_ref().ok_or_else(|| {
            ApiError::not_found("this server steers nothing: it has no zones")
                .help("ask the server that answers the DNS, or add `[dns]` to this one")
        })
    }

    fn pictured<T>(&self, view: impl Fn(&Picture) -> T) -> Reply<Json<T>> {
        Ok(Json(view(&Picture::of(self.control()?))))
    }
}

/// JSON, or words where the caller prefers plain text.
pub(super) fn told<T: Serialize>(
    headers: &HeaderMap,
    value: &T,
    words: impl Fn(&T) -> String,
) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    if accept.is_some_and(|accept| accept.trim_start().starts_with("text/plain")) {
        return words(value).into_response();
    }
    match serde_json::to_string(value) {
        // A line of its own, for whoever reads it on a terminal.
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json + "\n").into_response(),
        Err(error) => {
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
        }
    }
}

/// Does it off the asynchronous threads, which have other things to do: there is much to tell of
/// thousands of backends.
pub(super) async fn apart(tell: impl FnOnce() -> Response + Send + 'static) -> Response {
    let told = tokio::task::spawn_blocking(tell).await;
    told.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

async fn status(From(window): From<Arc<Window>>, headers: HeaderMap) -> Response {
    apart(move || told(&headers, &Status::of(&window), text::status::status)).await
}

async fn names(From(window): From<Arc<Window>>) -> impl IntoResponse {
    window.pictured(|picture| picture.names.clone())
}

async fn datacenters(From(window): From<Arc<Window>>) -> impl IntoResponse {
    window.pictured(Picture::datacenters)
}

async fn overrides(From(window): From<Arc<Window>>) -> impl IntoResponse {
    window.pictured(|picture| picture.overrides.clone())
}

async fn l4(From(window): From<Arc<Window>>) -> Response {
    apart(move || {
        let load = window.state.l4.as_ref().map(L4::load).unwrap_or_default();
        let overrides = window.state.control.as_ref().map(Control::overrides);
        Json(ServiceView::all(load, &overrides.unwrap_or_default())).into_response()
    })
    .await
}

/// What the query of `plan` may say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanQuery {
    #[serde(default)]
    all: bool,
}

async fn plan(
    From(window): From<Arc<Window>>,
    headers: HeaderMap,
    query: Result<Query<PlanQuery>, QueryRejection>,
) -> Reply<Response> {
    let Query(PlanQuery { all }) = query.map_err(|rejection| {
        ApiError::bad_request(rejection.body_text())
            .help("expected plan, or plan?all=true for every client group")
    })?;
    let plan = Picture::of(window.control()?).plan(all);
    let style = text::plan::Style { all, ..text::plan::Style::default() };
    Ok(told(&headers, &plan, |plan| text::plan::plan(plan, style)))
}

/// What another site's server polls: the load of this one's L4 services.
async fn report(From(window): From<Arc<Window>>) -> Reply<Json<Report>> {
    let load = window.state.l4.as_ref().map(L4::load).unwrap_or_default();
    if load.services.is_empty() {
        let error = "this server carries no traffic, so it has no load to report";
        return Err(ApiError::not_found(error)
            .help("poll a server with L4 services, or push with PUT datacenters/NAME/report"));
    }
    let Some(capacity) = load.capacity else {
        let error = "no L4 service has a capacity, so there is none to report";
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error).help(
            "set `capacity` in `[[l4.services]]`; \"agents\" counts once they say `maxconn`",
        ));
    };
    Ok(Json(Report {
        capacity: Some(capacity as f64),
        load: load.offered,
        rejected: Some(load.offered - load.carried),
        utilisation: load.utilisation,
        unit: Some(load.unit.unwrap_or(Unit::Connections).as_str().into()),
        time: Some(humantime::format_rfc3339_millis(SystemTime::now()).to_string()),
    }))
}

/// What the query of `explain` may say: of a name, or of a flow.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExplainQuery {
    name: Option<String>,
    #[serde(rename = "type")]
    rtype: Option<String>,
    client: Option<String>,
    resolver: Option<String>,
    flow: Option<String>,
    service: Option<String>,
    vip: Option<SocketAddr>,
    server_name: Option<String>,
}

async fn explained(
    From(window): From<Arc<Window>>,
    headers: HeaderMap,
    query: Result<Query<ExplainQuery>, QueryRejection>,
) -> Reply<Response> {
    const EXPECTED: &str = "expected explain?name=NAME&type=TYPE&client=ADDRESS/LENGTH&resolver=\
                            ADDRESS, or explain?flow=CLIENT&service=NAME&server_name=NAME";
    let Query(query) =
        query.map_err(|rejection| ApiError::bad_request(rejection.body_text()).help(EXPECTED))?;
    let ExplainQuery { name, rtype, client, resolver, flow, service, vip, server_name } = query;
    if let (Some(client), Some(service)) = (&flow, &service) {
        let client = flow_client(client).map_err(ApiError::bad_request)?;
        let l4 = window.state.l4.as_ref();
        let explained = l4.and_then(|l4| l4.explain(service, client, vip, server_name.as_deref()));
        let explained = explained.ok_or_else(|| {
            ApiError::not_found(format!("no L4 service is named `{service}`"))
                .help("GET l4, or `portolan status`, lists what there is")
        })?;
        return Ok(told(&headers, &explained, text::flow::explained));
    }
    let Some(name) = name else {
        return Err(ApiError::bad_request("neither a name is given, nor a flow and its service")
            .help(EXPECTED));
    };
    let control = window.control()?;
    let rtype = rtype.as_deref().unwrap_or("A");
    let question = question(&name, rtype, client.as_deref(), resolver.as_deref());
    let mut explained = explain(&control.snapshot(), &question.map_err(ApiError::bad_request)?);
    explained.price(&control.plan());
    Ok(told(&headers, &explained, text::explain::explained))
}

/// A client's address, with or without its port.
fn flow_client(text: &str) -> Result<SocketAddr, String> {
    let with_port = text.parse::<SocketAddr>().ok();
    let client = with_port.or_else(|| Some(SocketAddr::new(text.parse().ok()?, 0)));
    client.ok_or_else(|| {
        format!(
            "`{text}` is not a client: expected one like 198.51.100.7, 198.51.100.7:4242 or \
             [2001:db8::7]:4242"
        )
    })
}

/// Reads what is asked, for the API and the command line alike.
pub fn question(
    name: &str,
    rtype: &str,
    client: Option<&str>,
    resolver: Option<&str>,
) -> Result<Question, String> {
    let name = name.parse().map_err(|error| format!("`{name}` is not a domain name: {error}"))?;
    let rtype = Rtype::from_mnemonic(rtype).ok_or_else(|| {
        format!("`{rtype}` is not a record type: expected A, AAAA, MX, TYPE65280")
    })?;
    let client = client.map(subnet).transpose()?;
    let resolver = match resolver {
        Some(text) => Some(text.parse::<IpAddr>().map_err(|_| {
            format!("`{text}` is not an address: expected one like 203.0.113.53 or 2001:db8::53")
        })?),
        None => client.filter(says_where).map(|client| client.network()),
    };
    let resolver = resolver.ok_or_else(|| match client {
        Some(client) => format!("{client} says nothing of the client: give a resolver too"),
        None => "for whom? give a client, a resolver, or both".into(),
    })?;
    Ok(Question { name, rtype, client, resolver })
}

/// An address or a subnet; an address alone is the subnet of just that.
fn subnet(text: &str) -> Result<IpNet, String> {
    let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    net.map(|net| net.trunc()).map_err(|_| {
        format!("`{text}` is not a client: expected one like 203.0.113.0/24 or 2001:db8::/56")
    })
}

async fn events(From(window): From<Arc<Window>>) -> Reply<impl IntoResponse> {
    let heard = window.control()?.subscribe();
    let stop = window.stop.clone();
    let events = stream::unfold((heard, stop), |(mut heard, stop)| async move {
        let event = match stop.run_until_cancelled(heard.recv()).await? {
            Ok(event) => Event::default().json_data(event).ok()?,
            Err(RecvError::Lagged(missed)) => {
                Event::default().event("missed").data(missed.to_string())
            }
            Err(RecvError::Closed) => return None,
        };
        Some((Ok(event), (heard, stop)))
    });
    Ok(stream_of(events))
}

fn stream_of<S>(events: S) -> impl IntoResponse
where
    S: Stream<Item = Result<Event, Infallible>> + Send + 'static,
{
    Sse::new(events).keep_alive(KeepAlive::default())
}
