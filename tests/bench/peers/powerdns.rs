//! PowerDNS' files.

use std::io::Result;
use std::net::SocketAddr;
use std::path::Path;

use super::Setting;
use super::daemon::{Ready, Watch, free_port, listen};

/// Lua records: `nearest`, `hashed`, `drawn`, and `live`, all that are up. All look at one and the
/// same check, a connection to each datacenter every second.
pub(super) fn prepare(setting: &Setting, directory: &Path, dns: SocketAddr) -> Result<Ready> {
    let at = directory.display();
    let port = free_port(setting.address(0))?.port();
    let sites = 0..setting.sites.len();
    let list =
        |item: &dyn Fn(usize) -> String| sites.clone().map(item).collect::<Vec<_>>().join(",");
    let addresses = list(&|site| format!("'{}'", setting.address(site)));
    let weights = setting.weights();
    let weights = list(&|site| format!("['{}']={}", setting.address(site), weights[site]));
    let live = format!("ifportup({port},{{{addresses}}},{{selector='all'}})");
    let weighted = |pick: &str| {
        format!(
            ";local w={{{weights}}} local l={{}} for _,a in ipairs({live}) do l[#l+1]={{w[a],a}} end return {pick}(l)"
        )
    };
    let zone = [
        "$TTL 30\n@ SOA ns1 hostmaster 1 7200 900 1209600 300\n@ NS ns1\nns1 A 198.51.100.53\n",
        &lua("live", &live),
        &lua("nearest", &format!("pickclosest({live})")),
        &lua("hashed", &weighted("pickwhashed")),
        &lua("drawn", &weighted("pickwrandom")),
    ]
    .concat();
    let config = format!(
        "local-address={}\nlocal-port={}\nsocket-dir={at}\ndaemon=no\nguardian=no\n\
         disable-syslog=yes\nsecurity-poll-suffix=\nlaunch=bind,geoip\nbind-config={at}/named.conf\n\
         geoip-database-files=mmdb:{at}/city.mmdb\nedns-subnet-processing=yes\n\
         enable-lua-records=shared\nlua-health-checks-interval=1\n\
         cache-ttl=0\nquery-cache-ttl=0\nnegquery-cache-ttl=0\n",
        dns.ip(),
        dns.port(),
    );
    let named = format!("zone \"example.com\" {{ type native; file \"{at}/zone\"; }};\n");
    std::fs::write(directory.join("zone"), zone)?;
    std::fs::write(directory.join("named.conf"), named)?;
    std::fs::write(directory.join("pdns.conf"), config)?;
    let listener = |site| listen(setting.address(site), port).map(Some);
    let listeners = sites.map(listener).collect::<std::result::Result<_, _>>();
    let listeners = listeners.map_err(std::io::Error::other)?;
    let arguments = vec![format!("--config-dir={at}")];
    Ok(Ready { program: "pdns_server", arguments, watch: Watch::Port(port, listeners) })
}

/// A Lua record in master-file form: its code stands in strings of at most 255 octets, between which
/// PowerDNS puts a space. So they end with a comma.
fn lua(owner: &str, mut code: &str) -> String {
    let mut strings = String::new();
    while !code.is_empty() {
        let end = if code.len() > 250 {
            code[..250].rfind(',').map_or(250, |comma| comma + 1)
        } else {
            code.len()
        };
        strings += &format!(" \"{}\"", &code[..end]);
        code = &code[end..];
    }
    format!("{owner} LUA A{strings}\n")
}
