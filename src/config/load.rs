//! Reads every file that the configuration names, and compiles them all or nothing.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;

use super::diagnostic::{Diagnostic, Severity};
use super::inline_text;
use super::reader::Reader;
use super::server::{self, AdminForm, ServerForm};
use super::settings::{DnsSettings, Settings};
use super::source::{ReadError, Source, in_words};
use super::steering::{self, ZoneFile};
use super::world::Map;
use super::{TEXT_LIMIT, zone_file};
use crate::zone::{self, Place, Zones};
use crate::{admin, control, l4};

/// A configuration that can be used.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the floors are told.
    pub settings: Settings,
    /// What is doubtful.
    pub warnings: Vec<Diagnostic>,
    /// All files and directories it was read from, to be watched.
    pub files: Vec<PathBuf>,
    /// How much there is in it.
    pub contents: Contents,
    map: Map,
}

/// A configuration that cannot be used.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// Everything wrong in it or doubtful, at least one of them an error.
    pub diagnostics: Vec<Diagnostic>,
    /// All files and directories that were looked at, to be watched for the repair.
    pub files: Vec<PathBuf>,
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
    let mut loading = Loading { files: vec![path.to_path_buf()], problems: Vec::new() };
    let source = match Source::read(path, TEXT_LIMIT) {
        Ok(source) => source,
        Err(error) => {
            let nothing = Source::new(path, "");
            let at = |message: String| Diagnostic::error(&nothing, None, message);
            let mut problems = Vec::new();
            error.report(path, at, |problem| problems.push(problem), &mut loading.problems);
            problems.append(&mut loading.problems);
            return Err(Rejected { diagnostics: problems, files: loading.files });
        }
    };
    let reader = Reader::new(source);
    let form = reader.read("the file", server::read);
    let loaded = loading.compile(&form, &reader, path, previous.map(|previous| &previous.map));
    let mut diagnostics = reader.into_problems();
    diagnostics.append(&mut loading.problems);
    let has_errors = diagnostics.iter().any(|problem| problem.severity == Severity::Error);
    let files = loading.files;
    match loaded {
        Some((settings, contents, map)) if !has_errors => {
            Ok(Loaded { settings, warnings: diagnostics, files, contents, map })
        }
        _ => Err(Rejected { diagnostics, files }),
    }
}

struct Loading {
    files: Vec<PathBuf>,
    /// Of the files besides `portolan.toml`.
    problems: Vec<Diagnostic>,
}

impl Loading {
    /// None only after an error was reported.
    fn compile(
        &mut self,
        form: &ServerForm,
        reader: &Reader,
        path: &Path,
        previous: Option<&Map>,
    ) -> Option<(Settings, Contents, Map)> {
        refuse_too_many(form, reader);
        let dns = form.dns.as_ref().map(|dns| DnsSettings {
            listen: dns.listen.iter().map(|listen| *listen.get_ref()).collect(),
            workers: dns.workers,
        });
        let admin = form.admin.as_ref().map(|form| self.admin(form, reader));
        let l4 = compile_services(form, reader);
        refuse_shared_listens(form, reader);
        if dns.is_none() && form.services.is_empty() && !reader.is_muted() {
            let warning = reader.warning(0..0, "there is neither [dns] nor [[l4.services]]");
            reader.report(warning.label("the server will serve nothing"));
        }

        let zones = match form.dns.as_ref().and_then(|dns| dns.zones.as_ref()) {
            Some(directory) => self.zone_files(directory, reader),
            None => Vec::new(),
        };
        let steering = steering::compile(&form.datacenters, !reader.is_muted(), &zones);
        if let (None, Some((index, span))) = (&form.geoip, &steering.needs_location) {
            let reader = &zones[*index].reader;
            let warning = reader.warning(span.clone(), "where clients are is not known");
            let warning = warning.label("this steers by location, and there is no [geoip]");
            let help = "add `[geoip]` with `databases = [\"geoip/country.mmdb\"]` to portolan.toml";
            reader.report(warning.help(help));
        }
        let steered_names = steering.steered.iter().map(Vec::len).sum();
        let compiled = self.zones(&zones, steering.steered);
        let zone_count = zones.len();
        for zone in zones {
            self.problems.extend(zone.reader.into_problems());
        }
        let map = match &form.geoip {
            Some(geoip) => {
                Map::compile(geoip, reader, previous, &mut self.files, &mut self.problems)
            }
            None => {
                Some(previous.filter(|map| map.is_unknown()).cloned().unwrap_or_else(Map::unknown))
            }
        };

        let (zones, map) = (compiled?, map?);
        let contents = Contents {
            zones: zone_count,
            steered_names,
            pools: steering.steering.pools.len(),
            datacenters: form.datacenters.len(),
            probes: steering.probes.len(),
            networks: map.world.v4().len() + map.world.v6().len(),
            services: l4.services.len(),
        };
        let control = control::Settings {
            zones: Arc::new(zones),
            steering: Arc::new(steering.steering),
            world: Arc::clone(&map.world),
            probes: steering.probes,
            reports: form.datacenters.iter().map(|form| form.report.clone()).collect(),
            capacity: form.datacenters.iter().map(|form| form.capacity).collect(),
            units: form.datacenters.iter().map(|form| form.unit.clone()).collect(),
        };
        let overrides = form.admin.as_ref().and_then(|form| form.overrides.as_ref());
        let overrides = overrides
            .map_or_else(|| path.with_file_name("overrides.json"), |path| path.get_ref().clone());
        let admin = match admin {
            None => None,
            Some(admin) => Some(admin?),
        };
        Some((Settings { dns, admin, overrides, l4, control }, contents, map))
    }

