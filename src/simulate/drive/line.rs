//! The lines that drive: their shape, and what is wrong with others.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::Deserialize;

use super::Refused;
use crate::control::Report;

const EXPECTED: &str = "expected `time` and one of `query`, `report` and `health`";

/// What happens when.
#[derive(Debug, PartialEq)]
pub(super) struct Line<'l> {
    /// In seconds, from wherever the driver counts.
    pub(super) time: f64,
    pub(super) what: What<'l>,
}

/// What happens.
#[derive(Debug, PartialEq)]
pub(super) enum What<'l> {
    Query(Query<'l>),
    Report(Reported),
    Health(Health<'l>),
}

/// A client asks.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query<'l> {
    #[serde(borrow)]
    pub(super) name: Cow<'l, str>,
    /// A, unless told otherwise.
    #[serde(borrow, default, rename = "type")]
    pub(super) rtype: Option<Cow<'l, str>>,
    /// The client's address or subnet, as a resolver would send it (RFC 7871).
    #[serde(borrow, default)]
    pub(super) subnet: Option<Cow<'l, str>>,
    /// Who asks; if nobody is named, the client itself.
    #[serde(default)]
    pub(super) resolver: Option<IpAddr>,
}

/// A datacenter reports.
#[derive(Debug, PartialEq, Deserialize)]
pub(super) struct Reported {
    pub(super) datacenter: String,
    #[serde(flatten)]
    pub(super) report: Report,
}

/// The checks of a datacenter say something new.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Health<'l> {
    #[serde(borrow)]
    pub(super) datacenter: Cow<'l, str>,
    pub(super) up: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form<'l> {
    time: f64,
    #[serde(borrow, default)]
    query: Option<Query<'l>>,
    #[serde(default)]
    report: Option<Reported>,
    #[serde(borrow, default)]
    health: Option<Health<'l>>,
}

/// Reads a line.
pub(super) fn read(text: &[u8]) -> Result<Line<'_>, Refused> {
    let form: Form = serde_json::from_slice(text).map_err(|error| refused(text, &error))?;
    let what = match (form.query, form.report, form.health) {
        (Some(query), None, None) => What::Query(query),
        (None, Some(report), None) => What::Report(report),
        (None, None, Some(health)) => What::Health(health),
        (query, ..) => {
            return Err(Refused { error: EXPECTED.into(), wants_answer: query.is_some() });
        }
    };
    Ok(Line { time: form.time, what })
}

fn refused(text: &[u8], error: &serde_json::Error) -> Refused {
    let said = error.to_string();
    let place = said.rfind(" at line ").unwrap_or(said.len());
    let (said, column) = (&said[..place], error.column());
    let error = match error.is_data() {
        true => format!("column {column}: {said}"),
        false => format!("column {column}: no JSON object: {said}; {EXPECTED}"),
    };
    // A query may be anything that is nothing else.
    let value: Option<serde_json::Value> = serde_json::from_slice(text).ok();
    let is_other = |value: &serde_json::Value| {
        value.get("query").is_none()
            && (value.get("report").is_some() || value.get("health").is_some())
    };
    Refused { error, wants_answer: !value.is_some_and(|value| is_other(&value)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_line_is_read() {
        let line =
            br#"{"time": 12.0, "query": {"name": "www.example.com.", "subnet": "203.0.113.0/24"}}"#;
        let Line { time, what: What::Query(query) } = read(line).unwrap() else { panic!() };
        assert_eq!((time, &*query.name), (12.0, "www.example.com."));
        assert_eq!((query.subnet.as_deref(), query.rtype), (Some("203.0.113.0/24"), None));
        let line = br#"{"time": 1, "report": {"datacenter": "fra", "capacity": 100, "load": 81.5, "utilisation": 0.8, "rejected": 0}}"#;
        let Line { what: What::Report(report), .. } = read(line).unwrap() else { panic!() };
        assert_eq!((&*report.datacenter, report.report.load), ("fra", 81.5));
        assert_eq!(report.report.utilisation, Some(0.8));
        let line = br#"{"time": 1, "health": {"datacenter": "fra", "up": false}}"#;
        let Line { what: What::Health(health), .. } = read(line).unwrap() else { panic!() };
        assert_eq!((&*health.datacenter, health.up), ("fra", false));
    }

    #[test]
    fn what_is_no_line_is_told_and_who_may_wait_for_an_answer_gets_one() {
        for (line, wants_answer, said) in [
            (r#"{"time": 1, "qeury": {}}"#, true, "unknown field `qeury`, expected one of"),
            (r#"{"time": 1}"#, false, EXPECTED),
            (
                r#"{"time": 1, "query": {"name": "a."}, "health": {"datacenter": "fra", "up": true}}"#,
                true,
                EXPECTED,
            ),
            (r#"{"query": {"name": "a."}}"#, true, "missing field `time`"),
            (r#"{"time": 1, "report": {"datacenter": "fra"}}"#, false, "missing field `load`"),
            (r#"{"time": 1, "health": {"datacenter": 7, "up": true}}"#, false, "invalid type"),
            (r#"{"time": 1, "query": {"name": "#, true, "no JSON object"),
            ("time 1", true, "no JSON object"),
        ] {
            let refused = read(line.as_bytes()).unwrap_err();
            assert_eq!(refused.wants_answer, wants_answer, "{line}");
            assert!(refused.error.contains(said), "{line}: {}", refused.error);
        }
    }
}
