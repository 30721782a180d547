//! The page: five files that are part of the program.

use axum::Router;
use axum::http::{HeaderName, header};
use axum::response::IntoResponse;
use axum::routing::get;

/// Only what this server itself sends may run, show or be called, and nobody may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `/` and what it loads.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let html = || async { file("text/html; charset=utf-8", include_str!("page/index.html")) };
    let css = || async { file("text/css; charset=utf-8", include_str!("page/page.css")) };
    let js = || async { file("text/javascript; charset=utf-8", include_str!("page/page.js")) };
    let plan = || async { file("text/javascript; charset=utf-8", include_str!("page/plan.js")) };
    let icon = || async { file("image/svg+xml", include_str!("page/icon.svg")) };
    Router::new()
        .route("/", get(html))
        .route("/page.css", get(css))
        .route("/page.js", get(js))
        .route("/plan.js", get(plan))
        .route("/icon.svg", get(icon))
}

fn file(kind: &'static str, text: &'static str) -> impl IntoResponse {
    let headers: [(HeaderName, &str); 5] = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text)
}
