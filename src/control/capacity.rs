//! What the datacenters report of their capacity and load. Pure: time is an argument.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{ControlError, Settings};
use crate::decide::Room;

/// A pushed report without settings of its own is stale after this.
const STALE_AFTER: Duration = Duration::from_secs(10);

/// What a site says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The most it can take, in `unit`.
    pub capacity: f64,
    /// What it is offered now, in `unit`.
    pub load: f64,
    /// What both are counted in: `requests/s`, `connections`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// When it was measured, RFC 3339. A report whose time is that of the one before is the same
    /// report, and does not make it younger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
}

/// Where a datacenter's report is polled.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportSource {
    /// `http` or `https`.
    pub url: String,
    /// From poll to poll.
    pub interval: Duration,
}

/// What is known of one datacenter's capacity, for people and machines.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReportStatus {
    /// The datacenter.
    pub datacenter: String,
    /// The capacity from the configuration, which a live report replaces.
    pub configured_capacity: Option<f64>,
    /// The latest report, live or stale.
    pub report: Option<Report>,
    /// How long ago it arrived, in seconds.
    pub age_seconds: Option<f64>,
    /// True when it is too old to count.
    pub stale: bool,
    /// What follows from it.
    pub room: Room,
    /// Why the latest poll failed, if it did.
    pub error: Option<String>,
}

/// The latest report of every datacenter.
#[derive(Clone, Debug, Default)]
pub struct Capacity {
    /// By `DatacenterId`.
    sites: Vec<Site>,
}

#[derive(Clone, Debug)]
struct Site {
    name: String,
    configured: Option<f64>,
    unit: Option<String>,
    stale_after: Duration,
    latest: Option<(Report, Instant)>,
    error: Option<String>,
}

impl Capacity {
    /// Nothing has been reported yet.
    pub fn new(settings: &Settings) -> Capacity {
        let sites = settings.steering.datacenters.iter().enumerate().map(|(index, datacenter)| {
            let report = settings.reports.get(index).and_then(Option::as_ref);
            Site {
                name: datacenter.name.clone(),
                configured: settings.capacity.get(index).copied().flatten(),
                unit: settings.units.get(index).cloned().flatten(),
                stale_after: report.map_or(STALE_AFTER, |report| report.stale_after),
                latest: None,
                error: None,
            }
        });
        Capacity { sites: sites.collect() }
    }

    /// Takes new settings over; datacenters of the same name keep their reports.
    pub fn replace(&mut self, settings: &Settings) {
        let old = std::mem::replace(self, Capacity::new(settings));
        for site in &mut self.sites {
            if let Some(before) = old.sites.iter().find(|before| before.name == site.name) {
                site.latest.clone_from(&before.latest);
                site.error.clone_from(&before.error);
            }
        }
    }

    /// Takes a report in.
    pub fn accept(
        &mut self,
        datacenter: &str,
        report: Report,
        now: Instant,
    ) -> Result<(), ControlError> {
        let site = self.site(datacenter)?;
        site.check(&report)?;
        let same =
            |(before, _): &(Report, Instant)| before.time.is_some() && before.time == report.time;
        site.error = None;
        if !site.latest.as_ref().is_some_and(same) {
            site.latest = Some((report, now));
        }
        Ok(())
    }

    /// Notes that a datacenter's report could not be fetched. The one before counts until stale.
    pub fn note_failure(&mut self, datacenter: &str, error: String) {
        if let Ok(site) = self.site(datacenter) {
            site.error = Some(error);
        }
    }

    /// By `DatacenterId`.
    pub fn room(&self, now: Instant) -> Vec<Room> {
        self.sites.iter().map(|site| site.room(now)).collect()
    }

    /// By `DatacenterId`.
    pub fn statuses(&self, now: Instant) -> Vec<ReportStatus> {
        let status = |site: &Site| ReportStatus {
            datacenter: site.name.clone(),
            configured_capacity: site.configured,
            report: site.latest.as_ref().map(|(report, _)| Report {
                unit: report.unit.clone().or_else(|| site.unit.clone()),
                ..report.clone()
            }),
            age_seconds: site.age(now).map(|age| age.as_secs_f64()),
            stale: site.age(now).is_some_and(|age| age >= site.stale_after),
            room: site.room(now),
            error: site.error.clone(),
        };
        self.sites.iter().map(status).collect()
    }

    fn site(&mut self, datacenter: &str) -> Result<&mut Site, ControlError> {
        let known: Vec<&str> = self.sites.iter().map(|site| &site.name[..]).collect();
        let known = known.join(", ");
        self.sites.iter_mut().find(|site| site.name == datacenter).ok_or_else(|| {
            ControlError::UnknownDatacenter(format!(
                "there is no datacenter {datacenter}; there are: {known}"
            ))
        })
    }
}

