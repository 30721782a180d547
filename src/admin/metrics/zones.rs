//! Metrics of zones, of their way between servers, and of the names behind their members.

use std::fmt;

use super::{Families, bit};
use crate::admin::view::names::NamesView;
use crate::admin::view::status::TransfersView;
use crate::admin::view::zones::{ZoneState, ZoneView};
use crate::control::SecondaryStatus;

/// The zones, and how they are taken from their primaries.
pub(super) fn encode(families: &mut Families, zones: &[ZoneView]) -> fmt::Result {
    let named = zones.iter().map(|zone| ([("zone", zone.origin.clone())], zone));
    let serials = named.clone().filter_map(|(labels, zone)| Some((labels, zone.serial? as f64)));
    families.gauges("zone_serial", "Of the SOA record; absent without data.", serials)?;
    let served = named.clone().map(|(labels, zone)| (labels, bit(zone.state == ZoneState::Served)));
    families.gauges("zone_served", "Whether the zone has data to answer from.", served)?;
    let taken = named.filter_map(|(labels, zone)| Some((labels, zone.secondary.as_ref()?)));
    let at = taken.clone().filter_map(|(labels, one)| Some((labels, one.refreshed? as f64)));
    let help = "When a primary last confirmed the zone.";
    families.gauges("zone_refreshed_timestamp_seconds", help, at)?;
    let at = taken.clone().filter_map(|(labels, one)| Some((labels, one.expires? as f64)));
    let help = "When the zone is given up if no primary answers.";
    families.gauges("zone_expires_timestamp_seconds", help, at)?;
    let fails = taken.clone().map(|(labels, one)| (labels, bit(one.last_error.is_some())));
    families.gauges("zone_refresh_fails", "Whether no primary could be used last time.", fails)?;
    if taken.clone().next().is_none() {
        return Ok(());
    }
    let sum = |of: fn(&SecondaryStatus) -> u64| taken.clone().map(|(_, one)| of(one)).sum();
    let result = |result: &str| [("result", result.to_owned())];
    let transfers = [
        (result("good"), sum(|one| one.transfers_total)),
        (result("failed"), sum(|one| one.failures_total)),
    ];
    families.counters(
        "zone_refreshes",
        "Newer versions taken, and looks for one that failed.",
        transfers,
    )
}

/// What other servers took, and what they were told.
pub(super) fn encode_transfers(families: &mut Families, transfers: &TransfersView) -> fmt::Result {
    let TransfersView { out, notified, .. } = transfers;
    let kinds = [("full", out.started_full), ("incremental", out.started_incremental)];
    let kinds = kinds.map(|(kind, count)| ([("kind", kind.to_string())], count));
    families.counters("transfers_started", "Zones begun to be sent to other servers.", kinds)?;
    let ends = [("completed", out.completed), ("aborted", out.aborted), ("busy", out.busy)];
    let ends = ends.map(|(result, count)| ([("result", result.to_string())], count));
    families.counters("transfers_ended", "Zones sent, broken off, or not begun.", ends)?;
    let running = [([], out.running as f64)];
    families.gauges::<0>("transfers_running", "Zones that are being sent.", running)?;
    let help = "Messages of zones that were sent.";
    families.counters::<0>("transfers_messages", help, [([], out.messages)])?;
    let help = "Bytes of zones that were sent.";
    families.counters::<0>("transfers_bytes", help, [([], out.bytes)])?;
    let notifies = [
        ("sent", notified.sent),
        ("acknowledged", notified.acknowledged),
        ("failed", notified.failed),
    ];
    let notifies = notifies.map(|(result, count)| ([("result", result.to_string())], count));
    let help = "Messages sent to tell other servers of a zone's version, and how that ended.";
    families.counters("transfers_notifies", help, notifies)
}

/// The names that stand for addresses.
pub(super) fn encode_names(families: &mut Families, names: &NamesView) -> fmt::Result {
    let NamesView { fresh, stale, empty, unknown, .. } = names;
    let states = [("fresh", fresh), ("stale", stale), ("empty", empty), ("unknown", unknown)];
    let states = states.map(|(state, count)| ([("state", state.to_owned())], *count as f64));
    families.gauges("resolved_names", "Members' names, by what is known of them.", states)?;
    let result = |result: &str| [("result", result.to_owned())];
    let good = names.questions_total - names.failures_total.min(names.questions_total);
    let questions = [(result("good"), good), (result("failed"), names.failures_total)];
    families.counters("resolutions", "Questions to resolvers, by how they ended.", questions)
}
