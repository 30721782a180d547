//! What members answer, and the probes that watch them; who is watched alike shares a probe.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use toml::Spanned;

use super::in_zone::InZone;
use crate::config::check::CheckForm;
use crate::config::zone_file::{MemberForm, PoolForm, ProbeAddress, TargetForm};
use crate::decide::{ProbeId, Target};
use crate::dns::Name;
use crate::health::{Kind, Probe};

/// The probes, by [`ProbeId`].
#[derive(Debug, Default)]
pub(super) struct Probes {
    probes: Vec<Probe>,
    by_target: HashMap<(IpAddr, u16), Vec<ProbeId>>,
}

impl Probes {
    /// What a member answers, watched with `check`; none after an error was reported.
    pub fn target(
        &mut self,
        zone: &InZone<'_>,
        pool: &PoolForm,
        check: Option<&CheckForm>,
        member: &MemberForm,
    ) -> Option<Target> {
        let reader = zone.reader;
        let mut watch = |address, given: Option<&Spanned<ProbeAddress>>| {
            self.probe(zone, pool, check?, member, address, given)
        };
        match member.target.as_ref()? {
            TargetForm::Cname(text) => {
                if let [_, second, ..] = &member.probe[..] {
                    let error =
                        reader.error(second.span(), "a `cname` member has one probe address");
                    reader.report(error.label("remove this one"));
                }
                let name = match Name::parse_relative(text.get_ref(), &zone.origin) {
                    Ok(name) => name,
                    Err(why) => {
                        let message = format!("`{}` is not a domain name: {why}", text.get_ref());
                        reader.report(reader.error(text.span(), message));
                        return None;
                    }
                };
                let probe = member.probe.first();
                let probe = probe.and_then(|given| watch(given.get_ref().address, Some(given)));
                Some(Target::Cname { name, probe })
            }
            TargetForm::Addresses(addresses) => {
                let probes = &member.probe;
                if probes.len() > 1 && probes.len() != addresses.len() {
                    let span = probes[0].span().start..probes[probes.len() - 1].span().end;
                    let (given, wanted) = (probes.len(), addresses.len());
                    let message =
                        format!("`probe` has {given} addresses, and `addresses` has {wanted}");
                    let label = "expected one for all, or one for each, in the same order";
                    reader.report(reader.error(span, message).label(label));
                }
                let (mut v4, mut v6) = (Vec::new(), Vec::new());
                for (index, address) in addresses.iter().enumerate() {
                    let given = if probes.len() == 1 { probes.first() } else { probes.get(index) };
                    let to = given.map_or(*address.get_ref(), |given| given.get_ref().address);
                    match *address.get_ref() {
                        IpAddr::V4(address) => v4.push((address, watch(to, given))),
                        IpAddr::V6(address) => v6.push((address, watch(to, given))),
                    }
                }
                Some(Target::Addresses { v4: v4.into(), v6: v6.into() })
            }
        }
    }

    /// The probe of `address` with `check`, shared with whoever is watched alike.
    fn probe(
        &mut self,
        zone: &InZone<'_>,
        pool: &PoolForm,
        check: &CheckForm,
        member: &MemberForm,
        address: IpAddr,
        given: Option<&Spanned<ProbeAddress>>,
    ) -> Option<ProbeId> {
        let reader = zone.reader;
        let own_port = given.and_then(|given| given.get_ref().port);
        if let (Kind::Icmp, Some(given), Some(_)) = (&check.check.kind, given, own_port) {
            let error = reader.error(given.span(), "a probe of kind icmp has no port");
            reader.report(error.label(format!("write \"{address}\"")));
        }
        let Some(port) = own_port.or(check.port) else {
            let span = given.map_or_else(|| member.span.clone(), Spanned::span);
            let error = reader.error(span, format!("the port to probe at {address} is not known"));
            let error = error.label(format!(
                "a check of kind {} has no port of its own",
                check.check.kind.name()
            ));
            let name = pool.check.as_ref().map_or("NAME", |name| name.get_ref().as_str());
            reader.report(error.help(format!("add `port = …` to [checks.{name}]")));
            return None;
        };
        let alike = self.by_target.entry((address, port)).or_default();
        let same = |id: &&ProbeId| self.probes[id.0 as usize].check == check.check;
        if let Some(id) = alike.iter().find(same) {
            return Some(*id);
        }
        let id = ProbeId(self.probes.len() as u32);
        alike.push(id);
        let origin = zone.origin.to_string();
        let datacenter = member.datacenter.as_ref().map_or("", |name| name.get_ref().as_str());
        self.probes.push(Probe {
            name: format!(
                "{}/{}/{datacenter} {address}",
                origin.trim_end_matches('.'),
                pool.name.get_ref()
            ),
            check: Arc::clone(&check.check),
            address,
            port,
        });
        Some(id)
    }

    /// The probes, by [`ProbeId`].
    pub fn into_inner(self) -> Vec<Probe> {
        self.probes
    }
}
