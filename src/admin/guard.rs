//! Who may change something: the bearer of the token, or without one somebody at this machine, but
//! never a stranger's page in the operator's browser.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Window;
use super::error::ApiError;
use super::listener::Peer;

/// What is asked of a call that changes something.
#[derive(Clone, Debug)]
pub struct Guard {
    token: Option<Box<str>>,
}

impl Guard {
    /// With a token, its bearer may change things from anywhere; without, only loopback may.
    pub fn new(token: Option<String>) -> Guard {
        Guard { token: token.map(Box::from) }
    }

    /// What a call needs to be let in to change something: `token` or `loopback`.
    pub fn asks_for(&self) -> &'static str {
        if self.token.is_some() { "token" } else { "loopback" }
    }

    /// Whether a call may pass. One that changes nothing always may.
    pub fn admit(
        &self,
        method: &Method,
        headers: &HeaderMap,
        peer: IpAddr,
    ) -> Result<(), ApiError> {
        if method.is_safe() {
            return Ok(());
        }
        refuse_foreign_pages(headers)?;
        match &self.token {
            Some(token) => refuse_wrong_token(headers, token)?,
            None => refuse_strangers(headers, peer)?,
        }
        refuse_other_bodies(method, headers)
    }
}

/// Lets a request pass to the API, or answers why not.
pub async fn check(State(window): State<Arc<Window>>, request: Request, next: Next) -> Response {
    // Without the extension, which the listener always sets, nobody is taken for loopback.
    let peer = request.extensions().get::<Peer>();
    let peer = peer.map_or(IpAddr::from([0; 4]), |Peer(address)| address.ip());
    match window.guard.admit(request.method(), request.headers(), peer) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// A browser says where a call comes from; another site's page has no business here.
fn refuse_foreign_pages(headers: &HeaderMap) -> Result<(), ApiError> {
    let refusal = || {
        ApiError::new(StatusCode::FORBIDDEN, "the call comes from another site's page")
            .help("use the page of this very server, or the command line")
    };
    if let Some(site) = headers.get("sec-fetch-site")
        && site != "same-origin"
        && site != "none"
    {
        return Err(refusal());
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    match (origin, host(headers)) {
        (Some((_, origin)), Some(host)) if origin.eq_ignore_ascii_case(host.as_str()) => Ok(()),
        _ => Err(refusal()),
    }
}

fn refuse_wrong_token(headers: &HeaderMap, token: &str) -> Result<(), ApiError> {
    let given = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
    let given = given.and_then(|value| {
        let (scheme, rest) = value.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"Bearer ").then(|| rest.trim_ascii())
    });
    match given {
        Some(given) if are_equal(given, token.as_bytes()) => Ok(()),
        Some(_) => Err(ApiError::new(StatusCode::UNAUTHORIZED, "the token is wrong")
            .help("send the contents of `admin.token_file` as `Authorization: Bearer TOKEN`")),
        None => Err(ApiError::new(StatusCode::UNAUTHORIZED, "this call needs the token")
            .help("send the contents of `admin.token_file` as `Authorization: Bearer TOKEN`")),
    }
}

/// Without a token, only this machine may call, and only under a name that no stranger's name
/// server can have pointed here (DNS rebinding).
fn refuse_strangers(headers: &HeaderMap, peer: IpAddr) -> Result<(), ApiError> {
    let help = "set `admin.token_file` and send the token, or call from this machine by its \
                loopback address";
    if !peer.to_canonical().is_loopback() {
        let error = "without a token, only this machine may change something";
        return Err(ApiError::new(StatusCode::FORBIDDEN, error).help(help));
    }
    let host = host(headers);
    let name = host.as_ref().map(Authority::host).unwrap_or_default();
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    if name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    let error = format!("without a token, the Host must be an address or localhost, not `{name}`");
    Err(ApiError::new(StatusCode::FORBIDDEN, error).help(help))
}

/// A form of another site can send anything but this type without asking first.
fn refuse_other_bodies(method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
    let is_empty = headers.get(header::CONTENT_LENGTH).is_none_or(|length| length == "0")
        && !headers.contains_key(header::TRANSFER_ENCODING);
    if is_empty && *method == Method::DELETE {
        return Ok(());
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body must be JSON")
        .help("send `Content-Type: application/json`"))
}

fn host(headers: &HeaderMap) -> Option<Authority> {
    headers.get(header::HOST)?.to_str().ok()?.parse().ok()
}

/// Takes the same time wherever the two differ; only the length shows.
fn are_equal(a: &[u8], b: &[u8]) -> bool {
    let difference = a.iter().zip(b).fold(0, |sum, (a, b)| std::hint::black_box(sum | (a ^ b)));
    a.len() == b.len() && difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: &str = "127.0.0.1";
    const REMOTE: &str = "198.51.100.7";
    const JSON: (&str, &str) = ("content-type", "application/json");
    const HERE: (&str, &str) = ("host", "127.0.0.1:8053");

    fn status(token: Option<&str>, method: &str, peer: &str, said: &[(&str, &str)]) -> u16 {
        let guard = Guard::new(token.map(String::from));
        let mut headers = HeaderMap::new();
        for (name, value) in said {
            let name = name.parse::<header::HeaderName>().unwrap();
            headers.insert(name, value.parse().unwrap());
        }
        let verdict = guard.admit(&method.parse().unwrap(), &headers, peer.parse().unwrap());
        verdict.map_or_else(|refusal| refusal.status.as_u16(), |()| 200)
    }

    #[test]
    fn what_changes_nothing_is_open_to_all() {
        for method in ["GET", "HEAD", "OPTIONS"] {
            assert_eq!(status(Some("secret"), method, REMOTE, &[]), 200);
            assert_eq!(status(None, method, REMOTE, &[("host", "evil.example")]), 200);
        }
    }

    #[test]
    fn with_a_token_its_bearer_and_nobody_else_may_change_something() {
        let with = |authorization: &str, peer| {
            status(Some("secret"), "POST", peer, &[HERE, JSON, ("authorization", authorization)])
        };
        assert_eq!(with("Bearer secret", REMOTE), 200);
        assert_eq!(with("bearer secret", LOCAL), 200);
        for wrong in ["Bearer Secret", "Bearer secre", "Bearer secrets", "Bearer ", "Basic secret"]
        {
            assert_eq!(with(wrong, LOCAL), 401, "{wrong}");
        }
        assert_eq!(status(Some("secret"), "DELETE", LOCAL, &[HERE]), 401);
    }

    #[test]
    fn without_a_token_only_loopback_under_a_safe_name_may_change_something() {
        let with = |peer, host| status(None, "POST", peer, &[JSON, ("host", host)]);
        for safe in ["127.0.0.1:8053", "localhost:8053", "[::1]:8053", "203.0.113.5", "LOCALHOST"] {
            assert_eq!(with(LOCAL, safe), 200, "{safe}");
            assert_eq!(with("::1", safe), 200, "{safe}");
            assert_eq!(with("::ffff:127.0.0.1", safe), 200, "{safe}");
            assert_eq!(with(REMOTE, safe), 403, "{safe}");
        }
        for rebound in ["evil.example:8053", "127.0.0.1.evil.example", "localhost.evil.example", ""]
        {
            assert_eq!(with(LOCAL, rebound), 403, "{rebound}");
        }
        assert_eq!(status(None, "POST", LOCAL, &[JSON]), 403);
        assert_eq!(status(None, "DELETE", LOCAL, &[HERE]), 200);
    }

    #[test]
    fn a_page_of_another_origin_may_change_nothing_even_with_the_token() {
        let token = ("authorization", "Bearer secret");
        let with = |name, value| {
            let said = [HERE, JSON, token, (name, value)];
            (status(None, "POST", LOCAL, &said), status(Some("secret"), "POST", LOCAL, &said))
        };
        assert_eq!(with("origin", "http://127.0.0.1:8053"), (200, 200));
        assert_eq!(with("origin", "http://127.0.0.1:8080"), (403, 403));
        assert_eq!(with("origin", "http://evil.example"), (403, 403));
        assert_eq!(with("origin", "null"), (403, 403));
        assert_eq!(with("sec-fetch-site", "same-origin"), (200, 200));
        assert_eq!(with("sec-fetch-site", "cross-site"), (403, 403));
        assert_eq!(with("sec-fetch-site", "same-site"), (403, 403));
    }

    #[test]
    fn a_body_that_a_form_could_send_is_refused() {
        for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""] {
            let said = [HERE, ("content-type", kind)];
            assert_eq!(status(None, "POST", LOCAL, &said), 415, "{kind}");
        }
        let said = [HERE, ("content-type", "application/json; charset=utf-8")];
        assert_eq!(status(None, "PUT", LOCAL, &said), 200);
        assert_eq!(status(None, "DELETE", LOCAL, &[HERE, ("content-length", "9")]), 415);
        assert_eq!(status(None, "DELETE", LOCAL, &[HERE, ("transfer-encoding", "chunked")]), 415);
    }
}
