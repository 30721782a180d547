//! What the datacenters report of their capacity and load. Pure: time is an argument,
//! counted from an origin that the caller chose.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::allocate::SiteReport;
use super::allotting::AgedReport;
use super::{ControlError, Settings};
use crate::decide::{DatacenterId, Room};

/// A pushed report without settings of its own is stale after this.
const STALE_AFTER: Duration = Duration::from_secs(10);
/// A utilisation above this is a percentage.
const MOST_UTILISATION: f64 = 10.0;

/// What a site says of itself. Keys that are not known here are left to those who know them: sites
/// are not all upgraded at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The most it can take, in `unit`; none: what the configuration says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<f64>,
    /// What it is offered now, in `unit`, with what it rejects.
    pub load: f64,
    /// What it rejects of `load`, in `unit`; none: it does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<f64>,
    /// What part of its scarcest resource is taken, whatever that is: 1 is all of it, and more is
    /// work that waits. A capacity that has silently fallen shows here first. None: it does not
    /// know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utilisation: Option<f64>,
    /// What both are counted in: `requests/s`, `connections`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// When it was measured, RFC 3339. It is compared only with the time of the report before,
    /// never with a clock of ours, which may differ: the same time is the same report, which does
    /// not make it younger; an earlier one came out of order and is passed over while the later
    /// one is live.
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
    latest: Option<Latest>,
    error: Option<String>,
}

