//! The status in words.

use super::overrides::{moment, terms};
use super::plan::percent;
use super::{columns, count, word};
use crate::admin::view::datacenters::DatacenterView;
use crate::admin::view::names::NamesView;
use crate::admin::view::pools::{MemberView, PoolView, TargetState};
use crate::admin::view::services::ServiceView;
use crate::admin::view::status::{Status, TransfersView};
use crate::admin::view::zones::ZoneView;
use crate::control::{LoadStatus, NameStatus, Override, SecondaryStatus};
use crate::health::{ProbeStatus, Verdict};
use crate::l4::capacity::Unit;
use crate::transport::TransferTotals;

/// So many probes are named.
const MOST_PROBES: usize = 50;

/// Everything at once.
pub fn status(status: &Status) -> String {
    let Status { version, uptime_seconds, zones, datacenters, pools, overrides, .. } = status;
    let mut text = format!("portolan {version}, up {}\n", span(*uptime_seconds));
    if let Some(load) = &status.load {
        text += &load_text(load);
    }
    if let Some(dns) = &status.dns {
        text += &format!("{}\n", count(dns.received as usize, "DNS message"));
    }
    let rows = zones.iter().map(zone_row).collect();
    text += &section("ZONES", &["ZONE", "ROLE", "STATE", "SERIAL", "NAMES", "STEERED"], rows);
    if status.zones_total > zones.len() {
        text += &format!("  and {} more: GET /api/v1/zones\n", status.zones_total - zones.len());
    }
    let rows = datacenters.iter().map(datacenter_row).collect();
    text += &section("DATACENTERS", &["NAME", "STATE", "LOAD", "REPORT", "OVERRIDE"], rows);
    for pool in pools {
        text += &pool_text(pool);
    }
    text += &names_text(&status.names);
    text += &status.transfers.as_ref().map(transfers_text).unwrap_or_default();
    for service in &status.l4 {
        text += &service_text(service);
    }
    text += &probes_text(&status.probes);
    let row = |over: &Override| vec![over.target.to_string(), terms(over)];
    text + &section("OVERRIDES", &[], overrides.iter().map(row).collect())
}

fn load_text(load: &LoadStatus) -> String {
    let at = moment(load.loaded_at);
    let mut text = format!("generation {}, files read {at}\n", load.generation);
    for warning in &load.warnings {
        text += &format!("warning: {warning}\n");
    }
    if let Some(error) = &load.last_error {
        text += "the files have a problem; what was read before is served on:\n";
        for line in error.lines() {
            text += &format!("  {line}\n");
        }
    }
    text
}

/// A heading and a table; nothing at all without rows.
fn section(heading: &str, heads: &[&str], mut rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    if !heads.is_empty() {
        rows.insert(0, heads.iter().map(ToString::to_string).collect());
    }
    format!("\n{heading}\n{}", columns(2, &rows))
}

fn zone_row(zone: &ZoneView) -> Vec<String> {
    let ZoneView { origin, role, state, serial, names, steered, secondary, .. } = zone;
    let serial = serial.map(|serial| serial.to_string()).unwrap_or_default();
    let (names, steered) = (names.to_string(), steered.to_string());
    let from = secondary.as_ref().map(secondary_text).unwrap_or_default();
    vec![origin.clone(), word(role), word(state), serial, names, steered, from]
}

/// `from 203.0.113.5:53, confirmed 2026-11-21T08:00:00Z, asked again …, expires …`
fn secondary_text(secondary: &SecondaryStatus) -> String {
    let SecondaryStatus { primaries, primary, refreshed, next, expires, last_error, .. } =
        secondary;
    let from = primary.or(primaries.first().copied()).map(|address| format!("from {address}"));
    let mut parts: Vec<String> = from.into_iter().collect();
    for (what, at) in [("confirmed", refreshed), ("asked again", next), ("expires", expires)] {
        parts.extend(at.map(|at| format!("{what} {}", moment(at))));
    }
    parts.extend(last_error.as_ref().map(|error| format!("trouble: {error}")));
    parts.join(", ")
}

