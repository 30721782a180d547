//! `/metrics`: the counters and states in the format that Prometheus reads, gathered at each
//! scrape.

mod zones;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use axum::extract::State as From;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::Window;
use super::api::apart;
use super::view::Picture;
use super::view::plan::{PlanState, PlanView};
use super::view::status::{DnsView, Status};
use super::view::zones::ZoneView;
use crate::control::LoadStatus;
use crate::decide::Room;
use crate::health::Verdict;
use crate::l4::BackendStatus;
use crate::l4::capacity::Unit;
use crate::l4::histogram::Durations;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The older format.
const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

/// With more backends than this, durations are told of services: those of backends would be nearly
/// all that is told.
const MOST_APART: usize = 1_000;

/// `GET /metrics`
pub async fn scrape(From(window): From<Arc<Window>>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let is_open = accept.is_some_and(|accept| accept.contains("application/openmetrics-text"));
    apart(move || told(&window, is_open)).await
}

fn told(window: &Window, is_open: bool) -> Response {
    let kind = if is_open { OPEN_METRICS } else { PLAIN };
    let picture = window.state.control.as_ref().map(Picture::of);
    let plan = picture.as_ref().map(|picture| picture.plan(false));
    let zones = picture.as_ref().map(Picture::zones).unwrap_or_default();
    match exposition(Status::of(window), plan, zones)
        .map(|text| if is_open { text } else { plain(&text) })
    {
        Ok(text) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// The whole text, in the newer format.
fn exposition(
    status: Status,
    plan: Option<PlanView>,
    zones: Vec<ZoneView>,
) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("portolan");
    registry.register_collector(Box::new(Scrape(status, plan, zones)));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

/// The same in the older format: a counter's family has the name of its samples.
fn plain(open: &str) -> String {
    let counters = open.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let counters: HashSet<&str> =
        counters.filter_map(|family| family.strip_suffix(" counter")).collect();
    let mut text = String::with_capacity(open.len());
    for line in open.lines().filter(|line| *line != "# EOF") {
        let told = line.split_once(' ').filter(|(mark, _)| *mark == "#");
        let family = told.and_then(|(_, told)| told.split(' ').nth(1));
        match family.filter(|family| counters.contains(family)) {
            Some(family) => text += &line.replacen(family, &format!("{family}_total"), 1),
            None => text += line,
        }
        text.push('\n');
    }
    text
}

#[derive(Debug)]
struct Scrape(Status, Option<PlanView>, Vec<ZoneView>);

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut families = Families(encoder);
        let Scrape(status, plan, zones) = self;
        let version = [("version", status.version.to_owned())];
        families.gauges("build_info", "Always 1; the version is a label.", [(version, 1.0)])?;
        let started = [([], status.started as f64)];
        families.gauges::<0>("start_time_seconds", "When the program was started.", started)?;
        if let Some(dns) = &status.dns {
            encode_dns(&mut families, dns)?;
        }
        if let Some(transfers) = &status.transfers {
            zones::encode_transfers(&mut families, transfers)?;
        }
        if let (Some(generation), Some(load)) = (status.generation, &status.load) {
            encode_load(&mut families, generation, load)?;
        }
        zones::encode(&mut families, zones)?;
        encode_probes(&mut families, status)?;
        if status.names.total() > 0 {
            zones::encode_names(&mut families, &status.names)?;
        }
        encode_pools(&mut families, status)?;
        encode_datacenters(&mut families, status)?;
        if let Some(plan) = plan.as_ref().filter(|plan| !plan.pools.is_empty()) {
            encode_plan(&mut families, plan)?;
        }
        encode_services(&mut families, status)
    }
}

fn encode_dns(families: &mut Families, dns: &DnsView) -> fmt::Result {
    let help = "DNS messages received, by how each ended.";
    let outcomes = dns.outcomes.iter();
    let outcomes = outcomes.map(|(outcome, count)| ([("outcome", outcome.to_string())], *count));
    families.counters("dns_messages", help, outcomes)?;
    let help = "DNS messages received, by transport.";
    let by_transport = dns.received_by.iter();
    let by_transport =
        by_transport.map(|(name, count)| ([("transport", name.to_string())], *count));
    families.counters("dns_received", help, by_transport)?;
    let help = "What else was seen of DNS messages and connections.";
    let events = dns.events.iter();
    let events = events.map(|(event, count)| ([("event", event.to_string())], *count));
    families.counters("dns_events", help, events)
}

