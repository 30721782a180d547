//! What happens in a run, as it is told on the command line.

use std::time::Duration;

use crate::simulate::{Event, Happening, World};

/// A country's demand takes so long to rise, in seconds.
const RAMP_S: f64 = 120.0;

/// From when to when; without an end, to the end of the run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Span {
    /// `fra`, or `fra=0.5`.
    pub(super) name: String,
    pub(super) factor: Option<f64>,
    from: f64,
    to: Option<f64>,
}

/// `fra@30m..60m`, `fra@30m`.
pub(super) fn span(text: &str) -> Result<Span, String> {
    let told = |why: &str| format!("{why}: expected NAME@FROM..TO like fra@30m..60m");
    let (name, times) = text.split_once('@').ok_or_else(|| told("no time"))?;
    let seconds = |text: &str| {
        let time = humantime::parse_duration(text).map(|time| time.as_secs_f64());
        time.map_err(|error| told(&format!("`{text}` is no time ({error})")))
    };
    let (from, to) = match times.split_once("..") {
        Some((from, to)) => (seconds(from)?, Some(seconds(to)?)),
        None => (seconds(times)?, None),
    };
    if name.is_empty() {
        return Err(told("no name"));
    }
    if to.is_some_and(|to| to <= from) {
        return Err(told("it ends before it begins"));
    }
    Ok(Span { name: name.into(), factor: None, from, to })
}

/// `iad=0.5@30m..60m`.
pub(super) fn factor_span(text: &str) -> Result<Span, String> {
    let told = |why: &str| format!("{why}: expected NAME=FACTOR@FROM..TO like iad=0.5@30m..60m");
    let (what, times) = text.split_once('@').ok_or_else(|| told("no time"))?;
    let (name, factor) = factor(what).map_err(|why| told(&why))?;
    Ok(Span { factor: Some(factor), ..span(&format!("{name}@{times}"))? })
}

/// `fra=0.5`.
pub(super) fn factor(text: &str) -> Result<(String, f64), String> {
    let (name, number) = text.split_once('=').ok_or("no factor: expected one like fra=0.5")?;
    match number.parse::<f64>() {
        Ok(factor) if (0.0..=1e6).contains(&factor) => Ok((name.into(), factor)),
        _ => Err(format!("`{number}` is no factor: expected one like 0.5")),
    }
}

/// `3h`, up to a week.
pub(super) fn duration(text: &str) -> Result<u32, String> {
    let told = || format!("`{text}` is no duration: expected one like 3h, a minute to a week");
    let duration = humantime::parse_duration(text).map_err(|_| told())?;
    let week = Duration::from_secs(7 * 86_400);
    if !(Duration::from_secs(60)..=week).contains(&duration) {
        return Err(told());
    }
    Ok(duration.as_secs() as u32)
}

/// What all of them bring, in the order of time.
pub(super) fn events(fail: &[Span], surge: &[Span], cut: &[Span]) -> Vec<Event> {
    let mut events = Vec::new();
    let mut happens = |span: &Span, begins: Happening, ends: Happening| {
        events.push(Event { at: span.from, what: begins });
        events.extend(span.to.map(|at| Event { at, what: ends }));
    };
    for span in fail {
        let datacenter = span.name.clone();
        let dies = Happening::Dies { datacenter: datacenter.clone() };
        happens(span, dies, Happening::Returns { datacenter });
    }
    for span in surge {
        let surge = |factor, ramp| Happening::Surge { country: span.name.clone(), factor, ramp };
        happens(span, surge(span.factor.unwrap_or(1.0), RAMP_S), surge(1.0, 0.0));
    }
    for span in cut {
        let datacenter = || span.name.clone();
        let capacity =
            |factor| Happening::Capacity { datacenter: datacenter(), factor, reported: true };
        happens(span, capacity(span.factor.unwrap_or(1.0)), capacity(1.0));
    }
    events.sort_by(|a, b| a.at.total_cmp(&b.at));
    events
}

/// Refuses what cannot happen in this world, or only after the end.
pub(super) fn check(events: &[Event], world: &World, seconds: u32) -> Result<(), String> {
    for event in events {
        if event.at >= f64::from(seconds) {
            return Err(format!(
                "something is to happen after {} s, but it all lasts {seconds} s: see --duration",
                event.at
            ));
        }
        let (datacenters, country) = named(&event.what);
        for name in datacenters {
            if !world.datacenters.iter().any(|known| known.name == *name) {
                let known: Vec<&str> = world.datacenters.iter().map(|dc| &*dc.name).collect();
                let known = known.join(", ");
                return Err(format!("there is no datacenter {name}; there are: {known}"));
            }
        }
        if let Some(country) = country
            && !world.groups.iter().any(|group| group.country == *country)
        {
            return Err(format!(
                "nobody asks from {country}: expected a country of two letters like BR"
            ));
        }
    }
    Ok(())
}

/// What happens, in few words, to be drawn.
pub(super) fn in_words(what: &Happening) -> String {
    match what {
        Happening::Dies { datacenter } => format!("{datacenter} dies"),
        Happening::Returns { datacenter } => format!("{datacenter} is back"),
        Happening::Surge { country, factor, .. } => format!("{country} × {factor}"),
        Happening::Capacity { datacenter, factor, .. } => format!("{datacenter} has {factor}"),
        Happening::ReportsStop { datacenter } => {
            format!("no reports of {}", datacenter.as_deref().unwrap_or("any"))
        }
        Happening::ReportsResume { .. } => "reports are back".into(),
        Happening::Sick { datacenter, ms, .. } => format!("{datacenter} + {ms} ms"),
        Happening::ChecksFail { .. } => "checks fail".into(),
        Happening::ChecksRecover => "checks are back".into(),
    }
}

fn named(what: &Happening) -> (&[String], Option<&String>) {
    match what {
        Happening::Dies { datacenter }
        | Happening::Returns { datacenter }
        | Happening::Capacity { datacenter, .. }
        | Happening::Sick { datacenter, .. } => (std::slice::from_ref(datacenter), None),
        Happening::ReportsStop { datacenter } | Happening::ReportsResume { datacenter } => {
            (datacenter.as_slice(), None)
        }
        Happening::ChecksFail { datacenters } => (datacenters, None),
        Happening::Surge { country, .. } => (&[], Some(country)),
        Happening::ChecksRecover => (&[], None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_become_events_in_order() {
        let fail = span("fra@30m..1h").unwrap();
        let surge = factor_span("BR=3@10m").unwrap();
        let events = events(&[fail], &[surge], &[factor_span("iad=0.5@1h..2h").unwrap()]);
        let times: Vec<f64> = events.iter().map(|event| event.at).collect();
        assert_eq!(times, [600.0, 1800.0, 3600.0, 3600.0, 7200.0]);
        assert_eq!(in_words(&events[1].what), "fra dies");
    }

    #[test]
    fn what_is_no_span_is_told_with_an_example() {
        for (text, said) in [
            ("fra", "no time: expected NAME@FROM..TO like fra@30m..60m"),
            ("@3m", "no name: expected"),
            ("fra@soon", "`soon` is no time"),
            ("fra@60m..30m", "it ends before it begins: expected"),
        ] {
            let error = span(text).unwrap_err();
            assert!(error.starts_with(said), "{text}: {error}");
        }
        assert!(factor_span("fra@3m").unwrap_err().starts_with("no factor"));
        assert!(factor("fra=x").unwrap_err().starts_with("`x` is no factor"));
        assert!(duration("3s").is_err() && duration("3h") == Ok(10_800));
    }
}
