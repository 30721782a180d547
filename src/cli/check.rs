//! `portolan check`: reads everything `serve` would read, and prints every problem at once.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use codespan_reporting::term::termcolor::{ColorChoice, StandardStream};
use reqwest::Method;

use super::running::{Call, Running};
use super::{ConfigPath, FAILED, Output};
use crate::admin::text::count;
use crate::admin::view::zones::VersionView;
use crate::config::{self, Contents, Diagnostic, Loaded, Rejected, Severity};
use crate::control::serials::Version;

/// A server that runs has answered by then; who checks files does not wait for it.
const SOON: Duration = Duration::from_secs(1);

/// The command line of `check`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigPath,
    /// How the problems are printed.
    #[command(flatten)]
    pub output: Output,
}

/// Runs it.
pub fn run(arguments: Arguments) -> ExitCode {
    let path = &arguments.config.config;
    let mut loaded = config::load(path, None);
    if let Ok(loaded) = &mut loaded {
        let stale = stale_serials(path, loaded);
        loaded.warnings.extend(stale);
    }
    let report = Report::of(loaded);
    let printed = match arguments.output.json {
        true => print_json(&report),
        false => print(&report, path),
    };
    // A reader that has seen enough closes the pipe; that is no failure.
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::from(FAILED),
        _ if report.errors > 0 => ExitCode::from(FAILED),
        _ => ExitCode::SUCCESS,
    }
}

/// The zones that the running server serves with other contents, and no older serial number.
/// Nothing where none runs.
fn stale_serials(path: &Path, loaded: &Loaded) -> Vec<Diagnostic> {
    let Some(served) = served(path) else { return Vec::new() };
    let zones = loaded.settings.control.zones.iter().filter_map(|zone| {
        let digest = zone.digest()?;
        let served = served.iter().find(|served| served.origin == zone.origin().to_string())?;
        let served = served.first_served.as_ref()?;
        let digest_served = u64::from_str_radix(&served.digest, 16).ok()?;
        let before = Version { serial: served.serial, digest: digest_served };
        let is_stale = Version { serial: zone.serial(), digest }.is_stale(&before);
        let place = loaded.soas.iter().find(|place| place.origin == *zone.origin())?;
        is_stale.then(|| place.stale(before.serial))
    });
    zones.collect()
}

/// What is needed of a zone that the running server tells of.
#[derive(serde::Deserialize)]
struct Served {
    origin: String,
    first_served: Option<VersionView>,
}

fn served(path: &Path) -> Option<Vec<Served>> {
    let running = Running::find(path).ok()?;
    let query = Vec::new();
    let call = Call { method: Method::GET, path: "zones", query, body: None, in_words: false };
    let body = running.call_within(path, call, SOON).ok()?;
    serde_json::from_str(&body).ok()
}

/// What was found.
#[derive(serde::Serialize)]
pub struct Report {
    errors: usize,
    warnings: usize,
    /// None when there are errors.
    contents: Option<Contents>,
    diagnostics: Vec<Diagnostic>,
}

impl Report {
    /// Of a configuration, good or not.
    pub fn of(loaded: Result<Loaded, Rejected>) -> Report {
        let (contents, diagnostics) = match loaded {
            Ok(loaded) => (Some(loaded.contents), loaded.warnings),
            Err(rejected) => (None, rejected.diagnostics),
        };
        let is_error = |problem: &&Diagnostic| problem.severity == Severity::Error;
        let errors = diagnostics.iter().filter(is_error).count();
        Report { errors, warnings: diagnostics.len() - errors, contents, diagnostics }
    }
}

/// Prints it for machines.
pub fn print_json(report: &Report) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, report)?;
    writeln!(out)
}

fn print(report: &Report, path: &Path) -> io::Result<()> {
    let mut out = StandardStream::stdout(colour(io::stdout().is_terminal()));
    for problem in &report.diagnostics {
        problem.write(&mut out)?;
    }
    if let Some(contents) = &report.contents {
        writeln!(out, "{}: {}", path.display(), in_words(contents))?;
    }
    writeln!(out, "{}, {}", count(report.errors, "error"), count(report.warnings, "warning"))
}

/// Colours only on a terminal, and not where they are unwanted.
pub fn colour(is_terminal: bool) -> ColorChoice {
    match is_terminal && std::env::var_os("NO_COLOR").is_none() {
        true => ColorChoice::Auto,
        false => ColorChoice::Never,
    }
}

fn in_words(contents: &Contents) -> String {
    [
        count(contents.zones, "zone"),
        count(contents.steered_names, "steered name"),
        count(contents.pools, "pool"),
        count(contents.datacenters, "datacenter"),
        count(contents.probes, "probe"),
        count(contents.services, "L4 service"),
        count(contents.networks, "network") + " on the map",
    ]
    .into_iter()
    .chain((contents.latencies > 0).then(|| {
        let many = if contents.latencies == 1 { "y" } else { "ies" };
        format!("{} measured latenc{many}", contents.latencies)
    }))
    .collect::<Vec<_>>()
    .join(", ")
}