    fn admin(&mut self, form: &AdminForm, reader: &Reader) -> Option<admin::Settings> {
        let token = match &form.token_file {
            None => None,
            Some(path) => Some(self.token(path, reader)?),
        };
        Some(admin::Settings { listen: *form.listen.as_ref()?.get_ref(), token })
    }

    fn token(&mut self, path: &Spanned<PathBuf>, reader: &Reader) -> Option<String> {
        const LIMIT: u64 = 4096;
        let file = path.get_ref();
        self.files.push(file.clone());
        let error = match Source::read(file, LIMIT) {
            Ok(source) => {
                let token = source.text().trim();
                if !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()) {
                    warn_if_readable_by_all(path, reader);
                    return Some(token.to_string());
                }
                let error = reader.error(path.span(), format!("{} holds no token", file.display()));
                error.label("expected one line of visible ASCII characters")
            }
            Err(error) => {
                let error = reader.error(path.span(), error.about(file));
                error.help(format!(
                    "make one: `head -c 24 /dev/urandom | base64 > {}`",
                    file.display()
                ))
            }
        };
        reader.report(error);
        None
    }

    fn zone_files(&mut self, directory: &Spanned<PathBuf>, reader: &Reader) -> Vec<ZoneFile> {
        let path = directory.get_ref();
        self.files.push(path.clone());
        let entries = match zone_paths(path) {
            Ok(entries) => entries,
            Err(error) => {
                let message =
                    format!("cannot read the directory {}: {}", path.display(), in_words(&error));
                let error = reader.error(directory.span(), message);
                reader.report(error.label("expected a directory of zone files"));
                return Vec::new();
            }
        };
        if entries.is_empty() {
            let message = format!("there are no zone files in {}", path.display());
            let warning = reader.warning(directory.span(), message);
            reader.report(warning.label("expected files whose names end in .toml"));
        }
        let mut zones = Vec::with_capacity(entries.len());
        for path in entries {
            self.files.push(path.clone());
            match Source::read(&path, TEXT_LIMIT) {
                Ok(source) => {
                    let reader = Reader::new(source);
                    let form = reader.read("the zone file", zone_file::read);
                    let checks = form.checks.iter().filter_map(|(_, check)| check.as_ref());
                    self.files.extend(checks.filter_map(|check| check.ca_file.clone()));
                    zones.push(ZoneFile { reader, form });
                }
                Err(error) => {
                    let at = |message: String| reader.error(directory.span(), message);
                    error.report(&path, at, |problem| reader.report(problem), &mut self.problems);
                }
            }
        }
        refuse_twins(&zones);
        zones
    }

    /// Compiles the zones that have an origin; none when one of them cannot be served.
    fn zones(
        &mut self,
        files: &[ZoneFile],
        steered: Vec<Vec<(usize, zone::Steered)>>,
    ) -> Option<Zones> {
        let mut settings = Vec::with_capacity(files.len());
        let mut parts = Vec::with_capacity(files.len());
        for (file, steered) in files.iter().zip(steered) {
            let Some(origin) = &file.form.origin else { continue };
            let (sources, texts) = self.zone_sources(file);
            let (names, steered) = steered.into_iter().unzip();
            parts.push(ZoneParts { file, texts, names });
            settings.push(zone::Settings {
                origin: origin.get_ref().clone(),
                default_ttl: file.form.ttl,
                sources,
                steered,
            });
        }
        let (zones, problems) = zone_compile(&settings);
        for problem in problems {
            let Some(parts) = parts.get(problem.zone) else { continue };
            // Of a file that is not whole, nothing more can be said.
            if !parts.file.reader.is_muted() {
                let diagnostic = parts.diagnostic(problem);
                parts.file.reader.report(diagnostic);
            }
        }
        zones
    }

    /// The zone's texts, and where each stands: in the TOML, or in a file of its own.
    fn zone_sources(&mut self, file: &ZoneFile) -> (Vec<zone::Source>, Vec<Text>) {
        let (reader, form) = (&file.reader, &file.form);
        let (mut sources, mut texts) = (Vec::new(), Vec::new());
        if let Some(records) = &form.records {
            let (file, text) = (reader.source.path().to_path_buf(), records.get_ref().clone());
            sources.push(zone::Source { file, text });
            texts.push(Text::Inline(records.span()));
        }
        if let Some(path) = &form.records_file {
            self.files.push(path.get_ref().clone());
            match Source::read(path.get_ref(), MASTER_FILE_LIMIT) {
                Ok(source) => {
                    let (file, text) = (path.get_ref().clone(), source.text().to_string());
                    sources.push(zone::Source { file, text });
                    texts.push(Text::File(source));
                }
                Err(error) => {
                    let at = |message: String| reader.error(path.span(), message);
                    let report = |problem| reader.report(problem);
                    error.report(path.get_ref(), at, report, &mut self.problems);
                }
            }
        }
        (sources, texts)
    }
}

