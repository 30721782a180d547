//! What an HTTP(S) check asks, and what answer it wants.

use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};

use super::super::reader::Value;
use super::Given;
use crate::health::{HttpCheck, Pattern, TlsCheck};

/// Reads the keys of an HTTP check; with TLS, it is one of HTTPS.
pub(super) fn read(given: &mut Given<'_>, tls: Option<TlsCheck>) -> HttpCheck {
    let method = given.take("method");
    let wanted = method.as_ref().and_then(|value| {
        let words = [
            ("GET", Method::GET),
            ("HEAD", Method::HEAD),
            ("OPTIONS", Method::OPTIONS),
            ("POST", Method::POST),
        ];
        let words = words.each_ref().map(|(word, method)| (*word, method));
        value.word(&words, &[]).cloned()
    });
    let (contains, matches) = (given.take("contains"), given.take("matches"));
    if wanted == Some(Method::HEAD) {
        for value in [&contains, &matches].into_iter().flatten() {
            let message = format!("`{}` is given, but an answer to HEAD has no body", value.key());
            value.reject::<()>(value.error(message).label("use another `method`"));
        }
    }
    let status = given.take("status");
    HttpCheck {
        tls,
        path: given.take("path").and_then(|value| path(&value)).unwrap_or_else(|| "/".into()),
        host: given.take("host").and_then(|value| host(&value)),
        status: status.map_or_else(|| vec![200], |value| statuses(&value)),
        method: wanted.unwrap_or_default(),
        headers: given.take("headers").map(|value| headers(&value)).unwrap_or_default(),
        contains: contains.and_then(|value| Some(value.filled_text()?.into_inner())),
        matches: matches.and_then(|value| pattern(&value)),
    }
}

fn pattern(value: &Value<'_>) -> Option<Pattern> {
    let text = value.filled_text()?;
    match Pattern::new(text.get_ref()) {
        Ok(pattern) => Some(pattern),
        Err(why) => {
            let message = format!("`{}` is not a regular expression", text.get_ref());
            value.reject(value.error(message).label(why))
        }
    }
}

fn headers(value: &Value<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::new();
    for (name, value) in value.entries("`headers`").unwrap_or_default() {
        let text = name.get_ref();
        let Ok(wanted) = HeaderName::from_bytes(text.as_bytes()) else {
            let error = value.reader().error(name.span(), format!("`{text}` names no header"));
            value.reader().report(error.label("expected a name such as `X-Ready`"));
            continue;
        };
        let Some(text) = value.text() else { continue };
        match HeaderValue::from_str(text.get_ref().trim()) {
            Ok(value) => headers.push((wanted, value)),
            Err(_) => {
                value.unreadable::<()>(text.get_ref(), "a header's value, on one line");
            }
        }
    }
    headers
}

fn path(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    let visible = text.get_ref().bytes().all(|byte| byte.is_ascii_graphic());
    if !text.get_ref().starts_with('/') || !visible {
        return value.unreadable(text.get_ref(), "a path that begins with `/`, without spaces");
    }
    Some(text.into_inner())
}

fn host(value: &Value<'_>) -> Option<String> {
    let text = value.filled_text()?;
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    if !text.get_ref().bytes().all(good) {
        return value.unreadable(text.get_ref(), "a host name, such as \"www.example.com\"");
    }
    Some(text.into_inner())
}

/// Numbers, classes such as "2xx", and ranges such as "200-299".
fn statuses(value: &Value<'_>) -> Vec<u16> {
    let mut statuses: Vec<u16> = value.one_or_more().iter().filter_map(status).flatten().collect();
    statuses.sort_unstable();
    statuses.dedup();
    if value.one_or_more().is_empty() {
        value.reject::<()>(value.error("`status` is empty").label("no answer would be good"));
    }
    statuses
}

fn status(value: &Value<'_>) -> Option<std::ops::RangeInclusive<u16>> {
    const VALID: std::ops::RangeInclusive<u16> = 100..=599;
    if value.is_integer() {
        return value.integer(VALID).map(|status| status..=status);
    }
    let text = value.text()?;
    let range = match text.get_ref().split_once('-') {
        Some((first, last)) => first.parse().ok().zip(last.parse().ok()),
        None => {
            let class = text.get_ref().strip_suffix("xx").and_then(|class| class.parse().ok());
            class.filter(|class| (1..=5u16).contains(class)).map(|c| (c * 100, c * 100 + 99))
        }
    };
    let valid =
        |(first, last): &(u16, u16)| first <= last && VALID.contains(first) && VALID.contains(last);
    match range.filter(valid) {
        Some((first, last)) => Some(first..=last),
        None => value.unreadable(text.get_ref(), "a status: 200, \"2xx\" or \"200-299\""),
    }
}