fn datacenter_row(datacenter: &DatacenterView) -> Vec<String> {
    let unit = datacenter.unit.as_deref().unwrap_or_default();
    let mut load = match (datacenter.load, datacenter.capacity) {
        (Some(load), Some(capacity)) => format!("{load:.0} of {capacity:.0} {unit}"),
        (Some(load), None) => format!("{load:.0} {unit}"),
        (None, Some(capacity)) => format!("unknown, of {capacity:.0} {unit}"),
        (None, None) => "unknown".into(),
    };
    if let Some(rejected) = datacenter.rejected.filter(|rejected| *rejected > 0.0) {
        load = format!("{}, {rejected:.0} of it rejected", load.trim_end());
    }
    if let Some(utilisation) = datacenter.utilisation {
        load = format!("{}, {} busy", load.trim_end(), percent(utilisation));
    }
    let report = match &datacenter.report {
        None => "none expected".into(),
        Some(report) => {
            let age = report.age_seconds.map(|age| format!("{} old", span(age)));
            let mut text = age.unwrap_or_else(|| "none yet".into());
            if report.stale {
                text += ", stale";
            }
            if let Some(error) = &report.error {
                text += &format!(" ({error})");
            }
            text
        }
    };
    let over = datacenter.over.as_ref().map(terms).unwrap_or_default();
    vec![datacenter.name.clone(), word(&datacenter.state), load.trim_end().into(), report, over]
}

fn pool_text(pool: &PoolView) -> String {
    let heading = format!(
        "POOL {} of {}: {}, {} of {} may be answered{}",
        pool.name,
        pool.zone,
        if pool.up { "up" } else { "DOWN" },
        pool.fit,
        count(pool.members.len(), "member"),
        pool.over.as_ref().map(|over| format!("; {}", terms(over))).unwrap_or_default(),
    );
    section(&heading, &[], pool.members.iter().map(member_row).collect())
}

/// What other servers took, and what they were told; nothing if no zone is there to be taken.
fn transfers_text(transfers: &TransfersView) -> String {
    let TransfersView { out, notify, .. } = transfers;
    let begun = out.started_full + out.started_incremental;
    if begun == 0 && out.busy == 0 && notify.is_empty() {
        return String::new();
    }
    let TransferTotals { completed, aborted, busy, running, .. } = out;
    let heading = format!(
        "\nTRANSFERS to others: {completed} sent, {aborted} broken off, {busy} not begun, {running} on \
         their way\n"
    );
    let rows: Vec<Vec<String>> = notify
        .iter()
        .map(|one| {
            let (serial, since) = (one.serial.to_string(), moment(one.since));
            let error = one.error.clone().unwrap_or_default();
            vec![one.origin.clone(), one.target.to_string(), word(&one.state), serial, since, error]
        })
        .collect();
    heading + &columns(2, &rows)
}

fn names_text(names: &NamesView) -> String {
    let row = |name: &NameStatus| {
        let addresses = match name.addresses.is_empty() {
            true => "no addresses".into(),
            false => name.addresses.join(", "),
        };
        let at = name.resolved_at.map(|at| format!("resolved {}", moment(at)));
        let error = name.last_error.clone().unwrap_or_default();
        vec![name.name.clone(), word(&name.state), addresses, at.unwrap_or_default(), error]
    };
    let mut text = section("NAMES OF MEMBERS", &[], names.first.iter().map(row).collect());
    let more = names.total() - names.first.len();
    if more > 0 {
        text += &format!("  and {more} more: GET /api/v1/names\n");
    }
    text
}