/// The largest master file, in bytes.
const MASTER_FILE_LIMIT: u64 = 1 << 30;

/// What a zone was made of, to say where its problems are.
struct ZoneParts<'f> {
    file: &'f ZoneFile,
    texts: Vec<Text>,
    /// For each steered name, the index of its form.
    names: Vec<usize>,
}

/// Where a master-file text stands.
enum Text {
    /// In a string of the zone file.
    Inline(std::ops::Range<usize>),
    /// In a file of its own.
    File(Arc<Source>),
}

impl ZoneParts<'_> {
    fn diagnostic(&self, problem: zone::Problem) -> Diagnostic {
        let ZoneFile { reader, form } = self.file;
        let origin = form.origin.as_ref().map(Spanned::span);
        let (source, span) = match problem.place {
            Place::Zone => (&reader.source, origin),
            Place::Steered(index) => {
                let name = self.names.get(index).and_then(|&name| form.names.get(name));
                (&reader.source, name.map(|name| name.owner.span()))
            }
            Place::Source { source, span } => match (self.texts.get(source), &form.records) {
                (Some(Text::File(file)), _) => (file, Some(span)),
                (Some(Text::Inline(string)), Some(records)) => {
                    let text = reader.source.text();
                    let place = inline_text::locate(text, string.clone(), records.get_ref(), span);
                    (&reader.source, Some(place))
                }
                _ => (&reader.source, origin),
            },
        };
        let severity = if problem.is_warning { Severity::Warning } else { Severity::Error };
        let mut diagnostic = Diagnostic::error(source, span, problem.message);
        diagnostic.severity = severity;
        diagnostic.help.extend(problem.help);
        diagnostic
    }
}

