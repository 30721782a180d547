//! `portolan serve`: runs what the configuration asks for.

use std::future::Future;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use codespan_reporting::term::termcolor::{ColorChoice, StandardStream};
use tracing_subscriber::EnvFilter;

use super::{ConfigPath, FAILED, Output, check, detach};
use crate::daemon::{self, Entrance};

/// The environment variable that says what is logged, in the syntax of `tracing`'s filters.
const LOG_VARIABLE: &str = "PORTOLAN_LOG";

/// How long tasks may take to be dropped at the end.
const UNTIL_DROPPED: Duration = Duration::from_millis(300);

/// The command line of `serve`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigPath,
    /// Take over from the server that runs with this configuration, if one does: its sockets are
    /// handed over, nothing that clients send is lost, and its connections go on to their end. If
    /// this server cannot start, that one serves on
    #[arg(long)]
    pub replace: bool,
    /// Come back when the server serves, and leave it running; if it cannot start, with its error
    #[arg(long)]
    pub detach: bool,
    /// The other side of `--detach`.
    #[arg(long, hide = true)]
    pub say_when_serving: bool,
    /// JSON makes the log JSON.
    #[command(flatten)]
    pub output: Output,
}

/// Runs it.
pub fn run(arguments: Arguments) -> ExitCode {
    if arguments.detach {
        return detach::run();
    }
    log_to_stderr(arguments.output.json, "info");
    let path = arguments.config.config;
    let entrance = if arguments.replace { Entrance::Replacing } else { Entrance::Fresh };
    let ready = || {
        if arguments.say_when_serving {
            detach::say();
        }
    };
    until_stopped(async move { serve(&path, arguments.output.json, entrance, ready).await })
}

/// Serves until a signal; calls `ready` once everything listens. With `json`, what is wrong with the
/// files is printed as `check` does.
pub async fn serve(
    path: &Path,
    json: bool,
    entrance: Entrance,
    ready: impl FnOnce(),
) -> anyhow::Result<()> {
    let loaded = match daemon::load(path, None).await {
        Ok(loaded) => loaded,
        Err(rejected) if json => {
            check::print_json(&check::Report::of(Err(rejected)))?;
            anyhow::bail!("{} cannot be served", path.display());
        }
        Err(rejected) => {
            let mut out = StandardStream::stderr(check::colour(io::stderr().is_terminal()));
            for problem in &rejected.diagnostics {
                problem.write(&mut out)?;
            }
            anyhow::bail!("{} cannot be served", path.display());
        }
    };
    daemon::serve(path, loaded, entrance, ready).await
}

/// Runs to the end, and prints why if that is a failure.
pub fn until_stopped(work: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no runtime: {error}");
            return ExitCode::from(FAILED);
        }
    };
    let done = runtime.block_on(work);
    // Tasks are dropped, and with them the programs of exec checks end. Files that are being read may
    // be so for seconds; nobody wants to know what they say.
    runtime.shutdown_timeout(UNTIL_DROPPED);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", in_full(&error));
            ExitCode::from(FAILED)
        }
    }
}

/// With its causes, but for those that it already tells.
fn in_full(error: &anyhow::Error) -> String {
    let mut told = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !told.contains(&cause) {
            told = format!("{told}: {cause}");
        }
    }
    told
}

/// Logs to standard error, at `level` unless the environment says otherwise.
pub fn log_to_stderr(json: bool, level: &str) {
    let wanted = std::env::var(LOG_VARIABLE).ok().filter(|wanted| !wanted.is_empty());
    let filter = wanted.as_ref().map(|wanted| wanted.parse::<EnvFilter>()).transpose();
    let (filter, misunderstood) = match filter {
        Ok(filter) => (filter, None),
        Err(error) => (None, Some(error)),
    };
    let is_coloured = check::colour(io::stderr().is_terminal()) != ColorChoice::Never;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|| EnvFilter::new(level)))
        .with_writer(io::stderr)
        .with_ansi(is_coloured);
    match json {
        true => log.json().init(),
        false => log.with_target(false).init(),
    }
    if let Some(error) = misunderstood {
        tracing::warn!(%error, "{LOG_VARIABLE} is not understood: expected a level such as `debug`");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let cause = || io::Error::other("in use");
        let telling = anyhow::Error::new(cause()).context("cannot listen: in use");
        assert_eq!(in_full(&telling), "cannot listen: in use");
        let silent = anyhow::Error::new(cause()).context("cannot listen");
        assert_eq!(in_full(&silent), "cannot listen: in use");
    }
}
