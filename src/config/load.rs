//! Reads every file that the configuration names, and compiles them all or nothing.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use toml::Spanned;

use super::TEXT_LIMIT;
use super::diagnostic::{Diagnostic, Severity};
use super::files::Files;
use super::forwarder;
use super::keys;
use super::latency;
use super::listens;
use super::reader::Reader;
use super::secondary::{self, Secondary};
use super::serial::SoaPlace;
use super::server::{self, AdminForm, ServerForm};
use super::settings::{ControlSocket, Settings};
use super::source::{ReadError, Source};
use super::steering::{self, MOST_DATACENTERS};
use super::transfer;
use super::world::Map;
use super::zones;
use crate::decide::{Latencies, Pool, Steer};
use crate::transfer::Transfers;
use crate::{admin, control, transport};

/// A configuration that can be used.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the floors are told.
    pub settings: Settings,
    /// What is doubtful.
    pub warnings: Vec<Diagnostic>,
    /// All files and directories it was read from, to be watched.
    pub files: Vec<PathBuf>,
    /// When their reading began.
    pub begun: SystemTime,
    /// How much there is in it.
    pub contents: Contents,
    /// Where the SOA records of the zones stand that do not come from a primary.
    pub soas: Vec<SoaPlace>,
    map: Map,
}

/// A configuration that cannot be used.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// Everything wrong in it or doubtful, at least one of them an error.
    pub diagnostics: Vec<Diagnostic>,
    /// All files and directories that were looked at, to be watched for the repair.
    pub files: Vec<PathBuf>,
    /// When their reading began.
    pub begun: SystemTime,
}

/// How much there is in a configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Contents {
    /// Zones.
    pub zones: usize,
    /// Steered names.
    pub steered_names: usize,
    /// Pools.
    pub pools: usize,
    /// Datacenters.
    pub datacenters: usize,
    /// Probes.
    pub probes: usize,
    /// Measured latencies.
    pub latencies: usize,
    /// Ranges of addresses whose location is known or known to be unknown.
    pub networks: usize,
    /// L4 services.
    pub services: usize,
}

/// Reads `path` and every file it names. What `previous` has compiled from files that have not
/// changed is used again.
///
/// # Errors
///
/// Every problem in every file.
pub fn load(path: &Path, previous: Option<&Loaded>) -> Result<Loaded, Rejected> {
    let begun = SystemTime::now();
    let mut files = Files { paths: vec![path.to_path_buf()], problems: Vec::new() };
    let source = match Source::read(path, TEXT_LIMIT) {
        Ok(source) => source,
        Err(error) => {
            let diagnostic = match error {
                ReadError::NotUtf8(source, byte) => Diagnostic::not_utf8(&source, byte),
                ReadError::Unreadable(why) => {
                    let message = format!("cannot read {}: {why}", path.display());
                    Diagnostic::error(&Source::new(path, ""), None, message)
                }
            };
            return Err(Rejected { diagnostics: vec![diagnostic], files: files.paths, begun });
        }
    };
    let reader = Reader::new(source);
    let form = reader.read("this file", server::read);
    let previous = previous.map(|previous| &previous.map);
    let compiled = compile(&form, &reader, path, previous, &mut files);
    let mut diagnostics = reader.into_problems();
    diagnostics.append(&mut files.problems);
    let has_errors = diagnostics.iter().any(|problem| problem.severity == Severity::Error);
    let files = files.paths;
    match compiled {
        Some((settings, contents, soas, map)) if !has_errors => {
            Ok(Loaded { settings, warnings: diagnostics, files, begun, contents, soas, map })
        }
        _ => Err(Rejected { diagnostics, files, begun }),
    }
}