fn encode_load(families: &mut Families, generation: u64, load: &LoadStatus) -> fmt::Result {
    let help = "Rises by one with every change of what is answered from.";
    families.gauges::<0>("snapshot_generation", help, [([], generation as f64)])?;
    let result = |result: &str| [("result", result.to_owned())];
    let loads = [(result("good"), load.loads_total), (result("refused"), load.failures_total)];
    families.counters("config_loads", "How often the files were read.", loads)?;
    let help = "When the files were last read without an error.";
    families.gauges::<0>("config_loaded_timestamp_seconds", help, [([], load.loaded_at as f64)])?;
    let help = "Whether the files are good as they are now.";
    families.gauges::<0>("config_good", help, [([], bit(load.last_error.is_none()))])?;
    let warnings = [([], load.warnings.len() as f64)];
    families.gauges::<0>("config_warnings", "What is doubtful in the files.", warnings)
}

fn encode_probes(families: &mut Families, status: &Status) -> fmt::Result {
    let probes = || status.probes.iter().map(|probe| ([("probe", probe.name.clone())], probe));
    let known = probes().filter(|(_, probe)| probe.state != Verdict::Unknown);
    let up = known.map(|(labels, probe)| (labels, bit(probe.state == Verdict::Up)));
    families.gauges("probe_up", "The probe's verdict; absent before its first result.", up)?;
    let checks = probes().map(|(labels, probe)| (labels, probe.checks_total));
    families.counters("probe_checks", "Probes that ended.", checks)?;
    let failures = probes().map(|(labels, probe)| (labels, probe.failures_total));
    families.counters("probe_failures", "Probes that ended badly.", failures)?;
    let traffic = probes().map(|(labels, probe)| (labels, probe.traffic_failures_total));
    let help = "How often connections to what is probed were seen to fail.";
    families.counters("probe_traffic_failures", help, traffic)?;
    let ends = probes()
        .filter_map(|(labels, probe)| probe.certificate_ends.map(|end| (labels, end as f64)));
    let help = "When the certificate ends that was last shown, in seconds since 1970.";
    families.gauges("probe_certificate_end_time_seconds", help, ends)?;
    let durations = probes()
        .filter_map(|(labels, probe)| probe.last_duration_ms.map(|took| (labels, took / 1e3)));
    families.gauges("probe_duration_seconds", "How long the latest good probe took.", durations)
}

fn encode_pools(families: &mut Families, status: &Status) -> fmt::Result {
    let pools = status.pools.iter();
    let pools =
        pools.map(|pool| ([("zone", pool.zone.clone()), ("pool", pool.name.clone())], pool));
    let up = pools.clone().map(|(labels, pool)| (labels, bit(pool.up)));
    families.gauges("pool_up", "Whether enough members may be answered.", up)?;
    let fit = pools.clone().map(|(labels, pool)| (labels, pool.fit as f64));
    families.gauges("pool_members_fit", "How many members may be answered.", fit)?;
    let all = pools.clone().map(|(labels, pool)| (labels, pool.members.len() as f64));
    families.gauges("pool_members", "How many members the pool has.", all)?;
    let members = pools.flat_map(|([zone, name], pool)| {
        pool.members.iter().map(move |member| {
            let datacenter = ("datacenter", member.datacenter.clone());
            ([zone.clone(), name.clone(), datacenter], bit(member.state.is_fit()))
        })
    });
    families.gauges("member_up", "Whether the member may be answered.", members)?;
    let mut actions: Vec<(String, f64)> = Vec::new();
    for over in &status.overrides {
        let action = super::text::word(&over.action.parts().0);
        match actions.iter_mut().find(|(known, _)| *known == action) {
            Some((_, count)) => *count += 1.0,
            None => actions.push((action, 1.0)),
        }
    }
    let actions = actions.into_iter().map(|(action, count)| ([("action", action)], count));
    families.gauges("overrides", "The operator's overrides in force.", actions)
}

