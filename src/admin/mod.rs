//! The window: API, metrics, page, explain.

pub mod api;
mod backend;
pub mod change;
pub mod error;
pub mod explain;
pub mod guard;
pub mod listener;
pub mod metrics;
pub mod page;
pub mod records;
pub mod text;
pub mod view;

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use error::ApiError;
use guard::Guard;

use crate::control::Control;
use crate::handover::{Handed, Inherited, Name, Use};
use crate::l4::L4;
use crate::transport::Tally;

/// The program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The longest body of a request, in bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// A call must be understood and answered by then; a stream of events only begun.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the window is, and who may reach through it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The address of the page, the API and the metrics.
    pub listen: SocketAddr,
    /// What every call that changes something must bear; none: such calls come from loopback.
    pub token: Option<String>,
}

/// What the window looks at. What this server does not do is absent.
#[derive(Clone)]
pub struct State {
    /// What steers.
    pub control: Option<Control>,
    /// What carries traffic.
    pub l4: Option<L4>,
    /// What was counted of DNS messages.
    pub dns: Option<Tally>,
    /// When the program was started, to tell the date, and to tell how long ago that is.
    pub started: (SystemTime, Instant),
}

/// What every call is answered from.
pub struct Window {
    state: State,
    guard: Guard,
    /// Ends the streams of events.
    stop: CancellationToken,
}

/// The window, open but without anybody behind it yet.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    guard: Guard,
}

/// Why the window does not open.
#[derive(Debug, Error)]
#[error("cannot listen on {listen} for the admin page and API (`admin.listen`): {source}")]
pub struct BindError {
    listen: SocketAddr,
    source: std::io::Error,
}

impl Admin {
    /// Listens, without answering yet; on the socket that was inherited, if there is one.
    pub async fn bind(settings: Settings, inherited: &mut Inherited) -> Result<Admin, BindError> {
        let Settings { listen, token } = settings;
        let listener = match inherited.take_listeners(&Name::new(Use::Admin, listen)).pop() {
            Some(listener) => TcpListener::from_std(listener),
            None => TcpListener::bind(listen).await,
        };
        let listener = listener.map_err(|source| BindError { listen, source })?;
        Ok(Admin { listener, guard: Guard::new(token) })
    }

    /// A duplicate of its socket, by the name under which another process finds it.
    pub fn handed(&self) -> std::io::Result<Handed> {
        let name = Name::new(Use::Admin, self.local_addr()?);
        Ok(Handed { name, socket: self.listener.as_fd().try_clone_to_owned()? })
    }

    /// The address it listens on, with the port that port 0 became.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `stop`, then finishes what is under way and returns.
    pub async fn serve(self, state: State, stop: CancellationToken) {
        let window = Window { state, guard: self.guard, stop: stop.clone() };
        listener::serve(self.listener, routes(Arc::new(window)), stop).await;
    }
}

fn routes(window: Arc<Window>) -> Router {
    let nothing = || async {
        ApiError::not_found("there is nothing here")
            .help("the page is at /, the API at /api/v1/status")
    };
    let no_method = || async {
        ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not know that method")
    };
    Router::new()
        .nest("/api/v1", api::routes())
        .route("/metrics", get(metrics::scrape))
        .with_state(Arc::clone(&window))
        .merge(page::routes())
        .route("/healthz", get("ok\n"))
        .fallback(nothing)
        .method_not_allowed_fallback(no_method)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn_with_state(window, guard::check))
        .layer(middleware::from_fn(in_time))
}

async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(CALL_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            ApiError::new(StatusCode::REQUEST_TIMEOUT, "the call took too long").into_response()
        }
    }
}

#[cfg(test)]
mod tests;