/// Compiles what the form asks for; none only after an error was reported.
fn compile(
    form: &ServerForm,
    reader: &Reader,
    path: &Path,
    previous: Option<&Map>,
    files: &mut Files,
) -> Option<(Settings, Contents, Vec<SoaPlace>, Map)> {
    check_whole(form, reader);
    let dns = form.dns.as_ref().map(|dns| transport::Settings {
        listen: dns.listen.iter().map(|listen| *listen.get_ref()).collect(),
        workers: dns.workers,
        ..transport::Settings::default()
    });
    let admin = form.admin.as_ref().map(|form| compile_admin(form, reader, files));
    let keys = keys::compile(&form.keys, reader, files);
    let l4 = forwarder::compile(&form.l4, reader);
    let zone_files = match form.dns.as_ref().and_then(|dns| dns.zones.as_ref()) {
        Some(directory) => zones::read(directory, reader, files),
        None => Vec::new(),
    };
    let resolvers: Vec<SocketAddr> =
        form.dns.iter().flat_map(|dns| &dns.resolvers).map(|one| *one.get_ref()).collect();
    warn_of_own_listens(form, reader);
    // In a file with errors, it is not known what was meant.
    let has_resolvers = !resolvers.is_empty() || reader.has_errors();
    let steering =
        steering::compile(&form.datacenters, !reader.is_muted(), has_resolvers, &zone_files);
    if let (None, Some((index, span))) = (&form.geoip, &steering.needs_location) {
        let reader = &zone_files[*index].reader;
        let warning = reader.warning(span.clone(), "where clients are is not known");
        let warning = warning.label("this steers by location, and there is no [geoip]");
        let help = "add `[geoip]` with `databases = [\"geoip/world.mmdb\"]` to portolan.toml";
        reader.report(warning.help(help));
    }
    let by_capacity = |pool: &Pool| pool.steer == Steer::Capacity;
    if let Some(allocation) = &form.allocation
        && !steering.steering.pools.iter().any(by_capacity)
        && !reader.has_errors()
        && !zone_files.iter().any(|zone| zone.reader.has_errors())
    {
        let warning = reader.warning(allocation.span.clone(), "[allocation] has no effect");
        reader.report(warning.label("no pool has `steer = \"capacity\"`"));
    }
    let transfers = zone_files.iter().filter_map(|zone| {
        let transfer =
            transfer::compile(zone.form.transfer.as_ref()?, &keys, &form.keys, &zone.reader);
        Some((zone.form.origin.as_ref()?.get_ref().clone(), transfer))
    });
    let transfers: Transfers = transfers.collect();
    let steered_names = steering.steered.iter().map(Vec::len).sum();
    let zone_count = zone_files.len();
    let storage = form.dns.as_ref().and_then(|dns| dns.storage.as_ref());
    let storage =
        storage.map_or_else(|| path.with_file_name("transferred"), |path| path.get_ref().clone());
    let secondary = Secondary { storage: &storage, keys: &keys, key_forms: &form.keys };
    let zones = zones::compile(&zone_files, steering.steered, &secondary, files);
    for zone in zone_files {
        files.problems.extend(zone.reader.into_problems());
    }
    let map = match &form.geoip {
        Some(geoip) => Map::compile(geoip, reader, previous, files),
        None => Some(previous.filter(|map| map.is_unknown()).cloned().unwrap_or_default()),
    };

    let latency = form.allocation.as_ref().and_then(|form| form.latency.as_ref());
    let latencies = match latency {
        Some(path) => read_latencies(path, form, reader, files)?,
        None => Vec::new(),
    };

    let ((zones, secondaries, soas), map) = (zones?, map?);
    let contents = Contents {
        zones: zone_count,
        steered_names,
        pools: steering.steering.pools.iter().filter(|pool| !pool.is_twin).count(),
        datacenters: form.datacenters.len(),
        probes: steering.probes.len(),
        latencies: latencies.len(),
        networks: map.world.v4().len() + map.world.v6().len(),
        services: l4.services.len(),
    };
    let control = control::Settings {
        zones: Arc::new(zones),
        announcers: Arc::new(secondary::announcers(&secondaries)),
        secondaries: secondaries.into(),
        identity: Arc::new(form.dns.as_ref().map(|dns| dns.identity.clone()).unwrap_or_default()),
        keys: Arc::new(keys),
        transfers: Arc::new(transfers),
        steering: Arc::new(steering.steering),
        world: Arc::clone(&map.world),
        probes: steering.probes,
        flattened: steering.flattened.into(),
        resolvers,
        reports: form.datacenters.iter().map(|form| form.report.clone()).collect(),
        capacity: form.datacenters.iter().map(|form| form.capacity).collect(),
        units: form.datacenters.iter().map(|form| form.unit.clone()).collect(),
        allocation: form.allocation.as_ref().map(|form| form.settings).unwrap_or_default(),
        latencies: Arc::new(Latencies::new(latencies)),
    };
    let overrides = form.admin.as_ref().and_then(|form| form.overrides.as_ref());
    let overrides = overrides
        .map_or_else(|| path.with_file_name("overrides.json"), |path| path.get_ref().clone());
    let socket = form.admin.as_ref().and_then(|form| form.socket.as_ref());
    let socket = ControlSocket {
        path: socket.map_or_else(|| path.with_extension("sock"), |p| p.get_ref().clone()),
        is_wanted: socket.is_some(),
    };
    let admin = match admin {
        None => None,
        Some(admin) => Some(admin?),
    };
    Some((Settings { dns, admin, overrides, socket, l4, control }, contents, soas, map))
}