fn encode_datacenters(families: &mut Families, status: &Status) -> fmt::Result {
    let datacenters = status.datacenters.iter();
    let named = datacenters.map(|dc| ([("datacenter", dc.name.clone())], dc));
    let measured = named.clone().map(|([name], dc)| {
        ([name, ("unit", dc.unit.clone().unwrap_or_default())], (dc.capacity, dc.load))
    });
    let capacity = measured.clone().filter_map(|(labels, (capacity, _))| Some((labels, capacity?)));
    families.gauges("datacenter_capacity", "The most the datacenter can take.", capacity)?;
    let load = measured.filter_map(|(labels, (_, load))| Some((labels, load?)));
    families.gauges("datacenter_load", "What it is offered, by a live report.", load)?;
    let reports =
        named.clone().filter_map(|(labels, dc)| dc.report.as_ref().map(|report| (labels, report)));
    let ages = reports.clone().filter_map(|(labels, report)| Some((labels, report.age_seconds?)));
    families.gauges("datacenter_report_age_seconds", "Since the latest report came.", ages)?;
    let stale = reports.map(|(labels, report)| (labels, bit(report.stale)));
    families.gauges("datacenter_report_stale", "Whether the report is too old to count.", stale)?;
    let room = named.filter(|(_, dc)| dc.room != Room::Unknown);
    let room = room.map(|(labels, dc)| (labels, bit(dc.room == Room::Free)));
    families.gauges("datacenter_has_room", "Absent without a live report.", room)
}

fn encode_plan(families: &mut Families, plan: &PlanView) -> fmt::Result {
    let datacenters = plan.datacenters.iter();
    let named = datacenters.map(|one| ([("datacenter", one.name.clone())], one));
    let capacity = named.clone().filter_map(|(labels, one)| Some((labels, one.capacity?)));
    families.gauges("allocation_capacity", "What is planned with, in units of load.", capacity)?;
    let load = named.clone().map(|(labels, one)| (labels, one.planned_load));
    families.gauges("allocation_planned_load", "What the plan gives it.", load)?;
    let load = named.clone().map(|(labels, one)| (labels, one.predicted_load));
    let help = "What it should be offered now, by the answers that clients hold.";
    families.gauges("allocation_predicted_load", help, load)?;
    let wall = named.clone().map(|(labels, one)| (labels, one.wall));
    let help = "The part of its capacity up to which nothing is the matter.";
    families.gauges("allocation_wall_ratio", help, wall)?;
    let price = named.clone().map(|(labels, one)| (labels, one.price_ms / 1e3));
    let help = "What one more unit of load there costs, as a latency.";
    families.gauges("allocation_price_seconds", help, price)?;
    let lost = named.filter_map(|(labels, one)| Some((labels, one.loss.as_ref()?.overflow)));
    let help = "What nobody could take if it were lost, in units of load.";
    families.gauges("allocation_overflow_if_lost", help, lost)?;

    let pools = plan.pools.iter();
    let pools = pools.map(|one| ([("zone", one.zone.clone()), ("pool", one.pool.clone())], one));
    let demand = pools.clone().map(|(labels, one)| (labels, one.demand));
    families.gauges("allocation_demand", "What the pool's clients ask for.", demand)?;
    let split = pools.map(|(labels, one)| (labels, one.groups_split as f64));
    let help = "The pool's client groups that are divided between datacenters.";
    families.gauges("allocation_split_groups", help, split)?;

    let states = PlanState::ALL
        .map(|state| ([("state", super::text::word(&state))], bit(state == plan.state)));
    families.gauges("allocation_state", "1 for how the allocation stands.", states)?;
    let age = plan.age_seconds.map(|age| ([], age));
    families.gauges::<0>("allocation_age_seconds", "Since the plan was worked out.", age)?;
    let work = &plan.work;
    let solves = [([], work.solves_total)];
    families.counters::<0>("allocation_solves", "How often a plan was worked out.", solves)?;
    let took = [([], work.last_solve_seconds)];
    let help = "How long working out the latest plan took.";
    families.gauges::<0>("allocation_solve_seconds", help, took)?;
    let refused = [([], work.refused_total)];
    let help = "Plans that are not served, as they did not pass the checks.";
    families.counters::<0>("allocation_refused_plans", help, refused)?;
    let answers = [([], work.answers_total)];
    let help = "Answers by which demand was estimated.";
    families.counters::<0>("allocation_records", help, answers)?;
    let missed = [([], work.answers_missed_total)];
    let help = "Answers that went by uncounted.";
    families.counters::<0>("allocation_records_missed", help, missed)?;
    let promoted = [([], work.promoted.len() as f64)];
    let help = "Prefixes that are client groups of their own.";
    families.gauges::<0>("allocation_promoted_prefixes", help, promoted)
}

