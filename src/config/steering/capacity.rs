//! What is doubtful in pools that steer by capacity.

use std::collections::HashMap;

use super::MOST_CAPACITY_TTL;
use crate::config::nearest::among;
use crate::config::reader::Reader;
use crate::config::server::DatacenterForm;
use crate::config::zone_file::PoolForm;
use crate::decide::{DatacenterId, Member, Steer};

/// How much of each datacenter the pools with `capacity` claim.
#[derive(Debug, Default)]
pub(super) struct Claims {
    claimed: HashMap<DatacenterId, f64>,
}

impl Claims {
    /// Adds a pool's share of its datacenters, and warns when one of them has not so much to give.
    pub fn add(
        &mut self,
        reader: &Reader,
        form: &PoolForm,
        members: &[Member],
        datacenters: &[DatacenterForm],
    ) {
        let Some(share) = &form.capacity else { return };
        for member in members {
            let claimed = self.claimed.entry(member.datacenter).or_default();
            let before = *claimed;
            *claimed += share.get_ref();
            // Said once a datacenter; halves of a percent are rounding.
            let Some(datacenter) = datacenters.get(usize::from(member.datacenter.0)) else {
                continue;
            };
            if before < 1.005 && *claimed >= 1.005 {
                let name = datacenter.name.get_ref();
                let percent = (*claimed * 100.0).round();
                let message = format!("the pools' shares of `{name}` add up to {percent} %");
                let warning = reader.warning(share.span(), message);
                let warning = warning.label("with this one, it is more than there is");
                reader.report(warning.help("they cannot all have their share at the same time"));
            }
        }
    }
}

/// Warns of a pool that steers by capacity and cannot do it well.
pub(super) fn warn(
    reader: &Reader,
    form: &PoolForm,
    members: &[Member],
    datacenters: &[DatacenterForm],
) {
    if form.steer != Steer::Capacity {
        if let Some(ttl) = form.ttl.as_ref().filter(|ttl| ttl.get_ref().min != ttl.get_ref().max) {
            let max = ttl.get_ref().max;
            let warning = reader.warning(ttl.span(), "only `steer = \"capacity\"` adapts the TTL");
            let warning = warning.label(format!("every answer has the longest, {max} s"));
            reader.report(warning.help(format!("write `ttl = \"{max}s\"`")));
        }
        return;
    }
    warn_of_long_ttl(reader, form);
    let of = |member: &Member| datacenters.get(usize::from(member.datacenter.0));
    let its: Vec<&DatacenterForm> = members.iter().filter_map(of).collect();
    let unlimited = its.iter().filter(|one| one.capacity.is_none() && one.report.is_none());
    let unlimited: Vec<&str> = unlimited.map(|one| one.name.get_ref().as_str()).collect();
    if let [first, others @ ..] = &unlimited[..] {
        let message = format!("nothing is known of the capacity of {}", among(&unlimited));
        let label =
            if others.is_empty() { "it counts as unlimited" } else { "they count as unlimited" };
        let warning = reader.warning(form.name.span(), message).label(label);
        reader.report(
            warning.help(format!("add `capacity = …` or `report = …` to [datacenters.{first}]")),
        );
    }
    let counts = |one: &&DatacenterForm| Some((one.name.get_ref().clone(), one.unit.clone()?));
    let units: Vec<(String, String)> = its.iter().filter_map(counts).collect();
    if let Some((first, unit)) = units.first()
        && let Some((other, another)) = units.iter().find(|(_, another)| another != unit)
    {
        let message = "the pool's datacenters count their load in different units";
        let warning = reader.warning(form.name.span(), message);
        let warning = warning.label(format!("`{first}` in {unit}, `{other}` in {another}"));
        reader.report(warning.help(
            "what a client costs is learned over all of them: let them report the same unit",
        ));
    }
}

fn warn_of_long_ttl(reader: &Reader, form: &PoolForm) {
    let Some(ttl) = form.ttl.as_ref().filter(|ttl| ttl.get_ref().max > MOST_CAPACITY_TTL) else {
        return;
    };
    let warning = reader.warning(ttl.span(), "the TTL is long for `steer = \"capacity\"`");
    let warning = warning.label("clients stay at a full datacenter for so long");
    reader.report(warning.help("30 s to 60 s are usual"));
}
