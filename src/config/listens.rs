//! Sockets that two parts of the server would listen on.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Range;

use toml::Spanned;

use super::reader::Reader;
use super::server::ServerForm;
use crate::l4::settings::{Listen, Protocol};

/// Something that is listened on.
struct Claim {
    listen: Listen,
    protocol: Protocol,
    span: Range<usize>,
    /// As it is named in messages.
    by: &'static str,
}

/// Reports what is claimed twice, by whole prefixes and ranges of ports too.
pub(super) fn refuse_shared(form: &ServerForm, reader: &Reader) {
    let mut single: HashMap<(Protocol, SocketAddr), &'static str> = HashMap::new();
    let mut wide: Vec<&Claim> = Vec::new();
    let claims = claims(form);
    for claim in &claims {
        let twice = |other: &str| {
            let message = format!("`{}` is listened on twice", claim.listen);
            let error = reader.error(claim.span.clone(), message);
            reader.report(error.label(format!("{other} has it too")));
        };
        let before = match claim.listen.single() {
            // Port 0 is any free port.
            Some(address) if address.port() == 0 => continue,
            Some(address) => single.insert((claim.protocol, address), claim.by),
            None => {
                let first = single
                    .iter()
                    .filter(|((protocol, address), _)| {
                        *protocol == claim.protocol && meet(&claim.listen, &(*address).into())
                    })
                    .map(|(_, by)| *by)
                    .min();
                wide.push(claim);
                first
            }
        };
        let among_wide = wide.iter().find(|other| {
            !std::ptr::eq(**other, claim)
                && other.protocol == claim.protocol
                && meet(&other.listen, &claim.listen)
        });
        match (before, among_wide) {
            (_, Some(other)) => twice(&format!("`{}` of {}", other.listen, other.by)),
            (Some(by), None) => twice(by),
            (None, None) => {}
        }
    }
}

fn claims(form: &ServerForm) -> Vec<Claim> {
    let claim = |listen: &Spanned<SocketAddr>, protocol, by| Claim {
        listen: (*listen.get_ref()).into(),
        protocol,
        span: listen.span(),
        by,
    };
    let dns = form.dns.iter().flat_map(|dns| &dns.listen);
    // Two of them are one mistake.
    let dns_tcp = dns.clone().map(|listen| claim(listen, Protocol::Tcp, "[dns]"));
    let admin = form.admin.iter().flat_map(|admin| &admin.listen);
    let admin = admin.map(|listen| claim(listen, Protocol::Tcp, "[admin]"));
    let mut seen = std::collections::HashSet::new();
    let dns_udp = dns.filter(|listen| seen.insert(*listen.get_ref()));
    let dns_udp: Vec<Claim> = dns_udp.map(|listen| claim(listen, Protocol::Udp, "[dns]")).collect();
    let services = form.l4.services.iter().flat_map(|service| {
        service.listen.iter().map(|listen| Claim {
            listen: listen.get_ref().clone(),
            protocol: service.settings.protocol,
            span: listen.span(),
            by: "[[l4.services]]",
        })
    });
    dns_tcp.chain(admin).chain(dns_udp).chain(services).collect()
}

/// True when some address and port belong to both, where one of them is no single address. The
/// unspecified address is all of them here; beside a single one it is none of this, as the kernel
/// serves the closer one.
fn meet(one: &Listen, other: &Listen) -> bool {
    let all = |listen: &Listen| {
        let mut listen = listen.clone();
        if listen.addresses.addr().is_unspecified() {
            let addresses = ipnet::IpNet::new(listen.addresses.addr(), 0);
            listen.addresses = addresses.unwrap_or(listen.addresses);
        }
        listen
    };
    all(one).overlaps(&all(other))
}