fn encode_services(families: &mut Families, status: &Status) -> fmt::Result {
    let services = status.l4.iter().map(|service| ([("service", service.name.clone())], service));
    let accepted = services.clone().map(|(labels, service)| (labels, service.accepted_total));
    families.counters("l4_accepted_connections", "Connections from clients.", accepted)?;
    let waiting = services.clone().map(|(labels, service)| (labels, service.waiting as f64));
    let help = "Connections that wait for a place on a backend.";
    families.gauges("l4_waiting_connections", help, waiting)?;
    let refused = services.clone().map(|(labels, service)| (labels, service.refused_total));
    families.counters("l4_refused_connections", "Connections that no backend took.", refused)?;
    let denied = services.clone().map(|(labels, service)| (labels, service.denied_total));
    let help = "Connections that the access lists did not let in.";
    families.counters("l4_denied_connections", help, denied)?;
    let limited = services.clone().map(|(labels, service)| (labels, service.limited_total));
    let help = "Connections that came too fast to be let in.";
    families.counters("l4_limited_connections", help, limited)?;
    let dropped = services.clone().map(|(labels, service)| (labels, service.dropped_total));
    let help = "Datagrams from clients for which a socket had no room.";
    families.counters("l4_dropped_datagrams", help, dropped)?;
    let ended = services.clone().flat_map(|([name], service)| {
        service.ended_total.iter().map(move |(cause, count)| {
            ([name.clone(), ("cause", super::text::word(cause))], *count)
        })
    });
    let help = "Connections, and sessions of datagrams, that ended, by what ended them.";
    families.counters("l4_ended_connections", help, ended)?;
    let capacity = |unit| {
        let services = services.clone().filter(move |(_, one)| one.capacity_unit == Some(unit));
        services.filter_map(|(labels, one)| one.capacity.map(|most| (labels, most as f64)))
    };
    let at_a_time = capacity(Unit::Connections);
    families.gauges("l4_capacity_connections", "Connections a service can take.", at_a_time)?;
    let help = "New connections a second that a service can take.";
    let a_second = capacity(Unit::ConnectionsPerSecond);
    families.gauges("l4_capacity_connections_per_second", help, a_second)?;
    let rate = services.clone().map(|(labels, one)| (labels, one.connections_per_second));
    let help = "Connections a second from clients, over the last ten.";
    families.gauges("l4_connections_per_second", help, rate)?;
    let healthy = services.clone().map(|(labels, one)| (labels, one.healthy_backends as f64));
    families.gauges("l4_healthy_backends", "Backends that take new connections.", healthy)?;

    let backends = services.flat_map(|([service], view)| {
        view.backends.iter().map(move |backend| {
            let address = ("backend", backend.status.address.to_string());
            ([service.clone(), address], backend)
        })
    });
    let up = backends.clone().map(|(labels, backend)| (labels, bit(backend.state.is_fit())));
    families.gauges("l4_backend_up", "Whether it takes new connections.", up)?;
    let backends = backends.map(|(labels, backend)| (labels, &backend.status));
    let now = backends.clone().map(|(labels, backend)| (labels, backend.connections as f64));
    let help = "Connections now, those in processes before this one included.";
    families.gauges("l4_connections", help, now)?;
    let before = backends.clone();
    let before = before.map(|(labels, backend)| (labels, backend.connections_before as f64));
    let help = "Connections that processes before this one still carry.";
    families.gauges("l4_connections_before", help, before)?;
    let total = backends.clone().map(|(labels, backend)| (labels, backend.connections_total));
    families.counters("l4_backend_connections", "Connections established.", total)?;
    let failures =
        backends.clone().map(|(labels, backend)| (labels, backend.connect_failures_total));
    families.counters("l4_connect_failures", "Connection attempts that failed.", failures)?;
    let help = "How long it took to connect.";
    encode_durations(families, status, "l4_connect_seconds", help, |one| &one.connect_durations)?;
    let help = "How long connections lasted, and sessions of datagrams.";
    let name = "l4_connection_duration_seconds";
    encode_durations(families, status, name, help, |one| &one.flow_durations)?;
    if !status.l4.is_empty() {
        let lost = [([], status.l4_log_lines_lost)];
        let help = "Lines of the access log that were lost.";
        families.counters::<0>("l4_access_log_lost_lines", help, lost)?;
    }
    let bytes = backends.flat_map(|([service, address], backend)| {
        [
            ("to_backend", backend.bytes_to_backend_total),
            ("to_client", backend.bytes_to_client_total),
        ]
        .map(|(direction, bytes)| {
            let direction = ("direction", direction.to_owned());
            ([service.clone(), address.clone(), direction], bytes)
        })
    });
    families.counters("l4_bytes", "Bytes carried.", bytes)
}

