//! gdnsd's files.

use std::io::Result;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use super::daemon::{Ready, Watch};
use super::{Setting, Site};

/// Names: `nearest` by the plugin `geoip`, `drawn` by `weighted`, and `live`, all that are up.
pub(super) fn prepare(setting: &Setting, directory: &Path, dns: SocketAddr) -> Result<Ready> {
    let at = directory.display();
    let list = |item: &dyn Fn(usize, &Site) -> String| {
        let items = setting.sites.iter().enumerate().map(|(site, of)| item(site, of));
        items.collect::<Vec<_>>().join(", ")
    };
    let names = list(&|site, _| format!("d{site}"));
    let addresses = list(&|site, _| format!("d{site} => {}", setting.address(site)));
    let coordinates =
        list(&|site, of| format!("d{site} => [{}, {}]", of.at.latitude, of.at.longitude));
    let weights = setting.weights();
    let weighted =
        list(&|site, _| format!("d{site} => [{}, {}]", setting.address(site), weights[site]));
    // In direct mode what stands in the file is so; the limit of the lists is the usual one, 3.
    let config = format!(
        "options => {{ listen => {}, dns_port => {}, udp_threads => 1, tcp_threads => 1,\n\
         run_dir => {at}/run, state_dir => {at}/state }}\n\
         service_types => {{ told => {{ plugin => extfile, file => {at}/states, direct => true,\n\
         interval => 2 }} }}\n\
         plugins => {{\n\
         geoip => {{ maps => {{ all => {{ geoip2_db => {at}/city.mmdb, datacenters => [{names}],\n\
         auto_dc_coords => {{ {coordinates} }} }} }}\n\
         resources => {{ web => {{ map => all, service_types => told,\n\
         dcmap => {{ {addresses} }} }} }} }}\n\
         weighted => {{ web => {{ service_types => told, {weighted} }} }}\n\
         multifo => {{ web => {{ service_types => told, up_thresh => 0.01, {addresses} }} }}\n\
         }}\n",
        dns.ip(),
        dns.port(),
    );
    let zone = "@ SOA ns1 hostmaster 1 7200 900 1209600 300\n@ NS ns1\nns1 A 198.51.100.53\n\
                nearest 30 DYNA geoip!web\ndrawn 30 DYNA weighted!web\nlive 30 DYNA multifo!web\n";
    for name in ["run", "state", "zones"] {
        std::fs::create_dir(directory.join(name))?;
    }
    let sites: Vec<Ipv4Addr> = (0..setting.sites.len()).map(|site| setting.address(site)).collect();
    let file = directory.join("states");
    std::fs::write(&file, states(&sites, &[]))?;
    std::fs::write(directory.join("config"), config)?;
    std::fs::write(directory.join("zones/example.com"), zone)?;
    let arguments = ["-c", ".", "start"].map(String::from).to_vec();
    Ok(Ready { program: "gdnsd", arguments, watch: Watch::File(file) })
}

/// The file that says which datacenters are up.
pub(super) fn states(sites: &[Ipv4Addr], down: &[usize]) -> String {
    let line = |(site, address): (usize, &Ipv4Addr)| {
        let state = if down.contains(&site) { "DOWN" } else { "UP" };
        format!("{address} => {state}\n")
    };
    sites.iter().enumerate().map(line).collect()
}
