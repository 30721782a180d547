//! `portolan check`: reads everything `serve` would read, and prints every problem at once.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use codespan_reporting::term::termcolor::{ColorChoice, StandardStream};

use super::{ConfigPath, FAILED, Output};
use crate::admin::text::count;
use crate::config::{self, Contents, Diagnostic, Loaded, Rejected, Severity};

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
    let report = Report::of(config::load(path, None));
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
