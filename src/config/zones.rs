//! The zone files of a directory: read, and compiled to zones.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use toml::Spanned;

use super::diagnostic::{Diagnostic, Severity};
use super::files::Files;
use super::reader::Reader;
use super::secondary::Secondary;
use super::serial::SoaPlace;
use super::source::in_words;
use super::steering::ZoneFile;
use super::zone_texts::ZoneTexts;
use super::{TEXT_LIMIT, zone_file};
use crate::control::SecondarySettings;
use crate::zone::{self, Place, Zone, Zones};

/// Reads the zone files of `directory`, which is named in `reader`'s file.
pub(super) fn read(
    directory: &Spanned<PathBuf>,
    reader: &Reader,
    files: &mut Files,
) -> Vec<ZoneFile> {
    let path = directory.get_ref();
    files.paths.push(path.clone());
    let paths = match zone_paths(path) {
        Ok(paths) => paths,
        Err(error) => {
            let why = in_words(&error);
            let message = format!("cannot read the directory {}: {why}", path.display());
            let error = reader.error(directory.span(), message);
            reader.report(error.label("expected a directory of zone files"));
            return Vec::new();
        }
    };
    if paths.is_empty() {
        let message = format!("there are no zone files in {}", path.display());
        let warning = reader.warning(directory.span(), message);
        reader.report(warning.label("expected files whose names end in .toml"));
    }
    let mut zones = Vec::with_capacity(paths.len());
    for path in paths {
        let path = Spanned::new(directory.span(), path);
        let Some(source) = files.text(&path, reader, TEXT_LIMIT) else { continue };
        let reader = Reader::new(source);
        let form = reader.read("this zone file", zone_file::read);
        let checks = form.checks.iter().filter_map(|(_, check)| check.as_ref());
        files.paths.extend(checks.filter_map(|check| check.ca_file.clone()));
        zones.push(ZoneFile { reader, form });
    }
    zones
}

/// Compiles the zones that have an origin; none when one of them cannot be served.
pub(super) fn compile(
    zone_files: &[ZoneFile],
    steered: Vec<Vec<(usize, zone::Steered)>>,
    secondary: &Secondary<'_>,
    files: &mut Files,
) -> Option<(Zones, Vec<SecondarySettings>, Vec<SoaPlace>)> {
    let mut secondaries = Vec::new();
    let mut settings = Vec::with_capacity(zone_files.len());
    let mut parts = Vec::with_capacity(zone_files.len());
    let mut first: HashMap<Box<[u8]>, &ZoneFile> = HashMap::with_capacity(zone_files.len());
    for (file, steered) in zone_files.iter().zip(steered) {
        let Some(origin) = &file.form.origin else { continue };
        if let Some(other) = first.insert(origin.get_ref().to_key(), file) {
            let message = format!("the zone {} is given twice", origin.get_ref());
            let error = file.reader.error(origin.span(), message);
            let other = other.reader.source.path().display();
            file.reader.report(error.label(format!("it also stands in {other}")));
            continue;
        }
        let Some(mut texts) = ZoneTexts::read(file, files) else { continue };
        let (names, steered) = steered.into_iter().unzip();
        let sources = std::mem::take(&mut texts.sources);
        let mut zone = zone::Settings {
            origin: origin.get_ref().clone(),
            default_ttl: file.form.ttl,
            sources,
            steered,
            base: zone::Base::Nothing,
            is_transferred: file.form.transfer.is_some(),
        };
        secondaries.extend(secondary.lay(file, &mut zone));
        let transferred = matches!(zone.base, zone::Base::Transferred);
        let transferred = transferred.then(|| zone.sources.len() - 1);
        parts.push(Parts { file, texts, names, transferred });
        settings.push(zone);
    }
    let (zones, problems) = zone::compile(&settings);
    for problem in problems {
        if let Some(parts) = parts.get(problem.zone) {
            parts.file.reader.report(parts.diagnostic(problem));
        }
    }
    let zones = zones?;
    let soas = zones.iter().zip(&parts).filter(|(zone, _)| zone.digest().is_some());
    let soas = soas.map(|(zone, parts)| parts.soa_place(zone)).collect();
    Some((zones, secondaries, soas))
}

/// What a zone was made of, to say where its problems are.
struct Parts<'f> {
    file: &'f ZoneFile,
    texts: ZoneTexts<'f>,
    /// For each steered name, the index of its form.
    names: Vec<usize>,
    /// The index of the text that a primary has sent.
    transferred: Option<usize>,
}

impl Parts<'_> {
    fn soa_place(&self, zone: &Zone) -> SoaPlace {
        let (source, span) = match zone.soa_place() {
            Place::Source { source, span } => self.texts.place(*source, span.clone()),
            _ => (&self.file.reader.source, None),
        };
        SoaPlace { origin: zone.origin().clone(), file: source.path().to_path_buf(), span }
    }

    fn diagnostic(&self, problem: zone::Problem) -> Diagnostic {
        let ZoneFile { reader, form } = self.file;
        let origin = form.origin.as_ref().map(Spanned::span);
        let included_by = match problem.place {
            Place::Source { source, .. } => self.texts.included_by(source),
            _ => Vec::new(),
        };
        let (source, span) = match problem.place {
            Place::Zone => (&reader.source, origin),
            Place::Steered(index) => {
                let name = self.names.get(index).and_then(|&name| form.names.get(name));
                (&reader.source, name.map(|name| name.owner.span()))
            }
            // Nobody writes that text, so nobody is shown it.
            Place::Source { source, .. } if self.transferred == Some(source) => {
                (&reader.source, form.primaries.first().map(|primary| primary.span.clone()))
            }
            Place::Source { source, span } => self.texts.place(source, span),
        };
        let severity = if problem.is_warning { Severity::Warning } else { Severity::Error };
        let mut diagnostic = Diagnostic::error(source, span, problem.message);
        diagnostic.severity = severity;
        diagnostic.help.extend(problem.help);
        diagnostic.notes = included_by;
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
