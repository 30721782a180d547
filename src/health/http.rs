//! The HTTP and HTTPS probe: a request is answered as wanted.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use reqwest::header::{ACCEPT, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use reqwest::{Client, Response, Url, redirect, retry};
use rustls::pki_types::ServerName;

use super::trust::{self, Shown, Trust};
use super::{HttpCheck, ProbeResult};

/// The most of a body that is read, in bytes.
pub const MAX_BODY_BYTES: usize = 64 << 10;

/// Stands in the URL where no name may be sent: a TLS client sends none for an address, but a URL
/// with an address would be connected to just that.
const NO_NAME: &str = "address.invalid";

/// A request that is ready to be sent, as often as wanted.
#[derive(Debug)]
pub struct Request<'a> {
    client: Client,
    url: Url,
    host: HeaderValue,
    check: &'a HttpCheck,
}

impl<'a> Request<'a> {
    /// Prepares to ask `target`. The error says what cannot be asked, or whom not trusted.
    pub async fn new(
        target: SocketAddr,
        check: &'a HttpCheck,
        trust: &Trust,
        shown: &Shown,
    ) -> Result<Request<'a>, String> {
        let Draft { url, url_host, host, name } = Draft::new(target, check)?;
        let config = match check.tls.as_ref().zip(name) {
            None => trust::no_tls(),
            Some((tls, name)) => trust.client_config(tls, name, &["http/1.1"], shown).await?,
        };
        let client = Client::builder()
            .tls_backend_preconfigured(config)
            .resolve(&url_host, target)
            .no_proxy()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .http1_only()
            .pool_max_idle_per_host(0)
            .build()
            .map_err(|error| format!("no HTTP client: {}", root_cause(&error)))?;
        Ok(Request { client, url, host, check })
    }

    /// Asks once, over a connection of its own: one that is reused does not show that the target
    /// still accepts any. No redirect is followed and no proxy is asked. The caller bounds the
    /// time.
    pub async fn send(&self) -> ProbeResult {
        let start = Instant::now();
        let asked = self.client.request(self.check.method.clone(), self.url.clone());
        let asked = asked.header(HOST, &self.host);
        let asked = asked.header(USER_AGENT, "portolan-health-check").header(ACCEPT, "*/*");
        let response = match asked.send().await {
            Ok(response) => response,
            Err(error) => return ProbeResult::from_error(&error),
        };
        let status = response.status().as_u16();
        if !is_wanted(status, &self.check.status) {
            let wanted = wanted(&self.check.status);
            return ProbeResult::failed(format_args!("status {status}, wanted {wanted}"));
        }
        if let Some(wrong) = wrong_header(response.headers(), &self.check.headers) {
            return ProbeResult::failed(wrong);
        }
        match wrong_body(response, self.check).await {
            Ok(None) => ProbeResult::Good(start.elapsed()),
            Ok(Some(wrong)) => ProbeResult::failed(wrong),
            Err(error) => ProbeResult::from_error(&error),
        }
    }
}

/// Why no target can be asked by this check, if that is so.
pub fn unaskable(check: &HttpCheck) -> Option<String> {
    Draft::new((Ipv4Addr::LOCALHOST, 1).into(), check).err()
}

/// What a request consists of.
struct Draft {
    url: Url,
    /// The host in it.
    url_host: String,
    host: HeaderValue,
    /// Whose certificate is wanted; none without TLS.
    name: Option<ServerName<'static>>,
}

