//! `portolan simulate`: policies compared in a simulated world, and decisions driven from outside.

mod compare;
mod drive;
mod events;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use codespan_reporting::term::termcolor::StandardStream;

use super::check;
use crate::config;
use crate::control::Settings;

const EXAMPLES: &str = "\
Examples:
  The built-in world: seventeen metros, the people of the earth, and a bad afternoon:
    portolan simulate --policy ours,nearest --svg load.svg

  Your own datacenters; what if Frankfurt fails for an hour, with a quarter more room than is needed?
    portolan simulate --config portolan.toml --headroom 1.25 --fail fra@30m..90m

  Those who really ask, at half the capacity in Frankfurt, when everybody in Brazil comes at once:
    portolan simulate --config portolan.toml --queries queries.csv --capacity fra=0.5 --surge BR=3@60m..80m

  The decisions themselves, for a simulator or recorded traffic of yours:
    portolan simulate --drive < lines.json

Lines of --drive:
  {\"time\": 12.0, \"query\": {\"name\": \"www.example.com.\", \"subnet\": \"203.0.113.0/24\"}}
      with \"type\" (A, unless told) and \"resolver\", which may stand instead of \"subnet\"
  {\"time\": 12.0, \"report\": {\"datacenter\": \"fra\", \"capacity\": 100, \"load\": 81.5, \"utilisation\": 0.8}}
      a report as it is pushed to a server
  {\"time\": 12.0, \"health\": {\"datacenter\": \"fra\", \"up\": false}}
  Times are seconds from any beginning, and never go back. Each query is answered by one line, in order:
  {\"addresses\": [\"203.0.113.10\"], \"datacenter\": \"fra\", \"ttl\": 30, \"scope\": 24}, with \"cname\" or \"rcode\"
  where there is one. A bad line counts for nothing: it is told on standard error with its number; if it
  may be a query, it is answered by {\"error\": …}; and the exit code is 1.";

/// The command line of `simulate`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// Read what happens from standard input, and answer each query as the server would
    #[arg(long, conflicts_with_all = COMPARES)]
    pub drive: bool,
    /// The server's configuration file: its datacenters, instead of the built-in world's. With
    /// --drive, the configuration that answers [there: portolan.toml, if not given]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What is compared.
    #[command(flatten)]
    pub compare: compare::Comparison,
}

/// What has nothing to do with `--drive`.
const COMPARES: [&str; 16] = [
    "queries",
    "name",
    "pool",
    "policy",
    "knowledge",
    "ttl",
    "headroom",
    "capacity",
    "scenario",
    "fail",
    "surge",
    "cut",
    "duration",
    "seeds",
    "json",
    "svg",
];

/// Runs it.
pub fn run(arguments: Arguments) -> ExitCode {
    let Arguments { drive, config, compare } = arguments;
    match drive {
        true => drive::run(&config.unwrap_or_else(|| "portolan.toml".into())),
        false => compare::run(config.as_deref(), &compare),
    }
}

/// What a configuration says; what is wrong with it is printed.
fn settings(path: &Path) -> Option<Settings> {
    match config::load(path, None) {
        Ok(loaded) => Some(loaded.settings.control),
        Err(rejected) => {
            let mut out = StandardStream::stderr(check::colour(io::stderr().is_terminal()));
            for problem in &rejected.diagnostics {
                // Where that cannot be printed, neither can what else there is.
                let _ = problem.write(&mut out);
            }
            eprintln!("error: {} cannot be used", path.display());
            None
        }
    }
}
