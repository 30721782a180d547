//! The operator's networks as a layer.

use std::net::IpAddr;

use ipnet::IpNet;

use super::layer::{Distinct, Layer, Ranges, Sweep};
use super::{Network, overlay};
use crate::geo::Location;
use crate::geo::range_table::Key;

/// The networks laid over each other, wider ones below.
pub(super) fn layer(networks: &[Network]) -> Layer {
    let mut v4: Vec<Span<'_, u32>> = Vec::new();
    let mut v6: Vec<Span<'_, u128>> = Vec::new();
    for Network { prefix, location } in networks {
        match (prefix.network().to_canonical(), prefix.prefix_len()) {
            (IpAddr::V4(first), len) => {
                let len = if let IpNet::V6(_) = prefix { len.saturating_sub(96) } else { len };
                let host = u32::MAX.checked_shr(u32::from(len)).unwrap_or(0);
                let first = u32::from(first) & !host;
                v4.push(Span { first, last: first | host, location });
            }
            (IpAddr::V6(first), len) => {
                let host = u128::MAX.checked_shr(u32::from(len)).unwrap_or(0);
                let first = u128::from(first);
                v6.push(Span { first, last: first | host, location });
            }
        }
    }
    let mut locations = Distinct::new();
    let (v4, v6) = (flatten(v4, &mut locations), flatten(v6, &mut locations));
    Layer::new(v4, v6, locations)
}

/// A prefix's addresses, and what is known of them.
struct Span<'a, K> {
    first: K,
    last: K,
    location: &'a Location,
}

/// Cuts nested spans into disjoint ranges.
fn flatten<K: Key>(mut spans: Vec<Span<'_, K>>, locations: &mut Distinct) -> Ranges<K> {
    // Wider before narrower; the sort is stable, so that the later of equal prefixes lies above.
    spans.sort_by(|a, b| (a.first, b.last).cmp(&(b.first, a.last)));
    let mut sweep = Sweep::with_capacity(2 * spans.len() + 1);
    // The spans around the present address, from the widest: first, last, what is known inside.
    let mut around: Vec<(K, K, Location)> = Vec::new();
    for Span { first, last, location } in spans {
        while let Some(ended) = around.pop_if(|(_, last, _)| *last < first) {
            sweep.cover(ended.0, ended.1, locations.number(ended.2));
        }
        let inner = match (around.last(), first.before()) {
            (Some((outer_first, _, outer)), before) => {
                if let Some(before) = before {
                    sweep.cover(*outer_first, before, locations.number(outer.clone()));
                }
                overlay(outer, location)
            }
            (None, _) => location.clone(),
        };
        around.push((first, last, inner));
    }
    while let Some(ended) = around.pop() {
        sweep.cover(ended.0, ended.1, locations.number(ended.2));
    }
    sweep.finish()
}
