//! Who may come to a service, how fast, and who may say whom he stands for.

use std::collections::HashSet;
use std::iter::successors;
use std::time::Duration;

use ipnet::IpNet;
use toml::Spanned;

use super::super::reader::{Table, Value};
use super::super::zone_file::prefix;
use crate::l4::settings::{RateLimit, ServiceSettings};

/// The most new flows a second that a limit can be.
const MOST_A_SECOND: f64 = 1e9;

/// Reads `allow`, `deny`, `rate_limit` and `accept_proxy`.
pub(super) fn read(table: &mut Table<'_>, settings: &mut ServiceSettings) {
    let allow = prefixes(table, "allow");
    let deny = prefixes(table, "deny");
    let denied: HashSet<IpNet> = deny.iter().map(|denied| denied.get_ref().trunc()).collect();
    for allowed in &allow {
        // There are few prefixes around one, however many are denied.
        let mut around = successors(Some(allowed.get_ref().trunc()), IpNet::supernet);
        if let Some(denying) = around.find(|net| denied.contains(net)) {
            let message = format!("`{}` is allowed in vain", allowed.get_ref());
            let warning = table.reader().warning(allowed.span(), message);
            let label = format!("`deny` has `{denying}`, and wins");
            table.reader().report(warning.label(label));
        }
    }
    let plain = |all: Vec<Spanned<IpNet>>| all.into_iter().map(Spanned::into_inner).collect();
    settings.access.allow = plain(allow);
    settings.access.deny = plain(deny);
    settings.rate_limit = table.table("rate_limit", "`rate_limit`").and_then(read_rate_limit);
    settings.accept_proxy = plain(prefixes(table, "accept_proxy"));
}

fn prefixes(table: &mut Table<'_>, key: &'static str) -> Vec<Spanned<IpNet>> {
    let Some(value) = table.take(key) else { return Vec::new() };
    let items = value.one_or_more();
    if items.is_empty() {
        let error = value.error(format!("`{key}` is empty"));
        let error = error.label("expected at least one prefix, such as \"198.51.100.0/24\"");
        value.reject::<()>(error.help(format!("remove `{key}`: without it nothing is asked")));
    }
    items.iter().filter_map(|item| Some(Spanned::new(item.span(), prefix(item)?))).collect()
}

fn read_rate_limit(mut table: Table<'_>) -> Option<RateLimit> {
    let rate = |value: &Value<'_>| {
        value.number(f64::MIN_POSITIVE..=MOST_A_SECOND, "connections a second: a number above 0")
    };
    let (per_source, total) = (table.take("per_source"), table.take("total"));
    if per_source.is_none() && total.is_none() {
        let error = table.error("`rate_limit` limits nothing");
        let error = error.label("expected `per_source`, `total` or both");
        table.reader().report(error.help("add `per_source = 50`: new connections a second"));
    }
    let (least, most) = (Duration::from_millis(10), Duration::from_secs(3600));
    let burst = table.take("burst").and_then(|value| value.duration(least..=most));
    table.finish();
    Some(RateLimit {
        per_source: per_source.as_ref().and_then(rate),
        total: total.as_ref().and_then(rate),
        burst_seconds: burst.map_or(1.0, |burst| burst.as_secs_f64()),
    })
}