/// The zone files in a directory, sorted: names that end in `.toml`, without hidden ones.
fn zone_paths(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(".toml") && !name.starts_with(['.', '#']) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// Reports zones with the same origin.
fn refuse_twins(zones: &[ZoneFile]) {
    let mut first: HashMap<Box<[u8]>, &ZoneFile> = HashMap::new();
    for zone in zones {
        let Some(origin) = &zone.form.origin else { continue };
        if let Some(other) = first.get(&origin.get_ref().to_key()) {
            let message = format!("zone `{}` is given twice", origin.get_ref());
            let error = zone.reader.error(origin.span(), message);
            let other = other.reader.source.path().display();
            zone.reader.report(error.label(format!("it also stands in {other}")));
        } else {
            first.insert(origin.get_ref().to_key(), zone);
        }
    }
}

fn refuse_too_many(form: &ServerForm, reader: &Reader) {
    let most = usize::from(u16::MAX);
    if let Some(one_more) = form.datacenters.get(most) {
        let message = format!("there are more than {most} datacenters");
        reader.report(reader.error(one_more.name.span(), message));
    }
}

fn compile_services(form: &ServerForm, reader: &Reader) -> l4::Settings {
    let mut names: Vec<&str> = Vec::new();
    let mut services = Vec::new();
    for service in &form.services {
        if let Some(name) = &service.name {
            if names.contains(&name.get_ref().as_str()) {
                let message = format!("two services are named `{}`", name.get_ref());
                let error = reader.error(name.span(), message);
                reader.report(error.label("expected a name of its own"));
            }
            names.push(name.get_ref());
        }
        let check = service.check.as_ref();
        services.extend(service.name.as_ref().zip(service.listen.as_ref()).map(
            |(name, listen)| l4::ServiceSettings {
                name: name.get_ref().clone(),
                listen: *listen.get_ref(),
                balance: service.balance,
                check: check.map(|form| {
                    (Arc::clone(&form.check), form.port.filter(|_| form.port_is_given))
                }),
                backends: service.backends.iter().map(|b| b.get_ref().clone()).collect(),
                capacity: service.capacity,
                connect_timeout: service.connect_timeout,
                idle_timeout: service.idle_timeout,
            },
        ));
    }
    l4::Settings { workers: form.l4_workers, services }
}

/// Reports TCP sockets that two parts of the server would listen on.
fn refuse_shared_listens(form: &ServerForm, reader: &Reader) {
    let dns = form.dns.iter().flat_map(|dns| &dns.listen).map(|listen| (listen, "[dns]"));
    let admin = form.admin.iter().flat_map(|admin| &admin.listen).map(|listen| (listen, "[admin]"));
    let services = form.services.iter().flat_map(|service| &service.listen);
    let services = services.map(|listen| (listen, "[[l4.services]]"));
    let mut seen: HashMap<SocketAddr, &str> = HashMap::new();
    for (listen, user) in dns.chain(admin).chain(services) {
        let address = *listen.get_ref();
        // Port 0 is any free port.
        if address.port() == 0 {
            continue;
        }
        if let Some(other) = seen.insert(address, user) {
            let message = format!("`{address}` is listened on twice");
            reader
                .report(reader.error(listen.span(), message).label(format!("{other} has it too")));
        }
    }
}

#[cfg(unix)]
fn warn_if_readable_by_all(path: &Spanned<PathBuf>, reader: &Reader) {
    use std::os::unix::fs::PermissionsExt;

    let mode = fs::metadata(path.get_ref()).map(|metadata| metadata.permissions().mode());
    if mode.is_ok_and(|mode| mode & 0o004 != 0) {
        let file = path.get_ref().display();
        let warning =
            reader.warning(path.span(), format!("everybody on this host can read {file}"));
        let warning = warning.label("whoever has the token can change what is answered");
        reader.report(warning.help(format!("run `chmod o-r {file}`")));
    }
}

#[cfg(not(unix))]
fn warn_if_readable_by_all(_: &Spanned<PathBuf>, _: &Reader) {}

impl ReadError {
    /// Reports that `path` could not be read: `at` makes an error where it is named; where bytes of
    /// it are the problem, the error is in the file itself.
    pub(super) fn report(
        &self,
        path: &Path,
        at: impl Fn(String) -> Diagnostic,
        mut named: impl FnMut(Diagnostic),
        inside: &mut Vec<Diagnostic>,
    ) {
        match self {
            ReadError::Unreadable(_) => named(at(self.about(path))),
            ReadError::NotUtf8(source, byte) => {
                let error = Diagnostic::error(source, *byte..byte + 3, "this is not UTF-8 text");
                inside.push(error.help("convert the file, for example with `iconv -t UTF-8`"));
            }
        }
    }
}

// Stand-in until `zone::compile` is there.
fn zone_compile(_: &[zone::Settings]) -> (Option<Zones>, Vec<zone::Problem>) {
    (Some(Zones::default()), Vec::new())
}