#[derive(Clone, Debug)]
struct Latest {
    report: Report,
    /// Its `time`.
    measured: Option<SystemTime>,
    /// Since the origin of time.
    received: Duration,
    /// Whether the allocator knows it.
    is_heard: bool,
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
                // A capacity from the files may have been another one.
                site.latest.iter_mut().for_each(|latest| latest.is_heard = false);
                site.error.clone_from(&before.error);
            }
        }
    }

    /// Takes a report in.
    pub fn accept(
        &mut self,
        datacenter: &str,
        mut report: Report,
        now: Duration,
    ) -> Result<(), ControlError> {
        let site = self.site(datacenter)?;
        report.capacity = report.capacity.or(site.configured);
        let measured = site.check(&report)?;
        site.error = None;
        if site.is_news(measured, now) {
            site.latest = Some(Latest { report, measured, received: now, is_heard: false });
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
    pub fn room(&self, now: Duration) -> Vec<Room> {
        self.sites.iter().map(|site| site.room(now)).collect()
    }

    /// The reports that the allocator has not heard of; from now on it has.
    pub fn unheard(&mut self, now: Duration) -> Vec<AgedReport> {
        let numbered = (0..).map(DatacenterId).zip(&mut self.sites);
        let unheard = numbered.filter_map(|(datacenter, site)| {
            let latest = site.latest.as_mut().filter(|latest| !latest.is_heard)?;
            latest.is_heard = true;
            let report = SiteReport {
                capacity: latest.report.capacity,
                load: latest.report.load,
                rejected: latest.report.rejected.unwrap_or(0.0),
                utilisation: latest.report.utilisation,
            };
            Some((datacenter, report, now.saturating_sub(latest.received)))
        });
        unheard.collect()
    }

    /// By `DatacenterId`.
    pub fn statuses(&self, now: Duration) -> Vec<ReportStatus> {
        let status = |site: &Site| ReportStatus {
            datacenter: site.name.clone(),
            configured_capacity: site.configured,
            report: site.latest.as_ref().map(|Latest { report, .. }| Report {
                unit: report.unit.clone().or_else(|| site.unit.clone()),
                ..report.clone()
            }),
            age_seconds: site.age(now).map(|age| age.as_secs_f64()),
            stale: site.latest.is_some() && !site.is_live(now),
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
    fn age(&self, now: Duration) -> Option<Duration> {
        self.latest.as_ref().map(|latest| now.saturating_sub(latest.received))
    }

    fn is_live(&self, now: Duration) -> bool {
        self.age(now).is_some_and(|age| age < self.stale_after)
    }

    /// False for a report that repeats the one before or came out of order. A site whose clock was
    /// set back is heard again once its report from the future is stale.
    fn is_news(&self, measured: Option<SystemTime>, now: Duration) -> bool {
        let before = self.latest.as_ref().and_then(|latest| latest.measured);
        match (before, measured) {
            (Some(before), Some(measured)) => {
                measured > before || measured < before && !self.is_live(now)
            }
            _ => true,
        }
    }

    /// A stale report counts as none.
    fn room(&self, now: Duration) -> Room {
        match &self.latest {
            Some(Latest { report, .. }) if self.is_live(now) => {
                // A report without a capacity is not accepted.
                if report.capacity.is_some_and(|most| report.load < most) {
                    Room::Free
                } else {
                    Room::Full
                }
            }
            _ => Room::Unknown,
        }
    }

    /// Returns when it was measured, if it says so.
    fn check(&self, report: &Report) -> Result<Option<SystemTime>, ControlError> {
        let bad = |what: String| {
            Err(ControlError::BadReport(format!("the report of {}: {what}", self.name)))
        };
        let Some(capacity) = report.capacity else {
            return bad("it has no `capacity`, and neither has the configuration".into());
        };
        let amounts = [
            ("capacity", Some(capacity)),
            ("load", Some(report.load)),
            ("rejected", report.rejected),
            ("utilisation", report.utilisation),
        ];
        for (key, value) in amounts.into_iter().filter_map(|(key, value)| Some((key, value?))) {
            if !value.is_finite() || value < 0.0 {
                return bad(format!("`{key}` is {value}, but must be 0 or more"));
            }
        }
        if let Some(rejected) = report.rejected.filter(|rejected| *rejected > report.load) {
            return bad(format!(
                "`rejected` is {rejected}, but `load` only {}: it must be all that is offered, \
                 with what is rejected",
                report.load
            ));
        }
        if let Some(utilisation) = report.utilisation.filter(|taken| *taken > MOST_UTILISATION) {
            return bad(format!(
                "`utilisation` is {utilisation}, but must be a fraction: 1 is all of the resource"
            ));
        }
        if let (Some(unit), Some(wanted)) = (&report.unit, &self.unit)
            && unit != wanted
        {
            return bad(format!("it counts in {unit:?}, but the configuration in {wanted:?}"));
        }
        let Some(time) = &report.time else { return Ok(None) };
        match rfc3339(time) {
            Some(measured) => Ok(Some(measured)),
            None => bad(format!("`time` is {time:?}, but must be like \"2026-11-21T08:00:00Z\"")),
        }
    }
}

/// RFC 3339 with any offset; the parser knows only `Z`.
fn rfc3339(text: &str) -> Option<SystemTime> {
    let zulu = |text: &str| humantime::parse_rfc3339_weak(text).ok();
    let Some((local, offset)) = text.len().checked_sub(6).and_then(|at| text.split_at_checked(at))
    else {
        return zulu(text);
    };
    let (Some(east @ ('+' | '-')), Some((hours, minutes))) =
        (offset.chars().next(), offset.get(1..).and_then(|offset| offset.split_once(':')))
    else {
        return zulu(text);
    };
    let (hours, minutes): (u64, u64) = (hours.parse().ok()?, minutes.parse().ok()?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    let offset = Duration::from_secs(hours * 3600 + minutes * 60);
    let local = zulu(local)?;
    if east == '+' { local.checked_sub(offset) } else { local.checked_add(offset) }
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
        let capacity = Some(capacity);
        Report { capacity, load, rejected: None, utilisation: None, unit: None, time: None }
    }

    #[test]
    fn a_report_of_the_load_alone_goes_with_the_configured_capacity() {
        let now = Duration::ZERO;
        let mut capacity = site(10);
        let load = |load| Report { capacity: None, ..report(0.0, load) };
        capacity.accept("fra", load(99.0), now).unwrap();
        assert_eq!(capacity.room(now), [Room::Free]);
        capacity.accept("fra", load(100.0), now).unwrap();
        assert_eq!(capacity.room(now), [Room::Full]);
        assert_eq!(capacity.statuses(now)[0].report.as_ref().unwrap().capacity, Some(100.0));
        capacity.sites[0].configured = None;
        assert!(capacity.accept("fra", load(1.0), now).is_err());
    }

    #[test]
    fn room_is_a_live_report_under_its_capacity() {
        let now = Duration::ZERO;
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
        let now = Duration::ZERO;
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
        let now = Duration::ZERO;
        let mut capacity = site(10);
        let frozen = Report { time: Some("2026-11-21T08:00:00Z".into()), ..report(100.0, 1.0) };
        for second in 0..12 {
            capacity.accept("fra", frozen.clone(), now + Duration::from_secs(second)).unwrap();
        }
        assert_eq!(capacity.room(now + Duration::from_secs(11)), [Room::Unknown]);
    }

    fn measured(time: &str, load: f64) -> Report {
        Report { time: Some(time.into()), ..report(100.0, load) }
    }

    fn load(capacity: &Capacity, now: Duration) -> f64 {
        capacity.statuses(now)[0].report.as_ref().unwrap().load
    }

    #[test]
    fn a_report_that_comes_out_of_order_is_passed_over() {
        let now = Duration::ZERO;
        let mut capacity = site(10);
        for (time, sent) in [
            ("2026-11-21T08:00:05Z", 5.0),
            ("2026-11-21T08:00:04Z", 4.0),
            // The same moments, said elsewhere.
            ("2026-11-21T09:00:03+01:00", 3.0),
            ("2026-11-21T02:30:05-05:30", 2.0),
        ] {
            capacity.accept("fra", measured(time, sent), now).unwrap();
            assert_eq!(load(&capacity, now), 5.0);
        }
        capacity.accept("fra", measured("2026-11-21T09:00:06+01:00", 6.0), now).unwrap();
        assert_eq!(load(&capacity, now), 6.0);
        capacity.accept("fra", report(100.0, 7.0), now).unwrap();
        assert_eq!(load(&capacity, now), 7.0, "without a time, the order of arrival counts");
    }

    #[test]
    fn a_site_whose_clock_was_set_back_is_heard_again_once_its_last_report_is_stale() {
        let now = Duration::ZERO;
        let later = |seconds| now + Duration::from_secs(seconds);
        let mut capacity = site(10);
        capacity.accept("fra", measured("2030-01-01T00:00:00Z", 1.0), now).unwrap();
        capacity.accept("fra", measured("2026-11-21T08:00:09Z", 2.0), later(9)).unwrap();
        assert_eq!(load(&capacity, later(9)), 1.0);
        capacity.accept("fra", measured("2026-11-21T08:00:10Z", 3.0), later(10)).unwrap();
        assert_eq!((load(&capacity, later(10)), capacity.room(later(10))), (3.0, vec![Room::Free]));
    }

    #[test]
    fn times_are_read_as_rfc_3339_has_them() {
        for (text, seconds) in [
            ("1970-01-01T00:00:10Z", Some(10)),
            ("1970-01-01T00:00:10.000Z", Some(10)),
            ("1970-01-01T01:00:10+01:00", Some(10)),
            ("1969-12-31T23:00:10-01:00", None),
            ("1970-01-01T00:00:10+25:00", None),
            ("1970-01-01T00:00:10+1:00", None),
            ("1970-01-01T00:00:10+00:0é", None),
            ("+01:00", None),
            ("é", None),
            ("", None),
        ] {
            let wanted = seconds.map(|n| SystemTime::UNIX_EPOCH + Duration::from_secs(n));
            assert_eq!(rfc3339(text), wanted, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_true_is_refused_and_changes_nothing() {
        let now = Duration::ZERO;
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
            Report { rejected: Some(-1.0), ..report(100.0, 1.0) },
            Report { rejected: Some(2.0), ..report(100.0, 1.0) },
            Report { utilisation: Some(f64::NAN), ..report(100.0, 1.0) },
            Report { utilisation: Some(80.0), ..report(100.0, 1.0) },
        ] {
            assert!(capacity.accept("fra", bad.clone(), now).is_err(), "{bad:?}");
        }
        let error = capacity.accept("far", report(1.0, 1.0), now).unwrap_err().to_string();
        assert_eq!(error, "there is no datacenter far; there are: fra");
        assert_eq!(capacity.room(now), [Room::Free]);
    }
}