fn read_latencies(
    path: &Spanned<PathBuf>,
    form: &ServerForm,
    reader: &Reader,
    files: &mut Files,
) -> Option<Vec<latency::Measured>> {
    let source = files.text(path, reader, TEXT_LIMIT)?;
    let names: Vec<&str> =
        form.datacenters.iter().map(|form| form.name.get_ref().as_str()).collect();
    let (measured, problems) = latency::read(&source, (!reader.is_muted()).then_some(&names));
    files.problems.extend(problems);
    Some(measured)
}

fn compile_admin(form: &AdminForm, reader: &Reader, files: &mut Files) -> Option<admin::Settings> {
    let token = match &form.token_file {
        None => None,
        Some(path) => Some(read_token(path, reader, files)?),
    };
    Some(admin::Settings { listen: *form.listen.as_ref()?.get_ref(), token })
}

fn read_token(path: &Spanned<PathBuf>, reader: &Reader, files: &mut Files) -> Option<String> {
    const LIMIT: u64 = 4096;
    let source = files.text(path, reader, LIMIT)?;
    let token = source.text().trim();
    let file = path.get_ref().display();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let error = reader.error(path.span(), format!("{file} holds no token"));
        let error = error.label("expected one line of visible ASCII characters");
        let make = format!("make one: `head -c 24 /dev/urandom | base64 > {file}`");
        reader.report(error.help(make));
        return None;
    }
    let label = "whoever has the token can change what is answered";
    warn_if_readable_by_all(path.get_ref(), path.span(), label, reader);
    Some(token.to_string())
}

/// Reports what no part of the file shows alone.
fn check_whole(form: &ServerForm, reader: &Reader) {
    if let Some(one_more) = form.datacenters.get(MOST_DATACENTERS) {
        let message = format!("there are more than {MOST_DATACENTERS} datacenters");
        reader.report(reader.error(one_more.name.span(), message));
    }
    if form.dns.is_none() && form.l4.services.is_empty() && !reader.has_errors() {
        let warning = reader.warning(0..0, "there is neither [dns] nor [[l4.services]]");
        reader.report(warning.label("the server will serve nothing"));
    }
    listens::refuse_shared(form, reader);
}

/// Warns of resolvers that are this server.
fn warn_of_own_listens(form: &ServerForm, reader: &Reader) {
    let dns = form.dns.as_ref();
    for resolver in dns.iter().flat_map(|dns| &dns.resolvers) {
        if dns.iter().flat_map(|dns| &dns.listen).any(|own| own.get_ref() == resolver.get_ref()) {
            let message = format!("the resolver `{}` is this server itself", resolver.get_ref());
            let warning = reader.warning(resolver.span(), message);
            reader.report(warning.label("it resolves nothing: expected a recursive resolver"));
        }
    }
}

/// Warns of a file with a secret; `span` is where it is spoken of.
pub(super) fn warn_if_readable_by_all(
    path: &Path,
    span: std::ops::Range<usize>,
    label: &str,
    reader: &Reader,
) {
    let mode = fs::metadata(path).map(|metadata| metadata.permissions().mode());
    if mode.is_ok_and(|mode| mode & 0o004 != 0) {
        let file = path.display();
        let warning = reader.warning(span, format!("everybody on this host can read {file}"));
        let warning = warning.label(label);
        reader.report(warning.help(format!("run `chmod o-r {file}`")));
    }
}