impl Draft {
    fn new(target: SocketAddr, check: &HttpCheck) -> Result<Draft, String> {
        let host = match &check.host {
            Some(host) => host.clone(),
            None => with_port(target, check.tls.is_some()),
        };
        let (scheme, name) = match &check.tls {
            None => ("http", None),
            Some(tls) => {
                let name = tls.server_name.as_deref().unwrap_or_else(|| host_of(&host));
                ("https", Some(trust::named(name)?))
            }
        };
        let sent_name = match &name {
            Some(ServerName::DnsName(name)) => Some(name.as_ref()),
            _ => None,
        };
        let url_host = sent_name.unwrap_or(NO_NAME).to_owned();
        let slash = if check.path.starts_with('/') { "" } else { "/" };
        let url = format!("{scheme}://{url_host}:{}{slash}{}", target.port(), check.path);
        let url = Url::parse(&url).map_err(|error| format!("`{url}`: {error}"))?;
        if !url.host_str().is_some_and(|host| host.eq_ignore_ascii_case(&url_host)) {
            return Err(format!("`{url_host}` is not a name that a URL can carry"));
        }
        let host = HeaderValue::from_str(&host)
            .map_err(|_| format!("`{host}` cannot be sent as a Host header"))?;
        Ok(Draft { url, url_host, host, name })
    }
}

/// The target as a Host header has it, without the port that the scheme implies.
fn with_port(target: SocketAddr, tls: bool) -> String {
    match (target.ip(), target.port() == if tls { 443 } else { 80 }) {
        (IpAddr::V4(address), true) => address.to_string(),
        (IpAddr::V6(address), true) => format!("[{address}]"),
        _ => target.to_string(),
    }
}

/// The host part of a Host header.
fn host_of(header: &str) -> &str {
    if let Some(bracketed) = header.strip_prefix('[') {
        return bracketed.split(']').next().unwrap_or(bracketed);
    }
    match header.rsplit_once(':') {
        Some((host, _)) if !host.contains(':') => host,
        _ => header,
    }
}

fn is_wanted(status: u16, good: &[u16]) -> bool {
    if good.is_empty() { (200..300).contains(&status) } else { good.contains(&status) }
}

fn wanted(good: &[u16]) -> String {
    if good.is_empty() {
        return "200 to 299".into();
    }
    let good: Vec<String> = good.iter().map(u16::to_string).collect();
    good.join(" or ")
}

/// What is wrong with the headers, if they lack one that is wanted.
fn wrong_header(headers: &HeaderMap, wanted: &[(HeaderName, HeaderValue)]) -> Option<String> {
    for (name, value) in wanted {
        let mut given = headers.get_all(name).iter().peekable();
        let first =
            given.peek().map(|first| String::from_utf8_lossy(first.as_bytes()).into_owned());
        if given.any(|given| given == value) {
            continue;
        }
        let value = String::from_utf8_lossy(value.as_bytes());
        return Some(match first {
            Some(first) => format!("header `{name}` is `{first}`, wanted `{value}`"),
            None => format!("header `{name}` is missing, wanted `{value}`"),
        });
    }
    None
}

/// What is wrong with the body. It is read until nothing more is wanted of it, and no further than
/// [`MAX_BODY_BYTES`].
async fn wrong_body(
    mut response: Response,
    check: &HttpCheck,
) -> Result<Option<String>, reqwest::Error> {
    let text = check.contains.as_deref().unwrap_or_default().as_bytes();
    let mut is_found = text.is_empty();
    let mut is_cut = false;
    let mut body: Vec<u8> = Vec::new();
    while !is_cut && (!is_found || check.matches.is_some()) {
        let Some(chunk) = response.chunk().await? else { break };
        let room = MAX_BODY_BYTES - body.len();
        is_cut = chunk.len() >= room;
        // The text may begin in the chunk before.
        let from = (body.len() + 1).saturating_sub(text.len());
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        is_found = is_found || body[from..].windows(text.len()).any(|window| window == text);
    }
    let what = match is_cut {
        true => format!("the first {MAX_BODY_BYTES} bytes of the body"),
        false => "the body".into(),
    };
    if let (false, Some(text)) = (is_found, &check.contains) {
        return Ok(Some(format!("{what} {} `{text}`", if is_cut { "lack" } else { "lacks" })));
    }
    match &check.matches {
        Some(pattern) if !pattern.is_match(&body) => {
            let verb = if is_cut { "do not match" } else { "does not match" };
            Ok(Some(format!("{what} {verb} `{pattern}`")))
        }
        _ => Ok(None),
    }
}

/// The innermost error: it is the one that says something.
pub fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests;