/// The probes whose verdict is not good, and why.
fn probes_text(probes: &[ProbeStatus]) -> String {
    let not_up = || probes.iter().filter(|probe| probe.state != Verdict::Up);
    let row = |probe: &ProbeStatus| {
        let found = probe.last_result.clone().unwrap_or_default();
        vec![probe.name.clone(), probe.kind.to_owned(), word(&probe.state), found]
    };
    let rows = not_up().take(MOST_PROBES).map(row).collect();
    let mut text = section("PROBES THAT ARE NOT UP", &[], rows);
    let more = not_up().count().saturating_sub(MOST_PROBES);
    if more > 0 {
        text += &format!("  and {more} more: GET /api/v1/status\n");
    }
    text
}

fn member_row(member: &MemberView) -> Vec<String> {
    let targets = member.targets.iter().map(|target| match target.state {
        TargetState::Unwatched => target.address.clone(),
        state => format!("{} {}", target.address, word(&state)),
    });
    let targets = targets.collect::<Vec<_>>().join(", ");
    let reason = member.reason.clone().unwrap_or_default();
    vec![member.datacenter.clone(), word(&member.state), targets, reason]
}

fn service_text(service: &ServiceView) -> String {
    let capacity = match (service.capacity, service.capacity_unit) {
        (Some(most), Some(Unit::Connections)) => format!(" of {most}"),
        _ => String::new(),
    };
    let rate = match (service.capacity, service.capacity_unit) {
        (Some(most), Some(Unit::ConnectionsPerSecond)) => {
            format!(", {:.1} of {most} new a second", service.connections_per_second)
        }
        _ => String::new(),
    };
    let short = if service.is_short { ", fewer healthy backends than it needs" } else { "" };
    let ServiceView { name, listen, connections, .. } = service;
    let listen: Vec<String> = listen.iter().map(ToString::to_string).collect();
    let on = if listen.is_empty() { String::new() } else { format!(" on {}", listen.join(", ")) };
    let ServiceView { waiting, refused_total, denied_total, limited_total, .. } = service;
    let dropped_total = &service.dropped_total;
    let kept = [
        ("of them in processes before this one", &service.connections_before),
        ("waiting", waiting),
        ("refused", refused_total),
        ("denied", denied_total),
        ("too fast", limited_total),
        ("datagrams dropped", dropped_total),
    ];
    let kept = kept.iter().filter(|(_, count)| **count > 0);
    let kept: String = kept.map(|(what, count)| format!(", {count} {what}")).collect();
    let heading = format!("L4 {name}{on}: {connections}{capacity} connections{rate}{kept}{short}");
    let rows = service.backends.iter().map(|backend| {
        let connections = count(backend.status.connections as usize, "connection");
        let weight = match backend.status.weight_percent {
            100 => format!("weight {}", backend.status.weight),
            percent => format!("weight {} at {percent} %", backend.status.weight),
        };
        let rank = if backend.status.backup { ", backup" } else { "" };
        let over = backend.over.iter().chain(&backend.changes).map(terms);
        let over = over.collect::<Vec<_>>().join("; ");
        let address = backend.status.address.to_string();
        vec![address, word(&backend.state), connections, weight + rank, over]
    });
    section(&heading, &[], rows.collect())
}

/// `3.2 s`, `45 s`, `12 min`, `5 h`, `9 d`.
pub fn span(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 10.0 => format!("{seconds:.1} s"),
        seconds if seconds < 120.0 => format!("{seconds:.0} s"),
        seconds if seconds < 7_200.0 => format!("{:.0} min", (seconds / 60.0).floor()),
        seconds if seconds < 172_800.0 => format!("{:.0} h", (seconds / 3_600.0).floor()),
        seconds => format!("{:.0} d", (seconds / 86_400.0).floor()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_in_the_unit_that_fits() {
        let spans = [0.04, 9.9, 10.0, 119.0, 120.0, 7_199.0, 7_200.0, 172_800.0].map(span);
        assert_eq!(spans, ["0.0 s", "9.9 s", "10 s", "119 s", "2 min", "119 min", "2 h", "2 d"]);
    }
}
