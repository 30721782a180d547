//! Everything at once: what the page polls and `portolan status` prints.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Picture;
use super::datacenters::DatacenterView;
use super::names::NamesView;
use super::pools::PoolView;
use super::services::ServiceView;
use super::zones::ZoneView;
use crate::admin::{VERSION, Window};
use crate::answer::counters::{Event, Totals, Verdict};
use crate::control::status::unix_seconds;
use crate::control::{Control, LoadStatus, NotifyState, NotifyStatus, NotifyTotals, Override};
use crate::health::ProbeStatus;
use crate::transport::{Tally, TransferTotals};

/// Everything at once. What this server does not do is absent or empty.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// The program's.
    pub version: &'static str,
    /// When the program was started: seconds since 1970 (UTC).
    pub started: u64,
    /// For how long it has run.
    pub uptime_seconds: f64,
    /// What a call that changes something needs: `token` or `loopback`.
    pub changes_need: &'static str,
    /// Of the facts that answers come from.
    pub generation: Option<u64>,
    /// The state of the files.
    pub load: Option<LoadStatus>,
    /// The zones, or the first hundred of them: `GET zones` tells of all.
    pub zones: Vec<ZoneView>,
    /// How many there are.
    pub zones_total: usize,
    /// The datacenters.
    pub datacenters: Vec<DatacenterView>,
    /// The pools.
    pub pools: Vec<PoolView>,
    /// The probes of pool members, and of backends.
    pub probes: Vec<ProbeStatus>,
    /// The names that stand for addresses.
    pub names: NamesView,
    /// The overrides in force.
    pub overrides: Vec<Override>,
    /// The L4 services.
    pub l4: Vec<ServiceView>,
    /// Lines of their access log that were lost: the disk was too slow, or full.
    pub l4_log_lines_lost: u64,
    /// The DNS messages received.
    pub dns: Option<DnsView>,
    /// The zones that other servers take.
    pub transfers: Option<TransfersView>,
}

/// The zones that other servers took since the start, and what these were told of changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TransfersView {
    /// What became of the transfers.
    pub out: TransferTotals,
    /// How often servers were told of changes.
    pub notified: NotifyTotals,
    /// What each was last told of each zone, those who do not know first; the first hundred.
    pub notify: Vec<NotifyStatus>,
}

/// The DNS messages received since the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DnsView {
    /// All of them.
    pub received: u64,
    /// Over which transport they came.
    pub received_by: BTreeMap<&'static str, u64>,
    /// How each ended; the sum is `received`.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// What else was counted.
    pub events: BTreeMap<&'static str, u64>,
}

impl Status {
    /// As things stand now.
    pub fn of(window: &Window) -> Status {
        let state = &window.state;
        let (started, since) = state.started;
        let uptime = since.elapsed();
        let picture = state.control.as_ref().map(Picture::of);
        let (zones, zones_total) = picture.as_ref().map(Picture::first_zones).unwrap_or_default();
        let (datacenters, pools) = match &picture {
            Some(picture) => (picture.datacenters(), picture.pools()),
            None => Default::default(),
        };
        let names = picture.as_ref().map(Picture::first_names).unwrap_or_default();
        let generation = picture.as_ref().map(|picture| picture.snapshot.generation);
        let (mut probes, overrides) =
            picture.map(|picture| (picture.probes, picture.overrides)).unwrap_or_default();
        probes.extend(state.l4.iter().flat_map(|l4| l4.probe_statuses()));
        let load = state.l4.as_ref().map(|l4| l4.load()).unwrap_or_default();
        let l4_log_lines_lost = state.l4.as_ref().map(|l4| l4.log_lines_lost());
        let l4 = ServiceView::all(load, &overrides);
        Status {
            version: VERSION,
            started: unix_seconds(started),
            uptime_seconds: uptime.as_secs_f64(),
            changes_need: window.guard.asks_for(),
            generation,
            load: state.control.as_ref().map(|control| control.load_status()),
            zones,
            zones_total,
            datacenters,
            pools,
            probes,
            names,
            overrides,
            l4,
            l4_log_lines_lost: l4_log_lines_lost.unwrap_or_default(),
            dns: state.dns.as_ref().map(|totals| DnsView::of(&totals.totals())),
            transfers: state
                .dns
                .as_ref()
                .zip(state.control.as_ref())
                .map(|(tally, control)| TransfersView::of(tally, control)),
        }
    }
}

impl TransfersView {
    /// So many servers are listed.
    const LISTED: usize = 100;

    fn of(tally: &Tally, control: &Control) -> TransfersView {
        let mut notify = control.notify_statuses();
        notify.sort_by_key(|one| one.state == NotifyState::Acknowledged);
        notify.truncate(TransfersView::LISTED);
        TransfersView { out: tally.transfers(), notified: control.notify_totals(), notify }
    }
}

impl DnsView {
    fn of(totals: &Totals) -> DnsView {
        let (udp, tcp) = (totals.event(Event::ReceivedUdp), totals.event(Event::ReceivedTcp));
        let events = Event::ALL.into_iter();
        let events = events.filter(|e| !matches!(e, Event::ReceivedUdp | Event::ReceivedTcp));
        let outcomes = Verdict::ALL.into_iter();
        DnsView {
            received: totals.received(),
            received_by: BTreeMap::from([("udp", udp), ("tcp", tcp)]),
            outcomes: outcomes.map(|v| (v.label(), totals.verdict(v))).collect(),
            events: events.map(|event| (event.label(), totals.event(event))).collect(),
        }
    }
}