/// Durations of each backend; where there are very many, of each service.
fn encode_durations(
    families: &mut Families,
    status: &Status,
    name: &str,
    help: &str,
    of: fn(&BackendStatus) -> &Durations,
) -> fmt::Result {
    let services = status.l4.iter();
    if services.clone().map(|service| service.backends.len()).sum::<usize>() > MOST_APART {
        let sums = services.map(|service| {
            let all = service.backends.iter().map(|backend| of(&backend.status));
            ([("service", service.name.clone())], Durations::sum(all))
        });
        let sums: Vec<_> = sums.collect();
        return families.histograms(
            name,
            help,
            sums.iter().map(|(labels, sum)| (labels.clone(), sum)),
        );
    }
    let all = services.flat_map(|service| {
        service.backends.iter().map(|backend| {
            let address = ("backend", backend.status.address.to_string());
            ([("service", service.name.clone()), address], of(&backend.status))
        })
    });
    families.histograms(name, help, all)
}

fn bit(is_so: bool) -> f64 {
    if is_so { 1.0 } else { 0.0 }
}

/// Writes families of samples; one without samples is left out.
struct Families<'a>(DescriptorEncoder<'a>);

impl Families<'_> {
    fn gauges<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([(&'static str, String); N], f64)>,
    ) -> fmt::Result {
        let samples = samples.into_iter().map(|(labels, value)| (labels, ConstGauge::new(value)));
        self.family(name, help, MetricType::Gauge, samples)
    }

    fn counters<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([(&'static str, String); N], u64)>,
    ) -> fmt::Result {
        let samples = samples.into_iter().map(|(labels, value)| (labels, ConstCounter::new(value)));
        self.family(name, help, MetricType::Counter, samples)
    }

    fn histograms<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([(&'static str, String); N], &'a Durations)>,
    ) -> fmt::Result {
        let samples = samples.into_iter().map(|(labels, value)| (labels, Spread(value)));
        self.family(name, help, MetricType::Histogram, samples)
    }

    fn family<const N: usize, M: EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        samples: impl Iterator<Item = ([(&'static str, String); N], M)>,
    ) -> fmt::Result {
        let mut samples = samples.peekable();
        if samples.peek().is_none() {
            return Ok(());
        }
        let mut family: MetricEncoder = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, metric) in samples {
            if N > 0 {
                metric.encode(family.encode_family(&labels)?)?;
            } else {
                // As it is, without a pair of empty braces. There is only one.
                return metric.encode(family);
            }
        }
        Ok(())
    }
}

/// A histogram.
struct Spread<'a>(&'a Durations);

impl EncodeMetric for Spread<'_> {
    fn encode(&self, mut encoder: MetricEncoder) -> fmt::Result {
        let Durations { buckets, count, sum_seconds } = self.0;
        encoder.encode_histogram::<NoLabelSet>(*sum_seconds, *count, buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}