impl Site {
    fn age(&self, now: Instant) -> Option<Duration> {
        self.latest.as_ref().map(|(_, received)| now.saturating_duration_since(*received))
    }

    /// A stale report counts as none.
    fn room(&self, now: Instant) -> Room {
        match &self.latest {
            Some((report, _)) if self.age(now).is_some_and(|age| age < self.stale_after) => {
                if report.load < report.capacity {
                    Room::Free
                } else {
                    Room::Full
                }
            }
            _ => Room::Unknown,
        }
    }

    fn check(&self, report: &Report) -> Result<(), ControlError> {
        let bad = |what: String| {
            Err(ControlError::BadReport(format!("the report of {}: {what}", self.name)))
        };
        for (key, value) in [("capacity", report.capacity), ("load", report.load)] {
            if !value.is_finite() || value < 0.0 {
                return bad(format!("`{key}` is {value}, but must be 0 or more"));
            }
        }
        if let (Some(unit), Some(wanted)) = (&report.unit, &self.unit)
            && unit != wanted
        {
            return bad(format!("it counts in {unit:?}, but the configuration in {wanted:?}"));
        }
        match &report.time {
            Some(time) if humantime::parse_rfc3339_weak(time).is_err() => {
                bad(format!("`time` is {time:?}, but must be like \"2026-11-21T08:00:00Z\""))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(stale_after: u64) -> Capacity {
        let site = Site {
            name: "fra".into(),
            configured: Some(100.0),
            unit: Some("requests/s".into()),
            stale_after: Duration::from_secs(stale_after),
            latest: None,
            error: None,
        };
        Capacity { sites: vec![site] }
    }

    fn report(capacity: f64, load: f64) -> Report {
        Report { capacity, load, unit: None, time: None }
    }

    #[test]
    fn room_is_a_live_report_under_its_capacity() {
        let now = Instant::now();
        let mut capacity = site(10);
        assert_eq!(capacity.room(now), [Room::Unknown]);
        capacity.accept("fra", report(100.0, 99.9), now).unwrap();
        assert_eq!(capacity.room(now), [Room::Free]);
        capacity.accept("fra", report(100.0, 100.0), now).unwrap();
        assert_eq!(capacity.room(now), [Room::Full]);
        capacity.accept("fra", report(0.0, 0.0), now).unwrap();
        assert_eq!(capacity.room(now), [Room::Full], "no capacity is no room");
    }

    #[test]
    fn a_stale_report_counts_as_none_and_is_said() {
        let now = Instant::now();
        let later = |seconds| now + Duration::from_secs(seconds);
        let mut capacity = site(10);
        capacity.accept("fra", report(100.0, 1.0), now).unwrap();
        capacity.note_failure("fra", "connection refused".into());
        assert_eq!(capacity.room(later(9)), [Room::Free]);
        assert_eq!(capacity.room(later(10)), [Room::Unknown]);
        let status = &capacity.statuses(later(10))[0];
        assert!(status.stale);
        assert_eq!(status.error.as_deref(), Some("connection refused"));
        capacity.accept("fra", report(100.0, 1.0), later(11)).unwrap();
        assert_eq!(capacity.room(later(11)), [Room::Free]);
        assert_eq!(capacity.statuses(later(11))[0].error, None);
    }

    #[test]
    fn a_report_that_repeats_itself_grows_stale() {
        let now = Instant::now();
        let mut capacity = site(10);
        let frozen = Report { time: Some("2026-11-21T08:00:00Z".into()), ..report(100.0, 1.0) };
        for second in 0..12 {
            capacity.accept("fra", frozen.clone(), now + Duration::from_secs(second)).unwrap();
        }
        assert_eq!(capacity.room(now + Duration::from_secs(11)), [Room::Unknown]);
    }

    #[test]
    fn what_cannot_be_true_is_refused_and_changes_nothing() {
        let now = Instant::now();
        let mut capacity = site(10);
        capacity.accept("fra", report(100.0, 1.0), now).unwrap();
        let with = |unit: &str, time: &str| Report {
            unit: Some(unit.into()),
            time: Some(time.into()),
            ..report(1.0, 2.0)
        };
        for bad in [
            report(f64::NAN, 1.0),
            report(-1.0, 1.0),
            report(100.0, f64::INFINITY),
            with("connections", "2026-11-21T08:00:00Z"),
            with("requests/s", "yesterday"),
        ] {
            assert!(capacity.accept("fra", bad.clone(), now).is_err(), "{bad:?}");
        }
        let error = capacity.accept("far", report(1.0, 1.0), now).unwrap_err().to_string();
        assert_eq!(error, "there is no datacenter far; there are: fra");
        assert_eq!(capacity.room(now), [Room::Free]);
    }
}
