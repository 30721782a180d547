//! From the databases and the `networks` file to the map; the old map serves on if nothing changed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use toml::Spanned;

use super::files::Files;
use super::reader::Reader;
use super::server::GeoipForm;
use super::source::{in_words, read_bytes};
use super::{TEXT_LIMIT, networks};
use crate::geo::{self, CompileError, Network, World};

/// A map, and what it was compiled from.
#[derive(Clone, Debug)]
pub(super) struct Map {
    pub world: Arc<World>,
    made_from: MadeFrom,
}

/// Nothing is known.
impl Default for Map {
    fn default() -> Map {
        Map { world: Arc::new(World::unknown()), made_from: MadeFrom::default() }
    }
}

/// What a map is compiled from; equal ones give equal maps.
#[derive(Clone, Debug, Default, PartialEq)]
struct MadeFrom {
    databases: Vec<Stamp>,
    networks: Vec<Network>,
}

/// A file as it was at some time.
#[derive(Clone, Debug, PartialEq)]
struct Stamp {
    path: PathBuf,
    bytes: u64,
    modified: Option<SystemTime>,
    /// Another file may have been put in its place.
    inode: u64,
}

/// The largest database, in bytes.
const DATABASE_LIMIT: u64 = 2 << 30;

impl Map {
    /// True when it was made from nothing.
    pub fn is_unknown(&self) -> bool {
        self.made_from == MadeFrom::default()
    }

    /// Compiles what `form`, of the file that `reader` reads, asks for; none when it cannot be used.
    pub fn compile(
        form: &GeoipForm,
        reader: &Reader,
        previous: Option<&Map>,
        files: &mut Files,
    ) -> Option<Map> {
        let networks = match &form.networks {
            Some(path) => read_networks(path, reader, files),
            None => Some(Vec::new()),
        };
        files.paths.extend(form.databases.iter().map(|path| path.get_ref().clone()));
        let mut stamps = Vec::with_capacity(form.databases.len());
        let mut found = Vec::with_capacity(form.databases.len());
        for path in &form.databases {
            match Stamp::of(path.get_ref()) {
                Ok(stamp) => {
                    stamps.push(stamp);
                    found.push(path);
                }
                Err(why) => refuse(reader, path, &why),
            }
        }
        let is_whole = stamps.len() == form.databases.len();
        let made_from = networks.filter(|_| is_whole);
        let made_from = made_from.map(|networks| MadeFrom { databases: stamps, networks });
        if let Some(previous) = previous.filter(|it| Some(&it.made_from) == made_from.as_ref()) {
            return Some(previous.clone());
        }
        let mut databases = Vec::with_capacity(found.len());
        for path in found {
            match read_bytes(path.get_ref(), DATABASE_LIMIT) {
                Ok(bytes) => databases.push((path.get_ref().display().to_string(), bytes)),
                Err(why) => refuse(reader, path, &why),
            }
        }
        let made_from = made_from.filter(|_| databases.len() == form.databases.len());
        let networks = made_from.as_ref().map_or(&[][..], |made_from| &made_from.networks);
        match geo::compile(&databases, networks) {
            Ok(world) => Some(Map { world: Arc::new(world), made_from: made_from? }),
            Err(error) => {
                report(&error, form, reader);
                report_others(&error, databases, form, reader);
                None
            }
        }
    }
}

impl Stamp {
    fn of(path: &Path) -> Result<Stamp, String> {
        let metadata = fs::metadata(path).map_err(|error| in_words(&error))?;
        if metadata.is_dir() {
            return Err("it is a directory, not a file".into());
        }
        let modified = metadata.modified().ok();
        Ok(Stamp {
            path: path.to_path_buf(),
            bytes: metadata.len(),
            modified,
            inode: metadata.ino(),
        })
    }
}

fn read_networks(
    path: &Spanned<PathBuf>,
    reader: &Reader,
    files: &mut Files,
) -> Option<Vec<Network>> {
    let file = Reader::new(files.text(path, reader, TEXT_LIMIT)?);
    let networks = file.read("this networks file", networks::read);
    let has_errors = file.has_errors();
    files.problems.extend(file.into_problems());
    (!has_errors).then_some(networks)
}

fn refuse(reader: &Reader, path: &Spanned<PathBuf>, why: &str) {
    let message = format!("cannot read {}: {why}", path.get_ref().display());
    reader.report(reader.error(path.span(), message).label("expected a MaxMind-format database"));
}

/// Reports what is wrong with databases besides the one that was found first.
fn report_others(
    first: &CompileError,
    mut databases: Vec<(String, Vec<u8>)>,
    form: &GeoipForm,
    reader: &Reader,
) {
    let mut bad = first.database().to_string();
    loop {
        let before = databases.len();
        databases.retain(|(name, _)| *name != bad);
        if databases.len() == before {
            return;
        }
        let Err(error) = geo::compile(&databases, &[]) else { return };
        report(&error, form, reader);
        bad = error.database().to_string();
    }
}

fn report(error: &CompileError, form: &GeoipForm, reader: &Reader) {
    let (database, message, label, help) = match error {
        CompileError::Unreadable { database, reason } => (
            database,
            format!("{database} is not a readable MaxMind-format database"),
            reason.clone(),
            "it may be cut or still being copied: fetch it again, and put it in place by renaming it",
        ),
        CompileError::NothingKnown { database, kind } => (
            database,
            format!("{database} does not say where addresses are"),
            format!("it is a database of type \"{kind}\""),
            "use one of the City, Country, ASN or ISP kind",
        ),
    };
    let is_it = |path: &&Spanned<PathBuf>| path.get_ref().display().to_string() == *database;
    let span = form.databases.iter().find(is_it).map_or(0..0, Spanned::span);
    reader.report(reader.error(span, message).label(label).help(help));
}
